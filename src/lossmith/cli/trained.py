"""What the commands share that train networks with some losses and then look at these."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

import tyro

from lossmith.analysis.trained import TrainedLoss
from lossmith.cli.arguments import OptionalFile, Switch, bracketed, values_last
from lossmith.cli.console import Bar
from lossmith.cli.flags import SettingsFlags, Shown, read
from lossmith.cli.machine import Machine, MachineFlags
from lossmith.errors import InputError
from lossmith.losses import NAMES
from lossmith.report import check_picture
from lossmith.study import EvolveSettings, RunSettings
from lossmith.study.trained import Opened, settings_for
from lossmith.training import Way

SHOWN: Shown = {EvolveSettings: ("data", "model", "recipe", "run"), RunSettings: ("training", "device")}
NUMBERS = ("--hidden", "--milestones")


@dataclass(frozen=True)
class Trained:
    """Flags of a command that trains networks with some losses."""

    losses: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="LOSS ...", help_behavior_hint="")
    ] = ()
    """What networks are trained with."""
    seed: int = 0
    """Seed of initial weights, batches, and whatever is drawn at random."""
    quiet: Switch = False
    """Print nothing but errors."""
    json: Switch = False
    """Print the figures as JSON, and no progress."""
    settings: SettingsFlags = field(default_factory=EvolveSettings)
    machine: MachineFlags = field(default_factory=Machine)


@dataclass(frozen=True)
class Looking(Trained):
    """Flags of a command that looks at networks on test data."""

    seeds: int = 10
    """Networks trained with each loss; the same initial weights and batches for every loss."""
    figure: OptionalFile = None
    """Draw a picture, too: PNG, SVG or PDF by the ending."""


Command = TypeVar("Command", bound=Trained)


def parsed(
    command: type[Command],
    arguments: Sequence[str],
    name: str,
    numbers: Sequence[str] = (),
    words: Mapping[str, Sequence[str]] | None = None,
) -> Command:
    """The command of some arguments; settings that no flag gives are those of the best.json among the losses.

    Args:
        command: The command.
        arguments: Its words.
        name: What it is called.
        numbers: Flags of its own that take several numbers.
        words: Flags of its own that take several words, and these words.

    Raises:
        InputError: if there is no loss, two files disagree, or a value cannot be used.
    """
    ordered = values_last([bracketed(word) for word in arguments], (*NUMBERS, *numbers), words)
    given = read(command, ordered, name, _begun, SHOWN)
    if isinstance(given, Looking):
        if given.seeds < 1:
            raise InputError(f"--seeds is {given.seeds}; it must be at least 1")
        if given.figure is not None:
            check_picture(given.figure)
    return given


def _begun(given: Trained) -> EvolveSettings:
    if not given.losses:
        raise InputError(f"no loss is given; name a loss file, λ, or one of {', '.join(NAMES)}")
    return settings_for(given.losses)


def opened(given: Trained) -> Opened:
    """The data, network and losses, all checked."""
    given.machine.prepare()
    with bar(given):
        return Opened.open(given.losses, given.settings)


def bar(given: Trained) -> Bar:
    """The progress of a command."""
    return Bar(quiet=given.quiet or given.json)


def trained(found: Opened, given: Looking, shown: Bar) -> tuple[list[TrainedLoss], Way]:
    """The networks of each loss, and the way in which they were trained."""

    def measuring(share: float) -> None:
        shown.show("measuring", share, line="measuring which way of training is faster")

    return found.train(given.seeds, given.seed, measuring, quarters(shown, "training"))


def quarters(
    shown: Bar, phase: str, line: str | None = None, first: int = 0, count: int = 1
) -> Callable[[float], None]:
    """Shows the progress of a phase; where there is no terminal, a line for each quarter.

    Args:
        shown: Where.
        phase: What the bar calls it.
        line: What the line calls it, if otherwise.
        first: How many equal parts of the phase are done already.
        count: How many there are.
    """

    def progress(share: float) -> None:
        done = (first + share) / count
        shown.show(phase, done, line=f"{line or phase}, {int(4 * done) * 25} %")

    return progress
