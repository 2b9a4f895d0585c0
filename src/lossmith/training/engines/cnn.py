"""Convolutional networks by the compiled program; where that cannot be made, vectorized by ``vmap``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

from lossmith.losses import Loss
from lossmith.training.engines.base import Engine, Passes, Run
from lossmith.training.engines.compiler import cpp_compiler
from lossmith.training.engines.design import Design
from lossmith.training.engines.native import compiled_run
from lossmith.training.engines.population import begin
from lossmith.training.engines.vmap import VMAP
from lossmith.training.networks import Task
from lossmith.training.recipe import Recipe

if TYPE_CHECKING:
    from lossmith.training.backend import Backend


def _refusal(network: nn.Module, task: Task, recipe: Recipe) -> str | None:
    if recipe.precision != "float32":
        return "it computes in float32 only"
    design = Design.of(network, task.inputs.ndim)
    if design is None or not design.convolves:
        return (
            "the network is no nn.Sequential of plain convolutions of stride 1, ReLU, max pooling over windows side by "
            "side and dropout, then nn.Flatten and linear layers, each trained and its weights used once"
        )
    if recipe.adversary != "none":
        return "it trains without an adversary"
    if task.device.type != "cpu" or cpp_compiler() is None:
        return "it needs a C++ compiler, and a CPU to train on"
    return None


def _start(task: Task, losses: Loss, seeds: Sequence[int], recipe: Recipe, backend: Backend, passes: Passes) -> Run:
    begun = begin(task, seeds, recipe)
    design = Design.of(begun.base, task.inputs.ndim)
    run = None if design is None else compiled_run(task, begun, losses, recipe, backend, design)
    return VMAP.start(task, losses, seeds, recipe, backend, passes) if run is None else run


CNN = Engine(_start, population=True, refusal=_refusal)
