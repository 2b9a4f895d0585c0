"""What the trainability invariant is worth: random Taylor losses trained on digits, against both of its forms.

    python experiments/invariant.py results/invariant

1000 λ, each number drawn from N(0, 1.2²) as TaylorGLO's search does at its start, and for each an MLP trained on
handwritten digits (800 training samples, clean labels, 15 epochs) at five learning rates with three seeds each. No test
sample is used: accuracy is that of the validation part, after the last epoch, a network that diverged counting as 0.

Written down before the run:

- A loss leaves chance level if its mean accuracy over the three seeds is above 25 % at one of the learning rates or
  more (chance is 10 %; all counts are told at 20, 25, 30 and 50 %, too).
- The exact invariant (m > 0) is necessary if no λ that it rejects leaves chance level at any learning rate.
- It is not sufficient if some that it passes do not.
- What else decides among those it passes: the quantities of `FEATURES`, each computed from λ alone. The first 500 λ are
  for looking (a trial with the first 80 was made before); the figures told (area under the ROC curve, Mann-Whitney p
  with Holm's correction) are those of the last 500. A tree of depth 2 is fitted to the first 500, and judged on the
  last.
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
from sklearn.tree import DecisionTreeClassifier, export_text
from torch import Tensor

from lossmith.data import DataSettings, open_source, search_parts
from lossmith.evaluation.statistics import holm
from lossmith.losses import Loss, taylor
from lossmith.losses.files import write_json, write_whole
from lossmith.nets import ModelSettings, network_factory
from lossmith.report import save_figure
from lossmith.report.figures import EVOLVED, OTHER, PLAIN, styled
from lossmith.seeds import derive, generator
from lossmith.theory import bias_growth, canonical, gain, is_trainable, zones
from lossmith.training import Recipe, Task, accuracy, repeated, train

CLASSES, SIGMA, CHANCE = 10, 1.2, 0.25
RATES = (0.0004, 0.002, 0.01, 0.05, 0.25)
SEEDS, EPOCHS, CHUNK = 3, 15, 80
LEVELS = (0.2, 0.25, 0.3, 0.5)


def draw(count: int) -> Tensor:
    """The random λ, ``[count, 8]``."""
    return SIGMA * torch.randn(count, 8, dtype=torch.float64, generator=generator("invariant", "lambda"))


def run(lam: Tensor) -> NDArray[np.float64]:
    """Validation accuracy after the last epoch, ``[λ, learning rates, seeds]``."""
    parts = search_parts(open_source("digits"), DataSettings(train_size=800))
    factory = network_factory(ModelSettings(), parts.train.inputs, parts.classes)
    task = Task(factory, parts.train.inputs, parts.train.targets, parts.classes)
    seeds = [derive("invariant", "training", number) for number in range(SEEDS)]
    found = np.zeros((len(lam), len(RATES), SEEDS))
    started = time.perf_counter()
    for place, lr in enumerate(RATES):
        for start in range(0, len(lam), CHUNK):
            losses = taylor(lam[start : start + CHUNK])
            trained = train(
                task, repeated(losses, SEEDS), seeds * len(losses), Recipe(lr=lr, epochs=EPOCHS), "population"
            )
            scores = accuracy(trained.networks.logits(parts.validation.inputs), parts.validation.targets)
            scores = torch.where(trained.diverged, 0.0, scores)
            found[start : start + len(losses), place] = scores.reshape(-1, SEEDS).numpy()
        print(f"lr {lr:g} done, {time.perf_counter() - started:.0f} s", flush=True)
    return found


def features(lam: Tensor) -> dict[str, NDArray[np.float64]]:
    """What the theory says of each λ that the exact invariant passes (NaN for the others)."""
    losses = taylor(lam)
    known = is_trainable(losses, CLASSES)
    shape = canonical(losses, CLASSES)
    stop: list[float] = [_reach(losses[k]) if known[k] else float("nan") for k in range(len(lam))]
    columns = {
        "log gain": shape.log_gain,
        "ch/m": shape.ch,
        "chh/m": shape.chh,
        "chy/m": shape.chy,
        "bias growth": bias_growth(losses, CLASSES),
        "reach": torch.tensor(stop, dtype=torch.float64),
    }
    return {name: torch.where(known, values, torch.nan).numpy() for name, values in columns.items()}


def _reach(loss: Loss) -> float:
    """The target output up to which the exact attraction pulls from the null epoch on."""
    start = 1 - 1 / CLASSES
    return 1 - next(zone.low for zone in zones(loss, CLASSES) if zone.low < start <= zone.high)


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
    """How many of the λ that the exact form passes leave chance level, by their bias growth."""
    edges = [(-np.inf, 0.0), (0.0, 0.5), (0.5, 1.0), (1.0, np.inf)]
    inside = [(growth > low) & (growth <= high) for low, high in edges]
    names = ["up to 0", "0 to 0.5", "0.5 to 1", "above 1"]
    return [
        {"band": name, "count": int(rows.sum()), "left": int((left & rows).sum())}
        for name, rows in zip(names, inside, strict=True)
    ]


def tree(columns: dict[str, NDArray[np.float64]], left: NDArray[np.bool_], look: NDArray[np.bool_]) -> dict[str, Any]:
    """A tree of depth 2, fitted to the λ for looking and judged on the others."""
    table = np.stack(list(columns.values()), 1)
    fitted = DecisionTreeClassifier(max_depth=2, min_samples_leaf=10, random_state=0).fit(table[look], left[look])
    return {
        "text": export_text(fitted, feature_names=list(columns), decimals=3),
        "accuracy": float(fitted.score(table[~look], left[~look])),
        "always_the_same": float(max(left[~look].mean(), 1 - left[~look].mean())),
        "n": int((~look).sum()),
    }


def judge(lam: Tensor, scores: NDArray[np.float64], versions: str) -> dict[str, Any]:
    """Everything that is told, from λ and the raw accuracies."""
    losses = taylor(lam)
    exact, published = (is_trainable(losses, CLASSES, form).numpy() for form in ("exact", "published"))
    means = scores.mean(2)
    left = means.max(1) > CHANCE
    known = {name: values[exact] for name, values in features(lam).items()}
    look = (np.arange(len(lam)) < len(lam) // 2)[exact]
    confirm = {name: values[~look] for name, values in known.items()}
    return {
        "torch": versions,
        "cells": cells(exact, published, left),
        "by_rate": {f"{lr:g}": cells(exact, published, means[:, place] > CHANCE) for place, lr in enumerate(RATES)},
        "by_level": {f"{level:g}": cells(exact, published, means.max(1) > level) for level in LEVELS},
        "rejected_best": float(means[~exact].max()),
        "bands": bands(known["bias growth"], left[exact]),
        "decides": decides(confirm, left[exact][~look]),
        "tree": tree(known, left[exact], look),
    }


def page(judged: dict[str, Any], count: int, command: str) -> str:
    """The outcome as a Markdown page."""
    rejected = [row for row in judged["cells"] if not row["exact"]]
    passed = [row for row in judged["cells"] if row["exact"]]
    total = {
        side: (sum(r["left"] for r in rows), sum(r["count"] for r in rows))
        for side, rows in (("rejected", rejected), ("passed", passed))
    }
    lines = [
        f"# The invariant against {count} random losses",
        "",
        f"Made by `{command}`, torch {judged['torch']}. What was set before the run stands at the head of",
        "[`experiments/invariant.py`](../../experiments/invariant.py). Raw accuracies: `runs.json`.",
        "",
        f"A loss leaves chance level if its mean validation accuracy over {SEEDS} seeds is above {CHANCE:.0%} at one",
        f"of the learning rates {', '.join(f'{lr:g}' for lr in RATES)}.",
        "",
        "| exact, m > 0 | published (theorem 3) | losses | leave chance level |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {_word(row['exact'])} | {_word(row['published'])} | {row['count']} | {row['left']} ({_share(row)}) |"
        for row in judged["cells"]
    ]
    held = "held" if total["rejected"][0] == 0 else "did not hold"
    lines += [
        "",
        f"**Necessary: {held}.** Of {total['rejected'][1]} losses that the exact form rejects, {total['rejected'][0]}",
        f"leave chance level (highest mean accuracy among them: {judged['rejected_best']:.1%}).",
        f"**Not sufficient:** of {total['passed'][1]} that it passes, {total['passed'][0]} do.",
        "",
        "By learning rate, losses that leave chance level in each cell:",
        "",
        "| learning rate | both pass | exact only | published only | neither |",
        "|---|---|---|---|---|",
    ]
    lines += [_cells_row(lr, rows) for lr, rows in judged["by_rate"].items()]
    lines += [
        "",
        "By what counts as leaving chance level, at the best learning rate:",
        "",
        "| mean accuracy above | both pass | exact only | published only | neither |",
        "|---|---|---|---|---|",
    ]
    lines += [_cells_row(f"{float(level):.0%}", rows) for level, rows in judged["by_level"].items()]
    n = judged["tree"]["n"]
    lines += [
        "",
        "## What else decides among those that the exact form passes",
        "",
        f"Each quantity alone, on the {n} passed losses of the second half (unit: a loss).",
        "",
        "| quantity | what it is | area under the ROC curve | better if | p (Mann-Whitney, Holm) |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['name']} | {FEATURES[row['name']]} | {row['auc']:.3f} | "
        f"{'higher' if row['higher_is_better'] else 'lower'} | {row['holm']:.1g} |"
        for row in judged["decides"]
    ]
    lines += [
        "",
        "By the bias growth, all that the exact form passes (the bands were not set before the run):",
        "",
        "| bias growth | losses | leave chance level |",
        "|---|---|---|",
    ]
    lines += [f"| {row['band']} | {row['count']} | {row['left']} ({_share(row)}) |" for row in judged["bands"]]
    lines += [
        "",
        f"A tree of depth 2, fitted to the first half, is right for {judged['tree']['accuracy']:.1%} of the second; "
        f"always the same answer: {judged['tree']['always_the_same']:.1%}.",
        "",
        "```text",
        judged["tree"]["text"].rstrip(),
        "```",
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


def picture(lam: Tensor, scores: NDArray[np.float64]) -> Figure:
    """Best mean accuracy against the margin, and the sharpening against the reach of those that pass."""
    losses = taylor(lam)
    m = (CLASSES * gain(losses, CLASSES)).numpy()
    published = is_trainable(losses, CLASSES, "published").numpy()
    best = scores.mean(2).max(1)
    known = features(lam)
    with styled():
        figure = Figure(figsize=(10.4, 4.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        for passes, color, text in ((True, OTHER, "published form passes"), (False, EVOLVED, "published form rejects")):
            inside = published == passes
            left.scatter(m[inside], 100 * best[inside], s=9, color=color, alpha=0.6, lw=0, label=text)
        left.axvline(0, color=PLAIN, lw=0.9)
        left.axhline(100 * CHANCE, color="grey", lw=0.9, ls="--")
        left.set_xscale("symlog", linthresh=0.1)
        left.set(
            title="Both forms of the invariant",
            xlabel="null-epoch margin m; the exact form rejects m ≤ 0",
            ylabel="validation accuracy at the best rate, %",
        )
        left.legend(fontsize=8, loc="upper left")
        dots = right.scatter(known["bias growth"], known["reach"], s=12, c=100 * best, cmap="viridis", lw=0)
        right.set_xscale("symlog", linthresh=1)
        right.set(title="Those that the exact form passes", xlabel="bias growth, in units of m", ylabel="reach, $h_T$")
        figure.colorbar(dots, ax=right, label="validation accuracy at the best rate, %")
        return figure


def main() -> None:
    """Train, judge, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("target", type=Path, help="directory of the results")
    parser.add_argument("--count", type=int, default=1000, help="number of random losses")
    parser.add_argument("--again", action="store_true", help="judge the kept runs again and train nothing")
    given = parser.parse_args()
    given.target.mkdir(parents=True, exist_ok=True)
    kept = given.target / "runs.json"
    if not given.again:
        accuracies = np.round(run(draw(given.count)), 4).tolist()
        document = {"rates": RATES, "seeds": SEEDS, "epochs": EPOCHS, "torch": torch.__version__}
        write_whole((json.dumps({**document, "accuracy": accuracies}) + "\n").encode(), kept)
    document = json.loads(kept.read_text(encoding="utf-8"))
    scores = np.array(document["accuracy"])
    lam = draw(len(scores))
    judged = judge(lam, scores, document["torch"])
    write_json(judged, given.target / "summary.json")
    command = f"python experiments/invariant.py results/{given.target.name}"
    write_whole(page(judged, len(lam), command).encode(), given.target / "summary.md")
    save_figure(picture(lam, scores), given.target / "invariant.png")


if __name__ == "__main__":
    main()
