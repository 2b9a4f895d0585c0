"""How the database of a study is opened, also where nothing can be written, and what its errors mean to a user."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from shutil import copyfile

from lossmith.errors import InputError, missing_study
from lossmith.io import LARGEST, opened_regular
from lossmith.study.rows import REMEDY, damaged

WAIT_SECONDS = 3.0
UNWRITABLE = ("unable to open", "readonly", "disk I/O", "full")
COMPANIONS = ("-wal", "-journal")
JOURNAL, SHARED = "-journal", "-shm"
LARGEST_LOG, LARGEST_JOURNAL = 2**30, 2**26
# How a rollback journal ends that names another one, which SQLite deletes when it rolls back.
SUPER = bytes.fromhex("d9d505f920a163d7")
# What a study keeps in its directory; a link in the place of one would lead its writing elsewhere.
FILES = ("study.toml", "study.lock", "training.log", "best.json", "pareto.json", "comparison.json")
RIVALS = "rival*"


class Opened:
    """A connection to a database, and the copy of it that it reads, where it cannot be read in its place.

    Args:
        path: The database.
        writable: Whether it may be changed, and made.
    """

    def __init__(self, path: Path, writable: bool) -> None:
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        if writable:
            self.connection = _connected(path, "mode=rwc")
            return
        try:
            self.connection = _connected(path, "mode=ro")
        except sqlite3.OperationalError as error:
            if not path.is_file() or not any(word in str(error) for word in UNWRITABLE):
                raise
            self.connection = self._read_only(path)

    def close(self) -> None:
        """Close the connection, and remove the copy."""
        self.connection.close()
        if self._copy is not None:
            self._copy.cleanup()

    def _read_only(self, path: Path) -> sqlite3.Connection:
        """A connection that needs no room beside the database, as SQLite does for a log of what is written."""
        logs = [path.with_name(path.name + end) for end in COMPANIONS]
        logs = [log for log in logs if log.exists() and log.stat().st_size]
        if not logs:
            return _connected(path, "mode=ro&immutable=1")
        self._copy = tempfile.TemporaryDirectory(prefix="lossmith-")
        try:
            for file in (path, *logs):
                copyfile(file, Path(self._copy.name) / file.name)
            return _connected(Path(self._copy.name) / path.name, "mode=rw")
        except BaseException as error:
            self._copy.cleanup()
            if isinstance(error, OSError):
                raise InputError(
                    f"{path} cannot be read: neither beside it nor in {tempfile.gettempdir()} is room for what SQLite "
                    f"needs ({error.strerror}); make room on the disk"
                ) from None
            raise


def _connected(path: Path, mode: str) -> sqlite3.Connection:
    # isolation_level=None: transactions begin and end where the store says, and nowhere else. Its lock, not the
    # check of the module, keeps threads apart.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{mode}",
        timeout=WAIT_SECONDS,
        isolation_level=None,
        uri=True,
        check_same_thread=False,
    )
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def check_place(path: Path, writable: bool) -> None:
    """See that a database can be looked for at a place.

    Raises:
        InputError: if there is none to be read, or a pipe or device is there, whose opening might never end.
    """
    _check_own(path, writable)
    for end in (*COMPANIONS, SHARED):
        _check_companion(path.with_name(path.name + end), end)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        if not writable:
            raise missing_study(path.parent) from None
        return
    if stat.S_ISDIR(mode):
        raise InputError(f"{path} cannot be used, since it is a directory; remove it or start in another directory")
    if not stat.S_ISREG(mode):
        raise InputError(f"{path} is no regular file, but a pipe or device; remove it or give another directory")


def _check_own(path: Path, writable: bool) -> None:
    """See that what a study keeps is in files and folders of its own: a link could lead to files of the user's.

    Args:
        path: The database.
        writable: Whether more than the database is about to be written.

    Raises:
        InputError: if something else is in the place of one.
    """
    directory, files, folders = path.parent, [path], list[Path]()
    if writable and directory.is_dir():
        folders = [directory / "figures", *directory.glob(RIVALS)]
        files += [*(directory / name for name in FILES), *(directory / "figures").glob("*.*")]
    for one in (*files, *folders):
        if one.is_symlink():
            raise InputError(f"{one} is a link, and a study writes no links: remove it, or copy what it leads to")
    # What lies in the place of the database is looked at on its own.
    wrong = [one for one in files[1:] if one.exists() and not one.is_file()]
    wrong += [one for one in folders if one.name == "figures" and one.exists() and not one.is_dir()]
    if wrong:
        kind = "folder" if wrong[0] in folders else "regular file"
        raise InputError(f"{wrong[0]} is no {kind}, which a study keeps there; remove it")


def _check_companion(path: Path, end: str) -> None:
    """See that what lies beside a database is a file of SQLite's that does nothing but to the database.

    Raises:
        InputError: if it is a link, pipe or device, too large, or names a file for SQLite to delete.
    """
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check its permissions") from None
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path} is no regular file, but a link, pipe, device or directory; remove it")
    if found.st_size > (LARGEST_JOURNAL if end == JOURNAL else LARGEST_LOG):
        raise InputError(f"{path} is larger than any that a study leaves; remove it, or start in another directory")
    if end == JOURNAL and found.st_size >= len(SUPER):
        with opened_regular(path) as file:
            file.seek(-len(SUPER), os.SEEK_END)
            if file.read() == SUPER:
                raise InputError(f"{path} names another file for SQLite to delete, which no study does; remove it")


@contextlib.contextmanager
def clear_errors(path: Path, writable: bool) -> Iterator[None]:
    """Turn what SQLite says into a sentence.

    Raises:
        InputError: what is wrong with the database, and what to do.
    """
    try:
        yield
    except UnicodeDecodeError:
        raise damaged(path, "a text in it is not UTF-8") from None
    except sqlite3.OperationalError as error:
        raise _sentence(path, writable, _line(error)) from None
    except sqlite3.ProgrammingError as error:
        if "closed" not in str(error):
            raise
        raise InputError(f"the study in {path.parent} is closed; open it again to use it") from None
    except sqlite3.IntegrityError as error:
        raise InputError(
            f"{path} holds it already, or cannot hold it ({_line(error)}); nothing of it is stored"
        ) from None
    except sqlite3.DatabaseError as error:
        raise damaged(path, _line(error)) from None


def _sentence(path: Path, writable: bool, text: str) -> InputError:
    if "locked" in text or "busy" in text:
        return InputError(f"{path} is locked by another program; close it there and try again")
    if "full" in text or "disk I/O" in text:
        if writable:
            return InputError(
                f"{path} cannot be written ({text}); make room on the disk and run the same command again, nothing "
                "stored is lost"
            )
        return InputError(f"{path} cannot be read ({text}); make room on the disk, or copy the study to another one")
    if "readonly" in text or "unable to open" in text:
        aim = "opened for writing" if writable else "opened"
        return InputError(f"{path} cannot be {aim} ({text}); check its permissions")
    return InputError(f"{path} cannot be used ({text}); {REMEDY}")


def _line(error: Exception) -> str:
    """What SQLite says in one line; an InputError escapes the bytes that it may quote of a damaged file."""
    return " ".join(str(error).split())
