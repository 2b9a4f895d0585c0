"""The lock of a study: one process at a time works on it."""

from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from lossmith.errors import InputError


def lock_study(directory: Path) -> BaseFileLock:
    """Hold ``study.lock`` until it is released or the process ends, however it ends.

    Raises:
        InputError: if another process of this machine holds it, or the file cannot be opened.
    """
    path = directory / "study.lock"
    try:
        if not directory.is_dir():  # filelock would make the directory
            raise FileNotFoundError(2, "there is no such directory")
        # A soft lock would outlive a killed process, and a lock of one thread could not be released by another.
        lock = FileLock(path, thread_local=False, fallback_to_soft=False)
        lock.acquire(blocking=False)
    except Timeout:
        raise InputError(
            f"another process (of this machine) works on the study in {directory}; wait for it or stop it"
        ) from None
    except OSError as error:
        raise InputError(
            f"{path} cannot be opened ({error.strerror}); check the directory and its permissions"
        ) from None
    return lock
