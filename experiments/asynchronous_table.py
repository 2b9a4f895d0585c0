"""What the simulated searches of experiments/asynchronous.py search: landscapes, noise and times of a measured table.

The table is what two studies of the demo's job store: a search (15 generations of 20) and a wide draw (3 of 100, with
step size 1.5), each candidate three networks that are trained one after another on one core, which other work shared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from program import changed, study_file
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from lossmith.losses import Loss
from lossmith.search import SearchSettings, VectorSpace, build_engine
from lossmith.study import Study, evolve

JOB, SEED, REPLICATES = Path("experiments/noisy-digits.toml"), 900, 3
STUDIES: dict[str, dict[str, Any]] = {
    "search": {"population": 20, "generations": 15},
    "wide": {"population": 100, "generations": 3, "sigma": 1.5},
}
CHANCE, BEST, START, LOW, NEAREST = 0.1, 0.58, 0.35, 0.3, 30
Row = dict[str, Any]
Points = np.ndarray


def measured(work: Path) -> dict[str, list[Row]]:
    """What the studies store of each candidate."""
    found = {}
    for name, search in STUDIES.items():
        settings = changed(
            study_file(JOB),
            data={"split_seed": SEED, "noise_seed": SEED},
            search={**search, "seed": SEED, "invariant": "none"},
            run={"tune": False, "training": "sequential", "chunk": 3, "finalists": 1, "finalist_seeds": 2},
        )
        folder = work / name
        evolve(folder, settings)
        with Study.load(folder, readonly=True) as study:
            rows = study.store.candidates()
        wanted = ("generation", "genome", "status", "fitness", "scores", "seconds")
        found[name] = [{key: row[key] for key in wanted} for row in rows]
    return found


@dataclass(frozen=True)
class Landscape:
    """A function of points that stands for the mean accuracy of a loss.

    Args:
        start: Where a search begins, ``[D]``.
        sigma: Its first step size.
        truth: The mean accuracy at points ``[P, D]``.
        top: The best of it.
    """

    start: tuple[float, ...]
    sigma: float
    truth: Callable[[Points], np.ndarray]
    top: float

    @property
    def space(self) -> VectorSpace:
        """The space of its points, whose losses nobody asks for."""
        return VectorSpace(self.start, self.sigma, no_losses)

    @property
    def bottom(self) -> float:
        """The mean accuracy where a search begins."""
        return float(self.truth(np.array([self.start]))[0])

    def target(self, share: float) -> float:
        """The accuracy at a share of the way from the start to the best."""
        return self.bottom + share * (self.top - self.bottom)


def no_losses(points: Any, classes: int) -> Loss:
    """No loss: nothing is trained."""
    raise AssertionError(f"{len(points)} points of {classes} classes were asked for losses, where nothing is trained")


def fitted(table: dict[str, list[Row]]) -> Landscape:
    """A Gaussian process through the mean accuracies of the table, which falls to chance far from its points."""
    rows = [row for rows in table.values() for row in rows]
    points = np.array([row["genome"] for row in rows])
    means = np.array([CHANCE if row["fitness"] is None else max(row["fitness"], CHANCE) for row in rows]) - CHANCE
    kernel = ConstantKernel(0.1) * RBF([2.0] * points.shape[1], (0.3, 30.0)) + WhiteKernel(1e-3, (1e-4, 1e-1))
    process = GaussianProcessRegressor(kernel, random_state=0).fit(points, means)
    covariance = process.kernel_.k1
    scale, lengths, weights = covariance.k1.constant_value, covariance.k2.length_scale, process.alpha_
    near, squares = points / lengths, ((points / lengths) ** 2).sum(1)

    def truth(asked: Points) -> np.ndarray:
        scaled = asked / lengths
        distances = squares + (scaled**2).sum(1)[:, None] - 2 * scaled @ near.T
        found: np.ndarray = CHANCE + (scale * np.exp(-0.5 * distances)) @ weights
        return found

    start = (0.0,) * points.shape[1]
    return Landscape(start, 0.5, truth, highest(start, truth))


def highest(start: tuple[float, ...], truth: Callable[[Points], np.ndarray]) -> float:
    """The best mean accuracy that four searches without noise find."""
    found = []
    for seed in range(4):
        space = VectorSpace(start, 1.0, no_losses)
        engine = build_engine(space, SearchSettings(population=100, seed=seed))
        for _ in range(60):
            genomes, _ = engine.ask(lambda _: True)
            values = truth(np.array(genomes))
            found.append(float(values.max()))
            engine.tell(genomes, values.tolist())
    return max(found)


def ellipsoid(dimensions: int, condition: float) -> Landscape:
    """A bump with axes of other lengths in turned coordinates, the start where the table's has the same accuracy.

    ``truth(x) = chance + (best − chance) exp(−‖A (x − c)‖²)``, the lengths of the axes of A evenly spread in their
    logarithms, c at distance 3 and in such a direction that every axis has its share.
    """
    source = np.random.default_rng(dimensions)
    turned, _ = np.linalg.qr(source.normal(size=(dimensions, dimensions)))
    lengths = np.geomspace(1.0, np.sqrt(condition), dimensions)
    direction = turned.T @ (np.ones(dimensions) / lengths)
    center = 3.0 * direction / np.linalg.norm(direction)
    square = float(((lengths * (turned @ center)) ** 2).sum())
    axes = lengths * np.sqrt(-np.log((START - CHANCE) / (BEST - CHANCE)) / square)

    def truth(asked: Points) -> np.ndarray:
        found: np.ndarray = CHANCE + (BEST - CHANCE) * np.exp(-(((asked - center) @ turned.T * axes) ** 2).sum(1))
        return found

    return Landscape((0.0,) * dimensions, 0.5, truth, BEST)


class Noise:
    """What one training adds to the mean accuracy: drawn from what the table's candidates of like accuracy show.

    The networks of a generation share their seeds; what the seeds do to all candidates alike moves no rank and is taken
    out. What diverges has no fitness.

    Args:
        table: The measured rows.
    """

    def __init__(self, table: dict[str, list[Row]]) -> None:
        rows = [row for rows in table.values() for row in rows]
        low = [row for row in rows if (row["fitness"] or 0.0) < LOW]
        self.diverging = sum(row["status"] == "diverged" for row in low) / len(low)
        pairs = [pair for rows in table.values() for pair in deviations(rows)]
        pairs.sort(key=lambda pair: pair[0])
        self._means = np.array([mean for mean, _ in pairs])
        self._deviations = np.array([values for _, values in pairs])

    def score(self, truth: float, source: np.random.Generator) -> float | None:
        """The accuracy of one training; None if it diverges."""
        if truth < LOW and source.random() < self.diverging:
            return None
        middle = int(np.searchsorted(self._means, truth))
        place = min(max(middle + int(source.integers(-NEAREST, NEAREST)), 0), len(self._means) - 1)
        return truth + float(self._deviations[place, int(source.integers(REPLICATES))])

    def deviation(self, low: float, high: float) -> float:
        """Its standard deviation among candidates whose mean accuracy is between two."""
        return float(np.sqrt((self._deviations[(self._means >= low) & (self._means < high)] ** 2).mean()))


def deviations(rows: list[Row]) -> list[tuple[float, np.ndarray]]:
    """The mean of each candidate and its networks' deviations from it, less what all of its generation have."""
    found = []
    for generation in sorted({row["generation"] for row in rows}):
        scores = np.array([row["scores"] for row in rows if (row["generation"], row["status"]) == (generation, "ok")])
        means = scores.mean(1)
        rest = scores - means[:, None]
        # Of R networks and C candidates, (R − 1) (C − 1) degrees of freedom are left.
        count = len(scores)
        scale = np.sqrt(REPLICATES / (REPLICATES - 1) * count / (count - 1))
        found += list(zip(means.tolist(), scale * (rest - rest.mean(0)), strict=True))
    return found


class Times:
    """How long trainings take, in units of their median.

    - ``even``: lognormal with σ = 0.05, as on equal machines with nobody else;
    - ``shared``: as the table's wide draw took, on a core that other work shared; and one in fifty, on a machine in
      trouble, 3 to 10 times as long;
    - ``own``: the candidate itself decides: lognormal with σ = 0.5, and what is hopeless is given up after a fifth.

    Args:
        kind: One of these.
        table: The measured rows.
    """

    TROUBLE, SLOWEST, SPREAD, EVEN, GIVEN_UP = 0.02, (3.0, 10.0), 0.5, 0.05, 0.2

    def __init__(self, kind: str, table: dict[str, list[Row]]) -> None:
        seconds = np.array([row["seconds"] for row in table["wide"]])
        self.kind, self._ratios = kind, seconds / np.median(seconds)

    def own(self, truth: float, source: np.random.Generator) -> float:
        """What a candidate itself has to do with it: the same on every worker."""
        if self.kind != "own":
            return 1.0
        return (self.GIVEN_UP if truth < LOW else 1.0) * float(source.lognormal(0.0, self.SPREAD))

    def worker(self, source: np.random.Generator) -> float:
        """The factor of one try on one worker."""
        if self.kind != "shared":
            return float(source.lognormal(0.0, self.EVEN))
        usual = float(self._ratios[int(source.integers(len(self._ratios)))])
        slow = float(np.exp(source.uniform(*np.log(self.SLOWEST)))) if source.random() < self.TROUBLE else 1.0
        return usual * slow
