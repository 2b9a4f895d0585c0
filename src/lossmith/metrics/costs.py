"""The expected cost of decisions, by a matrix of what each answer costs where each class is true."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lossmith.errors import InputError, brief

Costs = tuple[tuple[float, ...], ...]
LARGEST = 1000


def checked_costs(rows: Sequence[Sequence[float]]) -> Costs:
    """A matrix of costs as tuples: row c holds what each answer costs where class c is true.

    Raises:
        InputError: if it is not square, of fewer than 2 classes or too many, has a number that is negative or not
            finite, or none above 0.
    """
    size = len(rows)
    if not 2 <= size <= LARGEST:
        raise InputError(f"costs of {size} classes cannot be used; give a row for each class, 2 to {LARGEST} of them")
    for place, row in enumerate(rows):
        if len(row) != size:
            raise InputError(
                f"row {place} of the costs has {len(row)} numbers, but there are {size} rows; give a square matrix, in "
                "row c what each answer costs where class c is true"
            )
        for value in row:
            if not math.isfinite(value) or value < 0:
                raise InputError(f"row {place} of the costs holds {brief(value)}; give finite numbers from 0 up")
    found = tuple(tuple(map(float, row)) for row in rows)
    if not any(map(any, found)):
        raise InputError("all costs are 0, so that no answer is better than another; give costs of wrong answers")
    return found


def check_classes(costs: Costs, classes: int) -> None:
    """See that costs are of as many classes as the data has.

    Raises:
        InputError: if they are not.
    """
    if len(costs) != classes:
        raise InputError(
            f"the costs are of {len(costs)} classes, but the data has {classes}; give a row and a column for each class"
        )


def expected_cost(logits: Tensor, targets: Tensor, costs: Costs | None = None) -> Tensor:
    """Mean cost ``[P]`` of the decisions that softmax outputs p lead to: the answer j with the least ``Σ_i p_i c_ij``.

    Among equal answers it is the first. Without costs every wrong answer costs 1, and the decision is the argmax.

    Args:
        logits: ``[P, N, K]``.
        targets: Class indices ``[N]``.
        costs: ``c[i][j]``: what answer j costs where class i is true.

    Raises:
        InputError: if the costs are of another number of classes.
    """
    classes = logits.shape[-1]
    if costs is None:
        return (logits.argmax(-1) != targets).double().mean(-1)
    check_classes(costs, classes)
    matrix = torch.tensor(costs, dtype=torch.float64, device=logits.device)
    decisions = (logits.double().softmax(-1) @ matrix).argmin(-1)
    return matrix[targets.expand_as(decisions), decisions].mean(-1)
