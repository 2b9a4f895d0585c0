"""Search engines: who asks for genomes and is told what they are worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lossmith.search.engines.base import SEARCH_ENGINES, Breakdown, SearchEngine
from lossmith.search.engines.cma import CMA

if TYPE_CHECKING:
    from lossmith.search.settings import SearchSettings
    from lossmith.search.spaces import Space

__all__ = ["CMA", "SEARCH_ENGINES", "Breakdown", "SearchEngine", "build_engine"]

SEARCH_ENGINES.register("cma", CMA)


def build_engine(space: Space, settings: SearchSettings) -> SearchEngine:
    """The engine of the settings at the beginning of its search.

    Raises:
        InputError: if there is none of that name, or it cannot search the space.
    """
    return SEARCH_ENGINES[settings.engine](space, settings)
