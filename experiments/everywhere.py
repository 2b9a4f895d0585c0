"""One search on each of several data sets with noisy labels, with the comparison of its winner.

    python experiments/everywhere.py results/everywhere --mnist mnist.npz --cifar10 cifar10.npz

Written down before the run. (1) The evolved loss has the highest mean test accuracy on every data set, with 40 %
symmetric noise. (2) The baseline of two strengths that is best on validation data changes from data to data. The jobs
stand in ``jobs.py``: an MNIST subset, a CIFAR-10 subset of 16 × 16 pixels, and two tables, of 12 and of 26 classes; the
digits stand in results/noisy-digits. One search of each, so what is told of one is of its networks alone.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from evidence import markdown
from jobs import job
from program import digest_of, each, kept, processes, told_again
from searches import judged

from lossmith.io import write_json
from lossmith.study import CompareSettings, EvolveSettings, compare_losses, evolve

USED = ("mnist", "cifar10", "table-12", "table-26")
TWO_STRENGTHS = ("label smoothing + MAE", "label smoothing + Σh²", "label smoothing + soft bootstrapping")


def one(settings: EvolveSettings, name: str, seeds: int, work: Path) -> dict[str, Any]:
    """A search and its comparison."""
    folder = work / f"{name}-everywhere"
    plain = settings.model_dump(mode="json", exclude={"data": {"source"}})

    def made() -> dict[str, Any]:
        outcome = evolve(folder, settings)
        rate = (outcome.provenance["tuning"] or {}).get("lr")
        comparison = compare_losses(
            {"evolved": outcome.loss}, settings, folder, CompareSettings(seeds=seeds, effort="thorough"), lr=rate
        )
        return {
            "job": name,
            "kind": outcome.provenance["origin"]["kind"],
            "formula": outcome.loss.formula(),
            "searched_lr": settings.recipe.lr,
            **judged(comparison, "evolved"),
        }

    return dict(kept(folder / "row.json", digest_of(json.dumps([plain, seeds, torch.__version__])), made))


def page(rows: list[dict[str, Any]], command: str) -> list[str]:
    """The outcome as Markdown."""
    table, names = list[list[object]](), list[str]()
    for row in rows:
        pairs = {name: row["baselines"][name] for name in TWO_STRENGTHS}
        names.append(max(pairs, key=lambda name: pairs[name]["validation"]))
        table.append(
            [
                row["job"],
                f"{100 * row['evolved']:.2f} ± {100 * row['evolved_sd']:.2f}",
                f"{row['rank']} of {row['losses']}",
                f"{row['best_baseline']} {100 * row['best_baseline_test']:.2f}",
                f"{row['p_best_baseline']:.1g}",
                f"{row['strongest_on_test']} {100 * row['strongest_on_test_test']:.2f}",
                *(f"{100 * pairs[name]['test']:.2f}" for name in TWO_STRENGTHS),
                f"{100 * row['cross_entropy']:.2f}",
            ]
        )
    first = sum(row["rank"] == 1 for row in rows)
    head = [
        "job",
        "evolved",
        "rank",
        "best baseline on validation",
        "p",
        "best on test",
        *TWO_STRENGTHS,
        "cross-entropy",
    ]
    return [
        "# The same search on other data",
        "",
        f"Made by `{command}`, torch {torch.__version__}.",
        "What is done, and what was written down before the run, stands at the head of",
        "[`experiments/everywhere.py`](../../experiments/everywhere.py); figures: [`runs.json`](runs.json).",
        "",
        *markdown(head, table),
        "",
        f"Test accuracy, %, of {rows[0]['networks']} networks of each loss; every loss tuned alike on validation data.",
        "p: against the best baseline on validation data, one-tailed Welch; its unit is a network of one search.",
        "",
        f"**(1) {_word(first == len(rows))}**: the evolved loss is first on {first} of {len(rows)} data sets.",
        f"**(2) {_word(len(set(names)) > 1)}**: the best baseline of two strengths on validation data is, in the order",
        f"of the table, {', '.join(names)}.",
    ]


def _word(held: bool) -> str:
    return "Held" if held else "Failed"


def main() -> None:
    """Run what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("target", type=Path, help="directory of the results")
    parser.add_argument("--mnist", default="mnist", help="MNIST, as an .npz file")
    parser.add_argument("--cifar10", default="cifar10", help="CIFAR-10, as an .npz file")
    parser.add_argument("--seeds", type=int, default=20, help="networks of each loss in the final comparison")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("experiments/work/everywhere"), help="where databases are")
    parser.add_argument("--again", action="store_true", help="write the page anew from the kept runs")
    given = parser.parse_args()
    if not given.again:
        places = {"mnist": given.mnist, "cifar10": given.cifar10}
        calls = [(job(name, given.work, places), name, given.seeds, given.work) for name in USED]
        with processes(given.workers) as pool:
            rows = each(pool, one, calls)
        given.target.mkdir(parents=True, exist_ok=True)
        command = f"python experiments/everywhere.py {given.target} --mnist mnist.npz --cifar10 cifar10.npz"
        write_json({"command": command, "runs": rows}, given.target / "runs.json")
    told_again(given.target, page)


if __name__ == "__main__":
    main()
