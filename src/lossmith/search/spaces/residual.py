"""Smoothed cross-entropy plus a polynomial."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lossmith.losses import Loss, PowerLoss
from lossmith.search.spaces.base import VectorSpace
from lossmith.search.spaces.terms import from_terms, terms_of

if TYPE_CHECKING:
    from lossmith.search.settings import SearchSettings


# The terms h^i y^j log^l h of φ, and what each coordinate is multiplied by, for n classes.
COORDINATES: tuple[tuple[tuple[float, int, int], Callable[[int], float]], ...] = (
    ((0.0, 0, 1), lambda n: 1 / n),
    ((2, 0, 0), lambda n: n / 4),
    ((3, 0, 0), lambda n: n / 6),
    ((2, 1, 0), lambda n: n / 4),
    ((1, 1, 0), lambda n: n / 2),
)


def residual_space(_: SearchSettings) -> VectorSpace:
    """From cross-entropy, the origin."""
    return VectorSpace((0.0,) * 5, 0.5, residual, _place)


def residual(theta: Tensor, classes: int) -> PowerLoss:
    """Smoothed cross-entropy plus a polynomial: ``γ = y/h + (x0/n)/h + (n/2)(x1 h + x2 h² + x3 h y + x4 y)``.

    The origin is cross-entropy; ``x0 = α/(1−α)`` alone is label smoothing α up to the factor 1−α.

    Args:
        theta: ``[*P, 5]``.
        classes: n.
    """
    n = classes
    x = theta.double()
    phi: dict[tuple[float, int, int], Tensor] = {(0, 1, 1): torch.ones_like(x[..., 0])}
    phi |= {term: factor(n) * x[..., place] for place, (term, factor) in enumerate(COORDINATES)}
    return from_terms(phi, n, "residual")


def _place(loss: Loss, classes: int) -> tuple[list[float], float] | None:
    """The point of a sum of terms that has a part of cross-entropy, which is the factor, and no other term."""
    found = terms_of(loss)
    if found is None:
        return None
    scale = found.pop((0, 1, 1), 0.0)
    values = [found.pop(term, 0.0) / (scale * factor(classes)) if scale > 0 else 0.0 for term, factor in COORDINATES]
    return (values, scale) if scale > 0 and not any(found.values()) else None
