"""Backends as values, the one choice between them, and the check that one step agrees."""

import logging
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lossmith import InputError, Loss, cross_entropy, mse
from lossmith.data import Normalize
from lossmith.nets import ModelSettings, network_factory
from lossmith.study.config import EvolveSettings, RunSettings, validated
from lossmith.study.legacy import modernized
from lossmith.training import (
    OLD_NAMES,
    Backend,
    Choice,
    Recipe,
    Task,
    Trainer,
    choose_backend,
    has_compiler,
    measured_choice,
)
from lossmith.training import backend as backend_module
from lossmith.training import tuner as tuner_module
from lossmith.training.agreement import Agreement
from lossmith.training.backend import available, names
from lossmith.training.engines import ENGINES, vmap

CLASSES = 3
LOSSES = Loss.stack([cross_entropy(), mse(), cross_entropy()])
SEEDS = [1, 1, 1]
RECIPE = Recipe(batch_size=20, epochs=1)
CPU = torch.device("cpu")


def task_of(name: str = "mlp") -> Task:
    inputs = torch.randint(0, 256, (40, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    factory = network_factory(ModelSettings(name=name, hidden=(6,)), Normalize.fit(inputs), inputs.shape[1:], CLASSES)
    return Task(factory, inputs, torch.arange(40) % CLASSES, CLASSES, 255.0)


CONVOLUTIONAL = "cnn" if has_compiler(CPU) else "vmap"


class Kept(dict[str, Any]):
    """A memory."""

    def setting(self, name: str) -> Any:
        return self.get(name)

    def set(self, name: str, value: Any) -> None:
        self[name] = value


class Centered(nn.Module):
    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(8))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return x - self.mean


def centered() -> Task:
    y = torch.arange(40) % 4
    x = torch.randn(40, 8, generator=torch.Generator().manual_seed(1)) + 20
    return Task(lambda: nn.Sequential(Centered(), nn.Linear(8, 4)), x, y, 4)


class TestBackend:
    @pytest.mark.parametrize("name", names())
    def test_round_trip(self, name: str) -> None:
        assert str(Backend.parse(name)) == name
        assert Backend.parse(name).uncompiled == Backend.parse(name.removesuffix("-compiled"))

    def test_names(self) -> None:
        assert names() == [
            *("population", "sequential", "sequential-compiled", "sequential-channels-last"),
            *("sequential-channels-last-compiled", "mlp", "cnn", "vmap", "vmap-compiled"),
        ]

    @pytest.mark.parametrize(("old", "new"), OLD_NAMES.items())
    def test_old_names(self, old: str, new: str) -> None:
        assert str(Backend.parse(old)) == new
        assert Backend.parse(old).original == old
        assert RunSettings(training=old).training == new
        document, notes = modernized({"run": {"training": old}})
        assert document == {"run": {"training": new}}
        assert notes == [f"run.training = {old} is called {new} now"]
        assert validated(EvolveSettings, document, None).run.training == new

    @pytest.mark.parametrize("name", ["mlp", "cnn", "vmap", "population"])
    def test_what_version_0_1_called_one_name(self, name: str) -> None:
        assert Backend.parse(name).original == "population"
        assert Backend.parse(name).population

    @pytest.mark.parametrize("value", [None, 3, ["plain"], {}])
    def test_what_is_no_name_stays_for_the_settings_to_refuse(self, value: Any) -> None:
        assert modernized({"run": {"training": value}}) == ({"run": {"training": value}}, [])

    @pytest.mark.parametrize(
        "name", ["vmapp", "mlp-compiled", "vmap-channels-last", "population-channels-last", "", "auto"]
    )
    def test_unknown(self, name: str) -> None:
        with pytest.raises(InputError, match=r"there is no way of training .*give one of population, seq"):
            Backend.parse(name)

    def test_unknown_in_settings(self) -> None:
        with pytest.raises(
            InputError,
            match=r"--training is wrong \(it is 'vmapp'\): there is no way of training 'vmapp' .*did you mean vmap",
        ):
            validated(EvolveSettings, {"run": {"training": "vmapp"}}, None)

    def test_an_engine_that_is_not_there(self) -> None:
        with pytest.raises(InputError, match="did you mean"):
            Backend("sequentiel")
        with pytest.raises(InputError, match="there is no way of training 'mlp-compiled'"):
            Backend("mlp", compiled=True)

    def test_a_new_engine_has_its_names(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ENGINES, "_entries", {**ENGINES._entries, "turbo": ENGINES["vmap"]})
        assert str(Backend.parse("turbo-compiled")) == "turbo-compiled"
        assert "turbo" in names()

    def test_available(self, monkeypatch: pytest.MonkeyPatch) -> None:
        compiled = Backend("sequential", True, True)
        for found, wanted in ((True, compiled), (False, Backend("sequential", channels_last=True))):
            monkeypatch.setattr(backend_module, "has_compiler", lambda device, found=found: found)
            assert available(compiled, CPU) == wanted


class TestResolved:
    @pytest.mark.parametrize(
        ("model", "precision", "wanted"),
        [
            ("mlp", "float32", "mlp"),
            ("mlp", "bfloat16", "vmap"),
            ("conv", "float32", CONVOLUTIONAL),
            ("conv", "bfloat16", "vmap"),
        ],
    )
    def test_population(self, model: str, precision: Any, wanted: str) -> None:
        recipe = Recipe(batch_size=20, precision=precision)
        assert Trainer(task_of(model)).resolved(Backend("population"), recipe) == Backend(wanted)

    def test_refused(self) -> None:
        for model, recipe in (("conv", RECIPE), ("mlp", Recipe(precision="bfloat16"))):
            with pytest.raises(
                InputError, match=r"training = mlp cannot be used, since .*; take training = population"
            ):
                Trainer(task_of(model)).train(LOSSES, SEEDS, recipe, "mlp")


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """The population as version 0.1 ran it: what a module assigns is lost."""
    monkeypatch.setattr(vmap, "buffers_written", lambda state, before: {})


class TestChosen:
    def test_remembered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        memory = Kept()
        found = choose_backend("auto", task_of(), LOSSES, SEEDS, RECIPE, 1, memory)
        assert found in (Backend("mlp"), Backend("sequential"))
        (kept,) = memory["backend"].values()
        assert kept["backend"] == str(found)
        assert kept["seconds"].keys() == {"mlp", "sequential"}
        monkeypatch.setattr(tuner_module, "measured_choice", None)
        assert choose_backend("auto", task_of(), LOSSES, SEEDS, RECIPE, 1, memory) == found

    def test_remembered_of_this_network_and_recipe_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where others are compared beside what was measured, they are measured, too, and neither is lost."""
        memory, measured = Kept(), []

        def choose(trainer: Trainer, *_: object) -> Choice:
            measured.append(trainer)
            return Choice(trainer.resolved(Backend("population"), RECIPE), {})

        monkeypatch.setattr(tuner_module, "measured_choice", choose)
        for _ in range(2):
            assert choose_backend("auto", task_of(), LOSSES, SEEDS, RECIPE, 1, memory) == Backend("mlp")
            assert choose_backend("auto", task_of("conv"), LOSSES, SEEDS, RECIPE, 1, memory) == Backend(CONVOLUTIONAL)
        choose_backend("auto", task_of(), LOSSES, SEEDS, Recipe(batch_size=21), 1, memory)
        assert len(measured) == 3

    def test_checked_of_this_network_alone(self, forgetful: None) -> None:
        memory = Kept()
        choose_backend("vmap", task_of("conv"), LOSSES, SEEDS, RECIPE, 1, memory)
        with pytest.raises(InputError, match=r"buffer 0.mean"):
            choose_backend("vmap", centered(), LOSSES, SEEDS, RECIPE, 1, memory)

    @pytest.mark.parametrize(("way", "wanted"), [("plain", "sequential"), ("population", "mlp")])
    def test_what_version_0_1_remembered(self, monkeypatch: pytest.MonkeyPatch, way: str, wanted: str) -> None:
        monkeypatch.setattr(tuner_module, "measured_choice", None)
        memory = Kept(way={"way": way, "seconds": {}, "failed": {}})
        assert choose_backend("auto", task_of(), LOSSES, SEEDS, RECIPE, 1, memory) == Backend(wanted)

    def test_remembered_compiled_where_there_is_no_compiler(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(backend_module, "has_compiler", lambda device: False)
        memory = Kept(way={"way": "population-compiled"})
        assert choose_backend("auto", task_of(), LOSSES, SEEDS, RECIPE, 1, memory) == Backend("vmap")

    def test_named_ones_are_checked_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        memory = Kept()
        assert choose_backend("population", task_of(), LOSSES, SEEDS, RECIPE, 1, memory) == Backend("mlp")
        assert list(memory) == ["checked"]
        assert list(memory["checked"].values()) == [["mlp"]]
        monkeypatch.setattr(tuner_module, "Agreement", None)
        assert choose_backend("mlp", task_of(), LOSSES, SEEDS, RECIPE, 1, memory) == Backend("mlp")
        assert choose_backend("sequential", task_of(), LOSSES, SEEDS, RECIPE, 1, memory) == Backend()

    def test_a_network_that_cannot_be_vectorized(self) -> None:
        class Recurrent(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.recurrent = nn.LSTM(8, 4, batch_first=True)

            def forward(self, x: Tensor) -> Tensor:
                out: Tensor = self.recurrent(x[:, None])[0]
                return out[:, -1]

        task = Task(Recurrent, torch.randn(40, 8), torch.arange(40) % 4, 4)
        with pytest.raises(InputError, match="train it with training = sequential"):
            choose_backend("population", task, LOSSES, SEEDS, RECIPE, 1)
        assert choose_backend("auto", task, LOSSES, SEEDS, RECIPE, 1) == Backend()


class TestAgreement:
    """A backend whose results differ is found, whatever its speed."""

    def test_statistics_by_assignment_are_kept(self) -> None:
        assert choose_backend("population", centered(), LOSSES, SEEDS, RECIPE, 1) == Backend("vmap")

    def test_statistics_that_are_lost_are_found(self, forgetful: None) -> None:
        agreement = Agreement(Trainer(centered()), LOSSES, SEEDS, RECIPE)
        reason = agreement.disagreement(Backend("vmap"))
        assert reason == "after one step its buffer 0.mean differs from that of sequential by 100% of the step"

    def test_named_it_is_refused(self, forgetful: None) -> None:
        memory = Kept()
        with pytest.raises(
            InputError,
            match=r"training = vmap cannot be used with this network, since after one step its buffer 0.mean",
        ):
            choose_backend("population", centered(), LOSSES, SEEDS, RECIPE, 1, memory)
        assert memory == {}

    def test_measured_it_is_left_out(
        self, forgetful: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        memory = Kept()
        monkeypatch.setattr(tuner_module, "measure", lambda *given: 1.0 if given[4] == Backend("vmap") else 9.0)
        with caplog.at_level(logging.INFO, "lossmith"):
            assert choose_backend("auto", centered(), LOSSES, SEEDS, RECIPE, 1, memory) == Backend()
        (kept,) = memory["backend"].values()
        assert kept["seconds"] == {"sequential": 9.0}
        assert "0.mean" in kept["failed"]["vmap"]
        assert "training = vmap cannot be used (after one step its buffer 0.mean" in caplog.text

    @pytest.mark.parametrize("what", ["parameter", "sign", "factor", "member"])
    def test_wrong_gradients_are_found(self, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
        differentiate = vmap.VmapStack.differentiate

        def wrong(stack: vmap.VmapStack, slope: Tensor) -> None:
            differentiate(stack, slope)
            gradients = stack.gradients()
            if what == "parameter":
                gradients[0].zero_()
            elif what == "member":
                gradients[1][-1] *= 0
            else:
                for gradient in gradients:
                    gradient *= -1 if what == "sign" else 2

        monkeypatch.setattr(vmap.VmapStack, "differentiate", wrong)
        reason = Agreement(Trainer(task_of("conv")), LOSSES, SEEDS, RECIPE).disagreement(Backend("vmap"))
        assert reason is not None
        assert reason.startswith("after one step its parameter")

    def test_other_masks_are_found(self) -> None:
        """PyTorch's own dropout draws in the order of memory."""

        def factory() -> nn.Module:
            return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, CLASSES))

        task = task_of("conv")
        task = Task(factory, task.inputs.float() / 255, task.targets, CLASSES)
        agreement = Agreement(Trainer(task), LOSSES, SEEDS, RECIPE)
        assert agreement.disagreement(Backend("vmap")) is None
        assert agreement.disagreement(Backend(channels_last=True)) is not None

    def test_wrong_logits_are_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A network whose evaluation depends on what is no buffer of its own."""

        class Counting(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.linear, self.scale = nn.Linear(8, 4), 1.0

            def forward(self, x: Tensor) -> Tensor:
                if self.training and x.layout == torch.strided and torch._C._functorch.is_batchedtensor(x):
                    self.scale = 3.0
                out: Tensor = self.linear(x)
                return out if self.training else self.scale * out

        task = Task(Counting, torch.randn(40, 8), torch.arange(40) % 4, 4)
        reason = Agreement(Trainer(task), LOSSES, SEEDS, RECIPE).disagreement(Backend("vmap"))
        assert reason is not None
        assert reason.startswith("after one step its logits differ")

    def test_diverged_alike_is_no_disagreement(self) -> None:
        losses = Loss.stack([1e30 * cross_entropy()] * 2)
        task = task_of("conv")
        assert Agreement(Trainer(task), losses, [1, 1], RECIPE).disagreement(Backend("vmap")) is None

    def test_nothing_is_left(self) -> None:
        before = torch.get_rng_state()
        measured_choice(Trainer(task_of("conv")), LOSSES, SEEDS, RECIPE, 1)
        assert torch.equal(torch.get_rng_state(), before)
