"""Losses made of others: divided by their sum over all labels, or of clipped logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from reprlib import repr as brief
from typing import Any, ClassVar

import torch
from torch import Tensor

from lossmith.errors import InputError
from lossmith.losses.base import KINDS, Index, Loss, common_classes, numbers, part_of


@dataclass(frozen=True, eq=False, repr=False)
class Normalized(Loss):
    """A loss divided by its sum over all labels, ``L(h, y) / Σ_j L(h, e_j)``, of which every class is a part.

    With ``A = L(h, y)``, ``B = Σ_j L(h, e_j) = −Σ_k [φ(h_k, 1) + (K − 1) φ(h_k, 0)]`` and their slopes a and b,
    ``g = (a B − A b) / B²``. Its values sum to 1 over the labels, which makes it robust to symmetric label noise. B
    must not be 0: take a loss that is above 0 wherever the label is not reached.

    Args:
        base: L, one or a population.
        classes: The number of classes that it is made for; that of L without it.
        name: What tables and figures call it.

    Raises:
        InputError: if L is no sum over classes.

    Source: Ma et al. (2020), Normalized Loss Functions for Deep Learning with Noisy Labels.
    """

    kind: ClassVar[str] = "normalized"
    base: Loss
    classes: int | None = None
    name: str = "normalized"

    def __post_init__(self) -> None:
        if not self.base.sums_over_classes:
            raise InputError(
                f"a normalized loss is one of a sum over classes, which {self.base.name!r} ({self.base.kind}) is not"
            )
        object.__setattr__(self, "classes", self.base.classes if self.classes is None else self.classes)

    @property
    def shape(self) -> tuple[int, ...]:
        """The population dimensions of L."""
        return self.base.shape

    def values(self, log_h: Tensor, y: Tensor) -> Tensor:
        """``A / B`` of each sample, ``[*P, N]``."""
        return self.base.values(log_h, y) / self._over_labels(self.base.values, log_h)

    def slope(self, log_h: Tensor, y: Tensor) -> Tensor:
        """``(a B − A b) / B²``, ``[*P, N, K]``."""
        total = self._over_labels(self.base.values, log_h)[..., None]
        b = self._over_labels(self.base.slope, log_h)
        # Divided one after another: B² has no place in float32 where B has.
        return (self.base.slope(log_h, y) - self.base.values(log_h, y)[..., None] / total * b) / total

    @staticmethod
    def _over_labels(function: Callable[[Tensor, Tensor], Tensor], log_h: Tensor) -> Tensor:
        """Value or slope of L, summed over all labels: each class is the label once, and K − 1 times it is not."""
        return function(log_h, log_h.new_ones(())) + (log_h.shape[-1] - 1) * function(log_h, log_h.new_zeros(()))

    def to(self, device: torch.device | str) -> Normalized:
        """The same loss on another device."""
        return replace(self, base=self.base.to(device))

    def __getitem__(self, index: Index) -> Normalized:
        """Members of a population."""
        return replace(self, base=self.base[index])

    @classmethod
    def joined(cls, losses: Sequence[Normalized], name: str) -> Normalized | None:
        """The normalized losses of a population; None where theirs is a mixed one."""
        base = Loss.stack([loss.base for loss in losses], name)
        return cls(base, common_classes(losses), name) if base.sums_over_classes else None

    def formula(self, digits: int = 4) -> str:
        """The loss as a line of text."""
        return f"L / Σ_labels L, {_of(self.base, digits)}"

    def body(self) -> dict[str, Any]:
        """L."""
        return {"base": self.base.to_json()}

    @classmethod
    def of_body(cls, document: dict[str, Any], classes: int | None, name: str) -> Normalized:
        """The normalized loss of L."""
        return cls(Loss.from_json(part_of(document, "base")), classes, name)


@dataclass(frozen=True, eq=False, repr=False)
class Clipped(Loss):
    """A loss of logits that are scaled down to a norm, ``L(f', y)`` with ``f' = f · min(1, τ/‖f‖₂)``.

    Where ``‖f‖ > τ`` the gradient is that of L at f' less its part along f, times ``τ/‖f‖``. It sees a shift of all
    logits, unlike a loss of the outputs.

    Args:
        base: L, one or a population ``[*P]``.
        threshold: τ, one number or ``[*P]``, kept in float64.
        classes: The number of classes that it is made for; that of L without it.
        name: What tables and figures call it.

    Raises:
        InputError: if τ is not a finite number above 0, or there is not one for each member.

    Source: Wei et al. (2023), Mitigating Memorization of Noisy Labels by Clipping the Model Prediction (LogitClip).
    """

    kind: ClassVar[str] = "clipped"
    base: Loss
    threshold: Tensor
    classes: int | None = None
    name: str = "clipped"

    def __post_init__(self) -> None:
        threshold = torch.as_tensor(self.threshold, dtype=torch.float64).detach().clone()
        if not bool((threshold.isfinite() & (threshold > 0)).all()):
            raise InputError(f"logits are clipped to a finite norm above 0, not to {brief(threshold.tolist())}")
        if threshold.ndim and tuple(threshold.shape) != self.base.shape:
            raise InputError(
                f"a population {list(self.base.shape)} takes one norm to clip to or one for each member, not "
                f"{list(threshold.shape)}"
            )
        object.__setattr__(self, "threshold", threshold.expand(self.base.shape).clone())
        object.__setattr__(self, "classes", self.base.classes if self.classes is None else self.classes)

    @property
    def shape(self) -> tuple[int, ...]:
        """The population dimensions of L."""
        return self.base.shape

    def values(self, log_h: Tensor, y: Tensor) -> Tensor:
        """Those of L at the outputs of the clipped logits."""
        return self.base.values(log_h, y)

    def slope(self, log_h: Tensor, y: Tensor) -> Tensor:
        """That of L at the outputs of the clipped logits."""
        return self.base.slope(log_h, y)

    def transformed(self, logits: Tensor) -> Tensor:
        """``f · min(1, τ/‖f‖)``, and what L makes of it."""
        return self.base.transformed(logits * self._scale(logits))

    def pulled_back(self, gradient: Tensor, logits: Tensor) -> Tensor:
        """``s (v − u uᵀ v)`` with ``s = τ/‖f‖`` and ``u = f/‖f‖`` where the logits are clipped, v elsewhere."""
        scale = self._scale(logits)
        clipped = logits * scale
        v = self.base.pulled_back(gradient, clipped)
        along = clipped * ((clipped * v).sum(-1, keepdim=True) / self._limit(logits) ** 2)
        return torch.where(scale < 1, scale * (v - along), v)

    def _limit(self, logits: Tensor) -> Tensor:
        return self.threshold.to(logits).reshape(*self.shape, 1, 1)

    def _scale(self, logits: Tensor) -> Tensor:
        # The largest logit taken out, since a square of it need not fit into float32.
        largest = logits.detach().abs().amax(-1, keepdim=True).clamp(min=1.0)
        norm = largest * (logits / largest).square().sum(-1, keepdim=True).clamp(min=1e-30).sqrt()
        return (self._limit(logits) / norm).clamp(max=1.0)

    def at(self, progress: float) -> Loss:
        """The loss with L at a share of the training."""
        base = self.base.at(progress)
        return self if base is self.base else replace(self, base=base)

    def to(self, device: torch.device | str) -> Clipped:
        """The same loss on another device."""
        return replace(self, base=self.base.to(device), threshold=self.threshold.to(device))

    def __getitem__(self, index: Index) -> Clipped:
        """Members of a population."""
        return replace(self, base=self.base[index], threshold=self.threshold[index])

    @classmethod
    def joined(cls, losses: Sequence[Clipped], name: str) -> Clipped:
        """The clipped losses of a population."""
        base = Loss.stack([loss.base for loss in losses], name)
        return cls(base, torch.stack([loss.threshold for loss in losses]), common_classes(losses), name)

    def formula(self, digits: int = 4) -> str:
        """The loss as a line of text."""
        return f"L(f min(1, {self.threshold.item():.{digits}g}/‖f‖)), {_of(self.base, digits)}"

    def body(self) -> dict[str, Any]:
        """L and τ."""
        return {"base": self.base.to_json(), "threshold": self.threshold.tolist()}

    @classmethod
    def of_body(cls, document: dict[str, Any], classes: int | None, name: str) -> Clipped:
        """The clipped loss of L and τ."""
        base, threshold = Loss.from_json(part_of(document, "base")), numbers(part_of(document, "threshold"))
        if threshold is None:
            raise InputError('"threshold" of the loss file must be a number, or one for each member')
        return cls(base, threshold, classes, name)


def _of(loss: Loss, digits: int) -> str:
    return f"L = −Σ_k ({loss.formula(digits)})" if loss.sums_over_classes else f"L = {loss.formula(digits)}"


for _kind in (Normalized, Clipped):
    KINDS.register(_kind.kind, _kind)
