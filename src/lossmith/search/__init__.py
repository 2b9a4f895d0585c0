"""Spaces of losses, and the engines that search them; nothing is trained here."""

from lossmith.search.engines import CMA, SEARCH_ENGINES, Breakdown, SearchEngine, build_engine, counterpart
from lossmith.search.filters import signature
from lossmith.search.settings import Invariant, SearchSettings
from lossmith.search.spaces import (
    SPACES,
    Genome,
    Space,
    VectorSpace,
    build_space,
    canonical,
    residual,
    smoothed_mae,
)

__all__ = [
    "CMA",
    "SEARCH_ENGINES",
    "SPACES",
    "Breakdown",
    "Genome",
    "Invariant",
    "SearchEngine",
    "SearchSettings",
    "Space",
    "VectorSpace",
    "build_engine",
    "build_space",
    "canonical",
    "counterpart",
    "residual",
    "signature",
    "smoothed_mae",
]
