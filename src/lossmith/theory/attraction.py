"""Attraction towards zero training error (theorem 2, figures 1 and 3), exact and as published.

The target output is ``h_T = 1 − ε`` and the n − 1 others are equal, ``ε/(n−1)``; the logits are free parameters that
take one step of unit length.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from lossmith.errors import InputError
from lossmith.losses import Loss, PowerLoss
from lossmith.theory.checks import Numbers, check_classes, check_zones, checked_epsilon
from lossmith.theory.invariant import Form
from lossmith.theory.slope import hard_slope
from lossmith.theory.symmetric import symmetric_steps

# The scan for sign changes in logit(ε): fine in the middle, coarse to the smallest ε, and to the largest below 1.
MIDDLE, LOWEST, HIGHEST = 20.0, -100.0, 36.0
POINTS = 4001
NOISE = 1e-14
# Relative to its terms, the curve changes by less than this between two points of the fine scan.
NEAR = 0.05
# Within 1e-6 of a point, a curve without rounding changes by less than that.
SMOOTH = 1e-3
# Beyond that in logit(ε) a curve is a power of ε or 1 − ε, up to its logarithm: it hardly bends between such points.
TAIL, STRAIGHT = 4.0, 0.05
# A point, its two neighbors, four points below it and four above.
SHIFTS = (0.0, -1e-6, 1e-6, -1.2, -0.9, -0.6, -0.3, 0.3, 0.6, 0.9, 1.2)


class Zone(NamedTuple):
    """An interval of ε in which attraction has one sign: 1 attracts, −1 repels, 0 has no effect."""

    low: float
    high: float
    sign: int


def symmetric_gamma(loss: Loss, epsilon: Numbers, classes: int) -> tuple[Tensor, Tensor]:
    """Learning rule at symmetric outputs: (γ of the non-targets, γ of the target), each ``[*P, *E]``.

    With ``ε = 1 − 1/n`` it is the null epoch, with ε → 0 zero training error (equations 14–15; 31–34 for Baikal).

    Args:
        loss: One or a population ``[*P]``.
        epsilon: ``[*E]``, in (0, 1).
        classes: n.

    Raises:
        InputError: if ε is outside (0, 1), n < 2, the loss is made for another number of classes, or is no sum over
            classes, so that γ of a class is no function of its own output and label.
    """
    _check_sum(loss, "the learning rule at symmetric outputs")
    other, target = (h.reshape((1,) * len(loss.shape) + h.shape) for h in _outputs(loss, epsilon, classes))
    return loss.gamma(other, torch.zeros_like(other)), loss.gamma(target, torch.ones_like(target))


def logit_steps(loss: Loss, epsilon: Numbers, classes: int, form: Form = "exact") -> tuple[Tensor, Tensor]:
    """Steps of the logits under one update: (B of the non-targets, A of the target), each ``[*P, *E]``.

    ``A = ε(1−ε)(γ_T − γ_¬T)``; exact ``B = −A/(n−1)``. As published (equation 17)
    ``B = [ε(ε−1)γ_T(n−1) + εγ_¬T(ε(n−3)+n−1)]/(n−1)²``, where the sign of the term ``(n−2)γ_¬T ε²/(n−1)²`` was lost
    between equations 54 and 56: ``2(n−2)γ_¬T ε²/(n−1)²`` too much. A loss that is no sum over classes has the exact
    form only, ``A = −∂L/∂f_T``.

    Raises:
        InputError: if ε is outside (0, 1), n < 2, the loss is made for another number of classes, the form is unknown,
            or the loss has no published form.
    """
    b, a, _ = _steps(loss, epsilon, classes, form)
    return b, a


def attraction(loss: Loss, epsilon: Numbers, classes: int, form: Form = "exact") -> Tensor:
    """Change of the target output under one step, ``[*P, *E]``: above 0 it attracts, below it repels (theorem 2).

    ``strength = ε(ε−1)(e^A − e^B) / ((ε−1)e^A − εe^B)`` with the steps A and B of :func:`logit_steps`. The exact form
    is the change of a softmax output, its sign that of γ_T − γ_¬T, and c1 has no effect on it; the published form has
    none of the three. The error is rounding of the terms that γ_T and γ_¬T are sums of. It shows where these cancel
    near zero error: not for the focal loss itself up to a focusing parameter of 30, whose whole coefficients cancel
    exactly, but for larger ones, and for one of 5 or more times a factor that is not whole; there :func:`zones` knows
    which signs are rounding, and this function does not.

    Args:
        loss: One or a population ``[*P]``.
        epsilon: Deviation from zero error, ``[*E]``, in (0, 1).
        classes: n.
        form: ``"exact"`` or ``"published"``.

    Raises:
        InputError: as :func:`logit_steps`.

    Example:
        >>> from lossmith import baikal
        >>> attraction(baikal(), [0.5, 0.9], classes=10).sign()
        tensor([-1.,  1.], dtype=torch.float64)
    """
    b, a = logit_steps(loss, epsilon, classes, form)
    return strength(checked_epsilon(epsilon), a - b)


def strength(epsilon: Tensor, step: Tensor) -> Tensor:
    """``sigmoid(logit(1−ε) + step) − (1−ε)`` with its relative accuracy kept, for steps of any size.

    Args:
        epsilon: In (0, 1).
        step: A − B, the step of the target's logit relative to the others; broadcasts with ε.
    """
    target = 1 - epsilon
    decay = torch.exp(-step.abs())
    change = -epsilon * target * torch.expm1(-step.abs())
    return torch.where(step > 0, change / (target + epsilon * decay), -change / (epsilon + target * decay))


def sign_changes(loss: Loss, classes: int, form: Form = "exact") -> list[float]:
    """Every ε in (0, 1) at which attraction changes its sign, ascending, for one loss.

    A scan over logit(ε) from −100 to 36 (ε from 4e-44 to the last number below 1), finer in the middle, and finer
    still where the curve comes near 0 and turns back, so that pairs of roots are found; then bisection to the last
    digit. What is below 1e-14 of the terms that it is a sum of counts as rounding and has no sign.

    Raises:
        InputError: as :func:`logit_steps`, or for a population.

    Example:
        >>> from lossmith import baikal
        >>> [round(root, 12) for root in sign_changes(baikal(), classes=4)]  # while h_T > 1/√n it repels
        [0.5]
    """
    return [zone.low for zone in zones(loss, classes, form)[1:]]


def zones(loss: Loss, classes: int, form: Form = "exact") -> list[Zone]:
    """Intervals of ε, from 0 to 1, in which one loss attracts, repels, or has no effect.

    A loss of clipped logits has none wherever it clips: all outputs of theorem 2 lie along one direction of the logits.

    Raises:
        InputError: as :func:`sign_changes`, for more than 1000 terms, or for more than 10⁴ classes where the loss is no
            sum over them.
    """
    if loss.shape:
        raise InputError("the zones of attraction are those of one loss; index a member of the population")
    check_zones(loss, classes)
    x = _with_near_misses(loss, _scan(loss), classes, form)
    sign, known = _signs(loss, x, classes, form)
    x, sign = x[known], sign[known]
    if len(x) == 0:
        return [Zone(0.0, 1.0, 0)]
    before = (sign[1:] != sign[:-1]).nonzero().flatten()
    low, high, first = x[before], x[before + 1], sign[before]
    # Intervals of the scan are at most 1 wide: 80 halvings go beyond the last digit of float64.
    for _ in range(80):
        middle = (low + high) / 2
        b, a = logit_steps(loss, torch.sigmoid(middle), classes, form)
        same = torch.sign(a - b) == first
        low, high = torch.where(same, middle, low), torch.where(same, high, middle)
    edges = [0.0, *torch.sigmoid((low + high) / 2).tolist(), 1.0]
    signs = [int(sign[0]), *sign[before + 1].long().tolist()]
    return [Zone(*edge, s) for edge, s in zip(pairwise(edges), signs, strict=True)]


def _steps(loss: Loss, epsilon: Numbers, classes: int, form: Form) -> tuple[Tensor, Tensor, Tensor]:
    """B, A, and the size of the terms that A − B is a sum of."""
    if form not in ("exact", "published"):
        raise InputError(f"attraction has the forms 'exact' and 'published', not {form!r}")
    other, target = _outputs(loss, epsilon, classes)
    if not loss.sums_over_classes:
        if form == "published":
            _check_sum(loss, "the published form of theorem 2")
        return symmetric_steps(loss, checked_epsilon(epsilon), classes)
    share = classes - 1
    distance = share * other  # ε itself: 1 − (1 − ε) would have lost its digits.
    # c1 cancels between the two; left out, it cannot enter through rounding either.
    acting = loss.acting() if isinstance(loss, PowerLoss) else loss
    up, up_size = hard_slope(acting, target, distance, 1)
    down, down_size = hard_slope(acting, other, 1 - other, 0)
    a = distance * up - (share * target) * down
    b = -a / share
    size = (distance * up_size + share * target * down_size) * (1 + 1 / share)
    if form == "published":
        full, full_size = hard_slope(loss, other, 1 - other, 0)
        lost = 2 * (classes - 2) / share * distance
        b, size = b + lost * full, size + lost * full_size
    return b, a, size


def _outputs(loss: Loss, epsilon: Numbers, classes: int) -> tuple[Tensor, Tensor]:
    """Outputs of the non-targets and of the target, ``[*E]``."""
    check_classes(loss, classes)
    values = checked_epsilon(epsilon)
    if isinstance(loss, PowerLoss):
        values = values.to(loss.coefficients.device)
    return values / (classes - 1), 1 - values


def _check_sum(loss: Loss, what: str) -> None:
    if not loss.sums_over_classes:
        raise InputError(
            f"{what} is for losses that are sums of φ(h, y) over classes, which {loss.name!r} ({loss.kind}) is not; "
            "take the exact form"
        )


def _scan(loss: Loss) -> Tensor:
    low, high = torch.arange(LOWEST, -MIDDLE), torch.arange(MIDDLE, HIGHEST, 0.1)[1:]
    # Where whole output vectors are looked at, a point costs n outputs, and several neighbors.
    points = POINTS if loss.sums_over_classes else POINTS // 10 + 1
    return torch.cat([low, torch.linspace(-MIDDLE, MIDDLE, points, dtype=torch.float64), high]).double()


def _relative(loss: Loss, x: Tensor, classes: int, form: Form) -> Tensor:
    """``A − B`` at logit(ε) = x, relative to the size of the terms that it is a sum of; 0 where that is rounding."""
    b, a, size = _steps(loss, torch.sigmoid(x), classes, form)
    return torch.where((a - b).abs() > NOISE * size, (a - b) / size, 0.0)


def _signs(loss: Loss, x: Tensor, classes: int, form: Form) -> tuple[Tensor, Tensor]:
    """The sign of ``A − B`` at logit(ε) = x, and whether it is known: where its terms cancel, it is rounding.

    What of a sum of powers is rounding is told by its terms. Of others it is told by their neighbors: values that
    differ by more than they can in so small a step are rounding, and so are tails (ε near 0 or 1) that are no power of
    ε. A transform of the logits can take all of a step away, so that 0 is a sign of its own.
    """
    if isinstance(loss, PowerLoss):
        sign = torch.sign(_relative(loss, x, classes, form))
        return sign, sign != 0
    steps = [_steps(loss, torch.sigmoid((x + shift).clamp(max=HIGHEST)), classes, form) for shift in SHIFTS]
    values, size = torch.stack([a - b for b, a, _ in steps]), steps[0][2]
    sign = torch.where(values[0].abs() > NOISE * size, torch.sign(values[0]), 0.0)
    near, far = values[:3], torch.cat([values[3:7], values[:1], values[7:]])
    largest = near.abs().amax(0)
    smooth = (near.amax(0) - near.amin(0) <= SMOOTH * largest) & (sign != 0)
    logs = far.abs().log()
    bends = (logs[2:] + logs[:-2] - 2 * logs[1:-1]).abs().amax(0)
    straight = (torch.sign(far) == sign).all(0) & (bends < STRAIGHT)
    taken = (largest == 0) & (size > 0)
    return sign, (smooth & (straight | (x.abs() < TAIL))) | taken


def _with_near_misses(loss: Loss, x: Tensor, classes: int, form: Form) -> Tensor:
    """The scan with finer points where the curve comes near 0 and turns back: two roots may lie between two points."""
    found = [x]
    size = _relative(loss, x, classes, form).abs()
    before, inner, after = size[:-2], size[1:-1], size[2:]
    near = (inner < NEAR) & (inner <= before) & (inner <= after) & (before + after > 0)
    lowest = near.nonzero().flatten() + 1
    center, width = x[lowest], (x[lowest + 1] - x[lowest - 1])[:, None] / 2
    for _ in range(4):
        finer = center[:, None] + torch.linspace(-1, 1, 41, dtype=x.dtype) * width
        best = _relative(loss, finer.flatten(), classes, form).reshape(finer.shape).abs().argmin(1)
        found.append(finer.flatten())
        center, width = finer.gather(1, best[:, None])[:, 0], width / 20
    points: Tensor = torch.cat(found).unique()
    return points
