"""``lossmith.probe``: is a search worth its cost on one's own data, and which known loss is best, in one call."""

from __future__ import annotations

import time
from typing import Any

from lossmith.api.looks import looked_at
from lossmith.cli import Bar
from lossmith.study import (
    PROBE_FOLDS,
    PROBE_NETWORKS,
    PROBE_SEEDS,
    Probe,
    Size,
    check_probe,
    parsed_time,
    probe_data,
)
from lossmith.training import Executor, running

# What settings there are of: nothing is searched for here.
PARTS = ("data", "model", "recipe", "objective")


def probe(
    data: Any,
    model: Any = None,
    *,
    target: str | None = None,
    validation: Any = None,
    test: Any = None,
    groups: Any = None,
    metric: Any = None,
    folds: int = PROBE_FOLDS,
    networks: int = PROBE_NETWORKS,
    seeds: int = PROBE_SEEDS,
    seed: int = 0,
    time_limit: float | str | None = None,
    executor: Executor | str | None = None,
    quiet: bool = False,
    **words: Any,
) -> Probe:
    """Estimate how many labels are wrong, tune known losses, and say whether a search is worth its cost.

    Works on what a search would see, training and validation part; test data is not touched.

    Args:
        data: As :func:`lossmith.evolve` takes it.
        model: The network, as :func:`lossmith.evolve` takes it; ``"mlp"`` without it.
        target: The column of a table that holds the labels.
        validation: Validation samples of one's own.
        test: Test samples of one's own, so that none are split off.
        groups: The group of each sample (or the column of a table that holds it), of which none is in two parts.
        metric: What losses are tuned for: a name (``"macro-f1"``), or a function; accuracy without it.
        folds: In how many parts the samples are cut whose labels are judged.
        networks: How many networks judge each label; fewer, if the time limit asks for it.
        seeds: Fresh networks of each tuned loss; fewer, if the time limit asks for it.
        seed: Of initial weights and batches.
        time_limit: How long it may be estimated to take, in seconds or as ``"5m"``.
        executor: ``"processes"`` trains in worker processes; this process without it.
        quiet: Whether nothing is told meanwhile.
        words: Any other setting by its flag: ``label_noise=0.2`` is ``--label-noise 0.2``.

    Returns:
        What the JSON of the command has, by the same names (``wrong_labels``, ``noise_floor``, ``best_known``,
        ``worth_searching``, ``why``), and the best known ``loss``; printed, it is a few sentences.

    Raises:
        InputError: if an input cannot be used.

    Example:
        >>> import numpy as np
        >>> X = np.random.default_rng(0).normal(size=(200, 3)).astype("float32")
        >>> found = probe((X, X.argmax(1)), epochs=4, networks=1, seeds=3, quiet=True)
        >>> found.wrong_labels < 0.1, found.worth_searching
        (True, False)
    """
    started = time.perf_counter()
    limit = None if time_limit is None else parsed_time(time_limit)
    size = Size(folds, networks, seeds)
    beside = {"validation": validation, "test": test, "groups": groups}
    look = looked_at("probe", data, beside, {"model": model, "metric": metric, "target": target, **words}, PARTS)
    check_probe(look.settings, size)
    with Bar(quiet) as shown, running(executor) as runs:
        return probe_data(
            look.settings,
            look.source,
            size=size,
            seed=seed,
            executor=runs,
            time_limit=limit,
            model=look.model,
            objective=look.objective,
            report=shown.quarter,
            started=started,
        )
