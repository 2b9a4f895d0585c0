"""Tables, by pandas, which the extra ``tables`` installs: files of them, and the cells of their columns."""

from __future__ import annotations

import datetime
import decimal
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lossmith.data.columns import Cells, no_value
from lossmith.data.csvfiles import Layout, checked_layout
from lossmith.data.names import listed, short, shown
from lossmith.errors import InputError, installing
from lossmith.io import opened_regular
from lossmith.memory import amount, check_available

PARQUET = ".parquet"
ENDINGS = (".csv", ".tsv", PARQUET)
# pandas writes the index of a frame into a column that is called so.
INDEX = "__index_level_"
# Bytes in memory for each byte of a text, and rows of texts for which an object is made.
GROWTH = 8
UNREADABLE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
Values = NDArray[Any]
# Of pandas, which has no types of its own.
DataFrame = Any


def read_table(path: Path) -> DataFrame:
    """The table of a file ``.csv`` or ``.tsv`` (separated by commas, semicolons or tabs; UTF-8) or ``.parquet``.

    Raises:
        InputError: If pandas is not installed, the file cannot be read, is damaged or too large for the memory, or is
            no table with a name for each column and a cell for each column in every row.
    """
    if not path.exists():
        raise InputError(f"there is no file {shown(path)}: check its path")
    with opened_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if path.suffix.lower() == PARQUET:
            return _parquet(stream, shown(path))
        check_available(GROWTH * size, f"{shown(path)} has {amount(size)} and takes", "give fewer rows or columns")
        layout = checked_layout(stream, shown(path), "\t" if path.suffix.lower() == ".tsv" else None)
        stream.seek(0)
        return _csv(stream, layout, shown(path))


def frame_of(table: object) -> DataFrame:
    """A DataFrame.

    Raises:
        InputError: If it is something else.
    """
    pandas = _library()
    if not isinstance(table, pandas.DataFrame):
        raise InputError(f"a table is a pandas.DataFrame, not an object of type {type(table).__name__}: make it one")
    return table


def cells(frames: Sequence[DataFrame], names: Sequence[str]) -> list[Cells]:
    """The cells of the columns of tables, one below the other.

    Args:
        frames: Tables; all have the columns of the first.
        names: What they are called.

    Raises:
        InputError: If columns differ, two have one name, or a column holds neither numbers, truth values, texts nor
            dates.
    """
    pandas = _library()
    tables = [_named(frame, name) for frame, name in zip(frames, names, strict=True)]
    columns = list(tables[0].columns)
    for table, name in zip(tables[1:], names[1:], strict=True):
        absent = [column for column in columns if column not in table.columns]
        new = [column for column in table.columns if column not in columns]
        if absent or new:
            what = f"no column {listed(absent)}, which" if absent else f"the column {listed(new)}, which not"
            raise InputError(f"{name} has {what} {names[0]} has: give both the same columns")
    whole = tables[0] if len(tables) == 1 else pandas.concat([table[columns] for table in tables], ignore_index=True)
    return [_cells(whole[column], column, names[0]) for column in columns]


def _csv(stream: BinaryIO, layout: Layout, path: str) -> DataFrame:
    pandas = _library()
    try:
        frame: DataFrame = pandas.read_csv(
            stream,
            sep=layout.separator,
            skipinitialspace=True,
            encoding="utf-8-sig",
            index_col=False,
            low_memory=False,
            header=0,
        )
    except UNREADABLE as error:
        raise _unreadable(path, error) from None
    if len(frame) != layout.rows or len(frame.columns) != len(layout.names):
        raise InputError(f"{path} cannot be read, since it is not clear where its cells end: save it again as CSV")
    frame.columns = pandas.Index(layout.names)
    return frame


def _parquet(stream: BinaryIO, path: str) -> DataFrame:
    _library()
    try:
        import pyarrow.parquet
    except ImportError:
        raise InputError(f"{path} is read by pyarrow, which is not installed: {installing('tables')}") from None
    try:
        file = pyarrow.parquet.ParquetFile(stream)
        about = file.metadata
        taken = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
        values = about.num_rows * about.num_columns
        check_available(4 * taken + 16 * values, f"{path} has {about.num_rows} rows and takes", "give fewer")
        frame: DataFrame = file.read().to_pandas(ignore_metadata=True)
    except InputError:
        raise
    except (pyarrow.ArrowException, *UNREADABLE) as error:
        raise _unreadable(path, error) from None
    return frame[[column for column in frame.columns if not str(column).startswith(INDEX)]]


def _unreadable(path: str, error: BaseException) -> InputError:
    lines = str(error).strip().splitlines()
    return InputError(
        f"{path} cannot be read as a table ({short(lines[0]) if lines else type(error).__name__}): mend it"
    )


def _named(frame: DataFrame, what: str) -> DataFrame:
    """The same table with texts as the names of its columns, and without its index."""
    if len(frame) == 0 or len(frame.columns) == 0:
        raise InputError(f"{what} has {len(frame)} rows and {len(frame.columns)} columns: give at least a few samples")
    names = [str(name) for name in frame.columns]
    if any(isinstance(name, tuple) for name in frame.columns):
        raise InputError(f"{what} has columns of several levels: give each one name")
    twice = [name for number, name in enumerate(names) if name in names[:number]]
    if twice:
        raise InputError(f"{what} has two columns that are called {shown(short(twice[0]))}: give each its own name")
    table = frame.reset_index(drop=True)
    table.columns = _library().Index(names)
    return table


def _cells(column: Any, name: str, what: str) -> Cells:
    missing = column.isna().to_numpy(dtype=bool)
    dtype: Any = column.dtype
    # Of a categorical column, whatever it holds, values are names.
    if getattr(dtype, "categories", None) is not None and not hasattr(dtype, "subtype"):
        texts = np.array([None if empty else str(value) for value, empty in zip(column, missing, strict=True)], object)
        return Cells(name, "text", texts, missing)
    kind = str(dtype.kind)
    if kind in "mM":
        return Cells(name, "date", column.astype(str).to_numpy(dtype=object), missing)
    if kind == "b":
        return Cells(name, "truth", column.to_numpy(dtype=float, na_value=np.nan), missing)
    if kind in "iu":
        return Cells(name, "whole", column.to_numpy(dtype=float, na_value=np.nan), missing)
    if kind == "f":
        return Cells(name, "number", column.to_numpy(dtype=float, na_value=np.nan), missing)
    return _objects(column.to_numpy(dtype=object), missing, name, what)


def _objects(values: Values, missing: NDArray[np.bool_], name: str, what: str) -> Cells:
    """The cells of a column of Python objects."""
    kinds = {type(value) for value, empty in zip(values, missing, strict=True) if not empty}
    numbers = (int, float, decimal.Decimal, np.integer, np.floating)
    if all(issubclass(kind, str) for kind in kinds):
        return Cells(name, "text", values, missing)
    if all(issubclass(kind, bool | np.bool_) for kind in kinds):
        return Cells(name, "truth", _floats(values, missing), missing)
    if all(issubclass(kind, datetime.date | datetime.time | datetime.timedelta) for kind in kinds):
        return Cells(name, "date", np.array([str(value) for value in values], object), missing)
    if all(issubclass(kind, numbers) and not issubclass(kind, bool) for kind in kinds):
        return Cells(name, "number", _floats(values, missing), missing)
    if all(issubclass(kind, (*numbers, np.bool_, str)) for kind in kinds):
        text = next((value for value in values if isinstance(value, str)), None)
        if text is not None:
            raise no_value(name, what, text)
        raise InputError(
            f"the column {shown(short(name))} of {what} holds numbers in some rows and truth values in others: make "
            "them alike"
        )
    strange = next(kind for kind in kinds if not issubclass(kind, (*numbers, str)))
    raise InputError(
        f"the column {shown(short(name))} of {what} holds values of type {strange.__name__}, but numbers, truth values "
        f"and texts alone can be learned from: convert it, or drop it (--drop {shown(short(name))})"
    )


def _floats(values: Values, missing: NDArray[np.bool_]) -> Values:
    try:
        return np.array([np.nan if empty else float(value) for value, empty in zip(values, missing, strict=True)])
    except OverflowError:
        return np.full(len(values), np.inf)


def _library() -> Any:
    try:
        import pandas
    except ImportError:
        raise InputError(
            f"tables are read by pandas, which is not installed: {installing('tables')}; or give the data as an .npz "
            "file"
        ) from None
    return pandas
