"""Loss and logit gradient of ``[N, K]`` or ``[N, K, S]``, a class for each of S places (pixels, tokens), in blocks.

What a block needs is small and is there for the next one, while new memory costs more than the arithmetic in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from lossmith.losses.kernel import Kernel
from lossmith.losses.labels import wide
from lossmith.losses.passes import Scratch, value_and_gradient

# Numbers for each thread: with float32, two megabytes. What is not more than twice as large is one block.
BLOCK = 2**19
# Shorter rows than so many places cost more than they save.
SHORTEST = 64


def by_blocks(
    kernel: Kernel,
    logits: Tensor,
    targets: Tensor,
    needed: bool,
    factor: Tensor | None,
    weight: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Values ``[N, …]`` and, where they are needed, gradients ``[N, K, …]``, in float32 at least.

    Args:
        kernel: With numbers.
        logits: ``[N, K]`` or ``[N, K, S]``.
        targets: Class indices ``[N, …]`` or probabilities ``[N, K, …]``.
        needed: Whether the gradient is.
        factor: What the gradients, not the values, are multiplied by: ``[N, …]``, or None.
        weight: Class weights ``[K]`` for class probabilities, or None.
    """
    size = BLOCK * torch.get_num_threads()
    if not logits.is_cpu or (logits.numel() <= 2 * size and logits.is_contiguous()):
        value, gradient = value_and_gradient(kernel, logits, targets, needed, 1, weight)
        if gradient is not None and factor is not None:
            gradient.mul_(factor.unsqueeze(1))
        return value, gradient
    if not logits.is_contiguous():
        # A block is laid out anew, which is quick in the cache of a core.
        size = size // 4
    like = wide(logits[:0])
    value = like.new_empty(logits.shape[0], *logits.shape[2:])
    gradient = torch.empty_like(logits, dtype=like.dtype) if needed else None
    scratch = Scratch()
    for here in _blocks(logits, size):
        block, labels = logits[here].contiguous(), targets[here].contiguous()
        # Where classes lie side by side, a block is laid out anew, and its gradient back again.
        out = gradient[here] if gradient is not None and gradient.stride(-1) == 1 else None
        value[here], found = value_and_gradient(kernel, block, labels, needed, 1, weight, out, scratch)
        if found is not None and factor is not None:
            found.mul_(factor[here].unsqueeze(1))
        if gradient is not None and found is not None and out is None:
            gradient[here] = found
    return value, gradient


def _blocks(logits: Tensor, size: int) -> Iterator[tuple[Any, ...]]:
    """The index of each block of about so many numbers."""
    samples, classes, *rest = logits.shape
    places = rest[0] if rest else 1
    width = min(places, max(SHORTEST, size // classes))
    many = max(1, size // (classes * width))
    for first in range(0, samples, many):
        for start in range(0, places, width):
            here = slice(first, first + many)
            yield (here, ..., slice(start, start + width)) if rest else (here,)
