"""The terms that losses are sums of."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossmith.errors import InputError, brief
from lossmith.losses import powers


class Term(NamedTuple):
    """One term ``h^i y^j (log h)^l`` of φ: i any real number, j = 0, 1, 2, …, l ∈ {0, 1}."""

    h: float
    y: int
    log: int

    def at(self, x: Tensor) -> Tensor:
        """``h^i (log h)^l`` at ``x = log h``."""
        return powers.power(x, self.h, self.log)

    def slope(self, x: Tensor) -> Tensor:
        """Its derivative with respect to x."""
        return powers.slope(x, self.h, self.log)


class Near(NamedTuple):
    """What powers of h are together where they cancel as h → 1: ``(1 − h)^i y^j (log h)^l``, or ``(h^i − 1) y^j``.

    Fields: i, j and l as in a :class:`Term`; whether it is the power less 1.
    """

    h: float
    y: int
    log: int
    less_one: bool

    def at(self, x: Tensor) -> Tensor:
        """The function of h at ``x = log h``."""
        return powers.expm1(self.h * x) if self.less_one else powers.complement(x, self.h, self.log)

    def slope(self, x: Tensor) -> Tensor:
        """Its derivative with respect to x."""
        return powers.slope(x, self.h, 0) if self.less_one else powers.complement_slope(x, self.h, self.log)


AnyTerm = Term | Near
Weighted = tuple[AnyTerm, Any]
"""A term with its coefficient: a number, or a tensor with one for each member of a population."""
# Linear in h alone: the outputs sum to 1, so it reaches no gradient, and a large c1 costs accuracy where it is kept.
INERT = Term(1, 0, 0)


def smooth_labels(terms: Sequence[tuple[Any, Any]], alpha: float, classes: int) -> list[tuple[Any, Any]]:
    """Terms of φ after ``y → (1−α) y + α/n``, by the binomial theorem; equal terms are not yet collected."""
    kept, added = 1 - alpha, alpha / classes
    return [
        (term._replace(y=b), c * (math.comb(term.y, b) * kept**b * added ** (term.y - b)))
        for term, c in terms
        for b in range(term.y + 1)
    ]


def float64(numbers: Any) -> Tensor:
    """Numbers in float64: a tensor stays where it is, and all else is on the host, whatever the default device is."""
    device = numbers.device if isinstance(numbers, Tensor) else "cpu"
    return torch.as_tensor(numbers, dtype=torch.float64, device=device)


def checked_term(parts: Iterable[Any], loss: str) -> Term:
    """A term from three numbers; an InputError that names the loss where they are none."""
    listed = list(parts)
    try:
        i, j, log = listed
        term = Term(float(i), int(j), int(log))
        fits = math.isfinite(term.h) and 0 <= term.y <= 100 and term.log in (0, 1) and term[1:] == (j, log)
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        raise InputError(
            f"the loss {loss!r} has the term {brief(listed)}; it must be "
            "[finite power of h, power of y from 0 to 100, 0 or 1 factors of log h]"
        )
    return term


def is_term(term: Any) -> bool:
    """Whether a part of a JSON document has the form of a term."""
    return (
        isinstance(term, list)
        and len(term) == 3
        and all(isinstance(number, int | float) and not isinstance(number, bool) for number in term)
        and all(isinstance(number, int) for number in term[1:])
    )
