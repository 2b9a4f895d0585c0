"""A population of multilayer perceptrons against the same in JAX, as an expert would write it.

    python -m venv /tmp/jax && /tmp/jax/bin/pip install jax
    python benchmarks/against_jax.py --jax-python /tmp/jax/bin/python [--pairs 9] [--json]

Both sides train the same networks (digits, 64-128-10) from the same weights with the same losses of the residual space
on the same batches, by SGD with momentum in float32, and look at each once. JAX runs in a process of its own, the
program is `benchmarks/jax_population.py`: ``vmap`` over the members and ``scan`` over the batches in one ``jit``; and,
as ``map``, one member after another, each a ``scan``, in one ``jit``, which keeps a member in the cache as lossmith
does. lossmith is `Trainer.train` with training = mlp, from building the networks to looking at their logits on a
batch. The time that either takes to compile is not counted.

Told are the CPU time of a candidate where both have one core, and the wall time where both have two; the sides are
measured in turn. The accuracy of every network on all samples must be the same on both sides, but for a few samples.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from candidate_cost import points_of, task_of
from machine import compared, machine, ranged, say, write
from torch import Tensor

from lossmith.search import residual
from lossmith.seeds import generator
from lossmith.training import Recipe, Task, Trainer, accuracy

PROGRAM = Path(__file__).with_name("jax_population.py")
WAYS = ("vmap", "map")
SAMPLES_APART = 0.01  # as a share of all: what rounding may turn around


def order_of(samples: int, recipe: Recipe) -> Tensor:
    """The samples of each batch, ``[T, B]``, as lossmith draws them for the seed 0."""
    per_epoch, size = recipe.steps_per_epoch(samples), recipe.batch_size
    steps = recipe.total_steps(samples)
    epochs = [
        torch.randperm(samples, generator=generator(0, "batches", epoch))[: per_epoch * size].reshape(-1, size)
        for epoch in range(-(-steps // per_epoch))
    ]
    return torch.cat(epochs)[:steps]


def job_of(task: Task, recipe: Recipe, points: Tensor) -> dict[str, Any]:
    """What JAX is told, as arrays."""
    network = task.build(0)
    first, second = (network.get_submodule(name) for name in ("1.1", "1.3"))
    inputs = network.get_submodule("0")(task.inputs).flatten(1)
    weights = {"w1": first.weight.T, "b1": first.bias, "w2": second.weight.T, "b2": second.bias}
    tensors = {"inputs": inputs, "order": order_of(len(inputs), recipe).int(), "points": points.float(), **weights}
    arrays = {name: value.detach().contiguous().numpy() for name, value in tensors.items()}
    return {**arrays, "targets": task.targets.int().numpy(), "lr": recipe.lr, "momentum": recipe.momentum}


class Lossmith:
    """lossmith's side."""

    def __init__(self, task: Task, recipe: Recipe, points: Tensor) -> None:
        self.trainer, self.recipe, self.losses = Trainer(task), recipe, residual(points, task.classes)

    def timed(self) -> dict[str, Any]:
        """One training of the population, with its times."""
        task, cpu, wall = self.trainer.task, time.process_time(), time.perf_counter()
        networks = self.trainer.train(self.losses, [0] * len(self.losses), self.recipe, "mlp").networks
        taken = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
        return {**taken, "accuracy": accuracy(networks.logits(task.inputs), task.targets).tolist()}


class Jax:
    """JAX's side, in its process.

    Args:
        python: The interpreter of an environment that has JAX.
        job: The file that says what to train.
        cores: What it may use.

    Raises:
        SystemExit: if it does not answer.
    """

    def __init__(self, python: str, job: Path, cores: list[int]) -> None:
        command = [python, str(PROGRAM), str(job), *map(str, cores)]
        try:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        except OSError as error:
            raise SystemExit(f"{python} cannot be run ({error.strerror}): {HOW}") from None
        self.version = str(self._answer()["jax"])

    def timed(self, way: str) -> dict[str, Any]:
        """One training of the population, with its times."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{way}\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        pipe: IO[str] | None = self.process.stdout
        assert pipe is not None
        line = pipe.readline()
        if not line:
            self.close()
            raise SystemExit(f"JAX has ended with status {self.process.returncode}, see above: {HOW}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


HOW = (
    "make an environment with JAX (python -m venv DIR && DIR/bin/pip install jax) and give --jax-python DIR/bin/python"
)


@contextmanager
def on_cores(cores: list[int]) -> Iterator[None]:
    """This process on some cores, with a thread for each."""
    before, threads = os.sched_getaffinity(0), torch.get_num_threads()
    os.sched_setaffinity(0, cores)
    torch.set_num_threads(len(cores))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
        torch.set_num_threads(threads)


def measured(
    task: Task, recipe: Recipe, population: int, pairs: int, python: str, clocks: dict[str, tuple[int, str]]
) -> dict[str, Any]:
    """Seconds a candidate on each side, by the number of cores and the clock, and their ratios.

    Args:
        task: The networks and the samples.
        recipe: The recipe.
        population: Candidates at once.
        pairs: How often each side is measured.
        python: The interpreter that has JAX.
        clocks: Number of cores and clock ("cpu" or "wall") by name.
    """
    points = points_of(population)
    ours, found, cores = Lossmith(task, recipe, points), dict[str, Any](), sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        job = Path(folder) / "job.npz"
        np.savez(job, **job_of(task, recipe, points))
        for name, (number, clock) in clocks.items():
            used = cores[-number:]
            with on_cores(used):
                jax = Jax(python, job, used)
                stack.callback(jax.close)
                for way in WAYS:
                    _check(ours.timed(), jax.timed(way), way)
                times: dict[str, list[float]] = {side: [] for side in ("lossmith", *WAYS)}
                for number in range(pairs):
                    times["lossmith"].append(ours.timed()[clock] / population)
                    for way in WAYS:
                        times[way].append(jax.timed(way)[clock] / population)
                    say(f"{name}: pair {number + 1} of {pairs}")
            found[name] = {
                "cores": len(used),
                "clock": clock,
                "seconds": {side: statistics.median(taken) for side, taken in times.items()},
                "against": {way: compared(times[way], times["lossmith"]) for way in WAYS},
            }
            found["jax"] = jax.version
    return found


def _check(mine: dict[str, Any], theirs: dict[str, Any], way: str) -> None:
    """See that the sides have trained the same networks."""
    apart = max(abs(one - other) for one, other in zip(mine["accuracy"], theirs["accuracy"], strict=True))
    if apart > SAMPLES_APART:
        raise SystemExit(f"the sides are not the same job: a network's accuracy differs by {apart:.2%} ({way})")


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jax-python", default=sys.executable, help="the interpreter of an environment with JAX")
    parser.add_argument("--population", type=int, default=48)
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    task, recipe = task_of("mlp", 1600), Recipe(batch_size=50, steps=given.steps, lr=0.01)
    clocks = {"CPU time, one core": (1, "cpu"), "wall time, two cores": (2, "wall")}
    found = measured(task, recipe, given.population, given.pairs, given.jax_python, clocks)
    document = {"steps": given.steps, "population": given.population, **found}
    if given.json:
        print(json.dumps({"benchmark": "against-jax", "machine": machine(), **document}, indent=1))
    else:
        print(f"MLP 64-128-10, batch 50, {given.steps} batches, population {given.population}, JAX {found['jax']}")
        for name in clocks:
            seconds, pairs = found[name]["seconds"], found[name]["against"]
            print(f"{name}: lossmith {seconds['lossmith'] * 1e3:.2f} ms a candidate")
            for way in WAYS:
                print(f"    JAX, {way:5}{seconds[way] * 1e3:6.2f} ms, {ranged(pairs[way])} of lossmith's")
    if given.out or not given.json:
        write("against-jax", document, given.out)


if __name__ == "__main__":
    main()
