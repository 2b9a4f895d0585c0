"""What a loss does, computed from its learning rule: batched over populations, float64 in, float64 out.

Formulas and their derivations are in ``docs/theory.md``; ``docs/paper.md`` lists every equation of the paper with the
function that computes it. ``lossmith.theory.symbolic`` derives them with SymPy.
"""

from lossmith.theory.attraction import Zone, attraction, logit_steps, sign_changes, symmetric_gamma, zones
from lossmith.theory.coefficients import (
    Acting,
    Canonical,
    Coefficients,
    acting,
    acting_pair,
    canonical,
    coefficients,
    from_acting,
    from_canonical,
    to_lambda,
)
from lossmith.theory.explanation import EPSILONS, Explanation, explain
from lossmith.theory.invariant import Form, bias_growth, gain, is_trainable, margin, null_epoch
from lossmith.theory.outputs import entropy_change, output_change, symmetric_entropy_change, symmetric_outputs
from lossmith.theory.smoothing import Smoothing, recognize, unsmoothed
from lossmith.theory.symmetric import symmetric_values
from lossmith.theory.zero_error import REGIMES, ZeroError, regime, zero_error, zero_error_limits

__all__ = [
    "EPSILONS",
    "REGIMES",
    "Acting",
    "Canonical",
    "Coefficients",
    "Explanation",
    "Form",
    "Smoothing",
    "ZeroError",
    "Zone",
    "acting",
    "acting_pair",
    "attraction",
    "bias_growth",
    "canonical",
    "coefficients",
    "entropy_change",
    "explain",
    "from_acting",
    "from_canonical",
    "gain",
    "is_trainable",
    "logit_steps",
    "margin",
    "null_epoch",
    "output_change",
    "recognize",
    "regime",
    "sign_changes",
    "symmetric_entropy_change",
    "symmetric_gamma",
    "symmetric_outputs",
    "symmetric_values",
    "to_lambda",
    "unsmoothed",
    "zero_error",
    "zero_error_limits",
    "zones",
]
