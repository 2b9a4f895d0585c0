"""From the cells of a table's columns to features and labels, or a sentence that names the column and the remedy."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from lossmith.data.arrays import FEW_CLASSES, LARGEST_INPUT
from lossmith.data.names import short, shown
from lossmith.errors import InputError
from lossmith.memory import check_available

MOST_CATEGORIES = 1000
# Of the texts of a column: that so many of them are numbers, and so many different ones, is hardly meant.
MOSTLY = 0.9
# A column of whole numbers is one of ids if they fill so much of the numbers from the least to the largest.
DENSE = 0.5
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
COMMA = re.compile(r"[+-]?\d{1,3}(\.\d{3})*,\d+|[+-]?\d+,\d+", re.ASCII)
DATE = re.compile(
    r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2}))([ T].*)?|\d{1,2}:\d\d(:\d\d.*)?", re.ASCII
)
ID = re.compile(r"(.*[^a-zA-Z])?(id|Id|ID|uuid|UUID|guid|index|rowid)|.*[a-z]I[dD]", re.DOTALL)
# Of a feature: float32.
BYTES = 4
Array = NDArray[Any]
_LOG = logging.getLogger("lossmith")


@dataclass(frozen=True)
class Cells:
    """A column of a table.

    Args:
        name: What it is called.
        type: What its cells hold.
        values: ``[N]``; float64 of numbers and truth values (0 and 1), str of texts and dates.
        missing: Which of them are empty, ``[N]``.
    """

    name: str
    type: Literal["number", "whole", "truth", "text", "date"]
    values: Array
    missing: NDArray[np.bool_]

    @property
    def shown(self) -> str:
        """Its name, as it can be printed."""
        return shown(short(self.name))


class Block(NamedTuple):
    """The features that a column became.

    Attributes:
        name: What the column is called.
        width: How many there are.
        ordered: Whether a median is one of its values; else the most frequent one stands for one that is missing.
    """

    name: str
    width: int
    ordered: bool


def features(
    columns: list[Cells], what: str, categories: str = "one-hot", missing: str = "refuse", judged: int | None = None
) -> tuple[NDArray[np.float32], list[Block]]:
    """The features of columns: numbers as they are, truth values as 0 and 1, texts as categories.

    Args:
        columns: Of ``N`` rows.
        what: The name by which the user knows the table.
        categories: ``"one-hot"``, a feature for each category in sorted order, or ``"ordinal"``, its number.
        missing: ``"refuse"`` empty cells, or let them be NaN (``"impute"``).
        judged: The first rows, which are those of the training table: these say what a column is; all without it.

    Returns:
        ``[N,F]``, NaN where a cell is empty, and the features of each column.

    Raises:
        InputError: If a column holds dates, ids, free texts, numbers that are not finite, empty cells that are
            refused, or nothing at all; or there is no column.
    """
    if not columns:
        raise InputError(f"{what} has no column beside the labels: give features to learn from")
    found, width = list[Array](), 0
    for column in columns:
        _check_meant(column, what, judged)
        found.append(_encoded(column, what, categories, missing, width))
        width += found[-1].shape[1]
    blocks = [
        Block(column.name, values.shape[1], column.type in ("number", "whole"))
        for column, values in zip(columns, found, strict=True)
    ]
    return np.concatenate(found, axis=1, dtype=np.float32), blocks


def labels(column: Cells, what: str) -> tuple[NDArray[np.int64], tuple[str, ...] | None]:
    """The classes of a column: its different values in sorted order.

    Returns:
        Labels ``[N]`` in 0…K−1, and the names of the classes; None where values are these numbers already.

    Raises:
        InputError: If it holds empty cells, dates or measured values.
    """
    empty = int(column.missing.sum())
    if empty:
        raise InputError(
            f"the column {column.shown} of {what}, which holds the labels, has {_empty(column)}: remove these rows"
        )
    if column.type == "date":
        raise InputError(f"the column {column.shown} of {what} holds dates, not classes: name another one (--target)")
    if column.type == "number" and not bool((column.values == np.round(column.values)).all()):
        raise InputError(
            f"the column {column.shown} of {what} holds measured values, such as {_odd(column.values):g}, and there is "
            "no regression here: name a column of classes (--target), or put these values into classes"
        )
    values = (
        np.array([normalize("NFC", text) for text in column.values], object) if column.type == "text" else column.values
    )
    names, numbers = np.unique(values, return_inverse=True)
    if column.type == "text":
        _check_names(names.tolist(), column, what)
        called = tuple(shown(short(name)) for name in names)
    elif column.type == "truth":
        called = tuple("true" if value else "false" for value in names)
    else:
        called = tuple(f"{value:.0f}" for value in names)
    is_numbered = column.type in ("whole", "number") and called == tuple(map(str, range(len(called))))
    return numbers.astype(np.int64), None if is_numbered else called


def _check_names(names: list[str], column: Cells, what: str) -> None:
    """Raise InputError if classes differ by spaces or capital letters alone, as nobody means it."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(" ".join(name.casefold().split()), name)
        if other != name:
            raise InputError(
                f"the column {column.shown} of {what} has the classes {shown(short(repr(other)))} and "
                f"{shown(short(repr(name)))}, which differ by spaces or capital letters alone: write them alike"
            )


def groups_of(column: Cells, what: str) -> NDArray[np.int64]:
    """The number of each row's group, ``[N]``.

    Raises:
        InputError: If a cell is empty.
    """
    if column.missing.any():
        raise InputError(
            f"the column {column.shown} of {what}, which holds the groups, has {_empty(column)}: fill them"
        )
    return np.unique(column.values, return_inverse=True)[1].astype(np.int64)


def no_value(name: str, what: str, text: str) -> InputError:
    """What to say of a text among numbers."""
    return InputError(
        f"the column {shown(short(name))} of {what} holds numbers, but also texts such as '{shown(short(text, 20))}': "
        "mend these cells, or leave them empty"
    )


def _encoded(column: Cells, what: str, categories: str, missing: str, before: int) -> Array:
    """The features ``[N,F]`` of one column, NaN where a cell is empty, for a table that has some before."""
    if missing == "refuse" and column.missing.any():
        raise InputError(
            f"the column {column.shown} of {what} has {_empty(column)}: fill them, {_drop(column)}, or let them be "
            "filled by what is usual in the training part (--missing impute)"
        )
    if column.type != "text":
        return column.values.astype(np.float64)[:, None]
    _, codes = np.unique(np.where(column.missing, "", column.values), return_inverse=True)
    present = np.unique(codes[~column.missing])
    numbers = np.searchsorted(present, codes)
    if categories == "ordinal":
        return np.where(column.missing, np.nan, numbers)[:, None]
    if len(present) > MOST_CATEGORIES:
        raise InputError(
            f"the column {column.shown} of {what} has {len(present)} different texts, more than {MOST_CATEGORIES}: "
            f"{_drop(column)}, or let categories be numbers (--categories ordinal)"
        )
    check_available(
        4 * BYTES * len(numbers) * (before + len(present)),
        f"{what} has {len(numbers)} rows, which with the {len(present)} categories of {column.shown} take",
        f"{_drop(column)}, or let categories be numbers (--categories ordinal)",
    )
    hot: Array = (numbers[:, None] == np.arange(len(present))).astype(np.float32)
    hot[column.missing] = np.nan
    return hot


def _check_meant(column: Cells, what: str, judged: int | None) -> None:
    """Raise InputError if nobody can have meant to learn from the values of a column."""
    called, there = f"the column {column.shown} of {what}", ~column.missing
    values = column.values[:judged][there[:judged]]
    if len(values) == 0:
        raise InputError(f"{called} is empty: {_drop(column)}")
    if column.type == "date" or (column.type == "text" and all(map(DATE.fullmatch, map(str.strip, values)))):
        raise InputError(
            f"{called} holds dates or times ({shown(short(values[0], 30))}): {_drop(column)}, or give what matters of "
            "them as numbers, such as the month and the weekday"
        )
    if column.type == "text":
        _check_texts(values, column, called, what)
    elif column.type in ("number", "whole"):
        if not bool((np.abs(column.values[there]) <= LARGEST_INPUT).all()):
            raise InputError(f"{called} holds infinite values, or numbers beyond {LARGEST_INPUT:g}: mend these cells")
        if column.type == "whole":
            _check_whole(values, column, called)


def _check_texts(values: Array, column: Cells, called: str, what: str) -> None:
    different = list(dict.fromkeys(values))
    if all(map(COMMA.fullmatch, different)):
        raise InputError(f"{called} holds numbers with a decimal comma ({different[0]}): write them with a point")
    numbers = {text for text in different if NUMBER.fullmatch(text.strip())}
    measured = len(numbers) > FEW_CLASSES or any("." in text for text in numbers)
    if measured and MOSTLY < sum(text in numbers for text in values) / len(values) < 1:
        raise no_value(column.name, what, next(text for text in different if text not in numbers))
    if len(different) > max(FEW_CLASSES, len(values) // 2):
        raise InputError(
            f"{called} has {len(different)} different texts in {len(values)} rows, as ids, names and free texts have: "
            f"{_drop(column)}"
        )


def _check_whole(values: Array, column: Cells, called: str) -> None:
    """Refuse numbers of rows and ids; whole numbers that all differ and may be measured are told."""
    if len(values) <= FEW_CLASSES or len(np.unique(values)) < len(values):
        return
    steps = np.diff(values)
    dense = len(values) > DENSE * (values.max() - values.min())
    if dense or bool((steps > 0).all()) or bool((steps < 0).all()) or ID.fullmatch(column.name):
        raise InputError(
            f"{called} has another whole number in each row, as ids and numbers of rows are: {_drop(column)}, or write "
            "it with a decimal point if it is measured"
        )
    _LOG.warning("%s has another whole number in each row; if it is an id, drop it (--drop)", called)


def _drop(column: Cells) -> str:
    return f"drop it (--drop {column.shown})"


def _empty(column: Cells) -> str:
    count = int(column.missing.sum())
    where = int(column.missing.argmax()) + 1
    return f"an empty cell (in row {where})" if count == 1 else f"{count} empty cells (the first in row {where})"


def _odd(values: Array) -> float:
    return float(values[values != np.round(values)][0])
