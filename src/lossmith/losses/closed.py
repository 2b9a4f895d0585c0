"""Loss and logit gradient of a batch together, in closed form: what one backward pass of a criterion costs."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C import _are_functorch_transforms_active
from torch._C._functorch import is_legacy_batchedtensor

from lossmith.losses import powers
from lossmith.losses.samples import INERT, LARGEST, GradientRule, Term, at_class, class_index, classes, sample_values

Numbers = Sequence[tuple[Term, float]]


def applies(logits: Tensor, targets: Tensor) -> bool:
    """Whether the functions here may be called: for ``[N, K]``, not under ``torch.func``, nor for labels' gradients."""
    return logits.ndim == 2 and not (targets.requires_grad or _are_functorch_transforms_active())


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
        if not (targets.is_cpu and ignore_index < 0 and targets.numel() and int(targets.min()) >= 0):
            kept = targets != ignore_index
            targets = torch.where(kept, targets, 0)
    result: Tensor = _Both.apply(terms, logits, targets, kept, reduction)  # type: ignore[no-untyped-call]
    return result


class _Traced(torch.autograd.Function):
    # A compiler refuses a function with a rule for forward mode.
    @staticmethod
    def forward(ctx: Any, terms: Numbers, logits: Tensor, targets: Tensor) -> Tensor:
        value, gradient = _both(_Parts(terms), terms, logits, targets, True)
        ctx.dtype = logits.dtype
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[None, Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return None, (gradient * slope[:, None]).to(ctx.dtype), None


class _Both(torch.autograd.Function):
    # With a `setup_context` of its own, as `torch.func` would have it, a call costs as much again.
    @staticmethod
    def forward(
        ctx: Any, terms: Numbers, logits: Tensor, targets: Tensor, kept: Tensor | None, reduction: str
    ) -> Tensor:
        value, ctx.gradient = _both(_parts(tuple(terms)), terms, logits, targets, ctx.needs_input_grad[1])
        ctx.terms, ctx.kept, ctx.reduction = terms, kept, reduction
        ctx.count = None
        ctx.save_for_backward(logits, targets)
        ctx.save_for_forward(logits, targets)
        if kept is not None:
            value = torch.where(kept, value, 0.0)
        if reduction != "none":
            value = value.sum()
        if reduction == "mean":
            ctx.count = len(targets) if kept is None else kept.sum()
            value = value / ctx.count
        return value

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[None, Tensor, None, None, None]:
        logits, targets = ctx.saved_tensors
        each = slope if ctx.count is None else slope / ctx.count
        if ctx.kept is not None:
            each = torch.where(ctx.kept, each, 0.0)
        if each.ndim:
            each = each[:, None]
        if torch.is_grad_enabled() or is_legacy_batchedtensor(slope):
            gradient = _slope(ctx.terms, logits, targets) * each
        else:
            # What the forward pass has found is used up in place; a second backward pass finds it again.
            found, ctx.gradient = ctx.gradient, None
            if found is None:
                found = _both(_parts(tuple(ctx.terms)), ctx.terms, logits, targets, True)[1]
            gradient = found.mul_(each)
        return None, gradient.to(logits.dtype), None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        logits, targets = ctx.saved_tensors
        known = _slope(ctx.terms, logits, targets) if ctx.gradient is None else ctx.gradient
        moved: Tensor = (known * tangents[1]).sum(-1)
        if ctx.kept is not None:
            moved = torch.where(ctx.kept, moved, 0.0)
        if ctx.reduction != "none":
            moved = moved.sum()
        return moved if ctx.count is None else moved / ctx.count


def _slope(terms: Numbers, logits: Tensor, targets: Tensor) -> Tensor:
    """The gradient ``[N, K]``, differentiable, in float32 at least."""
    wide = _wide(logits)
    return GradientRule([(term, wide.new_full((), c)) for term, c in terms])(wide, targets)


def _both(parts: _Parts, terms: Numbers, logits: Tensor, targets: Tensor, needed: bool) -> tuple[Tensor, Tensor | None]:
    """Values ``[N]`` and, where they are needed, their gradients ``[N, K]``, in float32 at least."""
    if not parts.closed(targets):
        return (
            sample_values(terms, powers.log_outputs(logits), targets),
            _slope(terms, logits, targets) if needed else None,
        )
    x = torch.log_softmax(_wide(logits), -1)
    return (_soft if targets.is_floating_point() else _hard)(parts, x, targets, needed)


class _Part:
    """``a log h + Σ_i c_i h^i`` and other powers: the terms of ``−φ`` with one power of y.

    The polynomials of values and of slopes ``i c_i h^i`` are lists of coefficients, from h^1 on.
    """

    def __init__(self, terms: Iterable[tuple[Term, float]]) -> None:
        self.logarithm = 0.0
        self.values = [0.0] * LARGEST
        self.others: list[tuple[Term, float]] = []
        for term, c in terms:
            if term.h == 0 and term.log:
                self.logarithm -= c
            elif not term.log and term.h == int(term.h) and 1 <= term.h <= LARGEST:
                self.values[int(term.h) - 1] -= c
            else:
                self.others.append((term, -c))
        while self.values and not self.values[-1]:
            self.values.pop()
        self.slopes = [power * c for power, c in enumerate(self.values, 1)]


class _Parts:
    """The terms of ``−φ``: without effect, with each power of y, and with y at a label, where all its powers are 1."""

    def __init__(self, terms: Numbers) -> None:
        active = [(term, c) for term, c in terms if term != INERT]
        self.inert = -sum(c for term, c in terms if term == INERT)
        self.by_label = [
            _Part((term, c) for term, c in active if term.y == j)
            for j in range(max([0, *(term.y for term, _ in active)]) + 1)
        ]
        self.at_label = _Part((term, c) for term, c in active if term.y)

    def closed(self, targets: Tensor) -> bool:
        """Whether all terms that act on whole rows of outputs are whole powers or logarithms."""
        return not any(part.others for part in (self.by_label if targets.is_floating_point() else self.by_label[:1]))


_parts = functools.lru_cache(maxsize=256)(_Parts)


# In place wherever it can be: large temporary tensors cost more than the arithmetic.
def _hard(parts: _Parts, x: Tensor, targets: Tensor, needed: bool) -> tuple[Tensor, Tensor | None]:
    """For class indices: the terms with y act on one output of each sample, those without on all of them."""
    index, free, label = class_index(targets, x, -1), parts.by_label[0], parts.at_label
    traced = torch.compiler.is_compiling()
    # Unlike elsewhere `gather` is safe here in a compiled program: nothing differentiates it.
    at = (x.gather(-1, index) if traced else at_class(x, index, -1)).clamp_(min=powers.LOWEST_LOG)
    if label.values:
        output = at.exp()
        value = _horner(label.values, output).add_(at, alpha=label.logarithm)
        slope = _horner(label.slopes, output).add_(label.logarithm)
    else:
        value, slope = at * label.logarithm, torch.full_like(at, label.logarithm)
    for term, c in label.others:
        value += c * powers.power(at, term.h, term.log)
        slope += c * powers.slope(at, term.h, term.log)
    if parts.inert:
        value += parts.inert
    # Minus the sum of the slopes of all outputs.
    total = -free.logarithm * x.shape[-1] - slope
    if free.logarithm:
        value.add_(x.clamp_(min=powers.LOWEST_LOG).sum(-1, keepdim=True), alpha=free.logarithm)
    h = x.exp_() if needed or free.values else x
    raised = h
    for power, c in enumerate(free.values[1:], 2):
        raised = h * h if power == 2 else raised.mul_(h)
        if c:
            summed = raised.sum(-1, keepdim=True)
            value.add_(summed, alpha=c)
            total.add_(summed, alpha=-power * c)
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
    if free.logarithm:
        gradient.add_(free.logarithm)
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
        if j:
            value.mul_(y)
        if slope is not None:
            _add_polynomial(slope, part.slopes, h, work)
            if part.logarithm:
                slope.add_(part.logarithm)
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
