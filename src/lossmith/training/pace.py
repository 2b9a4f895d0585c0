"""The choice between the threads of this process and worker processes of one thread each: measured, as a backend is."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from lossmith.code import described
from lossmith.losses import Loss
from lossmith.training.backend import Backend
from lossmith.training.executors import Automatic, Call, Processes, cores_here, has_room
from lossmith.training.networks import Task
from lossmith.training.recipe import Recipe
from lossmith.training.trainer import Trainer
from lossmith.training.tuner import measure

# Seconds that the work must take here before workers are tried, since it takes some until they have loaded PyTorch.
WORTH = 30.0
BUDGET = 0.5
LOG = logging.getLogger("lossmith")


@dataclass(frozen=True)
class Pace:
    """Seconds of one batch of all networks of a generation.

    Args:
        threads: With the threads of this process; None where there was nothing to choose.
        workers: With worker processes, each of which has an equal part of the networks; None where none were tried.
        parts: How many workers.
    """

    threads: float | None = None
    workers: float | None = None
    parts: int = 1

    @property
    def gains(self) -> bool:
        """Whether workers are faster."""
        return self.threads is not None and self.workers is not None and self.workers < self.threads


def measured_pace(
    executor: Automatic,
    task: Task,
    losses: Loss,
    seeds: Sequence[int],
    recipe: Recipe,
    backend: Backend,
    replicates: int,
    batches: float,
) -> Pace:
    """The pace of this process, and where that may gain something that of workers; the executor keeps the faster ones.

    All workers measure at the same time, each its part, so they share caches, memory and cores as in the search, and
    with whatever else runs on the machine. A part is made of whole candidates.

    Args:
        executor: What runs the search.
        task: What is trained.
        losses: A population like a generation, ``[P]``.
        seeds: One seed a member.
        recipe: The recipe.
        backend: How networks are run.
        replicates: Networks of a candidate.
        batches: Batches of a generation, times generations.
    """
    parts = min(cores_here(), len(seeds) // replicates)
    if not has_room(task, parts):
        return Pace()
    here = partial(measure, executor.trainer(task), losses, seeds, recipe, backend)
    threads = here()
    if threads * batches < WORTH:
        return Pace(threads)
    share = -(-len(seeds) // replicates // parts) * replicates
    part = losses[list(range(share))]
    workers, kept = Processes(parts), False
    try:
        call = Call(partial(_measured, task, part, tuple(seeds[:share]), recipe, backend), "the network")
        # The first round loads what they need.
        for _ in range(2):
            taken = statistics.fmean(outcome.result for outcome in workers.run([call] * parts))
        # Here before and after it: other work on the machine comes and goes.
        pace = Pace((threads + here(BUDGET)) / 2, taken, parts)
        if kept := pace.gains:
            executor.become(workers)
        return pace
    except Exception as error:  # What a worker cannot load or be sent is trained here, as it would be without a choice.
        LOG.warning("worker processes cannot train this network, so this process does (%s)", described(error))
        return Pace(threads)
    finally:
        if not kept:
            workers.close()


def _measured(
    task: Task,
    losses: Loss,
    seeds: Sequence[int],
    recipe: Recipe,
    backend: Backend,
    _: Callable[[float], None],
) -> float:
    return measure(Trainer(task), losses, seeds, recipe, backend, BUDGET)
