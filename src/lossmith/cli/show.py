"""``lossmith show``: where a study stands."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.table import Table

from lossmith import report
from lossmith.analysis import Deciding
from lossmith.cli.arguments import OptionalDirectory, Switch, parse
from lossmith.cli.console import output
from lossmith.cli.flags import modern
from lossmith.cli.tables import attack_text, finalists_table
from lossmith.errors import printable
from lossmith.study import data_line, export_pareto, read_pareto


@dataclass(frozen=True)
class Show:
    """Say where a study stands: its settings, candidates, finalists and winner, also while it runs.

    example:  lossmith show study
    """

    directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """Directory of the study."""
    pareto: OptionalDirectory = None
    """Write the candidates that no other one beats in all recorded figures to this directory, as loss files."""
    json: Switch = False
    """Print it as JSON."""


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    given = parse(Show, modern(arguments), "show")
    summary = report.summarize(given.directory)
    if given.pareto is not None:
        summary["front"] = [str(path) for path in export_pareto(given.directory, given.pareto)]
    if given.json:
        sys.stdout.write(json.dumps(summary, indent=2) + "\n")
        return
    console, by = output(), Deciding(**summary["metric"])
    console.print(f"Study {given.directory}: {summary['state']}")
    for part, settings in (summary["settings"] or {}).items():
        if isinstance(settings, dict):
            values = ", ".join(f"{key} {value}" for key, value in settings.items() if value is not None)
            console.print(printable(f"{part}: {values}"))
    if summary["data"]:
        console.print(data_line(summary["data"]))
    if summary["tuning"] is not None:
        swept = "lr" in summary["tuning"]
        rate = f"; the search trains with lr {summary['tuning']['lr']:g}, which a sweep found" if swept else ""
        console.print(f"tuning: {summary['tuning']['trainings']} networks{rate}")
    counts = summary["candidates"]
    console.print("candidates: " + (", ".join(f"{number} {status}" for status, number in counts.items()) or "none"))
    if summary["rejected"]:
        reasons = ", ".join(f"{number} {printable(why)}" for why, number in summary["rejected"].items())
        console.print(f"formulas that filters rejected before any training: {reasons}")
    if summary["formulas"]:
        console.print(_formulas_text(summary["formulas"]))
    if summary["dropped"]:
        console.print(f"networks given up as hopeless: {summary['dropped']}")
    if summary["best"] is not None:
        best = f"{by.sign * summary['best'] + 0.0:.4f}"
        console.print(f"best {printable(by.called)} of a candidate: {best} (one of many noisy values)")
    if summary["finalists"]:
        console.print(finalists_table(summary["finalists"], by))
        console.print(attack_text(summary["settings"] or {}, given.directory), end="", soft_wrap=True)
    if given.pareto is not None:
        console.print(_pareto_table(read_pareto(given.directory), summary["front"]))
    for name in ("winner", "comparison"):
        if summary[name]:
            console.print(f"{name}: {summary[name]}")


def _formulas_text(formulas: dict[str, Any]) -> str:
    if formulas["best"] is None:
        return f"formulas: {formulas['drawn']} drawn, {formulas['mean_size']:.1f} nodes on the mean"
    return (
        f"best formula of a candidate: {printable(formulas['best'])} ({formulas['best_size']} nodes; the last "
        f"generation has {formulas['mean_size']:.1f} on the mean)\n"
        f"formulas that were drawn: {formulas['drawn']}, of which {100 * formulas['archive_hit_rate']:.0f} % had a "
        "gradient that was known"
    )


def _pareto_table(document: dict[str, Any], paths: Sequence[str]) -> Table:
    first, second = document["figures"]
    table = Table(title="Front: not dominated among the evaluated candidates", title_justify="left")
    for name in (first, second, "loss file"):
        table.add_column(printable(name), justify="left" if name == "loss file" else "right")
    for row, path in zip(document["front"], paths, strict=True):
        table.add_row(*(f"{row['figures'][name]:.4f}" for name in (first, second)), path)
    return table
