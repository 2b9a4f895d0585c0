"""Reading the arrays of an .npz file: what each takes is known from its header before anything of it is unpacked.

Nothing is ever unpickled, and no name of a member becomes a path.
"""

import io
import logging
import math
import tokenize
import warnings
import zipfile
import zlib
from itertools import chain
from lzma import LZMAError
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from lossmith.data.arrays import NUMBERS, VALIDATIONS, no_numbers
from lossmith.data.names import listed, shown
from lossmith.errors import InputError
from lossmith.io import opened_regular
from lossmith.memory import amount, check_available

REQUIRED = ("x_train", "y_train")
OPTIONAL = tuple((f"x_{part}", f"y_{part}") for part in ("test", *VALIDATIONS))
READ = (*REQUIRED, *chain.from_iterable(OPTIONAL))
ZIP = (b"PK\x03\x04", b"PK\x05\x06")
LONGEST_HEADER = 10_000
# Of NumPy 1; later versions have more.
MOST_DIMENSIONS = 32
# An array of some size that is packed so tightly holds nothing; sparse features stay far below.
LARGEST_PACKED, MOST_PACKED = 2**28, 300
# Bytes unpacked at once. Of these two methods alone the output of a step is bounded by what is asked for.
BOUNDED, STEP, SMALL_STEP = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED), 1 << 20, 1 << 12
_LISTED = 12
_LOG = logging.getLogger("lossmith")
_DAMAGED = (
    ValueError,
    OSError,
    EOFError,
    KeyError,
    IndexError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    TypeError,
    MemoryError,
    OverflowError,
    LZMAError,
    tokenize.TokenError,
    zlib.error,
    zipfile.BadZipFile,
)


class _Header(NamedTuple):
    """What a member, or a file of one array, says of its array.

    Attributes:
        member: Where it is in the archive; None for a file of one array.
        start: Its bytes before the values.
    """

    member: zipfile.ZipInfo | None
    start: int
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def peak(self) -> int:
        """Bytes while the values are converted and split: uint8 stays, all else becomes float32, by way of 64 bits."""
        stored = self.size * self.dtype.itemsize
        if self.dtype == np.uint8:
            return 2 * stored
        return stored + self.size * (8 if self.dtype.kind in "bf" and self.dtype.itemsize <= 4 else 12)


def read_npz(path: Path, used: str | None = None, wanted: tuple[str, ...] = ()) -> dict[str, NDArray[Any]]:
    """The arrays ``x_train``, ``y_train`` and, where the file has them, those of a test and of a validation part.

    These are ``x_test``, ``y_test`` and ``x_val``, ``y_val``, or ``valid`` or ``validation``. What else the file holds
    is named once.

    Args:
        path: The file.
        used: An array that something else reads.
        wanted: Other arrays that the file must have.

    Raises:
        InputError: If the file cannot be read, is not an .npz, is damaged, lacks an array or has two of a name, holds
            Python objects or no numbers, or needs more memory than is available.
    """
    if not path.exists():
        raise InputError(
            f"there is no file or directory {shown(path)}: check the path of the .npz file or of the images"
        )
    with opened_regular(path) as stream:
        return _read_arrays(stream, shown(path), used, wanted)


def read_array(path: Path, name: str | None) -> tuple[NDArray[Any], str, NDArray[Any] | None]:
    """One array of an .npz file, or that of an .npy file.

    Args:
        path: The file.
        name: Which array; None for that of an .npy file, or for the only one.

    Returns:
        The array, what to call it in messages, and the array called ``clean`` beside it if there is one.

    Raises:
        InputError: If there is no such file or array, or as :func:`read_npz`.
    """
    if not path.exists():
        raise InputError(f"there is no file {shown(path)}: check its path")
    with opened_regular(path) as stream:
        start = stream.read(4)
        stream.seek(0)
        if start in ZIP:
            return _picked(stream, shown(path), name)
        if start != npy.MAGIC_PREFIX[:4]:
            raise InputError(f"{shown(path)} is no file of NumPy, or a damaged one: save it with numpy.save")
        if name is not None:
            raise InputError(f"{shown(path)} holds one array without a name: leave :{shown(name)} out")
        size = path.stat().st_size
        check_available(2 * size, f"{shown(path)} has {amount(size)}, and with it the data takes", "give a smaller one")
        header = _header(stream, None, size, shown(path))
        stream.seek(0)
        return _filled(stream, header, STEP, shown(path)), shown(path), None


def _picked(stream: BinaryIO, path: str, name: str | None) -> tuple[NDArray[Any], str, NDArray[Any] | None]:
    """One array of an archive, what to call it, and the array ``clean`` beside it."""
    with _archive(stream, path) as archive:
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        given = name or next(iter(members), "") * (len(members) == 1)
        if given not in members:
            names = sorted(members)
            absent = f"no array {shown(name)} but " if name else ""
            raise InputError(
                f"{path} holds {absent}{listed(names, _LISTED) or 'nothing'}: name one of its arrays, as in "
                f"{path}:{shown(names[0]) if names else 'ARRAY'}"
            )
        wanted = dict.fromkeys((given, "clean") if "clean" in members else (given,))
        headers = {one: _member_header(archive, members[one], f"{one} in {path}") for one in wanted}
        check_available(
            sum(header.peak for header in headers.values()),
            f"{given} in {path} has shape {list(headers[given].shape)}, and with it the data takes",
            "give a smaller one",
        )
        values = {one: _values(archive, header, f"{one} in {path}") for one, header in headers.items()}
        return values[given], f"{shown(given)} in {path}", values.get("clean")


def _archive(stream: BinaryIO, path: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(stream)
    except _DAMAGED:
        raise _not_npz(path) from None


def _read_arrays(stream: BinaryIO, path: str, used: str | None, wanted: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    if stream.read(4) not in ZIP:
        raise _not_npz(path)
    with _archive(stream, path) as archive:
        members = _members(archive, path, used, wanted)
        headers = {name: _member_header(archive, member, f"{name} in {path}") for name, member in members.items()}
        largest = max(headers, key=lambda name: headers[name].peak)
        shape, dtype = list(headers[largest].shape), headers[largest].dtype
        check_available(
            sum(header.peak for header in headers.values()),
            f"{largest} in {path} has shape {shape} of {dtype}, and with it the data takes",
            "give fewer or smaller samples, or uint8",
        )
        return {name: _values(archive, header, f"{name} in {path}") for name, header in headers.items()}


def _members(
    archive: zipfile.ZipFile, path: str, used: str | None, wanted: tuple[str, ...]
) -> dict[str, zipfile.ZipInfo]:
    """The members that are read, by the names of their arrays."""
    found: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name in found and name in (*READ, *wanted):
            raise InputError(f"{path} holds {name} twice: save it again with numpy.savez")
        found[name] = member
    missing = [name for name in REQUIRED if name not in found]
    if missing:
        names = [name if name.isprintable() else repr(name) for name in sorted(found)]
        raise InputError(
            f"{path} has no array {' and no array '.join(missing)}, only {listed(names, _LISTED) or 'nothing'}: save "
            "it with numpy.savez(path, x_train=…, y_train=…)"
        )
    absent_ones = [name for name in wanted if name not in found]
    if absent_ones:
        raise InputError(
            f"{path} has no array {listed(absent_ones)}, only {listed(sorted(found), _LISTED)}: mend its name"
        )
    pairs = [pair for pair in OPTIONAL if any(name in found for name in pair)]
    for pair in pairs:
        absent = [name for name in pair if name not in found]
        if absent:
            there = next(name for name in pair if name in found)
            raise InputError(f"{path} has {there} without {absent[0]}: save both of them or neither")
    several = [inputs for inputs, _ in pairs if inputs.removeprefix("x_") in VALIDATIONS]
    if len(several) > 1:
        raise InputError(f"{path} has {' and '.join(several)}, which both name the validation part: leave one out")
    optional = tuple(chain.from_iterable(pairs))
    _tell_unused(sorted(found.keys() - {*REQUIRED, *optional, *wanted, used}), path)
    return {name: found[name] for name in (*REQUIRED, *optional, *wanted)}


def _tell_unused(names: list[str], path: str) -> None:
    if names:
        _LOG.warning(
            "%s holds %s, which nothing uses: only x_train, y_train, x_val, y_val, x_test and y_test are read%s",
            path,
            listed(names, _LISTED),
            "; --groups groups keeps each group in one part" * ("groups" in names),
        )


def _member_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo, what: str) -> _Header:
    try:
        with archive.open(member) as stream:
            header = _header(stream, member, member.file_size, what)
    except InputError:
        raise
    except _DAMAGED:
        raise _damaged(what) from None
    if member.file_size > max(LARGEST_PACKED, MOST_PACKED * member.compress_size):
        raise InputError(
            f"{what} unpacks to {amount(member.file_size)} from {amount(member.compress_size)}, as only values that "
            "repeat without end do: save it without compression, by numpy.savez, if it is meant"
        )
    return header


def _header(stream: IO[bytes], member: zipfile.ZipInfo | None, size: int, what: str) -> _Header:
    try:
        magic = _magic(stream.read(npy.MAGIC_LEN), what)
        first = magic[-2:] == b"\x01\x00"
        length = stream.read(2 if first else 4)
        text = stream.read(min(int.from_bytes(length, "little"), LONGEST_HEADER))
        read = npy.read_array_header_1_0 if first else npy.read_array_header_2_0
        with warnings.catch_warnings(action="ignore"):
            # NumPy and Python warn of headers of old versions, and of texts that are no header.
            shape, fortran, dtype = read(io.BytesIO(length + text), LONGEST_HEADER)
    except InputError:
        raise
    except _DAMAGED:
        raise _damaged(what) from None
    header = _Header(member, len(magic) + len(length) + len(text), shape, fortran, dtype)
    if dtype.hasobject:
        raise InputError(f"{what} holds Python objects, which are never loaded: save it as an array of numbers")
    if dtype.kind not in NUMBERS:
        raise no_numbers(dtype, what)
    if len(shape) > MOST_DIMENSIONS or min(shape, default=0) < 0 or header.start + header.size * dtype.itemsize != size:
        raise _damaged(what)
    return header


def _magic(start: bytes, what: str) -> bytes:
    """How every array begins."""
    if start[:-2] != npy.MAGIC_PREFIX:
        raise InputError(f"{what} is not a NumPy array: save it with numpy.savez")
    return start


def _values(archive: zipfile.ZipFile, header: _Header, what: str) -> NDArray[Any]:
    assert header.member is not None
    step = STEP if header.member.compress_type in BOUNDED else SMALL_STEP
    try:
        with archive.open(header.member) as stream:
            return _filled(stream, header, step, what)
    except InputError:
        raise
    except _DAMAGED:
        raise _damaged(what) from None


def _filled(stream: IO[bytes], header: _Header, step: int, what: str) -> NDArray[Any]:
    try:
        values = np.empty(header.size, dtype=header.dtype)
        place = values.view(np.uint8)
        stream.read(header.start)
        filled = 0
        while piece := stream.read(step):
            place[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
            filled += len(piece)
        array = values.reshape(header.shape, order="F" if header.fortran else "C")
    except MemoryError:
        raise InputError(f"{what} is larger than the memory: give fewer or smaller samples, or uint8") from None
    except _DAMAGED:
        raise _damaged(what) from None
    if filled != len(place):
        raise _damaged(what)
    return array


def _damaged(what: str) -> InputError:
    return InputError(f"{what} cannot be read, so the file is damaged: save it again with numpy.savez")


def _not_npz(path: str) -> InputError:
    return InputError(f"{path} is not an .npz file, or a damaged one: save the arrays again with numpy.savez")
