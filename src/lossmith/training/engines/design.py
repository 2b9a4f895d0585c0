"""Multilayer perceptrons as lists of layers: what the engines for them read of a network."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from lossmith.data import InputLayer
from lossmith.nets import Dropout

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass(frozen=True)
class Layer:
    """One layer behind the stem.

    Args:
        kind: What it does.
        name: Prefix of its parameters' names.
        biased: Whether a linear layer has a bias.
        dropout: The layer of dropout, in training mode.
    """

    kind: Literal["linear", "relu", "dropout"]
    name: str = ""
    biased: bool = False
    dropout: nn.Module | None = None


@dataclass(frozen=True)
class Design:
    """A multilayer perceptron as a list.

    Args:
        stem: What comes before the layers and has no parameters: the input layer and flattening.
        layers: Linear layers, ReLU and dropout.
    """

    stem: nn.Sequential
    layers: tuple[Layer, ...]

    @staticmethod
    def of(network: nn.Module, dimensions: int) -> Design | None:
        """The design of a network, or None if it is anything but such a perceptron, plain and trained in all parts.

        Args:
            network: The network.
            dimensions: Of a batch of its inputs: 2 for flat features.
        """
        parameters = dict(network.named_parameters())
        kinds = {value.dtype for value in parameters.values()}
        # The type itself, here and below: a subclass may compute something else.
        if type(network) is not nn.Sequential or len(kinds) != 1 or not kinds <= {torch.float32, torch.float64}:
            return None
        stem, layers, owned = nn.Sequential(), list[Layer](), 0
        for name, module in _leaves(network):
            # They would not be called: the modules are read and never run.
            if any(getattr(module, hooks) for hooks in HOOKS):
                return None
            if type(module) is nn.Linear:
                layers.append(Layer("linear", name, module.bias is not None))
                owned += 1 + (module.bias is not None)
            elif type(module) is nn.ReLU:
                layers.append(Layer("relu"))
            elif type(module) in (nn.Dropout, Dropout):
                # A copy, since looking at the networks puts their base into evaluation mode.
                layers.append(Layer("dropout", dropout=copy.deepcopy(module).train()))
            elif type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1) and not layers:
                stem.append(module)
                dimensions = 2
            elif type(module) is nn.Identity:
                continue
            elif isinstance(module, InputLayer) and not layers:
                stem.append(module)
            else:
                return None
        whole = (
            dimensions == 2 and owned == len(parameters) and all(value.requires_grad for value in parameters.values())
        )
        return Design(stem, tuple(layers)) if whole and any(layer.kind == "linear" for layer in layers) else None


def _leaves(network: nn.Sequential, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    for name, module in network.named_children():
        if type(module) is nn.Sequential and not any(getattr(module, hooks) for hooks in HOOKS):
            yield from _leaves(module, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", module
