"""Studies: ask and tell, replay, the whole of a study, and the settings that decide it."""

import dataclasses
import itertools
import json
import math
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import lossmith
from lossmith.data import Source, open_source
from lossmith.errors import InputError
from lossmith.io import read_toml, write_toml
from lossmith.losses import Loss, PowerLoss
from lossmith.search import CMA, SEARCH_ENGINES, SearchSettings, build_engine, build_space
from lossmith.study import (
    Candidate,
    EvolveSettings,
    Outcome,
    Progress,
    Result,
    Study,
    agreement,
    compare_losses,
    course,
    evolve,
)
from lossmith.study import config as settings_module
from lossmith.study import runner as runner_module
from lossmith.study.agreement import Agreement, reconciled
from lossmith.study.config import validated
from lossmith.study.schema import seal
from lossmith.study.store import Store
from lossmith.theory import is_trainable
from lossmith.training import Backend, Choice, Trained, Trainer
from lossmith.training import tuner as tuner_module


def sphere(candidate: Candidate) -> float:
    return -float(sum((x - 0.3) ** 2 for x in candidate.genome))


def complete(study: Study, fitness: Callable[[Candidate], float] = sphere, count: int | None = None) -> int:
    """Tell the fitness of the next ``count`` candidates, or of all; how many were told."""
    told = 0
    while told != count and (candidate := study.ask()) is not None:
        study.tell(candidate, fitness(candidate))
        told += 1
    return told


def alter(directory: Path, generation: int, member: int, change: Callable[[list[float]], Any]) -> None:
    """Change a stored point, as another program would."""
    place = (generation, member)
    with closing(sqlite3.connect(directory / "study.db", isolation_level=None)) as connection:
        query = "SELECT genome FROM candidate WHERE generation = ? AND member = ?"
        (text,) = connection.execute(query, place).fetchone()
        values = (json.dumps(change(json.loads(text))), *place)
        connection.execute("UPDATE candidate SET genome = ? WHERE generation = ? AND member = ?", values)
        seal(connection)


TAYLOR: dict[str, Any] = {"space": "taylor", "population": 6, "generations": 4, "seed": 3}


def numbers(loss: Loss) -> Tensor:
    """The coefficients of a sum of powers."""
    assert isinstance(loss, PowerLoss)
    return loss.coefficients


class TestAskTell:
    def test_candidates_are_losses(self, tmp_path: Path) -> None:
        with Study(tmp_path, classes=7, population=4, generations=1) as study:
            while (candidate := study.ask()) is not None:
                logits = torch.randn(5, 7, requires_grad=True)
                loss = candidate.criterion(logits, torch.arange(5))
                loss.backward()
                assert loss.isfinite()
                assert logits.grad is not None
                expected = build_space(study.search).build([candidate.genome], 7)[0]
                torch.testing.assert_close(numbers(candidate.loss), numbers(expected))
                study.tell(candidate, 0.5)

    def test_several_out_at_once(self, tmp_path: Path) -> None:
        with Study(tmp_path, classes=10, population=5, generations=2) as study:
            out = [study.ask() for _ in range(5)]
            assert [candidate.member for candidate in out if candidate is not None] == [0, 1, 2, 3, 4]
            with pytest.raises(InputError, match="all candidates of generation 0 are out: tell the fitness"):
                study.ask()
            assert out[3] is not None
            study.tell(out[3], 1.0)
            with pytest.raises(InputError, match="are out"):
                study.ask()
            assert [candidate.member for candidate in study.pending()] == [0, 1, 2, 4]

    @pytest.mark.parametrize("order", [(5, 4, 3, 2, 1, 0), (2, 0, 5, 1, 4, 3)])
    def test_the_order_of_telling_is_nothing(self, tmp_path: Path, order: tuple[int, ...]) -> None:
        with (
            Study(tmp_path / "a", classes=10, population=6, generations=3) as study,
            Study(tmp_path / "b", classes=10, population=6, generations=3) as other,
        ):
            while not study.finished:
                complete(study, count=6)
                out = [candidate for _ in range(6) if (candidate := other.ask()) is not None]
                for member in order:
                    other.tell(out[member], sphere(out[member]))
                assert study.pending() == other.pending() or [c.genome for c in study.pending()] == [
                    c.genome for c in other.pending()
                ]
                assert study.mean_genome == other.mean_genome
            assert study.candidates() == other.candidates()

    def test_who_is_not_waiting(self, tmp_path: Path) -> None:
        with (
            Study(tmp_path / "a", classes=10, population=4, generations=3) as study,
            Study(tmp_path / "b", classes=10, population=4, generations=3, seed=1) as other,
        ):
            candidate, stranger = study.ask(), other.ask()
            assert candidate is not None
            assert stranger is not None
            wrong = [
                dataclasses.replace(candidate, generation=1),
                dataclasses.replace(candidate, member=4),
                dataclasses.replace(candidate, member=-1),
                dataclasses.replace(candidate, genome=[2 * x for x in candidate.genome]),
                stranger,
            ]
            for unknown in wrong:
                with pytest.raises(InputError, match="is not waiting for a fitness"):
                    study.tell(unknown, 1.0)
            study.tell(candidate, 1.0)
            for again in (candidate, candidate):
                with pytest.raises(InputError, match="candidate 0 of generation 0 is not waiting"):
                    study.tell(again, 2.0)
            assert len(study.candidates()) == 1
            complete(study)
            with pytest.raises(InputError, match="is not waiting"):
                study.tell(candidate, 1.0)

    def test_records_are_whole_or_nothing(self, tmp_path: Path) -> None:
        with Study(tmp_path, classes=10, population=4, generations=2) as study:
            first, second = study.pending()[:2]
            for results in (
                [Result(first, 1.0), Result(first, 2.0)],
                [Result(second, 1.0), Result(dataclasses.replace(first, generation=5), 1.0)],
            ):
                with pytest.raises(InputError, match="is not waiting"):
                    study.record(results)
            study.record([])
            assert study.candidates() == []
            assert len(study.pending()) == 4

    @pytest.mark.parametrize("fitness", [math.nan, math.inf, -math.inf])
    def test_no_fitness_means_diverged(self, tmp_path: Path, fitness: float) -> None:
        with Study(tmp_path, classes=10, population=4, generations=2) as study:
            candidate = study.ask()
            assert candidate is not None
            study.tell(candidate, fitness)
            (row,) = study.candidates()
            assert (row["status"], row["fitness"], row["scores"]) == ("diverged", None, [])
            complete(study)
            assert study.best().genome != candidate.genome
            assert study.counts()["diverged"] == 1
            assert study.counts()["trainings"] == 7

    def test_nan_ranks_last(self, tmp_path: Path) -> None:
        lowest = -1e9
        means = []
        for name, value in (("a", math.nan), ("b", lowest)):
            with Study(tmp_path / name, classes=10, population=6, generations=1) as study:
                complete(study, lambda candidate, value=value: value if candidate.member == 2 else sphere(candidate))  # type: ignore[misc]
                means.append(study.mean_genome)
        assert means[0] == means[1]

    def test_kinds_of_numbers(self, tmp_path: Path) -> None:
        with Study(tmp_path, classes=10, population=4, generations=1) as study:
            values: list[Any] = [1, np.float32(0.5), torch.tensor(0.25), np.int64(3)]
            for value in values:
                candidate = study.ask()
                assert candidate is not None
                study.tell(candidate, value)
            assert [row["fitness"] for row in study.candidates()] == [1.0, 0.5, 0.25, 3.0]

    def test_the_end(self, tmp_path: Path) -> None:
        with Study(tmp_path, classes=10, population=4, generations=2) as study:
            assert not study.finished
            assert complete(study) == 8
            assert study.finished
            assert study.ask() is None
            assert study.ask() is None
            assert study.pending() == study.trainable() == []
            assert study.generation == 2
        with Study(tmp_path, classes=10, population=4, generations=2) as study:
            assert study.ask() is None

    @pytest.mark.parametrize("invariant", ["none", "exact", "published"])
    def test_invariant(self, tmp_path: Path, invariant: str) -> None:
        with Study(tmp_path, classes=10, invariant=invariant, **TAYLOR) as study:
            asked = []
            while (candidate := study.ask()) is not None:
                asked.append((candidate.generation, candidate.member))
                study.tell(candidate, sphere(candidate))
            rows = study.candidates()
            assert len(rows) == 24
            for row in rows:
                loss = build_space(study.search).build([row["genome"]], 10)[0]
                for form in ("exact", "published"):
                    assert bool(is_trainable(loss, 10, form)) == bool(row[form])
                passes = invariant == "none" or bool(row[invariant])
                assert row["status"] == ("ok" if passes else "untrainable")
                assert ((row["generation"], row["member"]) in asked) == passes
                assert (row["fitness"] is None) == (not passes)
            untrainable = sum(row["status"] == "untrainable" for row in rows)
            assert (untrainable == 0) == (invariant == "none")
            assert len(asked) == 24 - untrainable
            assert study.counts()["untrainable"] == untrainable
            verdicts = study.verdicts()
            assert verdicts["both"] == sum(row["exact"] and row["published"] for row in rows)
            assert verdicts["exact_only"] == sum(row["exact"] and not row["published"] for row in rows)
            assert verdicts["published_only"] == sum(row["published"] and not row["exact"] for row in rows)
            assert verdicts["neither"] == sum(not row["published"] and not row["exact"] for row in rows)
            assert verdicts["redrawn"] == 0

    @pytest.mark.parametrize("invariant", ["exact", "published"])
    def test_redraw(self, tmp_path: Path, invariant: str) -> None:
        with Study(tmp_path, classes=10, invariant=invariant, untrainable="redraw", **TAYLOR) as study:
            assert complete(study) == 24
            rows = study.candidates()
            assert all(row["status"] == "ok" and row[invariant] for row in rows)
            assert study.verdicts()["redrawn"] == sum(row["redrawn"] for row in rows) > 0

    def test_a_redraw_gives_up(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(course, "is_trainable", never)
        with Study(tmp_path, classes=10, population=4, generations=2, untrainable="redraw") as study:
            assert study.finished
            assert {row["redrawn"] for row in study.candidates()} == {100}

    def test_figures(self, tmp_path: Path) -> None:
        with Study(tmp_path, classes=10, population=4, generations=3) as study:
            assert study.counts() == {
                "best": None, "mean": None, "candidates": 0, "untrainable": 0, "diverged": 0, "failed": 0, "pruned": 0,
                "trainings": 0,
            }  # fmt: skip
            assert study.top(3) == []
            with pytest.raises(InputError, match=r"no candidate of the study in .* has a fitness yet; tell one first"):
                study.best()
            fitness = iter([0.1, 0.9, 0.5, 0.9, 0.2, 0.3, 0.4, 0.5, 0.9])
            complete(study, lambda _: next(fitness), 9)
            counts = study.counts()
            assert counts["mean"] == pytest.approx(0.35)
            assert (counts["best"], counts["candidates"], counts["trainings"]) == (0.9, 9, 9)
            places = [(candidate.generation, candidate.member) for candidate in study.top(5)]
            assert places == [(0, 1), (0, 3), (2, 0), (0, 2), (1, 3)]
            assert len(study.top(100)) == 9
            best = study.best()
            assert (best.generation, best.member) == (0, 1)
            (row,) = [row for row in study.candidates() if (row["generation"], row["member"]) == (0, 1)]
            assert best.genome == row["genome"]
            built = build_space(study.search).build([best.genome], 10)[0]
            torch.testing.assert_close(numbers(best.loss), numbers(built))
            assert study.mean is not None
            middle = build_space(study.search).build([study.mean_genome], 10)[0]
            torch.testing.assert_close(numbers(study.mean), numbers(middle))

    def test_it_searches(self, tmp_path: Path) -> None:
        with Study(tmp_path, classes=10, population=10, generations=30, invariant="none") as study:
            complete(study)
            assert study.mean_genome == pytest.approx([0.3] * 5, abs=0.05)
            assert (study.counts()["best"] or -1.0) > -1e-3


def never(losses: Loss, classes: int, form: str = "exact") -> Tensor:
    return torch.zeros(losses.shape, dtype=torch.bool)


class TestUntrainableGenerations:
    def test_all_of_very_many(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(course, "is_trainable", never)
        search = SearchSettings(population=4, generations=1100)
        with Study(tmp_path, 10, search) as study:
            assert study.ask() is None
            assert study.finished
            assert study.counts()["untrainable"] == 4400
            assert study.top(5) == []
            mean = study.mean_genome
            assert mean is not None
            assert np.isfinite(mean).all()
        with Study(tmp_path, 10, search) as study:
            assert study.finished
            assert study.mean_genome == mean

    def test_some_in_the_middle(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        calls = iter(range(1000))

        def patched(losses: Loss, classes: int, form: str = "exact") -> Tensor:
            return torch.full(losses.shape, next(calls) // 2 in (0, 3, 6))

        monkeypatch.setattr(course, "is_trainable", patched)
        with Study(tmp_path, classes=10, population=4, generations=8) as study:
            generations = []
            while (candidate := study.ask()) is not None:
                generations.append(candidate.generation)
                study.tell(candidate, sphere(candidate))
            assert generations == [0] * 4 + [3] * 4 + [6] * 4
            assert study.finished
            assert study.counts()["untrainable"] == 20
            assert [(row["generation"], row["member"]) for row in study.candidates()] == [
                (generation, member) for generation in range(8) for member in range(4)
            ]


class TestSettingsOfAStudy:
    def test_alike(self, tmp_path: Path) -> None:
        settings: dict[str, Any] = {"space": "canonical", "gain": "fixed", "population": 4, "generations": 1, "seed": 5}
        with Study(tmp_path / "a", 10, SearchSettings(**settings)) as a, Study(tmp_path / "b", 10, **settings) as b:
            assert a.search == b.search
            assert [c.genome for c in a.pending()] == [c.genome for c in b.pending()]

    @pytest.mark.parametrize(
        ("settings", "sentence"),
        [
            ({"populations": 4}, "there is no setting 'populations'"),
            ({"population": 1}, "'population' is wrong (it is 1)"),
            ({"population": "many"}, "'population' is wrong (it is 'many')"),
            ({"population": 4.0}, "'population' is wrong"),
            ({"population": None}, "'population' is wrong"),
            ({"population": True}, "'population' is wrong"),
            ({"generations": 0}, "'generations' is wrong"),
            ({"space": "euclidean"}, "'space' is wrong (it is 'euclidean')"),
            ({"sigma": -1.0}, "'sigma' is wrong"),
            ({"sigma": math.nan}, "'sigma' is wrong"),
            ({"sigma": math.inf}, "'sigma' is wrong"),
            ({"lr_adapt": "yes"}, "'lr_adapt' is wrong"),
            ({"order": 1}, "'order' is wrong"),
            ({"seed": "0"}, "'seed' is wrong"),
            ({"seed": object()}, "'seed' is wrong"),
            ({"search": SearchSettings(), "population": 4}, "not both"),
        ],
    )
    def test_wrong(self, tmp_path: Path, settings: dict[str, Any], sentence: str) -> None:
        with pytest.raises(InputError, match=re.escape(sentence)):
            Study(tmp_path / "study", classes=10, **settings)
        assert not (tmp_path / "study").exists()

    @pytest.mark.parametrize("classes", [1, 0, -3, 2.5, "10", None])
    def test_wrong_classes(self, tmp_path: Path, classes: Any) -> None:
        with pytest.raises(InputError, match="at least 2"):
            Study(tmp_path / "study", classes=classes)
        assert not (tmp_path / "study").exists()

    def test_classes_of_numpy(self, tmp_path: Path) -> None:
        classes: Any = np.int64(3)
        with Study(tmp_path, classes=classes, population=4, generations=1) as study:
            assert complete(study) == 4

    def test_another_configuration(self, tmp_path: Path) -> None:
        with Study(tmp_path, classes=10, population=4, generations=2) as study:
            complete(study, count=5)
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        changes: dict[str, dict[str, Any]] = {
            "classes": {"classes": 9},
            "search.population": {"population": 5},
            "search.seed": {"seed": 1},
            "search.space": {"space": "taylor"},
            "search.sigma": {"sigma": 0.1},
            "search.invariant": {"invariant": "none"},
            "search.lr_adapt": {"lr_adapt": True},
        }
        for key, settings in changes.items():
            wanted: dict[str, Any] = {"classes": 10, "population": 4, "generations": 2, **settings}
            with pytest.raises(InputError, match=rf"has {re.escape(key)} = .*, not .*or choose another directory"):
                Study(tmp_path, **wanted)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

    def test_longer_and_shorter(self, tmp_path: Path) -> None:
        with Study(tmp_path / "short", classes=10, population=4, generations=2) as study:
            complete(study)
        with Study(tmp_path / "long", classes=10, population=4, generations=4) as study:
            complete(study)
            rows, mean = study.candidates(), study.mean_genome
        with Study(tmp_path / "short", classes=10, population=4, generations=4) as study:
            assert not study.finished
            assert complete(study) == 8
            assert study.candidates() == rows
            assert study.mean_genome == mean
        assert (tmp_path / "short/study.toml").read_bytes() == (tmp_path / "long/study.toml").read_bytes()
        with pytest.raises(InputError, match="has 4 generations already, more than generations = 3; give at least 4"):
            Study(tmp_path / "short", classes=10, population=4, generations=3)
        with Study(tmp_path / "short", classes=10, population=4, generations=9) as study:
            assert not study.finished
        with Study(tmp_path / "short", classes=10, population=4, generations=4) as study:
            assert study.finished
        assert read_toml(tmp_path / "short/study.toml")["search"]["generations"] == 4

    def test_one_process_at_a_time(self, tmp_path: Path) -> None:
        with Study(tmp_path, classes=10), pytest.raises(InputError, match="another process"):
            Study(tmp_path, classes=10)
        with pytest.raises(InputError, match=r"search\.seed"):
            Study(tmp_path, classes=10, seed=1)
        with Study(tmp_path, classes=10) as study:
            assert study.ask() is not None

    def test_a_file_in_the_way(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        for place in ("file", "file/study"):
            with pytest.raises(InputError, match="cannot be made a study directory"):
                Study(tmp_path / place, classes=10)

    def test_candidates_without_settings(self, tmp_path: Path) -> None:
        with Study(tmp_path, classes=10, population=4) as study:
            complete(study, count=1)
            study.store.write([("DELETE FROM setting", ())])
        with pytest.raises(InputError, match="holds candidates but no settings; start in another directory"):
            Study(tmp_path, classes=10, population=4)


KEPT: dict[str, Any] = {"classes": 10, "digest": "d", "data": {"source": "a"}, "search": {"generations": 4, "lr": None}}
SHORT: dict[str, Any] = {"classes": 10, "digest": "d", "data": {"source": "a"}, "search": {"generations": 4}}


def changed(document: dict[str, Any], part: str, key: str, value: Any) -> dict[str, Any]:
    return {**document, part: {**document[part], key: value}}


class TestAgreement:
    """The one function that decides what a study goes on with; it reads and writes nothing."""

    place = Path("absent")

    def test_a_new_one(self) -> None:
        found = reconciled(KEPT, None, None, {}, 0, self.place)
        assert found == Agreement(KEPT, changes_file=True, changes_store=True, is_longer=False)

    def test_tuples_are_lists(self) -> None:
        assert reconciled({"a": (1, 2)}, None, None, {}, 0, self.place).document == {"a": [1, 2]}

    def test_alike(self) -> None:
        found = reconciled(KEPT, KEPT, SHORT, {}, 4, self.place)
        assert found == Agreement(KEPT, changes_file=False, changes_store=False, is_longer=False)

    def test_a_lost_file(self) -> None:
        assert reconciled(KEPT, KEPT, None, {}, 4, self.place).changes_file

    def test_longer(self) -> None:
        wanted = changed(KEPT, "search", "generations", 5)
        found = reconciled(wanted, KEPT, SHORT, {}, 4, self.place)
        assert found == Agreement(wanted, changes_file=True, changes_store=True, is_longer=True)
        # Killed between the file and the database: only the database is behind.
        written = changed(SHORT, "search", "generations", 5)
        found = reconciled(wanted, KEPT, written, {}, 4, self.place)
        assert found == Agreement(wanted, changes_file=False, changes_store=True, is_longer=True)

    @pytest.mark.parametrize(("done", "wanted", "fits"), [(4, 3, False), (3, 3, True), (0, 1, True)])
    def test_shorter_but_not_than_what_is_done(self, done: int, wanted: int, fits: bool) -> None:
        document = changed(KEPT, "search", "generations", wanted)
        if fits:
            assert reconciled(document, KEPT, SHORT, {}, done, self.place).document == document
        else:
            with pytest.raises(InputError, match=f"has {done} generations already.*give at least {done}"):
                reconciled(document, KEPT, SHORT, {}, done, self.place)

    def test_data_at_another_place_is_the_same_by_its_digest(self) -> None:
        moved = changed(KEPT, "data", "source", "b")
        assert not reconciled(moved, KEPT, SHORT, {}, 4, self.place).is_longer
        with pytest.raises(InputError, match="digests differ"):
            reconciled({**moved, "digest": "e"}, KEPT, SHORT, {}, 4, self.place)
        without = {key: value for key, value in KEPT.items() if key != "digest"}
        with pytest.raises(InputError, match=r"data\.source = 'a', not 'b'"):
            reconciled(changed(without, "data", "source", "b"), without, None, {}, 4, self.place)

    def test_what_an_older_version_did_not_hold(self) -> None:
        wanted = changed(KEPT, "search", "seed", 0)
        found = reconciled(wanted, KEPT, SHORT, {"search": {"seed": 0}}, 4, self.place)
        assert found.document == wanted
        with pytest.raises(InputError, match=r"search\.seed = None, not 0"):
            reconciled(wanted, KEPT, SHORT, {}, 4, self.place)

    def test_a_file_changed_by_hand(self) -> None:
        with pytest.raises(InputError, match=r"study\.toml was changed.*classes is 9 there, the study has 10"):
            reconciled(KEPT, KEPT, {**SHORT, "classes": 9}, {}, 4, self.place)

    def test_candidates_without_settings(self) -> None:
        with pytest.raises(InputError, match="holds candidates but no settings"):
            reconciled(KEPT, None, None, {}, 1, self.place)


class TestReplay:
    @pytest.mark.parametrize(
        "settings",
        [
            TAYLOR,
            {**TAYLOR, "invariant": "none", "lr_adapt": True},
            {**TAYLOR, "untrainable": "redraw", "invariant": "published"},
            {**TAYLOR, "untrainable": "redraw", "invariant": "none", "generations": 2},
            {"population": 5, "generations": 3, "sigma": 0.9},
            {"space": "canonical", "population": 4, "generations": 4},
        ],
    )
    def test_closed_and_opened_at_every_point(self, tmp_path: Path, settings: dict[str, Any]) -> None:
        with Study(tmp_path / "whole", classes=10, **settings) as study:
            steps = complete(study)
            rows, mean = study.candidates(), study.mean_genome
        assert steps >= 10
        for step in range(steps + 1):
            directory = tmp_path / str(step)
            with Study(directory, classes=10, **settings) as study:
                complete(study, count=step)
                if not study.finished:
                    study.ask()
            with Study(directory, classes=10, **settings) as study:
                assert complete(study) == steps - step
                assert study.candidates() == rows
                assert study.mean_genome == mean
        directory = tmp_path / "always"
        told, finished = 0, False
        while not finished:
            with Study(directory, classes=10, **settings) as study:
                told += complete(study, count=1)
                finished = study.finished
        with Study(directory, classes=10, **settings) as study:
            assert told == steps
            assert study.candidates() == rows
            assert study.mean_genome == mean

    def test_told_after_a_reopening(self, tmp_path: Path) -> None:
        """A candidate that was given out before the study was closed can be told after."""
        with Study(tmp_path, classes=10, population=4, generations=2) as study:
            out = study.ask()
            assert out is not None
        with Study(tmp_path, classes=10, population=4, generations=2) as study:
            study.tell(out, 0.5)
            following = study.ask()
            assert following is not None
            assert following.member == 1

    def test_rounding_is_silent(self, tmp_path: Path) -> None:
        with Study(tmp_path, classes=10, population=4, generations=3) as study:
            complete(study, count=6)
        for member in range(4):
            alter(tmp_path, 0, member, lambda genome: [x * (1 + 1e-12) for x in genome])
        with Study(tmp_path, classes=10, population=4, generations=3) as study:
            assert complete(study) == 6

    def test_the_stored_ones_stand(self, tmp_path: Path) -> None:
        settings = SearchSettings(population=4, generations=4)
        with Study(tmp_path, 10, settings) as study:
            complete(study, count=10)
        for generation, member in ((0, 1), (0, 3), (1, 2), (2, 0)):
            alter(tmp_path, generation, member, lambda genome: [x + 1e-3 for x in genome])
        with Study(tmp_path, 10, settings) as study:
            with pytest.warns(UserWarning, match="generation 0 differ from the stored ones") as caught:
                study.pending()
            assert len(caught) == 1
            rows = study.candidates()
            engine = build_engine(build_space(settings), settings)
            for generation in range(2):
                engine.ask(lambda _: True)
                told = rows[4 * generation : 4 * generation + 4]
                engine.tell([row["genome"] for row in told], [row["fitness"] for row in told])
            assert study.mean_genome == engine.mean
            asked, _ = engine.ask(lambda _: True)
            places = study.trainable()
            assert [c.genome for c in places[:2]] == [row["genome"] for row in rows[8:10]]
            assert [c.genome for c in places[2:]] == asked[2:]
            assert complete(study) == 6
            stored = study.candidates()
            assert stored[:10] == rows
        with Study(tmp_path, 10, settings) as again:
            assert again.candidates() == stored
            with pytest.warns(UserWarning, match="differ from the stored") as caught:
                assert again.finished
        assert len(caught) == 1

    @pytest.mark.parametrize(
        "genome",
        [[], [0.5], [0.5] * 6, None, "text", {"a": 1}, [None] * 5, ["1"] * 5, [True] * 5, [10**400] * 5, [[0.5] * 5]],
    )
    def test_a_point_that_is_none(self, tmp_path: Path, genome: Any) -> None:
        with Study(tmp_path, classes=10, population=4, generations=2) as study:
            complete(study, count=2)
        alter(tmp_path, 0, 1, lambda _: genome)
        with (
            Study(tmp_path, classes=10, population=4, generations=2) as study,
            pytest.raises(InputError, match=r"study.db is damaged \((a value of )?candidate 1 of generation 0"),
        ):
            study.pending()

    def test_a_verdict_stands(self, tmp_path: Path) -> None:
        """What was recorded as untrainable is not trained, even if it were found trainable now."""
        with Study(tmp_path, classes=10, **TAYLOR) as study:
            out = study.ask()
            assert out is not None
            rejected = [row["member"] for row in study.candidates()]
            waiting = [candidate.member for candidate in study.pending()]
            assert rejected
            assert sorted(rejected + waiting) == list(range(6))
        alter(tmp_path, 0, rejected[0], lambda _: list(out.genome))
        with Study(tmp_path, classes=10, **TAYLOR) as study:
            with pytest.warns(UserWarning, match="the stored ones stand"):
                study.pending()
            assert [candidate.member for candidate in study.trainable()] == waiting
            complete(study)
            assert study.finished

    def test_a_member_too_many(self, tmp_path: Path) -> None:
        with Study(tmp_path, classes=10, population=4, generations=2) as study:
            complete(study, count=2)
            study.store.add_candidates([{**study.candidates()[0], "member": 4}])
        with (
            Study(tmp_path, classes=10, population=4, generations=2) as study,
            pytest.raises(InputError, match=r"study.db is damaged \(candidate 4 of generation 0"),
        ):
            study.pending()


def settings_of(**changes: Any) -> EvolveSettings:
    """A small job; changes by dotted key with two underscores."""
    document: dict[str, dict[str, Any]] = {
        "data": {"train_size": 200, "validation_size": 200},
        "model": {"hidden": [8]},
        "recipe": {"epochs": 2, "lr": 0.1},
        "search": {"population": 4, "generations": 2},
        "run": {"training": "population", "finalists": 2, "finalist_seeds": 2, "tune": False},
    }
    for key, value in changes.items():
        part, name = key.split("__")
        document.setdefault(part, {})[name] = value
    return validated(EvolveSettings, document, "the test")


def tables(directory: Path) -> dict[str, list[dict[str, Any]]]:
    """All that the database holds, less the seconds."""
    with Store(directory, readonly=True) as store:
        found = {
            "candidate": store.candidates(),
            "finalist": [*store.finalists("smoothing"), *store.finalists("final")],
            "setting": store.rows("SELECT * FROM setting WHERE name != 'way' ORDER BY name"),
        }
    return {name: [{k: v for k, v in row.items() if k != "seconds"} for row in rows] for name, rows in found.items()}


def log_of(directory: Path) -> list[dict[str, Any]]:
    path = directory / "training.log"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.suffix not in (".db-wal", ".db-shm")}


def npz(path: Path, seed: int = 0) -> Path:
    """Digits as a file, in another order for another seed."""
    digits = open_source("digits")
    order = np.random.default_rng(seed).permutation(len(digits.targets))
    path.parent.mkdir(exist_ok=True, parents=True)
    np.savez(path, x_train=digits.inputs.numpy()[order], y_train=digits.targets.numpy()[order])
    return path


def counting(log: list[int], value: Callable[[int, Trained], Tensor]) -> Callable[[Trained, Tensor, Tensor], Tensor]:
    """An objective that keeps the number of networks of each call."""

    def objective(trained: Trained, inputs: Tensor, targets: Tensor) -> Tensor:
        log.append(len(trained.networks))
        return value(len(log), trained)

    return objective


@pytest.fixture
def other_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second search engine, so that a setting can name one that is not the usual."""
    monkeypatch.setitem(SEARCH_ENGINES._entries, "other", CMA)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small job, done without an interruption."""
    directory = tmp_path_factory.mktemp("reference")
    evolve(directory, settings_of())
    return directory


class TestEvolve:
    def test_what_it_leaves(self, tmp_path: Path) -> None:
        data = npz(tmp_path / "hidden place" / "numbers.npz")
        settings = settings_of(data__source=str(data), data__label_noise=0.2)
        outcome = evolve(tmp_path / "study", settings)
        assert {path.name for path in (tmp_path / "study").iterdir()} == {
            "study.toml", "study.db", "study.lock", "training.log", "best.json",
        }  # fmt: skip
        with closing(sqlite3.connect(tmp_path / "study/study.db")) as connection:
            rows = connection.execute("SELECT generation, member, genome, status, fitness FROM candidate").fetchall()
        assert [row[:2] for row in sorted(rows)] == [(g, m) for g in range(2) for m in range(4)]
        for _, _, genome, status, fitness in rows:
            point = json.loads(genome)
            assert len(point) == 5
            assert all(isinstance(x, float) for x in point)
            assert status in ("ok", "untrainable", "diverged")
            assert (fitness is not None) == (status == "ok")
            if fitness is not None:
                assert 0 <= fitness <= 1
                assert fitness * 200 == pytest.approx(round(fitness * 200))
        text = (tmp_path / "study/best.json").read_text()
        assert str(tmp_path) not in text
        assert "hidden place" not in text
        assert not re.search(r"\d{4}-\d\d-\d\d|\d\d:\d\d|second|time", text)
        document = json.loads(text)
        provenance = document["provenance"]
        assert provenance == json.loads(json.dumps(outcome.provenance))
        assert provenance["digest"] == open_source(str(data)).digest
        assert provenance["settings"]["data"]["source"] == "numbers.npz"
        assert provenance["settings"]["data"]["label_noise"] == 0.2
        assert provenance["candidates"]["candidates"] == 8
        assert sum(provenance["invariant"][key] for key in ("both", "exact_only", "published_only", "neither")) == 8
        assert provenance["training"] == "mlp"
        names = [finalist["name"] for finalist in provenance["finalists"]]
        assert len(names) == 5
        assert names[2:4] == ["mean of the search", "cross-entropy"]
        assert names[4].startswith("label smoothing 0.")
        assert all(finalist["n"] == 2 for finalist in provenance["finalists"])
        assert provenance["validation"]["mean"] == max(finalist["mean"] for finalist in provenance["finalists"])
        loss = lossmith.load(tmp_path / "study/best.json")
        assert loss == outcome.loss
        assert torch.isfinite(lossmith.Criterion(loss)(torch.randn(4, 10), torch.arange(4)))
        assert outcome.classes == 10

    def test_again_does_nothing(self, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        shutil.copytree(reference, tmp_path / "study")
        before, stored = contents(tmp_path / "study"), tables(tmp_path / "study")
        calls: list[int] = []
        monkeypatch.setattr(Trainer, "train", lambda *_, **__: calls.append(1))
        outcome = evolve(tmp_path / "study", settings_of())
        assert calls == []
        assert contents(tmp_path / "study") == before
        assert tables(tmp_path / "study") == stored
        assert json.loads(before["best.json"])["provenance"] == json.loads(json.dumps(outcome.provenance))

    def test_the_same_seeds_give_the_same(self, reference: Path, tmp_path: Path) -> None:
        torch.manual_seed(77)
        state = torch.get_rng_state()
        evolve(tmp_path / "another name", settings_of())
        assert torch.equal(torch.get_rng_state(), state)
        assert tables(tmp_path / "another name") == tables(reference)
        for name in ("best.json", "study.toml"):
            assert (tmp_path / "another name" / name).read_bytes() == (reference / name).read_bytes()

    def test_another_seed_gives_another(self, reference: Path, tmp_path: Path) -> None:
        evolve(tmp_path, settings_of(search__seed=1))
        assert all(
            a["genome"] != b["genome"]
            for a, b in zip(*(tables(d)["candidate"] for d in (reference, tmp_path)), strict=True)
        )

    def test_longer(self, reference: Path, tmp_path: Path) -> None:
        evolve(tmp_path / "whole", settings_of(search__generations=4))
        shutil.copytree(reference, tmp_path / "study")
        earlier = len(log_of(reference))
        evolve(tmp_path / "study", settings_of(search__generations=4))
        assert tables(tmp_path / "study") == tables(tmp_path / "whole")
        for name in ("best.json", "study.toml"):
            assert (tmp_path / "study" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
        added = log_of(tmp_path / "study")[earlier:]
        assert {line["generation"] for line in added if line["stage"] == "search"} == {2, 3}
        assert {line["stage"] for line in added} == {"search", "smoothing", "final"}

    def test_longer_interrupted_between_any_two_writes(
        self, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever is written when a study is lengthened, a kill between two of the writes loses nothing."""
        evolve(tmp_path / "whole", settings_of(search__generations=3))
        expected = tables(tmp_path / "whole")
        for writes in range(20):
            directory = tmp_path / str(writes)
            shutil.copytree(reference, directory)
            with monkeypatch.context() as patch, dying(patch, writes) as died:
                evolve(directory, settings_of(search__generations=3))
            assert evolve_as_written(directory, 3).classes == 10
            assert tables(directory) == expected
            for name in ("best.json", "study.toml"):
                assert (directory / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
            if not died:
                break
        assert 2 <= writes < 19

    def test_begun_interrupted_between_any_two_writes(
        self, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for writes in range(20):
            directory = tmp_path / str(writes)
            with monkeypatch.context() as patch, dying(patch, writes) as died:
                evolve(directory, settings_of())
            if (directory / "study.toml").exists():
                evolve_as_written(directory, 2)
            else:
                evolve(directory, settings_of())
            assert tables(directory) == tables(reference)
            assert (directory / "best.json").read_bytes() == (reference / "best.json").read_bytes()
            if not died:
                break
        assert 2 <= writes < 19

    def test_shorter(self, reference: Path, tmp_path: Path) -> None:
        shutil.copytree(reference, tmp_path / "study")
        before = contents(tmp_path / "study")
        with pytest.raises(InputError, match="has 2 generations already, more than generations = 1; give at least 2"):
            evolve(tmp_path / "study", settings_of(search__generations=1))
        assert contents(tmp_path / "study") == before

    CHANGES: tuple[tuple[str, Any], ...] = (
        ("data.target", "y"),
        ("data.drop", ["id"]),
        ("data.categories", "ordinal"),
        ("data.missing", "impute"),
        ("data.split", "time"),
        ("data.padding_id", 1),
        ("data.groups", "patient"),
        ("data.train_size", 210),
        ("data.validation_size", 210),
        ("data.test_size", 100),
        ("data.label_noise", 0.1),
        ("data.noise", "pairs"),
        ("data.split_seed", 1),
        ("data.noise_seed", 1),
        ("data.max_pixel", 300.0),
        ("data.image_size", 8),
        ("data.channels", 3),
        ("data.kind", "image"),
        ("model.name", "conv"),
        ("model.hidden", [8, 8]),
        ("model.dropout", 0.1),
        ("model.normalize", "none"),
        ("recipe.optimizer", "adamw"),
        ("recipe.lr", 0.2),
        ("recipe.momentum", 0.5),
        ("recipe.weight_decay", 0.1),
        ("recipe.epochs", 3),
        ("recipe.steps", 3),
        ("recipe.batch_size", 20),
        ("recipe.schedule", "cosine"),
        ("recipe.milestones", [0.5]),
        ("recipe.decay", 0.5),
        ("recipe.clip", 1.0),
        ("recipe.crop", 2),
        ("recipe.flip", True),
        ("recipe.cutout", 3),
        ("recipe.mixup", 0.5),
        ("recipe.cutmix", 0.5),
        ("recipe.flooding", 0.1),
        ("recipe.class_weight", "balanced"),
        ("recipe.sampling", "balanced"),
        ("recipe.patience", 2),
        ("recipe.precision", "bfloat16"),
        ("recipe.adversary", "fgsm"),
        ("recipe.adversary_epsilon", 0.2),
        ("recipe.adversary_steps", 3),
        ("search.space", "taylor"),
        ("search.engine", "other"),
        ("search.order", 4),
        ("search.gain", "fixed"),
        ("search.depth", 4),
        ("search.knots", 3),
        ("search.coefficients", 0.5),
        ("search.scale", True),
        ("search.known_first", True),
        ("search.start", ["cross-entropy"]),
        ("search.population", 5),
        ("search.sigma", 0.1),
        ("search.lr_adapt", True),
        ("search.invariant", "none"),
        ("search.untrainable", "redraw"),
        ("search.seed", 1),
        ("objective.metric", "weighted"),
        ("objective.costs", [[0.0] + 9 * [1.0], *(9 * [10 * [1.0]])]),
        ("objective.epsilon", 0.2),
        ("objective.gradient", "loss"),
        ("objective.weight", 0.2),
        ("objective.record", ["balanced-accuracy"]),
        ("run.training", "sequential"),
        ("run.replicates", 2),
        ("run.partial", 0.5),
        ("run.prune_at", 0.5),
        ("run.tune", True),
        ("run.finalists", 3),
        ("run.finalist_seeds", 3),
        ("run.chunk", 2),
        ("run.device", "cpu:0"),
    )

    @pytest.mark.usefixtures("other_engine")
    @pytest.mark.parametrize(("key", "value"), CHANGES)
    def test_another_configuration(self, reference: Path, key: str, value: Any) -> None:
        before = contents(reference)
        refused = f"the study in .* has {key} = .*choose another directory"
        # Of data that has no columns, they are refused before.
        of_table = f"{key.removeprefix('data.')} is .* (is no table|has images)"
        with pytest.raises(InputError, match=f"{refused}|{of_table}"):
            evolve(reference, settings_of(**{key.replace(".", "__"): value}))
        assert contents(reference) == before

    def test_every_setting_is_among_these(self) -> None:
        keys = {f"{part}.{key}" for part, values in EvolveSettings().model_dump().items() for key in values}
        assert keys == {key for key, _ in self.CHANGES} | {"data.source", "search.generations"}

    @pytest.mark.parametrize(
        ("old", "new", "sentence"),
        [
            ("lr = 0.1\n", "lr = 0.2\n", "recipe.lr is 0.2 there, the study has 0.1; change it back"),
            ("lr = 0.1\n", "", "recipe.lr is 0.05 there, the study has 0.1"),
            ("lr = 0.1\n", "lr = 2020-01-01\n", "recipe.lr is '2020-01-01' there"),
            ("lr = 0.1\n", "lr = nan\n", "recipe.lr is nan there"),
            ("lr = 0.1\n", "lr = 0.1\nrate = 1\n", "recipe.rate is 1 there, the study has None"),
            ("lr = 0.1\n", "lr =\n", "is not a TOML file"),
            ("[run]\n", "[running]\n", "was changed after the study began"),
            ("[run]\n", "[more]\nx = 1\n\n[run]\n", "more is {'x': 1} there"),
        ],
    )
    def test_a_study_file_edited_by_hand(
        self, reference: Path, tmp_path: Path, old: str, new: str, sentence: str
    ) -> None:
        shutil.copytree(reference, tmp_path / "study")
        path = tmp_path / "study/study.toml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        before = contents(tmp_path / "study")
        with pytest.raises(InputError, match=re.escape(sentence)) as caught:
            evolve(tmp_path / "study", settings_of())
        assert str(path) in str(caught.value)
        assert contents(tmp_path / "study") == before

    def test_a_study_file_edited_in_what_may_change(self, reference: Path, tmp_path: Path) -> None:
        shutil.copytree(reference, tmp_path / "study")
        path = tmp_path / "study/study.toml"
        text = "# mine\n" + path.read_text()
        path.write_text(text)
        evolve(tmp_path / "study", settings_of())
        assert path.read_text() == text
        path.write_text(text.replace("generations = 2", "generations = 3"))
        evolve_as_written(tmp_path / "study", 3)
        assert len(tables(tmp_path / "study")["candidate"]) == 12

    def test_a_lost_study_file_is_written_again(self, reference: Path, tmp_path: Path) -> None:
        shutil.copytree(reference, tmp_path / "study")
        (tmp_path / "study/study.toml").unlink()
        evolve(tmp_path / "study", settings_of())
        assert contents(tmp_path / "study") == contents(reference)

    def test_data_at_another_place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        data = npz(tmp_path / "a" / "numbers.npz")
        evolve(tmp_path / "study", settings_of(data__source=str(data)))
        before = contents(tmp_path / "study")
        (tmp_path / "b").mkdir()
        moved = data.rename(tmp_path / "b" / "numbers.npz")
        calls: list[int] = []
        monkeypatch.setattr(Trainer, "train", lambda *_, **__: calls.append(1))
        evolve(tmp_path / "study", settings_of(data__source=str(moved)))
        assert calls == []
        after = contents(tmp_path / "study")
        for name in ("best.json", "training.log"):
            assert after[name] == before[name]
        assert read_toml(tmp_path / "study/study.toml")["data"]["source"] == str(moved)
        edited = moved.rename(tmp_path / "a" / "numbers.npz")
        path = tmp_path / "study/study.toml"
        path.write_text(path.read_text().replace(str(moved), str(edited)))
        evolve_as_written(tmp_path / "study", 2)
        assert calls == []
        before = contents(tmp_path / "study")
        for place, sentence in (
            (edited, "the data is not the data that the study"),
            (tmp_path / "c.npz", "has data.source ="),
        ):
            npz(place, seed=1)
            with pytest.raises(InputError, match=sentence):
                evolve(tmp_path / "study", settings_of(data__source=str(place)))
        assert contents(tmp_path / "study") == before

    def test_a_study_of_tensors(self, tmp_path: Path) -> None:
        def source(seed: int) -> Source:
            random = torch.Generator().manual_seed(seed)
            targets = torch.arange(300) % 3
            inputs = torch.randn(300, 4, generator=random) + 2 * torch.nn.functional.one_hot(targets, 4)
            return Source.from_tensors(inputs, targets)

        settings = settings_of(data__train_size=100, data__validation_size=100)
        outcome = evolve(tmp_path, settings, source(0))
        assert outcome.classes == 3
        assert read_toml(tmp_path / "study.toml")["data"]["source"] == "tensors"
        before = contents(tmp_path)
        evolve(tmp_path, settings, source(0))
        assert contents(tmp_path) == before
        with pytest.raises(InputError, match="the data is not the data that the study"):
            evolve(tmp_path, settings, source(1))
        assert contents(tmp_path) == before

    def test_replicates(self, tmp_path: Path) -> None:
        evolve(tmp_path, settings_of(run__replicates=3, run__chunk=6, run__finalist_seeds=3))
        found = tables(tmp_path)
        trained = [row for row in found["candidate"] if row["status"] == "ok"]
        assert trained
        for row in trained:
            assert len(row["scores"]) == 3
            assert row["fitness"] == pytest.approx(np.mean(row["scores"]), abs=1e-15)
        assert any(len(set(row["scores"])) > 1 for row in trained)
        for row in found["finalist"]:
            assert len(row["scores"]) == (3 if row["stage"] == "final" else 2)
            assert row["mean"] == pytest.approx(np.mean(row["scores"]), abs=1e-15)
        begun = [line for line in log_of(tmp_path) if line["stage"] == "search" and line["event"] == "begun"]
        assert all(len(line["members"]) <= 2 for line in begun)
        with Study(tmp_path, 10, settings_of().search, document=stored_document(tmp_path)) as study:
            assert study.counts()["trainings"] == 3 * len(trained)

    def test_chunks_and_sequential_training_agree(self, tmp_path: Path) -> None:
        runs = {
            "whole": settings_of(search__population=6, search__generations=1),
            "chunks": settings_of(search__population=6, search__generations=1, run__chunk=4),
            "ones": settings_of(search__population=6, search__generations=1, run__chunk=1),
            "sequential": settings_of(search__population=6, search__generations=1, run__training="sequential"),
        }
        for name, settings in runs.items():
            evolve(tmp_path / name, settings)
        expected = tables(tmp_path / "whole")
        for name, size in zip(runs, (6, 4, 1, 1), strict=True):
            found = tables(tmp_path / name)
            begun = [line for line in log_of(tmp_path / name) if line["event"] == "begun"]
            assert max(len(line.get("members", [])) for line in begun) == size
            for row, other in zip(found["candidate"], expected["candidate"], strict=True):
                assert (row["genome"], row["status"]) == (other["genome"], other["status"])
                assert (row["fitness"] or 0.0) == pytest.approx(other["fitness"] or 0.0, abs=2.1 / 200)
            means, others = ({row["name"]: row["mean"] for row in rows["finalist"]} for rows in (found, expected))
            for common in means.keys() & others.keys():
                if not common.startswith("mean"):
                    assert means[common] == pytest.approx(others[common], abs=2.1 / 200)
            assert len(means.keys() & others.keys()) >= 12

    def test_an_objective_of_ones_own(self, tmp_path: Path) -> None:
        def likelihood(trained: Trained, inputs: Tensor, targets: Tensor) -> Tensor:
            logits = trained.networks.logits(inputs).log_softmax(-1)
            return logits[:, torch.arange(len(targets)), targets].mean(-1)

        outcome = evolve(tmp_path, settings_of(), objective=likelihood)
        rows = tables(tmp_path)["candidate"]
        assert all(row["fitness"] < 0 for row in rows if row["status"] == "ok")
        assert outcome.provenance["validation"]["mean"] < 0

    @pytest.mark.parametrize("shape", [(), (1,), (5,), (4, 1), (4, 200), (0,)])
    def test_an_objective_of_a_wrong_shape(self, tmp_path: Path, shape: tuple[int, ...]) -> None:
        with pytest.raises(
            InputError, match=r"the objective gave a shape of \(.*it must give one number for each network"
        ):
            evolve(tmp_path, settings_of(search__invariant="none"), objective=lambda *_: torch.zeros(shape))
        assert tables(tmp_path)["candidate"] == []
        assert not (tmp_path / "best.json").exists()

    def test_an_objective_that_is_no_number(self, tmp_path: Path) -> None:
        def value(call: int, trained: Trained) -> Tensor:
            scores = torch.arange(float(len(trained.networks)))
            if call == 1:
                scores[1] = math.nan
                scores[2] = math.inf
            return scores

        evolve(tmp_path, settings_of(search__invariant="none"), objective=counting([], value))
        rows = tables(tmp_path)["candidate"]
        assert [(row["status"], row["fitness"]) for row in rows[:4]] == [
            ("ok", 0.0),
            ("diverged", None),
            ("diverged", None),
            ("ok", 3.0),
        ]
        assert [row["status"] for row in rows[4:]] == ["ok"] * 4

    def test_no_smoothing_that_trains(self, tmp_path: Path) -> None:
        """Where no strength of label smoothing trains, the other finalists still decide."""

        def value(_: int, trained: Trained) -> Tensor:
            return torch.full((len(trained.networks),), math.nan if len(trained.networks) == 10 else 0.5)

        outcome = evolve(tmp_path, settings_of(run__finalists=1), objective=counting([], value))
        assert [finalist["name"].split()[0] for finalist in outcome.provenance["finalists"]] == [
            "candidate",
            "mean",
            "cross-entropy",
        ]

    def test_everything_diverges(self, tmp_path: Path) -> None:
        settings = settings_of(recipe__lr=1e38)
        for _ in range(2):
            with pytest.raises(
                InputError, match=r"diverged with lr = 1e\+38, or its objective gave no number; begin another study"
            ):
                evolve(tmp_path, settings)
            assert {row["status"] for row in tables(tmp_path)["candidate"]} <= {"diverged", "untrainable"}
            assert not (tmp_path / "best.json").exists()
            lines = log_of(tmp_path)
            labels = [json.dumps({k: v for k, v in line.items() if k != "time"}) for line in lines]
            assert len(labels) == len(set(labels))

    def test_nothing_is_trainable(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(course, "is_trainable", never)
        outcome = evolve(tmp_path, settings_of(search__generations=5))
        assert outcome.provenance["candidates"] == {"candidates": 20, "untrainable": 20, "diverged": 0, "trainings": 0}
        assert [finalist["name"].split()[0] for finalist in outcome.provenance["finalists"]] == [
            "mean",
            "cross-entropy",
            "label",
        ]
        assert {line["stage"] for line in log_of(tmp_path)} == {"smoothing", "final"}

    def test_the_backend_is_measured_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        chosen: list[int] = []

        def choose(*given: Any) -> Choice:
            chosen.append(len(given[1]))
            return Choice(Backend("sequential"), {"sequential": 1.0, "mlp": 2.0})

        monkeypatch.setattr(tuner_module, "measured_choice", choose)
        settings = settings_of(run__training="auto", run__replicates=2, run__chunk=6)
        with pytest.raises(KeyboardInterrupt):
            evolve(tmp_path, settings, objective=counting([], interrupting(3)))
        outcome = evolve(tmp_path, settings, objective=counting([], interrupting(-1)))
        assert chosen == [6]
        assert outcome.provenance["training"] == "sequential"
        begun = [line for line in log_of(tmp_path) if line["stage"] == "search" and line["event"] == "begun"]
        assert all(len(line["members"]) == 1 for line in begun)
        with Store(tmp_path, readonly=True) as store:
            assert list(store.setting("backend").values()) == [
                {"backend": "sequential", "seconds": {"sequential": 1.0, "mlp": 2.0}, "failed": {}}
            ]

    def test_auto(self, tmp_path: Path) -> None:
        outcome = evolve(tmp_path, settings_of(run__training="auto", search__generations=1))
        assert outcome.provenance["training"] in ("sequential", "mlp")
        assert outcome.seconds["measuring"] > 0
        assert 0 < outcome.seconds["training"] < outcome.seconds["all"]

    def test_progress(self, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(runner_module, "REPORT_SECONDS", -1.0)
        reports: list[Progress] = []
        settings = settings_of(search__generations=3, run__chunk=3, run__replicates=2)
        evolve(tmp_path, settings, report=reports.append)
        check_progress(reports, 3)
        assert list(dict.fromkeys(report.phase for report in reports)) == ["search", "smoothing", "final", "done"]
        searching = [report for report in reports if report.phase == "search"]
        assert len({report.done for report in searching}) > 20
        assert searching[0].done == 0
        last = reports[-1]
        assert (last.candidates, last.generation, last.generations) == (12, 3, 3)
        best = max(row["fitness"] for row in tables(tmp_path)["candidate"] if row["fitness"] is not None)
        assert last.best == best
        reports.clear()
        evolve(
            tmp_path,
            settings.model_copy(update={"search": settings.search.model_copy(update={"generations": 4})}),
            report=reports.append,
        )
        check_progress(reports, 4)
        assert reports[0].done == 0.75
        reports.clear()
        evolve(reference, settings_of(), report=reports.append)
        assert [(report.phase, report.done) for report in reports] == [("search", 1.0), ("done", 1.0)]

    @pytest.mark.parametrize("call", [1, 2, 4, 7, 11])
    def test_interrupted_in_a_training(
        self, reference_of_chunks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
    ) -> None:
        """The interrupt comes after half of the epochs of a chunk, and again at the same place."""
        monkeypatch.setattr(runner_module, "REPORT_SECONDS", -1.0)

        def inside(number: int) -> Callable[[Progress], None]:
            begun = [0]

            def report(progress: Progress) -> None:
                lines = log_of(tmp_path)
                if lines and lines[-1]["event"] == "begun" and len(lines) > begun[0]:
                    begun[0] = len(lines)
                    if len(lines) >= number:
                        raise KeyboardInterrupt

            return report

        settings = settings_of(run__chunk=2)
        for more in (0, 1):
            with pytest.raises(KeyboardInterrupt):
                evolve(tmp_path, settings, report=inside(2 * call - 1 + more))
            assert log_of(tmp_path)[-1]["event"] == "begun"
            assert not (tmp_path / "best.json").exists()
        evolve(tmp_path, settings)
        assert tables(tmp_path) == tables(reference_of_chunks)
        assert (tmp_path / "best.json").read_bytes() == (reference_of_chunks / "best.json").read_bytes()
        assert_nothing_twice(log_of(tmp_path))

    def test_bad_data_leaves_nothing(self, tmp_path: Path) -> None:
        for settings in (
            settings_of(data__source=str(tmp_path / "absent.npz")),
            settings_of(data__train_size=5000),
            settings_of(model__name="absent.module:function"),
            settings_of(run__device="abacus"),
            settings_of(run__device="meta"),
        ):
            with pytest.raises(InputError):
                evolve(tmp_path / "study", settings)
            assert not (tmp_path / "study").exists()

    def test_a_log_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "training.log").mkdir(parents=True)
        with pytest.raises(InputError, match=r"training\.log is no file that can be written"):
            evolve(tmp_path, settings_of())
        (tmp_path / "training.log").rmdir()
        assert evolve(tmp_path, settings_of()).classes == 10

    def test_a_study_of_another_kind(self, tmp_path: Path, reference: Path) -> None:
        with Study(tmp_path, classes=10):
            pass
        with pytest.raises(InputError, match="the study in"):
            evolve(tmp_path, settings_of())
        before = contents(reference)
        with pytest.raises(InputError, match="the study in"):
            Study(reference, classes=10, population=4, generations=2)
        assert contents(reference) == before


@pytest.fixture(scope="module")
def reference_of_chunks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small job in small chunks, done without an interruption."""
    directory = tmp_path_factory.mktemp("reference")
    evolve(directory, settings_of(run__chunk=2))
    return directory


def stored_document(directory: Path) -> dict[str, Any]:
    with Store(directory, readonly=True) as store:
        document: dict[str, Any] = store.setting("settings")
    return document


def interrupting(last: int) -> Callable[[int, Trained], Tensor]:
    def value(call: int, trained: Trained) -> Tensor:
        if call == last:
            raise KeyboardInterrupt
        return torch.full((len(trained.networks),), 0.5)

    return value


def assert_nothing_twice(lines: Iterable[dict[str, Any]]) -> None:
    """No chunk is begun again after it was stored."""
    stored: set[str] = set()
    for line in lines:
        label = json.dumps({key: value for key, value in line.items() if key not in ("time", "event")})
        assert label not in stored
        if line["event"] == "stored":
            stored.add(label)


def check_progress(reports: list[Progress], generations: int) -> None:
    for before, after in itertools.pairwise(reports):
        if before.phase == after.phase:
            assert before.done <= after.done
        assert before.generation <= after.generation
        assert before.candidates <= after.candidates
        assert before.untrainable <= after.untrainable
        assert before.trainings <= after.trainings
        assert (before.best or 0.0) <= (after.best or 0.0)
    assert all(0 <= report.done <= 1 for report in reports)
    assert all(report.generations == generations for report in reports)
    assert reports[-1].done == 1
    assert reports[-1].phase == "done"


class Died(BaseException):
    """Stands for the end of a process."""


@contextmanager
def dying(patch: pytest.MonkeyPatch, writes: int) -> Iterator[list[int]]:
    """The process dies in place of one of the writes that begin a study; the yielded list says whether it did."""
    made, died = [0], list[int]()

    def mortal(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if made[0] == writes:
                died.append(writes)
                raise Died
            made[0] += 1
            return function(*arguments)

        return call

    def over(*_: object, **__: object) -> None:
        raise Died

    patch.setattr(Store, "write", mortal(Store.write))
    patch.setattr(agreement, "write_toml", mortal(write_toml))
    patch.setattr(Trainer, "train", over)
    with suppress(Died):
        yield died


def evolve_as_written(
    directory: Path,
    generations: int,
    objective: Callable[[Trained, Tensor, Tensor], Tensor] | None = None,
) -> Outcome:
    """Go on as the command line does: with the settings of study.toml, and the number of generations asked for."""
    document = read_toml(directory / "study.toml")
    document.pop("digest")
    settings = validated(EvolveSettings, document, "study.toml")
    search = settings.search.model_copy(update={"generations": generations})
    return evolve(directory, settings.model_copy(update={"search": search}), objective=objective)


ALL_CHANGED: dict[str, dict[str, Any]] = {
    "data": {
        "source": "some \"quoted\" \\ place/ö.npz", "train_size": 3, "validation_size": 4, "test_size": 5,
        "label_noise": 0.1, "split_seed": 6, "noise_seed": 10**20,
        "max_pixel": 0.5, "image_size": 32, "channels": 3, "kind": "tokens", "noise": "pairs",
        "target": "y", "drop": ["a", "b"], "categories": "ordinal", "missing": "impute",
        "split": "time", "groups": "g", "padding_id": 1,
    },
    "model": {"name": "a.b:c", "hidden": [3, 4, 5], "dropout": 0.25, "normalize": "none"},
    "recipe": {
        "optimizer": "adamw", "lr": 1e-7, "momentum": 0.1, "weight_decay": 1e-300, "epochs": 7, "steps": 8,
        "batch_size": 9, "schedule": "step", "milestones": [0.1, 1 / 3], "decay": 0.7, "clip": 2.5,
        "crop": 4, "flip": True, "cutout": 16, "mixup": 0.2, "cutmix": 1.0, "flooding": 0.1, "patience": 5,
        "precision": "bfloat16", "adversary": "pgd", "adversary_epsilon": 0.3, "adversary_steps": 3,
        "class_weight": [0.1, 1 / 3, 7.0], "sampling": "balanced",
    },
    "search": {
        "space": "taylor", "engine": "other", "depth": 6, "coefficients": 0.4, "order": 5, "knots": 3,
        "gain": "fixed", "scale": True, "known_first": True, "start": ["mse", "a.json"],
        "population": 7, "generations": 8, "sigma": 0.1 + 0.2, "lr_adapt": True, "invariant": "published",
        "untrainable": "redraw", "seed": -4,
    },
    "objective": {
        "metric": "weighted", "epsilon": 0.05, "gradient": "margin", "weight": 0.7, "record": ["balanced-accuracy"],
        "costs": [[0.0, 1.5], [2.0, 0.0]],
    },
    "run": {
        "training": "sequential", "replicates": 2, "partial": 0.5, "prune_at": 0.2, "tune": False, "finalists": 3,
        "finalist_seeds": 4, "chunk": 5, "device": "cuda:1",
    },
}  # fmt: skip


class TestSettings:
    @pytest.mark.usefixtures("other_engine")
    def test_round_trip_of_all_settings(self, tmp_path: Path) -> None:
        settings = validated(EvolveSettings, ALL_CHANGED, "the test")
        default = EvolveSettings().model_dump()
        for part, values in settings.model_dump().items():
            for key, value in values.items():
                assert value != default[part][key]
        write_toml(settings.model_dump(), tmp_path / "study.toml")
        again = validated(EvolveSettings, read_toml(tmp_path / "study.toml"), "study.toml")
        assert again == settings
        write_toml(again.model_dump(mode="json"), tmp_path / "again.toml")
        assert (tmp_path / "again.toml").read_bytes() == (tmp_path / "study.toml").read_bytes()

    def test_defaults_are_left_out_or_written(self, tmp_path: Path) -> None:
        write_toml(EvolveSettings().model_dump(), tmp_path / "study.toml")
        assert "sigma" not in (tmp_path / "study.toml").read_text()
        assert validated(EvolveSettings, read_toml(tmp_path / "study.toml"), "") == EvolveSettings()
        assert validated(EvolveSettings, {}, "") == EvolveSettings()

    @pytest.mark.parametrize(
        ("text", "key"),
        [
            ("[search]\npopulations = 3\n", "search.populations"),
            ("population = 3\n", "population"),
            ("[searching]\npopulation = 3\n", "searching"),
            ("[search.deep]\npopulation = 3\n", "search.deep"),
            ("[[search]]\npopulation = 3\n", "search"),
            ("search = 3\n", "search"),
            ("search = 1979-05-27\n", "search"),
            ("[search]\npopulation = '20'\n", "search.population"),
            ("[search]\npopulation = 20.0\n", "search.population"),
            ("[search]\npopulation = 20.5\n", "search.population"),
            ("[search]\npopulation = true\n", "search.population"),
            ("[search]\npopulation = [20]\n", "search.population"),
            ("[search]\npopulation = 1979-05-27\n", "search.population"),
            ("[search]\npopulation = 1\n", "search.population"),
            ("[search]\nsigma = nan\n", "search.sigma"),
            ("[search]\nsigma = -inf\n", "search.sigma"),
            ("[search]\nlr_adapt = 1\n", "search.lr_adapt"),
            ("[search]\nlr_adapt = 'true'\n", "search.lr_adapt"),
            ("[search]\nspace = 3\n", "search.space"),
            ("[data]\nsource = 1979-05-27\n", "data.source"),
            ("[data]\nsource = 07:32:00\n", "data.source"),
            ("[data]\nsource = 1979-05-27T07:32:00Z\n", "data.source"),
            ("[data]\nsource = true\n", "data.source"),
            ("[data]\nlabel_noise = 1.0\n", "data.label_noise"),
            ("[data]\nlabel_noise = nan\n", "data.label_noise"),
            ("[data]\ntrain_size = 0\n", "data.train_size"),
            ("[model]\nhidden = 'wide'\n", "model.hidden"),
            ("[model]\nhidden = [10, 0]\n", "model.hidden.1"),
            ("[model]\nhidden = 1979-05-27\n", "model.hidden"),
            ("[recipe]\nlr = inf\n", "recipe.lr"),
            ("[recipe]\nlr = nan\n", "recipe.lr"),
            ("[recipe]\nlr = 0\n", "recipe.lr"),
            ("[recipe]\nmomentum = nan\n", "recipe.momentum"),
            ("[recipe]\nschedule = 'linear'\n", "recipe.schedule"),
            ("[run]\ntraining = 'fast'\n", "run.training"),
            ("[run]\nchunk = 0\n", "run.chunk"),
        ],
    )
    def test_wrong(self, tmp_path: Path, text: str, key: str) -> None:
        path = tmp_path / "study.toml"
        path.write_text(text)
        with pytest.raises(InputError, match=re.escape(f"'{key}")) as caught:
            validated(EvolveSettings, read_toml(path), str(path))
        sentence = str(caught.value)
        assert sentence.startswith(str(path))
        assert "\n" not in sentence

    @pytest.mark.parametrize(
        "content",
        [
            b"[search\n",
            b"lr = \n",
            b"a = 1\na = 2\n",
            b"\xff\xfe",
            b"a = " + b"[" * 100_000,
            b"x = 2020-13-45\n",
            b"\x00",
        ],
    )
    def test_not_toml(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "study.toml"
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"study\.toml is not a TOML file"):
            read_toml(path)

    def test_no_file(self, tmp_path: Path) -> None:
        for path in (tmp_path / "absent.toml", tmp_path):
            with pytest.raises(InputError, match=r"cannot be read: .*; give the path of a file"):
                read_toml(path)

    def test_written_whole_or_not_at_all(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="cannot be written"):
            write_toml({"a": 1}, tmp_path / "absent" / "study.toml")
        (tmp_path / "study.toml").mkdir()
        with pytest.raises(InputError, match="cannot be written"):
            write_toml({"a": 1}, tmp_path / "study.toml")
        assert [path.name for path in tmp_path.iterdir()] == ["study.toml"]

    def test_differences(self) -> None:
        wanted = {"a": {"b": 1, "c": None}, "d": [1], "e": 0.5}
        assert settings_module.differences(wanted, wanted) == []
        stored = {"a": {"b": 2}, "d": [2], "f": 1, "e": 0.5}
        assert settings_module.differences(wanted, stored) == [("a.b", 1, 2), ("d", [1], [2]), ("f", None, 1)]
        assert settings_module.differences({"a": 1}, {"a": {"b": 2}}) == [("a", 1, {"b": 2})]


class TestMistakesInPython:
    SETTINGS = EvolveSettings.model_validate_json(
        '{"data": {"train_size": 60, "validation_size": 60}, "model": {"hidden": [4]}, "recipe": {"epochs": 1}, '
        '"search": {"population": 4, "generations": 1}, "run": {"finalists": 1, "finalist_seeds": 2, "tune": false, '
        '"training": "population"}}'
    )

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"source": "my.npz"}, "name data in the settings"),
            ({"objective": "accuracy"}, "name one in the settings"),
            ({"executor": "processed"}, r"no executor 'processed' \(did you mean processes\?\)"),
        ],
    )
    def test_names_where_objects_belong(self, arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=message):
            evolve(tmp_path / "study", self.SETTINGS, **arguments)
        assert not (tmp_path / "study").exists()

    def test_an_executor_of_a_comparison_that_there_is_not(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"no executor 'locals' \(did you mean local"):
            compare_losses(["gce:0.7"], self.SETTINGS, tmp_path / "new", executor="locals")
        assert not (tmp_path / "new").exists()

    def test_an_executor_by_name(self, tmp_path: Path) -> None:
        here, there = (evolve(tmp_path / name, self.SETTINGS, executor=name) for name in ("local", "processes"))
        assert here.loss == there.loss
