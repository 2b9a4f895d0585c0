"""What the experiments claim: claims, their verdicts over the searches, and how Markdown tells them.

A claim is written down before the run and judged from the raw figures of the networks alone. Where it does not hold,
the 95 % interval of its mean difference says what that is worth: whether a difference that matters is excluded, or
nothing was shown. The interval is a t interval over searches, or with one search that of its networks; it is not
corrected for the number of claims.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from scipy import stats

from lossmith.metrics import Difference, holm, welch

LEVEL = 0.05
HALF_A_POINT = 0.005
HELD, FAILED, NOT_SHOWN = "held", "failed", "not shown"
Figures = Callable[[Any], Any]
Test = Callable[[Any, Any], Difference]
Rule = Callable[[Sequence[float], Sequence[float]], str]


def in_share(share: Fraction) -> Rule:
    """Held: above 0 in every search and clear in a share of them. Else not shown."""

    def rule(differences: Sequence[float], p: Sequence[float]) -> str:
        enough = sum(value < LEVEL for value in p) >= share * len(p)
        return HELD if min(differences) > 0 and enough else NOT_SHOWN

    return rule


TWO_THIRDS, FOUR_FIFTHS = in_share(Fraction(2, 3)), in_share(Fraction(4, 5))


def compared(better: Sequence[float | None], worse: Sequence[float | None]) -> Difference:
    """Welch's comparison of the figures that there are: a network that diverged has no basin."""
    first, second = ([value for value in values if value is not None] for values in (better, worse))
    if min(len(first), len(second)) > 1:
        return welch(first, second)
    difference = float(np.mean(first) - np.mean(second)) if first and second else 0.0
    return Difference(difference, -np.inf, np.inf, 1.0)


@dataclass(frozen=True)
class Claim:
    """What is claimed, written down before the run.

    Args:
        name: What tables call it.
        sentence: What it says.
        better: Figures of the networks that are claimed to be better, of a search.
        worse: Figures of the others.
        rule: Whether the differences and p of all searches show it, and the word for that; else ``NOT_SHOWN``.
        test: Compares the two in one search.
        margin: From which difference on it matters, a share of accuracy; None where no such number makes sense.
        two_sided: Whether a difference of either sign is claimed, so that none speaks against the claim.
    """

    name: str
    sentence: str
    better: Figures
    worse: Figures
    rule: Rule = TWO_THIRDS
    test: Test = compared
    margin: float | None = None
    two_sided: bool = False

    @property
    def no_difference(self) -> str | None:
        """What is said where a difference larger than the margin is excluded."""
        return None if self.margin is None else f"no difference larger than {100 * self.margin:g} points"

    def unshown(self, interval: tuple[float, float]) -> str:
        """What is said where the rule shows nothing, by the interval of the mean difference.

        - ``no difference larger than …``: the interval lies within ± margin;
        - ``failed``: it lies below the margin, or without one below 0, so that a gain that matters is excluded;
        - ``not shown``: anything else.
        """
        low, high = interval
        margin = self.margin or 0
        if self.no_difference is not None and -margin < low and high < margin:
            return self.no_difference
        return FAILED if high < margin and not self.two_sided else NOT_SHOWN


@dataclass(frozen=True)
class Verdict:
    """What came of a claim, an entry for each search.

    Args:
        claim: The claim.
        differences: Mean of the better less mean of the worse.
        low: Lower ends of their 95 % intervals.
        high: Upper ends.
        p: One-tailed Welch p, or that of the claim's own test; the unit is a network.
        holm: The same, corrected over all claims that were judged together; None where none is.
        interval: 95 % interval of the mean difference.
        shown: Whether the claim's rule shows it.
        word: What is said of it.
    """

    claim: Claim
    differences: list[float]
    low: list[float]
    high: list[float]
    p: list[float]
    holm: list[float] | None
    interval: tuple[float, float]
    shown: bool
    word: str

    @property
    def counted(self) -> list[float]:
        """The p that the rule counts."""
        return self.p if self.holm is None else self.holm

    @property
    def over_searches(self) -> float | None:
        """One-tailed p of a paired t-test whose unit is a search; None of fewer than two."""
        return paired(self.differences)

    @property
    def mean(self) -> float:
        """Mean difference over the searches."""
        return float(np.mean(self.differences))

    @property
    def equivalent(self) -> bool:
        """Whether a difference larger than the margin is excluded, of either sign."""
        return self.word == self.claim.no_difference

    @property
    def above(self) -> str:
        """In how many searches the difference is above 0."""
        return f"{sum(value > 0 for value in self.differences)} of {len(self.differences)}"

    @property
    def clear(self) -> str:
        """In how many searches p is below the level."""
        return f"{sum(value < LEVEL for value in self.counted)} of {len(self.differences)}"

    def to_json(self) -> dict[str, Any]:
        """The verdict as JSON values."""
        values = {name: getattr(self, name) for name in ("differences", "low", "high", "p", "holm")}
        known = {name: value for name, value in values.items() if value is not None}
        known |= {"interval": list(self.interval), "margin": self.claim.margin}
        return {"name": self.claim.name, "sentence": self.claim.sentence, **finite(known), "verdict": self.word}


def judge(claims: Sequence[Claim], runs: Sequence[Any], corrected: bool = True) -> list[Verdict]:
    """What came of claims that are judged together, by Holm's correction over all their tests or without one."""
    tests = [[claim.test(claim.better(run), claim.worse(run)) for run in runs] for claim in claims]
    adjusted = iter(holm([one.p for row in tests for one in row]))
    found = []
    for claim, row in zip(claims, tests, strict=True):
        differences, low, high, p = ([getattr(one, field) for one in row] for field in Difference.__annotations__)
        family = [next(adjusted) for _ in row] if corrected else None
        word, ends = claim.rule(differences, p if family is None else family), interval_of(row)
        shown = word != NOT_SHOWN
        told = word if shown else claim.unshown(ends)
        found.append(Verdict(claim, differences, low, high, p, family, ends, shown, told))
    return found


def interval_of(row: Sequence[Difference]) -> tuple[float, float]:
    """95 % interval of a mean difference: over searches (t interval), or of the networks where there is one search.

    It is open on both sides where a search has too few figures for an interval of its own.
    """
    if len(row) == 1:
        return row[0].low, row[0].high
    if not np.isfinite([(one.low, one.high) for one in row]).all():
        return -np.inf, np.inf
    differences = [one.difference for one in row]
    middle, error = float(np.mean(differences)), float(stats.sem(differences))
    reach = float(stats.t.ppf(0.975, len(row) - 1)) * error
    return middle - reach, middle + reach


def paired(differences: Sequence[float]) -> float | None:
    """One-tailed p that the mean of the differences is above 0 (t-test), the unit being a search."""
    if len(differences) < 2:
        return None
    if np.ptp(differences) == 0:
        return 0.5 - 0.5 * float(np.sign(differences[0]))
    return float(stats.ttest_1samp(differences, 0, alternative="greater").pvalue)


def ends_of(values: Sequence[float]) -> tuple[float, float]:
    """The ends of the 95 % t interval of the mean of two or more values."""
    return interval_of([Difference(value, value, value, 1.0) for value in values])


def one_tailed(values: Sequence[float]) -> float:
    """One-tailed p that the mean of two or more values is above 0 (t-test)."""
    found = paired(values)
    assert found is not None
    return found


def word_of(adjusted: float, high: float) -> str:
    """What came of a claim, by its corrected p and the upper end of its interval: held, failed (below 0), not shown."""
    return f"**{HELD if adjusted < LEVEL else FAILED if high < 0 else NOT_SHOWN}**"


def stratified(groups: Sequence[Sequence[float]], weights: Sequence[float]) -> Difference:
    """The weighted mean of the means of independent groups, with what is left to chance within each.

    The standard error is that of a weighted mean of independent means, the degrees of freedom are Satterthwaite's. With
    one group it is the one-tailed t-test of its values.

    Args:
        groups: Differences, two or more in each.
        weights: How much the mean of each counts, in any unit.
    """
    shares = [weight / sum(weights) for weight in weights]
    middle = float(np.dot(shares, [np.mean(group) for group in groups]))
    parts = [share**2 * float(np.var(group, ddof=1)) / len(group) for share, group in zip(shares, groups, strict=True)]
    square = sum(parts)
    # The variance of equal numbers is not always exactly 0.
    if not any(np.ptp(group) for group in groups):
        return Difference(middle, middle, middle, 0.5 - 0.5 * float(np.sign(middle)))
    freedom = square**2 / sum(part**2 / (len(group) - 1) for part, group in zip(parts, groups, strict=True))
    error = math.sqrt(square)
    reach = float(stats.t.ppf(0.975, freedom)) * error
    return Difference(middle, middle - reach, middle + reach, float(stats.t.sf(middle / error, freedom)))


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """A table."""
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return lines + [f"| {' | '.join(map(str, row))} |" for row in rows]


def spread(interval: Sequence[float | None], scale: float = 100, digits: int = 2) -> str:
    """An interval as tables tell it, in points of accuracy; open where an end is not finite."""
    low, high = (math.nan if end is None else scale * end for end in interval)
    return f"[{low:+.{digits}f}, {high:+.{digits}f}]" if np.isfinite([low, high]).all() else "open"


def percent(values: Sequence[float]) -> str:
    """Mean (sample standard deviation) in percent."""
    shares = 100 * np.asarray(values)
    return f"{shares.mean():.2f} ({shares.std(ddof=1):.2f})"


def finite(value: Any, digits: int | None = None) -> Any:
    """The same document with null for what is no finite number, and with so many digits."""
    if isinstance(value, dict):
        # A loss that is rounded would be another loss.
        return {key: part if key == "loss" else finite(part, digits) for key, part in value.items()}
    if isinstance(value, list):
        return [finite(part, digits) for part in value]
    if isinstance(value, float):
        return None if not np.isfinite(value) else value if digits is None else float(f"{value:.{digits}g}")
    return value
