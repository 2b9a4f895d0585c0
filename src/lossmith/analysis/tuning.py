"""The one tuner of settings: grids that grow beyond their edges, and finalists that are trained again.

Every loss is searched on its whole grid; as long as a neighbour of its best setting is untried, that is tried, too. The
maximum of many noisy values is partly luck: so the best few settings are measured again with fresh seeds, and
the highest of these figures decides. What a measurement is, the caller says: it is given all settings that are wanted
at once, so that it can train them together, and gives whatever it measures of each.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np

Place = tuple[int, ...]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Axis:
    """A grid of one strength, indexed by whole numbers so that it can be extended at either end.

    Args:
        name: What tables call the strength.
        value: The strength at a place of the grid.
        first: First place of the grid as it starts.
        last: Last place of the grid as it starts.
        lowest: Lowest place that it can be extended to.
        highest: Highest place that it can be extended to.
        stride: Steps between places of the grid as it starts; as many places are left out at either end.
    """

    name: str
    value: Callable[[int], float]
    first: int
    last: int
    lowest: int
    highest: int
    stride: int = 1

    def start(self) -> range:
        """Places of the grid as it starts; the middle, where it is shorter than the stride."""
        left_over = (self.last - self.first) % self.stride
        return range(self.first + left_over // 2, self.last + 1, self.stride)


@dataclass(frozen=True)
class Setting:
    """A place of a loss's grid."""

    name: str
    place: Place


@dataclass(frozen=True)
class Grid:
    """The settings of one loss.

    Args:
        name: The loss; any text that tells grids apart.
        axes: What is tuned: strengths, the learning rate.
    """

    name: str
    axes: tuple[Axis, ...]

    def start(self) -> list[Place]:
        """All places of the grid as it starts, the last axis the fastest."""
        return list(itertools.product(*(axis.start() for axis in self.axes)))

    def around(self, place: Place) -> list[Place]:
        """Places one step away along one axis, as far as that can be extended."""
        found: list[Place] = []
        for number, axis in enumerate(self.axes):
            for step in (-1, 1):
                moved = place[number] + step
                if axis.lowest <= moved <= axis.highest:
                    found.append((*place[:number], moved, *place[number + 1 :]))
        return found

    def values(self, place: Place) -> tuple[float, ...]:
        """What a place stands for on each axis."""
        return tuple(axis.value(index) for axis, index in zip(self.axes, place, strict=True))


@dataclass(frozen=True)
class Chosen(Generic[Result]):
    """What the tuning of a loss ended with.

    Args:
        setting: The setting.
        score: Its score with fresh seeds.
        again: What was measured of each finalist with fresh seeds, the best of the first seeds first.
        tried: How many settings were tried.
    """

    setting: Setting
    score: float
    again: dict[Setting, Result]
    tried: int


@dataclass(frozen=True)
class RunOff:
    """A second measurement, of the losses that may be the best.

    Args:
        losses: How many of them, those with the best scores.
        finalists: The best settings of each.
        seeds: Fresh seeds of each of those, besides those that they have been measured with.
    """

    losses: int
    finalists: int
    seeds: int


Measure = Callable[[Sequence[Setting]], Mapping[Setting, Result]]
Score = Callable[[Setting, Result], float]


def mean_score(_: Setting, scores: Any) -> float:
    """The mean of several numbers, as of several networks."""
    return float(np.mean(scores))


def all_around(grid: Grid, setting: Setting, _: Any) -> list[Place]:
    """Every place one step away."""
    return grid.around(setting.place)


def nothing_more(_: Mapping[Setting, Any]) -> list[Setting]:
    """No settings."""
    return []


@dataclass(frozen=True)
class Tuner(Generic[Result]):
    """How some losses are tuned together.

    Args:
        grids: The grid of each.
        score: How good a setting is by what was measured of it, higher is better; of equal ones the first tried leads.
        around: Where the search of a grid goes on from its best setting.
        shared: Whether a place that one grid asks for is tried by all of them, so that all have equal budgets; they
            need the same axes then.
        more: Settings that are asked for where all best settings lie inside; the search goes on from what they find.
    """

    grids: Sequence[Grid]
    score: Score[Result] = mean_score
    around: Callable[[Grid, Setting, Result], Iterable[Place]] = all_around
    shared: bool = False
    more: Callable[[Mapping[Setting, Result]], list[Setting]] = nothing_more

    def search(self, measure: Measure[Result]) -> dict[Setting, Result]:
        """What was measured of each setting that was tried, in the order in which ``measure`` gave it."""
        tried: dict[Setting, Result] = {}
        wanted = self._settings({grid.name: grid.start() for grid in self.grids})
        while wanted:
            tried |= measure(wanted)
            wanted = self._untried(tried) or self.more(tried)
        return tried

    def ranked(self, tried: Mapping[Setting, Result], name: str) -> list[Setting]:
        """Settings of a grid that were tried, the best first."""
        mine = [setting for setting in tried if setting.name == name]
        return sorted(mine, key=lambda setting: -self.score(setting, tried[setting]))

    def choose(
        self,
        tried: Mapping[Setting, Result],
        finalists: int,
        measure: Measure[Result],
        score: Score[Result] | None = None,
    ) -> dict[str, Chosen[Result]]:
        """Measure the best settings of each grid again, with fresh seeds, and take the best of these.

        Args:
            tried: What :meth:`search` gave.
            finalists: How many settings of each grid are measured again.
            measure: Measures with fresh seeds.
            score: How good a setting is by that; as before if it is not given.
        """
        score = score or self.score
        leading = {grid.name: self.ranked(tried, grid.name)[:finalists] for grid in self.grids}
        fresh = measure([setting for settings in leading.values() for setting in settings])
        found: dict[str, Chosen[Result]] = {}
        for name, settings in leading.items():
            scores = {setting: score(setting, fresh[setting]) for setting in settings}
            best = max(scores, key=scores.__getitem__)
            count = sum(setting.name == name for setting in tried)
            found[name] = Chosen(best, scores[best], {setting: fresh[setting] for setting in settings}, count)
        return found

    def run_off(
        self,
        chosen: Mapping[str, Chosen[Result]],
        names: Sequence[str],
        finalists: int,
        weights: tuple[int, int],
        measure: Measure[Result],
        score: Score[Result],
    ) -> dict[str, Chosen[Result]]:
        """Measure the best finalists of some losses with more seeds, and take the best of these by all fresh seeds.

        Args:
            chosen: What :meth:`choose` gave, of all losses.
            names: The losses.
            finalists: How many settings of each.
            weights: Seeds before, and now.
            measure: Measures with the seeds of now.
            score: How good a setting is by that.
        """
        before = {setting: score(setting, result) for name in names for setting, result in chosen[name].again.items()}
        leading = {name: sorted(chosen[name].again, key=before.__getitem__, reverse=True)[:finalists] for name in names}
        fresh = measure([setting for settings in leading.values() for setting in settings])
        found = dict(chosen)
        for name, settings in leading.items():
            scores = {
                one: float(np.average([before[one], score(one, fresh[one])], weights=weights)) for one in settings
            }
            best = max(scores, key=scores.__getitem__)
            found[name] = replace(chosen[name], setting=best, score=scores[best])
        return found

    def _untried(self, tried: Mapping[Setting, Result]) -> list[Setting]:
        wanted: dict[str, list[Place]] = {}
        for grid in self.grids:
            best = self.ranked(tried, grid.name)[0]
            wanted[grid.name] = list(self.around(grid, best, tried[best]))
        return [setting for setting in self._settings(wanted) if setting not in tried]

    def _settings(self, places: Mapping[str, Sequence[Place]]) -> list[Setting]:
        if not self.shared:
            return [Setting(name, place) for name, own in places.items() for place in own]
        union = dict.fromkeys(place for own in places.values() for place in own)
        return [Setting(name, place) for place in union for name in places]
