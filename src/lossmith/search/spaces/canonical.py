"""Third-order losses by their gain and shape."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lossmith.losses import PowerLoss, polynomial
from lossmith.search.spaces.base import VectorSpace
from lossmith.search.spaces.terms import LARGEST_LOG_GAIN
from lossmith.theory import Canonical, from_canonical

if TYPE_CHECKING:
    from lossmith.search.settings import SearchSettings


def canonical_space(settings: SearchSettings) -> VectorSpace:
    """From the shape of MSE, with the gain as a coordinate or fixed at 1."""
    if settings.gain == "free":
        return VectorSpace((0.0, -1.0, 0.0, 0.0), 0.6, canonical)
    return VectorSpace((-1.0, 0.0, 0.0), 0.6, _gain_fixed)


def canonical(theta: Tensor, classes: int) -> PowerLoss:
    """Third-order losses by their gain and shape: ``x = (log gain, ch/m, chh/m, chy/m)``.

    The null-epoch margin ``m = n e^{x0}`` is positive at every point, so all of them are trainable at the null epoch.

    Args:
        theta: ``[*P, 4]``.
        classes: n.
    """
    x0, *shape = theta.double().unbind(-1)
    point = Canonical(x0.clamp(-LARGEST_LOG_GAIN, LARGEST_LOG_GAIN), *shape)
    return replace(polynomial(*from_canonical(point, classes), name="canonical"), classes=classes)


def _gain_fixed(theta: Tensor, classes: int) -> PowerLoss:
    return canonical(torch.cat([torch.zeros_like(theta[..., :1]), theta], -1), classes)
