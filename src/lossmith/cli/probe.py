"""``lossmith probe``: how noisy labels are, which known loss is best, and whether a search is worth its cost."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import tyro
from rich.table import Table

from lossmith.analysis import costs_text
from lossmith.cli.arguments import OptionalTime, Switch, values_last
from lossmith.cli.console import Bar, output
from lossmith.cli.flags import SettingsFlags, Shown, read
from lossmith.cli.machine import Machine, MachineFlags
from lossmith.cli.trained import LARGEST_SEED, NUMBERS, check_number
from lossmith.data import DataSettings, open_source
from lossmith.errors import printable
from lossmith.study import (
    PROBE_FOLDS,
    PROBE_NETWORKS,
    PROBE_SEEDS,
    EvolveSettings,
    Probe,
    RunSettings,
    Size,
    at_absolute_place,
    check_probe,
    flag,
    gain_text,
    parsed_time,
    percent_text,
    probe_data,
    probe_text,
    rechecked,
    setting_text,
    use_text,
    with_data,
)
from lossmith.training import Recipe

# Early stopping would look at the labels that are judged.
LEFT_OUT = ("source", "patience")
SHOWN: Shown = {
    EvolveSettings: ("data", "model", "recipe", "objective", "run"),
    RunSettings: ("training", "device"),
    **{model: tuple(name for name in model.model_fields if name not in LEFT_OUT) for model in (DataSettings, Recipe)},
}
PARTS = ("data", "model", "recipe", "objective", "run")
STUDY = Path("study")


@dataclass(frozen=True)
class ProbeData:
    """Say before a search how noisy labels are, which known loss is best, and whether a search is worth its cost.

    It sees what a search would see, training and validation data; test data is not touched. Networks judge labels that
    they did not learn from; five known losses are tuned, and compared with cross-entropy on validation data. The last
    line says what to do next: a search with your flags, or the best known loss in Python.

    example:  lossmith probe digits --label-noise 0.4 --epochs 30
    """

    data: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
    """Data to probe: a name, or the path of a table, an .npz file or a directory of images."""
    folds: int = PROBE_FOLDS
    """Parts that the samples are cut into; each network learns from all but one, and judges the labels of that one."""
    networks: int = PROBE_NETWORKS
    """Networks that judge each label; fewer, if the time limit asks for it."""
    seeds: int = PROBE_SEEDS
    """Fresh networks of each tuned loss, paired with those of cross-entropy; fewer, if the time limit asks for it."""
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
    size = Size(given.folds, given.networks, given.seeds)
    check_probe(given.settings, size)
    given.machine.prepare()
    try:
        with Bar(quiet=given.quiet or given.json) as shown, given.machine.open() as executor:
            found = probe_data(
                given.settings,
                open_source(given.settings.data.source, given.settings.data),
                size=size,
                seed=given.seed,
                executor=executor,
                time_limit=limit,
                report=shown.quarter,
                started=started,
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("The figures are printed at the end, so nothing was written.") from None
    what_next = next_line(found, given.data, given.settings)
    if given.json:
        sys.stdout.write(json.dumps({**found.to_json(), "seed": given.seed, "next": what_next}, indent=2) + "\n")
    elif not given.quiet:
        console = output()
        console.print(_table(found))
        console.print(probe_text(found))
        if found.worth_searching:
            console.print(use_text(found), soft_wrap=True)
        console.print(f"\n{what_next}", soft_wrap=True)


def parsed(arguments: Sequence[str]) -> ProbeData:
    """The command of some arguments, its numbers checked.

    Raises:
        InputError: if one cannot be used.
    """
    given = read(ProbeData, values_last(arguments, NUMBERS), "probe", lambda _: (EvolveSettings(), None), SHOWN)
    check_number("--seed", given.seed, -LARGEST_SEED, LARGEST_SEED)
    return replace(given, settings=at_absolute_place(rechecked(with_data(given.settings, given.data))))


def next_line(found: Probe, data: str, settings: EvolveSettings) -> str:
    """What to do next, as a line: a search with the same settings, or the best known loss in Python."""
    if found.worth_searching:
        words = ["lossmith", "evolve", "--out", str(STUDY), "--data", data, *flags_of(settings)]
        return " ".join(map(quote, words))
    return found.use


def flags_of(settings: EvolveSettings) -> list[str]:
    """The flags that make these settings, without those of a search, from the usual ones."""
    words = list[str]()
    for part in PARTS:
        own, usual = getattr(settings, part), getattr(EvolveSettings(), part)
        for name in type(own).model_fields:
            value = getattr(own, name)
            if value != getattr(usual, name) and name != "source":
                words += _flag(flag(part, name), value)
    return words


def _flag(called: str, value: Any) -> list[str]:
    """A flag and its value, as they are typed."""
    if isinstance(value, bool):
        return [called if value else f"--no-{called.removeprefix('--')}"]
    if called == "--costs":
        return [called, costs_text(value)]
    return [called, *map(str, value if isinstance(value, tuple | list) else [value])]


def _table(found: Probe) -> Table:
    points = found.deciding.share
    table = Table(
        title="Known losses, each tuned on validation data",
        title_justify="left",
        caption="* what to take: the best by the tuning, or cross-entropy where the gain of that may be chance. Gains "
        f"are of fresh networks, {'in points, ' if points else ''}with 95 % intervals.",
        caption_justify="left",
    )
    for title in ("loss", "setting", printable(found.deciding.called), "gain on cross-entropy"):
        table.add_column(title, justify="left" if title in ("loss", "setting") else "right", overflow="fold")
    for one in sorted(found.known, key=lambda one: -found.deciding.sign * one.mean):
        mark = " *" if one == found.best_known else ""
        mean = percent_text(one.mean, 1) if points else f"{one.mean:.4g}"
        gain = "" if one == found.known[0] else gain_text(one, points)
        table.add_row(printable(one.tuned.family.name) + mark, setting_text(one), mean, gain)
    return table
