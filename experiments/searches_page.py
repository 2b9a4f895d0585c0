"""The pages and the picture of experiments/searches.py, from its rows."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from evidence import HALF_A_POINT, markdown, paired
from matplotlib.figure import Figure
from scipy import stats

from lossmith.report import styled

# Written down by hand after a look at losses that were evolved for noisy labels; all others had been listed before.
LATER = ("label smoothing + Σh²", "label smoothing + soft bootstrapping")


def over_searches(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The evolved loss less others, paired by search: mean, 95 % interval, one-tailed p; the unit is a search."""
    names = [name for name in rows[0]["baselines"] if all(name in row["baselines"] for row in rows)]
    earlier = [[row["baselines"][name] for name in names if name not in LATER] for row in rows]
    others = {
        "best baseline on validation": [row["best_baseline_test"] for row in rows],
        "best earlier baseline on validation": [
            max(known, key=lambda one: one["validation"])["test"] for known in earlier
        ],
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
    """The searches as docs/worth.md shows them."""
    head = ["search", "evolved", "rank", "best baseline on validation data", "gain on it, points", "distilled, terms"]
    return "\n".join(
        markdown(
            [*head, "cross-entropy"],
            (
                [
                    f"[{row['search']}]({folder}/{row['search']}/comparison.png)",
                    f"{100 * row['evolved']:.1f} ± {100 * row['evolved_sd']:.1f} %",
                    f"{row['rank']} of {row['losses']}",
                    f"{row['best_baseline']} {100 * row['best_baseline_test']:.1f} %",
                    interval(row["gain"]),
                    f"{100 * row['distilled']['smallest']:.1f} ± {100 * row['distilled']['smallest_sd']:.1f} %, "
                    f"{row['distilled']['left']} of {row['distilled']['terms']}",
                    f"{100 * row['cross_entropy']:.1f} %",
                ]
                for row in rows
            ),
        )
    )


def interval(gap: dict[str, Any]) -> str:
    """A mean difference and its interval, in points."""
    return f"{100 * gap['mean']:+.2f} [{100 * gap['low']:+.2f}, {100 * gap['high']:+.2f}]"


def gains_table(found: dict[str, Any]) -> list[str]:
    """What the evolved loss is ahead by, over the searches."""
    rows = [
        [
            name,
            interval(gap),
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
        axes.set_title("What terms are worth: validation accuracy, 95 % intervals (Bonferroni in a round)")
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
        f"torch {rows[0]['torch']}. Search seed, split and label noise change from",
        "search to search. Test accuracy; every loss tuned alike on validation data. Each search is here.",
        "",
        *markdown(
            [
                *(
                    "search",
                    "evolved ± sd",
                    "rank",
                    "cross-entropy",
                    "best baseline on validation",
                    "gain on it, points",
                ),
                *("p", "best baseline on test", "largest Holm p"),
            ],
            (
                [
                    f"[{row['search']}]({row['search']}/comparison.png)",
                    f"{row['evolved']:.4f} ± {row['evolved_sd']:.4f}",
                    f"{row['rank']} of {row['losses']}",
                    f"{row['cross_entropy']:.4f}",
                    f"{row['best_baseline']} {row['best_baseline_test']:.4f}",
                    interval(row["gain"]),
                    f"{row['gain']['p']:.1g}",
                    f"{row['strongest_on_test']} {row['strongest_on_test_test']:.4f}",
                    f"{row['largest_holm_p']:.1g}",
                ]
                for row in rows
            ),
        ),
        "",
        "Gain: paired by network (those of one seed begin alike and see the same batches), 95 % t interval; p: paired",
        "t-test, one-tailed, the unit is a network of one search. Largest Holm p: over all Welch tests of the evolved",
        "loss against a baseline, corrected for every test of the comparison.",
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
        f"{100 * HALF_A_POINT:g} points. What other test samples would change is in no p of networks, and only in part",
        "in those of searches, whose test parts overlap.",
    ]
