"""``lossmith trace``: the attraction of single samples during a training."""

import io
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from rich.table import Table

from lossmith import report
from lossmith.analysis import FORMS, Trace
from lossmith.cli.arguments import OptionalDirectory, Switch
from lossmith.cli.console import output
from lossmith.cli.trained import Trained, bar, check_number, measuring, opened, parsed
from lossmith.errors import InputError
from lossmith.io import json_bytes, write_all
from lossmith.study import Analysis
from lossmith.training import Backend

TITLES = {"exact": "exact", "published": "as published", "vector": "vector"}


@dataclass(frozen=True)
class TraceLosses(Trained):
    """Train a network with each loss, and watch how hard it pulls each training sample to its label or pushes it away.

    All losses have the same initial weights and batches. Data, model and recipe are those of the search of a best.json,
    unless flags say otherwise. Writes trace.json, trace.npz (every strength) and figures/trace.png.

    {losses}

    example:  lossmith trace cross-entropy study/best.json --out trace
    """

    out: OptionalDirectory = None
    """Directory to write to (default: trace); an earlier trace there is replaced."""
    samples: Annotated[int | Literal["all"], tyro.conf.arg(metavar="INT|all")] = 500
    """Training samples to watch, drawn anew in each epoch, or all of them."""
    svg: Switch = False
    """Draw the picture as SVG, too."""


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    given = parsed(TraceLosses, arguments, "trace")
    if given.samples != "all":
        if given.samples < 1:
            raise InputError(f"--samples is {given.samples}; give a number from 1, or all")
        check_number("--samples", given.samples, 1)
    directory = given.out or Path("trace")
    pictures = [directory / "figures" / f"trace.{kind}" for kind in (("png", "svg") if given.svg else ("png",))]
    _check_places([directory / "trace.npz", directory / "trace.json", *pictures])
    samples = None if given.samples == "all" else given.samples
    try:
        with opened(given) as found, bar(given) as shown, given.machine.open() as executor:
            told = partial(shown.quarter, "training")
            threads = executor.trainer(found.problem.task).threads or torch.get_num_threads()
            traced, backend = found.trace(given.seed, samples, executor, partial(measuring, shown), told)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("A trace is written at its end, so nothing was written.") from None
    names = [loss.name for loss in found.losses]
    summary = _summary(traced, found, given, backend, threads)
    directory.mkdir(parents=True, exist_ok=True)
    report.draw_trace(traced, names, pictures)
    write_all({directory / "trace.npz": _packed(traced, names), directory / "trace.json": json_bytes(summary)})
    if given.json:
        sys.stdout.write(json.dumps(summary, indent=2) + "\n")
    elif not given.quiet:
        console = output()
        console.print(_table(traced, names))
        console.print(
            "Share of the samples that a step pushes away from their label by more than 1e-12; exact and as published: "
            "theorem 2 with ε = 1 − h_T; vector: the actual outputs. Accuracy on the same samples, by their labels as "
            "trained."
        )
        console.print(f"\nEvery strength: {directory / 'trace.npz'}\nPicture:        {pictures[0]}", soft_wrap=True)


def _check_places(paths: Sequence[Path]) -> None:
    """See before the training that the results can be written; nothing is made yet.

    Raises:
        InputError: if something is in the way of a file or its folder.
    """
    for path in paths:
        if path.is_dir():
            raise InputError(
                f"{path} is a directory, but the trace needs a file there; remove it or give another --out"
            )
        above = next(folder for folder in path.parents if folder.exists())
        if not above.is_dir():
            raise InputError(f"{path.parent} cannot be made, since {above} is no directory; give another --out")
        if not os.access(above, os.W_OK | os.X_OK):
            raise InputError(f"{path.parent} cannot be written, since {above} is read-only; give another --out")


def _packed(found: Trace, names: Sequence[str]) -> bytes:
    """All arrays of a trace, and the names of the losses, as an .npz file."""
    file = io.BytesIO()
    arrays = {name: getattr(found, name) for name in ("samples", "output", *FORMS, "accuracy")}
    np.savez_compressed(file, allow_pickle=False, losses=np.array(names), **arrays)
    return file.getvalue()


def _summary(traced: Trace, found: Analysis, given: TraceLosses, backend: Backend, threads: int) -> dict[str, Any]:
    behind = found.described(1, given.seed, backend)
    kept = {name: value for name, value in behind.items() if name not in ("seeds", "losses")}
    return {
        **kept,
        "samples": traced.samples.shape[1],
        "threads": threads,
        "losses": traced.summary(found.losses),
    }


def _table(found: Trace, names: Sequence[str]) -> Table:
    last = found.accuracy.shape[1] - 1
    epochs = sorted({0, 1, round(last / 4), round(last / 2), last})
    table = Table(title="Share of repelled samples", title_justify="left")
    table.add_column("loss")
    table.add_column("")
    for epoch in epochs:
        table.add_column("before" if epoch == 0 else f"epoch {epoch}", justify="right")
    for row, name in enumerate(names):
        for title, values, applies in [
            *((TITLES[form], found.repelled(form)[row], found.applies(form)[row]) for form in FORMS),
            ("accuracy", found.accuracy[row], True),
        ]:
            nothing = "diverged" if applies else "–"
            cells = [nothing if np.isnan(values[epoch]) else f"{values[epoch]:.1%}" for epoch in epochs]
            table.add_row(name if title == FORMS[0] else "", title, *cells)
        table.add_section()
    return table
