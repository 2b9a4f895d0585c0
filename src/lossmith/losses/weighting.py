"""Losses with a weight for each class: a sample counts as often as the weight of its label says."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from torch import Tensor

from lossmith.losses import powers
from lossmith.losses.base import Loss, Rule
from lossmith.losses.kernel import Field, logit_gradient_of, values, without_inert
from lossmith.losses.labels import wide
from lossmith.losses.mixed import Mixed
from lossmith.losses.power import PowerLoss
from lossmith.losses.terms import Weighted


def label_weights(weight: Tensor, targets: Tensor) -> Tensor:
    """``w(y) = Σ_k w_k y_k``, the weight of each label, ``[*P, N]``.

    Args:
        weight: w, ``[K]``.
        targets: Class indices ``[*P, N]`` or probabilities ``[*P, N, K]``.
    """
    if targets.is_floating_point():
        return (targets * weight.to(targets)).sum(-1)
    # Not `weight[targets]`, which takes negative indices and cannot be vectorized over single samples.
    return weight.gather(0, targets.long().reshape(-1)).reshape(targets.shape)


def weighted_gradient(acting: Iterable[Weighted], x: Tensor, targets: Tensor, weight: Tensor, own: Tensor) -> Tensor:
    """The logit gradient ``[*P, N, K]`` of a sum of powers with class weights, for class probabilities.

    Args:
        acting: Terms with coefficients: numbers, or tensors that broadcast with x; without the inert one.
        x: Log outputs ``[*P, N, K]``.
        targets: Probabilities of their dtype.
        weight: w, ``[K]``.
        own: Weights of the labels, ``[*P, N, 1]``.
    """
    slope, h = Field.of(acting).slope(), x.exp()
    labels = {j: y * weight for j, y in slope.labels(targets).items()}
    return logit_gradient_of(slope.at(x, h, labels, own=own), h)


class ClassWeighted:
    """A loss, or a population ``[*P]``, whose samples count by the weight of their label: ``w(y) L``.

    So it is of every loss alike: class weights do what as many copies of the samples of a class would do. Where labels
    are probabilities, cross-entropy weights each class on its own, ``−Σ_k w_k y_k log h_k``, and so do all sums of
    powers what they make of a label; the rest of a sum, and any other loss, has the weight of the whole label:

        ``−Σ_k [w_k (φ(h_k, y_k) − φ(h_k, 0)) + w(y) φ(h_k, 0)]``

    Args:
        loss: L.
    """

    def __init__(self, loss: Loss) -> None:
        # What changes during the training is what it is in the beginning; a training says which loss it is now.
        loss = loss.at(0.0)
        self.loss = loss
        self.mixed = loss if isinstance(loss, Mixed) else None
        self.members = [ClassWeighted(member) for member in loss.members] if isinstance(loss, Mixed) else []
        self.sum = _Sum(loss) if isinstance(loss, PowerLoss) else None

    def value(self, logits: Tensor, targets: Tensor, weight: Tensor, given: Tensor | None = None) -> Tensor:
        """The weighted loss of each sample, ``[*P, N]``, which autograd can follow.

        Args:
            logits: ``[*P, N, K]``.
            targets: Class indices or probabilities, as in :meth:`Loss.value`.
            weight: w, ``[K]``.
            given: The labels whose weight counts, if they are not the targets, for one loss.
        """
        if not targets.is_floating_point():
            # The loss first: it says which label is no class.
            found = self.loss.value(logits, targets)
            return found * label_weights(weight, targets).to(found.dtype)
        if self.mixed is not None:
            return self.mixed.by_member([partial(one.value, weight=weight) for one in self.members], logits, targets)
        own = label_weights(weight, wide(targets if given is None else given))
        if self.sum is None:
            return self.loss.value(logits, targets) * own
        return self.sum.value(logits, targets, weight, own)

    def rule(self, like: Tensor, weight: Tensor) -> Rule:
        """The closed-form logit gradient of :meth:`value`, prepared for the dtype and device of ``like``."""
        weight = weight.to(wide(like))
        if self.mixed is not None:
            return partial(self.mixed.by_member, [one.rule(like, weight) for one in self.members])
        plain = self.loss.gradient_rule(like)

        def gradient(logits: Tensor, targets: Tensor) -> Tensor:
            own = label_weights(weight, targets)
            if self.sum is not None and targets.is_floating_point():
                return self.sum.gradient(logits, targets, weight, own)
            return (plain(logits, targets) * own[..., None]).to(logits.dtype)

        return gradient


class _Sum:
    """A sum of powers for class probabilities, its parts weighted each in its own way.

    Args:
        loss: One loss or a population.
    """

    def __init__(self, loss: PowerLoss) -> None:
        self.loss = loss
        # Numbers where they are enough: what is traced without any can go on with them.
        self.numbers: list[Weighted] | None = None
        if not loss.shape:
            terms, coefficients = loss.evaluated
            self.numbers = list(zip(terms, coefficients.tolist(), strict=True))

    def value(self, logits: Tensor, targets: Tensor, weight: Tensor, own: Tensor) -> Tensor:
        """The value ``[*P, N]``, where ``own`` are the weights of the labels."""
        x, w, own, acting, free, inert = self._parts(logits, weight, own)
        found = values(acting, x, targets, -1, w)
        if free:
            found = found + values(free, x, targets, -1, own - w)
        # The outputs sum to 1.
        rest: Tensor = found - (inert * own).squeeze(-1)
        return rest

    def gradient(self, logits: Tensor, targets: Tensor, weight: Tensor, own: Tensor) -> Tensor:
        """Its logit gradient ``[*P, N, K]``."""
        x, w, own, acting, _, _ = self._parts(logits, weight, own)
        return weighted_gradient(acting, x, targets.to(x.dtype), w, own).to(logits.dtype)

    def _parts(
        self, logits: Tensor, weight: Tensor, own: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, list[Weighted], list[Weighted], Any]:
        """Log outputs, weights of classes and of labels, the terms that act, those that see no label, the inert one."""
        self.loss.check_classes(logits.shape[-1])
        x = powers.log_outputs(logits)
        terms = self.loss.weighted(x, 2) if self.numbers is None else self.numbers
        acting, inert = without_inert(terms)
        free = [pair for pair in acting if not pair[0].y]
        return x, weight.to(x.dtype), own.to(x.dtype)[..., None], acting, free, inert
