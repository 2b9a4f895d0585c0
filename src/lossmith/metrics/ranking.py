"""Metrics of how well outputs rank the samples of a class, each class against the rest: logits ``[P, N, K]``, ``[P]``.

Samples are ranked by the logarithm of the odds of a class, ``z_k − log Σ_{j≠k} exp z_j``: in the order of its softmax
outputs, without the ties that rounding makes where these are near 1. With two classes it is ``z_1 − z_0``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# Where no pair of samples can be ranked, as a coin would.
NO_PAIR = 0.5


def area_under_roc(logits: Tensor, targets: Tensor) -> Tensor:
    """Area under the ROC curve: how often a sample of a class ranks above one of another, a tie counting as half.

    Of several classes it is the mean over those that some, but not all, samples have, each against the rest; with two
    classes both areas are equal. ½ where all samples are of one class.
    """
    return _mean_over_classes(logits, targets, _area, range(logits.shape[-1]), every=False)


def average_precision(logits: Tensor, targets: Tensor) -> Tensor:
    """Average precision: the mean, over the samples of a class, of the precision where recall reaches them.

    With two classes it is that of class 1, and 0 where no sample is of it; of more, the mean over the classes that
    samples have, each against the rest.
    """
    classes = range(logits.shape[-1]) if logits.shape[-1] > 2 else (1,)
    return _mean_over_classes(logits, targets, _precision, classes, every=True)


def _mean_over_classes(
    logits: Tensor,
    targets: Tensor,
    value: Callable[[Tensor, Tensor], Tensor],
    classes: range | tuple[int, ...],
    every: bool,
) -> Tensor:
    """The mean of what each class has that occurs among the samples, and if not ``every`` one may, beside another."""
    found, odds = [], log_odds(logits)
    for label in classes:
        mine = targets == label
        if bool(mine.any()) and (every or not bool(mine.all())):
            found.append(value(odds[..., label].contiguous(), mine))
    if found:
        return torch.stack(found).mean(0)
    return torch.full(logits.shape[:1], 0.0 if every else NO_PAIR, dtype=torch.float64, device=logits.device)


def log_odds(logits: Tensor) -> Tensor:
    """``z_k − log Σ_{j≠k} exp z_j``, ``[P, N, K]``, in float64; equal for equal outputs in whatever order."""
    logits = logits.double().contiguous()
    ordered, nothing = logits.sort(-1).values, torch.zeros_like(logits[..., :1])
    highest, second = ordered[..., -1:], ordered[..., -2:-1]
    # Sums of what is below and above each place; the first of equal values stands for all of them.
    shares = (ordered - highest).exp()
    below = torch.cat([nothing, shares.cumsum(-1)], -1)
    above = torch.cat([shares.flip(-1).cumsum(-1).flip(-1), nothing], -1)
    place = torch.searchsorted(ordered, logits)
    others = below.gather(-1, place) + above.gather(-1, place + 1)
    # Beside the highest output the others can be too small for a number that it is measured by.
    rest = (ordered[..., :-1] - second).exp().sum(-1, keepdim=True)
    lead = place == logits.shape[-1] - 1
    return logits - torch.where(lead, second, highest) - torch.where(lead, rest, others).log()


def _area(scores: Tensor, mine: Tensor) -> Tensor:
    """Mann and Whitney's statistic of scores ``[P, N]``, as a share of the pairs of a positive and another sample."""
    own, others = scores[:, mine].contiguous(), scores[:, ~mine].sort(-1).values
    won, not_lost = (torch.searchsorted(others, own, right=right) for right in (False, True))
    return (won + not_lost).double().mean(-1) / (2 * others.shape[-1])


def _precision(scores: Tensor, mine: Tensor) -> Tensor:
    """The mean of the precision at each positive sample's score: positives among all that score as much or more."""
    own = scores[:, mine].contiguous()
    every, positive = (values.sort(-1).values for values in (scores, own))
    above, right = (values.shape[-1] - torch.searchsorted(values, own) for values in (every, positive))
    return (right.double() / above).mean(-1)
