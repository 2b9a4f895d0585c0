"""Loss and logit gradient of ``[N, K, S]``, a class for each of S places (pixels, tokens), block by block.

What a block needs stays in the cache of the processor, where a pass over it costs a fraction of one over all places.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from lossmith.losses.kernel import Kernel, value_and_gradient
from lossmith.losses.labels import wide

# Numbers for each thread: with float32, half a megabyte.
BLOCK = 2**17
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
    """Values ``[N, S]`` and, where they are needed, gradients ``[N, K, S]``, in float32 at least.

    Args:
        kernel: With numbers.
        logits: ``[N, K, S]``.
        targets: Class indices ``[N, S]`` or probabilities ``[N, K, S]``.
        needed: Whether the gradient is.
        factor: What the gradients, not the values, are multiplied by: ``[N, S]``, or None.
        weight: Class weights ``[K]`` for class probabilities, or None.
    """
    like = wide(logits[:0])
    value = like.new_empty(logits.shape[0], *logits.shape[2:])
    gradient = torch.empty_like(logits, dtype=like.dtype) if needed else None
    for samples, places in _blocks(logits):
        here = samples, ..., places
        block, labels = logits[here].contiguous(), targets[here].contiguous()
        value[here], found = value_and_gradient(kernel, block, labels, needed, 1, weight)
        if gradient is None or found is None:
            continue
        if factor is None:
            gradient[here] = found
        else:
            torch.mul(found, factor[here].unsqueeze(1), out=gradient[here])
    return value, gradient


def _blocks(logits: Tensor) -> Iterator[tuple[slice, slice]]:
    """Samples and places of each block; what is not computed on the host is one block."""
    samples, classes = logits.shape[:2]
    size = BLOCK * torch.get_num_threads()
    places = logits.shape[2]
    if not logits.is_cpu or logits.numel() <= size:
        yield slice(samples), slice(None)
        return
    width = min(places, max(SHORTEST, size // classes))
    many = max(1, size // (classes * width))
    for first in range(0, samples, many):
        for start in range(0, places, width):
            yield slice(first, first + many), slice(start, start + width)
