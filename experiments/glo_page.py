"""The page of experiments/glo.py: the claims, every job, and the tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from evidence import markdown, percent, spread
from glo_scores import CROSS_ENTROPY, GLO, METHODS, NOISY, SHOWN, TARGETS, UNCLAIMED, Scores, Verdict, verdicts
from glo_tables import behavior_table, filter_table, formula_table, systems_table, transfer_table


def page(document: Mapping[str, Any]) -> list[str]:
    """The outcome as Markdown."""
    scores = Scores(document["runs"])
    seconds = [row["seconds"] for run in document["runs"] for row in (*run["searches"], run["comparison"])]
    count = len(scores.numbers)
    return [
        f"# GLO, schedules and Baikal: {count} searches of each of six methods in each of {len(scores.jobs)} jobs",
        "",
        f"Made by `{document['command']}`, PyTorch {document['versions']['torch']}: {sum(seconds) / 3600:.1f} hours of",
        "CPU time of searches and comparisons; the sweeps of the rates, the looks at candidates and the trainings of",
        "rejected formulas come on top. What is done and the claims, written down before the run, stand at the head of",
        "[`experiments/glo.py`](../../experiments/glo.py). Every run: [`runs.json`](runs.json).",
        "",
        *claims_table(scores),
        "",
        *unclaimed_table(scores),
        "",
        *(line for job in scores.jobs for line in job_table(scores, job)),
        *cost_table(scores),
        *systems_table(scores),
        *behavior_table(scores),
        *filter_table(scores),
        *transfer_table(scores),
        *formula_table(scores),
    ]


def claims_table(scores: Scores) -> list[str]:
    """The claims (1) to (8)."""
    rows = [
        (
            f"({place}) {one.sentence}",
            f"{100 * float(np.mean(one.gaps)):+.2f}",
            spread(one.interval),
            f"{sum(gap > 0 for gap in one.gaps)} of {len(one.gaps)}",
            f"{one.p:.3g}",
            f"{one.holm:.3g}",
            f"**{one.word}**",
        )
        for place, one in enumerate(verdicts(scores), 1)
    ]
    return [
        *markdown(["claim", "points", "95 % interval", "above 0", "p", "Holm", "verdict"], rows),
        "",
        f"Points of test accuracy, n = {len(scores.numbers)}: the unit is a search number, whose value is the mean",
        "over the jobs. One-tailed paired t-tests; Holm over the eight. Held: Holm below 0.05. Failed: the interval is",
        "below 0.",
    ]


def unclaimed_table(scores: Scores) -> list[str]:
    """Gaps of which nothing was claimed."""
    rows = []
    for better, worse, jobs in UNCLAIMED:
        gaps = scores.gaps(better, worse, jobs)
        found = Verdict("", gaps, 1.0, 1.0)
        where = {NOISY: "noisy", TARGETS: ", ".join(TARGETS)}.get(jobs, "all")
        above = f"{sum(gap > 0 for gap in gaps)} of {len(gaps)}"
        rows.append(
            (f"{better} less {worse}", where, f"{100 * float(np.mean(gaps)):+.2f}", spread(found.interval), above)
        )
    return [
        "Of these nothing was claimed:",
        "",
        *markdown(["gap", "jobs", "points", "95 % interval", "above 0"], rows),
    ]


def job_table(scores: Scores, job: str) -> list[str]:
    """Test accuracy in one job."""
    comparisons = [scores.runs[job, number]["comparison"] for number in scores.numbers]
    names = [name for name in comparisons[0]["rows"] if not comparisons[0]["rows"][name]["baseline"]]
    networks = len(comparisons[0]["rows"][GLO]["test"])
    rows = sorted(
        ((name, scores.tests(job, name)) for name in (*names, *SHOWN)), key=lambda row: -float(np.mean(row[1]))
    )
    best = ", ".join(comparison["best_baseline"] for comparison in comparisons)
    table = [
        (
            name,
            percent(values),
            f"{100 * float(np.mean(scores.gaps(name, CROSS_ENTROPY, [job]))):+.2f}",
            ranks(scores, job, name),
        )
        for name, values in rows
    ]
    return [
        f"## {job}",
        "",
        *markdown(["loss", "test accuracy, %", "over cross-entropy", "rank in each search"], table),
        "",
        f"Mean over {len(scores.numbers)} searches (sample standard deviation of the searches), {networks} networks of",
        f"each loss; rank among all {len(comparisons[0]['rows'])} losses. Best on validation data: {best}.",
        "",
    ]


def ranks(scores: Scores, job: str, name: str) -> str:
    """The place of a loss among all of each comparison, by test accuracy."""
    found = []
    for number in scores.numbers:
        rows = scores.runs[job, number]["comparison"]["rows"]
        own = scores.test(job, number, name)
        found.append(1 + sum(float(np.mean(row["test"])) > own for row in rows.values()))
    return ", ".join(map(str, found))


def cost_table(scores: Scores) -> list[str]:
    """CPU time of a search of each method."""
    rows = [
        (method, *(f"{np.mean([row['seconds'] for row in scores.searches(method, [job])]):.0f}" for job in scores.jobs))
        for method in METHODS
    ]
    return [
        "## Cost",
        "",
        *markdown(["search", *scores.jobs], rows),
        "",
        "CPU seconds of a search with its finalists, the mean over the searches, one thread. All train the same",
        "number of candidates.",
        "",
    ]
