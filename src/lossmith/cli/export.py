"""``lossmith export``: a loss as source that needs nothing of this package."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from lossmith.cli.arguments import OptionalFile, OptionalNumber, bracketed, check_given, parse
from lossmith.errors import InputError, printable
from lossmith.io import write_whole
from lossmith.losses import export, find_weighted


@dataclass(frozen=True)
class Export:
    """Print a loss as source code that does not need lossmith: a PyTorch module, JAX or NumPy functions, or LaTeX.

    Every digit is kept, and so are the class weights that it was evolved with. {losses} Give one loss.

    example:  lossmith export study/best.json --to torch --out my_loss.py
    """

    losses: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="LOSS", help_behavior_hint="")] = ()
    """The loss to export."""
    to: Annotated[str, tyro.conf.arg(metavar="KIND")] = "torch"
    """torch: a class Loss, called like CrossEntropyLoss; jax, numpy: a function loss(logits, targets); or latex."""
    classes: OptionalNumber = None
    """Number of classes, for names whose loss depends on it; without it, that of the loss file."""
    out: OptionalFile = None
    """Write to this file; without it, to standard output."""


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    given = parse(Export, [bracketed(word) for word in arguments], "export")
    check_given(given.losses)
    if len(given.losses) > 1:
        raise InputError(f"{len(given.losses)} losses are given; export one, as in lossmith export best.json")
    loss, weight = find_weighted(given.losses[0], given.classes)
    text = export(loss, given.to, weight)
    if given.out is None:
        sys.stdout.write(text)
        return
    write_whole(text.encode("ascii"), given.out)
    sys.stdout.write(f"{printable(str(given.out))}\n")
