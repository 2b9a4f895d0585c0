"""``lossmith compare``: losses against every tuned baseline."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from lossmith.cli.arguments import OptionalDirectory, Switch
from lossmith.cli.console import CompareProgress
from lossmith.cli.flags import SettingsFlags, Shown, read
from lossmith.cli.machine import Machine, MachineFlags
from lossmith.cli.tables import print_comparison
from lossmith.errors import InputError
from lossmith.report import draw_comparison
from lossmith.study import (
    CompareSettings,
    EvolveSettings,
    RunSettings,
    check_unchanged,
    compare_losses,
    named_losses,
    rechecked,
    settings_of,
)

SHOWN: Shown = {EvolveSettings: ("data", "model", "recipe", "run"), RunSettings: ("training", "chunk", "device")}
if TYPE_CHECKING:
    Options = CompareSettings
else:
    Options = Annotated[CompareSettings, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="comparison")]


@dataclass(frozen=True)
class Compare:
    """Compare losses with every baseline on test data, all of them tuned alike on validation data.

    For a best.json, data, split, label noise, model and recipe are those of its search: a flag that changes one is
    refused, so that no test sample was in the search. The raw runs are kept in the database and in comparison.json
    beside the first best.json, or in --out DIR. Stopped and run again, it goes on.

    example:  lossmith compare study/best.json --seeds 30
    """

    losses: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="LOSS.json ...", help_behavior_hint="")
    ] = ()
    """Loss files: best.json of a study, or written by lossmith.save."""
    out: OptionalDirectory = None
    """Directory for what is made; without it, that of the first best.json, or NAME-comparison for another loss file."""
    options: Options = field(default_factory=CompareSettings)
    settings: SettingsFlags = field(default_factory=EvolveSettings)
    machine: MachineFlags = field(default_factory=Machine)
    svg: Switch = False
    """Draw the picture as SVG, too."""
    quiet: Switch = False
    """Print nothing but errors."""
    json: Switch = False
    """Print the comparison as JSON, and no progress."""


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    given = read(Compare, arguments, "compare", _begun, SHOWN)
    losses, known, options = named_losses(given.losses), settings_of(given.losses), rechecked(given.options)
    if known:
        check_unchanged(given.settings, known[0], given.losses[0])
    given.machine.prepare()
    directory = given.out or (given.losses[0].parent if known else Path(f"{given.losses[0].stem}-comparison"))
    try:
        with CompareProgress(quiet=given.quiet or given.json) as progress, given.machine.open() as executor:
            comparison = compare_losses(
                losses,
                given.settings,
                directory,
                options,
                digest=known[1] if known else None,
                executor=executor,
                report=progress.report,
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("What is stored is kept; go on with the same command") from None
    pictures = draw_comparison(comparison, directory, ("png", "svg") if given.svg else ("png",))
    if given.json:
        sys.stdout.write(json.dumps(comparison.to_json(), indent=2) + "\n")
    elif not given.quiet:
        print_comparison(comparison, given.settings.data.label_noise)
        if not known:
            sys.stdout.write(
                f"\nNote:      {given.losses[0]} does not say what it was evolved on; see to it that no test sample "
                "was in its search\n"
            )
        sys.stdout.write(f"\nRaw runs:  {directory / 'comparison.json'}\nPicture:   {pictures[0]}\n")


def _begun(given: Compare) -> EvolveSettings:
    if not given.losses:
        raise InputError("no loss is given; name a loss file, such as study/best.json")
    known = settings_of(given.losses)
    return known[0] if known else EvolveSettings()
