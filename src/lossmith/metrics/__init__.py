"""What figures say of logits and labels: metrics by name, and the policy for what is not finite."""

from typing import TYPE_CHECKING

from lossmith.lazy import lazily
from lossmith.metrics.classification import (
    accuracy,
    balanced_accuracy,
    cross_entropies,
    macro_f1,
    mean_cross_entropy,
)
from lossmith.metrics.constant import Constant, best_constant
from lossmith.metrics.costs import Costs, check_classes, checked_costs, expected_cost
from lossmith.metrics.finite import check_shape, correct, finite, from_lists, known, mean_of, or_worst, to_lists
from lossmith.metrics.own import higher_is_better, named_metric, own_metric
from lossmith.metrics.ranking import area_under_roc, average_precision
from lossmith.metrics.registered import METRICS, Metric, direction

if TYPE_CHECKING:
    from lossmith.metrics.calibration import calibration_error, negative_log_likelihood, temperature, tempered
    from lossmith.metrics.statistics import Contrast, Difference, contrasts_with_first, holm, moments, welch

__all__ = [
    "METRICS",
    "Constant",
    "Contrast",
    "Costs",
    "Difference",
    "Metric",
    "accuracy",
    "area_under_roc",
    "average_precision",
    "balanced_accuracy",
    "best_constant",
    "calibration_error",
    "check_classes",
    "check_shape",
    "checked_costs",
    "contrasts_with_first",
    "correct",
    "cross_entropies",
    "direction",
    "expected_cost",
    "finite",
    "from_lists",
    "higher_is_better",
    "holm",
    "known",
    "macro_f1",
    "mean_cross_entropy",
    "mean_of",
    "moments",
    "named_metric",
    "negative_log_likelihood",
    "or_worst",
    "own_metric",
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
