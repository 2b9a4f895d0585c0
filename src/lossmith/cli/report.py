"""``lossmith report``: a study as one page."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from lossmith import report
from lossmith.cli.arguments import OptionalNumber, Switch, parse
from lossmith.cli.console import output
from lossmith.errors import InputError


@dataclass(frozen=True)
class Report:
    """Write a study to DIR/report.html, one file that opens by a double click and needs no network.

    It shows what the study holds so far; lossmith evolve and compare write it, too.

    example:  lossmith report study --watch
    """

    directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """Directory of the study."""
    watch: Switch = False
    """Show the page to a browser on this machine until Ctrl-C, always as the study stands."""
    port: OptionalNumber = None
    """Port of --watch; without it, one that is free."""


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    given = parse(Report, arguments, "report")
    if given.port is not None and not given.watch:
        raise InputError("--port has no effect here; leave it out, or add --watch")
    console = output()
    if not given.watch:
        console.print(f"Report: {report.write_report(given.directory)}", soft_wrap=True)
        return
    with report.Served(given.directory, given.port or 0) as served:
        console.print(f"The report of {given.directory}: {served.address} (until Ctrl-C)", soft_wrap=True)
        sys.stdout.flush()
        try:
            served.serve_forever()
        except KeyboardInterrupt:
            raise KeyboardInterrupt("The study goes on, if it runs; the page is not served any more.") from None
