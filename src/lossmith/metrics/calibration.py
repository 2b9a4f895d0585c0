"""Likelihood and calibration of one network's logits ``[N, K]``, in float64, and the temperature that mends them."""

from __future__ import annotations

import math

import numpy as np
import scipy
from numpy.typing import NDArray

from lossmith.errors import InputError

BINS = 15
SOUND = (math.exp(-5.9), math.exp(5.9))


def negative_log_likelihood(logits: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    """Mean of ``−log softmax(logits)[target]``, for logits ``[N, K]``."""
    chosen = np.take_along_axis(logits, targets[:, None], 1)[:, 0]
    return float(np.mean(scipy.special.logsumexp(logits, axis=1) - chosen))


def calibration_error(logits: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    """Expected calibration error: mean |accuracy − confidence| over 15 bins of equal width of the top output."""
    outputs = scipy.special.softmax(logits, axis=1)
    confidence, right = outputs.max(1), outputs.argmax(1) == targets
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, right - confidence, BINS)
    return float(np.abs(gaps).sum() / len(targets))


def temperature(logits: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    """The T that gives ``logits / T`` the lowest negative log likelihood (Guo et al., 2017), whatever their scale.

    The likelihood is convex in 1 / T, so its slope, the mean of ``Σ p z − z[target]``, says where T lies. It is 0 where
    every sample is right, ∞ where equal outputs are best, and 1 where the logits of every sample are equal.

    Raises:
        InputError: if a logit is not a finite number.
    """
    if not np.isfinite(logits).all():
        raise InputError("a logit is not a finite number, so there is no temperature; leave such a network out")
    scale = float(np.abs(logits).max(initial=0.0)) or 1.0
    scaled = logits / scale
    scaled -= scaled.max(1, keepdims=True)
    aimed = np.take_along_axis(scaled, targets[:, None], 1)[:, 0]

    def slope(inverse: float) -> float:
        return float(np.mean((scipy.special.softmax(inverse * scaled, axis=1) * scaled).sum(1) - aimed))

    if not scaled.any():
        return 1.0
    if not aimed.any():
        return 0.0
    if slope(0.0) >= 0:
        return math.inf
    low = high = 1.0
    while slope(high) < 0:
        high *= 2
    while slope(low) > 0:
        low /= 2
    exact = scale / scipy.optimize.brentq(slope, low, high, rtol=1e-14)
    if not SOUND[0] < exact < SOUND[1]:
        return exact
    # To the bit what comparisons of older versions found; it differs by 1e-5 of it at most.
    found = scipy.optimize.minimize_scalar(
        lambda log: negative_log_likelihood(logits * np.exp(-log), targets), bounds=(-6.0, 6.0), method="bounded"
    )
    return float(np.exp(found.x))


def tempered(logits: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """``logits / T``; for T = 0 their limit, 0 at the largest of each sample and −∞ elsewhere."""
    if scale > 0:
        return logits / scale
    return np.where(logits == logits.max(1, keepdims=True), 0.0, -np.inf)
