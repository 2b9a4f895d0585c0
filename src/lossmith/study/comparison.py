"""A comparison on the data, network and recipe of a study, kept in its database."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field

from lossmith.analysis import Comparison, Family, ObjectiveSettings, Plan, baselines, compare, fixed
from lossmith.data import Source, open_source
from lossmith.errors import InputError
from lossmith.io import read_json, read_toml, write_json
from lossmith.losses import Loss, PowerLoss, Term, cross_entropy, load
from lossmith.seeds import derive
from lossmith.settings import Settings
from lossmith.study.config import EvolveSettings, differences, validated, with_data
from lossmith.study.evolve import Progress, evolve_problem
from lossmith.study.legacy import identifying, modernized, original
from lossmith.study.problem import Problem
from lossmith.study.store import Store
from lossmith.training import Executor, Local, Recipe, choose_backend, repeated

Report = Callable[[str, float], None]
# Settings that the first comparisons did not have; see `_digest`.
LATER = ("crop", "flip", "cutout", "mixup", "cutmix", "flooding", "patience", "precision")
REASONS = {
    "data": "with other data or another split, test samples could have been in the search",
    "model": "the loss is worth what it is worth for the network that it was evolved for",
    "recipe": "the learning rate and the number of epochs are tuned for every loss, the rest is the search's recipe",
}
RIVAL = "label smoothing + MAE, searched"


class CompareSettings(Settings):
    """How losses are compared."""

    seeds: int = Field(default=10, ge=2)
    """Networks trained for each tuned loss in the final comparison."""

    tuning_seeds: int = Field(default=2, ge=1)
    """Networks trained for each setting that tuning tries."""

    tuning_finalists: int = Field(default=5, ge=1)
    """The best settings of each loss, which are trained again with fresh seeds before one is chosen."""

    tuning_finalist_seeds: int = Field(default=10, ge=1)
    """Fresh seeds that each of those is trained with."""

    tuning_epochs: int | None = Field(default=None, ge=1)
    """Epochs of a tuning run, from which the best number is read (default: twice the recipe's)."""

    rival: bool = True
    """Whether label smoothing + MAE gets a search of its own with as many trainings as the evolved loss had;
    --no-rival leaves that search out."""

    comparison_seed: int = 0
    """Seed of the comparison's initial weights and batches."""


def provenance(path: Path) -> dict[str, Any] | None:
    """Where the loss of a file comes from, if the file says so.

    Raises:
        InputError: if the file cannot be read, or says it in a way that cannot be understood.
    """
    document = read_json(path)
    if not isinstance(document, dict):
        raise InputError(
            f"{path} is not a loss file; take the best.json that lossmith evolve wrote, or save the loss again"
        )
    found = document.get("provenance")
    if found is None:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("digest"), str) or "settings" not in found:
        raise InputError(f'{path}: "provenance" is damaged; take the best.json that lossmith evolve wrote')
    return found


def settings_of(paths: Sequence[Path]) -> tuple[EvolveSettings, str] | None:
    """Settings and data digest that the losses of some files were evolved with; None if no file says.

    The place of the data comes from the ``study.toml`` beside the file, since a loss file holds no path.

    Raises:
        InputError: if two files disagree, so that no fair comparison of them is possible.
    """
    found: list[tuple[Path, EvolveSettings, str]] = []
    for path in paths:
        origin = provenance(path)
        if origin is not None:
            settings = validated(EvolveSettings, modernized(origin["settings"])[0], f'"settings" of {path}')
            file = path.parent / "study.toml"
            data = modernized(read_toml(file))[0].get("data") if file.exists() else None
            if isinstance(data, dict) and isinstance(data.get("source"), str):
                settings = with_data(settings, data["source"])
            found.append((path, settings, origin["digest"]))
    for path, settings, digest in found[1:]:
        changes = conflicts(settings, found[0][1])
        if changes or digest != found[0][2]:
            key = changes[0][0] if changes else "data"
            raise InputError(
                f"{path} and {found[0][0]} were evolved with different settings ({key}); take them one at a time"
            )
    return (found[0][1], found[0][2]) if found else None


def conflicts(wanted: EvolveSettings, kept: EvolveSettings) -> list[tuple[str, Any, Any]]:
    """What a comparison must not change: data (but for its place), model and recipe."""
    parts = ("data", "model", "recipe")
    changes = differences(
        wanted.model_dump(mode="json", include=set(parts)), kept.model_dump(mode="json", include=set(parts))
    )
    return [change for change in changes if change[0] != "data.source"]


def check_unchanged(wanted: EvolveSettings, kept: EvolveSettings, path: Path) -> None:
    """See that flags change nothing that a comparison must not change.

    Args:
        wanted: The settings with the flags.
        kept: Those of the loss.
        path: Its file.

    Raises:
        InputError: if they do.
    """
    changes = conflicts(wanted, kept)
    if changes:
        key, given, stored = changes[0]
        raise InputError(
            f"{path} was evolved with {key} = {stored!r}, not {given!r}; leave that flag out: "
            + REASONS[key.split(".")[0]]
        )


def named_losses(paths: Sequence[Path]) -> dict[str, Loss]:
    """Losses by the name that tables call them: their own, or their file's where it is taken, by a baseline too.

    Raises:
        InputError: if one of the files holds no loss.
    """
    loaded = [(path, load(path)) for path in paths]
    names = [*(loss.name for _, loss in loaded), *(family.name for family in baselines()), RIVAL]
    return {loss.name if names.count(loss.name) == 1 else str(path): loss for path, loss in loaded}


def compare_losses(
    losses: Mapping[str, Loss],
    settings: EvolveSettings,
    directory: Path,
    options: CompareSettings | None = None,
    *,
    digest: str | None = None,
    source: Source | None = None,
    executor: Executor | None = None,
    report: Report = lambda *_: None,
) -> Comparison:
    """Compare losses with every tuned baseline, and keep the raw runs in ``directory``.

    The database ``study.db`` there keeps each part as it is done, so a comparison that was stopped goes on; the whole
    is written to ``comparison.json``. The test part is loaded after all tuning is done.

    Args:
        losses: The losses to be compared, by name.
        settings: Data, model and recipe; ``search`` and ``run`` as they were in the search, for the rival.
        directory: A study's directory, or any other.
        options: How.
        digest: What the data's digest must be, if the losses were evolved on known data.
        source: The data, if it is not what ``settings.data.source`` names.
        executor: Runs the trainings; this process without it. What is stored does not depend on it, but for rounding
            where this process trains with more threads than the one of a worker.
        report: Called with the phase and the share of it that is done.

    Raises:
        InputError: if the data is not that of the digest, a loss is a population, made for another number of classes
            or called as a baseline is, or an input cannot be used.
    """
    options = options or CompareSettings()
    source = open_source(source if source is not None else settings.data.source, settings.data)
    if digest is not None and source.digest != digest:
        raise InputError(
            f"the data {source.name!r} is not the data that the loss was evolved on; give that with --data, "
            "so that no test sample was in the search"
        )
    executor = executor or Local()
    problem = Problem.open(settings, source)
    rivals = baselines()
    _check(losses, {RIVAL, *(family.name for family in rivals)}, problem.classes)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{directory} cannot be made: {error.strerror}; give another directory for the raw runs"
        ) from None
    with Store(directory) as store:
        if options.rival:
            rivals.append(_rival(settings, problem, directory, executor, report))
        families = [*rivals, *(fixed(name, loss) for name, loss in losses.items())]
        plan = _plan(problem, executor, settings, options, store)
        key = _digest(problem.digest, settings, plan)
        result = compare(
            problem.task,
            problem.validation,
            problem.test,
            families,
            plan,
            executor=executor,
            recall=lambda chunk: store.record(key, chunk),
            keep=lambda chunk, rows, seconds: store.add_record(key, chunk, rows, seconds),
            report=report,
        )
    document = {
        "settings": _portable(settings),
        "options": options.model_dump(mode="json"),
        "digest": problem.digest,
        **result.to_json(),
    }
    write_json(document, directory / "comparison.json")
    return result


def _check(losses: Mapping[str, Loss], taken: set[str], classes: int) -> None:
    for name, loss in losses.items():
        if loss.shape:
            raise InputError(f"the loss {name!r} is a population; save the one member that is to be compared")
        if name in taken:
            raise InputError(f"a baseline of the comparison is called {name!r}, too; give your loss a name of its own")
        loss.check_classes(classes)


def _rival(settings: EvolveSettings, problem: Problem, directory: Path, executor: Executor, report: Report) -> Family:
    search = settings.search.model_copy(update={"space": "smoothed-mae", "engine": "cma", "sigma": None})

    def tell(progress: Progress) -> None:
        report(f"searching {RIVAL.split(',')[0]}", progress.done if progress.phase == "search" else 1.0)

    own = with_data(settings, problem.source.name).model_copy(
        update={"search": search, "objective": ObjectiveSettings()}
    )
    accuracy = replace(problem, objective=own.objective.build())
    outcome = evolve_problem(directory / "rival", own, accuracy, executor=executor, report=tell)
    assert isinstance(outcome.loss, PowerLoss)
    found = dict(zip(outcome.loss.terms, outcome.loss.coefficients.tolist(), strict=True))
    alpha, weight = 1 - found.get(Term(0, 1, 1), 0.0), found.get(Term(1, 1, 0), 0.0)
    return fixed(RIVAL, outcome.loss, baseline=True, text=f"α = {alpha:.3g}, weight = {weight:.3g}")


def _plan(
    problem: Problem, executor: Executor, settings: EvolveSettings, options: CompareSettings, store: Store
) -> Plan:
    epochs = options.tuning_epochs or 2 * _epochs(settings, problem)
    count = min(settings.run.chunk, 40)
    population = repeated(Loss.stack([cross_entropy()]), count)
    seeds = [derive(options.comparison_seed, "measuring", number) for number in range(count)]
    batches = settings.recipe.total_steps(len(problem.task.inputs))
    trainer = executor.trainer(problem.task)
    backend = choose_backend(settings.run.training, trainer, population, seeds, settings.recipe, batches, store)
    return Plan(
        recipe=settings.recipe,
        backend=backend,
        seeds=options.seeds,
        tuning_seeds=options.tuning_seeds,
        finalists=options.tuning_finalists,
        finalist_seeds=options.tuning_finalist_seeds,
        epochs=epochs,
        seed=options.comparison_seed,
        chunk=settings.run.chunk,
    )


def _epochs(settings: EvolveSettings, problem: Problem) -> int:
    samples = len(problem.task.inputs)
    return max(1, -(-settings.recipe.total_steps(samples) // settings.recipe.steps_per_epoch(samples)))


def _portable(settings: EvolveSettings) -> dict[str, Any]:
    document = settings.model_dump(mode="json")
    document["data"]["source"] = Path(settings.data.source).name
    return document


def _digest(data: str, settings: EvolveSettings, plan: Plan) -> str:
    # What is idle stays out, so that runs of comparisons by versions that did not know it are found again.
    attacked = plan.recipe.adversary != "none"
    # The digest of the data says what came of its place and of how its images were converted.
    placed = {"source", "image_size", "channels"} | (set() if attacked else {"max_pixel"})
    whole = {"dropout"} if settings.model.dropout is None else set[str]()
    idle = set() if attacked else {"adversary", "adversary_epsilon", "adversary_steps"}
    usual = Recipe().model_dump()
    idle |= {name for name in LATER if getattr(plan.recipe, name) == usual[name]}
    document = {
        "data": data,
        "split": original("data", identifying("data", settings.data.model_dump(mode="json", exclude=placed))),
        "model": original("model", identifying("model", settings.model.model_dump(mode="json", exclude=whole))),
        "recipe": plan.recipe.model_dump(mode="json", exclude=idle),
        "way": plan.backend.original,
        "device": settings.run.device,
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]
