"""``lossmith damage``: what noise and silenced units do to networks trained with some losses."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from lossmith.cli.console import Bar, output
from lossmith.cli.spreads import moments, networks_text, numbers, p_text, spread_text, tests_document, tests_text
from lossmith.cli.subjects import Looking, Opened, described, opened, parsed, trained
from lossmith.data import pixel_white
from lossmith.errors import InputError
from lossmith.evaluation.against import Contrast, against_first
from lossmith.evaluation.damage import (
    INPUT,
    SILENCED,
    WEIGHT,
    check_damage,
    hidden_layers,
    input_noise,
    silenced_units,
    weight_noise,
)
from lossmith.evaluation.damage import Damage as Damaged
from lossmith.evaluation.subjects import Subject
from lossmith.report import save_figure
from lossmith.report.minima import plot_damage
from lossmith.study.evolve import Job

NUMBERS = ("--input-noise", "--weight-noise", "--silenced")
TITLES = {
    INPUT: "Gaussian noise on the inputs, σ {unit}",
    WEIGHT: "Gaussian noise on the weights, in lengths of each filter",
    SILENCED: "Share of the units of each hidden layer silenced",
}


@dataclass(frozen=True)
class Damage(Looking):
    """Train networks with each loss, damage them, and measure accuracy on test data.

    Damage is Gaussian noise on the inputs, Gaussian noise on the weights relative to the length of each filter, or a
    share of the units of each hidden layer silenced; the same for all losses, which also have the same initial weights
    and batches. Every loss is tested against the first. A LOSS is a loss file, a name (cross-entropy, mse, baikal,
    mae, poly:1, focal:2, gce:0.7, label-smoothing:0.1, taylor-ce, paper/allcnnc, paper/mnist; the parameters shown are
    the defaults), or a λ in quotes. For a best.json, data, model and recipe are those of its search unless flags say
    otherwise.

    example:  lossmith damage cross-entropy study/best.json --input-noise 0.1 0.2 --figure damage.png
    """

    input_noise: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3)
    """Standard deviations of the noise on inputs: shares of the white pixel for images, of each feature's own standard
    deviation for other data."""
    weight_noise: tuple[float, ...] = (0.1, 0.25, 0.5, 1.0)
    """Lengths of the noise on each filter of the weights, as shares of the filter's own length."""
    silenced: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75)
    """Shares of the units of each hidden layer."""
    draws: int = 3
    """How often each damage is drawn at random."""


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    given = parsed(Damage, arguments, "damage", NUMBERS)
    levels = {INPUT: given.input_noise, WEIGHT: given.weight_noise, SILENCED: given.silenced}
    for kind, values in levels.items():
        check_damage(kind, values, given.draws)
        if len({f"{level:g}" for level in values}) < len(values):
            raise InputError(f"a level of {kind} is given twice, to six digits; leave one out")
    found = opened(given)
    names = [loss.name for loss in found.losses]
    hidden = bool(hidden_layers(found.job.task.build(given.seed), found.job.task.inputs[:2]))
    kinds = [kind for kind, values in levels.items() if values and (hidden or kind != SILENCED)]
    if not kinds:
        raise InputError("no damage is given that this network can take; give levels of --input-noise, for example")
    with Bar(quiet=given.quiet or given.json) as bar:
        subjects, way = trained(found, given, bar)
        results: list[list[Damaged]] = []
        for number, subject in enumerate(subjects):
            results.append([])
            for place, kind in enumerate(kinds):
                done = (number + place / len(kinds)) / len(subjects)
                bar.show("damaging", done, line=f"damaging the networks, {int(4 * done) * 25} %")
                results[-1].append(_damaged(kind, subject, found.job, levels[kind], given))
    contrasts = against_first([_measures(one) for one in results])
    unit = _unit(found.job)
    if given.figure is not None:
        save_figure(plot_damage(results, names, unit), given.figure)
    reason = _why_features(found)
    unmeasured = "" if hidden else "Silenced units are not measured, since the network has no hidden layer."
    if given.json:
        document = {
            **described(found, given, way),
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


def _damaged(kind: str, subject: Subject, job: Job, levels: Sequence[float], given: Damage) -> Damaged:
    inputs, targets = job.test()
    if kind == INPUT:
        white, reference = job.task.white, job.task.inputs
        return input_noise(subject, inputs, targets, levels, given.draws, given.seed, white, reference)
    measure = weight_noise if kind == WEIGHT else silenced_units
    return measure(subject, inputs, targets, levels, given.draws, given.seed)


def _why_features(found: Opened) -> str:
    """Why noise on images is not measured in white pixels, if it is not."""
    if found.job.task.white is not None or len(found.job.source.input_shape) != 3:
        return ""
    try:
        pixel_white(found.job.source, found.settings.data)
    except InputError as error:
        return f"The noise is in each feature's standard deviation, since {error}."
    return ""


def _unit(job: Job) -> str:
    return "in each feature's standard deviation" if job.task.white is None else "for pixels in [0, 1]"


def _measure(kind: str, level: float) -> str:
    return f"{kind} {level:g}"


def _measures(damages: Sequence[Damaged]) -> dict[str, NDArray[np.float64]]:
    """What is tested: a number for each network; at level 0 there is no damage to test."""
    return {
        _measure(damage.kind, level): damage.accuracy[:, place].mean(1)
        for damage in damages
        for place, level in enumerate(damage.levels)
        if level
    }


def _document(name: str, damages: Sequence[Damaged]) -> dict[str, Any]:
    clean = damages[0].clean
    return {
        "name": name,
        "diverged": np.isnan(clean).tolist(),
        "test_accuracy": moments(clean),
        "damage": [
            {
                "kind": damage.kind,
                "level": float(level),
                **moments(damage.accuracy[:, place].mean(1)),
                "draws": numbers(damage.accuracy[:, place]),
            }
            for damage in damages
            for place, level in enumerate(damage.levels)
        ],
    }


def _table(damages: Sequence[Damaged], names: Sequence[str], contrasts: Sequence[Contrast], unit: str) -> Table:
    """One kind of damage: a row for each loss, and below it the p of its tests."""
    kind, levels = damages[0].kind, damages[0].levels
    table = Table(title=TITLES[kind].format(unit=unit), title_justify="left")
    table.add_column("loss", overflow="fold")
    table.add_column("networks", justify="right")
    for title in ("none", *(f"{level:g}" for level in levels)):
        table.add_column(title, justify="right")
    for place, (name, damage) in enumerate(zip(names, damages, strict=True)):
        values = [damage.clean, *damage.accuracy.mean(2).T]
        table.add_row(name, networks_text(np.isnan(damage.clean)), *(spread_text(one, 1, 100) for one in values))
        tests = [p_text(contrasts, place, _measure(kind, level)) for level in levels]
        if any(tests):
            table.add_row("", "", "p", *tests)
        table.add_section()
    return table
