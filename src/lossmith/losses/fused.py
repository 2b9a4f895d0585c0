"""Loss and logit gradient of a batch in one pass, behind autograd: what the criterion calls for ``[N, K, …]``."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.function import once_differentiable

from lossmith.losses.blocks import by_blocks
from lossmith.losses.kernel import GradientRule, Kernel, prepared, without_inert
from lossmith.losses.labels import at_class, wide
from lossmith.losses.passes import value_and_gradient
from lossmith.losses.powers import log_outputs
from lossmith.losses.terms import AnyTerm
from lossmith.losses.weighting import label_weights, weighted_gradient

Numbers = tuple[tuple[AnyTerm, float], ...]
# Neither has a public name; without the first everything is left to autograd.
_transforming = getattr(torch._C, "_are_functorch_transforms_active", lambda: True)
_batched = getattr(torch._C._functorch, "is_legacy_batchedtensor", lambda _: True)


def applies(logits: Tensor, targets: Tensor, weight: Tensor | None = None) -> bool:
    """Whether the functions here may be called: for ``[N, K, …]``, backward mode, and gradients of logits alone."""
    return (
        logits.ndim >= 2
        and not targets.requires_grad
        and not (weight is not None and weight.requires_grad)
        and not _transforming()
        # An exported program holds operators alone, which autograd goes through again.
        and not torch.compiler.is_exporting()
        and (torch.compiler.is_compiling() or not (_has_tangent(logits) or _has_tangent(targets)))
    )


def has_values(tensor: Tensor) -> bool:
    """Whether a look at its numbers may decide what is done: nothing traces or batches it, or records it on a GPU."""
    traced = type(tensor) is not Tensor or tensor.is_meta or _transforming()
    return not traced and not (tensor.is_cuda and torch.cuda.is_current_stream_capturing())


def _has_tangent(tensor: Tensor) -> bool:
    return forward_ad.unpack_dual(tensor).tangent is not None


def values(terms: Numbers, logits: Tensor, targets: Tensor) -> Tensor:
    """``−Σ_k φ(h_k, y_k)`` of each sample ``[N]``, for compiled programs: the value's pass finds the gradient, too.

    Args:
        terms: Terms with coefficients as numbers.
        logits: ``[N, K]``.
        targets: Class indices ``[N]`` or probabilities ``[N, K]``.
    """
    if not (logits.requires_grad and torch.is_grad_enabled()):
        return value_and_gradient(Kernel.of(terms), logits, targets, False)[0]
    result: Tensor = _Traced.apply(terms, logits, targets)  # type: ignore[no-untyped-call]
    return result


def reduced(
    terms: Numbers,
    logits: Tensor,
    targets: Tensor,
    ignore_index: int,
    reduction: str,
    weight: Tensor | None = None,
) -> Tensor:
    """``−Σ_k φ(h_k, y_k)`` of a batch, reduced; where it is differentiated once, the gradient is ready by then.

    Args:
        terms: Terms with coefficients as numbers.
        logits: ``[N, K]`` or ``[N, K, d1, …]``.
        targets: Class indices (the same without K) or probabilities (like the logits).
        ignore_index: Samples with this class index count for nothing.
        reduction: ``"mean"`` over the samples that count, ``"sum"`` or ``"none"``.
        weight: Class weights ``[K]``, by which samples count, or None.
    """
    kept: Tensor | None = None
    if not targets.is_floating_point():
        targets = targets.long()
        # On the host a look at the smallest index is cheaper than a mask; on a GPU it would wait for it.
        plain = targets.is_cpu and type(targets) is Tensor and targets.numel() > 0
        if ignore_index >= 0 or not plain or int(targets.min()) < 0:
            kept = targets != ignore_index
            targets = torch.where(kept, targets, 0)
    shape = (logits.shape[0], *logits.shape[2:])
    if len(shape) > 2:
        logits, targets = _flat(logits, len(shape) - 1), _flat(targets, len(shape) - 1)
        kept = None if kept is None else _flat(kept, len(shape) - 1)
    own: Tensor | None = None
    if weight is not None and not targets.is_floating_point():
        own = at_class(weight.to(wide(logits[:0]).dtype), targets.reshape(-1), 0, False).reshape(targets.shape)
        weight = None
    if logits.requires_grad and torch.is_grad_enabled():
        result: Tensor = _Both.apply(terms, logits, targets, own, kept, weight, reduction)  # type: ignore[no-untyped-call]
    else:
        value = by_blocks(prepared(terms, 1.0), logits, targets, False, None, weight)[0]
        result = _reduced(value, own, kept, _count(own, kept, logits) if reduction == "mean" else None, reduction)
    return result.reshape(shape) if reduction == "none" else result


def _count(own: Tensor | None, kept: Tensor | None, logits: Tensor) -> Tensor | None:
    """Over how many samples, or which sum of weights, the mean is; None if over all."""
    factor = _factor(own, kept)
    return None if factor is None else factor.sum().to(wide(logits[:0]).dtype)


def _factor(own: Tensor | None, kept: Tensor | None) -> Tensor | None:
    """How much each sample counts, or None if all count alike."""
    return own if kept is None else kept if own is None else torch.where(kept, own, 0.0)


def _reduced(value: Tensor, own: Tensor | None, kept: Tensor | None, count: Tensor | None, reduction: str) -> Tensor:
    """The values of the samples, weighted and reduced."""
    value = value if own is None else value * own
    value = value if kept is None else torch.where(kept, value, 0.0)
    if reduction == "none":
        return value
    if reduction == "sum":
        return value.sum()
    return value.mean() if count is None else value.sum() / count


def _flat(x: Tensor, dimensions: int) -> Tensor:
    """A tensor with so many last dimensions made one."""
    # Told in full: a dimension of length 0 says nothing of the others.
    return x.reshape(*x.shape[:-dimensions], math.prod(x.shape[-dimensions:]))


class _Traced(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, terms: Numbers, logits: Tensor, targets: Tensor) -> Tensor:
        value, gradient = value_and_gradient(Kernel.of(terms), logits, targets, True)
        ctx.dtype = logits.dtype
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[None, Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return None, (gradient * slope[:, None]).to(ctx.dtype), None


class _Both(torch.autograd.Function):
    # With a `setup_context` of its own, as `torch.func` would have it, a call costs as much again.
    @staticmethod
    def forward(
        ctx: Any,
        terms: Numbers,
        logits: Tensor,
        targets: Tensor,
        own: Tensor | None,
        kept: Tensor | None,
        classes: Tensor | None,
        reduction: str,
    ) -> Tensor:
        samples, mean = logits.numel() // logits.shape[1], reduction == "mean"
        factor = _factor(own, kept)
        count = _count(own, kept, logits) if mean else None
        # The gradient is that of the mean at once, unless only the targets say over how many samples.
        ctx.scale = 1 / samples if mean and count is None and samples else 1.0
        if factor is not None and count is not None:
            # Nothing, of which there is no mean, has the gradient 0.
            factor = factor * torch.where(count == 0, 0.0, 1 / count)
        # On the host the gradients are multiplied while they are in its cache, elsewhere with the slope.
        now = factor if logits.is_cpu else None
        ctx.terms, ctx.classes, ctx.kept, ctx.factor = terms, classes, kept, factor
        ctx.done, ctx.unused = now is not None, True
        value, gradient = by_blocks(prepared(terms, ctx.scale), logits, targets, True, now, classes)
        ctx.save_for_backward(logits, targets, gradient)
        return _reduced(value, own, kept, count, reduction)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[None, Tensor, None, None, None, None, None]:
        logits, targets, gradient = ctx.saved_tensors
        if ctx.kept is not None and slope.ndim:
            slope = torch.where(ctx.kept, slope, 0.0)
        each = slope if ctx.factor is None else slope * ctx.factor
        if torch.is_grad_enabled():
            found = _differentiable(ctx, logits, targets) * (_of_classes(each) * ctx.scale)
        elif _transforming() or _batched(slope):
            found = _gradient(ctx, logits, targets) * _of_classes(each)
        else:
            # What the forward pass has found is used up in place, behind autograd's back; a second pass finds it again.
            unused = ctx.__dict__.pop("unused", False)
            found = gradient.data if unused else _gradient(ctx, logits, targets)
            rest = slope if unused and ctx.done else each
            if not _is_one(rest):
                found.mul_(_of_classes(rest))
        return None, found.to(logits.dtype), None, None, None, None, None


def _of_classes(each: Tensor) -> Tensor:
    """A number for each sample as one for each of its logits."""
    return each.unsqueeze(1) if each.ndim else each


def _is_one(number: Tensor) -> bool:
    """Whether it is a 1 on the host, as at the end of a program's own loss; elsewhere a look would wait for it."""
    return number.is_cpu and type(number) is Tensor and number.ndim == 0 and float(number) == 1.0


def _gradient(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
    """The gradient ``[N, K, …]`` as the forward pass finds it, before any factor."""
    gradient = by_blocks(prepared(ctx.terms, ctx.scale), logits, targets, True, None, ctx.classes)[1]
    assert gradient is not None
    return gradient


def _differentiable(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
    """The gradient ``[N, K, …]`` as a function that autograd can follow, in float32 at least."""
    labels, f = targets.movedim(1, -1) if targets.is_floating_point() else targets, wide(logits.movedim(1, -1))
    if ctx.classes is None:
        return GradientRule(ctx.terms)(f, labels).movedim(-1, 1)
    labels, w = labels.to(f.dtype), ctx.classes.to(f.dtype)
    own, acting = label_weights(w, labels)[..., None], without_inert(ctx.terms)[0]
    return weighted_gradient(acting, log_outputs(f), labels, w, own).movedim(-1, 1)
