"""Files that appear whole or not at all, and documents read as data."""

import contextlib
import errno
import json
import math
import os
import platform
import re
import stat
import tempfile
import tomllib
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from lossmith.errors import InputError

Value = TypeVar("Value")
LARGEST = 2**26
# Settings, which people write.
LARGEST_TOML = 2**20
DEEPEST = 100
LARGEST_INTEGER = 2**128
MOST_VALUES = 2**25
# Windows knows neither pipes that an opening waits for, nor folders that can be opened, nor a signal that only asks.
NO_WAITING = getattr(os, "O_NONBLOCK", 0)
IS_WINDOWS = os.name == "nt"
# Temporary files that this process is writing.
_STAGED: set[str] = set()


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


DECODER = json.JSONDecoder(parse_constant=_no_number)


@contextlib.contextmanager
def opened_regular(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file that is open for reading, which must be a regular one: no pipe, device or socket, which might never end.

    Raises:
        InputError: if it is something else, or cannot be read.
    """
    try:
        # Without O_NONBLOCK the opening of a pipe waits for somebody who writes.
        descriptor = os.open(path, os.O_RDONLY | NO_WAITING)
        with os.fdopen(descriptor, "rb") as file:
            _check_regular(descriptor, path)
            yield file
    except InputError:
        raise
    except (OSError, ValueError) as error:
        # A ValueError: a path with a null byte.
        why = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path} cannot be read: {why}; give the path of a file") from None


def _check_regular(descriptor: int, path: str | os.PathLike[str]) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise InputError(f"{path} is no regular file, but a pipe, device or directory; give the path of a file")


def read_regular(path: str | os.PathLike[str], largest: int = LARGEST) -> bytes:
    """The content of a file, which must be a regular one.

    Args:
        path: Where it is.
        largest: The most bytes that it may have.

    Raises:
        InputError: if it is something else, or larger, or cannot be read.
    """
    with opened_regular(path) as file:
        # None: a file of the system that waits for somebody who writes.
        content: bytes | None = file.read(largest + 1)
    if content is None:
        raise InputError(f"{path} cannot be read: nothing is in it yet; give the path of a file")
    if len(content) > largest:
        raise InputError(f"{path} is larger than {largest >> 20} MiB, which no file of its kind is; give another")
    return content


def read_json(
    path: str | os.PathLike[str], largest: int = LARGEST, remedy: str = "give the path of one that is whole"
) -> Any:
    """The document of a JSON file.

    Args:
        path: Where it is.
        largest: The most bytes that it may have.
        remedy: What to do if it is none.

    Raises:
        InputError: if there is no such file, it is too large, or it is not JSON: :func:`checked_values` says what a
            document may hold.
    """
    content = read_regular(path, largest)
    try:
        return parsed_json(content.decode())
    except ValueError as error:
        raise InputError(f"{path} is not a JSON file ({error}); {remedy}") from None


def parsed_json(text: str) -> Any:
    """The document of a JSON text.

    Raises:
        ValueError: if it is none.
    """
    try:
        return checked_values(DECODER.decode(text))
    except RecursionError:
        raise ValueError(f"it nests more than {DEEPEST} deep") from None


def checked_values(document: Value, finite: bool = True) -> Value:
    """A document that holds nothing which JSON files and databases cannot give back.

    Args:
        document: Dictionaries, lists and what they hold.
        finite: Whether a number must be finite, which JSON has no other of, and TOML has.

    Raises:
        ValueError: if it nests too deep, a number is beyond 128 bits or not finite, or a text cannot be written as
            UTF-8.
    """
    level: list[Any] = [document]
    depth = 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise ValueError(f"it nests more than {DEEPEST} deep")
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inner += value.keys()
                inner += value.values()
            elif isinstance(value, list):
                inner += value
            elif isinstance(value, str):
                value.encode()
            elif finite and isinstance(value, float) and not math.isfinite(value):
                raise ValueError("a number is not finite")
            elif isinstance(value, int) and abs(value) >= LARGEST_INTEGER:
                raise ValueError("a whole number is beyond 128 bits")
        if len(inner) > MOST_VALUES:
            raise ValueError(f"it holds more than {MOST_VALUES} values")
        level = inner
    return document


def write_json(document: Any, path: str | os.PathLike[str]) -> None:
    """Write a JSON file that appears whole or not at all.

    Raises:
        InputError: if the file cannot be written.
    """
    write_whole(json_bytes(document), path)


def json_bytes(document: Any) -> bytes:
    """What a JSON file of a document holds.

    Raises:
        InputError: if a text in it cannot be written as UTF-8.
    """
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{error.object[error.start : error.end]!r} is half a character (a surrogate), which no file can hold; "
            "give another text"
        ) from None


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The document of a TOML file.

    Raises:
        InputError: if there is no such file, it is larger than 1 MiB, or it is not TOML.
    """
    content = read_regular(path, LARGEST_TOML)
    try:
        return checked_values(tomllib.loads(content.decode()), finite=False)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a TOML file: {error}") from None


def write_toml(document: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a TOML file that appears whole or not at all; values that are None are left out.

    Raises:
        InputError: if the file cannot be written.
    """
    # Most programs that import this module write no TOML.
    import tomli_w

    write_whole(tomli_w.dumps(without_none(document)).encode(), path)


def write_whole(content: bytes, path: str | os.PathLike[str]) -> None:
    """Write a file beside its place and move it there, so that it appears whole or not at all.

    Raises:
        InputError: if the file cannot be written.
    """
    write_all({Path(path): content})


def write_all(contents: Mapping[Path, bytes]) -> None:
    """Write several files: each appears whole or not at all, and none does if one cannot be written.

    What a process that was killed left beside them is removed.

    Args:
        contents: What is written, by place.

    Raises:
        InputError: if a file cannot be written.
    """
    staged: dict[Path, Path] = {}
    target = Path()
    try:
        for target, content in contents.items():
            _check_place(target)
            staged[target] = _staged(content, target)
        for target, temporary in staged.items():
            temporary.replace(target)
        for folder in {target.parent for target in staged}:
            _sync_folder(folder)
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror}; make room or give another place") from None
    except InputError:
        raise
    except ValueError:
        raise InputError(f"{target} is no name that a file can have; give another") from None
    finally:
        for temporary in staged.values():
            temporary.unlink(missing_ok=True)
            _STAGED.discard(temporary.name)


def _check_place(target: Path) -> None:
    """See that nothing but a file is replaced."""
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if target.exists() and not target.is_file():
        raise InputError(f"{target} cannot be written: it is a device or pipe and no file; give another place")


def _staged(content: bytes, target: Path) -> Path:
    """A file beside its place, whole, with the rights of any other."""
    _remove_left(target)
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f"{_mark(target)}{os.getpid()}-")
    temporary = Path(name)
    _STAGED.add(temporary.name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # `mkstemp` lets the owner alone read.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
    except BaseException:
        temporary.unlink(missing_ok=True)
        _STAGED.discard(temporary.name)
        raise
    return temporary


def _mark(target: Path) -> str:
    """How temporary files of a file begin that this machine writes; the process and eight random characters follow."""
    # Cut, since the whole must be a name that a file can have.
    return f".{target.name[:40]}.lossmith-{zlib.crc32(platform.node().encode()):08x}-"


def _remove_left(target: Path) -> None:
    """Remove what processes that have ended left of writing a file; what runs elsewhere or still is left alone."""
    if not os.access(target.parent, os.R_OK):
        return
    pattern = re.compile(re.escape(_mark(target)) + r"(\d{1,9})-\w{8}")
    for path in target.parent.iterdir():
        found = pattern.fullmatch(path.name)
        if found is None or path.name in _STAGED or not path.is_file() or path.is_symlink():
            continue
        process = int(found[1])
        if process == os.getpid() or not _runs(process):
            path.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    """Whether a process may still run."""
    if IS_WINDOWS:
        # There, what asks on POSIX would end the process.
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        # Of somebody else.
        return True
    return True


def _sync_folder(folder: Path) -> None:
    """Let the new names in a folder outlive a power cut, as far as its file system can do that."""
    if IS_WINDOWS or not os.access(folder, os.R_OK):
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise
    finally:
        os.close(descriptor)


def without_none(value: Any) -> Any:
    """A document as TOML can hold it: without what is None."""
    if isinstance(value, dict):
        return {key: without_none(part) for key, part in value.items() if part is not None}
    return list(value) if isinstance(value, tuple) else value
