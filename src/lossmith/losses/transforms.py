"""Losses made of another: divided by its sum over all labels, or of clipped logits."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from lossmith.errors import InputError, brief
from lossmith.losses.base import KINDS, Index, Loss, Rule, common_classes
from lossmith.losses.documents import numbers, part_of
from lossmith.losses.labels import wide
from lossmith.losses.terms import float64

SMALLEST_NORM = 1e-6
# A norm that no logits of a network reach, of which a formula says nothing.
NO_NORM = 1e11


class Transform(Loss):
    """A loss made of another one, L; what a kind of that sort has in common.

    Attributes:
        base: L, one or a population.
    """

    base: Loss

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", common_classes([self.base], self.classes))

    @property
    def shape(self) -> tuple[int, ...]:
        """The population dimensions of L."""
        return self.base.shape

    def at(self, progress: float) -> Loss:
        """The loss with L at a share of the training."""
        base = self.base.at(progress)
        return self if base is self.base else self.of(base)

    def moments(self) -> list[Loss]:
        """The loss with L at each of its moments."""
        return [self if base is self.base else self.of(base) for base in self.base.moments()]

    def to(self, device: torch.device | str) -> Self:
        """The same loss on another device."""
        return self.of(self.base.to(device))

    @abstractmethod
    def of(self, base: Loss) -> Self:
        """The same of another loss of the same shape."""

    def body(self) -> dict[str, Any]:
        """L."""
        return {"base": self.base.to_json()}


@dataclass(frozen=True, eq=False, repr=False)
class Normalized(Transform):
    """A loss divided by its sum over all labels, ``L(h, y) / Σ_j L(h, e_j)``, of which every class is a part.

    With ``A = L(h, y)``, ``B = Σ_j L(h, e_j) = −Σ_k [φ(h_k, 1) + (K − 1) φ(h_k, 0)]`` and their slopes a and b,
    ``g = (a B − A b) / B²``. Its values sum to 1 over the labels, which makes it robust to symmetric label noise. L is
    to be above 0 wherever the label is not reached: where B is 0 there is no such loss, and one below 0 is normalized
    to the same as its opposite. Leave masked classes (logits of −∞) out: they make B so large that nothing trains.

    Args:
        base: L, a sum over classes, one or a population.
        classes: The number of classes that it is made for; that of L without it.
        name: What tables and figures call it.

    Raises:
        InputError: if L is no sum over classes, or made for another number of classes.

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
        super().__post_init__()

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
        one, zero = torch.ones_like(log_h), torch.zeros_like(log_h)
        return function(log_h, one) + (log_h.shape[-1] - 1) * function(log_h, zero)

    def of(self, base: Loss) -> Normalized:
        """Another loss, normalized."""
        return replace(self, base=base)

    def __getitem__(self, index: Index) -> Normalized:
        """Members of a population."""
        return self.of(self.base[index])

    @classmethod
    def joined(cls, losses: Sequence[Normalized], name: str) -> Normalized:
        """The normalized losses of a population."""
        return cls(Loss.stack([loss.base for loss in losses], name), common_classes(losses), name)

    def formula(self, digits: int = 4) -> str:
        """The loss as a line of text."""
        return f"L / Σ_labels L, {_of(self.base, digits)}"

    @classmethod
    def of_body(cls, document: dict[str, Any], classes: int | None, name: str) -> Normalized:
        """The normalized loss of L."""
        return cls(Loss.from_json(part_of(document, "base")), classes, name)


@dataclass(frozen=True, eq=False, repr=False)
class Clipped(Transform):
    """A loss of logits that are scaled down to a norm, ``L(f', y)`` with ``f' = f · min(1, τ/‖f‖₂)``.

    Where ``‖f‖ ≥ τ`` the gradient is that of L at f' less its part along f, times ``τ/‖f‖``. It sees a shift of all
    logits, unlike a loss of the outputs. A masked class (a logit of −∞) is left out of the norm.

    Args:
        base: L, one or a population ``[*P]``.
        threshold: τ, one number or ``[*P]``, kept in float64.
        classes: The number of classes that it is made for; that of L without it.
        name: What tables and figures call it.

    Raises:
        InputError: if τ is not a finite number from 1e-6 on, there is not one for each member, or L is made for another
            number of classes.

    Source: Wei et al. (2023), Mitigating Memorization of Noisy Labels by Clipping the Model Prediction (LogitClip).
    """

    kind: ClassVar[str] = "clipped"
    base: Loss
    threshold: Tensor
    classes: int | None = None
    name: str = "clipped"

    def __post_init__(self) -> None:
        threshold = float64(self.threshold).detach().clone()
        if not bool((threshold.isfinite() & (threshold >= SMALLEST_NORM)).all()):
            raise InputError(
                f"logits are clipped to a finite norm, at least {SMALLEST_NORM:g}, not to {brief(threshold.tolist())}"
            )
        if threshold.ndim and tuple(threshold.shape) != self.base.shape:
            raise InputError(
                f"a population {list(self.base.shape)} takes one norm to clip to or one for each member, not "
                f"{list(threshold.shape)}"
            )
        object.__setattr__(self, "threshold", threshold.expand(self.base.shape).clone())
        super().__post_init__()

    def values(self, log_h: Tensor, y: Tensor) -> Tensor:
        """Those of L at the outputs of the clipped logits."""
        return self.base.values(log_h, y)

    def slope(self, log_h: Tensor, y: Tensor) -> Tensor:
        """That of L at the outputs of the clipped logits."""
        return self.base.slope(log_h, y)

    def value(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of each sample, ``[*P, N]``."""
        self.check_classes(logits.shape[-1])
        return self.base.value(self._clipped(wide(self._spread(logits, targets))), targets)

    def logit_gradient(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The closed-form gradient of each sample's loss with respect to its logits, ``[*P, N, K]``."""
        self.check_classes(logits.shape[-1])
        return self._pulled(self.base.logit_gradient, logits, targets)

    def gradient_rule(self, like: Tensor) -> Rule:
        """:meth:`logit_gradient` with the rule of L prepared once."""
        here = self.to(like.device)
        rule = here.base.gradient_rule(wide(like[..., :0]))
        return lambda logits, targets: here._pulled(rule, logits, targets)

    def _pulled(self, rule: Rule, logits: Tensor, targets: Tensor) -> Tensor:
        f = wide(self._spread(logits, targets))
        return self._pulled_back(rule(self._clipped(f), targets), f).to(logits.dtype)

    def transformed(self, logits: Tensor) -> Tensor:
        """``f · min(1, τ/‖f‖)``, and what L makes of it."""
        return self.base.transformed(self._clipped(logits))

    def pulled_back(self, gradient: Tensor, logits: Tensor) -> Tensor:
        """``s (v − u uᵀ v)`` with ``s = τ/‖f‖`` and ``u = f/‖f‖`` where the logits are clipped, v elsewhere."""
        return self._pulled_back(self.base.pulled_back(gradient, self._clipped(logits)), logits)

    def _clipped(self, logits: Tensor) -> Tensor:
        f, ratio, _ = self._ratio(logits)
        return torch.where(logits.isfinite(), f * ratio.clamp(max=1.0), logits)

    def _pulled_back(self, v: Tensor, logits: Tensor) -> Tensor:
        _, ratio, unit = self._ratio(logits)
        return torch.where(ratio <= 1, ratio * (v - unit * (unit * v).sum(-1, keepdim=True)), v)

    def _ratio(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits without masked classes, ``τ/‖f‖``, and ``f/‖f‖``."""
        f = torch.where(logits.isfinite(), logits, 0.0)
        # The largest logit taken out, since a square of it need not fit into float32.
        largest = f.detach().abs().amax(-1, keepdim=True).clamp(min=SMALLEST_NORM)
        part = f / largest
        rest = part.square().sum(-1, keepdim=True).clamp(min=1e-30).sqrt()
        limit = self.threshold.to(logits).reshape(*self.shape, 1, 1)
        return f, limit / largest / rest, part / rest

    def of(self, base: Loss) -> Clipped:
        """Another loss of the same clipped logits."""
        return replace(self, base=base)

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
        if not self.shape and self.threshold.item() >= NO_NORM:
            return self.base.formula(digits)
        return f"L(f min(1, {self.threshold.item():.{digits}g}/‖f‖)), {_of(self.base, digits)}"

    def body(self) -> dict[str, Any]:
        """L and τ."""
        return {**super().body(), "threshold": self.threshold.tolist()}

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
