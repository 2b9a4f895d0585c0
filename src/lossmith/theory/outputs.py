"""One step of the logits from any output vector: how far the target's output and the entropy move (figure 1)."""

import math

import torch
from torch import Tensor

from lossmith.errors import InputError
from lossmith.losses import Loss
from lossmith.theory.attraction import logit_steps
from lossmith.theory.checks import Numbers, check_count, checked_epsilon

# How far the outputs, or soft targets, of a sample may be off the sum 1.
TOLERANCE = 1e-3


def symmetric_outputs(epsilon: Numbers, classes: int) -> Tensor:
    """Output vectors ``[*E, n]`` with 1 − ε for class 0, the target, and ``ε/(n−1)`` for each of the others.

    Raises:
        InputError: if ε is outside (0, 1) or n < 2.
    """
    check_count(classes)
    values = checked_epsilon(epsilon)[..., None]
    return torch.cat([1 - values, (values / (classes - 1)).expand(*values.shape[:-1], classes - 1)], -1)


def output_change(loss: Loss, outputs: Tensor, targets: Tensor, logits: Tensor | None = None) -> Tensor:
    """Strength of attraction for real output vectors, ``[*P, N]``: the change of the target's output under one step.

    ``Δf = h ⊙ (γ − Σ_k γ_k h_k)``, the step of length 1 against the gradient with the logits as free parameters; then
    the new softmax output less the old one, for the target. For soft targets the changes are averaged, weighted by y.
    For symmetric outputs it equals the exact :func:`~lossmith.theory.attraction`. A learning rate η is a factor of the
    loss.

    Args:
        loss: One or a population ``[*P]``.
        outputs: Softmax outputs h, ``[*P, N, K]``; leading dimensions may be missing.
        targets: Class indices ``[*P, N]`` or probabilities ``[*P, N, K]``.
        logits: Those that gave the outputs, for a loss that sees a shift of them; log h with the mean 0 without it.

    Raises:
        InputError: if outputs or soft targets are no probabilities, class indices are out of range, or the shapes do
            not fit.

    Example:
        >>> from lossmith import cross_entropy
        >>> output_change(cross_entropy(), torch.tensor([[0.5, 0.3, 0.2]]), torch.tensor([0]))
        tensor([0.1811])
    """
    step, h = _step(loss, outputs, targets, logits)
    moved = changes(h, step)
    if targets.is_floating_point():
        return (moved * targets.to(h.dtype)).sum(-1)
    index = targets.long().unsqueeze(-1).expand(*h.shape[:-1], 1)
    return moved.gather(-1, index).squeeze(-1)


def entropy_change(loss: Loss, outputs: Tensor, targets: Tensor) -> Tensor:
    """Change of the entropy ``−Σ h log h`` of the outputs under the same step, in nats, ``[*P, N]``.

    It is not the opposite of attraction, as the paper has it: where the target's output is below 1/n, growing towards
    the others raises the entropy. Arguments and errors as :func:`output_change`.
    """
    step, h = _step(loss, outputs, targets)
    return entropy_rise(h, step)


def symmetric_entropy_change(loss: Loss, epsilon: Numbers, classes: int) -> Tensor:
    """The same at the outputs of theorem 2, ``[*P, *E]``, for any n at the cost of two classes.

    The entropy of the n outputs is that of (1 − ε, ε) and ``ε log(n−1)``.

    Raises:
        InputError: as :func:`~lossmith.theory.attraction`.
    """
    b, a = logit_steps(loss, epsilon, classes)
    values = checked_epsilon(epsilon).to(a.device)
    step = torch.stack([a, b], -1)
    h = torch.stack([1 - values, values], -1).expand(step.shape)
    return entropy_rise(h, step) + changes(h, step)[..., 1] * math.log(classes - 1)


def changes(h: Tensor, step: Tensor) -> Tensor:
    """``softmax(log h + step) − h``, ``[…, K]``, with the accuracy of a step kept however small it is.

    ``h_j (e^{s_j} − Σ_k h_k e^{s_k}) / Σ_k h_k e^{s_k}``, with the largest step taken out first.
    """
    growth, mean, total = _growth(h, step)
    moved: Tensor = torch.where(mean > -0.5, h * (growth - mean) / total, h * (growth + 1) / total - h)
    return moved


def entropy_rise(h: Tensor, step: Tensor) -> Tensor:
    """``H(softmax(log h + step)) − H(h)``, ``[…]``: ``−Σ Δh log h − Σ h' log(h'/h)``."""
    growth, mean, total = _growth(h, step)
    new = h * (growth + 1) / total
    log_total = torch.where(mean > -0.5, torch.log1p(mean), torch.log(total))
    ratio = step - step.amax(-1, keepdim=True) - log_total
    moved = torch.xlogy(changes(h, step), h) + torch.where(new > 0, new * ratio, 0.0)
    rise: Tensor = -moved.sum(-1)
    return rise


def _growth(h: Tensor, step: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``e^{s_j − max} − 1``, its mean over h, and ``Σ h e^{s − max}``."""
    growth = torch.expm1(step - step.amax(-1, keepdim=True))
    return growth, (h * growth).sum(-1, keepdim=True), (h * (growth + 1)).sum(-1, keepdim=True)


def _step(loss: Loss, outputs: Tensor, targets: Tensor, logits: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The step of the logits, and the outputs expanded to its shape.

    An output of exactly 0 stays 0 whatever the step, so its step is replaced by the largest of the others.
    """
    _check(outputs, targets)
    try:
        step = -loss.logit_gradient(_logits(loss, outputs) if logits is None else logits, targets)
    except (RuntimeError, ValueError):
        raise InputError(
            f"outputs {list(outputs.shape)} and targets {list(targets.shape)} do not fit a loss of population "
            f"{list(loss.shape)}; leading dimensions must be equal, 1 or missing"
        ) from None
    h = outputs.expand(step.shape)
    largest = step.masked_fill(h == 0, -torch.inf).amax(-1, keepdim=True)
    return torch.where(h == 0, largest, step), h


def _logits(loss: Loss, outputs: Tensor) -> Tensor:
    """Logits of some outputs; those with the mean 0 for a loss that may see a shift of them."""
    if loss.is_shift_free:
        return outputs.log()
    # In float64, where an output of 0 is far below any other.
    logits = outputs.double().clamp(min=torch.finfo(torch.float64).tiny).log()
    return (logits - logits.mean(-1, keepdim=True)).to(outputs.dtype)


def _check(outputs: Tensor, targets: Tensor) -> None:
    if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor):
        raise InputError("outputs and targets must be tensors; torch.as_tensor makes them of lists and arrays")
    if outputs.ndim < 2 or not outputs.is_floating_point():
        raise InputError("outputs must be floating point numbers of shape [N, K]: the softmax of the logits")
    if not _are_probabilities(outputs):
        raise InputError("outputs must be probabilities, at least 0 and with the sum 1; take the softmax of the logits")
    if targets.is_floating_point():
        if not _are_probabilities(targets):
            raise InputError("soft targets must be probabilities, at least 0 and with the sum 1")
    elif bool(((targets < 0) | (targets >= outputs.shape[-1])).any()):
        raise InputError(f"targets must be class indices from 0 to {outputs.shape[-1] - 1}")


def _are_probabilities(values: Tensor) -> bool:
    return bool((values >= 0).all() and ((values.sum(-1) - 1).abs() < TOLERANCE).all())
