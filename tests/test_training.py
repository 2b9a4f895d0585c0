"""The two ways of training against each other, against a loop of plain PyTorch, and against what they promise."""

import copy
import importlib.util
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._inductor import config as inductor
from torch.nn import functional

from lossmith import InputError, Loss, PowerLoss, baikal, cross_entropy, gce, mae, mse, taylor
from lossmith.data import Normalize
from lossmith.losses import Term
from lossmith.seeds import derive
from lossmith.training import (
    Backend,
    Choice,
    Networks,
    Recipe,
    Task,
    Trained,
    Trainer,
    accuracy,
    choose_backend,
    has_compiler,
    measure,
    measured_choice,
    repeated,
    train,
)
from lossmith.training import tuner as tuner_module
from lossmith.training.agreement import Agreement
from lossmith.training.engines import base as base_module
from lossmith.training.engines.population import clip_each
from lossmith.training.networks import input_dim, own_state, shared_buffers
from lossmith.training.randomness import batch_order, is_stochastic, seeded

CLASSES = 4
MNIST = [-10.9408, 7.5216, 8.2896, 0.2415, 7.8726, 8.9666, 2.0184, 7.0513]
LOSSES = Loss.stack(
    [
        cross_entropy(),
        mse(),
        gce(0.7),
        0.05 * baikal(),
        0.05 * taylor(MNIST),
        cross_entropy().smoothed(0.1, CLASSES),
    ]
)
EQUAL = [3] * 6
MIXED = [3, 4, 3, 5, 4, 6]
BACKENDS: list[str] = ["sequential", "population"]


def start(task: Task, losses: Loss, seeds: list[int], recipe: Recipe, backend: str = "population") -> Any:
    """A run of all members."""
    trainer = Trainer(task)
    resolved = trainer.resolved(Backend.parse(backend), recipe)
    return trainer.start(losses, seeds, recipe, resolved, list(range(len(seeds))))


class Odd(nn.Module):
    """Tied weights, a scalar, a frozen and an unused parameter, and buffers of every kind."""

    calls: Tensor
    average: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, CLASSES)
        self.second.weight = self.first.weight
        self.last.bias.requires_grad_(False)
        self.scale = nn.Parameter(torch.tensor(0.8))
        self.unused = nn.Parameter(torch.ones(3))
        self.register_buffer("calls", torch.tensor(0))
        self.register_buffer("average", torch.zeros(16), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.second(torch.tanh(self.first(x.flatten(1)))))
        if self.training:
            self.calls.add_(1)
            self.average.mul_(0.9).add_(x.detach().mean(0), alpha=0.1)
        return cast(Tensor, self.scale * self.last(x))


class Product(nn.Module):
    """A linear layer as ``x @ W``, with the weights the other way round than ``nn.Linear`` has them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.3 * torch.randn(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


class Noise(nn.Module):
    """Gaussian noise in training, a random operation other than dropout."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * torch.randn_like(x) if self.training else x


Body = Callable[[], list[nn.Module]]
BODIES: dict[str, Body] = {
    "mlp": lambda: [nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, CLASSES)],
    "linear": lambda: [nn.Flatten(), nn.Linear(16, CLASSES)],
    "cnn": lambda: [
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16, CLASSES),
    ],
    "mlp, batch norm": lambda: [
        nn.Flatten(),
        nn.BatchNorm1d(16),
        nn.Linear(16, 8),
        nn.ReLU(),
        nn.BatchNorm1d(8),
        nn.Linear(8, CLASSES),
    ],
    # A bias before batch norm has a gradient of pure rounding: these have none.
    "cnn, batch norm": lambda: [
        nn.Conv2d(1, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16, CLASSES),
    ],
    "mlp, dropout": lambda: [
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(16, 8),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(8, CLASSES),
    ],
    "cnn, batch norm, dropout": lambda: [
        nn.Conv2d(1, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.Dropout2d(0.2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(16, CLASSES),
    ],
    "noise, layer norm": lambda: [
        nn.Flatten(),
        Noise(),
        nn.Linear(16, 8),
        nn.LayerNorm(8),
        nn.GELU(),
        nn.Linear(8, CLASSES),
    ],
    "odd": lambda: [Odd()],
    "products": lambda: [nn.Flatten(), Product(16, 8), nn.Tanh(), Product(8, CLASSES)],
}
RECIPES = {
    "SGD": Recipe(lr=0.05, weight_decay=0.01, epochs=3, batch_size=12),
    "SGD, clipped": Recipe(lr=0.1, weight_decay=0.01, epochs=3, batch_size=12, clip=0.3),
    "AdamW": Recipe(optimizer="adamw", lr=0.003, weight_decay=0.1, epochs=3, batch_size=12),
    "AdamW, clipped": Recipe(optimizer="adamw", lr=0.003, epochs=3, batch_size=12, clip=0.3),
}
SGD = RECIPES["SGD"]


def data(samples: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 256, (samples, 1, 4, 4), dtype=torch.uint8, generator=generator)
    return inputs, torch.randint(0, CLASSES, (samples,), generator=generator)


PROBE, PROBE_TARGETS = data(64)
MONITOR = (PROBE, PROBE_TARGETS)


def task_of(body: str | Body, samples: int = 41, kind: torch.dtype = torch.float64, soft: bool = False) -> Task:
    """41 samples make 3 batches of 12, and 5 samples are left out in each epoch."""
    make = BODIES[body] if isinstance(body, str) else body
    inputs, targets = data(samples)
    if soft:
        generator = torch.Generator().manual_seed(1)
        targets = torch.rand(samples, CLASSES, generator=generator, dtype=torch.float64).log_softmax(1).exp()
    normalize = Normalize.fit(inputs)
    return Task(lambda: nn.Sequential(copy.deepcopy(normalize), *make()).to(kind), inputs, targets, CLASSES)


def states(networks: Networks) -> dict[str, Tensor]:
    return {**networks.parameters, **networks.buffers, "logits": networks.logits(PROBE)}


def assert_agree(first: Trained, second: Trained, tolerance: float = 1e-9) -> None:
    mine, theirs = states(first.networks), states(second.networks)
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        torch.testing.assert_close(value, theirs[name], rtol=tolerance, atol=tolerance)
    assert torch.equal(first.diverged, second.diverged)
    assert (first.curve is None) == (second.curve is None)
    if first.curve is not None and second.curve is not None:
        assert torch.equal(first.curve, second.curve)


def assert_equal(first: Trained, second: Trained, rows: Sequence[int], others: Sequence[int]) -> None:
    """Members ``rows`` of the first are members ``others`` of the second, bit for bit."""
    mine, theirs = states(first.networks), states(second.networks)
    for name, value in mine.items():
        assert torch.equal(value[list(rows)], theirs[name][list(others)]), name
    assert first.curve is not None
    assert second.curve is not None
    assert torch.equal(first.curve[list(rows)], second.curve[list(others)])
    assert first.diverged[list(rows)].tolist() == second.diverged[list(others)].tolist()


def assert_backends_agree(
    task: Task, losses: Loss, seeds: Sequence[int], recipe: Recipe, tolerance: float = 1e-9
) -> Trained:
    sequential = train(task, losses, seeds, recipe, "sequential", MONITOR)
    together = train(task, losses, seeds, recipe, "population", MONITOR)
    assert_agree(together, sequential, tolerance)
    assert not sequential.diverged.any()
    assert sequential.curve is not None
    assert len(sequential.curve) == len(seeds)
    return sequential


def starts(task: Task, seeds: Sequence[int]) -> dict[str, Tensor]:
    networks = [own_state(task.build(seed))[0] for seed in seeds]
    return {name: torch.stack([network[name] for network in networks]) for name in networks[0]}


class TestPopulationIsSequential:
    @pytest.mark.parametrize(
        ("recipe", "seeds"),
        [("SGD", MIXED), ("SGD, clipped", EQUAL), ("AdamW", EQUAL), ("AdamW, clipped", MIXED)],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    @pytest.mark.parametrize("body", BODIES)
    def test_networks(self, body: str, seeds: list[int], recipe: str) -> None:
        task = task_of(body)
        sequential = assert_backends_agree(task, LOSSES, seeds, RECIPES[recipe])
        before = starts(task, seeds)
        for name, value in sequential.networks.parameters.items():
            moved = (value - before[name]).reshape(6, -1).abs().amax(1)
            idle = name in ("1.unused", "1.last.bias")
            assert bool((moved == 0).all() if idle else (moved > 1e-6).all()), name
        logits = sequential.networks.logits(PROBE)
        assert all((logits[k] - logits[j]).abs().max() > 1e-4 for k in range(6) for j in range(k))

    def test_buffers_of_members_differ(self) -> None:
        for body, name in (("cnn, batch norm", "2.running_mean"), ("odd", "1.average")):
            rows = train(task_of(body), LOSSES, EQUAL, SGD).networks.buffers[name]
            assert all(not torch.equal(rows[k], rows[j]) for k in range(6) for j in range(k))

    def test_counters_count(self) -> None:
        for body, name in (("cnn, batch norm", "2.num_batches_tracked"), ("odd", "1.calls")):
            assert train(task_of(body), LOSSES, MIXED, SGD).networks.buffers[name].tolist() == [9] * 6

    @pytest.mark.parametrize("schedule", ["constant", "step", "cosine", "one-cycle"])
    def test_schedules(self, schedule: Any) -> None:
        recipe = Recipe(lr=0.1, steps=8, batch_size=12, schedule=schedule)
        trained = assert_backends_agree(task_of("mlp"), LOSSES, MIXED, recipe)
        assert trained.curve is not None
        assert trained.curve.shape == (6, 3)

    def test_momentum(self) -> None:
        for momentum in (0.0, 0.99):
            assert_backends_agree(
                task_of("mlp"), LOSSES, EQUAL, Recipe(lr=0.1, momentum=momentum, epochs=2, batch_size=10)
            )

    @pytest.mark.parametrize("seeds", [EQUAL, MIXED])
    @pytest.mark.parametrize("samples", [7, 12, 23, 24, 25])
    def test_batches(self, samples: int, seeds: list[int]) -> None:
        trained = assert_backends_agree(task_of("mlp", samples), LOSSES, seeds, SGD)
        per_epoch = {7: 1, 12: 1, 23: 1, 24: 2, 25: 2}[samples]
        steps = train(task_of("odd", samples), LOSSES, seeds, SGD).networks.buffers["1.calls"]
        assert steps.tolist() == [3 * per_epoch] * 6
        assert trained.curve is not None
        assert trained.curve.shape == (6, 3)

    @pytest.mark.parametrize("body", ["mlp", "cnn, batch norm, dropout"])
    @pytest.mark.parametrize("seeds", [EQUAL, MIXED], ids=["equal seeds", "mixed seeds"])
    def test_soft_targets(self, seeds: list[int], body: str) -> None:
        task = task_of(body, soft=True)
        soft = assert_backends_agree(task, LOSSES, seeds, SGD)
        hard = train(Task(task.factory, task.inputs, task.targets.argmax(1), CLASSES), LOSSES, seeds, SGD)
        assert (soft.networks.logits(PROBE) - hard.networks.logits(PROBE)).abs().max() > 1e-3

    def test_one_hot_targets_are_indices(self) -> None:
        task = task_of("mlp")
        one_hot = Task(task.factory, task.inputs, functional.one_hot(task.targets, CLASSES).double(), CLASSES)
        for backend in BACKENDS:
            assert_agree(train(task, LOSSES, MIXED, SGD, backend), train(one_hot, LOSSES, MIXED, SGD, backend))

    def test_float32(self) -> None:
        for body in ("mlp", "cnn", "mlp, dropout"):
            assert_backends_agree(task_of(body, kind=torch.float32), LOSSES, MIXED, RECIPES["SGD, clipped"], 1e-5)

    @pytest.mark.parametrize("member", range(6))
    @pytest.mark.parametrize("body", ["mlp", "cnn, batch norm, dropout", "odd"])
    def test_one_alone(self, body: str, member: int) -> None:
        task, alone = task_of(body), LOSSES[member : member + 1]
        together = train(task, LOSSES, MIXED, SGD, "population", MONITOR)
        one = assert_backends_agree(task, alone, [MIXED[member]], SGD)
        for name, value in states(one.networks).items():
            torch.testing.assert_close(states(together.networks)[name][member], value[0], rtol=1e-9, atol=1e-9)

    def test_nothing_to_average_over(self) -> None:
        """The mean over a batch of the closed form is the criterion's, one sample in a batch included."""
        assert_backends_agree(task_of("mlp", 5), LOSSES, MIXED, Recipe(lr=0.02, epochs=2, batch_size=1))

    def test_constant_without_effect(self) -> None:
        """A constant in γ (c1) changes no weight: theory §2."""
        shifted = mse() + PowerLoss((Term(1, 0, 0),), torch.tensor([10.0]))
        for backend in BACKENDS:
            trained = train(task_of("mlp"), Loss.stack([mse(), shifted]), [3, 3], SGD, backend)
            logits = trained.networks.logits(PROBE)
            torch.testing.assert_close(logits[0], logits[1], rtol=1e-12, atol=1e-12)


class TestSequentialIsPyTorch:
    """Sequential against a loop that is written out here."""

    @staticmethod
    def by_hand(
        task: Task, criterion: Callable[[Tensor, Tensor], Tensor], seed: int, recipe: Recipe
    ) -> tuple[nn.Module, list[float]]:
        samples = len(task.inputs)
        per_epoch = max(1, samples // recipe.batch_size)
        total = recipe.epochs * per_epoch
        scores: list[float] = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, "weights"))
            network = task.factory()
            torch.manual_seed(derive(seed, "dropout"))
            trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
            optimizer: torch.optim.Optimizer
            if recipe.optimizer == "sgd":
                optimizer = torch.optim.SGD(
                    trained, recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, foreach=False
                )
            else:
                optimizer = torch.optim.AdamW(
                    trained, recipe.lr, betas=(recipe.momentum, 0.999), weight_decay=recipe.weight_decay, foreach=False
                )
            schedule = scheduler(optimizer, recipe, total)
            for epoch in range(recipe.epochs):
                network.train()
                shuffled = torch.Generator().manual_seed(derive(seed, "batches", epoch))
                order = torch.randperm(samples, generator=shuffled)
                for batch in order[: per_epoch * recipe.batch_size].split(recipe.batch_size):
                    optimizer.zero_grad()
                    criterion(network(task.inputs[batch]), task.targets[batch]).backward()
                    if recipe.clip is not None:
                        nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
                    optimizer.step()
                    schedule.step()
                network.eval()
                with torch.no_grad():
                    scores.append((network(PROBE).argmax(1) == PROBE_TARGETS).double().mean().item())
        return network, scores

    def check(self, task: Task, criterion: Any, loss: Loss, recipe: Recipe) -> None:
        expected, scores = self.by_hand(task, criterion, 3, recipe)
        trained = train(task, Loss.stack([loss]), [3], recipe, "sequential", MONITOR)
        found = trained.networks.member(0)
        for (name, value), (same, other) in zip(found.state_dict().items(), expected.state_dict().items(), strict=True):
            assert name == same
            torch.testing.assert_close(value, other, rtol=1e-11, atol=1e-11)
        assert trained.curve is not None
        assert trained.curve.tolist() == [scores]

    @pytest.mark.parametrize("body", BODIES)
    @pytest.mark.parametrize("recipe", RECIPES)
    def test_cross_entropy(self, body: str, recipe: str) -> None:
        self.check(task_of(body), nn.CrossEntropyLoss(), cross_entropy(), RECIPES[recipe])

    @pytest.mark.parametrize("schedule", ["constant", "step", "cosine", "one-cycle"])
    def test_schedules(self, schedule: Any) -> None:
        recipe = Recipe(lr=0.1, epochs=5, batch_size=8, schedule=schedule)
        self.check(task_of("mlp"), nn.CrossEntropyLoss(), cross_entropy(), recipe)

    def test_samples_fewer_than_a_batch(self) -> None:
        self.check(task_of("mlp", 7), nn.CrossEntropyLoss(), cross_entropy(), SGD)

    def test_soft_targets(self) -> None:
        self.check(task_of("mlp", soft=True), nn.CrossEntropyLoss(), cross_entropy(), SGD)

    def test_other_losses(self) -> None:
        def brier(logits: Tensor, targets: Tensor) -> Tensor:
            return (logits.softmax(1) - functional.one_hot(targets, CLASSES)).square().sum(1).mean()

        def absolute(logits: Tensor, targets: Tensor) -> Tensor:
            return functional.l1_loss(logits.softmax(1), functional.one_hot(targets, CLASSES).double()) * CLASSES / 2

        smoothed = cross_entropy().smoothed(0.2, CLASSES)
        self.check(task_of("mlp"), nn.CrossEntropyLoss(label_smoothing=0.2), smoothed, SGD)
        self.check(task_of("mlp"), brier, mse(), SGD)
        self.check(task_of("mlp"), absolute, mae(), SGD)


def scheduler(optimizer: torch.optim.Optimizer, recipe: Recipe, total: int) -> torch.optim.lr_scheduler.LRScheduler:
    match recipe.schedule:
        case "constant":
            return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
        case "step":
            milestones = [round(share * total) for share in recipe.milestones]
            return torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, recipe.decay)
        case "cosine":
            return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
        case "one-cycle":
            return torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total, cycle_momentum=False)


# Sizes are whole vectors of the processor here, so that no member's arithmetic falls on the end of a loop.
WHOLE: dict[str, Body] = {
    "mlp": lambda: [nn.Flatten(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16)],
    "mlp, dropout": lambda: [
        nn.Flatten(),
        nn.Linear(16, 32),
        nn.ReLU(),
        nn.Dropout(0.4),
        nn.Linear(32, 16),
    ],
    "cnn": lambda: [nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 16)],
}


class TestIsolation:
    ORDER = (4, 2, 0, 5, 3, 1)

    @pytest.mark.parametrize("body", WHOLE)
    @pytest.mark.parametrize("seeds", [EQUAL, MIXED], ids=["equal seeds", "mixed seeds"])
    @pytest.mark.parametrize("recipe", ["SGD, clipped", "AdamW"])
    def test_permuted_members(self, body: str, seeds: list[int], recipe: str) -> None:
        rule = RECIPES[recipe].model_copy(update={"batch_size": 16})
        task = task_of(WHOLE[body], kind=torch.float32)
        straight = train(task, LOSSES, seeds, rule, "population", MONITOR)
        permuted = train(task, LOSSES[list(self.ORDER)], [seeds[k] for k in self.ORDER], rule, "population", MONITOR)
        assert_equal(permuted, straight, range(6), self.ORDER)

    @pytest.mark.parametrize("body", BODIES)
    def test_permuted_members_to_rounding(self, body: str) -> None:
        task, order = task_of(body), list(self.ORDER)
        straight = train(task, LOSSES, MIXED, SGD, "population", MONITOR)
        permuted = train(task, LOSSES[order], [MIXED[k] for k in order], SGD, "population", MONITOR)
        for name, value in states(straight.networks).items():
            torch.testing.assert_close(states(permuted.networks)[name], value[order], rtol=1e-9, atol=1e-9)

    @pytest.mark.parametrize("body", ["mlp", "cnn", "mlp, batch norm", "cnn, batch norm, dropout", "odd"])
    @pytest.mark.parametrize(
        ("recipe", "multiple"),
        [("SGD", 1e30), ("SGD", 1e300), ("SGD, clipped", 1e300), ("AdamW", 1e300), ("AdamW, clipped", 1e300)],
    )
    def test_a_diverging_member(self, body: str, recipe: str, multiple: float) -> None:
        """The third and the last member diverge: the others are what they are beside sound members, bit for bit."""
        task, seeds = task_of(body, kind=torch.float32), MIXED
        factors = torch.tensor([1, 1, multiple, 1, 1, multiple], dtype=torch.float64)
        sound = train(task, LOSSES, seeds, RECIPES[recipe], "population", MONITOR)
        broken = train(task, LOSSES * factors, seeds, RECIPES[recipe], "population", MONITOR)
        assert not sound.diverged.any()
        assert broken.diverged.tolist() == [False, False, True, False, False, True]
        assert_equal(broken, sound, (0, 1, 3, 4), (0, 1, 3, 4))
        assert broken.curve is not None
        assert multiple == 1e30 or broken.curve[[2, 5], -1].tolist() == [0, 0]

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_the_last_step_too(self, backend: str) -> None:
        """Every parameter is still a finite number, their products are not."""
        recipe = Recipe(lr=0.05, momentum=0, steps=1, batch_size=41)
        losses = Loss.stack([cross_entropy(), 1e30 * cross_entropy()])
        trained = train(task_of("mlp", kind=torch.float32), losses, [3, 3], recipe, backend, MONITOR)
        assert trained.networks.finite().tolist() == [True, True]
        assert trained.diverged.tolist() == [False, True]
        assert trained.curve is not None
        assert trained.curve[1].tolist() == [0]

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_all_diverge(self, backend: str) -> None:
        trained = train(task_of("cnn, batch norm", kind=torch.float32), 1e300 * LOSSES, MIXED, SGD, backend, MONITOR)
        assert trained.diverged.all()
        assert trained.curve is not None
        assert trained.curve.tolist() == [[0.0] * 3] * 6

    def test_backends_diverge_alike(self) -> None:
        losses = LOSSES * torch.tensor([1, 1e300, 1, 1e8, 1e30, 1], dtype=torch.float64)
        sequential, together = (
            train(task_of("mlp", kind=torch.float32), losses, EQUAL, SGD, backend) for backend in BACKENDS
        )
        assert sequential.diverged.tolist() == together.diverged.tolist()
        assert sequential.diverged.tolist()[:3] == [False, True, False]

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_seeds_decide_and_nothing_else(self, backend: str) -> None:
        losses = Loss.stack([cross_entropy()] * 4)
        for body in ("mlp", "mlp, dropout"):
            logits = train(task_of(body), losses, [3, 4, 3, 5], SGD, backend).networks.logits(PROBE)
            torch.testing.assert_close(logits[0], logits[2], rtol=1e-12, atol=1e-12)
            assert (logits[0] - logits[1]).abs().max() > 1e-3
            assert (logits[1] - logits[3]).abs().max() > 1e-3


class TestClipping:
    @staticmethod
    def gradients() -> list[Tensor]:
        """Those of five members: a matrix, a vector, a scalar and an unused parameter."""
        generator = torch.Generator().manual_seed(2)
        sizes = torch.tensor([0.01, 1, 100, 1e-30, 10], dtype=torch.float64)
        stacks = [torch.zeros(5, 3, 4), torch.zeros(5, 7), torch.zeros(5), torch.zeros(5, 2)]
        leaves = [stack.double().requires_grad_() for stack in stacks]
        for leaf in leaves[:3]:
            noise = torch.randn(leaf.shape, generator=generator, dtype=torch.float64)
            leaf.grad = noise * sizes.reshape(-1, *(1,) * (leaf.ndim - 1))
        return leaves

    @pytest.mark.parametrize("limit", [0.5, 3.0, 1e6])
    def test_each_member_alone(self, limit: float) -> None:
        stacked, reference = self.gradients(), self.gradients()
        clip_each([value.grad for value in stacked if value.grad is not None], limit)
        for member in range(5):
            alone = [leaf.detach()[member].clone().requires_grad_() for leaf in reference]
            for leaf, whole in zip(alone, reference, strict=True):
                leaf.grad = None if whole.grad is None else whole.grad[member].clone()
            nn.utils.clip_grad_norm_(alone, limit)
            for leaf, whole in zip(alone, stacked, strict=True):
                if leaf.grad is None:
                    assert whole.grad is None
                else:
                    assert whole.grad is not None
                    torch.testing.assert_close(whole.grad[member], leaf.grad, rtol=1e-14, atol=0)

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_not_finite(self, value: float) -> None:
        stacked, reference = self.gradients(), self.gradients()
        assert stacked[1].grad is not None
        stacked[1].grad[2, 3] = value
        for values in (stacked, reference):
            clip_each([value.grad for value in values if value.grad is not None], 0.5)
        for leaf, whole in zip(stacked[:3], reference[:3], strict=True):
            assert leaf.grad is not None
            assert whole.grad is not None
            sound = [0, 1, 3, 4]
            assert torch.equal(leaf.grad[sound], whole.grad[sound])
        assert stacked[1].grad[2, 3].isnan()

    def test_it_acts(self) -> None:
        task = task_of("mlp")
        free, clipped = (
            train(task, LOSSES, EQUAL, RECIPES["SGD, clipped"].model_copy(update={"clip": clip})).networks.logits(PROBE)
            for clip in (None, 0.3)
        )
        assert ((free - clipped).flatten(1).abs().amax(1) > 1e-3).any()


class MaskSum(nn.Module):
    """Keeps every mask that dropout draws, as the digits of a number."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(12, 8, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        mask = functional.dropout(torch.ones_like(x), 0.5)
        self.seen.mul_(2).add_((mask > 0).double())
        return x * mask


class TestRandomness:
    @staticmethod
    def body() -> list[nn.Module]:
        return [nn.Flatten(), nn.Linear(16, 8), MaskSum(), nn.Linear(8, CLASSES)]

    def test_masks(self) -> None:
        task = task_of(self.body)
        losses, seeds = Loss.stack([cross_entropy(), mse(), mae(), gce()]), [3, 4, 3, 5]
        together = train(task, losses, seeds, SGD, "population").networks.buffers["3.seen"]
        for member, seed in enumerate(seeds):
            for backend in BACKENDS:
                alone = train(task, losses[member : member + 1], [seed], SGD, backend).networks.buffers["3.seen"][0]
                assert torch.equal(together[member], alone)
        assert torch.equal(together[0], together[2])
        assert not torch.equal(together[0], together[1])
        assert len(together[0].unique()) > 50

    @pytest.mark.parametrize("body", BODIES)
    @pytest.mark.parametrize("backend", BACKENDS)
    def test_twice_the_same(self, backend: str, body: str) -> None:
        task = task_of(body, kind=torch.float32)
        first, second = (train(task, LOSSES, MIXED, SGD, backend, MONITOR) for _ in range(2))
        assert_equal(first, second, range(6), range(6))

    def test_nothing_global_is_touched(self) -> None:
        def everything() -> list[Any]:
            return [
                torch.get_rng_state().tolist(),
                random.getstate(),
                repr(np.random.get_state()),  # noqa: NPY002 - the global generator must not be used
                torch.get_default_dtype(),
                torch.get_num_threads(),
                torch.is_grad_enabled(),
                torch.are_deterministic_algorithms_enabled(),
            ]

        task, few = task_of("cnn, batch norm, dropout"), LOSSES[:2]
        before = everything()
        task.build(3)
        assert everything() == before
        for backend in BACKENDS:
            train(task, few, [3, 4], SGD, backend, MONITOR)
            assert everything() == before
        choose_backend("auto", task, few, [3, 4], SGD, 10)
        assert everything() == before

    def test_global_state_does_not_matter(self) -> None:
        task = task_of("cnn, batch norm, dropout")
        for backend in BACKENDS:
            outcomes = []
            for state in (11, 12):
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(state)
                    outcomes.append(train(task, LOSSES, MIXED, SGD, backend, MONITOR))
            assert_equal(outcomes[0], outcomes[1], range(6), range(6))

    def test_random_state_after_an_error(self) -> None:
        before = torch.get_rng_state()

        def fail() -> None:
            with seeded(torch.device("cpu"), 1, "weights"):
                torch.rand(3)
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.parametrize("body", BODIES)
    def test_is_stochastic(self, body: str) -> None:
        task = task_of(body)
        assert is_stochastic(task.build(3), task.inputs[:12]) == ("dropout" in body or "noise" in body)

    def test_initial_weights(self) -> None:
        task = task_of("mlp")
        assert all(
            torch.equal(a, b) for a, b in zip(task.build(3).parameters(), task.build(3).parameters(), strict=True)
        )
        assert not torch.equal(next(task.build(3).parameters()), next(task.build(4).parameters()))

    def test_batches(self) -> None:
        assert batch_order(3, 0, 50).sort().values.tolist() == list(range(50))
        assert torch.equal(batch_order(3, 1, 50), batch_order(3, 1, 50))
        assert not torch.equal(batch_order(3, 0, 50), batch_order(3, 1, 50))
        assert not torch.equal(batch_order(3, 0, 50), batch_order(4, 0, 50))


def random_networks(body: str | Body, seeds: Sequence[int] = (3, 4, 5)) -> Networks:
    """Untrained networks, with statistics of batch norm that no two of them share."""
    task = task_of(body)
    built = [task.build(seed) for seed in seeds]
    for network in built:
        with seeded(torch.device("cpu"), 1):
            network.train()(task.inputs)
    pairs = [own_state(network) for network in built]
    return Networks(
        built[0],
        {name: torch.stack([parameters[name] for parameters, _ in pairs]) for name in pairs[0][0]},
        {name: torch.stack([buffers[name] for _, buffers in pairs]) for name in pairs[0][1]},
    )


class TestNetworks:
    @pytest.mark.parametrize("body", BODIES)
    def test_logits(self, body: str) -> None:
        networks = random_networks(body)
        logits = networks.logits(PROBE)
        assert len(networks) == 3
        assert logits.shape == (3, len(PROBE), CLASSES)
        assert not logits.requires_grad
        separate = Networks(networks.base, networks.parameters, networks.buffers, vectorized=False)
        for other in (networks.logits(PROBE, batch=7), separate.logits(PROBE), separate.logits(PROBE, batch=7)):
            torch.testing.assert_close(other, logits, rtol=1e-12, atol=1e-12)
        for row, seed in enumerate((3, 4, 5)):
            network = task_of(body).build(seed)
            with seeded(torch.device("cpu"), 1):
                network.train()(task_of(body).inputs)
            torch.testing.assert_close(network.eval()(PROBE), logits[row], rtol=1e-12, atol=1e-12)

    def test_many_networks_take_smaller_batches(self) -> None:
        networks = random_networks("mlp", range(40))
        assert networks.logits(data(250)[0]).shape == (40, 250, CLASSES)

    @pytest.mark.parametrize("body", BODIES)
    def test_member(self, body: str) -> None:
        networks = random_networks(body)
        logits, kept = networks.logits(PROBE), copy.deepcopy((networks.parameters, networks.buffers))
        for index in (0, 2, -1):
            network = networks.member(index)
            assert all(not module.training for module in network.modules())
            torch.testing.assert_close(network(PROBE), logits[index], rtol=1e-12, atol=1e-12)
            for name, parameter in network.named_parameters():
                assert parameter.is_leaf
                assert parameter.requires_grad == (name != "1.last.bias")
                assert torch.equal(parameter, networks.parameters[name][index])
            for name, buffer in network.named_buffers():
                if name in networks.buffers:
                    assert torch.equal(buffer, networks.buffers[name][index])
            with torch.no_grad():
                for tensor in (*network.parameters(), *network.buffers()):
                    tensor.zero_()
        for state, before in zip((networks.parameters, networks.buffers), kept, strict=True):
            assert all(torch.equal(value, before[name]) for name, value in state.items())
        assert torch.equal(networks.logits(PROBE), logits)

    @pytest.mark.parametrize("backend", BACKENDS)
    @pytest.mark.parametrize("body", BODIES)
    def test_member_of_a_training(self, body: str, backend: str) -> None:
        networks = train(task_of(body), LOSSES[:3], [3, 4, 3], SGD, backend).networks
        for index in range(3):
            network = networks.member(index)
            torch.testing.assert_close(network(PROBE), networks.logits(PROBE)[index], rtol=1e-12, atol=1e-12)
            trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
            network(PROBE).sum().backward()
            assert any(parameter.grad is not None for parameter in trained)

    def test_tied_weights_stay_tied(self) -> None:
        odd = cast(Any, random_networks("odd").member(1))[1]
        assert odd.first.weight is odd.second.weight

    @pytest.mark.parametrize(
        ("body", "name", "value"),
        [
            ("cnn, batch norm", "1.weight", math.nan),
            ("cnn, batch norm", "2.running_var", math.inf),
            ("odd", "1.scale", -math.inf),
            ("odd", "1.average", math.nan),
        ],
    )
    def test_finite(self, body: str, name: str, value: float) -> None:
        networks = random_networks(body)
        assert networks.finite().tolist() == [True] * 3
        {**networks.parameters, **networks.buffers}[name].reshape(3, -1)[1, 0] = value
        assert networks.finite().tolist() == [True, False, True]

    def test_gather(self) -> None:
        parts = [random_networks("cnn, batch norm", seeds) for seeds in ((3, 4), (5,), (6, 7))]
        joined = torch.cat([part.logits(PROBE) for part in parts])
        for order in ([0, 1, 2, 3, 4], [4, 2, 0, 3, 1], [1, 1], [2]):
            gathered = Networks.gather(parts, order)
            assert len(gathered) == len(order)
            torch.testing.assert_close(gathered.logits(PROBE), joined[order], rtol=1e-12, atol=1e-12)

    def test_snapshots_stay(self) -> None:
        """Networks taken from a run in work are not changed by its next steps."""
        task = task_of("cnn, batch norm")
        for run in (start(task, LOSSES[:2], [3, 3], SGD), start(task, LOSSES[:1], [3], SGD, "sequential")):
            run.step()
            taken = run.networks()
            before = states(taken)
            run.step()
            for name, value in states(taken).items():
                assert torch.equal(value, before[name])

    def test_shared_buffers(self) -> None:
        network = task_of("cnn, batch norm").build(3)
        assert set(shared_buffers(network)) == {"0.mean", "0.std"}
        assert set(shared_buffers(Normalize.fit(PROBE))) == {"mean", "std"}
        parameters, buffers = own_state(network)
        assert not parameters.keys() & buffers.keys()
        assert set(buffers) == {"2.running_mean", "2.running_var", "2.num_batches_tracked"}
        assert input_dim(random_networks("cnn").parameters) is None
        assert input_dim(random_networks("mlp").parameters) == 0


class TestAccuracy:
    def test_shares(self) -> None:
        logits = torch.tensor([[[1.0, 0], [0, 1], [2, 1], [1, 2]], [[0, 1], [0, 1], [0, 1], [0, 1]]])
        found = accuracy(logits, torch.tensor([0, 1, 1, 1]))
        assert found.dtype == torch.float64
        assert found.tolist() == [0.75, 0.75]

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_not_finite(self, value: float) -> None:
        logits = torch.eye(3).repeat(2, 1, 1)
        logits[1, 2, 0] = value
        assert accuracy(logits, torch.arange(3)).tolist() == [1.0, 0.0]


class TestLength:
    """Epochs and steps, early stopping, curves and ticks."""

    @pytest.mark.parametrize("backend", BACKENDS)
    @pytest.mark.parametrize("schedule", ["constant", "step", "cosine", "one-cycle"])
    @pytest.mark.parametrize("body", ["mlp", "cnn, batch norm, dropout"])
    def test_stop(self, body: str, schedule: Any, backend: str) -> None:
        task = task_of(body, kind=torch.float32)
        recipe = Recipe(lr=0.1, epochs=4, batch_size=12, schedule=schedule)
        full = train(task, LOSSES[:3], [3, 4, 3], recipe, backend, MONITOR)
        stopped = train(task, LOSSES[:3], [3, 4, 3], recipe, backend, MONITOR, stop=2)
        assert full.curve is not None
        assert stopped.curve is not None
        assert torch.equal(stopped.curve, full.curve[:, :2])
        unmonitored = train(task, LOSSES[:3], [3, 4, 3], recipe, backend, stop=2)
        assert unmonitored.curve is None
        for name, value in states(stopped.networks).items():
            assert torch.equal(value, states(unmonitored.networks)[name])
        late = train(task, LOSSES[:3], [3, 4, 3], recipe, backend, MONITOR, stop=9)
        assert_equal(late, full, range(3), range(3))
        short = train(task, LOSSES[:3], [3, 4, 3], recipe.model_copy(update={"epochs": 2}), backend, MONITOR)
        assert torch.equal(short.networks.logits(PROBE), stopped.networks.logits(PROBE)) == (schedule == "constant")

    @pytest.mark.usefixtures("without_program")
    @pytest.mark.parametrize("schedule", ["step", "cosine", "one-cycle"])
    def test_stop_leaves_the_schedule(self, schedule: Any) -> None:
        task = task_of("mlp")
        recipe = Recipe(lr=0.1, epochs=4, batch_size=12, schedule=schedule)
        for backend in BACKENDS:
            run = start(task, Loss.stack([cross_entropy()]), [3], recipe, backend)
            rates = []
            for _ in range(6):
                run.step()
                rates.append(run.optimizer.param_groups[0]["lr"])
            assert rates == [recipe.rate(step, 12) for step in range(6)]
            stopped = train(task, Loss.stack([cross_entropy()]), [3], recipe, backend, stop=2)
            # The weights, not the logits: those may be rounded otherwise where the weights lie otherwise in memory.
            for name, value in run.networks().parameters.items():
                assert torch.equal(stopped.networks.parameters[name], value), name

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_steps(self, backend: str) -> None:
        task = task_of("mlp", kind=torch.float32)
        seven = train(task, LOSSES, MIXED, Recipe(steps=7, batch_size=12), backend, MONITOR)
        two = train(task, LOSSES, MIXED, Recipe(epochs=2, batch_size=12), backend, MONITOR)
        six = train(task, LOSSES, MIXED, Recipe(steps=6, batch_size=12), backend, MONITOR)
        assert seven.curve is not None
        assert two.curve is not None
        assert seven.curve.shape == (6, 3)
        assert torch.equal(seven.curve[:, :2], two.curve)
        assert_equal(six, two, range(6), range(6))
        one = train(task, LOSSES, MIXED, Recipe(steps=7, batch_size=12), backend, MONITOR, stop=1)
        assert one.curve is not None
        assert torch.equal(one.curve, two.curve[:, :1])

    @pytest.mark.parametrize("backend", BACKENDS)
    @pytest.mark.parametrize("body", ["mlp", "cnn, batch norm, dropout"])
    def test_curve_ends_at_the_end(self, body: str, backend: str) -> None:
        trained = train(task_of(body, kind=torch.float32), LOSSES, MIXED, SGD, backend, MONITOR)
        assert trained.curve is not None
        assert trained.curve.dtype == torch.float64
        assert torch.equal(trained.curve[:, -1], accuracy(trained.networks.logits(PROBE), PROBE_TARGETS))

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_looking_changes_nothing(self, backend: str) -> None:
        task = task_of("cnn, batch norm, dropout", kind=torch.float32)
        watched = train(task, LOSSES, MIXED, SGD, backend, MONITOR, progress=lambda share: None)
        alone = train(task, LOSSES, MIXED, SGD, backend)
        for name, value in states(watched.networks).items():
            assert torch.equal(value, states(alone.networks)[name])

    @pytest.mark.parametrize(
        ("body", "backend", "runs"),
        [("mlp", "sequential", 6), ("mlp", "population", 1), ("mlp, dropout", "population", 4)],
    )
    def test_progress(self, body: str, backend: str, runs: int) -> None:
        shares: list[float] = []
        train(task_of(body), LOSSES, MIXED, Recipe(steps=7, batch_size=12), backend, progress=shares.append)
        assert len(shares) == 3 * runs
        assert shares == sorted(set(shares))
        assert shares[0] > 0
        assert shares[-1] == 1.0

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_one_seed_for_each(self, backend: str) -> None:
        with pytest.raises(InputError, match="6 losses need as many seeds, not 2"):
            train(task_of("mlp"), LOSSES, [1, 2], SGD, backend)
        with pytest.raises(InputError, match="not a population"):
            train(task_of("mlp"), cross_entropy(), [1], SGD, backend)

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_number_of_classes(self, backend: str) -> None:
        other = Loss.stack([cross_entropy().smoothed(0.1, CLASSES + 1)])
        with pytest.raises(InputError, match="made for 5 classes and was called with 4"):
            train(task_of("mlp"), other, [1], SGD, backend)

    def test_repeated(self) -> None:
        twice = repeated(LOSSES, 3)
        assert len(twice) == 18
        assert all(twice[k] == LOSSES[k // 3] for k in range(18))

    def test_members_of_one_network_are_in_order(self) -> None:
        """Groups of equal seeds are trained apart where there is dropout, and come back in member order."""
        task = task_of("mlp, dropout")
        together = train(task, LOSSES, [5, 3, 5, 4, 3, 5], SGD, "population", MONITOR)
        for member, seed in enumerate([5, 3, 5, 4, 3, 5]):
            alone = train(task, LOSSES[member : member + 1], [seed], SGD, "sequential", MONITOR)
            torch.testing.assert_close(
                together.networks.logits(PROBE)[member], alone.networks.logits(PROBE)[0], rtol=1e-9, atol=1e-9
            )
            assert alone.curve is not None
            assert together.curve is not None
            assert torch.equal(together.curve[member], alone.curve[0])


@dataclass
class Bench:
    """Stands in for the measurement: seconds by backend, None where it fails."""

    seconds: dict[str, float | None]
    error: type[Exception] = RuntimeError

    def __post_init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, trainer: Trainer, losses: Loss, seeds: Sequence[int], recipe: Recipe, backend: Backend) -> float:
        self.asked.append(str(backend))
        seconds = self.seconds[str(backend)]
        if seconds is None:
            raise self.error("the network cannot do that")
        return seconds


class TestChoice:
    @staticmethod
    def choose(monkeypatch: pytest.MonkeyPatch, bench: Bench, batches: int, compiler: bool = True) -> Choice:
        monkeypatch.setattr(tuner_module, "measure", bench)
        monkeypatch.setattr(tuner_module, "has_compiler", lambda device: compiler)
        # What is compiled is compared elsewhere.
        monkeypatch.setattr(Agreement, "disagreement", lambda *_: None)
        return measured_choice(Trainer(task_of("mlp")), LOSSES, EQUAL, SGD, batches)

    @pytest.mark.parametrize(("mlp", "single", "wanted"), [(1.0, 2.0, "mlp"), (2.0, 1.0, "sequential")])
    def test_the_faster(self, monkeypatch: pytest.MonkeyPatch, mlp: float, single: float, wanted: str) -> None:
        bench = Bench({"mlp": mlp, "sequential": single})
        choice = self.choose(monkeypatch, bench, 10)
        assert str(choice.backend) == wanted
        assert choice.seconds == {"mlp": mlp, "sequential": single}
        assert sorted(bench.asked) == ["mlp", "sequential"]

    @pytest.mark.parametrize("best", ["sequential", "mlp"])
    @pytest.mark.parametrize("compiled", [0.5, 0.8, 1.5])
    def test_both_are_compiled_where_it_is_long(
        self, monkeypatch: pytest.MonkeyPatch, best: str, compiled: float
    ) -> None:
        """Eager backends can be bound by the interpreter, so the slower of them may be the faster one compiled."""
        of = {"sequential": "sequential-compiled", "mlp": "vmap-compiled"}
        other = {"sequential": "mlp", "mlp": "sequential"}[best]
        seconds: dict[str, float | None] = {
            **{"mlp": 2.0, "sequential": 2.0, best: 1.0},
            **{of[best]: compiled, of[other]: 0.7},
        }
        bench = Bench(seconds)
        choice = self.choose(monkeypatch, bench, 301)
        assert bench.asked[2:] == ["sequential-compiled", "vmap-compiled"]
        assert str(choice.backend) == (of[best] if compiled < 0.7 else of[other])
        assert choice.seconds == seconds

    def test_what_is_many_times_slower_is_not_compiled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        bench = Bench({"mlp": 10.0, "sequential": 1.0, "sequential-compiled": 2.0})
        assert self.choose(monkeypatch, bench, 301).backend == Backend("sequential")
        assert bench.asked == ["mlp", "sequential", "sequential-compiled"]

    @pytest.mark.parametrize(("batches", "compiler"), [(300, True), (301, False)])
    def test_not_compiled(self, monkeypatch: pytest.MonkeyPatch, batches: int, compiler: bool) -> None:
        bench = Bench({"mlp": 1.0, "sequential": 2.0})
        assert self.choose(monkeypatch, bench, batches, compiler).backend == Backend("mlp")
        assert len(bench.asked) == 2

    @pytest.mark.parametrize("error", [RuntimeError, NotImplementedError, OSError, AssertionError, DeprecationWarning])
    def test_compiling_fails(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: type[Exception]
    ) -> None:
        bench = Bench({"mlp": 1.0, "sequential": 2.0, "sequential-compiled": 3.0, "vmap-compiled": None}, error)
        choice = self.choose(monkeypatch, bench, 10_000)
        assert choice.backend == Backend("mlp")
        assert choice.seconds == {"mlp": 1.0, "sequential": 2.0, "sequential-compiled": 3.0}
        assert choice.failed.keys() == {"vmap-compiled"}
        assert capsys.readouterr() == ("", "")

    def test_cannot_be_vectorized(self, monkeypatch: pytest.MonkeyPatch) -> None:
        bench = Bench({"mlp": None, "sequential": 2.0, "sequential-compiled": 3.0})
        choice = self.choose(monkeypatch, bench, 10_000)
        assert choice.backend == Backend("sequential")
        assert choice.seconds == {"sequential": 2.0, "sequential-compiled": 3.0}

    def test_fails_in_backends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(RuntimeError, match="cannot do that"):
            self.choose(monkeypatch, Bench({"mlp": None, "sequential": None}), 10)

    def test_a_network_that_vmap_does_not_know(self) -> None:
        def body() -> list[nn.Module]:
            return [nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8, momentum=None), nn.Linear(8, CLASSES)]

        task = task_of(body)
        assert choose_backend("auto", task, LOSSES, EQUAL, SGD, 10) == Backend("sequential")
        assert not train(task, LOSSES, EQUAL, SGD, "sequential").diverged.any()

    def test_measure(self) -> None:
        for body, seeds in (("mlp", EQUAL), ("mlp, dropout", MIXED)):
            for name in BACKENDS:
                backend = Backend.parse(name)
                assert 0 < measure(Trainer(task_of(body)), LOSSES, seeds, SGD, backend, budget=0.0) < 60

    def test_measure_counts_all_members(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Sequential is measured on one member for all of them; every tick of this clock is a second."""
        clock = iter(range(10_000))

        def tick() -> float:
            return float(next(clock))

        monkeypatch.setattr(tuner_module, "time", SimpleNamespace(perf_counter=tick, process_time=tick))
        population = Backend("population")
        assert measure(Trainer(task_of("mlp")), LOSSES, EQUAL, SGD, Backend("sequential")) == 6.0
        assert measure(Trainer(task_of("mlp")), LOSSES, EQUAL, SGD, population) == 1.0
        assert measure(Trainer(task_of("mlp, dropout")), LOSSES, MIXED, SGD, population) == 4.0

    @pytest.mark.parametrize(("backend", "batches"), [("sequential", 1), ("mlp", 3)])
    def test_other_work_on_the_machine_does_not_count(
        self, monkeypatch: pytest.MonkeyPatch, backend: str, batches: int
    ) -> None:
        """All but one time are interrupted; a backend that trains on an epoch at once is timed so."""
        asked, now, lengths = list[int](), [0.0], iter([5.0, 0.001, *[5.0] * 5, 0.012])

        def trained(_: Any, number: int) -> None:
            asked.append(number)
            now[0] += next(lengths)

        monkeypatch.setattr(tuner_module, "advance", trained)
        clock = SimpleNamespace(perf_counter=lambda: now[0], process_time=lambda: 0.003 * (len(asked) == 3))
        monkeypatch.setattr(tuner_module, "time", clock)
        trainer = Trainer(task_of("mlp"))
        epoch = Recipe(batch_size=len(trainer.task.inputs) // 3)
        members = 1 if backend == "mlp" else len(EQUAL)
        found = measure(trainer, LOSSES, EQUAL, epoch, Backend.parse(backend))
        assert found == pytest.approx(0.012 / batches * members)
        assert asked == [1, 1, 1, *[batches] * 5]

    def test_has_compiler(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found: set[str] = set()
        tools = SimpleNamespace(which=lambda name: name if name in found else None)
        monkeypatch.setattr("lossmith.training.engines.compiler.shutil", tools)
        assert not has_compiler(torch.device("cpu"))
        found.add("clang++")
        assert has_compiler(torch.device("cpu"))
        triton: list[object] = [None, object()]
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: {"triton": triton[0]}[name])
        assert not has_compiler(torch.device("cuda"))
        triton.pop(0)
        assert has_compiler(torch.device("cuda"))
        assert not has_compiler(torch.device("meta"))


@pytest.mark.skipif(not has_compiler(torch.device("cpu")), reason="torch.compile needs a C++ compiler")
# torch 2.13 imports its own deprecated torch.jit with the C++ back end.
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize(("backend", "body"), [("vmap-compiled", "mlp"), ("sequential-compiled", "mlp, dropout")])
def test_compiled_is_uncompiled(backend: str, body: str) -> None:
    task, losses, recipe = task_of(body), LOSSES[[0, 1, 4]], RECIPES["SGD, clipped"]
    torch.compiler.reset()
    # Without vector instructions: to find out which the compiler knows takes most of the time.
    with inductor.patch({"cpp.vec_isa_ok": False}):
        compiled = train(task, losses, [3, 3, 3], recipe, backend, MONITOR)
    torch.compiler.reset()
    assert_agree(compiled, train(task, losses, [3, 3, 3], recipe, "sequential", MONITOR))


@pytest.mark.parametrize("backend", ["sequential-compiled", "vmap-compiled"])
def test_one_compilation_for_all_losses_of_a_search(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[torch.fx.GraphModule] = []

    def capture(graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable[..., Any]:
        made.append(graph)
        return graph.forward

    monkeypatch.setattr(base_module, "compiled_like_eager", lambda forward: torch.compile(forward, backend=capture))
    torch.compiler.reset()
    trainer, recipe = Trainer(task_of("mlp, dropout")), Recipe(epochs=1, batch_size=10)
    for chunk, seed in (([0, 1], 3), ([2, 4], 3), ([3, 0], 5)):
        trainer.train(LOSSES[chunk], [seed, seed], recipe, backend, monitor=MONITOR)
    torch.compiler.reset()
    assert len(made) == 1


def test_a_network_that_cannot_be_vectorized_is_refused_with_a_sentence_in_the_population_backend() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.linear(x)
            return out if float(out.detach().sum()) > 0 else -out

    task = Task(Branching, torch.randn(8, 4), torch.arange(8) % 3, 3)
    losses = Loss.stack([cross_entropy(), mse()])
    with pytest.raises(InputError, match="training = sequential"):
        train(task, losses, [0, 0], Recipe(epochs=1, batch_size=4), "population")
    assert len(train(task, losses, [0, 0], Recipe(epochs=1, batch_size=4), "sequential").networks) == 2


def test_a_network_with_a_recurrent_layer_is_told_to_be_trained_one_by_one() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = nn.LSTM(4, 3, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            outputs: Tensor = self.recurrent(x[:, None])[0]
            return outputs[:, -1]

    task = Task(Recurrent, torch.randn(8, 4), torch.arange(8) % 3, 3)
    losses = Loss.stack([cross_entropy(), mse()])
    with pytest.raises(InputError, match="training = sequential"):
        train(task, losses, [0, 0], Recipe(epochs=1, batch_size=4), "population")
    assert len(train(task, losses, [0, 0], Recipe(epochs=1, batch_size=4), "sequential").networks) == 2
