"""What a user of studies reaches for: opening again, known losses, a start, a table, callbacks, optimize, threads."""

import builtins
import functools
import json
import logging
import operator
import re
import shutil
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lossmith
from lossmith.data import Source
from lossmith.errors import InputError
from lossmith.losses import Loss, find
from lossmith.losses.catalog import label_smoothing
from lossmith.search import SearchSettings, VectorSpace, build_space
from lossmith.study import Candidate, EvolveSettings, Result, Store, Study, evolve
from lossmith.study.function_settings import FunctionSettings, TrainSettings
from lossmith.study.nearest import nearest
from lossmith.training import executor

OLD = Path(__file__).parent / "data"
SMALL: dict[str, Any] = {"classes": 10, "population": 4, "generations": 3}


def away(loss: Loss) -> float:
    """A function of the loss alone: how far its slope at some logits is from a wished one."""
    logits = torch.tensor([[0.5, -0.25, 1.0, *[0.0] * 7]], dtype=torch.float64)
    return -float((loss.logit_gradient(logits, torch.tensor([0])) - 0.1).square().sum())


def sphere(candidate: Candidate) -> float:
    return -float(sum(x * x for x in candidate.genome))


def complete(study: Study, count: int | None = None, by: Callable[[Candidate], float] = sphere) -> list[Candidate]:
    """Tell so many candidates, or all that are left."""
    asked: list[Candidate] = []
    while len(asked) != count and (candidate := study.ask()) is not None:
        study.tell(candidate, by(candidate))
        asked.append(candidate)
    return asked


def rows(directory: Path) -> list[dict[str, Any]]:
    """What a study stores but the time that it took."""
    with Store(directory, readonly=True) as store:
        return [{**row, "seconds": 0.0} for row in store.candidates()]


def refused(call: Callable[[], object], *words: str) -> str:
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
    return str(caught.value)


class TestLoad:
    def test_the_settings_need_not_be_repeated(self, tmp_path: Path) -> None:
        with Study(tmp_path / "whole", **SMALL, space="canonical", sigma=0.3, seed=3) as study:
            complete(study)
        with Study(tmp_path / "parts", **SMALL, space="canonical", sigma=0.3, seed=3) as study:
            complete(study, 5)
        files = {name: (tmp_path / "parts" / name).read_bytes() for name in ("study.db", "study.toml")}
        with Study.load(tmp_path / "parts", readonly=True) as study:
            assert (study.classes, study.search.space, study.search.sigma) == (10, "canonical", 0.3)
            assert study.generation == 1
            assert not study.finished
            assert study.mean is not None
            assert study.best().genome in [row["genome"] for row in study.candidates()]
        assert {name: (tmp_path / "parts" / name).read_bytes() for name in files} == files
        with Study.load(str(tmp_path / "parts")) as study:
            assert len(complete(study)) == 7
            assert study.finished
        assert rows(tmp_path / "parts") == rows(tmp_path / "whole")

    def test_what_is_only_read_changes_nothing(self, tmp_path: Path) -> None:
        with Study(tmp_path, **SMALL) as writer:
            (candidate, *_) = complete(writer, 2)
            with Study.load(tmp_path, readonly=True) as study:
                assert study.best_value == max(row["fitness"] for row in rows(tmp_path))
                calls: list[Callable[[], object]] = [
                    study.ask,
                    lambda: study.tell(candidate, 1.0),
                    lambda: study.fail(candidate, ValueError()),
                    lambda: study.enqueue("cross-entropy"),
                    lambda: study.begin_with([]),
                    lambda: study.optimize(away),
                ]
                for call in calls:
                    refused(call, "was opened to be read only; open it by Study.load(directory) to go on")
            assert len(complete(writer)) == 10

    def test_longer(self, tmp_path: Path) -> None:
        with Study(tmp_path, **SMALL) as study:
            complete(study)
        refused(lambda: Study.load(tmp_path, generations=2), "has 3 generations already")
        refused(lambda: Study.load(tmp_path, generations=0), "generations")
        refused(lambda: Study.load(tmp_path, generations=9, readonly=True), "leave one of the two out")
        with Study.load(tmp_path, generations=4) as study:
            assert len(complete(study)) == 4
        assert tomllib.loads((tmp_path / "study.toml").read_text())["search"]["generations"] == 4
        with Study.load(tmp_path) as study:
            assert study.finished

    def test_where_there_is_none(self, tmp_path: Path) -> None:
        refused(lambda: Study.load(tmp_path / "nowhere"), "nowhere holds no study")
        assert not (tmp_path / "nowhere").exists()
        Store(tmp_path).close()
        for readonly in (False, True):
            refused(lambda readonly=readonly: Study.load(tmp_path, readonly=readonly), "holds no search")  # type: ignore[misc]

    def test_a_study_of_data(self, tmp_path: Path) -> None:
        inputs, targets = torch.randn(60, 2), torch.arange(60) % 3
        document = {
            "search": {"population": 2, "generations": 2},
            "recipe": {"epochs": 1},
            "model": {"hidden": [2]},
            "run": {"tune": False, "finalists": 1, "finalist_seeds": 2},
        }
        settings = EvolveSettings.model_validate(document)
        evolve(tmp_path, settings, Source.from_tensors(inputs, targets))
        before = rows(tmp_path)
        with Study.load(tmp_path, readonly=True) as study:
            assert study.classes == 3
            assert study.finished
            assert [study.loss_of(row).classes for row in study.candidates()] == [3] * 4
            assert study.best_loss == study.best().loss
        with Study.load(tmp_path, generations=3) as study:
            assert len(complete(study)) == 2
        assert rows(tmp_path)[:4] == before

    @pytest.mark.parametrize("place", ["schema-2/asked", "schema-4/asked", "version-0.1/short"])
    def test_of_an_older_version(self, tmp_path: Path, place: str) -> None:
        study = Path(shutil.copytree(OLD / place, tmp_path / "study"))
        before = rows(study)
        with Study.load(study, readonly=True) as opened:
            assert opened.classes == 10
            assert [{**row, "seconds": 0.0} for row in opened.candidates()] == before
        with Study.load(study) as opened:
            asked = opened.ask()
            assert (asked is None) == opened.finished
            assert rows(study)[: len(before)] == before

    def test_damaged_settings(self, tmp_path: Path) -> None:
        with Study(tmp_path, **SMALL) as study:
            document = study.store.setting("settings")
            study.store.set("settings", {**document, "search": {**document["search"], "space": "nowhere"}})
        refused(lambda: Study.load(tmp_path), "study.db", "space")
        with Store(tmp_path) as store:
            store.set("settings", {**document, "classes": "ten"})
        refused(lambda: Study.load(tmp_path), "whole number of classes")

    def test_one_whose_search_begins_with_what_is_still_to_be_tuned(self, tmp_path: Path) -> None:
        document = EvolveSettings.model_validate({"search": {"known_first": True}}).model_dump(mode="json")
        part = {
            "name": "clouds",
            "shape": [2],
            "classes": 3,
            "class_names": None,
            "train": 4,
            "validation": 4,
            "test": 4,
        }
        with Store(tmp_path) as store:
            store.set("settings", {**document, "digest": "0"})
            store.set("data", part)
        refused(lambda: Study.load(tmp_path), "has not tuned the known losses")
        with Study.load(tmp_path, readonly=True) as study:
            assert study.classes == 3
        with Store(tmp_path) as store:
            store.set("known losses", [])
        with Study.load(tmp_path) as study:
            assert study.ask() is not None

    def test_a_study_of_a_training_function(self, tmp_path: Path) -> None:
        settings = FunctionSettings(classes=4, train=TrainSettings(function="train", settings={"width": 3}))
        document = settings.model_dump(mode="json")
        with Study(tmp_path, 4, settings.search, document=document, defaults=document) as study:
            asked = study.ask()
            assert asked is not None
            study.tell(asked, 0.5)
        before = (tmp_path / "study.toml").read_bytes()
        with Study.load(tmp_path) as study:
            assert (study.classes, study.best_value) == (4, 0.5)
            assert study.ask() is not None
        assert (tmp_path / "study.toml").read_bytes() == before


class TestFirst:
    """Losses of the settings that a search tries first."""

    @pytest.mark.parametrize(
        ("engine", "space"),
        [
            ("cma", "residual"),
            ("cma", "taylor"),
            ("cma", "residual-schedule"),
            ("genetic", "expression"),
            ("genetic", "expression-residual"),
        ],
    )
    def test_any_engine_tries_them_first(self, tmp_path: Path, engine: str, space: str) -> None:
        place = tmp_path / "own.json"
        lossmith.save(lossmith.expression("y*log(h) + 2*h^2"), place)
        names = ("mse",) if space == "taylor" else (str(place), "label-smoothing:0.3")
        search = SearchSettings(engine=engine, space=space, start=names, population=4, generations=2, invariant="none")
        with Study(tmp_path / "study", 10, search) as study:
            asked = complete(study, len(names), lambda _: 0.5)
        logits, targets = torch.randn(5, 10, dtype=torch.float64), torch.arange(5)
        for candidate, name in zip(asked, names, strict=True):
            found = candidate.loss.at(0.3).logit_gradient(logits, targets)
            wanted = find(name, 10).logit_gradient(logits, targets)
            scale = (found * wanted).sum() / (found * found).sum()
            torch.testing.assert_close(scale * found, wanted, rtol=1e-6, atol=1e-7)

    def test_once_and_whatever_becomes_of_the_file(self, tmp_path: Path) -> None:
        place, stored = tmp_path / "own.json", list[Any]()
        for pause in (False, True):
            lossmith.save(label_smoothing(0.5, 10), place)
            search = SearchSettings(start=(str(place),), population=4, generations=3, seed=7)
            study = Study(tmp_path / str(pause), 10, search)
            for _ in range(12):
                if pause:
                    study.close()
                    place.unlink(missing_ok=True)
                    study = Study(tmp_path / str(pause), 10, search)
                complete(study, 1)
            study.close()
            stored.append(rows(tmp_path / str(pause)))
        assert stored[0] == stored[1]
        assert [row["genome"] for row in stored[0]].count(pytest.approx([1.0, 0.0, 0.0, 0.0, 0.0])) == 1

    def test_killed_before_they_were_queued(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        search = SearchSettings(start=("mse",), population=4, generations=3, invariant="none")
        monkeypatch.setattr(Study, "enqueue", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            Study(tmp_path, 10, search)
        monkeypatch.undo()
        with Study(tmp_path, 10, search) as study:
            found = complete(study)
        with Study(tmp_path / "whole", 10, search) as study:
            assert [one.genome for one in complete(study)] == [one.genome for one in found]

    def test_beside_known_losses_that_tuning_chooses(self, tmp_path: Path) -> None:
        search = SearchSettings(start=("mse", "label-smoothing:0.3"), population=4, generations=3, known_first=True)
        with Study(tmp_path, 10, search) as study:
            study.begin_with([[0.1] * 5, [0.2] * 5])
            asked = complete(study, 4)
        assert [one.genome for one in asked[:2]] == [[0.1] * 5, [0.2] * 5]
        assert len({str(one.genome) for one in asked}) == 4
        refused(
            lambda: Study(tmp_path / "full", 10, search.model_copy(update={"start": ("mse",) * 11})), "no place left"
        )

    @pytest.mark.parametrize(
        ("start", "more", "words"),
        [
            ("focl", {}, ["no loss 'focl' (did you mean focal"]),
            ("gone.json", {}, ["gone.json"]),
            ("baikal", {}, ["holds nothing that is near Baikal"]),
            (
                "focal",
                {"engine": "genetic", "depth": 3},
                ["give more depth if it is a formula, or search"],
            ),
        ],
    )
    def test_bad_ones_leave_nothing(self, tmp_path: Path, start: str, more: Any, words: list[str]) -> None:
        search = SearchSettings(**more, start=(start,), population=4, generations=3)
        said = refused(lambda: Study(tmp_path / "study", 10, search), *words)
        assert "project=True" not in said
        assert not (tmp_path / "study").exists()


class TestEnqueue:
    def test_losses_by_name_value_and_genome(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        genomes = [[0.0] * 5, [1.0, 0.0, 0.0, 0.0, 0.0], [3, 3, 1, 0, 0]]
        with caplog.at_level(logging.INFO, "lossmith"), Study(tmp_path, **SMALL) as study:
            assert study.enqueue("cross-entropy", label_smoothing(0.5, 10), genomes[2]) == 3
            asked = complete(study)
            assert [candidate.genome for candidate in asked[:3]] == [genomes[0], pytest.approx(genomes[1]), genomes[2]]
            # Up to the scale, which is said.
            half = label_smoothing(0.5, 10)
            logits, targets = torch.randn(5, 10), torch.arange(5)
            torch.testing.assert_close(
                asked[1].loss.logit_gradient(logits, targets) * 0.5, half.logit_gradient(logits, targets)
            )
        said = "up to its scale: what is tried is that loss divided by 0.5"
        assert sum(said in record.message for record in caplog.records) == 1

    def test_the_search_learns_from_them_and_is_replayed_exactly(self, tmp_path: Path) -> None:
        stored = []
        for pause in (False, True):
            directory = tmp_path / str(pause)
            study = Study(directory, **SMALL)
            assert study.enqueue("cross-entropy") == 1
            for number in range(12):
                if pause:
                    study.close()
                    study = Study.load(directory)
                if number == 2:
                    # In a generation that is begun: for the next one.
                    assert study.enqueue([1, 1, 0, 0, 0], [0, 1, 0, 0, 0]) == 2
                complete(study, 1)
            study.close()
            stored.append(rows(directory))
        assert stored[0] == stored[1]
        places = {(row["generation"], row["member"]): row["genome"] for row in stored[0]}
        assert places[0, 0] == [0.0] * 5
        assert [places[1, 0], places[1, 1]] == [[1, 1, 0, 0, 0], [0, 1, 0, 0, 0]]
        with Study(tmp_path / "plain", **SMALL) as study:
            complete(study)
        plain = rows(tmp_path / "plain")
        assert [row["genome"] for row in plain[1:4]] == [row["genome"] for row in stored[0][1:4]]
        assert plain[4:] != stored[0][4:]

    def test_twice_is_once(self, tmp_path: Path) -> None:
        for _ in range(2):
            with Study(tmp_path, **SMALL) as study:
                new = study.enqueue("cross-entropy", [0.0] * 5, "label-smoothing:0.1")
                complete(study, 5)
            assert new in (2, 0)
        assert new == 0
        assert [row["genome"] for row in rows(tmp_path)].count([0.0] * 5) == 1

    def test_after_a_look_at_the_search_and_while_some_are_out(self, tmp_path: Path) -> None:
        with Study(tmp_path, **SMALL) as study:
            assert study.generation == 0
            assert study.enqueue([1, 0, 0, 0, 0]) == 1
            first = study.ask()
            assert first is not None
            assert first.genome == [1, 0, 0, 0, 0]
            assert study.enqueue([2, 0, 0, 0, 0]) == 1
            rest = complete(study, 3)
            assert all(candidate.genome != first.genome for candidate in rest)
            study.tell(first, 1.0)
            following = study.ask()
            assert following is not None
            assert (following.generation, following.genome) == (1, [2, 0, 0, 0, 0])

    def test_more_than_a_generation(self, tmp_path: Path) -> None:
        with Study(tmp_path, **SMALL) as study:
            study.begin_with([[0.5] * 5])
            many = [[number / 8, 0, 0, 0, 0] for number in range(1, 7)]
            assert study.enqueue(*many) == 6
            refused(lambda: study.enqueue(*([number, 0, 0, 0, 0] for number in range(20))), "no place left for 15")
            asked = complete(study, 8)
        assert [candidate.genome for candidate in asked[:7]] == [[0.5] * 5, *many]

    def test_an_ended_search(self, tmp_path: Path) -> None:
        with Study(tmp_path, **SMALL) as study:
            complete(study)
            refused(lambda: study.enqueue("cross-entropy"), "give it more generations")

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ("focal:2", ["the space 'residual' holds no multiple of focal 2"]),
            ("focl", ["no loss 'focl' (did you mean focal"]),
            (label_smoothing(0.1, 7), ["is made for 7 classes, and the study has 10"]),
            ([1.0, 2.0], ["is no genome of the space 'residual'"]),
            ([float("nan")] * 5, ["is no genome"]),
            (3, ["is no genome"]),
            (Loss.stack([find("mse", 10), find("mse", 10)]), ["is a population of 2 losses"]),
        ],
    )
    def test_what_the_space_does_not_hold(self, tmp_path: Path, given: Any, words: list[str]) -> None:
        with Study(tmp_path, **SMALL) as study:
            refused(lambda: study.enqueue("cross-entropy", given), *words)
            assert study.store.setting("queued candidates") is None

    def test_the_nearest_stands_for_it(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "lossmith"), Study(tmp_path, **SMALL) as study:
            assert study.enqueue("focal:2", project=True) == 1
            (candidate,) = complete(study, 1)
        assert candidate.genome != [0.0] * 5
        said = re.search(r"does not hold focal 2: .* differ from its own by ([0-9.]+) %", caplog.text)
        assert said is not None
        # Nearer than cross-entropy, where the search of this space begins; both at the scale that suits best.
        logits = 2 * torch.randn(256, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        focal, near, plain = (
            loss.logit_gradient(logits, torch.arange(256) % 10).ravel()
            for loss in (find("focal:2", 10), candidate.loss, find("cross-entropy", 10))
        )
        away_from_focal = [
            float((focal - (focal @ one) / (one @ one) * one).norm() / focal.norm()) for one in (near, plain)
        ]
        assert away_from_focal[0] < away_from_focal[1] / 2
        assert away_from_focal[0] == pytest.approx(float(said[1]) / 100, rel=0.25)

    @pytest.mark.parametrize("space", ["residual", "canonical", "smoothed-mae"])
    def test_what_a_space_holds_is_nearest_to_itself(self, space: str) -> None:
        chosen = build_space(SearchSettings(space=space))
        assert isinstance(chosen, VectorSpace)
        point = [value + 0.25 for value in chosen.start]
        genome, factor, distance = nearest(chosen.build([point], 10)[0], chosen, 10)
        assert distance < 1e-6
        assert 0.1 <= factor <= 10
        if space != "canonical":
            assert genome == pytest.approx(point, abs=1e-4)

    def test_what_nothing_is_near_to(self, tmp_path: Path) -> None:
        with Study(tmp_path, **SMALL) as study:
            refused(lambda: study.enqueue("baikal", project=True), "nothing that is near Baikal", "gradients differ by")

    def test_what_is_untrainable_is_told(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "lossmith"), Study(tmp_path, **SMALL) as study:
            study.enqueue([0, 0, 0, 0, -40])
            assert "is untrainable by the exact form" in caplog.text
            complete(study, 3)
        assert [row["status"] for row in rows(tmp_path)[:1]] == ["untrainable"]

    def test_a_damaged_queue(self, tmp_path: Path) -> None:
        with Study(tmp_path, **SMALL) as study:
            study.enqueue("cross-entropy")
            study.store.set("queued candidates", {"0": [[1, 2]]})
        with Study.load(tmp_path) as study:
            refused(study.ask, "is damaged", "what its space does not hold")
            study.store.set("queued candidates", {"first": []})
        with Study.load(tmp_path) as study:
            refused(study.ask, "is damaged")


class TestStart:
    def test_the_first_mean_is_there(self, tmp_path: Path) -> None:
        point = [3, 3, 1, 0, 0]
        with Study(tmp_path, **SMALL, start=point) as study:
            assert study.mean_genome == point
            complete(study, 6)
            mean = study.mean_genome
        for start in (None, point):
            with Study(tmp_path, **SMALL, start=start) as study:
                assert study.mean_genome == mean
        with Study.load(tmp_path, readonly=True) as study:
            assert study.mean_genome == mean
        with Study(tmp_path / "usual", **SMALL) as study:
            complete(study, 4)
        assert [row["genome"] for row in rows(tmp_path / "usual")] != [row["genome"] for row in rows(tmp_path)[:4]]

    def test_a_loss_by_its_name(self, tmp_path: Path) -> None:
        with Study(tmp_path, **SMALL, start="label-smoothing:0.5") as study:
            assert study.mean_genome == pytest.approx([1, 0, 0, 0, 0])

    def test_the_usual_point_changes_nothing(self, tmp_path: Path) -> None:
        for name, start in (("usual", None), ("given", "cross-entropy")):
            with Study(tmp_path / name, **SMALL, start=start) as study:
                complete(study)
        assert rows(tmp_path / "usual") == rows(tmp_path / "given")

    def test_another_start(self, tmp_path: Path) -> None:
        with Study(tmp_path, **SMALL, start=[1, 0, 0, 0, 0]):
            pass
        sentence = refused(lambda: Study(tmp_path, **SMALL, start="cross-entropy"), "has started at [1, 0, 0, 0, 0]")
        assert "leave start out" in sentence
        with Study(tmp_path / "usual", **SMALL):
            pass
        refused(lambda: Study(tmp_path / "usual", **SMALL, start=[1, 0, 0, 0, 0]), "where its space says")

    @pytest.mark.parametrize("start", [(1, 0, 0, 0, 0), np.array([1.0, 0, 0, 0, 0]), torch.eye(5)[0]])
    def test_vectors_of_any_kind(self, tmp_path: Path, start: Any) -> None:
        with Study(tmp_path, **SMALL, start=start) as study:
            assert study.mean_genome == [1, 0, 0, 0, 0]

    def test_a_criterion(self, tmp_path: Path) -> None:
        with Study(tmp_path, **SMALL, start=lossmith.Criterion(find("cross-entropy", 10))) as study:
            assert study.mean_genome == [0] * 5

    @pytest.mark.parametrize("start", ["focal:2", "nothing", [1.0], 7, [1e300] * 5])
    def test_none_of_the_space(self, tmp_path: Path, start: Any) -> None:
        refused(lambda: Study(tmp_path / "study", **SMALL, start=start))
        assert not (tmp_path / "study").exists()


class TestBest:
    def test_value_and_loss(self, tmp_path: Path) -> None:
        with Study(tmp_path, **SMALL) as study:
            for name in ("best_value", "best_loss"):
                refused(functools.partial(operator.attrgetter(name), study), "no candidate", "has a fitness yet")
            asked = complete(study)
            assert study.best_value == max(map(sphere, asked))
            assert study.best_loss == max(asked, key=sphere).loss

    def test_a_table_needs_pandas(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        usual = builtins.__import__

        def without(name: str, *rest: Any) -> Any:
            if name == "pandas":
                raise ImportError
            return usual(name, *rest)

        monkeypatch.setattr(builtins, "__import__", without)
        with Study(tmp_path, **SMALL) as study:
            refused(lambda: study.trials, "pandas, which is not installed: pip install '.[tables]'", "candidates()")


class TestCallbacks:
    def test_each_trial_once_it_is_stored(self, tmp_path: Path) -> None:
        seen: list[tuple[Any, ...]] = []

        def note(study: Study, trial: Result) -> None:
            place = (trial.candidate.generation, trial.candidate.member)
            seen.append((*place, trial.status, trial.fitness, trial.error, len(study.candidates())))

        with Study(tmp_path, **SMALL, invariant="none", callbacks=[note]) as study:
            complete(study, 1)
            candidate = study.ask()
            assert candidate is not None
            study.fail(candidate, ValueError("why"))
            study.optimize(lambda _: 0.5, n_trials=1, callbacks=[note])
        assert [row[:3] for row in seen] == [(0, 0, "ok"), (0, 1, "failed"), (0, 2, "ok"), (0, 2, "ok")]
        assert [row[4] for row in seen] == [None, "ValueError: why", None, None]
        assert [row[5] for row in seen] == [1, 2, 3, 3]

    def test_one_that_raises_loses_nothing(self, tmp_path: Path) -> None:
        def broken(*_: Any) -> None:
            raise RuntimeError("full")

        with Study(tmp_path, **SMALL, callbacks=[broken]) as study:
            with pytest.raises(RuntimeError, match="full"):
                study.optimize(away)
            assert study.counts()["candidates"] == 1
            study.callbacks.clear()
            study.optimize(away)
            assert study.finished


class TestOptimize:
    def test_to_the_end(self, tmp_path: Path) -> None:
        with Study(tmp_path, **SMALL) as study:
            study.optimize(away)
            assert study.finished
            assert study.best_value == away(study.best_loss) or study.best_value == pytest.approx(away(study.best_loss))
            study.optimize(away)
        assert all(row["seconds"] > 0 for row in Store(tmp_path, readonly=True).candidates() if row["status"] == "ok")

    def test_so_many_trials(self, tmp_path: Path) -> None:
        with Study(tmp_path, **SMALL, invariant="none") as study:
            for expected in (3, 6, 9, 12, 12):
                study.optimize(away, n_trials=3)
                assert study.counts()["candidates"] == expected

    def test_figures(self, tmp_path: Path) -> None:
        with Study(tmp_path, **SMALL, invariant="none") as study:
            study.optimize(lambda loss: {"fitness": away(loss), "size": len(loss.formula())})
            assert all(row["figures"].keys() == {"size"} for row in study.candidates())
            assert study.pareto_front("fitness", "size")

    def test_the_time_is_over(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = iter(range(1000))
        monkeypatch.setattr("lossmith.study.optimizing.time.monotonic", lambda: next(clock))
        with Study(tmp_path, **SMALL, invariant="none") as study:
            study.optimize(away, timeout="4.5s")
            assert 0 < study.counts()["candidates"] < 4

    def test_what_raises_is_kept_or_ends_it(self, tmp_path: Path) -> None:
        def sometimes(loss: Loss) -> float:
            if (value := away(loss)) < -0.42:
                raise ValueError(f"too far: {value:.3f}")
            return value

        with Study(tmp_path, **SMALL, invariant="none", sigma=1.0) as study:
            study.optimize(sometimes)
            counts = study.counts()
            assert study.finished
            assert 0 < counts["failed"] < 12
        with Study(tmp_path / "other", **SMALL, sigma=1.0, invariant="none") as study:
            with pytest.raises(ValueError, match="too far"):
                study.optimize(sometimes, catch=(TypeError,))
            # It waits still, and is asked for again.
            assert study.counts()["failed"] == 0
            study.optimize(sometimes)
        assert rows(tmp_path / "other") == rows(tmp_path)

    def test_three_generations_alike(self, tmp_path: Path) -> None:
        def never(_: Loss) -> float:
            raise OSError("no network")

        with Study(tmp_path, classes=10, population=2, generations=5, invariant="none") as study:
            refused(lambda: study.optimize(never), "3 generations in a row", "OSError: no network")
            study.optimize(away)
            assert study.counts() | {"failed": 6, "candidates": 10} == study.counts()

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"n_trials": 0}, "n_trials is 0"),
            ({"n_trials": 2.5}, "n_trials is 2.5"),
            ({"timeout": -1}, "the time limit is -1"),
            ({"timeout": "soon"}, "the time limit is 'soon'"),
            ({"timeout": float("nan")}, "the time limit is nan"),
            ({"executor": "cluster"}, "cluster"),
            ({"executor": 3}, "the executor is 3"),
            ({"catch": 3}, "catch is 3"),
            ({"catch": (KeyboardInterrupt,)}, "catch is"),
            ({"callbacks": print}, "callbacks is"),
            ({"callbacks": [3]}, "callbacks is [3]"),
        ],
    )
    def test_no_budget(self, tmp_path: Path, options: dict[str, Any], words: str) -> None:
        with Study(tmp_path, **SMALL) as study:
            refused(lambda: study.optimize(away, **options), words)
            refused(lambda: study.optimize(3), "3 is none")  # type: ignore[arg-type]
            assert study.counts()["candidates"] == 0

    @pytest.mark.parametrize("value", ["good", None, {"accuracy": 0.5}, {"fitness": [1, 2]}, {"fitness": 1, "b": "c"}])
    def test_what_is_no_fitness(self, tmp_path: Path, value: Any) -> None:
        with Study(tmp_path, **SMALL, invariant="none") as study:
            refused(lambda: study.optimize(lambda _: value))
            assert study.counts()["candidates"] == 0
            study.optimize(away)
            assert study.finished


JUDGE = """
import torch

def judge(loss):
    logits = torch.tensor([[0.5, -0.25, 1.0, *[0.0] * 7]], dtype=torch.float64)
    value = -float((loss.logit_gradient(logits, torch.tensor([0])) - 0.1).square().sum())
    if value < -0.42:
        raise ValueError("too far")
    return {"fitness": value, "size": len(loss.formula())}
"""


class TestOtherProcesses:
    def test_what_is_stored_does_not_depend_on_who_ran_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "its_judge.py").write_text(JUDGE)
        monkeypatch.syspath_prepend(str(tmp_path))
        import its_judge  # type: ignore[import-not-found]

        options = {**SMALL, "sigma": 1.0, "generations": 2}
        with Study(tmp_path / "here", **options) as study:
            study.optimize(its_judge.judge)
        with executor("processes", 2) as workers:
            with Study(tmp_path / "there", **options) as study:
                study.optimize(its_judge.judge, n_trials=3, executor=workers)
                assert study.counts()["trainings"] + study.counts()["failed"] == 3
                study.optimize(its_judge.judge, executor=workers)
                assert study.finished
            with Study(tmp_path / "local", **SMALL) as study:
                refused(lambda: study.optimize(lambda _: 0.5, executor=workers), "the function cannot be handed to")
                assert study.ask() is not None
        assert rows(tmp_path / "here") == rows(tmp_path / "there")
        assert {row["status"] for row in rows(tmp_path / "here")} >= {"ok", "failed"}


class TestThreads:
    def test_each_is_asked_once_and_the_order_is_nothing(self, tmp_path: Path) -> None:
        asked: list[tuple[int, int]] = []

        def work(study: Study) -> None:
            while (candidate := study.ask(wait=True)) is not None:
                asked.append((candidate.generation, candidate.member))
                study.tell(candidate, sphere(candidate))

        options = {**SMALL, "population": 8, "generations": 6}
        with Study(tmp_path / "many", **options) as study:
            threads = [threading.Thread(target=work, args=(study,)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            assert not any(thread.is_alive() for thread in threads)
            assert study.finished
        with Study(tmp_path / "one", **options) as study:
            complete(study)
        assert rows(tmp_path / "many") == rows(tmp_path / "one")
        assert len(asked) == len(set(asked))

    def test_who_waits_is_woken(self, tmp_path: Path) -> None:
        said: list[str] = []

        def wait(study: Study) -> None:
            try:
                candidate = study.ask(wait=True)
                said.append(f"{candidate.generation}" if candidate else "over")
            except InputError as error:
                said.append(str(error))

        with Study(tmp_path, classes=10, population=2, generations=2, invariant="none") as study:
            first, second = study.ask(), study.ask()
            assert first is not None
            assert second is not None
            refused(study.ask, "all candidates of generation 0 are out", "ask(wait=True)")
            thread = threading.Thread(target=wait, args=(study,))
            thread.start()
            study.tell(first, 1.0)
            study.fail(second, ValueError())
            thread.join(60)
            assert said == ["1"]
            study.ask()
            waiting = threading.Thread(target=wait, args=(study,))
            waiting.start()
        waiting.join(60)
        assert said[1:] == [f"the study in {tmp_path} is closed; open it again to use it"]

    def test_one_that_gives_up_gives_back(self, tmp_path: Path) -> None:
        with Study(tmp_path, **SMALL) as study:
            candidates = [study.ask() for _ in range(4)]
            study.give_back([one for one in candidates[1:3] if one is not None])
            again = [study.ask(), study.ask()]
            assert [one and one.member for one in again] == [1, 2]
            refused(study.ask, "are out")


@pytest.mark.integration
class TestTable:
    def test_a_row_for_each_candidate(self, tmp_path: Path) -> None:
        with Study(tmp_path, **SMALL) as study:
            assert len(study.trials) == 0
            study.enqueue([0, 0, 0, 0, -40])
            study.optimize(lambda loss: {"fitness": away(loss), "size": 2.0, "member": 7.0}, n_trials=3)
            candidate = study.ask()
            assert candidate is not None
            study.fail(candidate, ValueError("why"))
            table, stored = study.trials, study.candidates()
        assert table["status"].tolist() == ["untrainable", "ok", "ok", "ok", "failed"]
        assert table["member"].tolist() == [0, 1, 2, 3, 0]
        assert table["error"].tolist()[-1] == "ValueError: why"
        assert table["size"].tolist()[1:4] == [2.0] * 3
        assert table["figures.member"].tolist()[1:4] == [7.0] * 3
        assert table[["x0", "x1", "x2", "x3", "x4"]].to_numpy().tolist() == [row["genome"] for row in stored]
        assert table["exact"].tolist() == [bool(row["exact"]) for row in stored]
        assert table["fitness"].idxmax() == max(range(1, 4), key=lambda number: stored[number]["fitness"])
        assert json.loads(table.to_json())["generation"]["4"] == 1

    def test_genomes_that_are_no_vectors(self) -> None:
        from lossmith.study.frame import frame

        row = {"generation": 0, "member": 0, "status": "ok", "fitness": 1.0, "error": None, "seconds": 0.0}
        row |= {"exact": 1, "published": 1, "redrawn": 0, "figures": {}}
        assert frame([{**row, "genome": {"loss": "mse"}}])["genome"].tolist() == [{"loss": "mse"}]


def test_the_names_are_those_of_the_package() -> None:
    assert lossmith.Study is Study
