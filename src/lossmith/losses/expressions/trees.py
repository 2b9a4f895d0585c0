"""Formulas of the output h and the label y as trees: leaves ``"h"``, ``"y"`` and numbers, nodes ``("log", "h")``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from lossmith.errors import InputError, brief
from lossmith.losses.expressions.operators import OPERATORS

Tree: TypeAlias = "float | str | tuple[Any, ...]"
"""A leaf, or an operator's name with one tree for each operand."""
LEAVES = ("h", "y")
# What a file or a text may hold; a search has limits of its own.
MOST_NODES, MOST_DEPTH, LARGEST_NUMBER = 256, 64, 1e30


def nodes(tree: Tree) -> Iterator[Tree]:
    """The tree and all trees in it, each before its operands."""
    left = [tree]
    while left:
        one = left.pop()
        yield one
        if isinstance(one, tuple):
            left += reversed(one[1:])


def size(tree: Tree) -> int:
    """How many leaves and operators it has."""
    return sum(1 for _ in nodes(tree))


def depth(tree: Tree) -> int:
    """The number of operators from its root to its farthest leaf; 0 for a leaf."""
    return 1 + max(map(depth, tree[1:])) if isinstance(tree, tuple) else 0


def uses(tree: Tree, leaf: str) -> bool:
    """Whether a leaf is in it."""
    return any(one == leaf for one in nodes(tree) if isinstance(one, str))


def tree_of(document: Any) -> Tree:
    """The tree of lists, as a file holds it: ``["*", ["log", "h"], 0.5]``.

    Raises:
        InputError: if there is no such operator, it has another number of operands, a number is not finite, or the
            tree is too large or holds no h.
    """
    left, count = [(document, 0)], 0
    while left:
        one, above = left.pop()
        count += 1
        if count > MOST_NODES or above > MOST_DEPTH:
            raise InputError(
                f"the tree of the loss has more than {MOST_NODES} nodes, or is more than {MOST_DEPTH} deep; give a "
                "smaller one"
            )
        if isinstance(one, list | tuple):
            left += [(operand, above + 1) for operand in _operands(one)]
        elif isinstance(one, str):
            if one not in LEAVES:
                raise InputError(f"the tree of the loss has the leaf {brief(one)}; leaves are h, y and numbers")
        elif isinstance(one, bool) or not isinstance(one, int | float) or not abs(one) <= LARGEST_NUMBER:
            raise InputError(
                f"the tree of the loss has the leaf {brief(one)}; leaves are h, y and numbers of {LARGEST_NUMBER:g} at "
                "most"
            )
    tree = _built(document)
    if not uses(tree, "h"):
        raise InputError("the tree of the loss holds no h, the output, so nothing would learn from it; give one with h")
    return tree


def json_of(tree: Tree) -> Any:
    """The tree as lists, from which :func:`tree_of` builds it."""
    return [tree[0], *map(json_of, tree[1:])] if isinstance(tree, tuple) else tree


def _operands(node: list[Any] | tuple[Any, ...]) -> list[Any]:
    name = node[0] if node else None
    if not isinstance(name, str) or name not in OPERATORS:
        raise InputError(f"the tree of the loss has the operator {brief(name)}; there are {', '.join(OPERATORS)}")
    if len(node) - 1 != OPERATORS[name].operands:
        raise InputError(
            f"the operator {name} of the tree of the loss has {len(node) - 1} operands; it takes "
            f"{OPERATORS[name].operands}"
        )
    return list(node[1:])


def _built(document: Any) -> Tree:
    if isinstance(document, list | tuple):
        return (document[0], *map(_built, document[1:]))
    # A zero has one sign, so that equal trees are equal texts.
    return document if isinstance(document, str) else float(document) + 0.0
