"""The page of ``suspects.py``: areas under precision and recall, and what came of the claims."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from evidence import markdown
from program import versions_line
from scipy import stats

Run = dict[str, Any]
Figure = Callable[[Run], float]
USUAL, PLAIN = "label smoothing + Σh²", "cross-entropy"
RIVAL, OTHERS, PULL = "rival's share", ("self-confidence", "margin"), "pull"
# What the docs leave out: columns that are equal to others or stand beside without a use.
SHORT = ("pull", "cleanlab: self confidence", "cleanlab: normalized margin")
MISTAKEN = ("asymmetric:mnist", "pairs")


def places(runs: Sequence[Run]) -> list[tuple[str, str, float]]:
    """The settings, in their order: data, noise and rate."""
    return list(dict.fromkeys((run["data"], run["noise"], run["rate"]) for run in runs))


def values(runs: Sequence[Run], place: tuple[str, str, float], loss: str, figure: Figure) -> list[float]:
    """A figure of each draw of a setting."""
    return [figure(run) for run in runs if (run["data"], run["noise"], run["rate"]) == place and run["loss"] == loss]


def means(runs: Sequence[Run], loss: str, figure: Figure) -> list[float]:
    """The mean of a figure over the draws of each setting."""
    return [float(np.mean(values(runs, place, loss, figure))) for place in places(runs)]


def difference(runs: Sequence[Run], other: Figure, loss: str = USUAL) -> str:
    """The rival's share less another figure, each the mean over the settings: its mean and interval over the draws."""
    rows = [
        np.subtract(values(runs, place, USUAL, score(RIVAL)), values(runs, place, loss, other))
        for place in places(runs)
    ]
    over_settings = np.mean(rows, axis=0)
    half = float(stats.sem(over_settings) * stats.t.ppf(0.975, len(over_settings) - 1))
    mean = float(over_settings.mean())
    return f"{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}]"


def score(name: str, epochs: str = "mean") -> Figure:
    """The area of a score."""
    return lambda run: float(run[epochs][name])


def page(document: dict[str, Any]) -> list[str]:
    """The outcome as Markdown."""
    runs, cleanlab = document["runs"], document["cleanlab"]
    made = f"Made by `{document['command']}`, {versions_line(document)}, {document['threads']} thread(s), "
    with_cleanlab = f"cleanlab {cleanlab} in a Python of its own." if cleanlab else "cleanlab not installed."
    return [
        "# Which labels are wrong",
        "",
        made + with_cleanlab,
        "What is done, and what was written down before the run, stands at the head of",
        "[`experiments/suspects.py`](../../experiments/suspects.py); figures: [`runs.json`](runs.json).",
        "",
        "Area under precision and recall, mean ± sample standard deviation of five draws; a random order has the share",
        "of wrong labels. If not said otherwise: beliefs of networks of label smoothing + Σh², averaged over the",
        "epochs, ranked by the rival's share. In brackets: the 95 % t interval of a difference over the draws, each",
        "the mean of its settings.",
        "",
        *table(runs),
        "",
        *_verdicts(runs, cleanlab is not None),
    ]


def _columns(runs: Sequence[Run]) -> dict[str, tuple[str, Figure]]:
    """Title, loss and figure of each column."""
    found: dict[str, tuple[str, Figure]] = {
        RIVAL: (USUAL, score(RIVAL)),
        **{name: (USUAL, score(name)) for name in OTHERS},
        PULL: (USUAL, score(PULL)),
        "last epoch": (USUAL, score(RIVAL, "last")),
        PLAIN: (PLAIN, score(RIVAL)),
        "logistic regression": (USUAL, lambda run: float(run["regression"]["area"])),
    }
    return found | {f"cleanlab: {name.replace('_', ' ')}": (USUAL, _cleanlab(name)) for name in methods(runs)}


def methods(runs: Sequence[Run]) -> list[str]:
    """The scores of cleanlab that there are."""
    return [name for name in runs[0]["cleanlab"] if name != "seconds"]


def _cleanlab(name: str) -> Figure:
    return lambda run: float(run["cleanlab"][name])


def table(runs: Sequence[Run], left_out: Sequence[str] = ()) -> list[str]:
    """A row for each setting.

    Args:
        runs: The figures of all draws.
        left_out: Columns that are not shown.
    """
    columns = {title: column for title, column in _columns(runs).items() if title not in left_out}
    rows = list[list[str]]()
    for place in places(runs):
        data, noise, rate = place
        wrong = np.mean(values(runs, place, USUAL, lambda run: run["wrong"]))
        cells = [values(runs, place, loss, figure) for loss, figure in columns.values()]
        seconds = np.mean(values(runs, place, USUAL, lambda run: run["seconds"]))
        rows.append(
            [
                f"{data}, {noise}{f' {rate:g}' if rate else ''}",
                f"{wrong:.3f}",
                *(f"{np.mean(cell):.3f} ± {np.std(cell, ddof=1):.3f}" for cell in cells),
                f"{seconds:.1f}",
            ]
        )
    whole = [f"{np.mean(means(runs, loss, figure)):.3f}" for loss, figure in columns.values()]
    rows.append(["mean of the settings", "", *whole, ""])
    return markdown(["data, noise", "wrong", *columns, "seconds"], rows)


def _verdicts(runs: Sequence[Run], has_cleanlab: bool) -> list[str]:
    rival, names = means(runs, USUAL, score(RIVAL)), places(runs)
    others = {name: means(runs, USUAL, score(name)) for name in OTHERS}
    best = all(np.mean(rival) > np.mean(row) for row in others.values())
    last, plain = means(runs, USUAL, score(RIVAL, "last")), means(runs, PLAIN, score(RIVAL))
    mistaken = [place for place, (_, noise, _) in enumerate(names) if noise in MISTAKEN]
    human = [place for place, (data, _, _) in enumerate(names) if data == "cifar10"]
    robust = all(rival[k] > plain[k] for k in mistaken) and np.mean(rival) > np.mean(plain)
    pull = means(runs, USUAL, score(PULL))
    text = [
        f"**(1) {_word(best)}**: {_mean(rival)} against "
        + " and ".join(f"{_mean(row)} ({name}, {difference(runs, score(name))})" for name, row in others.items())
        + "; "
        + ", ".join(f"{name} is better in {_count(row, rival)}" for name, row in others.items())
        + f" of {len(rival)} settings.",
        f"**(2) {_word(np.mean(rival) > np.mean(last))}**: {_mean(rival)} against {_mean(last)} "
        f"({difference(runs, score(RIVAL, 'last'))}); the average is better in {_count(rival, last)} of {len(rival)} "
        "settings.",
        f"**(3) {_word(bool(robust))}**: {_mean(rival)} against {_mean(plain)} "
        f"({difference(runs, score(RIVAL), PLAIN)}); better in "
        f"{sum(rival[k] > plain[k] for k in mistaken)} of {len(mistaken)} settings in which classes are mistaken for "
        f"others, in {_count(rival, plain)} of all {len(rival)}. With human labels cross-entropy was expected to be "
        "better; there it is " + ", ".join(f"{rival[k]:.3f} against {plain[k]:.3f}" for k in human) + ".",
        f"**(4) {_word(_count(rival, pull) == len(rival))}**: the pull ranks worse in {_count(rival, pull)} of "
        f"{len(rival)} settings ({_mean(pull)} in the mean).",
    ]
    if not has_cleanlab:
        return [*text, "**(5) Open**: cleanlab was not installed."]
    theirs = {name: means(runs, USUAL, _cleanlab(name)) for name in methods(runs)}
    seconds = np.mean([run["cleanlab"]["seconds"] for run in runs if run["cleanlab"]])
    held = all(np.mean(row) <= np.mean(rival) for row in theirs.values())
    listed = ", ".join(f"{name.replace('_', ' ')} {_mean(row)}" for name, row in theirs.items())
    return [*text, f"**(5) {_word(held)}**: {_mean(rival)} against {listed}; {seconds:.3f} s for all three scores."]


def _count(better: Sequence[float], worse: Sequence[float]) -> int:
    return sum(one > other for one, other in zip(better, worse, strict=True))


def _mean(row: Sequence[float]) -> str:
    return f"{np.mean(row):.3f}"


def _word(held: bool) -> str:
    return "Held" if held else "Failed"
