"""Spaces of formulas: φ(h, y) as a tree of any form, alone or added to smoothed cross-entropy."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lossmith.errors import InputError
from lossmith.losses import Expression, Loss, PowerLoss, Term
from lossmith.losses.expressions import Tree, depth, json_of, simplified, tree_of, uses
from lossmith.search.spaces.base import Genome, Space

if TYPE_CHECKING:
    from lossmith.search.settings import SearchSettings

# Of the cross-entropy that formulas are added to: what a practitioner begins with.
SMOOTHING = 0.1
SQUARE: Tree = ("square", "h")
WHOLE_POWERS: tuple[Tree, ...] = (1.0, "h", SQUARE, ("*", "h", SQUARE), ("square", SQUARE))


@dataclass(frozen=True)
class ExpressionSpace(Space):
    """Formulas as trees, which are lists of JSON: ``["*", "y", ["log", "h"]]``.

    Args:
        most_depth: The largest depth of a tree.
        residual: Whether the loss of a tree is that of smoothed cross-entropy plus the tree.
    """

    most_depth: int
    residual: bool = False

    def build(self, genomes: Sequence[Genome], classes: int) -> Loss:
        """The losses of P trees, as one population."""
        return Expression(tuple(self.formula(tree_of(one), classes) for one in genomes), population=True)

    def formula(self, tree: Tree, classes: int) -> Tree:
        """φ of a tree, simplified."""
        return simplified(("+", smoothed_cross_entropy(classes), tree) if self.residual else tree)

    def holds(self, value: object) -> bool:
        """Whether it is a tree with h, also when it is simplified, that is not too deep."""
        if not isinstance(value, list | str):
            return False
        try:
            tree = tree_of(value)
        except InputError:
            return False
        return json_of(tree) == value and depth(tree) <= self.most_depth and uses(simplified(tree), "h")

    def place(self, loss: Loss, classes: int) -> tuple[Genome, float] | None:  # noqa: ARG002
        """The tree of a loss, if the space holds it."""
        if self.residual:
            return None
        tree = tree_of_loss(loss)
        genome = None if tree is None else json_of(tree)
        return (genome, 1.0) if genome is not None and self.holds(genome) else None


@functools.lru_cache(maxsize=64)
def smoothed_cross_entropy(classes: int) -> Tree:
    """``((1 − α) y + α/n) log h``."""
    return ("*", ("+", SMOOTHING / classes, ("*", 1 - SMOOTHING, "y")), ("log", "h"))


def tree_of_loss(loss: Loss) -> Tree | None:
    """φ of one loss as a tree; None where that is none of the operators of formulas."""
    if loss.shape:
        return None
    if isinstance(loss, Expression):
        return loss.trees[0]
    if not isinstance(loss, PowerLoss):
        return None
    parts = [_term(term, c) for term, c in zip(loss.terms, loss.coefficients.tolist(), strict=True) if c != 0]
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    # Added in pairs, so that the tree stays shallow.
    while len(known) > 1:
        pairs = [("+", *known[at : at + 2]) for at in range(0, len(known) - 1, 2)]
        known = [*pairs, *known[2 * len(pairs) :]]
    return simplified(known[0])


def _term(term: Term, c: float) -> Tree | None:
    """``c h^i y^j (log h)^l``; None for a power that no operator gives."""
    factors: list[Tree] = [c]
    if term.h == int(term.h) and abs(term.h) < len(WHOLE_POWERS):
        powers: dict[int, Tree] = {
            1: "h",
            2: ("square", "h"),
            3: ("*", "h", ("square", "h")),
            4: ("square", ("square", "h")),
        }
        if term.h > 0:
            factors.append(powers[int(term.h)])
        elif term.h < 0:
            factors.append(("/", 1.0, powers[int(-term.h)]))
    else:
        factors.append(("exp", ("*", term.h, ("log", "h"))))
    factors += ["y"] * term.y + [("log", "h")] * term.log
    tree = factors[0]
    for factor in factors[1:]:
        tree = ("*", tree, factor)
    return tree


def expression_space(settings: SearchSettings) -> ExpressionSpace:
    """Formulas."""
    return ExpressionSpace(settings.depth)


def expression_residual_space(settings: SearchSettings) -> ExpressionSpace:
    """Formulas that are added to smoothed cross-entropy."""
    return ExpressionSpace(settings.depth, residual=True)
