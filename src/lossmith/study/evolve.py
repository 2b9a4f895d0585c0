"""The whole of a study: search, finalists, winner."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from lossmith.analysis import ACCURACY, UNNAMED, Deciding, Family, Objective, baselines, objective_name
from lossmith.code import is_code
from lossmith.data import Source, keep_source
from lossmith.errors import InputError
from lossmith.io import read_toml, write_json
from lossmith.losses import Loss, save
from lossmith.memory import amount
from lossmith.study.budget import parsed_time
from lossmith.study.clock import begun_clock, tuned_stages
from lossmith.study.config import EvolveSettings, with_data
from lossmith.study.estimates import comparison_time
from lossmith.study.finalists import Gain, candidate_name, winner
from lossmith.study.judged import traits_of
from lossmith.study.legacy import BEFORE, modernized
from lossmith.study.log import LOG_FILE, TrainingLog
from lossmith.study.pareto import FILE, mean_figure, pareto_document
from lossmith.study.places import KEPT_DATA
from lossmith.study.problem import Problem
from lossmith.study.provenance import data_line, data_of, provenance_document, tell_other_code, versions_of
from lossmith.study.runner import Runner
from lossmith.study.small import small_beginning, tell_start
from lossmith.study.study import Study
from lossmith.study.trainings import PopulationTraining
from lossmith.training import Executor, Judge, Local, check_memory, running

LOG = logging.getLogger("lossmith")


@dataclass(frozen=True)
class Progress:
    """Where a study stands; given to the caller after every chunk.

    Args:
        phase: ``"sweep"`` (finding the learning rate of the search), ``"known"`` (tuning known losses), ``"search"``,
            ``"rates"`` (tuning the learning rates of what it found), ``"final"`` (training the finalists again) or
            ``"done"``; without tuning, ``"smoothing"`` (tuning label smoothing) instead of the three of tuning.
        done: Share of the phase, 0 to 1.
        generation: Generations completed.
        generations: Generations in all.
        best: Highest fitness so far, or None.
        mean: Mean fitness of the last stored generation, or None.
        untrainable: Candidates that the invariant has rejected.
        diverged: Candidates that have diverged.
        candidates: Candidates stored.
        trainings: Networks trained for the search, in this process and before.
        failed: Candidates whose training raised an exception.
        pruned: Candidates whose training was stopped as hopeless.
        share: Share of the whole that is done, by what was estimated of it.
        by: The metric that fitness is.
    """

    phase: str
    done: float
    generation: int
    generations: int
    best: float | None
    mean: float | None
    candidates: int
    untrainable: int
    diverged: int
    trainings: int
    failed: int = 0
    pruned: int = 0
    share: float = 0.0
    by: Deciding = UNNAMED


@dataclass(frozen=True)
class Outcome:
    """What a study ends with.

    Args:
        loss: The winner.
        classes: Number of classes of the data.
        provenance: Where it came from, as in ``best.json``.
        seconds: Time of each part of the work in this process.
    """

    loss: Loss
    classes: int
    provenance: dict[str, Any]
    seconds: dict[str, float] = field(default_factory=dict)


def evolve(
    directory: str | os.PathLike[str],
    settings: EvolveSettings,
    source: Source | None = None,
    *,
    objective: Objective | None = None,
    executor: Executor | str | None = None,
    report: Callable[[Progress], None] | None = None,
    time_limit: float | str | None = None,
    model: Callable[..., nn.Module] | None = None,
    keep: bool = False,
) -> Outcome:
    """Find a loss for a network on data, train the finalists again, and write the winner to ``best.json``.

    Run again on the same directory, it goes on where it stopped; an ended study is left as it is.

    Args:
        directory: The study's directory.
        settings: Everything that decides the outcome.
        source: The data, if it is not what ``settings.data.source`` names.
        objective: Fitness ``[P]`` (higher is better) of trained networks on validation inputs and targets, or several
            figures by name with ``"fitness"`` among them, instead of what ``settings.objective`` says. Its name is
            stored, and a study goes on with an objective of the same name only.
        executor: Runs the trainings; this process without it. A name (``"processes"``) is started for this search; one
            that serves several is ``lossmith.training.executor("processes", workers)``. What is stored does not depend
            on it, but for rounding where this process trains with more threads than the one of a worker.
        report: Called with the progress.
        time_limit: How long it may take, in seconds or as ``"30m"``: the search ends where its finalists just fit. Run
            again, it goes on. What a search has found by then depends on how fast the machine is.
        model: A class or function that gives the network, whose name is that of ``settings.model.name``.
        keep: Whether the source is kept in the directory, so that the command line finds it, too.

    Raises:
        InputError: if an input cannot be used, with the directory left as it was.
    """
    began, limit = time.perf_counter(), None if time_limit is None else parsed_time(time_limit)
    if isinstance(source, str | os.PathLike):
        raise InputError(f"the source is {str(source)!r}; name data in the settings (data.source), or give a Source")
    if objective is not None and not callable(objective):
        raise InputError(
            f"the objective is {objective!r}; name one in the settings (objective.metric), or give a function"
        )
    if source is not None:
        settings = with_data(settings, source.name)
    settings = _as_begun(Path(directory), settings)
    opened = running(executor)
    problem = Problem.open(settings, source, objective, model)
    kept = source if keep else None
    if kept is not None:
        settings = with_data(settings, str((Path(directory) / KEPT_DATA).absolute()))
    with opened as runs:
        return evolve_problem(directory, settings, problem, objective, runs, report, None, limit, began, kept, model)


def _keep(source: Source, path: Path) -> None:
    """Write the data of a study to a file in its directory; how large it is, is told.

    Raises:
        InputError: if it cannot be written.
    """
    if not path.exists():
        size = keep_source(source, path)
        LOG.info("the data is kept in %s (%s), so that lossmith evolve and compare find it", path, amount(size))


def _as_begun(directory: Path, settings: EvolveSettings) -> EvolveSettings:
    """The settings as a study goes on with, where it was begun by a version that lacked some which nobody chose."""
    path = directory / "study.toml"
    if not path.exists():
        return settings
    written, usual = read_toml(path), EvolveSettings()
    modern = modernized(written)[0]
    for part, name in BEFORE:
        then, chosen = written.get(part), getattr(settings, part)
        if not isinstance(then, dict) or name in then or name not in modern[part]:
            continue
        value = modern[part][name]
        if getattr(chosen, name) == getattr(getattr(usual, part), name) != value:
            LOG.warning("the study in %s goes on with %s.%s = %s, as it was begun", directory, part, name, value)
            settings = settings.model_copy(update={part: chosen.model_copy(update={name: value})})
    return settings


def evolve_problem(
    directory: str | os.PathLike[str],
    settings: EvolveSettings,
    problem: Problem,
    objective: Objective | None = None,
    executor: Executor | None = None,
    report: Callable[[Progress], None] | None = None,
    known: Sequence[Family] | None = None,
    time_limit: float | None = None,
    started: float | None = None,
    kept: Source | None = None,
    model: Callable[..., nn.Module] | None = None,
) -> Outcome:
    """:func:`evolve` for a problem that was opened, with these settings but for search and run.

    Args:
        directory: The study's directory.
        settings: Everything that decides the outcome.
        problem: Data, network and objective.
        objective: The objective, if it is not that of the settings.
        executor: Runs the trainings; this process without it.
        report: Called with the progress.
        known: Losses that a search which tunes must beat; None stands for every baseline. A study keeps those that it
            began with.
        time_limit: How many seconds it may take.
        started: From which moment these count, of ``time.perf_counter``.
        kept: Data that the settings say is in the directory, where it is written if it is not there.
        model: A class or function that gives the network, if its name does not say it.

    Raises:
        InputError: if the directory cannot be used.
    """
    started = time.perf_counter() if started is None else started
    settings = _as_begun(Path(directory), settings)
    search, start = small_beginning(Path(directory), settings.search, settings.run, problem.classes)
    settings = settings.model_copy(update={"search": search})
    deciding = Deciding.of(settings.objective, objective)
    document = {**settings.model_dump(mode="json"), "digest": problem.digest}
    defaults = EvolveSettings().model_dump(mode="json")
    run, families = settings.run, baselines() if known is None else known
    finals = (run.finalists + 1 + len(families)) * run.finalist_seeds
    networks = min(run.chunk, max(settings.search.population * run.replicates, finals if run.tune else 0))
    check_memory(problem.task, settings.recipe, networks, settings.run.training)
    TrainingLog(Path(directory) / LOG_FILE).check()
    with Study(directory, problem.classes, search, start=start, document=document, defaults=defaults) as study:

        def tell(phase: str, done: float) -> None:
            if report is not None:
                counts = study.counts()
                # To ask for the generation is to ask for candidates, of which the first wait for what is tuned.
                generation = study.generation if counts["candidates"] else 0
                share = clock.budget.share(phase, done)
                report(Progress(phase, done, generation, study.search.generations, share=share, by=deciding, **counts))

        _agree_on(study, settings, objective, deciding)
        if kept is not None:
            _keep(kept, study.directory / KEPT_DATA)
        versions_of(study.store)
        tell_other_code(
            study.store,
            {"the network": model or settings.model.name, "the metric": objective or settings.objective.metric},
        )
        _describe(data_of(study.store, problem), settings.recipe.batch_size)
        tell_start(search, start)
        executor = executor or Local()
        judge = _judge_of(study, settings, problem, deciding)
        training = PopulationTraining(problem, settings, executor, study.store, judge)
        clock = begun_clock(study, run, families, training, training.training_seconds, run.partial, time_limit, started)
        if known is None and clock.budget.trainings >= 1:
            LOG.info(
                "comparing it afterwards takes about %s", comparison_time(problem, settings, training.training_seconds)
            )
        stages = tuned_stages(study, run, clock)
        runner = Runner(study, training, stages, executor, tell, families, clock)
        runner.search()
        loss, provenance = _conclude(study, problem, settings, deciding, runner.finals(), str(training.backend))
        runner.tell("done", 1.0)
        seconds = {"measuring": training.seconds, "training": runner.seconds, "all": time.perf_counter() - started}
        return Outcome(loss, problem.classes, provenance, seconds)


def _agree_on(study: Study, settings: EvolveSettings, objective: Objective | None, deciding: Deciding) -> None:
    """See that a study goes on with the objective it began with; a function from Python is known by its name.

    Raises:
        InputError: if it has another one.
    """
    name = None if objective is None else objective_name(objective)
    stored = study.store.setting("objective")
    if stored is None and not study.store.generations():
        own = is_code(settings.objective.metric) if objective is None else deciding.constant is not None
        # What is usual is not said, so that a study holds what it held before there was a choice.
        said = {**({"metric": traits_of(deciding)} if own else {}), **({"watched": True} if deciding.key else {})}
        study.store.set("objective", {"function": name, **said})
    elif stored is not None and stored["function"] != name:
        kept, wanted = (f"the function {one}" if one else "that of its settings" for one in (stored["function"], name))
        raise InputError(
            f"the study in {study.directory} was begun with another objective ({kept}, not {wanted}); go on with the "
            "same one, or choose another directory"
        )


def _judge_of(study: Study, settings: EvolveSettings, problem: Problem, deciding: Deciding) -> Judge | None:
    """What early stopping and pruning go by: the metric, or accuracy in a study of a version that knew no other."""
    pruned = None if settings.run.prune_at is None else problem.validation[1]
    judge = deciding.judge(settings.recipe, pruned, problem.classes)
    if judge is None or (study.store.setting("objective") or {}).get("watched"):
        return judge
    LOG.warning("early stopping and pruning go by accuracy, as they did where the study in %s began", study.directory)
    return None


def _describe(data: dict[str, Any], batch: int) -> None:
    LOG.info("%s", data_line(data))
    if batch > data["train"]:
        LOG.warning("a batch of %d is larger than the training part: it holds all %d samples", batch, data["train"])


def _conclude(
    study: Study,
    problem: Problem,
    settings: EvolveSettings,
    deciding: Deciding,
    finalists: list[dict[str, Any]],
    backend: str,
) -> tuple[Loss, dict[str, Any]]:
    """Write the winner, and the front of a study that recorded several figures."""
    loss, row = winner(finalists, settings.recipe.lr)
    gain = Gain.of(finalists, deciding)
    if gain is not None:
        (LOG.info if gain.is_clear else LOG.warning)("%s", gain.sentence)
    _warn_of_chance(row, problem, deciding)
    provenance = provenance_document(study.store, problem, settings, backend, row, finalists)
    provenance |= {"gain": None if gain is None else gain.to_json(), "metric": deciding.to_json()}
    pareto = pareto_document(study.candidates(), finalists, study.loss_of, provenance)
    if pareto is not None:
        write_json(pareto, study.directory / FILE)
    save(loss, study.directory / "best.json", provenance=provenance)
    return loss, provenance


def _warn_of_chance(row: Mapping[str, Any], problem: Problem, deciding: Deciding) -> None:
    """Say that the winner is no better than an answer that is always the same, where it is known what that gets.

    Args:
        row: Its stored result.
        problem: Whose validation samples it was measured on.
        deciding: What fitness is.
    """
    if deciding.constant is None:
        fitness, deciding = mean_figure(row, "accuracy"), ACCURACY
    else:
        fitness = mean_figure(row, "fitness")
    constant = deciding.best_constant(problem.validation[1], problem.classes)
    if fitness is None or constant is None or deciding.is_better(deciding.sign * fitness, constant.value):
        return
    LOG.warning(
        "the winner, %s, has a %s of %.4g, and %s gets %.4g: nothing was learned that this metric sees; look at the "
        "data, and begin another study with more epochs or another lr",
        candidate_name(row["name"], row["origin"]["kind"]),
        deciding.called,
        deciding.sign * fitness + 0.0,
        constant.text(problem.source.class_names),
        constant.value,
    )
