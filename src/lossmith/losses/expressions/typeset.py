"""Formulas in LaTeX."""

from __future__ import annotations

from collections.abc import Callable

from lossmith.losses.expressions.trees import Tree

ADDED, MULTIPLIED, ATOM = 1, 2, 3
FUNCTIONS = {"log": r"\log", "exp": r"\exp", "tanh": r"\tanh"}


def latex_of(tree: Tree, number: Callable[[float], str], index: str = "") -> str:
    """A tree in LaTeX.

    Args:
        tree: The tree.
        number: How numbers are written.
        index: What h and y get, such as ``"_k"``.
    """
    return _written(tree, number, index)[0]


def _written(tree: Tree, number: Callable[[float], str], index: str) -> tuple[str, int]:
    """The text of a tree, and how tightly it holds together."""
    if isinstance(tree, str):
        return f"{tree}{index}", ATOM
    if not isinstance(tree, tuple):
        return number(tree), ADDED if tree < 0 else ATOM
    name, *operands = tree
    parts = [_written(operand, number, index) for operand in operands]

    def inner(place: int, least: int) -> str:
        text, tight = parts[place]
        return text if tight >= least else rf"\left({text}\right)"

    if name == "/":
        return rf"\frac{{{parts[0][0]}}}{{{parts[1][0]}}}", ATOM
    if name == "sqrt":
        return rf"\sqrt{{{parts[0][0]}}}", ATOM
    if name == "square":
        return f"{inner(0, ATOM)}^{{2}}", MULTIPLIED
    if name == "neg":
        return f"-{inner(0, MULTIPLIED)}", ADDED
    if name in ("+", "-"):
        return f"{inner(0, ADDED)} {name} {inner(1, MULTIPLIED)}", ADDED
    if name == "*":
        second = inner(1, MULTIPLIED)
        # Two numbers beside each other would be one.
        sign = r"\cdot " if second[0].isdigit() else ""
        return f"{inner(0, MULTIPLIED)} {sign}{second}", MULTIPLIED
    called = FUNCTIONS.get(name, rf"\operatorname{{{name}}}")
    return rf"{called}\left({parts[0][0]}\right)", ATOM
