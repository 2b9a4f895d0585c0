"""How much memory networks take at least, and how much there is."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from itertools import chain
from pathlib import Path

from torch import nn

from lossmith.errors import InputError

# Of a container, by version 2 and 1 of Linux's control groups.
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
UNITS = ("kB", "MB", "GB", "TB")
COPIES = 2  # weights and gradients


def parameters_of(network: nn.Module) -> int:
    """Number of parameters."""
    return sum(value.numel() for value in network.parameters())


def bytes_of(network: nn.Module) -> int:
    """Bytes of parameters and buffers."""
    return sum(value.numel() * value.element_size() for value in chain(network.parameters(), network.buffers()))


def host_memory() -> int:
    """Bytes of memory that a process can have here: those of the machine, or fewer where it is limited."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in LIMITS:
        # A file that is not there limits nothing, nor does one that says "max".
        with suppress(OSError, ValueError):
            found.append(int(Path(path).read_text()))
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return min([*found, limit] if limit != resource.RLIM_INFINITY else found)


def amount(count: float) -> str:
    """A number of bytes for messages.

    Example:
        >>> amount(17_340_000), amount(68_600_000_000_000_000)
        ('17.3 MB', '68,600 TB')
    """
    power = min(max(1, (len(f"{count:.0f}") - 1) // 3), len(UNITS))
    in_unit = count / 1000**power
    return f"{in_unit:.3g} {UNITS[power - 1]}" if in_unit < 1000 else f"{in_unit:,.0f} {UNITS[power - 1]}"


def check_size(name: str, network: nn.Module) -> None:
    """See that the memory holds weights and gradients of one network, which may have been built without any.

    Raises:
        InputError: if it does not.
    """
    wanted, there = COPIES * bytes_of(network), host_memory()
    if wanted > there:
        raise InputError(
            f"the model {name} has {parameters_of(network):,} parameters, whose weights and gradients alone take "
            f"{amount(wanted)}, more than the {amount(there)} that are here: give a smaller network"
        )
