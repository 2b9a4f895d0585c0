"""``lossmith distill``: the smallest loss that is not worse."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import tyro

from lossmith import report
from lossmith.cli.arguments import OptionalDirectory, OptionalTime, Switch, bracketed, values_last
from lossmith.cli.compare import SHOWN, checked_origin, going_on, origin_text
from lossmith.cli.console import DistillProgress
from lossmith.cli.flags import SettingsFlags, read
from lossmith.cli.machine import Machine, MachineFlags
from lossmith.cli.tables import print_distillation
from lossmith.cli.trained import NUMBERS, begun
from lossmith.errors import InputError
from lossmith.study import DistillSettings, EvolveSettings, distill_loss, rechecked

if TYPE_CHECKING:
    Options = DistillSettings
else:
    Options = Annotated[DistillSettings, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="distillation")]


@dataclass(frozen=True)
class Distill:
    """Leave out terms of a loss one by one, and write the smallest loss that is not worse.

    Without each term, learning rate, epochs and the other coefficients are tuned again on validation data, and you see
    what the term was worth, with its interval. Only the whole and the smallest loss are tested on test data, once, at
    the end. Writes distilled.json, distillation.json and figures/distillation.png to the directory of the study, or to
    --out DIR. Run again after a stop, it goes on.

    {losses} Give one loss.

    example:  lossmith distill study/best.json --margin 0.005
    """

    losses: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="LOSS", help_behavior_hint="")] = ()
    """The loss to distill."""
    out: OptionalDirectory = None
    """Directory to write to; without it, that of best.json, or NAME-comparison for another loss file."""
    options: Options = field(default_factory=DistillSettings)
    settings: SettingsFlags = field(default_factory=EvolveSettings)
    machine: MachineFlags = field(default_factory=Machine)
    time_limit: OptionalTime = None
    """How long it may take, such as 30m or 8h: --effort is lowered until it fits."""
    svg: Switch = False
    """Draw the picture as SVG, too."""
    quiet: Switch = False
    """Print nothing but errors."""
    json: Switch = False
    """Print what was tried as JSON, and no progress."""


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    words = values_last([bracketed(word) for word in arguments], NUMBERS)
    try:
        given = read(Distill, words, "distill", begun, SHOWN)
        if len(given.losses) != 1:
            raise InputError(f"{len(given.losses)} losses are given; distill one, as in lossmith distill best.json")
        options = rechecked(given.options)
        origin, directory = checked_origin(given.losses, given.settings, given.out)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Nothing was begun.") from None
    given.machine.prepare()
    progress = DistillProgress(quiet=given.quiet or given.json)
    with going_on(directory), progress, given.machine.open() as executor:
        made = distill_loss(
            given.losses[0],
            given.settings,
            directory,
            options,
            digest=None if origin is None else origin.digest,
            lr=None if origin is None else origin.lr,
            executor=executor,
            report=progress.report,
            time_limit=given.time_limit,
        )
    pictures = report.draw_distillation(made.distillation, directory, ("png", "svg") if given.svg else ("png",))
    if given.json:
        sys.stdout.write(json.dumps(made.distillation.to_json(), indent=2) + "\n")
    elif not given.quiet:
        print_distillation(made)
        sys.stdout.write(origin_text(given.losses))
        sys.stdout.write(f"\nThe loss:  {made.path}\nPicture:   {pictures[0]}\n")
