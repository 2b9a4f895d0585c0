"""Losses that couple classes: of sharpened outputs, of outputs behind a noise matrix, and negative ones.

A loss L of transformed outputs h' looks at ``log h'``; its slope follows by the chain rule,
``g_k = Σ_j g'_j ∂log h'_j / ∂log h_k``.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from lossmith.errors import InputError, brief
from lossmith.losses import powers
from lossmith.losses.base import KINDS, Index, Loss, common_classes
from lossmith.losses.documents import numbers, part_of
from lossmith.losses.terms import float64
from lossmith.losses.transforms import Transform

LARGEST_SHARPENING = 1e12
# What published code takes for the smallest output; −log of it is the constant of the negative loss.
SMALLEST_OUTPUT = 1e-7
# Numbers that are made at once behind a noise matrix.
ROOM = 2**24


class OutputTransform(Transform):
    """A loss of transformed outputs; what its kinds have in common."""

    def __post_init__(self) -> None:
        if not self.base.is_shift_free:
            raise InputError(
                f"the loss {self.base.name!r} ({self.base.kind}) of the transformed outputs of {self.name!r} looks at "
                "transformed logits; transform the outputs first, and the logits of the whole"
            )
        super().__post_init__()

    def values(self, log_h: Tensor, y: Tensor) -> Tensor:
        """Those of L at the transformed outputs."""
        return self.base.values(self.outputs(log_h), y)

    def slope(self, log_h: Tensor, y: Tensor) -> Tensor:
        """That of L at the transformed outputs, by the chain rule."""
        moved = self.outputs(log_h)
        return self.chained(self.base.slope(moved, y).expand_as(moved), log_h)

    @abstractmethod
    def outputs(self, log_h: Tensor) -> Tensor:
        """``log h'``, ``[*P, N, K]``."""

    @abstractmethod
    def chained(self, slope: Tensor, log_h: Tensor) -> Tensor:
        """``Σ_j g'_j ∂log h'_j / ∂log h_k``."""


@dataclass(frozen=True, eq=False, repr=False)
class Sharpened(OutputTransform):
    """A loss of outputs that are moved towards the largest one, ``h' = (h + m e_max) / (m + 1)``: ε-softmax.

    ``e_max`` is the one-hot vector of the largest output, a constant in the gradient; equal ones share it, so that the
    order of the classes does not matter. So the null epoch of the theory, where all are equal, sees no sharpening; a
    network does, whose outputs are only nearly equal at first. With m = 0 nothing is changed.

    Args:
        base: L, one or a population ``[*P]``.
        sharpening: m, one number or ``[*P]``, from 0, kept in float64.
        classes: The number of classes that it is made for; that of L without it.
        name: What tables and figures call it.

    Raises:
        InputError: if m is no finite number from 0 on, or L looks at transformed logits.

    Source: Wang et al. (2024), ε-Softmax: Approximating One-Hot Vectors for Mitigating Label Noise. Its published code
    takes outputs below 1e-8 for 1e-8; this loss does not.
    """

    kind: ClassVar[str] = "sharpened"
    base: Loss
    sharpening: Tensor
    classes: int | None = None
    name: str = "sharpened"

    def __post_init__(self) -> None:
        m = float64(self.sharpening).detach().clone()
        if not bool((m.isfinite() & (m >= 0) & (m <= LARGEST_SHARPENING)).all()):
            raise InputError(
                f"outputs are sharpened by a number from 0 to {LARGEST_SHARPENING:g}, not by {brief(m.tolist())}"
            )
        if m.ndim and tuple(m.shape) != self.base.shape:
            raise InputError(
                f"a population {list(self.base.shape)} takes one number to sharpen by, or one for each member, not "
                f"{list(m.shape)}"
            )
        object.__setattr__(self, "sharpening", m.expand(self.base.shape).clone())
        super().__post_init__()

    def outputs(self, log_h: Tensor) -> Tensor:
        """``log h'``: that of the largest output by ``1 − (1 − h)/(m + 1)``, which keeps its digits."""
        m = self._m(log_h)
        largest, count = self._largest(log_h)
        # Where others are as large, m/count is added to each, and m in the formula for one.
        moved = torch.log1p((torch.expm1(log_h) - m * (count - 1) / count) / (m + 1))
        return torch.where(largest, moved, log_h - torch.log1p(m))

    def chained(self, slope: Tensor, log_h: Tensor) -> Tensor:
        """``g' h/(h + m)`` at the largest output, g' elsewhere."""
        h = log_h.exp()
        largest, count = self._largest(log_h)
        return slope * torch.where(largest, h / (h + self._m(log_h) / count), 1.0)

    def _m(self, like: Tensor) -> Tensor:
        return self.sharpening.to(like).reshape((*self.shape, *(1,) * (like.ndim - len(self.shape))))

    @staticmethod
    def _largest(log_h: Tensor) -> tuple[Tensor, Tensor]:
        """Where the largest output is, and how many are as large."""
        largest = log_h.detach() == log_h.detach().amax(-1, keepdim=True)
        return largest, largest.sum(-1, keepdim=True)

    def of(self, base: Loss) -> Sharpened:
        """Another loss of the same outputs."""
        return replace(self, base=base)

    def to(self, device: torch.device | str) -> Sharpened:
        """The same loss on another device."""
        return replace(self, base=self.base.to(device), sharpening=self.sharpening.to(device))

    def __getitem__(self, index: Index) -> Sharpened:
        """Members of a population."""
        return replace(self, base=self.base[index], sharpening=self.sharpening[index])

    @classmethod
    def joined(cls, losses: Sequence[Sharpened], name: str) -> Sharpened:
        """The sharpened losses of a population."""
        base = Loss.stack([loss.base for loss in losses], name)
        return cls(base, torch.stack([loss.sharpening for loss in losses]), common_classes(losses), name)

    def formula(self, digits: int = 4) -> str:
        """The loss as a line of text."""
        base, m = self.base.formula(digits), f"{self.sharpening.item():.{digits}g}"
        if not self.sharpening.item():
            return base
        return f"{base} with h for (h + {m} e_max)/({m} + 1)"

    def body(self) -> dict[str, Any]:
        """L and m."""
        return {**super().body(), "sharpening": self.sharpening.tolist()}

    @classmethod
    def of_body(cls, document: dict[str, Any], classes: int | None, name: str) -> Sharpened:
        """The loss of L and m."""
        m = numbers(part_of(document, "sharpening"))
        if m is None:
            raise InputError('"sharpening" of the loss file must be a number, or a list of one for each member')
        return cls(Loss.from_json(part_of(document, "base")), m, classes, name)


@dataclass(frozen=True, eq=False, repr=False)
class Forward(OutputTransform):
    """A loss of the outputs behind label noise, ``h'_j = Σ_i T_ij h_i``: forward correction.

    T_ij is the probability that a sample of class i is labeled j. With ``W_ij = T_ij h_i / h'_j``,
    ``g_i = Σ_j W_ij g'_j``.

    Args:
        base: L, one or a population.
        matrix: T, ``[K, K]``, rows that sum to 1, no column of zeros, kept in float64.
        classes: The number of classes, which is that of T.
        name: What tables and figures call it.

    Raises:
        InputError: if T is no such matrix, or L looks at transformed logits or is made for another number of classes.

    Source: Patrini et al. (2017), Making Deep Neural Networks Robust to Label Noise: A Loss Correction Approach.
    """

    kind: ClassVar[str] = "forward"
    base: Loss
    matrix: Tensor
    classes: int | None = None
    name: str = "forward"

    def __post_init__(self) -> None:
        matrix = float64(self.matrix).detach().clone()
        square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] >= 2
        known = square and bool((matrix.isfinite() & (matrix >= 0)).all())
        if not known or not bool(((matrix.sum(-1) - 1).abs() < 1e-6).all()) or not bool(matrix.sum(0).all()):
            raise InputError(
                f"the noise matrix of {self.name!r} is to be [K, K], of probabilities, with rows that sum to 1 and no "
                f"column of zeros, not {brief(matrix.tolist())}"
            )
        object.__setattr__(self, "matrix", matrix)
        if self.classes not in (None, len(matrix)):
            raise InputError(
                f"the noise matrix of {self.name!r} is that of {len(matrix)} classes, not {self.classes}; give another"
            )
        object.__setattr__(self, "classes", len(matrix))
        super().__post_init__()

    def outputs(self, log_h: Tensor) -> Tensor:
        """``log h'``, in logarithms, so that no output is lost."""
        found = [torch.logsumexp(self._joint(part), -2) for part in self._parts(log_h)]
        return torch.cat(found).reshape(log_h.shape).clamp(min=powers.LOWEST_LOG)

    def chained(self, slope: Tensor, log_h: Tensor) -> Tensor:
        """``Σ_j W_ij g'_j``."""
        each = zip(self._parts(log_h), self._parts(slope), strict=True)
        found = [(torch.softmax(self._joint(part), -2) @ g[..., None])[..., 0] for part, g in each]
        return torch.cat(found).reshape(log_h.shape)

    @staticmethod
    def _parts(x: Tensor) -> Sequence[Tensor]:
        """All rows, in parts whose K × K numbers each have room."""
        rows = x.reshape(-1, x.shape[-1])
        parts: tuple[Tensor, ...] = rows.split(max(1, ROOM // x.shape[-1] ** 2))
        return parts

    def _joint(self, log_h: Tensor) -> Tensor:
        """``log T_ij + log h_i``, ``[N, K, K]``."""
        return self.matrix.to(log_h).log().clamp(min=2 * powers.LOWEST_LOG) + log_h[..., :, None]

    def of(self, base: Loss) -> Forward:
        """Another loss behind the same noise."""
        return replace(self, base=base)

    def to(self, device: torch.device | str) -> Forward:
        """The same loss on another device."""
        return replace(self, base=self.base.to(device), matrix=self.matrix.to(device))

    def __getitem__(self, index: Index) -> Forward:
        """Members of a population."""
        return self.of(self.base[index])

    @classmethod
    def joined(cls, losses: Sequence[Forward], name: str) -> Forward | None:
        """Losses behind the same noise as one population; None for others."""
        first = losses[0]
        if any(not torch.equal(loss.matrix, first.matrix) for loss in losses):
            return None
        return cls(Loss.stack([loss.base for loss in losses], name), first.matrix, first.classes, name)

    def formula(self, digits: int = 4) -> str:
        """The loss as a line of text."""
        return f"{self.base.formula(digits)} with h for Tᵀh"

    def body(self) -> dict[str, Any]:
        """L and T."""
        return {**super().body(), "matrix": self.matrix.tolist()}

    @classmethod
    def of_body(cls, document: dict[str, Any], classes: int | None, name: str) -> Forward:
        """The loss of L and T."""
        matrix = numbers(part_of(document, "matrix"))
        if matrix is None:
            raise InputError('"matrix" of the loss file must be a list of rows of numbers')
        return cls(Loss.from_json(part_of(document, "base")), matrix, classes, name)


@dataclass(frozen=True, eq=False, repr=False)
class NormalizedNegative(Loss):
    """Normalized negative cross-entropy, ``L = 1 − Σ_k y_k (B + log h_k) / Σ_k (B + log h_k)``: NNCE.

    ``B = −log 1e-7``, and outputs below 1e-7 count as 1e-7, where the slope is 0. With the normalized value ``1 − L``,
    S the sum below and g where an output counts, ``g_k = (y_k − (1 − L)) / S``.

    Args:
        classes: The number of classes that it is made for, or None if it fits any.
        name: What tables and figures call it.

    Source: Ye et al. (2023), Active Negative Loss Functions for Learning with Noisy Labels.
    """

    kind: ClassVar[str] = "normalized-negative"
    bound: ClassVar[float] = -math.log(SMALLEST_OUTPUT)
    classes: int | None = None
    name: str = "normalized negative cross-entropy"

    def values(self, log_h: Tensor, y: Tensor) -> Tensor:
        """The loss of each sample, ``[*P, N]``."""
        flipped = self._flipped(log_h)
        return 1 - (y * flipped).sum(-1) / flipped.sum(-1)

    def slope(self, log_h: Tensor, y: Tensor) -> Tensor:
        """``(y − (1 − L)) / S`` where an output counts."""
        flipped = self._flipped(log_h)
        total = flipped.sum(-1, keepdim=True)
        share = (y * flipped).sum(-1, keepdim=True) / total
        return torch.where(flipped > 0, (y - share) / total, 0.0)

    @staticmethod
    def _flipped(log_h: Tensor) -> Tensor:
        """``B + log h``, from 0."""
        return (log_h + NormalizedNegative.bound).clamp(min=0.0)

    def formula(self, digits: int = 4) -> str:
        """The loss as a line of text."""
        bound = f"{self.bound:.{digits}g}"
        return f"L = 1 − Σ_k y_k ({bound} + log h_k) / Σ_k ({bound} + log h_k)"

    def body(self) -> dict[str, Any]:
        """Nothing more."""
        return {}

    @classmethod
    def of_body(cls, document: dict[str, Any], classes: int | None, name: str) -> NormalizedNegative:  # noqa: ARG003
        """The loss."""
        return cls(classes, name)


for _kind in (Sharpened, Forward, NormalizedNegative):
    KINDS.register(_kind.kind, _kind)
