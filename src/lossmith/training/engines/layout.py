"""How the parameters of a multilayer perceptron lie in memory for the compiled program."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lossmith.training.engines.design import Design
from lossmith.training.networks import State


@dataclass
class Dense:
    """A linear layer and what follows it.

    Args:
        name: Prefix of its parameters' names.
        rows: Inputs, or outputs where the weight lies turned: as ``[out, in]``.
        columns: The other number.
        turned: Whether it does: so as to be filled up by fewer zeros.
        weight: Where the weight begins in a member's numbers, ``[rows, columns]`` with rows filled up.
        bias: Where the bias begins, or −1.
        relu: Whether a ReLU follows.
        dropout: Layers of dropout that follow.
    """

    name: str
    rows: int
    columns: int
    turned: bool
    weight: int
    bias: int
    relu: bool = False
    dropout: list[nn.Module] = field(default_factory=list)

    @property
    def widths(self) -> tuple[int, int]:
        """Inputs and outputs."""
        return (self.columns, self.rows) if self.turned else (self.rows, self.columns)


class Shape:
    """How a member lies in memory.

    Args:
        design: What the networks are.
        parameters: ``[P, …]`` each.
        lanes: Numbers of a vector of the processor, to whose multiples rows are filled up.
    """

    def __init__(self, design: Design, parameters: State, lanes: int) -> None:
        self.lanes, self.size = lanes, 0
        self.before: list[nn.Module] = []
        self.layers: list[Dense] = []
        for layer in design.layers:
            if layer.kind == "linear":
                outputs, inputs = parameters[f"{layer.name}.weight"].shape[1:]
                turned = outputs * self.filled(inputs) < inputs * self.filled(outputs)
                rows, columns = (outputs, inputs) if turned else (inputs, outputs)
                weight, bias = self.size, self.size + rows * self.filled(columns)
                self.size = bias + self.filled(outputs) * layer.biased
                self.layers.append(Dense(layer.name, rows, columns, turned, weight, bias if layer.biased else -1))
            elif not self.layers:
                self.before.append(nn.ReLU() if layer.dropout is None else layer.dropout)
            elif layer.dropout is None:
                self.layers[-1].relu = True
            else:
                self.layers[-1].dropout.append(layer.dropout)

        self.widths = [self.layers[0].widths[0], *(layer.widths[1] for layer in self.layers)]
        self.lists = {
            "widths": torch.tensor(self.widths),
            "relu": torch.tensor([int(layer.relu) for layer in self.layers]),
            "turned": torch.tensor([int(layer.turned) for layer in self.layers]),
            "weight": torch.tensor([layer.weight for layer in self.layers]),
            "bias": torch.tensor([layer.bias for layer in self.layers]),
        }

    def filled(self, columns: int) -> int:
        """The length of a row in memory."""
        return -(-columns // self.lanes) * self.lanes

    def packed(self, parameters: State) -> Tensor:
        """The numbers of members ``[P, size]`` of their parameters ``[P, …]``."""
        first = next(iter(parameters.values()))
        state = first.new_zeros(len(first), self.size)
        for name, value in self.views(state).items():
            value.copy_(parameters[name])
        return state

    def views(self, state: Tensor) -> State:
        """The parameters in members' numbers ``[P, size]``."""
        found: State = {}
        for layer in self.layers:
            long = self.filled(layer.columns)
            part = state[:, layer.weight : layer.weight + layer.rows * long]
            weight = part.unflatten(1, (layer.rows, long))[..., : layer.columns]
            found[f"{layer.name}.weight"] = weight if layer.turned else weight.mT
            if layer.bias >= 0:
                found[f"{layer.name}.bias"] = state[:, layer.bias : layer.bias + layer.widths[1]]
        return found
