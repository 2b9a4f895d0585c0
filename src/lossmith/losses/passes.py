"""Values and logit gradients of a batch in few passes over the logits, for losses with numbers as coefficients.

New memory costs as much as several passes over it. So each buffer is written over as often as can be, and
:class:`Scratch` keeps them from block to block.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lossmith.losses import powers
from lossmith.losses.kernel import Kernel
from lossmith.losses.labels import at_class, wide
from lossmith.losses.sums import InPlace, add_over_classes

# From so many numbers on, PyTorch's own softmax on the host takes longer than its parts do one by one; over a short
# last dimension from a thirtieth of them on.
MANY, SHORT = 120_000, 32


class Scratch:
    """Buffers that are used again.

    Args:
        again: Whether they are, or made anew each time.
    """

    def __init__(self, again: bool = True) -> None:
        self._again = again
        self._kept: Tensor | None = None

    def __call__(self, number: int, like: Tensor) -> Sequence[Tensor | None]:
        """So many buffers with the shape and dtype of a tensor that is not larger than the first one was.

        None is a buffer that PyTorch makes itself, which takes fewer calls.
        """
        if torch.compiler.is_compiling() or not (self._again or _is_large(like)):
            return (None,) * number
        shape = (number, *like.shape)
        if self._kept is not None:
            return self._kept.view(-1)[: number * like.numel()].view(shape).unbind()
        # All at once: memory that is given back in small parts goes back to the system, and costs more the next time.
        made = like.new_empty(shape)
        if self._again:
            self._kept = made
        return made.unbind()


NONE = Scratch(again=False)


def value_and_gradient(
    kernel: Kernel,
    logits: Tensor,
    targets: Tensor,
    needed: bool,
    dim: int = -1,
    weight: Tensor | None = None,
    out: Tensor | None = None,
    scratch: Scratch | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Values ``[N]`` and, where they are needed, gradients ``[N, K]``, in few passes, in float32 at least.

    Args:
        kernel: With numbers.
        logits: ``[N, K]``, or of more dimensions, K being ``dim``.
        targets: Class indices ``[N]`` or probabilities ``[N, K]``.
        needed: Whether the gradient is.
        dim: The class dimension.
        weight: Class weights ``[K]`` for class probabilities, as in :class:`~lossmith.losses.weighting.ClassWeighted`.
        out: Where gradients are written.
        scratch: The buffers of other blocks.
    """
    z, scratch = wide(logits), scratch or NONE
    if targets.is_floating_point():
        return _soft(kernel, z, targets, needed, dim, weight, out, scratch)
    return _hard(kernel, z, targets, needed, dim, out, scratch)


def _is_large(z: Tensor) -> bool:
    """Whether the parts of the softmax are done one by one, as a compiler would have them: it joins their loops."""
    if torch.compiler.is_compiling():
        return True
    return z.is_cpu and z.numel() >= (MANY // 30 if z.shape[-1] <= SHORT else MANY)


def _logs(z: Tensor, dim: int, all_needed: bool, out: Tensor | None) -> Tensor:
    """Log outputs ``x``; where :func:`_is_large`, up to a number for each sample, which is ``log Σ_k e^x_k``.

    Args:
        z: Logits.
        dim: The class dimension.
        all_needed: Whether logs are needed of all classes, which −∞ would spoil.
        out: Where they are written.
    """
    x = torch.sub(z, z.amax(dim, keepdim=True), out=out) if _is_large(z) else torch.log_softmax(z, dim, out=out)
    return x.clamp_(min=powers.LOWEST_LOG) if all_needed else x


def _hard(
    kernel: Kernel, z: Tensor, targets: Tensor, needed: bool, dim: int, out: Tensor | None, scratch: Scratch
) -> tuple[Tensor, Tensor | None]:
    """For class indices."""
    (loss, slope, opposite, inert), index, many = kernel, targets.unsqueeze(dim), z.shape[dim]
    summed = _is_large(z)
    first, *more = scratch(2 if loss.free.others else 1, z)
    x = _logs(z, dim, loss.free.needs_log, first)
    label = at_class(x, index, dim, differentiable=False)
    log_sum = x.sum(dim, keepdim=True) if loss.free.logarithm is not None else None
    e, unit = x, None
    if summed or needed or loss.free.polynomial:
        e = powers.outputs(x, more[0] if more else x)
    if summed:
        total = e.sum(dim, keepdim=True)
        log_total = total.log()
        label = label.sub_(log_total)
        if log_sum is not None:
            log_sum.sub_(log_total, alpha=many)
        if loss.free.others:
            x.sub_(log_total)
        unit = total.reciprocal_()
    if not loss.free.needs_log:
        label.clamp_(min=powers.LOWEST_LOG)
    output = label.exp() if loss.tied.polynomial else label
    value = loss.tied(label, output, InPlace)
    if constant := many * (loss.free.constant or 0.0) + inert:
        value.add_(constant)
    sums, totals, pull = [loss.free], [value], value
    # Else a number for each sample times h, and a constant, are the gradient but for the label's.
    curved = len(opposite.free.ascending) > 2
    if needed:
        pull = opposite.tied(label, output, InPlace)
        # Σ_k g_k
        totals.append(many * slope.free.constant - pull if slope.free.constant else pull.neg())
        sums.append(slope.free)
        if out is None:
            out = torch.empty_like(e) if curved else e
    add_over_classes(sums, totals, x, e, unit, log_sum, dim, out if needed else e)
    if not needed:
        return value.squeeze(dim), None
    # What multiplies h, Σ_k g_k, is a coefficient of the polynomial −g, so that one evaluation gives the gradient.
    linear = totals[1]
    if unit is not None:
        if curved:
            e.mul_(unit)
        else:
            linear = linear * unit
    gradient = opposite.free(x, e, InPlace, out, linear)
    return value.squeeze(dim), InPlace.add_at(gradient, index, pull, dim)


def _soft(
    kernel: Kernel,
    z: Tensor,
    targets: Tensor,
    needed: bool,
    dim: int,
    weight: Tensor | None,
    out: Tensor | None,
    scratch: Scratch,
) -> tuple[Tensor, Tensor | None]:
    """For class probabilities."""
    logs = kernel.value.needs_log
    first, work, *more = scratch(2 + logs + (not needed), z)
    if needed:
        found: Tensor | None = torch.empty_like(z) if out is None else out
    else:
        found = more.pop()
    x = _logs(z, dim, logs, first)
    h = powers.outputs(x, more[0] if more else x)
    if _is_large(z):
        total = h.sum(dim, keepdim=True)
        if logs:
            x.sub_(total.log())
        h.mul_(total.reciprocal_())
    labels = kernel.value.labels(targets.to(x.dtype))
    own: Tensor | None = None
    if weight is not None:
        # What is made of a label has the weight of its class, the rest that of the whole label.
        w = weight.to(x.dtype).reshape(-1, *(1,) * (x.ndim - 1 - dim % x.ndim))
        own = (targets * w).sum(dim, keepdim=True).to(x.dtype)
        labels = {j: y * w for j, y in labels.items()}
    value = kernel.value.at(x, h, labels, InPlace, work, own, found).sum(dim)
    if kernel.inert:
        value += kernel.inert if own is None else kernel.inert * own.squeeze(dim)
    if not needed:
        return value, None
    slope = kernel.slope.at(x, h, labels, InPlace, work, own, found)
    return value, torch.sub(h.mul_(slope.sum(dim, keepdim=True)), slope, out=found)
