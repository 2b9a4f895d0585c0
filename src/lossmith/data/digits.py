"""scikit-learn's handwritten digits, read from its file: to import its module of data sets takes about a second."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

PLACE = Path("datasets", "data", "digits.csv.gz")


def read_digits() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images ``[1797, 8, 8]``, uint8 0…16, and classes ``[1797]``, as ``sklearn.datasets.load_digits`` has them.

    That function reads them where scikit-learn keeps the file at another place.
    """
    found = find_spec("sklearn")
    file = None if found is None or found.origin is None else Path(found.origin).parent / PLACE
    if file is None or not file.is_file():
        from sklearn.datasets import load_digits

        digits = load_digits()
        return np.asarray(digits.images, dtype=np.uint8), np.asarray(digits.target, dtype=np.int64)
    with gzip.open(file, "rt", encoding="ascii") as lines:
        table = np.loadtxt(lines, delimiter=",")
    return table[:, :-1].reshape(-1, 8, 8).astype(np.uint8), table[:, -1].astype(np.int64)
