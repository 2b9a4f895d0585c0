"""Losses that are sums over classes and no sums of powers: of shifted outputs, fractional focal, Jensen–Shannon.

Each has a closed-form slope that keeps its digits where an output is nearly 0 or 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lossmith.losses.base import KINDS
from lossmith.losses.parametric import TINY, Parametric, Range, check_power, raised

# Of outputs whose inverse is still far from overflowing.
SMALL_LOG = -30.0


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
        return "/", ("*", "y", ("-", raised(("+", a, "h") if a else "h", q), (a + 1) ** q)), q

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
        return "/", ("*", "y", ("-", (a - 1) ** p, raised(("-", a, "h"), p))), p

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
        return "*", ("*", "y", ("log", "h")), raised(("-", 1.0, "h"), self._alone("focusing"))

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


for _kind in (ShiftedPower, FlippedPower, FractionalFocal, JensenShannon):
    KINDS.register(_kind.kind, _kind)
