"""Losses of any kind at the output vectors of theorem 2: 1 − ε for the target, and ``ε/(n−1)`` for each other class."""

import math

import torch
from torch import Tensor

from lossmith.errors import InputError
from lossmith.losses import Loss

MOST_CLASSES = 10**5
# Numbers of a part of the vectors that are looked at together.
PART = 2**21


def symmetric_steps(loss: Loss, epsilon: Tensor, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Steps of the logits against the gradient, each ``[*P, *E]``: of the non-targets, of the target; and their size.

    The logits are log h, with the mean 0 for a loss that sees a shift. The size is that of the terms of the target's
    step before a transform of the logits, ``|(1 − h_T) g_T| + |h_T Σ_{k≠T} g_k|``.

    Args:
        loss: One or a population ``[*P]`` of any kind.
        epsilon: ``[*E]`` in (0, 1).
        classes: n.

    Raises:
        InputError: if there are so many classes that whole output vectors have no room.
    """
    parts = [_steps(loss, part, classes) for part in _parts(epsilon, classes)]
    b, a, size = (torch.cat(columns, -1).reshape(*loss.shape, *epsilon.shape) for columns in zip(*parts, strict=True))
    return b, a, size


def symmetric_values(loss: Loss, epsilon: Tensor, classes: int) -> Tensor:
    """The loss at these outputs, ``[*P, *E]``.

    Raises:
        InputError: as :func:`symmetric_steps`.
    """
    if loss.sums_over_classes:
        target, other = 1 - epsilon, epsilon / (classes - 1)
        one, zero = torch.ones_like(epsilon), torch.zeros_like(epsilon)
        return -(loss.phi(target, one) + (classes - 1) * loss.phi(other, zero))
    parts = [
        loss.value(_logits(part, classes), torch.zeros(len(part), dtype=torch.long))
        for part in _parts(epsilon, classes)
    ]
    return torch.cat(parts, -1).reshape(*loss.shape, *epsilon.shape)


def _steps(loss: Loss, epsilon: Tensor, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    logits = _logits(epsilon, classes)
    logits = logits.expand(*loss.shape, *logits.shape)
    x = loss.transformed(logits).log_softmax(-1)
    y = torch.zeros_like(x)
    y[..., 0] = 1
    g, h = loss.slope(x, y), x.exp()
    # Not g_T − h_T Σ g: near zero error, 1 − h_T would have lost its digits.
    parts = h[..., 1:].sum(-1) * g[..., 0], h[..., 0] * g[..., 1:].sum(-1)
    step = torch.zeros_like(x)
    step[..., 0] = parts[0] - parts[1]
    step[..., 1:] = (-step[..., 0] / (classes - 1))[..., None]
    step = loss.pulled_back(step, logits)
    return step[..., 1], step[..., 0], parts[0].abs() + parts[1].abs()


def _logits(epsilon: Tensor, classes: int) -> Tensor:
    """``[E, n]``, the target first."""
    # Not the log of the quotient, which can be 0.
    other = (epsilon.log() - math.log(classes - 1))[:, None].expand(-1, classes - 1)
    logits = torch.cat([torch.log1p(-epsilon)[:, None], other], -1)
    return logits - logits.mean(-1, keepdim=True)


def _parts(epsilon: Tensor, classes: int) -> tuple[Tensor, ...]:
    if classes > MOST_CLASSES:
        raise InputError(
            f"a loss that is no sum over classes is looked at with whole output vectors, of at most {MOST_CLASSES} "
            f"classes, not {classes}"
        )
    parts: tuple[Tensor, ...] = epsilon.reshape(-1).split(max(1, PART // classes))
    return parts
