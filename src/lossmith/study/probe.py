"""What some data is like before a search: how noisy its labels are, which known loss is best, and is more to be had."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import nn

from lossmith.analysis import (
    ACCURACY,
    Deciding,
    Family,
    Gain,
    Grid,
    Objective,
    Plan,
    WrongLabels,
    baselines,
    believed,
    best_gain,
    known_gains,
    probed_families,
    wrong_labels,
)
from lossmith.data import Source, folded, seen_samples
from lossmith.errors import InputError
from lossmith.losses import Loss
from lossmith.seeds import derive
from lossmith.study.budget import Budget, OneClock, comparison_budget, search_budget
from lossmith.study.comparison import known_problem
from lossmith.study.config import EvolveSettings
from lossmith.study.estimates import beyond, epochs_of
from lossmith.study.probed import NoiseFloor, Probe, Size
from lossmith.study.problem import Problem
from lossmith.study.suspects import SIZES, check_folds, judged_fold, settled, usual_loss
from lossmith.study.trainings import PopulationTraining
from lossmith.training import Backend, Executor, Local, check_memory, choose_backend, step_seconds

LOG = logging.getLogger("lossmith")
MOST_SEEDS = 1000
# What the loss "noise-robust" is told: the estimate, but no more than this, and its own default where there is none.
MOST_SHARE, USUAL_SHARE = 0.9, 0.4
SHRUNK = (1.0, 0.5, 0.25)
PHASES = {
    "labels": ("labels", 0.0, 1.0),
    "tuning beyond": ("tuning", 0.8, 1.0),
    "tuning": ("tuning", 0.0, 0.8),
    "the best settings": ("again", 0.0, 1.0),
    "final": ("final", 0.0, 1.0),
}


def probe_data(
    settings: EvolveSettings,
    source: Source | None = None,
    *,
    size: Size | None = None,
    seed: int = 0,
    executor: Executor | None = None,
    time_limit: float | None = None,
    model: Callable[..., nn.Module] | None = None,
    objective: Objective | None = None,
    report: Callable[[str, float], None] = lambda *_: None,
    started: float | None = None,
) -> Probe:
    """Estimate the wrong labels of what a search would see, and tune known losses on it; test data is not touched.

    The same settings and seed give the same figures on one machine and with one number of threads.

    Args:
        settings: Data, network, recipe and objective.
        source: The data, if it is not what ``settings.data.source`` names.
        size: How much is trained; less, if the time limit asks for it.
        seed: Of initial weights and batches.
        executor: Runs the trainings; this process without it.
        time_limit: Seconds that it may be estimated to take; None for any.
        model: A class or function that gives the network, instead of what ``settings.model.name`` names.
        objective: What decides, if it is not what ``settings.objective`` says.
        report: Called with the phase and the share of the whole that is done.
        started: The moment from which the time counts, of ``time.perf_counter``; now without it.

    Raises:
        InputError: if something cannot be used, or the smallest probe takes longer than the time limit.
    """
    begun, size, runs = time.perf_counter() if started is None else started, size or Size(), executor or Local()
    check_probe(settings, size)
    problem = known_problem(settings, None, source, objective, model)
    cut = {"label_noise": 0.0, "noise": "symmetric", **dict.fromkeys(SIZES)}
    judging = settings.model_copy(update={"data": settings.data.model_copy(update=cut)})
    parts = folded(seen_samples(problem.source, settings.data), judging.data, size.folds)
    folds = [judged_fold(parts, number, judging, model) for number in range(size.folds)]
    families = probed_families(USUAL_SHARE)
    backend, step = _measured(problem, settings, families, seed, runs)
    size, budget = _fitting(problem, settings, families, size, step, len(parts.labels), time_limit, begun)
    LOG.info("the probe takes %s", budget.sentence())
    told = OneClock(budget, report, PHASES)
    judges = [derive(seed, "networks", number) for number in range(size.networks)]
    loss = usual_loss(problem.classes)
    beliefs = believed(folds, loss, judges, settings.recipe, backend, runs, lambda share: told("labels", share))
    wrong = wrong_labels(beliefs.last, parts.labels.cpu().numpy())
    families = probed_families(told_share(wrong))
    deciding = Deciding.of(settings.objective, objective)
    plan = _plan(problem, settings, size, seed, backend, deciding)
    gains = known_gains(problem.task, problem.validation, families, plan, runs, told)
    leading = best_gain(gains, deciding.sign)
    # With fresh networks the best of the tuning may be no better; what is not clear is not advised.
    best = leading if leading.low > 0 else gains[0]
    if not all(map(math.isfinite, gains[0].values)):
        raise InputError(
            f"a network of cross-entropy has no finite {deciding.name}, so nothing can be compared with it; give a "
            "lower learning rate (--lr), or clip gradients (--clip 1)"
        )
    known = _known_share(problem, len(parts.labels))
    floor = _floor(gains, deciding, len(problem.validation[1]))
    seconds = time.perf_counter() - begun
    search = _search(settings, budget.seconds)
    return Probe(wrong, known, tuple(gains), best, floor, deciding, problem, size, backend, search, seconds)


def _search(settings: EvolveSettings, seconds: float) -> Budget:
    """What a search with these settings trains, where a training takes so many seconds; as it estimates itself."""
    search, run = settings.search, settings.run
    return search_budget(
        population=search.population,
        generations=search.generations,
        replicates=run.replicates,
        finalists=run.finalists,
        finalist_seeds=run.finalist_seeds,
        known=baselines(),
        tune=run.tune,
        swept=PopulationTraining.is_swept,
        rated=True,
        share=run.partial,
        seconds=seconds,
    )


def told_share(wrong: WrongLabels) -> float:
    """The share of wrong labels that the loss ``noise-robust`` is told: the estimate, to two digits.

    Where the estimate is not to be trusted, it may be far too high; the loss is told its own default then.

    Args:
        wrong: The estimate.
    """
    return round(min(wrong.share, MOST_SHARE), 2) if wrong.trusted else USUAL_SHARE


def check_probe(settings: EvolveSettings, size: Size) -> None:
    """See before anything is read that data can be probed so.

    Raises:
        InputError: if a number cannot be used, or the recipe asks for what looks at the labels that are judged.
    """
    check_folds(settings, size.folds, size.networks)
    if isinstance(size.seeds, bool) or not isinstance(size.seeds, int) or not 3 <= size.seeds <= MOST_SEEDS:
        raise InputError(f"seeds is {size.seeds!r}; give a whole number from 3 to {MOST_SEEDS}")


def _measured(
    problem: Problem, settings: EvolveSettings, families: Sequence[Family], seed: int, runs: Executor
) -> tuple[Backend, float]:
    """How networks are run, and the seconds that a batch of one takes, of the losses that tuning begins with."""
    trainer, recipe = runs.trainer(problem.task), settings.recipe
    losses = [
        family.build(family.strengths(place), problem.classes)
        for family in families
        for place in Grid(family.name, family.axes).start()
    ][: settings.run.chunk]
    training = settled(settings.run.training, trainer, recipe)
    check_memory(problem.task, recipe, len(losses), training)
    seeds = [derive(seed, "measuring", number) for number in range(len(losses))]
    population = Loss.stack(losses)
    backend = choose_backend(training, trainer, population, seeds, recipe, recipe.total_steps(len(trainer.task.inputs)))
    return backend, step_seconds(backend, trainer, population, seeds, recipe) / runs.workers


def _budget(
    problem: Problem, settings: EvolveSettings, families: Sequence[Family], size: Size, step: float, labels: int
) -> Budget:
    """What is trained, in trainings on the training part."""
    recipe = settings.recipe
    steps = recipe.total_steps(len(problem.task.inputs))
    judging = recipe.total_steps(max(1, labels - labels // size.folds)) / steps
    compared = comparison_budget(families, size.work, size.seeds, size.work.length, 0.0, step * steps)
    return replace(compared, stages={"labels": size.folds * size.networks * judging, **compared.stages})


def _fitting(
    problem: Problem,
    settings: EvolveSettings,
    families: Sequence[Family],
    size: Size,
    step: float,
    labels: int,
    limit: float | None,
    begun: float,
) -> tuple[Size, Budget]:
    """The largest probe within a time limit, and what it trains.

    Raises:
        InputError: if there is none.
    """
    if limit is None:
        return size, _budget(problem, settings, families, size, step, labels)
    for share in SHRUNK:
        smaller = size.smaller(share) if share < 1 else size
        budget = _budget(problem, settings, families, smaller, step, labels)
        if budget.total <= limit - (time.perf_counter() - begun):
            if share < 1:
                LOG.warning(
                    "the time limit allows %d networks for each fold and %d seeds for each loss, not %d and %d",
                    *(smaller.networks, smaller.seeds, size.networks, size.seeds),
                )
            return smaller, budget
    raise beyond(limit, "the smallest probe", budget, "--epochs")


def _plan(
    problem: Problem, settings: EvolveSettings, size: Size, seed: int, backend: Backend, deciding: Deciding
) -> Plan:
    """How the losses are tuned: as in a quick comparison."""
    work = size.work
    return Plan(
        recipe=settings.recipe,
        backend=backend,
        seeds=size.seeds,
        **work.numbers,
        epochs=work.length * epochs_of(settings, problem),
        seed=seed,
        chunk=settings.run.chunk,
        deciding=deciding,
    )


def _known_share(problem: Problem, labels: int) -> float | None:
    """The share of wrong labels, where noise was asked for."""
    if not problem.split.label_noise and problem.split.noise == "symmetric":
        return None
    train, validation = problem.wrong["train"], problem.wrong["validation"]
    learned = labels - len(problem.validation[1])
    return (train * learned + validation * (labels - learned)) / labels


def _floor(gains: Sequence[Gain], deciding: Deciding, samples: int) -> NoiseFloor:
    """The noise of the figure, and of gains."""
    plain, leading = gains[0], best_gain(gains[1:], deciding.sign)
    share = min(1.0, max(0.0, plain.mean))
    error = math.sqrt(share * (1 - share) / samples) if deciding == ACCURACY else None
    return NoiseFloor(leading.least, plain.spread, error)
