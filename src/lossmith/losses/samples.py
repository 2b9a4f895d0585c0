"""Values and logit gradients of samples, from the terms of φ."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossmith.errors import InputError
from lossmith.losses import powers


class Term(NamedTuple):
    """One term ``h^i y^j (log h)^l`` of φ: i any real number, j = 0, 1, 2, …, l ∈ {0, 1}."""

    h: float
    y: int
    log: int


Weighted = tuple[Term, Any]
INERT = Term(1, 0, 0)
LARGEST = 8


def sample_values(
    terms: Sequence[Weighted], x: Tensor, targets: Tensor, dim: int = -1, weight: Tensor | None = None
) -> Tensor:
    """``−Σ_k w_k φ(h_k, y_k)`` of each sample, from log outputs ``x``; the class dimension ``dim`` is summed over.

    Args:
        terms: Terms with coefficients (numbers, or tensors that broadcast with x).
        x: Log outputs with the classes along ``dim``.
        targets: Class indices (x without ``dim``) or probabilities (like x).
        dim: The class dimension.
        weight: Class weights that broadcast with x, or None.
    """
    constant: Any = 0.0
    if weight is None:
        constant = sum((c for term, c in terms if term == INERT), start=0.0)
        terms = [(term, c) for term, c in terms if term != INERT]
    if targets.is_floating_point():
        phi = _total(terms, x, targets.to(x.dtype))
        total = (phi if weight is None else phi * weight).sum(dim, keepdim=True)
    else:
        index = class_index(targets, x, dim)
        total = _total([pair for pair in terms if pair[0].y], at_class(x, index, dim))
        if weight is not None:
            total = total * at_class(weight.expand_as(x), index, dim)
        free = [pair for pair in terms if not pair[0].y]
        if free:
            phi = _total(free, x)
            total = total + (phi if weight is None else phi * weight).sum(dim, keepdim=True)
    values: Tensor = -(total + constant).squeeze(dim)
    return values


def at_class(x: Tensor, index: Tensor, dim: int) -> Tensor:
    """The values at the class indices, with a class dimension of length 1."""
    if not torch.compiler.is_compiling():
        try:
            return x.gather(dim, index)
        except (IndexError, RuntimeError):
            outside = index[(index < 0) | (index >= x.shape[dim])]
            if not outside.numel():
                raise
            raise InputError(
                f"a target is class {int(outside[0])}, but the logits have {x.shape[dim]} classes, numbered from 0; "
                "give each class an index below that number"
            ) from None
    # The C++ back end of torch 2.13 gives a wrong gradient for `gather` beside a sum over the classes.
    return torch.where(classes(x, dim) == index, x, 0.0).sum(dim, keepdim=True)


def classes(x: Tensor, dim: int) -> Tensor:
    """The indices of all classes, along ``dim`` of ``x``."""
    return torch.arange(x.shape[dim], device=x.device).reshape(-1, *(1,) * (x.ndim - 1 - dim % x.ndim))


def class_index(targets: Tensor, x: Tensor, dim: int) -> Tensor:
    """Class indices with a class dimension of length 1, expanded to the other dimensions of ``x``."""
    shape = list(x.shape)
    shape[dim] = 1
    return targets.long().unsqueeze(dim).expand(shape)


def _total(terms: Iterable[Weighted], x: Tensor, y: Tensor | None = None) -> Tensor:
    """``Σ_t c_t h^i y^j (log h)^l``, elementwise; whole powers of h by Horner's rule, so that h is computed once."""
    groups: dict[int, tuple[dict[int, Any], list[Weighted]]] = {}
    for term, c in terms:
        polynomial, others = groups.setdefault(0 if y is None else term.y, ({}, []))
        if term.log == 0 and term.h == int(term.h) and 1 <= term.h <= LARGEST:
            polynomial[int(term.h)] = polynomial.get(int(term.h), 0.0) + c
        else:
            others.append((term, c))
    h = x.exp() if any(polynomial for polynomial, _ in groups.values()) else x
    total = torch.zeros_like(x)
    for j, (polynomial, others) in groups.items():
        value: Any = 0.0
        for (exponent, _, log), c in others:
            value = value + c * powers.power(x, exponent, log)
        if polynomial:
            value = value + _horner(polynomial, h)
        total = total + (value if y is None or j == 0 else value * y**j)
    return total


def _horner(polynomial: dict[int, Any], h: Tensor) -> Any:
    """``Σ_i c_i h^i``, i ≥ 1."""
    degree = max(polynomial)
    rest = polynomial[degree] * h
    for power in range(degree - 1, 0, -1):
        rest = (rest + polynomial.get(power, 0.0)) * h
    return rest


class GradientRule:
    """The closed-form logit gradient of one loss or a population, prepared for a dtype and a device.

    ``∂L/∂f_j = −(g_j − h_j Σ_k g_k)`` with ``g_k = h_k γ(h_k, y_k)``, a sum of slopes of powers of h. Terms of φ that
    are linear in h alone are left out: the outputs sum to 1, so they have no effect, and a large c1 costs no accuracy.

    Args:
        terms: Terms with their coefficients: numbers, or tensors that broadcast with ``[*P, K, N]``.
    """

    def __init__(self, terms: Sequence[Weighted]) -> None:
        active = [pair for pair in terms if pair[0] != INERT]
        self._free = _SlopeSum(pair for pair in active if pair[0].y == 0)
        self._hard = _SlopeSum(pair for pair in active if pair[0].y > 0)
        self._soft = {
            j: _SlopeSum(pair for pair in active if pair[0].y == j)
            for j in sorted({term.y for term, _ in active} - {0})
        }
        self._needs_log = any(part.needs_log for part in (self._free, self._hard))

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Gradient ``[*P, N, K]`` of each sample's loss, for class indices ``[*P, N]`` or probabilities ``[*P, N, K]``.

        Computed with the classes in the last dimension but one: a softmax over a short last dimension is many times
        slower on a CPU.
        """
        columns = logits.mT.contiguous()
        if columns.dtype in (torch.float16, torch.bfloat16):
            columns = columns.float()
        if self._needs_log:
            x = powers.log_outputs(columns, -2)
            h = x.exp()
        else:
            x = h = torch.softmax(columns, -2)
        g = self._free(x, h)
        if targets.is_floating_point():
            y = targets.mT.to(h.dtype)
            for j, part in self._soft.items():
                g = g + part(x, h) * y**j
            gradient = h * g.sum(-2, keepdim=True) - g if g.shape == h.shape else h * (g * h.shape[-2]) - g
        else:
            index = class_index(targets, h, -2)
            target = self._hard(at_class(x, index, -2), at_class(h, index, -2)).expand(index.shape)
            total = g.sum(-2, keepdim=True) if g.shape == h.shape else g * h.shape[-2]
            gradient = (h * (total + target) - g).scatter_add(-2, index, -target)
        return gradient.mT.to(logits.dtype)


class _SlopeSum:
    """``Σ c · d(h^i (log h)^l)/d log h`` over some terms: a constant, a polynomial in h by Horner's rule, the rest."""

    def __init__(self, terms: Iterable[Weighted]) -> None:
        self._constant: Any = None
        self._polynomial: dict[int, Any] = {}
        self._others: list[Weighted] = []
        for term, c in terms:
            if term.h == 0:
                self._constant = c * term.log if self._constant is None else self._constant + c * term.log
            elif term.log == 0 and term.h == int(term.h) and 1 <= term.h <= LARGEST:
                power = int(term.h)
                self._polynomial[power] = self._polynomial.get(power, 0) + c * power
            else:
                self._others.append((term, c))
        self.needs_log = bool(self._others)

    def __call__(self, x: Tensor, h: Tensor) -> Tensor:
        total = _tensor(0.0 if self._constant is None else self._constant, h)
        if self._polynomial:
            zero = torch.zeros_like(total)
            degree = max(self._polynomial)
            rest = _tensor(self._polynomial[degree], h)
            for power in range(degree - 1, 0, -1):
                rest = torch.addcmul(_tensor(self._polynomial.get(power, zero), h), h, rest)
            total = torch.addcmul(total, h, rest)
        for term, c in self._others:
            total = total + c * powers.slope(x, term.h, term.log)
        return total


def _tensor(number: Any, like: Tensor) -> Tensor:
    return number if isinstance(number, Tensor) else like.new_full((), number)
