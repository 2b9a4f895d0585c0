"""Label smoothing inside a loss: embedded, taken out, and recognised (appendix D.2, equations 35–48)."""

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from lossmith.errors import InputError
from lossmith.losses import Loss, PowerLoss, Term, baikal, mse
from lossmith.theory.checks import check_classes, checked_powers
from lossmith.theory.zero_error import ROUNDING

Part = tuple[float, int]


class Smoothing(NamedTuple):
    """``loss = base.smoothed(alpha, n)`` up to what has no effect with hard labels.

    alpha is NaN ``[*P]`` where the loss has no such form; base is then the loss itself, up to the same.
    """

    alpha: Tensor
    base: PowerLoss


def unsmoothed(loss: PowerLoss, alpha: float | Tensor, classes: int) -> PowerLoss:
    """The loss whose smoothed variant is this one: ``y → (y − α/n)/(1−α)``, the inverse of ``Loss.smoothed``.

    There is one for every loss and every α, so by itself it says nothing about the loss; see :func:`recognize`.

    Args:
        loss: One or a population ``[*P]``.
        alpha: In [0, 1), one or ``[*P]``.
        classes: n.

    Raises:
        InputError: if α is outside [0, 1), n < 2, or the loss is made for another number of classes.
    """
    check_classes(loss, classes)
    values = torch.as_tensor(alpha, dtype=torch.float64)
    if values.ndim and values.shape != loss.shape:
        raise InputError(
            f"a population {list(loss.shape)} takes one α or one for each member, not {list(values.shape)}"
        )
    if not bool(((values >= 0) & (values < 1)).all()):
        raise InputError(f"the label smoothing α = {alpha} must lie in [0, 1)")
    kept, added = 1 / (1 - values), -(values / classes) / (1 - values)
    total: dict[Term, Tensor] = {}
    for term, c in zip(loss.terms, loss.coefficients.unbind(-1), strict=True):
        for b in range(term.y + 1):
            part = Term(term.h, b, term.log)
            share = c * (math.comb(term.y, b) * kept**b * added ** (term.y - b))
            total[part] = total[part] + share if part in total else share
    columns = torch.stack(list(total.values()), -1) if total else loss.coefficients
    return PowerLoss(tuple(total), columns, classes, f"{loss.name} without smoothing")


def recognize(loss: Loss, classes: int, tolerance: float = 1e-9) -> Smoothing:
    """The label smoothing that a loss consists of, where there is one, with hard labels.

    Two kinds of loss are recognised, up to a factor and to what has no effect: those whose base pays regard to the
    target alone, ``φ = y g(h)`` (cross-entropy, PolyLoss, GCE, focal loss and all others of that form), and the mean
    squared error and Baikal. For any other loss every α is as good as another (:func:`unsmoothed`), so none is given.

    Args:
        loss: One or a population ``[*P]``.
        classes: n.
        tolerance: How far the coefficients may be off, relative to the largest.

    Raises:
        InputError: if n < 2, the loss is made for another number of classes, or is no sum of powers.

    Example:
        >>> from lossmith import cross_entropy
        >>> recognize(3 * cross_entropy().smoothed(0.2, 10), classes=10).alpha
        tensor(0.2000, dtype=torch.float64)
    """
    check_classes(loss, classes)
    loss = checked_powers(loss, "label smoothing inside a loss")
    free, tied = parts(loss)
    ratio = _common_ratio(free, tied, tolerance, loss)
    alpha = classes * ratio / (1 + classes * ratio)
    alpha = torch.where((ratio >= 0) & alpha.isfinite(), alpha, torch.nan)
    for known in (mse(), baikal()):
        if free:
            alpha = torch.where(alpha.isnan(), _of_two_parts(free, tied, known, classes, tolerance), alpha)
    if not bool((alpha > 0).any()):
        return Smoothing(alpha, loss)
    hard = {Term(i, j, log): c for j, part in enumerate((free, tied)) for (i, log), c in part.items()}
    bare = PowerLoss(tuple(hard), torch.stack(list(hard.values()), -1), loss.classes, loss.name)
    base = unsmoothed(bare, alpha.nan_to_num(0.0), classes)
    sizes = base.coefficients.abs()
    rounding = sizes <= ROUNDING * sizes.amax(-1, keepdim=True)
    return Smoothing(alpha, replace(base, coefficients=base.coefficients.masked_fill(rounding, 0.0)))


def parts(loss: PowerLoss) -> tuple[dict[Part, Tensor], dict[Part, Tensor]]:
    """What acts in a loss with hard labels: coefficients of ``h^i (log h)^l`` in φ for y = 0, and what y = 1 adds."""
    free: dict[Part, Tensor] = {}
    tied: dict[Part, Tensor] = {}
    acting = loss.acting()
    for (i, j, log), c in zip(acting.terms, acting.coefficients.unbind(-1), strict=True):
        into = tied if j else free
        into[i, log] = into[i, log] + c if (i, log) in into else c
    return free, tied


def _common_ratio(free: dict[Part, Tensor], tied: dict[Part, Tensor], tolerance: float, loss: PowerLoss) -> Tensor:
    """Ratio r with ``free = r · tied`` in all parts but h, whose free part never acts; NaN where there is none."""
    nothing = loss.coefficients.new_zeros(loss.shape)
    places = sorted((free.keys() | tied.keys()) - {(1.0, 0)})
    if not places:
        return torch.where(tied.get((1.0, 0), nothing) == 0, torch.nan, 0.0)
    over = torch.stack([tied.get(place, nothing) for place in places])
    under = torch.stack([free.get(place, nothing) for place in places])
    norm = (over * over).sum(0)
    ratio = (over * under).sum(0) / norm
    off = (under - ratio * over).abs().amax(0) > tolerance * torch.maximum(under.abs(), over.abs()).amax(0)
    whole = torch.where(tied.get((1.0, 0), nothing) == 0, torch.nan, 0.0)
    ratio = torch.where(off, torch.nan, ratio)
    return torch.where((norm == 0) & (under == 0).all(0), whole, ratio)


def _of_two_parts(
    free: dict[Part, Tensor], tied: dict[Part, Tensor], base: PowerLoss, n: int, tolerance: float
) -> Tensor:
    """α where the loss is ``base`` smoothed, times a positive factor; NaN elsewhere.

    For bases ``φ = g1 y b1(h) + g0 b0(h)``: smoothed they are ``s (1−α) g1 y b1 + s (α/n) g1 b1 + s g0 b0``.
    """
    ((place0, g0),), ((place1, g1),) = (part.items() for part in parts(base))
    nothing = torch.zeros_like(next(iter((*free.values(), *tied.values()))))
    scale, kept = free.get(place0, nothing) / g0, tied.get(place1, nothing) / g1
    alpha = 1 - kept / scale
    wanted = {(place0, False): scale * g0, (place1, True): kept * g1, (place1, False): scale * alpha / n * g1}
    found = {(place, False): c for place, c in free.items()} | {(place, True): c for place, c in tied.items()}
    off = [
        (found.get(key, nothing) - wanted.get(key, nothing)).abs()
        for key in found.keys() | wanted.keys()
        if key != ((1.0, 0), False)
    ]
    fits = (scale > 0) & (kept > 0) & (alpha > -tolerance) & (torch.stack(off).amax(0) <= tolerance * scale * abs(g0))
    return torch.where(fits, alpha.clamp(min=0.0), torch.nan)
