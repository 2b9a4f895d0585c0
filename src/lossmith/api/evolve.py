"""``lossmith.evolve``: a loss for the user's own network, data and metric, or training function, in one call."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lossmith.analysis import Comparison, Objective, chosen_metric, find_baselines
from lossmith.api.data import source_of
from lossmith.api.model import Model, named_model
from lossmith.api.report import tell_report
from lossmith.api.result import Result, Wanted
from lossmith.api.words import plain, settings_of, unknown_word
from lossmith.cli import SearchProgress
from lossmith.data import Source
from lossmith.errors import InputError, brief
from lossmith.io import read_toml
from lossmith.search import SearchSettings
from lossmith.study import (
    CompareSettings,
    EvolveSettings,
    FunctionSettings,
    StageSettings,
    TrainFunction,
    checked_settings,
    compare_by_function,
    compare_losses,
    evolve_function,
    parsed_time,
    validated,
    with_data,
)
from lossmith.study import evolve as study_evolve
from lossmith.training import Executor

LOG = logging.getLogger("lossmith")
FUNCTION_SEEDS = 5
BUILT_IN = ("epochs", "class_weight", "target", "batch_size", "optimizer")


def evolve(
    model: Any = None,
    data: Any = None,
    *,
    target: str | None = None,
    validation: Any = None,
    test: Any = None,
    groups: Any = None,
    metric: Any = None,
    class_weight: Any = None,
    time_limit: float | str | None = None,
    out: str | Path | None = None,
    train: Callable[..., Any] | None = None,
    classes: int | None = None,
    population: int | None = None,
    generations: int | None = None,
    replicates: int | None = None,
    epochs: int | None = None,
    lr: float | None = None,
    seed: int | None = None,
    executor: Executor | str | None = None,
    quiet: bool = False,
    settings: Mapping[str, Any] | None = None,
    **words: Any,
) -> Result:
    """Evolve a loss for a network on data, or for one's own training function.

    Called again with the same ``out``, it goes on where it stopped; ``lossmith evolve --out DIR`` goes on, too, and
    ``lossmith compare DIR/best.json`` compares.

    Args:
        model: The network: a name (``"mlp"``, ``"wrn-16-8"``, ``"package.module:Net"``, ``"file.py:Net"``), or a class
            or function that gives one, called with the shape of an input and the number of classes, or with nothing.
        data: ``(X, y)`` of NumPy arrays, tensors or lists; a DataFrame, with ``target``; a ``Dataset`` of pairs; a
            :class:`lossmith.data.Source`; a path or a name, as on the command line.
        target: The column of a table that holds the labels.
        validation: ``(X, y)`` or a ``Dataset`` for validation; without it, a part of ``data``.
        test: The same for the final comparison; without it, a part of ``data``.
        groups: The group of each sample (or the column of a table that holds it), of which none is in two parts.
        metric: What is maximized: a name (``"macro-f1"``), or a function. Of a training function: which of its scores.
        class_weight: ``"balanced"``, or a weight for each class.
        time_limit: How long it may take, in seconds or as ``"30m"``.
        out: The directory of the study; without it, a new temporary one, which is told.
        train: One's own training function instead of model and data: ``train(criterion, seed, **settings)`` returns a
            score (more is better), scores by name, or those on validation and on test data. With a parameter ``lr``,
            it is given learning rates, which are tuned; with ``report``, a function of a score and the share of the
            training that is done.
        classes: The number of classes of a training function.
        population: Candidates in a generation.
        generations: Generations of the search.
        replicates: Networks of each candidate.
        epochs: Epochs of a training.
        lr: Learning rate; tuned from there.
        seed: Of the search.
        executor: ``"processes"`` trains in worker processes; this process without it.
        quiet: Whether nothing is told meanwhile.
        settings: What a training function is called with besides.
        words: Any other setting by its flag: ``label_noise=0.4`` is ``--label-noise 0.4``.

    Raises:
        InputError: if an input cannot be used; nothing is written then.

    Example:
        >>> import numpy as np, tempfile, torch
        >>> X = np.random.default_rng(0).normal(size=(90, 4)).astype("float32")
        >>> result = evolve("mlp", (X, X[:, :3].argmax(1)), out=tempfile.mkdtemp(), population=4, generations=1,
        ...                 epochs=1, hidden=[4], tune=False, finalists=1, finalist_seeds=2, quiet=True)
        >>> result.criterion()(torch.zeros(2, 3), torch.tensor([0, 2])).shape
        torch.Size([])
    """
    given = {
        "target": target,
        "class_weight": class_weight,
        "population": population,
        "generations": generations,
        "replicates": replicates,
        "epochs": epochs,
        "lr": lr,
        "seed": seed,
        **words,
    }
    given = {word: value for word, value in given.items() if value is not None}
    limit = None if time_limit is None else parsed_time(time_limit)
    if train is not None:
        unused = {"model": model, "data": data, "validation": validation, "test": test, "groups": groups}
        idle = next((word for word, value in unused.items() if value is not None), None)
        if idle is not None:
            raise InputError(f"{idle} has no effect beside train, which has its own; leave one of them out")
        return _by_function(train, classes, metric, given, settings, out, executor, quiet, limit)
    if settings is not None or classes is not None:
        idle = "classes" if settings is None else "settings"
        raise InputError(f"{idle} belongs to a training function; leave it out, or give train=…")
    parts = {"validation": validation, "test": test, "groups": groups}
    return _by_problem(model, data, parts, metric, given, out, executor, quiet, limit)


def _by_problem(
    model: Any,
    data: Any,
    parts: Mapping[str, Any],
    metric: Any,
    words: dict[str, Any],
    out: str | Path | None,
    executor: Executor | str | None,
    quiet: bool,
    limit: float | None,
) -> Result:
    idle = next((name for name, part in parts.items() if part is not None and data is None), None)
    if idle is not None:
        raise InputError(f"{idle} has no effect without data; give both, or neither to go on with a study")
    own: Model | None = None
    if model is not None:
        words["model"], own = named_model(model)
    source = source_of(data, parts, words) if data is not None or out is None or not _has_begun(out) else None
    if isinstance(source, str):
        words["data"], source = source, None
    objective = None
    if metric is not None:
        words["metric"], objective = chosen_metric(metric)
    directory = _directory(out)
    settings = settings_of(words, directory)
    if isinstance(source, Source):
        settings = with_data(settings, source.name)
    with SearchProgress(quiet) as bar:
        outcome = study_evolve(
            directory,
            settings,
            source,
            objective=objective,
            executor=executor,
            report=bar.report,
            time_limit=limit,
            model=own,
            keep=True,
        )
        tell_report(directory)
    label = outcome.provenance["metric"]["name"]
    lr = (outcome.provenance["tuning"] or {}).get("lr")
    compare = partial(_compared, settings, directory, outcome.provenance["digest"], lr, source, objective, own)
    return Result(directory, outcome.loss, outcome.provenance, label, compare, quiet)


def _has_begun(out: str | Path) -> bool:
    return (_directory(out) / "study.toml").exists()


def _compared(
    settings: EvolveSettings,
    directory: Path,
    digest: str,
    lr: float | None,
    source: Source | None,
    objective: Objective | None,
    model: Model | None,
    wanted: Wanted,
) -> Comparison:
    given = {"effort": wanted.effort, "seeds": wanted.seeds}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    options |= {} if wanted.baselines is None else {"baselines": list(wanted.baselines)}
    return compare_losses(
        wanted.losses,
        settings,
        directory,
        validated(CompareSettings, options, None),
        digest=digest,
        lr=lr,
        source=source,
        objective=objective,
        executor=wanted.executor,
        report=wanted.report,
        time_limit=wanted.time_limit,
        model=model,
    )


def _by_function(
    train: Callable[..., Any],
    classes: int | None,
    metric: Any,
    words: Mapping[str, Any],
    own: Mapping[str, Any] | None,
    out: str | Path | None,
    executor: Executor | str | None,
    quiet: bool,
    limit: float | None,
) -> Result:
    if own is not None and not isinstance(own, Mapping):
        raise InputError(f"settings is {brief(own)}; give a dict of what the training function is called with")
    if metric is not None and not isinstance(metric, str):
        raise InputError(
            f"the metric of a training function is {brief(metric)}; name one of the scores that it returns, or return "
            "one score"
        )
    directory = _directory(out)
    stored = read_toml(directory / "study.toml") if (directory / "study.toml").exists() else {}
    if classes is None:
        classes = stored.get("classes")
    if classes is None:
        raise InputError("the number of classes is not given; a training function does not say it: classes=10")
    begun = stored.get("train", {})
    own = begun.get("settings", {}) if own is None else own
    metric = begun.get("metric") if metric is None else metric
    lr = words.get("lr", begun.get("lr"))
    function = TrainFunction.of(train, checked_settings(own), lr, metric)
    settings = _function_settings(function, classes, words, stored)
    with SearchProgress(quiet) as bar:
        outcome = evolve_function(directory, function, settings, executor=executor, report=bar.report, time_limit=limit)
        tell_report(directory)
    compare = partial(_compared_by_function, function, settings, directory)
    return Result(directory, outcome.loss, outcome.provenance, metric or "score", compare, quiet)


def _function_settings(
    function: TrainFunction, classes: int, words: Mapping[str, Any], stored: Mapping[str, Any]
) -> FunctionSettings:
    """Settings of a study of a training function; those that no word gives are the stored ones."""
    places = {
        name: (part, name)
        for part, model in (("search", SearchSettings), ("run", StageSettings))
        for name in model.model_fields
    }
    document: dict[str, Any] = {
        "classes": classes,
        "train": {
            "function": function.name,
            "metric": function.metric,
            "lr": function.lr,
            "settings": function.settings,
        },
        "search": dict(stored.get("search", {})),
        "run": dict(stored.get("run", {})),
    }
    for word, value in words.items():
        if word == "lr":
            continue
        if word not in places:
            if word in BUILT_IN:
                raise InputError(
                    f"{word} is no matter of the search here, but of your training function; give it by settings="
                    f"{{{word!r}: …}}, if the function takes it"
                )
            raise unknown_word(word, [*places, "lr", "settings"])
        part, name = places[word]
        document[part][name] = [one.name for one in find_baselines(value)] if word == "baselines" else plain(value)
    return validated(FunctionSettings, document, None)


def _compared_by_function(
    function: TrainFunction,
    settings: FunctionSettings,
    directory: Path,
    wanted: Wanted,
) -> Comparison:
    if wanted.effort is not None:
        raise InputError(
            "effort has no effect on a comparison by a training function; leave it out, and give fewer seeds or "
            "baselines"
        )
    return compare_by_function(
        wanted.losses,
        function,
        settings,
        directory,
        baselines=wanted.baselines,
        seeds=FUNCTION_SEEDS if wanted.seeds is None else wanted.seeds,
        executor=wanted.executor,
        report=wanted.report,
        time_limit=wanted.time_limit,
    )


def _directory(out: str | Path | None) -> Path:
    """The directory of a study, wherever the process goes to; a new one, which is told, if none is given.

    Raises:
        InputError: if nothing can be called so.
    """
    if out is None:
        made = Path(tempfile.mkdtemp(prefix="lossmith-"))
        LOG.warning("the study is kept in %s; give out= to choose its directory", made)
        return made
    refusal = InputError(f"out is {brief(out)}, and no directory can be called so; give another one")
    if not isinstance(out, str | Path) or out == "" or "\0" in str(out):
        raise refusal
    try:
        place = Path(out).expanduser().absolute()
        place.exists()
    except (OSError, ValueError, RuntimeError):
        raise refusal from None
    return place
