"""Who is trained again when the search is over, and who wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lossmith.errors import InputError
from lossmith.losses import Loss, cross_entropy
from lossmith.study.study import Study

SMOOTHINGS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
EVOLVED = ("candidate", "mean")
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """A finalist.

    Args:
        name: What tables call it.
        origin: Where it comes from.
        loss: Its loss.
        lr: Its own learning rate; None for that of the search.
        fitness: Its mean fitness in the tuning of that rate; None if it has none.
    """

    name: str
    origin: dict[str, Any]
    loss: Loss
    lr: float | None = None
    fitness: float | None = None


def smoothing_entries(classes: int) -> list[Entry]:
    """Cross-entropy with label smoothing, at each strength that is tried.

    Args:
        classes: K.
    """
    return [
        Entry(
            f"label smoothing {alpha:g}",
            {"kind": "label smoothing", "alpha": alpha},
            cross_entropy().smoothed(alpha, classes),
        )
        for alpha in SMOOTHINGS
    ]


def evolved_entries(study: Study, count: int) -> list[Entry]:
    """What a search has found: its best candidates, and its mean, if its engine has one.

    Args:
        study: An ended search.
        count: How many of its candidates.
    """
    entries = [
        Entry(
            f"candidate {candidate.generation}.{candidate.member}",
            {
                "kind": "candidate",
                "generation": candidate.generation,
                "member": candidate.member,
                "genome": candidate.genome,
            },
            candidate.loss,
        )
        for candidate in study.top(count)
    ]
    if study.mean is not None:
        entries.append(Entry("mean of the search", {"kind": "mean", "genome": study.mean_genome}, study.mean))
    return entries


def plain_entries(smoothings: Sequence[Row]) -> list[Entry]:
    """What the search must beat if nothing is tuned but label smoothing: cross-entropy, and the best of that.

    Args:
        smoothings: Stored results of :func:`smoothing_entries`; where all of them diverged, there is none.
    """
    entries = [Entry("cross-entropy", {"kind": "cross-entropy"}, cross_entropy())]
    tuned = best_row(smoothings)
    if tuned is not None:
        entries.append(Entry(tuned["name"], tuned["origin"], Loss.from_json(tuned["loss"])))
    return entries


def best_row(rows: Sequence[Row]) -> Row | None:
    """The stored result of the highest mean, the earlier among equals; None if all diverged."""
    return max((row for row in rows if row["mean"] is not None), key=lambda row: row["mean"], default=None)


def winner(finalists: Sequence[Row], lr: float) -> tuple[Loss, Row]:
    """The winning loss under the name that it goes by, and its stored result.

    Raises:
        InputError: if every finalist diverged.
    """
    row = best_row(finalists)
    if row is None:
        raise InputError(
            f"every finalist diverged with lr = {lr:g}, or its objective gave no number; begin another study with a "
            "lower lr"
        )
    return Loss.from_json(row["loss"]).named("evolved" if is_evolved(row) else row["name"]), row


def is_evolved(row: Row) -> bool:
    """Whether a finalist was found by the search."""
    return row["origin"]["kind"] in EVOLVED
