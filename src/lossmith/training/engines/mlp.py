"""The forward and backward pass of a population of multilayer perceptrons, by batched matrix products alone.

A step of many small networks is bound by the interpreter and by memory that is taken and given back. Here nothing is
traced, each layer is one ``bmm`` into a buffer that is kept, and all parameters are one vector, which the optimizer
steps at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lossmith.errors import InputError
from lossmith.losses import Loss
from lossmith.training.engines.base import Engine, Passes, Run
from lossmith.training.engines.design import Design
from lossmith.training.engines.native import compiled_run
from lossmith.training.engines.population import PopulationRun, begin
from lossmith.training.networks import State, Task
from lossmith.training.recipe import Recipe

if TYPE_CHECKING:
    from lossmith.training.backend import Backend

NARROW = 32


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


def _design(network: nn.Module, task: Task) -> Design | None:
    design = Design.of(network, task.inputs.ndim)
    return None if design is None or design.convolves else design


def _refusal(network: nn.Module, task: Task, recipe: Recipe) -> str | None:
    if recipe.precision != "float32":
        return "it computes in float32 only"
    if _design(network, task) is None:
        return "the network is no multilayer perceptron of linear layers, ReLU and dropout alone"
    return None


def _start(task: Task, losses: Loss, seeds: Sequence[int], recipe: Recipe, backend: Backend, _passes: Passes) -> Run:
    begun = begin(task, seeds, recipe)
    design = _design(begun.base, task)
    if design is None:
        raise InputError(f"{_refusal(begun.base, task, recipe)}: train it with training = population")
    run = compiled_run(task, begun, losses, recipe, backend, design)
    if run is not None:
        return run

    def stack(base: nn.Module, parameters: State, _buffers: State, _shared: bool) -> MlpStack:
        design = _design(base, task)
        if design is None:
            raise InputError(f"{_refusal(base, task, recipe)}: train it with training = population")
        return MlpStack(design, parameters)

    return PopulationRun(task, losses, seeds, recipe, backend, stack, begun)


MLP = Engine(_start, population=True, refusal=_refusal)
