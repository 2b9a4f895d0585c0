"""The baseline label smoothing + MAE."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor

from lossmith.losses import Loss, PowerLoss
from lossmith.search.spaces.base import VectorSpace
from lossmith.search.spaces.terms import LARGEST_LOG_GAIN, from_terms, terms_of

if TYPE_CHECKING:
    from lossmith.search.settings import SearchSettings


def smoothed_mae_space(_: SearchSettings) -> VectorSpace:
    """From label smoothing of a half plus e times MAE."""
    return VectorSpace((0.0, 1.0), 1.0, smoothed_mae, _place)


def smoothed_mae(theta: Tensor, classes: int) -> PowerLoss:
    """Label smoothing + MAE: ``φ = ((1−α) y + α/n) log h + w y h``, ``α = 1/(1 + e^{−x0})``, ``w = e^{x1}``.

    The strongest baseline for noisy labels in coordinates of its own, so that it can have a whole search's budget.

    Args:
        theta: ``[*P, 2]``.
        classes: n.
    """
    x0, x1 = theta.double().unbind(-1)
    alpha = x0.sigmoid()
    weight = x1.clamp(max=LARGEST_LOG_GAIN).exp()
    phi: dict[tuple[float, int, int], Tensor] = {
        (0, 1, 1): 1 - alpha,
        (0, 0, 1): alpha / classes,
        (1, 1, 0): weight,
        (0, 1, 0): -weight,
    }
    return from_terms(phi, classes, "label smoothing + MAE")


def _place(loss: Loss, classes: int) -> tuple[list[float], float] | None:
    """The point of a sum of label smoothing and MAE, both with positive parts, and their common factor."""
    found = terms_of(loss)
    if found is None:
        return None
    plain, smoothed = found.pop((0, 1, 1), 0.0), found.pop((0, 0, 1), 0.0) * classes
    weight = found.pop((1, 1, 0), 0.0)
    if min(plain, smoothed, weight) <= 0 or any(found.values()):
        return None
    factor = plain + smoothed
    return [math.log(smoothed / plain), math.log(weight / factor)], factor
