"""The page of experiments/noisy.py, and tables of experiments/second.py: claims, accuracies, choices, cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from evidence import markdown, percent, spread, stratified, word_of
from noisy_runs import BY_HAND, ESTIMATED, REFERENCE, RIVALS, SETTINGS, SPACES, TOLD
from scipy.stats import spearmanr

from lossmith.metrics import Difference, holm

BEST, PUBLISHED = "the best rival", "the best published loss"
RESIDUAL, WIDER = (f"evolved, {space}" for space in SPACES)
Pair = tuple[str, str]
# What is claimed to be better than what.
CLAIMS: tuple[Pair, ...] = (
    (BEST, REFERENCE),
    (BY_HAND, PUBLISHED),
    (RESIDUAL, REFERENCE),
    (WIDER, RESIDUAL),
    (RESIDUAL, BEST),
    (ESTIMATED, REFERENCE),
    (ESTIMATED, BEST),
)
# Of these nothing was claimed.
UNCLAIMED: tuple[Pair, ...] = (
    (WIDER, BEST),
    (BY_HAND, REFERENCE),
    (BY_HAND, RESIDUAL),
    (ESTIMATED, BY_HAND),
    (ESTIMATED, RESIDUAL),
    (TOLD, ESTIMATED),
)
# Wang et al. (2024), tables 2 and 4: CIFAR-10 at full size, eight layers, 120 epochs, the last one, three runs.
AT = ("CIFAR-10 symmetric 40 %", "CIFAR-10 symmetric 80 %", "CIFAR-10 asymmetric 40 %")
FULL_SIZE: dict[str, tuple[float, ...]] = {
    "cross-entropy": (58.5, 19.0, 75.3),
    "generalised cross-entropy": (82.2, 25.8, 74.0),
    "PolyLoss-1, cross-entropy + ε MAE": (79.5, 25.9, 75.0),
    "NCE + RCE": (85.1, 55.3, 79.4),
    "NCE + AGCE": (85.9, 50.0, 79.3),
    "ε-softmax CE + MAE": (85.9, 59.0, 78.9),
    "LogitClip": (79.2, 21.0, 74.3),
}
TITLES = dict(zip(SPACES, (RESIDUAL, WIDER), strict=True))


@dataclass(frozen=True)
class Scores:
    """The figures of the networks.

    Args:
        rows: What the experiment kept.
        settings: Its settings, and the data set of each: those of one share their images in a number.
        rivals: The rows that were tuned.
    """

    rows: Sequence[Mapping[str, Any]]
    settings: Mapping[str, str] = field(default_factory=lambda: {name: data for name, (data, *_) in SETTINGS.items()})
    rivals: Sequence[str] = RIVALS

    @property
    def numbers(self) -> list[int]:
        """The numbers."""
        return sorted({row["number"] for row in self.rows})

    def row(self, setting: str, number: int, name: str) -> Mapping[str, Any]:
        """A row of the table in a setting and number; of "the best", the one that validation data chooses."""
        mine = {one["row"]: one for one in self.rows if (one["setting"], one["number"]) == (setting, number)}
        if name in (BEST, PUBLISHED):
            among = [rival for rival in self.rivals if name == BEST or rival not in (BY_HAND, REFERENCE)]
            return mine[max(among, key=lambda rival: tuned_score(mine[rival]))]
        return mine[{title: space for space, title in TITLES.items()}.get(name, name)]

    def mean(self, setting: str, number: int, name: str) -> float:
        """The mean test accuracy of the networks of a row."""
        return float(np.mean(self.row(setting, number, name)["test"]))

    def gaps(self, better: str, worse: str) -> dict[str, list[float]]:
        """The differences of two rows, by setting and number."""
        return {
            setting: [self.mean(setting, n, better) - self.mean(setting, n, worse) for n in self.numbers]
            for setting in self.settings
        }

    def difference(self, better: str, worse: str) -> Difference:
        """What two rows differ by, with the data sets as groups."""
        gaps, groups = self.gaps(better, worse), dict[str, list[list[float]]]()
        for setting, data in self.settings.items():
            groups.setdefault(data, []).append(gaps[setting])
        values = [np.mean(rows, axis=0).tolist() for rows in groups.values()]
        return stratified(values, [len(rows) for rows in groups.values()])


def tuned_score(row: Mapping[str, Any]) -> float:
    """The mean validation accuracy that a tuned row was chosen by: of three networks, which are not tested."""
    most = max(len(one["validation"]) for one in row["tried"])
    return max(float(np.mean(one["validation"])) for one in row["tried"] if len(one["validation"]) == most)


def page(document: Mapping[str, Any]) -> list[str]:
    """The outcome as Markdown."""
    scores = Scores(document["runs"])
    hours = sum(row["seconds"] for row in scores.rows) / 3600
    return [
        f"# Noisy labels: all rivals tuned alike, in {len(SETTINGS)} settings with {len(scores.numbers)} numbers each",
        "",
        f"Made by `{document['command']}`, PyTorch {document['versions']['torch']}: {hours:.1f} hours of CPU time of",
        "tuning and searches. What is done and the claims, written down before the run, stand at the head of",
        "[`experiments/noisy.py`](../../experiments/noisy.py). Every run: [`runs.json`](runs.json).",
        "",
        *claims_table(scores),
        "",
        *accuracy_table(scores),
        "",
        *choice_table(scores),
        "",
        *published_table(scores),
        "",
        *cost_table(scores),
    ]


def claims_table(scores: Scores, claims: Sequence[Pair] = CLAIMS, unclaimed: Sequence[Pair] = UNCLAIMED) -> list[str]:
    """The claims, and the gaps of which nothing was claimed."""
    found = [(pair, scores.difference(*pair)) for pair in (*claims, *unclaimed)]
    adjusted = holm([one.p for _, one in found[: len(claims)]])
    rows = []
    for place, ((better, worse), one) in enumerate(found):
        above = [gap > 0 for gaps in scores.gaps(better, worse).values() for gap in gaps]
        claimed = place < len(claims)
        rows.append(
            (
                f"({place + 1}) {better} > {worse}" if claimed else f"{better} less {worse}",
                f"{100 * one.difference:+.2f}",
                spread((one.low, one.high)),
                f"{sum(above)} of {len(above)}",
                *(
                    (f"{one.p:.2g}", f"{adjusted[place]:.2g}", word_of(adjusted[place], one.high))
                    if claimed
                    else ("",) * 3
                ),
            )
        )
    return [
        *markdown(["claim", "points", "95 % interval", "above 0", "p", "Holm", "verdict"], rows),
        "",
        f"Points of test accuracy in the mean over the settings, n = {len(scores.numbers)} numbers of each data set;",
        "above 0 counts settings and numbers. One-tailed t-tests whose values are of a number and data set; Holm",
        "over all claims. Held: Holm below 0.05. Failed: the interval is below 0. Of the rows without a number",
        "nothing was claimed. The best rival and the best published loss are chosen by validation data, for each",
        "setting and number.",
    ]


def accuracy_table(scores: Scores) -> list[str]:
    """Test accuracy of every row, the best mean first."""
    names = list(dict.fromkeys(row["row"] for row in scores.rows))
    means = {
        name: {setting: [scores.mean(setting, n, name) for n in scores.numbers] for setting in scores.settings}
        for name in names
    }
    rows = [
        (
            TITLES.get(name, name),
            *(percent(means[name][setting]) for setting in scores.settings),
            f"{100 * float(np.mean(list(means[name].values()))):.2f}",
            trainings(scores, name),
        )
        for name in sorted(names, key=lambda name: -float(np.mean(list(means[name].values()))))
    ]
    networks = len(scores.rows[0]["test"])
    return [
        *markdown(["loss", *scores.settings, "mean", "trainings"], rows),
        "",
        f"Test accuracy after the last epoch, %: mean over {len(scores.numbers)} numbers (sample standard deviation of",
        f"the numbers), {networks} networks of each. Trainings: of the tuning, search or estimate, in each setting;",
        "searches and the shipped loss take the rate of cross-entropy's tuning besides.",
    ]


def trainings(scores: Scores, name: str) -> str:
    """How many trainings the tuning or search of a row took."""
    counts = {row["trainings"] for row in scores.rows if row["row"] == name}
    return "–".join(str(count) for count in sorted({min(counts), max(counts)}))


def choice_table(scores: Scores) -> list[str]:
    """What validation data chose, and what would have been best."""
    rows = []
    for setting in scores.settings:
        chosen = [scores.row(setting, n, BEST)["row"] for n in scores.numbers]
        best = [max(scores.rivals, key=best_at(scores, setting, n)) for n in scores.numbers]
        rows.append((setting, ", ".join(chosen), ", ".join(best)))
    return markdown(["setting", "best rival on validation data, for each number", "on test data"], rows)


def best_at(scores: Scores, setting: str, number: int) -> Callable[[str], float]:
    """The accuracy of a rival in a setting and number."""
    return lambda name: scores.mean(setting, number, name)


def published_table(scores: Scores) -> list[str]:
    """The published figures at full size beside those of here."""
    here = {
        name: [float(np.mean([scores.mean(at, n, name) for n in scores.numbers])) for at in AT] for name in FULL_SIZE
    }
    rows = []
    for name, values in FULL_SIZE.items():
        rows.append((name, *(f"{one:.1f} / {100 * own:.1f}" for one, own in zip(values, here[name], strict=True))))
    orders = []
    for place in range(len(AT)):
        published, own = ([table[name][place] for name in FULL_SIZE] for table in (FULL_SIZE, here))
        orders.append(f"{float(spearmanr(published, own).statistic):+.2f}")
    rows.append(("rank correlation of the two", *orders))
    return [
        *markdown(["loss", *AT], rows),
        "",
        "Test accuracy after the last epoch, %: as published for all of CIFAR-10 (Wang et al., 2024; PolyLoss-1 is",
        "symmetric cross-entropy there) / here, with 2,000 images of 16 × 16 pixels and 12 epochs.",
    ]


def cost_table(scores: Scores) -> list[str]:
    """Seconds of the searches, and what they found."""
    rows = []
    for setting in scores.settings:
        seconds = {
            name: [scores.row(setting, n, name)["seconds"] for n in scores.numbers] for name in (RESIDUAL, WIDER)
        }
        ratio = float(np.mean(seconds[WIDER]) / np.mean(seconds[RESIDUAL]))
        cells = (f"{np.mean(values):.0f}" for values in seconds.values())
        rows.append((setting, *cells, f"{ratio:.2f}"))
    return [
        *markdown(["CPU seconds of a search", *SPACES, "ratio"], rows),
        "",
        "Searches of one setting and number, of as many trainings; the mean over the numbers, with other work beside.",
    ]
