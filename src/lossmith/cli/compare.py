"""``lossmith compare``: losses against every tuned baseline."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from lossmith.analysis import baselines
from lossmith.cli.arguments import OptionalDirectory, OptionalNumber, Switch, parse
from lossmith.cli.console import CompareProgress, set_threads
from lossmith.cli.flags import document_of, filled, flags, merged
from lossmith.cli.tables import print_comparison
from lossmith.errors import InputError
from lossmith.losses import Loss, load
from lossmith.report import plot_comparison, save_figure
from lossmith.study import CompareSettings, EvolveSettings, compare_losses
from lossmith.study.comparison import RIVAL, conflicts, settings_of
from lossmith.study.config import validated

REASONS = {
    "data": "with other data or another split, test samples could have been in the search",
    "model": "the loss is worth what it is worth for the network that it was evolved for",
    "recipe": "the learning rate and the number of epochs are tuned for every loss, the rest is the search's recipe",
}
PARTS = ("data", "model", "recipe", "run.training", "run.chunk", "run.device")
if TYPE_CHECKING:
    Settings = Any
    Options = Any
else:
    Settings = Annotated[flags(EvolveSettings, PARTS), tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="")]
    Options = Annotated[flags(CompareSettings), tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="comparison")]


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
    """Directory for the raw runs, comparison.json and figures/; without it, the directory of the first best.json, or
    NAME-comparison for another loss file."""
    options: Options = field(default_factory=flags(CompareSettings))
    settings: Settings = field(default_factory=flags(EvolveSettings, PARTS))
    threads: OptionalNumber = None
    """Threads of PyTorch; without it, PyTorch's own choice."""
    svg: Switch = False
    """Draw the picture as SVG, too."""
    quiet: Switch = False
    """Print nothing but errors."""
    json: Switch = False
    """Print the comparison as JSON, and no progress."""


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    first = parse(Compare, arguments, "compare")
    if not first.losses:
        raise InputError("no loss is given; name a loss file, such as study/best.json")
    losses = _losses(first.losses)
    known = settings_of(first.losses)
    base = known[0] if known else EvolveSettings()
    default = Compare(settings=filled(flags(EvolveSettings, PARTS), base.model_dump(mode="json")))
    given = parse(Compare, arguments, "compare", default)
    settings = merged(base, given.settings)
    options = validated(CompareSettings, document_of(given.options), None)
    changes = conflicts(settings, base) if known else []
    if changes:
        key, wanted, stored = changes[0]
        raise InputError(
            f"{first.losses[0]} was evolved with {key} = {stored!r}, not {wanted!r}; leave that flag out: "
            + REASONS[key.split(".")[0]]
        )
    set_threads(given.threads)
    directory = given.out or (first.losses[0].parent if known else Path(f"{first.losses[0].stem}-comparison"))
    try:
        with CompareProgress(quiet=given.quiet or given.json) as progress:
            comparison = compare_losses(
                losses, settings, directory, options, digest=known[1] if known else None, report=progress.report
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("What is stored is kept; go on with the same command") from None
    pictures = [directory / "figures" / f"comparison.{kind}" for kind in (("png", "svg") if given.svg else ("png",))]
    for path in pictures:
        save_figure(plot_comparison(comparison), path)
    if given.json:
        sys.stdout.write(json.dumps(comparison.to_json(), indent=2) + "\n")
    elif not given.quiet:
        print_comparison(comparison, settings.data.label_noise)
        if not known:
            sys.stdout.write(
                f"\nNote:      {first.losses[0]} does not say what it was evolved on; see to it that no test sample "
                "was in its search\n"
            )
        sys.stdout.write(f"\nRaw runs:  {directory / 'comparison.json'}\nPicture:   {pictures[0]}\n")


def _losses(paths: Sequence[Path]) -> dict[str, Loss]:
    """Losses by the name that tables call them: their own, or their file's where it is taken, by a baseline too."""
    loaded = [(path, load(path)) for path in paths]
    names = [*(loss.name for _, loss in loaded), *(family.name for family in baselines()), RIVAL]
    return {loss.name if names.count(loss.name) == 1 else str(path): loss for path, loss in loaded}
