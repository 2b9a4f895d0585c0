"""Searches whose recipe has a learning rate 16 times too high or too low, with and without tuning of the rate.

    python experiments/rates.py results/rates --mnist mnist.npz --searches 2

Written down before the run. (1) With the rate tuned, the winner at either wrong rate is within 1 point of test accuracy
of the winner at the rate 0.05, on average over the searches of each job. (2) Without, it is more than 1 point behind at
one of the two. The jobs: digits, an MNIST subset and a table of 12 classes, 40 % symmetric noise. Each winner is
trained with the rate that it is handed over with: 30 networks on test data, which nothing was chosen on. Each run is
kept.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from evidence import markdown, percent
from jobs import job
from program import changed, digest_of, each, kept, processes, told_again

from lossmith.io import write_json
from lossmith.losses import Loss
from lossmith.metrics import accuracy
from lossmith.seeds import derive
from lossmith.study import EvolveSettings, Problem, evolve
from lossmith.training import Trainer, repeated

USED, FACTORS, NETWORKS, MARGIN = ("digits", "mnist", "table-12"), (1 / 16, 1.0, 16.0), 30, 0.01


def one(settings: EvolveSettings, name: str, number: int, factor: float, tune: bool, work: Path) -> dict[str, Any]:
    """A search, and the test of its winner."""
    recipe = {"lr": settings.recipe.lr * factor}
    settings = changed(settings, recipe=recipe, run={"tune": tune})
    folder = work / f"{name}-{number}-{factor:g}-{'tuned' if tune else 'plain'}"
    plain = settings.model_dump(mode="json", exclude={"data": {"source"}})

    def made() -> dict[str, Any]:
        outcome = evolve(folder, settings)
        lr = outcome.provenance["lr"]
        scores = tested(settings, outcome.loss, lr, number)
        return {
            "job": name,
            "search": number,
            "factor": factor,
            "tuned": tune,
            "kind": outcome.provenance["origin"]["kind"],
            "winner": outcome.loss.name,
            "formula": outcome.loss.formula(),
            "lr": lr,
            "validation": outcome.provenance["validation"],
            "test": scores,
        }

    return dict(kept(folder / "row.json", digest_of(json.dumps([plain, torch.__version__])), made))


def tested(settings: EvolveSettings, loss: Loss, lr: float, number: int) -> list[float]:
    """Test accuracies of fresh networks."""
    problem = Problem.open(settings)
    seeds = [derive(number, "rates", place) for place in range(NETWORKS)]
    recipe = settings.recipe.model_copy(update={"lr": lr})
    found = Trainer(problem.task).train(repeated(Loss.stack([loss]), NETWORKS), seeds, recipe)
    inputs, targets = problem.test()
    return [float(value) for value in accuracy(found.networks.logits(inputs), targets)]


def _shown(factor: float) -> str:
    """A recipe's rate: 0.05 / 16, 0.05, 0.05 × 16."""
    return "0.05" if factor == 1 else f"0.05 × {factor:g}" if factor > 1 else f"0.05 / {1 / factor:g}"


def page(rows: list[dict[str, Any]], command: str) -> list[str]:
    """The outcome as Markdown."""
    cells: dict[tuple[str, bool, float], list[dict[str, Any]]] = {}
    for row in rows:
        cells.setdefault((row["job"], row["tuned"], row["factor"]), []).append(row)

    def mean(cell: list[dict[str, Any]]) -> float:
        return float(np.mean([np.mean(row["test"]) for row in cell]))

    table, gaps = list[list[object]](), list[list[object]]()
    for (name, tuned, factor), cell in cells.items():
        table.append(
            [
                name,
                "tuned" if tuned else "as in the recipe",
                _shown(factor),
                ", ".join(percent(row["test"]) for row in cell),
                ", ".join(f"{row['winner']} (lr {row['lr']:.3g})" for row in cell),
            ]
        )
        if factor != 1:
            gap = mean(cell) - mean(cells[name, tuned, 1.0])
            within = "yes" if abs(gap) <= MARGIN else "no"
            gaps.append([name, table[-1][1], table[-1][2], f"{100 * gap:+.2f}", within])
    held = [row for row in gaps if row[1] == "tuned"]
    return [
        "# Recipes whose learning rate is 16 times too high or too low",
        "",
        f"Made by `{command}`, torch {torch.__version__}. What was written down before the run stands at the head of",
        "[`experiments/rates.py`](../../experiments/rates.py); every run: [`runs.json`](runs.json).",
        "",
        *markdown(["job", "rate", "recipe", "test accuracy of each winner", "winner"], table),
        "",
        f"Test accuracy, %: mean (sample standard deviation) of {NETWORKS} networks of each search's winner.",
        "",
        *markdown(["job", "rate", "recipe", "winner less that at 0.05, points", "within 1 point"], gaps),
        "",
        f"With tuning, {sum(row[4] == 'yes' for row in held)} of {len(held)} are within 1 point. The unit is a search; "
        f"there are {len(next(iter(cells.values())))} of each, so there is no p.",
    ]


def main() -> None:
    """Run what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("target", type=Path, help="directory of the results")
    parser.add_argument("--mnist", default="mnist", help="MNIST, as an .npz file")
    parser.add_argument("--searches", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("experiments/work/rates"), help="directory of the databases")
    parser.add_argument("--again", action="store_true", help="write the page anew from the kept runs")
    given = parser.parse_args()
    if not given.again:
        calls = [
            (job(name, given.work, {"mnist": given.mnist}, number), name, number, factor, tune, given.work)
            for number in range(given.searches)
            for name in USED
            for factor in FACTORS
            for tune in (True, False)
        ]
        with processes(given.workers) as pool:
            rows = each(pool, one, calls)
        given.target.mkdir(parents=True, exist_ok=True)
        order = {name: place for place, name in enumerate(USED)}
        rows.sort(key=lambda row: (order[row["job"]], not row["tuned"], row["factor"], row["search"]))
        write_json(
            {
                "command": f"python experiments/rates.py {given.target} --mnist mnist.npz --searches {given.searches}",
                "runs": rows,
            },
            given.target / "runs.json",
        )
    told_again(given.target, page)


if __name__ == "__main__":
    main()
