"""How much memory there is, so that what does not fit is told before the work."""

import contextlib
import os
import re
from pathlib import Path

from lossmith.errors import InputError
from lossmith.io import read_regular

UNITS = ("kB", "MB", "GB", "TB")
MACHINE = Path("/proc/meminfo")
PROCESS = Path("/proc/self/statm")
# What the container allows: of version 2 of cgroups, and of version 1.
CONTAINERS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def check_available(needed: int, what: str, remedy: str) -> None:
    """Raise InputError if something takes more bytes than the memory that is available, where the system tells it.

    Args:
        needed: Bytes.
        what: What takes them, with its verb: ``"12 images take"``.
        remedy: What to do.
    """
    there = available_memory()
    if there is not None and needed > there:
        raise InputError(f"{what} {amount(needed)} of memory, and {amount(there)} are available: {remedy}")


def available_memory() -> int | None:
    """Bytes that this process can still take, of the machine, the container and its own limit; None if none is told."""
    found: list[int] = []
    with contextlib.suppress(AttributeError, OSError, ValueError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    told = _told(MACHINE)
    if (free := re.search(r"^MemAvailable: +(\d+) kB$", told, re.MULTILINE)) is not None:
        found.append(int(free[1]) * 1024)
    found += [int(text) for text in map(_told, CONTAINERS) if text.strip().isdecimal()]
    return min([*found, *_own_limit()], default=None)


def _own_limit() -> list[int]:
    """What the limit of this process leaves to it; nothing where there is none, or no such limits, as on Windows."""
    try:
        import resource
    except ImportError:
        return []
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return []
    pages = _told(PROCESS).split(" ")[0]
    return [max(0, limit - int(pages or 0) * resource.getpagesize())]


def _told(path: Path) -> str:
    """What the system says there; nothing where it says nothing."""
    try:
        return read_regular(path, 1 << 16).decode("ascii")
    except ValueError:
        return ""


def amount(count: float) -> str:
    """A number of bytes for messages.

    Example:
        >>> amount(17_340_000), amount(68_600_000_000_000_000)
        ('17.3 MB', '68,600 TB')
    """
    power = min(max(1, (len(f"{count:.0f}") - 1) // 3), len(UNITS))
    in_unit = count / 1000**power
    return f"{in_unit:.3g} {UNITS[power - 1]}" if in_unit < 1000 else f"{in_unit:,.0f} {UNITS[power - 1]}"
