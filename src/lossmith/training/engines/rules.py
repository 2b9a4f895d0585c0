"""How members of a population in the compiled program come to the slopes of their losses, at each batch."""

from __future__ import annotations

import torch
from torch import Tensor

from lossmith.losses import Loss, Mixed, PowerLoss, label_weights, slope_table
from lossmith.training.engines.base import Schedule
from lossmith.training.imbalance import class_weights
from lossmith.training.networks import Task
from lossmith.training.recipe import Recipe


class Rules:
    """Which members' slopes the compiled program finds, sums of powers for class indices, and what makes the others'.

    A member is found the same way in any company.

    Args:
        task: What is trained on what.
        losses: A population ``[P]``.
        recipe: The recipe of all.
        total: Batches of the whole training.
        like: For whose dtype.
    """

    def __init__(self, task: Task, losses: Loss, recipe: Recipe, total: int, like: Tensor) -> None:
        self.losses, self.recipe, self.total, self.like = losses, recipe, total, like
        self.weights = class_weights(task, recipe)
        soft = task.targets.is_floating_point() or recipe.mixup or recipe.cutmix
        self.inside = not (soft or recipe.flooding)
        self.ours = self.theirs = torch.empty(0, dtype=torch.int64)
        self._now: Loss | None = None

    def look(self, done: int) -> None:
        """Find what holds after some batches: the members ``ours`` with their ``table [P, 2, W]``, and ``theirs``."""
        now = self.losses.at(done / self.total)
        # Members of a mixed population can be new values of the same losses.
        if now is self._now or (isinstance(now, Mixed) and now == self._now):
            return
        sums = self._sums(now)
        others = [place for place in range(len(now)) if place not in set(sums)]
        if self._now is None or others != self.theirs.tolist():
            self.ours, self.theirs = torch.tensor(sums, dtype=torch.int64), torch.tensor(others, dtype=torch.int64)
            self.schedule = Schedule(self.losses[others], self.total, self.weights) if others else None
        if sums:
            chosen = now if isinstance(now, PowerLoss) else now[sums]
            assert isinstance(chosen, PowerLoss)
            table = slope_table(chosen).to(self.like.dtype)
            self.table = table.new_zeros(len(now), *table.shape[1:]).index_copy_(0, self.ours, table)
        self._now = now

    def lasts(self, done: int, most: int) -> int:
        """For how many batches what holds after some goes on to hold, ``most`` at most."""
        now = self.losses.at(done / self.total)
        batches = (number for number in range(1, most) if self.losses.at((done + number) / self.total) is not now)
        return next(batches, most)

    def shares(self, targets: Tensor) -> Tensor:
        """What each sample's gradient is multiplied by: its label's share of the weights of its batch, ``[…, B]``."""
        if self.weights is None:
            return self.like.new_full(targets.shape, 1 / targets.shape[-1])
        own = label_weights(self.weights, targets)
        return (own / own.sum(-1, keepdim=True)).to(self.like.dtype)

    def slopes(self, done: int, logits: Tensor, targets: Tensor) -> Tensor:
        """The gradients of the others' mean losses, ``[theirs, B, K]``.

        Args:
            done: Batches that were trained.
            logits: ``[theirs, B, K]``.
            targets: Class indices or probabilities, as the batch has them for each.
        """
        assert self.schedule is not None
        return self.schedule.mean_gradient(done, logits, targets, self.recipe.flooding)

    def keep(self, members: list[int]) -> None:
        """Go on with some of the members only."""
        self.losses, self._now = self.losses[members], None

    def _sums(self, now: Loss) -> list[int]:
        """Which members are sums of powers that the program can take."""
        if self.inside and type(now) is PowerLoss:
            return list(range(len(now)))
        if self.inside and isinstance(now, Mixed):
            return [place for place, member in enumerate(now.members) if type(member) is PowerLoss]
        return []
