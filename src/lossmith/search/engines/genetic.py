"""Genetic programming over formulas, as in GLO: it finds the form of a loss, and CMA-ES then tunes its numbers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lossmith.errors import InputError
from lossmith.losses.expressions import Tree, json_of, size, tree_of
from lossmith.search.engines.base import SearchEngine
from lossmith.search.engines.cma import breaking_down
from lossmith.search.engines.variation import crossed, grown, mutated, numbers, weighted, with_numbers
from lossmith.search.filters import Archive, rehearsed, signature
from lossmith.search.spaces.base import Genome, Space
from lossmith.search.spaces.expression import ExpressionSpace
from lossmith.theory import is_trainable

if TYPE_CHECKING:
    from lossmith.search.settings import SearchSettings

UNTRAINABLE, EQUIVALENT, REHEARSAL = "untrainable", "equivalent", "rehearsal"
# How often a child has two parents, and how often it is mutated then; the candidates that a parent is the best of; how
# many of the best have children.
CROSSOVER, MUTATION, TOURNAMENT, PARENTS = 0.6, 0.4, 3, 24
FIRST_DEPTH, TRIES = 3, 200
# Generations of which the last ones are of CMA-ES, again and again.
BLOCK = 10
# First step of CMA-ES, in units of each number, or of this where that is smaller.
SIGMA, UNIT, LARGEST = 0.2, 0.5, 1e6
Scored = tuple[float, int, Tree]


class Genetic(SearchEngine):
    """Genetic programming, and CMA-ES on numbers in the last ones of every ten generations.

    These are the numbers of the best formula that has two or more, with a factor before each of its terms.

    A child is the crossover of two parents, each the best of three of the best 24 formulas so far (of equal fitness the
    smaller), mutated or not, or a mutated parent. What would not train (by the trainability invariant, or a rehearsal
    on free logits) and what equals a formula of before in its gradient is drawn again and costs no training.

    Args:
        space: One of formulas.
        settings: The settings of the search.

    Raises:
        InputError: if the genomes of the space are no formulas.
    """

    usual_space: ClassVar[str] = "expression"
    own_spaces: ClassVar[tuple[str, ...]] = ("expression", "expression-residual")

    def __init__(self, space: Space, settings: SearchSettings) -> None:
        super().__init__(space, settings)
        if not isinstance(space, ExpressionSpace):
            raise InputError(
                f"the search engine genetic searches formulas, which {settings.space!r} is not; give the space "
                "expression or expression-residual, or none"
            )
        self._formulas = space
        self._best: list[Scored] = []
        self._archive = Archive()
        self._source, self._drawn = random.Random(0), Archive()
        self._tuned: _Coefficients | None = None
        # How often nothing new was found.
        self._worn = 0

    @property
    def tuning(self) -> bool:
        """Whether the generation in work is one of CMA-ES: however many generations there will be."""
        return self.generation % BLOCK >= BLOCK - round(self.settings.coefficients * BLOCK)

    @property
    def stalled(self) -> str | None:
        """That the filters reject all that is drawn: there is next to nothing new in so small a space."""
        if not self._worn:
            return None
        return (
            f"{TRIES} formulas in a row were known or would not train, {self._worn} times until now, and the next one "
            "was trained all the same; give more depth"
        )

    def begin(self, seed: int) -> None:
        """Draw from a seed from here on."""
        self._source, self._drawn, self.rejected = random.Random(seed), Archive(), {}
        if not self.tuning:
            self._tuned = None
        elif self._tuned is None and self._best:
            tuned = (_Coefficients.of(tree, self.settings, self._formulas) for _, _, tree in self._best)
            self._tuned = next((one for one in tuned if one is not None), None)
        if self._tuned is not None:
            self._tuned.begin(seed)

    def draw(self) -> Genome:
        """The next formula that no filter rejects; after 200 that one does, the next one that the space holds."""
        for _ in range(TRIES):
            genome = self._next()
            why = self._why_not(genome)
            if why is None:
                return genome
            self.rejected.setdefault(why, []).append(genome)
        self._worn += 1
        while not self._formulas.holds(genome):
            genome = self._next()
        return genome

    def _next(self) -> Genome:
        """A random formula at first; a child later; the best one with other numbers at last."""
        most, source = self._formulas.most_depth, self._source
        if self._tuned is not None:
            return json_of(self._tuned.draw())
        if not self._best:
            return json_of(grown(source, source.randint(1, min(FIRST_DEPTH, most)), full=source.random() < 0.5))
        child = self._parent()
        if source.random() < CROSSOVER:
            child = crossed(source, child, self._parent(), most)
            return json_of(mutated(source, child, most) if source.random() < MUTATION else child)
        return json_of(mutated(source, child, most))

    def learn(self, genomes: Sequence[Genome], fitness: Sequence[float]) -> None:
        """Keep the best formulas, and know all of them."""
        trees = [tree_of(genome) for genome in genomes]
        for tree, value in zip(trees, fitness, strict=True):
            if value > -np.inf:
                self._best.append((value, size(tree), tree))
            found = signature(self._formulas.build([json_of(tree)], self.classes)[0], self.classes)
            if found is not None:
                self._archive.add(found)
        # Sorting keeps the order of what is equal: the earlier stays.
        self._best = sorted(self._best, key=lambda one: (-one[0], one[1]))[:PARENTS]
        if self._tuned is not None:
            self._tuned.learn(trees, fitness)

    def _parent(self) -> Tree:
        """The best of some of the best."""
        return self._best[min(self._source.randrange(len(self._best)) for _ in range(TOURNAMENT))][2]

    def _why_not(self, genome: Genome) -> str | None:
        """Why a genome is not worth a training; one that is worth it is known as drawn."""
        if not self._formulas.holds(genome):
            return UNTRAINABLE
        losses, form = self._formulas.build([genome], self.classes), self.settings.invariant
        found = signature(losses[0], self.classes)
        if found is None or (form != "none" and not bool(is_trainable(losses, self.classes, form)[0])):
            return UNTRAINABLE
        if self._archive.holds(found) or self._drawn.holds(found):
            return EQUIVALENT
        if self._tuned is None and not rehearsed(losses[0], self.classes):
            return REHEARSAL
        self._drawn.add(found)
        return None


class _Coefficients:
    """CMA-ES on the numbers of a formula.

    Args:
        tree: The formula, with numbers.
        settings: Of the search.
    """

    def __init__(self, tree: Tree, settings: SearchSettings) -> None:
        self.tree = tree
        self.middle = np.array(numbers(tree))
        self._form = with_numbers(tree, [1.0] * len(self.middle))
        self.units = np.maximum(np.abs(self.middle), UNIT)
        # It loads scipy.stats, which what searches nothing does without.
        import cmaes

        # With one parent cmaes divides by its rank-μ rate of 0, and takes a minimum with it.
        with np.errstate(divide="ignore"):
            self._cma = cmaes.CMA(
                mean=np.zeros(len(self.middle)),
                sigma=SIGMA,
                population_size=settings.population,
                lr_adapt=settings.lr_adapt,
            )

    @staticmethod
    def of(tree: Tree, settings: SearchSettings, space: ExpressionSpace) -> _Coefficients | None:
        """Those of a formula with a factor before each of its terms; None where it has less than two numbers."""
        factored = weighted(tree)
        tree = factored if space.holds(json_of(factored)) else tree
        # CMA-ES needs two dimensions, and two candidates to choose from.
        return _Coefficients(tree, settings) if len(numbers(tree)) > 1 else None

    def begin(self, seed: int) -> None:
        """Draw from a seed from here on."""
        self._cma.reseed_rng(seed)

    def draw(self) -> Tree:
        """The formula with other numbers."""
        with breaking_down():
            values = np.clip(self.middle + self.units * self._cma.ask(), -LARGEST, LARGEST)
        return with_numbers(self.tree, [float(f"{value:.12g}") + 0.0 for value in values])

    def learn(self, trees: Sequence[Tree], fitness: Sequence[float]) -> None:
        """Move, widen and turn the distribution; nothing is learned where a formula of another form is among them."""
        if any(with_numbers(tree, [1.0] * len(numbers(tree))) != self._form for tree in trees):
            return
        points = [(np.array(numbers(tree)) - self.middle) / self.units for tree in trees]
        with breaking_down():
            self._cma.tell([(point, -value) for point, value in zip(points, fitness, strict=True)])
