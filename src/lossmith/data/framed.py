"""Sources of tables: a column of labels, and features of the others."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lossmith.data.arrays import VALIDATIONS
from lossmith.data.columns import Cells, features, groups_of, labels
from lossmith.data.names import listed, short, shown
from lossmith.data.source import Source
from lossmith.data.tables import ENDINGS, cells, frame_of, read_table
from lossmith.errors import InputError
from lossmith.registry import nearest

if TYPE_CHECKING:
    from lossmith.data.settings import DataSettings

LISTED = 12
PARTS = {"train": ("train",), "test": ("test",), "validation": VALIDATIONS}
_LOG = logging.getLogger("lossmith")


def read_tables(data: str, settings: DataSettings) -> Source:
    """The source of a table: a file, or a directory with ``train`` and, if wanted, ``val`` and ``test``.

    Args:
        data: Its path.
        settings: What its columns are.

    Raises:
        InputError: If it cannot be read, or what :func:`source_of_tables` raises.
    """
    path = Path(data).expanduser()
    files = {"train": path} if not path.is_dir() else _files(path)
    return source_of_tables(
        {part: read_table(file) for part, file in files.items()},
        {part: shown(file) for part, file in files.items()},
        target=settings.target,
        drop=settings.drop,
        categories=settings.categories,
        missing=settings.missing,
        groups=settings.groups,
        name=shown(path.resolve().name),
    )


def is_table(path: Path) -> bool:
    """Whether a path is that of a table, or of a directory with a table ``train``."""
    return path.suffix.lower() in ENDINGS or any((path / f"train{ending}").is_file() for ending in ENDINGS)


def source_of_tables(
    tables: Mapping[str, Any],
    names: Mapping[str, str],
    *,
    target: str | None,
    drop: Sequence[str] = (),
    categories: str = "one-hot",
    missing: str = "refuse",
    groups: str | None = None,
    name: str = "table",
) -> Source:
    """The source of DataFrames; a category is one wherever it stands, and a class one that ``train`` has.

    Args:
        tables: ``train`` and, if wanted, ``test`` and ``validation``, with the same columns.
        names: What to call them in messages.
        target: The column of the labels, whose different values in sorted order are the classes.
        drop: Columns that are left out.
        categories: How texts become numbers: ``"one-hot"`` or ``"ordinal"``.
        missing: Whether empty cells are refused (``"refuse"``), or stand for what is usual in the training part, which
            is known when the data is split (``"impute"``).
        groups: The column of groups, of which none may be in two parts.
        name: What to call the data.

    Raises:
        InputError: If there is no such column, columns cannot be features or labels, or tables differ.
    """
    frames, what = [frame_of(tables[part]) for part in tables], names["train"]
    columns = _chosen(cells(frames, [names[part] for part in tables]), target, drop, groups, what)
    found = {column.name: column for column in columns}
    assert target is not None
    targets, class_names = labels(found.pop(target), what)
    numbers = None if groups is None else groups_of(found.pop(groups), what)
    inputs, blocks = features(list(found.values()), what, categories, missing, len(frames[0]))
    ends = np.cumsum([len(frame) for frame in frames])
    slices = {part: slice(end - len(frame), end) for part, frame, end in zip(tables, frames, ends, strict=True)}
    _check_known(targets, slices, class_names, names)
    arrays, empty = {}, np.isnan(inputs)
    for part, rows in slices.items():
        arrays[f"x_{part}"], arrays[f"y_{part}"] = np.where(empty[rows], 0, inputs[rows]), targets[rows]
    source = replace(Source.from_arrays(arrays, name, what, "tabular"), class_names=class_names)
    if numbers is not None:
        _check_apart(numbers, slices, names)
        source = source.with_groups(numbers[slices["train"]], what)
    return source if not empty.any() else _with_gaps(source, tuple(blocks), empty, slices)


def _with_gaps(source: Source, blocks: tuple[Any, ...], empty: Any, slices: Mapping[str, slice]) -> Source:
    """The source with NaN where a cell was empty."""
    roles = {"train": "inputs", "test": "test_inputs", "validation": "validation_inputs"}
    inputs: dict[str, Any] = {
        roles[part]: getattr(source, roles[part]).masked_fill(torch.from_numpy(empty[rows]), torch.nan)
        for part, rows in slices.items()
    }
    return replace(source, imputed=blocks, **inputs)


def _files(path: Path) -> dict[str, Path]:
    """The tables of a directory by their parts."""
    found: dict[str, Path] = {}
    for part, words in PARTS.items():
        files = [path / f"{word}{ending}" for word in words for ending in ENDINGS]
        there = [file for file in files if file.is_file()]
        if len(there) > 1:
            raise InputError(f"{shown(path)} has {listed([file.name for file in there])} for one part: leave one there")
        if there:
            found[part] = there[0]
    return found


def _chosen(
    columns: list[Cells], target: str | None, drop: Sequence[str], groups: str | None, what: str
) -> list[Cells]:
    """The columns that are labels and features."""
    names = [column.name for column in columns if column.name]
    if target is None:
        raise InputError(
            f"{what} has the columns {listed(names, LISTED)}: say which holds the labels (--target COLUMN)"
        )
    given = [(target, "--target"), *((name, "--drop") for name in drop)]
    for name, flag in given if groups is None else [*given, (groups, "--groups")]:
        if name not in names:
            raise InputError(
                f"{what} has no column {shown(short(name))}{nearest(name, names)}, only {listed(names, LISTED)}: mend "
                f"{flag}"
            )
    if target in drop:
        raise InputError(f"the column {shown(short(target))} is to be dropped, but holds the labels: mend --drop")
    if groups is not None and groups in (target, *drop):
        raise InputError(
            f"the column {shown(short(groups))} holds the groups and nothing else: mend --groups or --drop"
        )
    if not columns[0].name:
        if columns[0].type != "whole":
            raise InputError(f"column 1 of {what} has no name in the first line: give it one")
        _LOG.warning("the first column of %s is left out: it has no name, and numbers the rows", what)
    return [column for column in columns if column.name and column.name not in drop]


def _check_known(
    targets: Any, slices: Mapping[str, slice], class_names: tuple[str, ...] | None, names: Mapping[str, str]
) -> None:
    """Raise InputError if another table has a class that the training table lacks."""
    known = np.unique(targets[slices["train"]])
    for part, rows in slices.items():
        new = np.setdiff1d(targets[rows], known)
        if len(new):
            called = new[0] if class_names is None else class_names[new[0]]
            raise InputError(
                f"{names[part]} has the class {called}, which {names['train']} lacks: remove these rows, or give "
                "training samples of that class"
            )


def _check_apart(numbers: Any, slices: Mapping[str, slice], names: Mapping[str, str]) -> None:
    """Raise InputError if a group is in two tables."""
    for number, (part, rows) in enumerate(slices.items()):
        for other, others in list(slices.items())[:number]:
            shared = np.intersect1d(numbers[rows], numbers[others])
            if len(shared):
                first = 1 + int((numbers[rows] == shared[0]).argmax())
                raise InputError(
                    f"the group of row {first} of {names[part]} is in {names[other]}, too, and no group may be in two "
                    "parts: put it into one of them"
                )
