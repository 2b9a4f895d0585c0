"""``lossmith trace``: the attraction of single samples during a training."""

import io
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
import tyro
from rich.table import Table

from lossmith.analysis import FORMS, Trace, trace
from lossmith.cli.arguments import OptionalDirectory, OptionalNumber, Switch, bracketed, parse, values_last
from lossmith.cli.console import Bar, output, set_threads
from lossmith.cli.flags import filled, flags, merged
from lossmith.cli.trained import base_settings
from lossmith.errors import InputError
from lossmith.io import write_json, write_whole
from lossmith.losses import NAMES, Loss, find_all
from lossmith.report import plot_trace, save_figures
from lossmith.study import EvolveSettings
from lossmith.study.evolve import Job
from lossmith.training import Way, choose_way

PARTS = ("data", "model", "recipe", "run.training", "run.device")
if TYPE_CHECKING:
    Settings = Any
else:
    Settings = Annotated[flags(EvolveSettings, PARTS), tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class TraceLosses:
    """Train a network with each loss and watch how hard each training sample is pulled towards its label, or pushed.

    All losses have the same initial weights and batches. A LOSS is a loss file, a name (cross-entropy, mse, baikal,
    mae, poly:1, focal:2, gce:0.7, label-smoothing:0.1, taylor-ce, paper/allcnnc, paper/mnist; the parameters shown are
    the defaults), or a λ in quotes. For a best.json, data, model and recipe are those of its search unless flags say
    otherwise. Writes trace.json, trace.npz (every strength) and figures/trace.png.

    example:  lossmith trace cross-entropy study/best.json --out trace
    """

    losses: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="LOSS ...", help_behavior_hint="")
    ] = ()
    """What is traced."""
    out: OptionalDirectory = None
    """Directory for the data and the picture (default: trace); an earlier trace there is replaced."""
    samples: Annotated[int | Literal["all"], tyro.conf.arg(metavar="INT|all")] = 500
    """Training samples drawn anew in each epoch, or all of them every time."""
    seed: int = 0
    """Seed of initial weights, batches, and the choice of samples."""
    settings: Settings = field(default_factory=flags(EvolveSettings, PARTS))
    threads: OptionalNumber = None
    """Threads of PyTorch; without it, PyTorch's own choice."""
    svg: Switch = False
    """Draw the picture as SVG, too."""
    quiet: Switch = False
    """Print nothing but errors."""
    json: Switch = False
    """Print the summary as JSON, and no progress."""


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    words = values_last([bracketed(word) for word in arguments], ("--hidden", "--milestones"))
    first = parse(TraceLosses, words, "trace")
    if not first.losses:
        raise InputError(f"no loss is given; name a loss file, λ, or one of {', '.join(NAMES)}")
    base = base_settings(first.losses)
    default = TraceLosses(settings=filled(flags(EvolveSettings, PARTS), base.model_dump(mode="json")))
    given = parse(TraceLosses, words, "trace", default)
    settings = merged(base, given.settings)
    if given.samples != "all" and given.samples < 1:
        raise InputError(f"--samples is {given.samples}; give a number from 1, or all")
    set_threads(given.threads)
    directory = given.out or Path("trace")
    pictures = [directory / "figures" / f"trace.{kind}" for kind in (("png", "svg") if given.svg else ("png",))]
    _check_places([directory / "trace.npz", directory / "trace.json", *pictures])
    with Bar(quiet=given.quiet or given.json):
        job = Job.open(settings)
    losses = find_all(given.losses, job.classes)
    names = [loss.name for loss in losses]
    try:
        with Bar(quiet=given.quiet or given.json) as bar:
            found, way = _trace(job, losses, settings, given, bar)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("A trace is written at its end, so nothing was written.") from None
    summary = _summary(found, losses, settings, given, way)
    directory.mkdir(parents=True, exist_ok=True)
    save_figures({path: plot_trace(found, names) for path in pictures})
    write_whole(_packed(found, names), directory / "trace.npz")
    write_json(summary, directory / "trace.json")
    if given.json:
        sys.stdout.write(json.dumps(summary, indent=2) + "\n")
    elif not given.quiet:
        console = output()
        console.print(_table(found, names))
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


def _trace(
    job: Job, losses: Sequence[Loss], settings: EvolveSettings, given: TraceLosses, bar: Bar
) -> tuple[Trace, Way]:
    population, recipe = Loss.stack(losses), settings.recipe
    way: Way | Literal["auto"] = settings.run.training
    if way == "auto":
        batches = recipe.total_steps(len(job.task.inputs))
        way = choose_way(job.task, population, [given.seed] * len(losses), recipe, batches).way

    def progress(share: float) -> None:
        bar.show("training", share, line=f"training, {int(4 * share) * 25} %")

    progress(0.0)
    samples = None if given.samples == "all" else given.samples
    return trace(job.task, population, given.seed, recipe, way, samples, progress), way


def _packed(found: Trace, names: Sequence[str]) -> bytes:
    """All arrays of a trace, and the names of the losses, as an .npz file."""
    file = io.BytesIO()
    arrays = {name: getattr(found, name) for name in ("samples", "output", *FORMS, "accuracy")}
    np.savez_compressed(file, allow_pickle=False, losses=np.array(names), **arrays)
    return file.getvalue()


def _summary(
    found: Trace, losses: Sequence[Loss], settings: EvolveSettings, given: TraceLosses, way: Way
) -> dict[str, Any]:
    document = settings.model_dump(mode="json", include={"data": True, "model": True, "recipe": True})
    document["data"]["source"] = Path(settings.data.source).name
    return {
        "settings": document,
        "seed": given.seed,
        "samples": found.samples.shape[1],
        "training": way,
        "device": settings.run.device,
        "threads": torch.get_num_threads(),
        "versions": {"lossmith": version("lossmith"), "torch": torch.__version__},
        "losses": [
            {
                "name": loss.name,
                "loss": loss.to_json(),
                "repelled": {form: _numbers(found.repelled(form)[row]) for form in FORMS},
                "mean_strength": {form: _numbers(found.strength(form)[row].mean(-1, dtype=float)) for form in FORMS},
                "accuracy": _numbers(found.accuracy[row]),
            }
            for row, loss in enumerate(losses)
        ],
    }


def _numbers(values: Any) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _table(found: Trace, names: Sequence[str]) -> Table:
    last = found.accuracy.shape[1] - 1
    epochs = sorted({0, 1, round(last / 4), round(last / 2), last})
    table = Table(title="Share of repelled samples", title_justify="left")
    table.add_column("loss")
    table.add_column("")
    for epoch in epochs:
        table.add_column("before" if epoch == 0 else f"epoch {epoch}", justify="right")
    for row, name in enumerate(names):
        for title, values in [
            *((form if form != "published" else "as published", found.repelled(form)[row]) for form in FORMS),
            ("accuracy", found.accuracy[row]),
        ]:
            cells = ["diverged" if np.isnan(values[epoch]) else f"{values[epoch]:.1%}" for epoch in epochs]
            table.add_row(name if title == FORMS[0] else "", title, *cells)
        table.add_section()
    return table
