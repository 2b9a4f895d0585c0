"""``lossmith evolve``: search, finalists, winner, pictures."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from lossmith.analysis import ObjectiveSettings
from lossmith.cli.arguments import OptionalDirectory, OptionalNumber, Switch, parse
from lossmith.cli.console import SearchProgress, set_threads
from lossmith.cli.flags import at_absolute_place, document_of, filled, flags, settings_document
from lossmith.cli.tables import conclude_search
from lossmith.errors import InputError
from lossmith.losses import cross_entropy
from lossmith.report import loss_shape, plot_history, plot_losses, plot_pareto, save_figure, search_history
from lossmith.study import EvolveSettings, Outcome, evolve
from lossmith.study.config import validated
from lossmith.study.pareto import has_pareto, read_pareto
from lossmith.study.store import Store
from lossmith.training import Recipe

if TYPE_CHECKING:
    Settings = Any
else:
    Settings = Annotated[flags(EvolveSettings), tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class Evolve:
    """Search a loss for a network on data by CMA-ES, train the finalists again, and write the winner.

    DIR then holds study.toml (the settings), study.db (every candidate), best.json (the winner) and figures/. Run again
    on the same DIR it goes on where it stopped; flags that are not given come from its study.toml, and --generations
    makes an ended study longer.

    example:  lossmith evolve --out study --data digits --train-size 800 --label-noise 0.4 --epochs 30 --replicates 3
    """

    study: Annotated[
        Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[STUDY.toml]", help_behavior_hint="")
    ] = None
    """A study file (TOML) with settings; flags change single ones."""
    out: OptionalDirectory = None
    """Directory of the study; without it, the study file's name less .toml."""
    settings: Settings = field(default_factory=flags(EvolveSettings))
    threads: OptionalNumber = None
    """Threads of PyTorch; without it, PyTorch's own choice."""
    svg: Switch = False
    """Draw the pictures as SVG, too."""
    quiet: Switch = False
    """Print nothing but errors."""
    json: Switch = False
    """Print the outcome as JSON, and no progress."""


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    directory, file = _places(parse(Evolve, arguments, "evolve"))
    document = EvolveSettings().model_dump(mode="json") if file is None else settings_document(file)
    given = parse(Evolve, arguments, "evolve", Evolve(settings=filled(flags(EvolveSettings), document)))
    settings = at_absolute_place(validated(EvolveSettings, document_of(given.settings), None))
    _check_idle(settings)
    set_threads(given.threads)
    try:
        with SearchProgress(quiet=given.quiet or given.json) as progress:
            outcome = evolve(directory, settings, report=progress.report)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"What is stored is kept; go on with: lossmith evolve --out {directory}") from None
    pictures = draw(directory, outcome, ("png", "svg") if given.svg else ("png",))
    if given.json:
        summary = {"best": str(directory / "best.json"), "provenance": outcome.provenance, "seconds": outcome.seconds}
        sys.stdout.write(json.dumps(summary, indent=2) + "\n")
    elif not given.quiet:
        conclude_search(directory, outcome, pictures)


def draw(directory: Path, outcome: Outcome, kinds: Sequence[str]) -> list[Path]:
    """Draw the history of the search and the winner beside cross-entropy."""
    with Store(directory, readonly=True) as store:
        history = search_history(store.candidates(), store.finalists("final"))
    shapes = [loss_shape(loss, outcome.classes) for loss in (cross_entropy(), outcome.loss)]
    drawn = {"history": plot_history(history), "loss": plot_losses(shapes)}
    if has_pareto(directory):
        found = read_pareto(directory)
        best = [tuple(row["figures"].values()) for row in found["front"]]
        drawn["pareto"] = plot_pareto(found["candidates"], best, found["finalists"], found["figures"])
    paths = [directory / "figures" / f"{name}.{kind}" for name in drawn for kind in kinds]
    for path in paths:
        save_figure(drawn[path.stem], path)
    return paths


def _check_idle(settings: EvolveSettings) -> None:
    """Refuse settings of attacks that would have no effect.

    Raises:
        InputError: naming the first.
    """
    objective, recipe = settings.objective, settings.recipe
    usual, plain = ObjectiveSettings(), Recipe()
    idle = {
        "--epsilon": not objective.is_attacked and objective.epsilon != usual.epsilon,
        "--gradient": not objective.is_attacked and objective.gradient != usual.gradient,
        "--weight": objective.metric != "weighted" and objective.weight != usual.weight,
        "--adversary-epsilon": recipe.adversary == "none" and recipe.adversary_epsilon != plain.adversary_epsilon,
        "--adversary-steps": recipe.adversary != "pgd" and recipe.adversary_steps != plain.adversary_steps,
    }
    for flag, useless in idle.items():
        if useless:
            wanted = "--adversary" if flag.startswith("--adversary") else "--objective robust-accuracy or weighted"
            raise InputError(f"{flag} has no effect here; leave it out, or add {wanted}")


def _places(given: Evolve) -> tuple[Path, Path | None]:
    """The study's directory, and the file that its settings come from."""
    file: Path | None = given.study
    directory: Path | None = given.out
    if file is not None and file.is_dir():
        raise InputError(f"{file} is a directory; go on with a study by lossmith evolve --out {file}")
    if directory is None:
        if file is None:
            raise InputError("no directory is given; add --out DIR (it is made if it is not there)")
        directory = file.parent if (file.parent / "study.db").exists() else file.with_suffix("")
    stored = directory / "study.toml"
    return directory, stored if file is None and stored.exists() else file
