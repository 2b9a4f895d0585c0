"""The operators of formulas: each gives its value, and its slope by the operator ``θ = h ∂/∂h``.

``θh = h``, ``θ log h = 1``, ``θy = 0``; the rules of sums, products, quotients and chains hold for θ as for any
derivative. What is undefined is guarded here, and nowhere else, by functions whose slope is that of what is computed:

- division: by ``±1e-30`` where the divisor is nearer to 0;
- log and square root: of ``|u|``, and of 1e-30 where that is less;
- exp: of 60 at most;
- products, quotients and squares end at ``±1e30``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lossmith.registry import Registry

SMALLEST, LARGEST_EXPONENT, BOUND = 1e-30, 60.0, 1e30
Slope = Tensor | None
"""θ of a value; None where the value does not depend on h."""


@dataclass(frozen=True)
class Operator:
    """What an operator does, elementwise.

    Args:
        operands: 1 or 2.
        value: The value, from those of the operands.
        slope: θ of it, from the value, and of each operand its value and θ; one of these is there at least.
    """

    operands: int
    value: Callable[..., Tensor]
    slope: Callable[..., Tensor]


OPERATORS = Registry[Operator]("operator of formulas")
"""Every operator by its name in trees: what is registered is parsed, printed, trained, searched and tested."""


def _sum(first: Slope, second: Slope) -> Tensor:
    if first is None or second is None:
        found = second if first is None else first
        assert found is not None
        return found
    return first + second


def _times(slope: Slope, factor: Tensor) -> Slope:
    return None if slope is None else (slope * factor).clamp(-BOUND, BOUND)


def _within(value: Tensor, slope: Tensor) -> Tensor:
    """The slope, and 0 where the value has ended at the bound."""
    return torch.where(value.abs() < BOUND, slope, 0.0)


def _product(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).clamp(-BOUND, BOUND)


def _divisor(b: Tensor) -> Tensor:
    return torch.where(b.abs() < SMALLEST, torch.where(b < 0, -SMALLEST, SMALLEST).to(b), b)


def _quotient(a: Tensor, b: Tensor) -> Tensor:
    return (a / _divisor(b)).clamp(-BOUND, BOUND)


def _quotient_slope(value: Tensor, a: Tensor, b: Tensor, a_slope: Slope, b_slope: Slope) -> Tensor:  # noqa: ARG001
    divisor = _divisor(b)
    upper = None if a_slope is None else (a_slope / divisor).clamp(-BOUND, BOUND)
    if b_slope is None:
        assert upper is not None
        return _within(value, upper)
    # One after the other: the square of the divisor has no place in float32 where the divisor has.
    lower = (value * (torch.where(divisor == b, b_slope, 0.0) / divisor)).clamp(-BOUND, BOUND)
    return _within(value, -lower if upper is None else upper - lower)


def _log(a: Tensor) -> Tensor:
    return a.abs().clamp(min=SMALLEST).log()


def _log_slope(_: Tensor, a: Tensor, a_slope: Tensor) -> Tensor:
    there = a.abs() > SMALLEST
    return torch.where(there, (a_slope / torch.where(there, a, 1.0)).clamp(-BOUND, BOUND), 0.0)


def _root(a: Tensor) -> Tensor:
    return a.abs().clamp(min=SMALLEST).sqrt()


def _root_slope(value: Tensor, a: Tensor, a_slope: Tensor) -> Tensor:
    return torch.where(a.abs() > SMALLEST, (a.sign() * a_slope / (2 * value)).clamp(-BOUND, BOUND), 0.0)


def _exp_slope(value: Tensor, a: Tensor, a_slope: Tensor) -> Tensor:
    return torch.where(a < LARGEST_EXPONENT, (value * a_slope).clamp(-BOUND, BOUND), 0.0)


def _square_slope(value: Tensor, a: Tensor, a_slope: Tensor) -> Tensor:
    return _within(value, (2 * a * a_slope).clamp(-BOUND, BOUND))


OPERATORS.register("+", Operator(2, torch.add, lambda *given: _sum(*given[3:])))
OPERATORS.register("-", Operator(2, torch.sub, lambda *given: _sum(given[3], None if given[4] is None else -given[4])))
OPERATORS.register(
    "*", Operator(2, _product, lambda value, a, b, s, t: _within(value, _sum(_times(s, b), _times(t, a))))
)
OPERATORS.register("/", Operator(2, _quotient, _quotient_slope))
OPERATORS.register("neg", Operator(1, torch.neg, lambda *given: -given[2]))
OPERATORS.register("log", Operator(1, _log, _log_slope))
OPERATORS.register("square", Operator(1, lambda a: (a * a).clamp(max=BOUND), _square_slope))
OPERATORS.register("sqrt", Operator(1, _root, _root_slope))
OPERATORS.register("exp", Operator(1, lambda a: a.clamp(max=LARGEST_EXPONENT).exp(), _exp_slope))
OPERATORS.register("tanh", Operator(1, torch.tanh, lambda value, _, slope: (1 - value * value) * slope))
