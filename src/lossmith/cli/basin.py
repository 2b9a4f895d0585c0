"""``lossmith basin``: how flat the minima are that losses lead to."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from lossmith import report
from lossmith.analysis import EIGENVALUE, WIDTHS, Walking, check_slices
from lossmith.analysis import Basin as Slices
from lossmith.cli.console import output
from lossmith.cli.formatting import networks_text, p_text, spread_text, tests_text
from lossmith.cli.trained import Looking, check_number, looked_at, opened, parsed
from lossmith.metrics import Contrast, contrasts_with_first, to_lists


@dataclass(frozen=True)
class Basin(Looking):
    """Train networks with each loss, and walk away from them in random directions: how fast does test accuracy fall?

    Each direction is scaled filter by filter to the network (Li et al., 2018). All losses get the same Gaussian
    directions, initial weights and batches, and each is tested against the first. The largest eigenvalue of the Hessian
    of the cross-entropy is a second measure. Data, model and recipe are those of the search of a best.json, unless
    flags say otherwise.

    {losses}

    example:  lossmith basin cross-entropy study/best.json --figure basin.png
    """

    directions: int = 3
    """Random directions, the same for every network."""
    points: int = 51
    """Steps along each direction, from -1 to 1; an odd number, so that the network itself is one of them."""
    hessian_samples: int = 1000
    """Test samples for the eigenvalue, drawn at random if there are more; 0 leaves it out."""


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    given = parsed(Basin, arguments, "basin")
    for name, value, most in (("--directions", given.directions, 1000), ("--points", given.points, 10_001)):
        check_number(name, value, None, most)
    check_number("--hessian-samples", given.hessian_samples, None)
    check_slices(given.directions, given.points, given.hessian_samples)
    with opened(given) as found:
        inputs, targets = found.problem.test()
        look = Walking(inputs, targets, given.directions, given.points, given.seed, given.hessian_samples)
        results, backend = looked_at(found, given, "basin", look, "training and walking away from the networks")
    names = [loss.name for loss in found.losses]
    contrasts = contrasts_with_first([one.measures() for one in results], lower={EIGENVALUE})
    if given.json:
        document = {
            **found.described(given.seeds, given.seed, backend),
            "directions": given.directions,
            "hessian_samples": min(given.hessian_samples, len(targets)),
            "samples": len(targets),
            "t": to_lists(results[0].t),
            "results": [{"name": name, **one.figures()} for name, one in zip(names, results, strict=True)],
            "tests": [one.to_json(names) for one in contrasts],
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    elif not given.quiet:
        console = output()
        console.print(_table(results, names, contrasts))
        console.print(_caption(results, names, contrasts, len(targets)))
    # The last of all: what was computed is told first, whatever happens to the picture.
    if given.figure is not None:
        report.save_figure(report.plot_basin(results, names), given.figure)
        if not (given.json or given.quiet):
            output().print(f"Picture: {given.figure}", soft_wrap=True)


def _table(results: Sequence[Slices], names: Sequence[str], contrasts: Sequence[Contrast]) -> Table:
    tested = bool(contrasts)
    table = Table(title="Basins", title_justify="left")
    table.add_column("loss", overflow="fold")
    for title in ("networks", "test accuracy, %"):
        table.add_column(title, justify="right")
    for title in (*WIDTHS.values(), EIGENVALUE):
        table.add_column(title, justify="right")
        if tested:
            table.add_column("p", justify="right", no_wrap=True)
    for place, (name, one) in enumerate(zip(names, results, strict=True)):
        cells = [networks_text(one.diverged), spread_text(one.clean, 1, 100)]
        for measure, text in [
            *((title, _width_text(one, share)) for share, title in WIDTHS.items()),
            (EIGENVALUE, spread_text(one.eigenvalue)),
        ]:
            cells += [text, p_text(contrasts, place, measure)] if tested else [text]
        table.add_row(name, *cells)
    return table


def _width_text(one: Slices, share: float) -> str:
    lengths, capped = one.width(share)
    text = spread_text(lengths.mean(1))
    return f"≥ {text} [{capped.sum()}/{np.isfinite(lengths).sum()}]" if capped.any() else text


def _caption(results: Sequence[Slices], names: Sequence[str], contrasts: Sequence[Contrast], samples: int) -> str:
    sentences = [
        f"On {samples} test samples. Width: how far accuracy stays at 99 % or 90 % of the top accuracy of its slice, "
        "in lengths of each filter; at most 2. A network that has learned little is flat, too: see its accuracy. Mean "
        f"± standard deviation of the networks, each averaged over {results[0].accuracy.shape[1]} directions."
    ]
    if any(one.width(share)[1].any() for one in results for share in WIDTHS):
        sentences.append("≥ … [i/n]: in i of the n slices, accuracy has not fallen so far at an end of the slice.")
    if any(np.isfinite(one.eigenvalue).any() for one in results):
        sentences.append("Eigenvalue: of the Hessian of the cross-entropy, by power iteration; less is flatter.")
    unsettled = {
        name: int((~one.converged & np.isfinite(one.eigenvalue)).sum())
        for name, one in zip(names, results, strict=True)
    }
    if any(unsettled.values()):
        counts = ", ".join(f"{name} {count}" for name, count in unsettled.items() if count)
        sentences.append(f"Networks whose power iteration had not settled: {counts}.")
    tests = tests_text(contrasts, names, "flatter", "directions")
    return " ".join([*sentences, tests] if tests else sentences)
