"""Losses of any kind at the output vectors of theorem 2: 1 − ε for the target, and ``ε/(n−1)`` for each other class."""

import math

import torch
from torch import Tensor

from lossmith.losses import Loss
from lossmith.theory.checks import check_vectors

# Numbers of a part of the vectors that are looked at together.
PART, NOISE = 2**21, 1e-14


def symmetric_steps(loss: Loss, epsilon: Tensor, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Steps of the logits against the gradient, each ``[*P, *E]``: of the non-targets, of the target; and their size.

    The logits are log h, with the mean 0 for a loss that sees a shift. The size is that of the terms of the target's
    step before a transform of the logits, ``|(1 − h_T) g_T| + |h_T Σ_{k≠T} g_k|``; 0 where they cancel to nothing.

    Args:
        loss: One or a population ``[*P]`` of any kind.
        epsilon: ``[*E]`` in (0, 1).
        classes: n.

    Raises:
        InputError: if there are so many classes that whole output vectors have no room.
    """
    parts = [_steps(loss, part, classes) for part in _parts(epsilon, classes)]
    b, a, size = (torch.cat(columns, -1).reshape((*loss.shape, *epsilon.shape)) for columns in zip(*parts, strict=True))
    return b, a, size


def symmetric_values(loss: Loss, epsilon: Tensor, classes: int) -> Tensor:
    """The loss at these outputs, ``[*P, *E]``.

    Raises:
        InputError: as :func:`symmetric_steps`.
    """
    if loss.sums_over_classes:
        each = epsilon.reshape((1,) * len(loss.shape) + epsilon.shape)
        target, other = 1 - each, each / (classes - 1)
        one, zero = torch.ones_like(each), torch.zeros_like(each)
        return -(loss.phi(target, one) + (classes - 1) * loss.phi(other, zero))
    parts = [
        loss.value(_centered(_logits(part, classes)), torch.zeros(len(part), dtype=torch.long))
        for part in _parts(epsilon, classes)
    ]
    return torch.cat(parts, -1).reshape((*loss.shape, *epsilon.shape))


def _steps(loss: Loss, epsilon: Tensor, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    # Not the log-softmax of the logits, nor 1 − h_T: near zero error both would have lost their digits.
    x = _logits(epsilon, classes).expand(*loss.shape, len(epsilon), classes)
    rest = epsilon.expand(*loss.shape, len(epsilon))
    given = _centered(x)
    seen = loss.transformed(given)
    changed = (seen != given).any(-1)
    if not loss.is_shift_free:
        outputs = seen.log_softmax(-1)
        x = torch.where(changed[..., None], outputs, x)
        rest = torch.where(changed, outputs[..., 1:].exp().sum(-1), rest)
    y = torch.zeros_like(x)
    y[..., 0] = 1
    g = loss.slope(x, y).expand_as(x)
    parts = rest * g[..., 0], (1 - rest) * g[..., 1:].sum(-1)
    size = parts[0].abs() + parts[1].abs()
    step = torch.zeros_like(x)
    step[..., 0] = parts[0] - parts[1]
    step[..., 1:] = (-step[..., 0] / (classes - 1))[..., None]
    moved = loss.pulled_back(step, given)
    # All these vectors lie along one direction; what a transform takes out of it is 0 but for rounding.
    moved = torch.where(changed[..., None] & (moved.abs() <= NOISE * size[..., None]), 0.0, moved)
    return moved[..., 1], moved[..., 0], torch.where(changed | (moved[..., 0] != 0), size, 0.0)


def _logits(epsilon: Tensor, classes: int) -> Tensor:
    """Log outputs ``[E, n]``, the target first."""
    # Not the log of the quotient, which can be 0.
    other = (epsilon.log() - math.log(classes - 1))[:, None].expand(-1, classes - 1)
    return torch.cat([torch.log1p(-epsilon)[:, None], other], -1)


def _centered(logits: Tensor) -> Tensor:
    return logits - logits.mean(-1, keepdim=True)


def _parts(epsilon: Tensor, classes: int) -> tuple[Tensor, ...]:
    check_vectors(classes)
    parts: tuple[Tensor, ...] = epsilon.reshape(-1).split(max(1, PART // classes))
    return parts
