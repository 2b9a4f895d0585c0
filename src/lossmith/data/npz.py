"""Reading the arrays of an .npz file, without ever unpickling anything."""

import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lossmith.errors import InputError

REQUIRED = ("x_train", "y_train")
OPTIONAL = ("x_test", "y_test")
_LISTED = 12
_DAMAGED = (
    ValueError,
    OSError,
    EOFError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    TypeError,
    MemoryError,
    OverflowError,
    tokenize.TokenError,
    zlib.error,
    zipfile.BadZipFile,
)


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays ``x_train``, ``y_train`` and, where the file has them, ``x_test``, ``y_test``.

    Raises:
        InputError: If the file cannot be read, is not an .npz, is damaged, lacks an array, or holds Python objects.
    """
    if not path.is_file():
        raise InputError(f"there is no file or directory {path}: check the path of the .npz file or of the images")
    try:
        with path.open("rb") as stream:
            return _read_arrays(stream, path)
    except PermissionError:
        raise InputError(f"{path} cannot be read: give yourself permission to read it") from None


def _read_arrays(stream: BinaryIO, path: Path) -> dict[str, NDArray[Any]]:
    try:
        file = np.load(stream, allow_pickle=False)
    except _DAMAGED:
        raise _not_npz(path) from None
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise _not_npz(path)
    present = list(file.files)
    missing = [name for name in REQUIRED if name not in present]
    if missing:
        listed = [name if name.isprintable() else repr(name) for name in sorted(present)]
        found = ", ".join(listed[:_LISTED]) + ", …" * (len(listed) > _LISTED)
        raise InputError(
            f"{path} has no array {' and no array '.join(missing)}, only {found or 'nothing'}: save it with "
            "numpy.savez(path, x_train=…, y_train=…)"
        )
    optional = [name for name in OPTIONAL if name in present]
    if len(optional) == 1:
        absent = next(name for name in OPTIONAL if name not in optional)
        raise InputError(f"{path} has {optional[0]} without {absent}: save both of them or neither")
    return {name: _read_array(file, name, path) for name in (*REQUIRED, *optional)}


def _read_array(file: np.lib.npyio.NpzFile, name: str, path: Path) -> NDArray[Any]:
    try:
        array = file[name]
    except _DAMAGED as error:
        if "allow_pickle" in str(error):
            raise InputError(
                f"{name} in {path} holds Python objects, which are never loaded: save it as an array of numbers"
            ) from None
        raise InputError(
            f"{name} in {path} cannot be read, so the file is damaged or larger than the memory: save it again"
        ) from None
    if not isinstance(array, np.ndarray):
        raise InputError(f"{name} in {path} is not a NumPy array: save it with numpy.savez")
    return array


def _not_npz(path: Path) -> InputError:
    return InputError(f"{path} is not an .npz file, or a damaged one: save the arrays again with numpy.savez")
