"""Spaces of formulas: φ(h, y) as a tree of any form, alone or added to smoothed cross-entropy."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lossmith.errors import InputError
from lossmith.losses import Expression, Loss
from lossmith.losses.expressions import Tree, depth, json_of, simplified, tree_of, trees_of
from lossmith.search.spaces.base import Genome, Space

if TYPE_CHECKING:
    from lossmith.search.settings import SearchSettings

# Of the cross-entropy that formulas are added to: what a practitioner begins with.
SMOOTHING = 0.1


@dataclass(frozen=True)
class ExpressionSpace(Space):
    """Formulas as trees, which are lists of JSON: ``["*", "y", ["log", "h"]]``.

    Args:
        most_depth: The largest depth of a tree.
        residual: Whether the loss of a tree is that of smoothed cross-entropy plus the tree.
    """

    wider: ClassVar[str] = "depth"

    most_depth: int
    residual: bool = False

    def build(self, genomes: Sequence[Genome], classes: int) -> Loss:
        """The losses of P trees, as one population."""
        return Expression(tuple(self.formula(tree_of(one), classes) for one in genomes), population=True)

    def formula(self, tree: Tree, classes: int) -> Tree:
        """φ of a tree."""
        return ("+", smoothed_cross_entropy(classes), tree) if self.residual else tree

    def holds(self, value: object) -> bool:
        """Whether it is a tree with h, also when it is simplified, that is not too deep."""
        if not isinstance(value, list | str):
            return False
        try:
            tree = tree_of(value)
            # What is left of it must be a formula, too; the number of classes does not matter for that.
            tree_of(simplified(tree))
            tree_of(simplified(tree_of(self.formula(tree, 10))))
        except InputError:
            return False
        return json_of(tree) == value and depth(tree) <= self.most_depth

    def place(self, loss: Loss, classes: int) -> tuple[Genome, float] | None:
        """The tree of a loss, less smoothed cross-entropy where trees are added to that; if the space holds it."""
        trees = None if loss.shape else trees_of(loss)
        if trees is None:
            return None
        tree = tree_of(("-", trees[0], smoothed_cross_entropy(classes))) if self.residual else trees[0]
        genome = json_of(simplified(tree) if self.residual else tree)
        return (genome, 1.0) if self.holds(genome) else None


@functools.lru_cache(maxsize=64)
def smoothed_cross_entropy(classes: int) -> Tree:
    """``((1 − α) y + α/n) log h``."""
    return ("*", ("+", SMOOTHING / classes, ("*", 1 - SMOOTHING, "y")), ("log", "h"))


def expression_space(settings: SearchSettings) -> ExpressionSpace:
    """Formulas."""
    return ExpressionSpace(settings.depth)


def expression_residual_space(settings: SearchSettings) -> ExpressionSpace:
    """Formulas that are added to smoothed cross-entropy."""
    return ExpressionSpace(settings.depth, residual=True)
