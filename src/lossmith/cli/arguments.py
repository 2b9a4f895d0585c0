"""The arguments of a command: how flags are typed and parsed; light, for commands that answer at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import tyro

Command = TypeVar("Command")
OptionalDirectory = Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")]
OptionalFile = Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")]
OptionalNumber = Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")]
Switch = Annotated[bool, tyro.conf.arg(help_behavior_hint="")]


def parse(command: type[Command], arguments: Sequence[str], name: str, default: Command | None = None) -> Command:
    """The command of some arguments; wrong ones end the process with exit code 2, ``--help`` with 0."""
    return tyro.cli(
        command,
        args=list(arguments),
        prog=f"lossmith {name}",
        default=tyro.MISSING_NONPROP if default is None else default,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
