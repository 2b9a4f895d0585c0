"""Loss and logit gradient of a batch together, in closed form: what one backward pass of a criterion costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C import _are_functorch_transforms_active

from lossmith.losses import powers
from lossmith.losses.samples import LARGEST, GradientRule, Term, sample_values

Numbers = Sequence[tuple[Term, float]]


def values(terms: Numbers, logits: Tensor, targets: Tensor) -> Tensor:
    """``−Σ_k φ(h_k, y_k)`` of each sample ``[N]``; where it is differentiated once, the gradient is ready by then.

    The free polynomial of φ is summed by powers: ``p_i = h^i`` gives ``Σ c_i h^i``, ``Σ i c_i h^i`` and the slopes
    ``i c_i h^i`` together; class probabilities and other powers take two passes. Compiled programs and the transforms
    of ``torch.func`` are left to autograd.

    Args:
        terms: Terms with coefficients as numbers.
        logits: ``[N, K]``.
        targets: Class indices ``[N]`` or probabilities ``[N, K]``.
    """
    if torch.compiler.is_compiling() or _are_functorch_transforms_active() or targets.requires_grad:
        return sample_values(terms, powers.log_outputs(logits), targets)
    known = targets if targets.is_floating_point() else targets.long()
    result: Tensor = _Both.apply(tuple(terms), logits, known)  # type: ignore[no-untyped-call]
    return result


def _covered(term: Term) -> bool:
    """Whether a term acts at the label only, or is a whole positive power or the logarithm."""
    return term.y > 0 or term == (0, 0, 1) or (term.log == 0 and term.h == int(term.h) and 1 <= term.h <= LARGEST)


class _Both(torch.autograd.Function):
    # With a `setup_context` of its own, as `torch.func` would have it, a call costs as much again.
    @staticmethod
    def forward(ctx: Any, terms: Numbers, logits: Tensor, targets: Tensor) -> Tensor:
        ctx.terms, needed = terms, ctx.needs_input_grad[1]
        if targets.is_floating_point() or not all(_covered(term) for term, _ in terms):
            value = sample_values(terms, powers.log_outputs(logits), targets)
            gradient = _slope(terms, logits, targets) if needed else None
        else:
            value, gradient = _both(terms, logits, targets, needed)
        ctx.save_for_backward(logits, targets, gradient)
        ctx.save_for_forward(logits, targets, gradient)
        return value

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[None, Tensor, None]:
        logits, targets, gradient = ctx.saved_tensors
        if torch.is_grad_enabled():
            gradient = _slope(ctx.terms, logits, targets)
        return None, (gradient * slope[:, None]).to(logits.dtype), None

    @staticmethod
    def jvp(ctx: Any, _: None, tangent: Tensor, __: None) -> Tensor:
        logits, targets, gradient = ctx.saved_tensors
        known = _slope(ctx.terms, logits, targets) if gradient is None else gradient
        moved: Tensor = (known * tangent).sum(-1)
        return moved


def _slope(terms: Numbers, logits: Tensor, targets: Tensor) -> Tensor:
    """The gradient ``[N, K]``, differentiable, in float32 at least."""
    wide = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    return GradientRule([(term, wide.new_full((), c)) for term, c in terms])(wide, targets)


def _both(terms: Numbers, logits: Tensor, targets: Tensor, needed: bool) -> tuple[Tensor, Tensor | None]:
    """Values ``[N]`` and, where they are needed, their gradients ``[N, K]``, in float32 at least."""
    wide = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    place = targets[:, None]
    h = torch.softmax(wide, -1)
    # The logarithm of the sum, from the largest output: a second pass of exponentials would cost as much as the rest.
    log_sum = wide.amax(-1, keepdim=True) - h.amax(-1, keepdim=True).log()
    at = (wide.gather(-1, place) - log_sum).clamp_(min=powers.LOWEST_LOG)
    polynomial: dict[int, float] = {}
    at_label: dict[int, float] = {}
    constant, logarithm, others = 0.0, 0.0, list[tuple[Term, float]]()
    for term, c in terms:
        if not term.y and term.log:
            constant += c
        elif not term.y:
            polynomial[int(term.h)] = polynomial.get(int(term.h), 0.0) + c
        elif term.h == 0 and term.log:
            logarithm += c
        elif not term.log and term.h == int(term.h) and 1 <= term.h <= LARGEST:
            at_label[int(term.h)] = at_label.get(int(term.h), 0.0) + c
        else:
            others.append((term, c))
    value = at * logarithm
    hard = torch.full_like(at, logarithm)
    if at_label:
        output = at.exp()
        value += _horner(at_label, output)
        hard += _horner({power: power * c for power, c in at_label.items()}, output)
    for term, c in others:
        value += c * powers.power(at, term.h, term.log)
        hard += c * powers.slope(at, term.h, term.log)
    # A polynomial that is linear in h has no slope: the outputs sum to 1.
    value += polynomial.pop(1, 0.0)
    total = hard.clone() if polynomial or constant else hard
    # In place where it can be: large temporary tensors cost more than the arithmetic.
    work = torch.empty_like(h)
    if constant:
        work = torch.sub(wide, log_sum, out=work).clamp_(min=powers.LOWEST_LOG)
        value += constant * work.sum(-1, keepdim=True)
        total += constant * wide.shape[-1]
    slopes: Tensor | None = None
    raised = h
    for power in range(2, max(polynomial, default=1) + 1):
        raised = torch.mul(h, h, out=work) if power == 2 else raised.mul_(h)
        if c := polynomial.get(power, 0.0):
            summed = raised.sum(-1, keepdim=True)
            value += c * summed
            total += power * c * summed
            if not needed:
                continue
            if slopes is None:
                slopes = torch.add(raised.new_full((), constant), raised, alpha=power * c)
            else:
                slopes.add_(raised, alpha=power * c)
    if not needed:
        return -value[:, 0], None
    gradient = h.mul_(total).sub_(constant if slopes is None else slopes)
    gradient.scatter_add_(-1, place, -hard)
    return -value[:, 0], gradient


def _horner(polynomial: dict[int, float], h: Tensor) -> Tensor:
    """``Σ_i c_i h^i``, i ≥ 1."""
    degree = max(polynomial)
    rest = h * polynomial[degree]
    for power in range(degree - 1, 0, -1):
        rest = rest.add_(polynomial.get(power, 0.0)).mul_(h)
    return rest
