"""λ, the coefficients of γ, the numbers among them that act, and canonical coordinates: each from the others."""

from typing import NamedTuple

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from lossmith.errors import InputError
from lossmith.losses import Loss, Term, taylor, taylor_order
from lossmith.theory.checks import check_classes, check_count, checked_powers

TERMS = {
    "c1": Term(0, 0, 0),
    "ch": Term(1, 0, 0),
    "chh": Term(2, 0, 0),
    "chy": Term(1, 1, 0),
    "cy": Term(0, 1, 0),
    "cyy": Term(0, 2, 0),
}


class Coefficients(NamedTuple):
    """``γ = c1 + ch h + chh h² + chy h y + cy y + cyy y²`` (equation 12), each ``[*P]``."""

    c1: Tensor
    ch: Tensor
    chh: Tensor
    chy: Tensor
    cy: Tensor
    cyy: Tensor


class Acting(NamedTuple):
    """The four numbers that act with hard labels, each ``[*P]``: c1 reaches no gradient, and ``t = cy + cyy``."""

    ch: Tensor
    chh: Tensor
    chy: Tensor
    t: Tensor


class Canonical(NamedTuple):
    """Gain and shape, each ``[*P]``: ``log(m/n)``, ``ch/m``, ``chh/m``, ``chy/m`` with the null-epoch margin m.

    Losses with the same shape train alike, with learning rates in the inverse ratio of their gains (under SGD without
    weight decay).
    """

    log_gain: Tensor
    ch: Tensor
    chh: Tensor
    chy: Tensor


def coefficients(lam: ArrayLike | Tensor | Loss) -> Coefficients:
    """The coefficients of γ (equation 12) of a λ of order 2 or 3, or of a loss of that form.

    Args:
        lam: ``[*P, 8]`` or ``[*P, 5]``, or a loss.

    Raises:
        InputError: if λ has another length or is not finite, or γ has a term that equation 12 does not have.

    Example:
        >>> coefficients([0, 0, 0, -1, 0, 2, 0, 0]).ch  # the mean squared error
        tensor(-2., dtype=torch.float64)
    """
    if not isinstance(lam, Loss):
        try:
            rows = torch.as_tensor(lam, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError):
            raise InputError("λ must be numbers: a list, array or tensor of equal rows") from None
        lam = taylor(rows, taylor_order(rows.shape[-1] if rows.ndim else 1))
    known = checked_powers(lam, "the set of coefficients c1 … cyy")
    rule = known.rule()
    other = next((term for term in rule if term not in TERMS.values()), None)
    if other is not None:
        raise InputError(
            f"the loss {known.name!r} is not a Taylor polynomial of third order (γ has a term h^{other.h:g} y^{other.y}"
            f"{' log h' if other.log else ''}), so it has no coefficients c1 … cyy"
        )
    zero = known.coefficients.new_zeros(known.shape)
    return Coefficients(*(rule.get(term, zero) for term in TERMS.values()))


def to_lambda(c: Coefficients, label_center: float = 0.0, output_center: float = 0.0) -> Tensor:
    """The λ ``[*P, 8]`` with these coefficients and centres (equation 12 turned round).

    λ0 (label centre) and λ1 (output centre) are free: every choice gives the same learning rule.
    """
    y0, h0 = label_center, output_center
    l4, l6, l7 = c.chh / 3, c.chy / 2, c.cyy
    l3 = c.ch / 2 + l6 * y0 + 3 * h0 * l4
    l5 = c.cy + 2 * h0 * l6 + 2 * l7 * y0
    l2 = c.c1 + 2 * h0 * l3 - 3 * l4 * h0**2 + l5 * y0 - 2 * y0 * h0 * l6 - l7 * y0**2
    centers = torch.full_like(l2, y0), torch.full_like(l2, h0)
    return torch.stack([*centers, l2, l3, l4, l5, l6, l7], -1)


def acting(c: Coefficients) -> Acting:
    """The four numbers that act with hard labels (five with soft ones, where cy and cyy act apart)."""
    return Acting(c.ch, c.chh, c.chy, c.cy + c.cyy)


def acting_pair(c: Coefficients) -> tuple[Tensor, Tensor]:
    """The two numbers that act for two classes: p and q of ``γ_T − γ_¬T = p + q h_T``."""
    return c.cy + c.cyy - c.ch - c.chh, 2 * c.ch + 2 * c.chh + c.chy


def from_acting(a: Acting) -> Coefficients:
    """Coefficients with these acting numbers, and 0 for what does not act."""
    zero = torch.zeros_like(a.t)
    return Coefficients(zero, a.ch, a.chh, a.chy, a.t, zero)


def canonical(loss: Loss, classes: int) -> Canonical:
    """Gain and shape of third-order losses.

    Where ``m ≤ 0`` (the target's logit does not grow at the null epoch) there are none, and all four are NaN.

    Raises:
        InputError: as :func:`coefficients`, or if n < 2.
    """
    check_classes(loss, classes)
    ch, chh, chy, t = acting(coefficients(loss))
    m = t + chy / classes
    m = torch.where(m > 0, m, torch.nan)
    return Canonical(torch.log(m / classes), ch / m, chh / m, chy / m)


def from_canonical(x: Canonical, classes: int) -> Coefficients:
    """Coefficients of these canonical coordinates: ``m = n e^x0``, ``cy = m − chy/n``, ``c1 = cyy = 0``.

    Raises:
        InputError: if n < 2.
    """
    check_count(classes)
    m = classes * torch.exp(x.log_gain)
    return from_acting(Acting(m * x.ch, m * x.chh, m * x.chy, m - m * x.chy / classes))
