"""The log of a study's trainings, which says more than the database: what was begun and never stored."""

from __future__ import annotations

import errno
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lossmith.errors import InputError

LOG_FILE = "training.log"


def _append(content: bytes, path: Path) -> None:
    """Add to a file, all or nothing."""
    # A link of a study that was sent must not lead to a file of the user's. Without O_NONBLOCK the opening of a pipe
    # waits for somebody who reads.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags, 0o666)
    with os.fdopen(descriptor, "ab", buffering=0) as file:
        size = file.tell()
        if file.write(content) < len(content):
            file.truncate(size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class TrainingLog:
    """Lines of JSON that say which chunk was begun and which was stored, so that nobody has to trust the resume."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def check(self) -> None:
        """See, before anything changes, that the log can be written where there is one.

        Raises:
            InputError: if it is something else than a file, or cannot be written.
        """
        if not os.path.lexists(self.path):
            return
        if self.path.is_symlink() or not self.path.is_file() or not os.access(self.path, os.W_OK):
            raise InputError(f"{self.path} is no file that can be written; remove it and run the same command again")

    def begun(self, stage: str, label: dict[str, Any]) -> None:
        """Say that a chunk begins."""
        self._write({"event": "begun", "stage": stage, **label})

    def stored(self, stage: str, label: dict[str, Any]) -> None:
        """Say that it is stored."""
        self._write({"event": "stored", "stage": stage, **label})

    def _write(self, line: dict[str, Any]) -> None:
        stamped = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **line}
        content = (json.dumps(stamped) + "\n").encode()
        try:
            _append(content, self.path)
        except OSError as error:
            raise InputError(
                f"{self.path} cannot be written: {error.strerror}; make room and run the same command again"
            ) from None
