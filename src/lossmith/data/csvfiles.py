"""What a text of separated values must be before a library makes a table of it, which would mend it in silence."""

import csv
import io
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from lossmith.data.names import short, shown
from lossmith.errors import InputError

SEPARATORS = (",", ";", "\t")
MOST_COLUMNS = 2**16
# Of a header line, for which names would have to be made up.
LONGEST_LINE = 2**24


class Layout(NamedTuple):
    """Of a table in a text.

    Attributes:
        separator: What stands between two cells.
        names: Of the columns, of its first line.
        rows: How many there are below it.
    """

    separator: str
    names: tuple[str, ...]
    rows: int


def checked_layout(stream: BinaryIO, what: str, separator: str | None = None) -> Layout:
    """The layout of a table whose every line has as many cells as the first, which names the columns.

    Args:
        stream: UTF-8, at its beginning; it stays open.
        what: The name by which the user knows it.
        separator: What stands between two cells; a comma, or else what the first line has instead, by default.

    Raises:
        InputError: If it is something else; names the line.
    """
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    try:
        first = text.readline(LONGEST_LINE)
        found = separator or next((one for one in SEPARATORS if one in first), SEPARATORS[0])
        text.seek(0)
        return _read(csv.reader(_lines(text, what), delimiter=found, skipinitialspace=True, strict=True), found, what)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{what} is no text in UTF-8 (its byte {error.object[error.start]:#04x} is none there): save it as UTF-8"
        ) from None
    finally:
        text.detach()


def _lines(text: io.TextIOWrapper, what: str) -> Iterator[str]:
    for number, line in enumerate(text, 1):
        if "\0" in line:
            raise InputError(f"line {number} of {what} holds a null byte, which no text has: save the table again")
        yield line


def _read(reader: Iterator[list[str]], separator: str, what: str) -> Layout:
    names: tuple[str, ...] | None = None
    rows, line = 0, 0
    try:
        for line, row in enumerate(reader, 1):
            if not row:
                continue
            if names is None:
                names = _checked_names(row, what)
            elif len(row) != len(names):
                raise InputError(
                    f"row {line} of {what} has {_cells(len(row))}, but its first line names {len(names)} columns: "
                    "mend that row, or put cells that hold a separator into quotes"
                )
            else:
                rows += 1
    except csv.Error as error:
        raise InputError(f"row {line + 1} of {what} cannot be read ({error}): mend that row") from None
    if names is None or rows == 0:
        raise InputError(f"{what} has no rows: give a line with the names of the columns, and a line for each sample")
    return Layout(separator, names, rows)


def _checked_names(row: list[str], what: str) -> tuple[str, ...]:
    if len(row) > MOST_COLUMNS:
        raise InputError(f"{what} has {len(row)} columns, more than {MOST_COLUMNS}: give fewer")
    names = tuple(name.strip() for name in row)
    if all(map(_is_number, names)):
        raise InputError(f"the first line of {what} holds numbers, but has to name the columns: add such a line")
    for number, name in enumerate(names):
        # A frame that was saved with its index has no name for that column.
        if not name and number:
            raise InputError(f"column {number + 1} of {what} has no name in the first line: give it one")
        if name in names[:number]:
            raise InputError(f"{what} has two columns that are called {shown(short(name))}: give each its own name")
    return names


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"
