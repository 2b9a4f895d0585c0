"""Which labels of some data are probably wrong: folds, networks for each, and what they believe of the others."""

from __future__ import annotations

import csv
import io
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from lossmith.analysis import BASELINES, Beliefs, Fold, Suspects, believed, suspects
from lossmith.data import Folds, Source, folded, open_source
from lossmith.errors import InputError, brief
from lossmith.losses import Loss, find_all
from lossmith.seeds import derive
from lossmith.study.budget import Budget, amount_text, time_text
from lossmith.study.clock import Clock
from lossmith.study.config import EvolveSettings, check_effect
from lossmith.study.estimates import beyond
from lossmith.study.problem import Problem
from lossmith.study.words import suspicion_text
from lossmith.training import Backend, Executor, Local, Recipe, Trainer, choose_backend, repeated, step_seconds

LOG = logging.getLogger("lossmith")
SIZES = ("train_size", "validation_size", "test_size")
COLUMNS = ("index", "given", "suggested", "score")
SUSPECT_FOLDS, SUSPECT_NETWORKS = 5, 4
MOST_FOLDS, MOST_NETWORKS = 100, 1000
Model = Callable[..., nn.Module]
Report = Callable[[float], None]


@dataclass(frozen=True)
class Suspicion:
    """The suspects of some data, and what stands behind them; printed, it is a few sentences.

    Args:
        suspects: Every label, the most suspicious first.
        beliefs: What networks believe, in the order of the rows.
        folds: Data, labels and folds.
        networks: How many networks judged each label.
        loss: What they were trained with.
        backend: How they were run.
        seconds: How long all of it took.
    """

    suspects: Suspects
    beliefs: Beliefs
    folds: Folds
    networks: int
    loss: Loss
    backend: Backend
    seconds: float

    def __repr__(self) -> str:
        """What was found, in words, with the first rows."""
        return suspicion_text(self)

    @property
    def names(self) -> list[str]:
        """What the classes are called: their names in the data, or their numbers."""
        source = self.folds.source
        return list(source.class_names or map(str, range(source.classes)))

    def rows(self) -> list[tuple[int, str, str, float]]:
        """Row, label, suggested class and score of every label, the most suspicious first."""
        found, names = self.suspects, self.names
        columns = (found.index.tolist(), found.given.tolist(), found.suggested.tolist(), found.score.tolist())
        return [(index, names[given], names[other], score) for index, given, other, score in zip(*columns, strict=True)]

    def to_csv(self) -> bytes:
        """The rows as a table with the columns ``index, given, suggested, score``."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((index, given, other, f"{score:.6f}") for index, given, other, score in self.rows())
        return text.getvalue().encode()

    def to_json(self) -> dict[str, Any]:
        """What was done, and what came out, without the rows."""
        found, wrong = self.suspects, self.suspects.wrong
        return {
            "data": self.folds.source.name,
            "labels": len(found),
            "classes": self.names,
            "folds": len(self.folds.held),
            "networks": self.networks,
            "diverged": self.beliefs.diverged,
            "loss": self.loss.to_json(),
            "training": str(self.backend),
            "differing": found.differing,
            "wrong": None if wrong is None else int(wrong.sum()),
            "average_precision": found.average_precision,
            "seconds": self.seconds,
        }


def usual_loss(classes: int) -> Loss:
    """What networks that judge labels are trained with, if nobody says otherwise: a loss that resists wrong labels."""
    return BASELINES["label smoothing + Σh²"].build((0.5, 2.0), classes)


def _chosen(loss: str | Loss | None, classes: int) -> Loss:
    if loss is None:
        return usual_loss(classes)
    if not isinstance(loss, str | Loss):
        raise InputError(f"loss is {brief(loss)}; give a loss, or the name or file of one")
    return find_all([loss], classes)[0] if isinstance(loss, str) else loss


def find_suspects(
    settings: EvolveSettings,
    source: Source | None = None,
    *,
    loss: str | Loss | None = None,
    folds: int = SUSPECT_FOLDS,
    networks: int = SUSPECT_NETWORKS,
    seed: int = 0,
    executor: Executor | None = None,
    time_limit: float | None = None,
    model: Model | None = None,
    report: Report = lambda _: None,
    started: float | None = None,
) -> Suspicion:
    """Judge each label by networks that did not learn from its sample.

    The same settings and seed give the same figures, bit for bit, on one machine and with one number of threads.

    Args:
        settings: Data, network and recipe; of the data no sizes, since every sample is judged.
        source: The data, if it is not what ``settings.data.source`` names.
        loss: What networks are trained with.
        folds: In how many parts the data is cut.
        networks: How many networks judge each label; fewer, if the time limit asks for it.
        seed: Of initial weights and batches.
        executor: Runs the trainings; this process without it.
        time_limit: Seconds that it may be estimated to take; None for any.
        model: A class or function that gives the network, instead of what ``settings.model.name`` names.
        report: Called with the share of the trainings that is done.
        started: The moment from which the time counts, of ``time.perf_counter``; now without it.

    Raises:
        InputError: if something cannot be used, or one network for each fold takes longer than the time limit.
    """
    clock = Clock(Budget({}, 0.0), time_limit, time.perf_counter() if started is None else started)
    check_suspects(settings, folds, networks)
    parts = folded(open_source(source or settings.data.source, settings.data), settings.data, folds)
    tasks = [judged_fold(parts, number, settings, model) for number in range(folds)]
    classes, runs = tasks[0].task.classes, executor or Local()
    chosen = _chosen(loss, classes)
    trainer = runs.trainer(tasks[0].task)
    backend, clock.budget = _planned(chosen, trainer, settings, seed, folds, networks, runs.workers)
    networks = _fitting(clock, networks)
    LOG.info(
        "suspects trains %s networks, %d for each of %d folds: about %s of training",
        amount_text(clock.budget.trainings),
        networks,
        folds,
        time_text(clock.budget.total),
    )
    seeds = [derive(seed, "networks", number) for number in range(networks)]
    beliefs = believed(tasks, chosen, seeds, settings.recipe, backend, runs, report)
    found = suspects(beliefs.mean, parts.labels.numpy(), None if parts.wrong is None else parts.wrong.numpy())
    return Suspicion(found, beliefs, parts, networks, chosen, backend, clock.elapsed)


def check_suspects(settings: EvolveSettings, folds: int, networks: int) -> None:
    """See before anything is read that labels can be judged so.

    Raises:
        InputError: if a number cannot be used, or the recipe asks for what looks at the labels that are judged.
    """
    for name in SIZES:
        if getattr(settings.data, name) is not None:
            raise InputError(f"{name} has no effect here, where every row is judged; leave it out")
    check_folds(settings, folds, networks)


def check_folds(settings: EvolveSettings, folds: int, networks: int) -> None:
    """See that networks can judge what they did not learn from.

    Raises:
        InputError: if a number cannot be used, or the recipe asks for what looks at the labels that are judged.
    """
    for name, value, least, most in (
        ("folds", folds, 2, MOST_FOLDS),
        ("networks", networks, 1, MOST_NETWORKS),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise InputError(f"{name} is {brief(value)}; give a whole number from {least} to {most}")
    check_effect(settings)
    if settings.recipe.patience is not None:
        raise InputError(
            "early stopping (patience) would look at the labels that are judged: leave it out, and give fewer epochs"
        )


def check_table(path: Path) -> None:
    """See before long work that a table can be written.

    Raises:
        InputError: if its folder is not there or read-only, or something else is in its place.
    """
    if not path.parent.is_dir():
        raise InputError(f"{path.parent} is no directory, so the table has no place; make it first")
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is there already and no file, so the table has no place; give another --out")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"{path.parent} is read-only, so the table has no place; give another --out")


def judged_fold(parts: Folds, number: int, settings: EvolveSettings, model: Model | None) -> Fold:
    """What the networks of a fold learn from and judge, on the device that trains."""
    nothing = {"label_noise": 0.0, "noise": "symmetric", "split": "random", "groups": None}
    data = settings.data.model_copy(update=nothing)
    quiet = _once if number else None
    if quiet is not None:
        LOG.addFilter(quiet)
    try:
        problem = Problem.open(settings.model_copy(update={"data": data}), parts.apart(number), model=model)
    finally:
        if quiet is not None:
            LOG.removeFilter(quiet)
    return Fold(replace(problem.task, held_out=None), problem.validation[0], parts.held[number])


def _once(_: logging.LogRecord) -> bool:
    """Let nothing through: what is to be told of the first fold is told of no other."""
    return False


def _planned(
    loss: Loss,
    trainer: Trainer,
    settings: EvolveSettings,
    seed: int,
    folds: int,
    networks: int,
    workers: int,
) -> tuple[Backend, Budget]:
    """How networks are run, and what all of them take."""
    recipe, training = settings.recipe, settings.run.training
    seeds: Sequence[int] = [derive(seed, "networks", number) for number in range(networks)]
    population = repeated(Loss.stack([loss]), networks)
    training = settled(training, trainer, recipe)
    steps = recipe.total_steps(len(trainer.task.inputs))
    backend = choose_backend(training, trainer, population, seeds, recipe, folds * steps)
    step = step_seconds(backend, trainer, population, seeds, recipe)
    return backend, Budget({"training": float(folds * networks)}, step * steps / workers)


def settled(training: str, trainer: Trainer, recipe: Recipe) -> str:
    """How networks are run without a measurement: what is fastest changes from time to time, and rounding with it."""
    if training != "auto":
        return training
    return "mlp" if trainer.refusal("mlp", recipe) is None else "sequential"


def _fitting(clock: Clock, networks: int) -> int:
    """How many networks for each fold the time limit allows; the clock's budget is theirs then.

    Raises:
        InputError: if it allows none.
    """
    if clock.limit is None:
        return networks
    one, left = clock.budget.total / networks, clock.limit - clock.elapsed
    allowed = min(networks, int(left / one))
    if allowed < networks:
        least = replace(clock.budget, stages={"training": clock.budget.trainings / networks})
        if allowed < 1:
            raise beyond(clock.limit, "one network for each fold", least, "--epochs")
        LOG.warning("the time limit allows %d networks for each fold, not %d", allowed, networks)
        clock.budget = replace(least, stages={"training": allowed * least.trainings})
    return allowed
