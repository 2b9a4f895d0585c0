"""Formulas as Python source: φ and its slope together, with the guards of the operators."""

from __future__ import annotations

import textwrap
from string import Template

from lossmith.errors import InputError
from lossmith.losses.expressions import Tree, nodes
from lossmith.losses.expressions.operators import BOUND, LARGEST_EXPONENT, SMALLEST
from lossmith.losses.expressions.programs import FARTHEST, GAP, LOG, NO_SLOPE, edge_of

CONSTANTS = {
    "bound": repr(BOUND),
    "smallest": repr(SMALLEST),
    "exponent": repr(LARGEST_EXPONENT),
    "farthest": repr(FARTHEST),
    "nothing": repr(NO_SLOPE),
}
# Each takes values with their slopes h d/dh, as pairs, and gives such a pair.
OPERATIONS = {
    "+": ("plus", "a, b", "    return a[0] + b[0], a[1] + b[1]"),
    "-": ("minus", "a, b", "    return a[0] - b[0], a[1] - b[1]"),
    "*": (
        "times",
        "a, b",
        """    value = $prefix.clip(a[0] * b[0], -$bound, $bound)
    slope = $prefix.clip(a[1] * b[0], -$bound, $bound) + $prefix.clip(b[1] * a[0], -$bound, $bound)
    return value, $prefix.where($prefix.abs(value) < $bound, slope, 0.0)""",
    ),
    "/": (
        "over",
        "a, b",
        """    near = $prefix.abs(b[0]) < $smallest
    none = $prefix.zeros_like(b[0])
    by = $prefix.where(near, $prefix.where(b[0] < 0, none - $smallest, none + $smallest), b[0])
    value = $prefix.clip(a[0] / by, -$bound, $bound)
    lower = $prefix.clip(value * ($prefix.where(near, 0.0, b[1]) / by), -$bound, $bound)
    slope = $prefix.clip(a[1] / by, -$bound, $bound) - lower
    return value, $prefix.where($prefix.abs(value) < $bound, slope, 0.0)""",
    ),
    "neg": ("negative", "a", "    return -a[0], -a[1]"),
    "log": (
        "logarithm",
        "a",
        """    there = $prefix.abs(a[0]) > $smallest
    slope = $prefix.clip(a[1] / $prefix.where(there, a[0], 1.0), -$bound, $bound)
    return $prefix.log($prefix.clip($prefix.abs(a[0]), $smallest, None)), $prefix.where(there, slope, 0.0)""",
    ),
    "square": (
        "square",
        "a",
        """    value = $prefix.clip(a[0] * a[0], None, $bound)
    slope = $prefix.clip(2 * a[0] * a[1], -$bound, $bound)
    return value, $prefix.where(value < $bound, slope, 0.0)""",
    ),
    "sqrt": (
        "root",
        "a",
        """    value = $prefix.sqrt($prefix.clip($prefix.abs(a[0]), $smallest, None))
    slope = $prefix.clip($prefix.sign(a[0]) * a[1] / (2 * value), -$bound, $bound)
    return value, $prefix.where($prefix.abs(a[0]) > $smallest, slope, 0.0)""",
    ),
    "exp": (
        "exponential",
        "a",
        """    value = $prefix.exp($prefix.clip(a[0], None, $exponent))
    return value, $prefix.where(a[0] < $exponent, $prefix.clip(value * a[1], -$bound, $bound), 0.0)""",
    ),
    "tanh": ("tanh", "a", "    value = $prefix.tanh(a[0])\n    return value, (1 - value * value) * a[1]"),
}
FUNCTION = Template("""

def $name($operands):
$body
""")
FORMULA = Template('''

def formula(x, y):
    """phi and its slope h d/dh phi at x = log h."""
    h, none = $prefix.exp(x), $prefix.zeros_like(x)
    one, y = $prefix.ones_like(x), (y + none, none)
    return (
        $formula
    )


def phi(x, y):
    """phi at x = log h."""
    $phi
''')
# What grows as h vanishes goes on along its tangent there.
CONTINUED = """low = $prefix.clip(x, $edge, None)
    value, slope = formula(low, y)
    slope = $prefix.where((x < low) & ($prefix.abs(slope) < $nothing), 0.0, slope)
    beyond = $prefix.clip(x, $farthest, None) - $prefix.clip(low, $farthest, None)
    return $prefix.clip(value + slope * beyond, -$bound, $bound)"""
PLAIN = "return $prefix.clip(formula(x, y)[0], -$bound, $bound)"


def tree_source(tree: Tree | None, prefix: str, name: str, to: str) -> str:
    """The functions that evaluate a formula, of which ``phi(x, y)`` is the last.

    Args:
        tree: The formula; None, of which there is nothing to be written.
        prefix: Of the functions of the library.
        name: Of the loss, for messages.
        to: What is exported to, for messages.

    Raises:
        InputError: if it has an operator that is not exported.
    """
    if tree is None:
        return ""
    used = {node[0] for node in nodes(tree) if isinstance(node, tuple)}
    unknown = sorted(used - OPERATIONS.keys())
    if unknown:
        raise InputError(
            f"the loss {name!r} cannot be exported to {to}: nothing is known of the operator {unknown[0]} there; use "
            "it by lossmith.Criterion"
        )
    written = "".join(
        FUNCTION.substitute(name=called, operands=operands, body=body)
        for sign, (called, operands, body) in OPERATIONS.items()
        if sign in used
    )
    edge = edge_of(tree)
    phi = PLAIN if edge is None else CONTINUED
    whole = written + FORMULA.safe_substitute(formula=_wrapped(_called(tree, prefix)), phi=phi)
    return Template(whole).substitute(CONSTANTS, prefix=prefix, edge=repr(edge))


def _called(tree: Tree, prefix: str) -> str:
    """A tree as nested calls; every number with all its digits."""
    if isinstance(tree, str):
        return "(h, h)" if tree == "h" else "y"
    if not isinstance(tree, tuple):
        return f"({tree!r} * one, none)"
    if tree == LOG:
        return "(x, one)"
    if tree == GAP:
        return f"(-{prefix}.expm1(x), -h)"
    name = OPERATIONS[tree[0]][0]
    return f"{name}({', '.join(_called(operand, prefix) for operand in tree[1:])})"


def _wrapped(text: str) -> str:
    """A long expression in lines, broken at blanks."""
    return textwrap.fill(text, 110, subsequent_indent=" " * 8, break_long_words=False, break_on_hyphens=False)
