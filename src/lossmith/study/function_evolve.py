"""The whole of a study of one's own training function: known losses, search, finalists, winner."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lossmith.analysis import find_baselines
from lossmith.errors import InputError
from lossmith.losses import Loss, save
from lossmith.study.evolve import Outcome, Progress
from lossmith.study.finalists import Gain, winner
from lossmith.study.function import FunctionSettings, FunctionTraining
from lossmith.study.log import LOG_FILE, TrainingLog
from lossmith.study.provenance import finalists_of, spread, tuning_of, versions_of
from lossmith.study.runner import Runner
from lossmith.study.study import Study
from lossmith.study.trials import TrainFunction
from lossmith.training import Executor, running

LOG = logging.getLogger("lossmith")


def evolve_function(
    directory: str | os.PathLike[str],
    function: TrainFunction,
    settings: FunctionSettings,
    *,
    executor: Executor | str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Search a loss for one's own training function, train the finalists again, and write the winner to ``best.json``.

    The stages are those of :func:`lossmith.study.evolve`: known losses, tuned; the search; its best candidates, its
    mean and the known losses again, with fresh seeds. A training that raises ranks last, and its exception is kept. Run
    again on the same directory, it goes on where it stopped.

    Args:
        directory: The study's directory.
        function: The training function.
        settings: Everything else that decides the outcome.
        executor: Runs the trainings; this process without it. Of ``"processes"``, the function must be at the top of a
            module or script.
        report: Called with the progress.

    Raises:
        InputError: if an input cannot be used, the function gives no score, or it fails whatever the loss is.
    """
    document = settings.model_dump(mode="json")
    usual = FunctionSettings(classes=settings.classes, train=settings.train).model_dump(mode="json")
    started = time.perf_counter()
    TrainingLog(Path(directory) / LOG_FILE).check()
    with (
        Study(directory, settings.classes, settings.search, document=document, defaults=usual) as study,
        running(executor) as runs,
    ):

        def tell(phase: str, done: float) -> None:
            if report is not None:
                counts = study.counts()
                generation = study.generation if counts["candidates"] else 0
                report(Progress(phase, done, generation, study.search.generations, **counts))

        versions_of(study.store)
        training = FunctionTraining(function, study.store, settings.run.prune)
        known = find_baselines(settings.run.baselines)
        runner = Runner(study, training, settings.run, runs, tell, known)
        runner.search()
        loss, provenance = _conclude(study, settings, training.lr, runner.finals())
        runner.tell("done", 1.0)
        seconds = {"training": runner.seconds, "all": time.perf_counter() - started}
        return Outcome(loss, settings.classes, provenance, seconds)


def _conclude(
    study: Study, settings: FunctionSettings, lr: float | None, finalists: Sequence[Mapping[str, Any]]
) -> tuple[Loss, dict[str, Any]]:
    errors = [row["error"] for row in finalists if row["error"] is not None]
    if errors and len(errors) == len(finalists):
        raise InputError(
            f"every finalist failed ({errors[0]}); mend the training function and begin another study: what failed "
            "is kept in this one"
        )
    loss, row = winner(finalists, lr)
    gain = Gain.of(finalists)
    if gain is not None:
        (LOG.info if gain.is_clear else LOG.warning)("%s", gain.sentence)
    counts = study.store.counts()
    provenance = {
        "origin": row["origin"],
        "lr": row["origin"].get("lr", lr),
        "validation": spread(row["scores"]),
        "finalists": finalists_of(finalists, lr),
        "candidates": {name: counts[name] for name in ("candidates", "untrainable", "diverged", "failed", "trainings")},
        "tuning": tuning_of(study.store),
        "invariant": study.verdicts(),
        "function": settings.train.function,
        "settings": settings.model_dump(mode="json"),
        "versions": versions_of(study.store),
        "gain": None if gain is None else gain.to_json(),
    }
    save(loss, study.directory / "best.json", provenance=provenance)
    return loss, provenance
