"""What an executor is: it runs work somewhere and gives its outcomes in order. A new one is a file and a name."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Any, Protocol, Self

from lossmith.losses import Loss
from lossmith.registry import Registry
from lossmith.training.backend import Backend
from lossmith.training.loop import Judge, Samples
from lossmith.training.memory import enough_memory
from lossmith.training.networks import Networks, Task
from lossmith.training.recipe import Recipe
from lossmith.training.trainer import Figure, Trained, Trainer

Progress = Callable[[int, float], None]
Measure = Callable[[Trained, Callable[[float], None]], Any]


class Watch(Protocol):
    """Looks at networks during a training; made anew for each job."""

    def observe(self, members: list[int], epoch: int, networks: Networks) -> None:
        """Look at some members after an epoch; again from epoch 0 where they begin anew."""

    def result(self) -> Any:
        """What was seen; it can be pickled."""


@dataclass(frozen=True)
class Job:
    """One population to be trained and measured: a value that can be pickled, and its outcome a function of it alone.

    Args:
        task: What is trained on what.
        losses: A population ``[P]``.
        seeds: One seed a member.
        recipe: The recipe.
        backend: How they are run.
        measure: Gives what is wanted of the trained networks, and is given what reports the share of it that is done;
            it and its result can be pickled.
        monitor: Inputs and class indices on which accuracy is measured after each epoch.
        figure: What is measured on them instead; it can be pickled.
        stop: End after this many epochs.
        share: End after this share of the batches.
        prune_at: Share of the batches after which hopeless networks are given up.
        judge: What early stopping and pruning go by instead of accuracy.
        watch: Makes what looks at the networks during the training.
        measuring: Share of the job that measuring takes, for the progress.
    """

    task: Task
    losses: Loss
    seeds: tuple[int, ...]
    recipe: Recipe
    backend: Backend
    measure: Measure
    monitor: Samples | None = None
    figure: Figure | None = None
    stop: int | None = None
    share: float = 1.0
    prune_at: float | None = None
    judge: Judge | None = None
    watch: Callable[[], Watch] | None = None
    measuring: float = 0.0

    def run(self, trainers: Trainers | None = None, progress: Callable[[float], None] | None = None) -> Outcome:
        """Train and measure, here and now."""
        return run_job(self, None if trainers is None else trainers.of(self.task), progress)

    def parts(self) -> dict[str, object]:
        """What it is made of, by what messages call it."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        named = {"measure": "the objective", "watch": "what watches the training"}
        called = {named.get(name, f"the part {name} of a job"): part for name, part in own.items()}
        return {"the network": self.task.factory, **called}


@dataclass(frozen=True)
class Call:
    """A function to be called: a training that is not ours.

    Args:
        function: Called with what reports the share of it that is done; it and its result can be pickled.
        called: What messages call it.
    """

    function: Callable[[Callable[[float], None]], Any]
    called: str = "the function"

    def run(
        self,
        trainers: Trainers | None = None,  # noqa: ARG002
        progress: Callable[[float], None] | None = None,
    ) -> Outcome:
        """Call it, here and now."""
        started = time.perf_counter()
        result = self.function(progress or (lambda _: None))
        return Outcome(result, None, time.perf_counter() - started)

    def parts(self) -> dict[str, object]:
        """What it is made of, by what messages call it."""
        return {self.called: self.function}


class Work(Protocol):
    """What an executor runs: a value that can be pickled, and its outcome a function of it alone."""

    def run(self, trainers: Trainers | None = None, progress: Callable[[float], None] | None = None) -> Outcome:
        """Do it, here and now, and report the share that is done."""

    def parts(self) -> dict[str, object]:
        """What it is made of, by what messages call it."""


@dataclass(frozen=True)
class Outcome:
    """What became of some work.

    Args:
        result: What ``measure`` gave, or the function.
        watched: What ``watch`` saw, or None.
        seconds: How long it took.
    """

    result: Any
    watched: Any
    seconds: float


class Executor(Protocol):
    """Runs work."""

    @property
    def workers(self) -> int:
        """How many jobs it runs at once."""

    def run(self, jobs: Sequence[Work], progress: Progress | None = None) -> Iterator[Outcome]:
        """The outcomes in the order of the jobs, each as soon as it and all before it are there.

        An error in a job is raised where its outcome would come, and ends the others.

        Args:
            jobs: What is to be done.
            progress: Called with the number of a job and the share of it that is done.
        """

    def trainer(self, task: Task) -> Trainer:
        """A trainer in this process, for what is measured before jobs are run; what it compiles serves local jobs."""

    def close(self) -> None:
        """End what runs, and let go of what is held."""

    def __enter__(self) -> Self:
        """The executor itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""


class Closing(ABC):
    """An executor that is closed where a ``with`` ends."""

    @abstractmethod
    def close(self) -> None:
        """End what runs, and let go of what is held."""

    def __enter__(self) -> Self:
        """The executor itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


class Trainers:
    """The trainers of the last few tasks, so that what one job compiles serves the next."""

    KEPT = 4

    def __init__(self) -> None:
        self._known: list[Trainer] = []

    def of(self, task: Task) -> Trainer:
        """The trainer of a task."""
        found = next((trainer for trainer in self._known if trainer.task is task), None) or Trainer(task)
        self._known = [found, *(trainer for trainer in self._known if trainer is not found)][: self.KEPT]
        return found


def run_job(job: Job, trainer: Trainer | None = None, progress: Callable[[float], None] | None = None) -> Outcome:
    """Train and measure one population, here and now.

    Args:
        job: What is to be done.
        trainer: That of its task, if there is one.
        progress: Called with the share that is done.
    """
    started, tell = time.perf_counter(), progress or (lambda _: None)
    training, watch = 1 - job.measuring, None if job.watch is None else job.watch()
    with enough_memory(job.task.device):
        trained = (trainer or Trainer(job.task)).train(
            job.losses,
            job.seeds,
            job.recipe,
            job.backend,
            monitor=job.monitor,
            figure=job.figure,
            stop=job.stop,
            share=job.share,
            prune_at=job.prune_at,
            judge=job.judge,
            progress=lambda share: tell(training * share),
            observe=None if watch is None else watch.observe,
        )
        result = job.measure(trained, lambda share: tell(training + job.measuring * share))
    return Outcome(result, None if watch is None else watch.result(), time.perf_counter() - started)


EXECUTORS = Registry[Callable[[int | None], Executor]]("executor")
