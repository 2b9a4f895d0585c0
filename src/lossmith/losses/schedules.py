"""Losses that change during the training: one loss at some shares of it, and what lies between."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from lossmith.errors import InputError, brief
from lossmith.losses.base import KINDS, Index, Loss, Rule, common_classes
from lossmith.losses.documents import part_of
from lossmith.losses.power import PowerLoss

# Between two knots a loss changes in so many steps of the whole training: with every batch, preparing it anew would
# cost more than it teaches.
STEPS, MOST_KNOTS = 64, 100


@dataclass(frozen=True, eq=False, repr=False)
class Schedule(Loss):
    """A loss that changes during the training (:func:`lossmith.schedule`).

    At a knot it is the loss there; between two, the loss whose φ is interpolated linearly, in 64 steps of the whole
    training, or, with ``steps``, the loss of the knot before. Before the first knot and after the last one it stays.
    Where nobody says how far the training is, it is the loss of its beginning.

    Args:
        knots: Shares of the training, ascending, from 0 to 1.
        losses: The loss at each knot, or the population.
        steps: Whether it jumps from knot to knot.
        classes: The number of classes that it is made for, or None if it fits any.
        name: What tables and figures call it.

    Raises:
        InputError: if knots and losses do not fit together, or losses of transformed logits are to be interpolated.
    """

    kind: ClassVar[str] = "schedule"
    knots: tuple[float, ...]
    losses: tuple[Loss, ...]
    steps: bool = False
    classes: int | None = None
    name: str = "schedule"

    def __post_init__(self) -> None:
        knots = tuple(_share(knot, self.name) for knot in self.knots)
        if not 1 <= len(knots) <= MOST_KNOTS or len(knots) != len(self.losses):
            raise InputError(
                f"the schedule {self.name!r} has {len(knots)} knots and {len(self.losses)} losses; give as many of one "
                f"as of the other, up to {MOST_KNOTS}"
            )
        if any(later <= earlier for earlier, later in itertools.pairwise(knots)):
            raise InputError(f"the knots of the schedule {self.name!r} are {list(knots)}; each must be after the last")
        if any(isinstance(loss, Schedule) for loss in self.losses):
            raise InputError(f"the schedule {self.name!r} holds a schedule; give the losses of that at knots of one")
        if len({loss.shape for loss in self.losses}) > 1:
            raise InputError(f"the losses of the schedule {self.name!r} differ in their population; give equal ones")
        strange = next((loss for loss in self.losses if not loss.is_shift_free), None)
        if strange is not None and not self.steps and len(knots) > 1:
            raise InputError(
                f"the loss {strange.name!r} ({strange.kind}) looks at transformed logits, so nothing lies between it "
                "and another one; give steps=True"
            )
        object.__setattr__(self, "knots", knots)
        object.__setattr__(self, "classes", common_classes(self.losses, self.classes))
        # What it is at each step between two knots: asked again and again by a training.
        object.__setattr__(self, "_known", dict[tuple[int, int], Loss]())
        # Two sums of powers with the same terms, by the knot that they lead to.
        object.__setattr__(self, "_pairs", dict[int, PowerLoss]())

    def at(self, progress: float) -> Loss:
        """The loss at a share of the training."""
        after = next((number for number, knot in enumerate(self.knots) if knot > progress), len(self.knots))
        if after in (0, len(self.knots)) or self.steps:
            return self.losses[max(0, after - 1)]
        before, behind = self.knots[after - 1], self.knots[after]
        count = max(1, round(STEPS * (behind - before)))
        step = math.floor(count * (progress - before) / (behind - before) + 1e-9)
        known: dict[tuple[int, int], Loss] = self._known  # type: ignore[attr-defined]
        if (after, step) not in known:
            known[after, step] = self._between(after, step / count)
        return known[after, step]

    def _between(self, after: int, share: float) -> Loss:
        """The loss at a share of the way to a knot."""
        first, second = self.losses[after - 1 : after + 1]
        if share == 0:
            return first
        if isinstance(first, PowerLoss) and isinstance(second, PowerLoss):
            pairs: dict[int, PowerLoss] = self._pairs  # type: ignore[attr-defined]
            if after not in pairs:
                pairs[after] = PowerLoss.joined((first, second), self.name)
            pair = pairs[after]
            before, behind = pair.coefficients
            return PowerLoss(pair.terms, before * (1 - share) + behind * share, pair.classes, self.name)
        return Blend(first, second, share, self.classes, self.name)

    def moments(self) -> list[Loss]:
        """The loss at each knot, under a name that says when."""
        return [loss.named(f"at {knot:g}: {self.name}") for knot, loss in zip(self.knots, self.losses, strict=True)]

    @property
    def sums_over_classes(self) -> bool:
        """Whether it is such a sum at each knot."""
        return all(loss.sums_over_classes for loss in self.losses)

    @property
    def is_shift_free(self) -> bool:
        """Whether it looks at the outputs only, at each knot."""
        return all(loss.is_shift_free for loss in self.losses)

    @property
    def shape(self) -> tuple[int, ...]:
        """The population dimensions of the losses."""
        return self.losses[0].shape

    def phi(self, h: Tensor, y: Tensor) -> Tensor:
        """φ at the beginning."""
        return self._begin.phi(h, y)

    def values(self, log_h: Tensor, y: Tensor) -> Tensor:
        """The loss of each sample at the beginning, ``[*P, N]``."""
        return self._begin.values(log_h, y)

    def slope(self, log_h: Tensor, y: Tensor) -> Tensor:
        """``g`` at the beginning, ``[*P, N, K]``."""
        return self._begin.slope(log_h, y)

    def transformed(self, logits: Tensor) -> Tensor:
        """What it looks at in the beginning."""
        return self._begin.transformed(logits)

    def pulled_back(self, gradient: Tensor, logits: Tensor) -> Tensor:
        """The gradient with respect to the logits in the beginning."""
        return self._begin.pulled_back(gradient, logits)

    @property
    def _begin(self) -> Loss:
        return self.at(0.0)

    def to(self, device: torch.device | str) -> Schedule:
        """The same schedule on another device."""
        moved = tuple(loss.to(device) for loss in self.losses)
        same = all(new is old for new, old in zip(moved, self.losses, strict=True))
        return self if same else replace(self, losses=moved)

    def __getitem__(self, index: Index) -> Schedule:
        """Members of a population."""
        return replace(self, losses=tuple(loss[index] for loss in self.losses))

    @classmethod
    def joined(cls, losses: Sequence[Schedule], name: str) -> Schedule | None:
        """Schedules with the same knots as one population; None for others."""
        first = losses[0]
        if any((loss.knots, loss.steps) != (first.knots, first.steps) for loss in losses):
            return None
        each = zip(*(loss.losses for loss in losses), strict=True)
        return cls(first.knots, tuple(Loss.stack(column) for column in each), first.steps, None, name)

    def formula(self, digits: int = 4) -> str:
        """The loss at each knot, as a line of text."""
        parts = [f"{knot:g}: {loss.formula(digits)}" for knot, loss in zip(self.knots, self.losses, strict=True)]
        return f"{'; '.join(parts)}{' (in steps)' if self.steps else ''}"

    def body(self) -> dict[str, Any]:
        """Knots and losses."""
        return {
            "knots": list(self.knots),
            "losses": [loss.to_json() for loss in self.losses],
            "steps": self.steps,
        }

    @classmethod
    def of_body(cls, document: dict[str, Any], classes: int | None, name: str) -> Schedule:
        """The schedule of knots and losses."""
        knots, losses, steps = (part_of(document, key) for key in ("knots", "losses", "steps"))
        if not isinstance(knots, list) or not isinstance(losses, list) or not isinstance(steps, bool):
            raise InputError('"knots" and "losses" of the loss file must be lists, and "steps" true or false')
        return cls(tuple(knots), tuple(map(Loss.from_json, losses)), steps, classes, name)


@dataclass(frozen=True, eq=False, repr=False)
class Blend(Loss):
    """Two losses of the outputs, ``(1 − w) L₁ + w L₂``: a moment of a schedule.

    Args:
        first: L₁, one or a population.
        second: L₂, of the same shape.
        share: w, from 0 to 1.
        classes: The number of classes that it is made for, or None if it fits any.
        name: What tables and figures call it.

    Raises:
        InputError: if they differ in shape, look at transformed logits, or the share is none.
    """

    kind: ClassVar[str] = "blend"
    first: Loss
    second: Loss
    share: float
    classes: int | None = None
    name: str = "blend"

    def __post_init__(self) -> None:
        if self.first.shape != self.second.shape:
            raise InputError(f"the losses of the blend {self.name!r} differ in their population; give equal ones")
        if not (self.first.is_shift_free and self.second.is_shift_free):
            raise InputError(f"a loss of the blend {self.name!r} looks at transformed logits; give losses of outputs")
        object.__setattr__(self, "share", _share(self.share, self.name))
        object.__setattr__(self, "classes", common_classes([self.first, self.second], self.classes))

    @property
    def sums_over_classes(self) -> bool:
        """Whether both are such sums."""
        return self.first.sums_over_classes and self.second.sums_over_classes

    @property
    def shape(self) -> tuple[int, ...]:
        """The population dimensions of both."""
        return self.first.shape

    def phi(self, h: Tensor, y: Tensor) -> Tensor:
        """φ, elementwise."""
        return self._both(self.first.phi(h, y), self.second.phi(h, y))

    def values(self, log_h: Tensor, y: Tensor) -> Tensor:
        """The loss of each sample, ``[*P, N]``."""
        return self._both(self.first.values(log_h, y), self.second.values(log_h, y))

    def slope(self, log_h: Tensor, y: Tensor) -> Tensor:
        """``g``, ``[*P, N, K]``."""
        return self._both(self.first.slope(log_h, y), self.second.slope(log_h, y))

    def gradient_rule(self, like: Tensor) -> Rule:
        """The gradient, with that of both prepared."""
        first, second = self.first.gradient_rule(like), self.second.gradient_rule(like)
        return lambda logits, targets: self._both(first(logits, targets), second(logits, targets))

    def to(self, device: torch.device | str) -> Blend:
        """The same on another device."""
        return replace(self, first=self.first.to(device), second=self.second.to(device))

    def __getitem__(self, index: Index) -> Blend:
        """Members of a population."""
        return replace(self, first=self.first[index], second=self.second[index])

    def formula(self, digits: int = 4) -> str:
        """The loss as a line of text."""
        parts = ((1 - self.share, self.first), (self.share, self.second))
        return " + ".join(f"{share:.{digits}g} [{loss.formula(digits)}]" for share, loss in parts)

    def body(self) -> dict[str, Any]:
        """Both losses and the share."""
        return {"first": self.first.to_json(), "second": self.second.to_json(), "share": self.share}

    @classmethod
    def of_body(cls, document: dict[str, Any], classes: int | None, name: str) -> Blend:
        """The blend of two losses."""
        first, second = (Loss.from_json(part_of(document, key)) for key in ("first", "second"))
        return cls(first, second, part_of(document, "share"), classes, name)

    def _both(self, first: Tensor, second: Tensor) -> Tensor:
        return torch.lerp(first, second.to(first).expand_as(first), self.share)


def schedule(
    knots: Sequence[tuple[float, Loss | str]], steps: bool = False, classes: int | None = None, name: str | None = None
) -> Schedule:
    """A loss that changes during the training, linearly from knot to knot.

    The trainer of this package says how far it is; elsewhere set ``criterion.progress``.

    Args:
        knots: Shares of the training, ascending, with the loss at each, or what names it (:func:`lossmith.find`).
        steps: Jump from knot to knot; nothing lies between then.
        classes: n, which losses by name may depend on.
        name: What tables and figures call it.

    Raises:
        InputError: if a share lies outside [0, 1], they do not ascend, or there is no such loss.

    Example:
        >>> loss = schedule([(0.0, "cross-entropy"), (1.0, "mae")])
        >>> loss.at(0.5).formula()
        '0.5 y log h − 0.5 y + 0.5 h y'
    """
    from lossmith.losses.parse import find_weighted

    pairs = [_pair(one) for one in knots]
    losses = tuple(loss if isinstance(loss, Loss) else find_weighted(loss, classes)[0] for _, loss in pairs)
    shares = tuple(share for share, _ in pairs)
    called = name or " → ".join(loss.name for loss in losses)
    return Schedule(shares, losses, steps, classes, called)


def _pair(given: Any) -> tuple[float, Any]:
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise InputError(f"a schedule is a list of (share of the training, loss), and {brief(given)} is none")
    if not isinstance(given[1], Loss | str | os.PathLike):
        raise InputError(
            f"a schedule is a list of (share of the training, loss), and {brief(given)} has no loss second"
        )
    return given[0], given[1]


def _share(value: Any, name: str) -> float:
    """A share of the training."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
    if not fits:
        raise InputError(f"the schedule {name!r} has the share {brief(value)}; give a number from 0 to 1")
    return float(value)


KINDS.register(Schedule.kind, Schedule)
KINDS.register(Blend.kind, Blend)
