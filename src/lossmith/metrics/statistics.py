"""What figures of several networks say about their losses: means, tests, corrections."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from lossmith.metrics.finite import known, to_lists


@dataclass(frozen=True)
class Difference:
    """A difference of two means.

    Args:
        difference: First mean less second.
        low: Lower end of its interval (Welch), of 95 % if nothing else is said.
        high: Upper end.
        p: One-tailed p of Welch's t-test that the first mean is the better one.
    """

    difference: float
    low: float
    high: float
    p: float


def welch(
    first: Sequence[float], second: Sequence[float], higher_is_better: bool = True, level: float = 0.95
) -> Difference:
    """Welch's comparison of two samples; without any spread, p is 0, ½ or 1 and the interval is the difference."""
    if not higher_is_better:
        turned = welch(second, first, level=level)
        return Difference(-turned.difference, -turned.high, -turned.low, turned.p)
    if np.ptp(first) == 0 and np.ptp(second) == 0:
        difference = first[0] - second[0]
        return Difference(difference, difference, difference, 0.5 - 0.5 * float(np.sign(difference)))
    difference = float(np.mean(first) - np.mean(second))
    with warnings.catch_warnings():
        # SciPy warns of a sample without any spread, as of a loss whose every network diverged.
        warnings.simplefilter("ignore", RuntimeWarning)
        interval = scipy.stats.ttest_ind(first, second, equal_var=False).confidence_interval(level)
        p = scipy.stats.ttest_ind(first, second, equal_var=False, alternative="greater").pvalue
    return Difference(difference, float(interval.low), float(interval.high), float(p))


def holm(values: Sequence[float]) -> list[float]:
    """Holm's correction: p-values adjusted for the whole family of comparisons, in the order given."""
    order = np.argsort(values, kind="stable")
    scaled = np.array(values)[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return [float(value) for value in adjusted]


@dataclass(frozen=True)
class Contrast:
    """A loss compared with the first one in one measure.

    Args:
        place: Of the loss among all.
        measure: What was measured.
        result: Mean of the loss less that of the first, with p that the loss is the better one.
        holm: That p, corrected over all contrasts.
        counts: Networks of the loss and of the first.
    """

    place: int
    measure: str
    result: Difference
    holm: float
    counts: tuple[int, int]

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """A JSON object, given the names of all losses."""
        return {
            "loss": names[self.place],
            "against": names[0],
            "measure": self.measure,
            "difference": self.result.difference,
            "interval": [self.result.low, self.result.high],
            "p": self.result.p,
            "holm": self.holm,
            "n": list(self.counts),
        }


def contrasts_with_first(
    samples: Sequence[Mapping[str, NDArray[np.float64]]], lower: Collection[str] = ()
) -> list[Contrast]:
    """One-tailed Welch tests of each loss with the first one, in every measure, Holm-corrected together.

    A measure that fewer than two networks of one of both have gets no test.

    Args:
        samples: For each loss, each measure of its networks ``[S]``; NaN where a network has none.
        lower: Measures of which less is better; of the others, more is.
    """
    found = []
    for place, own in enumerate(samples[1:], 1):
        for measure, values in own.items():
            ours, theirs = (known(one).tolist() for one in (values, samples[0][measure]))
            if min(len(ours), len(theirs)) < 2:
                continue
            result = welch(ours, theirs, measure not in lower)
            found.append((place, measure, result, (len(ours), len(theirs))))
    corrected = holm([result.p for _, _, result, _ in found]) if found else []
    return [
        Contrast(place, measure, result, p, counts)
        for (place, measure, result, counts), p in zip(found, corrected, strict=True)
    ]


def moments(values: NDArray[np.float64]) -> dict[str, Any]:
    """Mean, sample standard deviation and number of what networks ``[S]`` have, for JSON, and the values."""
    measured = known(values)
    return {
        "mean": float(measured.mean()) if len(measured) else None,
        "std": float(measured.std(ddof=1)) if len(measured) > 1 else None,
        "n": len(measured),
        "values": to_lists(values),
    }
