"""A study of the user's own training function: how its losses are trained, and what it is told."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from lossmith.errors import InputError, brief
from lossmith.losses import Loss, cross_entropy
from lossmith.schema import Document, conforming
from lossmith.seeds import derive
from lossmith.study.chunks import Chunk, Measured
from lossmith.study.function_settings import FunctionSettings
from lossmith.study.pareto import PRUNED
from lossmith.study.records import FITNESS
from lossmith.study.rows import REMEDY
from lossmith.study.store import Store
from lossmith.study.trials import MedianRule, TrainFunction, Trial, Trials
from lossmith.training import Call, Executor

RECORDS = "trials"
# So many losses that fail with one message, and none that does not, are no accident of a loss.
MOST_ALIKE = 3
LOG = logging.getLogger("lossmith")


class Kept(Document):
    """What a study keeps of the trainings of a loss besides their scores."""

    curves: list[list[Annotated[list[float], Field(min_length=2, max_length=2)]]]
    traces: list[str | None]


class TrainingError(Exception):
    """What a training function raised, wherever it ran, with its traceback."""

    def __str__(self) -> str:
        """The traceback."""
        return f"\n{self.args[0]}"


class FunctionTraining:
    """A :class:`~lossmith.study.trainings.Training` by the user's function.

    Args:
        function: The function.
        store: Where tracebacks and reports are kept.
        prune: Whether hopeless trainings of the search are stopped.
    """

    is_swept = False

    def __init__(self, function: TrainFunction, store: Store, prune: bool = False) -> None:
        self.function, self.store, self.prune = function, store, prune
        self._rule: MedianRule | None = None
        self._known: dict[str, Kept] = {}
        self._alike: tuple[str, int] | None = ("", 0)

    @property
    def lr(self) -> float | None:
        """That which the function begins from."""
        return self.function.lr

    def size(self, replicates: int) -> int:  # noqa: ARG002
        """One: each loss is a job of its own."""
        return 1

    def prepare(self, generation: int) -> None:
        """Take the median of all earlier generations, and of no other one: a resumed study stops the same trainings."""
        if not self.prune:
            return
        rows = [row for row in self.store.candidates() if row["generation"] < generation and row["status"] == "ok"]
        curves = [curve for row in rows for curve in self._kept(f"{row['generation']}.{row['member']}").curves]
        self._rule = MedianRule(tuple(tuple((at, score) for at, score in curve) for curve in curves if curve))

    def work(self, losses: Sequence[Loss], seeds: Sequence[int], lr: float | None, searching: bool) -> Call:
        """Calls of the function."""
        rule = self._rule if searching else None
        return Call(Trials(self.function, tuple(losses), tuple(seeds), lr, rule), "the training function")

    def measured(self, result: list[list[Trial]], chunk: Chunk, seconds: float) -> list[Measured]:
        """What came of each loss.

        Raises:
            InputError: if the function fails whatever the loss is.
        """
        if "generation" in chunk.label:
            (trials,), (member,) = result, chunk.label["members"]
            self._keep(f"{chunk.label['generation']}.{member}", trials)
        found = [_measured(trials, seconds / len(result), self.prune) for trials in result]
        for one, trials in zip(found, result, strict=True):
            self._tell(one, trials, chunk)
        return found

    def _keep(self, key: str, trials: Sequence[Trial]) -> None:
        kept = Kept(
            curves=[[list(pair) for pair in trial.curve] for trial in trials], traces=[trial.trace for trial in trials]
        )
        if (any(kept.curves) or any(kept.traces)) and self.store.record(RECORDS, key) is None:
            self.store.add_record(RECORDS, key, kept.model_dump(mode="json"), 0.0)

    def _kept(self, key: str) -> Kept:
        if key not in self._known:
            document = self.store.record(RECORDS, key) or {"curves": [], "traces": []}
            what = f"{self.store.path} (what it holds of the trainings of candidate {key})"
            self._known[key] = conforming(Kept, document, what, REMEDY)
        return self._known[key]

    def _tell(self, one: Measured, trials: Sequence[Trial], chunk: Chunk) -> None:
        """Say that a training failed, but those of candidates, of which the search tells.

        Raises:
            InputError: if three losses have failed with one message, and none has not.
        """
        if one.error is None:
            self._alike = None
            return
        if "generation" in chunk.label:
            return
        LOG.warning("a training with %s failed (%s): it ranks last", brief(str(chunk.losses[0])), one.error)
        if self._alike is None:
            return
        message, count = self._alike
        self._alike = (one.error, count + 1 if message == one.error else 1)
        if self._alike[1] == MOST_ALIKE:
            trace = next(trial.trace for trial in trials if trial.error is not None)
            raise InputError(
                f"the training function {self.function.name} fails with every loss ({one.error}); mend it and run the "
                "same again: what is stored is kept"
            ) from TrainingError(trace)


def _measured(trials: Sequence[Trial], seconds: float, prune: bool) -> Measured:
    names = dict.fromkeys((FITNESS, *(name for trial in trials for name in trial.scores)))
    figures = {name: [finite_or_none(trial.scores.get(name)) for trial in trials] for name in names}
    if prune:
        figures[PRUNED] = [float(trial.pruned) for trial in trials]
    error = next((trial.error for trial in trials if trial.error is not None), None)
    pruned = any(trial.pruned for trial in trials)
    return Measured(figures, None in figures[FITNESS], seconds, error, pruned)


def finite_or_none(value: float | None) -> float | None:
    """A number; None for one that is not finite."""
    return value if value is not None and abs(value) < float("inf") else None


def measured_seconds(training: FunctionTraining, settings: FunctionSettings, executor: Executor) -> float:
    """Seconds that a training takes, where all workers are at work: as stored, or measured now with cross-entropy.

    What a search has trained says it, too, so that nothing is trained for it alone.

    Raises:
        InputError: if that fails.
    """
    stored: float | None = training.store.setting("training seconds")
    trained = [row["seconds"] for row in training.store.candidates() if row["status"] == "ok"]
    if stored is None and trained:
        stored = float(np.median(trained)) / settings.run.replicates
    if stored is None:
        seeds = [derive(settings.search.seed, "measuring", 0)]
        outcome = next(executor.run([training.work([cross_entropy()], seeds, None, searching=False)]))
        ((trial,),) = outcome.result
        if trial.error is not None:
            raise InputError(
                f"the training function {training.function.name} fails with cross-entropy ({trial.error}); mend it and "
                "run the same again"
            ) from TrainingError(trial.trace)
        stored = float(outcome.seconds)
        training.store.set("training seconds", stored)
    return stored / executor.workers
