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
from lossmith.study.budget import parsed_time
from lossmith.study.clock import begun_clock, tuned_stages
from lossmith.study.evolve import Outcome, Progress
from lossmith.study.finalists import Gain, winner
from lossmith.study.function import FunctionTraining, measured_seconds
from lossmith.study.function_settings import FunctionSettings
from lossmith.study.judged import judged_by
from lossmith.study.log import LOG_FILE, TrainingLog
from lossmith.study.provenance import finalists_of, spread, tell_other_code, tuning_of, versions_of
from lossmith.study.runner import Runner
from lossmith.study.small import small_beginning, tell_start
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
    time_limit: float | str | None = None,
) -> Outcome:
    """Find a loss for your own training function, train the finalists again, and write the winner to ``best.json``.

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
        time_limit: How long it may take, in seconds or as ``"8h"``: the search ends where its finalists just fit.

    Raises:
        InputError: if an input cannot be used, the function gives no score, or it fails whatever the loss is.
    """
    limit = None if time_limit is None else parsed_time(time_limit)
    search, start = small_beginning(Path(directory), settings.search, settings.run, settings.classes)
    settings = settings.model_copy(update={"search": search})
    document = settings.model_dump(mode="json")
    usual = FunctionSettings(classes=settings.classes, train=settings.train).model_dump(mode="json")
    started = time.perf_counter()
    TrainingLog(Path(directory) / LOG_FILE).check()
    with (
        Study(directory, settings.classes, search, start=start, document=document, defaults=usual) as study,
        running(executor) as runs,
    ):

        def tell(phase: str, done: float) -> None:
            if report is not None:
                counts = study.counts()
                generation = study.generation if counts["candidates"] else 0
                share = clock.budget.share(phase, done)
                by, generations = judged_by(study.store), study.search.generations
                report(Progress(phase, done, generation, generations, share=share, by=by, **counts))

        versions_of(study.store)
        tell_start(search, start)
        tell_other_code(study.store, {"the training function": function.function})
        training = FunctionTraining(function, study.store, settings.run.prune)
        known = find_baselines(settings.run.baselines)
        # Without a limit, the first training that counts says how long one takes.
        begun = study.store.generations() >= settings.search.generations
        measured = 0.0 if limit is None or begun else measured_seconds(training, settings, runs)
        clock = begun_clock(study, settings.run, known, training, measured, limit=limit, started=started)
        runner = Runner(study, training, tuned_stages(study, settings.run, clock), runs, tell, known, clock)
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
    gain = Gain.of(finalists, judged_by(study.store))
    if gain is not None:
        (LOG.info if gain.is_clear else LOG.warning)("%s", gain.sentence)
    counts = study.store.counts()
    provenance = {
        "origin": row["origin"],
        "lr": row["origin"].get("lr", lr),
        "validation": spread(row["scores"]),
        "finalists": finalists_of(finalists, lr),
        "candidates": {
            name: counts[name] for name in ("candidates", "untrainable", "diverged", "failed", "pruned", "trainings")
        },
        "tuning": tuning_of(study.store),
        "invariant": study.verdicts(),
        "function": settings.train.function,
        "settings": settings.model_dump(mode="json"),
        "versions": versions_of(study.store),
        "gain": None if gain is None else gain.to_json(),
        "metric": judged_by(study.store).to_json(),
    }
    save(loss, study.directory / "best.json", provenance=provenance)
    return loss, provenance
