"""What is trained for the table of regularisers: a loss evolved in each condition, and every row tuned and judged."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from networks import BASELINE, evolved, scores, seeds_of, trained
from program import Plan, digest_of, kept, teller
from torch import Tensor

from lossmith.analysis import Axis, Grid, Tuner
from lossmith.analysis import Setting as Tried
from lossmith.data import Normalize
from lossmith.losses import Loss, PowerLoss, Term, cross_entropy
from lossmith.nets import network_factory
from lossmith.study import EvolveSettings, Problem
from lossmith.training import Recipe

NOISES = {"clean": 0.0, "noisy": 0.4}
OURS, NONE = "evolved", "none"
TUNING_SEEDS, FINALISTS, FINALIST_SEEDS = 3, 3, 5
RATES = Axis("lr", lambda place: 2.0**place, -1, 1, -6, 4)
WATER = 1.0


@dataclass(frozen=True)
class Setup:
    """What a network is trained with."""

    loss: PowerLoss
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
    constant = PowerLoss((Term(0, 0, 0),), torch.tensor([(level - WATER) / setup.classes]))
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


class Bench:
    """Trains settings of one condition; what was trained once is kept in a folder."""

    def __init__(self, job: Problem, settings: EvolveSettings, losses: dict[str, Loss], folder: Path, key: str) -> None:
        self.job, self.settings, self.losses, self.folder, self.key = job, settings, losses, folder, key

    def setup(self, setting: Setting) -> Setup:
        """What the networks of a setting are trained with."""
        one, recipe, inputs = BY_NAME[setting.regularizer], self.settings.recipe, self.job.task.inputs
        plain = recipe.model_copy(update={"lr": recipe.lr * RATES.value(setting.rate)})
        side = min(inputs.shape[-2:]) if inputs.ndim == 4 else 0
        loss = self.losses[setting.loss]
        assert isinstance(loss, PowerLoss)
        setup = Setup(loss, plain, self.settings.model.dropout, self.job.classes, side)
        return one.applied(setup, one.axis.value(setting.strength))

    def measured(
        self, wanted: Sequence[Setting], seeds: Sequence[int], test: tuple[Tensor, Tensor] | None = None
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
            label = json.dumps({**asked, "losses": [loss.key() for loss in losses], "test": test is not None})
            made = partial(self.trained, losses, recipe, dropout, seeds, test)
            rows = kept(self.folder / f"{digest_of(label)}.json", self.key, made)
            found |= dict(zip(members, rows, strict=True))
        return found

    def trained(
        self,
        losses: Sequence[Loss],
        recipe: Recipe,
        dropout: float | None,
        seeds: Sequence[int],
        test: tuple[Tensor, Tensor] | None,
    ) -> list[dict[str, list[float]]]:
        """Accuracies of each loss, a number for each seed."""
        task = self.job.task
        if dropout != self.settings.model.dropout:
            model = self.settings.model.model_copy(update={"dropout": dropout})
            task = replace(
                task, factory=network_factory(model, Normalize.fit(task.inputs), task.inputs.shape[1:], task.classes)
            )
        found = trained(task, losses, seeds, recipe, "population")
        parts = {"validation": self.job.validation} | ({} if test is None else {"test": test})
        columns = {name: np.reshape(scores(found, part), (len(losses), -1)).tolist() for name, part in parts.items()}
        return [{name: column[row] for name, column in columns.items()} for row in range(len(losses))]


def tuned(bench: Bench, number: int, rows: Sequence[Regularizer], say: Callable[[str], None]) -> dict[str, Any]:
    """The best setting of each loss with each regulariser, on validation data."""
    seeds, fresh = (
        seeds_of(number, purpose, count)
        for purpose, count in (("tuning", TUNING_SEEDS), ("tuning again", FINALIST_SEEDS))
    )
    found: dict[str, Any] = {}
    for one in rows:
        tuner = Tuner[list[float]]([Grid(loss, (one.axis, RATES)) for loss in bench.losses], shared=True)
        tried = tuner.search(partial(accuracies, bench, one.name, seeds))
        chosen = tuner.choose(tried, FINALISTS, partial(accuracies, bench, one.name, fresh))
        found[one.name] = {
            loss: {
                "setting": Setting(loss, one.name, *best.setting.place),
                "tried": [[*row.place, float(np.mean(tried[row]))] for row in tried if row.name == loss],
                "again": [[*row.place, best.again[row]] for row in best.again],
            }
            for loss, best in chosen.items()
        }
        say(f"{one.name} tuned, {len(tried)} settings")
    return found


def accuracies(bench: Bench, name: str, seeds: Sequence[int], wanted: Sequence[Tried]) -> dict[Tried, list[float]]:
    """Validation accuracies of losses with a regulariser at some places; those of one recipe are trained together."""
    settings = {row: Setting(row.name, name, *row.place) for row in wanted}
    found = bench.measured(list(settings.values()), seeds)
    return {row: found[setting]["validation"] for row, setting in settings.items()}


def condition(plan: Plan, number: int, name: str, work: Path) -> dict[str, Any]:
    """Everything of one search with one label noise; kept in a file."""
    return dict(kept(work / f"{number}-{name}.json", plan.key, lambda: made(plan, number, name, work)))


def made(plan: Plan, number: int, name: str, work: Path) -> dict[str, Any]:
    """Everything of one search with one label noise."""
    started, say = time.perf_counter(), teller(f"search {number}, {name}")
    settings = plan.split(number, **({"label_noise": NOISES[name], "noise": "uniform"} if NOISES[name] else {}))
    losses = {BASELINE: cross_entropy(), OURS: evolved(settings, work / f"{number}-{name}")}
    say("evolved")
    job = Problem.open(settings)
    rows = [one for one in REGULARIZERS if job.task.inputs.ndim == 4 or not one.images]
    bench = Bench(job, settings, losses, work / f"{number}-{name}-table", plan.key)
    chosen, seeds = tuned(bench, number, rows, say), seeds_of(number, "networks", plan.networks)
    settled = [row["setting"] for both in chosen.values() for row in both.values()]
    judged = bench.measured(settled, seeds, job.test())
    say("judged")
    table = {
        regularizer: {loss: entry(bench, row, judged[row["setting"]]) for loss, row in both.items()}
        for regularizer, both in chosen.items()
    }
    return {
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
