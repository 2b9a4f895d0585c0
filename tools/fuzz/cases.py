"""A bad input, and what is wrong with the answer to it."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fuzz.harness import Ended

Setup = Callable[[Path], None]
MOST_MEMORY = 3000
PART = ("--hidden", "4", "--steps", "2", "--batch-size", "8", "--training", "population", "--threads", "1")
SEARCH = ("--population", "4", "--generations", "1", "--finalists", "1", "--finalist-seeds", "2", "--no-tune")
TINY = ("--data", "d.npz", *PART, *SEARCH)
LOOK = ("--data", "d.npz", "--seeds", "2", *PART, "--quiet")
TRACE = ("--data", "d.npz", "--samples", "5", *PART, "--quiet")
TUNING = ("--tuning-seeds", "1", "--tuning-epochs", "1", "--tuning-finalists", "1", "--tuning-finalist-seeds", "1")
COMPARE = ("--seeds", "2", *TUNING, "--no-rival", "--quiet", "--threads", "1")


def nothing(_: Path) -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Case:
    """A command and the files that it finds.

    Args:
        label: What it is.
        words: Of the command.
        bad: Whether it must be refused; otherwise it may be.
        files: Contents of files by name.
        prepare: What else is made in its directory.
        long: Whether it may take long by right (a million epochs), so that only what it says counts.
    """

    label: str
    words: Sequence[str]
    bad: bool = False
    files: Mapping[str, bytes] = field(default_factory=dict)
    prepare: Setup = nothing
    long: bool = False


SPECIALS = (
    *("fifo", "directory", "socket", "loop", "dangling", "/etc/passwd", "/dev/null", "/dev/zero", "/dev/urandom"),
    *("/dev/full", "/dev/tty", "/proc/self/mem", "/proc/self/environ", "/proc/self/maps", "/proc/self/fd/0"),
    *("/dev/stdin", "/proc/kmsg", "/proc/1/mem", "/sys/power/state", "/proc/sysrq-trigger"),
)


def special(kind: str, name: str) -> Setup:
    """Makes what is no regular file, or a link to something of the system.

    Args:
        kind: One of :data:`SPECIALS`.
        name: Where.
    """

    def prepare(directory: Path) -> None:
        path = directory / name
        if path.exists() or path.is_symlink():
            path.unlink()
        if kind == "fifo":
            import os

            os.mkfifo(path)
        elif kind == "directory":
            path.mkdir()
        elif kind == "socket":
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(str(path))
        else:
            path.symlink_to({"loop": path.name, "dangling": "nowhere"}.get(kind, kind))

    return prepare


CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x9b]")
DIVERGED = "every finalist diverged"
OVERVIEW = "lossmith metalearns"
LONGEST_SENTENCE, LONGEST_BOX = 1200, 6000


def faults(case: Case, ended: Ended) -> list[str]:
    """What is wrong with the answer to a case, in single words; nothing if it is as it should be."""
    found = []
    if "Traceback (most recent call last)" in ended.err + ended.out:
        found.append("traceback")
    if ended.timed_out:
        found += [] if case.long else ["hang"]
    elif ended.code not in ((2,) if case.bad else (0, 2)):
        found.append("code")
    elif ended.code == 0 and re.search(r"Warning|warn\(", ended.err):
        found.append("warning")
    elif ended.code == 2:
        found += _faults_of_refusal(ended)
    return found + (["memory"] if ended.memory > MOST_MEMORY else [])


def _faults_of_refusal(ended: Ended) -> list[str]:
    # A lock and the files of SQLite's log say nothing and are used again.
    left = [name for name in ended.changed if not re.search(r"\.db-(shm|wal)$|study\.lock$", name)]
    # What was trained is kept, also where nothing came of it.
    if DIVERGED in ended.err:
        left = []
    lines = [line for line in ended.err.splitlines() if line.strip()]
    boxed = any(line.startswith(("╭", "╰", "│")) for line in lines)
    overview = ended.out.startswith(OVERVIEW)
    told = boxed or overview or (bool(lines) and all(line.startswith("lossmith: ") for line in lines))
    wrong = {
        "left": bool(left),
        "silent": not lines and not overview,
        "lines": bool(lines) and not told,
        "long": len(ended.err) > (LONGEST_BOX if boxed else LONGEST_SENTENCE),
        "control": CONTROL.search(ended.err.replace("\n", "").replace("\t", "")) is not None,
        "stdout": bool(ended.out) and not overview,
    }
    return [name for name, is_wrong in wrong.items() if is_wrong]
