"""The tuner of settings: grids, growth, shared grids and finalists, with measures that cost nothing."""

import math
import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from lossmith.analysis import Axis, Grid, Setting, Tuner, learning_rates, mean_score
from lossmith.analysis.tuning import Place

RATE = Axis("lr", lambda place: 2.0**place, -1, 1, -4, 4)
STRENGTH = Axis("s", float, 0, 2, -2, 5)
Value = Callable[[str, Place], float]


def measured(value: Value, asked: list[list[Setting]]) -> Callable[[Sequence[Setting]], dict[Setting, list[float]]]:
    """Two scores around the value of each setting; what was asked is written down."""

    def measure(wanted: Sequence[Setting]) -> dict[Setting, list[float]]:
        asked.append(list(wanted))
        return {one: [value(one.name, one.place) - 0.01, value(one.name, one.place) + 0.01] for one in wanted}

    return measure


def hill(*top: int) -> Value:
    return lambda _, place: -float(sum((at - wanted) ** 2 for at, wanted in zip(place, top, strict=True)))


def test_a_grid_in_order() -> None:
    grid = Grid("loss", (STRENGTH, RATE))
    assert grid.start() == [(s, r) for s in (0, 1, 2) for r in (-1, 0, 1)]
    assert grid.around((5, -4)) == [(4, -4), (5, -3)]
    assert grid.around((0, 0)) == [(-1, 0), (1, 0), (0, -1), (0, 1)]
    assert grid.values((2, -1)) == (2.0, 0.5)


@pytest.mark.parametrize(
    ("first", "last", "stride", "places"),
    [(-3, 1, 2, [-3, -1, 1]), (0, 3, 2, [0, 2]), (1, 3, 3, [2]), (0, 0, 2, [0]), (-5, 7, 4, [-5, -1, 3, 7])],
)
def test_a_coarse_grid(first: int, last: int, stride: int, places: list[int]) -> None:
    axis = Axis("s", float, first, last, -9, 9, stride)
    assert Grid("a", (axis,)).start() == [(place,) for place in places]


@pytest.mark.parametrize(("top", "count"), [(0, 5), (3, 8), (5, 10), (9, 10), (-9, 10)])
def test_one_axis_is_climbed_to_its_top(top: int, count: int) -> None:
    asked: list[list[Setting]] = []
    axis = learning_rates(0.05)
    tuner: Tuner[list[float]] = Tuner([Grid("cross-entropy", (axis,))])
    tried = tuner.search(measured(hill(top), asked))
    best = max(tried, key=lambda setting: mean_score(setting, tried[setting]))
    assert best.place == (min(max(top, axis.lowest), axis.highest),)
    assert len(tried) == sum(map(len, asked)) == count
    places = sorted(setting.place[0] for setting in tried)
    assert places == list(range(places[0], places[-1] + 1))


@pytest.mark.parametrize("seed", range(10))
def test_no_neighbor_of_the_best_is_untried_and_nothing_is_measured_twice(seed: int) -> None:
    asked: list[list[Setting]] = []
    value: Value = lambda name, place: random.Random(f"{seed} {name} {place}").random()  # noqa: E731
    grids = [Grid("first", (RATE, STRENGTH)), Grid("second", (RATE,))]
    tuner: Tuner[list[float]] = Tuner(grids)
    tried = tuner.search(measured(value, asked))
    every = [setting for wanted in asked for setting in wanted]
    assert len(every) == len(set(every)) == len(tried)
    for grid in grids:
        best = tuner.ranked(tried, grid.name)[0]
        assert {Setting(grid.name, place) for place in grid.around(best.place)} <= set(tried)


def test_a_shared_grid_is_tried_by_every_loss() -> None:
    asked: list[list[Setting]] = []
    tops = {"cross-entropy": hill(1, 4), "evolved": hill(-2, 0)}
    grids = [Grid(name, (STRENGTH, RATE)) for name in tops]
    tuner: Tuner[list[float]] = Tuner(grids, shared=True)
    tried = tuner.search(measured(lambda name, place: tops[name](name, place), asked))
    places = {name: [setting.place for setting in tried if setting.name == name] for name in tops}
    assert places["cross-entropy"] == places["evolved"]
    assert [setting.name for setting in asked[0][:4]] == ["cross-entropy", "evolved"] * 2
    assert [tuner.ranked(tried, name)[0].place for name in tops] == [(1, 4), (-2, 0)]


def test_finalists_are_measured_together_with_fresh_seeds_and_these_decide() -> None:
    asked: list[list[Setting]] = []
    again: list[list[Setting]] = []
    grids = [Grid("first", (RATE,)), Grid("second", (RATE,))]
    tuner: Tuner[list[float]] = Tuner(grids)
    tried = tuner.search(measured(hill(0), asked))
    chosen = tuner.choose(tried, 2, measured(lambda name, place: float(name == "first") * place[0], again))
    assert again == [[Setting(name, (place,)) for name in ("first", "second") for place in (0, -1)]]
    assert {name: one.setting.place for name, one in chosen.items()} == {"first": (0,), "second": (0,)}
    assert chosen["first"].tried == 3
    assert list(chosen["second"].again) == again[0][2:]
    assert chosen["first"].score == pytest.approx(float(np.mean(chosen["first"].again[chosen["first"].setting])))
    other = tuner.choose(tried, 3, measured(hill(1), again), lambda setting, scores: max(scores) + setting.place[0])
    assert other["first"].setting.place == (1,)
    assert other["first"].score == pytest.approx(1.01)


def test_a_run_off_decides_by_all_fresh_seeds_among_the_best_finalists() -> None:
    asked: list[list[Setting]] = []
    tuner: Tuner[list[float]] = Tuner([Grid("first", (RATE,)), Grid("second", (RATE,))])
    tried = tuner.search(measured(hill(0), []))
    chosen = tuner.choose(tried, 3, measured(lambda _, place: [0.4, 0.8, 0.6][place[0] + 1], []))
    more = measured(lambda _, place: [0.0, 0.5, 0.9][place[0] + 1], asked)
    found = tuner.run_off(chosen, ["second"], 2, (3, 7), more, mean_score)
    assert asked == [[Setting("second", (0,)), Setting("second", (1,))]]
    assert found["first"] == chosen["first"]
    assert (chosen["second"].setting.place, found["second"].setting.place) == ((0,), (1,))
    assert found["second"].score == pytest.approx(0.3 * 0.6 + 0.7 * 0.9)
    lost = tuner.run_off(chosen, ["second"], 2, (3, 7), measured(lambda *_: -math.inf, []), mean_score)
    assert lost["second"].score == -math.inf


def test_the_first_of_equal_settings_leads() -> None:
    tuner: Tuner[list[float]] = Tuner([Grid("loss", (STRENGTH,))])
    tried = tuner.search(measured(lambda *_: 0.5, []))
    assert [setting.place for setting in tuner.ranked(tried, "loss")] == [(0,), (1,), (2,), (-1,)]
    assert tuner.choose(tried, 9, measured(lambda *_: 0.5, []))["loss"].setting.place == (0,)


def test_what_is_asked_for_at_the_end_can_win() -> None:
    far = Setting("loss", (5,))
    tuner: Tuner[list[float]] = Tuner([Grid("loss", (STRENGTH,))], more=lambda tried: [] if far in tried else [far])
    tried = tuner.search(measured(lambda _, place: 1.0 if place == (4,) else -abs(place[0] - 1.0), []))
    assert set(tried) >= {far, Setting("loss", (0,))}
    assert Setting("loss", (4,)) not in tried
    tried = tuner.search(measured(lambda _, place: float(place[0] > 3), []))
    assert tuner.ranked(tried, "loss")[0] == far
    assert Setting("loss", (4,)) in tried
