"""``lossmith corruption``: what noise and silenced units do to networks trained with some losses."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import tyro
from numpy.typing import NDArray
from rich.table import Table

from lossmith.analysis.contrasts import Contrast, contrasts_with_first
from lossmith.analysis.corruption import (
    INPUT,
    SILENCED,
    WEIGHT,
    check_corruption,
    hidden_layers,
    input_noise,
    silenced_units,
    weight_noise,
)
from lossmith.analysis.corruption import Corruption as Corrupted
from lossmith.analysis.trained import TrainedLoss
from lossmith.cli.console import output
from lossmith.cli.formatting import moments, networks_text, numbers, p_text, spread_text, tests_document, tests_text
from lossmith.cli.trained import Looking, bar, opened, parsed, quarters, trained
from lossmith.data import find_max_pixel
from lossmith.errors import InputError
from lossmith.report import plot_corruption, save_figure
from lossmith.study.evolve import Job
from lossmith.study.trained import Opened

Levels = Annotated[tuple[float, ...], tyro.conf.arg(metavar="FLOAT ...")]
NUMBERS = ("--input-noise", "--weight-noise", "--silenced")
TITLES = {
    INPUT: "Gaussian noise on the inputs, σ {unit}",
    WEIGHT: "Gaussian noise on the weights, in lengths of each filter",
    SILENCED: "Share of the units of each hidden layer silenced",
}


@dataclass(frozen=True)
class Corruption(Looking):
    """Train networks with each loss, corrupt them, and measure accuracy on test data.

    A corruption is Gaussian noise on the inputs, Gaussian noise on the weights relative to the length of each filter,
    or a share of the units of each hidden layer silenced; it is the same for all losses, which also have the same
    initial weights and batches. Every loss is tested against the first. A LOSS is a loss file, a name (cross-entropy,
    mse, baikal, mae, poly:1, focal:2, gce:0.7, label-smoothing:0.1, taylor-ce, paper/allcnnc, paper/mnist; the
    parameters shown are the defaults), or a λ in quotes. For a best.json, data, model and recipe are those of its
    search unless flags say otherwise.

    example:  lossmith corruption cross-entropy study/best.json --input-noise 0.1 0.2 --figure corruption.png
    """

    input_noise: Levels = (0.05, 0.1, 0.2, 0.3)
    """Deviations of the noise on inputs: shares of the white pixel for images, of each feature's own for other data."""
    weight_noise: Levels = (0.1, 0.25, 0.5, 1.0)
    """Lengths of the noise on each filter of the weights, as shares of the filter's own length."""
    silenced: Levels = (0.1, 0.25, 0.5, 0.75)
    """Shares of the units of each hidden layer."""
    draws: int = 3
    """How often each corruption is drawn at random."""


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    given = parsed(Corruption, arguments, "corruption", NUMBERS)
    levels = {INPUT: given.input_noise, WEIGHT: given.weight_noise, SILENCED: given.silenced}
    for kind, values in levels.items():
        check_corruption(kind, values, given.draws)
        if len({f"{level:g}" for level in values}) < len(values):
            raise InputError(f"a level of {kind} is given twice, to six digits; leave one out")
    found = opened(given)
    names = [loss.name for loss in found.losses]
    hidden = bool(hidden_layers(found.job.task.build(given.seed), found.job.task.inputs[:2]))
    kinds = [kind for kind, values in levels.items() if values and (hidden or kind != SILENCED)]
    if not kinds:
        raise InputError("no corruption is given that this network can take; give levels of --input-noise, for example")
    with bar(given) as shown:
        trained_losses, way = trained(found, given, shown)
        results: list[list[Corrupted]] = []
        for number, trained_loss in enumerate(trained_losses):
            results.append([])
            progress = quarters(shown, "damaging", "damaging the networks", number, len(trained_losses))
            for place, kind in enumerate(kinds):
                progress(place / len(kinds))
                results[-1].append(_corrupted(kind, trained_loss, found.job, levels[kind], given))
    contrasts = contrasts_with_first([_measures(one) for one in results])
    unit = _unit(found.job)
    if given.figure is not None:
        save_figure(plot_corruption(results, names, unit), given.figure)
    reason = _why_features(found)
    unmeasured = "" if hidden else "Silenced units are not measured, since the network has no hidden layer."
    if given.json:
        document = {
            **found.described(given.seeds, given.seed, way),
            "draws": given.draws,
            "input_noise_unit": unit,
            "results": [_document(name, one) for name, one in zip(names, results, strict=True)],
            "tests": tests_document(contrasts, names),
            "unmeasured": [] if hidden else [SILENCED],
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    elif not given.quiet:
        console = output()
        for number in range(len(kinds)):
            console.print(_table([one[number] for one in results], names, contrasts, unit))
        tests = tests_text(contrasts, names, "more accurate", "draws").replace("this table", "this command")
        console.print(
            f"Test accuracy in %: mean ± standard deviation of the networks, each averaged over {given.draws} draws. "
            + " ".join(part for part in (tests, unmeasured, reason) if part)
        )
        if given.figure is not None:
            console.print(f"Picture: {given.figure}", soft_wrap=True)


def _corrupted(kind: str, trained_loss: TrainedLoss, job: Job, levels: Sequence[float], given: Corruption) -> Corrupted:
    inputs, targets = job.test()
    if kind == INPUT:
        max_pixel, reference = job.task.max_pixel, job.task.inputs
        return input_noise(trained_loss, inputs, targets, levels, given.draws, given.seed, max_pixel, reference)
    measure = weight_noise if kind == WEIGHT else silenced_units
    return measure(trained_loss, inputs, targets, levels, given.draws, given.seed)


def _why_features(found: Opened) -> str:
    """Why noise on images is not measured in white pixels, if it is not."""
    if found.job.task.max_pixel is not None or len(found.job.source.input_shape) != 3:
        return ""
    try:
        find_max_pixel(found.job.source, found.settings.data)
    except InputError as error:
        return f"The noise is in each feature's standard deviation, since {error}."
    return ""


def _unit(job: Job) -> str:
    return "in each feature's standard deviation" if job.task.max_pixel is None else "for pixels in [0, 1]"


def _measure(kind: str, level: float) -> str:
    return f"{kind} {level:g}"


def _measures(corruptions: Sequence[Corrupted]) -> dict[str, NDArray[np.float64]]:
    """What is tested: a number for each network; at level 0 there is nothing to test."""
    return {
        _measure(corruption.kind, level): corruption.accuracy[:, place].mean(1)
        for corruption in corruptions
        for place, level in enumerate(corruption.levels)
        if level
    }


def _document(name: str, corruptions: Sequence[Corrupted]) -> dict[str, Any]:
    clean = corruptions[0].clean
    return {
        "name": name,
        "diverged": np.isnan(clean).tolist(),
        "test_accuracy": moments(clean),
        "damage": [
            {
                "kind": corruption.kind,
                "level": float(level),
                **moments(corruption.accuracy[:, place].mean(1)),
                "draws": numbers(corruption.accuracy[:, place]),
            }
            for corruption in corruptions
            for place, level in enumerate(corruption.levels)
        ],
    }


def _table(corruptions: Sequence[Corrupted], names: Sequence[str], contrasts: Sequence[Contrast], unit: str) -> Table:
    """One kind of corruption: a row for each loss, and below it the p of its tests."""
    kind, levels = corruptions[0].kind, corruptions[0].levels
    table = Table(title=TITLES[kind].format(unit=unit), title_justify="left")
    table.add_column("loss", overflow="fold")
    table.add_column("networks", justify="right")
    for title in ("none", *(f"{level:g}" for level in levels)):
        table.add_column(title, justify="right")
    for place, (name, corruption) in enumerate(zip(names, corruptions, strict=True)):
        values = [corruption.clean, *corruption.accuracy.mean(2).T]
        table.add_row(name, networks_text(np.isnan(corruption.clean)), *(spread_text(one, 1, 100) for one in values))
        tests = [p_text(contrasts, place, _measure(kind, level)) for level in levels]
        if any(tests):
            table.add_row("", "", "p", *tests)
        table.add_section()
    return table
