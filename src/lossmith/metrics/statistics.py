"""What figures of several networks say about their losses."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

BINS = 15


@dataclass(frozen=True)
class Difference:
    """A difference of two means.

    Args:
        difference: First mean less second.
        low: Lower end of its 95 % interval (Welch).
        high: Upper end.
        p: One-tailed p of Welch's t-test that the first mean is higher.
    """

    difference: float
    low: float
    high: float
    p: float


def welch(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Welch's comparison of two samples; without any spread, p is 0, ½ or 1 and the interval is the difference."""
    if np.ptp(first) == 0 and np.ptp(second) == 0:
        difference = first[0] - second[0]
        return Difference(difference, difference, difference, 0.5 - 0.5 * float(np.sign(difference)))
    difference = float(np.mean(first) - np.mean(second))
    with warnings.catch_warnings():
        # SciPy warns of a sample without any spread, as of a loss whose every network diverged.
        warnings.simplefilter("ignore", RuntimeWarning)
        interval = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
        p = stats.ttest_ind(first, second, equal_var=False, alternative="greater").pvalue
    return Difference(difference, float(interval.low), float(interval.high), float(p))


def holm(values: Sequence[float]) -> list[float]:
    """Holm's correction: p-values adjusted for the whole family of comparisons, in the order given."""
    order = np.argsort(values, kind="stable")
    scaled = np.array(values)[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return [float(value) for value in adjusted]


def negative_log_likelihood(logits: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    """Mean of ``−log softmax(logits)[target]``, for logits ``[N, K]``."""
    chosen = np.take_along_axis(logits, targets[:, None], 1)[:, 0]
    return float(np.mean(special.logsumexp(logits, axis=1) - chosen))


def calibration_error(logits: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    """Expected calibration error: mean |accuracy − confidence| over 15 bins of equal width of the top output."""
    outputs = special.softmax(logits, axis=1)
    confidence, right = outputs.max(1), outputs.argmax(1) == targets
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, right - confidence, BINS)
    return float(np.abs(gaps).sum() / len(targets))


def temperature(logits: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    """The T in [e⁻⁶, e⁶] that gives ``logits / T`` the lowest negative log likelihood (Guo et al., 2017)."""
    found = optimize.minimize_scalar(
        lambda log: negative_log_likelihood(logits * np.exp(-log), targets), bounds=(-6.0, 6.0), method="bounded"
    )
    return float(np.exp(found.x))
