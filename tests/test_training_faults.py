"""What goes wrong in training is said: state that would be lost, networks too large, outputs that are no logits."""

import itertools
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lossmith.errors import InputError
from lossmith.losses import Loss, cross_entropy
from lossmith.nets import build, check_network
from lossmith.nets.size import check_size
from lossmith.search import SearchSettings
from lossmith.study import CompareSettings, EvolveSettings, RunSettings, evolve, validated
from lossmith.study.problem import Problem
from lossmith.training import (
    Job,
    Networks,
    Recipe,
    Task,
    accuracy,
    check_memory,
    check_state,
    choose_backend,
    run_job,
    train,
)
from lossmith.training import memory as memories

CLASSES, FEATURES = 4, 8
RECIPE = Recipe(epochs=2, batch_size=20)
LOSSES = Loss.stack([cross_entropy()] * 3)
TARGETS = torch.arange(80) % CLASSES
INPUTS = torch.randn(80, FEATURES, generator=torch.Generator().manual_seed(0)) + 3 * torch.eye(FEATURES)[TARGETS] + 20
Make = Callable[[], nn.Module]


def task_of(make: Make, inputs: Tensor = INPUTS) -> Task:
    return Task(make, inputs, TARGETS[: len(inputs)], CLASSES)


class Centered(nn.Module):
    """Running statistics by assignment, as ordinary PyTorch has them."""

    mean: Tensor
    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
            self.seen = self.seen + 1
            return x - x.mean(0)
        return x - self.mean


class Body(nn.Module):
    """A linear layer, and something that is done in training."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(FEATURES, CLASSES)
        self.begin()

    def begin(self) -> None:
        """What it keeps from the start."""

    def keep(self, x: Tensor) -> None:
        """What it keeps of a batch."""

    def shift(self) -> float | Tensor:
        """What depends on it."""
        return 0.0

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.keep(x.detach())
        return cast(Tensor, self.linear(x - self.shift()))


class PlainTensor(Body):
    def begin(self) -> None:
        self.mean = torch.zeros(FEATURES)

    def keep(self, x: Tensor) -> None:
        self.mean = 0.9 * self.mean + 0.1 * x.mean(0)

    def shift(self) -> Tensor:
        return self.mean


class InPlace(PlainTensor):
    def keep(self, x: Tensor) -> None:
        self.mean.mul_(0.9).add_(x.mean(0), alpha=0.1)


class ListOfTensors(Body):
    def begin(self) -> None:
        self.means = [torch.zeros(FEATURES)]

    def keep(self, x: Tensor) -> None:
        self.means.append(x.mean(0))

    def shift(self) -> Tensor:
        return self.means[-1]


class Unread(Body):
    """Keeps the last batch for whoever looks."""

    def keep(self, x: Tensor) -> None:
        self.last = x


class Hooked(nn.Module):
    """Keeps the outputs of a layer in a dictionary, as one looks at activations."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.body, self.outputs = body, dict[str, Tensor]()
        body.linear.register_forward_hook(lambda _, __, found: self.outputs.update(linear=found.detach()))

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.body(x)
        return outputs


class LazyCache(Body):
    """Makes a constant when it first knows its size."""

    def begin(self) -> None:
        self.places: Tensor | None = None

    def keep(self, x: Tensor) -> None:
        if self.places is None:
            self.places = torch.linspace(0, 1, x.shape[1])


class Counting(Body):
    """Counts batches by a number of Python, which decides about outputs at once."""

    def begin(self) -> None:
        self.batches = 0

    def keep(self, x: Tensor) -> None:
        self.batches += 1

    def shift(self) -> float:
        return float(self.batches)


class LateCounting(Counting):
    def shift(self) -> float:
        return 1.0 if self.batches > 1000 else 0.0


class Growing(Body):
    history: Tensor

    def begin(self) -> None:
        self.register_buffer("history", torch.zeros(0, FEATURES))

    def keep(self, x: Tensor) -> None:
        self.history = torch.cat([self.history, x.mean(0, keepdim=True)])


class Widening(Body):
    seen: Tensor

    def begin(self) -> None:
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    def keep(self, x: Tensor) -> None:
        self.seen = self.seen + 0.5 * len(x)


class Clipping(Body):
    def keep(self, x: Tensor) -> None:
        with torch.no_grad():
            self.linear.weight.clamp_(-0.01, 0.01)


class OwnNoise(Body):
    def begin(self) -> None:
        self.source = np.random.default_rng(0)

    def shift(self) -> float:
        return float(self.source.normal())


class TestState:
    @pytest.mark.parametrize("backend", ["sequential", "population", "vmap"])
    def test_buffers_that_are_assigned_count_every_batch(self, backend: str) -> None:
        """Case 28: the count is the number of batches, and accuracy that of sequential."""
        task = task_of(lambda: nn.Sequential(Centered(), nn.Linear(FEATURES, CLASSES)))
        recipe = Recipe(epochs=12, batch_size=20)
        found, plain = (train(task, LOSSES, [1, 1, 1], recipe, one).networks for one in (backend, "sequential"))
        assert found.buffers["0.seen"].tolist() == [48.0] * 3
        torch.testing.assert_close(found.buffers["0.mean"], plain.buffers["0.mean"])
        assert accuracy(found.logits(INPUTS), TARGETS).tolist() == accuracy(plain.logits(INPUTS), TARGETS).tolist()
        assert accuracy(found.logits(INPUTS), TARGETS).min() > 0.8

    @pytest.mark.parametrize(
        ("make", "words"),
        [
            (PlainTensor, "changes its attribute mean in training"),
            (InPlace, "changes its attribute mean in training"),
            (ListOfTensors, "changes its attribute means in training"),
            (Counting, "changes its attribute batches in training"),
            (Growing, r"changes the shape of its buffer history in training from \[0, 8\] to \[1, 8\]"),
            (Widening, "changes the type of its buffer seen in training from torch.int64 to torch.float32"),
            (Clipping, "changes its parameter linear.weight in the forward pass"),
        ],
    )
    @pytest.mark.parametrize("backend", ["sequential", "population"])
    def test_what_would_be_lost_is_refused(self, make: Make, words: str, backend: str) -> None:
        with pytest.raises(InputError, match=words):
            train(task_of(make), LOSSES, [1, 1, 1], RECIPE, backend)
        with pytest.raises(InputError, match=words):
            choose_backend("auto", task_of(make), LOSSES, [1, 1, 1], RECIPE, 8)

    @pytest.mark.parametrize(
        ("make", "words"),
        [
            (LateCounting, "the network changes its attribute batches in training, which is neither a parameter nor"),
            (OwnNoise, "the network gives other outputs for equal weights, buffers, inputs and seeds"),
        ],
    )
    def test_what_may_be_lost_is_told(self, make: Make, words: str) -> None:
        assert str(check_state(task_of(make), RECIPE)).startswith(words)

    @pytest.mark.parametrize(
        "make",
        [
            Body,
            lambda: nn.Sequential(nn.BatchNorm1d(FEATURES), nn.Dropout(0.5), nn.Linear(FEATURES, CLASSES)),
            lambda: nn.Sequential(Centered(), nn.Linear(FEATURES, CLASSES)),
            Unread,
            lambda: Hooked(Body()),
            LazyCache,
            lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(FEATURES, CLASSES)),
            lambda: nn.utils.parametrizations.weight_norm(nn.Linear(FEATURES, CLASSES)),
        ],
    )
    def test_sound_networks_are_left_alone(self, make: Make) -> None:
        before = torch.get_rng_state()
        assert check_state(task_of(make), RECIPE) is None
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.parametrize("backend", ["sequential", "population", "vmap"])
    @pytest.mark.parametrize("make", [Unread, LazyCache])
    def test_what_is_only_shown_is_trained(self, make: Make, backend: str) -> None:
        found = train(task_of(make), LOSSES, [1, 1, 1], RECIPE, backend).networks
        assert found.member(1)(INPUTS).shape == (len(INPUTS), CLASSES)

    def test_a_study_tells_it_before_the_work(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        place = np_file(tmp_path)
        monkeypatch.setattr("lossmith.study.problem.network_factory", lambda *_, **__: Growing)
        with pytest.raises(InputError, match="the network cannot be trained, since it changes the shape of its buffer"):
            evolve(tmp_path / "study", settings_of(place))
        assert not (tmp_path / "study").exists()


def np_file(directory: Path) -> Path:
    numbers = np.arange(120)
    inputs = np.random.default_rng(0).normal(0, 1, (120, FEATURES)).astype(np.float32)
    np.savez(directory / "data.npz", x_train=inputs, y_train=numbers % CLASSES)
    return directory / "data.npz"


def settings_of(place: Path, **parts: Any) -> EvolveSettings:
    document: dict[str, Any] = {
        "data": {"source": str(place)},
        "model": {"hidden": [3]},
        "recipe": {"epochs": 1},
        "search": {"population": 2, "generations": 1},
        "run": {"training": "population", "finalists": 1, "finalist_seeds": 2, "tune": False},
    }
    return validated(EvolveSettings, {**document, **parts}, "the test")


class TestOneSample:
    def body(self) -> nn.Module:
        return nn.Sequential(nn.Linear(FEATURES, 3), nn.BatchNorm1d(3), nn.Linear(3, CLASSES))

    @pytest.mark.parametrize("backend", ["sequential", "population"])
    def test_batch_norm_is_told(self, backend: str) -> None:
        with pytest.raises(InputError, match="batch norm cannot learn from a batch of one sample: give a batch_size"):
            train(task_of(self.body), LOSSES, [1, 1, 1], Recipe(batch_size=1), backend)

    def test_of_a_study_before_the_work(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr("lossmith.study.problem.network_factory", lambda *_, **__: self.body)
        with pytest.raises(InputError, match="batch norm cannot learn from a batch of one sample"):
            Problem.open(settings_of(np_file(tmp_path), recipe={"epochs": 1, "batch_size": 1}))

    def test_others_learn_from_it(self) -> None:
        found = train(task_of(lambda: nn.Linear(FEATURES, CLASSES), INPUTS[:3]), LOSSES, [1] * 3, Recipe(batch_size=1))
        assert len(found.networks) == 3


class TestMemory:
    @pytest.mark.parametrize(
        ("name", "shape", "hidden", "words"),
        [
            ("wrn-16-9999", (3, 32, 32), (1,), r"has 17,071,826,087,130 parameters, .* take 137 TB of memory, and"),
            ("mlp", (1, 8, 8), (10**9, 10**9), "give a smaller network"),
            ("mlp", (1, 8, 8), (10**20,), "cannot be built"),
            ("mlp", (1, 8, 8), (2**40, 2**40), "cannot be built"),
            ("preresnet-9998", (3, 32, 32), (1,), "deeper than 1202 layers"),
            ("wrn-9994-1", (3, 32, 32), (1,), "deeper than 1202 layers"),
            ("wrn-16-" + "9" * 20, (3, 32, 32), (1,), "there is no model"),
        ],
    )
    def test_a_network_that_is_too_large(
        self, name: str, shape: tuple[int, ...], hidden: tuple[int, ...], words: str
    ) -> None:
        with pytest.raises(InputError, match=words):
            build(name, shape, 10, hidden)

    def test_a_network_that_just_fits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("lossmith.memory.available_memory", lambda: 1000)
        with pytest.raises(InputError, match=r"has 132 parameters, .* take 1.06 kB of memory, and 1 kB are available"):
            check_size("mine", nn.Linear(32, 4))
        check_size("mine", nn.Linear(4, 4))

    @pytest.mark.parametrize(
        ("networks", "optimizer", "training", "there", "remedy"),
        [
            (10, "sgd", "population", 3 * 144 * 10, None),
            (10, "sgd", "population", 3 * 144 * 10 - 1, "give --chunk 9 or less"),
            (10, "adamw", "population", 4 * 144 * 10 - 1, "give --chunk 9 or less"),
            (10, "sgd", "sequential", 144 * 12, None),
            (10, "sgd", "sequential", 144 * 12 - 1, "give --chunk 9 or less"),
            (10, "sgd", "sequential", 144 * 2, "give a smaller network"),
        ],
    )
    def test_networks_of_a_chunk(
        self,
        monkeypatch: pytest.MonkeyPatch,
        networks: int,
        optimizer: str,
        training: str,
        there: int,
        remedy: str | None,
    ) -> None:
        monkeypatch.setattr(memories, "available_memory", lambda: there)
        task, recipe = task_of(lambda: nn.Linear(FEATURES, CLASSES)), validated(Recipe, {"optimizer": optimizer}, "")
        if remedy is None:
            check_memory(task, recipe, networks, training)
        else:
            with pytest.raises(InputError, match=f"10 networks of 36 parameters, .* take .* of cpu: {remedy}"):
                check_memory(task, recipe, networks, training)

    @pytest.mark.parametrize("training", ["population", "sequential", "auto"])
    def test_the_chunk_that_is_advised_fits(self, monkeypatch: pytest.MonkeyPatch, training: str) -> None:
        """Outputs for what is held out count, in the advice, too."""
        monkeypatch.setattr(memories, "available_memory", lambda: 20_000)
        task = replace(task_of(lambda: nn.Linear(FEATURES, CLASSES)), held_out=(INPUTS, TARGETS))
        with pytest.raises(InputError, match="give --chunk") as error:
            check_memory(task, Recipe(), 100, training)
        found = re.search(r"--chunk (\d+) or less", str(error.value))
        assert found is not None
        check_memory(task, Recipe(), int(found[1]), training)
        with pytest.raises(InputError, match="give --chunk"):
            check_memory(task, Recipe(), int(found[1]) + 1, training)

    def test_a_study_is_refused_before_the_work(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(memories, "available_memory", lambda: 1000)
        with pytest.raises(InputError, match="2 networks of 43 parameters, "):
            evolve(tmp_path / "study", settings_of(np_file(tmp_path)))

    WORDS = "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"

    @pytest.mark.parametrize("error", [RuntimeError(WORDS), MemoryError()])
    def test_a_chunk_that_the_memory_does_not_hold_is_trained_in_parts(
        self, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        task, counts = task_of(lambda: nn.Linear(FEATURES, CLASSES)), itertools.count()
        expected = train(task, LOSSES, [1, 1, 1], RECIPE).networks.logits(INPUTS)
        inner = Recipe.rate

        def short(recipe: Recipe, *arguments: Any) -> float:
            if next(counts) == 0:
                raise error
            return inner(recipe, *arguments)

        monkeypatch.setattr(Recipe, "rate", short)
        with pytest.warns(UserWarning, match="the memory of cpu does not hold 3 networks at once; they are trained in"):
            found = train(task, LOSSES, [1, 1, 1], RECIPE)
        torch.testing.assert_close(found.networks.logits(INPUTS), expected)

    @pytest.mark.parametrize("error", [RuntimeError(WORDS), MemoryError(), torch.OutOfMemoryError("CUDA")])
    def test_measuring_that_the_memory_does_not_hold(self, error: Exception) -> None:
        def measure(*_: Any) -> None:
            raise error

        task = task_of(lambda: nn.Linear(FEATURES, CLASSES))
        job = Job(
            task, LOSSES, (1, 1, 1), RECIPE, choose_backend("population", task, LOSSES, [1] * 3, RECIPE, 1), measure
        )
        with pytest.raises(InputError, match=r"the memory of cpu does not hold .* give a smaller chunk \(--chunk\)"):
            run_job(job)

    def test_other_errors_stay(self) -> None:
        def measure(*_: Any) -> None:
            raise RuntimeError("another")

        task = task_of(lambda: nn.Linear(FEATURES, CLASSES))
        job = Job(
            task, LOSSES, (1, 1, 1), RECIPE, choose_backend("population", task, LOSSES, [1] * 3, RECIPE, 1), measure
        )
        with pytest.raises(RuntimeError, match="another"):
            run_job(job)

    def test_logits_in_smaller_batches_on_a_cpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        networks = train(task_of(lambda: nn.Linear(FEATURES, CLASSES)), LOSSES, [1, 1, 1], RECIPE).networks
        expected, forward = networks.logits(INPUTS), Networks.forward

        def short(one: Networks, inputs: Tensor) -> Tensor:
            if inputs.shape[1] > 20:
                raise RuntimeError(self.WORDS)
            return forward(one, inputs)

        monkeypatch.setattr(Networks, "forward", short)
        torch.testing.assert_close(networks.logits(INPUTS), expected)


class TestNumbers:
    @pytest.mark.parametrize(
        ("kind", "name"),
        [
            *((Recipe, name) for name in ("epochs", "steps", "batch_size", "crop", "cutout", "patience")),
            *((Recipe, name) for name in ("adversary_steps", "mixup", "cutmix")),
            *((SearchSettings, name) for name in ("population", "generations", "seed")),
            *((RunSettings, name) for name in ("replicates", "finalists", "finalist_seeds", "chunk")),
            *((CompareSettings, name) for name in ("seeds", "tuning_seeds", "tuning_finalists", "tuning_epochs")),
            *((CompareSettings, name) for name in ("tuning_finalist_seeds", "comparison_seed")),
        ],
    )
    def test_of_forty_digits_are_refused(self, kind: Any, name: str) -> None:
        with pytest.raises(InputError, match=rf"the setting '{name}' is wrong"):
            validated(kind, {name: 10**40}, "the test")

    def test_widths(self) -> None:
        with pytest.raises(InputError, match="hidden"):
            validated(EvolveSettings, {"model": {"hidden": [10**9]}}, "the test")
        with pytest.raises(InputError, match="hidden"):
            validated(EvolveSettings, {"model": {"hidden": [1] * 1001}}, "the test")


def checked(make: Make, inputs: Tensor = INPUTS) -> None:
    check_network(make, inputs[:20].clone(), CLASSES)


class Changed(Body):
    """A linear layer whose outputs are changed by a function."""

    def __init__(self, change: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.change = change

    def forward(self, x: Tensor) -> Any:
        return self.change(self.linear(x))


class TestOutputs:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda x: x.softmax(1), "the model gives probabilities"),
            (lambda x: x.exp() / x.exp().sum(1, keepdim=True), "the model gives probabilities"),
            (lambda x: x.sigmoid(), "the model ends in a sigmoid"),
            (lambda x: (x / 100).tanh(), "the model ends in a tanh"),
            (lambda x: x.relu(), "the model ends in a ReLU"),
            (lambda x: 2 * x, None),
        ],
    )
    def test_what_is_no_logits_is_told_once(
        self, change: Callable[[Tensor], Tensor], words: str | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING, "lossmith"):
            checked(lambda: Changed(change))
        assert [text[: len(words or "")] for text in caplog.messages] == ([] if words is None else [words])

    def test_the_softmax_of_a_study(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Case 34: told once, and trained."""
        monkeypatch.setattr(
            "lossmith.study.problem.network_factory",
            lambda *_, **__: lambda: nn.Sequential(nn.Linear(FEATURES, CLASSES), nn.Softmax(1)),
        )
        with caplog.at_level(logging.WARNING, "lossmith"):
            evolve(tmp_path / "study", settings_of(np_file(tmp_path)))
        assert sum("as after a softmax" in text for text in caplog.messages) == 1
        assert (tmp_path / "study" / "best.json").exists()

    def test_logarithms_of_probabilities_do_no_harm(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, "lossmith"):
            checked(lambda: Changed(lambda x: x.log_softmax(1)))
        assert [record.levelno for record in caplog.records] == [logging.INFO]
        assert "logarithms of probabilities" in caplog.text

    @pytest.mark.parametrize(
        ("make", "told"),
        [
            (lambda: Changed(lambda x: 0 * x), True),
            (lambda: Zero(), False),
            (lambda: nn.Sequential(nn.Linear(FEATURES, 3), Negative(), nn.ReLU(), nn.Linear(3, CLASSES)), True),
        ],
    )
    def test_outputs_that_do_not_depend_on_inputs(
        self, make: Make, told: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A last layer of zeros learns from its inputs all the same."""
        with caplog.at_level(logging.WARNING, "lossmith"):
            checked(make)
        assert caplog.messages == (
            ["the model gives the same outputs whatever its inputs are; see that it uses them"] * told
        )

    def test_usual_networks_are_left_alone(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, "lossmith"):
            checked(Body)
            checked(lambda: nn.Sequential(nn.BatchNorm1d(FEATURES), nn.Linear(FEATURES, CLASSES)))
        assert not caplog.messages

    @pytest.mark.parametrize("number", [torch.nan, torch.inf])
    def test_outputs_that_are_no_numbers(self, number: float) -> None:
        with pytest.raises(InputError, match="80 of 80 outputs of the model are not finite numbers in training mode"):
            checked(lambda: Changed(lambda x: x + number))

    def test_in_evaluation_mode_it_is_told(self, caplog: pytest.LogCaptureFixture) -> None:
        class Late(Body):
            def forward(self, x: Tensor) -> Tensor:
                return cast(Tensor, self.linear(x)) / (1.0 if self.training else 0.0)

        with caplog.at_level(logging.WARNING, "lossmith"):
            checked(Late)
        assert "are not finite numbers in evaluation mode at the start" in caplog.text

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda x: x.detach(), "do not depend on its parameters"),
            (lambda x: (x, x), "an object of type tuple"),
            (lambda x: {"logits": x}, "an object of type dict"),
            (lambda x: x.argmax(1, keepdim=True).expand_as(x), "let it return floating logits"),
            (lambda x: x.to(torch.complex64), "let it return floating logits"),
            (lambda x: x[:, 0], "let it return"),
        ],
    )
    def test_what_cannot_be_trained_is_refused(self, change: Callable[[Tensor], Any], words: str) -> None:
        with pytest.raises(InputError, match=words):
            checked(lambda: Changed(change))

    def test_inputs_that_are_changed_in_place(self) -> None:
        class Greedy(Body):
            def forward(self, x: Tensor) -> Tensor:
                return cast(Tensor, self.linear(x.mul_(0.5)))

        with pytest.raises(InputError, match="the model changes its inputs in place, which are the data itself"):
            checked(Greedy)
        checked(lambda: nn.Sequential(nn.Identity(), Body()))


class Zero(Body):
    """A last layer that begins with zeros."""

    def begin(self) -> None:
        nn.init.zeros_(self.linear.weight)


class Negative(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return -x.abs() - 1
