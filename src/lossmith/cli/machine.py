"""The flags of all commands that train networks: on what the work is done, without effect on what comes out."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
import tyro

from lossmith.cli.arguments import OptionalNumber
from lossmith.errors import InputError
from lossmith.registry import unknown
from lossmith.training import EXECUTORS, Executor, executor

# The system refuses more at some number, and OpenMP then ends the process.
MOST_THREADS = 1024


@dataclass(frozen=True)
class Machine:
    """How much of this machine is used."""

    threads: OptionalNumber = None
    """Threads of PyTorch in this process; without it, PyTorch's own choice. A worker has one."""
    executor: str = "auto"
    """Where networks are trained: local, in this process; processes, in workers of one thread each; or auto, in
    workers if more than one is asked for. What comes out is the same, but for the rounding of several threads."""
    workers: OptionalNumber = None
    """Worker processes; without it, one for each processor where the executor is processes."""

    def prepare(self) -> None:
        """Let PyTorch use so many threads, and see that there is such an executor.

        Raises:
            InputError: if the number is below 1, there is no executor of that name, or it cannot have so many workers.
        """
        if self.executor != "auto" and self.executor not in EXECUTORS:
            raise InputError(unknown(self.executor, "executor", ["auto", *EXECUTORS]))
        # Nothing runs in it before it is given a job.
        self.open().close()
        if self.threads is not None:
            if not 1 <= self.threads <= MOST_THREADS:
                raise InputError(f"--threads is {self.threads}; it must be from 1 to {MOST_THREADS}")
            torch.set_num_threads(self.threads)

    def open(self) -> Executor:
        """The executor.

        Raises:
            InputError: if there is none of that name, or it cannot have so many workers.
        """
        return executor(self.executor, self.workers)


if TYPE_CHECKING:
    MachineFlags = Machine
else:
    MachineFlags = Annotated[Machine, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="machine")]
