"""The executor auto: this process, until somebody has measured that worker processes are faster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lossmith.training.executors.base import Closing, Executor, Outcome, Progress, Work
from lossmith.training.executors.local import Local
from lossmith.training.executors.processes import Processes, processes
from lossmith.training.networks import Task
from lossmith.training.trainer import Trainer


class Automatic(Closing):
    """An :class:`~lossmith.training.Executor` that begins as this process, and may become worker processes."""

    def __init__(self) -> None:
        self._inner: Executor = Local()

    @property
    def workers(self) -> int:
        """How many jobs it runs at once."""
        return self._inner.workers

    def become(self, executor: Executor) -> None:
        """Run on another executor from now on, which is closed with this one."""
        self._inner.close()
        self._inner = executor

    def become_processes(self) -> None:
        """Run in worker processes from now on, one for each core, unless it does already."""
        if not isinstance(self._inner, Processes):
            self.become(processes(None))

    def run(self, jobs: Sequence[Work], progress: Progress | None = None) -> Iterator[Outcome]:
        """The outcomes in the order of the jobs."""
        return self._inner.run(jobs, progress)

    def trainer(self, task: Task) -> Trainer:
        """A trainer in this process."""
        return self._inner.trainer(task)

    def close(self) -> None:
        """End what runs, and let go of what is held."""
        self._inner.close()
