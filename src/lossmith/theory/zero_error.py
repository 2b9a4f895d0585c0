"""Zero training error, h = y: what is left of the learning rule there, and what it means (§4.1, appendix B)."""

from typing import NamedTuple

import torch
from torch import Tensor

from lossmith.losses import Loss, Term

ROUNDING = 1e-12
REGIMES = {0: "null", 1: "cross-entropy-like", -1: "competing"}


class ZeroError(NamedTuple):
    """``γ = a + b y + c y²`` at h = y ∈ {0, 1}, each ``[*P]``; non-targets get a, the target ``a + b + c``."""

    a: Tensor
    b: Tensor
    c: Tensor


def zero_error(loss: Loss) -> ZeroError:
    """The learning rule where the training error is zero (equations 20–23), ``[*P]``.

    Each term ``h^i y^j (log h)^l`` of γ is taken at its limit h → y with y ∈ {0, 1} (as equations 14–15 and 31–34 do)
    and counts for b if ``i + j ≤ 1``, for c above, as in a polynomial. So cross-entropy has (0, 1, 0), and Baikal,
    whose non-targets are pushed without bound, (∞, −∞, 0).
    """
    zero = loss.coefficients.new_zeros(loss.shape)
    total = [zero, zero, zero]
    for term, weight in loss.rule().items():
        low, high = _limit(term), float(term.log == 0)
        place = 2 if term.h + term.y > 1 else 1
        if low:
            total[0] = total[0] + torch.where(weight == 0, 0.0, weight * low)
        total[place] = total[place] + torch.where(weight == 0, 0.0, weight * (high - low))
    return ZeroError(*total)


def regime(loss: Loss) -> Tensor:
    """What the loss does near zero training error: the sign of ``b + c``, ``[*P]``, a key of ``REGIMES``.

    1: the target's logit is pulled up, as by cross-entropy. −1: pushed down, so zero error repels (the paper's
    competing processes; theorem 1 for Baikal). 0: nothing at zero error itself, as for the mean squared error. a is
    without effect, so it does not enter. What is below 1e-12 of the coefficients is rounding and counts as 0.
    """
    _, b, c = zero_error(loss)
    size = sum((weight.abs() for weight in loss.rule().values()), start=torch.zeros_like(b))
    return torch.where((b + c).abs() > ROUNDING * size, torch.sign(b + c), 0.0).long()


def _limit(term: Term) -> float:
    """``h^i y^j (log h)^l`` as h → 0 with y = 0."""
    if term.y > 0 or term.h > 0:
        return 0.0
    if term.log:
        return -torch.inf
    return 1.0 if term.h == 0 else torch.inf
