"""Networks trained with the losses that are looked at: the same initial weights and batches for each loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from torch import Tensor

from lossmith.errors import InputError
from lossmith.losses import Loss
from lossmith.training import Backend, Executor, Job, Local, Networks, Recipe, Task, Trained, repeated

Item = TypeVar("Item")


@dataclass(frozen=True)
class TrainedLoss:
    """A loss and S networks that were trained with it.

    Args:
        name: What tables call it.
        loss: The loss.
        networks: The S networks.
        diverged: Networks that have diverged, boolean ``[S]``.
    """

    name: str
    loss: Loss
    networks: Networks
    diverged: Tensor

    @property
    def losses(self) -> Loss:
        """The loss, once for each network."""
        return repeated(Loss.stack([self.loss]), len(self.networks))


def batched(items: Sequence[Item], size: int) -> list[list[Item]]:
    """Items in parts of a size, of one item at least."""
    step = max(1, size)
    return [list(items[start : start + step]) for start in range(0, len(items), step)]


def train_loss(
    task: Task,
    name: str,
    loss: Loss,
    seeds: Sequence[int],
    recipe: Recipe,
    backend: Backend | str = "population",
    progress: Callable[[float], None] | None = None,
    executor: Executor | None = None,
) -> TrainedLoss:
    """Train one network with a loss for each seed.

    Raises:
        InputError: if there is no seed, or as :func:`lossmith.training.train`.
    """
    if not seeds:
        raise InputError("no network is asked for; give at least one seed")
    backend = Backend.parse(backend) if isinstance(backend, str) else backend
    population = repeated(Loss.stack([loss]), len(seeds))
    job = Job(task, population, tuple(seeds), recipe, backend, partial(_trained_loss, name, loss))
    report = None if progress is None else (lambda _, share: progress(share))
    (outcome,) = (executor or Local()).run([job], report)
    found: TrainedLoss = outcome.result
    return found


def _trained_loss(name: str, loss: Loss, trained: Trained, _: Callable[[float], None]) -> TrainedLoss:
    return TrainedLoss(name, loss, trained.networks, trained.diverged)
