"""Search engines: who asks for genomes and is told what they are worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lossmith.search.engines.base import SEARCH_ENGINES, Breakdown, SearchEngine, counterpart
from lossmith.search.engines.cma import CMA
from lossmith.search.engines.genetic import Genetic

if TYPE_CHECKING:
    from lossmith.search.settings import SearchSettings
    from lossmith.search.spaces import Space

__all__ = ["CMA", "SEARCH_ENGINES", "Breakdown", "Genetic", "SearchEngine", "build_engine", "counterpart"]

SEARCH_ENGINES.register("cma", CMA)
SEARCH_ENGINES.register("genetic", Genetic)


def build_engine(space: Space, settings: SearchSettings) -> SearchEngine:
    """The engine of the settings at the beginning of its search.

    Raises:
        InputError: if there is none of that name, or it cannot search the space.
    """
    return SEARCH_ENGINES[settings.engine](space, settings)
