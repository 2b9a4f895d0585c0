"""The flags of all commands that train networks: on what the work is done, without effect on what comes out."""

from dataclasses import dataclass, fields
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import torch
import tyro

from lossmith.cli.arguments import OptionalAddress, OptionalNumber, OptionalShare
from lossmith.errors import InputError
from lossmith.registry import unknown
from lossmith.training import EXECUTORS, Automatic, Executor, executor

# The system refuses more at some number, and OpenMP then ends the process.
MOST_THREADS = 1024


@dataclass(frozen=True)
class Machine:
    """How much of this machine is used."""

    threads: OptionalNumber = None
    """Threads of PyTorch in this process; without it, PyTorch chooses. A worker always has one."""
    executor: str = "auto"
    """Where it runs: local (this process), processes (workers), ray (a cluster); auto: the faster of the first two."""
    workers: OptionalNumber = None
    """Number of workers; without it, one for each processor, or as many as the cluster has room for."""
    ray_address: OptionalAddress = None
    """Cluster of --executor ray: auto (this machine is in it) or HOST:PORT; without it, this machine alone."""
    gpus_per_chunk: OptionalShare = None
    """GPUs of each worker of --executor ray, such as 0.25; without it, 1 if networks are trained on GPUs."""

    def prepare(self) -> None:
        """Let PyTorch use so many threads, and see that there is such an executor.

        Raises:
            InputError: if the number is below 1, there is no executor of that name, it cannot have so many workers, or
                a flag is given that only another one heeds.
        """
        if self.executor != "auto" and self.executor not in EXECUTORS:
            raise InputError(unknown(self.executor, "executor", ["auto", *EXECUTORS]))
        for flag, given in (("--ray-address", self.ray_address), ("--gpus-per-chunk", self.gpus_per_chunk)):
            if given is not None and self.executor != "ray":
                raise InputError(
                    f"{flag} has no effect with --executor {self.executor}: give --executor ray, or no {flag}"
                )
        # Nothing runs in it before it is given a job.
        self.open().close()
        if self.threads is not None:
            if not 1 <= self.threads <= MOST_THREADS:
                raise InputError(f"--threads is {self.threads}; it must be from 1 to {MOST_THREADS}")
            torch.set_num_threads(self.threads)

    def words(self) -> str:
        """The flags that were given, for a command that is to be given again."""
        given = ((one.name, getattr(self, one.name)) for one in fields(self) if getattr(self, one.name) != one.default)
        return "".join(f" --{name.replace('_', '-')} {quote(str(value))}" for name, value in given)

    def open(self) -> Executor:
        """The executor.

        Raises:
            InputError: if there is none of that name, or it cannot have so many workers.
        """
        if self.executor == "auto" and self.workers is None and self.threads is None:
            return Automatic()
        return executor(self.executor, self.workers, ray_address=self.ray_address, gpus_per_chunk=self.gpus_per_chunk)


if TYPE_CHECKING:
    MachineFlags = Machine
else:
    MachineFlags = Annotated[Machine, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="machine")]
