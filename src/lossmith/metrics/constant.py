"""What the best answer gets that is the same for every sample: who knows nothing but the labels can have that."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lossmith.metrics.registered import Metric

# Of very many classes, those that have the most samples are tried.
TRIED = 20
SURE, NEVER = 1e3, 1e-30


@dataclass(frozen=True)
class Constant:
    """An answer that is the same for every sample.

    Args:
        value: What a metric says of it.
        answer: The class; None for outputs that are the shares of the classes.
    """

    value: float
    answer: int | None

    def text(self, names: tuple[str, ...] | None = None) -> str:
        """What is answered, as a part of a sentence.

        Args:
            names: Of the classes, if they have some.
        """
        if self.answer is None:
            return "giving every sample the shares of the classes as outputs"
        return f"always answering class {self.answer if names is None else names[self.answer]}"


def best_constant(metric: Metric, targets: Tensor, classes: int) -> Constant | None:
    """The best of the answers that are the same for every sample: a class, or the shares of the classes as outputs.

    A class that is as good goes first, the one with the most samples.

    Args:
        metric: By which it is the best.
        targets: Class indices ``[N]``.
        classes: K.

    Returns:
        None where no such answer has a finite number.
    """
    counts = targets.bincount(minlength=classes).double()
    order = counts.argsort(descending=True, stable=True)[:TRIED].tolist()
    shares = (counts / len(targets)).clamp(min=NEVER).log()
    outputs = [*((label, SURE * torch.eye(classes)[label]) for label in order), (None, shares)]
    found = list[Constant]()
    for answer, logits in outputs:
        rows = logits.to(targets.device, torch.float64).expand(1, len(targets), classes)
        found.append(Constant(float(metric(rows, targets)), answer))
    turn = 1.0 if metric.higher_is_better else -1.0
    known = [one for one in found if math.isfinite(one.value)]
    return max(known, key=lambda one: turn * one.value, default=None)
