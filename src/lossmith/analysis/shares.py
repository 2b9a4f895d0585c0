"""The share of labels that are wrong, from what networks believe that did not learn from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
HALF = 0.5


@dataclass(frozen=True)
class WrongLabels:
    """An estimate of the share of wrong labels.

    Of some rows networks are not sure enough of any class; these are between all right and as often wrong as others.

    Args:
        low: The share, if no label is wrong that networks are not sure of.
        high: The share, if those are wrong as often as the others of their class.
        agreement: Share of the labels that networks believe most in.
    """

    low: float
    high: float
    agreement: float

    @property
    def share(self) -> float:
        """The estimate: halfway, which measured best."""
        return (self.low + self.high) / 2

    @property
    def trusted(self) -> bool:
        """Whether networks agree with half of the labels; if not, they may not know the classes, and few be wrong."""
        return self.agreement >= HALF


def thresholds(beliefs: Floats, given: NDArray[np.int64]) -> Floats:
    """How sure networks are of a class: the mean belief in it of the rows that are given it, ``[K]``.

    No row passes the threshold of a class that no row is given.

    Args:
        beliefs: Outputs ``[N, K]``.
        given: The labels, ``[N]``.
    """
    counts = np.bincount(given, minlength=beliefs.shape[1])
    sums = np.bincount(given, weights=beliefs[np.arange(len(given)), given], minlength=beliefs.shape[1])
    found: Floats = np.divide(sums, counts, out=np.full(len(counts), np.inf), where=counts > 0)
    return found


def wrong_labels(beliefs: Floats, given: NDArray[np.int64]) -> WrongLabels:
    """The share of wrong labels, by confident learning's counts (Northcutt et al., 2021).

    ``C[i, j]`` counts the rows with label i whose largest belief, among those above their class's threshold, is that in
    j. Each row of C, scaled to the number of labels i, is what its labels really are; rows that pass no threshold are
    counted like the others in the higher figure, as right in the lower.

    Args:
        beliefs: Outputs ``[N, K]`` of networks that did not learn from the sample.
        given: The labels, ``[N]``.
    """
    passed = beliefs >= thresholds(beliefs, given)
    sure = passed.any(1)
    found = np.where(passed, beliefs, -np.inf).argmax(1)
    classes = beliefs.shape[1]
    other = np.bincount(given[sure & (found != given)], minlength=classes)
    counted, labels = np.bincount(given[sure], minlength=classes), np.bincount(given, minlength=classes)
    shares = np.divide(other, counted, out=np.zeros(classes), where=counted > 0)
    low, high = float(other.sum() / len(given)), float((shares * labels).sum() / len(given))
    return WrongLabels(low, high, float((beliefs.argmax(1) == given).mean()))
