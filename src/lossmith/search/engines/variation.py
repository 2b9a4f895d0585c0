"""How trees are drawn and varied: growth, crossover and mutation, from a random generator alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from lossmith.losses.expressions import OPERATORS, Tree, depth

# The weights of what a node becomes: log, h and y often, as in GLO; what seldom trains, seldom.
UNARY = {"log": 3.0, "square": 1.0, "sqrt": 2.0, "neg": 1.0, "tanh": 1.0, "exp": 0.5}
BINARY = {"+": 1.0, "-": 1.0, "*": 1.5, "/": 0.75}
Place = tuple[int, ...]
"""A node by the numbers of the operands that lead to it."""


def grown(source: random.Random, most: int, full: bool = False) -> Tree:
    """A random tree, at most so deep.

    Args:
        source: Of what is random.
        most: The largest depth.
        full: Whether every branch is so deep.
    """
    if most == 0 or (not full and source.random() < 0.3):
        return leaf(source)
    if source.random() < 0.4:
        return (_one_of(source, UNARY), grown(source, most - 1, full))
    return (_one_of(source, BINARY), grown(source, most - 1, full), grown(source, most - 1, full))


def leaf(source: random.Random) -> Tree:
    """h, y, or a number."""
    kind = source.choices(("h", "y", "number"), (3.0, 3.0, 2.0))[0]
    return round(source.gauss(0.0, 2.0), 3) + 0.0 if kind == "number" else kind


def crossed(source: random.Random, one: Tree, other: Tree, most: int) -> Tree:
    """A tree with one of its subtrees replaced by one of another tree; itself where that would be too deep."""
    at = source.choice(list(places(one)))
    fitting = [part for _, part in places(other).items() if len(at) + depth(part) <= most]
    return replaced(one, at, source.choice(fitting)) if fitting else one


def mutated(source: random.Random, tree: Tree, most: int) -> Tree:
    """A tree with one change: a number moved, a node exchanged, a part cut, hoisted, grown, or weighted."""
    found = source.choice(MUTATIONS)(source, tree, most)
    return found if depth(found) <= most else tree


def places(tree: Tree, above: Place = ()) -> dict[Place, Tree]:
    """Every subtree by its place."""
    found: dict[Place, Tree] = {above: tree}
    if isinstance(tree, tuple):
        for number, operand in enumerate(tree[1:]):
            found |= places(operand, (*above, number))
    return found


def replaced(tree: Tree, at: Place, part: Tree) -> Tree:
    """A tree with another subtree at a place."""
    if not at:
        return part
    assert isinstance(tree, tuple)
    operands = list(tree[1:])
    operands[at[0]] = replaced(operands[at[0]], at[1:], part)
    return (tree[0], *operands)


def numbers(tree: Tree) -> list[float]:
    """The numbers of a tree, from left to right."""
    return list(_numbers(tree))


def with_numbers(tree: Tree, values: list[float]) -> Tree:
    """A tree with other numbers, from left to right."""
    left = iter(values)

    def changed(node: Tree) -> Tree:
        if isinstance(node, tuple):
            return (node[0], *map(changed, node[1:]))
        return next(left) if isinstance(node, float) else node

    return changed(tree)


def weighted(tree: Tree) -> Tree:
    """The same φ with a factor before each operand of a sum, and before the whole, where there is no number."""
    if isinstance(tree, tuple) and tree[0] in ("+", "-"):
        return (tree[0], *map(weighted, tree[1:]))
    if isinstance(tree, float) or (isinstance(tree, tuple) and tree[0] == "*" and isinstance(tree[1], float)):
        return tree
    return ("*", 1.0, tree)


def _numbers(tree: Tree) -> Iterator[float]:
    if isinstance(tree, tuple):
        for operand in tree[1:]:
            yield from _numbers(operand)
    elif isinstance(tree, float):
        yield tree


def _one_of(source: random.Random, weights: dict[str, float]) -> str:
    return source.choices(list(weights), list(weights.values()))[0]


def _moved(source: random.Random, tree: Tree, most: int) -> Tree:
    """A number changed a little; where there is none, a part gets a factor."""
    found = [at for at, part in places(tree).items() if isinstance(part, float)]
    if not found:
        return _factored(source, tree, most)
    at = source.choice(found)
    old = places(tree)[at]
    assert isinstance(old, float)
    return replaced(tree, at, round(old * source.uniform(0.5, 1.5) + source.gauss(0.0, 0.2), 3) + 0.0)


def _exchanged(source: random.Random, tree: Tree, _: int) -> Tree:
    """Another operator with the same operands, or another leaf."""
    at, part = source.choice(list(places(tree).items()))
    if not isinstance(part, tuple):
        return replaced(tree, at, leaf(source))
    same = UNARY if OPERATORS[part[0]].operands == 1 else BINARY
    return replaced(tree, at, (_one_of(source, same), *part[1:]))


def _cut(source: random.Random, tree: Tree, _: int) -> Tree:
    """A leaf in the place of a part."""
    at = source.choice(list(places(tree)))
    return replaced(tree, at, leaf(source))


def _hoisted(source: random.Random, tree: Tree, _: int) -> Tree:
    """A part in the place of what it is a part of."""
    at, part = source.choice(list(places(tree).items()))
    return replaced(tree, at, source.choice(list(places(part).values())))


def _enlarged(source: random.Random, tree: Tree, most: int) -> Tree:
    """A new part: combined with an old one."""
    at, part = source.choice(list(places(tree).items()))
    new = grown(source, max(0, min(2, most - len(at) - 1)))
    pair = (part, new) if source.random() < 0.5 else (new, part)
    return replaced(tree, at, (_one_of(source, BINARY), *pair))


def _factored(source: random.Random, tree: Tree, _: int) -> Tree:
    """A number before a part."""
    at, part = source.choice(list(places(tree).items()))
    return replaced(tree, at, ("*", round(source.gauss(0.0, 2.0), 3) + 0.0, part))


MUTATIONS: tuple[Callable[[random.Random, Tree, int], Tree], ...] = (
    _moved,
    _exchanged,
    _cut,
    _hoisted,
    _enlarged,
    _factored,
)
