"""The way of a run from its first batch to its last, and what is watched on it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lossmith.metrics import accuracy
from lossmith.training.engines import Run, advance
from lossmith.training.networks import Networks, Task
from lossmith.training.recipe import Recipe

Samples = tuple[Tensor, Tensor]
Observe = Callable[[list[int], int, Networks], None]
Watched = Callable[[list[int], Networks], Tensor]
Seen = Callable[[list[int], Networks, Samples], Tensor]
LOOKED_AT = 1000


@dataclass(frozen=True)
class Judge:
    """What early stopping and pruning go by on held-out data instead of accuracy; it can be pickled.

    Args:
        figure: A number ``[P]`` of trained networks, inputs and class indices, of which more is better.
        chance: What a network has of it that has learned nothing; None where nobody knows: then pruning stays with
            accuracy.
    """

    figure: Callable[..., Tensor]
    chance: float | None = None


@dataclass(frozen=True)
class Finished:
    """What the members of one run ended with.

    Args:
        members: Their places in the whole population.
        networks: Their networks, in this order.
        curve: What was watched after each epoch, ``[members, epochs]``; empty if nothing was.
        pruned: Whether each was given up.
    """

    members: list[int]
    networks: Networks
    curve: Tensor
    pruned: Tensor


@dataclass(frozen=True)
class Loop:
    """How long runs go, and what is watched.

    Args:
        task: What is trained on what.
        recipe: The recipe.
        length: Number of batches.
        watched: What is measured ``[P]`` of members and their networks after each epoch.
        prune_at: Share of the batches after which hopeless networks are given up.
        observe: Called before the first batch and after each epoch.
        judged: What early stopping and pruning go by, ``[P]`` of members and their networks on some samples; accuracy
            without it.
        chance: Of that, what a network has that has learned nothing; without it, pruning goes by accuracy, and what the
            most frequent class gives.
    """

    task: Task
    recipe: Recipe
    length: int
    watched: Watched | None
    prune_at: float | None
    observe: Observe | None
    judged: Seen | None = None
    chance: float | None = None

    def run(self, members: list[int], run: Run, progress: Callable[[float], None]) -> Finished:
        """Train to the end, or until no member needs another batch."""
        per_epoch = self.recipe.steps_per_epoch(len(self.task.inputs))
        look = self._look()
        best = None if self.recipe.patience is None else Best(self.recipe.patience)
        going, ended, pruned = list(members), list[tuple[list[int], Networks]](), set[int]()
        right, curve = torch.zeros(len(members), dtype=torch.float64), list[Tensor]()
        watching = self.observe is not None or best is not None or self.watched is not None
        if self.observe is not None:
            self.observe(going, 0, run.networks())
        step = 0
        while step < self.length:
            # To the end of the epoch, or where hopeless networks are looked for before it.
            before, step = step, min((step // per_epoch + 1) * per_epoch, self.length)
            if look is not None and before < look < step:
                step = look
            advance(run, step - before)
            if step == look:
                prune_at = self._to_prune(going, run.networks())
                pruned = {member for member, gone in zip(going, prune_at, strict=True) if gone}
                going = _without(prune_at, going, ended, run, best)
            if going and (step % per_epoch == 0 or step == self.length):
                if watching:
                    networks = run.networks()
                    if self.observe is not None:
                        self.observe(going, -(-step // per_epoch), networks)
                    if best is not None:
                        networks = best.look(networks, self._height(going, networks, self.task.held_out))
                    if self.watched is not None:
                        right[[members.index(member) for member in going]] = self.watched(going, networks).cpu()
                        curve.append(right.clone())
                if best is not None and step < self.length:
                    going = _without(best.over, going, ended, run, best)
                if going:
                    progress(step / self.length)
            if not going:
                progress(1.0)
                break
        _without([True] * len(going), going, ended, run, best)
        if self.watched is not None:
            curve += [right] * (-(-self.length // per_epoch) - len(curve))
        order = [member for part, _ in ended for member in part]
        networks = Networks.gather([networks for _, networks in ended], [order.index(member) for member in members])
        gone = torch.tensor([member in pruned for member in members])
        return Finished(members, networks, torch.stack(curve, 1) if curve else right[:, None][:, :0], gone)

    def _look(self) -> int | None:
        """The batch after which hopeless networks are given up, unless it is the last."""
        if self.prune_at is None:
            return None
        step = max(1, round(self.prune_at * self.length))
        return step if step < self.length else None

    def _to_prune(self, going: list[int], networks: Networks) -> list[bool]:
        """Which networks are no better than one that has learned nothing would be by chance, or no longer finite."""
        assert self.task.held_out is not None
        inputs, targets = (values[:LOOKED_AT] for values in self.task.held_out)
        if self.judged is not None and self.chance is not None:
            height, chance = self._height(going, networks, (inputs, targets)), self.chance
        else:
            height = accuracy(networks.logits(inputs), targets).cpu()
            common = float(targets.bincount().max()) / len(targets)
            # Two standard deviations above what always answering the most frequent class gives.
            chance = common + 2 * (common * (1 - common) / len(targets)) ** 0.5
        return [bool(gone) for gone in (height <= chance) | ~networks.finite().cpu()]

    def _height(self, going: list[int], networks: Networks, samples: Samples | None) -> Tensor:
        assert samples is not None
        if self.judged is not None:
            return self.judged(going, networks, samples).cpu().nan_to_num(nan=-math.inf)
        return accuracy(networks.logits(samples[0]), samples[1]).cpu()


def _without(
    gone: list[bool], going: list[int], ended: list[tuple[list[int], Networks]], run: Run, best: Best | None
) -> list[int]:
    """Members that go on when some end, whose networks are put to ``ended``."""
    if not any(gone):
        return going
    rows, kept = ([row for row, over in enumerate(gone) if over is wanted] for wanted in (True, False))
    networks = run.networks() if best is None or best.networks is None else best.networks
    ended.append(([going[row] for row in rows], networks.select(rows) if kept else networks))
    if kept:
        run.keep(kept)
        if best is not None:
            best.keep(kept)
    return [going[row] for row in kept]


class Best:
    """Early stopping: each member as it was after its best epoch; it is over after ``patience`` epochs without one."""

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.networks: Networks | None = None

    @property
    def over(self) -> list[bool]:
        """Which members have run out of patience."""
        return [bool(gone) for gone in self.since >= self.patience]

    def look(self, networks: Networks, right: Tensor) -> Networks:
        """Take the accuracies or figures ``[P]`` of an epoch into account; gives the best networks so far."""
        if self.networks is None:
            self.networks, self.right, self.since = networks, right, torch.zeros(len(right), dtype=torch.long)
            return networks
        better = right > self.right
        self.right = torch.where(better, right, self.right)
        self.since = torch.where(better, 0, self.since + 1)
        self.networks = self.networks.where(better, networks)
        return self.networks

    def keep(self, rows: list[int]) -> None:
        """Go on with some of the members only."""
        if self.networks is not None:
            self.networks = self.networks.select(rows)
            self.right, self.since = self.right[rows], self.since[rows]
