"""Where a loss comes from: what ``best.json`` says besides the loss, and what a study remembers of its beginning."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from lossmith.code import digest_of_code
from lossmith.errors import printable
from lossmith.metrics import mean_of
from lossmith.study.config import EvolveSettings, portable
from lossmith.study.pareto import PRUNED
from lossmith.study.problem import Problem
from lossmith.study.store import Store
from lossmith.study.tuning import tuning_trainings

NAMED = 8
LOG = logging.getLogger("lossmith")


def provenance_document(
    store: Store,
    problem: Problem,
    settings: EvolveSettings,
    backend: str,
    winner: Mapping[str, Any],
    finalists: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """What ``best.json`` says of the winner.

    Args:
        store: The study's.
        problem: What was searched for.
        settings: As the study went on with.
        backend: How networks were trained.
        winner: Its stored result.
        finalists: All stored results, its own among them.
    """
    counts = store.counts()
    written = portable(settings)
    if store.function is not None:
        # They say what another search would have maximized.
        del written["objective"]
    candidates = {name: counts[name] for name in ("candidates", "untrainable", "diverged", "trainings")}
    if settings.run.prune_at is not None:
        candidates["dropped trainings"] = pruned_trainings(store.candidates())
    return {
        "origin": winner["origin"],
        "lr": winner["origin"].get("lr", settings.recipe.lr),
        "validation": spread(winner["scores"]),
        "finalists": finalists_of(finalists, settings.recipe.lr),
        "candidates": candidates,
        "tuning": tuning_of(store),
        "invariant": store.verdicts(),
        "objective": store.function,
        "class_weight": problem.class_weight(settings.recipe),
        "data": data_of(store, problem),
        "digest": problem.digest,
        "settings": written,
        "training": backend,
        "versions": versions_of(store),
    }


def finalists_of(finalists: Sequence[Mapping[str, Any]], lr: float | None) -> list[dict[str, Any]]:
    """What is told of finalists, where the learning rate of those without one of their own is known."""
    return [
        {
            "name": row["name"],
            "kind": row["origin"]["kind"],
            "status": row["status"],
            "lr": row["origin"].get("lr", lr),
            **spread(row["scores"]),
            "figures": {name: spread(values) for name, values in row["figures"].items()},
            **({} if row["error"] is None else {"error": row["error"]}),
        }
        for row in finalists
    ]


def tuning_of(store: Store) -> dict[str, Any] | None:
    """The rate that a sweep found, if one was made, and how many networks tuning has trained; None without tuning."""
    rate = store.setting("rate")
    if rate is None and store.setting("known losses") is None:
        return None
    return {**(rate or {}), "trainings": tuning_trainings(store)}


def data_of(store: Store, problem: Problem) -> dict[str, Any]:
    """What the data is, as it was when the study began."""
    stored: dict[str, Any] | None = store.setting("data")
    if stored is None:
        stored = problem.described()
        store.set("data", stored)
    # Version 0.1 did not say which share of the labels is wrong.
    return {"wrong_labels": problem.wrong, **stored}


def versions_of(store: Store) -> dict[str, str]:
    """The versions that the study began with."""
    stored: dict[str, str] | None = store.setting("versions")
    if stored is None:
        stored = {"lossmith": version("lossmith"), "torch": torch.__version__}
        store.set("versions", stored)
    return stored


def tell_other_code(store: Store, code: Mapping[str, Any]) -> None:
    """Keep digests of the user's code with which a study begins, and say where it goes on with other code.

    Args:
        store: The study's.
        code: Classes, functions or names of code, by what messages call them.
    """
    found = {what: digest for what, one in code.items() if (digest := digest_of_code(one)) is not None}
    stored: dict[str, str] | None = store.setting("code")
    if stored is None:
        if found:
            store.set("code", found)
        return
    for what, digest in found.items():
        if stored.get(what, digest) != digest:
            LOG.warning(
                "the code of %s has changed since the study in %s began: what is stored was trained with what it was; "
                "if that matters, begin another study",
                what,
                store.path.parent,
            )


def data_line(data: Mapping[str, Any]) -> str:
    """What :meth:`Problem.described` tells, in one line."""
    names = data["class_names"] or []
    called = f" ({', '.join(names[:NAMED])}{', …' * (len(names) > NAMED)})" if names else ""
    shape = " × ".join(map(str, data["shape"]))
    wrong = [f"{share:.1%} of the labels for {part}" for part, share in data.get("wrong_labels", {}).items() if share]
    noise = f"; noise makes {' and '.join(wrong).replace('train', 'training')} wrong" if wrong else ""
    return printable(
        f"{data['name']}: {data['classes']} classes{called}, samples of {shape}; {data['train']} for training, "
        f"{data['validation']} for validation, {data['test']} for test{noise}"
    )


def pruned_trainings(rows: Sequence[Mapping[str, Any]]) -> int:
    """How many networks of stored candidates were given up as hopeless."""
    return round(sum(sum(row["figures"].get(PRUNED, ())) for row in rows))


def spread(scores: Sequence[float | None]) -> dict[str, Any]:
    """Mean, sample standard deviation and number of some scores; neither of the first where one is not finite."""
    mean = mean_of(scores)
    std = None if mean is None or len(scores) < 2 else float(np.std(np.array(scores, float), ddof=1))
    return {"mean": mean, "std": std, "n": len(scores)}
