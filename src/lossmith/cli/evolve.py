"""``lossmith evolve``: search, finalists, winner, pictures."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Annotated

import tyro

from lossmith import report
from lossmith.cli.arguments import OptionalDirectory, OptionalTime, Switch
from lossmith.cli.console import SearchProgress
from lossmith.cli.flags import Begun, SettingsFlags, read
from lossmith.cli.machine import Machine, MachineFlags
from lossmith.cli.tables import conclude_search, own_code
from lossmith.study import EvolveSettings, check_effect, evolve, file_settings, study_place


@dataclass(frozen=True)
class Evolve:
    """Find a loss for a network on data: search, train the best ones again, and write the winner.

    DIR then holds study.toml (the settings), study.db (every candidate), best.json (the winner), figures/ and
    report.html (all of it as a page). Run again on the same DIR, it goes on where it stopped: flags that you leave out
    come from study.toml, except a --model or --metric of your own. More --generations make an ended study longer.

    example:  lossmith evolve --out study --data digits --train-size 800 --label-noise 0.4 --epochs 30 --replicates 3
    """

    study: Annotated[
        Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[STUDY.toml]", help_behavior_hint="")
    ] = None
    """A TOML file with settings, which flags overrule."""
    out: OptionalDirectory = None
    """Directory of the study; without it, the name of STUDY.toml without .toml."""
    settings: SettingsFlags = field(default_factory=EvolveSettings)
    machine: MachineFlags = field(default_factory=Machine)
    time_limit: OptionalTime = None
    """How long it may take, such as 30m or 8h: the search ends early, so that all fits. Run again, it goes on."""
    svg: Switch = False
    """Draw the pictures as SVG, too."""
    quiet: Switch = False
    """Print nothing but errors."""
    json: Switch = False
    """Print the result as JSON, and no progress."""


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    given = read(Evolve, arguments, "evolve", _begun)
    check_effect(given.settings)
    given.machine.prepare()
    directory, _ = study_place(given.study, given.out)
    try:
        with SearchProgress(quiet=given.quiet or given.json) as progress, given.machine.open() as executor:
            outcome = evolve(
                directory, given.settings, executor=executor, report=progress.report, time_limit=given.time_limit
            )
    except KeyboardInterrupt:
        own = own_code(given.settings.model_dump())
        same = f"lossmith evolve --out {quote(str(directory))}{own}{given.machine.words()}"
        raise KeyboardInterrupt(f"What is stored is kept; go on with: {same}") from None
    pictures = report.draw_search(directory, ("png", "svg") if given.svg else ("png",))
    page = report.report_beside(directory)
    if given.json:
        summary = {"best": str(directory / "best.json"), "provenance": outcome.provenance, "seconds": outcome.seconds}
        sys.stdout.write(json.dumps(summary, indent=2) + "\n")
    elif not given.quiet:
        conclude_search(directory, outcome, pictures, page)


def _begun(given: Evolve) -> Begun:
    _, file = study_place(given.study, given.out)
    return (EvolveSettings() if file is None else file_settings(file)), file
