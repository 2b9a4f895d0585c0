"""What every benchmark shares: the machine it ran on, how long work takes, and the file that its figures go to."""

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from lossmith.errors import InputError
from lossmith.io import write_json
from lossmith.training import checked_device

RESULTS = Path("results/benchmarks")


CPU = torch.device("cpu")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Give a benchmark the option ``--device``."""
    parser.add_argument("--device", type=usable_device, default=CPU, help="cpu (the default), cuda or cuda:1")


def usable_device(name: str) -> torch.device:
    """The device of a name, if it can be measured on here.

    Raises:
        argparse.ArgumentTypeError: if this machine does not have it, or it is neither a CPU nor a CUDA GPU, whose time
            and memory would not be read.
    """
    try:
        device = checked_device(name)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if device.type not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"the device {name!r} cannot be measured on; take cpu or cuda")
    return device


def machine(device: torch.device = CPU) -> dict[str, Any]:
    """The machine, and the versions of what ran on it."""
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lossmith": version("lossmith"),
    }


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The name of the processor, or of its architecture where the system does not tell more."""
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()


def peak_bytes(status: Path = Path("/proc/self/status")) -> int:
    """The most memory that a process, this one by default, has held.

    Not ``getrusage``, whose figure a process inherits from the one that started it.
    """
    return _told_bytes("VmHWM", status)


def held_bytes(status: Path = Path("/proc/self/status")) -> int:
    """The memory that a process holds now."""
    return _told_bytes("VmRSS", status)


def _told_bytes(name: str, status: Path) -> int:
    for line in status.read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"{status} does not tell what memory is held: measure on Linux")


def write(name: str, document: dict[str, Any], out: Path | None = None, device: torch.device = CPU) -> Path:
    """Write the figures of a benchmark with the machine beside them; by default to ``results/benchmarks/NAME.json``."""
    path = out or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json({"benchmark": name, "machine": machine(device), **document}, path)
    say(f"written: {path}")
    return path


def say(line: str) -> None:
    """A line of progress, which is no result and goes to stderr."""
    print(line, file=sys.stderr, flush=True)


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(work: Callable[[], object], device: torch.device = CPU) -> float:
    """How long some work takes, until the device has done it."""
    wait(device)
    started = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - started


def median_seconds(work: Callable[[], object], rounds: int, warm: int = 3, device: torch.device = CPU) -> float:
    """The median time of some work that is done over and over."""
    for _ in range(warm):
        work()
    return statistics.median(seconds(work, device) for _ in range(rounds))


def compared(slow: Sequence[float], fast: Sequence[float]) -> dict[str, Any]:
    """Pairs of times that were measured in turn, the quotient of each pair, and the median and range of these."""
    quotients = [first / second for first, second in zip(slow, fast, strict=True)]
    return {
        "first": list(slow),
        "second": list(fast),
        "quotients": quotients,
        "ratio": statistics.median(quotients),
        "lowest": min(quotients),
        "highest": max(quotients),
    }


def ranged(pair: dict[str, Any]) -> str:
    """A ratio and its range as text."""
    return f"{pair['ratio']:.2f} × ({pair['lowest']:.2f}–{pair['highest']:.2f})"


def with_threads(counts: Iterable[int], work: Callable[[], float]) -> dict[int, float]:
    """What some work gives with each number of threads; afterwards the number is as it was."""
    before, found = torch.get_num_threads(), {}
    try:
        for count in counts:
            torch.set_num_threads(count)
            found[count] = work()
    finally:
        torch.set_num_threads(before)
    return found
