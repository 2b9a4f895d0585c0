"""Networks trained with the losses that are looked at: the same initial weights and batches for each loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from lossmith.errors import InputError
from lossmith.losses import Loss
from lossmith.training import Backend, Networks, Recipe, Task, Trained, Trainer, repeated

Item = TypeVar("Item")
CHUNK = 256


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
    task: Task | Trainer,
    name: str,
    loss: Loss,
    seeds: Sequence[int],
    recipe: Recipe,
    backend: Backend | str = "population",
    progress: Callable[[float], None] | None = None,
) -> TrainedLoss:
    """Train one network with a loss for each seed.

    Raises:
        InputError: if there is no seed, or as :func:`lossmith.training.train`.
    """
    if not seeds:
        raise InputError("no network is asked for; give at least one seed")
    trainer, parts = Trainer.of(task), list[Trained]()
    for chunk in batched(seeds, CHUNK):
        before, size = len(parts) * CHUNK / len(seeds), len(chunk) / len(seeds)

        def within(share: float, before: float = before, size: float = size) -> None:
            if progress is not None:
                progress(before + size * share)

        population = repeated(Loss.stack([loss]), len(chunk))
        parts.append(trainer.train(population, chunk, recipe, backend, progress=within))
    networks = Networks.gather([part.networks for part in parts], list(range(len(seeds))))
    return TrainedLoss(name, loss, networks, torch.cat([part.diverged for part in parts]))
