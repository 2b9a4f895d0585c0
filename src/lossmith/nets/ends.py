"""What a network ends in: outputs that are no logits are told, since the losses have the softmax in them."""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lossmith.errors import InputError

LOG = logging.getLogger("lossmith")
TOLERANCE = 1e-3
# By the name of the last operation.
SQUASHED = {
    "Sigmoid": "ends in a sigmoid, so that its outputs lie from 0 to 1",
    "Tanh": "ends in a tanh, so that its outputs lie from −1 to 1",
    "Relu": "ends in a ReLU, so that a class whose output is 0 learns nothing",
}


def check_end(network: nn.Module, samples: Tensor) -> None:
    """See that outputs depend on parameters, and tell what they are if they are no logits.

    Raises:
        InputError: if no gradient reaches the parameters.
    """
    state = {name: value.detach().clone() for name, value in (*network.named_parameters(), *network.named_buffers())}
    leaves = {name for name, value in network.named_parameters() if value.requires_grad}
    for name in leaves:
        state[name].requires_grad_()
    weights = [state[name] for name in sorted(leaves)]
    outputs: Tensor = functional_call(network.train(), dict(state), (samples,))
    if not outputs.requires_grad:
        raise InputError(
            "the outputs of the model do not depend on its parameters by any gradient, so that nothing can be learned: "
            "leave out detach, no_grad and argmax"
        )
    outputs = functional_call(network.eval(), dict(state), (samples,))
    told = _kind(outputs)
    if told is not None:
        LOG.warning("the model %s, but losses here take logits: let it end in the layer before", told)
    elif _sums_to_one(outputs.detach().exp()):
        LOG.info("the model gives logarithms of probabilities; logits are enough, since the losses have the softmax")
    if _is_constant(outputs, samples, weights):
        LOG.warning("the model gives the same outputs whatever its inputs are; see that it uses them")


def _kind(outputs: Tensor) -> str | None:
    """What outputs are, as the end of a sentence; None if they may be logits."""
    values = outputs.detach()
    if bool((values >= 0).all()) and _sums_to_one(values):
        return "gives probabilities (none below 0, of sum 1), as after a softmax"
    last = "" if outputs.grad_fn is None else outputs.grad_fn.name()
    return next((told for name, told in SQUASHED.items() if last.startswith(f"{name}Backward")), None)


def _sums_to_one(values: Tensor) -> bool:
    return bool(((values.double().sum(1) - 1).abs() < TOLERANCE).all())


def _is_constant(outputs: Tensor, samples: Tensor, weights: list[Tensor]) -> bool:
    """Whether all samples give the same outputs and would change the parameters in the same way.

    A last layer that begins with zeros gives equal outputs, too, but learns from its inputs.
    """
    others = [row for row in range(1, len(samples)) if not torch.equal(samples[row], samples[0])]
    if not others or not bool((outputs.detach() == outputs.detach()[0]).all()) or not outputs.requires_grad:
        return False
    toward = torch.arange(1, outputs.shape[1] + 1, device=outputs.device, dtype=outputs.dtype)
    slopes = [
        torch.autograd.grad(outputs[row] @ toward, weights, retain_graph=True, allow_unused=True)
        for row in (0, others[0])
    ]
    return all(
        one is other or (one is not None and torch.equal(one, other)) for one, other in zip(*slopes, strict=True)
    )
