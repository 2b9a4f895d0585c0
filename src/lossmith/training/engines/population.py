"""All networks of a population trained in one program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lossmith.attacks import floating, random_start
from lossmith.losses import Loss
from lossmith.training.adversary import attacked_batch, checked_max_pixel
from lossmith.training.batches import Batches
from lossmith.training.engines.base import Schedule, Stack
from lossmith.training.imbalance import class_weights
from lossmith.training.networks import Networks, State, Task, own_state
from lossmith.training.recipe import Recipe, build_optimizer

if TYPE_CHECKING:
    from lossmith.training.backend import Backend

MakeStack = Callable[[nn.Module, State, State, bool], Stack]


@dataclass(frozen=True)
class Beginning:
    """Some networks before their first batch.

    Args:
        batches: Those of all different seeds.
        place: Which of these seeds each member has, ``[P]``.
        base: A network like all, in training mode.
        parameters: ``[P, …]`` each.
        buffers: ``[P, …]`` each, less the shared ones.
    """

    batches: Batches
    place: Tensor
    base: nn.Module
    parameters: State
    buffers: State


def begin(task: Task, seeds: Sequence[int], recipe: Recipe) -> Beginning:
    """The networks of some seeds, one a member; equal seeds mean equal initial weights and batches."""
    distinct = list(dict.fromkeys(seeds))
    place = torch.tensor([distinct.index(seed) for seed in seeds])
    starts = [task.build(seed) for seed in distinct]
    base = starts[0].train()
    states = [own_state(network) for network in starts]
    parameters, buffers = (
        {name: torch.stack([state[kind][name] for state in states])[place] for name in states[0][kind]}
        for kind in (0, 1)
    )
    return Beginning(Batches(task, distinct, recipe), place.to(task.device), base, parameters, buffers)


class PopulationRun:
    """The training of P networks with P losses, a batch at a time: the same steps as P sequential runs.

    The forward pass is vectorized over the stacked parameters, the logit gradient of all members is computed in closed
    form, and one ordinary optimizer steps the stack. Every operation acts on each member alone, so a member that
    diverges leaves the others as they are.

    Args:
        task: What is trained on what.
        losses: A population ``[P]``.
        seeds: One seed a member; equal seeds mean equal initial weights and batches.
        recipe: The recipe of all.
        backend: How they are run.
        make: Stacks networks like a base, their parameters and buffers ``[P, …]``, and whether all get the same inputs.
        begun: Networks and batches at the start, if they are there already.
    """

    def __init__(
        self,
        task: Task,
        losses: Loss,
        seeds: Sequence[int],
        recipe: Recipe,
        backend: Backend,
        make: MakeStack,
        begun: Beginning | None = None,
    ) -> None:
        self.task, self.recipe, self.backend, self.make = task, recipe, backend, make
        begun = begin(task, seeds, recipe) if begun is None else begun
        self.batches, self.base, self.place = begun.batches, begun.base, begun.place
        total = recipe.total_steps(self.batches.samples)
        self.schedule = Schedule(losses.to(task.device), total, class_weights(task, recipe))
        self.stack = self._stack(begun.parameters, begun.buffers)
        self.optimizer = build_optimizer(recipe, self.stack.leaves)
        self.done = 0

    def _stack(self, parameters: State, buffers: State) -> Stack:
        return self.make(
            self.base, parameters, buffers, len(self.batches.seeds) == 1 and self.recipe.adversary == "none"
        )

    def step(self) -> None:
        """Train on the next batch."""
        recipe = self.recipe
        inputs, targets = self.batches.batch(self.done)
        of = self.place if len(self.batches.seeds) > 1 else None
        if of is not None:
            targets = targets[of]
        if recipe.adversary != "none":
            images = inputs.expand(len(self.place), *inputs.shape) if of is None else inputs[of]
            inputs, of = self._attacked(images, targets), torch.arange(len(self.place), device=self.task.device)
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.rate(self.done, recipe.total_steps(self.batches.samples))
        logits = self.stack.logits(inputs, of)
        self.stack.differentiate(self.schedule.mean_gradient(self.done, logits, targets, recipe.flooding))
        if recipe.clip is not None:
            clip_each(self.stack.gradients(), recipe.clip)
        self.optimizer.step()
        self.done += 1

    def _attacked(self, inputs: Tensor, targets: Tensor) -> Tensor:
        images = floating(inputs)
        starts = [random_start(images[0], seed, "adversary", self.done) for seed in self.batches.seeds]
        start = starts[0] if len(starts) == 1 else torch.stack(starts)[self.place]
        return attacked_batch(
            self.networks(copied=False).forward,
            images,
            targets,
            start,
            self.schedule.known_rule(self.done),
            self.recipe,
            checked_max_pixel(self.task),
        )

    def keep(self, members: list[int]) -> None:
        """Go on with some of the members only."""
        rows = torch.tensor(members, device=self.task.device)
        before, states = self.stack, self.optimizer.state
        self.stack = self._stack(
            *(
                {name: value.detach()[rows] for name, value in state.items()}
                for state in (before.parameters, before.buffers)
            )
        )
        self.optimizer = build_optimizer(self.recipe, self.stack.leaves)
        # What an optimizer keeps for each number goes on with its member; counters of steps are for all.
        for old, new in zip(before.leaves, self.stack.leaves, strict=True):
            self.optimizer.state[new] = {
                name: before.selected(value, rows) if value.shape == old.shape else value
                for name, value in states[old].items()
            }
        self.place = self.place[rows]
        self.schedule.keep(members)

    def networks(self, copied: bool = True) -> Networks:
        """The networks as they are now; without a copy they change when training goes on."""
        parameters = {name: value.detach() for name, value in self.stack.parameters.items()}
        if not copied:
            return Networks(self.base, parameters, self.stack.buffers)
        return Networks(
            self.base,
            {name: value.clone() for name, value in parameters.items()},
            {name: value.clone() for name, value in self.stack.buffers.items()},
        )


def clip_each(gradients: Sequence[Tensor], limit: float) -> None:
    """Scale each member's gradient down to the norm ``limit``, as ``clip_grad_norm_`` does for one network.

    Args:
        gradients: By parameter, ``[P, …]`` each.
        limit: The largest norm of a member's whole gradient.
    """
    norms = torch.stack([gradient.reshape(len(gradient), -1).norm(dim=1) for gradient in gradients]).norm(dim=0)
    # 1e-6 and 1 as in `clip_grad_norm_`, which it equals.
    factor = (limit / (norms + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factor.reshape(-1, *(1,) * (gradient.ndim - 1)))
