"""One step of the logits from any output vector: how far the target's output and the entropy move (figure 1)."""

import torch
from torch import Tensor

from lossmith.errors import InputError
from lossmith.losses import Loss
from lossmith.theory.checks import Numbers, checked_epsilon


def symmetric_outputs(epsilon: Numbers, classes: int) -> Tensor:
    """Output vectors ``[*E, n]`` with 1 − ε for class 0, the target, and ``ε/(n−1)`` for each of the others.

    Raises:
        InputError: if ε is outside (0, 1) or n < 2.
    """
    if classes < 2:
        raise InputError(f"a classifier has at least 2 classes, not {classes}")
    values = checked_epsilon(epsilon)[..., None]
    return torch.cat([1 - values, (values / (classes - 1)).expand(*values.shape[:-1], classes - 1)], -1)


def output_change(loss: Loss, outputs: Tensor, targets: Tensor) -> Tensor:
    """Strength of attraction for real output vectors, ``[*P, N]``: the change of the target's output under one step.

    ``Δf = h ⊙ (γ − Σ_k γ_k h_k)``, the step of length 1 against the gradient with the logits as free parameters; then
    the new softmax output less the old one, for the target. For soft targets the changes are averaged, weighted by y.
    For symmetric outputs it equals the exact :func:`~lossmith.theory.attraction`. A learning rate η is a factor of the
    loss.

    Args:
        loss: One or a population ``[*P]``.
        outputs: Softmax outputs h, ``[*P, N, K]``; leading dimensions may be missing.
        targets: Class indices ``[*P, N]`` or probabilities ``[*P, N, K]``.

    Raises:
        InputError: if the outputs are no probabilities, or the shapes do not fit.

    Example:
        >>> from lossmith import cross_entropy
        >>> output_change(cross_entropy(), torch.tensor([[0.5, 0.3, 0.2]]), torch.tensor([0]))
        tensor([0.1811])
    """
    step, h = _step(loss, outputs, targets)
    if targets.is_floating_point():
        return (changes(h, step) * targets.to(h.dtype)).sum(-1)
    index = targets.long().unsqueeze(-1).expand(*h.shape[:-1], 1)
    return changes(h, step).gather(-1, index).squeeze(-1)


def entropy_change(loss: Loss, outputs: Tensor, targets: Tensor) -> Tensor:
    """Change of the entropy ``−Σ h log h`` of the outputs under the same step, in nats, ``[*P, N]``.

    It is not the opposite of attraction, as the paper has it: where the target's output is below 1/n, growing towards
    the others raises the entropy. Arguments and errors as :func:`output_change`.
    """
    step, h = _step(loss, outputs, targets)
    log_total = _log_total(h, step)
    new = h * torch.exp(step - log_total)
    moved = changes(h, step)
    rise: Tensor = -(torch.xlogy(moved, h) + new * (step - log_total)).sum(-1)
    return rise


def changes(h: Tensor, step: Tensor) -> Tensor:
    """``softmax(log h + step) − h``, ``[…, K]``, with the accuracy of the step kept however small it is.

    ``h_j (e^{s_j} − Σ_k h_k e^{s_k}) / Σ_k h_k e^{s_k}``, with the largest step taken out first.
    """
    growth = torch.expm1(step - step.amax(-1, keepdim=True))
    mean = (h * growth).sum(-1, keepdim=True)
    total = (h * (growth + 1)).sum(-1, keepdim=True)
    moved: Tensor = h * (growth - mean) / total
    return moved


def _log_total(h: Tensor, step: Tensor) -> Tensor:
    """``log Σ_k h_k e^{s_k}``, ``[…, 1]``."""
    largest = step.amax(-1, keepdim=True)
    growth = torch.expm1(step - largest)
    mean, total = (h * growth).sum(-1, keepdim=True), (h * (growth + 1)).sum(-1, keepdim=True)
    return largest + torch.where(mean > -0.5, torch.log1p(mean), torch.log(total))


def _step(loss: Loss, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The step of the logits, and the outputs expanded to its shape.

    An output of exactly 0 stays 0 whatever the step, so its step is replaced by the largest of the others.
    """
    if outputs.ndim < 2 or not outputs.is_floating_point():
        raise InputError("outputs must be floating point numbers of shape [N, K]: the softmax of the logits")
    off = (outputs.sum(-1) - 1).abs()
    if not bool((outputs >= 0).all() and (off < 1e-3).all()):
        raise InputError("outputs must be probabilities, at least 0 and with the sum 1; take the softmax of the logits")
    step = -loss.logit_gradient(outputs.log(), targets)
    h = outputs.expand(step.shape)
    largest = step.masked_fill(h == 0, -torch.inf).amax(-1, keepdim=True)
    return torch.where(h == 0, largest, step), h
