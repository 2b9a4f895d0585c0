"""How the outcome of the invariant's experiment is told: a Markdown page and a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from evidence import markdown
from invariant_runs import BANDS, CHANCE, COUNTEREXAMPLE, FEATURES, RATES, SEEDS, SETTINGS
from matplotlib.figure import Figure

from lossmith.losses import taylor
from lossmith.report import EVOLVED, OTHER, PLAIN, styled
from lossmith.theory import bias_growth, is_trainable, margin

HELD = {True: "held", False: "did not hold"}


def page(judged: dict[str, Any], counterexample: dict[str, Any], versions: dict[str, str], command: str) -> list[str]:
    """The outcome as a Markdown page."""
    image = judged["image"]
    count = sum(row["count"] for row in image["cells"])
    rejected = [row["left"] for found in judged.values() for row in found["cells"] if not row["exact"]]
    passed = [row for row in image["cells"] if row["exact"]]
    best = ", ".join(f"{judged[name]['rejected_best']:.1%} in {name}" for name in SETTINGS)
    by_hand = ", ".join(
        f"{row['mean']:.1%} ± {row['std']:.1%} at learning rate {row['lr']:g}" for row in counterexample["rates"]
    )
    areas = [next(r["auc"] for r in judged[name]["decides"] if r["name"] == "bias growth") for name in SETTINGS]
    gains = [judged[name]["advantage"] for name in SETTINGS]
    gained = ", ".join(
        f"[{low:+.3f}, {high:+.3f}] in {name}" for name, (low, high) in zip(SETTINGS, gains, strict=True)
    )
    alike = ", ".join(f"{judged[name]['one_class_above_2']:.0%} in {name}" for name in SETTINGS)
    cells = ["both pass", "exact only", "published only", "neither"]
    return [
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
        *markdown(
            ["exact, m > 0", "published (theorem 3)", *SETTINGS],
            (
                [_word(row["exact"]), _word(row["published"]), *(_share(judged[name]["cells"][k]) for name in SETTINGS)]
                for k, row in enumerate(image["cells"])
            ),
        ),
        "",
        f"**Necessary for these λ: {HELD[not any(rejected)]}.** Of the losses that the exact form",
        f"rejects, {sum(rejected)} leave chance level (highest mean accuracy among them: {best}).",
        f"**Not sufficient:** in image, {sum(row['left'] for row in passed)} of the",
        f"{sum(row['count'] for row in passed)} that it passes do.",
        "",
        f"**It is not necessary in general.** λ = {list(COUNTEREXAMPLE)} has m = {counterexample['margin']:.3g} and is",
        "rejected, yet attracts wherever the target's output is a little above 1/n. In the setting image, mean and",
        f"sample standard deviation of {counterexample['seeds']} seeds: {by_hand}.",
        "",
        "By learning rate, image, losses that leave chance level in each cell:",
        "",
        *markdown(["learning rate", *cells], ([lr, *map(_count, rows)] for lr, rows in image["by_rate"].items())),
        "",
        "By what counts as leaving chance level, image, at the best learning rate:",
        "",
        *markdown(
            ["mean accuracy above", *cells],
            ([f"{float(level):.0%}", *map(_count, rows)] for level, rows in image["by_level"].items()),
        ),
        "",
        "## What else decides among those that the exact form passes",
        "",
        "Each quantity alone, on the passed losses among the last 500 (unit: a loss): area under the ROC curve, and",
        "Mann-Whitney p, corrected by Holm over the six.",
        "",
        *markdown(
            ["quantity", "what it is", *(f"{name}, n = {judged[name]['confirming']}" for name in SETTINGS)],
            ([row["name"], FEATURES[row["name"]], *_decided(judged, row["name"])] for row in image["decides"]),
        ),
        "",
        f"**Bias growth, an area of at least 0.9 in every setting: {HELD[min(areas) >= 0.9]}.**",
        f"**Better than ch/m in every setting: {HELD[min(low for low, _ in gains) > 0]}** "
        f"(difference of the areas, 95 %: {gained}).",
        "",
        "By the bias growth, the passed losses among the last 500 (in brackets: among all):",
        "",
        *markdown(["bias growth", *SETTINGS], ([name, *_banded(judged, k)] for k, name in enumerate(BANDS))),
        "",
        "Networks of passed losses with a bias growth above 2 that end by predicting one class for every sample: "
        f"{alike}.",
        "",
        "![Where the losses lie](invariant.png)",
    ]


def _word(passes: bool) -> str:
    return "passes" if passes else "rejects"


def _count(row: dict[str, Any]) -> str:
    return f"{row['left']} of {row['count']}"


def _share(row: dict[str, Any]) -> str:
    return f"{_count(row)} ({row['left'] / row['count']:.0%})" if row["count"] else f"{_count(row)} (–)"


def _decided(judged: dict[str, Any], name: str) -> list[str]:
    """How well a quantity alone tells the losses of each setting apart."""
    rows = [next(row for row in judged[one]["decides"] if row["name"] == name) for one in SETTINGS]
    words = {True: "higher", False: "lower"}
    return [f"{row['auc']:.3f}, {words[row['higher_is_better']]} is better, p = {row['holm']:.1g}" for row in rows]


def _banded(judged: dict[str, Any], band: int) -> list[str]:
    """How many losses of a band of the bias growth leave chance level in each setting."""
    return [
        f"{_count(judged[name]['bands_confirming'][band])} ({_count(judged[name]['bands'][band])})" for name in SETTINGS
    ]


def picture(runs: dict[str, dict[str, Any]]) -> Figure:
    """Best mean accuracy against the margin (image), and against the bias growth of those that pass (each setting)."""
    with styled():
        figure = Figure(figsize=(11.4, 3.9), layout="constrained")
        left, *others = figure.subplots(1, 1 + len(runs), sharey=True)
        for axes, name in zip((left, *others), ("image", *runs), strict=True):
            classes, lam = SETTINGS[name], torch.tensor(runs[name]["lambda"], dtype=torch.float64)
            losses, best = taylor(lam), 100 * np.array(runs[name]["accuracy"]).mean(2).max(1)
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
