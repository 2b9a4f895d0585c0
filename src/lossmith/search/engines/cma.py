"""CMA-ES, over spaces of vectors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lossmith.errors import InputError, brief
from lossmith.search.engines.base import Breakdown, SearchEngine
from lossmith.search.spaces.base import Genome, Space, VectorSpace

if TYPE_CHECKING:
    from lossmith.search.settings import SearchSettings

# What cmaes allows.
FARTHEST = 1e32


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
        if max(map(abs, space.start)) >= FARTHEST:
            raise InputError(
                f"CMA-ES starts at points with coordinates below {FARTHEST:g}, not at {brief(list(space.start))}; give "
                "another start"
            )
        # It loads scipy.stats, which what searches nothing does without.
        import cmaes

        # With one parent (a population of 2 or 3) cmaes divides by its rank-μ rate of 0, and takes a minimum with it.
        with np.errstate(divide="ignore"):
            self._cma = cmaes.CMA(
                mean=np.array(space.start, dtype=np.float64),
                sigma=space.sigma if settings.sigma is None else settings.sigma,
                population_size=settings.population,
                lr_adapt=settings.lr_adapt,
            )

        self._mean: list[float] = self._cma.mean.tolist()

    @property
    def mean(self) -> Genome:
        """The mean, a list of D numbers."""
        return list(self._mean)

    @property
    def stalled(self) -> str | None:
        """What cmaes says of a distribution without width or bounds, and of a fitness without differences."""
        with breaking_down():
            stops = self._cma.should_stop()
        return "the distribution of CMA-ES is too narrow, too wide or too flat to go on from" if stops else None

    def begin(self, seed: int) -> None:
        """Draw from a seed from here on."""
        self._cma.reseed_rng(seed)

    def draw(self) -> Genome:
        """A point of the normal distribution, a list of D numbers."""
        with breaking_down():
            point = self._cma.ask()
        if not np.isfinite(point).all():
            raise Breakdown("CMA-ES draws points that are no finite numbers")
        return point.tolist()

    def learn(self, genomes: Sequence[Genome], fitness: Sequence[float]) -> None:
        """Move, widen and turn the distribution."""
        points = [np.array(genome, dtype=np.float64) for genome in genomes]
        with breaking_down():
            self._cma.tell([(point, -value) for point, value in zip(points, fitness, strict=True)])
        if not np.isfinite(self._cma.mean).all():
            raise Breakdown("the mean of CMA-ES is no finite number any more")
        self._mean = self._cma.mean.tolist()


@contextlib.contextmanager
def breaking_down() -> Iterator[None]:
    """Turn what numbers beyond bounds do in cmaes and in linear algebra into a breakdown.

    Raises:
        Breakdown: if they do something.
    """
    try:
        with np.errstate(all="ignore"):
            yield
    except (AssertionError, ArithmeticError, ValueError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Breakdown(f"CMA-ES has left the numbers that it can compute with ({why})") from error
