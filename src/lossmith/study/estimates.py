"""How long a comparison takes, and the effort that a time limit leaves."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from lossmith.analysis import Family, Plan, baselines, find_baselines, fixed
from lossmith.errors import InputError
from lossmith.losses import Loss, cross_entropy
from lossmith.seeds import derive
from lossmith.study.budget import Budget, comparison_budget, time_text
from lossmith.study.config import EvolveSettings
from lossmith.study.efforts import EFFORTS, CompareSettings
from lossmith.study.problem import Problem
from lossmith.study.store import Store
from lossmith.training import Executor, choose_backend, repeated, running, step_seconds

# Networks that a step is measured with.
MEASURED = 40
LOG = logging.getLogger("lossmith")


def chosen_baselines(options: CompareSettings) -> list[Family]:
    """The baselines of a comparison.

    Raises:
        InputError: if there is none of a name.
    """
    named = options.baselines or options.work.baselines
    return baselines() if named is None else find_baselines(named)


def epochs_of(settings: EvolveSettings, problem: Problem) -> int:
    """Epochs of a recipe, whose length may be in batches."""
    samples = len(problem.task.inputs)
    return max(1, -(-settings.recipe.total_steps(samples) // settings.recipe.steps_per_epoch(samples)))


def fitting(
    options: CompareSettings,
    problem: Problem,
    settings: EvolveSettings,
    executor: Executor | str | None,
    losses: int,
    limit: float | None,
) -> CompareSettings:
    """The options with the largest effort, up to their own, that is estimated to be within a time limit.

    Args:
        options: How losses are compared.
        problem: What is trained.
        settings: The study's.
        executor: Runs the trainings.
        losses: How many are compared with the baselines.
        limit: Seconds, or None for no limit.

    Raises:
        InputError: if not even the smallest effort is.
    """
    if limit is None:
        return options
    given = [fixed(str(number), cross_entropy()) for number in range(losses)]
    with running(executor) as runs:
        losses_, seeds = _sample(settings, options)
        trainer = runs.trainer(problem.task)
        backend = choose_backend(settings.run.training, trainer, losses_, seeds, settings.recipe, 1)
        step = step_seconds(backend, trainer, losses_, seeds, settings.recipe) / runs.workers
    efforts = list(EFFORTS)[: list(EFFORTS).index(options.effort) + 1]
    budget = Budget({}, 0.0)
    for effort in reversed(efforts):
        smaller = options.model_copy(update={"effort": effort})
        budget = _budget([*chosen_baselines(smaller), *given], smaller, problem, settings, step)
        if budget.total <= limit:
            if effort != options.effort:
                LOG.warning("the time limit allows the effort %s, not %s", effort, options.effort)
            return smaller
    raise InputError(
        f"the time limit is {time_text(limit)}, and the smallest comparison takes about {time_text(budget.total)}; "
        "give more time, or fewer baselines and seeds"
    )


def tell_budget(
    families: Sequence[Family],
    options: CompareSettings,
    plan: Plan,
    problem: Problem,
    settings: EvolveSettings,
    executor: Executor,
    store: Store,
) -> None:
    """Say what a comparison will train at most, and how long that takes; what is stored of it, it trains no more."""
    losses, seeds = _sample(settings, options)
    step = step_seconds(plan.backend, executor.trainer(problem.task), losses, seeds, plan.recipe, store)
    budget = _budget(families, options, problem, settings, step / executor.workers)
    LOG.info("the comparison takes %s; what is stored of it is not trained again", budget.sentence())


def comparison_time(problem: Problem, settings: EvolveSettings, seconds: float) -> str:
    """How long the comparison of one loss takes, in words.

    Args:
        problem: What is trained.
        settings: The study's.
        seconds: Of one training.
    """
    options = CompareSettings()
    families = [*chosen_baselines(options), fixed("evolved", cross_entropy())]
    steps = settings.recipe.total_steps(len(problem.task.inputs))
    return time_text(_budget(families, options, problem, settings, seconds / steps).total)


def _budget(
    families: Sequence[Family], options: CompareSettings, problem: Problem, settings: EvolveSettings, step: float
) -> Budget:
    epochs, steps = epochs_of(settings, problem), settings.recipe.total_steps(len(problem.task.inputs))
    length = (options.tuning_epochs or options.work.length * epochs) / epochs
    search, run = settings.search, settings.run
    rival = search.population * search.generations * run.replicates * run.partial
    searched = rival if options.rival and options.work.rival else 0.0
    return comparison_budget(families, options.work, options.seeds, length, searched, step * steps)


def _sample(settings: EvolveSettings, options: CompareSettings) -> tuple[Loss, list[int]]:
    """Losses and seeds like those of a chunk."""
    count = min(settings.run.chunk, MEASURED)
    seeds = [derive(options.comparison_seed, "measuring", number) for number in range(count)]
    return repeated(Loss.stack([cross_entropy()]), count), seeds
