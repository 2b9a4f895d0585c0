"""How networks learned, epoch by epoch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lossmith.analysis import Deciding
from lossmith.markup import Child, element, joined
from lossmith.report.web.document import Section
from lossmith.report.web.findings import Findings
from lossmith.report.web.learned import Curve
from lossmith.report.web.parts import chart, known_only, number, short, table

Array = NDArray[np.float64]
COLORS = ("accent", "accent-2", "ink", "accent-3", "good", "muted")


def training_section(found: Findings) -> Section | None:
    """The curve by which each loss was tuned, or that a training function reported; None where there is none."""
    comparison, curves = found.comparison, found.curves
    if comparison is None or not curves:
        return None
    deciding = comparison.deciding
    length = max(len(curve.fitness) for curve in curves)
    heights = {curve.name: _heights(curve, length, deciding) for curve in curves}
    named = [name for name in (found.leading, comparison.best_baseline, "cross-entropy") if name is not None]
    colors = dict(zip(dict.fromkeys(named), COLORS, strict=False))
    # What stands out is drawn last.
    ordered = sorted(curves, key=lambda curve: curve.name in colors)
    low, high = _shown_heights(np.stack(list(heights.values())), deciding.higher_is_better)
    shares = curves[0].shares
    across = {"label": "epoch", "name": "epoch", "values": list(range(1, length + 1)), "whole": True}
    across |= {"min": 1, "max": max(2, length)}
    if shares is not None:
        across = {"label": "how much of the training is done, in %", "name": "done, in %:", "values": shares}
        across |= {"min": 0, "max": 100}
    digits = 1 if deciding.share else 4
    upward = {"label": f"validation {deciding.name}", "unit": deciding.unit, "digits": digits, "min": low, "max": high}
    lines = [
        {
            "name": short(curve.name),
            "values": known_only(heights[curve.name]),
            "color": colors.get(curve.name, "faint"),
            "width": 2 if curve.name in colors else 1,
            "faint": curve.name not in colors,
        }
        for curve in ordered
    ]
    specs = {
        "curves": {
            "label": f"Validation {deciding.name} "
            + ("after each epoch of tuning" if shares is None else "as reported"),
            "height": 340,
            "x": across,
            "y": upward,
            "lines": lines,
        }
    }
    count = max(curve.networks for curve in curves)
    if shares is None:
        text = (
            f"Each line is a loss at its best setting: the mean of up to {count} networks in tuning. The final "
            "networks stop after the number of epochs that was best here."
        )
    else:
        text = (
            "Each line is a loss: what your training function reported while the final networks trained, the mean of "
            f"up to {count} of them."
        )
    text += " Other losses are gray." if len(curves) > len(colors) else ""
    head = ["loss", *(["#epochs", "#stops after"] if shares is None else []), "#best", "#last"]
    rows = [_row(curve, heights[curve.name], deciding) for curve in reversed(ordered)]
    values = table(f"Validation {deciding.name}", head, rows)
    body = joined([element("p", text), chart("curves", values=values)])
    return Section("training", "Training", body, script="lossmith.charts(root, data);", data=specs)


def _heights(curve: Curve, length: int, deciding: Deciding) -> Array:
    """A curve in the unit of its figure, NaN where it is unknown or over."""
    found = np.full(length, np.nan)
    found[: len(curve.fitness)] = [np.nan if value is None else value for value in curve.fitness]
    shown: Array = deciding.shown(found)
    return shown


def _shown_heights(heights: Array, higher_is_better: bool) -> tuple[float, float]:
    """What of some curves is shown: the first epochs would press together what matters."""
    late = heights[:, heights.shape[1] // 3 :]
    known, ends = heights[np.isfinite(heights)], late[np.isfinite(late)]
    if not len(known):
        return 0.0, 1.0
    ends = ends if len(ends) else known
    best = float(known.max() if higher_is_better else known.min())
    other = best - 1.6 * (best - float(np.quantile(ends, 0.02 if higher_is_better else 0.98)))
    room = 0.05 * abs(best - other) or 0.1
    return min(best, other) - room, max(best, other) + room


def _row(curve: Curve, heights: Array, deciding: Deciding) -> list[Child]:
    known = heights[np.isfinite(heights)]
    best = float(known.max() if deciding.higher_is_better else known.min()) if len(known) else None
    digits = 1 if deciding.share else 4
    figures = [number(value, digits) + deciding.unit * (value is not None) for value in (best, _last(heights, curve))]
    epochs = [str(len(curve.fitness)), "–" if curve.stop is None else str(curve.stop)] if curve.shares is None else []
    return [short(curve.name), *epochs, *figures]


def _last(heights: Array, curve: Curve) -> float | None:
    known = heights[: len(curve.fitness)]
    # A training that diverged has no last figure; one that reports may do so for the last time before its end.
    known = known if curve.shares is None else known[np.isfinite(known)]
    return float(known[-1]) if len(known) and np.isfinite(known[-1]) else None
