"""Losses whose φ is a formula of any form: the kind that a search over formulas is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from lossmith.errors import InputError, brief
from lossmith.losses.base import KINDS, Index, Loss, common_classes
from lossmith.losses.documents import LONGEST_NAME, MOST_CLASSES, MOST_LOSSES, part_of
from lossmith.losses.expressions.conversion import powers_of, tree_of_terms
from lossmith.losses.expressions.grammar import parse, text_of
from lossmith.losses.expressions.programs import Program
from lossmith.losses.expressions.simplify import simplified
from lossmith.losses.expressions.trees import Tree, json_of, tree_of
from lossmith.losses.parametric import Parametric
from lossmith.losses.power import PowerLoss
from lossmith.losses.powers import LOWEST_LOG


@dataclass(frozen=True, eq=False, repr=False)
class Expression(Loss):
    """The loss ``L = −Σ_k φ(h_k, y_k)`` whose φ is a tree of operators (``lossmith.expression("log(h) - y/h")``).

    Its slope is ``θφ = h ∂φ/∂h``, by rules for θ itself, with log h from the logits, so that nothing is lost where h
    underflows. The tree is simplified. What is undefined is guarded
    (:mod:`lossmith.losses.expressions.operators`); where something is divided by a function of h, or its logarithm or
    exponential is taken, φ goes on along its tangent in log h below h = e⁻⁴⁰, or earlier where it is steep. Value and
    slope are finite at every logit.

    Args:
        trees: φ of each member, or of the one loss.
        population: Whether there is a population dimension ``[P]``.
        classes: The number of classes that the loss is made for, or None if it fits any.
        name: What tables and figures call it.

    Raises:
        InputError: if a tree is none, or there are several of one loss.
    """

    kind: ClassVar[str] = "expression"
    trees: tuple[Tree, ...]
    population: bool = False
    classes: int | None = None
    name: str = "expression"

    def __post_init__(self) -> None:
        if not self.trees or (len(self.trees) > 1 and not self.population):
            raise InputError(f"the loss {self.name!r} has {len(self.trees)} trees; one loss has one, a population some")
        # A formula is what its simplified form is, wherever it comes from.
        trees = tuple(tree_of(simplified(tree_of(tree))) for tree in self.trees)
        object.__setattr__(self, "trees", trees)
        # Now, since a compiled program could not.
        object.__setattr__(self, "_program", Program(trees))

    @property
    def sums_over_classes(self) -> bool:
        """It is such a sum."""
        return True

    @property
    def shape(self) -> tuple[int, ...]:
        """``(P,)`` of a population."""
        return (len(self.trees),) if self.population else ()

    def phi(self, h: Tensor, y: Tensor) -> Tensor:
        """``φ(h, y)``, elementwise; ``h`` and ``y`` broadcast with ``[*P, …]``, the population's dimensions first."""
        return self._run(h.log().clamp(min=LOWEST_LOG), y, slope=False)

    def slope(self, log_h: Tensor, y: Tensor) -> Tensor:
        """``g = θφ = ∂φ/∂log h``, elementwise, shaped as :meth:`phi`."""
        return self._run(log_h, y, slope=True)

    def values(self, log_h: Tensor, y: Tensor) -> Tensor:
        """``−Σ_k φ(h_k, y_k)`` of each sample, ``[*P, N]``."""
        return -self._run(log_h, y, slope=False).sum(-1)

    def formula(self, digits: int = 4) -> str:
        """φ as a line of text, for one loss."""
        if self.population:
            raise InputError("a population has no single formula; index one member")
        return text_of(self.trees[0], lambda number: f"{number:.{digits}g}")

    def simplest(self) -> Loss:
        """The loss as a sum of powers, of which the theory knows more, if it is one."""
        if self.population:
            return self
        terms = powers_of(self.trees[0])
        if terms is None:
            return self
        return PowerLoss(tuple(terms), torch.tensor(list(terms.values()), dtype=torch.float64), self.classes, self.name)

    def __add__(self, other: Loss) -> Expression:
        """The sum with another formula or sum of powers, of which neither or both are populations of one size."""
        tree = trees_of(other)
        if tree is None:
            return NotImplemented
        if self.shape != other.shape:
            raise InputError(f"populations {list(self.shape)} and {list(other.shape)} cannot be added; take equal ones")
        trees = tuple(("+", one, two) for one, two in zip(self.trees, tree, strict=True))
        classes = common_classes((self, other))
        return Expression(trees, self.population, classes, f"{self.name} + {other.name}")

    __radd__ = __add__

    def __mul__(self, factor: float) -> Expression:
        """The loss times a number."""
        if isinstance(factor, bool) or not isinstance(factor, int | float):
            return NotImplemented
        trees = tuple(("*", float(factor), tree) for tree in self.trees)
        return Expression(trees, self.population, self.classes, f"{factor:g} ({self.name})")

    __rmul__ = __mul__

    def __getitem__(self, index: Index) -> Loss:
        """Members of a population, by any index over its dimension."""
        if not self.population:
            return super().__getitem__(index)
        place: Tensor = torch.arange(len(self.trees), device="cpu")[index]
        if place.ndim:
            return Expression(tuple(self.trees[int(row)] for row in place), True, self.classes, self.name)
        tree = self.trees[int(place)]
        return Expression((tree,), False, self.classes, name_of(tree))

    @classmethod
    def joined(cls, losses: Sequence[Expression], name: str) -> Expression | None:
        """Formulas as one population; None for populations of such."""
        if any(loss.population for loss in losses):
            return None
        return cls(tuple(loss.trees[0] for loss in losses), True, common_classes(losses), name)

    def body(self) -> dict[str, Any]:
        """The trees as lists."""
        if self.population:
            return {"trees": [json_of(tree) for tree in self.trees]}
        return {"tree": json_of(self.trees[0])}

    @classmethod
    def of_body(cls, document: dict[str, Any], classes: int | None, name: str) -> Expression:
        """The loss of a tree, or of some."""
        if "trees" not in document:
            return cls((part_of(document, "tree"),), False, classes, name)
        trees = document["trees"]
        if not isinstance(trees, list) or not 1 <= len(trees) <= MOST_LOSSES:
            raise InputError(f'"trees" of the loss file must be a list of up to {MOST_LOSSES} trees')
        return cls(tuple(trees), True, classes, name)

    def _run(self, log_h: Tensor, y: Tensor, slope: bool) -> Tensor:
        shape = np.broadcast_shapes(log_h.shape, y.shape)
        if not self.population:
            x, labels = log_h.expand(shape)[None], y.to(log_h).expand(shape)[None]
        else:
            x, labels = (one.expand(len(self.trees), *shape[1:]) for one in (log_h, y.to(log_h)))
        program: Program = self._program  # type: ignore[attr-defined]
        value, g = program.run(x, labels, slope)
        found = value if g is None else g
        return found if self.population else found[0]


def trees_of(loss: Loss) -> tuple[Tree, ...] | None:
    """φ of a formula or a sum of powers as a tree, one for each member; None where that is none of the operators."""
    if isinstance(loss, Expression):
        return loss.trees
    if isinstance(loss, Parametric) and len(loss.shape) < 2:
        return tuple(loss[k].tree for k in range(len(loss))) if loss.shape else (loss.tree,)
    if not isinstance(loss, PowerLoss) or len(loss.shape) > 1:
        return None
    rows = loss.coefficients.reshape(-1, len(loss.terms)).tolist()
    found = [tree_of_terms(dict(zip(loss.terms, row, strict=True))) for row in rows]
    known = [tree for tree in found if tree is not None]
    return tuple(known) if len(known) == len(found) else None


def name_of(tree: Tree) -> str:
    """What tables call the loss of a tree: its text, with four digits of each number."""
    text = text_of(tree, lambda number: f"{number:.4g}")
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


def expression(text: str, classes: int | None = None, name: str | None = None) -> Loss:
    """The loss ``L = −Σ_k φ(h_k, y_k)`` of a formula φ of the output h and the label y.

    The formula is simplified. One that is a sum of powers becomes a :class:`PowerLoss`, of which the theory says more.

    Args:
        text: With h, y, numbers, ``+ - * / ^``, and the functions log, sqrt, square, exp, tanh.
        classes: The number of classes that the loss is made for; None for any.
        name: What tables and figures call it; the formula without it.

    Raises:
        InputError: saying what is wrong with the text at which character; or if nothing of h is left.

    Example:
        >>> expression("log(h) - y/h").formula()
        'log h − h⁻¹ y'
    """
    if not isinstance(text, str):
        raise InputError(f'a formula is a text, such as "y*log(h)", not {brief(text)}')
    if classes is not None and (type(classes) is not int or not 2 <= classes <= MOST_CLASSES):
        raise InputError(f"the number of classes is {brief(classes)}; give a whole number from 2")
    tree = parse(text)
    try:
        loss = Expression((tree,), False, classes, name or _name(text))
    except InputError as error:
        raise InputError(f"the expression {brief(text)}, simplified: {error}") from None
    return loss.simplest()


def _name(text: str) -> str:
    """A text that somebody typed, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_NAME else f"{line[: LONGEST_NAME - 1]}…"


KINDS.register(Expression.kind, Expression)
