"""The forward and backward pass of a population of any network, vectorized by ``torch.func.vmap``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from lossmith.training.networks import State, Task, input_dim, shared_buffers
from lossmith.training.precision import vmapped_autocast
from lossmith.training.randomness import compiled_like_eager
from lossmith.training.recipe import Recipe

Forward = Callable[[State, State, Tensor], Tensor]


class Engine(Protocol):
    """The forward and backward pass of P networks.

    Args:
        parameters: Their parameters, ``[P, …]`` each.
        buffers: Their buffers, ``[P, …]`` each, less the shared ones.
        leaves: What an optimiser steps.
    """

    parameters: State
    buffers: State
    leaves: list[Tensor]

    def logits(self, inputs: Tensor, of: Tensor | None) -> Tensor:
        """Logits ``[P, B, K]`` in training mode.

        Args:
            inputs: ``[B, …]`` for all members, or ``[S, B, …]``.
            of: Which of the S each member takes, ``[P]``.
        """

    def differentiate(self, slope: Tensor) -> None:
        """Set the gradients of the leaves, where ``slope [P, B, K]`` is that of the last logits."""

    def gradients(self) -> list[Tensor]:
        """The gradients by parameter, ``[P, …]`` each."""

    def selected(self, values: Tensor, rows: Tensor) -> Tensor:
        """Of values shaped like a leaf, those of some members."""


class VmapEngine:
    """An :class:`Engine` for any network that ``vmap`` can run.

    Args:
        base: One network of the architecture.
        parameters: ``[P, …]`` each.
        buffers: ``[P, …]`` each.
        recipe: Its precision is used.
        shared: Whether all members get the same inputs.
        task: If given, the forward pass is compiled by ``torch.compile``: once for all populations of the task, with
            weights as an input.
    """

    def __init__(
        self,
        base: nn.Module,
        parameters: State,
        buffers: State,
        recipe: Recipe,
        shared: bool,
        task: Task | None = None,
    ) -> None:
        self.base, self.recipe, self.buffers = base.train(), recipe, buffers
        self.members = len(next(iter(parameters.values())))
        self.parameters = {
            name: _laid_out(parameters[name]).detach().requires_grad_(trained.requires_grad)
            for name, trained in base.named_parameters()
        }
        self.leaves = [value for value in self.parameters.values() if value.requires_grad]
        self.input_dim = input_dim(self.parameters) if shared else 0
        self.forward = _forward(base, self.input_dim) if task is None else _compiled(task, self.input_dim)

    def logits(self, inputs: Tensor, of: Tensor | None) -> Tensor:
        """Logits ``[P, B, K]``, as in :class:`Engine`."""
        if of is not None:
            inputs = inputs[of]
        elif self.input_dim == 0:
            inputs = inputs.expand(self.members, *inputs.shape)
        self.base.train()
        with vmapped_autocast(self.recipe):
            self.result = self.forward(self.parameters, self.buffers, inputs)
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
    """The forward pass of stacked weights and buffers on inputs with the members along dimension ``inputs``, if any."""
    shared = shared_buffers(base)

    def forward(parameters: State, buffers: State, x: Tensor) -> Tensor:
        result: Tensor = functional_call(base, {**parameters, **buffers, **shared}, (x,))
        return result

    vectorized: Forward = vmap(forward, in_dims=(0, 0, inputs), randomness="same")
    return vectorized


def _compiled(task: Task, inputs: int | None) -> Forward:
    """The same, compiled, in training mode; made once for a task."""
    key = f"forward of populations, {inputs}"
    if key not in task.memo:
        task.memo[key] = compiled_like_eager(_forward(task.build(0).train(), inputs))
    compiled: Forward = task.memo[key]
    return compiled


def _laid_out(stacked: Tensor) -> Tensor:
    """Weights of linear layers ``[P, out, in]``, laid out in memory as their gradient comes."""
    return stacked.mT.contiguous().mT if stacked.ndim == 3 else stacked


def _laid_out_like(leaf: Tensor, gradient: Tensor) -> Tensor:
    """The gradient in the memory layout of its leaf: fused optimisers read both in one order and do not check."""
    return gradient if gradient.stride() == leaf.stride() else torch.empty_like(leaf).copy_(gradient)
