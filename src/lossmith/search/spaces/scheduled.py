"""The space of residual losses that change during the training: one loss at each knot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from lossmith.losses import Loss, Schedule
from lossmith.search.spaces.base import VectorSpace
from lossmith.search.spaces.residual import residual, residual_space

if TYPE_CHECKING:
    from lossmith.search.settings import SearchSettings


def residual_schedule_space(settings: SearchSettings) -> VectorSpace:
    """The coordinates of "residual", once for each knot; it starts at the same loss at all of them."""
    plain, count = residual_space(settings), settings.knots
    shares = tuple(number / (count - 1) for number in range(count))
    dimensions = len(plain.start)

    def losses(theta: Tensor, classes: int) -> Loss:
        parts = theta.split(dimensions, -1)
        return Schedule(shares, tuple(residual(part, classes) for part in parts), False, classes, "residual schedule")

    def place(loss: Loss, classes: int) -> tuple[list[float], float] | None:
        """A constant loss at every knot, or a schedule with these knots and one factor."""
        if isinstance(loss, Schedule) and (loss.knots != shares or loss.steps):
            return None
        parts = loss.losses if isinstance(loss, Schedule) else (loss,) * count
        known = [found for found in (plain.inverse(part, classes) for part in parts) if found is not None]
        if len(known) < count or not np.allclose([factor for _, factor in known], known[0][1], rtol=1e-9):
            return None
        return [x for point, _ in known for x in point], known[0][1]

    return VectorSpace(plain.start * count, plain.sigma, losses, place)
