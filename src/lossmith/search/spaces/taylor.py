"""The λ of TaylorGLO."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lossmith.losses import taylor, taylor_length
from lossmith.search.spaces.base import VectorSpace

if TYPE_CHECKING:
    from lossmith.search.settings import SearchSettings


def taylor_space(settings: SearchSettings) -> VectorSpace:
    """From λ = 0, of the order of the settings."""
    order = settings.order
    return VectorSpace((0.0,) * taylor_length(order), 1.2, lambda theta, _: taylor(theta, order))
