"""Losses that are formulas of any form."""

from lossmith.losses.expressions.grammar import parse, text_of
from lossmith.losses.expressions.loss import Expression, expression, name_of, trees_of
from lossmith.losses.expressions.operators import OPERATORS, Operator
from lossmith.losses.expressions.simplify import simplified
from lossmith.losses.expressions.trees import Tree, depth, json_of, nodes, size, tree_of, uses
from lossmith.losses.expressions.typeset import latex_of

__all__ = [
    "OPERATORS",
    "Expression",
    "Operator",
    "Tree",
    "depth",
    "expression",
    "json_of",
    "latex_of",
    "name_of",
    "nodes",
    "parse",
    "simplified",
    "size",
    "text_of",
    "tree_of",
    "trees_of",
    "uses",
]
