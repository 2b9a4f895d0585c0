"""The most suspicious images, with their labels and what networks suggest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lossmith.report.figures import styled

COLUMNS = 8
LONGEST = 14


def plot_suspects(images: NDArray[Any], rows: Sequence[tuple[int, str, str, float]]) -> Figure:
    """A sheet of images, each below its row in the data, its label, and the class that is suggested.

    Args:
        images: ``[N, C, H, W]`` with 1, 3 or 4 channels, in any unit; each is drawn from its darkest to its brightest
            value.
        rows: Row in the data, label, suggested class and score of each.
    """
    height = max(1, -(-len(rows) // COLUMNS))
    with styled():
        figure = Figure(figsize=(1.35 * COLUMNS, 1.65 * height + 0.3))
        axes = figure.subplots(height, COLUMNS, squeeze=False).flatten()
        for one in axes:
            one.set_axis_off()
        for one, image, (index, given, suggested, _) in zip(axes, images, rows, strict=False):
            one.imshow(_pixels(image), cmap="gray", interpolation="nearest")
            title = f"{index}\n{_short(given)} → {_short(suggested)}"
            one.set_title(title, fontsize=7, fontweight="normal", loc="center", parse_math=False)
        figure.tight_layout(pad=0.4)
    return figure


def _pixels(image: NDArray[Any]) -> NDArray[np.float64]:
    """An image ``[C, H, W]`` as matplotlib wants it, from 0 to 1; a fourth channel is left out."""
    shown = np.nan_to_num(image[:3].astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = shown.min(), shown.max()
    scaled = (shown - low) / (high - low or 1.0)
    found: NDArray[np.float64] = scaled[0] if len(scaled) < 3 else scaled.transpose(1, 2, 0)
    return found


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
