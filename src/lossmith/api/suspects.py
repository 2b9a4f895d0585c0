"""``lossmith.suspects``: the labels of one's own data that are probably wrong, in one call."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

from lossmith.api.looks import looked_at
from lossmith.cli import Bar
from lossmith.io import write_whole
from lossmith.losses import Loss
from lossmith.study import (
    SUSPECT_FOLDS,
    SUSPECT_NETWORKS,
    Suspicion,
    check_suspects,
    check_table,
    find_suspects,
    parsed_time,
)
from lossmith.training import Executor, running

# What settings there are of: nothing is searched for here.
PARTS = ("data", "model", "recipe")


def suspects(
    data: Any,
    model: Any = None,
    *,
    target: str | None = None,
    groups: Any = None,
    out: str | Path | None = None,
    loss: str | Loss | None = None,
    folds: int = SUSPECT_FOLDS,
    networks: int = SUSPECT_NETWORKS,
    seed: int = 0,
    time_limit: float | str | None = None,
    executor: Executor | str | None = None,
    quiet: bool = False,
    **words: Any,
) -> Suspicion:
    """Rank the labels of some data by how probably they are wrong.

    Every row is judged by networks that did not learn from it.

    Args:
        data: As :func:`lossmith.evolve` takes it.
        model: The network, as :func:`lossmith.evolve` takes it; ``"mlp"`` without it.
        target: The column of a table that holds the labels.
        groups: The group of each sample (or the column of a table that holds it), of which none is in two folds.
        out: Where the table ``index, given, suggested, score`` is written to; nowhere without it.
        loss: What networks are trained with: a loss, or what names one.
        folds: In how many parts the data is cut.
        networks: How many networks judge each row; fewer, if the time limit asks for it.
        seed: Of initial weights and batches.
        time_limit: How long it may be estimated to take, in seconds or as ``"5m"``.
        executor: ``"processes"`` trains in worker processes; this process without it.
        quiet: Whether nothing is told meanwhile.
        words: Any other setting by its flag: ``label_noise=0.2`` is ``--label-noise 0.2``.

    Returns:
        Its ``rows()`` are row, label, suggested class and score, the most suspicious first; ``suspects`` has the same
        as arrays, ``beliefs`` what the networks believe; printed, it is a few sentences.

    Raises:
        InputError: if an input cannot be used; nothing is written then.

    Example:
        >>> import numpy as np
        >>> X = np.random.default_rng(0).normal(size=(200, 3)).astype("float32")
        >>> y = X.argmax(1)
        >>> y[7] = (y[7] + 1) % 3
        >>> index, given, suggested, score = suspects((X, y), epochs=30, quiet=True).rows()[0]
        >>> index
        7
    """
    started = time.perf_counter()
    limit = None if time_limit is None else parsed_time(time_limit)
    if out is not None:
        check_table(Path(out))
    beside = {"validation": None, "test": None, "groups": groups}
    look = looked_at("suspects", data, beside, {"model": model, "target": target, **words}, PARTS)
    check_suspects(look.settings, folds, networks)
    with Bar(quiet) as shown, running(executor) as runs:
        found = find_suspects(
            look.settings,
            look.source,
            loss=loss,
            folds=folds,
            networks=networks,
            seed=seed,
            executor=runs,
            time_limit=limit,
            model=look.model,
            report=partial(shown.quarter, "training"),
            started=started,
        )
    if out is not None:
        write_whole(found.to_csv(), out)
    return found
