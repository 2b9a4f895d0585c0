"""Jobs in this process, one after another, with all its threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from lossmith.errors import InputError
from lossmith.training.executors.base import Closing, Outcome, Progress, Trainers, Work
from lossmith.training.networks import Task
from lossmith.training.trainer import Trainer


class Local(Closing):
    """An :class:`~lossmith.training.Executor` in this process."""

    workers = 1

    def __init__(self) -> None:
        self.trainers = Trainers()

    def run(self, jobs: Sequence[Work], progress: Progress | None = None) -> Iterator[Outcome]:
        """The outcomes, each job begun when its outcome is asked for."""
        for number, job in enumerate(jobs):
            yield job.run(self.trainers, None if progress is None else partial(progress, number))

    def trainer(self, task: Task) -> Trainer:
        """The trainer of the task's jobs."""
        return self.trainers.of(task)

    def close(self) -> None:
        """Let go of what was compiled."""
        self.trainers = Trainers()


def local(workers: int | None) -> Local:
    """The executor local.

    Raises:
        InputError: if it is to have workers.
    """
    if workers not in (None, 1):
        raise InputError(
            f"the executor local has no workers, but {workers} were asked for: take executor = processes, or leave "
            "workers out"
        )
    return Local()
