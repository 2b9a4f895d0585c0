"""How much work a comparison makes of tuning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from pydantic import Field

from lossmith.analysis import RunOff
from lossmith.settings import Settings

Effort = Literal["quick", "standard", "thorough"]


@dataclass(frozen=True)
class Work:
    """What an effort stands for.

    Args:
        seeds: Networks trained for each setting that tuning tries.
        finalists: The best settings of each loss that are trained again with fresh seeds; 0 takes the best as it is.
        finalist_seeds: Fresh seeds of each of those.
        run_off: What is trained besides of the losses that may be the best; None for nothing.
        length: Epochs of a tuning run through the recipe's, from which the best number is read; longer where the best
            is near its end.
        stride: Steps between the learning rates of the first grid; neighbors of the best are tried all the same.
        baselines: The baselines, where none are named; None for all.
        rival: Whether label smoothing + MAE gets a search of its own.
    """

    seeds: int
    finalists: int
    finalist_seeds: int
    stride: int
    baselines: tuple[str, ...] | None = None
    rival: bool = False
    run_off: RunOff | None = None
    length: int = 2

    @property
    def numbers(self) -> dict[str, Any]:
        """What of it a plan of a comparison takes, by the plan's names."""
        names = ("finalists", "finalist_seeds", "stride", "run_off")
        return {"tuning_seeds": self.seeds, **{name: getattr(self, name) for name in names}}


FEW = ("cross-entropy", "label smoothing", "focal", "generalised cross-entropy", "label smoothing + Σh²")
EFFORTS: Mapping[Effort, Work] = {
    "quick": Work(seeds=1, finalists=3, finalist_seeds=3, stride=2, baselines=FEW, length=1),
    # A loss that can diverge looks best at rates at which some networks do: ten seeds tell, three do not.
    "standard": Work(
        seeds=1, finalists=5, finalist_seeds=3, stride=2, run_off=RunOff(losses=4, finalists=3, seeds=7), length=1
    ),
    "thorough": Work(seeds=2, finalists=5, finalist_seeds=10, stride=1, rival=True),
}


class TuningSettings(Settings):
    """How losses are tuned alike."""

    effort: Effort = "thorough"
    """How much is trained for tuning: "quick", five baselines; "standard", all baselines, and the best with more seeds;
    "thorough", four times as much, every setting with two seeds and a search for label smoothing + MAE."""

    tuning_seeds: int | None = Field(default=None, ge=1, le=10**5)
    """Networks trained for each setting that tuning tries (default: 1, thorough 2)."""

    tuning_finalists: int | None = Field(default=None, ge=1, le=10**4)
    """How many of the best settings of each loss are trained again with fresh seeds before one is chosen (default: 5,
    quick 3)."""

    tuning_finalist_seeds: int | None = Field(default=None, ge=1, le=10**5)
    """Fresh seeds that each of those is trained with (default: 3, thorough 10)."""

    tuning_epochs: int | None = Field(default=None, ge=1, le=10**6)
    """Epochs of a training in tuning, from whose curve the best number is read; doubled where that is near the end
    (default: the recipe's, thorough twice that)."""

    comparison_seed: int = Field(default=0, gt=-(2**128), lt=2**128)
    """Seed of the comparison's initial weights and batches."""

    seeds: int = Field(default=10, ge=2, le=10**5)
    """Networks trained for each tuned loss in the final comparison."""

    @property
    def work(self) -> Work:
        """What the effort stands for, with what is set besides."""
        usual = EFFORTS[self.effort]
        chosen = replace(
            usual,
            finalists=usual.finalists if self.tuning_finalists is None else self.tuning_finalists,
            finalist_seeds=self.tuning_finalist_seeds or usual.finalist_seeds,
        )
        return replace(
            chosen, seeds=self.tuning_seeds or usual.seeds, run_off=usual.run_off if chosen == usual else None
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
    """The known losses to compare with, as tables call them, with hyphens for spaces; cross-entropy always is one, and
    "all" adds those published for noisy labels (default: all others, or the five of "quick")."""
