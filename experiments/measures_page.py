"""The page of experiments/measures.py: what each measure is worth over the searches."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from evidence import markdown, paired, percent

PICKS: tuple[Callable[[list[float]], Any], ...] = (np.mean, np.min)


def page(rows: Sequence[dict[str, Any]], command: str) -> list[str]:
    """The outcome as Markdown."""
    runs: dict[str, dict[int, dict[str, Any]]] = {}
    for row in rows:
        runs.setdefault(row["variant"], {})[row["search"]] = row
    first = runs["as it was"]

    def figures(name: str, pick: Callable[[dict[str, Any]], float]) -> tuple[list[float], list[float]]:
        """Of a variant in each search, and less those of the first variant."""
        own = [pick(runs[name][number]) for number in first]
        return own, [one - pick(first[number]) for one, number in zip(own, first, strict=True)]

    table = list[list[object]]()
    for name in runs:
        means, gains = figures(name, lambda row: float(np.mean(row["test"]["mean"])))
        worst, rises = figures(name, lambda row: float(np.min(row["test"]["mean"])))
        others = [
            f"{np.mean([row[key] for row in runs[name].values()]):.{digits}f}"
            for key, digits in (
                ("generations", 1),
                ("trainings", 0),
                ("spearman", 2),
                ("collapsed", 3),
                ("candidates with one", 2),
            )
        ]
        table.append([name, percent(means), *_gain(gains), f"{100 * np.mean(worst):.1f}", *_gain(rises), *others])
    rules = []
    for name in runs:
        pairs = [row["test"] for row in runs[name].values()]
        changes = [[float(pick(pair["mean and quantile"]) - pick(pair["mean"])) for pair in pairs] for pick in PICKS]
        other = sum(row["chosen"]["mean"] != row["chosen"]["mean and quantile"] for row in runs[name].values())
        rules.append([name, f"{other} of {len(pairs)}", *(f"{100 * np.mean(change):+.2f}" for change in changes)])
    means, worst = (
        [
            float(np.mean([pick(row["test"]["mean and quantile"]) - pick(row["test"]["mean"]) for row in of_search]))
            for of_search in ([row for row in rows if row["search"] == number] for number in first)
        ]
        for pick in PICKS
    )
    rules.append(["all", "", *(f"{gain}, p = {p or '–'}" for gain, p in (_gain(means), _gain(worst)))])
    head = [
        "search",
        "test, %",
        "gain",
        "p",
        "worst of 30, %",
        "gain",
        "p",
        "generations",
        "trainings",
        "ρ",
        "collapsed",
        "with one",
    ]
    return [
        f"# Measures against noisy fitness, and the rate of the search: {len(first)} searches",
        "",
        f"Made by `{command}`, torch {torch.__version__}.",
        "What is done, and by which rule a measure is kept, stands at the head of",
        "[`experiments/measures.py`](../../experiments/measures.py); every run: [`runs.json`](runs.json).",
        "",
        *markdown(head, table),
        "",
        "Test: mean over the searches (sample standard deviation of the searches' means) of the winner's 30 networks.",
        "Gain: points over the search as it was; p: paired t-test, one-tailed, the unit is a search. ρ: Spearman's",
        "correlation of the fitness that the search knows and the mean of 8 fresh networks, over 20 candidates.",
        "Collapsed: share of the networks in the second half of the search whose accuracy is below half of the best",
        "mean; with one: share of the candidates that have such a network.",
        "",
        "What it is worth to choose among the finalists by half the mean and half the lower tenth of ten networks:",
        "",
        *markdown(["search", "another winner", "mean, points", "worst of 30, points"], rules),
        "",
        "All: the mean over the variants in each search; the unit of its p is a search.",
    ]


def _gain(gains: Sequence[float]) -> list[str]:
    """Mean gain in points and its p."""
    p = paired(gains)
    return [f"{100 * np.mean(gains):+.2f}", "" if p is None or not any(gains) else f"{p:.2g}"]
