"""The page of experiments/shipped.py: the claims, every job, and what a wrong share costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from evidence import LEVEL, ends_of, markdown, one_tailed, spread, word_of

from lossmith.metrics import holm

FIVE, TWO, PAIR, PLAIN = "five numbers", "two numbers", "label smoothing + Σh²", "cross-entropy"
# Of cross-entropy's errors: by no more may the two numbers be behind the five.
MARGIN = 0.02
TOLD = " told "
Draws = Sequence[Mapping[str, Mapping[str, float]]]


def gains(draws: Draws, row: str, jobs: Sequence[str]) -> list[float]:
    """The share of cross-entropy's errors that a row does not make, from −1: of each draw, in the mean over jobs."""
    return [float(np.mean([max(-1.0, 1 - draw[job][row] / draw[job][PLAIN]) for job in jobs])) for draw in draws]


def page(document: Mapping[str, Any], shares: Mapping[str, float]) -> list[str]:
    """The outcome as Markdown.

    Args:
        document: What was kept.
        shares: The share of wrong labels of each job.
    """
    draws = document["runs"]
    numbers = {row: search["numbers"] for row, search in document["searches"].items()}
    return [
        f"# The loss that ships: {len(shares)} jobs, {len(draws)} fresh draws of each",
        "",
        f"Made by `{document['command']}`, PyTorch {document['versions']['torch']}. What is done and the claims,",
        "written down before the run, stand at the head of",
        "[`experiments/shipped.py`](../../experiments/shipped.py). Every figure: [`runs.json`](runs.json).",
        "",
        f"The search found {told(numbers[FIVE])}, for {PAIR} {told(numbers[PAIR])}. Written down by hand after it:",
        f"{told(document['two_numbers'])}.",
        "",
        *claims_table(draws, list(shares)),
        "",
        *job_table(draws, list(shares)),
        "",
        *share_table(draws, shares),
    ]


def told(numbers: Sequence[float]) -> str:
    """Numbers as text."""
    return "(" + ", ".join(f"{number:g}" for number in numbers) + ")"


def rivals_of(draws: Draws, jobs: Sequence[str]) -> list[str]:
    """The losses with published numbers."""
    return [row for row in draws[0][jobs[0]] if row not in (FIVE, TWO, PAIR, PLAIN) and TOLD not in row]


def claims_table(draws: Draws, jobs: Sequence[str]) -> list[str]:
    """The claims, what else was compared, and what ships by the rule."""
    own = {row: gains(draws, row, jobs) for row in (FIVE, TWO, PAIR, *rivals_of(draws, jobs))}
    own[PLAIN] = [0.0] * len(draws)
    claims = [("(1)", FIVE, PLAIN), ("(2)", FIVE, PAIR)]
    claims += [("(3)", FIVE, rival) for rival in rivals_of(draws, jobs)]
    claims += [("(4)", TWO, PAIR), ("(5)", TWO, PLAIN)]
    gaps = [np.subtract(own[better], own[worse]).tolist() for _, better, worse in claims]
    p = [one_tailed(gap) for gap in gaps]
    adjusted = holm(p)
    rows = [
        line(f"{number} {better} > {worse}", gap, one, whole)
        for (number, better, worse), gap, one, whole in zip(claims, gaps, p, adjusted, strict=True)
    ]
    behind = np.subtract(own[FIVE], own[TWO]).tolist()
    rows.append(line(f"{FIVE} less {TWO}", behind, one_tailed(behind), None))
    held = {number: whole < LEVEL for (number, *_), whole in zip(claims, adjusted, strict=True) if number != "(3)"}
    near = ends_of(behind)[1] < MARGIN
    ships = TWO if held["(4)"] and near else FIVE if held["(2)"] else PAIR
    return [
        *markdown(["claim", "errors of cross-entropy, %", "95 % interval", "above 0", "p", "Holm", "verdict"], rows),
        "",
        f"How many more of cross-entropy's errors are not made, n = {len(draws)} draws, each the mean over the jobs.",
        "One-tailed paired t-tests, Holm over all claims; of the row without a number nothing was claimed.",
        "",
        f"By the rule **{ships}** ships.",
    ]


def line(name: str, gap: list[float], p: float, adjusted: float | None) -> tuple[str, ...]:
    """A row of the table of claims."""
    ends = ends_of(gap)
    word = "" if adjusted is None else word_of(adjusted, ends[1])
    above = f"{sum(one > 0 for one in gap)} of {len(gap)}"
    mean = f"{100 * float(np.mean(gap)):+.1f}"
    return name, mean, spread(ends, digits=1), above, f"{p:.2g}", "" if adjusted is None else f"{adjusted:.2g}", word


def job_table(draws: Draws, jobs: Sequence[str]) -> list[str]:
    """The errors of every row in each job."""
    rivals = rivals_of(draws, jobs)
    rows = []
    for job in jobs:
        means = {row: float(np.mean([draw[job][row] for draw in draws])) for row in (PLAIN, FIVE, TWO, PAIR, *rivals)}
        best = min(rivals, key=means.__getitem__)
        cells = (f"{100 * means[row]:.1f}" for row in (PLAIN, TWO, FIVE, PAIR))
        rows.append((job, *cells, f"{100 * means[best]:.1f} ({best})"))
    head = ["job", "cross-entropy", TWO, FIVE, PAIR, "the best published one"]
    return [*markdown(head, rows), "", "Errors on clean test labels, %, the mean over the draws."]


def share_table(draws: Draws, shares: Mapping[str, float]) -> list[str]:
    """What the loss with two numbers gains where it is told another share than the true one."""
    rows = [row for row in draws[0][next(iter(shares))] if row.startswith(TWO + TOLD)]
    truths = sorted(set(shares.values()))
    lines = []
    for truth in truths:
        jobs = [job for job, share in shares.items() if share == truth]
        cells = (f"{100 * float(np.mean(gains(draws, row, jobs))):+.0f}" for row in rows)
        lines.append((f"{truth:.0%}".replace("%", " %"), len(jobs), *cells))
    head = ["wrong labels", "jobs", *(f"told {float(row.rpartition(TOLD)[2]):.0%}".replace("%", " %") for row in rows)]
    return [
        *markdown(head, lines),
        "",
        f"How many of cross-entropy's errors the loss with {TWO} does not make, %, told the true share or",
        "another one; the mean over jobs and draws.",
    ]
