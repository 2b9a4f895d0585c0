"""Where a study and what belongs to it lies."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

from lossmith.errors import InputError

# Beside a study: the data that it was given in Python.
KEPT_DATA = "data.lossmith"


def study_place(file: Path | None, out: Path | None) -> tuple[Path, Path | None]:
    """The directory of a study, and the file that its settings come from; a study that has begun has its own.

    Args:
        file: The study file that is given.
        out: The directory that is given.

    Raises:
        InputError: if neither is, or the file is a directory.
    """
    if file is not None and file.is_dir():
        raise InputError(f"{file} is a directory; go on with a study by lossmith evolve --out {quote(str(file))}")
    if out is None:
        if file is None:
            raise InputError("no directory is given; add --out DIR (it is made if it is not there)")
        out = file.parent if (file.parent / "study.db").exists() else file.with_suffix("")
    stored = out / "study.toml"
    return out, stored if file is None and stored.exists() else file


def found_again(source: str, directory: Path) -> str:
    """The place of data: of a study that was moved, the file that it keeps beside it.

    Args:
        source: Where a study says that its data is.
        directory: The study's.
    """
    beside = directory / KEPT_DATA
    moved = Path(source).name == KEPT_DATA and not Path(source).exists() and beside.exists()
    return str(beside.absolute()) if moved else source


def made_directory(directory: Path, what: str) -> None:
    """Make a directory for something, if it is not there.

    Raises:
        InputError: if it cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{directory} cannot be made: {error.strerror}; give another directory for {what}") from None
