"""The picture of a distillation."""

import numpy as np
from matplotlib.figure import Figure

from lossmith.analysis import Distillation
from lossmith.report.figures import EVOLVED, PLAIN, shown, styled

FAR = 5.0


def plot_distillation(found: Distillation) -> Figure:
    """By how much the whole loss is better than each loss with terms left out, with intervals, round by round.

    What ends left of the line of the margin is good enough; what was gone on with is drawn in color. What is far worse
    than most has its number at the edge.
    """
    unit = 100 if found.deciding.share else 1
    pairs = list(zip(found.rounds, found.taken, strict=True))
    known = [trial.worth for trials in found.rounds for trial in trials if trial.worth is not None]
    margin, lows, highs = found.margin * unit, [unit * one.low for one in known], [unit * one.high for one in known]
    far = FAR * max(margin, float(np.median(highs))) if known else 1.0
    right = max((high for high in highs if high <= far), default=margin)
    left = min((low for low in lows if low <= right), default=0.0)
    low, high = min(left, 0.0), max(right, margin) or 1.0
    count = sum(len(trials) for trials in found.rounds) + max(0, len(pairs) - 1)
    with styled():
        figure = Figure(figsize=(7.6, 1.3 + 0.34 * max(count, 3)))
        axes = figure.subplots()
        labels, height = list[tuple[float, str, str]](), float(count)
        for trials, taken in pairs:
            for place, trial in enumerate(trials):
                height -= 1
                color = EVOLVED if place == taken else PLAIN
                terms = f"{trial.terms} term" + "s" * (trial.terms > 1)
                labels.append((height, f"{terms}, without {shown(trial.dropped[-1])}", color))
                middle = np.nan if trial.worth is None else unit * trial.worth.difference
                if trial.worth is None or unit * trial.worth.high > far:
                    text = "not finite" if trial.worth is None else f"{middle:.3g} →"
                    axes.text(high, height, text, color=color, ha="right", va="center")
                    continue
                sides = [[middle - unit * trial.worth.low], [unit * trial.worth.high - middle]]
                axes.errorbar(middle, height, xerr=sides, color=color, fmt="o", ms=5, capsize=3, lw=1.6)
            height -= 1
        axes.axvline(0, color="0.6", lw=1)
        axes.axvline(margin, color=EVOLVED, lw=1, ls="--")
        axes.text(margin, max(count, 3) - 0.4, f" margin {margin:g}", color=EVOLVED, va="center")
        room = 0.05 * (high - low)
        axes.set(xlim=(low - room, high + room), ylim=(-0.7, max(count, 3)))
        axes.set_yticks([place for place, *_ in labels], [text for _, text, _ in labels])
        for label, (_, _, color) in zip(axes.get_yticklabels(), labels, strict=True):
            label.set_color(color)
        name = shown(found.deciding.name) + (", points" if found.deciding.share else "")
        axes.set(xlabel=f"by how much the whole loss is better, validation {name}", title="What each term is worth")
        axes.grid(axis="x", color="0.9")
        axes.set_axisbelow(True)
        return figure
