"""Sums of powers of one output, ``b + a log h + Σ_i c_i h^i + …``, and the two arithmetics that evaluate them.

Coefficients are numbers, or tensors ``[*P, 1, 1]`` that hold one for each member of a population; None is a coefficient
that is not there, which takes no pass over the outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lossmith.losses.terms import AnyTerm, Term, Weighted

Basis = Callable[[AnyTerm, Tensor], Tensor]
LARGEST = 8


def value_at(term: AnyTerm, x: Tensor) -> Tensor:
    """A term without its label at ``x = log h``."""
    return term.at(x)


def slope_at(term: AnyTerm, x: Tensor) -> Tensor:
    """Its derivative with respect to x."""
    return term.slope(x)


class OutOfPlace:
    """Arithmetic that autograd, ``torch.func`` and the compiler can follow; for numbers and tensors alike."""

    @staticmethod
    def step(c: Any, h: Tensor, total: Any, _: Tensor | None = None) -> Any:
        """``c + h · total``."""
        if c is None:
            return h * total
        if isinstance(c, Tensor) and isinstance(total, Tensor):
            return torch.addcmul(c, h, total)
        return c + h * total

    @staticmethod
    def add(total: Any, c: Any, values: Tensor, _: Tensor | None = None) -> Any:
        """``total + c · values``."""
        return c * values if total is None else total + c * values

    @staticmethod
    def add_product(total: Any, part: Tensor, y: Tensor, _: Tensor | None = None) -> Any:
        """``total + part · y``."""
        return part * y if total is None else total + part * y

    @staticmethod
    def scaled(total: Tensor, factor: Tensor) -> Tensor:
        """``total · factor``."""
        return total * factor

    @staticmethod
    def add_at(total: Tensor, index: Tensor, values: Tensor, dim: int) -> Tensor:
        """``total``, with some values added at one place along ``dim``."""
        return total.scatter_add(dim, index, values)

    @staticmethod
    def filled(number: float, like: Tensor) -> Tensor:
        """A number as a tensor that broadcasts with another."""
        return like.new_full((), number)


class InPlace:
    """The same for numbers, over what was computed before: large temporary tensors cost more than the arithmetic.

    ``out`` is where a first result may be written; neither h nor the values that are added are written to.
    """

    @staticmethod
    def step(c: Any, h: Tensor, total: Any, out: Tensor | None = None) -> Any:
        """``c + h · total``, in one pass."""
        whole = isinstance(total, Tensor) and total.shape == h.shape
        if c is None:
            return total.mul_(h) if whole else torch.mul(h, total, out=out)
        if torch.compiler.is_compiling():
            # In the compiled program it is one pass anyway, and a number may be a symbol, of which there is no tensor.
            return h * total + c
        # As a tensor of no dimension, with which PyTorch does in one pass what takes two with a number.
        c = c if isinstance(c, Tensor) else h.new_full((), c)
        if isinstance(total, Tensor):
            return torch.addcmul(c, h, total, out=total if whole else out)
        return torch.add(c, h, alpha=total, out=out)

    @staticmethod
    def add(total: Any, c: Any, values: Tensor, out: Tensor | None = None) -> Any:
        """``total + c · values``."""
        if isinstance(total, Tensor):
            return total.add_(values, alpha=c)
        product = torch.mul(values, c, out=out)
        return product.add_(total) if total else product

    @staticmethod
    def add_product(total: Any, part: Tensor, y: Tensor, out: Tensor | None = None) -> Any:
        """``total + part · y``."""
        return torch.mul(part, y, out=out) if total is None else total.addcmul_(part, y)

    @staticmethod
    def scaled(total: Tensor, factor: Tensor) -> Tensor:
        """``total · factor``."""
        return total.mul_(factor) if total.ndim else total * factor

    @staticmethod
    def add_at(total: Tensor, index: Tensor, values: Tensor, dim: int) -> Tensor:
        """``total``, with some values added at one place along ``dim``."""
        if torch.compiler.is_compiling():
            # A scatter would be a loop of its own in the compiled program.
            return total + torch.where(classes(total, dim) == index, values, 0.0)
        return total.scatter_add_(dim, index, values)

    @staticmethod
    def filled(number: float, like: Tensor) -> Tensor:
        """A number as a tensor like another."""
        return torch.full_like(like, number)


Arithmetic = type[OutOfPlace] | type[InPlace]


class PowerSum:
    """``b + a log h + Σ_i c_i h^i`` and other powers: what φ, or its slope, has of one power of y.

    Args:
        constant: b.
        logarithm: a.
        polynomial: c_i by i, 1 to 8, which Horner's rule evaluates.
        others: All other terms, each a function of ``log h``.
        basis: Which one: :func:`value_at` in φ, :func:`slope_at` in its slope.
    """

    def __init__(
        self,
        constant: Any,
        logarithm: Any,
        polynomial: Mapping[int, Any],
        others: Sequence[Weighted],
        basis: Basis = value_at,
    ) -> None:
        self.constant, self.logarithm, self.polynomial = constant, logarithm, polynomial
        self.others, self.basis = others, basis
        # From b on, as Horner's rule takes them.
        self.ascending = (constant, *(polynomial.get(power) for power in range(1, max([0, *polynomial]) + 1)))

    @staticmethod
    def of(terms: Iterable[Weighted]) -> PowerSum:
        """The sum of some terms, whatever their powers of y."""
        constant = logarithm = None
        polynomial: dict[int, Any] = {}
        others: list[Weighted] = []
        for term, c in terms:
            if not isinstance(term, Term):
                others.append((term, c))
            elif term.h == 0 and term.log:
                logarithm = c if logarithm is None else logarithm + c
            elif term.h == 0:
                constant = c if constant is None else constant + c
            elif not term.log and term.h == int(term.h) and 1 <= term.h <= LARGEST:
                power = int(term.h)
                polynomial[power] = polynomial[power] + c if power in polynomial else c
            else:
                others.append((term, c))
        return PowerSum(constant, logarithm, polynomial, others)

    def slope(self) -> PowerSum:
        """The derivative of a sum of φ with respect to log h, which is such a sum again."""
        polynomial = {power: c * power for power, c in self.polynomial.items()}
        return PowerSum(self.logarithm, None, polynomial, self.others, slope_at)

    def scaled(self, factor: float) -> PowerSum:
        """The sum times a number."""
        return PowerSum(
            None if self.constant is None else factor * self.constant,
            None if self.logarithm is None else factor * self.logarithm,
            {power: factor * c for power, c in self.polynomial.items()},
            [(term, factor * c) for term, c in self.others],
            self.basis,
        )

    def __bool__(self) -> bool:
        """Whether there is anything in it."""
        return self.constant is not None or bool(self.polynomial) or self.needs_log

    @property
    def is_constant(self) -> bool:
        """Whether there is nothing but b in it."""
        return self.constant is not None and not self.polynomial and not self.needs_log

    @property
    def needs_log(self) -> bool:
        """Whether it is a function of log h, too, and not of h alone."""
        return self.logarithm is not None or bool(self.others)

    def __call__(
        self,
        x: Tensor,
        h: Tensor,
        arithmetic: Arithmetic = OutOfPlace,
        out: Tensor | None = None,
        linear: Tensor | None = None,
    ) -> Tensor:
        """The sum at outputs h with ``x = log h``, elementwise; a constant stays one number for each member.

        Args:
            x: Log outputs; looked at where :attr:`needs_log`.
            h: Outputs; looked at where there is a polynomial.
            arithmetic: In place or not.
            out: Where the result may be written, in place.
            linear: A coefficient of h, where there is none.
        """
        ascending = self.ascending if linear is None else (self.constant, linear, *self.ascending[2:])
        total = ascending[-1]
        for c in ascending[-2::-1]:
            total = arithmetic.step(c, h, total, out)
        if self.logarithm is not None:
            total = arithmetic.add(total, self.logarithm, x, out)
        for term, c in self.others:
            total = arithmetic.add(total, c, self.basis(term, x), out)
        return total if isinstance(total, Tensor) else arithmetic.filled(total or 0.0, x)


def add_over_classes(
    sums: Sequence[PowerSum],
    totals: Sequence[Tensor],
    x: Tensor,
    e: Tensor,
    unit: Tensor | None,
    log_sum: Tensor | None,
    dim: int = -1,
    out: Tensor | None = None,
) -> None:
    """Add ``Σ_k s(h_k) − K b`` along the class dimension for some sums, by ``Σ_k h_k^i``, which they share.

    Args:
        sums: With numbers.
        totals: What is added to in place.
        x: Log outputs, looked at where there are other powers.
        e: Outputs, up to a factor for each sample.
        unit: What e is multiplied by to be the outputs, or None for 1.
        log_sum: ``Σ_k log h_k``, which is no longer to be had where h was written over x.
        dim: The class dimension.
        out: Where powers may be written, which may be e.
    """
    pairs = list(zip(sums, totals, strict=True))
    degree = max([len(s.ascending) for s in sums]) - 1
    raised: Tensor | None = None
    for power in range(1, degree + 1):
        wanted = [(s.polynomial[power], total) for s, total in pairs if power in s.polynomial]
        if power == 2 and _has_norm(e, dim):
            # A norm writes nothing; the third power, if there is one, takes no second.
            if wanted:
                norm = torch.linalg.vector_norm(e, 2, dim, keepdim=True)
                factor = norm if unit is None else norm.mul_(unit)
                _add_products(wanted, factor, factor)
            continue
        if raised is not None:
            raised.mul_(e)
        elif power > 1:
            raised = torch.pow(e, power, out=None if out is e and power < degree else out)
        if wanted:
            summed = (e if raised is None else raised).sum(dim, keepdim=True)
            _add_products(wanted, summed, unit if unit is None or power == 1 else unit.pow(power))
    for s, total in pairs:
        if s.logarithm is not None:
            assert log_sum is not None
            total.add_(log_sum, alpha=s.logarithm)
        for term, c in s.others:
            total.add_(s.basis(term, x).sum(dim, keepdim=True), alpha=c)


def _add_products(wanted: Iterable[tuple[float, Tensor]], first: Tensor, second: Tensor | None) -> None:
    """Add a product, each time with another coefficient, to some tensors."""
    for c, total in wanted:
        if second is None:
            total.add_(first, alpha=c)
        else:
            total.addcmul_(first, second, value=c)


def _has_norm(e: Tensor, dim: int) -> bool:
    """Whether PyTorch has a quick norm: over what lies side by side on the host."""
    return e.is_cpu and e.stride(dim) == 1 and not torch.compiler.is_compiling()


def classes(x: Tensor, dim: int) -> Tensor:
    """The indices of all classes, along ``dim`` of ``x``."""
    return torch.arange(x.shape[dim], device=x.device).reshape(-1, *(1,) * (x.ndim - 1 - dim % x.ndim))
