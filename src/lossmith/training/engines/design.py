"""Perceptrons and small convolutional networks as lists of layers: what the engines for them read of a network."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from lossmith.data import InputLayer
from lossmith.nets import Dropout

LARGEST = 127  # places of a window, which are counted in bytes
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass(frozen=True)
class Layer:
    """One layer behind the stem.

    Args:
        kind: What it does.
        name: Prefix of its parameters' names.
        biased: Whether a linear layer or a convolution has a bias.
        dropout: The layer of dropout, in training mode.
        window: Of a maximum over windows side by side, or of a convolution.
        border: Zeros around the images of a convolution.
    """

    kind: Literal["linear", "relu", "dropout", "convolution", "maximum"]
    name: str = ""
    biased: bool = False
    dropout: nn.Module | None = None
    window: tuple[int, int] = (1, 1)
    border: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Design:
    """A multilayer perceptron as a list, convolutions before it included.

    Args:
        stem: What comes before the layers and has no parameters: the input layer and flattening.
        layers: Convolutions of stride 1, each with ReLU and a maximum over windows if it has them; then linear layers,
            ReLU and dropout.
    """

    stem: nn.Sequential
    layers: tuple[Layer, ...]

    @property
    def convolves(self) -> bool:
        """Whether there is a convolution."""
        return any(layer.kind == "convolution" for layer in self.layers)

    @staticmethod
    def of(network: nn.Module, dimensions: int) -> Design | None:
        """The design of a network, or None if it is anything but such a network, plain and trained in all parts.

        Args:
            network: The network.
            dimensions: Of a batch of its inputs: 2 for flat features.
        """
        parameters = dict(network.named_parameters())
        kinds = {value.dtype for value in parameters.values()}
        # The type itself, here and below: a subclass may compute something else.
        if type(network) is not nn.Sequential or len(kinds) != 1 or not kinds <= {torch.float32, torch.float64}:
            return None
        if _changed(network):
            return None
        stem, layers, owned = nn.Sequential(), list[Layer](), 0
        for name, module in _leaves(network):
            if _changed(module):
                return None
            if type(module) is nn.Linear and dimensions == 2:
                layers.append(Layer("linear", name, module.bias is not None))
                owned += 1 + (module.bias is not None)
            elif type(module) is nn.ReLU:
                layers.append(Layer("relu"))
            elif type(module) in (nn.Dropout, Dropout):
                # A copy, since looking at the networks puts their base into evaluation mode.
                layers.append(Layer("dropout", dropout=copy.deepcopy(module).train()))
            elif type(module) is nn.Flatten and _flattens(module, layers):
                # What convolutions give lies flat in memory.
                if not layers:
                    stem.append(module)
                dimensions = 2
            elif type(module) is nn.Conv2d and dimensions == 4 and (convolution := _convolution(name, module)):
                layers.append(convolution)
                owned += 1 + (module.bias is not None)
            elif type(module) is nn.MaxPool2d and dimensions == 4 and (maximum := _maximum(module)):
                layers.append(maximum)
            elif type(module) is nn.Identity:
                continue
            elif isinstance(module, InputLayer) and not layers:
                stem.append(module)
            else:
                return None
        whole = owned == len(parameters) and all(value.requires_grad for value in parameters.values())
        return Design(stem, tuple(layers)) if whole and _in_order(layers) else None


def _changed(module: nn.Module) -> bool:
    """Whether somebody has changed what it does: hooks would not be called, since it is read and never run."""
    return "forward" in vars(module) or any(getattr(module, hooks) for hooks in HOOKS)


def _flattens(module: nn.Flatten, layers: list[Layer]) -> bool:
    """Whether it is at the start or behind convolutions, and leaves two dimensions."""
    whole = (module.start_dim, module.end_dim) == (1, -1)
    return whole and (not layers or any(layer.kind == "convolution" for layer in layers))


def _convolution(name: str, module: nn.Conv2d) -> Layer | None:
    """The layer, or None for one that skips places, is split into groups, or has another border than zeros."""
    tall, broad = module.kernel_size
    if (module.stride, module.dilation, module.groups, module.padding_mode) != ((1, 1), (1, 1), 1, "zeros"):
        return None
    border = module.padding
    if border == "valid":
        border = (0, 0)
    elif border == "same" and tall % 2 and broad % 2:
        border = (tall // 2, broad // 2)
    if isinstance(border, str):
        return None
    return Layer("convolution", name, module.bias is not None, None, (tall, broad), (border[0], border[1]))


def _maximum(module: nn.MaxPool2d) -> Layer | None:
    """The layer, or None where windows overlap, have gaps, or go over the edge."""
    window, step, border, dilation = (
        (value, value) if isinstance(value, int) else tuple(value)
        for value in (module.kernel_size, module.stride, module.padding, module.dilation)
    )
    plain = window == step and border == (0, 0) and dilation == (1, 1)
    if not plain or module.ceil_mode or module.return_indices or window[0] * window[1] > LARGEST:
        return None
    return Layer("maximum", window=(window[0], window[1]))


def _in_order(layers: list[Layer]) -> bool:
    """Whether a linear layer comes, before it whole stages of convolutions alone, and after it none."""
    kinds = [layer.kind for layer in layers]
    if "linear" not in kinds:
        return False
    first = kinds.index("linear")
    if "convolution" not in kinds:
        return "maximum" not in kinds
    # What comes before the first convolution is done to the inputs; a maximum of what was dropped is another one.
    before, *stages = " ".join(kinds[:first]).split("convolution")
    return (
        {"convolution", "maximum"}.isdisjoint(kinds[first:])
        and "maximum" not in before
        and all(stage.count("maximum") <= 1 and "maximum" not in stage.partition("dropout")[2] for stage in stages)
    )


def _leaves(network: nn.Sequential, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    # All of them: `named_children` tells one that comes twice only once.
    for name, module in network._modules.items():
        if module is None:
            continue
        if type(module) is nn.Sequential and not _changed(module):
            yield from _leaves(module, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", module
