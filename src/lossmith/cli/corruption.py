"""``lossmith corruption``: what noise and silenced units do to networks trained with some losses."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import tyro
from rich.table import Table
from torch import Tensor

from lossmith import report
from lossmith.analysis import (
    INPUT,
    SILENCED,
    WEIGHT,
    Corrupting,
    check_corruption,
    corruption_document,
    corruption_measure,
    hidden_layers,
)
from lossmith.analysis import Corruption as Corrupted
from lossmith.cli.console import output
from lossmith.cli.formatting import networks_text, p_text, spread_text, tests_text
from lossmith.cli.trained import Looking, check_number, looked_at, opened, parsed
from lossmith.data import find_max_pixel, has_ids
from lossmith.errors import InputError
from lossmith.metrics import Contrast, contrasts_with_first
from lossmith.study import Analysis, Problem

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
    or a share of the units of each hidden layer that are silenced. All losses get the same corruptions, initial weights
    and batches, and each is tested against the first. Data, model and recipe are those of the search of a best.json,
    unless flags say otherwise.

    {losses}

    example:  lossmith corruption cross-entropy study/best.json --input-noise 0.1 0.2 --figure corruption.png
    """

    input_noise: Levels = (0.05, 0.1, 0.2, 0.3)
    """Deviations of the noise on inputs: as shares of a white pixel, or of the deviation of each feature."""
    weight_noise: Levels = (0.1, 0.25, 0.5, 1.0)
    """Lengths of the noise on the weights of each filter, as shares of the length of the filter."""
    silenced: Levels = (0.1, 0.25, 0.5, 0.75)
    """Shares of the units of each hidden layer that are silenced."""
    draws: int = 3
    """How often each corruption is drawn at random."""


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    given = parsed(Corruption, arguments, "corruption", NUMBERS)
    check_number("--draws", given.draws, None, 1000)
    levels = {INPUT: given.input_noise, WEIGHT: given.weight_noise, SILENCED: given.silenced}
    for kind, values in levels.items():
        check_corruption(kind, values, given.draws)
        if len({f"{level:g}" for level in values}) < len(values):
            raise InputError(f"a level of {kind} is given twice, to six digits; leave one out")
    with opened(given) as found:
        problem = found.problem
        hidden = bool(hidden_layers(problem.task.build(given.seed), problem.task.inputs[:2]))
        unmeasured = _unmeasured(hidden, problem.task.inputs)
        wanted = {kind: values for kind, values in levels.items() if values and kind not in unmeasured}
        if not wanted:
            raise InputError(
                "no corruption is given that this network can take; give levels of --input-noise, for example"
            )
        inputs, targets = problem.test()
        max_pixel, reference = problem.task.max_pixel, problem.task.inputs
        look = Corrupting(inputs, targets, wanted, given.draws, given.seed, max_pixel, reference)
        results, backend = looked_at(found, given, "corruption", look, "training and corrupting")
    names = [loss.name for loss in found.losses]
    contrasts = contrasts_with_first(
        [{key: mean for one in kinds_of_loss for key, mean in one.measures().items()} for kinds_of_loss in results]
    )
    unit = _unit(found.problem)
    reason = _why_features(found)
    if given.json:
        document = {
            **found.described(given.seeds, given.seed, backend),
            "draws": given.draws,
            "input_noise_unit": unit,
            "results": [{"name": name, **corruption_document(one)} for name, one in zip(names, results, strict=True)],
            "tests": [one.to_json(names) for one in contrasts],
            "unmeasured": list(unmeasured),
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    elif not given.quiet:
        console = output()
        for number in range(len(wanted)):
            console.print(_table([one[number] for one in results], names, contrasts, unit))
        tests = tests_text(contrasts, names, "more accurate", "draws").replace("this table", "this command")
        console.print(
            f"Test accuracy in %: mean ± standard deviation of the networks, each averaged over {given.draws} draws. "
            + " ".join(part for part in (tests, *unmeasured.values(), reason) if part)
        )
    # The last of all: what was computed is told first, whatever happens to the picture.
    if given.figure is not None:
        report.save_figure(report.plot_corruption(results, names, unit), given.figure)
        if not (given.json or given.quiet):
            output().print(f"Picture: {given.figure}", soft_wrap=True)


def _unmeasured(hidden: bool, inputs: Tensor) -> dict[str, str]:
    """What this network and data cannot take, and why."""
    reasons = {
        INPUT: "Input noise is measured neither of token ids nor of dicts of tensors." if has_ids(inputs) else "",
        SILENCED: "" if hidden else "Silenced units are not measured, since the network has no hidden layer.",
    }
    return {kind: reason for kind, reason in reasons.items() if reason}


def _why_features(found: Analysis) -> str:
    """Why noise on images is not measured in white pixels, if it is not."""
    if found.problem.task.max_pixel is not None or found.problem.source.kind != "image":
        return ""
    try:
        find_max_pixel(found.problem.source, found.settings.data)
    except InputError as error:
        return f"The noise is in each feature's standard deviation, since {error}."
    return ""


def _unit(job: Problem) -> str:
    return "in each feature's standard deviation" if job.task.max_pixel is None else "for pixels in [0, 1]"


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
        tests = [p_text(contrasts, place, corruption_measure(kind, level)) for level in levels]
        if any(tests):
            table.add_row("", "", "p", *tests)
        table.add_section()
    return table
