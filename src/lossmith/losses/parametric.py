"""Losses that are sums over classes of one function with a few numbers: shifted powers, and others that are no powers.

Each has a closed-form slope that keeps its digits where an output is nearly 0 or 1. A population has the numbers of all
its members, and is evaluated in one go.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from lossmith.errors import InputError, brief
from lossmith.losses import powers
from lossmith.losses.base import KINDS, Index, Loss, common_classes
from lossmith.losses.documents import numbers, part_of
from lossmith.losses.terms import float64

TINY = 1e-30
# Of powers: so much is in float32 with its slope and a batch of it.
LARGEST_LOG_POWER = 60.0
# Of outputs whose inverse is still far from overflowing.
SMALL_LOG = -30.0


class Range(NamedTuple):
    """Where a number of a loss may lie, between two bounds.

    Args:
        symbol: What the number is called.
        low: The lower bound.
        high: The upper bound, which belongs to the range.
        closed: Whether the lower bound does.
    """

    symbol: str
    low: float
    high: float
    closed: bool = False

    def holds(self, values: Tensor) -> bool:
        """Whether all of some values lie there."""
        above = values >= self.low if self.closed else values > self.low
        return bool((values.isfinite() & above & (values <= self.high)).all())

    def __str__(self) -> str:
        """The range as a sentence tells it."""
        return f"{self.symbol} {'from' if self.closed else 'above'} {self.low:g} to {self.high:g}"


class Parametric(Loss):
    """What losses with a few numbers have in common: a kind names them in ``ranges``, and has a field for each.

    Each number is one for the loss, or ``[*P]`` for a population, kept in float64.
    """

    ranges: ClassVar[dict[str, Range]]

    def __post_init__(self) -> None:
        given = {name: float64(getattr(self, name)).detach().clone() for name in self.ranges}
        for name, place in self.ranges.items():
            if not place.holds(given[name]):
                raise InputError(f"the loss {self.name!r} takes {place}, not {brief(given[name].tolist())}")
        try:
            alike = torch.broadcast_tensors(*given.values())
        except RuntimeError:
            shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in given.items())
            raise InputError(f"the numbers of the loss {self.name!r} differ in their population: {shapes}") from None
        for name, value in zip(given, alike, strict=True):
            object.__setattr__(self, name, value.clone())

    @property
    def sums_over_classes(self) -> bool:
        """It is such a sum."""
        return True

    @property
    def shape(self) -> tuple[int, ...]:
        """The population dimensions of its numbers."""
        return tuple(getattr(self, next(iter(self.ranges))).shape)

    def phi(self, h: Tensor, y: Tensor) -> Tensor:
        """``φ(h, y)``, elementwise."""
        x = h.log().clamp(min=powers.LOWEST_LOG)
        return self._phi(x, h, y, max(h.ndim, y.ndim))

    def values(self, log_h: Tensor, y: Tensor) -> Tensor:
        """``−Σ_k φ(h_k, y_k)`` of each sample, ``[*P, N]``."""
        x = log_h.clamp(min=powers.LOWEST_LOG)
        return -self._phi(x, x.exp(), y, x.ndim).sum(-1)

    def slope(self, log_h: Tensor, y: Tensor) -> Tensor:
        """``h ∂φ/∂h``, elementwise."""
        x = log_h.clamp(min=powers.LOWEST_LOG)
        return self._slope(x, x.exp(), y, max(x.ndim, y.ndim))

    @property
    @abstractmethod
    def tree(self) -> tuple[Any, ...]:
        """φ of one loss as a formula, for exports and for searches over formulas."""

    @abstractmethod
    def _phi(self, x: Tensor, h: Tensor, y: Tensor, dimensions: int) -> Tensor: ...

    @abstractmethod
    def _slope(self, x: Tensor, h: Tensor, y: Tensor, dimensions: int) -> Tensor: ...

    def _number(self, name: str, like: Tensor, dimensions: int) -> Tensor:
        """A number in the dtype and on the device of a tensor, for so many dimensions."""
        value: Tensor = getattr(self, name).to(like)
        return value.reshape((*self.shape, *(1,) * (dimensions - len(self.shape))))

    def to(self, device: torch.device | str) -> Self:
        """The same loss with its numbers on another device."""
        moved = {name: getattr(self, name).to(device) for name in self.ranges}
        return replace(self, **moved)  # type: ignore[type-var]

    def __getitem__(self, index: Index) -> Self:
        """Members of a population."""
        if not self.shape:
            super().__getitem__(index)
        return replace(self, **{name: getattr(self, name)[index] for name in self.ranges})  # type: ignore[type-var]

    @classmethod
    def joined(cls, losses: Sequence[Self], name: str) -> Loss | None:
        """A population with the numbers of all."""
        values = {key: torch.stack([getattr(loss, key) for loss in losses]) for key in cls.ranges}
        made: Loss = cls(**values, classes=common_classes(losses), name=name)  # type: ignore[call-arg]
        return made

    def body(self) -> dict[str, Any]:
        """The numbers."""
        return {name: getattr(self, name).tolist() for name in self.ranges}

    @classmethod
    def of_body(cls, document: dict[str, Any], classes: int | None, name: str) -> Self:
        """The loss of its numbers."""
        values = dict[str, Tensor]()
        for key in cls.ranges:
            value = numbers(part_of(document, key))
            if value is None:
                raise InputError(f'"{key}" of the loss file must be a number, or a list of one for each member')
            values[key] = value
        return cls(**values, classes=classes, name=name)  # type: ignore[call-arg]

    def _alone(self, name: str) -> float:
        if self.shape:
            raise InputError("a population has no single formula; index one member")
        return float(getattr(self, name))

    def _said(self, name: str, digits: int) -> str:
        return f"{self._alone(name):.{digits}g}"


@dataclass(frozen=True, eq=False, repr=False)
class ShiftedPower(Parametric):
    """A power of the shifted output of the label, ``φ = y ((a + h)^q − (a + 1)^q) / q``: asymmetric GCE (AGCE).

    With a = 0 it is generalised cross-entropy, with q = 0 ``y log((a + h)/(a + 1))``, which is cross-entropy behind
    symmetric label noise; ``h ∂φ/∂h = y h (a + h)^(q−1)``.

    Args:
        shift: a, from 0.
        power: q, from 0.
        classes: The number of classes that it is made for, or None if it fits any.
        name: What tables and figures call it.

    Raises:
        InputError: if a number is out of range, or there is not one for each member.

    Source: Zhou et al. (2021), Asymmetric Loss Functions for Learning with Noisy Labels.
    """

    kind: ClassVar[str] = "shifted-power"
    ranges: ClassVar[dict[str, Range]] = {"shift": Range("a", 0, 1e6, True), "power": Range("q", 0, 100, True)}
    shift: Tensor
    power: Tensor
    classes: int | None = None
    name: str = "shifted power"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_power(self.name, self.power * torch.log1p(self.shift))

    def _phi(self, x: Tensor, h: Tensor, y: Tensor, dimensions: int) -> Tensor:
        a, q = (self._number(name, h, dimensions) for name in self.ranges)
        # Where a is 0, log h, of which nothing is lost where h underflows.
        log = torch.where(a > 0, (a + h).clamp(min=TINY).log(), x)
        powers_of = (torch.exp(q * log) - (a + 1) ** q) / torch.where(q > 0, q, 1.0)
        return y * torch.where(q > 0, powers_of, log - torch.log1p(a))

    def _slope(self, x: Tensor, h: Tensor, y: Tensor, dimensions: int) -> Tensor:
        a, q = (self._number(name, h, dimensions) for name in self.ranges)
        # h (a + h)^(q − 1), with h^q where a is 0.
        return y * torch.where(a > 0, h * (a + h).clamp(min=TINY) ** (q - 1), torch.exp(q * x))

    @property
    def tree(self) -> tuple[Any, ...]:
        """φ as a formula."""
        a, q = map(self._alone, self.ranges)
        if not q:
            return "*", "y", ("-", ("log", ("+", a, "h") if a else "h"), math.log1p(a))
        return "/", ("*", "y", ("-", _raised(("+", a, "h") if a else "h", q), (a + 1) ** q)), q

    def formula(self, digits: int = 4) -> str:
        """φ as a line of text."""
        a, q = (self._said(name, digits) for name in self.ranges)
        return f"y (({a} + h)^{q} − ({a} + 1)^{q}) / {q}" if self._alone("power") else f"y log(({a} + h)/({a} + 1))"


@dataclass(frozen=True, eq=False, repr=False)
class FlippedPower(Parametric):
    """A power of what the label's output lacks to a shift, ``φ = −y ((a − h)^p − (a − 1)^p) / p``: AUL.

    ``h ∂φ/∂h = y h (a − h)^(p−1)``.

    Args:
        shift: a, from 1.001.
        power: p, above 0.
        classes: The number of classes that it is made for, or None if it fits any.
        name: What tables and figures call it.

    Raises:
        InputError: if a number is out of range, or there is not one for each member.

    Source: Zhou et al. (2021), Asymmetric Loss Functions for Learning with Noisy Labels (asymmetric unhinged loss).
    """

    kind: ClassVar[str] = "flipped-power"
    ranges: ClassVar[dict[str, Range]] = {"shift": Range("a", 1.001, 1e6, True), "power": Range("p", 0, 100)}
    shift: Tensor
    power: Tensor
    classes: int | None = None
    name: str = "flipped power"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_power(self.name, self.power * self.shift.log())

    def _phi(self, x: Tensor, h: Tensor, y: Tensor, dimensions: int) -> Tensor:  # noqa: ARG002
        a, p = (self._number(name, h, dimensions) for name in self.ranges)
        return -y * ((a - h) ** p - (a - 1) ** p) / p

    def _slope(self, x: Tensor, h: Tensor, y: Tensor, dimensions: int) -> Tensor:  # noqa: ARG002
        a, p = (self._number(name, h, dimensions) for name in self.ranges)
        return y * h * (a - h) ** (p - 1)

    @property
    def tree(self) -> tuple[Any, ...]:
        """φ as a formula."""
        a, p = map(self._alone, self.ranges)
        return "/", ("*", "y", ("-", (a - 1) ** p, _raised(("-", a, "h"), p))), p

    def formula(self, digits: int = 4) -> str:
        """φ as a line of text."""
        a, p = (self._said(name, digits) for name in self.ranges)
        return f"−y (({a} − h)^{p} − ({a} − 1)^{p}) / {p}"


@dataclass(frozen=True, eq=False, repr=False)
class FractionalFocal(Parametric):
    """The focal loss with any focusing parameter, ``φ = y (1 − h)^γ log h``.

    ``h ∂φ/∂h = y (1 − h)^γ (1 − γ h log h / (1 − h))``, with 1 − h from log h, so that no digit is lost near h = 1.

    Args:
        focusing: γ, from 0.
        classes: The number of classes that it is made for, or None if it fits any.
        name: What tables and figures call it.

    Raises:
        InputError: if γ is out of range.

    Source: Lin et al. (2017), Focal Loss for Dense Object Detection.
    """

    kind: ClassVar[str] = "fractional-focal"
    ranges: ClassVar[dict[str, Range]] = {"focusing": Range("γ", 0, 1000, True)}
    focusing: Tensor
    classes: int | None = None
    name: str = "focal"

    def _phi(self, x: Tensor, h: Tensor, y: Tensor, dimensions: int) -> Tensor:
        rest = -torch.expm1(x)
        return y * rest.clamp(min=TINY) ** self._number("focusing", h, dimensions) * x

    def _slope(self, x: Tensor, h: Tensor, y: Tensor, dimensions: int) -> Tensor:
        gamma, rest = self._number("focusing", h, dimensions), -torch.expm1(x)
        # log h / (1 − h), which is −1 at h = 1.
        ratio = torch.where(rest > 0, x / rest.clamp(min=TINY), -1.0)
        return y * rest.clamp(min=TINY) ** gamma * (1 - gamma * h * ratio)

    @property
    def tree(self) -> tuple[Any, ...]:
        """φ as a formula."""
        return "*", ("*", "y", ("log", "h")), _raised(("-", 1.0, "h"), self._alone("focusing"))

    def formula(self, digits: int = 4) -> str:
        """φ as a line of text."""
        return f"y (1 − h)^{self._said('focusing', digits)} log h"


@dataclass(frozen=True, eq=False, repr=False)
class JensenShannon(Parametric):
    """The Jensen–Shannon divergence of label and output with weights π and 1 − π, scaled as published.

    ``L = [π KL(y‖m) + (1 − π) KL(h‖m)] / Z`` with ``m = π y + (1 − π) h`` and ``Z = −(1 − π) log(1 − π)``;
    ``h ∂φ/∂h = −(1 − π) h log(h/m) / Z``. Towards π = 0 it is cross-entropy, towards π = 1 MAE.

    Args:
        weight: π, from 1e-6 to below 1.
        classes: The number of classes that it is made for, or None if it fits any.
        name: What tables and figures call it.

    Raises:
        InputError: if π is out of range.

    Source: Englesson & Azizpour (2021), Generalized Jensen-Shannon Divergence Loss for Learning with Noisy Labels.
    """

    kind: ClassVar[str] = "jensen-shannon"
    ranges: ClassVar[dict[str, Range]] = {"weight": Range("π", 1e-6, 1 - 1e-9, True)}
    weight: Tensor
    classes: int | None = None
    name: str = "Jensen–Shannon"

    def _phi(self, x: Tensor, h: Tensor, y: Tensor, dimensions: int) -> Tensor:
        pi, log_m, log_ratio, scale = self._parts(x, y, dimensions)
        own = torch.special.xlogy(y, y) - y * log_m
        found: Tensor = -(pi * own + (1 - pi) * h * log_ratio) / scale
        return found

    def _slope(self, x: Tensor, h: Tensor, y: Tensor, dimensions: int) -> Tensor:
        pi, _, log_ratio, scale = self._parts(x, y, dimensions)
        return -(1 - pi) * h * log_ratio / scale

    def _parts(self, x: Tensor, y: Tensor, dimensions: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """π, log m, log(h/m) and Z."""
        pi = self._number("weight", x, dimensions)
        rest = torch.log1p(-pi)
        log_m = torch.logaddexp((pi * y).log(), rest + x)
        # For a small π the two logarithms are equal but for their last digits, unless h is nearly 0.
        near = -torch.log1p(pi * (y * (-x.clamp(min=SMALL_LOG)).exp() - 1))
        return pi, log_m, torch.where(x > SMALL_LOG, near, x - log_m), -(1 - pi) * rest

    @property
    def tree(self) -> tuple[Any, ...]:
        """φ as a formula."""
        pi = self._alone("weight")
        m = "+", ("*", pi, "y"), ("*", 1 - pi, "h")
        own = "*", pi, ("*", "y", ("-", ("log", m), ("log", "y")))
        other = "*", 1 - pi, ("*", "h", ("-", ("log", m), ("log", "h")))
        return "/", ("+", own, other), -(1 - pi) * math.log1p(-pi)

    def formula(self, digits: int = 4) -> str:
        """L as a line of text."""
        pi, rest = self._said("weight", digits), f"{1 - self.weight.item():.{digits}g}"
        z = -(1 - self.weight.item()) * math.log1p(-self.weight.item())
        return f"L = ({pi} KL(y‖m) + {rest} KL(h‖m)) / {z:.{digits}g} with m = {pi} y + {rest} h"


def check_power(name: str, log_power: Tensor) -> None:
    """See that powers fit into float32.

    Raises:
        InputError: if the logarithm of the largest is beyond 60.
    """
    if not bool((log_power <= LARGEST_LOG_POWER).all()):
        raise InputError(
            f"the powers of the loss {name!r} reach e^{log_power.max().item():.3g}, more than float32 holds in a "
            f"training; keep them below e^{LARGEST_LOG_POWER:g}: give a smaller power or shift"
        )


def _raised(base: tuple[Any, ...] | str, power: float) -> tuple[Any, ...]:
    """A power of what is above 0."""
    return "exp", ("*", power, ("log", base))


for _kind in (ShiftedPower, FlippedPower, FractionalFocal, JensenShannon):
    KINDS.register(_kind.kind, _kind)
