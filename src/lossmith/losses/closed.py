"""Loss and logit gradient of a batch together, in closed form: what one backward pass of a criterion costs."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.function import once_differentiable

from lossmith.losses import powers
from lossmith.losses.samples import INERT, LARGEST, GradientRule, Term, at_class, classes, sample_values

Numbers = Sequence[tuple[Term, float]]
# Neither has a public name; without the first everything is left to autograd.
_transforming = getattr(torch._C, "_are_functorch_transforms_active", lambda: True)
_batched = getattr(torch._C._functorch, "is_legacy_batchedtensor", lambda _: True)


def applies(logits: Tensor, targets: Tensor) -> bool:
    """Whether the functions here may be called: for ``[N, K]``, backward mode, and no gradient of the labels."""
    return (
        logits.ndim == 2
        and not targets.requires_grad
        and not _transforming()
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
    parts = _Parts(terms)
    if not parts.closed(targets):
        return sample_values(terms, powers.log_outputs(logits), targets)
    if not (logits.requires_grad and torch.is_grad_enabled()):
        return _both(parts, terms, logits, targets, False)[0]
    result: Tensor = _Traced.apply(terms, logits, targets)  # type: ignore[no-untyped-call]
    return result


def reduced(terms: Numbers, logits: Tensor, targets: Tensor, ignore_index: int, reduction: str) -> Tensor:
    """``−Σ_k φ(h_k, y_k)`` of a batch, reduced; where it is differentiated once, the gradient is ready by then.

    φ as a polynomial in h and a multiple of log h, for each power of y, takes a few passes over the outputs for value
    and gradient together; other powers of h take two whole computations, save those at the label of class indices.

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
        value, gradient = _both(_Parts(terms), terms, logits, targets, True)
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
        value, gradient = _both(_parts(tuple(terms), ctx.scale), terms, logits, targets, ctx.needs_input_grad[1])
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
            found = _slope(ctx.terms, logits, targets) * (each * ctx.scale)
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
    gradient = _both(_parts(tuple(ctx.terms), ctx.scale), ctx.terms, logits, targets, True)[1]
    assert gradient is not None
    return gradient


def _slope(terms: Numbers, logits: Tensor, targets: Tensor) -> Tensor:
    """The gradient ``[N, K]``, differentiable, in float32 at least."""
    wide = _wide(logits)
    return GradientRule([(term, wide.new_full((), c)) for term, c in terms])(wide, targets)


def _both(parts: _Parts, terms: Numbers, logits: Tensor, targets: Tensor, needed: bool) -> tuple[Tensor, Tensor | None]:
    """Values ``[N]`` and, where they are needed, their gradients ``[N, K]``, in float32 at least."""
    if not parts.closed(targets):
        return (
            sample_values(terms, powers.log_outputs(logits), targets),
            _slope(terms, logits, targets) * parts.scale if needed else None,
        )
    x = torch.log_softmax(_wide(logits), -1)
    return (_soft if targets.is_floating_point() else _hard)(parts, x, targets, needed)


class _Part:
    """``b + a log h + Σ_i c_i h^i`` and other powers: the terms of ``−φ`` with one power of y.

    Values are the polynomial's coefficients from h^1 on; its slopes ``i c_i h^i`` and that of the logarithm, ``pull``,
    are scaled.
    """

    def __init__(self, terms: Iterable[tuple[Term, float]], scale: float) -> None:
        self.constant, self.logarithm = 0.0, 0.0
        self.values = [0.0] * LARGEST
        self.others: list[tuple[Term, float]] = []
        for term, c in terms:
            if term.h == 0:
                self.logarithm -= c if term.log else 0.0
                self.constant -= 0.0 if term.log else c
            elif not term.log and term.h == int(term.h) and 1 <= term.h <= LARGEST:
                self.values[int(term.h) - 1] -= c
            else:
                self.others.append((term, -c))
        while self.values and not self.values[-1]:
            self.values.pop()
        self.pull = scale * self.logarithm
        self.slopes = [scale * power * c for power, c in enumerate(self.values, 1)]


class _Parts:
    """The terms of ``−φ``: without effect, with each power of y, and with y at a label, where all its powers are 1."""

    def __init__(self, terms: Numbers, scale: float = 1.0) -> None:
        self.scale = scale
        active = [(term, c) for term, c in terms if term != INERT]
        self.inert = -sum(c for term, c in terms if term == INERT)
        self.by_label = [
            _Part(((term, c) for term, c in active if term.y == j), scale)
            for j in range(max([0, *(term.y for term, _ in active)]) + 1)
        ]
        self.at_label = _Part(((term, c) for term, c in active if term.y), scale)

    def closed(self, targets: Tensor) -> bool:
        """Whether all terms that act on whole rows of outputs are whole powers, from h^0 on, or logarithms."""
        return not any(part.others for part in (self.by_label if targets.is_floating_point() else self.by_label[:1]))


_parts = functools.lru_cache(maxsize=256)(_Parts)


# In place wherever it can be: large temporary tensors cost more than the arithmetic.
def _hard(parts: _Parts, x: Tensor, targets: Tensor, needed: bool) -> tuple[Tensor, Tensor | None]:
    """For class indices: the terms with y act on one output of each sample, those without on all of them."""
    index, free, label = targets[:, None], parts.by_label[0], parts.at_label
    traced = torch.compiler.is_compiling()
    # Unlike elsewhere `gather` is safe here in a compiled program: nothing differentiates it.
    at = (x.gather(-1, index) if traced else at_class(x, index, -1)).clamp_(min=powers.LOWEST_LOG)
    if label.values:
        output = at.exp()
        value = _horner(label.values, output).add_(at, alpha=label.logarithm)
        slope = _horner(label.slopes, output).add_(label.pull)
    else:
        value, slope = at * label.logarithm, torch.full_like(at, label.pull)
    for term, c in label.others:
        value += c * powers.power(at, term.h, term.log)
        slope += c * parts.scale * powers.slope(at, term.h, term.log)
    if constant := label.constant + free.constant * x.shape[-1] + parts.inert:
        value += constant
    # Minus the sum of the slopes of all outputs.
    total = -free.pull * x.shape[-1] - slope
    if free.logarithm:
        value.add_(x.clamp_(min=powers.LOWEST_LOG).sum(-1, keepdim=True), alpha=free.logarithm)
    h = x.exp_() if needed or free.values else x
    raised = h
    for power, c in enumerate(free.values[1:], 2):
        raised = h * h if power == 2 else raised.mul_(h)
        if c:
            summed = raised.sum(-1, keepdim=True)
            value.add_(summed, alpha=c)
            total.add_(summed, alpha=-free.slopes[power - 1])
    if not needed:
        return value[:, 0], None
    if len(free.values) > 1:
        if len(free.values) == 2:
            factor = torch.add(total, h, alpha=free.slopes[1], out=raised)
        else:
            factor = torch.addcmul(total, h, _horner(free.slopes[2:], h, raised).add_(free.slopes[1]), out=raised)
        gradient = h.mul_(factor)
    else:
        gradient = h.mul_(total)
    if free.pull:
        gradient.add_(free.pull)
    if traced:
        return value[:, 0], gradient + torch.where(classes(x, -1) == index, slope, 0.0)
    return value[:, 0], gradient.scatter_add_(-1, index, slope)


def _soft(parts: _Parts, x: Tensor, targets: Tensor, needed: bool) -> tuple[Tensor, Tensor | None]:
    """For class probabilities: φ and its slope by Horner's rule in y, whose coefficients are functions of h."""
    x, y = x.clamp_(min=powers.LOWEST_LOG), targets.to(x.dtype)
    h = x.exp()
    value, work = torch.zeros_like(h), torch.empty_like(h)
    slope = torch.zeros_like(h) if needed else None
    for j, part in reversed(list(enumerate(parts.by_label))):
        _add_polynomial(value, part.values, h, work)
        if part.logarithm:
            value.add_(x, alpha=part.logarithm)
        if part.constant:
            value.add_(part.constant)
        if j:
            value.mul_(y)
        if slope is not None:
            _add_polynomial(slope, part.slopes, h, work)
            if part.pull:
                slope.add_(part.pull)
            if j:
                slope.mul_(y)
    total = value.sum(-1)
    if parts.inert:
        total += parts.inert
    return total, None if slope is None else slope.sub_(h.mul_(slope.sum(-1, keepdim=True)))


def _add_polynomial(total: Tensor, polynomial: Sequence[float], h: Tensor, work: Tensor) -> None:
    """``total += Σ_i c_i h^i``, i ≥ 1."""
    if len(polynomial) == 1:
        total.add_(h, alpha=polynomial[0])
    elif polynomial:
        total.addcmul_(h, _horner(polynomial[1:], h, work).add_(polynomial[0]))


def _horner(polynomial: Sequence[float], h: Tensor, out: Tensor | None = None) -> Tensor:
    """``Σ_i c_i h^i``, i ≥ 1."""
    *rest, last = polynomial
    total = torch.mul(h, last, out=out)
    for c in reversed(rest):
        if c:
            total.add_(c)
        total.mul_(h)
    return total


def _wide(logits: Tensor) -> Tensor:
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
