"""What losses have in common that are sums over classes of one function with a few numbers.

A population has the numbers of all its members, and is evaluated in one go.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from lossmith.errors import InputError, brief
from lossmith.losses import powers
from lossmith.losses.base import Index, Loss, common_classes
from lossmith.losses.documents import numbers, part_of
from lossmith.losses.terms import float64

TINY = 1e-30
# Of powers: so much is in float32 with its slope and a batch of it.
LARGEST_LOG_POWER = 60.0


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


def raised(base: tuple[Any, ...] | str, power: float) -> tuple[Any, ...]:
    """A power of what is above 0, as a formula."""
    return "exp", ("*", power, ("log", base))
