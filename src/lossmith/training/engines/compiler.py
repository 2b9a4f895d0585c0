"""Compiles a program of this package where it runs, once for each kind of machine."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from filelock import FileLock

from lossmith.data import cache_directory
from lossmith.errors import InputError

COMPILERS = ("g++", "clang++", "c++")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC", "-pthread")
LONGEST = 300.0  # seconds

_LOG = logging.getLogger(__name__)


def cpp_compiler() -> str | None:
    """The C++ compiler of this machine, which ``torch.compile`` needs, too; None if there is none."""
    return next(filter(None, map(shutil.which, COMPILERS)), None)


@cache
def compiled(source: Path, *definitions: str) -> ctypes.CDLL | None:
    """The library of a C++ program, kept from one process to the next; None where it cannot be compiled.

    Args:
        source: The program.
        definitions: Of its macros, ``NAME=value``.
    """
    program = cpp_compiler()
    if program is None:
        return None
    command = [program, *FLAGS, *(f"-D{definition}" for definition in definitions), str(source)]
    parts = [source, *sorted(source.parent.glob("*.hpp"))]
    what = [*(part.read_text(encoding="utf-8") for part in parts), *command[:-1], _processor()]
    name = f"{source.stem}-{hashlib.sha256(chr(0).join(what).encode()).hexdigest()[:16]}.so"
    try:
        try:
            return _kept(command, cache_directory() / "compiled" / name)
        except (OSError, InputError, NotImplementedError) as error:
            _LOG.info("%s is compiled for this process only (%s)", source.name, error)
        with tempfile.TemporaryDirectory() as folder:
            return _loaded(command, Path(folder) / name)
    except (OSError, subprocess.SubprocessError) as error:
        _LOG.warning("%s cannot be compiled (%s): small networks train at a third of the speed", source.name, error)
        return None


def _kept(command: list[str], path: Path) -> ctypes.CDLL | None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # What is loaded runs: it must be nobody else's.
    if not _is_ours(path.parent):
        raise InputError(f"others can write to {path.parent}")
    # Of several processes that begin together one compiles.
    with FileLock(path.with_suffix(".lock"), timeout=LONGEST, fallback_to_soft=False):
        if path.is_file() and _is_ours(path):
            return ctypes.CDLL(str(path))
        return _loaded(command, path)


def _is_ours(path: Path) -> bool:
    """Whether this user alone can write there; where a system does not say, its home is taken to be safe."""
    if not hasattr(os, "getuid"):
        return True
    found = path.lstat()
    return found.st_uid == os.getuid() and not stat.S_ISLNK(found.st_mode) and not found.st_mode & 0o022


def _loaded(command: list[str], path: Path) -> ctypes.CDLL:
    staged = path.with_suffix(f".{os.getpid()}")
    try:
        subprocess.run([*command, "-o", str(staged)], check=True, capture_output=True, timeout=LONGEST)
        # What a usual umask lets a group write, too, is not taken from the cache.
        staged.chmod(0o700)
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
    return ctypes.CDLL(str(path))


def _processor() -> str:
    """What the compiler makes a program for: a home can be seen by several machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{platform.platform()} {platform.processor()}"
    return "\n".join(dict.fromkeys(line for line in lines if line.startswith(("model name", "flags", "Features"))))
