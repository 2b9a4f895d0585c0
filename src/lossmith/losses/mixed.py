"""Populations of different kinds of loss, which are evaluated member by member."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from lossmith.errors import InputError
from lossmith.losses.base import KINDS, Index, Loss, Rule, common_classes
from lossmith.losses.documents import part_of


@dataclass(frozen=True, eq=False, repr=False)
class Mixed(Loss):
    """A population ``[P]`` of losses of any kinds; :meth:`Loss.stack` makes it where it must.

    Args:
        members: The P losses, each one alone.
        classes: The number of classes that they are made for, or None if they fit any.
        name: What tables and figures call the population.

    Raises:
        InputError: if there are none, one is a population itself, or they are made for different numbers of classes.
    """

    kind: ClassVar[str] = "mixed"
    members: tuple[Loss, ...]
    classes: int | None = None
    name: str = "population"

    def __post_init__(self) -> None:
        if not self.members:
            raise InputError("a population needs at least one loss")
        if any(member.shape for member in self.members):
            raise InputError("populations of different kinds of loss cannot be stacked; stack their members")
        object.__setattr__(self, "classes", common_classes(self.members, self.classes))

    @property
    def sums_over_classes(self) -> bool:
        """Whether every member is such a sum."""
        return all(member.sums_over_classes for member in self.members)

    @property
    def is_shift_free(self) -> bool:
        """Whether every member looks at the outputs only."""
        return all(member.is_shift_free for member in self.members)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(P,)``."""
        return (len(self.members),)

    def values(self, log_h: Tensor, y: Tensor) -> Tensor:
        """The loss of each sample, ``[P, N]``."""
        return self._each(lambda member, x, of: member.values(x, of), log_h, y)

    def slope(self, log_h: Tensor, y: Tensor) -> Tensor:
        """``g`` of each member, ``[P, N, K]``."""
        return self._each(lambda member, x, of: member.slope(x, of), log_h, y)

    def phi(self, h: Tensor, y: Tensor) -> Tensor:
        """φ of each member, elementwise, ``[P, …]``."""
        return self._each(lambda member, x, of: member.phi(x, of), h, y)

    def value(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of each sample, ``[P, N]``."""
        self.check_classes(logits.shape[-1])
        return self.by_member([member.value for member in self.members], logits, targets)

    def logit_gradient(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The closed-form gradient of each sample's loss with respect to its logits, ``[P, N, K]``."""
        self.check_classes(logits.shape[-1])
        return self.by_member([member.logit_gradient for member in self.members], logits, targets)

    def gradient_rule(self, like: Tensor) -> Rule:
        """:meth:`logit_gradient` with the rule of each member prepared once."""
        rules = [member.gradient_rule(like) for member in self.members]
        return lambda logits, targets: self.by_member(rules, logits, targets)

    def transformed(self, logits: Tensor) -> Tensor:
        """What each member looks at, ``[P, N, K]``."""
        return torch.stack([member.transformed(f) for member, f in zip(self.members, logits, strict=True)])

    def pulled_back(self, gradient: Tensor, logits: Tensor) -> Tensor:
        """The gradient of each member with respect to the logits, ``[P, N, K]``."""
        rows = zip(self.members, gradient, logits, strict=True)
        return torch.stack([member.pulled_back(v, f) for member, v, f in rows])

    def at(self, progress: float) -> Loss:
        """The members at a share of the training."""
        now = [member.at(progress) for member in self.members]
        same = all(new is old for new, old in zip(now, self.members, strict=True))
        return self if same else Loss.stack(now, self.name)

    def to(self, device: torch.device | str) -> Mixed:
        """The same losses with their numbers on another device."""
        return Mixed(tuple(member.to(device) for member in self.members), self.classes, self.name)

    @classmethod
    def of_members(cls, losses: Sequence[Loss], name: str) -> Mixed:
        """Losses of any kinds as one population."""
        return cls(tuple(losses), None, name)

    def __getitem__(self, index: Index) -> Loss:
        """Members of the population, by any index over its dimension."""
        place: Tensor = torch.arange(len(self.members), device="cpu")[index]
        if place.ndim:
            return Loss.stack([self.members[int(row)] for row in place], self.name)
        return self.members[int(place)]

    def formula(self, digits: int = 4) -> str:  # noqa: ARG002
        """Nothing: it is no one loss."""
        raise InputError("a population has no single formula; index one member")

    def body(self) -> dict[str, Any]:
        """Each member as a loss of its own."""
        return {"members": [member.to_json() for member in self.members]}

    @classmethod
    def of_body(cls, document: dict[str, Any], classes: int | None, name: str) -> Loss:  # type: ignore[override]
        """The population of its members."""
        members = part_of(document, "members")
        if not isinstance(members, list):
            raise InputError('"members" of the loss file must be a list of losses')
        found = [Loss.from_json(member) for member in members]
        common_classes(found, classes)
        return Loss.stack(found, name)

    def _each(self, function: Callable[[Loss, Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
        shape = np.broadcast_shapes((len(self.members), *(1,) * (max(x.ndim, y.ndim) - 1)), x.shape, y.shape)
        rows = zip(self.members, x.expand(shape), y.expand(shape), strict=True)
        return torch.stack([function(*row) for row in rows])

    def by_member(self, functions: Sequence[Callable[[Tensor, Tensor], Tensor]], f: Tensor, targets: Tensor) -> Tensor:
        """What a function of each member gives for its logits and its targets.

        Args:
            functions: P of them, of logits ``[N, K]`` and targets.
            f: Logits ``[P, N, K]``; the first dimension may be 1.
            targets: As in :meth:`Loss.value`.
        """
        spread = self._spread(f, targets)
        labels = targets.expand(*spread.shape[: None if targets.is_floating_point() else -1])
        rows = zip(functions, spread, labels, strict=True)
        return torch.stack([function(row, of) for function, row, of in rows])


KINDS.register(Mixed.kind, Mixed)
