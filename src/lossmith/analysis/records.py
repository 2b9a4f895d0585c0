"""What a comparison is asked and what it answers: plan, tuned settings, rows, tests."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from lossmith.analysis.baselines import Family
from lossmith.analysis.deciding import ACCURACY, Deciding
from lossmith.analysis.tuning import RunOff
from lossmith.losses import Loss
from lossmith.markup import element
from lossmith.metrics import Difference
from lossmith.training import Backend, Recipe

Samples = tuple[Tensor, Tensor]
QUICK = (
    "Quick: losses are tuned with few networks, which misleads most where some of these diverge; before you claim a "
    "gain, compare with effort standard or thorough."
)
Report = Callable[[str, float], None]


@dataclass(frozen=True)
class Chunks:
    """Where the parts of a comparison are kept, so that one that was stopped goes on.

    Args:
        recall: Gives a stored result for a key, or None.
        keep: Stores a result, and how many seconds it took.
    """

    recall: Callable[[str], Any] = lambda _: None
    keep: Callable[[str, Any, float], None] = lambda *_: None


@dataclass(frozen=True)
class Plan:
    """How a comparison is made.

    Args:
        recipe: The recipe; its learning rate is the middle of the grid.
        backend: How networks are run.
        seeds: Networks of the final comparison, for each loss.
        tuning_seeds: Networks of each setting that is tried.
        finalists: The best settings of each loss that are trained again with fresh seeds before one is chosen; 0
            takes the best of the first seeds.
        finalist_seeds: Networks of each of those.
        epochs: Epochs of each tuning run; the number that is used is read off its validation curve (early stopping).
        seed: What all seeds derive from.
        chunk: Most networks trained in one program.
        deciding: The figure that losses are tuned for, ranked by and tested on.
        stride: Steps between the learning rates of the first grid.
        run_off: What the best of these are trained with besides; None for nothing.
    """

    recipe: Recipe
    backend: Backend
    seeds: int = 30
    tuning_seeds: int = 2
    finalists: int = 5
    finalist_seeds: int = 10
    epochs: int = 60
    seed: int = 0
    chunk: int = 256
    deciding: Deciding = ACCURACY
    stride: int = 1
    run_off: RunOff | None = None


@dataclass(frozen=True)
class Tuned:
    """The setting that a loss is compared with, chosen on validation data.

    Args:
        family: The loss and its strengths.
        place: The chosen strengths, as places on their axes.
        lr: Its learning rate.
        epochs: Epochs that its schedule is laid out for.
        stop: Epochs after which training stops.
        validation: Mean of the deciding figure on validation data there, over the fresh seeds; None if not finite.
        tried: Settings that were tried for this loss.
    """

    family: Family
    place: tuple[int, ...]
    lr: float
    epochs: int
    stop: int
    validation: float | None
    tried: int

    def loss(self, classes: int) -> Loss:
        """The loss at its strengths."""
        return self.family.build(self.family.strengths(self.place), classes)


@dataclass(frozen=True)
class Row:
    """One loss of a comparison.

    Args:
        name: The loss.
        baseline: Whether it is a baseline.
        strengths: Its tuned strengths as text.
        lr: Its tuned learning rate; None where a training function takes none.
        epochs: Epochs that its schedule is laid out for; None where a training function knows them.
        stop: Its tuned number of epochs, or None.
        tried: Settings tried in tuning.
        tuning: Mean of the deciding figure on validation data of the chosen setting over the fresh seeds of tuning;
            None if it is not finite.
        loss: The loss as JSON.
        runs: Raw figures of each network: seed, validation and test accuracy, negative log likelihood and calibration
            error on test data before and after temperature scaling, and the temperature, fitted on validation data;
            where another figure than accuracy decides, that on validation and on test data. What is not finite is None.
    """

    name: str
    baseline: bool
    strengths: str
    lr: float | None
    epochs: int | None
    stop: int | None
    tried: int
    tuning: float | None
    loss: dict[str, Any]
    runs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def setting(self) -> str:
        """What it was tuned to, as text."""
        rate = [] if self.lr is None else [f"lr = {self.lr:.3g}"]
        length = [] if self.stop is None else [f"{self.stop} epoch" + "s" * (self.stop > 1)]
        return ", ".join([*([self.strengths] if self.strengths else []), *rate, *length])

    def column(self, name: str) -> list[float]:
        """One figure of all networks."""
        return [run[name] for run in self.runs]

    @property
    def failed(self) -> int:
        """How many of its trainings raised an exception."""
        return sum(run.get("error") is not None for run in self.runs)

    def mean(self, name: str) -> float:
        """Mean of a figure; NaN if that of a network is not finite."""
        return float(np.mean(np.array(self.column(name), float)))

    def std(self, name: str) -> float:
        """Sample standard deviation of a figure; NaN if that of a network is not finite."""
        return float(np.std(np.array(self.column(name), float), ddof=1))


@dataclass(frozen=True)
class Pair:
    """A test of one loss and another on test data, p corrected by Holm over all pairs of the comparison."""

    first: str
    second: str
    result: Difference
    holm: float


@dataclass(frozen=True)
class Guess:
    """What who has learned nothing gets on test data: the best answer that is the same for every sample.

    Args:
        answer: What is answered, as a part of a sentence.
        value: The deciding figure of it.
    """

    answer: str
    value: float


@dataclass(frozen=True, repr=False)
class Comparison:
    """The outcome of a comparison; printed, it is a table.

    Args:
        rows: The losses by the deciding figure of their final networks on validation data, the best first.
        pairs: The tests by the deciding figure; none of a loss with a network whose figure is not finite.
        best_baseline: The baseline that is best on validation data.
        deciding: The figure that losses were tuned for, ranked by and tested on.
        wrong_labels: Share of the validation labels that noise made wrong.
        tested_on: ``"test"``, or ``"validation"`` where a training function gives no scores on test data: then the
            figures that losses are tested by are of the data that they were chosen on.
        effort: How much was trained for tuning; empty where nobody says it.
        guess: What the best answer gets that is the same for every sample, where that is known.
    """

    rows: list[Row]
    pairs: list[Pair]
    best_baseline: str
    deciding: Deciding = ACCURACY
    wrong_labels: float = 0.0
    tested_on: str = "test"
    effort: str = ""
    guess: Guess | None = None

    def __repr__(self) -> str:
        """The table."""
        return comparison_text(self)

    def _repr_html_(self) -> str:
        """The table, for a notebook."""
        return comparison_html(self)

    def row(self, name: str) -> Row:
        """The row of a loss."""
        return next(row for row in self.rows if row.name == name)

    def pair(self, first: str, second: str) -> Pair | None:
        """The test of one loss and another, if it was made."""
        return next((pair for pair in self.pairs if (pair.first, pair.second) == (first, second)), None)

    @property
    def without_learning(self) -> str:
        """What who has learned nothing gets on test data, and which losses are no better; empty if nobody knows."""
        if self.guess is None:
            return ""
        names = self.unlearned
        worse = f"No better on average: {', '.join(names)}." if names else "Every loss is better on average."
        return (
            f"Without learning: {self.guess.answer} gets a test {self.deciding.name} of {self.guess.value:.4f}. {worse}"
        )

    @property
    def unlearned(self) -> list[str]:
        """The losses whose mean on test data is no better than the guess, or not finite."""
        if self.guess is None:
            return []
        means = {row.name: row.mean(self.deciding.column("test")) for row in self.rows}
        return [name for name, mean in means.items() if not self.deciding.is_better(mean, self.guess.value)]

    def to_json(self) -> dict[str, Any]:
        """Everything, as a JSON object."""
        return {
            "objective": self.deciding.to_json(),
            "rows": [asdict(row) for row in self.rows],
            "pairs": [asdict(pair) for pair in self.pairs],
            "best_baseline": self.best_baseline,
            "wrong_labels": self.wrong_labels,
            **({} if self.tested_on == "test" else {"tested_on": self.tested_on}),
            **({} if self.effort == "" else {"effort": self.effort}),
            **({} if self.guess is None else {"guess": asdict(self.guess)}),
        }

    @staticmethod
    def from_json(document: dict[str, Any]) -> Comparison:
        """The comparison of :meth:`to_json`; what stands beside it in a file is left alone."""
        return Comparison(
            [Row(**row) for row in document["rows"]],
            [Pair(**{**pair, "result": Difference(**pair["result"])}) for pair in document["pairs"]],
            document["best_baseline"],
            # Comparisons of older versions were of accuracy.
            Deciding(**document.get("objective", {})),
            document.get("wrong_labels", 0.0),
            document.get("tested_on", "test"),
            document.get("effort", ""),
            Guess(**document["guess"]) if "guess" in document else None,
        )


def comparison_text(comparison: Comparison) -> str:
    """A table: what each loss was tuned to, its figures, and its difference from cross-entropy."""
    lines, notes = _table(comparison)
    return "\n".join([*_aligned(lines), *notes])


def comparison_html(comparison: Comparison) -> str:
    """The same as HTML."""
    (head, *lines), notes = _table(comparison)
    rows = [element("tr", [element("td", cell) for cell in line]) for line in lines]
    top = element("thead", element("tr", [element("th", cell, scope="col") for cell in head]))
    return element("div", element("table", top, element("tbody", rows)), [element("p", note) for note in notes])


def _table(comparison: Comparison) -> tuple[list[list[str]], list[str]]:
    """Cells by line, the head first, and what is to be known of them."""
    deciding = comparison.deciding
    validation, test = deciding.column("validation"), deciding.column("test")
    reference = next((pair.second for pair in comparison.pairs), comparison.best_baseline)
    head = ["loss", "tuned to", "validation", comparison.tested_on, f"less {reference}", "p"]
    lines = [head]
    for row in comparison.rows:
        pair = comparison.pair(row.name, reference)
        difference = "" if pair is None else _difference(pair.result.difference, pair.result.low, pair.result.high)
        p = "" if pair is None else f"{pair.holm:.2g}"
        lines.append([row.name, row.setting, _figure(row, validation), _figure(row, test), difference, p])
    count = len(comparison.rows[0].runs)
    failed = [
        f"{row.failed} of {len(row.runs)} trainings with {row.name} failed" for row in comparison.rows if row.failed
    ]
    notes = [
        f"{deciding.name}, mean ± standard deviation of {count} trainings; p: one-tailed Welch, Holm-corrected over "
        f"{len(comparison.pairs)} tests, the unit is a training. Best baseline on validation data: "
        f"{comparison.best_baseline}.",
        *(f"{one}." for one in failed),
    ]
    if comparison.guess is not None:
        notes.append(comparison.without_learning)
    if comparison.effort == "quick":
        notes.append(QUICK)
    if comparison.tested_on != "test":
        notes.append(
            "No test data: these are the validation figures that losses were chosen by, and favor all of them."
        )
    return lines, notes


def _difference(mean: float, low: float, high: float) -> str:
    return f"{mean + 0.0:+.4f} [{low:+.4f}, {high:+.4f}]"


def _figure(row: Row, name: str) -> str:
    mean, std = row.mean(name), row.std(name)
    if not math.isfinite(mean):
        return "–"
    return f"{mean:.4f} ± {std:.4f}"


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their longest cell; the last line of the head is ruled."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    found = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return [found[0], "  ".join("─" * width for width in widths), *found[1:]]
