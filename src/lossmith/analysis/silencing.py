"""Units of hidden layers that are silenced: which layers have them, and networks without some of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lossmith.analysis.perturbations import NORMALIZATIONS, Change, broadcast
from lossmith.seeds import generator
from lossmith.training import Networks

SILENCED = "silenced units"
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Hidden:
    """A layer whose units can be silenced.

    Args:
        name: Of the layer in the network.
        units: How many it has.
        state: Names of the parameters and buffers that a unit has a slice of.
    """

    name: str
    units: int
    state: tuple[str, ...]


def hidden_layers(network: nn.Module, inputs: Tensor) -> list[Hidden]:
    """Linear and convolutional layers whose output is not the network's, in the order in which they are run.

    With each goes a normalisation layer that is given the layer's output as it is; not one that is given a sum of
    several, as in residual networks.

    Args:
        network: A network; it is run once, in evaluation mode.
        inputs: A few samples ``[N, …]``.
    """
    names = {id(value): name for name, value in (*network.named_parameters(), *network.named_buffers())}
    order: dict[int, tuple[str, nn.Module, Tensor]] = {}
    following: dict[int, nn.Module] = {}
    hooks = []

    def remember(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def hook(module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
            if isinstance(module, LAYERS) and id(module) not in order:
                order[id(module)] = (name, module, output)
            for key, (_, _, made) in order.items():
                if isinstance(module, NORMALIZATIONS) and given and given[0] is made:
                    following.setdefault(key, module)

        return hook

    for name, module in network.named_modules():
        if isinstance(module, (*LAYERS, *NORMALIZATIONS)):
            hooks.append(module.register_forward_hook(remember(name)))
    try:
        with torch.no_grad():
            logits = network.eval()(inputs)
    finally:
        for one in hooks:
            one.remove()
    last = next((key for key, (_, _, made) in order.items() if made is logits), next(reversed(order), None))
    found = []
    for key, (name, layer, _) in order.items():
        if key == last or id(layer.weight) not in names:
            continue
        state: list[Any] = [layer.weight, layer.bias]
        if key in following:
            state += [getattr(following[key], part, None) for part in ("weight", "bias", "running_mean")]
        units = len(layer.weight)  # type: ignore[arg-type]
        known = [names[id(value)] for value in state if id(value) in names and len(value) == units]
        found.append(Hidden(name, units, tuple(known)))
    return found


def silence(layers: Sequence[Hidden], levels: Sequence[float], seed: int, draw: int) -> Change:
    """Networks with a share of the units of each layer silenced, a variant for each level."""
    silent = {}
    for layer in layers:
        rank = torch.randperm(layer.units, generator=generator(seed, SILENCED, draw, layer.name))
        mask = rank < torch.tensor([round(level * layer.units) for level in levels])[:, None]
        silent.update(dict.fromkeys(layer.state, mask))

    def change(networks: Networks, _: Tensor, perturbation: Tensor) -> Networks:
        def quiet(state: dict[str, Tensor]) -> dict[str, Tensor]:
            return {
                name: value.masked_fill(broadcast(silent[name][perturbation], value).to(value.device), 0)
                if name in silent
                else value
                for name, value in state.items()
            }

        return replace(networks, parameters=quiet(networks.parameters), buffers=quiet(networks.buffers))

    return change
