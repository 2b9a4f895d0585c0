"""Tuning on validation curves: strengths, learning rate and number of epochs of every loss of a comparison."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from lossmith.analysis.baselines import Family, learning_rates
from lossmith.analysis.jobs import Part, each_loss, is_number, results_of
from lossmith.analysis.records import Chunks, Plan, Report, Samples, Tuned
from lossmith.analysis.trained import batched
from lossmith.analysis.tuning import Axis, Chosen, Grid, Measure, Place, Setting, Tuner
from lossmith.losses import Loss
from lossmith.metrics import to_lists
from lossmith.seeds import derive
from lossmith.training import Executor, Recipe, Task, Trained

LONGEST = 2
# A curve that is at its best in the last fifth may rise further: how far from the end that is, is luck.
LATE = 0.8
LENGTHS = Axis("times the epochs were doubled", lambda place: 2.0**place, 0, 0, 0, LONGEST)
Curve = list[float]
Curves = Mapping[Setting, Curve]


def tuned_recipe(plan: Plan, lr: float, epochs: int) -> Recipe:
    """The recipe of a setting; its length is in epochs, whatever the recipe's own is in."""
    return plan.recipe.model_copy(update={"lr": lr, "epochs": epochs, "steps": None})


def stop_of(curve: Curve) -> int:
    """Early stopping: after how many epochs a curve is first at its best."""
    return curve.index(max(curve)) + 1


class CurveTuning:
    """Tunes the losses of a comparison.

    A setting is the strengths of a loss, the learning rate, and how often the epochs were doubled, which is tried where
    the best curve is at its best in its last fifth. What is measured of it is its curve: the mean fitness by the
    deciding figure on validation data after each epoch, over some seeds.
    """

    def __init__(
        self,
        task: Task,
        validation: Samples,
        families: Sequence[Family],
        plan: Plan,
        executor: Executor,
        chunks: Chunks,
        report: Report,
    ) -> None:
        self.executor = executor
        self.task, self.validation, self.plan, self.chunks, self.report = task, validation, plan, chunks, report
        self.families = {family.name: family for family in families}
        self.rates = learning_rates(plan.recipe.lr, plan.stride)
        grids = [Grid(family.name, (*family.axes, self.rates, LENGTHS)) for family in families]
        self.tuner = Tuner(grids, _height, self._around, more=self._missing)

    def tune(self) -> list[Tuned]:
        """The best setting of each loss."""
        rounds = itertools.count()

        def measure(wanted: Sequence[Setting]) -> dict[Setting, Curve]:
            number = next(rounds)
            phase = "tuning" if number == 0 else f"tuning beyond the grids, round {number}"
            return self._measured(wanted, "tuning", range(self.plan.tuning_seeds), phase)

        tried = self.tuner.search(measure)
        stops = {setting: stop_of(curve) for setting, curve in tried.items()}

        def height(setting: Setting, curve: Curve) -> float:
            return curve[stops[setting] - 1]

        def measure_again(phase: str, first: int, count: int) -> Measure[Curve]:
            fresh = range(first, first + count)
            return lambda wanted: self._measured(wanted, "tuning again", fresh, phase, stops.__getitem__)

        plan, tuner = self.plan, self.tuner
        if plan.finalists:
            again = measure_again("the best settings, fresh seeds", 0, plan.finalist_seeds)
            chosen = tuner.choose(tried, plan.finalists, again, height)
        else:
            chosen = tuner.choose(tried, 1, lambda wanted: {setting: tried[setting] for setting in wanted})
        if plan.finalists and plan.run_off is not None:
            more = measure_again("the best losses, more seeds", plan.finalist_seeds, plan.run_off.seeds)
            leading, weights = self._leading(chosen, plan.run_off.losses), (plan.finalist_seeds, plan.run_off.seeds)
            chosen = tuner.run_off(chosen, leading, plan.run_off.finalists, weights, more, height)
        found = []
        for name, one in chosen.items():
            *strengths, rate, doubled = one.setting.place
            epochs, stop = self.plan.epochs * 2**doubled, stops[one.setting]
            lr, figure = self.rates.value(rate), self.plan.deciding.sign * one.score
            known = figure if math.isfinite(figure) else None
            found.append(Tuned(self.families[name], tuple(strengths), lr, epochs, stop, known, one.tried))
        return found

    def _leading(self, chosen: Mapping[str, Chosen[Curve]], count: int) -> list[str]:
        """The losses with the best scores, the given ones, and the first, with which the others are compared."""
        best = sorted(chosen, key=lambda name: -chosen[name].score)[:count]
        first = next(iter(self.families))
        return [name for name in chosen if name in (first, *best) or not self.families[name].baseline]

    def _around(self, grid: Grid, best: Setting, curve: Curve) -> list[Place]:
        """Neighbours of the best setting; longer trainings only where its curve is the highest near its end."""
        rising = stop_of(curve) >= LATE * len(curve)
        doubled = best.place[-1]
        return [place for place in grid.around(best.place) if place[-1] == doubled or (rising and place[-1] > doubled)]

    def _missing(self, tried: Curves) -> list[Setting]:
        """Untried settings that bring each baseline up to the given loss with the most, the nearest to its best one."""
        counts = {name: sum(setting.name == name for setting in tried) for name in self.families}
        most = max((counts[name] for name, family in self.families.items() if not family.baseline), default=0)
        found: list[Setting] = []
        for name in (name for name, family in self.families.items() if family.baseline):
            *strengths, best_rate, best_doubled = self.tuner.ranked(tried, name)[0].place
            steps = {
                Setting(name, (*strengths, rate, doubled)): abs(rate - best_rate) + 2 * abs(doubled - best_doubled)
                for doubled in range(LONGEST + 1)
                for rate in range(self.rates.lowest, self.rates.highest + 1)
            }
            near = sorted((setting for setting in steps if setting not in tried), key=steps.__getitem__)
            found += near[: max(0, most - counts[name])]
        return found

    def _measured(
        self,
        settings: Sequence[Setting],
        purpose: str,
        numbers: range,
        phase: str,
        until: Callable[[Setting], int] | None = None,
    ) -> dict[Setting, Curve]:
        """The curve of each setting, over some seeds of a purpose; settings of one recipe are trained together.

        ``until`` names the last epoch that is needed of a setting; without it, all are.
        """
        plan = self.plan
        seeds = [derive(plan.seed, "comparison", purpose, number) for number in numbers]
        groups: dict[tuple[int, int], list[Setting]] = {}
        for setting in settings:
            rate, doubled = setting.place[-2:]
            groups.setdefault((rate, doubled), []).append(setting)
        together: list[list[Setting]] = []
        parts: list[Part] = []
        for (rate, doubled), members in groups.items():
            recipe = tuned_recipe(plan, self.rates.value(rate), plan.epochs * 2**doubled)
            for chunk in batched(sorted(members, key=until) if until else members, plan.chunk // len(seeds)):
                stop = max(map(until, chunk)) if until else recipe.epochs
                together.append(chunk)
                parts.append(self._part(chunk, seeds, recipe, stop, 2**doubled * len(chunk)))
        curves = results_of(parts, self.executor, self.chunks, partial(self.report, phase))
        return {
            setting: [-math.inf if value is None else value for value in curve]
            for chunk, rows in zip(together, curves, strict=True)
            for setting, curve in zip(chunk, rows, strict=True)
        }

    def _part(self, settings: Sequence[Setting], seeds: list[int], recipe: Recipe, stop: int, work: float) -> Part:
        losses = [self._loss(setting) for setting in settings]
        labels = {"lr": recipe.lr, "epochs": recipe.epochs, "stop": stop, "seeds": seeds}
        key = json.dumps({"tuning": [loss.key() for loss in losses], **labels})
        measure, deciding = partial(_mean_curves, len(losses)), self.plan.deciding
        figure = None if deciding.objective is None else deciding.fitness
        judge = deciding.judge(recipe)
        way = (recipe, self.plan.backend, measure, self.validation, stop, figure)
        job = each_loss(self.task, losses, seeds, *way, judge=judge)
        return Part(key, job, work, partial(_are_curves, len(losses), stop, figure is not None))

    def _loss(self, setting: Setting) -> Loss:
        family = self.families[setting.name]
        return family.build(family.strengths(setting.place[:-2]), self.task.classes)


def _height(_: Setting, curve: Curve) -> float:
    return max(curve)


def _are_curves(count: int, length: int, unbounded: bool, result: Any) -> bool:
    """Whether a result is of ``count`` losses, each trained for ``length`` epochs; unbounded figures can be None."""
    return (
        isinstance(result, list)
        and len(result) == count
        and all(
            isinstance(curve, list)
            and len(curve) == length
            and all(is_number(value) or (unbounded and value is None) for value in curve)
            for curve in result
        )
    )


def _mean_curves(count: int, trained: Trained, _: Callable[[float], None]) -> list[Curve]:
    """The mean curve of each of ``count`` losses over its networks; None where it is not finite."""
    assert trained.curve is not None
    means = trained.curve.reshape(count, -1, trained.curve.shape[-1]).mean(1)
    # Equal settings stay equal, whatever the chunk.
    curves: list[Curve] = to_lists(means.round(decimals=12).numpy())
    return curves
