"""The simulated cluster of experiments/asynchronous.py, against closed forms and against lossmith's own generations."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from lossmith.losses import Loss
from lossmith.search import SearchSettings, VectorSpace, build_engine

ROOT = Path(__file__).parents[1]


def no_losses(points: Any, classes: int) -> Loss:
    raise NotImplementedError


SPACE = VectorSpace((1.0, -2.0), 0.5, no_losses)


class Bowl:
    """Trainings that give minus the square of the distance from the origin; a time from a function of no arguments."""

    def __init__(self, worker: Callable[[], float] = lambda: 1.0, own: Callable[[Any], float] = lambda _: 1.0) -> None:
        self.worker, self.own = worker, own

    def score(self, candidate: Any) -> float:
        return -float(sum(x * x for x in candidate.genome))


@pytest.fixture(scope="module")
def cluster(experiment: Callable[[str], ModuleType]) -> ModuleType:
    return experiment("asynchronous_cluster")


def exponential(seed: int) -> Callable[[], float]:
    source = np.random.default_rng(seed)
    return lambda: float(source.exponential())


def test_a_synchronous_search_asks_and_tells_as_an_engine_without_a_cluster(cluster: ModuleType) -> None:
    engine = build_engine(SPACE, SearchSettings(population=6, seed=3))
    means = []
    for _ in range(5):
        genomes, _ = engine.ask(lambda _: True)
        engine.tell(genomes, [-sum(x * x for x in genome) for genome in genomes])
        means.append(engine.mean)
    course = cluster.simulated(cluster.Generations(SPACE, 6, 3), Bowl(exponential(0)), 4, 100.0)
    assert course.means[:5] == means


def test_with_equal_times_steady_state_is_synchronous(cluster: ModuleType) -> None:
    steady = cluster.simulated(cluster.Steady(SPACE, 8, 1, 8), Bowl(), 8, 10.0)
    generations = cluster.simulated(cluster.Generations(SPACE, 8, 1), Bowl(), 8, 10.0)
    assert steady == generations
    assert steady.moments == list(map(float, range(1, 11)))
    assert steady.used == 1


@pytest.mark.parametrize(("workers", "waves"), [(20, 1), (19, 2), (10, 2), (7, 3), (40, 1)])
def test_with_equal_times_a_generation_takes_whole_waves(cluster: ModuleType, workers: int, waves: int) -> None:
    course = cluster.simulated(cluster.Generations(SPACE, 20, 0), Bowl(), workers, 12.0)
    assert course.moments == [waves * turn for turn in range(1, 12 // waves + 1)]
    assert course.used == pytest.approx(20 / (waves * workers))


@pytest.mark.parametrize("workers", [2, 8, 32])
def test_the_idle_share_with_exponential_times_is_that_of_harmonic_numbers(cluster: ModuleType, workers: int) -> None:
    """The slowest of W exponential times takes Σ 1/k, and each of them 1 on average."""
    harmonic = sum(1 / k for k in range(1, workers + 1))
    course = cluster.simulated(cluster.Generations(SPACE, workers, 0), Bowl(exponential(5)), workers, 3000.0)
    assert course.used == pytest.approx(1 / harmonic, rel=0.04)
    assert len(course.moments) == pytest.approx(3000 / harmonic, rel=0.04)


def test_steady_state_has_no_idle_worker(cluster: ModuleType) -> None:
    course = cluster.simulated(cluster.Steady(SPACE, 8, 0, 16), Bowl(exponential(1)), 16, 50.0)
    assert course.used == pytest.approx(1)
    assert course.trained == pytest.approx(16 * 50, rel=0.15)
    assert len(course.moments) == course.trained // 8


@pytest.mark.parametrize("lag", [1, 2, 3])
def test_what_whole_generations_ask_for_does_not_depend_on_who_came_back_first(cluster: ModuleType, lag: int) -> None:
    def asked(seed: int, workers: int, copies: bool) -> list[list[float]]:
        search, genomes = cluster.Generations(SPACE, 6, 2, lag=lag), list[list[float]]()
        tell = search.engine.tell

        def heard(told: list[list[float]], fitness: list[float]) -> None:
            genomes.extend(told)
            tell(told, fitness)

        search.engine.tell = heard
        cluster.simulated(search, Bowl(exponential(seed)), workers, 60.0, copies)
        return genomes

    runs = [asked(0, 6, False), asked(1, 3, False), asked(2, 16, True)]
    least = min(map(len, runs))
    assert least >= 48
    assert runs[0][:least] == runs[1][:least] == runs[2][:least]


def test_what_steady_state_asks_for_does(cluster: ModuleType) -> None:
    first, second = (
        cluster.simulated(cluster.Steady(SPACE, 6, 2, 6), Bowl(exponential(seed)), 6, 20.0) for seed in (0, 1)
    )
    assert first.means[1:5] != second.means[1:5]


def test_two_generations_are_in_flight(cluster: ModuleType) -> None:
    search = cluster.Generations(SPACE, 4, 0, lag=2)
    out = search.wanted()
    assert [candidate.generation for candidate in out] == [0] * 4 + [1] * 4
    assert search.wanted() == []
    for candidate in out:
        candidate.scores.append(0.0)
    # The second one is whole first, and waits for its turn.
    assert [search.back(candidate) for candidate in out[4:] + out[:4]] == [False] * 7 + [True]
    assert search.engine.generation == 2
    assert {candidate.generation for candidate in search.wanted()} == {2, 3}


def test_a_copy_ends_what_a_slow_worker_is_at(cluster: ModuleType) -> None:
    times = iter([1.0, 10.0])
    course = cluster.simulated(cluster.Generations(SPACE, 2, 0), Bowl(lambda: next(times, 1.0)), 2, 2.5, copies=True)
    # The second candidate is tried again at 1 and is back at 2, where its first try ends.
    assert course.moments == [2.0]
    assert course.copied == pytest.approx(2.0 / 5)
    assert course.used == pytest.approx(3.0 / 5)


def test_a_copy_of_what_is_slow_by_itself_gains_nothing(cluster: ModuleType) -> None:
    slow = Bowl(own=lambda candidate: 1.0 + candidate.member)
    plain, copied = (
        cluster.simulated(cluster.Generations(SPACE, 3, 0), slow, 6, 12.0, copies=copies) for copies in (False, True)
    )
    assert plain.moments == copied.moments == [3.0, 6.0, 9.0, 12.0]


def test_every_seed_of_a_candidate_counts_and_a_diverged_one_takes_its_fitness(cluster: ModuleType) -> None:
    course = cluster.simulated(cluster.Generations(SPACE, 4, 0, seeds=3), Bowl(), 12, 3.0)
    assert (course.trained, course.moments) == (36, [1.0, 2.0, 3.0])
    assert cluster.Candidate([], scores=[0.2, 0.4]).fitness == pytest.approx(0.3)
    assert cluster.Candidate([], scores=[0.2, None]).fitness is None


def test_of_several_searches_that_with_the_best_last_generation_counts(experiment: Callable[[str], ModuleType]) -> None:
    found = experiment("asynchronous_ways").many(SPACE, 64, 0)
    assert [search.number for search in found.searches] == [0, 1, 2, 3]
    for search, level in zip(found.searches, (0.1, 0.5, 0.3, 0.2), strict=True):
        search.level = level
        search.engine._mean = [level, level]
    assert found.mean == [0.5, 0.5]


def test_the_ellipsoid_begins_and_ends_where_it_should(experiment: Callable[[str], ModuleType]) -> None:
    program = experiment("asynchronous_table")
    found = program.ellipsoid(8, 30.0)
    assert found.bottom == pytest.approx(program.START)
    assert program.highest(found.start, found.truth) == pytest.approx(found.top, abs=1e-3)
    assert program.ellipsoid(2, 4.0).target(0.8) == pytest.approx(program.START + 0.8 * (program.BEST - program.START))


def test_noise_and_times_are_those_of_the_table(experiment: Callable[[str], ModuleType]) -> None:
    program, source = experiment("asynchronous_table"), np.random.default_rng(0)
    means = 0.5 + 0.02 * source.normal(size=400)
    scores = means[:, None] + 0.01 * source.normal(size=(400, 3)) + 0.1 * source.normal(size=3)
    rows = [
        {
            "generation": 0,
            "genome": [0.0],
            "status": "ok",
            "fitness": float(row.mean()),
            "scores": list(row),
            "seconds": 2.0,
        }
        for row in scores
    ]
    low = [{**rows[0], "fitness": None, "status": "diverged"}, {**rows[0], "fitness": 0.2}]
    low.append({**low[1], "fitness": 0.25})
    table = {"search": rows, "wide": low}
    noise = program.Noise(table)
    assert noise.diverging == pytest.approx(1 / 3)
    # What all networks of a seed have in common moves no rank.
    assert noise.deviation(0.0, 1.0) == pytest.approx(0.01, rel=0.1)
    drawn = [noise.score(0.5, source) for _ in range(2000)]
    assert np.std(drawn) == pytest.approx(0.01, rel=0.15)
    assert program.Times("even", table).own(0.1, source) == 1
    own = program.Times("own", table)
    lasting = [[own.own(truth, source) for _ in range(2000)] for truth in (0.1, 0.5)]
    assert np.median(lasting[0]) / np.median(lasting[1]) == pytest.approx(own.GIVEN_UP, rel=0.1)
    assert np.std(np.log(lasting[1])) == pytest.approx(own.SPREAD, rel=0.1)


def test_the_target_is_reached_where_two_looks_in_a_row_are_there(experiment: Callable[[str], ModuleType]) -> None:
    reached = experiment("asynchronous").reached
    moments = np.array([0.5, 1.0, 1.5, 2.0])
    assert reached(np.array([0.9, 0.1, 0.8, 0.9]), moments) == 1.5
    assert reached(np.array([0.1, 0.9, 0.1, 0.9]), moments) is None


@pytest.mark.parametrize(
    ("interval", "above", "below"),
    [((1.6, 2.0), "held", "failed"), ((1.0, 1.4), "failed", "held"), ((1.4, 1.6), "not shown", "not shown")],
)
def test_a_claim_is_judged_by_its_interval(
    experiment: Callable[[str], ModuleType], interval: tuple[float, float], above: str, below: str
) -> None:
    claim = experiment("asynchronous_page").Claim
    assert [claim("even", "a", "b", 1.5, side).word(interval) for side in (True, False)] == [above, below]


def test_the_page_is_that_of_its_runs(experiment: Callable[[str], ModuleType]) -> None:
    folder, page = ROOT / "results" / "asynchronous", experiment("asynchronous_page")
    document = json.loads((folder / "runs.json").read_text(encoding="utf-8"))
    assert (folder / "summary.md").read_text(encoding="utf-8") == "\n".join(page.page(document)) + "\n"
    speeds = page.Speeds(document)
    assert len(document["runs"]) == 9 * sum(len(speeds.ways(workers)) for workers in speeds.workers)
    assert {len(row["reached"]) for row in document["runs"]} == {document["searches"]}
    logs = speeds.logs("even", 64, page.LARGE)
    assert math.exp(logs.mean()) <= speeds.horizons[64]
    assert speeds.gain(["even"], 64, page.LARGE, page.LARGE) == (1.0, 1.0, 1.0)
