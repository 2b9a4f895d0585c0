"""The flags of all commands that train networks: on what the work is done, without effect on what comes out."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
import tyro

from lossmith.cli.arguments import OptionalNumber
from lossmith.errors import InputError


@dataclass(frozen=True)
class Machine:
    """How much of this machine is used."""

    threads: OptionalNumber = None
    """Threads of PyTorch; without it, PyTorch's own choice."""

    def prepare(self) -> None:
        """Let PyTorch use so many threads.

        Raises:
            InputError: if the number is below 1.
        """
        if self.threads is not None:
            if self.threads < 1:
                raise InputError(f"--threads is {self.threads}; it must be at least 1")
            torch.set_num_threads(self.threads)


if TYPE_CHECKING:
    MachineFlags = Machine
else:
    MachineFlags = Annotated[Machine, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="machine")]
