"""Losses by all their coefficients: third-order learning rules, and the Taylor polynomials of TaylorGLO."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from lossmith.errors import InputError, brief
from lossmith.losses.power import PowerLoss
from lossmith.losses.terms import Term, float64

Number = float | Tensor
# The time to expand grows with its fourth power, and its binomial coefficients take the digits of float64.
HIGHEST_ORDER = 30


def taylor_length(order: int) -> int:
    """Length of λ at a Taylor order: the two centres, and one number for each term (8 at order 3)."""
    return 2 + order * (order + 1) // 2


def taylor_order(length: int) -> int:
    """Order of a Taylor loss whose λ has so many numbers.

    Raises:
        InputError: if no order has that length.
    """
    orders = {taylor_length(order): order for order in range(2, HIGHEST_ORDER + 1)}
    if length not in orders:
        known = ", ".join(f"{taylor_length(order)} (order {order})" for order in range(2, 6))
        raise InputError(
            f"λ has {length} number{'s' * (length != 1)}; a Taylor loss takes {known} and so on, up to "
            f"{taylor_length(HIGHEST_ORDER)} (order {HIGHEST_ORDER})"
        )
    return orders[length]


def polynomial(
    c1: Number = 0.0,
    ch: Number = 0.0,
    chh: Number = 0.0,
    chy: Number = 0.0,
    cy: Number = 0.0,
    cyy: Number = 0.0,
    name: str = "polynomial",
) -> PowerLoss:
    """The loss with ``γ = c1 + ch h + chh h² + chy h y + cy y + cyy y²`` (equation 12), one or a population.

    Args:
        c1: And all the others: numbers, or tensors that broadcast to ``[*P]``.
        name: What tables and figures call it.

    Example:
        >>> polynomial(ch=-2, cy=2).formula()
        '−h² + 2 h y'
    """
    phi = {
        Term(1, 0, 0): (c1, 1),
        Term(2, 0, 0): (ch, 2),
        Term(3, 0, 0): (chh, 3),
        Term(2, 1, 0): (chy, 2),
        Term(1, 1, 0): (cy, 1),
        Term(1, 2, 0): (cyy, 1),
    }
    values = [float64(c) / divisor for c, divisor in phi.values()]
    used = [(term, c) for term, c in zip(phi, values, strict=True) if bool((c != 0).any())]
    # NumPy's: that of torch loads SymPy.
    shape = np.broadcast_shapes(*(c.shape for c in values))
    columns = [c.expand(shape) for _, c in used]
    rows = torch.stack(columns, -1) if columns else float64([]).expand(*shape, 0)
    return PowerLoss(tuple(term for term, _ in used), rows, None, name)


def taylor(lam: Sequence[float] | Sequence[Sequence[float]] | ArrayLike | Tensor, order: int = 3) -> PowerLoss:
    """Taylor polynomial loss of TaylorGLO (equations 10–12), one or a population.

    ``φ = Σ λ_m (h − λ1)^i (y − λ0)^j`` over i ≥ 1, j ≥ 0, i + j ≤ order, in the order of (j, i); no factorials. At
    order 3: ``λ2 u + λ3 u² + λ4 u³ + λ5 u v + λ6 u² v + λ7 u v²`` with u = h − λ1 and v = y − λ0.

    Args:
        lam: ``[D]`` for one loss or ``[*P, D]``; D is 8 at order 3, 5 at order 2, 12 at order 4.
        order: The highest total power, 2 to 30: beyond that the expansion in powers of h has no digit left.

    Raises:
        InputError: if the order is not a whole number from 2 to 30, the length is not the order's, or a number is not
            finite.

    Example:
        >>> taylor([0, 0, 0, -1, 0, 2, 0, 0]).formula()
        '−h² + 2 h y'
    """
    if isinstance(order, bool) or order not in range(2, HIGHEST_ORDER + 1):
        raise InputError(f"a Taylor loss takes a whole order from 2 to {HIGHEST_ORDER}, not {brief(order)}")
    order = int(order)
    try:
        rows = float64(lam if isinstance(lam, Tensor) else np.asarray(lam, dtype=np.float64))
    except (TypeError, ValueError, OverflowError):
        raise InputError("λ must be numbers: a list, array or tensor of equal rows") from None
    length = taylor_length(order)
    if rows.ndim == 0 or rows.shape[-1] != length:
        found = rows.shape[-1] if rows.ndim else 1
        raise InputError(f"λ has {found} numbers, a Taylor loss of order {order} takes {length}")
    if not bool(rows.isfinite().all()):
        raise InputError("λ has a number that is not finite")
    y_center, h_center = rows[..., 0], rows[..., 1]
    powers = [(i, j) for j in range(order) for i in range(1, order - j + 1)]
    total: dict[Term, Tensor] = {}
    for weight, (i, j) in zip(rows[..., 2:].unbind(-1), powers, strict=True):
        for a in range(i + 1):
            for b in range(j + 1):
                share = math.comb(i, a) * (-h_center) ** (i - a) * math.comb(j, b) * (-y_center) ** (j - b)
                term = Term(float(a), b, 0)
                total[term] = total.get(term, torch.zeros_like(weight)) + weight * share
    columns = torch.stack(list(total.values()), -1)
    if not bool(columns.isfinite().all()):
        raise InputError("λ has numbers so large that the coefficients of its loss overflow; give smaller ones")
    return PowerLoss(tuple(total), columns, None, f"Taylor order {order}")
