"""What every registered search space and search engine must do; an engine and a space of one's own pass the same suite.

The example's genomes are no vectors, and it has no mean. It is registered for these tests alone.
"""

import json
import math
import random
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lossmith import Loss, PowerLoss, gce, load, poly
from lossmith.analysis import Family, baselines
from lossmith.cli import main
from lossmith.errors import InputError
from lossmith.losses import Schedule
from lossmith.search import (
    SEARCH_ENGINES,
    SPACES,
    Genome,
    SearchEngine,
    SearchSettings,
    Space,
    VectorSpace,
    build_engine,
    build_space,
)
from lossmith.search.engines.base import REDRAWS
from lossmith.study import CompareSettings, EvolveSettings, Problem, Store, Study, compare_losses, evolve
from lossmith.study.schema import seal
from lossmith.training import Recipe, train

KINDS: dict[str, Callable[[float], Loss]] = {"gce": gce, "poly": poly}
CLASSES, POPULATION, GENERATIONS = 10, 6, 4
# The coordinate of (y − λ1)², which has no h.
INERT = {"taylor": {2}}
JOB = {"data": {"train_size": 100, "validation_size": 100}, "model": {"hidden": [8]}}
HALF = (torch.tensor(0.5), torch.tensor(1.0))


class Named(Space):
    """A named loss at some strength, ``{"loss": "gce", "q": 0.3}``."""

    def build(self, genomes: Sequence[Genome], classes: int) -> Loss:
        return Loss.stack([KINDS[genome["loss"]](genome["q"]) for genome in genomes])

    def holds(self, value: Any) -> bool:
        if not isinstance(value, dict) or value.keys() != {"loss", "q"}:
            return False
        return value["loss"] in KINDS and isinstance(value["q"], float) and 0 < value["q"] < 1


class Climber(SearchEngine):
    """(1+λ): other strengths of the best so far, and now and then another loss."""

    def __init__(self, space: Space, settings: SearchSettings) -> None:
        super().__init__(space, settings)
        if not isinstance(space, Named):
            raise InputError(f"the search engine climber searches the space named, not {settings.space!r}; give that")
        self.best: tuple[float, Genome] = (-math.inf, {"loss": "gce", "q": 0.5})

    def begin(self, seed: int) -> None:
        self.random = random.Random(seed)

    def draw(self) -> Genome:
        name = self.random.choice(list(KINDS)) if self.random.random() < 0.2 else self.best[1]["loss"]
        return {"loss": name, "q": min(0.99, max(0.01, self.random.gauss(self.best[1]["q"], 0.2)))}

    def learn(self, genomes: Sequence[Genome], fitness: Sequence[float]) -> None:
        self.best = max([self.best, *zip(fitness, genomes, strict=True)], key=lambda pair: pair[0])


@contextmanager
def registered() -> Iterator[None]:
    """The example, for a while."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SPACES._entries, "named", lambda settings: Named())
        patch.setitem(SEARCH_ENGINES._entries, "climber", Climber)
        yield


@pytest.fixture(autouse=True, scope="module")
def _example() -> Iterator[None]:
    before = SPACES.names, SEARCH_ENGINES.names
    with registered():
        yield
    assert (SPACES.names, SEARCH_ENGINES.names) == before


def searched(engine: str, space: str) -> bool:
    """Whether an engine searches a space."""
    try:
        started(engine, space)
    except InputError:
        return False
    return True


def chosen(engine: str, space: str, **settings: Any) -> SearchSettings:
    return SearchSettings(
        engine=engine, space=space, **{"population": POPULATION, "generations": GENERATIONS, **settings}
    )


def started(engine: str, space: str, **settings: Any) -> SearchEngine:
    wanted = chosen(engine, space, **settings)
    return build_engine(build_space(wanted), wanted)


with registered():
    ALL = [(engine, space) for engine in SEARCH_ENGINES for space in SPACES]
    PAIRS = [pair for pair in ALL if searched(*pair)]
    NAMES = SPACES.names
    ENGINES = SEARCH_ENGINES.names
    VECTORS = [name for name in NAMES if isinstance(build_space(SearchSettings(space=name)), VectorSpace)]
every_pair = pytest.mark.parametrize(("engine", "space"), PAIRS)
every_space = pytest.mark.parametrize("space", NAMES)


def always(genome: Genome) -> bool:
    return True


def never(genome: Genome) -> bool:
    return False


def worth(genome: Genome) -> float:
    """A number between 0 and 1 that nobody can guess from the genome."""
    return random.Random(json.dumps(genome, sort_keys=True)).random()


def some(space: str, seed: int = 0) -> list[Genome]:
    """Genomes of a space, as the first engine that searches it asks for them."""
    engine = next(engine for engine, searched_space in PAIRS if searched_space == space)
    return started(engine, space, seed=seed).ask(always)[0]


def losses_of(space: str, genomes: Sequence[Genome]) -> Loss:
    return build_space(SearchSettings(space=space)).build(genomes, CLASSES)


# How many baselines spaces hold; and those that do not know the place of all that they hold.
PLACED = {
    **{"residual": 5, "residual-schedule": 5, "noise-robust": 6, "smoothed-mae": 1},
    **{"expression": 11, "expression-residual": 10},
}
PARTIAL = ("noise-robust", "expression-residual")


def gradient(losses: Loss) -> torch.Tensor:
    """Of soft targets, on which all coefficients act; of a schedule, at each of its knots."""
    if isinstance(losses, Schedule):
        return torch.cat([gradient(one) for one in losses.losses], -1)
    generator = torch.Generator().manual_seed(0)
    logits, labels = 2 * torch.randn(2, 30, CLASSES, dtype=torch.float64, generator=generator)
    return losses.logit_gradient(logits, labels.softmax(1))


FITNESS: dict[str, Callable[[list[float]], Sequence[float | None]]] = {
    "as it is": list,
    "permuted": lambda values: values[::-1],
    "some without": lambda values: [None if value < 0.5 else value for value in values],
    "some not finite": lambda values: [(math.nan, math.inf, -math.inf, value)[k % 4] for k, value in enumerate(values)],
    "none with one": lambda values: [None] * len(values),
    "all equal": lambda values: [0.5] * len(values),
}


def test_every_engine_and_every_space_is_searched() -> None:
    assert {engine for engine, _ in PAIRS} == set(ENGINES) > {"cma"}
    known = {
        "residual",
        "canonical",
        "taylor",
        "smoothed-mae",
        "residual-schedule",
        "noise-robust",
        "expression",
        "expression-residual",
    }
    assert {space for _, space in PAIRS} == set(NAMES) > known


@every_pair
class TestEveryEngine:
    def test_genomes_are_json_of_its_space(self, engine: str, space: str) -> None:
        search, place = started(engine, space), build_space(SearchSettings(space=space))
        for generation in range(GENERATIONS):
            assert search.generation == generation
            asked, redrawn = search.ask(always)
            assert (len(asked), redrawn) == (POPULATION, [0] * POPULATION)
            assert json.loads(json.dumps(asked, allow_nan=False)) == asked
            assert all(map(place.holds, asked))
            assert len({json.dumps(genome) for genome in asked}) > 1
            search.tell(asked, [worth(genome) for genome in asked])

    @pytest.mark.parametrize("population", [2, 3, 7])
    def test_as_many_as_the_population(self, engine: str, space: str, population: int) -> None:
        search = started(engine, space, population=population)
        for _ in range(3):
            asked, redrawn = search.ask(always)
            assert len(asked) == len(redrawn) == population
            search.tell(asked, [worth(genome) for genome in asked])

    def test_what_is_random_is_of_seed_and_generation(self, engine: str, space: str) -> None:
        first, second, other = started(engine, space), started(engine, space), started(engine, space, seed=1)
        asked = first.ask(always)
        assert first.ask(always) == asked == second.ask(always) != other.ask(always)
        second.ask(never)
        assert second.ask(always) == asked
        second.generation = 1
        assert second.ask(always) != asked

    def test_nothing_global_is_random(self, engine: str, space: str) -> None:
        def state() -> str:
            return repr((np.random.get_state(), torch.get_rng_state().tolist(), random.getstate()))  # noqa: NPY002

        before, search = state(), started(engine, space)
        for _ in range(2):
            asked, _ = search.ask(always)
            search.tell(asked, [float(k) for k in range(POPULATION)])
        assert state() == before

    @pytest.mark.parametrize("fitness", FITNESS)
    @pytest.mark.parametrize("seed", [0, 1, 12345])
    def test_replayed_like_uninterrupted(self, engine: str, space: str, seed: int, fitness: str) -> None:
        search, place = started(engine, space, seed=seed), build_space(SearchSettings(space=space))

        def accept(genome: Genome) -> bool:
            return worth(genome) > 0.3

        told: list[tuple[list[Genome], Sequence[float | None]]] = []
        for _ in range(GENERATIONS):
            again = started(engine, space, seed=seed)
            for genomes, values in json.loads(json.dumps(told)):
                again.tell(genomes, values)
            asked, redrawn = search.ask(accept)
            assert again.ask(accept) == (asked, redrawn)
            assert again.mean == search.mean
            assert again.generation == search.generation
            assert search.mean is None or place.holds(search.mean)
            assert all(map(place.holds, asked))
            told.append((asked, FITNESS[fitness]([worth(genome) for genome in asked])))
            search.tell(*told[-1])

    def test_drawn_again_until_accepted(self, engine: str, space: str) -> None:
        seen: list[bool] = []

        def accept(genome: Genome) -> bool:
            seen.append(worth(genome) > 0.5)
            return seen[-1]

        asked, redrawn = started(engine, space).ask(accept)
        assert all(worth(genome) > 0.5 for genome in asked)
        assert sum(redrawn) == seen.count(False) > 0
        assert seen.count(True) == POPULATION

    def test_drawing_again_has_an_end(self, engine: str, space: str) -> None:
        calls: list[Genome] = []

        def refuse(genome: Genome) -> bool:
            calls.append(genome)
            return False

        asked, redrawn = started(engine, space).ask(refuse)
        assert redrawn == [REDRAWS] * POPULATION
        assert len(calls) == POPULATION * REDRAWS
        assert all(map(build_space(SearchSettings(space=space)).holds, asked))

    def test_a_study_that_is_killed_at_any_write(
        self, engine: str, space: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        search = chosen(engine, space, untrainable="redraw", generations=3)

        def go(directory: Path) -> list[dict[str, Any]]:
            with Study(directory, CLASSES, search) as study:
                while (candidate := study.ask()) is not None:
                    study.tell(candidate, worth(candidate.genome))
                return study.candidates()

        whole, write = go(tmp_path / "whole"), Store.write
        assert len(whole) == 3 * POPULATION
        for last in range(0, 3 * POPULATION, 4):
            left = last

            def dying(store: Store, statements: Any) -> None:
                nonlocal left
                left -= 1
                if left < 0:
                    raise KeyboardInterrupt
                write(store, statements)

            with monkeypatch.context() as patch:
                patch.setattr(Store, "write", dying)
                with pytest.raises(KeyboardInterrupt):
                    go(tmp_path / str(last))
            assert go(tmp_path / str(last)) == whole


@every_space
class TestEverySpace:
    def test_a_population_is_its_members(self, space: str) -> None:
        genomes = some(space)
        losses = losses_of(space, genomes)
        assert losses.shape == (POPULATION,)
        for member, genome in enumerate(genomes):
            alone = losses_of(space, [genome])
            assert alone.shape == (1,)
            torch.testing.assert_close(gradient(alone[0]), gradient(losses[member]), rtol=1e-12, atol=1e-12)
        assert losses_of(space, json.loads(json.dumps(genomes))) == losses

    def test_losses_can_be_kept(self, space: str) -> None:
        loss = losses_of(space, some(space))[0]
        assert torch.equal(gradient(Loss.from_json(json.loads(json.dumps(loss.to_json())))), gradient(loss))

    def test_genomes_tell_losses_apart(self, space: str) -> None:
        place, genomes = build_space(SearchSettings(space=space)), some(space)
        for one in genomes:
            assert place.agree(one, json.loads(json.dumps(one)))
        assert not place.agree(genomes[0], genomes[1])

    @pytest.mark.parametrize("value", [None, True, math.nan, [], {}, [None], [[]], {"": None}, ["0.5"] * 5])
    def test_what_is_no_genome(self, space: str, value: Any) -> None:
        assert not build_space(SearchSettings(space=space)).holds(value)

    @pytest.mark.parametrize("scale", [False, True])
    def test_the_place_of_a_loss_gives_that_loss(self, space: str, scale: bool) -> None:
        if scale and space not in VECTORS:
            return
        place = build_space(SearchSettings(space=space, scale=scale))
        plain = losses_of(space, some(space))
        threefold = 3 * plain if isinstance(plain, PowerLoss) else plain
        losses: list[Loss] = [threefold[member] for member in range(POPULATION)]
        losses += [family.build(family.strengths(_middle(family)), CLASSES) for family in baselines()]
        found = [(loss, place.place(loss, CLASSES)) for loss in losses]
        for loss, where in found:
            if where is not None:
                genome, factor = where
                assert place.holds(genome)
                assert factor == 1 if scale else factor > 0
                here = place.build([genome], CLASSES)[0]
                wanted = gradient(loss)
                # A constant loss is itself at each knot.
                wanted = wanted.repeat(1, gradient(here).shape[-1] // wanted.shape[-1])
                torch.testing.assert_close(factor * gradient(here), wanted, rtol=1e-9, atol=1e-9)
        known = {loss.name: where is not None for loss, where in found[POPULATION:]}
        if space not in PARTIAL:
            assert all(where is not None for _, where in found[:POPULATION]) == any(known.values())
        assert sum(known.values()) == PLACED.get(space, 0)

    def test_a_damaged_genome_is_refused(self, space: str, tmp_path: Path) -> None:
        engine = next(engine for engine, searched_space in PAIRS if searched_space == space)
        search = chosen(engine, space, invariant="none")
        with Study(tmp_path, CLASSES, search) as study:
            candidate = study.ask()
            assert candidate is not None
            study.tell(candidate, 0.5)
        with closing(sqlite3.connect(tmp_path / "study.db")) as connection, connection:
            connection.execute("UPDATE candidate SET genome = 'null'")
            seal(connection)
        with (
            Study(tmp_path, CLASSES, search) as study,
            pytest.raises(InputError, match=r"study.db is damaged \(candidate 0 of generation 0 is none of this"),
        ):
            study.pending()


@pytest.mark.parametrize(
    "settings",
    [
        *({"space": space} for space in VECTORS),
        {"space": "canonical", "gain": "fixed"},
        *({"space": space, "scale": True} for space in VECTORS),
    ],
)
class TestEveryVectorSpace:
    def space(self, settings: dict[str, Any]) -> VectorSpace:
        space = build_space(SearchSettings.model_validate(settings))
        assert isinstance(space, VectorSpace)
        return space

    def test_it_has_a_start(self, settings: dict[str, Any]) -> None:
        space = self.space(settings)
        assert space.holds(list(space.start))
        assert space.sigma > 0
        assert gradient(space.build([list(space.start)], CLASSES)).isfinite().all()

    def test_every_coordinate_acts(self, settings: dict[str, Any]) -> None:
        space = self.space(settings)
        point = [x + 0.3 for x in space.start]
        here = gradient(space.build([point], CLASSES)[0])
        for place in range(space.dimensions):
            moved = [x + 0.5 * (place == other) for other, x in enumerate(point)]
            change = (gradient(space.build([moved], CLASSES)[0]) - here).abs().max().item()
            inert = {settings.get("scale", False) + coordinate for coordinate in INERT.get(settings["space"], ())}
            assert change == 0 if place in inert else change > 1e-3, place

    def test_rounding_and_damage(self, settings: dict[str, Any]) -> None:
        space = self.space(settings)
        point = [x + 0.3 for x in space.start]
        assert space.agree(point, [x * (1 + 1e-12) for x in point])
        assert not space.agree(point, [x * (1 + 1e-6) for x in point])
        for damaged in (point[1:], [*point, 0.5], [*point[1:], math.inf], [*point[1:], 10**400], [*point[1:], False]):
            assert not space.holds(damaged)


@pytest.mark.parametrize("space", VECTORS)
class TestScale:
    """The scale of the loss as a coordinate: its exponential, which SGD cannot tell from a learning rate."""

    def test_the_first_coordinate_is_the_logarithm_of_a_factor(self, space: str) -> None:
        plain, scaled = (build_space(SearchSettings(space=space, scale=scale)) for scale in (False, True))
        genomes = some(space)
        found = scaled.build([[0.7 * (k - 2), *genome] for k, genome in enumerate(genomes)], CLASSES)
        factors = torch.tensor([math.exp(0.7 * (k - 2)) for k in range(POPULATION)], dtype=torch.float64)
        expected = factors[:, None, None] * gradient(plain.build(genomes, CLASSES))
        torch.testing.assert_close(gradient(found), expected, rtol=1e-12, atol=1e-12)

    def test_a_search_begins_where_it_does_without(self, space: str) -> None:
        plain, scaled = (build_space(SearchSettings(space=space, scale=scale)) for scale in (False, True))
        assert isinstance(plain, VectorSpace)
        assert isinstance(scaled, VectorSpace)
        assert scaled.start == (0.0, *plain.start)
        one, other = (place.build([list(place.start)], CLASSES) for place in (plain, scaled))
        assert one == other

    def test_any_number_is_a_finite_factor(self, space: str) -> None:
        scaled = build_space(SearchSettings(space=space, scale=True))
        genome = some(space)[0]
        found = gradient(scaled.build([[1e300, *genome], [-1e300, *genome]], CLASSES))
        assert found.isfinite().all()

    def test_it_is_a_learning_rate(self, space: str) -> None:
        problem = Problem.open(EvolveSettings.model_validate(JOB))
        loss = build_space(SearchSettings(space=space, scale=True)).build([[math.log(4), *some(space)[0]]], CLASSES)
        plain = build_space(SearchSettings(space=space)).build(some(space)[:1], CLASSES)
        found = train(problem.task, loss, [1], Recipe(epochs=2, lr=0.01))
        expected = train(problem.task, plain, [1], Recipe(epochs=2, lr=0.04))
        x = problem.validation[0]
        torch.testing.assert_close(found.networks.logits(x), expected.networks.logits(x), rtol=1e-3, atol=1e-3)


def test_a_space_without_vectors_has_no_scale(tmp_path: Path) -> None:
    with registered(), pytest.raises(InputError, match=r"'named' is none of vectors.*leave scale out"):
        Study(tmp_path / "study", CLASSES, engine="climber", space="named", scale=True)
    assert not (tmp_path / "study").exists()


def _middle(family: Family) -> tuple[int, ...]:
    return tuple((axis.first + axis.last) // 2 for axis in family.axes)


@every_pair
class TestFirst:
    """A search can begin with genomes that are given."""

    def test_they_are_the_first_of_the_first_generation(self, engine: str, space: str, tmp_path: Path) -> None:
        given = some(space, seed=7)[:2]
        search = chosen(engine, space, invariant="none")

        def go(directory: Path, stop: int | None = None) -> list[dict[str, Any]]:
            with Study(directory, CLASSES, search) as study:
                study.begin_with(given)
                while (candidate := study.ask()) is not None and (stop is None or candidate.member < stop):
                    study.tell(candidate, worth(candidate.genome))
                return study.candidates()

        found = go(tmp_path / "whole")
        assert [row["genome"] for row in found[:2]] == given
        plain = some(space)
        assert [row["genome"] for row in found[2:POPULATION]] == plain[2:]
        go(tmp_path / "stopped", stop=3)
        assert go(tmp_path / "stopped") == found

    def test_more_than_a_generation(self, engine: str, space: str, tmp_path: Path) -> None:
        given = [genome for seed in (5, 6) for genome in some(space, seed=seed)]
        with Study(tmp_path, CLASSES, chosen(engine, space, invariant="none")) as study:
            with pytest.raises(
                InputError, match=f"{2 * POPULATION} genomes are more than a generation of {POPULATION}"
            ):
                study.begin_with(given)
            study.begin_with(given[:POPULATION])
            assert [candidate.genome for candidate in study.pending()] == given[:POPULATION]

    def test_a_search_that_has_begun_stays_as_it_is(self, engine: str, space: str, tmp_path: Path) -> None:
        search = chosen(engine, space, invariant="none")
        with Study(tmp_path, CLASSES, search) as study:
            candidate = study.ask()
            assert candidate is not None
            with pytest.raises(InputError, match="say what it begins with before the first ask"):
                study.begin_with(some(space, seed=7))
            study.tell(candidate, 0.5)
        with Study(tmp_path, CLASSES, search) as study:
            with pytest.raises(InputError, match=r"has begun with other candidates; leave these out"):
                study.begin_with(some(space, seed=7))
            assert study.candidates()[0]["genome"] == candidate.genome
            assert study.store.setting("first candidates") is None

    @pytest.mark.parametrize("value", [None, [[]], "a", [math.inf]])
    def test_what_is_no_genome(self, engine: str, space: str, tmp_path: Path, value: Any) -> None:
        with (
            Study(tmp_path, CLASSES, chosen(engine, space)) as study,
            pytest.raises(InputError, match=r"(the space does not hold it|JSON does not give it back)"),
        ):
            study.begin_with([value])

    def test_a_damaged_beginning(self, engine: str, space: str, tmp_path: Path) -> None:
        with Study(tmp_path, CLASSES, chosen(engine, space)) as study:
            study.begin_with(some(space)[:1])
        with closing(sqlite3.connect(tmp_path / "study.db")) as connection, connection:
            connection.execute("UPDATE setting SET value = '[null]' WHERE name = 'first candidates'")
            seal(connection)
        with (
            Study(tmp_path, CLASSES, chosen(engine, space)) as study,
            pytest.raises(InputError, match=r"study.db is damaged \(the search begins with what its space does not"),
        ):
            study.pending()


@pytest.mark.parametrize(("engine", "space"), [pair for pair in ALL if pair not in PAIRS])
def test_a_space_that_an_engine_cannot_search(engine: str, space: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"the search engine {engine} searches .*{space}.*; give") as caught:
        Study(tmp_path / "study", CLASSES, engine=engine, space=space)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "study").exists()


SMALL = (
    *("--data", "digits", "--train-size", "100", "--validation-size", "100", "--model", "mlp", "--hidden", "8"),
    *(
        "--epochs",
        "1",
        "--population",
        "4",
        "--generations",
        "2",
        "--finalists",
        "2",
        "--finalist-seeds",
        "2",
        "--no-tune",
    ),
    *("--training", "population", "--threads", "1", "--engine", "climber", "--space", "named"),
)


def small(generations: int = 2) -> EvolveSettings:
    return EvolveSettings.model_validate(
        {
            "data": {"train_size": 100, "validation_size": 100},
            "model": {"hidden": (8,)},
            "recipe": {"epochs": 1},
            "search": {"engine": "climber", "space": "named", "population": 4, "generations": generations},
            "objective": {"record": ("balanced-accuracy",)},
            "run": {"training": "population", "finalists": 2, "finalist_seeds": 2, "tune": False, "chunk": 2},
        }
    )


class TestTheExample:
    """An engine over genomes that are no vectors, through everything that a search goes through."""

    def test_ask_and_tell(self, tmp_path: Path) -> None:
        with Study(tmp_path, CLASSES, engine="climber", space="named", population=8, generations=15) as study:
            assert study.mean is study.mean_genome is None
            while (candidate := study.ask()) is not None:
                study.tell(candidate, -abs(candidate.genome["q"] - 0.8) - (candidate.genome["loss"] == "gce"))
            best = study.best()
        assert best.genome["loss"] == "poly"
        assert best.genome["q"] == pytest.approx(0.8, abs=0.05)
        assert best.loss == poly(best.genome["q"])

    def test_the_stored_genomes_stand(self, tmp_path: Path) -> None:
        search = chosen("climber", "named")
        with Study(tmp_path, CLASSES, search) as study:
            for _ in range(2):
                candidate = study.ask()
                assert candidate is not None
                study.tell(candidate, 0.5)
        with closing(sqlite3.connect(tmp_path / "study.db")) as connection, connection:
            connection.execute("""UPDATE candidate SET genome = '{"loss": "poly", "q": 0.125}' WHERE member = 1""")
            seal(connection)
        with Study(tmp_path, CLASSES, search) as again:
            with pytest.warns(UserWarning, match="generation 0 differ from the stored ones .*search engine climber"):
                again.pending()
            assert again.trainable()[1].loss == poly(0.125)
            assert [candidate.member for candidate in again.pending()] == list(range(2, POPULATION))

    def test_evolve_goes_on_like_uninterrupted(self, tmp_path: Path) -> None:
        outcome = evolve(tmp_path / "whole", small())
        evolve(tmp_path / "halves", small(1))
        evolve(tmp_path / "halves", small())
        with Store(tmp_path / "whole", readonly=True) as one, Store(tmp_path / "halves", readonly=True) as other:
            for rows, others in (
                (one.candidates(), other.candidates()),
                (one.finalists("final"), other.finalists("final")),
            ):
                assert [{**row, "seconds": 0} for row in rows] == [{**row, "seconds": 0} for row in others]
            assert all(Named().holds(row["genome"]) for row in one.candidates())
        for name in ("best.json", "pareto.json"):
            assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "halves" / name).read_bytes()
        names = [finalist["name"] for finalist in outcome.provenance["finalists"]]
        assert [name.split()[0] for name in names] == ["candidate", "candidate", "cross-entropy", "label"]
        assert outcome.provenance["settings"]["search"]["engine"] == "climber"

    def test_the_command_line(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = str(tmp_path / "study")
        main(["evolve", "--out", out, "--quiet", "--record", "balanced-accuracy", *SMALL])
        main(["evolve", "--out", out, "--json", "--generations", "3"])
        finalists = json.loads(capsys.readouterr().out)["provenance"]["finalists"]
        assert len(finalists) == 4
        assert "mean of the search" not in {row["name"] for row in finalists}
        main(["show", out, "--pareto", str(tmp_path / "front"), "--json"])
        assert json.loads(capsys.readouterr().out)["settings"]["search"]["engine"] == "climber"
        for path in (tmp_path / "front").iterdir():
            origin = json.loads(path.read_text())["provenance"]["origin"]
            assert load(path) == KINDS[origin["genome"]["loss"]](origin["genome"]["q"])
        main(["show", out])
        assert "engine climber" in capsys.readouterr().out.replace("\n", " ")

    def test_the_winner(self, tmp_path: Path) -> None:
        """Where a candidate wins, it is the evolved loss, and its file says which genome it has."""
        evolve(tmp_path / "study", small(), objective=lambda trained, inputs, targets: trained.losses.gamma(*HALF))
        origin = json.loads((tmp_path / "study/best.json").read_text())["provenance"]["origin"]
        assert load(tmp_path / "study/best.json").name == "evolved"
        assert origin.keys() == {"kind", "generation", "member", "genome"}

    def test_it_is_compared_with_a_rival_that_is_searched_by_cma(self, tmp_path: Path) -> None:
        few = {"tuning_seeds": 1, "tuning_finalists": 1, "tuning_finalist_seeds": 1, "tuning_epochs": 1}
        options = CompareSettings.model_validate({"seeds": 2, "effort": "thorough", **few})
        compare_losses({"mine": gce(0.3)}, small(), tmp_path, options)
        with Store(tmp_path / "rival", readonly=True) as store:
            search = store.setting("settings")["search"]
        assert (search["engine"], search["space"]) == ("cma", "smoothed-mae")


class TestNames:
    @pytest.mark.parametrize(
        ("flags", "words"),
        [
            (("--engine", "climer"), "--engine is wrong (it is 'climer'): there is no search engine 'climer' (did you"),
            (("--engine", "q"), "there is no search engine 'q'; give one of cma, genetic, climber"),
            (("--space", "residul"), "there is no search space 'residul' (did you mean residual or"),
            (("--space", "taylor"), "the search engine climber searches the space named, not 'taylor'; give that"),
            (("--engine", "cma"), "cma searches spaces of vectors, which 'named' is not; give another engine, or a"),
        ],
    )
    def test_a_wrong_one(
        self, flags: tuple[str, ...], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as caught:
            main(["evolve", "--out", str(tmp_path / "study"), *SMALL, *flags])
        assert caught.value.code == 2
        error = capsys.readouterr().err
        assert words in error
        assert "Traceback" not in error
        assert not (tmp_path / "study").exists()

    def test_a_wrong_one_of_a_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "study.toml").write_text('[search]\nengine = "cmaes"\n')
        with pytest.raises(SystemExit):
            main(["evolve", str(tmp_path / "study.toml")])
        assert "the setting 'search.engine' is wrong (it is 'cmaes'): there is no search engine" in (
            capsys.readouterr().err
        )

    def test_help_has_those_that_are_registered(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            main(["evolve", "--help-all"])
        shown = "".join(capsys.readouterr().out.split())
        assert f"--engine{{{','.join(ENGINES)}}}" in shown
        assert f"--space{{{','.join(NAMES)}}}" in shown


@pytest.mark.parametrize(
    ("genome", "why"),
    [
        ({"loss": "gce", "q": 1}, "does not hold it"),
        ({"loss": "gce", "q": np.float32(0.5)}, "JSON does not give it back"),
        (("gce", 0.5), "JSON does not give it back"),
        ({"loss": "gce", "q": math.nan}, "JSON does not give it back"),
    ],
)
def test_a_genome_that_a_study_could_not_go_on_with(
    genome: Any, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused before anything is trained, not found damaged afterwards."""
    monkeypatch.setattr(Climber, "draw", lambda _: genome)
    with pytest.raises(InputError, match=rf"'climber' asks for the genome .* in the space 'named', but .*{why}"):
        Study(tmp_path, CLASSES, chosen("climber", "named"))


def test_a_space_that_builds_one_loss_of_many_genomes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Named, "build", lambda *_: KINDS["gce"](0.5))
    with pytest.raises(InputError, match=r"space 'named' builds a loss of population \[\] of \d+ genomes"):
        Study(tmp_path, CLASSES, chosen("climber", "named"))


def test_a_stored_genome_that_gives_no_loss(tmp_path: Path) -> None:
    with Study(tmp_path, CLASSES, chosen("cma", "residual")) as study:
        candidate = study.ask()
        assert candidate is not None
        study.tell(candidate, 0.5)
    with closing(sqlite3.connect(tmp_path / "study.db")) as connection, connection:
        connection.execute("UPDATE candidate SET genome = '[1, 2, 3, 4, 1e308]' WHERE status = 'ok'")
        seal(connection)
    with (
        Study(tmp_path, CLASSES, chosen("cma", "residual")) as study,
        pytest.warns(UserWarning, match="differ from the stored"),
        pytest.raises(InputError, match="is damaged"),
    ):
        study.pending()
