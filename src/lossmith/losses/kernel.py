"""The value of a loss and its logit gradient: what every loss of powers computes, for numbers and for populations.

φ and its slope ``g = h γ(h, y) = ∂φ/∂log h`` are both functions ``Σ_j y^j s_j(h)`` with sums of powers ``s_j``; the
value is ``−Σ_k φ_k`` and the gradient ``−(g_j − h_j Σ_k g_k)``. For class indices only ``s_0`` acts on all outputs, and
the others, whose powers of y are all 1, on one.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossmith.losses import powers
from lossmith.losses.labels import at_class, class_index, wide
from lossmith.losses.sums import Arithmetic, OutOfPlace, PowerSum
from lossmith.losses.terms import INERT, AnyTerm, Weighted

FEW_CLASSES = 128


class Field:
    """A function ``Σ_j y^j s_j(h)`` of output and label.

    Args:
        parts: s_j by j, s_0 among them.
        tied: ``Σ_{j > 0} s_j``: what acts at the label besides s_0, for y = 1.
    """

    def __init__(self, parts: Mapping[int, PowerSum], tied: PowerSum) -> None:
        self.parts, self.tied, self.free = parts, tied, parts[0]

    @staticmethod
    def of(terms: Iterable[Weighted]) -> Field:
        """The function that is the sum of some terms."""
        listed = list(terms)
        parts = {
            j: PowerSum.of(pair for pair in listed if pair[0].y == j) for j in sorted({0, *(t.y for t, _ in listed)})
        }
        return Field(parts, PowerSum.of(pair for pair in listed if pair[0].y))

    def slope(self) -> Field:
        """Its derivative with respect to log h."""
        return Field({j: part.slope() for j, part in self.parts.items()}, self.tied.slope())

    def scaled(self, factor: float) -> Field:
        """The function times a number."""
        return Field({j: part.scaled(factor) for j, part in self.parts.items()}, self.tied.scaled(factor))

    @property
    def is_constant(self) -> bool:
        """Whether the outputs are not looked at."""
        return not (self.needs_log or self.needs_output)

    @property
    def needs_log(self) -> bool:
        """Whether log h is looked at, and not h alone."""
        return self.free.needs_log or self.tied.needs_log

    @property
    def needs_output(self) -> bool:
        """Whether h is looked at, and not log h alone."""
        return bool(self.free.polynomial or self.tied.polynomial)

    def labels(self, y: Tensor) -> dict[int, Tensor]:
        """The powers of the labels that the function is made of, and its slope."""
        return {j: y if j == 1 else y**j for j in self.parts if j}

    def at(
        self,
        x: Tensor,
        h: Tensor,
        labels: Mapping[int, Tensor],
        arithmetic: Arithmetic = OutOfPlace,
        work: Tensor | None = None,
        own: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """The function at outputs h with ``x = log h`` and some labels, elementwise.

        Args:
            x: Log outputs.
            h: Outputs.
            labels: Powers of the labels, from :meth:`labels`.
            arithmetic: In place or not.
            work: A buffer like h for what acts with a power of y, in place.
            own: What s_0 is multiplied by, for each sample.
            out: Where the result may be written, in place.
        """
        total: Any = self.free(x, h, arithmetic, out) if self.free else None
        if total is not None and own is not None:
            total = arithmetic.scaled(total, own)
        for j, y in labels.items():
            part = self.parts[j]
            if part.is_constant:
                total = arithmetic.add(total, part.constant, y, out)
            elif part:
                total = arithmetic.add_product(total, part(x, h, arithmetic, work), y, out)
        return arithmetic.filled(0.0, x) if total is None else total


class Kernel(NamedTuple):
    """A loss as numbers: ``−φ``, the slope ``∂φ/∂log h`` and minus it, and what the inert term adds to every value."""

    value: Field
    slope: Field
    opposite: Field
    inert: float

    @staticmethod
    def of(terms: Iterable[tuple[AnyTerm, float]], scale: float = 1.0) -> Kernel:
        """The kernel of some terms of φ; the slope, and so the gradient, is scaled."""
        acting, inert = without_inert(terms)
        phi = Field.of((term, c) for term, c in acting if c)
        slope = phi.slope()
        return Kernel(phi.scaled(-1.0), slope.scaled(scale), slope.scaled(-scale), -inert)


def without_inert(terms: Iterable[Weighted]) -> tuple[list[Weighted], Any]:
    """The terms that act on the gradient, and the coefficient of the one that does not."""
    listed = list(terms)
    inert = sum((c for term, c in listed if term == INERT), start=0.0)
    return [pair for pair in listed if pair[0] != INERT], inert


@functools.lru_cache(maxsize=256)
def prepared(terms: tuple[tuple[AnyTerm, float], ...], scale: float) -> Kernel:
    """:meth:`Kernel.of` for numbers, kept from batch to batch."""
    return Kernel.of(terms, scale)


def logit_gradient_of(
    g: Tensor,
    h: Tensor,
    dim: int = -1,
    label: tuple[Tensor, Tensor] | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """``−(g_j − h_j Σ_k g_k)``: the gradient with respect to the logits, for a slope g over the whole output vector.

    Args:
        g: The slope, like h or the same for all classes.
        h: Outputs.
        dim: The class dimension.
        label: An index, and what is to be added to g there (like the index).
        out: Where the result may be written.
    """
    total = g.sum(dim, keepdim=True) if g.shape == h.shape else g * h.shape[dim]
    if label is not None:
        total = total + label[1]
    product = torch.mul(h, total, out=out)
    gradient = product - g if out is None else product.sub_(g)
    return gradient if label is None else OutOfPlace.add_at(gradient, label[0], -label[1], dim)


def values(
    terms: Sequence[Weighted], x: Tensor, targets: Tensor, dim: int = -1, weight: Tensor | None = None
) -> Tensor:
    """``−Σ_k w_k φ(h_k, y_k)`` of each sample, for autograd; the class dimension is summed over.

    Args:
        terms: Terms with coefficients: numbers, or tensors that broadcast with x.
        x: Log outputs with the classes along ``dim``.
        targets: Class indices (x without ``dim``) or probabilities (like x).
        dim: The class dimension.
        weight: w, which broadcasts with x, or None.
    """
    # With weights that differ the outputs no longer sum to 1, so that the inert term acts.
    acting, inert = without_inert(terms) if weight is None else (terms, 0.0)
    phi = Field.of(acting)
    h = x.exp() if phi.needs_output else x

    def summed(part: Tensor) -> Tensor:
        return (part if weight is None else part * weight).expand_as(x).sum(dim, keepdim=True)

    if targets.is_floating_point():
        total = summed(phi.at(x, h, phi.labels(targets.to(x.dtype))))
    else:
        index = class_index(targets, x, dim)
        label = at_class(x, index, dim)
        total = phi.tied(label, label.exp() if phi.tied.polynomial else label)
        if weight is not None:
            total = total * at_class(weight.expand_as(x), index, dim)
        if phi.free:
            total = total + summed(phi.free(x, h))
        total = total.expand(index.shape)
    found: Tensor = -(total + inert).squeeze(dim)
    # A constant φ has the gradient 0, and not none.
    return found + 0.0 * x.sum(dim) if phi.is_constant else found


class GradientRule:
    """The closed-form logit gradient of one loss or a population, prepared for a dtype and a device.

    Terms of φ that are linear in h alone are left out: the outputs sum to 1, so they have no effect, and a large c1
    costs no accuracy.

    Args:
        terms: Terms with their coefficients: numbers, or tensors that broadcast with ``[*P, N, K]`` and ``[*P, K, N]``.
    """

    def __init__(self, terms: Sequence[Weighted]) -> None:
        self._slope = Field.of(without_inert(terms)[0]).slope()

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Gradient ``[*P, N, K]`` of each sample's loss, for class indices ``[*P, N]`` or probabilities ``[*P, N, K]``.

        Computed with few classes in the last dimension but one, since a softmax over a short last dimension is many
        times slower on a CPU; many are summed there one after another, which is slower and loses digits.
        """
        if logits.shape[-1] > FEW_CLASSES:
            return self._along(-1, wide(logits), targets).to(logits.dtype)
        soft = targets.is_floating_point()
        columns = self._along(-2, wide(logits.mT.contiguous()), targets.mT if soft else targets)
        return columns.mT.to(logits.dtype)

    def _along(self, dim: int, logits: Tensor, targets: Tensor) -> Tensor:
        """The gradient with the classes of logits and class probabilities along a dimension."""
        slope = self._slope
        if slope.needs_log:
            x = powers.log_outputs(logits, dim)
            # Not `powers.outputs`, whose last digit depends on where in memory a number stands.
            h = x.exp()
        else:
            x = h = torch.softmax(logits, dim)
        if targets.is_floating_point():
            return logit_gradient_of(slope.at(x, h, slope.labels(targets.to(h.dtype))), h, dim)
        index = class_index(targets, h, dim)
        pull = slope.tied(at_class(x, index, dim), at_class(h, index, dim)).expand(index.shape)
        return logit_gradient_of(slope.free(x, h), h, dim, (index, pull))
