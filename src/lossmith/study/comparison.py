"""A comparison on the data, network and recipe of a study, kept in its database."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lossmith.analysis import (
    Comparison,
    Deciding,
    Guess,
    Objective,
    Plan,
    UnreadableError,
    compare,
    fixed,
)
from lossmith.data import Source, open_source
from lossmith.errors import InputError
from lossmith.io import write_json
from lossmith.losses import Loss, cross_entropy, find_named
from lossmith.seeds import derive
from lossmith.study.budget import Budget, OneClock, parsed_time
from lossmith.study.config import EvolveSettings, portable
from lossmith.study.efforts import CompareSettings, TuningSettings
from lossmith.study.estimates import chosen_baselines, epochs_of, fitting, of_comparison, tell_budget
from lossmith.study.legacy import identifying, original
from lossmith.study.places import made_directory
from lossmith.study.problem import Problem
from lossmith.study.rival import RIVAL, alone, rival_name, searched_rival
from lossmith.study.store import Store
from lossmith.training import Automatic, Executor, Recipe, check_memory, choose_backend, repeated, running

Report = Callable[[str, float], None]
# Settings that the first comparisons did not have; see `_digest`.
LATER_RECIPE = ("crop", "flip", "cutout", "mixup", "cutmix", "flooding", "patience", "precision")
# How the phases of a comparison begin, with their stage of the budget and their part of that.
PHASES = {
    "searching": ("rival", 0.0, 1.0),
    "tuning beyond": ("tuning", 0.8, 1.0),
    "tuning": ("tuning", 0.0, 0.8),
    "the best settings": ("again", 0.0, 0.8),
    "the best losses": ("again", 0.8, 1.0),
    "final": ("final", 0.0, 1.0),
}
LOG = logging.getLogger("lossmith")
# Within these factors of the recipe's rate a better one is found from there, from setting to setting.
NEAR = (1 / 16, 4)


def compare_losses(
    losses: Mapping[str, Loss] | Sequence[str],
    settings: EvolveSettings,
    directory: Path,
    options: CompareSettings | None = None,
    *,
    digest: str | None = None,
    lr: float | None = None,
    source: Source | None = None,
    objective: Objective | None = None,
    executor: Executor | str | None = None,
    report: Report = lambda *_: None,
    time_limit: float | str | None = None,
    model: Callable[..., nn.Module] | None = None,
) -> Comparison:
    """Compare losses with every tuned baseline, and keep the raw runs in ``directory``.

    Every loss is tuned for the objective on validation data, ranked by it, and tested by it on test data.

    The database ``study.db`` there keeps each part as it is done, so a comparison that was stopped goes on; the whole
    is written to ``comparison.json``. The test part is loaded after all tuning is done.

    Args:
        losses: The losses to be compared: by the names that tables give them, or a list of what names losses
            (:func:`lossmith.find`), whose own names are taken, but for those that are taken already.
        settings: Data, model, recipe and objective; ``search`` and ``run`` as they were in the search, for the rival.
        directory: A study's directory, or any other.
        options: How.
        digest: What the data's digest must be, if the losses were evolved on known data.
        lr: The rate that a sweep found for their search: where the recipe's is far from it, rates are tried around it.
        source: The data, if it is not what ``settings.data.source`` names.
        objective: What decides, if it is not what ``settings.objective`` says; known by its name, as in a study.
        executor: Runs the trainings; this process without it. A name (``"processes"``) is started for this comparison.
            What is stored does not depend on it, but for rounding where this process trains with more threads than the
            one of a worker.
        report: Called with the phase and the share of the whole that is done.
        time_limit: How long it may take, in seconds or as ``"30m"``: of the efforts up to that of the options, the
            largest is taken whose estimate is within it.
        model: A class or function that gives the network, if its name does not say it.

    Raises:
        InputError: if the data is not that of the digest, there is no loss or no such loss, one is a population, made
            for another number of classes or called as a baseline is, what is kept is damaged, or an input cannot be
            used.
    """
    limit = None if time_limit is None else parsed_time(time_limit)
    options = options or CompareSettings()
    opened, deciding = running(executor), Deciding.of(settings.objective, objective)
    problem = known_problem(settings, digest, source, objective, model)
    unnamed = [fixed(str(number), cross_entropy()) for number in range(len(losses))]

    def budget(smaller: CompareSettings, step: float) -> Budget:
        return of_comparison([*chosen_baselines(smaller), *unnamed], smaller, problem, settings, step)

    options = fitting(options, problem, settings, executor, limit, budget, "comparison").resolved()
    test = cache(problem.test)
    rivals = chosen_baselines(options)
    if settings.data.label_noise and not any(family.noisy for family in rivals):
        LOG.info("labels are noisy: --baselines all adds the losses that were published for noisy labels")
    taken = {RIVAL, *(family.name for family in rivals)}
    given = losses if isinstance(losses, Mapping) else find_named(losses, problem.classes, taken)
    _check(given, taken, problem.classes)
    made_directory(directory, "the raw runs")
    with opened as started, Store(directory) as store:
        tell_other_objective((store.setting("objective") or {}).get("function"), deciding)
        plan = comparison_plan(problem, started, settings, options, store, deciding, lr)
        key = comparison_digest(problem.digest, settings, plan)
        whole = tell_budget("comparison", partial(budget, options), options, plan, problem, settings, started, store)
        report = OneClock(whole, report, PHASES)
        if options.rival and options.work.rival:
            place = directory / rival_name(deciding)
            rivals.append(searched_rival(settings, problem, objective, place, started, report))
        families = [*rivals, *(fixed(name, loss) for name, loss in given.items())]
        with kept_parts(store, key, "comparison") as (recall, keep):
            result = compare(
                problem.task,
                problem.validation,
                test,
                families,
                plan,
                executor=started,
                recall=recall,
                keep=keep,
                report=report,
            )
    wrong, guess = problem.wrong["validation"], _guess(problem, test, deciding)
    result = replace(result, wrong_labels=wrong, guess=guess, effort=options.effort)
    document = {**stands_behind(problem, settings), "options": options.model_dump(mode="json"), **result.to_json()}
    write_json(document, directory / "comparison.json")
    return result


def _guess(problem: Problem, test: Callable[[], tuple[Tensor, Tensor]], deciding: Deciding) -> Guess | None:
    """What the best answer gets on test data that is the same for every sample; None where that is not known."""
    found = deciding.best_constant(test()[1], problem.classes)
    return None if found is None else Guess(found.text(problem.source.class_names), found.value)


def known_problem(
    settings: EvolveSettings,
    digest: str | None,
    source: Source | None,
    objective: Objective | None,
    model: Callable[..., nn.Module] | None = None,
) -> Problem:
    """What losses are compared on: the data that they were evolved on, and the objective alone.

    Args:
        settings: Data, model, recipe and objective.
        digest: What the data's digest must be; None if any may be.
        source: The data, if it is not what the settings name.
        objective: What decides, if it is not what the settings say.
        model: A class or function that gives the network, if its name does not say it.

    Raises:
        InputError: if the data is other data, or an input cannot be used.
    """
    source = open_source(source if source is not None else settings.data.source, settings.data)
    if digest is not None and source.digest != digest:
        raise InputError(
            f"the data {source.name!r} is not the data that the loss was evolved on; give that with --data, "
            "so that no test sample was in the search"
        )
    plain = settings.model_copy(update={"objective": alone(settings.objective)})
    return Problem.open(plain, source, objective, model)


@contextmanager
def kept_parts(store: Store, key: str, what: str) -> Iterator[tuple[Callable[[str], Any], Callable[..., None]]]:
    """What recalls and keeps the parts of something under a key of a study's database.

    Raises:
        InputError: if a part that is recalled cannot be read.
    """
    try:
        yield partial(store.record, key), partial(store.add_record, key)
    except UnreadableError:
        raise InputError(
            f"{store.path} is damaged (what it holds of the {what} cannot be read); restore a copy of it, or give "
            "another directory"
        ) from None


def stands_behind(problem: Problem, settings: EvolveSettings) -> dict[str, Any]:
    """Settings and data behind figures, for JSON."""
    return {"settings": portable(settings), "digest": problem.digest, "data": problem.described()}


def _check(losses: Mapping[str, Loss], taken: set[str], classes: int) -> None:
    if not losses:
        raise InputError("no loss is given; name one that is to be compared with the baselines")
    for name, loss in losses.items():
        if loss.shape:
            raise InputError(f"the loss {name!r} is a population; save the one member that is to be compared")
        if name in taken:
            raise InputError(
                f"a baseline of the comparison is called {name!r}, too; leave yours out, or give your loss a name of "
                "its own"
            )
        loss.check_classes(classes)


def tell_other_objective(function: str | None, deciding: Deciding) -> None:
    """Say so if a search maximized a function from Python, which is not what decides its comparison."""
    if function is not None and deciding.key != {"function": function}:
        LOG.warning(
            "the search maximized %s, a function from Python; this comparison tunes and tests by %s: for that "
            "function, call lossmith.study.compare_losses with it as the objective",
            function,
            deciding.name,
        )


def comparison_plan(
    problem: Problem,
    executor: Executor,
    settings: EvolveSettings,
    options: TuningSettings,
    store: Store,
    deciding: Deciding,
    lr: float | None = None,
) -> Plan:
    """How losses are tuned and compared: by the settings of a study, the options, and the fastest backend.

    Args:
        problem: What is trained on what.
        executor: Runs the trainings.
        settings: The study's.
        options: How losses are tuned.
        store: Where the choice of a backend is kept.
        deciding: What decides.
        lr: The rate that a sweep found; the middle of the rates, if the recipe's is far from it.
    """
    lowest, highest = NEAR
    if lr is not None and not lowest * settings.recipe.lr <= lr <= highest * settings.recipe.lr:
        LOG.info("rates are tried around lr = %g, which the search found, not the recipe's %g", lr, settings.recipe.lr)
        settings = settings.model_copy(update={"recipe": settings.recipe.model_copy(update={"lr": lr})})
    work, epochs = options.work, options.tuning_epochs or options.work.length * epochs_of(settings, problem)
    count = min(settings.run.chunk, 40)
    check_memory(problem.task, settings.recipe, count, settings.run.training)
    population = repeated(Loss.stack([cross_entropy()]), count)
    seeds = [derive(options.comparison_seed, "measuring", number) for number in range(count)]
    batches = settings.recipe.total_steps(len(problem.task.inputs))
    stored, chunk = store.setting("executor") or {}, settings.run.chunk
    if isinstance(executor, Automatic) and stored.get("executor") == "processes":
        # Where the study was trained, and as it was.
        executor.become_processes(problem.task)
        chunk = min(chunk, int(stored["chunk"]))
    trainer = executor.trainer(problem.task)
    backend = choose_backend(settings.run.training, trainer, population, seeds, settings.recipe, batches, store)
    return Plan(
        recipe=settings.recipe,
        backend=backend,
        seeds=options.seeds,
        **work.numbers,
        epochs=epochs,
        seed=options.comparison_seed,
        chunk=chunk,
        deciding=deciding,
    )


def comparison_digest(data: str, settings: EvolveSettings, plan: Plan) -> str:
    """What stored parts of comparisons on some data, with some settings, are found by."""
    # What is idle stays out, so that runs of comparisons by versions that did not know it are found again.
    attacked = plan.recipe.adversary != "none"
    decided = {} if plan.deciding.key is None else {"objective": plan.deciding.key}
    if decided and plan.recipe.patience is not None:
        # Older versions stopped early by accuracy, whatever decided.
        decided["stopped by"] = plan.deciding.key
    # The digest of the data says what came of its place and of how its images were converted.
    placed = {"source", "image_size", "channels"} | (set() if attacked or decided else {"max_pixel"})
    whole = {"dropout"} if settings.model.dropout is None else set[str]()
    idle = set() if attacked else {"adversary", "adversary_epsilon", "adversary_steps"}
    usual = Recipe().model_dump()
    idle |= {name for name in LATER_RECIPE if getattr(plan.recipe, name) == usual[name]}
    document = {
        "data": data,
        "split": original("data", identifying("data", settings.data.model_dump(mode="json", exclude=placed))),
        "model": original("model", identifying("model", settings.model.model_dump(mode="json", exclude=whole))),
        "recipe": identifying("recipe", plan.recipe.model_dump(mode="json", exclude=idle)),
        "way": plan.backend.original,
        "device": settings.run.device,
        **decided,
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]
