"""Likelihood and calibration of one network's logits ``[N, K]``, in float64, and the temperature that mends them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

BINS = 15


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
