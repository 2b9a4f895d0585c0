"""``lossmith suspects``: the training labels that are probably wrong."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro
from rich.table import Table

from lossmith import report
from lossmith.cli.arguments import OptionalFile, OptionalTime, Switch, values_last
from lossmith.cli.console import Bar, output
from lossmith.cli.flags import Helps, SettingsFlags, Shown, read
from lossmith.cli.machine import Machine, MachineFlags
from lossmith.cli.trained import LARGEST_SEED, NUMBERS, check_number
from lossmith.data import DataSettings, Source, open_source
from lossmith.errors import InputError, printable
from lossmith.io import write_whole
from lossmith.study import (
    SUSPECT_FOLDS,
    SUSPECT_NETWORKS,
    EvolveSettings,
    RunSettings,
    Suspicion,
    at_absolute_place,
    check_suspects,
    check_table,
    find_suspects,
    parsed_time,
    rechecked,
    suspects_text,
    with_data,
)
from lossmith.training import Recipe

# Sizes of parts have no effect where every sample is judged, and early stopping would look at the labels judged.
LEFT_OUT = ("source", "train_size", "validation_size", "test_size", "patience")
SHOWN: Shown = {
    EvolveSettings: ("data", "model", "recipe", "run"),
    RunSettings: ("training", "device"),
    **{model: tuple(name for name in model.model_fields if name not in LEFT_OUT) for model in (DataSettings, Recipe)},
}
HELPS: Helps = {
    (DataSettings, "label_noise"): (
        "Share of all labels that noise changes, from 0 to below 1: every row is judged here."
    ),
}
TOP, PICTURES = 10, 40


@dataclass(frozen=True)
class Suspects:
    """Rank the labels of training data by how probably they are wrong, and write them as a table.

    The data is cut in folds, and networks that are trained on all other folds judge the labels of each. The table has
    the most suspicious labels first, with the columns index (the row in the data, from 0), given, suggested (the class
    that the networks believe in most) and score, from 0 to 1: how much they believe in the strongest other class rather
    than in the label. Above 0.5 another class is suggested. Validation and test parts that the data has itself are not
    judged.

    {losses}

    example:  lossmith suspects digits --label-noise 0.2 --out suspects.csv --figure suspects.png
    """

    data: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
    """Data to judge: a name, or the path of a table, an .npz file or a directory of images."""
    out: OptionalFile = None
    """The table to write (default: suspects.csv); an earlier file of that name is replaced."""
    figure: OptionalFile = None
    """Draw the most suspicious images, too, with label and suggestion: PNG, SVG or PDF by the ending."""
    loss: Annotated[str | None, tyro.conf.arg(metavar="LOSS", help_behavior_hint="")] = None
    """What networks are trained with (default: label smoothing 0.5 + 2 Σh², which resists wrong labels)."""
    folds: int = SUSPECT_FOLDS
    """Parts that the data is cut into; each network learns from all but one, and judges the labels of that one."""
    networks: int = SUSPECT_NETWORKS
    """Networks that judge each label; fewer, if the time limit asks for it."""
    seed: int = 0
    """Seed of initial weights and batches."""
    time_limit: OptionalTime = None
    """How long it may take, such as 5m; fewer networks are trained if it would take longer."""
    quiet: Switch = False
    """Print nothing but errors."""
    json: Switch = False
    """Print the figures as JSON, and no progress."""
    settings: SettingsFlags = field(default_factory=EvolveSettings)
    machine: MachineFlags = field(default_factory=Machine)


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    started = time.perf_counter()
    given = parsed(arguments)
    limit = None if given.time_limit is None else parsed_time(given.time_limit)
    out = given.out or Path("suspects.csv")
    check_table(out)
    check_suspects(given.settings, given.folds, given.networks)
    given.machine.prepare()
    try:
        with Bar(quiet=given.quiet or given.json) as shown, given.machine.open() as executor:
            source = open_source(given.settings.data.source, given.settings.data)
            if given.figure is not None:
                _check_images(source, given.figure)
            found = find_suspects(
                given.settings,
                source,
                loss=given.loss,
                folds=given.folds,
                networks=given.networks,
                seed=given.seed,
                executor=executor,
                time_limit=limit,
                report=partial(shown.quarter, "training"),
                started=started,
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("The table is written at its end, so nothing was written.") from None
    write_whole(found.to_csv(), out)
    if given.json:
        document = {**found.to_json(), "seed": given.seed, "out": str(out)}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    elif not given.quiet:
        console = output()
        console.print(_table(found))
        console.print(suspects_text(found))
        console.print(f"\nEvery label: {printable(str(out))}", soft_wrap=True)
    if given.figure is not None:
        _draw(found, given.figure)
        if not (given.json or given.quiet):
            output().print(f"Picture:     {printable(str(given.figure))}", soft_wrap=True)


def parsed(arguments: Sequence[str]) -> Suspects:
    """The command of some arguments, its numbers and places checked.

    Raises:
        InputError: if one cannot be used.
    """
    given = read(
        Suspects, values_last(arguments, NUMBERS), "suspects", lambda _: (EvolveSettings(), None), SHOWN, HELPS
    )
    check_number("--seed", given.seed, -LARGEST_SEED, LARGEST_SEED)
    if given.figure is not None:
        report.check_picture(given.figure)
    return replace(given, settings=at_absolute_place(rechecked(with_data(given.settings, given.data))))


def _check_images(source: Source, figure: Path) -> None:
    """See before the training that there is something to draw.

    Raises:
        InputError: if the data is no images.
    """
    if source.kind != "image" or source.input_shape[0] not in (1, 3, 4):
        raise InputError(
            f"--figure {figure} shows images, but {source.name} has samples of shape {list(source.input_shape)}; leave "
            "it out"
        )


def _draw(found: Suspicion, figure: Path) -> None:
    """Draw the first suspects."""
    first = [row for row in found.rows() if row[1] != row[2]][:PICTURES] or found.rows()[:PICTURES]
    images = found.folds.source.inputs[[index for index, *_ in first]].numpy()
    report.save_figure(report.plot_suspects(images, first), figure)


def _table(found: Suspicion) -> Table:
    table = Table(title="The most suspicious labels", title_justify="left")
    for title in ("index", "given", "suggested", "score"):
        table.add_column(title, justify="right" if title in ("index", "score") else "left", overflow="fold")
    for index, given, suggested, score in found.rows()[:TOP]:
        table.add_row(str(index), printable(given), printable(suggested), f"{score:.3f}")
    return table
