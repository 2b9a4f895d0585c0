"""Formulas that are sums of powers, as such sums: what the whole theory applies to."""

from __future__ import annotations

import math
from collections.abc import Callable

from lossmith.losses.documents import LARGEST_POWER
from lossmith.losses.expressions.simplify import simplified
from lossmith.losses.expressions.trees import LARGEST_NUMBER, Tree
from lossmith.losses.terms import Term

MOST_TERMS, MOST_LABELS = 64, 20
Sum = dict[Term, float]
ONE = Term(0, 0, 0)


def powers_of(tree: Tree) -> Sum | None:
    """``φ = Σ c h^i y^j (log h)^l`` of a tree, by term; None where it is no such sum, or has too many terms."""
    if isinstance(tree, float):
        return {ONE: tree} if tree else {}
    if isinstance(tree, str):
        return {Term(1, 0, 0) if tree == "h" else Term(0, 1, 0): 1.0}
    name, *operands = tree
    parts = [powers_of(operand) for operand in operands]
    known = [part for part in parts if part is not None]
    return _kept(RULES[name](*known)) if len(known) == len(parts) and name in RULES else None


def _kept(found: Sum | None) -> Sum | None:
    if found is None:
        return None
    kept = {term: c for term, c in found.items() if c != 0}
    fits = len(kept) <= MOST_TERMS and all(
        abs(term.h) <= LARGEST_POWER and term.y <= MOST_LABELS and abs(c) <= LARGEST_NUMBER for term, c in kept.items()
    )
    return kept if fits else None


def _plus(a: Sum, b: Sum) -> Sum:
    return {term: a.get(term, 0.0) + b.get(term, 0.0) for term in {**a, **b}}


def _times(a: Sum, b: Sum) -> Sum | None:
    found: Sum = {}
    for one, c in a.items():
        for other, d in b.items():
            term = Term(one.h + other.h, one.y + other.y, one.log + other.log)
            if term.log > 1:
                return None
            found[term] = found.get(term, 0.0) + c * d
    return found


def _one_power(a: Sum) -> tuple[float, float] | None:
    """C and i of ``c h^i``; None for all else."""
    if len(a) != 1:
        return None
    ((term, c),) = a.items()
    return (c, term.h) if term.y == 0 and term.log == 0 else None


def _over(a: Sum, b: Sum) -> Sum | None:
    single = _one_power(b)
    if single is None or abs(single[0]) < 1e-12:
        return None
    c, i = single
    return _times(a, {Term(-i, 0, 0): 1 / c})


def _logarithm(a: Sum) -> Sum | None:
    single = _one_power(a)
    if single is None or single[0] < 1e-12:
        return None
    c, i = single
    return {ONE: math.log(c), Term(0, 0, 1): i}


def _root(a: Sum) -> Sum | None:
    single = _one_power(a)
    if single is None or single[0] < 1e-12:
        return None
    return {Term(single[1] / 2, 0, 0): math.sqrt(single[0])}


def _exponential(a: Sum) -> Sum | None:
    """``exp(b + a log h) = e^b h^a``."""
    if not a.keys() <= {ONE, Term(0, 0, 1)} or abs(a.get(ONE, 0.0)) > 20:
        return None
    return {Term(a.get(Term(0, 0, 1), 0.0), 0, 0): math.exp(a.get(ONE, 0.0))}


RULES: dict[str, Callable[..., Sum | None]] = {
    "+": _plus,
    "-": lambda a, b: _plus(a, {term: -c for term, c in b.items()}),
    "*": _times,
    "/": _over,
    "neg": lambda a: {term: -c for term, c in a.items()},
    "log": _logarithm,
    "square": lambda a: _times(a, a),
    "sqrt": _root,
    "exp": _exponential,
}
SQUARE: Tree = ("square", "h")
WHOLE_POWERS: tuple[Tree, ...] = (1.0, "h", SQUARE, ("*", "h", SQUARE), ("square", SQUARE))


def tree_of_terms(terms: Sum) -> Tree | None:
    """The tree of a sum of powers; None where it is empty."""
    parts: list[Tree] = [_product(term, c) for term, c in terms.items() if c != 0]
    if not parts:
        return None
    # Added in pairs, so that the tree stays shallow.
    while len(parts) > 1:
        pairs: list[Tree] = [("+", *parts[at : at + 2]) for at in range(0, len(parts) - 1, 2)]
        parts = [*pairs, *parts[2 * len(pairs) :]]
    return simplified(parts[0])


def _product(term: Term, c: float) -> Tree:
    """``c h^i y^j (log h)^l``."""
    factors: list[Tree] = [c]
    if term.h == int(term.h) and abs(term.h) < len(WHOLE_POWERS):
        whole = WHOLE_POWERS[abs(int(term.h))]
        if term.h > 0:
            factors.append(whole)
        elif term.h < 0:
            factors.append(("/", 1.0, whole))
    else:
        factors.append(("exp", ("*", term.h, ("log", "h"))))
    factors += ["y"] * term.y + [("log", "h")] * term.log
    tree = factors[0]
    for factor in factors[1:]:
        tree = ("*", tree, factor)
    return tree
