"""Whether one step of a backend does what the same step of sequential does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lossmith.losses import Loss
from lossmith.training.backend import Backend
from lossmith.training.networks import Networks, State
from lossmith.training.randomness import seeded
from lossmith.training.recipe import Recipe
from lossmith.training.trainer import Trainer, vectorizable

SEQUENTIAL = Backend()


@dataclass(frozen=True)
class Tolerance:
    """How far one step may be from that of sequential: ``error <= share · max(step, least · longest step)``.

    Args:
        parameters: Share for parameters and logits.
        buffers: Share for buffers.
        least: Share of the longest step of any tensor that counts as a step in each: where a gradient cancels, as that
            of a bias before batch norm, nothing but rounding is left to compare.
    """

    parameters: float
    buffers: float
    least: float


# What a backend does wrong is of the order of the step itself: a statistic that is not written (1), a sign (2), another
# mask of dropout, a factor. Rounding alone gives 1e-6 in float32, 1e-4 through dozens of layers; but where a ReLU or
# the sign of an adversary's step flips for a few units, 1e-2, and 1e-1 after some steps of PGD: a quarter is allowed.
# In bfloat16 every operation rounds by 4e-3, and gradients through dozens of layers with batch norm differ by 0.4.
# Buffers come from the forward pass alone, before any flip; they bear TF32. Dropout has no tolerance of its own: all
# backends draw the same masks, or they train other networks.
FLOAT32, BFLOAT16 = Tolerance(0.25, 0.02, 1e-3), Tolerance(0.8, 0.1, 0.1)
SAMPLES = 16  # of which logits are compared
EPSILONS = 16  # roundings of a value that is kept in float32, beside the step
# The step is that of SGD: AdamW's first step is ± lr wherever a gradient is no more than rounding, too.
STEP = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant"}


@dataclass(frozen=True)
class Step:
    """Some networks before and after one batch, and their logits ``[P, B, K]`` on samples of it, in evaluation mode."""

    before: Networks
    after: Networks
    logits: tuple[Tensor, Tensor]


class Agreement:
    """Compares one step of other backends with that of sequential: same start, same batch, a few members.

    Args:
        trainer: Whose task.
        losses: A population ``[P]``.
        seeds: One seed a member.
        recipe: The recipe, of which all counts but the optimizer.
    """

    def __init__(self, trainer: Trainer, losses: Loss, seeds: Sequence[int], recipe: Recipe) -> None:
        self.trainer, self.losses, self.seeds = trainer, losses, list(seeds)
        self.recipe = recipe.model_copy(update=STEP)
        self.members = sorted({0, len(seeds) - 1})
        self._expected: Step | None = None

    def disagreement(self, backend: Backend) -> str | None:
        """What differs, as the end of a sentence, or None.

        Raises:
            InputError: if the backend cannot run the network.
        """
        if self._expected is None:
            self._expected = self._step(SEQUENTIAL)
        expected, found = self._expected, self._step(backend)
        tolerance = FLOAT32 if self.recipe.precision == "float32" else BFLOAT16
        for kind in ("parameters", "buffers"):
            start, wanted, got = (getattr(one, kind) for one in (expected.before, expected.after, found.after))
            share = getattr(tolerance, kind)
            differing = _differing(start, wanted, got, share, tolerance.least)
            if differing is not None:
                name, by = differing
                return f"after one step its {kind[:-1]} {name} differs from that of sequential by {by:.0%} of the step"
        before, after = ({"logits": value} for value in expected.logits)
        differing = _differing(before, after, {"logits": found.logits[1]}, tolerance.parameters, tolerance.least)
        if differing is not None:
            return f"after one step its logits differ from those of sequential by {differing[1]:.0%} of the step"
        return None

    def _step(self, backend: Backend) -> Step:
        """One step of a backend, in the groups that it trains; the compared members are picked from these."""
        trainer, task, parts = self.trainer, self.trainer.task, list[tuple[Networks, Networks]]()
        for group in trainer.groups(self.seeds, self.recipe, backend):
            places = [place for place, member in enumerate(group) if member in self.members]
            if places:
                with seeded(task.device, self.seeds[group[0]], "dropout"), vectorizable(self.recipe):
                    run = trainer.start(self.losses, self.seeds, self.recipe, backend, group)
                    before = run.networks().select(places)
                    run.step()
                    parts.append((before, run.networks().select(places)))
        samples = task.inputs[:SAMPLES]
        logits = [torch.cat([part[side].logits(samples) for part in parts]) for side in (0, 1)]
        order = list(range(len(self.members)))
        before, after = (Networks.gather([part[side] for part in parts], order) for side in (0, 1))
        return Step(before, after, (logits[0], logits[1]))


def _differing(start: State, expected: State, found: State, share: float, least: float) -> tuple[str, float] | None:
    """The tensor that differs most from what is expected, with its error as a share of its step, if any does."""
    steps = {name: _length(expected[name].double() - start[name].double()) for name in start}
    longest = torch.stack([*steps.values()]).amax(0) if steps else torch.zeros(0)
    worst: tuple[str, float] | None = None
    for name, step in steps.items():
        wanted, got = expected[name].double(), found[name].double()
        same = (wanted == got) | ~(wanted.isfinite() | got.isfinite())
        error = _length(torch.where(same, 0.0, wanted - got)).nan_to_num(torch.inf)
        rounding = EPSILONS * torch.finfo(torch.float32).eps * _length(wanted)
        allowed = share * torch.maximum(step, least * longest) + rounding
        if bool((error > allowed).any()):
            by = float((error / torch.maximum(step, least * longest).clamp(min=1e-300)).max())
            if worst is None or by > worst[1]:
                worst = (name, by)
    return worst


def _length(value: Tensor) -> Tensor:
    """Root mean square of the finite entries of each member, ``[P]``."""
    flat = value.flatten(1) if value.ndim > 1 else value[:, None]
    return torch.where(flat.isnan(), 0.0, flat).square().mean(1).sqrt()
