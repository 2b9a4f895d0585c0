"""The slope of a sum of powers as a table of numbers, for programs that know no tensors.

For class indices, with ``x = log h``, the slope of every output, and what the label's has besides, are each

    ``Σ_i p_i h^i + x Σ_i r_i h^i + Σ (a + b x) e^(i x) + Σ c (1 − h)^(k − 1) (1 − h − k h x)``

with i from 0 to 8 in the first two sums; where an i of the third is below 0, x is 40/i at least.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lossmith.losses.power import PowerLoss
from lossmith.losses.sums import LARGEST
from lossmith.losses.terms import INERT, AnyTerm, Near, Term

SUMS = 2 * (LARGEST + 1)
ROW = 4


def slope_table(losses: PowerLoss) -> Tensor:
    """The slopes of a population ``[P]``, ``[P, 2, W]`` in float64: of every output, and what the label's has besides.

    Each is ``p_0 … p_8, r_0 … r_8``, whether x is looked at, the number of rows, and the rows, of four numbers each,
    filled up by zeros: ``(i, a, b, 0)`` or ``(k, c, 0, 1)``. A member's numbers do not depend on the others.

    Args:
        losses: The population.
    """
    # In an order of their own: the last digit of a sum depends on it.
    order = sorted(range(len(losses.terms)), key=lambda place: losses.terms[place])
    terms, coefficients = tuple(losses.terms[place] for place in order), losses.coefficients[:, order].cpu()
    if losses.evaluated[0] == losses.terms and not any(_in_rows(term) for term in terms):
        return torch.stack([_side(terms, coefficients, tied) for tied in (False, True)], 1)
    known: dict[tuple[float, ...], Tensor] = {}
    for numbers in map(tuple, coefficients.tolist()):
        if numbers not in known:
            known[numbers] = _of_member(terms, numbers)
    wide = max(side.shape[-1] for side in known.values())
    rows = [torch.nn.functional.pad(side, (0, wide - side.shape[-1])) for side in known.values()]
    places = {numbers: place for place, numbers in enumerate(known)}
    return torch.stack(rows)[[places[tuple(numbers)] for numbers in coefficients.tolist()]]


def _of_member(terms: Sequence[Term], numbers: Sequence[float]) -> Tensor:
    """Both slopes of one member, ``[2, W]``."""
    acting = [(term, c) for term, c in zip(terms, numbers, strict=True) if c]
    alone = PowerLoss(tuple(term for term, _ in acting), torch.tensor([c for _, c in acting], dtype=torch.float64))
    evaluated, coefficients = alone.evaluated
    sides = [_side(evaluated, coefficients[None], tied)[0] for tied in (False, True)]
    wide = max(len(side) for side in sides)
    return torch.stack([torch.nn.functional.pad(side, (0, wide - len(side))) for side in sides])


def _in_rows(term: AnyTerm) -> bool:
    """Whether the slope of a term is more than powers of h from 0 to 8, with or without log h."""
    return isinstance(term, Near) or not 0 <= term.h <= LARGEST or term.h != int(term.h)


def _side(terms: Sequence[AnyTerm], coefficients: Tensor, tied: bool) -> Tensor:
    """The slope of every output or of the label's, ``[P, W]``."""
    sums = coefficients.new_zeros(len(coefficients), SUMS)
    powers, logs = sums.split(LARGEST + 1, 1)
    rows: dict[tuple[float, bool], Tensor] = {}
    for term, c in zip(terms, coefficients.unbind(1), strict=True):
        if bool(term.y) is not tied or term == INERT:
            continue
        if not _in_rows(term):
            powers[:, int(term.h)] += c if term.log else c * term.h
            logs[:, int(term.h)] += c * term.h * term.log
        elif isinstance(term, Near) and not term.less_one:
            # One with no log h is none of what `stable` makes.
            assert term.log
            row = rows.setdefault((term.h, True), c.new_zeros(len(c), 2))
            row[:, 0] += c
        else:
            row = rows.setdefault((term.h, False), c.new_zeros(len(c), 2))
            row[:, 0] += c if isinstance(term, Term) and term.log else c * term.h
            row[:, 1] += c * term.h * (isinstance(term, Term) and term.log)
    head = [sums, ((logs != 0).any(1) | bool(rows)).to(sums)[:, None], sums.new_full((len(sums), 1), len(rows))]
    listed = [
        torch.cat([row.new_full((len(row), 1), exponent), row, row.new_full((len(row), 1), near)], 1)
        for (exponent, near), row in rows.items()
    ]
    return torch.cat([*head, *listed], 1)
