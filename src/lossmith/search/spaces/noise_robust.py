"""The space of losses for noisy labels: what evolved losses boil down to there, and what the field published."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lossmith.losses import (
    Clipped,
    Loss,
    NormalizedNegative,
    Sharpened,
    ShiftedPower,
    Sum,
    mae,
    normalized_cross_entropy,
)
from lossmith.search.spaces.base import VectorSpace
from lossmith.search.spaces.residual import residual, residual_space

if TYPE_CHECKING:
    from lossmith.search.settings import SearchSettings

# Coordinates besides those of "residual": its weight less 1, the weights of NCE, NNCE and the shifted power, log a and
# log q of that, the sharpening, and the inverse of the norm that logits are clipped to.
WEIGHT, NCE, NNCE, POWER, SHIFT, EXPONENT, SHARPENING, CLIPPING = range(8)
# Bounds of what CMA-ES may reach, of its coordinates or what they stand for.
LOG_SHIFT, LOG_EXPONENT, LARGEST_SHARPENING, LARGEST_NORM, SMALLEST_NORM = (-14.0, 6.0), (-5.0, 2.0), 27.0, 1e12, 1e-3
# Sharpening of a coordinate 1: m = e⁵ − 1.
STEEPNESS = 5.0


def noise_robust_space(settings: SearchSettings) -> VectorSpace:
    """From cross-entropy, the origin: thirteen coordinates, those of "residual" first."""
    plain = residual_space(settings)
    rest = (0.0,) * (CLIPPING + 1)

    def place(loss: Loss, classes: int) -> tuple[list[float], float] | None:
        found = plain.inverse(loss, classes)
        if found is not None:
            return [*found[0], *rest], found[1]
        point = place_of(loss, plain, classes)
        return None if point is None else (point, 1.0)

    return VectorSpace((*plain.start, *rest), plain.sigma, noise_robust, place)


def place_of(loss: Loss, plain: VectorSpace, classes: int) -> list[float] | None:
    """The coordinates of a loss of the field: a weighted sum with one part of a kind at most, sharpened, clipped.

    Args:
        loss: One loss.
        plain: The space "residual".
        classes: n.

    Returns:
        None where it is none.
    """
    n, own, u = classes, [0.0] * len(plain.start), [0.0] * (CLIPPING + 1)
    u[WEIGHT] = -1.0
    if isinstance(loss, Clipped):
        u[CLIPPING], loss = 1 / loss.threshold.item(), loss.base
    if isinstance(loss, Sharpened):
        u[SHARPENING], loss = math.log1p(loss.sharpening.item()) / STEEPNESS, loss.base
    parts = zip(loss.weights.tolist(), loss.parts, strict=True) if isinstance(loss, Sum) else [(1.0, loss)]
    seen = set[int]()
    for weight, given in parts:
        part = given.simplest()
        found = plain.inverse(part, n)
        if found is not None and weight > 0:
            own, place, value = found[0], WEIGHT, weight * found[1] - 1
        elif part == normalized_cross_entropy():
            place, value = NCE, weight / (n * math.log(n))
        elif part == NormalizedNegative():
            place, value = NNCE, weight / (n * (NormalizedNegative.bound - math.log(n)))
        else:
            powers = _power_of(part)
            if powers is None:
                return None
            u[SHIFT], u[EXPONENT] = powers
            place, value = POWER, weight / (n * (math.exp(u[SHIFT]) + 1 / n) ** (1 - math.exp(u[EXPONENT])))
        if place in seen:
            return None
        seen.add(place)
        u[place] = value
    return [*own, *u]


def _power_of(loss: Loss) -> tuple[float, float] | None:
    """Log a and log q of a shifted power, within their bounds; of MAE, too, where a has no part."""
    if loss == mae():
        return 0.0, 0.0
    if not isinstance(loss, ShiftedPower) or min(loss.shift.item(), loss.power.item()) <= 0:
        return None
    a, q = loss.shift.log().item(), loss.power.log().item()
    within = LOG_SHIFT[0] <= a <= LOG_SHIFT[1] and LOG_EXPONENT[0] <= q <= LOG_EXPONENT[1]
    return (a, q) if within else None


def noise_robust(theta: Tensor, classes: int) -> Loss:
    """``L = w0 L_residual(h') + w1 NCE(h') + w2 NNCE(h') + w3 y ((a + 1)^q − (a + h')^q)/q``.

    h' are the sharpened outputs (m) of logits that are clipped to a norm (τ). With u the coordinates after those of
    the residual loss: ``w0 = max(0, 1 + u0)``; ``w1 = n log(n) u1``, ``w2 = n (B − log n) u2`` and
    ``w3 = n (a + 1/n)^(1 − q) u3``, so that 1 stands for about the gradient of cross-entropy at equal outputs;
    ``a = e^u4``, ``q = e^u5``; ``m = e^(5 u6) − 1`` and ``1/τ = u7``, neither below 0. The origin is cross-entropy.

    Args:
        theta: ``[P, 13]``.
        classes: n.
    """
    n, x = classes, theta.double()
    own, u = x[..., :5], x[..., 5:].unbind(-1)
    a = u[SHIFT].clamp(*LOG_SHIFT).exp()
    q = u[EXPONENT].clamp(*LOG_EXPONENT).exp()
    power = ((1 - q) * (a + 1 / n).log()).clamp(-50.0, 50.0).exp()
    weights = (
        (1 + u[WEIGHT]).clamp(min=0.0),
        n * math.log(n) * u[NCE],
        n * (NormalizedNegative.bound - math.log(n)) * u[NNCE],
        n * power * u[POWER],
    )
    parts = (residual(own, n), normalized_cross_entropy(), NormalizedNegative(), ShiftedPower(a, q))
    total = Sum(parts, torch.stack(weights, -1), name="noise-robust")
    m = torch.expm1((STEEPNESS * u[SHARPENING]).clamp(0.0, LARGEST_SHARPENING))
    tau = (1 / u[CLIPPING].clamp(min=1 / LARGEST_NORM)).clamp(min=SMALLEST_NORM)
    return Clipped(Sharpened(total, m, name="noise-robust"), tau, name="noise-robust")
