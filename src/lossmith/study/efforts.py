"""How much work a comparison makes of tuning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field

from lossmith.settings import Settings

Effort = Literal["quick", "standard", "thorough"]


@dataclass(frozen=True)
class Work:
    """What an effort stands for.

    Args:
        seeds: Networks trained for each setting that tuning tries.
        finalists: The best settings of each loss that are trained again with fresh seeds; 0 takes the best at its word.
        finalist_seeds: Fresh seeds of each of those.
        stride: Steps between the places of the first grid on each axis; neighbors of the best are tried all the same.
        baselines: The baselines, where none are named; None for all.
        rival: Whether label smoothing + MAE gets a search of its own.
    """

    seeds: int
    finalists: int
    finalist_seeds: int
    stride: int
    baselines: tuple[str, ...] | None = None
    rival: bool = False


FEW = ("cross-entropy", "label smoothing", "focal", "generalised cross-entropy", "label smoothing + Σh²")
EFFORTS: Mapping[Effort, Work] = {
    "quick": Work(seeds=2, finalists=0, finalist_seeds=1, stride=2, baselines=FEW),
    # With one seed each, losses that can diverge are tuned to rates at which they do.
    "standard": Work(seeds=2, finalists=3, finalist_seeds=4, stride=2),
    "thorough": Work(seeds=2, finalists=5, finalist_seeds=10, stride=1, rival=True),
}


class TuningSettings(Settings):
    """How losses are tuned alike."""

    effort: Effort = "thorough"
    """How much is trained for tuning: "quick", five baselines, a coarse grid and its neighbors; "standard", all
    baselines, and the best settings again with fresh seeds; "thorough", whole grids and more seeds, three times that.
    """

    tuning_seeds: int | None = Field(default=None, ge=1, le=10**5)
    """Networks trained for each setting that tuning tries (default: 2)."""

    tuning_finalists: int | None = Field(default=None, ge=1, le=10**4)
    """The best settings of each loss, which are trained again with fresh seeds before one is chosen (default: 0, 3 or
    5)."""

    tuning_finalist_seeds: int | None = Field(default=None, ge=1, le=10**5)
    """Fresh seeds that each of those is trained with (default: 4, thorough 10)."""

    tuning_epochs: int | None = Field(default=None, ge=1, le=10**6)
    """Epochs of a tuning run, from which the best number is read (default: twice the recipe's)."""

    comparison_seed: int = Field(default=0, gt=-(2**128), lt=2**128)
    """Seed of the comparison's initial weights and batches."""

    seeds: int = Field(default=10, ge=2, le=10**5)
    """Networks trained for each tuned loss in the final comparison."""

    @property
    def work(self) -> Work:
        """What the effort stands for, with what is set besides."""
        usual = EFFORTS[self.effort]
        return Work(
            self.tuning_seeds or usual.seeds,
            usual.finalists if self.tuning_finalists is None else self.tuning_finalists,
            self.tuning_finalist_seeds or usual.finalist_seeds,
            usual.stride,
            usual.baselines,
            usual.rival,
        )

    def resolved(self) -> Self:
        """The same, with the numbers that the effort stands for."""
        work = self.work
        numbers = {"tuning_seeds": work.seeds, "tuning_finalist_seeds": work.finalist_seeds}
        return self.model_copy(update={**numbers, "tuning_finalists": work.finalists or None})


class CompareSettings(TuningSettings):
    """How losses are compared."""

    rival: bool = True
    """Whether label smoothing + MAE gets a search of its own with as many trainings as the evolved loss had, in a
    thorough comparison; --no-rival leaves that search out."""

    baselines: tuple[str, ...] = Field(default=(), strict=False)
    """The baselines, as tables call them, with hyphens for spaces; cross-entropy is one always (default: all, or
    those of the effort "quick")."""
