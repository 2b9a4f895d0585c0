"""What known losses gain over cross-entropy on validation data, each tuned alike."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import scipy
from numpy.typing import NDArray

from lossmith.analysis.baselines import Family, find_baselines, named_family
from lossmith.analysis.curves import CurveTuning, tuned_recipe
from lossmith.analysis.jobs import Part, each_loss, results_of
from lossmith.analysis.records import Chunks, Plan, Report, Samples, Tuned
from lossmith.analysis.tuning import Axis
from lossmith.metrics import finite
from lossmith.seeds import derive
from lossmith.training import Executor, Task, Trained

WIDTH = 1.96
# Cross-entropy, and what resists wrong labels: tuned, and the loss that ships, which is told their share.
PROBED = ("cross-entropy", "label-smoothing", "label smoothing + Σh²", "gce", "nce-rce")
NOISE_ROBUST = "noise-robust"


@dataclass(frozen=True)
class Gain:
    """What a tuned loss has on validation data, and how much more than cross-entropy.

    Args:
        tuned: The loss at its setting, chosen by networks of other seeds.
        values: The deciding figure of each fresh network, ``[S]``; NaN where one has none.
        gain: The mean of the differences to cross-entropy's network of the same seed, better ones positive; NaN where a
            network has no figure.
        low: Lower end of its 95 % t interval, paired by seed.
        high: Upper end.
        error: The gain's standard error from the choice of validation samples, all of which both losses are measured
            on: that of the mean over samples of how many more of its networks are right; of accuracy only.
    """

    tuned: Tuned
    values: tuple[float, ...]
    gain: float
    low: float
    high: float
    error: float

    @property
    def least(self) -> float:
        """The least gain that is not noise: 1.96 standard errors, from seeds and samples together."""
        return WIDTH * math.hypot((self.high - self.low) / 2 / _quantile(len(self.values)), self.error)

    @property
    def mean(self) -> float:
        """The mean of the figures."""
        return float(np.mean(self.values))

    @property
    def spread(self) -> float:
        """Their sample standard deviation."""
        return float(np.std(self.values, ddof=1))

    @property
    def typed(self) -> tuple[str, bool]:
        """The loss as :func:`lossmith.find` takes it, and whether that must be told the number of classes."""
        family = self.tuned.family
        assert family.entry is not None
        strengths = family.strengths(self.tuned.place)
        return ":".join([family.named, *(f"{value:.6g}" for value in strengths)]), family.entry.by_classes


def _quantile(count: int) -> float:
    return float(scipy.stats.t.ppf(0.975, count - 1))


def probed_families(wrong: float) -> list[Family]:
    """The losses that are probed, cross-entropy first, each with every second of its strengths to begin with.

    Args:
        wrong: The share of wrong labels that the loss ``noise-robust`` is told, which is not tuned.
    """
    tuned = [
        replace(family, axes=tuple(replace(axis, stride=2) for axis in family.axes))
        for family in find_baselines(PROBED)
    ]
    told = Axis("r", lambda _: wrong, 0, 0, 0, 0)
    return [*tuned, named_family(NOISE_ROBUST, NOISE_ROBUST, told)]


def paired(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, float]:
    """The mean of first less second, pair by pair, and its 95 % t interval; without any spread that is the mean.

    Args:
        first: Figures ``[S]``.
        second: Those that they are compared with, ``[S]``.
    """
    difference = np.subtract(first, second)
    mean, error = float(difference.mean()), float(scipy.stats.sem(difference))
    half = _quantile(len(difference)) * error
    return mean, mean - half, mean + half


def known_gains(
    task: Task,
    validation: Samples,
    families: Sequence[Family],
    plan: Plan,
    executor: Executor,
    report: Report = lambda *_: None,
) -> list[Gain]:
    """Tune losses as a comparison does, and measure fresh networks of each on the validation data; no test data.

    Args:
        task: What is trained on what.
        validation: Inputs and class indices.
        families: The losses, cross-entropy first.
        plan: How.
        executor: Runs the trainings.
        report: Called with the phase and the share of it that is done.
    """
    chunks = Chunks()
    tuned = CurveTuning(task, validation, families, plan, executor, chunks, report).tune()
    seeds = [derive(plan.seed, "comparison", "probe", number) for number in range(plan.seeds)]
    parts = [_part(task, validation, one, plan, seeds) for one in tuned]
    figures = results_of(parts, executor, chunks, partial(report, "final networks"))
    sign, (plain, plainly_right), found = plan.deciding.sign, figures[0], list[Gain]()
    for one, (values, right) in zip(tuned, figures, strict=True):
        difference = paired(values, plain) if all(map(math.isfinite, (*values, *plain))) else (math.nan,) * 3
        error = float(scipy.stats.sem(right - plainly_right)) if plan.deciding.objective is None else 0.0
        found.append(Gain(one, tuple(sign * value for value in values), *difference, error))
    return found


def best_gain(gains: Sequence[Gain], sign: float = 1.0) -> Gain:
    """The loss that is best by the tuning, whose networks are not those that the gain is measured of."""

    def height(one: Gain) -> float:
        chosen = one.tuned.validation
        return -math.inf if chosen is None or not math.isfinite(one.gain) else sign * chosen

    return max(gains, key=height)


def _part(task: Task, validation: Samples, tuned: Tuned, plan: Plan, seeds: list[int]) -> Part:
    """The job that trains fresh networks of a tuned loss."""
    loss, recipe = tuned.loss(task.classes), tuned_recipe(plan, tuned.lr, tuned.epochs)
    figure = None if plan.deciding.objective is None else plan.deciding.fitness
    judge = plan.deciding.judge(recipe)
    measure = partial(_measured, validation)
    way = (recipe, plan.backend, measure, validation, tuned.stop, figure)
    key = json.dumps({"probe": tuned.family.name})
    return Part(key, each_loss(task, [loss], seeds, *way, judge=judge), float(tuned.stop))


def _measured(
    validation: Samples, trained: Trained, _: Callable[[float], None]
) -> tuple[list[float], NDArray[np.float64]]:
    """The fitness of each network after its last epoch, ``[S]``, and which share of them is right of each sample."""
    assert trained.curve is not None
    values: list[float] = trained.curve[:, -1].tolist()
    logits = trained.networks.logits(validation[0])
    right = (logits.argmax(-1) == validation[1]) & finite(logits)[:, None]
    return values, right.double().mean(0).cpu().numpy()
