"""The figures of experiments/glo.py, and what came of its claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from evidence import LEVEL, paired
from scipy import stats

from lossmith.metrics import holm

NOISY, CLEAN = ("digits-noisy", "mnist-noisy", "conv-noisy"), ("digits", "mnist")
TARGETS = ("mnist-noisy", "conv-noisy")
GLO, ADDED, FROM = "GLO", "GLO + cross-entropy", "of noisy digits"
CROSS_ENTROPY, BEST = "cross-entropy", "best baseline"
METHODS = ("taylor", "canonical", "residual", "residual-schedule", GLO, ADDED)
# Baselines that tables show: what a practitioner begins with, Baikal itself, and the one that is best on validation.
SHOWN = (BEST, CROSS_ENTROPY, "label smoothing", "Baikal")
CLAIMS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("`residual` finds better losses than GLO", "residual", GLO, (*CLEAN, *NOISY)),
    ("GLO added to cross-entropy finds better losses than GLO", ADDED, GLO, (*CLEAN, *NOISY)),
    ("GLO is better than tuned cross-entropy, noisy labels", GLO, CROSS_ENTROPY, NOISY),
    ("the best baseline on validation data is better than GLO", BEST, GLO, (*CLEAN, *NOISY)),
    ("`residual-schedule` is better than `residual`, noisy labels", "residual-schedule", "residual", NOISY),
    ("`residual-schedule` is better than `residual`, clean labels", "residual-schedule", "residual", CLEAN),
    ("`residual` finds better losses than `taylor`", "residual", "taylor", (*CLEAN, *NOISY)),
    ("GLO of noisy digits is better than tuned cross-entropy elsewhere", f"{GLO} {FROM}", CROSS_ENTROPY, TARGETS),
)


# What else the issue asks for, of which nothing was claimed.
UNCLAIMED: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (GLO, "taylor", (*CLEAN, *NOISY)),
    (GLO, "canonical", (*CLEAN, *NOISY)),
    (GLO, "residual", (*CLEAN, *NOISY)),
    (GLO, CROSS_ENTROPY, (*CLEAN, *NOISY)),
    ("residual-schedule", BEST, NOISY),
    ("residual", BEST, NOISY),
    (f"residual {FROM}", CROSS_ENTROPY, TARGETS),
)


class Scores:
    """Mean test accuracy of the networks of each loss, by job and search.

    Args:
        runs: Of ``runs.json``.
    """

    def __init__(self, runs: Sequence[Mapping[str, Any]]) -> None:
        self.runs = {(run["job"], run["search"]): run for run in runs}
        self.jobs = list(dict.fromkeys(job for job, _ in self.runs))
        self.numbers = sorted({number for _, number in self.runs})

    def test(self, job: str, number: int, name: str) -> float:
        """Of one loss in one comparison."""
        comparison = self.runs[job, number]["comparison"]
        own = comparison["best_baseline"] if name == BEST else name
        return float(np.mean(comparison["rows"][own]["test"]))

    def tests(self, job: str, name: str) -> list[float]:
        """Of one loss in a job, for each search."""
        return [self.test(job, number, name) for number in self.numbers]

    def gaps(self, better: str, worse: str, jobs: Sequence[str]) -> list[float]:
        """Differences of two losses for each search, the mean over jobs."""
        return [
            float(np.mean([self.test(job, number, better) - self.test(job, number, worse) for job in jobs]))
            for number in self.numbers
        ]

    def searches(self, method: str, jobs: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """The searches of a method."""
        return [
            row
            for (job, _), run in self.runs.items()
            for row in run["searches"]
            if row["method"] == method and (jobs is None or job in jobs)
        ]


@dataclass(frozen=True)
class Verdict:
    """What came of a claim.

    Args:
        sentence: What it says.
        gaps: The difference of each search.
        p: One-tailed, the unit being a search.
        holm: The same, corrected over all claims.
    """

    sentence: str
    gaps: list[float]
    p: float
    holm: float

    @property
    def interval(self) -> tuple[float, float]:
        """95 % t interval of the mean difference."""
        reach = float(stats.t.ppf(0.975, len(self.gaps) - 1) * stats.sem(self.gaps))
        mean = float(np.mean(self.gaps))
        return mean - reach, mean + reach

    @property
    def word(self) -> str:
        """Held by the corrected p; failed where the whole interval is below 0; not shown otherwise."""
        return "held" if self.holm < LEVEL else "failed" if self.interval[1] < 0 else "not shown"


def verdicts(scores: Scores) -> list[Verdict]:
    """What came of the claims (1) to (8)."""
    gaps = [scores.gaps(better, worse, jobs) for _, better, worse, jobs in CLAIMS]
    p = [paired(values) for values in gaps]
    known = [1.0 if one is None else one for one in p]
    each = zip(CLAIMS, gaps, known, holm(known), strict=True)
    return [Verdict(sentence, values, one, corrected) for (sentence, *_), values, one, corrected in each]
