"""How the losses of a study are trained: what its runner asks for, and lossmith's own training of populations."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from lossmith.losses import Loss, cross_entropy
from lossmith.seeds import derive
from lossmith.study.chunks import Chunk, Measured, by_loss, measured
from lossmith.study.config import EvolveSettings
from lossmith.study.problem import Problem
from lossmith.study.store import Store
from lossmith.study.tuning import tuning_trainings
from lossmith.training import (
    Automatic,
    Backend,
    Executor,
    Job,
    Judge,
    Trainer,
    Work,
    choose_backend,
    measured_pace,
    repeated,
    step_seconds,
)

LOG = logging.getLogger("lossmith")


class Training(Protocol):
    """Trains the losses of a study, here or wherever an executor does it."""

    @property
    def lr(self) -> float | None:
        """The learning rate where none is tuned; None for a training that takes none."""

    @property
    def is_swept(self) -> bool:
        """Whether the search begins with a sweep over all learning rates."""

    def size(self, replicates: int) -> int:
        """The most losses that are trained together, by how many seeds each of them has."""

    def work(self, losses: Sequence[Loss], seeds: Sequence[int], lr: float | None, searching: bool) -> Work:
        """The training of each loss with each seed.

        Args:
            losses: One or more.
            seeds: Of the networks of each.
            lr: The learning rate; None for :attr:`lr`.
            searching: Whether it is a part of the search, which may cut it short.
        """

    def prepare(self, generation: int) -> None:
        """Look at what is stored before a generation is trained.

        Raises:
            InputError: if there is no use in going on.
        """

    def measured(self, result: Any, chunk: Chunk, seconds: float) -> list[Measured]:
        """What came of each loss of a chunk, from the result of :meth:`work`, and how long all of it took."""


class PopulationTraining:
    """lossmith's own :class:`Training`: networks of one problem, many at once.

    Args:
        problem: What is trained on, and how it is measured.
        settings: The study's.
        executor: Runs the trainings.
        store: Where the choice of a backend is kept.
        judge: What early stopping and pruning go by instead of accuracy.
    """

    is_swept = True

    def __init__(
        self,
        problem: Problem,
        settings: EvolveSettings,
        executor: Executor,
        store: Store,
        judge: Judge | None = None,
    ) -> None:
        self.problem, self.settings, self.executor, self.store = problem, settings, executor, store
        self.judge = judge
        self.seconds = 0.0

    @property
    def lr(self) -> float:
        """The recipe's."""
        return self.settings.recipe.lr

    @functools.cached_property
    def backend(self) -> Backend:
        """How networks are run: as set, or as measured when the study began."""
        started = time.perf_counter()
        run, search = self.settings.run, self.settings.search
        losses, seeds = self._sample
        chunks = -(-search.population * run.replicates // len(seeds))
        batches = round(run.partial * self._steps) * search.generations * chunks
        # What was trained without a choice goes on so.
        begun = self.store.generations() > 0 or tuning_trainings(self.store) > 0
        chosen = choose_backend(run.training, self._trainer, losses, seeds, self.settings.recipe, batches, self.store)
        if isinstance(self.executor, Automatic):
            self._settle(self.executor, chosen, batches, begun)
        self.seconds += time.perf_counter() - started
        return chosen

    def _settle(self, executor: Automatic, backend: Backend, batches: float, begun: bool) -> None:
        """Train where the study was begun, or where a measurement finds that it is faster."""
        stored, run = self.store.setting("executor"), self.settings.run
        if stored is None and not begun:
            losses, seeds = self._sample
            pace = measured_pace(
                executor, self.problem.task, losses, seeds, self.settings.recipe, backend, run.replicates, batches
            )
            stored = {"executor": "local", "chunk": run.chunk}
            if pace.gains and pace.workers is not None:
                equal = -(-self.settings.search.population // pace.parts) * run.replicates
                each = pace.workers / len(seeds)
                stored = {"executor": "processes", "chunk": min(run.chunk, equal), "seconds": each * pace.parts}
            self.store.set("executor", stored)
            if pace.threads is not None and pace.workers is not None:
                LOG.info(
                    "a batch of all networks takes %.3g ms with the threads of this process and %.3g ms with %d worker "
                    "processes: %s",
                    1e3 * pace.threads,
                    1e3 * pace.workers,
                    pace.parts,
                    f"these train, in chunks of {stored['chunk']}" if pace.gains else "this process trains",
                )
        if stored is not None and stored["executor"] == "processes":
            executor.become_processes(self.problem.task)

    @functools.cached_property
    def training_seconds(self) -> float:
        """About how long the training of one network takes, from a measured step, where all workers are at work."""
        started = time.perf_counter()
        backend, stored = self.backend, self.store.setting("executor")
        each = (stored or {}).get("seconds")
        if each is not None and isinstance(self.executor, Automatic) and self.executor.workers > 1:
            # No more are at work than a generation has candidates.
            return float(each) * self._steps / min(self.executor.workers, self.settings.search.population)
        step = step_seconds(backend, self._trainer, *self._sample, self.settings.recipe, self.store)
        self.seconds += time.perf_counter() - started
        return step * self._steps / self.executor.workers

    @property
    def _steps(self) -> int:
        return self.settings.recipe.total_steps(len(self.problem.task.inputs))

    @functools.cached_property
    def _trainer(self) -> Trainer:
        return self.executor.trainer(self.problem.task)

    @property
    def _sample(self) -> tuple[Loss, list[int]]:
        """Losses and seeds like those of a chunk of the search."""
        run, search = self.settings.run, self.settings.search
        count = min(search.population, max(1, run.chunk // run.replicates))
        seeds = [derive(search.seed, "measuring", replicate) for replicate in range(run.replicates)]
        return repeated(Loss.stack([cross_entropy()] * count), run.replicates), seeds * count

    def size(self, replicates: int) -> int:
        """As many as a chunk holds; one where networks are trained one after another."""
        # Of the study and the network alone, never of the executor that goes on with it: every one stores the same.
        if not self.backend.population:
            return 1
        chunk = (self.store.setting("executor") or {}).get("chunk", self.settings.run.chunk)
        return max(1, int(chunk) // replicates)

    def work(self, losses: Sequence[Loss], seeds: Sequence[int], lr: float | None, searching: bool) -> Job:
        """One job for all of them: the one place where a study trains."""
        run = self.settings.run
        prune_at = run.prune_at if searching else None
        return Job(
            self.problem.task,
            repeated(Loss.stack(losses), len(seeds)),
            tuple(seeds) * len(losses),
            self.settings.recipe.model_copy(update={"lr": self.lr if lr is None else lr}),
            self.backend,
            partial(measured, self.problem.objective, self.problem.validation, prune_at is not None),
            share=run.partial if searching else 1.0,
            prune_at=prune_at,
            judge=self.judge,
        )

    def prepare(self, generation: int) -> None:
        """Nothing: what is trained does not depend on what was."""

    def measured(self, result: Any, chunk: Chunk, seconds: float) -> list[Measured]:
        """What came of each loss."""
        (found, diverged), count = result, len(chunk.losses)
        return by_loss(found, diverged, count, seconds / count)
