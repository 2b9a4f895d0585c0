"""What the searches of `benchmarks/sample_efficiency.py` say: costs, medians, tests, the page and the figure."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from lossmith.io import read_json, write_json, write_whole
from lossmith.report import STYLE, save_figure

SEARCHES: dict[str, dict[str, str]] = {
    "taylor, none": {"space": "taylor", "invariant": "none"},
    "taylor, published": {"space": "taylor", "invariant": "published"},
    "taylor, exact": {"space": "taylor", "invariant": "exact"},
    "canonical, exact": {"space": "canonical", "invariant": "exact"},
    "residual, exact": {"space": "residual", "invariant": "exact"},
}
PAIRS = (
    ("taylor, published", "taylor, none"),
    ("taylor, exact", "taylor, none"),
    ("taylor, exact", "taylor, published"),
    ("canonical, exact", "taylor, exact"),
    ("residual, exact", "taylor, exact"),
    ("residual, exact", "canonical, exact"),
)
TARGETS = ("cross-entropy", "label smoothing")
LOOKS = (("#3b4a5a", ":"), ("#3b4a5a", "--"), ("#3b4a5a", "-"), ("#2a7f9e", "-"), ("#c8401e", "-"))


def cost(steps: list[dict[str, Any]], target: float) -> float:
    """Candidates trained until the mean has reached the target and reaches it at the next step as well, or infinity."""
    good = [float(np.mean(step["accuracy"])) >= target for step in steps]
    for step, now, then in zip(steps, good, good[1:], strict=False):
        if now and then:
            return float(step["trained"])
    return math.inf


def median_interval(costs: list[float]) -> dict[str, Any]:
    """The median, and the order statistics around it that hold it with the confidence told (a sign test's interval).

    With ten or more the most extreme are left out; infinite costs are the highest.
    """
    ordered, count = sorted(costs), len(costs)
    cut = 1 if count >= 10 else 0
    middle = (ordered[(count - 1) // 2], ordered[count // 2])
    return {
        "median": sum(middle) / 2,
        "low": ordered[cut],
        "high": ordered[-1 - cut],
        "confidence": 1 - 2 * float(stats.binom.cdf(cut, count, 0.5)),
        "reached": sum(math.isfinite(one) for one in costs),
        "of": count,
    }


def sign_test(first: list[float], second: list[float]) -> dict[str, Any]:
    """In how many of the pairs the first needs fewer and more, and the two-sided sign test of that."""
    fewer = sum(one < other for one, other in zip(first, second, strict=True))
    more = sum(one > other for one, other in zip(first, second, strict=True))
    p = float(stats.binomtest(fewer, fewer + more).pvalue) if fewer + more else 1.0
    return {"fewer": fewer, "more": more, "equal": len(first) - fewer - more, "p": p}


def read(folder: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """The searches of a job by name and seed."""
    found: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in SEARCHES}
    for path in sorted(folder.glob("*.json")):
        document = read_json(path)
        found[document["search"]][document["seed"]] = document
    return found


def summed_up(folder: Path) -> dict[str, Any]:
    """The costs of all searches of a job, and what they say."""
    searches = read(folder)
    seeds = sorted({seed for runs in searches.values() for seed in runs})
    missing = [f"{name} {seed}" for name, runs in searches.items() for seed in seeds if seed not in runs]
    if missing or not seeds:
        raise SystemExit(f"{folder} lacks searches ({', '.join(missing) or 'all'}): run the job to its end first")
    documents: dict[str, Any] = {"seeds": seeds, "targets": {}, "searches": {}}
    for name, runs in searches.items():
        last = [runs[seed]["steps"][-1] for seed in seeds]
        smooth = [runs[seed]["targets"]["label smoothing"] for seed in seeds]
        gap = [float(np.mean(step["accuracy"])) - level for step, level in zip(last, smooth, strict=True)]
        documents["searches"][name] = {
            "trained": [step["trained"] for step in last],
            "rejected": [step["rejected"] for step in last],
            "end_less_label_smoothing": gap,
        }
    for target in TARGETS:
        levels = {seed: searches["residual, exact"][seed]["targets"][target] for seed in seeds}
        costs = {name: [cost(runs[seed]["steps"], levels[seed]) for seed in seeds] for name, runs in searches.items()}
        documents["targets"][target] = {
            "accuracy": list(levels.values()),
            "costs": costs,
            "medians": {name: median_interval(found) for name, found in costs.items()},
            "pairs": [{"first": a, "second": b, **sign_test(costs[a], costs[b])} for a, b in PAIRS],
        }
    return documents


def finite(value: Any) -> Any:
    """A document in which what is infinite has become null, as JSON has no infinity."""
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and math.isinf(value) else value


def counted(value: float) -> str:
    """A number of candidates as text."""
    return "not reached" if math.isinf(value) else f"{value:g}"


def table(job: str, found: dict[str, Any]) -> list[str]:
    """The lines of one job in the summary."""
    lines = [f"## {job}, {len(found['seeds'])} seeds", ""]
    for target, part in found["targets"].items():
        accuracies = part["accuracy"]
        interval = next(iter(part["medians"].values()))["confidence"]
        lines += [
            f"Candidates trained until the mean is as good as {target} "
            f"({np.mean(accuracies):.3f} on average, {min(accuracies):.3f} to {max(accuracies):.3f}):",
            "",
            f"| search | reached | median | interval ({interval:.1%}) | every seed |",
            "|---|---|---|---|---|",
        ]
        for name, one in part["medians"].items():
            every = ", ".join("–" if math.isinf(value) else f"{value:g}" for value in part["costs"][name])
            lines.append(
                f"| {name} | {one['reached']} of {one['of']} | {counted(one['median'])} "
                f"| {counted(one['low'])} to {counted(one['high'])} | {every} |"
            )
        lines += ["", "| search | against | fewer | more | equal | p |", "|---|---|---|---|---|---|"]
        lines += [
            f"| {test['first']} | {test['second']} | {test['fewer']} | {test['more']} | {test['equal']} "
            f"| {test['p']:.2g} |"
            for test in part["pairs"]
        ]
        lines.append("")
    lines += [
        "| search | trained in all (median) | rejected untrained (median) | accuracy of the last mean less that of "
        "label smoothing, mean (lowest to highest) |",
        "|---|---|---|---|",
    ]
    for name, one in found["searches"].items():
        gap = [100 * value for value in one["end_less_label_smoothing"]]
        lines.append(
            f"| {name} | {np.median(one['trained']):g} | {np.median(one['rejected']):g} "
            f"| {np.mean(gap):+.1f} points ({min(gap):+.1f} to {max(gap):+.1f}) |"
        )
    return [*lines, ""]


def plot(found: dict[str, dict[str, Any]]) -> Figure:
    """The share of the searches that have reached each target, against the candidates trained."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.0 * len(found), 6.4), layout="constrained")
        axes = figure.subplots(len(TARGETS), len(found), squeeze=False, sharey=True)
        for column, (job, part) in enumerate(found.items()):
            end = max(max(one["trained"]) for one in part["searches"].values())
            for row, target in enumerate(TARGETS):
                panel = axes[row, column]
                for (name, costs), (color, line) in zip(part["targets"][target]["costs"].items(), LOOKS, strict=True):
                    reached = sorted(value for value in costs if math.isfinite(value))
                    shares = [number / len(costs) for number in range(len(reached) + 1)]
                    places, heights = [0.0, *reached, end], [*shares, shares[-1]]
                    panel.step(places, heights, where="post", color=color, ls=line, lw=2, label=name)
                panel.set(title=f"{job}: as good as {target}", xlabel="candidates trained", ylim=(-0.02, 1.05))
            axes[0, column].legend(loc="lower right")
        for row in range(len(TARGETS)):
            axes[row, 0].set_ylabel("share of the searches")
        return figure


def page(found: dict[str, dict[str, Any]]) -> str:
    """The summary as Markdown."""
    lines = ["# Candidates trained until a search's mean is as good as a baseline", ""]
    lines += [
        "Made by `benchmarks/sample_efficiency.py`, whose head says what was fixed before the run. All searches have",
        "as many generations, so one that rejects candidates ends with fewer trained: the last table of a job has the",
        "sums.",
        "",
    ]
    for job, part in found.items():
        lines += table(job, part)
    return "\n".join([*lines, "![share of the searches that have reached the targets](reached.png)", ""])


def summarize(folder: Path) -> str:
    """Write ``summary.json``, ``summary.md`` and the figure over all jobs of a folder."""
    found = {job: summed_up(folder / job) for job in ("digits", "mnist") if (folder / job).is_dir()}
    text = page(found)
    write_json(finite(found), folder / "summary.json")
    write_whole(text.encode(), folder / "summary.md")
    save_figure(plot(found), folder / "reached.png")
    return text
