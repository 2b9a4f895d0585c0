"""Studies that were damaged, misused, or searched with an optimizer that breaks down: a sentence, and nothing lost."""

import contextlib
import importlib
import itertools
import json
import math
import os
import random
import resource
import shutil
import sqlite3
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cmaes
import pytest
import torch
from torch import Tensor

from lossmith.analysis import ACCURACY, Deciding
from lossmith.data import Source
from lossmith.errors import InputError
from lossmith.metrics import mean_of
from lossmith.report import summarize
from lossmith.search import CMA, Breakdown
from lossmith.study import Candidate, EvolveSettings, Result, Store, Study, evolve
from lossmith.study.log import TrainingLog
from lossmith.study.schema import seal
from lossmith.training import Trained

SMALL: dict[str, Any] = {"classes": 10, "population": 4, "generations": 3}
NOBODY = 65534
TEMPORARY = Path(tempfile.gettempdir())


def sphere(candidate: Candidate) -> float:
    return -float(sum((x - 0.3) ** 2 for x in candidate.genome))


def complete(study: Study, fitness: Callable[[Candidate], float | None] = sphere) -> None:
    """Tell the fitness of all, a generation at a time."""
    while not study.finished:
        study.record(
            Result(candidate, value, "diverged" if value is None else "ok", () if value is None else (value,))
            for candidate in study.pending()
            for value in [fitness(candidate)]
        )


@contextlib.contextmanager
def outside(directory: Path, sealing: bool = True) -> Iterator[sqlite3.Connection]:
    """Another program's connection, which gives the rows their checksums in the end if it is asked."""
    with contextlib.closing(sqlite3.connect(directory / "study.db", isolation_level=None)) as connection:
        yield connection
        if sealing:
            seal(connection)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study by ask and tell with finalists and a record, closed in its third generation."""
    directory = tmp_path_factory.mktemp("told")
    with Study(directory, invariant="none", **SMALL) as study:
        study.record(Result(c, sphere(c), "ok", (sphere(c),), figures={"robust": (0.5,)}) for c in study.pending())
        study.record(Result(c, sphere(c), "ok", (sphere(c),), figures={"robust": (0.5,)}) for c in study.pending())
        study.tell(study.pending()[0], 0.25)
        row = {"status": "ok", "mean": 0.5, "scores": [0.5], "seconds": 1.0, "figures": {}}
        origin = {"name": "cross-entropy", "origin": {"kind": "cross-entropy"}, "loss": {}}
        study.store.add_finalists([{"stage": "final", "rank": 0, **origin, **row}])
        study.store.add_record("digest", "chunk", [0.5], 1.0)
        study.store.set("objective", {"function": None})
        study.store.set("versions", {"lossmith": "0"})
        part = {"train": 4, "validation": 4, "test": 4}
        study.store.set("data", {"name": "clouds", "shape": [2], "classes": 10, "class_names": None, **part})
    return directory


@pytest.fixture
def damaged(told: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(told, tmp_path / "damaged"))


def everything(directory: Path) -> list[Any]:
    """All that a study holds, as it is read."""
    with Store(directory, readonly=True) as store:
        names = ("settings", "objective", "versions", "data", "breakdown")
        kept = [store.setting(name) for name in names]
        return [store.candidates(), store.finalists("final"), store.record("digest", "chunk"), kept]


def sentence(call: Callable[[], object], *words: str) -> str:
    """The one line with which something is refused."""
    with pytest.raises(InputError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text
    return text


class TestFigures:
    @pytest.mark.parametrize(
        "points",
        [[(1.0, 0.5), (0.5, math.nan), (0.2, 0.9), (0.1, 0.1)], [(1.0, math.nan), (0.9, 0.8), (0.3, 0.9), (0.2, 0.1)]],
    )
    def test_one_that_is_nan_is_not_on_the_front(self, tmp_path: Path, points: list[tuple[float, float]]) -> None:
        with Study(tmp_path, invariant="none", **SMALL) as study:
            for fitness, figure in points:
                candidate = study.ask()
                assert candidate is not None
                study.tell(candidate, fitness, {"robust": figure})
            found = {candidate.member for candidate in study.pareto_front("fitness", "robust")}
        sound = [place for place, (_, figure) in enumerate(points) if not math.isnan(figure)]
        assert found == {
            one
            for one in sound
            if not any(
                points[other][0] >= points[one][0]
                and points[other][1] >= points[one][1]
                and points[other] != points[one]
                for other in sound
            )
        }

    def test_one_that_is_nan_is_not_stored(self, tmp_path: Path) -> None:
        with Study(tmp_path, invariant="none", **SMALL) as study:
            (candidate, *_) = study.pending()
            for wrong in (Result(candidate, math.nan), Result(candidate, 0.5, figures={"robust": (math.nan,)})):
                sentence(partial(study.record, [wrong]), "candidate 0 of generation 0", "finite")
            assert study.candidates() == []
            study.tell(candidate, 0.5)

    @pytest.mark.parametrize("figures", [[], [None], [0.5, math.nan], [1e308, 1e308], [math.inf, -math.inf]])
    def test_there_is_no_mean_of_what_is_not_finite(self, figures: list[float | None]) -> None:
        assert mean_of(figures) is None


class TestGenerations:
    def test_one_without_fitness_moves_nothing(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        with Study(tmp_path, invariant="none", **SMALL) as study:
            start = study.mean_genome
            complete(study, lambda _: None)
            assert study.mean_genome == start
            assert len({str(row["genome"]) for row in study.candidates()}) == 12
        assert len([record for record in caplog.records if "stays where it is" in record.message]) == 1

    def test_equal_fitness_is_said_once(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        with Study(tmp_path, 10, population=4, generations=6, invariant="none") as study:
            complete(study, lambda _: 0.1)
        (said,) = [record.message for record in caplog.records if "have the same fitness" in record.message]
        assert said.startswith("all candidates of 3 generations, to generation 2, have the same fitness (0.1)")

    def test_stagnation_is_said_once(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cmaes.CMA, "should_stop", lambda _: True)
        with Study(tmp_path, invariant="none", **SMALL) as study:
            complete(study)
        (said,) = [record.message for record in caplog.records]
        assert said.startswith("the search stagnates from generation 0 on")

    @pytest.mark.parametrize(("right", "warned"), [(0.05, True), (0.5, True), (0.51, False), (None, False)])
    def test_a_winner_by_chance_is_no_winner_without_a_word(
        self, caplog: pytest.LogCaptureFixture, right: float | None, warned: bool
    ) -> None:
        source = SimpleNamespace(class_names=None)
        problem: Any = SimpleNamespace(
            validation=(torch.zeros(4, 1), torch.tensor([0, 1, 0, 2])), classes=3, source=source
        )
        row = {"name": "MSE", "origin": {"kind": "baseline"}, "scores": [right], "figures": {"accuracy": [right]}}
        warn = importlib.import_module("lossmith.study.evolve")._warn_of_chance
        warn(row, problem, ACCURACY)
        warn({**row, "scores": [9.0]}, problem, Deciding("mine()", key={"function": "mine"}))
        said = [record.message for record in caplog.records]
        assert len(said) == (2 if warned else 0)
        assert all("the winner, MSE, has a validation accuracy of" in line and "gets 0.5" in line for line in said)


class TestBreakdown:
    @pytest.fixture(autouse=True)
    def _narrow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Steps of usual size are beyond the bounds of cmaes."""
        monkeypatch.setattr(cmaes._cma, "_MEAN_MAX", 6.0)

    def test_it_ends_the_search_in_order(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        search: dict[str, Any] = {
            "classes": 10,
            "space": "smoothed-mae",
            "population": 10,
            "generations": 60,
            "invariant": "none",
        }
        with Study(tmp_path, **search) as study:
            complete(study, lambda candidate: candidate.genome[0])
            assert study.finished
            assert 0 < study.generation < 60
            assert study.ask() is None
            found = study.generation, study.mean_genome, study.candidates(), study.best().genome
        (said,) = [record.message for record in caplog.records if "broke down" in record.message]
        assert f"ends in generation {found[0]} of 60" in said
        with Study(tmp_path, **search) as study:
            assert study.finished
            assert (study.generation, study.mean_genome, study.candidates(), study.best().genome) == found
        assert f"its search engine broke down in generation {found[0]}" in summarize(tmp_path)["state"]
        with Study(tmp_path, **{**search, "generations": 70}) as study:
            assert study.finished
            assert study.mean is not None

    def test_a_study_ends_with_finalists(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cmaes._cma, "_MEAN_MAX", 0.7)
        settings, source = clouds_settings(search={"population": 4, "generations": 9, "sigma": 0.5}), clouds()
        outcome = evolve(tmp_path, settings, source)
        assert outcome.provenance["candidates"]["candidates"] < 36
        assert {"mean of the search", "cross-entropy"} < {row["name"] for row in outcome.provenance["finalists"]}
        before = (tmp_path / "best.json").read_bytes()
        evolve(tmp_path, settings, source)
        assert (tmp_path / "best.json").read_bytes() == before

    def test_linear_algebra_that_fails(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        engine_tell = cmaes.CMA.tell

        def lost(engine: cmaes.CMA, solutions: Any) -> None:
            engine_tell(engine, solutions)
            engine._C = engine._C * math.nan

        monkeypatch.setattr(cmaes._cma, "_MEAN_MAX", 1e32)
        monkeypatch.setattr(cmaes.CMA, "tell", lost)
        with Study(tmp_path, invariant="none", **SMALL) as study:
            complete(study)
            assert len(study.candidates()) == 4
            assert study.mean is not None


class TestOpening:
    def test_results_do_not_depend_on_the_engine(self, damaged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: object) -> None:
            raise AssertionError("the engine is broken")

        for name in ("begin", "draw", "learn"):
            monkeypatch.setattr(CMA, name, broken)
        with Study(damaged, invariant="none", **SMALL) as study:
            assert study.best().member in range(4)
            assert len(study.candidates()) == 9
            assert len(study.top(3)) == 3
            assert study.pareto_front("fitness", "robust")
            assert study.counts()["candidates"] == 9
            with pytest.raises(AssertionError):
                study.ask()
        assert summarize(damaged)["candidates"] == {"ok": 9}

    @pytest.mark.parametrize(
        "search",
        [{"sigma": 1e32}, {"sigma": 1e-300}, {"population": 10**9}, {"generations": 10**12}, {"seed": 2**128}],
    )
    def test_a_search_that_cannot_run_begins_nothing(self, tmp_path: Path, search: dict[str, Any]) -> None:
        (name,) = search
        sentence(lambda: Study(tmp_path / "new", 10, **search), name)
        assert not (tmp_path / "new").exists()

    def test_an_engine_that_cannot_begin_begins_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def draw(_: object) -> None:
            raise Breakdown("no point is finite")

        with monkeypatch.context() as patch:
            patch.setattr(CMA, "draw", draw)
            sentence(lambda: Study(tmp_path / "new", **SMALL), "the search cannot begin: no point is finite")
            assert not (tmp_path / "new").exists()
            Store(tmp_path).close()
            sentence(lambda: Study(tmp_path, **SMALL), "the search cannot begin")
            assert not (tmp_path / "study.toml").exists()
        with Study(tmp_path, population=6, classes=10) as study:
            assert study.ask() is not None

    def test_killed_in_its_first_moments(self, tmp_path: Path) -> None:
        (tmp_path / "study.db").touch()
        sentence(lambda: summarize(tmp_path), "stopped in its first moments; begin it with lossmith evolve --out")
        Store(tmp_path).close()
        assert summarize(tmp_path)["state"] == "stopped in its first moments"
        with Study(tmp_path, **SMALL) as study:
            assert study.ask() is not None


SHAPES = [
    *(("candidate", "scores", value) for value in ("null", "{}", '"a"', "[[0.5]]", '["a"]', "[true]", "[1e999]")),
    *(("candidate", "figures", value) for value in ("null", "[1]", '{"a": 0.5}', '{"a": ["b"]}', '{"a": [NaN]}')),
    *(("candidate", "genome", value) for value in ("NaN", "1" * 5000, "9" * 200, '"\\ud800"', "[" * 300 + "]" * 300)),
    *(("candidate", column, -1) for column in ("member", "exact", "redrawn", "seconds")),
    ("candidate", "exact", 2),
    ("candidate", "fitness", math.inf),
    *(("finalist", "origin", value) for value in ("null", "[]", "{}", '{"kind": 3}')),
    *(("finalist", "loss", value) for value in ("null", "[]", "3")),
    *(("finalist", "scores", value) for value in ("3", '{"a": 1}')),
    ("finalist", "status", "lost"),
    ("finalist", "rank", -3),
    *(("run", "result", value) for value in ("", "NaN", "[Infinity]", "{" * 5000)),
]
VALUES = [
    *(("settings", value) for value in ("null", "[]", "3", "{}", '{"search": 3}', '{"search": {"population": 4}}')),
    ("settings", '{"search": {"population": 0, "generations": 3}}'),
    ("settings", '{"search": {"population": 4, "generations": 3}, "objective": []}'),
    *(("objective", value) for value in ("null", "[]", "{}", '{"function": 3}')),
    *(("data", value) for value in ("[1]", "{}", '{"name": "a", "shape": 3, "classes": 3}')),
    *(("versions", value) for value in ("3", '{"lossmith": null}')),
]


class TestShapes:
    @pytest.mark.parametrize(("table", "column", "value"), SHAPES)
    def test_rows(self, damaged: Path, table: str, column: str, value: Any) -> None:
        with outside(damaged) as connection:
            change = "UPDATE {0} SET {1} = ? WHERE rowid = (SELECT max(rowid) FROM {0})"
            connection.execute(change.format(table, column), (value,))
        sentence(lambda: everything(damaged), "study.db", "is damaged", "restore a copy")

    @pytest.mark.parametrize(("name", "value"), VALUES)
    def test_settings(self, damaged: Path, name: str, value: str) -> None:
        with outside(damaged) as connection:
            connection.execute("UPDATE setting SET value = ? WHERE name = ?", (value, name))
        sentence(lambda: everything(damaged), "study.db", "is damaged", "restore a copy")

    def test_a_genome_of_another_space(self, damaged: Path) -> None:
        with outside(damaged) as connection:
            connection.execute("UPDATE candidate SET genome = '[1, 2]'")
        with Study(damaged, invariant="none", **SMALL) as study:
            sentence(study.best, "is none of this search", "restore a copy")
            sentence(study.ask, "is none of this search", "restore a copy")

    def test_text_that_is_not_unicode(self, damaged: Path) -> None:
        with outside(damaged, sealing=False) as connection:
            connection.execute("UPDATE candidate SET genome = CAST(x'ffd4' AS TEXT)")
        sentence(lambda: everything(damaged), "study.db", "restore a copy")
        path = damaged / "study.db"
        path.write_bytes(
            path.read_bytes().replace(b"CREATE TABLE run (", b"CREATE T\xd4BLE run (").replace(b"run", b"r\xd4n")
        )
        for call in (lambda: everything(damaged), lambda: Store(damaged)):
            sentence(call, "study.db is damaged", "restore a copy")

    @pytest.mark.parametrize(
        "statement",
        [
            "CREATE VIEW more AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
            "CREATE TRIGGER each AFTER INSERT ON candidate BEGIN DELETE FROM candidate; END",
            "ALTER TABLE candidate DROP COLUMN seconds",
        ],
    )
    def test_what_no_study_has(self, damaged: Path, statement: str) -> None:
        with outside(damaged) as connection:
            connection.execute(statement)
        sentence(lambda: everything(damaged), "study.db", "restore a copy")

    @pytest.mark.parametrize("name", ["study.db", "training.log"])
    def test_a_pipe(self, tmp_path: Path, name: str) -> None:
        os.mkfifo(tmp_path / name)
        calls: dict[str, list[Callable[[], object]]] = {
            "study.db": [lambda: everything(tmp_path), lambda: Store(tmp_path)],
            "training.log": [lambda: TrainingLog(tmp_path / name).begun("search", {})],
        }
        for call in calls[name]:
            sentence(call, name)


class TestChecksums:
    def test_flipped_bits_are_told(self, damaged: Path) -> None:
        """Whatever a bit that is flipped does: it is refused, or what is read is what was stored."""
        before, path = everything(damaged), damaged / "study.db"
        content, draw = path.read_bytes(), random.Random(1)
        used = [place for place, byte in enumerate(content) if byte]
        refused = 0
        for place in draw.sample(used, 120):
            changed = bytearray(content)
            changed[place] ^= 1 << draw.randrange(8)
            path.write_bytes(changed)
            try:
                found = everything(damaged)
            except InputError as error:
                found, refused = before, refused + ("\n" not in str(error))
            assert found == before
        assert refused > 60

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE candidate SET fitness = fitness + 1e-9 WHERE rowid = 3",
            "UPDATE candidate SET exact = 1 - exact",
            "UPDATE finalist SET mean = 0.75",
            "UPDATE run SET result = '[0.25]'",
            "UPDATE setting SET value = replace(value, '4', '5')",
            "UPDATE candidate SET checksum = ''",
        ],
    )
    def test_a_row_that_was_changed(self, damaged: Path, change: str) -> None:
        with outside(damaged, sealing=False) as connection:
            connection.execute(change)
        sentence(lambda: everything(damaged), "is damaged", "its checksum says", "restore a copy")

    def test_a_candidate_beyond_the_search_is_seen_before_anything_changes(self, damaged: Path) -> None:
        with outside(damaged, sealing=True) as connection:
            connection.execute("UPDATE candidate SET generation = 1000000 WHERE rowid = 3")
        before = (damaged / "study.db").read_bytes()
        with Study(damaged, invariant="none", **SMALL) as study:
            sentence(study.pending, "candidate of generation 1000000", "the search has 3")
        assert (damaged / "study.db").read_bytes() == before

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE candidate SET fitness = fitness + 1e-9 WHERE rowid = 3",
            "UPDATE setting SET value = '0' WHERE name = 'objective'",
            "UPDATE finalist SET mean = 0.75",
        ],
    )
    def test_more_generations_of_a_damaged_study_change_nothing(self, damaged: Path, change: str) -> None:
        """The finalists were forgotten and ``study.toml`` was written before the damage was seen."""
        with outside(damaged, sealing=False) as connection:
            assert connection.execute(change).rowcount
        before = {path.name: path.read_bytes() for path in (damaged / "study.toml", damaged / "study.db")}
        sentence(lambda: Study(damaged, invariant="none", **{**SMALL, "generations": 9}), "its checksum says")
        assert {name: (damaged / name).read_bytes() for name in before} == before

    def test_values_that_sqlite_stores_otherwise(self, tmp_path: Path) -> None:
        with Study(tmp_path, invariant="none", **SMALL) as study:
            for fitness in (-0.0, 1, 5e-324, 1e300):
                candidate = study.ask()
                assert candidate is not None
                study.tell(candidate, fitness)
            assert [row["fitness"] for row in study.candidates()] == [0.0, 1.0, 5e-324, 1e300]


class TestUse:
    def test_threads_share_a_study(self, tmp_path: Path) -> None:
        wrong: list[BaseException] = []

        def work() -> None:
            try:
                for _ in range(3):
                    candidate = study.ask()
                    assert candidate is not None
                    study.tell(candidate, sphere(candidate))
            except BaseException as error:
                wrong.append(error)

        with Study(tmp_path, 10, population=12, generations=2, invariant="none") as study:
            threads = [threading.Thread(target=work) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert wrong == []
            assert study.generation == 1
            assert len(study.candidates()) == 12

    def test_after_close(self, tmp_path: Path) -> None:
        study = Study(tmp_path, invariant="none", **SMALL)
        candidate = study.ask()
        assert candidate is not None
        study.close()
        for call in (lambda: study.tell(candidate, 0.5), study.best, study.counts):
            sentence(call, "is closed; open it again")

    @pytest.mark.parametrize(
        "fitness", [None, "n/a", torch.tensor([0.1, 0.2]), [], {}, 1j, 10**400, object()], ids=lambda one: type(one)
    )
    def test_what_is_no_fitness(self, tmp_path: Path, fitness: Any) -> None:
        with Study(tmp_path, invariant="none", **SMALL) as study:
            candidate = study.ask()
            assert candidate is not None
            sentence(lambda: study.tell(candidate, fitness), "the fitness of candidate 0 of generation 0 is")
            sentence(lambda: study.tell(candidate, 0.5, {"robust": fitness}), "the figure 'robust' of candidate 0")
            assert study.candidates() == []
            study.tell(candidate, 0.5)

    @pytest.mark.parametrize("figures", [3, "robust", [0.5], {3: 0.5}, {"fitness": 0.5}])
    def test_what_are_no_figures(self, tmp_path: Path, figures: Any) -> None:
        with Study(tmp_path, invariant="none", **SMALL) as study:
            candidate = study.ask()
            assert candidate is not None
            sentence(lambda: study.tell(candidate, 0.5, figures), "the figures of candidate 0")
            sentence(lambda: study.tell(None, 0.5), "None is no candidate")  # type: ignore[arg-type]
            study.tell(candidate, 0.5)

    @pytest.mark.parametrize(
        "gives", [lambda *_: None, lambda *_: {"fitness": None}, lambda *_: "n/a", lambda *_: {"fitness": "n/a"}]
    )
    def test_an_objective_that_gives_no_numbers(self, tmp_path: Path, gives: Callable[..., Any]) -> None:
        sentence(
            lambda: evolve(tmp_path, clouds_settings(), clouds(), objective=gives),
            "the objective gave",
            "for fitness; it must give one number for each network",
        )

    def test_without_its_lock_a_study_is_still_held(self, tmp_path: Path) -> None:
        with Study(tmp_path, invariant="none", **SMALL) as study:
            (tmp_path / "study.lock").unlink()
            sentence(lambda: Store(tmp_path), "another process")
            complete(study)
        Store(tmp_path).close()

    def test_a_database_that_is_removed_at_work(self, damaged: Path) -> None:
        with Study(damaged, invariant="none", **SMALL) as study:
            candidate = study.ask()
            assert candidate is not None
            (damaged / "study.db").rename(damaged / "kept")
            sentence(lambda: study.tell(candidate, 0.5), "was removed or replaced while this process worked on it")
            shutil.copy(damaged / "kept", damaged / "study.db")
            sentence(lambda: study.tell(candidate, 0.5), "was removed or replaced")


class TestReadOnly:
    @pytest.fixture(params=["closed", "at work", "file"])
    def unwritable(self, told: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
        """A study in a directory, or in a file, that this process may only read."""
        directory = Path(shutil.copytree(told, tmp_path / "unwritable"))
        if request.param == "at work":
            copied(directory)
        for path in directory.iterdir():
            path.chmod(0o444)
        directory.chmod(0o755 if request.param == "file" else 0o555)
        with contextlib.ExitStack() as stack:
            if os.geteuid() == 0:
                for parent in (tmp_path, *itertools.takewhile(TEMPORARY.__ne__, tmp_path.parents)):
                    stack.callback(parent.chmod, parent.stat().st_mode & 0o777)
                    parent.chmod(0o755)
                os.seteuid(NOBODY)
                stack.callback(os.seteuid, 0)
            yield directory
        directory.chmod(0o755)

    def test_it_is_shown(self, unwritable: Path) -> None:
        names = sorted(path.name for path in unwritable.iterdir())
        assert summarize(unwritable)["candidates"]["ok"] >= 9
        assert sorted(path.name for path in unwritable.iterdir()) == names

    @pytest.mark.parametrize("at_work", [False, True])
    def test_a_full_disk(self, damaged: Path, at_work: bool) -> None:
        """A study at rest is shown; one whose log must be read says what room it needs."""
        if at_work:
            copied(damaged)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
        try:
            if at_work:
                said = sentence(lambda: everything(damaged), "make room on the disk")
            else:
                said = str(len(everything(damaged)[0]))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert "restore" not in said


def copied(directory: Path) -> None:
    """Leave a study as a process leaves it that is killed after a commit, which stands in the log alone."""
    aside = directory.with_name("aside")
    with Study(directory, invariant="none", **SMALL) as study:
        study.tell(study.pending()[0], 0.125)
        shutil.copytree(directory, aside)
    shutil.rmtree(directory)
    aside.rename(directory)
    (directory / "study.db-shm").unlink()
    assert (directory / "study.db-wal").stat().st_size


def clouds() -> Source:
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(120) % 3
    return Source.from_tensors(torch.randn(120, 4, generator=generator) + targets[:, None], targets, name="clouds")


def clouds_settings(**changes: dict[str, Any]) -> EvolveSettings:
    usual: dict[str, dict[str, Any]] = {
        "model": {"hidden": [4]},
        "recipe": {"epochs": 1},
        "search": {"population": 4, "generations": 2, "invariant": "none"},
        "run": {"training": "population", "finalists": 2, "finalist_seeds": 2, "tune": False},
    }
    return EvolveSettings.model_validate(
        {**usual, **{key: {**usual.get(key, {}), **value} for key, value in changes.items()}}
    )


def certainty(trained: Trained, inputs: Tensor, targets: Tensor) -> Tensor:
    return trained.networks.logits(inputs).softmax(-1).amax(-1).mean(-1)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that has ended, whose objective is a function."""
    directory = tmp_path_factory.mktemp("ended")
    evolve(directory, clouds_settings(), clouds(), objective=certainty)
    return directory


class TestMissing:
    @pytest.mark.parametrize(
        "lost",
        [
            "DELETE FROM candidate WHERE generation = 0 AND member = 2",
            "DELETE FROM candidate WHERE generation = 1 AND member IN (1, 3)",
            "DELETE FROM finalist WHERE rank = 1",
            "DELETE FROM finalist WHERE stage = 'final' AND rank > 1",
        ],
    )
    def test_what_is_missing_of_a_chunk_is_trained(
        self, ended: Path, tmp_path: Path, lost: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        again = Path(shutil.copytree(ended, tmp_path / "again"))
        before = results(again)
        with outside(again, sealing=False) as connection:
            connection.execute(lost)
        assert results(again) != before
        evolve(again, clouds_settings(), clouds(), objective=certainty)
        assert results(again) == before
        assert "came out otherwise" not in caplog.text
        assert (again / "best.json").read_bytes() == (ended / "best.json").read_bytes()

    def test_what_is_stored_of_a_chunk_stands(
        self, ended: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        again = Path(shutil.copytree(ended, tmp_path / "again"))
        with outside(again) as connection:
            connection.execute("DELETE FROM candidate WHERE generation = 1 AND member = 2")
            connection.execute("UPDATE candidate SET scores = '[0.25]' WHERE generation = 1 AND member = 1")
        evolve(again, clouds_settings(), clouds(), objective=certainty)
        assert [row["scores"] for row in results(again)[0] if row["generation"] == 1][1] == [0.25]
        (said,) = [record.message for record in caplog.records if "came out otherwise" in record.message]
        assert "member 1 came out otherwise" in said

    def test_a_finalist_too_many(self, ended: Path, tmp_path: Path) -> None:
        again = Path(shutil.copytree(ended, tmp_path / "again"))
        with outside(again) as connection:
            connection.execute("UPDATE finalist SET rank = 99 WHERE rank = 1")
        sentence(
            lambda: evolve(again, clouds_settings(), clouds(), objective=certainty),
            "a finalist of rank 99 is none of this search",
        )

    def test_the_objective_is_the_function(self, ended: Path) -> None:
        (shown,) = summarize(ended)["settings"]["objective"].values()
        provenance = json.loads((ended / "best.json").read_text())["provenance"]
        assert shown == provenance["objective"]
        assert "certainty" in shown
        assert "objective" not in provenance["settings"]


def results(directory: Path) -> tuple[Sequence[dict[str, Any]], ...]:
    """What a study has stored, less the seconds."""
    with Store(directory, readonly=True) as store:
        found = store.candidates(), store.finalists("smoothing"), store.finalists("final")
    return tuple([{key: value for key, value in row.items() if key != "seconds"} for row in rows] for rows in found)


class TestLog:
    @pytest.mark.parametrize("kind", ["directory", "link", "pipe"])
    def test_what_is_no_log_is_told_before_anything_changes(self, tmp_path: Path, kind: str) -> None:
        """A study that was sent could have the log lead to a file of the user's."""
        study, other = tmp_path / "study", tmp_path / "diary.txt"
        study.mkdir()
        other.write_text("dear diary")
        log = study / "training.log"
        ways: dict[str, Callable[[], None]] = {
            **{"directory": log.mkdir, "link": lambda: log.symlink_to(other), "pipe": lambda: os.mkfifo(log)}
        }
        ways[kind]()
        source = Source.from_tensors(torch.randn(60, 4), torch.arange(60) % 3)
        settings = EvolveSettings(recipe={"epochs": 1}, search={"population": 2, "generations": 1})  # type: ignore[arg-type]
        sentence(lambda: evolve(study, settings, source), "training.log", "remove it")
        assert [path.name for path in study.iterdir()] == ["training.log"]
        sentence(lambda: TrainingLog(log).begun("search", {}), "training.log")
        assert other.read_text() == "dear diary"


def super_journal(database: Path, target: str) -> bytes:
    """A rollback journal whose end names a file, which SQLite deletes after it has rolled back."""
    magic, size = bytes.fromhex("d9d505f920a163d7"), 4096
    header = magic + struct.pack(">IIIII", 0, 0, database.stat().st_size // size, 512, size)
    name = target.encode()
    end = struct.pack(">I", 0x40000000 // size + 1) + name + struct.pack(">II", len(name), sum(name)) + magic
    return header.ljust(512, b"\0") + end


class TestCompanions:
    def test_a_journal_deletes_no_file_of_the_user(self, damaged: Path, tmp_path: Path) -> None:
        mine = tmp_path / "thesis.txt"
        mine.write_text("mine")
        journal = damaged / "study.db-journal"
        journal.write_bytes(super_journal(damaged / "study.db", str(mine)))
        for call in (lambda: summarize(damaged), lambda: Study(damaged, invariant="none", **SMALL)):
            sentence(call, "names another file for SQLite to delete", "remove it")
        assert mine.read_text() == "mine"
        journal.unlink()
        assert summarize(damaged)["candidates"] == {"ok": 9}

    @pytest.mark.parametrize("end", ["-journal", "-wal", "-shm"])
    @pytest.mark.parametrize("kind", ["pipe", "link", "directory", "huge"])
    def test_what_is_no_file_of_sqlite(self, damaged: Path, end: str, kind: str) -> None:
        path = damaged / f"study.db{end}"
        path.unlink(missing_ok=True)
        if kind == "huge":
            with path.open("wb") as file:
                file.truncate(2**32)
        else:
            {"pipe": os.mkfifo, "directory": os.mkdir, "link": lambda one: one.symlink_to("/dev/zero")}[kind](path)
        sentence(lambda: summarize(damaged), path.name, "larger than" if kind == "huge" else "no regular file")

    @pytest.mark.parametrize("name", ["study.db", "study.toml", "best.json", "figures", "training.log", "rival-nll"])
    def test_a_link_leads_nothing_elsewhere(self, damaged: Path, tmp_path: Path, name: str) -> None:
        """Pictures, log lines, a rival's study and rows were written wherever it led."""
        path, other = damaged / name, tmp_path / "other"
        if path.exists():
            path.rename(other)
        else:
            other.mkdir()
        before = sorted(tmp_path.rglob("*"))
        path.symlink_to(other)
        sentence(lambda: Study(damaged, invariant="none", **SMALL), f"{name} is a link")
        assert sorted(one for one in tmp_path.rglob("*") if one != path) == before

    def test_a_picture_that_is_a_pipe_is_told_before_the_work(self, damaged: Path) -> None:
        (damaged / "figures").mkdir()
        os.mkfifo(damaged / "figures" / "history.png")
        sentence(lambda: Study(damaged, invariant="none", **SMALL), "history.png is no regular file")

    @pytest.mark.parametrize("name", ["best.json", "pareto.json", "comparison.json", "study.toml", "figures"])
    def test_what_is_in_the_way_at_the_end_is_told_at_the_beginning(self, damaged: Path, name: str) -> None:
        path = damaged / name
        path.unlink(missing_ok=True)
        if name == "figures":
            path.write_text("no folder")
        else:
            path.mkdir()
        before = (damaged / "study.db").read_bytes()
        sentence(lambda: Study(damaged, invariant="none", **{**SMALL, "generations": 9}), f"{name} is no", "remove it")
        assert (damaged / "study.db").read_bytes() == before

    @pytest.mark.parametrize(
        "change",
        [
            "CREATE INDEX i ON candidate (hex(zeroblob(5000000)))",
            "CREATE INDEX i ON candidate (fitness)",
            "CREATE VIEW v AS SELECT 1",
            "CREATE TABLE other (x)",
            "CREATE TRIGGER t AFTER INSERT ON candidate BEGIN SELECT 1; END",
            "ALTER TABLE candidate ADD COLUMN x TEXT AS (hex(zeroblob(5000000))) VIRTUAL",
            "ALTER TABLE candidate ADD COLUMN x TEXT DEFAULT 'long'",
            "ALTER TABLE setting ADD COLUMN x TEXT CHECK (length(x) < 5)",
        ],
    )
    def test_what_is_no_table_of_a_study(self, damaged: Path, change: str) -> None:
        """20,000 rows of a computed column filled the disk."""
        with outside(damaged, sealing=False) as connection:
            connection.execute(change)
        sentence(lambda: summarize(damaged), "no table as a study has it", "restore a copy")
