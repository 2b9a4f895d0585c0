"""The costs of a setting: a matrix as nested lists, as text, or in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lossmith.data import read_array
from lossmith.errors import InputError, brief
from lossmith.io import parsed_json, read_regular
from lossmith.metrics import Costs, checked_costs

ARRAYS = (".npy", ".npz")
LARGEST_FILE = 2**24
FORM = 'give FILE.npy, FILE.npz:ARRAY, FILE.csv, or a matrix as "[[0, 1], [5, 0]]"'


def read_costs(given: Any) -> Costs | None:
    """A matrix of costs; what a file holds is read here, once, and kept by its values.

    Args:
        given: Nested lists, an array, text of such lists, or the path of a file.

    Raises:
        InputError: if it is none of these, or the numbers are no costs.
    """
    if given is None:
        return None
    found = _of_text(given) if isinstance(given, str) else given
    rows = found.tolist() if hasattr(found, "tolist") else found
    if not isinstance(rows, list | tuple) or not all(isinstance(row, list | tuple) for row in rows):
        raise InputError(f"{brief(given)} is no matrix of costs; {FORM}")
    for value in (value for row in rows for value in row):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"the costs hold {brief(value)}, which is no number; {FORM}")
    return checked_costs(rows)


def costs_text(costs: Costs) -> str:
    """Costs as the text that :func:`read_costs` reads."""
    return json.dumps(costs)


def _of_text(text: str) -> Any:
    if text.lstrip().startswith("["):
        try:
            return parsed_json(text)
        except ValueError as error:
            raise InputError(f"the costs {brief(text)} cannot be read ({error}); {FORM}") from None
    head, colon, array = text.rpartition(":")
    path, name = (Path(head), array) if colon and Path(text).suffix not in (*ARRAYS, ".csv") else (Path(text), "")
    path = path.expanduser()
    if path.suffix in ARRAYS:
        return read_array(path, name or None)[0]
    if path.suffix != ".csv" or name:
        raise InputError(f"there are no costs {brief(text)}; {FORM}")
    return _of_csv(path)


def _of_csv(path: Path) -> Any:
    """The numbers of a file with a line for each class, parted by commas or semicolons."""
    if not path.is_file():
        raise InputError(f"there is no file {path}: check its path")
    try:
        lines = [line for line in read_regular(path, LARGEST_FILE).decode("utf-8-sig").splitlines() if line.strip()]
        return [[float(word) for word in line.replace(";", ",").split(",")] for line in lines]
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} holds no numbers alone ({error}); give a line for each class, its costs parted by commas, and no "
            "names"
        ) from None
