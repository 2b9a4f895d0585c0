"""What the experiments train: losses with several seeds each, and the winner of a search."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lossmith.losses import Loss, cross_entropy
from lossmith.seeds import derive
from lossmith.study import EvolveSettings, Problem, Store, evolve
from lossmith.training import Recipe, Task, Trained, accuracy, choose_backend, repeated, train

BASELINE = "cross-entropy"


def seeds_of(number: int, purpose: str, count: int) -> list[int]:
    """The seeds of the networks of a search for one purpose."""
    return [derive(number, purpose, k) for k in range(count)]


def trained(
    task: Task, losses: Sequence[Loss], seeds: Sequence[int], recipe: Recipe, backend: str, **options: Any
) -> Trained:
    """Each loss trained with each seed: all networks of the first, then those of the second."""
    return train(task, repeated(Loss.stack(losses), len(seeds)), [*seeds] * len(losses), recipe, backend, **options)


def scores(found: Trained, samples: tuple[Tensor, Tensor]) -> list[float]:
    """Accuracy of each network, 0 where it diverged."""
    inputs, targets = samples
    right: list[float] = torch.where(found.diverged, 0.0, accuracy(found.networks.logits(inputs), targets)).tolist()
    return right


def chosen_backend(job: Problem, settings: EvolveSettings, store: Store | None = None) -> str:
    """How networks are run: as set, or the fastest one as measured at the beginning of a search."""
    count = settings.search.population
    losses, seeds = Loss.stack([cross_entropy()] * count), [derive("measuring")] * count
    return str(choose_backend(settings.run.training, job.task, losses, seeds, settings.recipe, 0, store))


def evolved(settings: EvolveSettings, folder: Path) -> Loss:
    """The best loss of a search by its mean over fresh seeds; never cross-entropy or label smoothing."""
    evolve(folder, settings)
    with Store(folder, readonly=True) as store:
        rows = [
            row
            for row in store.finalists("final")
            if row["mean"] is not None and row["origin"]["kind"] in ("candidate", "mean")
        ]
    if not rows:
        raise SystemExit(f"{folder}: every candidate that was trained again diverged; lower lr")
    return Loss.from_json(max(rows, key=lambda row: row["mean"])["loss"])
