"""Attraction of single samples during a real training (figure 1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossmith.errors import InputError
from lossmith.losses import Loss
from lossmith.metrics import accuracy, check_shape, finite, from_lists, to_lists
from lossmith.seeds import generator
from lossmith.theory import attraction, output_change
from lossmith.training import Backend, Executor, Job, Local, Networks, Recipe, Task, Trained

FORMS = ("exact", "published", "vector")
ROUNDING = 1e-12
# The largest number below 1: attraction is defined inside of (0, 1) only.
NEAREST_TO_ONE = 1 - 2.0**-53


@dataclass(frozen=True)
class Trace:
    """Strength of attraction of training samples before the training and after each epoch.

    Shapes: ``P`` losses, ``E`` epochs and one before them, ``S`` samples an epoch.

    Args:
        samples: The training samples that were looked at, ``[E+1, S]``; the same for each loss.
        output: Output of the target class h_T of each sample, ``[P, E+1, S]``.
        exact: Strength by theorem 2, exact, with ``ε = 1 − h_T`` and equal outputs of the other classes.
        published: The same as published; NaN for a loss that is no sum over classes, which has no such form.
        vector: Strength of the actual output vector.
        accuracy: Share of these samples that are classified as labelled, ``[P, E+1]``.

    All strengths are the change of the target's output under one step of length 1; NaN where a network has diverged.
    """

    samples: NDArray[np.int64]
    output: NDArray[np.float32]
    exact: NDArray[np.float32]
    published: NDArray[np.float32]
    vector: NDArray[np.float32]
    accuracy: NDArray[np.float64]

    def strength(self, form: str) -> NDArray[np.float32]:
        """The strengths of one form, ``[P, E+1, S]``."""
        strengths: NDArray[np.float32] = getattr(self, form)
        return strengths

    def repelled(self, form: str) -> NDArray[np.float64]:
        """Share of the samples that are pushed away from their label, ``[P, E+1]``; NaN where a network diverged.

        Pushes below 1e-12 do not count: near zero error some losses (focal, MSE) are sums that cancel, and the sign of
        so small a rest is rounding.
        """
        strength = self.strength(form)
        share: NDArray[np.float64] = np.where(np.isnan(strength).any(-1), np.nan, (strength < -ROUNDING).mean(-1))
        return share

    def applies(self, form: str) -> list[bool]:
        """Whether each loss has a form: the published one is that of sums over classes."""
        known = [~np.isnan(strength).all((1, 2)) for strength in (self.strength(form), self.exact)]
        return [bool(here or not exact) for here, exact in zip(*known, strict=True)]

    def summary(self, losses: Sequence[Loss]) -> list[dict[str, Any]]:
        """For each loss, as JSON: the loss, and after each epoch what came of it; null where its network diverged."""
        return [
            {
                "name": loss.name,
                "loss": loss.to_json(),
                "repelled": {form: to_lists(self.repelled(form)[row]) for form in FORMS},
                "mean_strength": {form: to_lists(self.strength(form)[row].mean(-1, dtype=float)) for form in FORMS},
                "accuracy": to_lists(self.accuracy[row]),
            }
            for row, loss in enumerate(losses)
        ]

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return sum(getattr(self, one.name).size for one in fields(self))

    def to_json(self) -> dict[str, Any]:
        """Every strength, as nested lists; null where a network has diverged."""
        return {one.name: to_lists(getattr(self, one.name)) for one in fields(self)}

    @staticmethod
    def from_json(document: dict[str, Any]) -> Trace:
        """The trace of :meth:`to_json`.

        Raises:
            ValueError: if the document has another shape, or KeyError, or TypeError.
        """
        kinds = {"samples": np.int64, "accuracy": np.float64}
        found = Trace(**{name: from_lists(values, kinds.get(name, np.float32)) for name, values in document.items()})
        check_shape((len(found.output), *found.samples.shape), found.output, *map(found.strength, FORMS))
        check_shape(found.output.shape[:2], found.accuracy)
        return found


def trace(
    task: Task,
    losses: Loss,
    seed: int,
    recipe: Recipe,
    backend: Backend | str = "population",
    samples: int | None = 500,
    progress: Callable[[float], None] | None = None,
    executor: Executor | None = None,
) -> Trace:
    """Train one network for each loss, all from the same initial weights with the same batches, and watch samples.

    Networks are looked at in evaluation mode.

    Args:
        task: What is trained on what; its targets are class indices.
        losses: A population ``[P]``.
        seed: Of initial weights, batches, dropout, and the choice of samples.
        recipe: The recipe of all.
        backend: How they are run.
        samples: Training samples drawn in each epoch; None takes all of them every time.
        progress: Called after each epoch with the share of the work that is done.
        executor: Runs the training; this process without it.

    Raises:
        InputError: if the targets are class probabilities, there is no sample to look at, the losses are made for
            another number of classes, or the backend cannot run the network.
    """
    if task.targets.is_floating_point():
        raise InputError("a trace follows each sample's one label; give class indices instead of probabilities")
    if samples is not None and samples < 1:
        raise InputError(f"a trace looks at 1 sample or more in each epoch, not {samples}")
    losses.check_classes(task.classes)
    backend = Backend.parse(backend) if isinstance(backend, str) else backend
    watch = partial(_Watch, task, losses, seed, recipe, samples)
    job = Job(task, losses, (seed,) * len(losses), recipe, backend, _nothing, watch=watch)
    report = None if progress is None else (lambda _, share: progress(share))
    (outcome,) = (executor or Local()).run([job], report)
    found: Trace = outcome.watched
    return found


def _nothing(_: Trained, __: Callable[[float], None]) -> None:
    """A trace measures nothing of the networks that a training ends with."""


class _Watch:
    """Looks at some training samples before the training and after each epoch."""

    def __init__(self, task: Task, losses: Loss, seed: int, recipe: Recipe, samples: int | None) -> None:
        self.task, self.losses = task, losses
        total = len(task.inputs)
        epochs = -(-recipe.total_steps(total) // recipe.steps_per_epoch(total)) + 1
        size = total if samples is None else min(samples, total)
        self.chosen = torch.stack([_drawn(seed, epoch, total, size) for epoch in range(epochs)])
        self.found = {name: torch.full((len(losses), epochs, size), torch.nan) for name in ("output", *FORMS)}
        self.accuracy = torch.full((len(losses), epochs), torch.nan, dtype=torch.float64)

    def observe(self, members: list[int], epoch: int, networks: Networks) -> None:
        """Look at the samples of an epoch."""
        rows = self.chosen[epoch].to(self.task.device)
        targets = self.task.targets[rows]
        logits = networks.logits(self.task.inputs[rows]).double()
        right = accuracy(logits, targets).cpu()
        for place, (member, sound) in enumerate(zip(members, finite(logits).tolist(), strict=True)):
            if sound:
                for name, values in _looked_at(self.losses[member], logits[place], targets).items():
                    self.found[name][member, epoch] = values.float().cpu()
                self.accuracy[member, epoch] = right[place]

    def result(self) -> Trace:
        """What was seen."""
        found = {name: values.numpy() for name, values in self.found.items()}
        return Trace(self.chosen.numpy(), **found, accuracy=self.accuracy.numpy())


def _drawn(seed: int, epoch: int, total: int, size: int) -> Tensor:
    if size == total:
        return torch.arange(total)
    return torch.randperm(total, generator=generator(seed, "trace", epoch))[:size]


def _looked_at(loss: Loss, logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Target output and strengths of some samples, from finite float64 logits ``[S, K]``."""
    outputs = torch.softmax(logits, -1)
    target = outputs.gather(-1, targets[:, None]).squeeze(-1)
    # Not 1 − h_T, which has no digits left for a sample that is nearly learned.
    deviation = outputs.scatter(-1, targets[:, None], 0.0).sum(-1)
    epsilon = deviation.clamp(torch.finfo(torch.float64).tiny, NEAREST_TO_ONE)
    classes = logits.shape[-1]
    has_published = loss.sums_over_classes
    return {
        "output": target,
        "exact": attraction(loss, epsilon, classes),
        "published": attraction(loss, epsilon, classes, "published") if has_published else target * torch.nan,
        "vector": output_change(loss, outputs, targets, None if loss.is_shift_free else logits),
    }
