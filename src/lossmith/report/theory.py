"""The pictures of the theory: attraction, learning rules, figures 1 and 3."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lossmith.evaluation import Trace
from lossmith.report.curves import Attraction, Rule, Shape
from lossmith.report.figures import EVOLVED, OTHER, PLAIN, styled

COLORS = (EVOLVED, PLAIN, OTHER, "#b8860b", "#6a4c93", "#4f7942", "#8c564b", "#5b5b5b")
DEVIATION = "deviation from zero error, $ε = 1 - h_T$"
OUTPUT = "output of the target class, $h_T$"
PULL = "attraction to zero error"
REPELS = {"color": EVOLVED, "alpha": 0.06, "lw": 0}


def plot_explanation(curves: Sequence[Attraction], rules: Sequence[Rule], shapes: Sequence[Shape]) -> Figure:
    """Some losses side by side: attraction exact and published, learning rule, gradient, and the loss itself."""
    with styled():
        figure = Figure(figsize=(10.4, 7.6), layout="constrained")
        (top_left, top_right), (low_left, low_right) = figure.subplots(2, 2)
        for curve, rule, shape, color in zip(curves, rules, shapes, _cycle(len(curves)), strict=True):
            label = _label(curve, curves)
            top_left.plot(curve.epsilon, curve.exact, color=color, lw=2, label=label)
            top_left.plot(curve.epsilon, curve.published, color=color, lw=1, ls="--")
            for root in curve.roots:
                top_left.plot([root], [0], "o", color=color, ms=5)
            top_right.plot(rule.output, rule.difference, color=color, lw=2)
            low_left.plot(shape.output, shape.value, color=color, lw=2)
            low_right.plot(shape.output, shape.gradient, color=color, lw=2)
        _below_zero(top_left)
        top_left.set(title="Attraction (theorem 2)", xlabel=DEVIATION, ylabel=PULL, xlim=(0, 1))
        top_left.plot([], [], color="grey", lw=1, ls="--", label="as published")
        figure.legend(loc="outside lower center", ncols=min(4, len(curves) + 1), fontsize=9)
        _within(top_right, [rule.difference for rule in rules])
        _below_zero(top_right)
        top_right.set(title="Learning rule", xlabel=OUTPUT, ylabel=r"$\gamma_T - \gamma_{\neg T}$")
        _within(low_left, [shape.value for shape in shapes])
        low_left.set(title="Loss", xlabel=OUTPUT, ylabel="loss, less its value at equal outputs")
        _within(low_right, [shape.gradient for shape in shapes])
        low_right.axhline(0, color="grey", lw=0.8)
        low_right.set(
            title="Gradient",
            xlabel=OUTPUT,
            ylabel="∂L / ∂(target logit); below 0 it pulls up",
        )
        return figure


def plot_figure3(panels: Sequence[Sequence[Attraction]]) -> Figure:
    """Figure 3: a panel for each loss, a curve for each n; as published (as in the paper), and exact.

    Each panel has its own scale, as the paper's have. Red ground: there it repels.
    """
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    with styled():
        figure = Figure(figsize=(4.9 * columns, 3.5 * rows), layout="constrained")
        places = np.atleast_1d(figure.subplots(rows, columns)).ravel()
        for number, (axes, curves) in enumerate(zip(places, panels, strict=False)):
            for curve, color in zip(curves, _cycle(len(curves)), strict=True):
                axes.plot(curve.epsilon, curve.published, color=color, lw=2, label=f"n = {curve.classes}")
                axes.plot(curve.epsilon, curve.exact, color=color, lw=1.2, ls="--")
            _below_zero(axes)
            axes.set(title=f"({_letter(number)}) {curves[0].name}", xlabel=DEVIATION, ylabel=PULL, xlim=(0, 1))
            axes.legend(fontsize=8, ncols=1 + (len(curves) > 3))
        for axes in places[len(panels) :]:
            axes.set_visible(False)
        figure.supxlabel("solid: theorem 2 as published; dashed: exact", fontsize=9, color="0.3")
        return figure


def _letter(number: int) -> str:
    return chr(ord("a") + number) if number < 26 else str(number + 1)


def _cycle(count: int) -> list[str]:
    return [COLORS[number % len(COLORS)] for number in range(count)]


def _label(curve: Attraction, curves: Sequence[Attraction]) -> str:
    several = len({other.classes for other in curves}) > 1
    return f"{curve.name}, n = {curve.classes}" if several else curve.name


def _below_zero(axes: Axes) -> None:
    """Mark where values are below 0."""
    low, high = axes.get_ylim()
    axes.axhline(0, color="grey", lw=0.8)
    axes.set_ylim(low, high)
    if low < 0:
        axes.axhspan(low, 0, **REPELS)  # type: ignore[arg-type]


def _within(axes: Axes, curves: Sequence[np.ndarray]) -> None:
    """Limits that show most of every curve, and not the poles of some."""
    values = np.concatenate(curves)
    low, high = np.quantile(values, [0.02, 0.98])
    room = 0.08 * (high - low) or 1.0
    axes.set_ylim(low - room, high + room)


def plot_trace(trace: Trace, names: Sequence[str]) -> Figure:
    """Figure 1: how strength of attraction is spread over the samples in each epoch, a column for each loss.

    Exact and as published (as in the paper) above, the share of repelled samples below. All densities share one scale.
    """
    count, epochs = trace.accuracy.shape
    exact, published = trace.exact, trace.published
    known = np.concatenate([exact[np.isfinite(exact)], published[np.isfinite(published)], [0.0]])
    low, high = float(known.min()), float(known.max())
    room = 0.03 * (high - low) or 1.0
    bins = np.linspace(low - room, high + room, 121)
    with styled():
        figure = Figure(figsize=(1.2 + 3.6 * count, 8.0), layout="constrained")
        grid = figure.subplots(3, count, sharex=True, sharey="row", squeeze=False)
        for column, name in enumerate(names):
            for row, (form, title) in enumerate((("exact", "exact"), ("published", "as published"))):
                axes = grid[row, column]
                shade = _density(axes, trace.strength(form)[column], bins)
                axes.axhline(0, color=EVOLVED, lw=0.9)
                axes.set_title(f"{name}\n{title}" if row == 0 else title)
            below = grid[2, column]
            for form, color, dashes in (("exact", PLAIN, "-"), ("published", EVOLVED, "--"), ("vector", OTHER, ":")):
                below.plot(np.arange(epochs), trace.repelled(form)[column], color=color, ls=dashes, lw=1.8, label=form)
            below.set(xlabel="epoch", ylim=(-0.03, 1.03), xlim=(-0.5, epochs - 0.5))
            below.xaxis.set_major_locator(MaxNLocator(integer=True))
        for row in (0, 1):
            grid[row, 0].set_ylabel(PULL)
        grid[2, 0].set_ylabel("share of repelled samples")
        grid[2, 0].legend(fontsize=8, labels=["exact", "as published", "actual outputs"])
        bar = figure.colorbar(shade, ax=grid[:2].ravel().tolist(), shrink=0.6, pad=0.01)
        bar.set_label("share of the samples")
        return figure


def _density(axes: Axes, strengths: np.ndarray, bins: np.ndarray) -> QuadMesh:
    """Histogram of the samples in each epoch as a column of shades."""
    counts = np.stack([np.histogram(epoch[np.isfinite(epoch)], bins)[0] for epoch in strengths], 1)
    shares = np.ma.masked_equal(counts / strengths.shape[1], 0)
    edges = np.arange(strengths.shape[0] + 1) - 0.5
    norm = LogNorm(1 / strengths.shape[1], 1.0)
    return axes.pcolormesh(edges, bins, shares, norm=norm, cmap="Blues", rasterized=True)
