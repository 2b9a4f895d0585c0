"""What a search, a comparison or a distillation will train, and how long that takes: estimated before it begins."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lossmith.analysis import Axis, Family, learning_rates
from lossmith.errors import InputError, brief
from lossmith.study.efforts import Work

# What climbing tries, by experience (618 trainings of tuning in the demo): places of a loss without strengths, and for
# each strength more.
CLIMBED, CLIMBED_BY_STRENGTH = 5.0, 2.5
SWEPT = 20
# A tuning run is twice as long as the recipe; the best settings end after about half of that.
LONGER = 2
UNITS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
FORM = re.compile(r"(\d+(?:\.\d+)?)(s|sec|m|min|h|d)")


@dataclass(frozen=True)
class Budget:
    """The trainings of a task, stage by stage.

    Args:
        stages: Networks that each stage trains, counted in trainings of the recipe's length.
        seconds: Of one training of the recipe's length.
    """

    stages: Mapping[str, float]
    seconds: float

    @property
    def trainings(self) -> float:
        """All of them."""
        return sum(self.stages.values())

    @property
    def total(self) -> float:
        """Seconds of all of them."""
        return self.trainings * self.seconds

    def of(self, *stages: str) -> float:
        """Seconds of some stages."""
        return self.seconds * sum(self.stages.get(stage, 0.0) for stage in stages)

    def share(self, stage: str, done: float) -> float:
        """The share of the whole that is done, where so much of a stage is, and all of those before it."""
        total, before = self.trainings or 1.0, 0.0
        for name, size in self.stages.items():
            if name == stage:
                return (before + done * size) / total
            before += size
        return 1.0

    def sentence(self) -> str:
        """What will be trained, in words."""
        parts = ", ".join(f"{stage} {amount_text(size)}" for stage, size in self.stages.items() if size >= 1)
        return (
            f"about {amount_text(self.trainings)} trainings, about {time_text(self.total)} of training alone ({parts})"
        )


class OneClock:
    """The share of the whole of a comparison, from that of its phases; it never goes back.

    Args:
        budget: What it trains, stage by stage.
        report: Called with the phase and the share of the whole.
        phases: How each phase begins, with its stage and the shares of that at its beginning and end. Rounds of a
            phase, whose number ends its name, get ever smaller parts of it.
    """

    def __init__(
        self,
        budget: Budget,
        report: Callable[[str, float], None],
        phases: Mapping[str, tuple[str, float, float]],
    ) -> None:
        self.budget, self.report, self.phases = budget, report, phases
        self._shown = 0.0

    def __call__(self, phase: str, done: float) -> None:
        """Tell that so much of a phase is done."""
        stage, begin, end = next(
            (where for beginning, where in self.phases.items() if phase.startswith(beginning)), ("", 0.0, 0.0)
        )
        last = phase.rsplit(" ", 1)[-1]
        inside = 1 - 1 / (int(last) + done) if last.isdigit() else done
        if stage:
            self._shown = max(self._shown, self.budget.share(stage, begin + (end - begin) * inside))
        self.report(phase, self._shown)


def search_budget(
    *,
    population: int,
    generations: int,
    replicates: int,
    finalists: int,
    finalist_seeds: int,
    known: Sequence[Family],
    tune: bool,
    swept: bool,
    rated: bool,
    share: float,
    seconds: float,
) -> Budget:
    """The trainings of a study.

    Args:
        population: Candidates in a generation.
        generations: Generations that are to be trained.
        replicates: Networks of each candidate.
        finalists: Candidates that are trained again.
        finalist_seeds: Fresh seeds of each.
        known: Losses that the search must beat.
        tune: Whether these and the finalists are tuned.
        swept: Whether rates are swept first.
        rated: Whether finalists have rates of their own.
        share: Share of a training that a candidate gets.
        seconds: Of one training.
    """
    first, fresh = max(2, replicates), (finalist_seeds + 1) // 2
    found = finalists + 1
    again = 2 * fresh
    climbing = sum(_climbed(family) * first + again for family in known)
    stages = {
        "sweep": float(SWEPT * first) if tune and swept else 0.0,
        "known": climbing if tune else 0.0,
        "search": population * generations * replicates * share,
        "rates": found * (CLIMBED * first + again) if tune and rated else 0.0,
        "smoothing": 0.0 if tune else 10.0 * fresh,
        "final": float((found + (len(known) if tune else 2)) * finalist_seeds),
    }
    return Budget(stages, seconds)


def comparison_budget(
    families: Sequence[Family], work: Work, seeds: int, tuned_length: float, rival: float, seconds: float
) -> Budget:
    """The trainings of a comparison.

    Args:
        families: The losses.
        work: How they are tuned.
        seeds: Fresh networks of each.
        tuned_length: Epochs of a tuning run through the recipe's.
        rival: Trainings of the search of a rival.
        seconds: Of one training of the recipe's length.
    """
    sizes = [_tried([*family.axes, learning_rates(1.0, work.stride)], work) for family in families]
    leading = 0 if work.run_off is None else min(len(families), work.run_off.losses + 2)
    stages = {"rival": rival, **_tuned(sizes, work, tuned_length, leading), "final": float(len(families) * seeds)}
    return Budget(stages, seconds)


def function_comparison_budget(
    families: Sequence[Family], first: int, fresh: int, seeds: int, rated: bool, seconds: float
) -> Budget:
    """The trainings of a comparison by a training function, whose losses climb from neighbor to neighbor.

    Args:
        families: The losses.
        first: Trainings of each place that is tried.
        fresh: Trainings of each of the best two places, with fresh seeds.
        seeds: Trainings of each tuned loss.
        rated: Whether the function takes a learning rate; a loss without strengths has one place otherwise.
        seconds: Of one training.
    """
    climbed = sum(_climbed(family) if rated else 1 + CLIMBED_BY_STRENGTH * len(family.axes) for family in families)
    tuned = climbed * first + sum(2 if rated or family.axes else 1 for family in families) * fresh
    return Budget({"tuning": tuned, "final": float(len(families) * seeds)}, seconds)


def distillation_budget(terms: int, work: Work, seeds: int, tuned_length: float, seconds: float) -> Budget:
    """The trainings of a distillation whose every round leaves out a term, which is the most there can be.

    Args:
        terms: Of the loss.
        work: How what is tried is tuned.
        seeds: Fresh networks of each loss that is tried.
        tuned_length: Epochs of a tuning run through the recipe's.
        seconds: Of one training of the recipe's length.
    """
    rates = learning_rates(1.0, work.stride)
    # The whole loss, and in each round all that lack one more term; coefficients but one are tuned again.
    left = [terms, *(size for size in range(terms - 1, 0, -1) for _ in range(size + 1))]
    factors = Axis("factor", float, 0, 0, -1, 1)
    sizes = [_tried([*[factors] * (size - 1), rates], work) for size in left]
    return Budget({**_tuned(sizes, work, tuned_length, len(left)), "final": float((len(left) + 2) * seeds)}, seconds)


def _tuned(tried: Sequence[float], work: Work, length: float, leading: int) -> dict[str, float]:
    """The trainings of tuning losses of which so many places are tried each, and so many are in the run-off."""
    run_off = work.run_off
    more = 0 if run_off is None else leading * run_off.finalists * run_off.seeds
    return {
        "tuning": sum(tried) * work.seeds * length,
        "again": float(len(tried) * work.finalists * work.finalist_seeds + more),
    }


def _climbed(family: Family) -> float:
    return CLIMBED + CLIMBED_BY_STRENGTH * len(family.axes)


def _tried(axes: Sequence[Axis], work: Work) -> float:
    """Places of the first grid, and those around the best, of which a coarse grid knows fewer."""
    beyond = 1.5 if work.stride == 1 else 2.0 + 2 * len(axes)
    return math.prod(len(axis.start()) for axis in axes) + beyond


def amount_text(trainings: float) -> str:
    """A number of trainings, to two digits, since it is an estimate.

    Example:
        >>> amount_text(2718.28)
        '2,700'
    """
    if trainings < 100:
        return f"{max(1, round(trainings))}"
    digits = len(str(round(trainings))) - 2
    return f"{round(trainings / 10**digits) * 10**digits:,}"


def time_text(seconds: float) -> str:
    """A time, to two digits.

    Example:
        >>> [time_text(one) for one in (0.4, 48, 200, 5000, 200000)]
        ['1 s', '48 s', '3.3 min', '1.4 h', '2.3 days']
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= (1.5 if name == "days" else 1.0) * unit * (1.0 if name == "min" else 0.99):
            return f"{seconds / unit:.2g} {name}"
    return f"{seconds:.0f} s"


def parsed_time(text: str | float) -> float:
    """Seconds of a time such as ``"30m"``, ``"1h30m"`` or ``"90s"``; a number stands for seconds.

    Raises:
        InputError: if it is none, or not more than 0.
    """
    if isinstance(text, int | float) and not isinstance(text, bool):
        seconds = float(text) if abs(text) < 1e18 else math.inf
    else:
        words = str(text).lower().replace(" ", "")
        parts = FORM.findall(words)
        whole = "".join(number + unit for number, unit in parts)
        seconds = sum(float(number) * UNITS[unit] for number, unit in parts) if whole == words and parts else math.nan
    if not 0 < seconds < math.inf:
        raise InputError(f"the time limit is {brief(text)}; give a time, such as 30m, 8h or 1h30m")
    return seconds
