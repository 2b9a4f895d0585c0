"""A comparison by one's own training function: known losses and the winner, tuned alike, with fresh seeds."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import Field

from lossmith.analysis import Comparison, Deciding, Family, Row, concluded, find_baselines, fixed
from lossmith.errors import InputError
from lossmith.io import write_json
from lossmith.losses import Loss
from lossmith.metrics import METRICS
from lossmith.schema import Document, conforming
from lossmith.seeds import derive
from lossmith.study.budget import Budget, OneClock, function_comparison_budget, parsed_time
from lossmith.study.chunks import Chunk, Measured
from lossmith.study.estimates import beyond
from lossmith.study.finalists import Entry
from lossmith.study.function import FunctionTraining, finite_or_none, measured_seconds
from lossmith.study.function_settings import FunctionSettings
from lossmith.study.records import FITNESS
from lossmith.study.rows import REMEDY, damaged
from lossmith.study.store import Store
from lossmith.study.trials import Curve, TrainFunction, Trial
from lossmith.study.tuning import FitnessTuning
from lossmith.training import Executor, running

RECORDS = "function comparison"
# What is kept of the reports of a training.
MOST_REPORTS = 200
# How its phases begin, with their stage of the budget and their part of that.
PHASES = {"tuning": ("tuning", 0.0, 1.0), "fresh": ("final", 0.0, 1.0)}
LOG = logging.getLogger("lossmith")
Report = Callable[[str, float], None]


class KeptRun(Document):
    """What is kept of one training."""

    validation: float | None
    test: float | None
    error: str | None
    # Studies of older versions have none.
    curve: list[Annotated[list[float], Field(min_length=2, max_length=2)]] = Field(default_factory=list)


def compare_by_function(
    losses: Mapping[str, Loss],
    function: TrainFunction,
    settings: FunctionSettings,
    directory: Path,
    *,
    baselines: Sequence[str] | None = None,
    seeds: int = 5,
    executor: Executor | str | None = None,
    report: Report = lambda *_: None,
    time_limit: float | str | None = None,
) -> Comparison:
    """Compare losses with known ones by one's own training function, and keep the raw runs in the study's directory.

    Every loss is tuned alike on validation scores, its strengths and the learning rate, where the function takes one;
    then each is trained with fresh seeds, and tested on test scores, or, where the function gives none, on validation
    scores, which is said. A loss of which a training failed has no test, and ranks last.

    Args:
        losses: The losses to be compared, by the names that tables give them.
        function: The training function.
        settings: Those of the study.
        directory: The study's directory.
        baselines: The known losses, by name; without it those that the study had to beat.
        seeds: Fresh trainings of each loss.
        executor: Runs the trainings; this process without it.
        report: Called with the phase and the share of the whole that is done.
        time_limit: How long it may be estimated to take, in seconds or as ``"30m"``; what takes longer is not begun.

    Raises:
        InputError: if an input cannot be used, it takes longer than the time limit, or the function fails whatever the
            loss is.
    """
    if not isinstance(seeds, int) or seeds < 2:
        raise InputError(f"seeds is {seeds!r}; give a whole number, 2 or more, which a test needs")
    limit = None if time_limit is None else parsed_time(time_limit)
    rivals = find_baselines(settings.run.baselines if baselines is None else baselines)
    taken = next((family.name for family in rivals if family.name in losses), None)
    if taken is not None:
        raise InputError(f"a baseline of the comparison is called {taken!r}, too; give your loss a name of its own")
    families = [*rivals, *(fixed(name, loss) for name, loss in losses.items())]
    with Store(directory) as store, running(executor) as runs:
        training = FunctionTraining(function, store)
        whole = _tell_budget(training, settings, families, seeds, runs, limit)
        report = OneClock(whole, report, PHASES)
        chosen = _tuned(training, settings, families, seeds, runs, report)
        found = _judged(training, settings, chosen, seeds, runs, report)
    tested = any(run["test"] is not None for rows in found for run in rows)
    deciding = _deciding(function)
    rows = [
        _row(family, entry, function.sign, _figures(kept, deciding, tested, function.sign))
        for family, entry, kept in zip(families, chosen, found, strict=True)
    ]
    named = concluded(rows, deciding)
    result = Comparison(
        named.rows, named.pairs, named.best_baseline, deciding, tested_on="test" if tested else "validation"
    )
    _tell(result, function)
    document = {"settings": settings.model_dump(mode="json"), "options": {"seeds": seeds}, **result.to_json()}
    write_json(document, directory / "comparison.json")
    return result


def _counts(settings: FunctionSettings, seeds: int) -> tuple[int, int]:
    """Trainings of each place that tuning tries, and of the best two with fresh seeds."""
    return settings.run.replicates, max(2, (seeds + 1) // 2)


def _tell_budget(
    training: FunctionTraining,
    settings: FunctionSettings,
    families: Sequence[Family],
    seeds: int,
    executor: Executor,
    limit: float | None,
) -> Budget:
    """Say what will be trained, and how long that takes.

    Raises:
        InputError: if that is longer than the time limit.
    """
    seconds = measured_seconds(training, settings, executor)
    rated = training.lr is not None
    budget = function_comparison_budget(families, *_counts(settings, seeds), seeds, rated, seconds)
    if limit is not None and budget.total > limit:
        raise beyond(limit, "the comparison", budget)
    LOG.info("the comparison takes %s; what is stored of it is not trained again", budget.sentence())
    return budget


def _tuned(
    training: FunctionTraining,
    settings: FunctionSettings,
    families: Sequence[Family],
    seeds: int,
    executor: Executor,
    report: Report,
) -> list[Entry]:
    """Each loss at its best strengths and rate."""

    def train(
        phase: str, chunks: Sequence[Chunk], own: Sequence[int], shown: Callable[[float], float]
    ) -> Iterator[tuple[int, list[Measured]]]:
        missing = [number for number, chunk in enumerate(chunks) if chunk.missing]
        work = [training.work(chunks[number].losses, own, chunks[number].lr, searching=False) for number in missing]
        said = _shares(len(work), lambda done: report(f"tuning: {phase}", shown(done)))
        for number, outcome in zip(missing, executor.run(work, said), strict=True):
            yield number, training.measured(outcome.result, chunks[number], outcome.seconds)

    def own(purpose: str, count: int) -> list[int]:
        return _seeds(settings, f"tuning {purpose}", count)

    first, fresh = _counts(settings, seeds)
    size, records = partial(FunctionTraining.size, training), _records(training.function, "comparison tuning")
    tuning = FitnessTuning(training.store, settings.classes, train, size, own, first, fresh, records)
    return tuning.known(families, training.lr)


def _judged(
    training: FunctionTraining,
    settings: FunctionSettings,
    entries: Sequence[Entry],
    count: int,
    executor: Executor,
    report: Report,
) -> list[list[dict[str, Any]]]:
    """What fresh trainings of each loss gave; the function is called for what is not kept."""
    seeds, store = _seeds(settings, "final", count), training.store
    keys = [_final(entry.loss, entry.lr, seeds) for entry in entries]
    records = _records(training.function, RECORDS)
    known = {key: store.record(records, key) for key in keys}
    # Two that are one loss are trained once.
    missing = [number for number, key in enumerate(keys) if known[key] is None and keys.index(key) == number]
    work = [training.work([entries[number].loss], seeds, entries[number].lr, searching=False) for number in missing]
    said = _shares(len(work), lambda done: report("fresh trainings", done))
    for number, outcome in zip(missing, executor.run(work, said), strict=True):
        (trials,) = outcome.result
        known[keys[number]] = [_kept(trial) for trial in trials]
        store.add_record(records, keys[number], known[keys[number]], outcome.seconds)
    what = f"{store.path} (what it holds of the comparison)"
    for kept in known.values():
        if len(conforming(list[KeptRun], kept, what, REMEDY)) != count:
            raise damaged(store.path, "what it holds of the comparison is of other seeds")
    return [
        [{"seed": seed, **run} for seed, run in zip(seeds, cast(list[dict[str, Any]], known[key]), strict=True)]
        for key in keys
    ]


def reported_curves(store: Store, comparison: Comparison) -> list[list[Curve]]:
    """What the final trainings of each loss of a comparison reported; a training that reported nothing is left out.

    Args:
        store: Of the study.
        comparison: That it holds.

    Raises:
        InputError: if what is kept of a training is damaged.
    """
    analyses = [name for name in store.analyses() if name.startswith(f"{RECORDS} ")]
    what, found = f"{store.path} (what it holds of the comparison)", list[list[Curve]]()
    for row in comparison.rows:
        key = _final(Loss.from_json(row.loss), row.lr, [run.get("seed") for run in row.runs])
        kept = [one for name in analyses if (one := store.record(name, key)) is not None]
        runs = conforming(list[KeptRun], kept[-1], what, REMEDY) if kept else []
        found.append([tuple((at, score) for at, score in run.curve) for run in runs if run.curve])
    return found


def _final(loss: Loss, lr: float | None, seeds: Sequence[Any]) -> str:
    """What the final trainings of a loss are kept as."""
    return json.dumps({"final": loss.key(), "lr": lr, "seeds": seeds})


def _records(function: TrainFunction, what: str) -> str:
    """What trainings of a function are kept under: those of other settings or another metric are others."""
    document = json.dumps([function.name, function.metric, function.settings, function.lr], sort_keys=True)
    return f"{what} {hashlib.sha256(document.encode()).hexdigest()[:16]}"


def _kept(trial: Trial) -> dict[str, Any]:
    step = -(-len(trial.curve) // MOST_REPORTS) or 1
    # The last report is kept, whatever is left out.
    curve = [list(pair) for pair in trial.curve[::-step][::-1]]
    return {
        "validation": finite_or_none(trial.scores.get(FITNESS)),
        "test": finite_or_none(trial.test.get(FITNESS)),
        "error": trial.error,
        **({"curve": curve} if curve else {}),
    }


def _figures(runs: Sequence[Mapping[str, Any]], deciding: Deciding, tested: bool, sign: float) -> list[dict[str, Any]]:
    """Raw figures of the trainings of a loss, under the names of a comparison, in the units of the metric."""

    def figure(value: float | None) -> float | None:
        return None if value is None else sign * value

    return [
        {
            "seed": run["seed"],
            deciding.column("validation"): figure(run["validation"]),
            deciding.column("test"): figure(run["test" if tested else "validation"]),
            "error": run["error"],
        }
        for run in runs
    ]


def _row(family: Family, entry: Entry, sign: float, runs: list[dict[str, Any]]) -> Row:
    strengths = entry.name.removeprefix(family.name).removeprefix(", ")
    fitness = sign * entry.fitness if entry.fitness is not None and math.isfinite(entry.fitness) else None
    return Row(family.name, family.baseline, strengths, entry.lr, None, None, 0, fitness, entry.loss.to_json(), runs)


def _deciding(function: TrainFunction) -> Deciding:
    metric = function.metric
    known = METRICS[metric] if metric in METRICS and metric is not None else None
    return Deciding(
        metric or "score",
        higher_is_better=function.sign > 0,
        share=known is not None and known.share,
        key={"function": function.name},
    )


def _tell(result: Comparison, function: TrainFunction) -> None:
    if result.tested_on != "test":
        LOG.warning(
            "%s gives no scores on test data, so the comparison is of the validation scores that losses were chosen "
            "by: let it return (validation, test)",
            function.name,
        )
    for row in result.rows:
        if row.failed:
            errors = [run["error"] for run in row.runs if run["error"] is not None]
            LOG.warning("%d of %d trainings with %s failed (%s)", row.failed, len(row.runs), row.name, errors[0])


def _seeds(settings: FunctionSettings, purpose: str, count: int) -> list[int]:
    return [derive(settings.search.seed, "comparison", purpose, number) for number in range(count)]


def _shares(count: int, tell: Callable[[float], None]) -> Callable[[int, float], None]:
    """What turns the share of each of some jobs that is done into that of all."""
    shares = [0.0] * count

    def progress(number: int, share: float) -> None:
        shares[number] = share
        tell(sum(shares) / count)

    return progress
