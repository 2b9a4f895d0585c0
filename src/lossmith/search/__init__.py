"""Spaces of losses, and the search through them; it trains nothing."""

from lossmith.search.optimizer import Optimizer
from lossmith.search.settings import Invariant, SearchSettings
from lossmith.search.space import Space, build_space, canonical, residual

__all__ = [
    "Invariant",
    "Optimizer",
    "SearchSettings",
    "Space",
    "build_space",
    "canonical",
    "residual",
]
