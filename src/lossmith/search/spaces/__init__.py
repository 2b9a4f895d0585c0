"""Spaces of losses: which genomes there are, and the loss that each stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lossmith.search.spaces.base import SPACES, Genome, Space, VectorSpace
from lossmith.search.spaces.canonical import canonical, canonical_space
from lossmith.search.spaces.expression import expression_residual_space, expression_space
from lossmith.search.spaces.noise_robust import noise_robust_space
from lossmith.search.spaces.residual import residual, residual_space
from lossmith.search.spaces.scaled import scaled
from lossmith.search.spaces.scheduled import residual_schedule_space
from lossmith.search.spaces.smoothed_mae import smoothed_mae, smoothed_mae_space
from lossmith.search.spaces.taylor import taylor_space

if TYPE_CHECKING:
    from lossmith.search.settings import SearchSettings

__all__ = ["SPACES", "Genome", "Space", "VectorSpace", "build_space", "canonical", "residual", "smoothed_mae"]

SPACES.register("residual", residual_space)
SPACES.register("canonical", canonical_space)
SPACES.register("taylor", taylor_space)
SPACES.register("smoothed-mae", smoothed_mae_space)
SPACES.register("residual-schedule", residual_schedule_space)
SPACES.register("noise-robust", noise_robust_space)
SPACES.register("expression", expression_space)
SPACES.register("expression-residual", expression_residual_space)


def build_space(settings: SearchSettings) -> Space:
    """The space of the settings.

    Raises:
        InputError: if there is none of that name, or it has no scale that could be searched, too.
    """
    space = SPACES[settings.space](settings)
    return scaled(space, settings.space) if settings.scale else space
