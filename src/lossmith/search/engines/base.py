"""What a search engine is to a study: it asks for genomes, is told their fitness, and can be replayed."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from lossmith.registry import Registry
from lossmith.search.spaces.base import Genome, Space
from lossmith.seeds import derive

if TYPE_CHECKING:
    from lossmith.search.settings import SearchSettings

# Without a bound, a space where next to nothing is acceptable would be drawn from for ever.
REDRAWS = 100


class Breakdown(Exception):
    """What an engine raises that cannot go on: its search ends with what was found, and the message says why."""


class SearchEngine(ABC):
    """A search by ask and tell over genomes that are values of JSON.

    What it asks for follows from what it was told, the seed of the settings and the number of the generation alone. So
    a new engine that is told the stored genomes and fitness of some generations asks for the same next genomes as one
    that was never interrupted, and no state has to be stored. A new one overrides ``begin``, ``draw`` and ``learn``.

    Args:
        space: Where it searches.
        settings: The settings of the search.

    Raises:
        InputError: if it cannot search that space.
    """

    usual_space: ClassVar[str] = "residual"
    """The space that is searched if none is named."""
    own_spaces: ClassVar[tuple[str, ...]] = ()
    """Spaces that no other engine searches: naming one of them is naming the engine."""

    def __init__(self, space: Space, settings: SearchSettings) -> None:
        self.space, self.settings = space, settings
        self.generation = 0
        self.first: Sequence[Genome] = ()
        # Number of classes, which a study says before it asks.
        self.classes = 10
        # Of the generation that was asked for last: the draws that were rejected, by the reason.
        self.rejected: dict[str, list[Genome]] = {}

    def ask(self, accept: Callable[[Genome], bool]) -> tuple[list[Genome], list[int]]:
        """The P genomes of the next generation, and how often each was drawn again until it was accepted.

        The first generation begins with the genomes of ``first``, whoever accepts them. After 100 draws a genome stays
        as it is. Asked again before it is told, an engine gives the same.
        """
        self.begin(derive(self.settings.seed, "candidates", self.generation))
        genomes: list[Genome] = []
        redrawn: list[int] = []
        for _ in range(self.settings.population):
            genome, draws = self.draw(), 0
            while draws < REDRAWS and not accept(genome):
                genome, draws = self.draw(), draws + 1
            genomes.append(genome)
            redrawn.append(draws)
        given = list(self.first)[: self.settings.population] if self.generation == 0 else []
        genomes[: len(given)], redrawn[: len(given)] = given, [0] * len(given)
        return genomes, redrawn

    def tell(self, genomes: Sequence[Genome], fitness: Sequence[float | None]) -> None:
        """Fitness (higher is better) of the genomes, in member order; None, a candidate without one, ranks last.

        From a generation without any fitness nothing is learned.

        Raises:
            Breakdown: if the engine cannot go on.
        """
        values = [-math.inf if one is None or not math.isfinite(one) else float(one) for one in fitness]
        if max(values) > -math.inf:
            self.learn(genomes, values)
        self.generation += 1

    @property
    def mean(self) -> Genome | None:
        """The genome at the center of the search; None for an engine that has none."""
        return None

    @property
    def stalled(self) -> str | None:
        """Why more generations would hardly find anything else; None while they may."""
        return None

    @abstractmethod
    def begin(self, seed: int) -> None:
        """Begin to draw a generation; all that is random in it comes from the seed."""

    @abstractmethod
    def draw(self) -> Genome:
        """The next genome of the generation."""

    @abstractmethod
    def learn(self, genomes: Sequence[Genome], fitness: Sequence[float]) -> None:
        """Take the fitness (higher is better) of the genomes, in member order; −∞ where there is none."""


def counterpart(named: Mapping[str, Any]) -> dict[str, str]:
    """What goes with an engine or a space that alone is named: the engine's usual space, or the space's own engine.

    Args:
        named: What of ``"engine"`` and ``"space"`` is named, and anything else.

    Returns:
        The other one; nothing where both are named, or neither, or the space belongs to no engine.
    """
    if "engine" in named and "space" not in named:
        made = SEARCH_ENGINES.entries.get(named["engine"]) if isinstance(named["engine"], str) else None
        return {"space": getattr(made, "usual_space", SearchEngine.usual_space)}
    if "space" in named and "engine" not in named:
        for name, made in SEARCH_ENGINES.items():
            if named["space"] in getattr(made, "own_spaces", ()):
                return {"engine": name}
    return {}


SEARCH_ENGINES: Registry[Callable[[Space, SearchSettings], SearchEngine]] = Registry("search engine")
