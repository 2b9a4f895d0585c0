"""What sections are made of: numbers as text, tables, charts, and rows of dots."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lossmith.analysis import Deciding
from lossmith.markup import Child, Html, element

LONGEST_NAME = 80
# Beyond these, a number is written with a power of ten, or as nothing.
LARGEST_PLAIN, SMALLEST = 1e7, 1e-12
# What stands for ends of a scale that no difference of numbers is as long as.
WIDEST = 1e300


def number(value: float | None, digits: int = 4) -> str:
    """A number as text; a dash where there is none. What is very large or very small has a power of ten."""
    if value is None or not math.isfinite(value):
        return "–"
    plain = abs(value) < LARGEST_PLAIN and (value == 0 or abs(value) >= 0.1**digits / 2)
    text = f"{value:.{digits}f}" if plain or abs(value) < SMALLEST else f"{value:.4g}"
    return (text.lstrip("-") if float(text) == 0 else text).replace("-", "−")


def signed(value: float, digits: int) -> str:
    """A difference with its sign; none where it is rounded to nothing."""
    text = number(value, digits)
    return text if text.startswith("−") or float(text.replace("−", "-")) == 0 else f"+{text}"


def digits_of(deciding: Deciding) -> int:
    """How many digits a mean of a figure is shown with: a share stands in percent."""
    return 1 if deciding.share else 4


def figure_text(value: float | None, deciding: Deciding) -> str:
    """A value of the figure that decides, in its unit."""
    scale = 100 if deciding.share else 1
    text = number(None if value is None else scale * value, digits_of(deciding))
    # A number and its unit are not broken.
    return text if text == "–" else text + deciding.unit.replace(" ", "\u00a0")


def difference_text(low: float, high: float, deciding: Deciding) -> str:
    """An interval of differences; those of shares are points."""
    scale, digits = (100 if deciding.share else 1), digits_of(deciding)
    return f"{signed(scale * low, digits)} to {signed(scale * high, digits)}"


def short(name: str) -> str:
    """A name that fits on a page."""
    whole = " ".join(name.split())
    return whole if len(whole) <= LONGEST_NAME else f"{whole[: LONGEST_NAME - 1]}…"


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[Child]], ours: Sequence[int] = ()) -> Html:
    """A table whose first column names the rows, in a box that scrolls where it is too wide.

    Args:
        caption: What it shows.
        head: The names of the columns; of those that begin with ``#``, which is left out, the cells are numbers.
        rows: Their cells.
        ours: Places of rows that stand out.
    """
    numeric = [name.startswith("#") for name in head]
    columns = [
        element("th", name.removeprefix("#"), scope="col", class_="n" if is_number else None)
        for name, is_number in zip(head, numeric, strict=True)
    ]
    body = [
        element(
            "tr",
            element("th", row[0], scope="row"),
            [
                element("td", cell, class_="n" if is_number else None)
                for cell, is_number in zip(row[1:], numeric[1:], strict=True)
            ],
            class_="ours" if place in ours else None,
        )
        for place, row in enumerate(rows)
    ]
    narrow = "narrow" if len(head) == 2 else None
    inner = element(
        "table",
        element("caption", element("span", caption)),
        element("thead", element("tr", columns)),
        element("tbody", body),
        class_=narrow,
    )
    return element("div", inner, class_="scroll", tabindex=0, role="region", aria_label=caption)


def folded(summary: str, *content: Child) -> Html:
    """What is shown when it is asked for."""
    return element("details", element("summary", summary), *content)


def chart(name: str, caption: Child = None, values: Html | None = None) -> Html:
    """The place of a chart, whose spec the section's data holds, with its values as a table."""
    return element(
        "figure",
        element("div", class_="chart", data_chart=name),
        element("figcaption", caption) if caption is not None else None,
        None if values is None else folded("The values as a table", values),
    )


def column(values: ArrayLike, kind: str = "f4") -> dict[str, str]:
    """Numbers as a page's scripts read them at once: little-endian, in base64. NaN stands for none.

    Args:
        values: ``[N]``.
        kind: ``"f4"``, ``"u4"`` or ``"u1"``.
    """
    return {kind: base64.b64encode(np.ascontiguousarray(values, f"<{kind}").tobytes()).decode()}


def known_only(values: ArrayLike, scale: float = 1.0) -> list[float | None]:
    """Numbers as JSON has them: None where one is not finite, five digits else."""
    found = np.asarray(values, float) * scale
    return [float(f"{value:.5g}") if math.isfinite(value) else None for value in found.ravel().tolist()]


def strip(
    what: Child, marks: Sequence[Html], value: str, *, ours: bool = False, label: str = "", axis: bool = False
) -> Html:
    """A row: what it is, marks on a scale, and a value."""
    svg = (
        element("svg", list(marks), role="img", aria_label=label)
        if label
        else element("svg", list(marks), aria_hidden="true")
    )
    return element(
        "div",
        element("div", what, class_="what"),
        svg,
        element("div", value, class_="value"),
        class_="strip" + " ours" * ours + " axis" * axis,
    )


class Scale:
    """A scale of numbers over the width of a strip.

    Args:
        low: Its left end.
        high: Its right end.
    """

    def __init__(self, low: float, high: float) -> None:
        if not math.isfinite(high - low):
            low, high = max(low, -WIDEST), min(high, WIDEST)
        # Numbers that rounding alone tells apart are one.
        room = 0.0 if high - low > 1e-9 * max(abs(low), abs(high)) else 0.5 * max(abs(low), abs(high)) or 0.5
        self.low, self.high = low - room, high + room

    def at(self, value: float) -> str:
        """The place of a number, which is held within the strip."""
        share = (value - self.low) / (self.high - self.low)
        return f"{100 * min(1.0, max(0.0, share)):.2f}%"

    def ticks(self, most: int = 5) -> list[float]:
        """Round numbers on it."""
        rough = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [step * k for k in range(first, math.floor(self.high / step + 1e-9) + 1)]

    def guides(self) -> list[Html]:
        """Lines at its ticks."""
        return [
            element("line", x1=self.at(tick), x2=self.at(tick), y1="0%", y2="100%", class_="guide")
            for tick in self.ticks()
        ]

    def axis(self, unit: str, title: str) -> Html:
        """The row that names its ticks."""
        ticks = self.ticks()
        step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        texts = [element("text", number(tick, digits) + unit, x=self.at(tick), y="1rem") for tick in ticks]
        return strip(element("small", title), texts, "", axis=True)


def settings_rows(settings: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Settings as names and values; what is not set is left out."""
    if not isinstance(settings, dict):
        return [(prefix, _value_text(settings))]
    found: list[tuple[str, str]] = []
    for key, value in settings.items():
        if value is not None and value not in ([], {}):
            found += settings_rows(value, f"{prefix}.{key}" if prefix else str(key))
    return found


def _value_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_value_text, value))
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
