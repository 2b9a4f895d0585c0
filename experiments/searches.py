"""Several searches of one job, each with a comparison of its own: search seed, split and label noise all change.

    python experiments/searches.py experiments/noisy-digits.toml results/noisy-digits --searches 5 --seeds 30

Every search is told, whoever wins. ``results/NAME/K`` keeps the settings, the winner, every raw run and the pictures of
search K; ``results/NAME/summary.md`` and ``summary.json`` say what came out. Stopped and run again, it goes on: the
databases lie in ``--work``, outside of the results. ``--again`` writes the page again from the kept ``summary.json``
and trains nothing.
"""

import argparse
import json
import math
import shutil
from pathlib import Path
from typing import Any

import torch
from evidence import HALF_A_POINT, paired
from program import changed, digest_of, kept, study_file

from lossmith.analysis import Comparison
from lossmith.io import read_json
from lossmith.metrics import welch
from lossmith.report import draw_comparison, draw_search
from lossmith.study import CompareSettings, Problem, compare_losses, evolve


def one(file: Path, number: int, work: Path, target: Path, seeds: int) -> dict[str, Any]:
    """One search and its comparison."""
    settings = changed(study_file(file), data={"split_seed": number, "noise_seed": number}, search={"seed": number})
    folder = work / str(number)
    key = digest_of(json.dumps([settings.model_dump(mode="json"), seeds, torch.__version__]))

    def made() -> dict[str, Any]:
        outcome, name = evolve(folder, settings), "evolved"
        options = CompareSettings(seeds=seeds, comparison_seed=number)
        comparison = compare_losses({name: outcome.loss}, settings, folder, options)
        draw_search(folder)
        draw_comparison(comparison, folder)
        target.mkdir(parents=True, exist_ok=True)
        for file in ("study.toml", "best.json", "comparison.json"):
            shutil.copy(folder / file, target / file)
        shutil.copytree(folder / "figures", target, dirs_exist_ok=True)
        return {"search": number, **judged(comparison, name)}

    made_with = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    return {**kept(folder / "row.json", key, made), "test_samples": len(Problem.open(settings).test()[1]), **made_with}


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
        "strongest_on_test": strongest.name,
        "strongest_on_test_test": strongest.mean("test"),
        "p_strongest": welch(ours.column("test"), strongest.column("test")).p,
        "largest_holm_p": max(pair.holm for pair in pairs),
        "cross_entropy": comparison.row("cross-entropy").mean("test"),
    }


def summary(rows: list[dict[str, Any]], file: Path, target: Path) -> str:
    """The searches as a Markdown page."""
    lines = [
        f"# {target.name}: {len(rows)} searches of {file}",
        "",
        f"Made by `python experiments/searches.py {file} {target} "
        f"--searches {len(rows)} --seeds {rows[0]['networks']} --threads {rows[0]['threads']}`,",
        f"torch {rows[0]['torch']}, {rows[0]['threads']} threads. Search seed, split and label noise change from",
        "search to search. Test accuracy; every loss tuned alike on validation data. Each search is here.",
        "",
        "| search | evolved ± sd | rank | cross-entropy | best baseline on validation | best baseline on test | "
        "p against that | largest Holm p |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| [{row['search']}]({row['search']}/comparison.png) | {row['evolved']:.4f} ± {row['evolved_sd']:.4f} "
        f"| {row['rank']} of {row['losses']} | {row['cross_entropy']:.4f} "
        f"| {row['best_baseline']} {row['best_baseline_test']:.4f} "
        f"| {row['strongest_on_test']} {row['strongest_on_test_test']:.4f} | {row['p_strongest']:.1g} "
        f"| {row['largest_holm_p']:.1g} |"
        for row in rows
    ]
    lines += [
        "",
        "p against the best baseline on test: one-tailed Welch; its unit is a network of one search, and since that",
        "baseline is picked on test data, it is the hardest test of the row. Largest Holm p: over all tests of the",
        "evolved loss against a baseline, corrected for every test of the comparison.",
        "The searches share the data set, so their test parts overlap and they are not independent of each other.",
        *coarse(rows),
    ]
    if len(rows) > 1:
        for name, key in (("cross-entropy", "cross_entropy"), ("the best baseline on test", "strongest_on_test_test")):
            gaps = [row["evolved"] - row[key] for row in rows]
            gap, p = sum(gaps) / len(rows), paired(gaps)
            lines += [
                "",
                f"Over searches (n = {len(rows)}, paired t-test, one-tailed): {gap:+.4f} against {name}, p = {p:.2g}.",
            ]
    return "\n".join(lines) + "\n"


def coarse(rows: list[dict[str, Any]]) -> list[str]:
    """What the test part is too small to show; nothing where the standard error is at most half of the margin.

    The standard error of an accuracy a on n samples: ``√(a(1 − a)/n)``.
    """
    accuracy, count = sum(row["evolved"] for row in rows) / len(rows), min(row["test_samples"] for row in rows)
    error = math.sqrt(accuracy * (1 - accuracy) / count)
    if error <= HALF_A_POINT / 2:
        return []
    return [
        "",
        f"A test part has {count} samples: one is {100 / count:.2f} points, and the standard error √(a(1 − a)/n) of an",
        f"accuracy a of {100 * accuracy:.1f} % is {100 * error:.2f} points, more than half of what matters here,",
        f"{100 * HALF_A_POINT:g} points. So no loss can be shown here to be better than another by so little, whatever",
        "a p says of the networks: what other test samples would change is in none of them.",
    ]


def main() -> None:
    """Run what is missing and write the summary."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path, help="study file of the job")
    parser.add_argument("target", type=Path, help="directory of the results")
    parser.add_argument("--searches", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=30, help="networks of each loss in the final comparison")
    parser.add_argument("--work", type=Path, default=Path("experiments/work"), help="directory of the databases")
    parser.add_argument("--only", type=int, nargs="*", help="make these searches, and no summary")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--again", action="store_true", help="write the page of the kept rows again, train nothing")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows = read_json(given.target / "summary.json") if given.again else []
    for number in () if given.again else given.only or range(given.searches):
        row = one(given.file, number, given.work / given.target.name, given.target / str(number), given.seeds)
        rows.append(row)
        print(json.dumps(row), flush=True)
    if given.only:
        return
    (given.target / "summary.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    (given.target / "summary.md").write_text(summary(rows, given.file, given.target), encoding="utf-8")


if __name__ == "__main__":
    main()
