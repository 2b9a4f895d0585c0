"""The compiled program for perceptrons: it trains as sequential does, is kept, and can be missing."""

import ctypes
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lossmith import Loss, PowerLoss, cross_entropy, find, mae, mse, schedule
from lossmith.data import Normalize
from lossmith.losses import Term
from lossmith.nets import Dropout
from lossmith.search import residual
from lossmith.seeds import generator
from lossmith.training import Backend, Recipe, Task, Trained, Trainer, has_compiler
from lossmith.training.engines import compiler, native
from lossmith.training.engines.compiler import compiled
from lossmith.training.engines.design import Design
from lossmith.training.engines.layout import Shape
from lossmith.training.engines.native import SOURCE, Evaluation, NativeRun

CLASSES, SAMPLES = 3, 60
POINTS = 0.3 * torch.randn(2, 5, generator=generator("points"), dtype=torch.float64)
LOSSES = Loss.stack([cross_entropy(), mse(), *(residual(POINTS, CLASSES)[k] for k in (0, 1))])
# Sums of powers whose slopes are more than polynomials, and what is no sum of powers.
SUMS = (
    *("label-smoothing:0.2", "baikal", "focal:1", "focal:3", "poly:2", "gce:0.3", "gce:0.7", "bootstrapping:0.7"),
    *("smoothing-squares:0.5:2", "negative-smoothing:-0.5", "mae"),
)
OTHERS = (
    "nce-rce",
    "agce",
    "aul",
    "anl",
    "epsilon-softmax:5",
    "forward:0.4",
    "jensen-shannon",
    "logit-clip",
    "focal:0.5",
)
RARE = PowerLoss((Term(0, 1, 1), Term(2.5, 0, 1), Term(9, 0, 0), Term(-0.5, 1, 1)), torch.tensor([1, 0.1, -0.2, 0.1]))
KNOWN = Loss.stack([RARE, *(find(name, CLASSES) for name in (*SUMS, *OTHERS))])
needs_compiler = pytest.mark.skipif(not has_compiler(torch.device("cpu")), reason="there is no C++ compiler")

BODIES: dict[str, Callable[[], list[nn.Module]]] = {
    "plain": lambda: [nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, CLASSES)],
    "linear": lambda: [nn.Linear(16, CLASSES)],
    "deep": lambda: [nn.Linear(16, 70), nn.ReLU(), nn.Linear(70, 21, bias=False), nn.Linear(21, CLASSES), nn.ReLU()],
    "dropout": lambda: [
        *(nn.ReLU(), Dropout(0.2), nn.Linear(16, 33), Dropout(0.3), nn.ReLU(), Dropout(0.3)),
        *(nn.Linear(33, CLASSES), Dropout(0.1)),
    ],
}
RECIPES: dict[str, dict[str, Any]] = {
    "SGD": {"weight_decay": 0.01, "schedule": "cosine"},
    "clipped": {"clip": 0.3, "momentum": 0.0},
    "AdamW": {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.1, "clip": 1.0, "schedule": "one-cycle"},
    "augmented, early stopping": {"crop": 1, "flip": True, "patience": 1, "sampling": "balanced"},
}


def images(purpose: str) -> Tensor:
    return torch.rand(SAMPLES, 1, 4, 4, generator=generator(purpose), dtype=torch.float64)


def task_of(body: str, kind: torch.dtype = torch.float64) -> Task:
    inputs, labels = images("train").to(kind), (torch.arange(SAMPLES) % 5 - 2).clamp(min=0)

    def factory() -> nn.Module:
        return nn.Sequential(Normalize.fit(inputs), nn.Flatten(), *BODIES[body]()).to(kind)

    return Task(factory, inputs, labels, CLASSES, 1.0, (images("held out").to(kind), labels))


def design_of(task: Task) -> Design:
    design = Design.of(task.build(0), task.inputs.ndim)
    assert design is not None
    return design


def trained(task: Task, losses: Loss, seeds: Sequence[int], recipe: Recipe, backend: str, **more: Any) -> Trained:
    return Trainer(task).train(losses, seeds, recipe, backend, **more)


@needs_compiler
@pytest.mark.parametrize("recipe", list(RECIPES))
@pytest.mark.parametrize("body", list(BODIES))
@pytest.mark.parametrize("seeds", [[1, 1, 1, 1], [1, 2, 1, 3]])
def test_trains_as_sequential_does(used: list[int], body: str, recipe: str, seeds: list[int]) -> None:
    task, settings = task_of(body), Recipe(epochs=3, batch_size=13, **{"lr": 0.05, **RECIPES[recipe]})
    monitor, probe = (images("monitor"), torch.arange(SAMPLES) % CLASSES), images("probe")
    found, expected = (
        trained(task, LOSSES, seeds, settings, backend, monitor=monitor, prune_at=0.5)
        for backend in ("mlp", "sequential")
    )
    theirs = expected.networks.parameters
    assert list(found.networks.parameters) == list(theirs)
    for name, value in theirs.items():
        torch.testing.assert_close(found.networks.parameters[name], value, rtol=1e-7, atol=1e-9, msg=name)
    torch.testing.assert_close(found.networks.logits(probe), expected.networks.logits(probe), rtol=1e-7, atol=1e-9)
    assert torch.equal(found.curve, expected.curve)  # type: ignore[arg-type]


def assert_alike(found: Trained, expected: Trained) -> None:
    for name, value in expected.networks.parameters.items():
        torch.testing.assert_close(found.networks.parameters[name], value, rtol=1e-7, atol=1e-9, msg=name)


@needs_compiler
@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "adamw", "lr": 0.01, "clip": 1.0},
        {"class_weight": "balanced", "crop": 1},
        {"mixup": 0.2},
        {"flooding": 0.5},
        {"class_weight": "balanced", "mixup": 0.2, "flooding": 0.5, "patience": 1},
    ],
)
@pytest.mark.parametrize("body", ["deep", "dropout"])
def test_known_losses_of_many_kinds(used: list[int], body: str, changes: dict[str, Any]) -> None:
    task, settings = task_of(body), Recipe(epochs=2, batch_size=13, **{"lr": 0.02, **changes})
    seeds = [1 + place % 3 for place in range(len(KNOWN))]
    found, expected = (trained(task, KNOWN, seeds, settings, backend) for backend in ("mlp", "sequential"))
    assert not expected.diverged.any()
    assert_alike(found, expected)


@needs_compiler
@pytest.mark.parametrize("steps", [False, True])
def test_losses_that_change(used: list[int], steps: bool) -> None:
    """Alone, and from a sum of powers to what is none."""
    task, settings = task_of("plain"), Recipe(epochs=4, batch_size=13, lr=0.05, class_weight="balanced")
    ends = [
        (cross_entropy(), mse()),
        (mae(), cross_entropy()),
        *[(find("focal:2", CLASSES), find("aul", CLASSES))] * steps,
    ]
    changing = Loss.stack([schedule([(0.1, first), (0.7, last)], steps=steps) for first, last in ends])
    for losses in (changing, Loss.stack([changing[0], find("anl", CLASSES), find("gce", CLASSES)])):
        seeds = list(range(len(losses)))
        found, expected = (trained(task, losses, seeds, settings, backend) for backend in ("mlp", "sequential"))
        assert_alike(found, expected)


@needs_compiler
@pytest.mark.parametrize("hidden", [1, 15, 16, 47, 128, 200])
def test_every_width_and_batch(used: list[int], hidden: int) -> None:
    inputs, labels = torch.randn(SAMPLES, 37, generator=generator("train")), torch.arange(SAMPLES) % 11
    task = Task(lambda: nn.Sequential(nn.Linear(37, hidden), nn.ReLU(), nn.Linear(hidden, 11)), inputs, labels, 11)
    for batch in (1, 2, 7, 17, 50):
        recipe = Recipe(steps=4, batch_size=batch, lr=0.02)
        found, expected = (
            trained(task, residual(POINTS, 11), [3, 3], recipe, name).networks.parameters
            for name in ("mlp", "sequential")
        )
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6, msg=f"{name}, batch {batch}")


@needs_compiler
@pytest.mark.parametrize("losses", [LOSSES, KNOWN])
def test_neither_threads_nor_company_change_a_member(
    used: list[int], monkeypatch: pytest.MonkeyPatch, losses: Loss
) -> None:
    task, recipe = task_of("plain", torch.float32), Recipe(epochs=4, batch_size=12, lr=0.1)
    seeds = [1] * len(losses)
    whole = trained(task, losses, seeds, recipe, "mlp").networks.parameters
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        threaded = trained(task, losses, seeds, recipe, "mlp").networks.parameters
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    # One batch a call, as the inputs of a wide network have it.
    monkeypatch.setattr(native, "BATCHES", 1)
    single = trained(task, losses, seeds, recipe, "mlp").networks.parameters
    for name, value in whole.items():
        assert torch.equal(threaded[name], value)
        assert torch.equal(single[name], value)
    backward = trained(task, losses[list(reversed(range(len(losses))))], seeds, recipe, "mlp").networks.parameters
    for place in range(len(losses)):
        alone = trained(task, Loss.stack([losses[place]]), [1], recipe, "mlp").networks.parameters
        for name, value in whole.items():
            assert torch.equal(alone[name][0], value[place])
            assert torch.equal(backward[name][-1 - place], value[place])


@needs_compiler
def test_some_members_go_on(used: list[int]) -> None:
    task, backend = task_of("plain"), Backend("mlp")
    for recipe in (Recipe(batch_size=12), Recipe(batch_size=12, optimizer="adamw")):
        some, seeds = [1, len(SUMS), len(SUMS) + 3], [1] * len(KNOWN)
        run, alone = (Trainer(task).start(KNOWN, seeds, recipe, backend, part) for part in ([0, *some], some[1:]))
        assert isinstance(run, NativeRun)
        for number in range(7):
            if number == 2:
                run.keep([1, 2, 3])
            if number == 4:
                run.keep([1, 2])
            run.step()
            alone.step()
        assert run.done == 7
        for name, value in alone.networks().parameters.items():
            assert torch.equal(run.networks().parameters[name], value)


@needs_compiler
def test_a_member_that_diverges_leaves_the_others_alone(used: list[int]) -> None:
    task, recipe = task_of("plain", torch.float32), Recipe(epochs=3, batch_size=12, lr=0.1)
    both = Loss.stack([1e38 * cross_entropy(), cross_entropy()])
    found = trained(task, both, [1, 1], recipe, "mlp")
    assert found.diverged.tolist() == [True, False]
    alone = trained(task, both[[1]], [1], recipe, "mlp")
    for name, value in alone.networks.parameters.items():
        assert torch.equal(found.networks.parameters[name][1], value[0])


def test_what_it_cannot_do_is_trained_without_it() -> None:
    recipe = Recipe(batch_size=12, adversary="fgsm")
    run = Trainer(task_of("plain")).start(LOSSES, [1] * 4, recipe, Backend("mlp"), [0, 1])
    assert not isinstance(run, NativeRun)


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache in which nothing is compiled yet, and a small program."""
    monkeypatch.setenv("LOSSMITH_CACHE", str(tmp_path / "cache"))
    compiled.cache_clear()
    source = tmp_path / "one.cpp"
    source.write_text('extern "C" int number() { return NUMBER; }')
    yield source
    compiled.cache_clear()


def runs(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    commands, run = list[Sequence[str]](), subprocess.run

    def seen(command: Sequence[str], **more: Any) -> Any:
        commands.append(command)
        return run(command, **more)

    monkeypatch.setattr(subprocess, "run", seen)
    return commands


@needs_compiler
def test_a_program_is_compiled_once(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = runs(monkeypatch)
    for _ in range(2):
        compiled.cache_clear()
        for number in (3, 4):
            library = compiled(fresh, f"NUMBER={number}")
            assert isinstance(library, ctypes.CDLL)
            assert library.number() == number
    assert len(commands) == 2


@needs_compiler
def test_without_a_place_it_is_compiled_for_the_process(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands, file = runs(monkeypatch), fresh.with_name("file")
    file.write_text("no folder")
    monkeypatch.setenv("LOSSMITH_CACHE", str(file))
    assert all(compiled(fresh, "NUMBER=5").number() == 5 for _ in range(2))  # type: ignore[union-attr]
    assert len(commands) == 1


@needs_compiler
@pytest.mark.parametrize("kind", [torch.uint8, torch.int32, torch.int64])
def test_labels_of_every_kind_of_whole_numbers(used: list[int], kind: torch.dtype) -> None:
    task = task_of("plain")
    given = Task(task.factory, task.inputs, task.targets.to(kind), CLASSES, 1.0)
    recipe = Recipe(epochs=2, batch_size=13)
    found, expected = (trained(one, LOSSES, [1] * 4, recipe, "mlp").networks.parameters for one in (given, task))
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@needs_compiler
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_a_masked_class(used: list[int], kind: torch.dtype) -> None:
    """Whose logit is -inf."""
    task = task_of("plain", kind)

    def masked() -> nn.Module:
        network = task.factory()
        with torch.no_grad():
            network[-1].bias[1] = -torch.inf  # type: ignore[index]
        return network

    given = Task(masked, task.inputs, 2 * (task.targets > 0).long(), CLASSES, 1.0)
    recipe = Recipe(steps=3, batch_size=13, lr=0.01)
    logged = Loss.stack([find(name, CLASSES) for name in ("cross-entropy", "focal:3", "gce:0.7", "bootstrapping:0.5")])
    for losses in (residual(POINTS, CLASSES), logged):
        seeds = [1] * len(losses)
        found, expected = (trained(given, losses, seeds, recipe, name).networks for name in ("mlp", "sequential"))
        for name, value in expected.parameters.items():
            torch.testing.assert_close(found.parameters[name], value, rtol=1e-4, atol=1e-6)
        assert torch.isfinite(found.parameters[next(iter(found.parameters))]).all()


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_layer_of_no_width() -> None:
    inputs, labels = torch.randn(20, 5), torch.arange(20) % 3
    task = Task(lambda: nn.Sequential(nn.Linear(5, 0), nn.ReLU(), nn.Linear(0, 3)), inputs, labels, 3)
    run = Trainer(task).start(residual(POINTS, 3), [1, 1], Recipe(steps=2, batch_size=10), Backend("mlp"), [0, 1])
    assert not isinstance(run, NativeRun)


@needs_compiler
def test_a_norm_that_is_none_is_one_of_the_whole_member(used: list[int]) -> None:
    """And one that the numbers do not hold moves nothing, as with PyTorch."""
    for size in (1e25, float("nan")):
        inputs, labels = torch.randn(20, 5) * size, torch.arange(20) % 3
        task = Task(lambda: nn.Sequential(nn.Linear(5, 3)), inputs, labels, 3)
        recipe = Recipe(steps=2, batch_size=10, clip=1.0)
        found, expected = (
            trained(task, residual(POINTS, 3), [1, 1], recipe, name).networks.parameters
            for name in ("mlp", "sequential")
        )
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, equal_nan=True)


@needs_compiler
def test_a_usual_umask_is_no_reason_to_compile_again(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands, before = runs(monkeypatch), os.umask(0o002)
    try:
        for _ in range(2):
            compiled.cache_clear()
            assert compiled(fresh, "NUMBER=6") is not None
    finally:
        os.umask(before)
    assert len(commands) == 1


@needs_compiler
def test_what_others_can_write_is_not_loaded(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever can write a library there could have his own program run."""
    commands = runs(monkeypatch)
    monkeypatch.setenv("LOSSMITH_CACHE", str(fresh.with_name("cache")))
    assert compiled(fresh, "NUMBER=5") is not None
    (library,) = fresh.with_name("cache").glob("compiled/*.so")
    library.chmod(0o777)
    compiled.cache_clear()
    assert compiled(fresh, "NUMBER=5").number() == 5  # type: ignore[union-attr]
    assert len(commands) == 2
    library.parent.chmod(0o777)
    compiled.cache_clear()
    assert compiled(fresh, "NUMBER=5").number() == 5  # type: ignore[union-attr]
    assert len(commands) == 3


def test_a_program_that_does_not_compile_is_none(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh.write_text("no program")
    assert compiled(fresh) is None
    monkeypatch.setattr(compiler, "COMPILERS", ("no-such-compiler",))
    assert compiled(SOURCE) is None


def test_without_a_compiler_the_population_is_trained_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    task, recipe = task_of("plain"), Recipe(epochs=2, batch_size=12)
    monkeypatch.setattr(native, "compiled", lambda *_: None)
    assert not isinstance(Trainer(task).start(LOSSES, [1] * 4, recipe, Backend("mlp"), [0, 1]), NativeRun)
    found, expected = (trained(task, LOSSES, [1] * 4, recipe, name).networks for name in ("mlp", "sequential"))
    for name, value in expected.parameters.items():
        torch.testing.assert_close(found.parameters[name], value, rtol=1e-7, atol=1e-9)


@needs_compiler
@pytest.mark.parametrize("body", list(BODIES))
def test_logits_of_trained_networks(body: str) -> None:
    """Those of each network alone in evaluation mode, whatever the number of samples and of networks."""
    task, recipe = task_of(body), Recipe(steps=3, batch_size=13)
    networks = trained(task, LOSSES, [1, 2, 1, 3], recipe, "mlp").networks
    assert networks.quick is not None
    inputs = torch.cat([images("probe"), images("monitor")])
    found = networks.logits(inputs)
    for place in range(4):
        with torch.no_grad():
            expected = networks.member(place)(inputs)
        torch.testing.assert_close(found[place], expected, rtol=1e-9, atol=1e-12)
    assert torch.equal(networks.logits(inputs, 7), found)
    assert torch.equal(networks.logits(inputs[70:71])[:, 0], found[:, 70])
    assert torch.equal(networks.select([2, 0]).logits(inputs), found[[2, 0]])
    doubled = replace(networks, parameters={name: 2 * value for name, value in networks.parameters.items()})
    with torch.no_grad():
        torch.testing.assert_close(doubled.logits(inputs)[1], doubled.member(1)(inputs), rtol=1e-9, atol=1e-12)


def test_logits_where_the_program_is_missing_or_of_no_use(monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of("dropout")
    networks = trained(task, LOSSES, [1] * 4, Recipe(steps=3, batch_size=13), "mlp").networks
    expected = replace(networks, quick=None).logits(images("probe"))
    quick = networks.quick
    if isinstance(quick, Evaluation):
        plain = replace(quick, stem=nn.Flatten())
        assert plain(networks.parameters, images("probe")) is not None
        assert plain(networks.parameters, images("probe").float()) is None
        assert plain(networks.parameters, images("probe")[:, :, 1:]) is None
        # As on a machine whose vectors are of another length.
        shape = Shape(design_of(task), networks.parameters, 2 * quick.shape.lanes, (16,))
        assert replace(plain, shape=shape)(networks.parameters, images("probe")) is None
    monkeypatch.setattr(native, "compiled", lambda *_: None)
    assert torch.equal(networks.logits(images("probe")), expected)
