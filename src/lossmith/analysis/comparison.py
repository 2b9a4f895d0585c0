"""The fair comparison: every loss tuned with the same care on validation data, then judged once on test data."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from lossmith.analysis.baselines import Family, learning_rates
from lossmith.errors import InputError
from lossmith.losses import Loss
from lossmith.metrics.statistics import (
    Difference,
    calibration_error,
    holm,
    negative_log_likelihood,
    temperature,
    welch,
)
from lossmith.seeds import derive
from lossmith.training import Backend, Recipe, Task, Trainer, accuracy, repeated

Samples = tuple[Tensor, Tensor]
Recall = Callable[[str], Any]
Keep = Callable[[str, Any, float], None]
Report = Callable[[str, float], None]
LONGEST = 2
Item = TypeVar("Item")


@dataclass(frozen=True)
class Plan:
    """How a comparison is made.

    Args:
        recipe: The recipe; its learning rate is the middle of the grid.
        backend: How networks are run.
        seeds: Networks of the final comparison, for each loss.
        tuning_seeds: Networks of each setting that is tried.
        finalists: The best settings of each loss that are trained again with fresh seeds before one is chosen.
        finalist_seeds: Networks of each of those.
        epochs: Epochs of each tuning run; the number that is used is read off its validation curve (early stopping).
        seed: What all seeds derive from.
        chunk: Most networks trained in one program.
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


@dataclass(frozen=True)
class Setting:
    """A place of the grid: strengths and learning rate as places on their axes, and how often epochs were doubled."""

    family: str
    strengths: tuple[int, ...]
    rate: int
    doubled: int = 0


@dataclass(frozen=True)
class Tuned:
    """The setting that a loss is compared with, chosen on validation data.

    Args:
        family: The loss and its strengths.
        setting: The chosen place.
        lr: Its learning rate.
        epochs: Epochs that its schedule is laid out for.
        stop: Epochs after which training stops.
        validation: Mean validation accuracy there, over the fresh seeds.
        tried: Settings that were tried for this loss.
    """

    family: Family
    setting: Setting
    lr: float
    epochs: int
    stop: int
    validation: float
    tried: int


@dataclass(frozen=True)
class Row:
    """One loss of a comparison.

    Args:
        name: The loss.
        baseline: Whether it is a baseline.
        strengths: Its tuned strengths as text.
        lr: Its tuned learning rate.
        epochs: Epochs that its schedule is laid out for.
        stop: Its tuned number of epochs.
        tried: Settings tried in tuning.
        tuning: Mean validation accuracy of the chosen setting over the fresh seeds of tuning.
        loss: The loss as JSON.
        runs: Raw figures of each network: seed, validation and test accuracy, negative log likelihood and calibration
            error on test data before and after temperature scaling, and the temperature, fitted on validation data.
    """

    name: str
    baseline: bool
    strengths: str
    lr: float
    epochs: int
    stop: int
    tried: int
    tuning: float
    loss: dict[str, Any]
    runs: list[dict[str, Any]] = field(default_factory=list)

    def column(self, name: str) -> list[float]:
        """One figure of all networks."""
        return [run[name] for run in self.runs]

    def mean(self, name: str) -> float:
        """Mean of a figure."""
        return float(np.mean(self.column(name)))

    def std(self, name: str) -> float:
        """Sample standard deviation of a figure."""
        return float(np.std(self.column(name), ddof=1))


@dataclass(frozen=True)
class Pair:
    """A test of one loss against another on test accuracy, p corrected by Holm over all pairs of the comparison."""

    first: str
    second: str
    result: Difference
    holm: float


@dataclass(frozen=True)
class Comparison:
    """The outcome of a comparison.

    Args:
        rows: The losses by the validation accuracy of their final networks, the best first.
        pairs: The tests.
        best_baseline: The baseline that is best on validation data.
    """

    rows: list[Row]
    pairs: list[Pair]
    best_baseline: str

    def row(self, name: str) -> Row:
        """The row of a loss."""
        return next(row for row in self.rows if row.name == name)

    def pair(self, first: str, second: str) -> Pair | None:
        """The test of one loss against another, if it was made."""
        return next((pair for pair in self.pairs if (pair.first, pair.second) == (first, second)), None)

    def to_json(self) -> dict[str, Any]:
        """Everything, as a JSON object."""
        return asdict(self)


def compare(
    task: Task | Trainer,
    validation: Samples,
    test: Callable[[], Samples],
    families: Sequence[Family],
    plan: Plan,
    *,
    recall: Recall = lambda *_: None,
    keep: Keep = lambda *_: None,
    report: Report = lambda *_: None,
) -> Comparison:
    """Tune every loss on validation data, train it with fresh seeds, and compare on test data.

    Each family's strengths and learning rate are searched on their whole grid, and as long as a neighbour of its best
    setting is untried, that is tried, too. Where a given loss has got more settings than a baseline by then, the
    baseline gets as many. The number of epochs is the best of a setting's validation curve. The best settings of each
    family are then trained again with fresh seeds, and the highest mean decides: the maximum of many noisy values is
    not taken at its word.

    Args:
        task: What is trained on what; a trainer brings along what it has compiled.
        validation: Inputs and class indices for tuning and for the temperature.
        test: Gives the test inputs and class indices; called once, after all tuning.
        families: Losses; the first must be cross-entropy, the others are compared with it.
        plan: How.
        recall: Gives a stored result for a key, or None.
        keep: Stores a result, so that a comparison that was stopped goes on.
        report: Called with the phase and the share of it that is done.

    Raises:
        InputError: if two losses have one name.
    """
    names = [family.name for family in families]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"two losses of the comparison are called {twice!r}; give each a name of its own")
    work = _Work(task, validation, plan, {family.name: family for family in families}, recall, keep, report)
    tuned = work.tune()
    rows = work.judge(tuned, test)
    return _concluded(rows)


class _Work:
    def __init__(
        self,
        task: Task | Trainer,
        validation: Samples,
        plan: Plan,
        families: dict[str, Family],
        recall: Recall,
        keep: Keep,
        report: Report,
    ) -> None:
        self.trainer, self.validation, self.plan, self.families = Trainer.of(task), validation, plan, families
        self.recall, self.keep, self.report = recall, keep, report
        self.rates = learning_rates(plan.recipe.lr)
        self.curves: dict[Setting, list[float]] = {}
        self.fresh: dict[Setting, list[float]] = {}

    def tune(self) -> list[Tuned]:
        """The best setting of each family."""
        families = self.families.values()
        wanted = [setting for family in families for setting in self._grid(family)]
        number = 0
        while wanted:
            phase = "tuning" if number == 0 else f"tuning beyond the grids, round {number}"
            self.curves |= self._measured(wanted, "tuning", self.plan.tuning_seeds, phase)
            wanted = [setting for family in families for setting in self._beyond(family)] or self._missing()
            number += 1
        best = [setting for family in families for setting in self._ranked(family)[: self.plan.finalists]]
        seeds, phase = self.plan.finalist_seeds, "the best settings, fresh seeds"
        self.fresh = self._measured(best, "tuning again", seeds, phase, self._stop)
        return [self._tuned(family) for family in families]

    def judge(self, tuned: Sequence[Tuned], test: Callable[[], Samples]) -> list[Row]:
        """Figures of fresh networks of each tuned loss."""
        plan = self.plan
        seeds = [derive(plan.seed, "comparison", "final", number) for number in range(plan.seeds)]
        groups: dict[tuple[float, int, int], list[Tuned]] = {}
        for choice in tuned:
            groups.setdefault((choice.lr, choice.epochs, choice.stop), []).append(choice)
        runs: dict[str, list[dict[str, Any]]] = {}
        samples = test()
        done, total = 0, sum(choice.stop for choice in tuned)
        for (lr, epochs, stop), members in groups.items():
            for chunk in _batches(members, max(1, plan.chunk // len(seeds))):
                losses = [self._loss(choice.setting) for choice in chunk]
                labels = [{"loss": loss.to_json(), "lr": lr, "epochs": epochs, "stop": stop} for loss in losses]
                key = json.dumps({"final": labels, "seeds": seeds})
                result = self.recall(key)
                if result is None:
                    result, seconds = self._judged(losses, seeds, lr, epochs, stop, samples)
                    self.keep(key, result, seconds)
                runs |= {choice.family.name: rows for choice, rows in zip(chunk, result, strict=True)}
                done += stop * len(chunk)
                self.report("final networks", done / total)
        return [_row(choice, self._loss(choice.setting), runs[choice.family.name]) for choice in tuned]

    def _grid(self, family: Family) -> list[Setting]:
        ranges = [range(axis.first, axis.last + 1) for axis in (*family.axes, self.rates)]
        return [Setting(family.name, place[:-1], place[-1]) for place in itertools.product(*ranges)]

    def _beyond(self, family: Family) -> list[Setting]:
        """Neighbours of the best setting that have not been tried: it lies at an edge of what has been."""
        best = self._ranked(family)[0]
        place = (*best.strengths, best.rate)
        found: list[Setting] = []
        for number, axis in enumerate((*family.axes, self.rates)):
            for step in (-1, 1):
                moved = (*place[:number], place[number] + step, *place[number + 1 :])
                if axis.lowest <= moved[number] <= axis.highest:
                    found.append(Setting(family.name, moved[:-1], moved[-1], best.doubled))
        if self._stop(best) == len(self.curves[best]) and best.doubled < LONGEST:
            found.append(Setting(family.name, best.strengths, best.rate, best.doubled + 1))
        return [setting for setting in found if setting not in self.curves]

    def _missing(self) -> list[Setting]:
        """Untried settings that bring each baseline up to the given loss with the most, the nearest to its best one."""
        families = self.families.values()
        most = max((self._tried(family) for family in families if not family.baseline), default=0)
        found: list[Setting] = []
        for family in (family for family in families if family.baseline):
            best = self._ranked(family)[0]
            near = [
                Setting(family.name, best.strengths, rate, doubled)
                for doubled in range(LONGEST + 1)
                for rate in range(self.rates.lowest, self.rates.highest + 1)
            ]
            near = sorted(
                (setting for setting in near if setting not in self.curves),
                key=lambda setting, best=best: abs(setting.rate - best.rate) + 2 * abs(setting.doubled - best.doubled),  # type: ignore[misc]
            )
            found += near[: max(0, most - self._tried(family))]
        return found

    def _tried(self, family: Family) -> int:
        return sum(setting.family == family.name for setting in self.curves)

    def _measured(
        self,
        settings: Sequence[Setting],
        purpose: str,
        count: int,
        phase: str,
        until: Callable[[Setting], int] | None = None,
    ) -> dict[Setting, list[float]]:
        """Mean validation accuracy after each epoch, over ``count`` seeds of a purpose, of each setting.

        ``until`` names the last epoch that is needed of a setting; without it, all are.
        """
        plan = self.plan
        found: dict[Setting, list[float]] = {}
        seeds = [derive(plan.seed, "comparison", purpose, number) for number in range(count)]
        groups: dict[tuple[int, int], list[Setting]] = {}
        for setting in settings:
            groups.setdefault((setting.rate, setting.doubled), []).append(setting)
        done, total = 0, sum(2**setting.doubled for setting in settings)
        for (rate, doubled), members in groups.items():
            epochs = plan.epochs * 2**doubled
            recipe = self._recipe(self.rates.value(rate), epochs)
            for chunk in _batches(sorted(members, key=until) if until else members, max(1, plan.chunk // len(seeds))):
                losses = [self._loss(setting) for setting in chunk]
                stop = max(until(setting) for setting in chunk) if until else epochs
                labels = {"lr": recipe.lr, "epochs": epochs, "stop": stop, "seeds": seeds}
                key = json.dumps({"tuning": [loss.to_json() for loss in losses], **labels})
                curves = self.recall(key)
                if curves is None:
                    started, before = time.perf_counter(), done
                    share = 2**doubled * len(chunk)
                    trained = self.trainer.train(
                        repeated(Loss.stack(losses), len(seeds)),
                        seeds * len(chunk),
                        recipe,
                        plan.backend,
                        monitor=self.validation,
                        stop=stop,
                        progress=lambda part, b=before, s=share: self.report(phase, (b + s * part) / total),  # type: ignore[misc]
                    )
                    assert trained.curve is not None
                    means = trained.curve.reshape(len(chunk), len(seeds), -1).mean(1)
                    curves = means.round(decimals=12).tolist()  # Equal settings stay equal, whatever the chunk.
                    self.keep(key, curves, time.perf_counter() - started)
                found |= dict(zip(chunk, curves, strict=True))
                done += 2**doubled * len(chunk)
                self.report(phase, done / total)
        return found

    def _judged(
        self, losses: Sequence[Loss], seeds: list[int], lr: float, epochs: int, stop: int, test: Samples
    ) -> tuple[list[list[dict[str, Any]]], float]:
        started = time.perf_counter()
        population = repeated(Loss.stack(losses), len(seeds))
        recipe = self._recipe(lr, epochs)
        trained = self.trainer.train(population, seeds * len(losses), recipe, self.plan.backend, stop=stop)
        on_validation = trained.networks.logits(self.validation[0])
        on_test = trained.networks.logits(test[0])
        figures = [
            {"seed": seed, "validation": right, "test": share, **_calibration(seen, self.validation[1], new, test[1])}
            for seed, right, share, seen, new in zip(
                seeds * len(losses),
                accuracy(on_validation, self.validation[1]).tolist(),
                accuracy(on_test, test[1]).tolist(),
                on_validation,
                on_test,
                strict=True,
            )
        ]
        rows = [list(chunk) for chunk in _batches(figures, len(seeds))]
        return rows, time.perf_counter() - started

    def _recipe(self, lr: float, epochs: int) -> Recipe:
        return self.plan.recipe.model_copy(update={"lr": lr, "epochs": epochs, "steps": None})

    def _loss(self, setting: Setting) -> Loss:
        family = self.families[setting.family]
        return family.build(family.strengths(setting.strengths), self.trainer.task.classes)

    def _ranked(self, family: Family) -> list[Setting]:
        """Settings of a family that were tried, the best first."""
        mine = [setting for setting in self.curves if setting.family == family.name]
        return sorted(mine, key=lambda setting: -max(self.curves[setting]))

    def _stop(self, setting: Setting) -> int:
        curve = self.curves[setting]
        return curve.index(max(curve)) + 1

    def _tuned(self, family: Family) -> Tuned:
        again = {
            setting: self.fresh[setting][self._stop(setting) - 1]
            for setting in self._ranked(family)[: self.plan.finalists]
        }
        best = max(again, key=again.__getitem__)
        epochs = self.plan.epochs * 2**best.doubled
        rate = self.rates.value(best.rate)
        return Tuned(family, best, rate, epochs, self._stop(best), again[best], self._tried(family))


def _batches(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _calibration(seen: Tensor, seen_targets: Tensor, new: Tensor, new_targets: Tensor) -> dict[str, float | None]:
    if not bool(seen.isfinite().all() and new.isfinite().all()):
        return dict.fromkeys(("nll", "ece", "temperature", "nll_scaled", "ece_scaled"))
    known, logits = seen.double().cpu().numpy(), new.double().cpu().numpy()
    known_targets, targets = seen_targets.cpu().numpy(), new_targets.cpu().numpy()
    scale = temperature(known, known_targets)
    return {
        "nll": negative_log_likelihood(logits, targets),
        "ece": calibration_error(logits, targets),
        "temperature": scale,
        "nll_scaled": negative_log_likelihood(logits / scale, targets),
        "ece_scaled": calibration_error(logits / scale, targets),
    }


def _row(tuned: Tuned, loss: Loss, runs: list[dict[str, Any]]) -> Row:
    return Row(
        name=tuned.family.name,
        baseline=tuned.family.baseline,
        strengths=tuned.family.describe(tuned.setting.strengths),
        lr=tuned.lr,
        epochs=tuned.epochs,
        stop=tuned.stop,
        tried=tuned.tried,
        tuning=tuned.validation,
        loss=loss.to_json(),
        runs=runs,
    )


def _concluded(rows: list[Row]) -> Comparison:
    reference = rows[0]
    best = max((row for row in rows if row.baseline), key=lambda row: row.mean("validation"))
    wanted = [(row, reference) for row in rows[1:]]
    wanted += [(row, other) for row in rows if not row.baseline for other in rows[1:] if other.baseline]
    results = [welch(first.column("test"), second.column("test")) for first, second in wanted]
    corrected = holm([result.p for result in results])
    pairs = [
        Pair(first.name, second.name, result, p)
        for (first, second), result, p in zip(wanted, results, corrected, strict=True)
    ]
    ordered = sorted(rows, key=lambda row: row.mean("validation"), reverse=True)
    return Comparison(ordered, pairs, best.name)
