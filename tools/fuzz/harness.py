"""Commands of lossmith in forks of one process that has imported everything: fast, isolated, watched."""

from __future__ import annotations

import contextlib
import faulthandler
import hashlib
import importlib
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import FileIO, TextIOWrapper
from pathlib import Path

GIBIBYTE = 2**30
LONG_FILE = 50_000_000


@dataclass(frozen=True)
class Ended:
    """What came of a command.

    Args:
        code: Its exit code; below 0 a signal.
        out: What it printed.
        err: What it said on standard error.
        seconds: How long it took.
        memory: The most memory that it held, in MiB.
        timed_out: Whether it was stopped because it took too long.
        changed: Files that appeared, changed or went, by name.
    """

    code: int
    out: str
    err: str
    seconds: float
    memory: int
    timed_out: bool
    changed: dict[str, str] = field(default_factory=dict)


def preload() -> None:
    """Import what the commands import, with one thread."""
    import torch

    torch.set_num_threads(1)
    from lossmith.cli import COMMANDS

    for name in (
        "matplotlib.pyplot",
        "pandas",
        "pyarrow.parquet",
        "sklearn.datasets",
        "torch._dynamo",
        *(f"lossmith.cli.{name}" for name in COMMANDS),
    ):
        importlib.import_module(name)


def listing(directory: Path) -> dict[str, str]:
    """What lies below a directory: a digest of each file, the kind of everything else."""
    found: dict[str, str] = {}
    for base, folders, files in os.walk(directory):
        for name in folders + files:
            path = Path(base) / name
            with contextlib.suppress(OSError):
                found[str(path.relative_to(directory))] = _kind(path)
    return found


def _kind(path: Path) -> str:
    if path.is_symlink():
        return "link"
    if path.is_dir():
        return "directory"
    if not path.is_file():
        return "special"
    size = path.stat().st_size
    return hashlib.sha256(path.read_bytes()).hexdigest() if size < LONG_FILE else f"{size} bytes"


def run(arguments: Sequence[str], directory: Path, timeout: float, memory: float | None = None) -> Ended:
    """Run one command in a fork, in a directory.

    Args:
        arguments: Of the command.
        directory: Where.
        timeout: Seconds after which it is killed.
        memory: GiB of address space that it may take.
    """
    before = listing(directory)
    started = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = start(arguments, directory, out.fileno(), err.fileno(), memory)
        timed_out = not ends(process, timeout)
        if timed_out:
            os.kill(process, signal.SIGKILL)
        _, status, usage = os.wait4(process, 0)
        seconds = time.monotonic() - started
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
    after = listing(directory)
    changed = {name: kind for name, kind in after.items() if before.get(name) != kind}
    changed |= {name: "removed" for name in before if name not in after}
    code = os.waitstatus_to_exitcode(status)
    return Ended(code, texts[0], texts[1], seconds, usage.ru_maxrss // 1024, timed_out, changed)


def start(arguments: Sequence[str], directory: Path, out: int, err: int, memory: float | None = None) -> int:
    """Begin a command in a fork; the number of its process.

    Args:
        arguments: Of the command.
        directory: Where.
        out: File descriptor of its standard output.
        err: File descriptor of its standard error.
        memory: GiB of address space that it may take.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        _redirect(directory, out, err)
        if memory is not None:
            limit = round(memory * GIBIBYTE)
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        code = _command(arguments)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


def _redirect(directory: Path, out: int, err: int) -> None:
    os.setsid()
    os.chdir(directory)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    faulthandler.register(signal.SIGUSR2, file=2, all_threads=True)
    sys.stdout = TextIOWrapper(FileIO(1, "wb", closefd=False), encoding="utf-8", errors="strict")
    sys.stderr = TextIOWrapper(FileIO(2, "wb", closefd=False), encoding="utf-8", errors="backslashreplace")


def _command(arguments: Sequence[str]) -> int:
    from lossmith.cli import main

    try:
        main(list(arguments))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0


def ends(process: int, seconds: float) -> bool:
    """Whether a process ends within some seconds; it stays to be waited for."""
    descriptor = os.pidfd_open(process)
    try:
        return bool(select.select([descriptor], [], [], max(0.0, seconds))[0])
    finally:
        os.close(descriptor)


def tell_where(process: int) -> None:
    """Let a process write on its standard error where each of its threads is."""
    os.kill(process, signal.SIGUSR2)
    ends(process, 1.0)


def environment(values: Mapping[str, str]) -> None:
    """Set variables that this process and its forks see, unless they are set."""
    for name, value in values.items():
        os.environ.setdefault(name, value)
