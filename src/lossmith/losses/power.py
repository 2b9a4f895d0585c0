"""Losses that are sums of powers, by their learning rule: those of the paper, and most that are published."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from lossmith.errors import InputError, brief
from lossmith.losses import formatting, powers
from lossmith.losses.base import KINDS, Index, Loss, common_classes
from lossmith.losses.documents import LARGEST_POWER, MOST_TERMS, numbers, part_of
from lossmith.losses.kernel import Field, GradientRule, values
from lossmith.losses.labels import wide
from lossmith.losses.stable import stable
from lossmith.losses.terms import INERT, AnyTerm, Term, Weighted, checked_term, float64, is_term, smooth_labels


@dataclass(frozen=True, eq=False, repr=False)
class PowerLoss(Loss):
    """The loss ``L(f, y) = −Σ_k φ(h_k, y_k)``, h = softmax(f), with ``φ = Σ_t c_t h^i y^j (log h)^l``.

    Its learning rule is ``γ = ∂φ/∂h`` (equations 1–12 of the paper), and the gradient that trains a network is
    ``∂L/∂f_j = −(g_j − h_j Σ_k g_k)`` with ``g_k = h_k γ(h_k, y_k)``.

    Shapes: ``T`` terms, ``*P`` leading population dimensions (none for one loss), ``N`` batch, ``K`` classes.

    Args:
        terms: The T terms of φ.
        coefficients: ``[*P, T]``, kept in float64.
        classes: The number of classes that the loss is made for, or None if it fits any.
        name: What tables and figures call it.

    Raises:
        InputError: if the terms and coefficients do not fit together, or a coefficient is not finite.

    Example:
        >>> from lossmith import cross_entropy, mae
        >>> loss = cross_entropy() + 0.5 * mae()
        >>> loss.value(torch.zeros(1, 4), torch.tensor([2]))
        tensor([1.7613])
    """

    kind: ClassVar[str] = "power"
    terms: tuple[Term, ...]
    coefficients: Tensor
    classes: int | None = None
    name: str = "loss"

    def __post_init__(self) -> None:
        terms = tuple(checked_term(term, self.name) for term in self.terms)
        # A copy: a loss is a value, and whoever gave the tensor may change it.
        coefficients = float64(self.coefficients).detach().clone()
        if coefficients.ndim == 0 or coefficients.shape[-1] != len(terms):
            raise InputError(
                f"a loss of {len(terms)} terms takes as many coefficients in its last dimension, "
                f"not a shape of {brief(tuple(coefficients.shape))}"
            )
        if len(set(terms)) != len(terms):
            raise InputError(f"the loss {self.name!r} names a term twice; add the two coefficients")
        if not bool(coefficients.isfinite().all()):
            raise InputError(f"the loss {self.name!r} has a coefficient that is not a finite number")
        object.__setattr__(self, "terms", terms)
        object.__setattr__(self, "coefficients", coefficients)
        # Now: it looks at the numbers, which a compiled program could not.
        _ = self.evaluated

    @functools.cached_property
    def evaluated(self) -> tuple[tuple[AnyTerm, ...], Tensor]:
        """Terms and coefficients of the same φ as it is evaluated: without those that cancel as h → 1."""
        return stable(self.terms, self.coefficients)

    @property
    def sums_over_classes(self) -> bool:
        """It is such a sum."""
        return True

    @property
    def shape(self) -> tuple[int, ...]:
        """The population dimensions ``*P``; empty for one loss."""
        return tuple(self.coefficients.shape[:-1])

    def phi(self, h: Tensor, y: Tensor) -> Tensor:
        """``φ(h, y)``, elementwise; ``h`` and ``y`` broadcast with ``[*P, …]``, the population's dimensions first."""
        x = h.log().clamp(min=powers.LOWEST_LOG)
        return self._evaluated(x, h, y, slope=False)

    def gamma(self, h: Tensor, y: Tensor) -> Tensor:
        """The learning rule ``γ(h, y) = ∂φ/∂h``, elementwise, shaped as :meth:`phi`; h = 0 is taken as tiny."""
        h = h.clamp(min=torch.finfo(h.dtype).tiny)
        return self._evaluated(h.log(), h, y, slope=True) / h

    def slope(self, log_h: Tensor, y: Tensor) -> Tensor:
        """``g = h γ(h, y) = ∂φ/∂log h``, elementwise, shaped as :meth:`phi`: the part of it that reaches the logits."""
        x = log_h.clamp(min=powers.LOWEST_LOG)
        return self._evaluated(x, x.exp(), y, slope=True)

    def values(self, log_h: Tensor, y: Tensor) -> Tensor:
        """``−Σ_k φ(h_k, y_k)`` of each sample, ``[*P, N]``."""
        return -self._evaluated(log_h, log_h.exp(), y, slope=False).expand_as(log_h).sum(-1)

    def rule(self) -> dict[Term, Tensor]:
        """The learning rule ``γ = Σ c h^i y^j (log h)^l`` term by term: a coefficient ``[*P]`` for each."""
        parts: list[tuple[Term, Tensor]] = []
        for (i, j, log), c in zip(self.terms, self.coefficients.unbind(-1), strict=True):
            parts += [(Term(i - 1, j, log), i * c), (Term(i - 1, j, 0), log * c)]
        total = _collected(parts, self.shape, self.classes, self.name)
        return dict(zip(total.terms, total.coefficients.unbind(-1), strict=True))

    def acting(self) -> PowerLoss:
        """The same loss without what never acts: constants and c1, which reach no gradient (the outputs sum to 1)."""
        kept = [k for k, (i, _, log) in enumerate(self.terms) if (i, log) != (0, 0) and self.terms[k] != INERT]
        return replace(self, terms=tuple(self.terms[k] for k in kept), coefficients=self.coefficients[..., kept])

    def value(self, logits: Tensor, targets: Tensor) -> Tensor:
        """:meth:`Loss.value`, for any leading dimensions of the logits, with class indices never made one-hot."""
        self.check_classes(logits.shape[-1])
        x = self._spread(powers.log_outputs(logits), targets, more=True)
        return values(self.weighted(x, 2), x, targets)

    def logit_gradient(self, logits: Tensor, targets: Tensor) -> Tensor:
        """:meth:`Loss.logit_gradient`, for any leading dimensions of the logits.

        Terms of φ that are linear in h alone have no effect on it (the outputs sum to 1) and are left out, which keeps
        the accuracy of losses whose c1 is large.
        """
        self.check_classes(logits.shape[-1])
        return self.gradient_rule(logits)(self._spread(logits, targets, more=True), targets)

    def gradient_rule(self, like: Tensor) -> GradientRule:
        """:meth:`logit_gradient` prepared once for the dtype and device of ``like``, for a training loop."""
        return GradientRule(self.weighted(wide(like[..., :0]), 2))

    def smoothed(self, alpha: float, classes: int) -> PowerLoss:
        """The loss whose value at any label y is this one's at the smoothed label ``(1−α) y + α/n`` (§6, exact form).

        Raises:
            InputError: if α is outside [0, 1], n < 2, or the loss is made for another number of classes.
        """
        if not 0 <= alpha <= 1:
            raise InputError(f"the label smoothing α = {alpha} must lie between 0 and 1")
        if classes < 2:
            raise InputError(f"label smoothing needs at least 2 classes, not {classes}")
        self.check_classes(classes)
        if alpha == 0:
            return self
        parts = smooth_labels(list(zip(self.terms, self.coefficients.unbind(-1), strict=True)), alpha, classes)
        return _collected(parts, self.shape, classes, f"{self.name} smoothed {alpha:g}")

    def __add__(self, other: PowerLoss) -> PowerLoss:
        """The sum of two losses (of one population, or one loss and a population)."""
        if not isinstance(other, PowerLoss):
            return NotImplemented
        try:
            shape = np.broadcast_shapes(self.shape, other.shape)
        except ValueError:
            raise InputError(
                f"populations {list(self.shape)} and {list(other.shape)} differ in size and cannot be added"
            ) from None
        parts = [
            (term, c.expand(shape))
            for loss in (self, other)
            for term, c in zip(loss.terms, loss.coefficients.unbind(-1), strict=True)
        ]
        return _collected(parts, shape, common_classes((self, other)), f"{self.name} + {other.name}")

    def __mul__(self, factor: float | Tensor) -> PowerLoss:
        """The loss times a number, or times one number per member ``[*P]``."""
        scale = float64(factor)
        label = f"{factor:g} {self.name}" if isinstance(factor, int | float) else self.name
        try:
            scaled = self.coefficients * scale[..., None]
        except RuntimeError:
            raise InputError(
                f"a population {list(self.shape)} takes one factor or one for each member, not {list(scale.shape)}"
            ) from None
        return replace(self, coefficients=scaled, name=label)

    __rmul__ = __mul__

    def __getitem__(self, index: Index) -> PowerLoss:
        """Members of a population, by any index over its first dimension."""
        if not self.shape:
            super().__getitem__(index)
        return replace(self, coefficients=self.coefficients[index])

    def __eq__(self, other: object) -> bool:
        """Same φ and number of classes; the order of terms and the name do not matter."""
        if not isinstance(other, Loss):
            return NotImplemented
        if not isinstance(other, PowerLoss):
            return False
        if self.shape != other.shape or self.classes != other.classes:
            return False
        mine, theirs = _nonzero(self), _nonzero(other)
        return mine.keys() == theirs.keys() and all(torch.equal(mine[term], theirs[term]) for term in mine)

    __hash__ = None

    def to(self, device: torch.device | str) -> Self:
        """The same loss with its coefficients on another device."""
        moved = self.coefficients.to(device)
        return self if moved is self.coefficients else replace(self, coefficients=moved)

    @classmethod
    def joined(cls, losses: Sequence[PowerLoss], name: str) -> PowerLoss:
        """A population ``[P, *P']``; absent terms get the coefficient 0."""
        terms = tuple(dict.fromkeys(term for member in losses for term in member.terms))
        zero = losses[0].coefficients.new_zeros(losses[0].shape)
        rows = []
        for member in losses:
            known = dict(zip(member.terms, member.coefficients.unbind(-1), strict=True))
            rows.append(torch.stack([known.get(term, zero) for term in terms], -1) if terms else member.coefficients)
        return PowerLoss(terms, torch.stack(rows), common_classes(losses), name)

    def body(self) -> dict[str, Any]:
        """Terms and coefficients."""
        return {
            "terms": [[int(i) if i.is_integer() else i, j, log] for i, j, log in self.terms],
            "coefficients": self.coefficients.tolist(),
        }

    def key(self) -> dict[str, Any]:
        """The JSON object of version 0.1, which knew no other kind."""
        head = {"format": "lossmith.loss", "version": 1, "name": self.name, "classes": self.classes}
        return {**head, **self.body()}

    @classmethod
    def of_body(cls, document: dict[str, Any], classes: int | None, name: str) -> PowerLoss:
        """The loss of terms and coefficients."""
        terms, coefficients = part_of(document, "terms"), part_of(document, "coefficients")
        if not isinstance(terms, list) or not all(is_term(term) for term in terms):
            raise InputError('"terms" of the loss file must be a list of [power of h, power of y, factors of log h]')
        if len(terms) > MOST_TERMS:
            raise InputError(f"the loss file has {len(terms)} terms; a loss of a file has {MOST_TERMS} at most")
        for term in terms:
            for power in term[:2]:
                if abs(power) > LARGEST_POWER:
                    raise InputError(
                        f"the loss file has the power {power}; powers of a file lie within ±{LARGEST_POWER}"
                    )
        values = numbers(coefficients)
        if values is None:
            raise InputError('"coefficients" of the loss file must be a list of numbers, one for each term')
        return cls(tuple(Term(*term) for term in terms), values, classes, name)

    def formula(self, digits: int = 4) -> str:
        """φ as a line of text, for one loss."""
        if self.shape:
            raise InputError("a population has no single formula; index one member")
        return formatting.formula({term: c.item() for term, c in _nonzero(self).items()}, digits)

    def gamma_formula(self, digits: int = 4) -> str:
        """The learning rule γ as a line of text, for one loss."""
        if self.shape:
            raise InputError("a population has no single learning rule; index one member")
        return formatting.formula({term: c.item() for term, c in self.rule().items()}, digits)

    def __repr__(self) -> str:
        """Name, population shape or formula."""
        what = f"population {list(self.shape)}, {len(self.terms)} terms" if self.shape else f"φ = {self.formula()}"
        return f"Loss({brief(self.name)}, {what})"

    def _evaluated(self, x: Tensor, h: Tensor, y: Tensor, slope: bool) -> Tensor:
        """φ or its slope at outputs h with ``x = log h``, elementwise."""
        field = Field.of(self.weighted(x, max(h.ndim, y.ndim) - len(self.shape)))
        return torch.zeros_like(x) + (field.slope() if slope else field).at(x, h, field.labels(y))

    def weighted(self, like: Tensor, trailing: int) -> list[Weighted]:
        """Terms with coefficients ``[*P, 1, …]`` in the dtype and on the device of a tensor, as they are evaluated."""
        terms, coefficients = self.evaluated
        rows = coefficients.to(like).reshape(*self.shape, *(1,) * trailing, len(terms))
        return list(zip(terms, rows.unbind(-1), strict=True))


def _collected(parts: Sequence[tuple[Term, Tensor]], shape: Sequence[int], classes: int | None, name: str) -> PowerLoss:
    total: dict[Term, Tensor] = {}
    for term, c in parts:
        total[term] = total[term] + c if term in total else c
    kept = {term: c for term, c in total.items() if bool((c != 0).any())}
    columns = torch.stack(list(kept.values()), -1) if kept else float64([]).expand(*shape, 0)
    return PowerLoss(tuple(kept), columns, classes, name)


def _nonzero(loss: PowerLoss) -> dict[Term, Tensor]:
    columns = loss.coefficients.unbind(-1)
    return {term: c for term, c in zip(loss.terms, columns, strict=True) if bool((c != 0).any())}


KINDS.register(PowerLoss.kind, PowerLoss)
