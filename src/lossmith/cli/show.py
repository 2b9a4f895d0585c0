"""``lossmith show``: where a study stands."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.table import Table

from lossmith.cli.arguments import OptionalDirectory, Switch, parse
from lossmith.cli.console import output
from lossmith.cli.tables import attack_text, finalists_table
from lossmith.errors import InputError
from lossmith.io import read_json
from lossmith.losses import Loss, load
from lossmith.study.evolve import data_line, pruned_trainings, spread
from lossmith.study.legacy import modernized
from lossmith.study.pareto import export_pareto, read_pareto
from lossmith.study.store import Store


@dataclass(frozen=True)
class Show:
    """Say where a study stands: its settings, candidates, finalists and winner. A running study can be shown, too.

    example:  lossmith show study
    """

    directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """Directory of the study."""
    pareto: OptionalDirectory = None
    """Write the candidates that no other one beats in one recorded figure without losing in the other to this
    directory, each as a loss file."""
    json: Switch = False
    """Print it as JSON."""


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    given = parse(Show, arguments, "show")
    summary = summarize(given.directory)
    if given.pareto is not None:
        summary["front"] = [str(path) for path in export_pareto(given.directory, given.pareto)]
    if given.json:
        sys.stdout.write(json.dumps(summary, indent=2) + "\n")
        return
    console = output()
    console.print(f"Study {given.directory}: {summary['state']}")
    for part, settings in (summary["settings"] or {}).items():
        if isinstance(settings, dict):
            values = ", ".join(f"{key} {value}" for key, value in settings.items() if value is not None)
            console.print(f"{part}: {values}")
    if summary["data"]:
        console.print(data_line(summary["data"]))
    counts = summary["candidates"]
    console.print("candidates: " + (", ".join(f"{number} {status}" for status, number in counts.items()) or "none"))
    if summary["dropped"]:
        console.print(f"networks given up as hopeless: {summary['dropped']}")
    if summary["best"] is not None:
        console.print(f"best fitness of a candidate: {summary['best']:.4f} (one of many noisy values)")
    if summary["finalists"]:
        console.print(finalists_table(summary["finalists"]))
        console.print(attack_text(summary["settings"] or {}, given.directory), end="", soft_wrap=True)
    if given.pareto is not None:
        console.print(_pareto_table(read_pareto(given.directory), summary["front"]))
    for name in ("winner", "comparison"):
        if summary[name]:
            console.print(f"{name}: {summary[name]}")


def _pareto_table(document: dict[str, Any], paths: Sequence[str]) -> Table:
    first, second = document["figures"]
    table = Table(title="Front: not dominated among the evaluated candidates", title_justify="left")
    for name in (first, second, "loss file"):
        table.add_column(name, justify="left" if name == "loss file" else "right")
    for row, path in zip(document["front"], paths, strict=True):
        table.add_row(*(f"{row['figures'][name]:.4f}" for name in (first, second)), path)
    return table


def summarize(directory: Path) -> dict[str, Any]:
    """Everything that ``show`` says, as data."""
    with Store(directory, readonly=True) as store:
        settings, rows, finalists = store.setting("settings"), store.candidates(), store.finalists("final")
        settings = None if settings is None else modernized(settings)[0]
        data = store.setting("data")
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["status"]] = counts.get(row["status"], 0) + 1
    place, comparison = directory / "best.json", directory / "comparison.json"
    winner = load(place) if finalists and place.exists() else None
    return {
        "state": "ended" if winner is not None else _state(settings, rows),
        "settings": settings,
        "data": data,
        "candidates": counts,
        "dropped": pruned_trainings(rows),
        "best": max((row["fitness"] for row in rows if row["fitness"] is not None), default=None),
        "finalists": [
            {
                "name": row["name"],
                "status": row["status"],
                **spread(row["scores"]),
                "figures": {name: spread(values) for name, values in row["figures"].items()},
            }
            for row in finalists
        ],
        "winner": None if winner is None else repr(winner),
        "comparison": _compared(comparison, winner) if comparison.exists() else None,
    }


def _state(settings: dict[str, Any] | None, rows: Sequence[dict[str, Any]]) -> str:
    if settings is None:
        return "no search, only comparisons"
    search = settings["search"]
    done = len(rows) // search["population"]
    if done == search["generations"]:
        return f"all {done} generations are done"
    return f"in generation {done + 1} of {search['generations']}"


def _compared(path: Path, winner: Loss | None) -> str:
    document = read_json(path)
    try:
        means = {row["name"]: sum(run["test"] for run in row["runs"]) / len(row["runs"]) for row in document["rows"]}
        given = [row["name"] for row in document["rows"] if not row["baseline"]]
        stale = winner is not None and winner.to_json() not in [row["loss"] for row in document["rows"]]
        best = document["best_baseline"]
        shown = [*(f"{name} {means[name]:.4f}" for name in given), f"best baseline ({best}) {means[best]:.4f}"]
    except (KeyError, TypeError, ZeroDivisionError):
        raise InputError(f"{path} is damaged; remove it and run lossmith compare again") from None
    return "test accuracy: " + ", ".join(shown) + (" (the winner is not in it)" if stale else "")
