"""Which way is up for an attacker: gradients with respect to the inputs of what it raises."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lossmith.losses import Loss, cross_entropy

Forward = Callable[[Tensor], Tensor]
"""Logits ``[P, N, K]`` of inputs ``[P, N, …]``, one network for each of the P members."""
Slope = Callable[[Tensor, Tensor], Tensor]
"""Gradient with respect to logits ``[P, N, K]`` of what an attacker raises, given class indices ``[N]``."""
GRADIENTS = ("loss", "cross-entropy", "margin")


def margin_slope(logits: Tensor, targets: Tensor) -> Tensor:
    """Slope of the logit margin ``max_{k≠y} f_k − f_y``: 1 at the strongest wrong class, −1 at the right one, else 0.

    It is never 0 as a whole, so that no loss can hide from it by flattening.
    """
    right = targets.expand(logits.shape[:-1]).unsqueeze(-1)
    strongest = logits.scatter(-1, right, -torch.inf).argmax(-1, keepdim=True)
    return torch.zeros_like(logits).scatter(-1, strongest, 1.0).scatter(-1, right, -1.0)


def slopes(losses: Loss, gradients: Sequence[str] = GRADIENTS) -> list[Slope]:
    """The slopes of some names.

    Args:
        losses: The losses that the networks were trained with, a population ``[P]``.
        gradients: ``"loss"`` (that of each network itself), ``"cross-entropy"`` and ``"margin"``.
    """
    known = {"loss": losses.logit_gradient, "cross-entropy": cross_entropy().logit_gradient, "margin": margin_slope}
    return [known[name] for name in gradients]


def input_gradients(
    forward: Forward, inputs: Tensor, targets: Tensor, slopes: Sequence[Slope]
) -> tuple[Tensor, list[Tensor]]:
    """Logits ``[P, N, K]``, and for each slope the gradient ``[P, N, …]``; one forward pass for all of them.

    Args:
        forward: The networks.
        inputs: ``[P, N, …]``, floating.
        targets: ``[N]``.
        slopes: What is raised.
    """
    leaf = inputs.detach().requires_grad_()
    with torch.enable_grad():
        logits = forward(leaf)
    fixed = logits.detach()
    gradients = [
        torch.autograd.grad(logits, leaf, slope(fixed, targets), retain_graph=number + 1 < len(slopes))[0]
        for number, slope in enumerate(slopes)
    ]
    return fixed, gradients


def floating(inputs: Tensor) -> Tensor:
    """Images as floating numbers of the same values."""
    return inputs if inputs.is_floating_point() else inputs.float()
