"""Python files of the user's, sent to machines that do not have them: a network or a metric as ``FILE.py:name``."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lossmith.code import ByName, code_file
from lossmith.errors import InputError
from lossmith.io import read_regular

MOST_BYTES = 2**24


@dataclass(frozen=True)
class Sources:
    """The Python files of a folder and of the packages in it.

    Args:
        folder: Where they lie on the driver.
        files: Their paths within it, and what they hold.
    """

    folder: str
    files: tuple[tuple[str, bytes], ...]

    @staticmethod
    def of(code: ByName) -> Sources | None:
        """What code is made of that lies in a folder of the user's; None where an installation has it.

        Raises:
            InputError: if the files are too large, or one cannot be read.
        """
        file = code_file(code.name)
        folder = Path(code.directory) if file is None else file.expanduser().absolute().parent
        top = code.name.partition(":")[0].partition(".")[0]
        if file is None and not ((folder / f"{top}.py").is_file() or (folder / top).is_dir()):
            return None
        files, room = list[tuple[str, bytes]](), MOST_BYTES
        for path in _python_files(folder):
            content = read_regular(path, MOST_BYTES)
            files.append((path.relative_to(folder).as_posix(), content))
            room -= len(content)
            if room < 0:
                raise InputError(
                    f"the Python files of {folder}, which workers need for {code.name}, have more than "
                    f"{MOST_BYTES >> 20} MiB: put that file into a folder of its own"
                )
        return Sources(str(folder), tuple(files))


class Place:
    """Where a worker has these files: their own folder, if they lie there as on the driver, or a temporary one.

    Args:
        sources: The files.
        within: Where the temporary one is made; None is where the system has such.
    """

    def __init__(self, sources: Sources, within: Path | None = None) -> None:
        self.folder = Path(sources.folder)
        if all(_holds(self.folder / name, content) for name, content in sources.files):
            return
        self.folder = Path(tempfile.mkdtemp(prefix="lossmith-", dir=within))
        # A worker keeps a few of these and forgets the others without a word.
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        for name, content in sources.files:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(content)

    def moved(self, code: Any) -> Any:
        """Code that looks for its files here."""
        file, function = code_file(code.name), code.name.rpartition(":")[2]
        name = code.name if file is None else f"{self.folder / file.name}:{function}"
        return replace(code, name=name, directory=str(self.folder))


def moved(make: Callable[..., Any], arguments: tuple[Any, ...], place: Place) -> Any:
    """What pickles call to make code whose files lie elsewhere now."""
    return place.moved(make(*arguments))


def _python_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.glob("*.py")):
        if path.is_file():
            yield path
    for path in sorted(folder.glob("*/__init__.py")):
        yield from _python_files(path.parent)


def _holds(path: Path, content: bytes) -> bool:
    try:
        return read_regular(path, len(content)) == content
    except (InputError, OSError):
        return False
