"""What the trainability invariant is worth: random Taylor losses trained on digits, against both of its forms.

    python experiments/invariant.py results/invariant

1000 λ, each number drawn from N(0, 1.2²) as TaylorGLO's search does at its start, and for each an MLP trained on
handwritten digits (clean labels, 15 epochs) at five learning rates with three seeds each, in three settings:

- ``image``: images [1, 8, 8], normalised by one mean and deviation; 800 training samples;
- ``features``: the same as 64 features, each normalised by its own;
- ``five``: as image, the digits 0 to 4 only; 450 training samples.

No test sample is used: accuracy is that of the validation part, after the last epoch, a network that diverged counting
as 0.

Written down before the run:

- A loss leaves chance level if its mean accuracy over the three seeds is above 2.5/n at one of the learning rates or
  more (25 % for ten classes; for `image` all counts are told at 20, 30 and 50 %, too).
- The exact form (m > 0) is called necessary for this distribution of λ if no λ that it rejects leaves chance level in
  any setting, and not sufficient if some that it passes do not.
- What else decides among those it passes: the quantities of `FEATURES`, each computed from λ and n alone. The first 500
  λ are for looking; the figures told (area under the ROC curve, Mann-Whitney p with Holm's correction) are those of the
  last 500. The bias growth is called useful if its area there is at least 0.9 in every setting, and better than ch/m if
  the 95 % interval (paired bootstrap over the last 500) of the difference of the two areas lies above 0 in every one.

Not written down before: the bands of the bias growth, and the counterexample, a loss with m < 0 that was found by hand
after a first run of `image` alone. What that run showed led to `features` and `five`, of which a trial with the first
80 λ was made before.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from invariant_page import page, picture
from invariant_runs import BANDS, CHANCE, RATES, SETTINGS, features, runs_of, tried_by_hand
from numpy.typing import NDArray
from program import arguments, digest_of, each, kept, processes, tell
from scipy import stats
from sklearn.metrics import roc_auc_score

from lossmith.io import read_json, write_json, write_whole
from lossmith.losses import taylor
from lossmith.metrics import holm
from lossmith.theory import is_trainable

LEVELS = (0.2, 0.25, 0.3, 0.5)
COUNT, RESAMPLES = 1000, 2000


def cells(exact: NDArray[np.bool_], published: NDArray[np.bool_], left: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """How many λ of each cell leave chance level."""
    rows = []
    for passes in (True, False):
        for also in (True, False):
            inside = (exact == passes) & (published == also)
            rows.append(
                {"exact": passes, "published": also, "count": int(inside.sum()), "left": int((left & inside).sum())}
            )
    return rows


def area(values: NDArray[np.float64], left: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Area under the ROC curve of the last dimension: the share of pairs in the right order, half of the ties."""
    ranks, count = stats.rankdata(values, axis=-1), left.sum(-1)
    found: NDArray[np.float64] = ((ranks * left).sum(-1) - count * (count + 1) / 2) / (count * (~left).sum(-1))
    return found


def decides(columns: dict[str, NDArray[np.float64]], left: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """How well each quantity alone tells those that leave chance level from those that do not."""
    rows: list[dict[str, Any]] = []
    for name, values in columns.items():
        found = float(roc_auc_score(left, values))
        p = float(stats.mannwhitneyu(values[left], values[~left]).pvalue)
        rows.append({"name": name, "auc": max(found, 1 - found), "higher_is_better": found >= 0.5, "p": p})
    for row, corrected in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["holm"] = corrected
    return sorted(rows, key=lambda row: -row["auc"])


def bands(growth: NDArray[np.float64], left: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """How many of some λ leave chance level, by their bias growth."""
    inside = {name: (growth > low) & (growth <= high) for name, (low, high) in BANDS.items()}
    return [{"band": name, "count": int(rows.sum()), "left": int((left & rows).sum())} for name, rows in inside.items()]


def advantage(columns: dict[str, NDArray[np.float64]], left: NDArray[np.bool_]) -> list[float]:
    """95 % interval of the area of the bias growth less that of ch/m, by a paired bootstrap."""
    random = np.random.default_rng(0)
    chosen: list[NDArray[np.int64]] = []
    while len(chosen) < RESAMPLES:
        rows = random.integers(len(left), size=len(left))
        if left[rows].any() and not left[rows].all():
            chosen.append(rows)
    drawn = np.stack(chosen)
    first, second = (area(-columns[name][drawn], left[drawn]) for name in ("bias growth", "ch/m"))
    return [float(value) for value in np.quantile(first - second, [0.025, 0.975])]


def judge(name: str, runs: dict[str, Any]) -> dict[str, Any]:
    """Everything that is told of a setting, from λ and the raw accuracies."""
    classes, lam = SETTINGS[name], torch.tensor(runs["lambda"], dtype=torch.float64)
    losses, scores = taylor(lam), np.array(runs["accuracy"])
    predicted = np.array(runs["predicted_classes"])
    exact, published = (is_trainable(losses, classes, form).numpy() for form in ("exact", "published"))
    means = scores.mean(2)
    left = means.max(1) > CHANCE / classes
    known = {column: values[exact] for column, values in features(lam, classes).items()}
    confirm = (np.arange(len(lam)) >= len(lam) // 2)[exact]
    columns = {column: values[confirm] for column, values in known.items()}
    fast = predicted[exact][known["bias growth"] > 2]
    return {
        "cells": cells(exact, published, left),
        "by_rate": {f"{lr:g}": cells(exact, published, means[:, k] > CHANCE / classes) for k, lr in enumerate(RATES)},
        "by_level": {f"{level:g}": cells(exact, published, means.max(1) > level) for level in LEVELS},
        "rejected_best": float(means[~exact].max()),
        "decides": decides(columns, left[exact][confirm]),
        "advantage": advantage(columns, left[exact][confirm]),
        "confirming": int(confirm.sum()),
        "bands": bands(known["bias growth"], left[exact]),
        "bands_confirming": bands(columns["bias growth"], left[exact][confirm]),
        "one_class_above_2": float((fast == 1).mean()),
    }


def main() -> None:
    """Train, judge, and write the results."""
    counts = {"count": (COUNT, 2, "random losses")}
    given = arguments(__doc__, "invariant", {}, counts, data=False)
    versions = {"torch": torch.__version__, "numpy": np.__version__}
    given.target.mkdir(parents=True, exist_ok=True)
    if not given.again:
        key = digest_of(json.dumps([given.count, versions]))
        with processes(given.workers) as pool:
            found = each(pool, part, [(name, given.count, key, given.work) for name in (*SETTINGS, "counterexample")])
        write_json(found.pop(), given.target / "counterexample.json")
        for name, runs in zip(SETTINGS, found, strict=True):
            text = json.dumps({"versions": versions, **runs}) + "\n"
            write_whole(text.encode(), given.target / f"runs-{name}.json")
    kept_runs = {name: read_json(given.target / f"runs-{name}.json") for name in SETTINGS}
    count = len(kept_runs["image"]["lambda"])
    judged = {name: judge(name, runs) for name, runs in kept_runs.items()}
    command = f"python experiments/invariant.py results/{given.target.name}" + (
        f" --count {count}" if count != COUNT else ""
    )
    lines = page(judged, read_json(given.target / "counterexample.json"), kept_runs["image"]["versions"], command)
    tell(given.target, judged, lines, {"invariant": picture(kept_runs)})


def part(name: str, count: int, key: str, work: Path) -> dict[str, Any]:
    """The runs of a setting, or the counterexample's; kept in a file."""
    made = tried_by_hand if name == "counterexample" else partial(runs_of, name, count)
    return dict(kept(work / f"{name}.json", key, made))


if __name__ == "__main__":
    main()
