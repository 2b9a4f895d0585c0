"""On a machine with a GPU: every network trains in every way, and no step waits for the device."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from lossmith import Loss, cross_entropy, mae, mse
from lossmith.data import Normalize
from lossmith.nets import ModelSettings, network_factory
from lossmith.nets.registry import offered
from lossmith.training import Backend, Recipe, Task, Trainer, train

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
