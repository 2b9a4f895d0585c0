"""The forward and backward pass of a population of multilayer perceptrons, by batched matrix products alone.

A step of many small networks is bound by the interpreter and by memory that is taken and given back. Here nothing is
traced, each layer is one ``bmm`` into a buffer that is kept, and all parameters are one vector, which the optimizer
steps at once.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from lossmith.data import InputLayer
from lossmith.errors import InputError
from lossmith.losses import Loss
from lossmith.nets import Dropout
from lossmith.training.engines.base import Engine, Passes
from lossmith.training.engines.population import PopulationRun
from lossmith.training.networks import State, Task
from lossmith.training.recipe import Recipe

if TYPE_CHECKING:
    from lossmith.training.backend import Backend

NARROW = 32


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


HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def _leaves(network: nn.Sequential, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    for name, module in network.named_children():
        if type(module) is nn.Sequential and not any(getattr(module, hooks) for hooks in HOOKS):
            yield from _leaves(module, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", module


class MlpStack:
    """A :class:`~lossmith.training.engines.Stack` of multilayer perceptrons.

    The weights of a wide layer lie in memory as ``[P, in, out]`` and those of a narrow one as ``[P, out, in]``: so the
    products of the backward pass come out in order, and the inner loop is never short.

    Args:
        design: What the networks are.
        parameters: ``[P, …]`` each, in the order of the network.
    """

    def __init__(self, design: Design, parameters: State) -> None:
        self.design, self.buffers = design, State()
        self.members = len(next(iter(parameters.values())))
        self.turned = {name: value.ndim == 3 and value.shape[1] >= NARROW for name, value in parameters.items()}
        self.shapes = {name: self._kept(name, value).shape for name, value in parameters.items()}
        flat = torch.cat([self._kept(name, value).flatten() for name, value in parameters.items()])
        self.leaves = [flat.requires_grad_()]
        flat.grad = torch.zeros_like(flat)
        self.values, self.slopes = self._views(flat.detach()), self._views(flat.grad)
        self.parameters = {name: self._kept(name, value) for name, value in self.values.items()}
        self.work: dict[int, Tensor] = {}

    @torch.no_grad()
    def logits(self, inputs: Tensor, of: Tensor | None) -> Tensor:
        """Logits ``[P, B, K]``; they lie in a buffer that the next call writes to."""
        x: Tensor = self.design.stem(inputs if of is None else inputs.flatten(0, 1))
        if of is None:
            x = self._buffer(-1, (self.members, *x.shape), x).copy_(x)
        else:
            x = x.unflatten(0, inputs.shape[:2])
            x = torch.index_select(x, 0, of, out=self._buffer(-1, (self.members, *x.shape[1:]), x))
        self.entered: list[Tensor] = []
        for place, layer in enumerate(self.design.layers):
            if layer.kind == "linear":
                self.entered.append(x)
                weight = self.parameters[f"{layer.name}.weight"]
                out = self._buffer(place, (*x.shape[:2], weight.shape[1]), x)
                if layer.biased:
                    x = torch.baddbmm(self.values[f"{layer.name}.bias"][:, None], x, weight.mT, out=out)
                else:
                    x = torch.bmm(x, weight.mT, out=out)
            elif layer.kind == "relu":
                x = x.relu_() if place else x.relu()
                self.entered.append(x)
            else:
                assert layer.dropout is not None
                mask = layer.dropout(torch.ones_like(x[0]))
                self.entered.append(mask)
                # Not in place: the backward pass of a ReLU looks at what it gave.
                x = torch.mul(x, mask, out=self._buffer(place, x.shape, x))
        return x

    @torch.no_grad()
    def differentiate(self, slope: Tensor) -> None:
        """Write the gradients."""
        first = next(place for place, layer in enumerate(self.design.layers) if layer.kind == "linear")
        for place in range(len(self.design.layers) - 1, first - 1, -1):
            layer, entered = self.design.layers[place], self.entered[place]
            if layer.kind == "linear":
                name = f"{layer.name}.weight"
                left, right = (entered, slope) if self.turned[name] else (slope, entered)
                torch.bmm(left.mT, right, out=self.slopes[name])
                if layer.biased:
                    torch.sum(slope, 1, out=self.slopes[f"{layer.name}.bias"])
                if place > first:
                    out = self._buffer(-2 - place, entered.shape, entered)
                    slope = torch.bmm(slope, self.parameters[name], out=out)
            elif layer.kind == "relu":
                out = self._buffer(-2 - place, entered.shape, entered)
                slope = torch.ops.aten.threshold_backward.grad_input(slope, entered, 0, grad_input=out)
            else:
                slope = torch.mul(slope, entered, out=self._buffer(-2 - place, slope.shape, slope))

    def gradients(self) -> list[Tensor]:
        """The gradients by parameter, ``[P, …]`` each."""
        return list(self.slopes.values())

    def selected(self, values: Tensor, rows: Tensor) -> Tensor:
        """Of values shaped like the leaf, those of some members."""
        return torch.cat([part[rows].flatten() for part in self._views(values).values()])

    def _kept(self, name: str, value: Tensor) -> Tensor:
        """A parameter as it lies in memory, from how it is shown, or the other way round."""
        return value.mT if self.turned[name] else value

    def _views(self, flat: Tensor) -> State:
        sizes = [shape.numel() for shape in self.shapes.values()]
        return {
            name: part.view(shape) for (name, shape), part in zip(self.shapes.items(), flat.split(sizes), strict=True)
        }

    def _buffer(self, place: int, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """A tensor that is kept from step to step."""
        if place not in self.work or self.work[place].shape != shape:
            self.work[place] = torch.empty(shape, dtype=like.dtype, device=like.device)
        return self.work[place]


def _refusal(network: nn.Module, task: Task, recipe: Recipe) -> str | None:
    if recipe.precision != "float32":
        return "it computes in float32 only"
    if Design.of(network, task.inputs.ndim) is None:
        return "the network is no multilayer perceptron of linear layers, ReLU and dropout alone"
    return None


def _start(
    task: Task, losses: Loss, seeds: Sequence[int], recipe: Recipe, backend: Backend, _passes: Passes
) -> PopulationRun:
    def stack(base: nn.Module, parameters: State, _buffers: State, _shared: bool) -> MlpStack:
        design = Design.of(base, task.inputs.ndim)
        if design is None:
            raise InputError(f"{_refusal(base, task, recipe)}: train it with training = population")
        return MlpStack(design, parameters)

    return PopulationRun(task, losses, seeds, recipe, backend, stack)


MLP = Engine(_start, population=True, refusal=_refusal)
