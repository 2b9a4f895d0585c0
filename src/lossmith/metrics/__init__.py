"""What figures say of logits and labels: metrics by name, and the policy for what is not finite.

:mod:`lossmith.metrics.calibration` and :mod:`lossmith.metrics.statistics` load SciPy, and so stay modules of their own.
"""

from lossmith.metrics.classification import accuracy, balanced_accuracy, cross_entropies, mean_cross_entropy
from lossmith.metrics.finite import correct, finite, from_lists, known, or_worst, recorded, to_lists
from lossmith.metrics.registered import METRICS, Metric

__all__ = [
    "METRICS",
    "Metric",
    "accuracy",
    "balanced_accuracy",
    "correct",
    "cross_entropies",
    "finite",
    "from_lists",
    "known",
    "mean_cross_entropy",
    "or_worst",
    "recorded",
    "to_lists",
]
