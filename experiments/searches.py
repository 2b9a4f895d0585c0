"""Several searches of one job, each with a comparison of its own: search seed, split and label noise all change.

    python experiments/searches.py experiments/noisy-digits.toml results/noisy-digits --searches 5 --seeds 30 --distill

Every search is told, whoever wins. ``results/NAME/K`` keeps the settings, the winner, every raw run and the pictures of
search K; ``results/NAME/summary.md`` and ``summary.json`` say what came out. Stopped and run again, it goes on: the
databases lie in ``--work``, outside of the results. With ``--distill``, every winner is distilled, too. ``--again``
writes the pages anew from the kept ``summary.json`` and trains nothing.

What is asked, written down before the run: is the evolved loss better than the baseline that is best on validation
data, over the searches (paired t-test, one-tailed; unit: a search)? And how much does the smallest loss that is
distilled from it lose?
"""

import argparse
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from evidence import HALF_A_POINT, markdown, paired
from matplotlib.figure import Figure
from program import changed, digest_of, kept, study_file
from scipy import stats

from lossmith.analysis import Comparison
from lossmith.io import write_json
from lossmith.metrics import welch
from lossmith.report import draw_comparison, draw_search, plot_distillation, save_figure, styled
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
        options = CompareSettings(seeds=seeds, comparison_seed=number)
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


def over_searches(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The evolved loss less others, paired by search: mean, 95 % interval, one-tailed p; the unit is a search."""
    names = [name for name in rows[0]["baselines"] if all(name in row["baselines"] for row in rows)]
    others = {
        "best baseline on validation": [row["best_baseline_test"] for row in rows],
        "best baseline on test": [row["strongest_on_test_test"] for row in rows],
        **{name: [row["baselines"][name]["test"] for row in rows] for name in names},
    }
    found = {}
    for name, values in others.items():
        gaps = [row["evolved"] - value for row, value in zip(rows, values, strict=True)]
        half = float(stats.t.ppf(0.975, len(gaps) - 1) * np.std(gaps, ddof=1) / len(gaps) ** 0.5)
        mean = float(np.mean(gaps))
        found[name] = {
            "mean": mean,
            "low": mean - half,
            "high": mean + half,
            "p": paired(gaps),
            "n": len(gaps),
            "ahead": sum(gap > 0 for gap in gaps),
        }
    return found


def overview(rows: list[dict[str, Any]], folder: str) -> str:
    """The searches as the README shows them."""
    head = ["search", "evolved", "rank", "best baseline on validation data", "largest Holm p", "what is left, terms"]
    return "\n".join(
        markdown(
            [*head, "cross-entropy"],
            (
                [
                    f"[{row['search']}]({folder}/{row['search']}/comparison.png)",
                    f"{100 * row['evolved']:.1f} ± {100 * row['evolved_sd']:.1f} %",
                    f"{row['rank']} of {row['losses']}",
                    f"{row['best_baseline']} {100 * row['best_baseline_test']:.1f} %",
                    f"{row['largest_holm_p']:.0e}",
                    f"{100 * row['distilled']['smallest']:.1f} ± {100 * row['distilled']['smallest_sd']:.1f} %, "
                    f"{row['distilled']['left']} of {row['distilled']['terms']}",
                    f"{100 * row['cross_entropy']:.1f} %",
                ]
                for row in rows
            ),
        )
    )


def gains_table(found: dict[str, Any]) -> list[str]:
    """What the evolved loss is ahead by, over the searches."""
    rows = [
        [
            name,
            f"{100 * gap['mean']:+.2f} [{100 * gap['low']:+.2f}, {100 * gap['high']:+.2f}]",
            f"{gap['ahead']} of {gap['n']}",
            f"{gap['p']:.2g}",
        ]
        for name, gap in found.items()
    ]
    return markdown(["evolved less", "points, 95 % interval", "ahead in", "p"], rows)


def distilled_table(rows: list[dict[str, Any]]) -> list[str]:
    """What each winner was distilled to."""
    head = ["search", "terms", "left", "whole, test", "what is left, test", "best baseline", "left out", "what is left"]
    return markdown(
        head,
        (
            [
                row["search"],
                one["terms"],
                one["left"],
                f"{one['whole']:.4f} ± {one['whole_sd']:.4f}",
                f"{one['smallest']:.4f} ± {one['smallest_sd']:.4f}",
                f"{row['best_baseline_test']:.4f}",
                ", ".join(one["dropped"]) or "nothing",
                f"φ = {one['formula']}",
            ]
            for row, one in ((row, row["distilled"]) for row in rows)
        ),
    )


def distilled_picture(rows: list[dict[str, Any]]) -> Figure:
    """By how much each whole loss is better than the best loss with fewer terms, on validation data."""
    with styled():
        figure = Figure(figsize=(7.6, 4.2), layout="constrained")
        axes = figure.subplots()
        for place, row in enumerate(rows):
            one, color = row["distilled"], f"C{place}"
            path = [[one["terms"], "", 0.0, 0.0, 0.0, True], *one["path"]]
            terms = [step[0] + 0.08 * (place - (len(rows) - 1) / 2) for step in path]
            worth = [100 * step[2] for step in path]
            sides = [[100 * (step[2] - step[3]) for step in path], [100 * (step[4] - step[2]) for step in path]]
            axes.errorbar(
                terms, worth, yerr=sides, color=color, fmt="o-", ms=5, capsize=3, label=f"search {row['search']}"
            )
        margin = 100 * rows[0]["distilled"]["margin"]
        axes.axhline(margin, color="0.4", ls="--", lw=1)
        axes.text(0.01, margin, " margin", transform=axes.get_yaxis_transform(), va="bottom")
        axes.axhline(0, color="0.7", lw=1)
        axes.invert_xaxis()
        axes.set(xlabel="terms that are left", ylabel="the whole loss is better by, points")
        axes.set_title("What terms are worth, validation accuracy")
        axes.legend(fontsize=9)
        return figure


def summary(rows: list[dict[str, Any]], file: Path, target: Path) -> str:
    """The searches as a Markdown page."""
    lines = [
        f"# {target.name}: {len(rows)} searches of {file}",
        "",
        f"Made by `python experiments/searches.py {file} {target} "
        f"--searches {len(rows)} --seeds {rows[0]['networks']}{' --distill' * ('distilled' in rows[0])} "
        f"--threads {rows[0]['threads']}`,",
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
        lines += [
            "",
            *gains_table(over_searches(rows)),
            "",
            f"Paired by search (n = {len(rows)}); p: paired t-test, one-tailed, not corrected for the number of rows.",
        ]
    if "distilled" in rows[0]:
        lines += [
            "",
            "## Distilled",
            "",
            *distilled_table(rows),
            "",
            "![What terms are worth](distilled.png)",
            "",
            "Terms are left out as long as the loss is not worse by more than "
            f"{100 * rows[0]['distilled']['margin']:g} points of",
            "validation accuracy (upper end of the interval); a last point above the margin is the best trial that was",
            "not taken.",
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
    parser.add_argument("--distill", action="store_true", help="distill every winner")
    parser.add_argument("--again", action="store_true", help="write the pages of the kept rows again, train nothing")
    parser.add_argument("--only", type=int, nargs="*", help="make these searches, and no summary")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    place = given.target / "summary.json"
    if given.again:
        rows = json.loads(place.read_text(encoding="utf-8"))["searches"]
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
