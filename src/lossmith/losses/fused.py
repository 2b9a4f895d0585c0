"""Loss and logit gradient of a batch in one pass, behind autograd: what the criterion calls for ``[N, K]``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.function import once_differentiable

from lossmith.losses.kernel import GradientRule, Kernel, prepared, value_and_gradient, wide
from lossmith.losses.terms import AnyTerm

Numbers = Sequence[tuple[AnyTerm, float]]
# Neither has a public name; without the first everything is left to autograd.
_transforming = getattr(torch._C, "_are_functorch_transforms_active", lambda: True)
_batched = getattr(torch._C._functorch, "is_legacy_batchedtensor", lambda _: True)


def applies(logits: Tensor, targets: Tensor) -> bool:
    """Whether the functions here may be called: for ``[N, K]``, backward mode, and no gradient of the labels."""
    return (
        logits.ndim == 2
        and not targets.requires_grad
        and not _transforming()
        # An exported program holds operators alone, which autograd goes through again.
        and not torch.compiler.is_exporting()
        and (torch.compiler.is_compiling() or not (_has_tangent(logits) or _has_tangent(targets)))
    )


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


def reduced(terms: Numbers, logits: Tensor, targets: Tensor, ignore_index: int, reduction: str) -> Tensor:
    """``−Σ_k φ(h_k, y_k)`` of a batch, reduced; where it is differentiated once, the gradient is ready by then.

    Args:
        terms: Terms with coefficients as numbers.
        logits: ``[N, K]``.
        targets: Class indices ``[N]`` or probabilities ``[N, K]``.
        ignore_index: Samples with this class index count for nothing.
        reduction: ``"mean"`` over the samples that count, ``"sum"`` or ``"none"``.
    """
    kept: Tensor | None = None
    if not targets.is_floating_point():
        targets = targets.long()
        # On the host a look at the smallest index is cheaper than a mask; on a GPU it would wait for it.
        plain = targets.is_cpu and type(targets) is Tensor and targets.numel() > 0
        if ignore_index >= 0 or not plain or int(targets.min()) < 0:
            kept = targets != ignore_index
            targets = torch.where(kept, targets, 0)
    result: Tensor = _Both.apply(terms, logits, targets, kept, reduction)  # type: ignore[no-untyped-call]
    return result


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
        ctx: Any, terms: Numbers, logits: Tensor, targets: Tensor, kept: Tensor | None, reduction: str
    ) -> Tensor:
        # The gradient is that of the mean at once, unless only the device knows over how many samples.
        ctx.scale = 1 / len(targets) if reduction == "mean" and kept is None and len(targets) else 1.0
        value, gradient = value_and_gradient(
            prepared(tuple(terms), ctx.scale), logits, targets, ctx.needs_input_grad[1]
        )
        ctx.terms, ctx.kept, ctx.count, ctx.unused = terms, kept, None, True
        ctx.save_for_backward(logits, targets, gradient)
        if kept is not None:
            value = torch.where(kept, value, 0.0)
            ctx.count = kept.sum() if reduction == "mean" else None
        if reduction == "none":
            return value
        if reduction == "sum":
            return value.sum()
        return value.mean() if kept is None else value.sum() / ctx.count

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[None, Tensor, None, None, None]:
        logits, targets, gradient = ctx.saved_tensors
        each = slope if ctx.count is None else slope / ctx.count
        if ctx.kept is not None:
            each = torch.where(ctx.kept, each, 0.0)
        if each.ndim:
            each = each[:, None]
        if torch.is_grad_enabled():
            found = _differentiable(ctx.terms, logits, targets) * (each * ctx.scale)
        elif _transforming() or _batched(slope):
            found = _gradient(ctx, logits, targets) * each
        else:
            # What the forward pass has found is used up in place, behind autograd's back; a second pass finds it again.
            unused = ctx.__dict__.pop("unused", False)
            found = gradient.data if unused else _gradient(ctx, logits, targets)
            if not _is_one(each):
                found.mul_(each)
        return None, found.to(logits.dtype), None, None, None


def _is_one(number: Tensor) -> bool:
    """Whether it is a 1 on the host, as at the end of a program's own loss; elsewhere a look would wait for it."""
    return number.is_cpu and type(number) is Tensor and number.ndim == 0 and float(number) == 1.0


def _gradient(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
    """The gradient ``[N, K]`` as the forward pass finds it."""
    gradient = value_and_gradient(prepared(tuple(ctx.terms), ctx.scale), logits, targets, True)[1]
    assert gradient is not None
    return gradient


def _differentiable(terms: Numbers, logits: Tensor, targets: Tensor) -> Tensor:
    """The gradient ``[N, K]`` as a function that autograd can follow, in float32 at least."""
    return GradientRule(terms)(wide(logits), targets)
