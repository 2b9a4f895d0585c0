"""The canonical form of a formula: what is the same by the rules of arithmetic becomes the same tree."""

from __future__ import annotations

from collections.abc import Callable

import torch

from lossmith.losses.expressions.operators import OPERATORS
from lossmith.losses.expressions.trees import LARGEST_NUMBER, Tree

Rule = Callable[[tuple[Tree, ...]], "Tree | None"]
MOST_ROUNDS = 1000


def simplified(tree: Tree) -> Tree:
    """A tree of the same φ that is no larger, but where the logarithm of a product becomes a sum of logarithms.

    Numbers are computed; 0 and 1 vanish where they do nothing; signs move outwards; operands of + and × are in a fixed
    order, numbers first. The result of a simplified tree is itself. Where a guard acts, the two may differ: a loss is
    guarded as it is written here.
    """
    if not isinstance(tree, tuple):
        return tree
    now: Tree = (tree[0], *map(simplified, tree[1:]))
    for _ in range(MOST_ROUNDS):
        if not isinstance(now, tuple):
            return now
        new = _once(now)
        if new is None:
            return now
        now = new
    return now


def _once(tree: tuple[Tree, ...]) -> Tree | None:
    """The tree after one rule at its root; None where no rule applies."""
    name, *operands = tree
    if all(isinstance(one, float) for one in operands):
        return _computed(str(name), operands)  # type: ignore[arg-type]
    return RULES[str(name)](tuple(operands)) if name in RULES else None


def _computed(name: str, numbers: list[float]) -> Tree | None:
    """What an operator makes of numbers."""
    values = [torch.tensor(number, dtype=torch.float64) for number in numbers]
    found = float(OPERATORS[name].value(*values)) + 0.0
    return max(-LARGEST_NUMBER, min(LARGEST_NUMBER, found))


def _is(tree: Tree, name: str) -> bool:
    return isinstance(tree, tuple) and tree[0] == name


def _inside(tree: Tree) -> Tree:
    assert isinstance(tree, tuple)
    inside: Tree = tree[1]
    return inside


def _order(tree: Tree) -> tuple[int, str]:
    """Numbers come first, then leaves, then all else."""
    return (0 if isinstance(tree, float) else 1 if isinstance(tree, str) else 2, repr(tree))


def _sum(operands: tuple[Tree, ...]) -> Tree | None:
    a, b = operands
    if a == 0:
        return b
    if b == 0:
        return a
    if _is(b, "neg"):
        return simplified(("-", a, _inside(b)))
    if _is(a, "neg"):
        return simplified(("-", b, _inside(a)))
    if a == b:
        return simplified(("*", 2.0, a))
    return ("+", b, a) if _order(b) < _order(a) else None


def _difference(operands: tuple[Tree, ...]) -> Tree | None:
    a, b = operands
    if b == 0:
        return a
    if a == 0:
        return simplified(("neg", b))
    if a == b:
        return 0.0
    if _is(b, "neg"):
        return simplified(("+", a, _inside(b)))
    if _is(a, "neg"):
        return simplified(("neg", ("+", _inside(a), b)))
    return simplified(("+", -b, a)) if isinstance(b, float) else None


def _product(operands: tuple[Tree, ...]) -> Tree | None:
    a, b = operands
    if a == 0 or b == 0:
        return 0.0
    for one, other in ((a, b), (b, a)):
        if one == 1:
            return other
        if one == -1:
            return simplified(("neg", other))
        if _is(one, "neg"):
            inside = _inside(one)
            return simplified(("*", -other, inside) if isinstance(other, float) else ("neg", ("*", inside, other)))
    if isinstance(a, float) and _is(b, "*") and isinstance(_inside(b), float):
        assert isinstance(b, tuple)
        return simplified(("*", ("*", a, b[1]), b[2]))
    if a == b:
        return simplified(("square", a))
    return ("*", b, a) if _order(b) < _order(a) else None


def _quotient(operands: tuple[Tree, ...]) -> Tree | None:
    a, b = operands
    if a == 0:
        return 0.0
    if b == 1:
        return a
    if _is(a, "neg"):
        return simplified(("neg", ("/", _inside(a), b)))
    if _is(b, "neg"):
        return simplified(("neg", ("/", a, _inside(b))))
    return simplified(("*", 1 / b, a)) if isinstance(b, float) and 1e-6 <= abs(b) <= 1e6 else None


def _opposite(operands: tuple[Tree, ...]) -> Tree | None:
    (a,) = operands
    if _is(a, "neg"):
        return _inside(a)
    if _is(a, "-"):
        assert isinstance(a, tuple)
        return simplified(("-", a[2], a[1]))
    if _is(a, "*") and isinstance(_inside(a), float):
        assert isinstance(a, tuple)
        return simplified(("*", -a[1], a[2]))
    return None


def _logarithm(operands: tuple[Tree, ...]) -> Tree | None:
    """Of products, quotients and powers by sums, so that nothing is lost where h underflows."""
    (a,) = operands
    if not isinstance(a, tuple):
        return None
    name, *inner = a
    if name == "neg":
        return simplified(("log", inner[0]))
    if name == "exp":
        return _inside(a)
    if name in ("square", "sqrt"):
        return simplified(("*", 2.0 if name == "square" else 0.5, ("log", inner[0])))
    if name in ("*", "/"):
        return simplified(("+" if name == "*" else "-", ("log", inner[0]), ("log", inner[1])))
    return None


def _even(operands: tuple[Tree, ...]) -> Tree | None:
    """The square, which a sign inside does not change."""
    (a,) = operands
    if _is(a, "neg"):
        return simplified(("square", _inside(a)))
    return "h" if a == ("sqrt", "h") else None


def _root(operands: tuple[Tree, ...]) -> Tree | None:
    (a,) = operands
    if _is(a, "neg"):
        return simplified(("sqrt", _inside(a)))
    return "h" if a == ("square", "h") else None


def _odd(operands: tuple[Tree, ...]) -> Tree | None:
    (a,) = operands
    return simplified(("neg", ("tanh", _inside(a)))) if _is(a, "neg") else None


RULES: dict[str, Rule] = {
    "+": _sum,
    "-": _difference,
    "*": _product,
    "/": _quotient,
    "neg": _opposite,
    "log": _logarithm,
    "square": _even,
    "sqrt": _root,
    "tanh": _odd,
}
