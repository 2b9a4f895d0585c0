"""What figures say of logits and labels: metrics by name, and the policy for what is not finite."""

from typing import TYPE_CHECKING

from lossmith.lazy import lazily
from lossmith.metrics.classification import accuracy, balanced_accuracy, cross_entropies, mean_cross_entropy
from lossmith.metrics.finite import check_shape, correct, finite, from_lists, known, mean_of, or_worst, to_lists
from lossmith.metrics.registered import METRICS, Metric, direction

if TYPE_CHECKING:
    from lossmith.metrics.calibration import calibration_error, negative_log_likelihood, temperature, tempered
    from lossmith.metrics.statistics import Contrast, Difference, contrasts_with_first, holm, moments, welch

__all__ = [
    "METRICS",
    "Contrast",
    "Difference",
    "Metric",
    "accuracy",
    "balanced_accuracy",
    "calibration_error",
    "check_shape",
    "contrasts_with_first",
    "correct",
    "cross_entropies",
    "direction",
    "finite",
    "from_lists",
    "holm",
    "known",
    "mean_cross_entropy",
    "mean_of",
    "moments",
    "negative_log_likelihood",
    "or_worst",
    "temperature",
    "tempered",
    "to_lists",
    "welch",
]

# These two load SciPy, which training does without.
__getattr__ = lazily(
    __name__,
    {
        "calibration": ("calibration_error", "negative_log_likelihood", "temperature", "tempered"),
        "statistics": ("Contrast", "Difference", "contrasts_with_first", "holm", "moments", "welch"),
    },
)
