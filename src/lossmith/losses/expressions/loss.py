"""Losses whose φ is a formula of any form: the kind that a search over formulas is about."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lossmith.errors import InputError, brief
from lossmith.losses.base import KINDS, Index, Loss, common_classes
from lossmith.losses.documents import LONGEST_NAME, MOST_LOSSES, part_of
from lossmith.losses.expressions.conversion import powers_of
from lossmith.losses.expressions.grammar import parse, text_of
from lossmith.losses.expressions.programs import Program
from lossmith.losses.expressions.simplify import simplified
from lossmith.losses.expressions.trees import Tree, json_of, tree_of
from lossmith.losses.power import PowerLoss
from lossmith.losses.powers import LOWEST_LOG


@dataclass(frozen=True, eq=False, repr=False)
class Expression(Loss):
    """The loss ``L = −Σ_k φ(h_k, y_k)`` whose φ is a tree of operators (``lossmith.expression("log(h) - y/h")``).

    Its slope is ``θφ = h ∂φ/∂h``, by rules for θ itself, with log h from the logits, so that nothing is lost where h
    underflows. What is undefined is guarded (:mod:`lossmith.losses.expressions.operators`); where something is divided
    by a function of h, φ goes on along its tangent in log h below h = e⁻⁴⁰. Value and slope are finite at every logit.

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
        object.__setattr__(self, "trees", tuple(map(tree_of, self.trees)))

    @functools.cached_property
    def program(self) -> Program:
        """What evaluates it."""
        return Program(self.trees)

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
        shape = torch.broadcast_shapes(log_h.shape, y.shape)
        if not self.population:
            x, labels = log_h.expand(shape)[None], y.to(log_h).expand(shape)[None]
        else:
            x, labels = (one.expand(len(self.trees), *shape[1:]) for one in (log_h, y.to(log_h)))
        value, g = self.program.run(x, labels, slope)
        found = value if g is None else g
        return found if self.population else found[0]


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
    tree = simplified(parse(text))
    try:
        loss = Expression((tree,), False, classes, name or text.strip())
    except InputError as error:
        raise InputError(f"the expression {brief(text)}, simplified: {error}") from None
    return loss.simplest()


KINDS.register(Expression.kind, Expression)
