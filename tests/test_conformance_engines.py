"""What every registered engine must do: train as sequential does, to rounding, or say why it cannot."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lossmith import InputError, Loss, baikal, cross_entropy, find, mse
from lossmith.data import Normalize
from lossmith.nets import Dropout
from lossmith.seeds import generator
from lossmith.training import Backend, Recipe, Task, Trainer
from lossmith.training.agreement import Agreement
from lossmith.training.engines import ENGINES, Engine, Passes, Run
from lossmith.training.engines.sequential import SequentialRun
from lossmith.training.imbalance import batch_weights

CLASSES, SAMPLES = 3, 60
LOSSES = Loss.stack([cross_entropy(), mse(), 0.05 * baikal()])
KINDS = Loss.stack([find(name, CLASSES) for name in ("anl", "gce", "focal:2", "aul", "logit-clip", "bootstrapping")])


class Centered(nn.Module):
    """Keeps a running mean and a count by assignment, which is ordinary PyTorch."""

    mean: Tensor
    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(16))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
            self.seen = self.seen + 1
            return x - x.mean(0)
        return x - self.mean


class ByAutograd(SequentialRun):
    """Differentiates the value of the loss instead of taking its gradient in closed form."""

    def _differentiate(self, inputs: Tensor, targets: Tensor) -> None:
        logits, flood = self.forward(inputs), self.recipe.flooding
        total = self.schedule.values(self.done, logits, targets).sum()
        ((total / batch_weights(self.weights, targets, logits) - flood).abs() + flood).sum().backward()


def begun(task: Task, losses: Loss, seeds: Sequence[int], recipe: Recipe, backend: Backend, passes: Passes) -> Run:
    (seed,) = seeds
    return ByAutograd(task, losses[0], seed, recipe, backend, passes)


def refused(network: nn.Module, task: Task, recipe: Recipe) -> str | None:
    return None if recipe.precision == "float32" else "it computes in the precision of the weights"


NAMES = [*ENGINES, "example"]


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    """One more engine: the proof that a new one is a few lines and a name."""
    with pytest.MonkeyPatch.context() as context:
        context.setattr(ENGINES, "_entries", dict(ENGINES.items()))
        ENGINES.register("example", Engine(begun, population=False, refusal=refused))
        yield


BODIES: dict[str, Callable[[], list[nn.Module]]] = {
    "perceptron": lambda: [nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, CLASSES)],
    "dropout": lambda: [nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), Dropout(0.4), nn.Linear(8, CLASSES)],
    "convolution": lambda: [nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(4, CLASSES)],
    "convolutions, dropout": lambda: [
        *(nn.Conv2d(1, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(5, 3, 2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(3, 8), nn.ReLU(), Dropout(0.4), nn.Linear(8, CLASSES)),
    ],
    "batch norm": lambda: [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, CLASSES)],
    "assigned": lambda: [nn.Flatten(), Centered(), nn.Linear(16, CLASSES)],
    "tanh": lambda: [nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, CLASSES)],
}
RECIPES: dict[str, dict[str, Any]] = {
    "SGD": {"weight_decay": 0.01, "clip": 1.0},
    "AdamW, augmented": {"optimizer": "adamw", "lr": 0.01, "crop": 1, "flip": True, "mixup": 0.2},
    "attacked": {"adversary": "fgsm", "adversary_epsilon": 0.05},
    "flooded, early stopping": {"flooding": 0.5, "patience": 1},
    "weighted": {"class_weight": "balanced", "sampling": "balanced", "flooding": 0.5},
}


def images(purpose: str) -> Tensor:
    return torch.rand(SAMPLES, 1, 4, 4, generator=generator(purpose), dtype=torch.float64)


def task_of(body: str) -> Task:
    # Class 0 is three times as frequent as each other one.
    inputs, labels = images("train"), (torch.arange(SAMPLES) % 5 - 2).clamp(min=0)

    def factory() -> nn.Module:
        return nn.Sequential(Normalize.fit(inputs), *BODIES[body]()).double()

    return Task(factory, inputs, labels, CLASSES, 1.0, (images("held out"), labels))


def backends_of(name: str) -> list[Backend]:
    layouts = (False, True) if ENGINES[name].layouts else (False,)
    return [Backend(name, channels_last=layout) for layout in layouts]


@pytest.mark.parametrize("recipe", list(RECIPES))
@pytest.mark.parametrize("body", list(BODIES))
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seeds", [[1, 1, 1], [1, 2, 1]])
def test_trains_as_sequential_does(name: str, body: str, recipe: str, seeds: list[int]) -> None:
    task, settings = task_of(body), Recipe(epochs=2, batch_size=12, **{"lr": 0.05, **RECIPES[recipe]})
    monitor, probe = (images("monitor"), torch.arange(SAMPLES) % CLASSES), images("probe")
    reason = Trainer(task).refusal(name, settings)
    for backend in backends_of(name):
        if reason is not None:
            with pytest.raises(InputError, match="take training = population"):
                Trainer(task).train(LOSSES, seeds, settings, backend)
            continue
        watched: dict[str, list[int]] = {}

        def observe(members: list[int], epoch: int, _: object, kept: dict[str, list[int]] = watched) -> None:
            kept.setdefault("epochs", []).extend([epoch] * len(members))

        found = Trainer(task).train(LOSSES, seeds, settings, backend, monitor=monitor, observe=observe)
        expected = Trainer(task).train(LOSSES, seeds, settings, Backend(), monitor=monitor)
        assert sorted(watched["epochs"])[:3] == [0, 0, 0]
        for kind in ("parameters", "buffers"):
            mine, theirs = getattr(found.networks, kind), getattr(expected.networks, kind)
            assert mine.keys() == theirs.keys()
            for key, value in theirs.items():
                torch.testing.assert_close(mine[key], value, rtol=1e-7, atol=1e-9, msg=key)
        torch.testing.assert_close(found.networks.logits(probe), expected.networks.logits(probe), rtol=1e-7, atol=1e-9)
        assert torch.equal(found.curve, expected.curve)  # type: ignore[arg-type]
        if "3.seen" in dict(found.networks.buffers):
            assert found.networks.buffers["3.seen"].tolist() == [10] * 3


@pytest.mark.parametrize("recipe", ["SGD", "weighted"])
@pytest.mark.parametrize("body", ["perceptron", "convolution", "batch norm"])
@pytest.mark.parametrize("name", NAMES)
def test_losses_of_several_kinds_train_as_sequential_does(name: str, body: str, recipe: str) -> None:
    task, settings = task_of(body), Recipe(epochs=2, batch_size=12, **{"lr": 0.05, **RECIPES[recipe]})
    if Trainer(task).refusal(name, settings) is None:
        found, expected = (
            Trainer(task).train(KINDS, [1, 2, 1, 2, 3, 3], settings, backend).networks
            for backend in (name, "sequential")
        )
        for key, value in expected.parameters.items():
            torch.testing.assert_close(found.parameters[key], value, rtol=1e-7, atol=1e-9, msg=key)


@pytest.mark.parametrize("body", list(BODIES))
@pytest.mark.parametrize("name", NAMES)
def test_one_step_agrees(name: str, body: str) -> None:
    for changes in ({}, {"precision": "bfloat16"}, {"adversary": "pgd", "adversary_steps": 2}):
        task = replace(task_of(body), factory=lambda: nn.Sequential(nn.Identity(), *BODIES[body]()))
        task = replace(task, inputs=task.inputs.float())
        recipe = Recipe(batch_size=20, **changes)
        if Trainer(task).refusal(name, recipe) is None:
            agreement = Agreement(Trainer(task), LOSSES, [1, 1, 2], recipe)
            for backend in backends_of(name):
                assert agreement.disagreement(backend) is None


@pytest.mark.parametrize("name", NAMES)
def test_some_members_go_on(name: str) -> None:
    """A run that keeps some of its members trains these as if the others had never been there."""
    recipe, engine = Recipe(batch_size=12, weight_decay=0.01), ENGINES[name]
    task = next(task_of(body) for body in BODIES if Trainer(task_of(body)).refusal(name, recipe) is None)
    members = [0, 1, 2] if engine.population else [1]
    run = Trainer(task).start(LOSSES, [1, 1, 1], recipe, Backend(name), members)
    alone = Trainer(task).start(LOSSES, [1, 1, 1], recipe, Backend(name), [1])
    assert str(run.backend) == name
    for number in range(4):
        if number == 2:
            run.keep([members.index(1)])
        run.step()
        alone.step()
    assert run.done == 4
    for key, value in alone.networks().parameters.items():
        torch.testing.assert_close(run.networks().parameters[key], value, rtol=1e-9, atol=1e-12)
