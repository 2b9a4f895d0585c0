"""``lossmith explore``: a page on which losses can be changed while their curves follow."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
import tyro

from lossmith.cli.arguments import OptionalFile, OptionalNumber, bracketed, parse
from lossmith.errors import InputError, printable
from lossmith.losses import common_classes, find_all
from lossmith.report import write_explorer

CLASSES = 10


@dataclass(frozen=True)
class Explore:
    """Write a page with sliders that change a loss, and its curves: one HTML file that needs no network.

    The page begins with the first LOSS; without any, with cross-entropy. {losses}

    example:  lossmith explore study/best.json --html explorer.html
    """

    losses: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[LOSS ...]", help_behavior_hint="")
    ] = ()
    """Losses that the page offers besides all named ones."""
    html: OptionalFile = None
    """The file to write; its name ends in .html."""
    classes: OptionalNumber = None
    """Number of classes to begin with; without it, that of the loss files, or else 10."""


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    given = parse(Explore, [bracketed(word) for word in arguments], "explore")
    if given.html is None:
        raise InputError("explore writes a page and needs its name; add --html FILE, as in --html explorer.html")
    torch.set_num_threads(1)
    classes = given.classes if given.classes is not None else common_classes(given.losses) or CLASSES
    page = write_explorer(find_all(given.losses, classes), given.html, classes)
    sys.stdout.write(f"Page: {printable(str(page))} ({page.stat().st_size / 1000:.0f} kB); open it in a browser\n")
