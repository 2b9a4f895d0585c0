"""Training labels that are probably wrong, by networks that did not learn from them (cross-fitting)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossmith.errors import InputError
from lossmith.losses import Loss
from lossmith.metrics import average_precision
from lossmith.training import Backend, Executor, Job, Networks, Recipe, Task, Trained, repeated

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Beliefs:
    """What networks believe of samples that they did not learn from, averaged over networks.

    Args:
        mean: Outputs ``[N, K]``, averaged over the epochs, too.
        last: Those after the last epoch, ``[N, K]``.
        diverged: How many networks were left out, since their outputs were no finite numbers.
    """

    mean: Floats
    last: Floats
    diverged: int


@dataclass(frozen=True)
class Suspects:
    """Labels of samples, the most suspicious first.

    Args:
        index: Rows of the data, ``[N]``.
        given: Their labels, ``[N]``.
        suggested: The classes that networks believe most in, ``[N]``; the label itself where they believe in that.
        score: How suspicious each label is, ``[N]``, from 0 to 1; above ½ where another class is suggested.
        wrong: Whether each label is wrong, where that is known, ``[N]``.
    """

    index: NDArray[np.int64]
    given: NDArray[np.int64]
    suggested: NDArray[np.int64]
    score: Floats
    wrong: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        """N."""
        return len(self.index)

    @property
    def differing(self) -> int:
        """How many labels another class is suggested for."""
        return int((self.given != self.suggested).sum())

    @property
    def average_precision(self) -> float | None:
        """The area under precision and recall of the order; None where nobody knows, or all labels are right."""
        return None if self.wrong is None else ranked(self.score, self.wrong)


def self_confidence(beliefs: Floats, given: NDArray[np.int64]) -> Floats:
    """``1 − h_T``: how little networks believe in the label, ``[N]``.

    Args:
        beliefs: Outputs ``[N, K]``.
        given: The labels, ``[N]``.
    """
    found: Floats = 1 - beliefs[np.arange(len(given)), given]
    return found


def margin(beliefs: Floats, given: NDArray[np.int64]) -> Floats:
    """``max_{k≠T} h_k − h_T``: how much more networks believe in another class than in the label, ``[N]``.

    Args:
        beliefs: Outputs ``[N, K]``.
        given: The labels, ``[N]``.
    """
    rows = np.arange(len(given))
    others = beliefs.copy()
    others[rows, given] = -np.inf
    found: Floats = others.max(1) - beliefs[rows, given]
    return found


def rivalry(beliefs: Floats, given: NDArray[np.int64]) -> Floats:
    """``max_{k≠T} h_k / (max_{k≠T} h_k + h_T)``: the share of a label's strongest rival, ``[N]``.

    Of the belief in the label and in this rival: above ½ where networks believe more in another class than in the
    label, and ½ where they believe in neither.

    Args:
        beliefs: Outputs ``[N, K]``.
        given: The labels, ``[N]``.
    """
    rows = np.arange(len(given))
    mine, others = beliefs[rows, given], beliefs.copy()
    others[rows, given] = -np.inf
    rival = others.max(1)
    both = rival + mine
    found: Floats = np.divide(rival, both, out=np.full_like(both, 0.5), where=both > 0)
    return found


def ranked(score: Floats, wrong: NDArray[np.bool_]) -> float | None:
    """The area under precision and recall (average precision) of scores ``[N]``; None if no label is wrong."""
    if not wrong.any():
        return None
    odds = torch.from_numpy(np.stack([np.zeros_like(score), score], -1))
    return float(average_precision(odds[None], torch.from_numpy(wrong.astype(np.int64))))


def suspects(
    beliefs: Floats, given: NDArray[np.int64], wrong: NDArray[np.bool_] | None = None, digits: int = 6
) -> Suspects:
    """The labels in the order of :func:`rivalry`, ties in the order of the rows.

    Args:
        beliefs: Outputs ``[N, K]`` of networks that did not learn from the sample.
        given: The labels, ``[N]``.
        wrong: Which of them are wrong, if that is known.
        digits: To which scores are rounded, so that what is written is what was sorted by.
    """
    score = rivalry(beliefs, given).round(digits)
    order = np.lexsort((np.arange(len(score)), -score))
    suggested = beliefs.argmax(1).astype(np.int64)
    known = None if wrong is None else wrong[order]
    return Suspects(order.astype(np.int64), given[order], suggested[order], score[order], known)


@dataclass(frozen=True)
class Fold:
    """What some networks learn, and what they judge.

    Args:
        task: What is learned.
        inputs: What is judged, ``[n, …]``; none of it is in the task.
        rows: Its rows in the data, ``[n]``.
    """

    task: Task
    inputs: Tensor
    rows: Tensor


def believed(
    folds: Sequence[Fold],
    loss: Loss,
    seeds: Sequence[int],
    recipe: Recipe,
    backend: Backend,
    executor: Executor,
    report: Callable[[float], None] = lambda _: None,
) -> Beliefs:
    """Train networks for each fold on all others, and ask them about it after each epoch.

    Args:
        folds: Of which each row is in one.
        loss: What networks are trained with.
        seeds: One for each network of a fold.
        recipe: How they are trained.
        backend: How they are run.
        executor: Runs the trainings, one job for each fold.
        report: Called with the share of the work that is done.

    Raises:
        InputError: if all networks of a fold diverge, or one cannot be trained.
    """
    population = repeated(Loss.stack([loss]), len(seeds))
    jobs = [
        Job(fold.task, population, tuple(seeds), recipe, backend, _nothing, watch=partial(_Asked, fold.inputs))
        for fold in folds
    ]
    shares = [0.0] * len(jobs)

    def progress(number: int, share: float) -> None:
        shares[number] = share
        report(sum(shares) / len(shares))

    total = sum(len(fold.rows) for fold in folds)
    mean, last = (np.full((total, folds[0].task.classes), np.nan) for _ in range(2))
    diverged = 0
    for fold, outcome in zip(folds, executor.run(jobs, progress), strict=True):
        found: Beliefs = outcome.watched
        if found.diverged == len(seeds):
            raise InputError(
                "all networks that were to judge some of the labels have diverged; give a lower learning rate (--lr), "
                "or clip gradients (--clip 1)"
            )
        rows = fold.rows.numpy()
        mean[rows], last[rows] = found.mean, found.last
        diverged += found.diverged
    return Beliefs(mean, last, diverged)


def _nothing(_: Trained, __: Callable[[float], None]) -> None:
    """What is wanted is seen during the training."""


class _Asked:
    """Asks networks about samples after each epoch."""

    def __init__(self, inputs: Tensor) -> None:
        self.inputs = inputs
        self.sums: dict[int, Tensor] = {}
        self.last: dict[int, Tensor] = {}
        self.epochs: dict[int, int] = {}

    def observe(self, members: list[int], epoch: int, networks: Networks) -> None:
        """Ask some networks after an epoch; what they believe before the first one is forgotten."""
        outputs = torch.softmax(networks.logits(self.inputs).double(), -1).cpu()
        for member, mine in zip(members, outputs, strict=True):
            self.sums[member] = torch.zeros_like(mine) if epoch == 0 else self.sums[member] + mine
            self.epochs[member], self.last[member] = epoch, mine

    def result(self) -> Beliefs:
        """The averages over the networks that did not diverge."""
        sound = [member for member in sorted(self.sums) if bool(self.sums[member].isfinite().all())]
        if not sound:
            nothing = np.full(tuple(next(iter(self.sums.values())).shape), np.nan)
            return Beliefs(nothing, nothing, len(self.sums))
        means = torch.stack([self.sums[member] / self.epochs[member] for member in sound]).mean(0)
        last = torch.stack([self.last[member] for member in sound]).mean(0)
        return Beliefs(means.numpy(), last.numpy(), len(self.sums) - len(sound))
