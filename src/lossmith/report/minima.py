"""The pictures of the minima that losses lead to: basins (figure 4), and damage."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lossmith.analysis import INPUT, SILENCED, WEIGHT, Basin, Corruption
from lossmith.report.figures import EVOLVED, OTHER, PLAIN, shown, styled

COLORS = (PLAIN, EVOLVED, OTHER, "#b8860b", "#6a4c93", "#4f7942", "#8c564b", "#5b5b5b")
LINES = ("-", "-.", ":")
COLUMNS = 4
SMALLEST = 1e-12
LEVELS = {
    INPUT: "σ of the noise",
    WEIGHT: "length of the noise / length of the filter",
    SILENCED: "share of the units of each hidden layer",
}


def plot_basin(basins: Sequence[Basin], names: Sequence[str]) -> Figure:
    """Figure 4: accuracy and cross-entropy along random directions, a line for each loss.

    Lines are means over directions and networks (of cross-entropy, on its logarithmic scale), bands one standard
    deviation to each side. Networks that have diverged are left out.
    """
    with styled():
        figure = Figure(figsize=(10.4, 4.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        for number, (basin, name) in enumerate(zip(basins, names, strict=True)):
            sound = ~basin.diverged
            accuracy = basin.accuracy[sound].reshape(-1, len(basin.t))
            entropy = np.log10(np.maximum(basin.cross_entropy[sound].reshape(-1, len(basin.t)), SMALLEST))
            look = _look(number)
            _banded(left, basin.t, *_mean_and_spread(100 * accuracy), look, _label(name, basin.diverged))
            middle, spread = _mean_and_spread(entropy)
            right.plot(basin.t, 10**middle, **look)
            right.fill_between(basin.t, 10 ** (middle - spread), 10 ** (middle + spread), **_band(look))
        if any(np.isfinite(basin.cross_entropy).any() for basin in basins):
            right.set_yscale("log")
        step = "step $t$, in lengths of each filter"
        left.set(title="Accuracy along random directions", xlabel=step, ylabel="test accuracy, %", xlim=(-1, 1))
        right.set(title="Cross-entropy along them", xlabel=step, ylabel="test cross-entropy (log)", xlim=(-1, 1))
        networks, directions = basins[0].accuracy.shape[:2]
        slices = f" × {directions} directions" if directions > 1 else ""
        _finish(figure, [left, right], f"bands: ± one standard deviation over {networks} networks{slices}")
        return figure


def plot_corruption(corruptions: Sequence[Sequence[Corruption]], names: Sequence[str], input_unit: str = "") -> Figure:
    """Accuracy against the level of each kind of damage, a panel for each kind and a line for each loss.

    Each network is averaged over the draws; lines are means over networks, bands one standard deviation to each side.
    Networks that have diverged are left out.

    Args:
        corruptions: For each loss, its networks under each kind of damage; the kinds are the same for all.
        names: Of the losses.
        input_unit: The unit of the noise on inputs.
    """
    count = len(corruptions[0])
    with styled():
        figure = Figure(figsize=(0.8 + 3.8 * count, 4.4), layout="constrained")
        panels = list(figure.subplots(1, count, squeeze=False, sharey=True)[0])
        for axes, kinds in zip(panels, zip(*corruptions, strict=True), strict=True):
            kind = kinds[0].kind
            for number, (corruption, name) in enumerate(zip(kinds, names, strict=True)):
                diverged = np.isnan(corruption.clean)
                levels = np.concatenate([[0.0], corruption.levels])
                order = np.argsort(levels, kind="stable")
                values = np.concatenate([corruption.clean[:, None], corruption.accuracy.mean(2)], 1)[~diverged]
                middle, spread = _mean_and_spread(100 * values[:, order])
                look = {**_look(number), "marker": "o", "ms": 4}
                _banded(axes, levels[order], middle, spread, look, _label(name, diverged))
            unit = f", {input_unit}" if kind == INPUT and input_unit else ""
            axes.set(title=kind.capitalize(), xlabel=f"{LEVELS[kind]}{unit}")
            axes.set_xlim(left=-0.03 * axes.get_xlim()[1])
        panels[0].set_ylabel("test accuracy, %")
        _finish(figure, panels, f"bands: ± one standard deviation over {len(corruptions[0][0].clean)} networks")
        return figure


def _look(number: int) -> dict[str, Any]:
    return {"color": COLORS[number % len(COLORS)], "ls": LINES[number // len(COLORS) % len(LINES)], "lw": 2}


def _band(look: dict[str, Any]) -> dict[str, Any]:
    return {"color": look["color"], "alpha": 0.15, "lw": 0}


def _banded(
    axes: Axes,
    places: NDArray[np.float64],
    middle: NDArray[np.float64],
    spread: NDArray[np.float64],
    look: dict[str, Any],
    label: str,
) -> None:
    axes.plot(places, middle, label=label, **look)
    axes.fill_between(places, np.maximum(middle - spread, 0), np.minimum(middle + spread, 100), **_band(look))


def _mean_and_spread(curves: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation over the first dimension, NaN without curves, and without a spread for one."""
    if not len(curves):
        empty = np.full(curves.shape[1], np.nan)
        return empty, empty
    with np.errstate(invalid="ignore"):
        return curves.mean(0), curves.std(0, ddof=min(1, len(curves) - 1))


def _label(name: str, diverged: NDArray[np.bool_]) -> str:
    lost = f" ({diverged.sum()} of {len(diverged)} diverged)" if diverged.any() else ""
    return f"{shown(name)}{lost}"


def _finish(figure: Figure, panels: Sequence[Axes], note: str) -> None:
    figure.suptitle(note, fontsize=8, color="0.3", x=0.99, ha="right")
    for axes in panels:
        axes.grid(color="0.92")
        axes.set_axisbelow(True)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(COLUMNS, len(labels)), fontsize=9)
