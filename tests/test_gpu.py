"""On a machine with a GPU: every network trains in every way, equally, and no step waits for the device.

`benchmarks/gpu.py` runs them, too.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from lossmith import Loss, cross_entropy, mae, mse
from lossmith.data import Normalize
from lossmith.nets import Dropout, ModelSettings, network_factory
from lossmith.nets.registry import offered
from lossmith.training import Backend, Recipe, Task, Trainer, train
from lossmith.training.engines.sequential import SequentialRun

CUDA = torch.device("cuda")
CLASSES = 10
LOSSES = Loss.stack([cross_entropy(), mse(), cross_entropy() + 0.5 * mae()])
NETWORKS = offered("image")
BACKENDS: tuple[str, ...] = ("sequential", "sequential-channels-last", "population")
AUGMENTED = Recipe(
    batch_size=16, steps=6, lr=0.01, crop=4, flip=True, cutout=8, mixup=0.2, cutmix=1.0, flooding=0.01, clip=5.0
)

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def task_of(model: str, device: torch.device = CUDA) -> Task:
    random = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 256, (96, 3, 32, 32), dtype=torch.uint8, generator=random)
    targets = torch.randint(0, CLASSES, (96,), generator=random)
    factory = network_factory(ModelSettings(name=model), Normalize.fit(inputs), inputs.shape[1:], CLASSES)
    held_out = inputs.to(device), targets.to(device)
    return Task(factory, *held_out, CLASSES, max_pixel=255.0, held_out=held_out)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("model", NETWORKS)
def test_every_network_trains(model: str, backend: str, precision: str) -> None:
    task = task_of(model)
    recipe = AUGMENTED.model_copy(update={"precision": precision})
    trained = train(task, LOSSES, [1, 1, 1], recipe, backend)
    assert not trained.diverged.any()
    fresh = train(task, LOSSES, [1, 1, 1], recipe.model_copy(update={"lr": 1e-12}), backend)
    for name, value in trained.networks.parameters.items():
        assert value.device.type == "cuda"
        if value.requires_grad or value.is_floating_point():
            assert not torch.equal(value, fresh.networks.parameters[name])


@pytest.mark.parametrize("backend", ["sequential-compiled", "sequential-channels-last-compiled", "vmap-compiled"])
def test_compiled_backends(backend: str) -> None:
    recipe = Recipe(batch_size=16, steps=4, lr=0.01)
    compiled, sequential = (train(task_of("conv"), LOSSES, [1, 1, 1], recipe, one) for one in (backend, "sequential"))
    for name, value in sequential.networks.parameters.items():
        torch.testing.assert_close(compiled.networks.parameters[name], value, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("model", ["mlp", "conv", "preresnet-20"])
def test_backends_agree(model: str) -> None:
    recipe = Recipe(batch_size=16, steps=4, lr=0.01, crop=4, flip=True)
    sequential, population = (
        train(task_of(model), LOSSES, [1, 1, 1], recipe, backend) for backend in ("sequential", "population")
    )
    for name, value in sequential.networks.parameters.items():
        torch.testing.assert_close(population.networks.parameters[name], value, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("model", ["conv", "mnist-cnn", "preresnet-20"])
def test_channels_last(model: str) -> None:
    """The networks are those of the usual layout, and the convolutions do lie with their channels last."""
    task, recipe = task_of(model), Recipe(batch_size=16, steps=4, lr=0.01, crop=4, flip=True)
    usual, turned = (
        train(task, LOSSES, [1, 2, 3], recipe, backend) for backend in ("sequential", "sequential-channels-last")
    )
    for name, value in usual.networks.parameters.items():
        torch.testing.assert_close(turned.networks.parameters[name], value, rtol=2e-2, atol=2e-3)
    trainer = Trainer(task)
    run = trainer.start(LOSSES, [1, 2, 3], recipe, trainer.resolved(Backend(channels_last=True), recipe), [0])
    assert isinstance(run, SequentialRun)
    run.step()
    weights = [weight for weight in run.network.parameters() if weight.ndim == 4]
    assert weights
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


class Masks(nn.Module):
    """Keeps every mask that dropout draws of activations ``[16, 4, 30, 30]``, as the digits of a number."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.dropout = Dropout(0.5)
        self.register_buffer("seen", torch.zeros(16, 4, 30, 30, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        mask: Tensor = self.dropout(torch.ones_like(x))
        self.seen.mul_(2).add_((mask > 0).double())
        return x * mask


def test_dropout_draws_the_same_masks_in_every_way() -> None:
    task, seeds = task_of("conv"), [3, 4, 3]
    normalize = Normalize.fit(task.inputs.cpu())

    def factory() -> nn.Module:
        body = nn.Sequential(nn.Conv2d(3, 4, 3), Masks(), nn.Flatten(), nn.Linear(3600, CLASSES))
        return nn.Sequential(Normalize(normalize.mean, normalize.std), body)

    task = Task(factory, task.inputs, task.targets, CLASSES)
    seen: dict[tuple[str, str], Tensor] = {}
    for precision in ("float32", "bfloat16"):
        recipe = Recipe.model_validate({"batch_size": 16, "steps": 4, "lr": 0.01, "precision": precision})
        for backend in BACKENDS:
            trained = train(task, LOSSES, seeds, recipe, backend)
            seen[precision, backend] = trained.networks.buffers["1.1.seen"]
    first = seen["float32", "sequential"]
    assert first.device.type == CUDA.type
    assert len(first[0].unique()) == 16
    assert torch.equal(first[0], first[2])
    assert not torch.equal(first[0], first[1])
    for name, masks in seen.items():
        assert torch.equal(masks, first), name


def test_a_population_that_does_not_fit_is_split() -> None:
    """With less memory than eight networks need, they are trained in parts, and are the same networks."""
    recipe, losses = Recipe(batch_size=64, steps=3, lr=0.01), LOSSES[[0, 1, 2, 0, 1, 2, 0, 1]]
    task, reserved, whole = task_of("allcnn-c"), dict[int, int](), None
    for members in (1, 8):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        whole = train(task, losses[:members], [1] * members, recipe, "population")
        reserved[members] = torch.cuda.max_memory_reserved()
    assert whole is not None
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(CUDA).total_memory
    torch.cuda.set_per_process_memory_fraction(sum(reserved.values()) / 2 / total)
    trainer = Trainer(task)
    try:
        with pytest.warns(UserWarning, match="does not hold 8 networks at once; they are trained in parts"):
            split = trainer.train(losses, [1] * 8, recipe, "population")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert trainer.fits in (1, 2, 4)
    for name, value in whole.networks.parameters.items():
        torch.testing.assert_close(split.networks.parameters[name], value, rtol=2e-2, atol=2e-3)


@contextmanager
def no_waiting() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("changes", [{}, {"precision": "bfloat16"}, {"optimizer": "adamw"}, {"adversary": "fgsm"}])
@pytest.mark.parametrize("model", ["mlp", "conv", "allcnn-c", "preresnet-20"])
def test_no_step_waits_for_the_device(model: str, changes: dict[str, str]) -> None:
    """What an epoch draws is moved at its beginning; between, nothing is."""
    task, recipe = task_of(model), AUGMENTED.model_copy(update=changes)
    trainer = Trainer(task)
    for backend, members in ((Backend("population"), [0, 1, 2]), (Backend(channels_last=True), [0])):
        run = trainer.start(LOSSES, [1, 1, 1], recipe, trainer.resolved(backend, recipe), members)
        run.step()
        run.step()
        with no_waiting():
            for _ in range(3):
                run.step()


def test_data_stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[int] = []
    to = Tensor.to

    def counted(value: Tensor, *arguments: object, **named: object) -> Tensor:
        if value.device.type == "cpu" and value.numel() > 10_000:
            moved.append(value.numel())
        return to(value, *arguments, **named)  # type: ignore[call-overload, no-any-return]

    task = task_of("conv")
    run = Trainer(task).start(LOSSES, [1, 1, 1], AUGMENTED, Backend(), [0])
    monkeypatch.setattr(Tensor, "to", counted)
    for _ in range(6):
        run.step()
    assert moved == []
