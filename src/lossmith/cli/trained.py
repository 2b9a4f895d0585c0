"""What the commands share that train networks with some losses and then look at these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import torch
import tyro

from lossmith.analysis.trained import TrainedLoss, train_loss
from lossmith.cli.arguments import OptionalFile, OptionalNumber, Switch, bracketed, parse, values_last
from lossmith.cli.console import Bar, set_threads
from lossmith.cli.flags import filled, flags, merged
from lossmith.errors import InputError
from lossmith.losses import NAMES, Loss, cross_entropy, find_all, loss_file
from lossmith.report.figures import checked_kind
from lossmith.seeds import derive
from lossmith.study import EvolveSettings
from lossmith.study.comparison import settings_of
from lossmith.study.problem import Problem
from lossmith.training import Backend, Trainer, choose_backend, repeated

PARTS = ("data", "model", "recipe", "run.training", "run.device")
NUMBERS = ("--hidden", "--milestones")
if TYPE_CHECKING:
    Settings = Any
else:
    Settings = Annotated[flags(EvolveSettings, PARTS), tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class Looking:
    """Flags of a command that trains networks and looks at them on test data."""

    losses: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="LOSS ...", help_behavior_hint="")
    ] = ()
    """What is looked at."""
    seeds: int = 10
    """Networks trained with each loss; the same initial weights and batches for every loss."""
    seed: int = 0
    """Seed of initial weights, batches, and whatever is drawn at random."""
    settings: Settings = field(default_factory=flags(EvolveSettings, PARTS))
    threads: OptionalNumber = None
    """Threads of PyTorch; without it, PyTorch's own choice."""
    figure: OptionalFile = None
    """Draw a picture, too: PNG, SVG or PDF by the ending."""
    quiet: Switch = False
    """Print nothing but errors."""
    json: Switch = False
    """Print the figures as JSON, and no progress."""


Command = TypeVar("Command", bound=Looking)


@dataclass(frozen=True)
class Opened:
    """The data, network and losses of a command."""

    job: Problem
    losses: list[Loss]
    settings: EvolveSettings


def parsed(
    command: type[Command],
    arguments: Sequence[str],
    name: str,
    numbers: Sequence[str] = (),
    words: Mapping[str, Sequence[str]] | None = None,
) -> Command:
    """The command of some arguments; settings that no flag gives are those of the best.json among the losses.

    Args:
        command: The command.
        arguments: Its words.
        name: What it is called.
        numbers: Flags of its own that take several numbers.
        words: Flags of its own that take several words, and these words.

    Raises:
        InputError: if there is no loss, two files disagree, or a number cannot be used.
    """
    ordered = values_last([bracketed(word) for word in arguments], (*NUMBERS, *numbers), words)
    first = parse(command, ordered, name)
    if not first.losses:
        raise InputError(f"no loss is given; name a loss file, λ, or one of {', '.join(NAMES)}")
    base = base_settings(first.losses)
    default = replace(command(), settings=filled(flags(EvolveSettings, PARTS), base.model_dump(mode="json")))
    given = parse(command, ordered, name, default)
    if given.seeds < 1:
        raise InputError(f"--seeds is {given.seeds}; it must be at least 1")
    if given.figure is not None:
        checked_kind(given.figure)
        if not given.figure.parent.is_dir():
            raise InputError(f"{given.figure.parent} is no directory, so the picture has no place; make it first")
    return given


def base_settings(texts: Sequence[str]) -> EvolveSettings:
    """Settings that the best.json files among some losses were evolved with, or the defaults."""
    known = settings_of([file for file in map(loss_file, texts) if file is not None])
    return EvolveSettings() if known is None else known[0]


def opened(given: Looking) -> Opened:
    """The data, network and losses, all checked."""
    settings = merged(base_settings(given.losses), given.settings)
    set_threads(given.threads)
    with Bar(quiet=given.quiet or given.json):
        job = Problem.open(settings)
    return Opened(job, find_all(given.losses, job.classes), settings)


def trained(found: Opened, given: Looking, bar: Bar) -> tuple[list[TrainedLoss], Backend]:
    """The networks of each loss, and how they were run."""
    job, settings = found.job, found.settings
    seeds = [derive(given.seed, "networks", number) for number in range(given.seeds)]
    if settings.run.training == "auto":
        bar.show("measuring", 0.0, line="measuring which way of training is faster")
    trainer, population = Trainer(job.task), repeated(Loss.stack([cross_entropy()]), len(seeds))
    batches = settings.recipe.total_steps(len(job.task.inputs)) * len(found.losses)
    backend = choose_backend(settings.run.training, trainer, population, seeds, settings.recipe, batches)
    trained_losses = []
    for number, loss in enumerate(found.losses):

        def progress(share: float, number: int = number) -> None:
            done = (number + share) / len(found.losses)
            bar.show("training", done, line=f"training, {int(4 * done) * 25} %")

        progress(0.0)
        trained_losses.append(train_loss(trainer, loss.name, loss, seeds, settings.recipe, backend, progress))
    return trained_losses, backend


def described(found: Opened, given: Looking, backend: Backend) -> dict[str, Any]:
    """What stands behind the figures, for JSON."""
    document = found.settings.model_dump(mode="json", include={"data": True, "model": True, "recipe": True})
    document["data"]["source"] = Path(found.settings.data.source).name
    return {
        "settings": document,
        "seed": given.seed,
        "seeds": given.seeds,
        "training": str(backend),
        "device": found.settings.run.device,
        "versions": {"lossmith": version("lossmith"), "torch": torch.__version__},
        "losses": [{"name": loss.name, "loss": loss.to_json()} for loss in found.losses],
    }
