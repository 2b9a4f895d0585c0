"""The compiled program for small convolutional networks: it trains as sequential does, or leaves it to others."""

import ctypes
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lossmith import Loss, cross_entropy, find, mse
from lossmith.data import Normalize
from lossmith.nets import Dropout
from lossmith.nets.bodies import conv
from lossmith.search import residual
from lossmith.seeds import generator
from lossmith.training import Backend, Recipe, Task, Trained, Trainer, choose_backend, has_compiler
from lossmith.training.engines import ENGINES, native
from lossmith.training.engines.compiler import compiled
from lossmith.training.engines.design import Design
from lossmith.training.engines.layout import CHUNK, Shape
from lossmith.training.engines.native import NativeRun

CLASSES, SAMPLES = 3, 60
POINTS = 0.3 * torch.randn(2, 5, generator=generator("points"), dtype=torch.float64)
LOSSES = Loss.stack([cross_entropy(), mse(), *(residual(POINTS, CLASSES)[k] for k in (0, 1))])
KNOWN = Loss.stack([find(name, CLASSES) for name in ("focal:1", "gce:0.7", "nce-rce", "logit-clip", "jensen-shannon")])
CPU = torch.device("cpu")
needs_compiler = pytest.mark.skipif(not has_compiler(CPU), reason="there is no C++ compiler")


def ended(inputs: tuple[int, ...], *layers: nn.Module) -> list[nn.Module]:
    """The layers, and a linear one of the width that they end in."""
    width = nn.Sequential(*layers, nn.Flatten())(torch.zeros(1, *inputs)).shape[1]
    return [*layers, nn.Flatten(), nn.Linear(width, CLASSES)]


Body = tuple[tuple[int, ...], Callable[[], list[nn.Module]]]
BODIES: dict[str, Body] = {
    "built in": ((1, 8, 8), lambda: list(conv((1, 8, 8), CLASSES, hidden=(20,), dropout=0.2))),
    "built in, three stages": ((3, 14, 15), lambda: list(conv((3, 14, 15), CLASSES, hidden=(9,)))),
    "windows that leave an edge": (
        (2, 11, 8),
        lambda: ended((2, 11, 8), nn.Conv2d(2, 5, 3), nn.MaxPool2d((2, 4)), nn.ReLU(), nn.Conv2d(5, 18, (1, 1))),
    ),
    "wide border": (
        (1, 4, 5),
        lambda: ended(
            (1, 4, 5),
            *(nn.ReLU(), Dropout(0.1), nn.Conv2d(1, 21, (2, 3), padding=(3, 1), bias=False), nn.ReLU()),
            *(nn.Conv2d(21, 3, 3, padding="same"), nn.MaxPool2d(2), nn.Conv2d(3, 2, 2, padding="valid"), nn.ReLU()),
        ),
    ),
    "dropout": (
        (1, 6, 6),
        lambda: [
            *(
                nn.Conv2d(1, 9, 3),
                nn.Dropout(0.2),
                nn.ReLU(),
                nn.Conv2d(9, 5, 2, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ),
            *(
                Dropout(0.3),
                nn.Flatten(),
                Dropout(0.1),
                nn.Linear(20, 8),
                nn.ReLU(),
                Dropout(0.2),
                nn.Linear(8, CLASSES),
            ),
        ],
    ),
    "large kernels": (
        (4, 9, 9),
        lambda: ended((4, 9, 9), nn.Conv2d(4, 17, 5, padding=2), nn.MaxPool2d(3), nn.Conv2d(17, 6, 9, padding=4)),
    ),
}
RECIPES: dict[str, dict[str, Any]] = {
    "SGD": {"weight_decay": 0.01, "schedule": "cosine"},
    "clipped": {"clip": 0.3, "momentum": 0.0},
    "AdamW": {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.1, "clip": 1.0},
    "augmented, early stopping": {"crop": 1, "flip": True, "patience": 1, "sampling": "balanced"},
}


def images(purpose: str, shape: tuple[int, ...], samples: int = SAMPLES) -> Tensor:
    return torch.rand(samples, *shape, generator=generator(purpose), dtype=torch.float64)


def task_of(body: str, kind: torch.dtype = torch.float64) -> Task:
    shape, layers = BODIES[body]
    inputs, labels = images("train", shape).to(kind), (torch.arange(SAMPLES) % 5 - 2).clamp(min=0)

    def factory() -> nn.Module:
        return nn.Sequential(Normalize.fit(inputs), *layers()).to(kind)

    return Task(factory, inputs, labels, CLASSES, 1.0, (images("held out", shape).to(kind), labels))


def trained(task: Task, losses: Loss, seeds: Sequence[int], recipe: Recipe, backend: str, **more: Any) -> Trained:
    return Trainer(task).train(losses, seeds, recipe, backend, **more)


def assert_alike(found: Trained, expected: Trained) -> None:
    assert list(found.networks.parameters) == list(expected.networks.parameters)
    for name, value in expected.networks.parameters.items():
        torch.testing.assert_close(found.networks.parameters[name], value, rtol=1e-7, atol=1e-9, msg=name)


@needs_compiler
@pytest.mark.parametrize("recipe", list(RECIPES))
@pytest.mark.parametrize("body", list(BODIES))
@pytest.mark.parametrize("seeds", [[1, 1, 1, 1], [1, 2, 1, 3]])
def test_trains_as_sequential_does(used: list[int], body: str, recipe: str, seeds: list[int]) -> None:
    task, settings = task_of(body), Recipe(epochs=2, batch_size=13, **{"lr": 0.05, **RECIPES[recipe]})
    shape = BODIES[body][0]
    monitor, probe = (images("monitor", shape), torch.arange(SAMPLES) % CLASSES), images("probe", shape, 150)
    found, expected = (
        trained(task, LOSSES, seeds, settings, backend, monitor=monitor, prune_at=0.5)
        for backend in ("cnn", "sequential")
    )
    assert not expected.diverged.any()
    assert_alike(found, expected)
    torch.testing.assert_close(found.networks.logits(probe), expected.networks.logits(probe), rtol=1e-7, atol=1e-9)
    assert torch.equal(found.curve, expected.curve)  # type: ignore[arg-type]


@needs_compiler
@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "adamw", "lr": 0.01, "clip": 1.0},
        {"mixup": 0.2},
        {"class_weight": "balanced", "flooding": 0.5},
    ],
)
@pytest.mark.parametrize("body", ["built in", "wide border", "dropout"])
def test_losses_of_many_kinds(used: list[int], body: str, changes: dict[str, Any]) -> None:
    """Their slopes come from the program or from outside, between the halves of a step."""
    task, settings = task_of(body), Recipe(epochs=2, batch_size=14, **{"lr": 0.02, **changes})
    seeds = [1 + place % 2 for place in range(len(KNOWN))]
    found, expected = (trained(task, KNOWN, seeds, settings, backend) for backend in ("cnn", "sequential"))
    assert not expected.diverged.any()
    assert_alike(found, expected)


@needs_compiler
@pytest.mark.parametrize("batch", [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1, 37])
def test_every_batch(used: list[int], batch: int) -> None:
    """Batches that chunks fill, and those that leave some empty."""
    task, settings = task_of("built in, three stages"), Recipe(steps=3, epochs=1, batch_size=batch, lr=0.02)
    assert_alike(*(trained(task, LOSSES, [1, 2, 2, 1], settings, backend) for backend in ("cnn", "sequential")))


@needs_compiler
@pytest.mark.parametrize("filters", [1, 7, 8, 9, 16, 17, 33])
def test_every_width(used: list[int], filters: int) -> None:
    def layers() -> list[nn.Module]:
        first, second = nn.Conv2d(2, filters, 3, padding=1), nn.Conv2d(filters, filters + 1, 3)
        return ended((2, 6, 6), first, nn.ReLU(), second, nn.MaxPool2d(2), nn.ReLU())

    for kind, apart in ((torch.float64, 1e-9), (torch.float32, 2e-5)):
        inputs = images("train", (2, 6, 6)).to(kind)

        def factory(kind: torch.dtype = kind) -> nn.Module:
            return nn.Sequential(*layers()).to(kind)

        task = Task(factory, inputs, torch.arange(SAMPLES) % 3, CLASSES)
        found, expected = (
            trained(task, LOSSES, [1, 2, 2, 1], Recipe(steps=3, batch_size=10, lr=0.05), backend)
            for backend in ("cnn", "sequential")
        )
        for name, value in expected.networks.parameters.items():
            torch.testing.assert_close(found.networks.parameters[name], value, rtol=0, atol=apart, msg=name)


@needs_compiler
def test_neither_threads_nor_company_change_a_member(used: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    task, settings = task_of("built in", torch.float32), Recipe(epochs=2, batch_size=13, lr=0.05)
    seeds = [1, 2, 1, 3]
    together = trained(task, LOSSES, seeds, settings, "cnn").networks.parameters
    for batches, threads, members in ((1, 1, [2]), (2**30, 3, [3, 0, 2])):
        monkeypatch.setattr(native, "BATCHES", batches)
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            alone = trained(task, LOSSES[members], [seeds[member] for member in members], settings, "cnn")
        finally:
            torch.set_num_threads(before)
        for name, value in alone.networks.parameters.items():
            assert torch.equal(value, together[name][members]), name


@needs_compiler
def test_some_members_go_on(used: list[int]) -> None:
    task, recipe = task_of("built in, three stages"), Recipe(batch_size=12, weight_decay=0.01, optimizer="adamw")
    losses, seeds = Loss.stack([*(LOSSES[k] for k in range(4)), find("nce-rce", CLASSES)]), [1, 1, 2, 2, 1]
    run, alone = (
        Trainer(task).start(losses, seeds, recipe, Backend("cnn"), members) for members in ([0, 1, 2, 3, 4], [1, 4])
    )
    for number in range(4):
        if number == 2:
            run.keep([1, 4])
        run.step()
        alone.step()
    for name, value in alone.networks().parameters.items():
        assert torch.equal(run.networks().parameters[name], value), name


@needs_compiler
def test_a_member_that_diverges_leaves_the_others_alone(used: list[int]) -> None:
    """What is no number goes through windows and convolutions as in PyTorch, and into no other member."""
    task, recipe = task_of("built in"), Recipe(steps=4, batch_size=13, lr=0.05)
    wild = Loss.stack([LOSSES[0], LOSSES[2] * 1e200, LOSSES[1]])
    found, expected = (trained(task, wild, [1, 2, 3], recipe, backend) for backend in ("cnn", "sequential"))
    assert found.diverged.tolist() == expected.diverged.tolist() == [False, True, False]
    for name, value in expected.networks.parameters.items():
        torch.testing.assert_close(found.networks.parameters[name][[0, 2]], value[[0, 2]], rtol=1e-7, atol=1e-9)


@needs_compiler
@pytest.mark.parametrize("place", [0, 3])
def test_equal_and_missing_numbers_in_a_window(used: list[int], place: int) -> None:
    """The first of equal numbers is the maximum, and one that is none is before all: as in PyTorch."""
    inputs = torch.ones(4, 1, 4, 4, dtype=torch.float64)
    inputs[1, 0, 1, 1], inputs[2, 0, 0, place] = 2.0, float("nan")

    def factory() -> nn.Module:
        return nn.Sequential(*ended((1, 4, 4), nn.Conv2d(1, 2, 1), nn.MaxPool2d(2), nn.ReLU())).double()

    def clean() -> nn.Module:
        network = factory()
        with torch.no_grad():
            network.get_parameter("0.weight").abs_()
        return network

    kept = Task(clean, inputs[[0, 1, 3]], torch.tensor([0, 1, 2]), CLASSES)
    recipe = Recipe(steps=2, batch_size=3, lr=0.1)
    assert_alike(*(trained(kept, LOSSES, [1, 1, 1, 1], recipe, backend) for backend in ("cnn", "sequential")))
    networks = trained(kept, LOSSES, [1, 1, 1, 1], recipe, "cnn").networks
    quick, slow = networks.logits(inputs), replace(networks, quick=None).logits(inputs)
    torch.testing.assert_close(quick, slow, rtol=1e-12, atol=1e-12, equal_nan=True)
    assert quick[:, 2].isnan().any()


@needs_compiler
@pytest.mark.parametrize("kind", [torch.float64, torch.float32])
def test_logits_of_trained_networks(monkeypatch: pytest.MonkeyPatch, kind: torch.dtype) -> None:
    for body in BODIES:
        task = task_of(body, kind)
        networks = trained(task, LOSSES, [1, 2, 2, 1], Recipe(steps=1, batch_size=20, lr=0.05), "cnn").networks
        probe = images("probe", BODIES[body][0], 131).to(kind)
        assert networks.quick is not None
        assert networks.quick(networks.parameters, probe) is not None
        # Of other images than the networks were made for, it says nothing.
        assert networks.quick(networks.parameters, nn.functional.pad(probe, (0, 1))) is None
        slow = replace(networks, quick=None).logits(probe)
        torch.testing.assert_close(networks.logits(probe), slow, rtol=0, atol=1e-12 if kind == torch.float64 else 1e-5)


@needs_compiler
def test_the_built_in_network_is_trained_by_it_as_population() -> None:
    trainer = Trainer(task_of("built in", torch.float32))
    assert trainer.resolved(Backend("population"), Recipe(batch_size=20)) == Backend("cnn")
    run = trainer.start(LOSSES, [1] * 4, Recipe(batch_size=20), Backend("cnn"), [0, 1, 2, 3])
    assert isinstance(run, NativeRun)


def test_without_a_compiler_the_population_is_vectorized(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lossmith.training.engines.cnn.cpp_compiler", lambda: None)
    trainer = Trainer(task_of("built in"))
    assert trainer.resolved(Backend("population"), Recipe(batch_size=20)) == Backend("vmap")
    assert "compiler" in (trainer.refusal("cnn", Recipe(batch_size=20)) or "")


def test_where_the_program_does_not_compile_it_is_vectorized(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "compiled", lambda *_: None)
    task, recipe = task_of("built in"), Recipe(epochs=2, batch_size=13, lr=0.05)
    refusal = ENGINES["cnn"].refusal
    assert refusal is not None
    if refusal(task.build(0), task, recipe) is None:
        assert_alike(*(trained(task, LOSSES, [1, 2, 1, 3], recipe, name) for name in ("cnn", "sequential")))


def test_an_adversary_is_left_to_vmap() -> None:
    attacked = Recipe(batch_size=20, adversary="fgsm", adversary_epsilon=0.1)
    trainer = Trainer(task_of("built in", torch.float32))
    assert trainer.resolved(Backend("population"), attacked) == Backend("vmap")


@needs_compiler
@pytest.mark.parametrize("place", ["activation", "window", "stage"])
def test_a_module_that_is_used_twice(place: str) -> None:
    """Without weights it is as good as two; twice the same weights are another network."""
    inputs = images("train", (1, 8, 8))

    def factory() -> nn.Module:
        relu, pool, again = nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1)
        layers: dict[str, list[nn.Module]] = {
            "activation": [nn.Conv2d(1, 4, 3), relu, nn.Conv2d(4, 4, 3), relu],
            "window": [nn.Conv2d(1, 4, 3), pool, nn.Conv2d(4, 4, 2), pool],
            "stage": [nn.Conv2d(1, 4, 3), nn.Sequential(relu), again, nn.Sequential(relu), again, relu],
        }
        return nn.Sequential(*ended((1, 8, 8), *layers[place])).double()

    task, recipe = Task(factory, inputs, torch.arange(SAMPLES) % CLASSES, CLASSES), Recipe(steps=3, batch_size=10)
    backend = Trainer(task).resolved(Backend("population"), recipe)
    assert backend == Backend("vmap" if place == "stage" else "cnn")
    assert_alike(*(trained(task, LOSSES, [1, 1, 2, 2], recipe, str(way)) for way in (backend, "sequential")))


@pytest.mark.parametrize("change", ["hook", "forward"])
def test_a_network_that_somebody_changed(change: str) -> None:
    network = nn.Sequential(*BODIES["built in"][1]())
    assert Design.of(network, 4) is not None
    if change == "hook":
        network.register_forward_pre_hook(lambda _, given: given[0] + 1)
    else:
        network.forward = lambda input: input  # type: ignore[method-assign]
    assert Design.of(network, 4) is None


@needs_compiler
def test_memory_that_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks are trained in parts, and looked at in parts, as where PyTorch has too little."""
    task, recipe, run = task_of("built in"), Recipe(steps=2, batch_size=20, lr=0.05), native._run
    expected = trained(task, LOSSES, [1, 1, 1, 1], recipe, "cnn")
    probe = images("probe", (1, 8, 8), 3 * native.SAMPLES)
    logits, refused = expected.networks.logits(probe), set[int]()

    def short(library: Any, plan: native.Plan) -> None:
        if (plan.steps if plan.phase == native.LOGITS else plan.members) > 2:
            refused.add(plan.phase)
            raise MemoryError("no more")
        run(library, plan)

    monkeypatch.setattr(native, "_run", short)
    monkeypatch.setattr(native, "BATCHES", 1)
    for way in ("cnn", "auto"):
        trainer = Trainer(task)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            backend = choose_backend(way, trainer, LOSSES, [1, 1, 1, 1], recipe, 1)
            found = trainer.train(LOSSES, [1, 1, 1, 1], recipe, "cnn")
        assert any("trained in parts" in str(one.message) for one in told)
        assert trainer.fits == 2
        assert str(backend) in ("cnn", "sequential", "sequential-channels-last")
        assert_alike(found, expected)
    torch.testing.assert_close(expected.networks.logits(probe), logits)
    assert refused == {native.STEPS, native.LOGITS}


@needs_compiler
def test_an_infinite_number_stays_one() -> None:
    """What fills a row up to a vector takes part in nothing."""
    task = task_of("windows that leave an edge")
    networks = trained(task, LOSSES, [1, 1, 1, 1], Recipe(steps=1, batch_size=20), "cnn").networks
    probe = images("probe", (2, 11, 8), 3)
    probe[1, 0, 2, 2] = float("inf")
    slow = replace(networks, quick=None).logits(probe)
    torch.testing.assert_close(networks.logits(probe), slow, rtol=1e-9, atol=1e-12, equal_nan=True)


@needs_compiler
def test_python_and_the_program_agree_on_what_is_handed_over() -> None:
    library = compiled(native.SOURCE, *native.REALS[torch.float32])
    assert library is not None
    assert library.plan_bytes() == ctypes.sizeof(native.Plan)
    task = task_of("dropout")
    design = Design.of(task.build(0), 4)
    assert design is not None
    parameters = {name: value.detach()[None] for name, value in task.build(0).named_parameters()}
    stages = Shape(design, parameters, 8, (1, 6, 6)).stages
    assert [len(stage.numbers) for stage in stages] == [library.stage_numbers()] * 2


class Own(nn.Conv2d):
    """Somebody's own convolution."""


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv2d(1, 2, 3, stride=2), nn.Flatten(), nn.Linear(18, 3)],
        [nn.Conv2d(1, 2, 3, dilation=2), nn.Flatten(), nn.Linear(32, 3)],
        [nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), nn.Flatten(), nn.Linear(128, 3)],
        [nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 1, groups=2), nn.Flatten(), nn.Linear(72, 3)],
        [Own(1, 2, 3), nn.Flatten(), nn.Linear(72, 3)],
        [nn.MaxPool2d(2), nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3)],
        [nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.MaxPool2d(3), nn.Flatten(), nn.Linear(2, 3)],
        [nn.Conv2d(1, 2, 3), nn.MaxPool2d(3, 1), nn.Flatten(), nn.Linear(32, 3)],
        [nn.Conv2d(1, 2, 3), nn.MaxPool2d(2, padding=1), nn.Flatten(), nn.Linear(32, 3)],
        [nn.Conv2d(1, 2, 3), nn.MaxPool2d(4, ceil_mode=True), nn.Flatten(), nn.Linear(8, 3)],
        [nn.Conv2d(1, 2, 3), nn.MaxPool2d(2, dilation=2), nn.Flatten(), nn.Linear(8, 3)],
        [nn.Conv2d(1, 2, 3), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(18, 3)],
        [nn.Conv2d(1, 2, 3), Dropout(0.1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 3)],
        [nn.Conv2d(1, 2, 3), nn.Dropout2d(0.1), nn.Flatten(), nn.Linear(72, 3)],
        [nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 3)],
        [nn.Conv2d(1, 3, 8), nn.Flatten()],
        [nn.Conv2d(1, 2, 3), nn.Linear(6, 3), nn.Flatten()],
        [nn.Conv2d(1, 2, 3), nn.Flatten(2), nn.Flatten(), nn.Linear(72, 3)],
    ],
)
def test_others_are_left_to_others(layers: list[nn.Module]) -> None:
    network = nn.Sequential(*layers)
    assert network(torch.rand(2, 1, 8, 8)) is not None
    assert Design.of(network, 4) is None
    task = Task(lambda: network, torch.rand(4, 1, 8, 8), torch.arange(4) % 3, CLASSES)
    assert Trainer(task).resolved(Backend("population"), Recipe(batch_size=2)) == Backend("vmap")


def test_an_image_without_a_batch_is_not_taken() -> None:
    network = nn.Sequential(nn.Conv2d(8, 2, 3), nn.Flatten(), nn.Linear(2, 3))
    assert Design.of(network, 3) is None


def test_how_it_lies_in_memory() -> None:
    """Packed and read again, every number is where it was."""
    task = task_of("large kernels")
    design = Design.of(task.build(0), 4)
    assert design is not None
    parameters = {name: value.detach()[None] for name, value in task.build(0).named_parameters()}
    for lanes in (2, 8, 16):
        shape = Shape(design, parameters, lanes, (4, 9, 9))
        state = shape.packed(parameters)
        assert state.shape == (1, shape.size)
        assert (state != 0).sum() == sum(value.numel() for value in parameters.values())
        for name, value in shape.views(state).items():
            assert torch.equal(value.reshape(parameters[name].shape), parameters[name]), name
        inputs = images("probe", (4, 9, 9), 2 * 25).unflatten(0, (2, 25))
        laid, chunk = shape.laid_out(inputs), shape.chunk(25)
        assert chunk == 9
        assert len(laid) == 2 * shape.entered(25) + lanes
        lying = laid[: 2 * shape.entered(25)].view(2, 3, 13, 13, chunk, 4)
        assert torch.equal(lying[1, 2, 2 + 4, 2 + 7, 3], inputs[1, 21, :, 4, 7])
        assert lying.count_nonzero() == inputs.count_nonzero()
