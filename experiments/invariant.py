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

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import roc_auc_score
from torch import Tensor

from lossmith.data import DataSettings, Source, open_source, search_parts
from lossmith.io import read_json, write_json, write_whole
from lossmith.losses import Loss, taylor
from lossmith.metrics.statistics import holm
from lossmith.nets import ModelSettings, network_factory
from lossmith.report import save_figure
from lossmith.report.figures import EVOLVED, OTHER, PLAIN, styled
from lossmith.seeds import derive, generator
from lossmith.theory import bias_growth, canonical, is_trainable, margin, zones
from lossmith.training import Recipe, Task, accuracy, repeated, train

SIGMA, CHANCE = 1.2, 2.5
COUNTEREXAMPLE = (0.0, 0.0, 0.0, -10.0, 0.0, -6.2, 30.0, 0.0)
RATES = (0.0004, 0.002, 0.01, 0.05, 0.25)
SEEDS, EPOCHS, CHUNK = 3, 15, 80
LEVELS = (0.2, 0.25, 0.3, 0.5)
BANDS = {
    "up to 0": (-np.inf, 0.0),
    "0 to 0.5": (0.0, 0.5),
    "0.5 to 1": (0.5, 1.0),
    "1 to 2": (1.0, 2.0),
    "above 2": (2.0, np.inf),
}
RESAMPLES = 2000


def draw(count: int) -> Tensor:
    """The random λ, ``[count, 8]``."""
    return SIGMA * torch.randn(count, 8, dtype=torch.float64, generator=generator("invariant", "lambda"))


def setting(name: str) -> tuple[Source, DataSettings]:
    """Data of a setting."""
    digits = open_source("digits")
    if name == "features":
        return Source.from_tensors(digits.inputs.flatten(1), digits.targets), DataSettings(train_size=800)
    if name == "five":
        kept = digits.targets < 5
        return Source.from_tensors(digits.inputs[kept], digits.targets[kept]), DataSettings(train_size=450)
    return digits, DataSettings(train_size=800)


SETTINGS = {"image": 10, "features": 10, "five": 5}


def run(name: str, lam: Tensor, count: int = SEEDS) -> dict[str, Any]:
    """Validation accuracy and number of predicted classes after the last epoch, each ``[λ, learning rates, seeds]``."""
    parts = search_parts(*setting(name))
    factory = network_factory(ModelSettings(), parts.train.inputs, parts.classes)
    task = Task(factory, parts.train.inputs, parts.train.targets, parts.classes)
    seeds = [derive("invariant", "training", number) for number in range(count)]
    scores = np.zeros((len(lam), len(RATES), count))
    predicted = np.zeros(scores.shape, dtype=int)
    started = time.perf_counter()
    for place, lr in enumerate(RATES):
        for start in range(0, len(lam), CHUNK):
            losses = taylor(lam[start : start + CHUNK])
            recipe = Recipe(lr=lr, epochs=EPOCHS)
            trained = train(task, repeated(losses, count), seeds * len(losses), recipe, "population")
            logits = trained.networks.logits(parts.validation.inputs)
            found = torch.where(trained.diverged, 0.0, accuracy(logits, parts.validation.targets))
            rows = slice(start, start + len(losses))
            scores[rows, place] = found.reshape(-1, count).numpy()
            several = [len(answers.unique()) for answers in logits.argmax(-1)]
            predicted[rows, place] = np.array(several).reshape(-1, count)
        print(f"{name}, lr {lr:g} done, {time.perf_counter() - started:.0f} s", flush=True)
    return {
        "data": parts.train.inputs.shape[1:],
        "train": len(parts.train),
        "validation": len(parts.validation),
        "training_seeds": seeds,
        "accuracy": np.round(scores, 4).tolist(),
        "predicted_classes": predicted.tolist(),
    }


def features(lam: Tensor, classes: int) -> dict[str, NDArray[np.float64]]:
    """What the theory says of each λ that the exact form passes (NaN for the others)."""
    losses = taylor(lam)
    known = is_trainable(losses, classes)
    shape = canonical(losses, classes)
    stop: list[float] = [_reach(losses[k], classes) if known[k] else float("nan") for k in range(len(lam))]
    columns = {
        "log gain": shape.log_gain,
        "ch/m": shape.ch,
        "chh/m": shape.chh,
        "chy/m": shape.chy,
        "bias growth": bias_growth(losses, classes),
        "reach": torch.tensor(stop, dtype=torch.float64),
    }
    return {name: torch.where(known, values, torch.nan).numpy() for name, values in columns.items()}


def _reach(loss: Loss, classes: int) -> float:
    """The target output up to which the exact attraction pulls from the null epoch on."""
    start = 1 - 1 / classes
    return 1 - next(zone.low for zone in zones(loss, classes) if zone.low < start <= zone.high)


FEATURES = {
    "log gain": "log(m/n), how hard the first gradients pull",
    "ch/m": "canonical coordinate",
    "chh/m": "canonical coordinate",
    "chy/m": "canonical coordinate",
    "bias growth": "(ch + 2 chh/n + chy/n)/m: how fast outputs grow apart at the null epoch whatever the label, "
    "against how fast the label is learned",
    "reach": "target output at which the exact attraction from the null epoch on turns to repulsion",
}


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


def decides(columns: dict[str, NDArray[np.float64]], left: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """How well each quantity alone tells those that leave chance level from those that do not."""
    rows: list[dict[str, Any]] = []
    for name, values in columns.items():
        area = float(roc_auc_score(left, values))
        p = float(stats.mannwhitneyu(values[left], values[~left]).pvalue)
        rows.append({"name": name, "auc": max(area, 1 - area), "higher_is_better": area >= 0.5, "p": p})
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
    found: list[float] = []
    while len(found) < RESAMPLES:
        rows = random.integers(len(left), size=len(left))
        if left[rows].any() and not left[rows].all():
            areas = [roc_auc_score(left[rows], -columns[name][rows]) for name in ("bias growth", "ch/m")]
            found.append(areas[0] - areas[1])
    return [float(value) for value in np.quantile(found, [0.025, 0.975])]


def judge(name: str, kept: dict[str, Any]) -> dict[str, Any]:
    """Everything that is told of a setting, from λ and the raw accuracies."""
    classes, lam = SETTINGS[name], torch.tensor(kept["lambda"], dtype=torch.float64)
    losses, scores = taylor(lam), np.array(kept["accuracy"])
    predicted = np.array(kept["predicted_classes"])
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


def page(judged: dict[str, Any], counterexample: dict[str, Any], versions: dict[str, str], command: str) -> str:
    """The outcome as a Markdown page."""
    image = judged["image"]
    count = sum(row["count"] for row in image["cells"])
    rejected = {name: [row for row in found["cells"] if not row["exact"]] for name, found in judged.items()}
    broken = sum(row["left"] for rows in rejected.values() for row in rows)
    passed = [row for row in image["cells"] if row["exact"]]
    lines = [
        f"# The invariant against {count} random losses",
        "",
        f"Made by `{command}`, {', '.join(f'{name} {number}' for name, number in versions.items())}. The settings, and",
        "what was set before the run, stand at the head of",
        "[`experiments/invariant.py`](../../experiments/invariant.py). Raw runs: `runs-SETTING.json`.",
        "",
        f"A loss leaves chance level if its mean validation accuracy over {SEEDS} seeds is above 2.5/n at one of the",
        f"learning rates {', '.join(f'{lr:g}' for lr in RATES)}.",
        "",
        "## Both forms",
        "",
        "| exact, m > 0 | published (theorem 3) | image | features | five |",
        "|---|---|---|---|---|",
    ]
    for number, row in enumerate(image["cells"]):
        found = [judged[name]["cells"][number] for name in SETTINGS]
        told = " | ".join(f"{one['left']} of {one['count']} ({_share(one)})" for one in found)
        lines.append(f"| {_word(row['exact'])} | {_word(row['published'])} | {told} |")
    best = ", ".join(f"{judged[name]['rejected_best']:.1%} in {name}" for name in SETTINGS)
    lines += [
        "",
        f"**Necessary for these λ: {'held' if broken == 0 else 'did not hold'}.** Of the losses that the exact form",
        f"rejects, {broken} leave chance level (highest mean accuracy among them: {best}).",
        f"**Not sufficient:** in image, {sum(row['left'] for row in passed)} of the",
        f"{sum(row['count'] for row in passed)} that it passes do.",
        "",
        f"**It is not necessary in general.** λ = {list(COUNTEREXAMPLE)} has m = {counterexample['margin']:.3g} and is",
        "rejected, yet attracts wherever the target's output is a little above 1/n. In the setting image, mean and",
        f"sample standard deviation of {counterexample['seeds']} seeds: "
        + ", ".join(
            f"{row['mean']:.1%} ± {row['std']:.1%} at learning rate {row['lr']:g}" for row in counterexample["rates"]
        )
        + ".",
        "",
        "By learning rate, image, losses that leave chance level in each cell:",
        "",
        "| learning rate | both pass | exact only | published only | neither |",
        "|---|---|---|---|---|",
    ]
    lines += [_cells_row(lr, rows) for lr, rows in image["by_rate"].items()]
    lines += [
        "",
        "By what counts as leaving chance level, image, at the best learning rate:",
        "",
        "| mean accuracy above | both pass | exact only | published only | neither |",
        "|---|---|---|---|---|",
    ]
    lines += [_cells_row(f"{float(level):.0%}", rows) for level, rows in image["by_level"].items()]
    lines += [
        "",
        "## What else decides among those that the exact form passes",
        "",
        "Each quantity alone, on the passed losses among the last 500 (unit: a loss): area under the ROC curve, and",
        "Mann-Whitney p, corrected by Holm over the six.",
        "",
        "| quantity | what it is | "
        + " | ".join(f"{name}, n = {judged[name]['confirming']}" for name in SETTINGS)
        + " |",
        "|---|---|---|---|---|",
    ]
    for first in image["decides"]:
        found = [next(row for row in judged[name]["decides"] if row["name"] == first["name"]) for name in SETTINGS]
        told = " | ".join(
            f"{row['auc']:.3f}, {'higher' if row['higher_is_better'] else 'lower'} is better, p = {row['holm']:.1g}"
            for row in found
        )
        lines.append(f"| {first['name']} | {FEATURES[first['name']]} | {told} |")
    held = {True: "held", False: "did not hold"}
    areas = [next(r["auc"] for r in judged[name]["decides"] if r["name"] == "bias growth") for name in SETTINGS]
    gains = [judged[name]["advantage"] for name in SETTINGS]
    lines += [
        "",
        f"**Bias growth, an area of at least 0.9 in every setting: {held[min(areas) >= 0.9]}.**",
        f"**Better than ch/m in every setting: {held[min(low for low, _ in gains) > 0]}** "
        f"(difference of the areas, 95 %: "
        + ", ".join(f"[{low:+.3f}, {high:+.3f}] in {name}" for name, (low, high) in zip(SETTINGS, gains, strict=True))
        + ").",
        "",
        "By the bias growth, the passed losses among the last 500 (in brackets: among all):",
        "",
        "| bias growth | image | features | five |",
        "|---|---|---|---|",
    ]
    for number, name in enumerate(BANDS):
        told = " | ".join(
            f"{judged[one]['bands_confirming'][number]['left']} of {judged[one]['bands_confirming'][number]['count']} "
            f"({judged[one]['bands'][number]['left']} of {judged[one]['bands'][number]['count']})"
            for one in SETTINGS
        )
        lines.append(f"| {name} | {told} |")
    lines += [
        "",
        "Networks of passed losses with a bias growth above 2 that end by predicting one class for every sample: "
        + ", ".join(f"{judged[name]['one_class_above_2']:.0%} in {name}" for name in SETTINGS)
        + ".",
        "",
        "![Where the losses lie](invariant.png)",
    ]
    return "\n".join(lines) + "\n"


def _word(passes: bool) -> str:
    return "passes" if passes else "rejects"


def _share(row: dict[str, Any]) -> str:
    return f"{row['left'] / row['count']:.0%}" if row["count"] else "–"


def _cells_row(name: str, rows: list[dict[str, Any]]) -> str:
    return f"| {name} | " + " | ".join(f"{row['left']} of {row['count']}" for row in rows) + " |"


def picture(kept: dict[str, dict[str, Any]]) -> Figure:
    """Best mean accuracy against the margin (image), and against the bias growth of those that pass (each setting)."""
    with styled():
        figure = Figure(figsize=(11.4, 3.9), layout="constrained")
        left, *others = figure.subplots(1, 1 + len(kept), sharey=True)
        for axes, name in zip((left, *others), ("image", *kept), strict=True):
            classes, lam = SETTINGS[name], torch.tensor(kept[name]["lambda"], dtype=torch.float64)
            losses, best = taylor(lam), 100 * np.array(kept[name]["accuracy"]).mean(2).max(1)
            value = margin(losses, classes) if axes is left else bias_growth(losses, classes)
            published = is_trainable(losses, classes, "published").numpy()
            for passes, color in ((True, OTHER), (False, EVOLVED)):
                inside = published == passes
                text = f"published form {_word(passes)}"
                axes.scatter(value.numpy()[inside], best[inside], s=8, color=color, alpha=0.6, lw=0, label=text)
            axes.axvline(0, color=PLAIN, lw=0.9)
            axes.axhline(100 * CHANCE / classes, color="grey", lw=0.9, ls="--")
            axes.set_xscale("symlog", linthresh=0.1 if axes is left else 1)
            axes.set_xticks([-10, -0.1, 0, 0.1, 10] if axes is left else [-100, -1, 0, 1, 100])
            axes.set_title("All, image" if axes is left else f"m > 0, {name}")
            axes.set_xlabel("null-epoch margin m" if axes is left else "bias growth")
        left.set_ylabel("validation accuracy at the best rate, %")
        left.legend(fontsize=8, loc="center left")
        return figure


def tried_by_hand() -> dict[str, Any]:
    """The counterexample: 10 seeds at each learning rate."""
    lam = torch.tensor([COUNTEREXAMPLE], dtype=torch.float64)
    found = run("image", lam, count=10)
    rates = [
        {"lr": lr, "mean": float(np.mean(row)), "std": float(np.std(row, ddof=1)), "accuracy": row}
        for lr, row in zip(RATES, found["accuracy"][0], strict=True)
    ]
    return {"margin": float(margin(taylor(lam), 10)[0]), "seeds": 10, "rates": rates}


def main() -> None:
    """Train, judge, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("target", type=Path, help="directory of the results")
    parser.add_argument("--count", type=int, default=1000, help="number of random losses")
    parser.add_argument("--again", action="store_true", help="judge the kept runs again and train nothing")
    given = parser.parse_args()
    given.target.mkdir(parents=True, exist_ok=True)
    versions = {"torch": torch.__version__, "numpy": np.__version__}
    if not given.again:
        lam = draw(given.count)
        write_json(tried_by_hand(), given.target / "counterexample.json")
        for name in SETTINGS:
            document = {
                "rates": RATES,
                "epochs": EPOCHS,
                "versions": versions,
                "lambda": lam.tolist(),
                **run(name, lam),
            }
            write_whole((json.dumps(document) + "\n").encode(), given.target / f"runs-{name}.json")
    kept = {name: read_json(given.target / f"runs-{name}.json") for name in SETTINGS}
    judged = {name: judge(name, document) for name, document in kept.items()}
    write_json(judged, given.target / "summary.json")
    command = f"python experiments/invariant.py results/{given.target.name}"
    text = page(judged, read_json(given.target / "counterexample.json"), kept["image"]["versions"], command)
    write_whole(text.encode(), given.target / "summary.md")
    save_figure(picture(kept), given.target / "invariant.png")


if __name__ == "__main__":
    main()
