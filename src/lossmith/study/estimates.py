"""How long comparisons and distillations take, and the effort that a time limit leaves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from lossmith.analysis import Family, Plan, baselines, find_baselines, fixed
from lossmith.errors import InputError
from lossmith.losses import Loss, cross_entropy
from lossmith.seeds import derive
from lossmith.study.budget import Budget, comparison_budget, distillation_budget, time_text
from lossmith.study.config import EvolveSettings
from lossmith.study.efforts import EFFORTS, CompareSettings, TuningSettings
from lossmith.study.problem import Problem
from lossmith.study.store import Store
from lossmith.training import Executor, choose_backend, repeated, running, step_seconds

# Networks that a step is measured with.
MEASURED = 40
Options = TypeVar("Options", bound=TuningSettings)
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
    options: Options,
    problem: Problem,
    settings: EvolveSettings,
    executor: Executor | str | None,
    limit: float | None,
    budget: Callable[[Options, float], Budget],
    what: str,
) -> Options:
    """The options with the largest effort, up to their own, that is estimated to be within a time limit.

    Args:
        options: How losses are tuned.
        problem: What is trained.
        settings: The study's.
        executor: Runs the trainings.
        limit: Seconds, or None for no limit.
        budget: What some options train, where one batch of a network takes so many seconds.
        what: What is done.

    Raises:
        InputError: if not even the smallest effort is.
    """
    if limit is None:
        return options
    with running(executor) as runs:
        losses, seeds = _sample(settings, options)
        trainer = runs.trainer(problem.task)
        backend = choose_backend(settings.run.training, trainer, losses, seeds, settings.recipe, 1)
        step = step_seconds(backend, trainer, losses, seeds, settings.recipe) / runs.workers
    efforts = list(EFFORTS)[: list(EFFORTS).index(options.effort) + 1]
    found = Budget({}, 0.0)
    for effort in reversed(efforts):
        smaller = options.model_copy(update={"effort": effort})
        found = budget(smaller, step)
        if found.total <= limit:
            if effort != options.effort:
                LOG.warning("the time limit allows the effort %s, not %s", effort, options.effort)
            return smaller
    raise beyond(limit, f"the smallest {what}", found)


def beyond(limit: float, what: str, budget: Budget, less: str = "--seeds") -> InputError:
    """The error of what takes longer than a time limit.

    Args:
        limit: Seconds.
        what: What is done.
        budget: What it takes.
        less: The flag that makes it less.
    """
    given = f"{limit:.2g} s" if limit < 1 else time_text(limit)
    return InputError(
        f"the time limit is {given}, and {what} takes about {time_text(budget.total)}; give more time, or "
        f"less to train ({less}, for example)"
    )


def tell_budget(
    what: str,
    budget: Callable[[float], Budget],
    options: TuningSettings,
    plan: Plan,
    problem: Problem,
    settings: EvolveSettings,
    executor: Executor,
    store: Store,
) -> Budget:
    """Say what will be trained at most, and how long that takes; what is stored of it, is trained no more.

    Args:
        what: What is done.
        budget: What it trains, where one batch of a network takes so many seconds.
        options: How losses are tuned.
        plan: The same, resolved.
        problem: What is trained.
        settings: The study's.
        executor: Runs the trainings.
        store: What is measured is kept there.
    """
    losses, seeds = _sample(settings, options)
    step = step_seconds(plan.backend, executor.trainer(problem.task), losses, seeds, plan.recipe, store)
    found = budget(step / executor.workers)
    LOG.info("the %s takes %s; what is stored of it is not trained again", what, found.sentence())
    return found


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
    return time_text(of_comparison(families, options, problem, settings, seconds / steps).total)


def of_comparison(
    families: Sequence[Family], options: CompareSettings, problem: Problem, settings: EvolveSettings, step: float
) -> Budget:
    """What a comparison of some losses trains, where one batch of a network takes so many seconds."""
    length, steps = _length(options, problem, settings), settings.recipe.total_steps(len(problem.task.inputs))
    search, run = settings.search, settings.run
    rival = search.population * search.generations * run.replicates * run.partial
    searched = rival if options.rival and options.work.rival else 0.0
    return comparison_budget(families, options.work, options.seeds, length, searched, step * steps)


def of_distillation(
    terms: int, options: TuningSettings, seeds: int, problem: Problem, settings: EvolveSettings, step: float
) -> Budget:
    """What a distillation of a loss with so many terms trains at most."""
    length, steps = _length(options, problem, settings), settings.recipe.total_steps(len(problem.task.inputs))
    return distillation_budget(terms, options.work, seeds, length, step * steps)


def _length(options: TuningSettings, problem: Problem, settings: EvolveSettings) -> float:
    """Epochs of a tuning run through the recipe's."""
    epochs = epochs_of(settings, problem)
    return (options.tuning_epochs or options.work.length * epochs) / epochs


def _sample(settings: EvolveSettings, options: TuningSettings) -> tuple[Loss, list[int]]:
    """Losses and seeds like those of a chunk."""
    count = min(settings.run.chunk, MEASURED)
    seeds = [derive(options.comparison_seed, "measuring", number) for number in range(count)]
    return repeated(Loss.stack([cross_entropy()]), count), seeds
