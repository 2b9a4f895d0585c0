"""What a loss is worth: comparisons that return rows; drawing and storing them happens elsewhere."""

from lossmith.analysis.baselines import Axis, Family, baselines, fixed, learning_rates
from lossmith.analysis.comparison import Comparison, Pair, Plan, Row, compare
from lossmith.analysis.trace import FORMS, Trace, trace

__all__ = [
    "FORMS",
    "Axis",
    "Comparison",
    "Family",
    "Pair",
    "Plan",
    "Row",
    "Trace",
    "baselines",
    "compare",
    "fixed",
    "learning_rates",
    "trace",
]
