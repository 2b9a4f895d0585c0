"""Losses that are trained together: what is missing of them, what is measured, and what is stored of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lossmith.analysis import Objective, figures
from lossmith.errors import InputError, brief
from lossmith.losses import Loss
from lossmith.metrics import mean_of, to_lists
from lossmith.study.finalists import Entry
from lossmith.study.pareto import PRUNED
from lossmith.study.records import Candidate, Result, Status
from lossmith.training import Trained

Figures = list[float | None]


@dataclass(frozen=True)
class Chunk:
    """Losses that are trained together.

    Args:
        losses: One or more.
        label: What the log calls it.
        missing: Whether it is still to be trained.
        lr: Their learning rate; None for that of the search.
    """

    losses: list[Loss]
    label: dict[str, Any]
    missing: bool
    lr: float | None = None


@dataclass(frozen=True)
class Measured:
    """What came of one loss of a chunk.

    Args:
        figures: Its figures by name, one number for each of its networks, None where it is not finite; ``"fitness"``
            among them.
        diverged: Whether one of its networks has diverged.
        seconds: Its share of the time of the chunk.
        error: What one of its trainings raised, in a line.
        pruned: Whether one of its trainings was stopped as hopeless, so that its fitness is not known.
    """

    figures: dict[str, Figures]
    diverged: bool
    seconds: float
    error: str | None = None
    pruned: bool = False

    @property
    def scores(self) -> Figures:
        """The fitness of each network."""
        return self.figures["fitness"]

    @property
    def status(self) -> Status:
        """What has become of it."""
        if self.error is not None:
            return "failed"
        return "pruned" if self.pruned else "diverged" if self.diverged else "ok"

    @property
    def mean(self) -> float | None:
        """The fitness of the loss; None if it diverged or failed."""
        return mean_of(self.scores) if self.status == "ok" else None

    @property
    def others(self) -> dict[str, Figures]:
        """The figures besides the fitness."""
        return {name: values for name, values in self.figures.items() if name != "fitness"}


def measured(
    objective: Objective,
    validation: tuple[Tensor, Tensor],
    pruning: bool,
    trained: Trained,
    _: Callable[[float], None],
) -> tuple[dict[str, Tensor], Tensor]:
    """Figures ``[P]`` of trained networks by name, ``"fitness"`` among them, and which networks diverged, ``[P]``.

    Args:
        objective: What measures.
        validation: Inputs and labels that it measures on.
        pruning: Whether hopeless networks were given up, which is then a figure, too.
        trained: The networks.

    Raises:
        InputError: if the objective gives something else than its figures.
    """
    given = objective(trained, *validation)
    for name, value in given.items() if isinstance(given, Mapping) else [("fitness", given)]:
        _check_numbers(name, value)
    found = {name: value.detach().cpu() for name, value in figures(given).items()}
    if PRUNED in found:
        raise InputError(f"the objective gave a figure called {PRUNED!r}, which a study keeps for itself; rename it")
    if pruning and trained.pruned is not None:
        found[PRUNED] = trained.pruned.double()
    for name, values in found.items():
        if values.shape != (len(trained.networks),):
            raise InputError(
                f"the objective gave a shape of {tuple(values.shape)} for {name}; it must give one number for each "
                "network"
            )
    return found, trained.diverged.cpu()


def _check_numbers(name: Any, value: Any) -> None:
    try:
        torch.as_tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise InputError(
            f"the objective gave {brief(value)} for {name}; it must give one number for each network"
        ) from None


def by_loss(found: Mapping[str, Tensor], diverged: Tensor, count: int, seconds: float) -> list[Measured]:
    """Figures of all networks, which stand loss by loss, as figures of each loss."""
    lost = (diverged | ~found["fitness"].isfinite()).reshape(count, -1).any(1).tolist()
    lists = {name: to_lists(values.reshape(count, -1).numpy()) for name, values in found.items()}
    return [
        Measured({name: values[place] for name, values in lists.items()}, lost[place], seconds)
        for place in range(count)
    ]


def search_chunk(generation: int, part: Sequence[Candidate], waiting: set[int]) -> Chunk:
    """The chunk of some candidates, missing if one of them waits."""
    members = [candidate.member for candidate in part]
    label = {"generation": generation, "members": members}
    # What is missing of a chunk is trained as it was then, with all of it: rounding depends on who is trained together.
    return Chunk([candidate.loss for candidate in part], label, not waiting.isdisjoint(members))


def finalists_chunk(part: Sequence[tuple[int, Entry]], stored: set[int]) -> Chunk:
    """The chunk of some finalists of one rate by rank, missing if one of them is not stored."""
    ranks = [rank for rank, _ in part]
    return Chunk([entry.loss for _, entry in part], {"ranks": ranks}, not stored.issuperset(ranks), part[0][1].lr)


def result_of(candidate: Candidate, one: Measured) -> Result:
    """What came of a candidate."""
    return Result(
        candidate,
        one.mean,
        one.status,
        tuple(one.scores),
        one.seconds,
        {name: tuple(values) for name, values in one.others.items()},
        one.error,
    )


def finalist_row(stage: str, rank: int, entry: Entry, one: Measured) -> dict[str, Any]:
    """What the store keeps of a finalist."""
    return {
        "stage": stage,
        "rank": rank,
        "name": entry.name,
        "origin": entry.origin if entry.lr is None else {**entry.origin, "lr": entry.lr},
        "loss": entry.loss.to_json(),
        "status": one.status,
        "mean": one.mean,
        "scores": one.scores,
        "seconds": one.seconds,
        "figures": one.others,
        "error": one.error,
    }
