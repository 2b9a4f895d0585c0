"""The page of experiments/gentler.py: the claims on fresh draws and on images, every job, every setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from evidence import ends_of, markdown, one_tailed, spread, word_of
from noisy_page import BEST, Scores, accuracy_table
from noisy_runs import AGAIN, ESTIMATED, REFERENCE

from lossmith.metrics import holm

FIRST_ROW, SECOND_ROW, PAIR, PLAIN = "the first", "the second", "label smoothing + Σh²", "cross-entropy"
TUNED = (REFERENCE, "label smoothing + Σh²", "generalised cross-entropy", "forward")
BEFORE = ESTIMATED.replace("the shipped loss", FIRST_ROW)
ON_IMAGES = ((AGAIN, BEFORE), (AGAIN, REFERENCE), (AGAIN, BEST))
Draws = Sequence[Mapping[str, Mapping[str, float]]]
Groups = Mapping[str, Sequence[str]]


def page(document: Mapping[str, Any], groups: Groups, again: int) -> list[str]:
    """The outcome as Markdown.

    Args:
        document: What was kept.
        groups: The jobs of each group.
        again: The first of the numbers that were asked again.
    """
    # Of that experiment the shipped loss was the first version.
    runs = [{**row, "row": row["row"].replace("the shipped loss", FIRST_ROW)} for row in document["runs"]]
    draws, scores = document["draws"], Scores([row for row in runs if row["number"] < again], rivals=TUNED)
    fresh = Scores([row for row in runs if row["number"] >= again], rivals=TUNED)
    return [
        f"# A gentler loss that ships: {len(draws)} fresh draws of {sum(map(len, groups.values()))} jobs, "
        f"{len(scores.numbers)} and {len(fresh.numbers)} numbers of images",
        "",
        f"Made by `{document['command']}`, PyTorch {document['versions']['torch']}.",
        "What is done and the claims, written down before the run, stand at the head of",
        "[`experiments/gentler.py`](../../experiments/gentler.py). Every figure: [`runs.json`](runs.json).",
        "",
        f"(a, b, c, p, d) that the search found: {told(document['search']['numbers'])}. Written down by hand after it:",
        f"{told(document['numbers'])}.",
        "",
        *claims_table(draws, groups, scores),
        "",
        *again_table(fresh),
        "",
        *accuracy_table(scores),
        "",
        *accuracy_table(fresh),
        "",
        *job_table(draws, groups),
    ]


def told(numbers: Sequence[float]) -> str:
    """Numbers as text."""
    return "(" + ", ".join(f"{number:g}" for number in numbers) + ")"


def lead(draws: Draws, groups: Groups, row: str, other: str) -> list[float]:
    """How many more of cross-entropy's errors a row does not make than another: of each draw, the mean over groups."""
    return [float(np.mean([lead_in(draw, group, row, other) for group in groups.values()])) for draw in draws]


def lead_in(draw: Mapping[str, Mapping[str, float]], group: Sequence[str], row: str, other: str) -> float:
    """The same of one draw, the mean over the jobs of a group at each rate."""
    own = [errors for name, errors in draw.items() if name.rpartition(", rate")[0] in group]
    return float(np.mean([gain(errors, row) - gain(errors, other) for errors in own]))


def gain(errors: Mapping[str, float], row: str) -> float:
    """The share of cross-entropy's errors that a row does not make, from −1."""
    return max(-1.0, 1 - errors[row] / errors[PLAIN])


def claims_table(draws: Draws, groups: Groups, scores: Scores) -> list[str]:
    """The six claims, what else was compared, and what ships by the rule."""
    slow = dict([list(groups.items())[-1]])
    compared = ((groups, FIRST_ROW), (groups, PAIR), (slow, PLAIN))
    gaps = [lead(draws, among, SECOND_ROW, other) for among, other in compared]
    images = [scores.difference(*pair) for pair in ON_IMAGES]
    p = [*map(one_tailed, gaps), *(one.p for one in images)]
    adjusted = holm(p)
    rows, words = [], []
    for place, ((among, other), gap) in enumerate(zip(compared, gaps, strict=True)):
        words.append(word_of(adjusted[place], ends_of(gap)[1]))
        where = f", {next(iter(slow))}" if among is slow else ""
        above = f"{sum(one > 0 for one in gap)} of {len(gap)}"
        cells = (f"{100 * float(np.mean(gap)):+.1f} % of errors", spread(ends_of(gap), digits=1), above)
        rows.append((f"({place + 1}) {SECOND_ROW} > {other}{where}", *cells))
    for place, (pair, one) in enumerate(zip(ON_IMAGES, images, strict=True), len(gaps)):
        words.append(word_of(adjusted[place], one.high))
        own = [value > 0 for values in scores.gaps(*pair).values() for value in values]
        cells = (f"{100 * one.difference:+.2f} points", spread((one.low, one.high)), f"{sum(own)} of {len(own)}")
        rows.append((f"({place + 1}) images: {SECOND_ROW} > {pair[1]}", *cells))
    table = [
        (*row, f"{one:.2g}", f"{all_:.2g}", word) for row, one, all_, word in zip(rows, p, adjusted, words, strict=True)
    ]
    # Of this one nothing was claimed.
    gap = lead(draws, groups, SECOND_ROW, PLAIN)
    above = f"{sum(one > 0 for one in gap)} of {len(gap)}"
    cells = (f"{100 * float(np.mean(gap)):+.1f} % of errors", spread(ends_of(gap), digits=1), above)
    table.append((f"{SECOND_ROW} less {PLAIN}", *cells, "", "", ""))
    return [
        *markdown(["claim", "difference", "95 % interval", "above 0", "p", "Holm", "verdict"], table),
        "",
        f"(1) to (3): how many more of cross-entropy's errors are not made, n = {len(draws)} draws, each the mean over",
        "the groups of jobs and two rates; one-tailed paired t-tests. (4) to (6): points of test accuracy in the mean",
        f"over six settings, n = {len(scores.numbers)} numbers of each data set; tests as in results/noisy; the best",
        "rival is the best of four on validation data. Holm over the six. Held: Holm below 0.05. Failed: the interval",
        "is below 0. By the first rule the second "
        f"{'replaces' if 'held' in words[3] and 'failed' not in words[0] else 'does not replace'} the first.",
    ]


def again_table(scores: Scores) -> list[str]:
    """The seventh claim, of new numbers, what else they say, and what ships by the new rule."""
    rows, ships = [], ""
    for place, pair in enumerate(((AGAIN, BEFORE), (AGAIN, REFERENCE))):
        one = scores.difference(*pair)
        own = [value > 0 for values in scores.gaps(*pair).values() for value in values]
        name = f"{SECOND_ROW} {'less' if place else '>'} {pair[1]}"
        word = "" if place else word_of(one.p, one.high)
        ships = ships or ("replaces" if "held" in word else "does not replace")
        cells = (f"{100 * one.difference:+.2f}", spread((one.low, one.high)), f"{sum(own)} of {len(own)}")
        rows.append((name if place else f"(7) {name}", *cells, "" if place else f"{one.p:.2g}", word))
    return [
        *markdown(["asked again, on images", "points", "95 % interval", "above 0", "p", "verdict"], rows),
        "",
        f"As (4), with n = {len(scores.numbers)} other numbers of each data set, one claim and no correction.",
        "",
        f"By the new rule the second **{ships}** the first.",
    ]


def job_table(draws: Draws, groups: Groups) -> list[str]:
    """The errors of every row in each job and rate."""
    rows = []
    for name in (job for group in groups.values() for job in group):
        cells = []
        for row in (PLAIN, FIRST_ROW, SECOND_ROW, PAIR):
            means = [
                100 * float(np.mean([draw[key][row] for draw in draws]))
                for key in draws[0]
                if key.rpartition(", rate")[0] == name
            ]
            cells.append(" / ".join(f"{mean:.1f}" for mean in means))
        rows.append((name, *cells))
    return [
        *markdown(["job", PLAIN, FIRST_ROW, SECOND_ROW, PAIR], rows),
        "",
        "Errors on clean test labels, %, the mean over the draws: at the rate that suits cross-entropy / at twice it.",
    ]
