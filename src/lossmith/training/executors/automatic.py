"""The executor auto of the command line: this process, until a search has measured that worker processes are faster.

A script of Python takes it by this class alone: worker processes run what a script has at its top once more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lossmith.memory import available_memory
from lossmith.training.executors.base import Closing, Executor, Outcome, Progress, Work
from lossmith.training.executors.local import Local
from lossmith.training.executors.processes import Processes, cores_here, processes
from lossmith.training.networks import Task
from lossmith.training.trainer import Trainer

# Bytes that a worker takes besides the data (Python and PyTorch), and the share of what is available for all of them.
EACH, SHARE = 4e8, 0.5


def has_room(task: Task, workers: int) -> bool:
    """Whether so many workers can share the training: several, on the processors, with memory for each."""
    room = available_memory()
    data = sum(one.nbytes for one in (task.inputs, task.targets, *(task.held_out or ())))
    return task.device.type == "cpu" and workers > 1 and (room is None or workers * (EACH + data) <= SHARE * room)


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

    def become_processes(self, task: Task) -> None:
        """Run in worker processes from now on, one for each core, unless it does already, or there is no use in it."""
        if not isinstance(self._inner, Processes) and has_room(task, cores_here()):
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
