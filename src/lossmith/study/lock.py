"""The lock of a study: one process at a time works on it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from filelock import FileLock, Timeout, lock_descriptor

from lossmith.errors import InputError

# What file systems over a network say that lock no directories; there, study.lock is all.
NO_SUCH_LOCKS = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class StudyLock:
    """Holds a study until it is released or the process ends, however it ends.

    It is the lock of ``study.lock``, which older versions know, and of the directory itself, which nobody can remove
    while the study is in it. Windows opens no directories, but lets nobody remove a file that is open.

    Args:
        directory: The study's.

    Raises:
        InputError: if another process of this machine holds it, or the file cannot be opened.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / "study.lock"
        self._directory: int | None = None
        # A soft lock would outlive a killed process, and a lock of one thread could not be released by another.
        self._file = FileLock(path, thread_local=False, fallback_to_soft=False)
        try:
            if not directory.is_dir():  # filelock would make the directory
                raise FileNotFoundError(2, "there is no such directory")
            self._file.acquire(blocking=False)
            self._directory = _locked(directory)
        except (Timeout, BlockingIOError):
            self.release()
            raise InputError(
                f"another process (of this machine) works on the study in {directory}; wait for it or stop it"
            ) from None
        except OSError as error:
            self.release()
            raise InputError(
                f"{path} cannot be opened ({error.strerror}); check the directory and its permissions"
            ) from None

    def release(self) -> None:
        """Let go of the study."""
        self._file.release()
        if self._directory is not None:
            os.close(self._directory)
            self._directory = None


def _locked(directory: Path) -> int | None:
    """A descriptor that holds the lock of a directory; None where directories cannot be opened.

    Raises:
        BlockingIOError: if somebody else holds it.
    """
    if os.name == "nt":
        return None
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        if not lock_descriptor(descriptor, blocking=False):
            raise BlockingIOError(errno.EAGAIN, "somebody else holds it")
    except OSError as error:
        if error.errno not in NO_SUCH_LOCKS:
            os.close(descriptor)
            raise
    return descriptor
