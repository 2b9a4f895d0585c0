"""Sums of powers that cancel as h → 1, by functions that do not.

``(1 − h)^5 log h`` is a sum of six terms of order 1 which is 1e-15 at h = 0.999: in float32 nothing of it is left. So
the terms in ``h^m log h`` with the same power of the label become ``(1 − h)^k log h``, and ``c h^i − c`` becomes
``c (h^i − 1)``, wherever that makes the coefficients much smaller. All else stays as it is, to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lossmith.losses.terms import AnyTerm, Near, Term

# Beyond, a coefficient of a binomial sum is no whole number in float64.
HIGHEST = 56
# How much smaller the coefficients must become: (1 − h) log h and all higher powers alone do; h^i − 1 exactly.
LOGARITHMS, CONSTANTS = 2.0, 8.0
# What is below so many units of rounding of its parts is rounding.
ROUNDING = 4 * torch.finfo(torch.float64).eps
Columns = dict[AnyTerm, Tensor]


def stable(terms: Sequence[Term], coefficients: Tensor) -> tuple[tuple[AnyTerm, ...], Tensor]:
    """Terms and coefficients ``[*P, T]`` of the same φ that do not cancel as h → 1.

    Args:
        terms: The T terms.
        coefficients: ``[*P, T]`` in float64.
    """
    labels = sorted({term.y for term in terms})
    logged = [j for j in labels if any(t.y == j and t.log and _is_whole(t) and t.h for t in terms)]
    shifted = [j for j in labels if Term(0, j, 0) in terms and any(t.y == j and _rises(t) for t in terms)]
    if not logged and not shifted:
        return tuple(terms), coefficients
    columns: Columns = dict(zip(terms, coefficients.unbind(-1), strict=True))
    for j in logged:
        columns = _about_one(columns, j)
    for j in shifted:
        columns = _less_one(columns, j)
    return tuple(columns), torch.stack(list(columns.values()), -1) if columns else coefficients


def _is_whole(term: AnyTerm) -> bool:
    return isinstance(term, Term) and 0 <= term.h <= HIGHEST and term.h == int(term.h)


def _rises(term: AnyTerm) -> bool:
    """Whether a term is h^i with a positive i that is no whole number."""
    return isinstance(term, Term) and not term.log and term.h > 0 and term.h != int(term.h)


def _about_one(columns: Mapping[AnyTerm, Tensor], j: int) -> Columns:
    """With ``Σ_m c_m h^m`` before ``y^j log h`` as ``Σ_k p_k (1 − h)^k``, ``p_k = (−1)^k Σ_m C(m, k) c_m``."""
    old = [term for term in columns if term.y == j and term.log and _is_whole(term)]
    c = torch.stack([columns[term] for term in old], -1)
    degree = int(max(term.h for term in old))
    shift = c.new_tensor([[(-1) ** k * math.comb(int(term.h), k) for k in range(degree + 1)] for term in old])
    p = c @ shift
    p = torch.where(p.abs() <= ROUNDING * (c.abs() @ shift.abs()), 0.0, p)
    new: list[AnyTerm] = [Term(0, j, 1), *(Near(k, j, 1, False) for k in range(1, degree + 1))]
    return _exchanged(columns, old, c, new, p, LOGARITHMS)


def _less_one(columns: Mapping[AnyTerm, Tensor], j: int) -> Columns:
    """With ``b + Σ_i c_i h^i`` before ``y^j`` as ``(b + Σ_i c_i) + Σ_i c_i (h^i − 1)``."""
    old: list[AnyTerm] = [Term(0, j, 0), *(term for term in columns if term.y == j and _rises(term))]
    c = torch.stack([columns[term] for term in old], -1)
    total = c.sum(-1)
    total = torch.where(total.abs() <= ROUNDING * c.abs().sum(-1), 0.0, total)
    new: list[AnyTerm] = [old[0], *(Near(term.h, j, 0, True) for term in old[1:])]
    # The new functions are 0 at h = 1, so that what cancels there is in the constant alone.
    return _exchanged(columns, old, c, new, torch.cat([total[..., None], c[..., 1:]], -1), CONSTANTS, total)


def _exchanged(
    columns: Mapping[AnyTerm, Tensor],
    old: Sequence[AnyTerm],
    c: Tensor,
    new: Sequence[AnyTerm],
    p: Tensor,
    gain: float,
    left: Tensor | None = None,
) -> Columns:
    """The columns with some terms exchanged for others, in the members in which the coefficients become smaller.

    Args:
        columns: A coefficient ``[*P]`` for each term.
        old: The terms that go.
        c: Their coefficients ``[*P, …]``.
        new: The terms that come.
        p: Their coefficients ``[*P, …]``.
        gain: By which factor.
        left: What is compared with the old coefficients, in place of the new ones.
    """
    size = p.abs().sum(-1) if left is None else left.abs()
    better = gain * size <= c.abs().sum(-1)
    better &= c.abs().sum(-1) > 0
    if not bool(better.any()):
        return dict(columns)
    found = dict(columns)
    for term in old:
        found[term] = torch.where(better, 0.0, columns[term])
    for term, column in zip(new, p.unbind(-1), strict=True):
        found[term] = torch.where(better, column, found.get(term, torch.zeros_like(column)))
    touched = {*old, *new}
    return {term: column for term, column in found.items() if term not in touched or bool((column != 0).any())}
