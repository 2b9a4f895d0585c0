"""``h γ(h, y)`` for hard labels, summed in the way that keeps most digits."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lossmith.losses import Loss, PowerLoss, Term, powers

MOST = 60
# Float64 holds every whole number up to here.
LARGEST_EXACT = 2.0**53


def hard_slope(loss: Loss, h: Tensor, gap: Tensor, label: int) -> tuple[Tensor, Tensor]:
    """``g = h γ(h, y)`` for y = 0 or 1, and the size of what it was summed from, each ``[*P, *E]``.

    Terms with whole powers of h are summed in powers of h, or in powers of ``1 − h`` where those are smaller: there a
    sum such as the focal loss's ``Σ (−1)^i C(m, i) h^i log h`` cancels in its coefficients and not in its values,
    exactly if they are whole numbers. The error is about 1e-16 of the size, if the loss is a sum of powers; for other
    sums over classes the size is that of the slope itself.

    Args:
        loss: One or a population ``[*P]`` that sums over classes.
        h: Outputs ``[*E]``, the same for all members.
        gap: ``1 − h``, with the digits that a difference would lose.
        label: y.
    """
    if not isinstance(loss, PowerLoss):
        x = h.log().reshape((1,) * len(loss.shape) + h.shape)
        slope = loss.slope(x, torch.full_like(x, label)).expand((*loss.shape, *h.shape))
        return slope, slope.abs()
    kept = [k for k, term in enumerate(loss.terms) if label or not term.y]
    whole = [k for k in kept if _is_whole(loss.terms[k])]
    rest, rest_size = _summed(loss, [k for k in kept if k not in whole], h)
    value, size = _summed(loss, whole, h)
    if whole:
        near, near_size = _about_one(loss, whole, gap)
        better = near_size < size
        value, size = torch.where(better, near, value), torch.where(better, near_size, size)
    return value + rest, size + rest_size


def _is_whole(term: Term) -> bool:
    return 0 <= term.h <= MOST and term.h == int(term.h)


def _summed(loss: PowerLoss, kept: Sequence[int], h: Tensor) -> tuple[Tensor, Tensor]:
    x = h.clamp(min=torch.finfo(h.dtype).tiny).log()
    basis = [powers.slope(x, loss.terms[k].h, loss.terms[k].log) for k in kept]
    return _both(loss.coefficients[..., list(kept)], basis, h)


def _about_one(loss: PowerLoss, kept: Sequence[int], gap: Tensor) -> tuple[Tensor, Tensor]:
    degree = int(max(loss.terms[k].h for k in kept))
    plain, logged = (loss.coefficients.new_zeros(*loss.shape, degree + 1) for _ in range(2))
    for k in kept:
        power, c = int(loss.terms[k].h), loss.coefficients[..., k]
        plain[..., power] += c if loss.terms[k].log else power * c
        if loss.terms[k].log:
            logged[..., power] += power * c
    shift = plain.new_tensor([[(-1) ** k * math.comb(i, k) for k in range(degree + 1)] for i in range(degree + 1)])
    basis = [gap**k for k in range(degree + 1)]
    log = torch.log1p(-gap)
    value, size = _both(torch.cat([plain @ shift, logged @ shift], -1), basis + [power * log for power in basis], gap)
    sums = torch.cat([plain.abs() @ shift.abs(), logged.abs() @ shift.abs()], -1)
    if bool((sums < LARGEST_EXACT).all() and torch.equal(plain, plain.round()) and torch.equal(logged, logged.round())):
        return value, size
    return value, size + _both(sums, basis + [power * log for power in basis], gap)[1]


def _both(coefficients: Tensor, basis: Sequence[Tensor], like: Tensor) -> tuple[Tensor, Tensor]:
    """``Σ_t c_t b_t`` and ``Σ_t |c_t b_t|`` for coefficients ``[*P, T]`` and T functions ``[*E]``."""
    shape = (*coefficients.shape[:-1], *like.shape)
    if not basis:
        return like.new_zeros(shape), like.new_zeros(shape)
    rows, columns = coefficients.reshape(-1, len(basis)), torch.stack(list(basis)).reshape(len(basis), -1)
    return (rows @ columns).reshape(shape), (rows.abs() @ columns.abs()).reshape(shape)
