"""The forward and backward pass of a population of any network, vectorized by ``torch.func.vmap``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from lossmith.losses import Loss
from lossmith.training.engines.base import Engine, Passes, buffers_written
from lossmith.training.engines.population import PopulationRun
from lossmith.training.networks import State, Task, input_dim, shared_buffers
from lossmith.training.precision import vmapped_autocast
from lossmith.training.recipe import Recipe

if TYPE_CHECKING:
    from lossmith.training.backend import Backend

Forward = Callable[[State, State, Tensor], tuple[Tensor, State]]


class VmapStack:
    """A :class:`~lossmith.training.engines.Stack` of any network that ``vmap`` can run.

    Args:
        base: One network of the architecture.
        parameters: ``[P, …]`` each.
        buffers: ``[P, …]`` each.
        recipe: Its precision is used.
        shared: Whether all members get the same inputs.
        passes: If given, the forward pass is compiled: once for all populations of a task, with weights as an input.
    """

    def __init__(
        self,
        base: nn.Module,
        parameters: State,
        buffers: State,
        recipe: Recipe,
        shared: bool,
        passes: Passes | None = None,
    ) -> None:
        self.base, self.recipe, self.buffers = base.train(), recipe, buffers
        self.members = len(next(iter(parameters.values())))
        self.parameters = {
            name: _laid_out(parameters[name]).detach().requires_grad_(trained.requires_grad)
            for name, trained in base.named_parameters()
        }
        self.leaves = [value for value in self.parameters.values() if value.requires_grad]
        self.input_dim = input_dim(self.parameters) if shared else 0
        make = partial(_forward, inputs=self.input_dim)
        self.forward: Forward = make(base) if passes is None else passes.get(f"vmap, {self.input_dim}", make)

    def logits(self, inputs: Tensor, of: Tensor | None) -> Tensor:
        """Logits ``[P, B, K]`` in training mode."""
        if of is not None:
            inputs = inputs[of]
        elif self.input_dim == 0:
            inputs = inputs.expand(self.members, *inputs.shape)
        self.base.train()
        with vmapped_autocast(self.recipe):
            self.result, written = self.forward(self.parameters, self.buffers, inputs)
        self.buffers.update((name, value.detach()) for name, value in written.items())
        return self.result.detach()

    def differentiate(self, slope: Tensor) -> None:
        """Set the gradients of the leaves."""
        # Not `backward`, which would copy each gradient into place.
        gradients = torch.autograd.grad(self.result, self.leaves, slope, allow_unused=True)
        del self.result
        for leaf, gradient in zip(self.leaves, gradients, strict=True):
            leaf.grad = gradient if gradient is None else _laid_out_like(leaf, gradient)

    def gradients(self) -> list[Tensor]:
        """The gradients by parameter, less those that have none."""
        return [leaf.grad for leaf in self.leaves if leaf.grad is not None]

    def selected(self, values: Tensor, rows: Tensor) -> Tensor:
        """Rows of values, in the memory layout of a leaf."""
        return _laid_out(values[rows])


def _forward(base: nn.Module, inputs: int | None) -> Forward:
    """The forward pass of stacked weights and buffers on inputs with the members along dimension ``inputs``, if any.

    It gives the buffers that it assigns anew, too.
    """
    shared = shared_buffers(base)

    def forward(parameters: State, buffers: State, x: Tensor) -> tuple[Tensor, State]:
        state = {**parameters, **buffers, **shared}
        result: Tensor = functional_call(base, state, (x,))
        return result, buffers_written(state, buffers)

    vectorized: Forward = vmap(forward, in_dims=(0, 0, inputs), randomness="same")
    return vectorized


def _laid_out(stacked: Tensor) -> Tensor:
    """Weights of linear layers ``[P, out, in]``, laid out in memory as their gradient comes."""
    return stacked.mT.contiguous().mT if stacked.ndim == 3 else stacked


def _laid_out_like(leaf: Tensor, gradient: Tensor) -> Tensor:
    """The gradient in the memory layout of its leaf: fused optimizers read both in one order and do not check."""
    return gradient if gradient.stride() == leaf.stride() else torch.empty_like(leaf).copy_(gradient)


def _start(
    task: Task, losses: Loss, seeds: Sequence[int], recipe: Recipe, backend: Backend, passes: Passes
) -> PopulationRun:
    def stack(base: nn.Module, parameters: State, buffers: State, shared: bool) -> VmapStack:
        return VmapStack(base, parameters, buffers, recipe, shared, passes if backend.compiled else None)

    return PopulationRun(task, losses, seeds, recipe, backend, stack)


VMAP = Engine(_start, population=True, compiles=True)
