"""The pictures: matplotlib figures of data that was computed before."""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from lossmith.analysis import UNNAMED, Comparison, Deciding
from lossmith.errors import InputError, printable
from lossmith.io import write_all
from lossmith.metrics import known
from lossmith.report.curves import History, Shape
from lossmith.report.formulas import TRAINED, Formulas

LONGEST_LABEL = 60  # of a row, where there is more room than in a legend
EVOLVED, PLAIN, OTHER = "#c8401e", "#3b4a5a", "#2a7f9e"
LINES = (PLAIN, OTHER, EVOLVED)
LABEL_HEIGHT = 0.05
# Of formulas that were drawn: what became of them.
DRAWN_COLORS = {TRAINED: EVOLVED, "equivalent": OTHER, "untrainable": PLAIN, "rehearsal": "#c9a227"}
DRAWN_LABELS = {
    "equivalent": "gradient was known",
    "untrainable": "refused by the invariant",
    "rehearsal": "failed the rehearsal",
}
MOST_FORMULAS, LONGEST_FORMULA = 8, 88
KINDS = ("png", "svg", "pdf")
STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "figure.facecolor": "white",
    "legend.frameon": False,
    "svg.hashsalt": "lossmith",
}


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, SVG or PDF (by the ending), whole or not at all; its folder is made if it is not there.

    Raises:
        InputError: if the name has another ending, the numbers are too large to be drawn, or the file cannot be
            written.
    """
    save_figures({path: figure})


def save_figures(figures: Mapping[Path, Figure]) -> None:
    """Write several figures as :func:`save_figure` does, none if one cannot be drawn or has no place."""
    contents = {path: _rendered(figure, checked_kind(path)) for path, figure in figures.items()}
    made = list(dict.fromkeys(path.parent for path in figures if not path.parent.exists()))
    for path in figures:
        try:
            path.parent.mkdir(exist_ok=True)
        except FileNotFoundError:
            raise InputError(
                f"{path.parent} cannot be made, since {path.parent.parent} is not there; make that first"
            ) from None
        except OSError as error:
            raise InputError(
                f"{path.parent} cannot be made: {error.strerror}; make room or remove what is in the way"
            ) from None
        if path.is_dir():
            raise InputError(f"{path} cannot be written, since it is a directory; give another name")
    try:
        write_all(contents)
    except BaseException:
        for folder in made:
            folder.rmdir()
        raise


def _rendered(figure: Figure, kind: str) -> bytes:
    content = io.BytesIO()
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    try:
        with styled():
            figure.savefig(content, format=kind, dpi=150, bbox_inches="tight", metadata=metadata)
    except (ValueError, OverflowError) as error:
        raise InputError(f"the picture cannot be drawn ({error}); its numbers are too large or too small") from None
    return content.getvalue()


def shown(name: str, length: int = 30) -> str:
    """The name of a loss as a picture shows it: no mathematics in it, and not too long."""
    whole = printable(" ".join(name.split()))
    return (whole if len(whole) <= length else whole[: length - 1] + "…").replace("$", r"\$")


def checked_kind(path: Path) -> str:
    """The kind of picture that a file name asks for.

    Raises:
        InputError: if it is not PNG, SVG or PDF.
    """
    kind = path.suffix.lstrip(".").lower()
    if kind not in KINDS:
        raise InputError(f"the picture {path} must end in {', '.join(f'.{known}' for known in KINDS)}; rename it")
    return kind


def check_picture(path: Path) -> None:
    """See before long work that a picture can be written.

    Raises:
        InputError: if it is not PNG, SVG or PDF, its folder is not there or read-only, or something else is in its
            place.
    """
    checked_kind(path)
    if not path.parent.is_dir():
        raise InputError(f"{path.parent} is no directory, so the picture has no place; make it first")
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is there already and no file, so the picture has no place; give another name")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"{path.parent} is read-only, so the picture has no place; give another")


def plot_history(history: History, by: Deciding = UNNAMED) -> Figure:
    """Best and mean fitness of each generation, its spread, and the finalists' means as lines.

    Args:
        history: Fitness by generation.
        by: The metric that fitness is, in whose direction and unit it is shown.
    """
    with styled():
        figure = Figure(figsize=(7.2, 4.2))
        axes = figure.subplots()
        band: dict[str, Any] = {"color": PLAIN, "alpha": 0.15, "lw": 0, "label": "middle half of the generation"}
        axes.fill_between(history.generations, by.shown(history.low), by.shown(history.high), **band)
        axes.plot(history.generations, by.shown(history.mean), color=PLAIN, lw=1.6, label="mean of the generation")
        best: dict[str, Any] = {"color": EVOLVED, "lw": 1.8, "marker": "o", "ms": 3.5}
        axes.plot(history.generations, by.shown(history.best), label="best of the generation", **best)
        lines = [((name, by.shown(value)), color) for (name, value), color in zip(history.lines, LINES, strict=False)]
        for (_, value), color in lines:
            axes.axhline(value, color=color, lw=1.1, ls="--")
        low, high = axes.get_ylim()
        axes.set_ylim(low, high)
        heights = _apart([(value - low) / (high - low) for (_, value), _ in lines], LABEL_HEIGHT)
        for ((name, value), color), height in zip(lines, heights, strict=True):
            label = f"{shown(name)}: {value:.1f} %" if by.share else f"{shown(name)}: {value:.3f}"
            axes.annotate(label, (1.01, height), xycoords="axes fraction", color=color, fontsize=9, va="center")
        axes.set(title="Search", xlabel="generation", ylabel=_axis(by))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, fontsize=9)
        return figure


def plot_losses(shapes: Sequence[Shape]) -> Figure:
    """Losses and their gradients against the output of the target class, the last one in the accent colour."""
    with styled():
        figure = Figure(figsize=(9.6, 4.0), layout="constrained")
        left, right = figure.subplots(1, 2)
        colors = [*LINES[: len(shapes) - 1], EVOLVED]
        for shape, color in zip(shapes, colors, strict=True):
            left.plot(shape.output, shape.value, color=color, lw=2, label=shown(shape.name))
            right.plot(shape.output, shape.gradient, color=color, lw=2, label=shown(shape.name))
        right.axhline(0, color="grey", lw=0.8)
        left.set(title="Loss", xlabel="output of the target class", ylabel="loss, less its value at equal outputs")
        right.set(
            title="Gradient", xlabel="output of the target class", ylabel="∂L / ∂(target logit); below 0 it pulls up"
        )
        _clip(left, [shape.value for shape in shapes])
        left.legend(fontsize=9)
        return figure


def plot_comparison(comparison: Comparison) -> Figure:
    """The deciding figure of every network of a comparison on test data, a row for each loss, the best one on top.

    Each has its mean and standard deviation. Networks whose figure is not finite are left out, and losses with fewer
    than two others.
    """
    deciding = comparison.deciding
    column, unit = deciding.column("test"), 100 if deciding.share else 1
    measured = {row.name: known(np.array(row.column(column), float)) * unit for row in comparison.rows}
    known_rows = [row for row in comparison.rows if len(measured[row.name]) > 1]
    rows = sorted(known_rows, key=lambda row: deciding.sign * float(measured[row.name].mean()))
    rng = np.random.default_rng(0)
    with styled():
        figure = Figure(figsize=(7.6, 0.9 + 0.42 * len(rows)))
        axes = figure.subplots()
        for height, row in enumerate(rows):
            color = PLAIN if row.baseline else EVOLVED
            values = measured[row.name]
            axes.scatter(values, height + rng.uniform(-0.16, 0.16, len(values)), s=9, color=color, alpha=0.35, lw=0)
            axes.errorbar(values.mean(), height, xerr=values.std(ddof=1), color=color, fmt="o", ms=6, capsize=3, lw=1.6)
        labels = [shown(row.name, LONGEST_LABEL) + (f" ({row.strengths})" if row.strengths else "") for row in rows]
        axes.set_yticks(range(len(rows)), labels)
        for label, row in zip(axes.get_yticklabels(), rows, strict=True):
            label.set_color(PLAIN if row.baseline else EVOLVED)
        center = [float(measured[row.name].mean()) for row in rows]
        spread = max((float(measured[row.name].std(ddof=1)) for row in rows[1:] or rows), default=0.0)
        if rows and deciding.higher_is_better:
            left_edge = min(min(center[1:] or center) - 4 * spread, center[0] - spread)
            axes.set_xlim(left=max(0.0, left_edge) if deciding.share else left_edge)
        elif rows:
            axes.set_xlim(right=max(max(center[1:] or center) + 4 * spread, center[0] + spread))
        name = f"test {shown(deciding.name)}" + (", %" if deciding.share else "")
        axes.set(
            xlabel=f"{name} (each dot is one of {len(comparison.rows[0].runs)} networks)",
            title="Every loss tuned alike",
        )
        axes.grid(axis="x", color="0.9")
        axes.set_axisbelow(True)
        return figure


def plot_formulas(formulas: Formulas, by: Deciding = UNNAMED) -> Figure:
    """Sizes, what came of the draws of each generation, and every formula that was better than all before.

    Args:
        formulas: The search.
        by: The metric that fitness is, in whose direction and unit it is shown.
    """
    lines = formulas.records[-MOST_FORMULAS:]
    with styled():
        figure = Figure(figsize=(9.6, 4.3 + 0.24 * len(lines)), layout="constrained")
        parts: Any = figure.subfigures(2, 1, height_ratios=(4.0, 0.3 + 0.24 * len(lines)))
        top, bottom = parts
        left, right = top.subplots(1, 2)
        left.plot(formulas.generations, formulas.sizes, color=PLAIN, lw=1.6, label="mean of the generation")
        left.plot(formulas.generations, formulas.best_sizes, color=EVOLVED, lw=1.8, label="best formula so far")
        left.set(title="Size", xlabel="generation", ylabel="nodes of a formula")
        left.set_ylim(bottom=0)
        below = np.zeros(len(formulas.generations))
        total = sum(formulas.drawn.values())
        for why, counts in formulas.drawn.items():
            share = counts / total
            label = DRAWN_LABELS.get(why, shown(why))
            right.bar(
                formulas.generations, share, bottom=below, width=0.9, label=label, color=DRAWN_COLORS.get(why, "0.6")
            )
            below = below + share
        right.set(title="What came of what was drawn", xlabel="generation", ylabel="share of the draws", ylim=(0, 1))
        right.yaxis.set_major_formatter(PercentFormatter(1.0))
        for axes in (left, right):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=9)
        texts = bottom.subplots()
        texts.set_axis_off()
        head = "Better than all before" + (f": {formulas.added_to.rstrip()}" if formulas.added_to else "")
        texts.set_title(head)
        for place, (generation, fitness, text) in enumerate(reversed(lines)):
            value = f"{by.shown(fitness):.1f} %" if by.share else f"{by.shown(fitness):.3f}"
            line = f"{generation:>4}   {value:>8}   {shown(text, LONGEST_FORMULA)}"
            where = (0.0, 1 - (place + 0.5) / len(lines))
            color = EVOLVED if place == 0 else PLAIN
            texts.text(
                *where, line, family="monospace", fontsize=9, color=color, va="center", transform=texts.transAxes
            )
        return figure


def _axis(by: Deciding) -> str:
    """What the axis of a metric on validation data is called."""
    if by == UNNAMED:
        return "fitness on validation data"
    return f"validation {shown(by.name, LONGEST_LABEL)}" + (", %" if by.share else "")


def _apart(heights: Sequence[float], gap: float) -> list[float]:
    """Heights at which labels can be read: in the same order, moved up until they are ``gap`` apart."""
    moved = [0.0] * len(heights)
    below = float("-inf")
    for place in sorted(range(len(heights)), key=heights.__getitem__):
        moved[place] = below = max(heights[place], below + gap)
    return moved


def _clip(axes: Axes, curves: Sequence[Any]) -> None:
    low = min(float(np.min(curve)) for curve in curves)
    high = max(float(np.quantile(curve, 0.99)) for curve in curves)
    axes.set_ylim(low - 0.05 * (high - low), high)


def styled() -> Any:
    """The look of every picture, as a context; no ``matplotlibrc`` has a say in it, which could start LaTeX."""
    usual = {key: value for key, value in mpl.rcParamsDefault.items() if not key.startswith("backend")}
    return mpl.rc_context({**usual, **STYLE})
