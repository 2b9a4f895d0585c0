"""How time and memory grow: of a population with its size, the classes and the batch; of a search with its length.

    python benchmarks/growth.py [--model mlp] [--populations 1 4 16 64 256] [--classes 2 10 100 1000] [--batches 10 …]
        [--candidates 64 256 1024 4096] [--workers 1 2 4] [--epochs 10] [--device cuda]

One quantity grows at a time from 16 candidates, 10 classes and a batch of 50. Each point is a process of its own, so
that no memory is left of the point before: a step of the population way on random 8×8 images (median of some), and the
peak of resident memory (on a GPU: of the memory that PyTorch has allocated there) above that of a process that trains
one network of two classes on batches of two. The exponent is the slope of log cost over log size: of all points, and
from the last but one to the last, where what a step costs at any size weighs least. Points below 2 MiB, where the peak
is chance, are left out of the exponents of memory.

Of a search (digits, each candidate a job of its own) grow the number of candidates, in one process, and that of worker
processes at 256 candidates: seconds until its end, memory of all processes above that of a search of 16 candidates in
one, size of its database, and seconds of opening it again.
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
from growth_search import POPULATION, search_point
from machine import add_device, median_seconds, peak_bytes, say, write

from lossmith.data import Normalize
from lossmith.nets import ModelSettings, network_factory
from lossmith.search import residual
from lossmith.seeds import generator
from lossmith.training import Backend, Recipe, Task, Trainer

BASE = {"population": 16, "classes": 10, "batch": 50}
SMALLEST = {"population": 1, "classes": 2, "batch": 2}
# Quantities of a step, and the options that list their sizes.
STEPS = {"population": "populations", "classes": "classes", "batch": "batches"}
SEARCH, SMALLEST_SEARCH = {"candidates": 256, "workers": 0}, {"candidates": POPULATION, "workers": 0}
REPORTED_BYTES = 2**21


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
        full = in_a_process(**common, **{**(SEARCH if quantity in SEARCH else BASE), quantity: size})
        rows.append({"size": size, "bytes": max(full.pop("peak") - least, 0.0), **full})
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
    parser.add_argument("--candidates", type=int, nargs="*", default=[64, 256, 1024, 4096])
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--epochs", type=int, default=10, help="of each candidate of a search")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--quick", action="store_true", help="ten steps of each point, the largest sizes left out")
    parser.add_argument("--threads", type=int, default=1)
    add_device(parser)
    parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    if given.point is not None:
        measure = search_point if SEARCH.keys() <= given.point.keys() else point
        print(json.dumps(measure(**given.point)))
        return
    document: dict[str, Any] = {"base": {**BASE, **SEARCH}, "model": given.model, "threads": given.threads}
    shared = {"model": given.model, "threads": given.threads, "device": str(given.device)}
    step, search = {**shared, "rounds": 10 if given.quick else given.rounds}, {**shared, "epochs": given.epochs}
    quantities = {name: (step, given.__dict__[wanted]) for name, wanted in STEPS.items()}
    quantities |= {name: (search, given.__dict__[name]) for name in SEARCH}
    for quantity, (common, listed) in quantities.items():
        sizes = sorted(listed)[:-1] if given.quick else sorted(listed)
        if not sizes:
            continue
        name, smallest = ("least_search_bytes", SMALLEST_SEARCH) if quantity in SEARCH else ("least_bytes", SMALLEST)
        if name not in document:
            document[name] = in_a_process(**common, **smallest)["peak"]
        found = document[quantity] = grown(quantity, sizes, document[name], common)
        for cost in ("seconds", "bytes"):
            whole, end = found[f"{cost}_exponent"], found[f"{cost}_exponent_at_the_end"]
            growth = "too few points" if whole is None else f"{whole:.2f}, at the end {end:.2f}"
            print(f"{quantity:10} {sizes}: exponent of {cost}: {growth}", flush=True)
    write("growth", document, given.out, given.device)


if __name__ == "__main__":
    main()
