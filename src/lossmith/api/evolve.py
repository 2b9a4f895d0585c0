"""``lossmith.evolve``: a loss for the user's own network, data and metric, or training function, in one call."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lossmith.api.data import keep, source_of
from lossmith.api.model import named_model
from lossmith.api.result import Result
from lossmith.api.words import plain, settings_of, unknown_word
from lossmith.cli.console import SearchProgress
from lossmith.errors import InputError, brief
from lossmith.losses import Loss
from lossmith.study import (
    CompareSettings,
    EvolveSettings,
    FunctionSettings,
    Outcome,
    Problem,
    TrainFunction,
    checked_settings,
    compare_by_function,
    compare_losses,
    evolve_function,
    evolve_problem_of,
    parsed_time,
    settings_document,
    validated,
)
from lossmith.training import Executor, running

LOG = logging.getLogger("lossmith")
FUNCTION_SEEDS = 5


def evolve(
    model: Any = None,
    data: Any = None,
    *,
    target: str | None = None,
    validation: Any = None,
    test: Any = None,
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
        model: The network: a name (``"mlp"``, ``"wrn-16-8"``, ``"package.module:Net"``, ``"file.py:Net"``), or a class or
            function that gives one, called with the shape of an input and the number of classes, or with nothing.
        data: ``(X, y)`` of NumPy arrays, tensors or lists; a DataFrame, with ``target``; a ``Dataset`` of pairs; a
            :class:`lossmith.data.Source`; a path or a name, as on the command line.
        target: The column of a table that holds the labels.
        validation: ``(X, y)`` or a ``Dataset`` for validation; without it, a part of ``data``.
        test: The same for the final comparison; without it, a part of ``data``.
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
        >>> import numpy as np, tempfile
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
        unused = {"model": model, "data": data, "validation": validation, "test": test}
        idle = next((word for word, value in unused.items() if value is not None), None)
        if idle is not None:
            raise InputError(f"{idle} has no effect beside train, which has its own; leave one of them out")
        return _by_function(train, classes, metric, given, settings or {}, out, executor, quiet, limit)
    if settings is not None or classes is not None:
        idle = "classes" if settings is None else "settings"
        raise InputError(f"{idle} belongs to a training function; leave it out, or give train=…")
    return _by_problem(model, data, validation, test, metric, given, out, executor, quiet, limit)
