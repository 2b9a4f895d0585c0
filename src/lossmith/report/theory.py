"""The pictures of the theory: attraction, learning rules, figures 1 and 3."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from lossmith.analysis import Trace
from lossmith.errors import InputError
from lossmith.report.curves import Attraction, Rule, Shape
from lossmith.report.figures import EVOLVED, OTHER, PLAIN, shown, styled

COLORS = (EVOLVED, PLAIN, OTHER, "#b8860b", "#6a4c93", "#4f7942", "#8c564b", "#5b5b5b")
DEVIATION = "deviation from zero error, $ε = 1 - h_T$"
OUTPUT = "output of the target class, $h_T$"
PULL = "attraction to zero error"
LINES = ("-", "-.", ":")
REPELS = {"color": EVOLVED, "alpha": 0.06, "lw": 0}
POLE, LARGEST = 3.0, 1e100
COLUMNS = 4
# Blues without their lightest part, so that a single sample can be seen.
SHADES = LinearSegmentedColormap.from_list("shades", mpl.colormaps["Blues"](np.linspace(0.25, 1, 256)))


def plot_explanation(curves: Sequence[Attraction], rules: Sequence[Rule], shapes: Sequence[Shape]) -> Figure:
    """Some losses side by side: attraction exact and published, learning rule, gradient, and the loss itself."""
    with styled():
        figure = Figure(figsize=(10.4, 7.6), layout="constrained")
        (top_left, top_right), (low_left, low_right) = figure.subplots(2, 2)
        for number, (curve, rule, shape) in enumerate(zip(curves, rules, shapes, strict=True)):
            line: Any = {
                "color": COLORS[number % len(COLORS)],
                "ls": LINES[number // len(COLORS) % len(LINES)],
                "lw": 2,
            }
            top_left.plot(curve.epsilon, curve.exact, label=_label(curve, curves), **line)
            top_left.plot(curve.epsilon, curve.published, **{**line, "lw": 1, "ls": "--"})
            for root in curve.roots:
                top_left.plot([root], [0], "o", color=line["color"], ms=5)
            top_right.plot(rule.output, rule.difference, **line)
            low_left.plot(shape.output, shape.value, **line)
            low_right.plot(shape.output, shape.gradient, **line)
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
        low_right.set(title="Gradient", xlabel=OUTPUT, ylabel="∂L / ∂(target logit); below 0 it pulls up")
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
            axes.set(title=f"({_letter(number)}) {shown(curves[0].name)}", xlabel=DEVIATION, ylabel=PULL, xlim=(0, 1))
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
    name = shown(curve.name)
    return f"{name}, n = {curve.classes}" if several else name


def _below_zero(axes: Axes) -> None:
    """Mark where values are below 0."""
    low, high = axes.get_ylim()
    axes.axhline(0, color="grey", lw=0.8)
    axes.set_ylim(low, high)
    if low < 0:
        axes.axhspan(low, 0, **REPELS)  # type: ignore[arg-type]


def _within(axes: Axes, curves: Sequence[NDArray[np.float64]]) -> None:
    """Limits that show every curve whole, but for poles: what is many times beyond the middle of its own curve."""
    # The comparison is this way round for a curve that is not a number somewhere.
    if not all(np.abs(curve).max() <= LARGEST for curve in curves):
        raise InputError("the losses cannot be drawn, since their numbers are too large; divide them by some factor")
    low, high = np.inf, -np.inf
    for curve in curves:
        near, far = np.quantile(curve, [0.02, 0.98])
        room = POLE * max(far - near, 1e-12 * np.abs(curve).max())
        low, high = min(low, max(curve.min(), near - room)), max(high, min(curve.max(), far + room))
    room = 0.05 * (high - low) or 1.0
    axes.set_ylim(low - room, high + room)


def plot_trace(trace: Trace, names: Sequence[str]) -> Figure:
    """Figure 1: how strength of attraction is spread over the samples in each epoch, a column for each loss.

    Exact and as published (as in the paper) above, the share of repelled samples below; four losses in a row. All
    densities share one scale.
    """
    count, epochs = trace.accuracy.shape
    columns = min(count, COLUMNS)
    blocks = -(-count // columns)
    known = np.concatenate([*(form[np.isfinite(form)] for form in (trace.exact, trace.published)), [0.0]])
    low, high = float(known.min()), float(known.max())
    room = 0.03 * (high - low) or 1.0
    bins = np.linspace(low - room, high + room, 121)
    with styled():
        figure = Figure(figsize=(1.2 + 3.6 * columns, 8.0 * blocks), layout="constrained")
        grid = figure.subplots(3 * blocks, columns, sharex=True, squeeze=False)
        for number, name in enumerate(names):
            block, column = divmod(number, columns)
            above, middle, below = grid[3 * block : 3 * block + 3, column]
            for axes, form in ((above, "exact"), (middle, "published")):
                shade = _density(axes, trace.strength(form)[number], bins)
                axes.axhline(0, color=EVOLVED, lw=0.9)
                axes.set_title(f"{shown(name)}\nexact" if form == "exact" else "as published")
                if not trace.applies(form)[number]:
                    axes.text(0.5, 0.5, "not for this kind of loss", transform=axes.transAxes, ha="center", fontsize=9)
            for form, color, dashes in (("exact", PLAIN, "-"), ("published", EVOLVED, "--"), ("vector", OTHER, ":")):
                line: Any = {"color": color, "ls": dashes, "lw": 1.8, "marker": ".", "ms": 3}
                below.plot(np.arange(epochs), trace.repelled(form)[number], **line)
            if np.isnan(trace.accuracy[number]).any():
                first = int(np.isnan(trace.accuracy[number]).argmax())
                for axes in (above, middle, below):
                    axes.text(
                        0.97, 0.92, f"diverged by epoch {first}", transform=axes.transAxes, ha="right", fontsize=9
                    )
            below.set(xlabel="epoch", ylim=(-0.03, 1.03), xlim=(-0.5, epochs - 0.5))
            below.xaxis.set_major_locator(MaxNLocator(integer=True))
            below.tick_params(labelbottom=True)
            if column == 0:
                above.set_ylabel(PULL)
                middle.set_ylabel(PULL)
                below.set_ylabel("share of repelled samples")
        grid[2, 0].legend(fontsize=8, labels=["exact", "as published", "actual outputs"])
        for axes in grid[3 * (blocks - 1) :, 1 + (count - 1) % columns :].ravel():
            axes.set_visible(False)
        bar = figure.colorbar(shade, ax=grid[:2].ravel().tolist(), shrink=0.6, pad=0.01)
        bar.set_label("share of the samples")
        return figure


def _density(axes: Axes, strengths: NDArray[np.float32], bins: NDArray[np.float64]) -> QuadMesh:
    """Histogram of the samples in each epoch as a column of shades."""
    samples = strengths.shape[1]
    counts = np.stack([np.histogram(epoch[np.isfinite(epoch)], bins)[0] for epoch in strengths], 1)
    shares = np.ma.masked_equal(counts / samples, 0)
    edges = np.arange(strengths.shape[0] + 1) - 0.5
    return axes.pcolormesh(edges, bins, shares, norm=LogNorm(min(0.5, 1 / samples), 1.0), cmap=SHADES, rasterized=True)
