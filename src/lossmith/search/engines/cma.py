"""CMA-ES, over spaces of vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cmaes
import numpy as np

from lossmith.errors import InputError
from lossmith.search.engines.base import SearchEngine
from lossmith.search.spaces.base import Genome, Space, VectorSpace

if TYPE_CHECKING:
    from lossmith.search.settings import SearchSettings


class CMA(SearchEngine):
    """CMA-ES, reseeded before each generation; its center is the mean of the normal distribution.

    Args:
        space: One of vectors.
        settings: The settings of the search.

    Raises:
        InputError: if the genomes of the space are no vectors.
    """

    def __init__(self, space: Space, settings: SearchSettings) -> None:
        super().__init__(space, settings)
        if not isinstance(space, VectorSpace):
            raise InputError(
                f"the search engine cma searches spaces of vectors, which {settings.space!r} is not; give another "
                "engine, or a space such as residual"
            )
        # With one parent (a population of 2 or 3) cmaes divides by its rank-μ rate of 0, and takes a minimum with it.
        with np.errstate(divide="ignore"):
            self._cma = cmaes.CMA(
                mean=np.array(space.start, dtype=np.float64),
                sigma=space.sigma if settings.sigma is None else settings.sigma,
                population_size=settings.population,
                lr_adapt=settings.lr_adapt,
            )

    @property
    def mean(self) -> Genome:
        """The mean, a list of D numbers."""
        return self._cma.mean.tolist()

    def begin(self, seed: int) -> None:
        """Draw from a seed from here on."""
        self._cma.reseed_rng(seed)

    def draw(self) -> Genome:
        """A point of the normal distribution, a list of D numbers."""
        return self._cma.ask().tolist()

    def learn(self, genomes: Sequence[Genome], fitness: Sequence[float]) -> None:
        """Move, widen and turn the distribution."""
        points = [np.array(genome, dtype=np.float64) for genome in genomes]
        self._cma.tell([(point, -value) for point, value in zip(points, fitness, strict=True)])
