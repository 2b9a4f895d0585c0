"""Who is trained again when the search is over, and who wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lossmith.errors import InputError
from lossmith.losses import Loss, cross_entropy
from lossmith.study.study import Study

SMOOTHINGS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """A finalist: its name, where it comes from, its loss."""

    name: str
    origin: dict[str, Any]
    loss: Loss


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


def final_entries(study: Study, count: int, smoothings: Sequence[Row]) -> list[Entry]:
    """The finalists: the search's best candidates, its mean, cross-entropy, and the best of label smoothing.

    A search whose engine has no mean has none among its finalists.

    Args:
        study: An ended search.
        count: How many of its candidates.
        smoothings: Stored results of :func:`smoothing_entries`; where all of them diverged, there is none.
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
    entries.append(Entry("cross-entropy", {"kind": "cross-entropy"}, cross_entropy()))
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
    evolved = row["origin"]["kind"] in ("candidate", "mean")
    return Loss.from_json(row["loss"]).named("evolved" if evolved else row["name"]), row
