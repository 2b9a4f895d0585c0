"""Metrics of logits ``[P, N, K]`` and class indices ``[N]``: a number for each of P networks, in float64."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from lossmith.metrics.finite import finite, or_worst


def accuracy(logits: Tensor, targets: Tensor) -> Tensor:
    """Share of right answers ``[P]``; 0 where a logit is not a finite number."""
    right = (logits.argmax(-1) == targets).double().mean(-1)
    return or_worst(right, finite(logits), 0.0)


def balanced_accuracy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the classes (those that the samples have) of the share of right answers, ``[P]``; 0 as above."""
    right = (logits.argmax(-1) == targets).double()
    members = one_hot(targets, logits.shape[-1]).double()
    counts = members.sum(0)
    # A class without samples is left out below; here it must only not divide by 0.
    by_class = (right @ members) / counts.clamp(min=1)
    return or_worst(by_class.sum(-1) / (counts > 0).sum(), finite(logits), 0.0)


def macro_f1(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the classes of ``F1 = 2 r / (s + a)``, ``[P]``; 0 where a logit is not a finite number.

    r right answers, s samples and a answers of a class; classes count that a sample or an answer of the network has.
    """
    answers, members = logits.argmax(-1), one_hot(targets, logits.shape[-1]).double()
    ones = torch.ones_like(answers, dtype=torch.float64)
    answered = torch.zeros_like(logits[:, 0], dtype=torch.float64).scatter_add(1, answers, ones)
    counts = answered + members.sum(0)
    # A class that nothing has adds 0 and is not counted.
    values = 2 * ((answers == targets).double() @ members) / counts.clamp(min=1)
    return or_worst(values.sum(-1) / (counts > 0).sum(-1), finite(logits), 0.0)


def cross_entropies(logits: Tensor, targets: Tensor) -> Tensor:
    """``−log softmax(logits)[target]`` of each sample, ``[P, N]``."""
    logits = logits.double()
    chosen = logits.gather(-1, targets.expand(len(logits), -1)[..., None]).squeeze(-1)
    return logits.logsumexp(-1) - chosen


def mean_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean negative log likelihood ``[P]``; infinite where a logit is not a finite number."""
    return or_worst(cross_entropies(logits, targets).mean(-1), finite(logits), torch.inf)
