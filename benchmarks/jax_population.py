"""The population of `benchmarks/against_jax.py` in JAX, in a process and an environment of its own.

    python benchmarks/jax_population.py JOB.npz CORE [CORE ...]

Compiles what it is to run, says ``{"jax": VERSION}`` in a line, and then trains the population once for each line that
comes in: ``vmap`` (all members vectorized, one ``scan`` over the batches) or ``map`` (one member after another, each a
``scan``). It answers with CPU and wall seconds, and each member's accuracy on the first batch and on all samples.
"""

import json
import os
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Parameters = dict[str, Any]


def logits_of(parameters: Parameters, x: Any) -> Any:
    """Logits ``[N, K]`` of one network."""
    hidden = jax.nn.relu(x @ parameters["w1"] + parameters["b1"])
    return hidden @ parameters["w2"] + parameters["b2"]


def loss(parameters: Parameters, point: Any, x: Any, y: Any) -> Any:
    """The mean residual loss, as `ordinary.ResidualLoss` has it, of one network."""
    log_h = jax.nn.log_softmax(logits_of(parameters, x))
    h, n = jnp.exp(log_h), log_h.shape[1]
    log_target = jnp.take_along_axis(log_h, y[:, None], 1)[:, 0]
    target = jnp.exp(log_target)
    everywhere = (point[0] / n * log_h + n / 4 * point[1] * h * h + n / 6 * point[2] * h * h * h).sum(1)
    return -(everywhere + log_target + n / 4 * point[3] * target * target + n / 2 * point[4] * target).mean()


def accuracy(parameters: Parameters, x: Any, y: Any) -> Any:
    """Share of the samples that one network has right."""
    return (logits_of(parameters, x).argmax(-1) == y).mean()


class Population:
    """What the job says, on the device, and its trainings, each compiled as one program.

    Args:
        job: ``inputs``, ``targets``, ``order`` ``[T, B]``, ``points`` ``[P, 5]``, ``lr``, ``momentum``, and the first
            weights of every network.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self.x, self.y, self.order, self.points = (
            jnp.asarray(job[name]) for name in ("inputs", "targets", "order", "points")
        )
        members = len(self.points)
        self.start = {name: jnp.asarray(np.stack([job[name]] * members)) for name in ("w1", "b1", "w2", "b2")}
        self.lr, self.momentum = float(job["lr"]), float(job["momentum"])
        self.ways = {"vmap": jax.jit(self.vectorized), "map": jax.jit(self.one_by_one)}

    def step(self, parameters: Any, moved: Any, point: Any, rows: Any) -> tuple[Parameters, Parameters]:
        """One network after a batch: SGD with momentum."""
        slopes = jax.grad(loss)(parameters, point, self.x[rows], self.y[rows])
        moved = jax.tree.map(lambda one, slope: self.momentum * one + slope, moved, slopes)
        return jax.tree.map(lambda one, by: one - self.lr * by, parameters, moved), moved

    def seen(self, parameters: Parameters) -> Any:
        """Every network's accuracy on the first batch, which a candidate is judged by."""
        rows = self.order[0]
        return jax.vmap(accuracy, (0, None, None))(parameters, self.x[rows], self.y[rows])

    def vectorized(self, parameters: Parameters, points: Any) -> tuple[Parameters, Any]:
        """All members in each step."""

        def batch(state: tuple[Any, Any], rows: Any) -> tuple[Any, None]:
            return jax.vmap(self.step, (0, 0, 0, None))(*state, points, rows), None

        trained: Parameters = jax.lax.scan(batch, (parameters, jax.tree.map(jnp.zeros_like, parameters)), self.order)[
            0
        ][0]
        return trained, self.seen(trained)

    def one_by_one(self, parameters: Parameters, points: Any) -> tuple[Parameters, Any]:
        """All steps of each member."""

        def member(given: Any) -> Any:
            first, point = given

            def batch(state: tuple[Any, Any], rows: Any) -> tuple[Any, None]:
                return self.step(*state, point, rows), None

            return jax.lax.scan(batch, (first, jax.tree.map(jnp.zeros_like, first)), self.order)[0][0]

        trained: Parameters = jax.lax.map(member, (parameters, points))
        return trained, self.seen(trained)

    def timed(self, way: str) -> dict[str, Any]:
        """One training of the population, with its times."""
        cpu, wall = time.process_time(), time.perf_counter()
        trained, seen = jax.block_until_ready(  # type: ignore[no-untyped-call, unused-ignore]
            self.ways[way](self.start, self.points)
        )
        taken = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
        whole = jax.vmap(accuracy, (0, None, None))(trained, self.x, self.y)
        return {**taken, "batch": np.asarray(seen).tolist(), "accuracy": np.asarray(whole).tolist()}


def main(arguments: list[str]) -> None:
    """Serve until the input ends."""
    path, *cores = arguments
    os.sched_setaffinity(0, {int(core) for core in cores})
    with np.load(path) as job:
        population = Population(dict(job))
    for way in population.ways:
        population.timed(way)
    print(json.dumps({"jax": jax.__version__}), flush=True)
    for line in sys.stdin:
        print(json.dumps(population.timed(line.strip())), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
