"""Who is trained again when the search is over, and who wins."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lossmith.analysis import UNNAMED, Deciding
from lossmith.errors import InputError
from lossmith.losses import Loss, cross_entropy

if TYPE_CHECKING:
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

    def to_json(self) -> dict[str, Any]:
        """As a study keeps it."""
        return {**asdict(self), "loss": self.loss.to_json()}

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Entry:
        """The entry of :meth:`to_json`."""
        return Entry(**{**document, "loss": Loss.from_json(document["loss"])})


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


def candidate_name(name: str, kind: str | None) -> str:
    """A finalist as it is told of: generations and candidates are counted from 1, as charts have them; stored from 0.

    Args:
        name: Its stored name.
        kind: What it is, as its origin says.
    """
    place = re.fullmatch(r"candidate (\d{1,9})\.(\d{1,9})", name, re.ASCII) if kind == "candidate" else None
    return name if place is None else f"generation {int(place[1]) + 1}, candidate {int(place[2]) + 1}"


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
    """The stored result of the highest mean; among equals a known loss, then the earlier; None if all diverged.

    Where nothing was tuned, as in studies of older versions, it is the earlier alone.
    """
    measured = (row for row in rows if row["mean"] is not None)
    return max(measured, key=lambda row: (row["mean"], "lr" in row["origin"] and not is_evolved(row)), default=None)


@dataclass(frozen=True)
class Gain:
    """How far the best that a search has found is ahead of the best known loss, over their fresh networks.

    Args:
        found: Stored result of the best that was found.
        known: That of the best known loss.
        mean: Difference of their mean fitness.
        error: Its standard error; None where one of them has a single network.
        by: What fitness is.
    """

    found: Row
    known: Row
    mean: float
    error: float | None
    by: Deciding = UNNAMED

    @staticmethod
    def of(finalists: Sequence[Row], by: Deciding = UNNAMED) -> Gain | None:
        """The gain of some finalists; None where all of one kind diverged, or there is none of it."""
        found, known = (best_row([row for row in finalists if is_evolved(row) is evolved]) for evolved in (True, False))
        if found is None or known is None:
            return None
        errors = [
            statistics.stdev(row["scores"]) / math.sqrt(len(row["scores"]))
            for row in (found, known)
            if len(row["scores"]) > 1
        ]
        error = math.hypot(*errors) if len(errors) == 2 else None
        return Gain(found, known, found["mean"] - known["mean"], error, by)

    @property
    def is_clear(self) -> bool:
        """Whether it is more than two standard errors above 0."""
        return self.error is not None and self.mean > 2 * self.error

    @property
    def sentence(self) -> str:
        """What a user should know of it."""
        known, origin = self.known["name"], self.known["origin"]
        if "lr" in origin:
            known += f" (lr = {origin['lr']:g})"
        if self.mean <= 0:
            known_wins = best_row([self.found, self.known]) is self.known
            end = (
                "the known loss is the result"
                if known_wins
                else "what was found stays, and the known loss does as well"
            )
            return (
                f"the search found nothing better than a known loss: {known} has a {self.by.called} of "
                f"{self._value(self.known):.6g}, the best that was found {self._value(self.found):.6g}; {end}"
            )
        error = "" if self.error is None else f" (standard error {self.error:.2g})"
        ahead = f"the winner is ahead of the best known loss, {known}, by {self.mean:.4g}{error}"
        ahead += "" if self.by == UNNAMED else f" in {self.by.name}"
        chosen = "on the validation data that both were chosen on"
        if self.is_clear:
            return f"{ahead} {chosen}"
        return f"{ahead} {chosen}: too little to tell them apart, so the known loss may do as well"

    def _value(self, row: Row) -> float:
        """The mean of the figure that fitness is."""
        return self.by.sign * float(row["mean"]) + 0.0

    def to_json(self) -> dict[str, Any]:
        """For ``best.json``."""
        return {"known": self.known["name"], "mean": self.mean, "error": self.error, "clear": self.is_clear}


def winner(finalists: Sequence[Row], lr: float | None) -> tuple[Loss, Row]:
    """The winning loss under the name that it goes by, and its stored result.

    Args:
        finalists: Stored results.
        lr: Where they have no rate of their own; None for trainings that take none.

    Raises:
        InputError: if every finalist diverged.
    """
    row = best_row(finalists)
    if row is None:
        if lr is None:
            raise InputError("every finalist diverged, or the function gave no finite number; look at what it returns")
        rates = sorted({one["origin"].get("lr", lr) for one in finalists})
        shown = f"{rates[0]:g}" if len(rates) == 1 else f"{rates[0]:g} to {rates[-1]:g}"
        tuned = any("lr" in one["origin"] for one in finalists)
        remedy = "look at the objective" if tuned else "begin another study with a lower lr"
        raise InputError(f"every finalist diverged with lr = {shown}, or its objective gave no number; {remedy}")
    return Loss.from_json(row["loss"]).named("evolved" if is_evolved(row) else row["name"]), row


def is_evolved(row: Row) -> bool:
    """Whether a finalist was found by the search."""
    return row["origin"]["kind"] in EVOLVED
