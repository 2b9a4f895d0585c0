"""Smoothed cross-entropy plus a polynomial."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lossmith.losses import PowerLoss
from lossmith.search.spaces.base import VectorSpace
from lossmith.search.spaces.terms import from_terms

if TYPE_CHECKING:
    from lossmith.search.settings import SearchSettings


def residual_space(_: SearchSettings) -> VectorSpace:
    """From cross-entropy, the origin."""
    return VectorSpace((0.0,) * 5, 0.5, residual)


def residual(theta: Tensor, classes: int) -> PowerLoss:
    """Smoothed cross-entropy plus a polynomial: ``γ = y/h + (x0/n)/h + (n/2)(x1 h + x2 h² + x3 h y + x4 y)``.

    The origin is cross-entropy; ``x0 = α/(1−α)`` alone is label smoothing α up to the factor 1−α.

    Args:
        theta: ``[*P, 5]``.
        classes: n.
    """
    n = classes
    x0, x1, x2, x3, x4 = theta.double().unbind(-1)
    phi: dict[tuple[float, int, int], Tensor] = {
        (0, 1, 1): torch.ones_like(x0),
        (0, 0, 1): x0 / n,
        (2, 0, 0): n / 4 * x1,
        (3, 0, 0): n / 6 * x2,
        (2, 1, 0): n / 4 * x3,
        (1, 1, 0): n / 2 * x4,
    }
    return from_terms(phi, n, "residual")
