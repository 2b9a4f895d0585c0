"""CMA-ES by ask and tell, replayable from what a study has stored."""

from collections.abc import Callable, Sequence

import cmaes
import numpy as np
from numpy.typing import NDArray

from lossmith.search.settings import SearchSettings
from lossmith.search.space import Space
from lossmith.seeds import derive

# Without a bound, a space where next to nothing is acceptable would be drawn from for ever.
REDRAWS = 100
Points = NDArray[np.float64]


class Optimizer:
    """CMA-ES, reseeded before each generation from (study seed, generation).

    So a new optimiser that is told the stored points and fitness of some generations asks for the same next points as
    one that was never interrupted, and no state has to be stored.
    """

    def __init__(self, space: Space, settings: SearchSettings) -> None:
        self.settings = settings
        self.generation = 0
        # With one parent (a population of 2 or 3) cmaes divides by its rank-μ rate of 0, and takes a minimum with it.
        with np.errstate(divide="ignore"):
            self._cma = cmaes.CMA(
                mean=np.array(space.start, dtype=np.float64),
                sigma=space.sigma,
                population_size=settings.population,
                lr_adapt=settings.lr_adapt,
            )

    def ask(self, accept: Callable[[Points], bool]) -> tuple[Points, list[int]]:
        """The points ``[P, D]`` of the next generation, and how often each was drawn again until it was accepted.

        After 100 draws a point stays as it is.
        """
        self._cma.reseed_rng(derive(self.settings.seed, "candidates", self.generation))
        points: list[Points] = []
        redrawn: list[int] = []
        for _ in range(self.settings.population):
            point, draws = self._cma.ask(), 0
            while draws < REDRAWS and not accept(point):
                point, draws = self._cma.ask(), draws + 1
            points.append(point)
            redrawn.append(draws)
        return np.stack(points), redrawn

    def tell(self, points: Points, fitness: Sequence[float | None]) -> None:
        """Fitness (higher is better) of the points, in member order; None, a candidate without one, ranks last."""
        worst = float("inf")
        values = [worst if score is None or not np.isfinite(score) else -float(score) for score in fitness]
        self._cma.tell(list(zip(points, values, strict=True)))
        self.generation += 1

    @property
    def mean(self) -> Points:
        """The search's mean ``[D]``."""
        return np.array(self._cma.mean, dtype=np.float64)
