"""A loss in LaTeX, with every digit."""

from __future__ import annotations

from collections.abc import Sequence

from lossmith.losses.base import Loss
from lossmith.losses.exports.expressions import literal
from lossmith.losses.formatting import latex


def latex_source(loss: Loss, weight: Sequence[float] | None) -> str:
    """φ, the loss and its learning rule, with h the softmax of the logits, for ``amsmath``."""
    phi, total, rule = latex(loss, None, weighted=weight is not None)
    lines = [phi, total, rule]
    if weight is not None:
        # For class indices, that is for a y_k of 1 and all others 0.
        lines.insert(2, rf"w(y) = \sum_k w_k y_k, \quad w = ({', '.join(map(repr, weight))})")
    body = " \\\\\n".join(line.replace(" = ", " &= ", 1) for line in lines)
    return f"% {literal(loss.name)}\n\\begin{{align*}}\n{body}\n\\end{{align*}}\n"
