"""The space of residual losses that change during the training: one loss at each knot."""

from __future__ import annotations

from typing import TYPE_CHECKING

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

    def constant(loss: Loss, classes: int) -> tuple[list[float], float] | None:
        found = plain.inverse(loss, classes)
        return None if found is None else (found[0] * count, found[1])

    return VectorSpace(plain.start * count, plain.sigma, losses, constant)
