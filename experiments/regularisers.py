"""How evolved losses and the regularisers of the paper's §2.2 interact: one table for clean and for noisy labels.

    python experiments/regularisers.py experiments/small/regularisers-digits.toml results/regularisers/digits

Each search K has a split and label noise of its own, once clean and once with 40 % of the training and validation
labels replaced at random; test labels are clean. In each of these conditions a loss is evolved by the study file,
without any regulariser (the best candidate by its mean over fresh seeds; never cross-entropy or label smoothing). Then
cross-entropy and the evolved loss are trained with none and with each of: flooding, early stopping, dropout, weight
decay, label smoothing, mixup, and on images Cutout and CutMix.

- For every row, learning rate and strength are tuned on the validation split, by mean accuracy over a few seeds. Both
  losses are given the same grid: where the best place of one is at the edge, the next place is tried with both, so that
  they have equal budgets. Their best settings are trained again with fresh seeds, and the highest mean is taken.
- Then fresh networks of each are judged once on test data, after the last epoch (with early stopping: the best one).
- Flooding needs a level that means the same for every loss: a share of the way from the loss's lowest value to its
  value at equal outputs, over outputs that leave the same to each wrong class. For cross-entropy that is share · log n.
- Label smoothing of the evolved loss is its value at smoothed labels; with other strengths all is as usual.

Written down before the run. Each is told for clean and for noisy labels:

1. The evolved loss has a higher test accuracy than cross-entropy, both without a regulariser.
2. A regulariser helps cross-entropy; it helps the evolved loss.
3. The evolved loss, with the regulariser that is best for it on validation data (or none), has a higher test accuracy
   than cross-entropy with the one best for that (or none).
4. The interaction: what a regulariser adds to the evolved loss less what it adds to cross-entropy. Below 0 the two are
   in each other's place, above 0 they add to more than each alone. The paper only says that regularisers "often
   interact".

1 to 3 hold if the mean difference is above 0 in every search and one-tailed Welch p < 0.05 in two thirds of the
searches or more, corrected by Holm over all such tests of the program; they fail if the mean difference over the
searches is 0 or below; anything else is "not shown". An interaction is shown if two-tailed p < 0.05 (Welch's test of a
difference of differences, corrected by Holm over all interactions) with the same sign in two thirds of the searches or
more. The unit of every p is a network of one search. Networks that diverged count as wrong on every image. A row with a
strength has more settings tried than a row without; that is what it means to tune a strength.

Stopped and run again, it goes on: every training is kept in the databases in ``--work``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy import stats

from lossmith.analysis import Axis
from lossmith.data import open_source
from lossmith.io import read_json, write_json, write_toml, write_whole
from lossmith.losses import Loss, Term, cross_entropy
from lossmith.metrics.statistics import Difference, holm, welch
from lossmith.nets import network_factory
from lossmith.report import save_figure
from lossmith.report.figures import EVOLVED, PLAIN, styled
from lossmith.seeds import derive
from lossmith.study import EvolveSettings, evolve
from lossmith.study.config import settings_document, validated, with_data
from lossmith.study.problem import Problem
from lossmith.study.store import Store
from lossmith.training import Recipe, accuracy, repeated, train

NOISES = {"clean": 0.0, "noisy": 0.4}
BASELINE, OURS = "cross-entropy", "evolved"
NONE = "none"
TUNING_SEEDS, FINALISTS, FINALIST_SEEDS = 3, 3, 5
RATES = Axis("lr", lambda place: 2.0**place, -1, 1, -6, 4)
WATER = 1.0
LEVEL = 0.05


@dataclass(frozen=True)
class Setup:
    """What a network is trained with."""

    loss: Loss
    recipe: Recipe
    dropout: float | None
    classes: int
    side: int


@dataclass(frozen=True)
class Regularizer:
    """A row of the table.

    Args:
        name: What the table calls it.
        axis: Its strengths.
        applied: The setup with the regulariser at a strength.
        images: Whether it needs images.
    """

    name: str
    axis: Axis
    applied: Callable[[Setup, float], Setup]
    images: bool = False


def changed(**fields: Callable[[Setup, float], float]) -> Callable[[Setup, float], Setup]:
    """A regulariser that is settings of the recipe."""

    def applied(setup: Setup, strength: float) -> Setup:
        update = {name: value(setup, strength) for name, value in fields.items()}
        return replace(setup, recipe=setup.recipe.model_copy(update=update))

    return applied


def as_is(_: Setup, strength: float) -> float:
    """The strength itself."""
    return strength


def flooded(setup: Setup, share: float) -> Setup:
    """Flooding at a share of the way from the loss's lowest value to that at equal outputs.

    A constant that no gradient sees brings the level of every loss to the same number, so that one recipe serves all.
    """
    low, null = span(setup.loss, setup.classes)
    level = low + share * (null - low)
    constant = Loss((Term(0, 0, 0),), torch.tensor([(level - WATER) / setup.classes]))
    recipe = setup.recipe.model_copy(update={"flooding": WATER})
    return replace(setup, loss=setup.loss + constant, recipe=recipe)


def span(loss: Loss, classes: int) -> tuple[float, float]:
    """Lowest value of a loss, and its value at equal outputs, where all wrong classes have the same output."""
    gap = torch.linspace(-10, 25, 3501, dtype=torch.float64)
    values = loss.value(
        torch.nn.functional.pad(gap[:, None], (0, classes - 1)), torch.zeros(len(gap), dtype=torch.long)
    )
    return float(values.min()), float(values[gap.abs().argmin()])


def power_of_two(place: int) -> float:
    """2^place."""
    return 2.0**place


def sigmoid(place: int) -> float:
    """1/(1 + e^−place)."""
    return 1 / (1 + math.exp(-place))


REGULARIZERS = (
    Regularizer(NONE, Axis("", float, 0, 0, 0, 0), lambda setup, _: setup),
    Regularizer("flooding", Axis("share", power_of_two, -6, -3, -9, -1), flooded),
    Regularizer("early stopping", Axis("patience", power_of_two, 1, 3, 0, 4), changed(patience=lambda _, s: int(s))),
    Regularizer(
        "dropout",
        Axis("rate", lambda place: 0.15 * place, 1, 3, 1, 6),
        lambda setup, strength: replace(setup, dropout=strength),
    ),
    Regularizer(
        "weight decay", Axis("decay", lambda place: 10.0 ** (place / 2), -7, -5, -10, -2), changed(weight_decay=as_is)
    ),
    Regularizer(
        "label smoothing",
        Axis("α", sigmoid, -3, 0, -5, 5),
        lambda setup, strength: replace(setup, loss=setup.loss.smoothed(strength, setup.classes)),
    ),
    Regularizer("mixup", Axis("α", power_of_two, -2, 0, -5, 3), changed(mixup=as_is)),
    Regularizer(
        "Cutout",
        Axis("eighths of the side", float, 2, 4, 1, 6),
        changed(cutout=lambda setup, strength: max(1, round(setup.side * strength / 8))),
        images=True,
    ),
    Regularizer("CutMix", Axis("α", power_of_two, -2, 0, -5, 3), changed(cutmix=as_is), images=True),
)
BY_NAME = {one.name: one for one in REGULARIZERS}


@dataclass(frozen=True)
class Setting:
    """A loss with a regulariser: places on the axes of its strength and of the learning rate."""

    loss: str
    regularizer: str
    strength: int
    rate: int


@dataclass(frozen=True)
class Plan:
    """What is run.

    Args:
        settings: Of the study file, with the place of the data.
        digest: Of the data.
        networks: Networks of each row on test data.
    """

    settings: EvolveSettings
    digest: str
    networks: int

    @property
    def key(self) -> str:
        """What identifies the job, wherever its data lies."""
        settings = with_data(self.settings, "").model_dump(mode="json")
        asked = {"settings": settings, "digest": self.digest, "networks": self.networks, "torch": torch.__version__}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]

    def of(self, number: int, noise: float) -> EvolveSettings:
        """The settings of one condition."""
        data = {"split_seed": number, "noise_seed": number, "label_noise": noise}
        return self.settings.model_copy(
            update={
                "data": self.settings.data.model_copy(update=data),
                "search": self.settings.search.model_copy(update={"seed": number}),
            }
        )


class Bench:
    """Trains settings of one condition; what was trained once is found again in the database."""

    def __init__(self, job: Problem, settings: EvolveSettings, losses: dict[str, Loss], store: Store, key: str) -> None:
        self.job, self.settings, self.losses, self.store, self.key = job, settings, losses, store, key

    def setup(self, setting: Setting) -> Setup:
        """What the networks of a setting are trained with."""
        one, recipe, inputs = BY_NAME[setting.regularizer], self.settings.recipe, self.job.task.inputs
        plain = recipe.model_copy(update={"lr": recipe.lr * RATES.value(setting.rate)})
        side = min(inputs.shape[-2:]) if inputs.ndim == 4 else 0
        setup = Setup(self.losses[setting.loss], plain, self.settings.model.dropout, self.job.classes, side)
        return one.applied(setup, one.axis.value(setting.strength))

    def measured(
        self, wanted: Sequence[Setting], seeds: Sequence[int], test: tuple[torch.Tensor, torch.Tensor] | None = None
    ) -> dict[Setting, dict[str, list[float]]]:
        """Validation accuracy, and on wish test accuracy, of each seed; settings of one recipe are trained together."""
        setups = {setting: self.setup(setting) for setting in wanted}
        groups: dict[tuple[Recipe, float | None], list[Setting]] = {}
        for setting, setup in setups.items():
            groups.setdefault((setup.recipe, setup.dropout), []).append(setting)
        found: dict[Setting, dict[str, list[float]]] = {}
        for (recipe, dropout), members in groups.items():
            losses = [setups[setting].loss for setting in members]
            asked = {"recipe": recipe.model_dump(mode="json"), "dropout": dropout, "seeds": list(seeds)}
            label = json.dumps({**asked, "losses": [loss.to_json() for loss in losses], "test": test is not None})
            rows = self.store.record(self.key, label)
            if rows is None:
                started = time.perf_counter()
                rows = self.trained(losses, recipe, dropout, seeds, test)
                self.store.add_record(self.key, label, rows, time.perf_counter() - started)
            found |= dict(zip(members, rows, strict=True))
        return found

    def trained(
        self,
        losses: Sequence[Loss],
        recipe: Recipe,
        dropout: float | None,
        seeds: Sequence[int],
        test: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> list[dict[str, list[float]]]:
        """Accuracies of each loss, a number for each seed."""
        task = self.job.task
        if dropout != self.settings.model.dropout:
            model = self.settings.model.model_copy(update={"dropout": dropout})
            task = replace(task, factory=network_factory(model, task.inputs, task.classes))
        population = repeated(Loss.stack(losses), len(seeds))
        trained = train(task, population, [*seeds] * len(losses), recipe, "population")
        parts = {"validation": self.job.validation} | ({} if test is None else {"test": test})
        rows: list[dict[str, list[float]]] = [{} for _ in losses]
        for name, (inputs, targets) in parts.items():
            right = accuracy(trained.networks.logits(inputs), targets)
            for row, values in zip(rows, torch.where(trained.diverged, 0.0, right).split(len(seeds)), strict=True):
                row[name] = values.tolist()
        return rows


def tuned(bench: Bench, number: int, rows: Sequence[Regularizer], say: Callable[[str], None]) -> dict[str, Any]:
    """The best setting of each loss with each regulariser, on validation data."""
    seeds = [derive(number, "tuning", k) for k in range(TUNING_SEEDS)]
    fresh = [derive(number, "tuning again", k) for k in range(FINALIST_SEEDS)]
    found: dict[str, Any] = {}
    for one in rows:
        grid = [(s, r) for s in span_of(one.axis) for r in span_of(RATES)]
        tried: dict[Setting, float] = {}
        while grid:
            wanted = [Setting(loss, one.name, s, r) for s, r in grid for loss in bench.losses]
            scores = bench.measured(wanted, seeds)
            tried |= {setting: float(np.mean(scores[setting]["validation"])) for setting in wanted}
            grid = beyond(one.axis, tried, list(bench.losses))
        for loss in bench.losses:
            ranked = sorted((setting for setting in tried if setting.loss == loss), key=lambda s: -tried[s])
            again = bench.measured(ranked[:FINALISTS], fresh)
            best = max(again, key=lambda setting: float(np.mean(again[setting]["validation"])))
            found.setdefault(one.name, {})[loss] = {
                "setting": best,
                "tried": [[place.strength, place.rate, tried[place]] for place in tried if place.loss == loss],
                "again": [[place.strength, place.rate, again[place]["validation"]] for place in again],
            }
        say(f"{one.name} tuned, {len(tried)} settings")
    return found


def span_of(axis: Axis) -> range:
    """The places of a grid as it starts."""
    return range(axis.first, axis.last + 1)


def beyond(axis: Axis, tried: dict[Setting, float], losses: Sequence[str]) -> list[tuple[int, int]]:
    """Untried neighbours of the best place of each loss."""
    known = {(setting.strength, setting.rate) for setting in tried}
    found: dict[tuple[int, int], None] = {}
    for loss in losses:
        best = max((setting for setting in tried if setting.loss == loss), key=tried.__getitem__)
        for step in (-1, 1):
            if axis.lowest <= best.strength + step <= axis.highest:
                found[best.strength + step, best.rate] = None
            if RATES.lowest <= best.rate + step <= RATES.highest:
                found[best.strength, best.rate + step] = None
    return [place for place in found if place not in known]


def condition(plan: Plan, number: int, name: str, work: Path) -> dict[str, Any]:
    """Everything of one search with one label noise; kept in a file."""
    path = work / f"{number}-{name}.json"
    if path.exists():
        document = read_json(path)
        if document["key"] != plan.key:
            raise SystemExit(f"{path} is of another job (other settings, data or torch); choose another --work")
        found: dict[str, Any] = document["found"]
        return found
    torch.set_num_threads(1)
    started = time.perf_counter()

    def say(text: str) -> None:
        print(f"search {number}, {name}: {text} ({time.perf_counter() - started:.0f} s)", flush=True)

    settings = plan.of(number, NOISES[name])
    losses = {BASELINE: cross_entropy(), OURS: evolved(settings, work / f"{number}-{name}")}
    say("evolved")
    job = Problem.open(settings)
    rows = [one for one in REGULARIZERS if job.task.inputs.ndim == 4 or not one.images]
    folder = work / f"{number}-{name}-table"
    folder.mkdir(parents=True, exist_ok=True)
    with Store(folder) as store:
        bench = Bench(job, settings, losses, store, plan.key)
        chosen = tuned(bench, number, rows, say)
        seeds = [derive(number, "networks", k) for k in range(plan.networks)]
        settled = [row["setting"] for both in chosen.values() for row in both.values()]
        judged = bench.measured(settled, seeds, job.test())
        say("judged")
    table = {
        regularizer: {loss: entry(bench, row, judged[row["setting"]]) for loss, row in both.items()}
        for regularizer, both in chosen.items()
    }
    found = {
        "search": number,
        "condition": name,
        "label_noise": NOISES[name],
        "train": len(job.task.inputs),
        "validation": len(job.validation[1]),
        "seeds": seeds,
        "formula": losses[OURS].formula(),
        "loss": losses[OURS].to_json(),
        "table": table,
        "seconds": round(time.perf_counter() - started),
    }
    write_json({"key": plan.key, "found": found}, path)
    return found


def evolved(settings: EvolveSettings, folder: Path) -> Loss:
    """The best loss of a search by its mean over fresh seeds."""
    evolve(folder, settings)
    with Store(folder, readonly=True) as store:
        rows = [row for row in store.finalists("final") if row["mean"] is not None and "theta" in row["origin"]]
    if not rows:
        raise SystemExit(f"{folder}: every candidate that was trained again diverged; lower lr")
    return Loss.from_json(max(rows, key=lambda row: row["mean"])["loss"])


def entry(bench: Bench, row: dict[str, Any], judged: dict[str, list[float]]) -> dict[str, Any]:
    """A cell of the table."""
    setting: Setting = row["setting"]
    axis = BY_NAME[setting.regularizer].axis
    return {
        "strength": axis.value(setting.strength) if axis.name else None,
        "lr": bench.setup(setting).recipe.lr,
        "tried": row["tried"],
        "again": row["again"],
        **judged,
    }


@dataclass(frozen=True)
class Claim:
    """A claim for one condition and what came of it, an entry for each search.

    Args:
        condition: ``"clean"`` or ``"noisy"``.
        name: What is claimed.
        differences: Differences of mean test accuracy.
        low: Lower ends of their 95 % intervals.
        high: Upper ends.
        p: p of each search; two-tailed for an interaction.
        holm: The same, corrected.
        verdict: What came of it.
    """

    condition: str
    name: str
    differences: list[float]
    low: list[float]
    high: list[float]
    p: list[float]
    holm: list[float]
    verdict: str


def interaction(
    with_ours: Sequence[float], ours: Sequence[float], with_base: Sequence[float], base: Sequence[float]
) -> Difference:
    """``(mean of the first − second) − (third − fourth)``, Welch's interval, and two-tailed p.

    The variance is the sum of the four of the means; degrees of freedom by Satterthwaite's formula.
    """
    samples = [np.asarray(values, dtype=float) for values in (with_ours, ours, with_base, base)]
    means = [values.mean() for values in samples]
    difference = float(means[0] - means[1] - means[2] + means[3])
    parts = np.array([values.var(ddof=1) / len(values) for values in samples])
    error = float(np.sqrt(parts.sum()))
    if error == 0:
        return Difference(difference, difference, difference, float(difference == 0))
    freedom = parts.sum() ** 2 / sum(part**2 / (len(values) - 1) for part, values in zip(parts, samples, strict=True))
    reach = float(stats.t.ppf(0.975, freedom)) * error
    p = 2 * float(stats.t.sf(abs(difference) / error, freedom))
    return Difference(difference, difference - reach, difference + reach, p)


def claims(runs: Sequence[dict[str, Any]]) -> tuple[list[Claim], list[Claim]]:
    """Claims 1 to 3, and the interactions."""
    conditions = {name: [run for run in runs if run["condition"] == name] for name in NOISES}
    tests: list[tuple[str, str, list[Difference]]] = []
    crossed: list[tuple[str, str, list[Difference]]] = []
    for name, members in conditions.items():
        tables = [run["table"] for run in members]
        without = [table[NONE] for table in tables]
        tests.append(
            (name, f"{OURS} > {BASELINE}", [welch(row[OURS]["test"], row[BASELINE]["test"]) for row in without])
        )
        for one in (key for key in tables[0] if key != NONE):
            for loss in (BASELINE, OURS):
                results = [welch(table[one][loss]["test"], table[NONE][loss]["test"]) for table in tables]
                tests.append((name, f"{loss} with {one} > {loss}", results))
            crossed.append(
                (
                    name,
                    one,
                    [
                        interaction(*(table[row][loss]["test"] for loss in (OURS, BASELINE) for row in (one, NONE)))
                        for table in tables
                    ],
                )
            )
        best = [[table[best_of(table, loss)][loss]["test"] for loss in (OURS, BASELINE)] for table in tables]
        tests.append((name, f"{OURS} > {BASELINE}, each with its best", [welch(ours, other) for ours, other in best]))
    return concluded(tests, verdict_of), concluded(crossed, shown_of)


def best_of(table: dict[str, Any], loss: str) -> str:
    """The regulariser (or none) with the highest validation accuracy of a loss, over the fresh seeds of tuning."""
    return max(table, key=lambda one: max(float(np.mean(scores)) for *_, scores in table[one][loss]["again"]))


def concluded(
    tests: Sequence[tuple[str, str, list[Difference]]], verdict: Callable[[Sequence[float], Sequence[float]], str]
) -> list[Claim]:
    """Claims with p corrected over all of them."""
    corrected = iter(holm([one.p for *_, results in tests for one in results]))
    found = []
    for name, text, results in tests:
        differences, low, high, p = (
            [getattr(one, field) for one in results] for field in ("difference", "low", "high", "p")
        )
        adjusted = [next(corrected) for _ in results]
        found.append(Claim(name, text, differences, low, high, p, adjusted, verdict(differences, adjusted)))
    return found


def verdict_of(differences: Sequence[float], corrected: Sequence[float]) -> str:
    """Of claims 1 to 3, by the rule of the head of this file."""
    if np.mean(differences) <= 0:
        return "failed"
    enough = 3 * sum(p < LEVEL for p in corrected) >= 2 * len(corrected)
    return "held" if min(differences) > 0 and enough else "not shown"


def shown_of(differences: Sequence[float], corrected: Sequence[float]) -> str:
    """Of an interaction, by the rule of the head of this file."""
    pairs = list(zip(differences, corrected, strict=True))
    for sign, word in ((-1, "less together"), (1, "more together")):
        if 3 * sum(p < LEVEL and sign * value > 0 for value, p in pairs) >= 2 * len(pairs):
            return word
    return "not shown"


def table(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Test accuracy of every row and column."""
    columns = [(name, loss) for name in NOISES for loss in (BASELINE, OURS)]
    lines = [
        f"| regulariser | {' | '.join(f'{name}, {loss}' for name, loss in columns)} |",
        "|---" * (1 + len(columns)) + "|",
    ]
    for one in runs[0]["table"]:
        cells = []
        for name, loss in columns:
            scores = [run["table"][one][loss]["test"] for run in runs if run["condition"] == name]
            cells.append(cell(scores))
        lines.append(f"| {one} | {' | '.join(cells)} |")
    return lines


def cell(scores: Sequence[Sequence[float]]) -> str:
    """Mean (sd) in percent: of the networks of one search, or of the searches' means."""
    values = 100 * (np.array(scores[0]) if len(scores) == 1 else np.mean(scores, axis=1))
    return f"{values.mean():.2f} ({values.std(ddof=1):.2f})"


def claims_table(found: Sequence[Claim], title: str) -> list[str]:
    """What came of each claim."""
    lines = [
        f"| labels | {title} | difference | {'95 % interval' if len(found[0].p) == 1 else 'searches above 0'} "
        "| largest p (Holm) | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for one in found:
        count = len(one.differences)
        above = f"{sum(value > 0 for value in one.differences)} of {count}"
        spread = f"[{100 * one.low[0]:+.2f}, {100 * one.high[0]:+.2f}]" if count == 1 else above
        lines.append(
            f"| {one.condition} | {one.name} | {100 * np.mean(one.differences):+.2f} | {spread} "
            f"| {max(one.holm):.2g} | **{one.verdict}** |"
        )
    return lines


def picture(runs: Sequence[dict[str, Any]]) -> Figure:
    """What each regulariser adds to each loss: mean difference to none, the interval of one search or all searches."""
    rows = [one for one in runs[0]["table"] if one != NONE]
    with styled():
        figure = Figure(figsize=(9.6, 0.45 * len(rows) + 1.6), layout="constrained")
        panels = figure.subplots(1, len(NOISES), sharey=True)
        for axes, name in zip(panels, NOISES, strict=True):
            tables = [run["table"] for run in runs if run["condition"] == name]
            for loss, color, shift in ((BASELINE, PLAIN, 0.13), (OURS, EVOLVED, -0.13)):
                for place, one in enumerate(reversed(rows)):
                    for found in tables:
                        result = welch(found[one][loss]["test"], found[NONE][loss]["test"])
                        middle, height = 100 * result.difference, place + shift
                        axes.plot([100 * result.low, 100 * result.high], [height] * 2, color=color, lw=1.4, alpha=0.6)
                        axes.plot(middle, height, "o", color=color, ms=5)
                axes.plot([], [], "o-", color=color, label=loss)
            axes.axvline(0, color="grey", lw=0.8)
            axes.set_yticks(range(len(rows)), list(reversed(rows)))
            axes.set(title=f"{name} labels", xlabel="points of test accuracy that it adds, 95 % interval")
        panels[0].legend(fontsize=9)
        return figure


def page(
    runs: Sequence[dict[str, Any]], found: tuple[list[Claim], list[Claim]], plan: Plan, name: str, command: str
) -> str:
    """The outcome as a Markdown page."""
    count = len({run["search"] for run in runs})
    spread = "sd of the networks of the search" if count == 1 else "sd of the searches' means"
    lines = [
        f"# Regularisers and losses: {name}",
        "",
        f"Made by `{command}`, lossmith {version('lossmith')}, PyTorch {torch.__version__}. What is done, and what was",
        "written down before the run, stands at the head of",
        "[`experiments/regularisers.py`](../../../experiments/regularisers.py); settings: [`study.toml`](study.toml);",
        f"raw figures: [`runs.json`](runs.json). Searches: {count}; {plan.networks} networks of each row in each;",
        f"{runs[0]['train']} training samples.",
        "",
        *table(runs),
        "",
        f"Test accuracy, %: mean ({spread}).",
        "",
        *claims_table(found[0], "claim"),
        "",
        *claims_table(found[1], "interaction with"),
        "",
        "Differences of test accuracy in points. Interaction: what the regulariser adds to the evolved loss less what",
        "it adds to cross-entropy. The unit of each p is a network of one search.",
        "",
        "## What was tuned",
        "",
        "| search | labels | regulariser | loss | strength | learning rate | settings tried |",
        "|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        for one, both in run["table"].items():
            for loss, row in both.items():
                strength = "" if row["strength"] is None else f"{BY_NAME[one].axis.name} {row['strength']:.3g}"
                lines.append(
                    f"| {run['search']} | {run['condition']} | {one} | {loss} | {strength} | {row['lr']:.3g} "
                    f"| {len(row['tried'])} |"
                )
    lines += ["", "## The evolved losses", "", "| search | labels | φ |", "|---|---|---|"]
    lines += [f"| {run['search']} | {run['condition']} | {run['formula']} |" for run in runs]
    lines += ["", "![What each regulariser adds](regularisers.png)", ""]
    return "\n".join(lines)


def compact(found: tuple[list[Claim], list[Claim]]) -> list[str]:
    """What each regulariser adds to each loss, and the interaction, a row for each; bold is held or shown."""
    columns = [(name, what) for name in NOISES for what in (BASELINE, OURS, "interaction")]
    known = {(one.condition, one.name): one for part in found for one in part}
    lines = [
        f"| it adds, points | {' | '.join(f'{name}, {what}' for name, what in columns)} |",
        "|---" * (1 + len(columns)) + "|",
    ]
    for one in dict.fromkeys(claim.name for claim in found[1]):
        cells = []
        for name, what in columns:
            claim = known[name, one if what == "interaction" else f"{what} with {one} > {what}"]
            text = f"{100 * np.mean(claim.differences):+.2f}"
            cells.append(text if claim.verdict in ("failed", "not shown") else f"**{text}**")
        lines.append(f"| {one} | {' | '.join(cells)} |")
    return lines


def overview(folders: dict[str, Path]) -> str:
    """The tables of several data sets as ``docs/results.md`` tells them."""
    lines: list[str] = []
    for name, folder in folders.items():
        runs = read_json(folder / "runs.json")["conditions"]
        tests, crossed = claims(runs)
        losses = [one for one in tests if one.name.startswith(f"{OURS} > {BASELINE}")]
        lines += [f"**{name}**", "", *table(runs), "", *compact((tests, crossed)), ""]
        lines += [*claims_table(losses, "claim"), ""]
    return "\n".join(lines).rstrip()


def main() -> None:
    """Run what is missing, then tell what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="study file")
    parser.add_argument("target", type=Path, help="directory of the results")
    parser.add_argument("--data", help="name or .npz file, if it is not what the study file names")
    parser.add_argument("--searches", type=int, default=1)
    parser.add_argument("--networks", type=int, default=20, help="networks of each row on test data")
    parser.add_argument("--workers", type=int, default=1, help="processes, a thread each")
    parser.add_argument(
        "--work", type=Path, default=Path("experiments/work/regularisers"), help="directory of the databases"
    )
    given = parser.parse_args()
    if given.searches < 1 or given.networks < 2 or given.workers < 1:
        parser.error("take at least 1 search, 2 networks and 1 worker")
    settings = validated(EvolveSettings, settings_document(given.file), str(given.file))
    data = given.data or settings.data.source
    place = str(Path(data).expanduser().absolute()) if Path(data).suffix == ".npz" else data
    plan = Plan(with_data(settings, place), open_source(place).digest, given.networks)
    work = given.work / given.target.name
    with ProcessPoolExecutor(given.workers, mp_context=get_context("spawn")) as pool:
        waiting = [
            pool.submit(condition, plan, number, name, work) for number in range(given.searches) for name in NOISES
        ]
        runs = [one.result() for one in waiting]
    given.target.mkdir(parents=True, exist_ok=True)
    extra = f" --data {Path(data).name}" if given.data else ""
    command = (
        f"python experiments/regularisers.py {given.file} {given.target}{extra} --searches {given.searches} "
        f"--networks {given.networks} --workers {given.workers}"
    )
    found = claims(runs)
    portable = with_data(settings, Path(data).name)
    write_json({"command": command, "digest": plan.digest, "conditions": runs}, given.target / "runs.json")
    summary = {"claims": [asdict(one) for one in found[0]], "interactions": [asdict(one) for one in found[1]]}
    write_json(summary, given.target / "summary.json")
    write_toml(portable.model_dump(mode="json"), given.target / "study.toml")
    save_figure(picture(runs), given.target / "regularisers.png")
    write_whole(page(runs, found, plan, given.target.name, command).encode(), given.target / "summary.md")
    print("\n".join(table(runs)), flush=True)


if __name__ == "__main__":
    main()
