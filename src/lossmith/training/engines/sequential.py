"""One network trained by ordinary PyTorch: the specification that every other engine equals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lossmith.attacks import floating, random_start
from lossmith.losses import Loss
from lossmith.training.adversary import attacked_batch, checked_max_pixel
from lossmith.training.batches import Batches
from lossmith.training.engines.base import Engine, Passes, Schedule, buffers_written
from lossmith.training.imbalance import batch_weights, class_weights
from lossmith.training.networks import Networks, State, Task, own_state
from lossmith.training.precision import autocast
from lossmith.training.recipe import Recipe, build_optimizer

if TYPE_CHECKING:
    from lossmith.training.backend import Backend

Forward = Callable[[State, State, Tensor], tuple[Tensor, State]]


class SequentialRun:
    """The training of one network with one loss, a batch at a time.

    Args:
        task: What is trained on what.
        loss: One loss.
        seed: Of initial weights and batches.
        recipe: The recipe.
        backend: Compiled or not, and the layout of images and convolutions in memory.
        passes: The compiled passes of the task.
    """

    def __init__(self, task: Task, loss: Loss, seed: int, recipe: Recipe, backend: Backend, passes: Passes) -> None:
        self.task, self.seed, self.recipe, self.backend = task, seed, recipe, backend
        self.network = task.build(seed).train()
        self.layout = torch.channels_last if backend.channels_last else torch.contiguous_format
        if backend.channels_last:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = build_optimizer(recipe, [value for value in self.network.parameters() if value.requires_grad])
        self.batches = Batches(task, [seed], recipe)
        self.weights = class_weights(task, recipe)
        self.schedule = Schedule(loss, recipe.total_steps(self.batches.samples), self.weights)
        self.forward: Callable[[Tensor], Tensor] = self.network
        if backend.compiled:
            self.forward = _compiled(self.network, passes.get("sequential", _stateless))
        self.done = 0

    def step(self) -> None:
        """Train on the next batch."""
        recipe = self.recipe
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.rate(self.done, recipe.total_steps(self.batches.samples))
        self.optimizer.zero_grad()
        inputs, targets = self.batches.batch(self.done)
        if recipe.adversary != "none":
            inputs = self._attacked(inputs, targets)
        if inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=self.layout)
        # Whoever has looked at the network since the last batch has put it into evaluation mode.
        self.network.train()
        self._differentiate(inputs, targets)
        if recipe.clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip)
        self.optimizer.step()
        self.done += 1

    def _differentiate(self, inputs: Tensor, targets: Tensor) -> None:
        """Set the gradients: backward from the closed form of the loss's gradient, in place of the loss."""
        with autocast(self.recipe, self.task.device):
            logits = self.forward(inputs)
        known, count = logits.detach(), batch_weights(self.weights, targets, logits)
        slope = self.schedule.rule(self.done, known)(known, targets) / count
        if self.recipe.flooding:
            values = self.schedule.values(self.done, known, targets)
            mean = values.mean() if isinstance(count, int) else values.sum() / count
            slope = slope * (mean - self.recipe.flooding).sign().to(slope.dtype)
        logits.backward(slope.to(logits.dtype))

    def _attacked(self, inputs: Tensor, targets: Tensor) -> Tensor:
        images = floating(inputs)
        start = random_start(images, self.seed, "adversary", self.done)
        self.network.eval()
        return attacked_batch(
            lambda x: self.network(x[0])[None],
            images[None],
            targets,
            start,
            self.schedule.known_rule(self.done),
            self.recipe,
            checked_max_pixel(self.task),
        )[0]

    def keep(self, members: list[int]) -> None:
        """Go on with the one member there is."""

    def networks(self) -> Networks:
        """The network as it is now, as a population of one."""
        parameters, buffers = own_state(self.network)
        return Networks(
            self.network,
            {name: value[None] for name, value in parameters.items()},
            {name: value[None] for name, value in buffers.items()},
            vectorized=False,
        )


def _stateless(base: nn.Module) -> Forward:
    """The forward pass as a function of weights and inputs, which gives the buffers that it assigns anew, too."""

    def forward(parameters: State, buffers: State, inputs: Tensor) -> tuple[Tensor, State]:
        state = {**parameters, **buffers}
        logits: Tensor = functional_call(base, state, (inputs,))
        return logits, buffers_written(state, buffers)

    return forward


def _compiled(network: nn.Module, forward: Forward) -> Callable[[Tensor], Tensor]:
    """The compiled forward pass of one network."""
    parameters: State = dict(network.named_parameters())
    buffers = dict(network.named_buffers())

    def call(inputs: Tensor) -> Tensor:
        logits, written = forward(parameters, buffers, inputs)
        with torch.no_grad():
            for name, value in written.items():
                buffers[name].copy_(value)
        return logits

    return call


def _start(
    task: Task, losses: Loss, seeds: Sequence[int], recipe: Recipe, backend: Backend, passes: Passes
) -> SequentialRun:
    (seed,) = seeds
    return SequentialRun(task, losses[0], seed, recipe, backend, passes)


SEQUENTIAL = Engine(_start, population=False, compiles=True, layouts=True)
