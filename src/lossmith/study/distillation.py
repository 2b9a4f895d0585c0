"""A distillation on the data, network and recipe of a study, kept in its database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from lossmith.analysis import Deciding, Distillation, Objective, acting_terms, distill
from lossmith.data import Source
from lossmith.errors import InputError
from lossmith.io import write_json
from lossmith.losses import Loss, find, loss_file, save
from lossmith.study.budget import Budget, parsed_time
from lossmith.study.comparison import (
    comparison_digest,
    comparison_plan,
    kept_parts,
    known_problem,
    stands_behind,
    tell_other_objective,
)
from lossmith.study.config import EvolveSettings
from lossmith.study.efforts import TuningSettings
from lossmith.study.estimates import fitting, of_distillation, tell_budget
from lossmith.study.places import made_directory
from lossmith.study.provenance import spread
from lossmith.study.store import Store
from lossmith.training import Executor, running

Report = Callable[[str, float], None]
FILE, LOSS_FILE = "distillation.json", "distilled.json"


class DistillSettings(TuningSettings):
    """How a loss is distilled."""

    seeds: int = Field(default=30, ge=2, le=10**5)
    """Fresh networks of each loss that is tried; with more of them, a smaller margin can be shown."""

    margin: float = Field(default=0.005, ge=0, allow_inf_nan=False)
    """How much worse than the whole loss a smaller one may be on validation data, in the unit of the metric; the
    interval of the difference must not reach beyond it."""


@dataclass(frozen=True)
class Distilled:
    """What a distillation made.

    Args:
        distillation: What was tried.
        loss: The smallest loss.
        path: Its file.
        wrong_labels: Share of the validation labels that noise made wrong.
    """

    distillation: Distillation
    loss: Loss
    path: Path
    wrong_labels: float


def distill_loss(
    loss: Loss | str,
    settings: EvolveSettings,
    directory: Path,
    options: DistillSettings | None = None,
    *,
    digest: str | None = None,
    lr: float | None = None,
    source: Source | None = None,
    objective: Objective | None = None,
    executor: Executor | str | None = None,
    report: Report = lambda *_: None,
    time_limit: float | str | None = None,
) -> Distilled:
    """Find the smallest loss that is not worse, and write it to ``distilled.json``, what was tried beside it.

    The database ``study.db`` keeps each part as it is done, so a distillation that was stopped goes on.

    Args:
        loss: A sum of terms, or what names one (:func:`lossmith.find`).
        settings: Data, model, recipe and objective.
        directory: A study's directory, or any other.
        options: How.
        digest: What the data's digest must be, if the loss was evolved on known data.
        lr: The rate that a sweep found for its search: where the recipe's is far from it, rates are tried around it.
        source: The data, if it is not what ``settings.data.source`` names.
        objective: What decides, if it is not what ``settings.objective`` says.
        executor: Runs the trainings; this process without it.
        report: Called with the phase and the share of it that is done.
        time_limit: How long it may take, in seconds or as ``"30m"``: of the efforts up to that of the options, the
            largest is taken whose estimate is within it.

    Raises:
        InputError: if the loss is no sum of terms, the data is not that of the digest, what is kept is damaged, or an
            input cannot be used.
    """
    limit, options = None if time_limit is None else parsed_time(time_limit), options or DistillSettings()
    file = loss_file(loss) if isinstance(loss, str) else None
    if file is not None and file.resolve() == (directory / LOSS_FILE).resolve():
        raise InputError(f"{file} would be overwritten by what is left of it; give another --out")
    opened, deciding = running(executor), Deciding.of(settings.objective, objective)
    problem = known_problem(settings, digest, source, objective)
    loss = find(loss, problem.classes) if isinstance(loss, str) else loss
    terms = len(acting_terms(loss)[0].terms)
    loss.check_classes(problem.classes)

    def budget(smaller: DistillSettings, step: float) -> Budget:
        return of_distillation(terms, smaller, smaller.seeds, problem, settings, step)

    options = fitting(options, problem, settings, executor, limit, budget, "distillation").resolved()
    made_directory(directory, "what was tried")
    with opened as started, Store(directory) as store:
        tell_other_objective((store.setting("objective") or {}).get("function"), deciding)
        plan = comparison_plan(problem, started, settings, options, store, deciding, lr)
        tell_budget("distillation", partial(budget, options), options, plan, problem, settings, started, store)
        with kept_parts(store, comparison_digest(problem.digest, settings, plan), "distillation") as (recall, keep):
            found = distill(
                problem.task,
                problem.validation,
                problem.test,
                loss,
                plan,
                options.margin,
                executor=started,
                recall=recall,
                keep=keep,
                report=report,
            )
    smallest = Loss.from_json(found.smallest.row.loss).named("distilled")
    shared = stands_behind(problem, settings)
    write_json({**shared, "options": options.model_dump(mode="json"), **found.to_json()}, directory / FILE)
    origin = {**_origin(found, loss, objective, deciding), "class_weight": problem.class_weight(settings.recipe)}
    save(smallest, directory / LOSS_FILE, provenance={**shared, **origin})
    return Distilled(found, smallest, directory / LOSS_FILE, problem.wrong["validation"])


def _origin(found: Distillation, loss: Loss, objective: Objective | None, deciding: Deciding) -> dict[str, Any]:
    row = found.smallest.row
    return {
        "origin": {"kind": "distilled", "from": loss.formula(), "dropped": list(found.smallest.dropped)},
        "validation": spread(row.column(deciding.column("validation"))),
        "training": {"lr": row.lr, "epochs": row.epochs, "stop": row.stop},
        "objective": None if objective is None else deciding.name,
    }
