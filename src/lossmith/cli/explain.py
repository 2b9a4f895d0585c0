"""``lossmith explain``: what the theory says of any loss, on one page."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from rich.columns import Columns

from lossmith import report
from lossmith.cli.arguments import OptionalFile, Switch, bracketed, check_given, parse, values_last
from lossmith.cli.console import NO_PROGRESS, output
from lossmith.errors import InputError
from lossmith.losses import CATALOG, Loss, common_classes, find_all
from lossmith.theory import EPSILONS, explain

CLASSES = 10
# Sentences are read best in short lines.
WORDS_WIDTH = 80


@dataclass(frozen=True)
class Explain:
    """Explain losses: first in plain words what they do, then what the theory says of them.

    Several are shown side by side. {losses}

    example:  lossmith explain paper/mnist cross-entropy --figure explained.png
    """

    losses: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="LOSS ...", help_behavior_hint="")
    ] = ()
    """The losses to explain."""
    classes: Annotated[tuple[int, ...], tyro.conf.arg(metavar="N ...", help_behavior_hint="")] = ()
    """Numbers of classes; without it, that of the loss files, or else 10."""
    epsilon: Annotated[tuple[float, ...], tyro.conf.arg(metavar="ε ...", help_behavior_hint="")] = EPSILONS
    """Errors, between 0 and 1, at which the table says how strongly the loss attracts."""
    figure: OptionalFile = None
    """Draw attraction, learning rule, loss and gradient to this file (.png, .svg or .pdf)."""
    figure3: OptionalFile = None
    """Draw figure 3 of the paper to this file: attraction, published and exact; without a LOSS, of its four losses."""
    latex: Switch = False
    """Print the losses and their learning rules as LaTeX instead."""
    json: Switch = False
    """Print all of it as JSON."""


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    words = values_last([bracketed(word) for word in arguments], ("--classes", "--epsilon"))
    given = parse(Explain, words, "explain")
    _check(given)
    # The numbers are few: a second thread would only wait for the first.
    torch.set_num_threads(1)
    numbers = given.classes or (common_classes(given.losses) or CLASSES,)
    pairs = [(one, n) for n in numbers for loss in find_all(given.losses, n) for one in loss.moments()]
    pages = [explain(loss, n, given.epsilon) for loss, n in pairs]
    told = [report.plain_words(loss, page) for (loss, _), page in zip(pairs, pages, strict=True)]
    pictures = _pictures(given, pairs)
    if given.json:
        losses = [{**page.to_json(), "words": said} for page, said in zip(pages, told, strict=True)]
        document = {"losses": losses, "pictures": [str(path) for path in pictures]}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return
    if given.latex:
        sys.stdout.write(report.latex_page([loss for loss, _ in pairs[: len(given.losses)]]))
        return
    console = output()
    if pages:
        for page, said in zip(pages, told, strict=True):
            console.print(report.words_table(page, said, min(console.width, WORDS_WIDTH)))
        console.print(*report.page_tables(pages, console.width), sep="\n")
        console.print("One step of the logits: change of the target's output, in each form, and of the entropy")
        console.print(Columns([report.strength_table(page) for page in pages]))
        console.print(NO_PROGRESS, soft_wrap=True)
        console.print(_assumed(given), end="", soft_wrap=True)
    for path in pictures:
        console.print(f"Picture: {path}", soft_wrap=True)


def _assumed(given: Explain) -> str:
    """Says that a number of classes was assumed which a loss depends on; empty where it was not."""
    names = [text.partition(":")[0] for text in given.losses]
    depends = [text for text, name in zip(given.losses, names, strict=True) if _by_classes(name)]
    if given.classes or not depends or common_classes(given.losses):
        return ""
    return f"{', '.join(depends)}: for {CLASSES} classes, since none are given (--classes)."


def _by_classes(name: str) -> bool:
    return name in CATALOG and CATALOG[name].by_classes


def _check(given: Explain) -> None:
    if given.figure3 is None:
        check_given(given.losses)
    if not given.losses and given.figure is not None:
        raise InputError("--figure draws the losses that are given; name at least one")
    if repeated := next((n for n in given.classes if given.classes.count(n) > 1), None):
        raise InputError(f"--classes names {repeated} twice; leave one out")
    if not given.epsilon:
        raise InputError("--epsilon is empty; give numbers in (0, 1) or leave it out")
    if given.json and given.latex:
        raise InputError("--json and --latex ask for two outputs; leave one out")
    if given.figure is not None and given.figure == given.figure3:
        raise InputError(f"--figure and --figure3 name the same file {given.figure}; give two")


def _pictures(given: Explain, pairs: Sequence[tuple[Loss, int]]) -> list[Path]:
    if given.figure is None and given.figure3 is None:
        return []
    return report.draw_explained(pairs, len(given.losses), given.figure, given.figure3, given.classes)
