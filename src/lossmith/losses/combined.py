"""Weighted sums of losses of different kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from lossmith.errors import InputError, brief
from lossmith.losses.base import KINDS, Index, Loss, Rule, common_classes
from lossmith.losses.documents import MOST_TERMS, numbers, part_of
from lossmith.losses.labels import wide
from lossmith.losses.terms import float64


@dataclass(frozen=True, eq=False, repr=False)
class Sum(Loss):
    """``L = Σ_i w_i L_i`` of losses of the outputs, of any kinds.

    Args:
        parts: The losses L_i: each a population ``[*P]`` like the weights, or one loss that all members share.
        weights: w, ``[*P, T]``, finite, kept in float64.
        classes: The number of classes that it is made for, or None if it fits any.
        name: What tables and figures call it.

    Raises:
        InputError: if weights and parts do not fit together, a weight is not finite, or a part looks at transformed
            logits or changes during the training.
    """

    kind: ClassVar[str] = "sum"
    parts: tuple[Loss, ...]
    weights: Tensor
    classes: int | None = None
    name: str = "sum"

    def __post_init__(self) -> None:
        weights = float64(self.weights).detach().clone()
        if weights.ndim == 0 or weights.shape[-1] != len(self.parts) or not self.parts:
            raise InputError(
                f"a sum of {len(self.parts)} losses takes as many weights in its last dimension, not a shape of "
                f"{brief(tuple(weights.shape))}"
            )
        if not bool(weights.isfinite().all()):
            raise InputError(f"the sum {self.name!r} has a weight that is not a finite number")
        shape = tuple(weights.shape[:-1])
        strange = next((part for part in self.parts if part.shape not in ((), shape)), None)
        if strange is not None:
            raise InputError(
                f"the loss {strange.name!r} of the sum {self.name!r} is a population {list(strange.shape)}, and its "
                f"weights are those of {list(shape)}; give equal ones"
            )
        clipped = next((part for part in self.parts if not part.is_shift_free), None)
        if clipped is not None:
            raise InputError(
                f"the loss {clipped.name!r} ({clipped.kind}) of the sum {self.name!r} looks at transformed logits; "
                "transform the logits of the whole sum"
            )
        changing = next((part for part in self.parts if part.at(0.0) is not part or part.at(1.0) is not part), None)
        if changing is not None:
            raise InputError(
                f"the loss {changing.name!r} ({changing.kind}) of the sum {self.name!r} changes during the training; "
                "make a schedule of sums"
            )
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "classes", common_classes(self.parts, self.classes))

    @property
    def sums_over_classes(self) -> bool:
        """Whether every part is such a sum."""
        return all(part.sums_over_classes for part in self.parts)

    @property
    def shape(self) -> tuple[int, ...]:
        """The population dimensions of the weights."""
        return tuple(self.weights.shape[:-1])

    def phi(self, h: Tensor, y: Tensor) -> Tensor:
        """φ, elementwise."""
        return self._total([part.phi(h, y) for part in self.parts], max(h.ndim, y.ndim))

    def values(self, log_h: Tensor, y: Tensor) -> Tensor:
        """The loss of each sample, ``[*P, N]``."""
        return self._total([part.values(log_h, y) for part in self.parts], log_h.ndim - 1)

    def slope(self, log_h: Tensor, y: Tensor) -> Tensor:
        """``g``, ``[*P, N, K]``."""
        return self._total([part.slope(log_h, y) for part in self.parts], max(log_h.ndim, y.ndim))

    def gradient_rule(self, like: Tensor) -> Rule:
        """The gradient, with that of each part prepared."""
        here = self.to(like.device)
        rules = [part.gradient_rule(wide(like[..., :0])) for part in here.parts]

        def rule(logits: Tensor, targets: Tensor) -> Tensor:
            f = wide(here._spread(logits, targets))
            return here._total([part(f, targets) for part in rules], f.ndim).to(logits.dtype)

        return rule

    def to(self, device: torch.device | str) -> Sum:
        """The same loss on another device."""
        return replace(self, parts=tuple(part.to(device) for part in self.parts), weights=self.weights.to(device))

    def __getitem__(self, index: Index) -> Sum:
        """Members of a population."""
        if not self.shape:
            super().__getitem__(index)
        parts = tuple(part[index] if part.shape else part for part in self.parts)
        return replace(self, parts=parts, weights=self.weights[index])

    @classmethod
    def joined(cls, losses: Sequence[Sum], name: str) -> Loss | None:
        """Sums with as many parts as one population; None for others. Parts that all share stay one loss."""
        if len({len(loss.parts) for loss in losses}) > 1:
            return None
        parts = list[Loss]()
        for column in zip(*(loss.parts for loss in losses), strict=True):
            shared = not column[0].shape and all(part == column[0] for part in column)
            if not shared and any(part.shape != loss.shape for part, loss in zip(column, losses, strict=True)):
                return None
            parts.append(column[0] if shared else Loss.stack(column))
        return cls(tuple(parts), torch.stack([loss.weights for loss in losses]), common_classes(losses), name)

    def formula(self, digits: int = 4) -> str:
        """The loss as a line of text."""
        if self.shape:
            raise InputError("a population has no single formula; index one member")
        each = [pair for pair in zip(self.weights.tolist(), self.parts, strict=True) if pair[0]]
        return " + ".join(f"{weight:.{digits}g} [{part.formula(digits)}]" for weight, part in each) or "0"

    def body(self) -> dict[str, Any]:
        """Weights and losses."""
        return {"weights": self.weights.tolist(), "parts": [part.to_json() for part in self.parts]}

    @classmethod
    def of_body(cls, document: dict[str, Any], classes: int | None, name: str) -> Sum:
        """The sum of weights and losses."""
        parts, weights = part_of(document, "parts"), numbers(part_of(document, "weights"))
        if not isinstance(parts, list) or len(parts) > MOST_TERMS or weights is None:
            raise InputError(
                f'"parts" of the loss file must be a list of at most {MOST_TERMS} losses, and "weights" a number for '
                "each of them"
            )
        return cls(tuple(map(Loss.from_json, parts)), weights, classes, name)

    def _total(self, parts: Sequence[Tensor], dimensions: int) -> Tensor:
        """The weighted sum of what the parts have."""
        columns = self.weights.to(parts[0]).unbind(-1)
        wide = [weight.reshape((*self.shape, *(1,) * (dimensions - len(self.shape)))) for weight in columns]
        return torch.stack(
            torch.broadcast_tensors(*(weight * part for weight, part in zip(wide, parts, strict=True)))
        ).sum(0)


KINDS.register(Sum.kind, Sum)
