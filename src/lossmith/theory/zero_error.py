"""Zero training error, h = y: what is left of the learning rule there, and what it means (§4.1, appendix B)."""

from typing import NamedTuple

import torch
from torch import Tensor

from lossmith.losses import Loss, Term
from lossmith.theory.checks import checked_powers

REGIMES = {0: "null", 1: "cross-entropy-like", -1: "competing"}
ROUNDING = 1e-12


class ZeroError(NamedTuple):
    """``γ = a + b y + c y²`` at h = y ∈ {0, 1}, each ``[*P]``; non-targets get a, the target ``a + b + c``."""

    a: Tensor
    b: Tensor
    c: Tensor


def zero_error_limits(loss: Loss) -> tuple[Tensor, Tensor]:
    """γ where the outputs reach the labels: (h → 0 with y = 0, h → 1 with y = 1), each ``[*P]``.

    Equations 14–16; 31–34 for Baikal, which has (∞, 2). Where terms are unbounded, the one that grows fastest decides.

    Raises:
        InputError: for a loss that is no sum of powers; so do the functions below.
    """
    known = checked_powers(loss, "the limit at zero training error")
    zero = known.coefficients.new_zeros(known.shape)
    other, target = zero, zero
    for term, weight in sorted(known.rule().items(), key=lambda item: (-item[0].h, item[0].log)):
        target = target + weight * (term.log == 0)
        limit = _limit(term)
        if torch.inf in (limit, -limit):
            other = torch.where(weight == 0, other, weight * limit)
        elif limit:
            other = other + weight * limit
    return other, target


def zero_error(loss: Loss) -> ZeroError:
    """The learning rule where the training error is zero (equations 20–23), ``[*P]``.

    For a polynomial every power of y from the second on counts for c, since y is 0 or 1 (orders above three add nothing
    here). For other losses a and ``a + b + c`` are the limits of :func:`zero_error_limits`, and c is what the bounded
    terms of total power above 1 contribute; where a has no bound, neither has b.
    """
    rule = checked_powers(loss, "the learning rule at zero training error").rule()
    other, target = zero_error_limits(loss)
    zero = torch.zeros_like(other)
    high = {term: c for term, c in rule.items() if term.h + term.y > 1 and not term.log}
    c = sum(high.values(), start=zero)
    if all(term.h >= 0 and term.h == int(term.h) and not term.log for term in rule):
        b = sum((weight for term, weight in rule.items() if term.h + term.y == 1), start=zero)
    else:
        b = target - other - c
    return ZeroError(other, b, c)


def regime(loss: Loss) -> Tensor:
    """What the loss does near zero training error: the sign of ``b + c``, ``[*P]``, a key of ``REGIMES``.

    1: the target's logit is pulled up, as by cross-entropy. −1: pushed down, so zero error repels (the paper's
    competing processes; theorem 1 for Baikal). 0: nothing at zero error itself, as for the mean squared error. a is
    without effect, so it does not enter. What is below 1e-12 of the coefficients is rounding and counts as 0.
    """
    known = checked_powers(loss, "the regime near zero training error")
    other, target = zero_error_limits(known.acting())
    size = sum((weight.abs() for weight in known.rule().values()), start=torch.zeros_like(other))
    gap = target - other
    return torch.where(gap.abs() > ROUNDING * size, torch.sign(gap), 0.0).long()


def _limit(term: Term) -> float:
    """``h^i y^j (log h)^l`` as h → 0 with y = 0."""
    if term.y > 0 or term.h > 0:
        return 0.0
    if term.log:
        return -torch.inf
    return 1.0 if term.h == 0 else torch.inf
