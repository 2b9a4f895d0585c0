"""How time and memory of a population grow with its size, the number of classes and the batch.

    python benchmarks/growth.py [--model mlp] [--populations 1 4 16 64 256] [--classes 2 10 100 1000] [--batches 10 …]
        [--device cuda]

One quantity grows at a time from 16 candidates, 10 classes and a batch of 50. Each point is a process of its own, so
that no memory is left of the point before: a step of the population way on random 8×8 images (median of some), and the
peak of resident memory (on a GPU: of the memory that PyTorch has allocated there) above that of a process that trains
one network of two classes on batches of two. The exponent is the slope of log cost over log size: of all points, and
from the last but one to the last, where what a step costs at any size weighs least. Points below 2 MiB, where the peak
is chance, are left out of the exponents of memory.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import add_device, median_seconds, say, write

from lossmith.data import Normalize
from lossmith.nets import ModelSettings, network_factory
from lossmith.search import residual
from lossmith.seeds import generator
from lossmith.training import Backend, Recipe, Task, Trainer

BASE = {"population": 16, "classes": 10, "batch": 50}
SMALLEST = {"population": 1, "classes": 2, "batch": 2}
REPORTED_BYTES = 2**21


def peak_bytes(status: Path = Path("/proc/self/status")) -> int:
    """The most memory that this process has held.

    Not ``getrusage``, whose figure a process inherits from the one that started it.
    """
    for line in status.read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"{status} does not tell the peak of memory: measure on Linux")


def task_of(model: str, classes: int, batch: int, device: torch.device) -> Task:
    """Random images of the digits' shape, enough for two batches and every class."""
    samples = max(2 * batch, classes)
    inputs = torch.randint(17, (samples, 1, 8, 8), generator=generator("growth", samples), dtype=torch.uint8)
    factory = network_factory(ModelSettings(name=model), Normalize.fit(inputs), inputs.shape[1:], classes)
    return Task(factory, inputs.to(device), (torch.arange(samples) % classes).to(device), classes)


def point(
    model: str, population: int, classes: int, batch: int, rounds: int, threads: int, device: str
) -> dict[str, float]:
    """Seconds of a step and the peak of memory, in this process."""
    torch.set_num_threads(threads)
    place = torch.device(device)
    task = task_of(model, classes, batch, place)
    points = 0.3 * torch.randn(population, 5, generator=generator("points"), dtype=torch.float64)
    trainer, recipe = Trainer(task), Recipe(batch_size=batch, lr=0.01)
    backend = trainer.resolved(Backend("population"), recipe)
    run = trainer.start(residual(points, classes), [0] * population, recipe, backend, list(range(population)))
    taken = median_seconds(run.step, rounds, device=place)
    return {"seconds": taken, "peak": torch.cuda.max_memory_allocated(place) if place.type == "cuda" else peak_bytes()}


def in_a_process(**arguments: Any) -> dict[str, float]:
    """A point in a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--point", json.dumps(arguments)]
    answer: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return answer


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float | None:
    """The slope of log cost over log size; None for fewer than two points."""
    if len(sizes) < 2:
        return None
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def grown(quantity: str, sizes: Sequence[int], least: float, common: dict[str, Any]) -> dict[str, Any]:
    """The points of one quantity, with memory above the least, and the exponents of time and memory."""
    rows: list[dict[str, float]] = []
    for size in sizes:
        full = in_a_process(**common, **{**BASE, quantity: size})
        rows.append({"size": size, "seconds": full["seconds"], "bytes": max(full["peak"] - least, 0.0)})
        say(f"{quantity} {size}: {full['seconds'] * 1e3:.2f} ms, {rows[-1]['bytes'] / 2**20:.1f} MiB")
    times = [row["seconds"] for row in rows]
    weighty = [row for row in rows if row["bytes"] >= REPORTED_BYTES]
    places, held = [row["size"] for row in weighty], [row["bytes"] for row in weighty]
    return {
        "points": rows,
        "seconds_exponent": exponent(sizes, times),
        "seconds_exponent_at_the_end": exponent(sizes[-2:], times[-2:]),
        "bytes_exponent": exponent(places, held),
        "bytes_exponent_at_the_end": exponent(places[-2:], held[-2:]),
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mlp")
    parser.add_argument("--populations", type=int, nargs="*", default=[1, 4, 16, 64, 256])
    parser.add_argument("--classes", type=int, nargs="*", default=[2, 10, 100, 1000])
    parser.add_argument("--batches", type=int, nargs="*", default=[10, 50, 250, 1250])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--quick", action="store_true", help="ten steps of each point, the largest sizes left out")
    parser.add_argument("--threads", type=int, default=1)
    add_device(parser)
    parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    if given.point is not None:
        print(json.dumps(point(**given.point)))
        return
    common = {
        "model": given.model,
        "rounds": 10 if given.quick else given.rounds,
        "threads": given.threads,
        "device": str(given.device),
    }
    least = in_a_process(**common, **SMALLEST)["peak"]
    document: dict[str, Any] = {"base": BASE, "model": given.model, "threads": given.threads, "least_bytes": least}
    quantities = {"population": given.populations, "classes": given.classes, "batch": given.batches}
    for quantity, listed in quantities.items():
        sizes = sorted(listed)[:-1] if given.quick else sorted(listed)
        if not sizes:
            continue
        found = document[quantity] = grown(quantity, sizes, least, common)
        for cost in ("seconds", "bytes"):
            whole, end = found[f"{cost}_exponent"], found[f"{cost}_exponent_at_the_end"]
            growth = "too few points" if whole is None else f"{whole:.2f}, at the end {end:.2f}"
            print(f"{quantity:10} {sizes}: exponent of {cost}: {growth}", flush=True)
    write("growth", document, given.out, given.device)


if __name__ == "__main__":
    main()
