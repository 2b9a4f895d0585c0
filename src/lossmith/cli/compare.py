"""``lossmith compare``: losses against every tuned baseline."""

import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from lossmith import report
from lossmith.analysis import OBJECTIVES, Deciding, ObjectiveSettings
from lossmith.cli.arguments import OptionalDirectory, OptionalTime, Switch, bracketed, values_last
from lossmith.cli.console import CompareProgress
from lossmith.cli.flags import SettingsFlags, Shown, read
from lossmith.cli.machine import Machine, MachineFlags
from lossmith.cli.tables import print_comparison
from lossmith.cli.trained import NUMBERS, begun
from lossmith.study import (
    CompareSettings,
    EvolveSettings,
    Origin,
    RunSettings,
    check_effect,
    check_unchanged,
    compare_losses,
    comparison_place,
    origin_of,
    rechecked,
    tell_other_objective,
    unknown_origins,
)

SHOWN: Shown = {
    EvolveSettings: ("data", "model", "recipe", "objective", "run"),
    ObjectiveSettings: ("metric", "costs", "epsilon", "gradient", "weight"),
    RunSettings: ("training", "chunk", "device"),
}
LOG = logging.getLogger("lossmith")
if TYPE_CHECKING:
    Options = CompareSettings
else:
    Options = Annotated[CompareSettings, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="comparison")]


@dataclass(frozen=True)
class Compare:
    """Compare losses with known ones (baselines) on test data, all of them tuned alike on validation data.

    For a best.json, data, split, label noise, model and recipe are those of its search. A flag that changes one of
    them is refused, since a test sample might then have been in the search. Without a best.json, flags decide. All
    losses are tuned, ranked and tested by the metric of the search, or by --metric. The figures of every network are
    kept in study.db and comparison.json, beside the first best.json or in --out DIR. Run again after a stop, it goes
    on.

    {losses}

    example:  lossmith compare study/best.json --seeds 30
    """

    losses: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="LOSS ...", help_behavior_hint="")
    ] = ()
    """The losses to compare."""
    out: OptionalDirectory = None
    """Directory to write to; without it, that of the first best.json, or NAME-comparison for another loss file."""
    options: Options = field(default_factory=CompareSettings)
    settings: SettingsFlags = field(default_factory=EvolveSettings)
    machine: MachineFlags = field(default_factory=Machine)
    time_limit: OptionalTime = None
    """How long it may take, such as 30m or 8h: --effort is lowered until it fits."""
    svg: Switch = False
    """Draw the picture as SVG, too."""
    quiet: Switch = False
    """Print nothing but errors."""
    json: Switch = False
    """Print the comparison as JSON, and no progress."""


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    words = values_last([bracketed(word) for word in arguments], NUMBERS)
    try:
        given, origin, options, directory = _checked(words)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Nothing was begun.") from None
    given.machine.prepare()
    progress = CompareProgress(quiet=given.quiet or given.json)
    with going_on(directory), progress, given.machine.open() as executor:
        comparison = compare_losses(
            given.losses,
            given.settings,
            directory,
            options,
            digest=None if origin is None else origin.digest,
            lr=None if origin is None else origin.lr,
            executor=executor,
            report=progress.report,
            time_limit=given.time_limit,
        )
    pictures = report.draw_comparison(comparison, directory, ("png", "svg") if given.svg else ("png",))
    page = report.report_beside(directory)
    if given.json:
        sys.stdout.write(json.dumps(comparison.to_json(), indent=2) + "\n")
    elif not given.quiet:
        print_comparison(comparison)
        sys.stdout.write(origin_text(given.losses))
        sys.stdout.write(f"\nRaw runs:  {directory / 'comparison.json'}\nPicture:   {pictures[0]}\n")
        sys.stdout.write("" if page is None else f"Report:    {page}\n")


def _checked(words: Sequence[str]) -> tuple[Compare, Origin | None, CompareSettings, Path]:
    """The command of some words, where its losses come from, how it compares, and where it keeps the raw runs."""
    given = read(Compare, words, "compare", begun, SHOWN)
    options = rechecked(given.options)
    origin, directory = checked_origin(given.losses, given.settings, given.out)
    return given, origin, options, directory


def checked_origin(losses: Sequence[str], settings: EvolveSettings, out: Path | None) -> tuple[Origin | None, Path]:
    """Where some losses come from, with settings that suit it, and the directory of what is done with them.

    Raises:
        InputError: if the settings change what a comparison must not change, or there is no directory.
    """
    origin = origin_of(losses, compares=True)
    if origin is not None:
        check_unchanged(settings, origin)
    if origin is None or settings.objective != origin.settings.objective:
        check_effect(settings)
    directory = comparison_place(losses, out, origin)
    if origin is not None:
        _tell_objective(settings, origin, directory)
    return origin, directory


def origin_text(losses: Sequence[str]) -> str:
    """Which loss files do not say what they were evolved on; empty if all do."""
    unknown = unknown_origins(losses)
    names, say = ", ".join(map(str, unknown)), "does not say" if len(unknown) == 1 else "do not say"
    note = f"\nNote:      {names} {say} what it was evolved on; see to it that no test sample was in its search\n"
    return note if unknown else ""


@contextmanager
def going_on(directory: Path) -> Iterator[None]:
    """Says after an interruption whether the same command goes on."""
    try:
        yield
    except KeyboardInterrupt:
        stored = (directory / "study.db").exists()
        raise KeyboardInterrupt(
            "What is stored is kept; go on with the same command" if stored else "Nothing was begun."
        ) from None


def _tell_objective(settings: EvolveSettings, origin: Origin, directory: Path) -> None:
    """Say so where the comparison is not judged by what the search maximized."""
    if origin.function is None:
        # Nothing that a file names is loaded for this.
        searched, decides = origin.settings.objective, settings.objective
        same = searched.label == decides.label and all(
            getattr(searched, name) == getattr(decides, name) for name in OBJECTIVES.choice(decides.metric).uses
        )
        if not same:
            LOG.warning("the search maximized %s; this comparison tunes and tests by %s", searched.label, decides.label)
    elif directory != origin.file.parent:
        # In the directory of the study, the study says so.
        tell_other_objective(origin.function, Deciding.of(settings.objective))
