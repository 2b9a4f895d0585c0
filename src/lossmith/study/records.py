"""What a study asks for and what it is told: candidates and their results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lossmith.errors import InputError, brief, printable
from lossmith.losses import Criterion, Loss
from lossmith.search import Genome
from lossmith.study.rows import LONGEST_ERROR

Status = Literal["ok", "untrainable", "diverged", "failed", "pruned"]
FITNESS = "fitness"


@dataclass(frozen=True)
class Candidate:
    """One loss to be tried.

    Args:
        generation: Its generation, from 0.
        member: Its place in the generation, from 0.
        genome: What stands for it in the space of the search, a value of JSON: in most spaces, a list of numbers.
        loss: The loss there.
        exact: Whether the exact invariant holds.
        published: Whether the published invariant holds.
        redrawn: How many genomes the invariant rejected before this one was drawn.
    """

    generation: int
    member: int
    genome: Genome
    loss: Loss
    exact: bool
    published: bool
    redrawn: int = 0

    @staticmethod
    def stored(row: Mapping[str, Any], loss: Loss) -> Candidate:
        """The candidate of a stored row."""
        verdicts = bool(row["exact"]), bool(row["published"])
        return Candidate(row["generation"], row["member"], row["genome"], loss, *verdicts, row["redrawn"])

    @property
    def criterion(self) -> Criterion:
        """The loss as a drop-in for ``torch.nn.CrossEntropyLoss``."""
        return Criterion(self.loss)


@dataclass(frozen=True)
class Result:
    """What came of a candidate.

    Args:
        candidate: The candidate.
        fitness: Its fitness (higher is better), or None if it has none.
        status: ``"ok"``, ``"untrainable"``, ``"diverged"``, ``"failed"`` or ``"pruned"``.
        scores: The fitness of each of its trainings, None where it is not finite.
        seconds: How long its training took.
        figures: What else was measured, by name: a number for each of its trainings, or None.
        error: Of a training that failed, :func:`error_line` of its exception; else None.
    """

    candidate: Candidate
    fitness: float | None
    status: Status = "ok"
    scores: tuple[float | None, ...] = ()
    seconds: float = 0.0
    figures: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    error: str | None = None

    def row(self) -> dict[str, Any]:
        """What the store keeps of it."""
        candidate = self.candidate
        return {
            "generation": candidate.generation,
            "member": candidate.member,
            "genome": candidate.genome,
            "status": self.status,
            "fitness": self.fitness,
            "scores": list(self.scores),
            "exact": int(candidate.exact),
            "published": int(candidate.published),
            "redrawn": candidate.redrawn,
            "seconds": self.seconds,
            "figures": {name: list(values) for name, values in self.figures.items()},
            "error": self.error,
        }


def told(candidate: Candidate, fitness: Any, figures: Any = None, seconds: float = 0.0) -> Result:
    """What a user says of a candidate.

    Args:
        candidate: The candidate.
        fitness: A number; one that is not finite stands for a training that diverged.
        figures: Other numbers by name, or None.
        seconds: How long its training took.

    Raises:
        InputError: if one of them is not one number.
    """
    if not isinstance(candidate, Candidate):
        raise InputError(f"{brief(candidate)} is no candidate; tell those that ask gave")
    place = f"candidate {candidate.member} of generation {candidate.generation}"
    value = _number(fitness, f"the fitness of {place}")
    if not isinstance(figures or {}, Mapping) or not all(isinstance(name, str) for name in figures or {}):
        raise InputError(f"the figures of {place} are {brief(figures)}; tell numbers by name, or none")
    if FITNESS in (figures or {}):
        raise InputError(f"the figures of {place} have one called {FITNESS!r}, which is told beside them; rename it")
    others = {name: _number(figure, f"the figure {name!r} of {place}") for name, figure in (figures or {}).items()}
    if not math.isfinite(value):
        return Result(candidate, None, "diverged", seconds=seconds)
    known = {name: (figure if math.isfinite(figure) else None,) for name, figure in others.items()}
    return Result(candidate, value, "ok", (value,), seconds, known)


def failed(candidate: Candidate, error: BaseException, seconds: float = 0.0) -> Result:
    """What is stored of a candidate whose training raised an exception: it ranks last, and the study goes on."""
    if not isinstance(candidate, Candidate):
        raise InputError(f"{brief(candidate)} is no candidate; tell those that ask gave")
    return Result(candidate, None, "failed", seconds=seconds, error=error_line(error))


def error_line(error: BaseException) -> str:
    r"""Type and message of an exception in one line that is safe to show and store, cut where it is long.

    Example:
        >>> error_line(ValueError("a\nb \x1b[31m"))
        'ValueError: a b \\x1b[31m'
    """
    try:
        message = " ".join(str(error).split())
    except Exception as problem:
        # The exception is somebody else's, and so is what makes its text.
        message = f"its message cannot be made ({type(problem).__name__})"
    line = printable(type(error).__name__ + (f": {message}" if message else ""))
    return line if len(line) <= LONGEST_ERROR else f"{line[: LONGEST_ERROR - 1]}…"


def _number(value: Any, what: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise InputError(
            f"{what} is {brief(value)}; tell one number (nan for a training that diverged), the candidate still waits "
            "for it"
        ) from None
