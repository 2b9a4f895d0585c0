"""Formulas of a population as one program: equal operators of all members, at equal height, are one operation.

The networks of a population have outputs of their own, so nothing is shared between members; but what a step costs on
small networks is the number of operations, not the numbers in them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lossmith.losses import powers
from lossmith.losses.expressions.operators import BOUND, OPERATORS, Slope
from lossmith.losses.expressions.trees import Tree, nodes, uses

# Where something is divided by a function of h, or the logarithm of one is taken, φ goes on along its tangent in log h
# below the first of these at which its slope is no larger than that, and stays at the last value below the farthest: a
# masked class has a log output of −1e18.
EDGES, STEEPEST, FARTHEST = tuple(-40.0 / power for power in range(1, 9)), 1e19, -1e5
# What a divisor, or the operand of a logarithm or root, must be beyond there.
LEAST = 1e-28
# A slope there that is rounding: h itself has 4e-18.
NO_SLOPE = 1e-14
GAP: Tree = ("-", 1.0, "h")
LOG: Tree = ("log", "h")


@dataclass(frozen=True)
class Slot:
    """An operand of some nodes: numbers, the label, or other nodes.

    Args:
        kind: ``"number"``, ``"y"`` or ``"node"``.
        numbers: One for each node.
        places: Which node of the program, or whose label.
    """

    kind: str
    numbers: tuple[float, ...]
    places: tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """Some nodes with one operator, which become the next nodes of the program.

    Args:
        name: The operator; ``"h"``, ``"log h"`` and ``"1 - h"`` begin.
        slots: Its operands.
        members: Whose nodes these are.
        moves: Whether they depend on h.
    """

    name: str
    slots: tuple[Slot, ...]
    members: tuple[int, ...]
    moves: bool


class Program:
    """φ of some trees, and its slope θφ.

    Args:
        trees: One for each member.
        continued: Whether what grows where h vanishes goes on along its tangent there.
    """

    def __init__(self, trees: Sequence[Tree], continued: bool = True) -> None:
        edges = [edge_of(tree) for tree in trees] if continued else [None] * len(trees)
        self.edges = [powers.LOWEST_LOG if one is None else one for one in edges]
        self.edged = any(one is not None for one in edges)
        self.steps: list[Step] = []
        self._places: dict[tuple[int, Tree], int] = {}
        heights = [_heights(tree) for tree in trees]
        for height in range(max(max(found.values()) for found in heights) + 1):
            self._add_level(
                [(m, node) for m, found in enumerate(heights) for node, at in found.items() if at == height]
            )
        self.roots = [self._places[m, tree] for m, tree in enumerate(trees)]

    def _add_level(self, wanted: Sequence[tuple[int, Tree]]) -> None:
        groups: dict[tuple[Any, ...], list[tuple[int, Tree]]] = {}
        for m, node in wanted:
            groups.setdefault(_group(node), []).append((m, node))
        for (name, *_), found in groups.items():
            operands = [node[1:] if isinstance(node, tuple) and name not in LEAVES else () for _, node in found]
            members = tuple(m for m, _ in found)
            slots = tuple(self._slot(members, column) for column in zip(*operands, strict=True))
            self.steps.append(Step(name, slots, members, any(_moves(node) for _, node in found)))
            for key in found:
                self._places[key] = len(self._places)

    def _slot(self, members: Sequence[int], operands: Sequence[Tree]) -> Slot:
        first = operands[0]
        if isinstance(first, float):
            return Slot("number", tuple(float(one) for one in operands), ())  # type: ignore[arg-type]
        if first == "y":
            return Slot("y", (), tuple(members))
        return Slot("node", (), tuple(self._places[m, one] for m, one in zip(members, operands, strict=True)))

    def run(self, log_h: Tensor, y: Tensor, slope: bool) -> tuple[Tensor, Tensor | None]:
        """φ and its slope.

        Args:
            log_h: ``[P, …]``, the same dimensions for every member.
            y: The same shape.
            slope: Whether that is wanted.

        Returns:
            φ and, if it is wanted, θφ, ``[P, …]``.
        """
        edged, x = self.edged, log_h
        if edged:
            edges = torch.tensor(self.edges, dtype=log_h.dtype, device=log_h.device)
            x = torch.maximum(log_h, edges.reshape(-1, *(1,) * (log_h.ndim - 1)))
        values: list[Tensor] = []
        slopes: list[Slope] = []
        wanted = slope or edged
        for step in self.steps:
            value, moved = self._done(step, x, y, values, slopes, wanted)
            values += value.unbind(0)
            slopes += [None] * len(step.members) if moved is None else moved.unbind(0)
        phi = torch.stack([values[place] for place in self.roots])
        if not wanted:
            return phi.clamp(-BOUND, BOUND), None
        ends = [slopes[place] for place in self.roots]
        g = torch.stack([torch.zeros_like(phi[0]) if one is None else one for one in ends])
        if edged:
            beyond = log_h < x
            g = torch.where(beyond & (g.abs() < NO_SLOPE), 0.0, g)
            phi = phi + g * (log_h.clamp(min=FARTHEST) - x.clamp(min=FARTHEST))
        return phi.clamp(-BOUND, BOUND), g.clamp(-BOUND, BOUND) if slope else None

    @staticmethod
    def _done(
        step: Step, x: Tensor, y: Tensor, values: Sequence[Tensor], slopes: Sequence[Slope], wanted: bool
    ) -> tuple[Tensor, Slope]:
        """Values and slopes of the nodes of a step, ``[G, …]``."""
        if step.name in LEAVES:
            return LEAVES[step.name](_rows(x, step.members))
        given: list[Tensor] = []
        moving: list[Slope] = []
        for slot in step.slots:
            if slot.kind == "number":
                numbers = torch.tensor(slot.numbers, dtype=torch.float64)
                given.append(numbers.to(x).reshape(-1, *(1,) * (x.ndim - 1)))
                moving.append(None)
            elif slot.kind == "y":
                given.append(_rows(y, slot.places))
                moving.append(None)
            else:
                given.append(_stacked([values[place] for place in slot.places]))
                own = [slopes[place] for place in slot.places]
                moving.append(None if own[0] is None else _stacked([one for one in own if one is not None]))
        operator = OPERATORS[step.name]
        value = operator.value(*given)
        if not step.moves or not wanted:
            return value.expand(len(step.members), *x.shape[1:]), None
        return value, operator.slope(value, *given, *moving)


def _h(x: Tensor) -> tuple[Tensor, Slope]:
    h = x.exp()
    return h, h


def _log_h(x: Tensor) -> tuple[Tensor, Slope]:
    return x, torch.ones_like(x)


def _gap(x: Tensor) -> tuple[Tensor, Slope]:
    """``1 − h``, with the digits that the difference would lose."""
    return -powers.expm1(x), -x.exp()


LEAVES = {"h": _h, "log h": _log_h, "1 - h": _gap}


def _rows(x: Tensor, members: Sequence[int]) -> Tensor:
    """What some members have; a view where all have something once."""
    return x if list(members) == list(range(len(x))) else x[list(members)]


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    return parts[0][None] if len(parts) == 1 else torch.stack(list(parts))


def _special(node: Tree) -> str | None:
    """The name of what begins a program: h, log h, and 1 − h."""
    return "h" if node == "h" else "log h" if node == LOG else "1 - h" if node == GAP else None


def _heights(tree: Tree) -> dict[Tree, int]:
    """The height of each node that is computed: one above the highest of its operands."""
    found: dict[Tree, int] = {}

    def height(node: Tree) -> int:
        if node in found:
            return found[node]
        if isinstance(node, float) or node == "y":
            return 0
        if not isinstance(node, tuple) or _special(node) is not None:
            found[node] = 0
        else:
            found[node] = 1 + max(height(operand) for operand in node[1:])
        return found[node]

    height(tree)
    return found


@functools.lru_cache(maxsize=4096)
def _moves(tree: Tree) -> bool:
    return uses(tree, "h")


def _group(node: Tree) -> tuple[Any, ...]:
    """What nodes that are computed together have in common: the operator, and of each operand its kind."""
    special = _special(node)
    if special is not None:
        return (special,)
    assert isinstance(node, tuple)
    return (node[0], *(_kind(operand) for operand in node[1:]))


def _kind(operand: Tree) -> str:
    if isinstance(operand, float):
        return "number"
    return "y" if operand == "y" else "moving" if _moves(operand) else "still"


@functools.lru_cache(maxsize=4096)
def edge_of(tree: Tree) -> float | None:
    """The log output below which φ goes on along its tangent; None where it is φ everywhere."""
    if not any(_divides(one) for one in nodes(tree)):
        return None
    y = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    x = torch.tensor(EDGES, dtype=torch.float64)[:, None].expand(-1, len(y))
    value, slope = Program([tree], continued=False).run(x[None], y.expand_as(x)[None], slope=True)
    assert slope is not None
    mild = (slope[0].abs() <= STEEPEST) & (value[0].abs() < BOUND)
    for node in nodes(tree):
        if isinstance(node, tuple) and node[0] in ("/", "log", "sqrt") and node != LOG and _moves(node[-1]):
            inner = Program([node[-1]], continued=False).run(x[None], y.expand_as(x)[None], slope=False)[0][0].abs()
            # Where the guard acts on it, it no longer moves; a 0 is no vanishing output.
            mild &= (inner > LEAST) | (inner == 0)
    found = mild.all(-1).nonzero()
    return EDGES[int(found[0])] if len(found) else EDGES[-1]


def _divides(node: Tree) -> bool:
    """Whether something is divided by a function of h, or exp or the logarithm of one is taken."""
    if not isinstance(node, tuple) or node == LOG:
        return False
    return (node[0] == "/" and _moves(node[2])) or (node[0] in ("exp", "log") and _moves(node[1]))
