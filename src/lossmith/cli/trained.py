"""What the commands share that train networks with some losses and then look at these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Protocol, TypeVar

import tyro

from lossmith import report
from lossmith.analysis import Look
from lossmith.cli.arguments import OptionalFile, OptionalTime, Switch, bracketed, check_given, values_last
from lossmith.cli.console import Bar
from lossmith.cli.flags import Begun, SettingsFlags, Shown, read
from lossmith.cli.machine import Machine, MachineFlags
from lossmith.errors import InputError, brief
from lossmith.study import Analysis, EvolveSettings, RunSettings, origin_of
from lossmith.training import Backend


class HasLosses(Protocol):
    """A command with losses."""

    @property
    def losses(self) -> tuple[str, ...]:
        """What names them."""


SHOWN: Shown = {EvolveSettings: ("data", "model", "recipe", "run"), RunSettings: ("training", "device")}
NUMBERS = ("--hidden", "--milestones")
MOST_NETWORKS, LARGEST_SEED = 10_000, 2**63 - 1


@dataclass(frozen=True)
class Trained:
    """Flags of a command that trains networks with some losses."""

    losses: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="LOSS ...", help_behavior_hint="")
    ] = ()
    """The losses to train with."""
    seed: int = 0
    """Seed of initial weights, batches, and all else that is random."""
    time_limit: OptionalTime = None
    """How long the trainings may take, such as 30m or 8h; nothing begins that would take longer."""
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
    """Networks trained with each loss; every loss has the same initial weights and batches."""
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
    given = read(command, ordered, name, begun, SHOWN)
    check_number("--seed", given.seed, -LARGEST_SEED, LARGEST_SEED)
    if isinstance(given, Looking):
        check_number("--seeds", given.seeds, 1, MOST_NETWORKS)
        if given.figure is not None:
            report.check_picture(given.figure)
    return given


def check_number(name: str, value: int | None, least: int | None, most: int = 10**9) -> None:
    """See before the work that a number can be worked through.

    Args:
        name: Of its flag.
        value: The number; None if it is not given.
        least: The least that it may be; None leaves that to another check.
        most: The most.

    Raises:
        InputError: if it is outside.
    """
    if value is None:
        return
    below = least is not None and value < least
    if below or value > most:
        bound = f"at least {least}" if below else f"at most {most}"
        raise InputError(f"{name} is {brief(value)}; it must be {bound}")


def begun(given: HasLosses) -> Begun:
    """The settings that a command begins with: those of the best.json among its losses, or the defaults.

    Raises:
        InputError: if there is no loss, or two files disagree.
    """
    check_given(given.losses)
    origin = origin_of(given.losses)
    return (EvolveSettings(), None) if origin is None else (origin.settings, origin.file)


@contextmanager
def opened(given: Trained) -> Iterator[Analysis]:
    """The data, network and losses, all checked."""
    given.machine.prepare()
    with ExitStack() as stack:
        with bar(given):
            found = stack.enter_context(Analysis.open(given.losses, given.settings, given.time_limit))
        yield found


def bar(given: Trained) -> Bar:
    """The progress of a command."""
    return Bar(quiet=given.quiet or given.json)


def looked_at(found: Analysis, given: Looking, kind: str, look: Look, line: str) -> tuple[list[Any], Backend]:
    """The records of a look at the networks of each loss, and how these were run."""
    try:
        with bar(given) as shown, given.machine.open() as executor:
            report = partial(shown.quarter, kind, line=line)
            return found.look(kind, look, given.seeds, given.seed, executor, partial(measuring, shown), report)
    except KeyboardInterrupt:
        kept = "" if found.shelf.path is None else ", but what is kept of it in the study"
        raise KeyboardInterrupt(f"The figures are printed at the end, so nothing was written{kept}.") from None


def measuring(shown: Bar, share: float) -> None:
    """Show that backends are measured."""
    shown.show("measuring", share, line="measuring which way of training is faster")
