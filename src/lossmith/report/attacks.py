"""The pictures of attacks: figure 2, and the front of accuracy and robustness."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lossmith.analysis import UNNAMED, Deciding, Robustness
from lossmith.report.figures import EVOLVED, PLAIN, shown, styled
from lossmith.report.theory import COLORS

WIDTH = 0.8
NOT_LOOKED_FOR = "signs of gradient masking were not looked for: lossmith attack does that"
FGSM = {"fgsm-loss", "fgsm-cross-entropy", "fgsm-margin", "fgsm", "worst"}


def plot_attacks(results: Sequence[Robustness]) -> Figure:
    """Figure 2: accuracy under FGSM at each ε, the losses side by side, as in the paper with each loss's own gradient.

    Below, as far as they were run: FGSM and PGD along three gradients, and what is survived of all attacks. A hatched
    bar has a sign of masking.
    """
    names = [name for name in ("fgsm-loss", "fgsm", "pgd", "worst") if name in results[0].accuracy]
    names = [name for name in names if name != "worst" or not results[0].accuracy.keys() <= FGSM]
    titles = {
        "fgsm-loss": "FGSM with the gradient of the loss itself",
        "fgsm": "FGSM, worst of three gradients",
        "pgd": "PGD, worst of three gradients",
        "worst": "All attacks that were run",
    }
    epsilons = results[0].epsilons
    places, width = np.arange(len(epsilons)), WIDTH / len(results)
    with styled():
        figure = Figure(figsize=(max(6.4, 1.4 + 1.1 * len(epsilons)), 0.8 + 2.6 * len(names)), layout="constrained")
        for axes, name in zip(np.atleast_1d(figure.subplots(len(names), 1, sharex=True)), names, strict=True):
            for number, result in enumerate(results):
                values = 100 * result.accuracy[name]
                offset = (number - (len(results) - 1) / 2) * width
                color = _color(number, len(results))
                marks = [
                    "///" if masking.signs() and epsilon else ""
                    for masking, epsilon in zip(result.masking, epsilons, strict=True)
                ]
                spread = values.std(1, ddof=1) if values.shape[1] > 1 else np.zeros(len(epsilons))
                bars = axes.bar(places + offset, values.mean(1), width * 0.94, color=color)
                for bar, mark in zip(bars, marks, strict=True):
                    bar.set_hatch(mark)
                    bar.set_edgecolor("white")
                    bar.set_linewidth(0)
                axes.errorbar(places + offset, values.mean(1), spread, fmt="none", color="black", lw=1, capsize=2)
            axes.set(title=titles[name], ylabel="test accuracy, %", ylim=(0, 102))
            axes.grid(axis="y", color="0.9")
            axes.set_axisbelow(True)
            axes.set_xticks(places, [f"{epsilon:g}" for epsilon in epsilons])
        axes.set_xlabel("strength of the attack ε (share of the range of pixels)")
        handles = [
            Patch(color=_color(number, len(results)), label=shown(result.name)) for number, result in enumerate(results)
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=min(4, len(results)), fontsize=9)
        lost = sum(int(result.diverged.sum()) for result in results)
        notes = [f"whiskers: ± one standard deviation of {len(results[0].clean)} networks"]
        if lost:
            notes.append(f"{lost} networks diverged and count as wrong")
        if any(masking.signs() for result in results for masking, e in zip(result.masking, epsilons, strict=True) if e):
            notes.append("hatched: with signs of gradient masking")
        missing = results[0].masking[0].missing()
        if missing:
            notes.append(f"not run, so masking can stay unseen: {', '.join(missing)}")
        figure.supxlabel("\n".join(notes), fontsize=8, color="0.3")
        return figure


def plot_pareto(
    candidates: Sequence[tuple[float, float]],
    pareto_front: Sequence[tuple[float, float]],
    references: Mapping[str, tuple[float, float]],
    names: tuple[str, str],
    by: Deciding = UNNAMED,
) -> Figure:
    """Two recorded figures of every evaluated candidate, those that no other one dominates joined, and finalists.

    Args:
        candidates: Both figures of each candidate.
        pareto_front: Those of the front, ascending in the first figure.
        references: Both figures of each finalist by name, means over fresh seeds.
        names: What the two figures are called.
        by: The metric of the study, which need not be registered.
    """
    with styled():
        figure = Figure(figsize=(8.2, 4.6), layout="constrained")
        axes = figure.subplots()
        shares = [by.is_share(name) for name in names]
        unit = np.array([100.0 if share else 1.0 for share in shares])
        every = unit * np.array(candidates).reshape(-1, 2)
        best = unit * np.array(pareto_front).reshape(-1, 2)
        points = unit * np.array(list(references.values())).reshape(-1, 2)
        axes.scatter(every[:, 0], every[:, 1], s=12, color=PLAIN, alpha=0.35, lw=0, label="evaluated candidates")
        joined: Any = {"color": EVOLVED, "where": "post", "lw": 1.4, "marker": "o", "ms": 5}
        axes.step(best[:, 0], best[:, 1], label="not dominated", **{**joined, "where": "pre"})
        for number, (name, point) in enumerate(zip(references, points, strict=True)):
            style: Any = {"marker": "sDv^P"[number % 5], "color": COLORS[(number + 2) % len(COLORS)], "s": 46}
            axes.scatter(*point, label=shown(name), zorder=3, **style)
        # Candidates near chance level would squeeze the front into a corner. Turned, more is better.
        turn = np.array([by.direction(name) for name in names])
        low = np.quantile(turn * every, 0.25, axis=0)
        room = 0.06 * ((turn * every).max(0) - low) + 0.002 * unit
        lowest = np.minimum(low, (turn * np.vstack([best, points])).min(0)) - room
        highest = (turn * np.vstack([every, points])).max(0) + room
        left, bottom = np.minimum(turn * lowest, turn * highest)
        right, top = np.maximum(turn * lowest, turn * highest)
        axes.set(xlim=(left, right), ylim=(bottom, top))
        outside = int((turn * every < lowest).any(1).sum())
        notes = [f"{outside} of {len(every)} candidates lie outside"] if outside else []
        notes += [NOT_LOOKED_FOR] if "robust-accuracy" in names else []
        figure.supxlabel("; ".join(notes), fontsize=8, color="0.3")
        first, second = (
            f"{shown(name)} on validation data" + (", %" if share else "")
            for name, share in zip(names, shares, strict=True)
        )
        axes.set(title="Front of the candidates", xlabel=first, ylabel=second)
        axes.legend(
            fontsize=9,
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            title="finalists: means over fresh seeds",
            title_fontsize=8,
        )
        return figure


def _color(number: int, count: int) -> str:
    if count <= 3:
        return (PLAIN, COLORS[2], EVOLVED)[number + (3 - count) * (number > 0)]
    return COLORS[number % len(COLORS)]
