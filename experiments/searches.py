"""Several searches of one job, each with a comparison of its own: search seed, split and label noise all change.

    python experiments/searches.py experiments/noisy-digits.toml results/noisy-digits --searches 5 --seeds 30 --distill

Every search is told, whoever wins. ``results/NAME/K`` keeps the settings, the winner, every raw run and the pictures of
search K; ``results/NAME/summary.md`` and ``summary.json`` say what came out. Stopped and run again, it goes on: the
databases lie in ``--work``, outside of the results. With ``--distill``, every winner is distilled, too. ``--again``
writes the pages anew from the kept ``summary.json`` and trains nothing.

What is asked, written down before these five runs, when a run of the demo with all baselines was known: is the
evolved loss better than the baseline that is best on validation data, over the searches (paired t-test, one-tailed;
unit: a search)? And how much does the smallest loss that is distilled from it lose?
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from evidence import paired
from program import changed, digest_of, kept, study_file
from scipy import stats
from searches_page import distilled_picture, over_searches, summary

from lossmith.analysis import Comparison
from lossmith.io import read_json, write_json
from lossmith.metrics import welch
from lossmith.report import draw_comparison, draw_search, plot_distillation, save_figure
from lossmith.study import (
    CompareSettings,
    Distilled,
    DistillSettings,
    Problem,
    compare_losses,
    distill_loss,
    evolve,
)

FILES = ("study.toml", "best.json", "comparison.json", "distillation.json", "distilled.json")


def one(file: Path, number: int, work: Path, target: Path, seeds: int, distills: bool) -> dict[str, Any]:
    """One search, its comparison, and what its winner is distilled to."""
    settings = changed(study_file(file), data={"split_seed": number, "noise_seed": number}, search={"seed": number})
    folder = work / str(number)
    key = digest_of(json.dumps([settings.model_dump(mode="json"), seeds, distills, torch.__version__]))

    def made() -> dict[str, Any]:
        outcome, name = evolve(folder, settings), "evolved"
        options = CompareSettings(seeds=seeds, comparison_seed=number, effort="thorough")
        rate = (outcome.provenance["tuning"] or {}).get("lr")
        comparison = compare_losses({name: outcome.loss}, settings, folder, options, lr=rate)
        draw_search(folder)
        draw_comparison(comparison, folder)
        row = {
            "search": number,
            "lr": outcome.provenance["lr"],
            "kind": outcome.provenance["origin"]["kind"],
            "formula": outcome.loss.formula(),
            **judged(comparison, name),
        }
        if distills:
            distilling = DistillSettings(seeds=seeds, comparison_seed=number)
            found = distill_loss(outcome.loss, settings, folder, distilling, lr=rate)
            save_figure(plot_distillation(found.distillation), folder / "figures" / "distillation.png")
            row["distilled"] = distilled(found)
        target.mkdir(parents=True, exist_ok=True)
        for file in (folder / name for name in FILES if (folder / name).exists()):
            shutil.copy(file, target / file.name)
        shutil.copytree(folder / "figures", target, dirs_exist_ok=True)
        return row

    row = kept(folder / "row.json", key, made)
    comparison = Comparison.from_json(read_json(folder / "comparison.json"))
    samples = len(Problem.open(settings).test()[1])
    made_with = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    return {**row, "gain": gain(comparison, "evolved"), "test_samples": samples, **made_with}


def judged(comparison: Comparison, name: str) -> dict[str, Any]:
    """The evolved loss against the baselines of one search."""
    ours, best = comparison.row(name), comparison.row(comparison.best_baseline)
    by_test = sorted(comparison.rows, key=lambda row: row.mean("test"), reverse=True)
    strongest = next(row for row in by_test if row.baseline)
    pairs = [pair for pair in comparison.pairs if pair.first == name]
    return {
        "evolved": ours.mean("test"),
        "evolved_sd": ours.std("test"),
        "networks": len(ours.runs),
        "rank": 1 + by_test.index(ours),
        "losses": len(by_test),
        "best_baseline": best.name,
        "best_baseline_test": best.mean("test"),
        "p_best_baseline": welch(ours.column("test"), best.column("test")).p,
        "strongest_on_test": strongest.name,
        "strongest_on_test_test": strongest.mean("test"),
        "p_strongest": welch(ours.column("test"), strongest.column("test")).p,
        "largest_holm_p": max(pair.holm for pair in pairs),
        "cross_entropy": comparison.row("cross-entropy").mean("test"),
        "baselines": {
            row.name: {"validation": row.mean("validation"), "test": row.mean("test"), "sd": row.std("test")}
            for row in comparison.rows
            if row.baseline
        },
    }


def gain(comparison: Comparison, name: str) -> dict[str, Any]:
    """By how much a loss is ahead of the best baseline on validation data in test accuracy, paired by network.

    Networks of one seed have the same initial weights and batches, whatever their loss.
    """
    row, best = comparison.row(name), comparison.row(comparison.best_baseline)
    gaps = np.subtract(row.column("test"), best.column("test"))
    result = stats.ttest_1samp(gaps, 0)
    low, high = result.confidence_interval(0.95)
    return {
        "over": best.name,
        "mean": float(gaps.mean()),
        "low": float(low),
        "high": float(high),
        "p": paired(gaps.tolist()),
        "n": len(gaps),
    }


def distilled(found: Distilled) -> dict[str, Any]:
    """What a distillation came to: the best trial of each round, and the test of the smallest loss."""
    one = found.distillation
    path = list[list[Any]]()
    for trials, taken in zip(one.rounds, one.taken, strict=True):
        known = [(trial, trial.worth) for trial in trials if trial.worth is not None]
        best, worth = min(
            (pair for pair in known if taken is None or pair[0] is trials[taken]), key=lambda pair: pair[1].high
        )
        path.append([best.terms, best.dropped[-1], worth.difference, worth.low, worth.high, taken is not None])
    whole, smallest = one.tested[0], one.tested[-1]
    return {
        "terms": one.whole.terms,
        "left": one.smallest.terms,
        "dropped": list(one.smallest.dropped),
        "path": path,
        "formula": found.loss.formula(),
        "whole": whole.mean("test"),
        "whole_sd": whole.std("test"),
        "smallest": smallest.mean("test"),
        "smallest_sd": smallest.std("test"),
        "margin": one.margin,
    }


def main() -> None:
    """Run what is missing and write the summary."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path, help="study file of the job")
    parser.add_argument("target", type=Path, help="directory of the results")
    parser.add_argument("--searches", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=30, help="networks of each loss in the final comparison")
    parser.add_argument("--work", type=Path, default=Path("experiments/work"), help="directory of the databases")
    parser.add_argument("--distill", action="store_true", help="distill every winner")
    parser.add_argument("--again", action="store_true", help="write the pages of the kept rows again, train nothing")
    parser.add_argument("--only", type=int, nargs="*", help="make these searches, and no summary")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    place = given.target / "summary.json"
    if given.again:
        rows = read_json(place)["searches"]
    else:
        rows = []
        for number in given.only or range(given.searches):
            work, target = given.work / given.target.name, given.target / str(number)
            rows.append(one(given.file, number, work, target, given.seeds, given.distill))
            print(json.dumps(rows[-1]), flush=True)
        if given.only:
            return
        write_json({"searches": rows, "over_searches": over_searches(rows) if len(rows) > 1 else {}}, place)
    if "distilled" in rows[0]:
        save_figure(distilled_picture(rows), given.target / "distilled.png")
    (given.target / "summary.md").write_text(summary(rows, given.file, given.target), encoding="utf-8")


if __name__ == "__main__":
    main()
