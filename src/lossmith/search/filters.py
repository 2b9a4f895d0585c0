"""What can be known of a loss before a network is trained with it: whether it can train, and whether it is new."""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossmith.losses import Loss
from lossmith.seeds import generator

# Output vectors of a signature, the spread of their logits, and what counts as equal.
SCALES, EACH, TOLERANCE = (0.3, 1.0, 3.0, 8.0), 6, 1e-6
# Free logit vectors of the rehearsal and their spread: nearly uniform, as networks begin; its steps, the length of the
# first one, and by how much the target must rise.
REHEARSED, SPREAD, STEPS, LENGTH, RISE = 48, 0.02, 25, 0.5, 0.01
Signature = NDArray[np.float64]


@functools.lru_cache(maxsize=16)
def _grid(classes: int, purpose: str, count: int, scales: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Fixed logits ``[N, K]`` in float64 and the labels of each."""
    source = generator("filters", purpose, classes)
    rows = [scale * torch.randn(count, classes, generator=source, dtype=torch.float64) for scale in scales]
    return torch.cat(rows), torch.randint(classes, (count * len(scales),), generator=source)


def signature(loss: Loss, classes: int) -> Signature | None:
    """What a loss does: its logit gradient on fixed outputs and labels, divided by its norm, and the log of that.

    Two losses whose signatures agree train networks alike, whatever their formulas are.

    Args:
        loss: One loss.
        classes: n.

    Returns:
        ``[D]``; None for a loss without a gradient.
    """
    logits, labels = _grid(classes, "signature", EACH, SCALES)
    gradient = loss.logit_gradient(logits, labels).flatten().numpy()
    norm = float(np.linalg.norm(gradient))
    return np.append(gradient / norm, np.log(norm)) if 1e-20 < norm < np.inf else None


class Archive:
    """The signatures that are known."""

    def __init__(self) -> None:
        self._known: list[Signature] = []
        self._stacked: Signature | None = None

    def holds(self, found: Signature) -> bool:
        """Whether one that agrees with it is known."""
        if not self._known:
            return False
        if self._stacked is None:
            self._stacked = np.stack(self._known)
        return bool((np.abs(self._stacked - found).max(1) < TOLERANCE).any())

    def add(self, found: Signature) -> None:
        """Know it from here on."""
        self._known.append(found)
        self._stacked = None

    def __len__(self) -> int:
        """How many are known."""
        return len(self._known)


def rehearsed(loss: Loss, classes: int) -> bool:
    """Whether gradient descent on free logits raises the output of the target.

    It takes 25 steps along the gradient, from outputs that are nearly uniform; the first has the mean length 0.5, and
    the others the same factor.

    Args:
        loss: One loss.
        classes: n.
    """
    logits, labels = _grid(classes, "rehearsal", REHEARSED, (SPREAD,))
    rows = torch.arange(len(labels))
    before = torch.softmax(logits, -1)[rows, labels].mean()
    rule = loss.gradient_rule(logits)
    gradient = rule(logits, labels)
    length = float(gradient.norm(dim=-1).mean())
    if not 1e-20 < length < float("inf"):
        return False
    rate, now = LENGTH / length, logits
    for _ in range(STEPS):
        # A loss whose gradient explodes is not one that rises slowly: the step is bounded, as clipping would do.
        step = (rate * gradient).clamp(-LENGTH, LENGTH)
        now = now - step
        gradient = rule(now, labels)
    after = torch.softmax(now, -1)[rows, labels].mean()
    return bool(after > before + RISE)
