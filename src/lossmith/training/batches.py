"""The batches of one training or of several with different seeds, gathered and augmented on the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lossmith.training.augmentation import augmented, draw
from lossmith.training.imbalance import class_shares
from lossmith.training.networks import Task
from lossmith.training.randomness import batch_order
from lossmith.training.recipe import Recipe


class Batches:
    """The batches of S trainings, in step: nothing of a batch depends on the networks or on how they are trained.

    Args:
        task: Whose samples.
        seeds: S different seeds.
        recipe: Size and augmentation of the batches, and how they are drawn.
    """

    def __init__(self, task: Task, seeds: Sequence[int], recipe: Recipe) -> None:
        self.task, self.seeds, self.recipe = task, list(seeds), recipe
        self.samples = len(task.inputs)
        self.size = min(recipe.batch_size, self.samples)
        self.per_epoch = recipe.steps_per_epoch(self.samples)
        self.shares = class_shares(task, recipe)
        self.epoch = -1

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs ``[B, …]`` and targets of a step; with several seeds ``[S, B, …]``."""
        position = self._position(step)
        rows = self.order[..., position * self.size : (position + 1) * self.size]
        inputs, targets = self.task.inputs[rows], self.task.targets[rows]
        if not self.recipe.augments:
            return inputs, targets
        mean = self.task.mean if self.recipe.cutout else inputs
        return augmented(inputs, targets, self.draws.batch(position), self.recipe, self.task.classes, mean)

    def several(self, step: int, most: int) -> tuple[Tensor, Tensor]:
        """The batches from a step on that are in its epoch, ``most`` at most: ``[T, B, …]`` or ``[T, S, B, …]``."""
        position = self._position(step)
        last = min(position + most, self.per_epoch)
        if self.recipe.augments:
            batches = [self.batch(step + number) for number in range(last - position)]
            return torch.stack([inputs for inputs, _ in batches]), torch.stack([targets for _, targets in batches])
        rows = self.order[..., position * self.size : last * self.size].unflatten(-1, (-1, self.size))
        rows = rows if len(self.seeds) == 1 else rows.transpose(0, 1)
        inputs, targets = (values.index_select(0, rows.flatten()) for values in (self.task.inputs, self.task.targets))
        return inputs.unflatten(0, rows.shape), targets.unflatten(0, rows.shape)

    def _position(self, step: int) -> int:
        """The place of a step in its epoch, which has begun."""
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self.epoch:
            self._begin(epoch)
        return position

    def _begin(self, epoch: int) -> None:
        device = self.task.device
        order = torch.stack([batch_order(seed, epoch, self.samples, self.shares) for seed in self.seeds]).to(device)
        self.order = order[0] if len(self.seeds) == 1 else order
        if self.recipe.augments:
            shape = tuple(self.task.inputs.shape[1:])
            draws = draw(self.recipe, self.seeds, epoch, self.per_epoch, self.size, shape).to(device)
            self.draws = type(draws)(*(value[0] for value in draws)) if len(self.seeds) == 1 else draws
        self.epoch = epoch
