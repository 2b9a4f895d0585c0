"""How networks learned: the curves by which losses were tuned, or what a training function reported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lossmith.analysis import Comparison
from lossmith.io import parsed_json
from lossmith.losses import Loss
from lossmith.study import Store, reported_curves

TUNING_KEYS = ("lr", "epochs", "stop", "seeds")
# The most points of a curve that a training function reported.
POINTS = 101


@dataclass(frozen=True)
class Curve:
    """How a loss was trained: mean fitness over the networks after each epoch, or as a training function reported it.

    Args:
        name: The loss.
        baseline: Whether it is one.
        fitness: ``[E]``; None where it is not finite, or nothing was reported.
        stop: After which epoch the final networks stop; None where the training function knows that.
        networks: How many.
        shares: Percent of the training at which it stands, ``[E]``; None where it is of epochs.
    """

    name: str
    baseline: bool
    fitness: list[float | None]
    stop: int | None
    networks: int
    shares: list[float] | None = None


def nameless(loss: Loss) -> dict[str, Any]:
    """What a loss is, whatever it is called."""
    return {key: value for key, value in loss.key().items() if key != "name"}


def curves_of(store: Store, comparison: Comparison) -> list[Curve]:
    """The curve of each loss of a comparison; none where none was kept."""
    return _tuned(store, comparison) or _reported(store, comparison)


def _tuned(store: Store, comparison: Comparison) -> list[Curve]:
    """The curve that the setting of each loss was chosen by: of most networks, and then the longest."""
    kept: list[tuple[dict[str, Any], Any]] = []
    for analysis in store.analyses():
        # Other analyses have names; those of comparisons are digests alone.
        if " " not in analysis and analysis != "tuning":
            keys = ((_key(part), result) for part, result in store.records(analysis).items())
            kept += [(key, result) for key, result in keys if key is not None]
    found = []
    for row in comparison.rows:
        body, best = nameless(Loss.from_json(row.loss)), Curve(row.name, row.baseline, [], row.stop, 0)
        for key, result in kept:
            if (key["lr"], key["epochs"]) != (row.lr, row.epochs):
                continue
            for loss, curve in zip(key["tuning"], result, strict=False):
                same = isinstance(loss, dict) and {**loss, "name": None} == {**body, "name": None}
                if same and _is_curve(curve) and (len(key["seeds"]), len(curve)) > (best.networks, len(best.fitness)):
                    best = Curve(row.name, row.baseline, curve, row.stop, len(key["seeds"]))
        if best.networks:
            found.append(best)
    return found


def _key(part: str) -> dict[str, Any] | None:
    """What was tuned together; None for what is no tuning on curves."""
    if not part.startswith('{"tuning"'):
        return None
    key = parsed_json(part)
    lists = all(isinstance(key.get(name), list) for name in ("tuning", "seeds"))
    return key if lists and all(name in key for name in TUNING_KEYS) else None


def _is_curve(value: Any) -> bool:
    return isinstance(value, list) and all(one is None or isinstance(one, float | int) for one in value)


def _reported(store: Store, comparison: Comparison) -> list[Curve]:
    """What the final trainings of each loss reported, where the training function reports."""
    reported = [[np.array(sorted(curve)) for curve in some] for some in reported_curves(store, comparison)]
    points = [curve[:, 0] for some in reported for curve in some]
    if not points:
        return []
    every = np.unique(np.concatenate(points))
    shares = every if len(every) <= POINTS else np.linspace(every[0], every[-1], POINTS)
    found = []
    for row, curves in zip(comparison.rows, reported, strict=True):
        if curves:
            known = [np.interp(shares, at, score, left=np.nan, right=np.nan) for at, score in (one.T for one in curves)]
            mean = np.mean(known, axis=0)
            heights = [value if np.isfinite(value) else None for value in mean.tolist()]
            found.append(Curve(row.name, row.baseline, heights, None, len(curves), (100 * shares).tolist()))
    return found
