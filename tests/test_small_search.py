"""Searches with few trainings: where they begin, who has the last word, and that begun ones go on as they began."""

import importlib
import logging
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lossmith.errors import InputError
from lossmith.io import read_toml
from lossmith.search import SearchSettings
from lossmith.study import (
    EvolveSettings,
    FunctionSettings,
    Progress,
    Store,
    Study,
    TrainFunction,
    evolve,
    evolve_function,
)
from lossmith.study.beginnings import START
from lossmith.study.config import RunSettings
from lossmith.study.function_settings import StageSettings, TrainSettings
from lossmith.study.small import is_small, known_loss, small_beginning

small: Any = importlib.import_module("lossmith.study.small")
PLAIN = RunSettings(tune=False)


def tiny(**search: Any) -> EvolveSettings:
    document = {
        "data": {"train_size": 60, "validation_size": 60},
        "model": {"hidden": [4]},
        "recipe": {"epochs": 1},
        "search": {"population": 4, "generations": 2, "seed": 3, **search},
        "run": {"finalists": 1, "finalist_seeds": 2, "tune": False, "training": "mlp"},
    }
    return EvolveSettings.model_validate(document, strict=False)


def genomes(directory: Path) -> list[list[float]]:
    with Store(directory, readonly=True) as store:
        return [row["genome"] for row in store.candidates()]


def asked(directory: Path, **options: Any) -> list[list[float]]:
    """The first generation of a study by ask and tell."""
    with Study(directory, 10, population=4, generations=2, seed=3, **options) as study:
        return [candidate.genome for candidate in study.pending()]


class TestBeginning:
    @pytest.mark.parametrize(
        ("search", "run", "is_one"),
        [
            ({"population": 8, "generations": 6}, {}, True),
            ({"population": 20, "generations": 5}, {}, True),
            ({"population": 8, "generations": 13}, {}, False),
            ({"population": 8, "generations": 6}, {"replicates": 2}, True),
            ({"population": 8, "generations": 6}, {"replicates": 3}, False),
            ({"population": 8, "generations": 6}, {"tune": True}, False),
            ({"population": 8, "generations": 6, "sigma": 0.5}, {}, False),
            ({"population": 8, "generations": 6, "scale": True}, {}, False),
            ({"population": 8, "generations": 6, "space": "taylor"}, {}, False),
            ({"population": 8, "generations": 6, "space": "noise-robust"}, {}, True),
            ({}, {}, False),
        ],
    )
    def test_which_searches_are_small(self, search: dict[str, Any], run: dict[str, Any], is_one: bool) -> None:
        settings = SearchSettings(**search), RunSettings(**{"tune": False, **run})
        assert is_small(*settings) == is_one

    @pytest.mark.parametrize("classes", [2, 10, 1000])
    def test_it_starts_at_the_known_loss(self, tmp_path: Path, classes: int) -> None:
        search, start = small_beginning(tmp_path, SearchSettings(population=8, generations=6), PLAIN, classes)
        assert search.sigma == 1.0
        alpha = 1 / (1 + math.exp(-1))
        assert start == pytest.approx([alpha / (1 - alpha), 8 / (classes * (1 - alpha)), 0, 0, 0], abs=1e-12)
        assert known_loss(classes).classes in (None, classes)

    def test_in_the_space_for_noisy_labels_it_starts_at_the_same_loss(self, tmp_path: Path) -> None:
        given = SearchSettings(population=8, generations=6, space="noise-robust")
        search, start = small_beginning(tmp_path, given, PLAIN, 10)
        (_, plain) = small_beginning(tmp_path, SearchSettings(population=8, generations=6), PLAIN, 10)
        assert search.sigma == 0.5
        assert plain is not None
        assert start == [*plain, *[0.0] * 8]

    def test_it_is_what_the_experiment_chose(self, experiment: Callable[[str], ModuleType]) -> None:
        methods = experiment("few_methods")
        assert (small.KNOWN, small.STEPS["residual"]) == (methods.START, 1.0)
        assert max(methods.BUDGETS) <= small.MOST


class TestEvolve:
    def test_a_small_search_begins_as_a_study_that_is_told_so(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        evolve(tmp_path / "new", tiny())
        told = asked(tmp_path / "told", sigma=1.0, start=known_loss(10))
        assert genomes(tmp_path / "new")[:4] == told
        assert read_toml(tmp_path / "new" / "study.toml")["search"]["sigma"] == 1.0
        assert caplog.text.count("a search this short starts at label smoothing + Σh²") == 1

    def test_a_step_of_ones_own_wins(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        evolve(tmp_path / "own", tiny(sigma=0.5))
        assert genomes(tmp_path / "own")[:4] == asked(tmp_path / "told", sigma=0.5) == asked(tmp_path / "usual")
        assert "a search this short" not in caplog.text

    def test_stopped_it_goes_on_as_it_began(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)

        def stop(progress: Progress) -> None:
            if progress.candidates >= 4:
                raise KeyboardInterrupt

        evolve(tmp_path / "whole", tiny())
        with pytest.raises(KeyboardInterrupt):
            evolve(tmp_path / "parts", tiny(), report=stop)
        caplog.clear()
        evolve(tmp_path / "parts", tiny())
        assert genomes(tmp_path / "parts") == genomes(tmp_path / "whole")
        assert "a search this short" not in caplog.text
        for name in ("whole", "parts"):
            # Longer than small, and with no word of a step.
            evolve(tmp_path / name, tiny(generations=30))
        assert len(genomes(tmp_path / "whole")) == 120
        assert genomes(tmp_path / "parts") == genomes(tmp_path / "whole")

    @pytest.mark.parametrize("other", [{"space": "taylor"}, {"space": "noise-robust", "sigma": 0.5}])
    def test_the_start_of_another_space_is_none(self, tmp_path: Path, other: dict[str, Any]) -> None:
        with Store(tmp_path) as store:
            store.set(START, small_beginning(tmp_path / "other", tiny().search, PLAIN, 10)[1])
        assert small_beginning(tmp_path, SearchSettings(**other), PLAIN, 10)[1] is None

    @pytest.mark.parametrize("how", [{}, {"sigma": 1.0}])
    def test_killed_before_its_settings_were_stored_it_begins_again(self, tmp_path: Path, how: dict[str, Any]) -> None:
        evolve(tmp_path / "whole", tiny())
        killed = tmp_path / "killed"
        killed.mkdir()
        with Store(killed) as store:
            store.set(START, small_beginning(tmp_path, tiny().search, PLAIN, 10)[1])
        evolve(killed, tiny(**how))
        assert genomes(killed) == genomes(tmp_path / "whole")

    def test_an_older_study_goes_on_as_it_began(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as before:
            before.setattr(small, "MOST", 0)
            evolve(tmp_path / "whole", tiny(generations=3))
            evolve(tmp_path / "older", tiny())
        evolve(tmp_path / "older", tiny(generations=3))
        assert genomes(tmp_path / "older") == genomes(tmp_path / "whole")
        assert "sigma" not in read_toml(tmp_path / "older" / "study.toml")["search"]

    @pytest.mark.parametrize("settings", [{}, [1], {"search": 3}, {"search": {"population": 4, "generations": 2}}])
    def test_damaged_settings_are_told(self, tmp_path: Path, settings: Any) -> None:
        evolve(tmp_path, tiny())
        with Store(tmp_path) as store:
            store.set("settings", settings)
        with pytest.raises(InputError, match=r"is damaged|was changed after|has "):
            evolve(tmp_path, tiny())

    def test_a_damaged_step_is_told(self, tmp_path: Path) -> None:
        evolve(tmp_path, tiny())
        with Store(tmp_path) as store:
            settings = store.setting("settings")
            store.set("settings", {**settings, "search": {**settings["search"], "sigma": "wide"}})
        with pytest.raises(InputError, match=r"study.db: the setting 'sigma' is wrong"):
            evolve(tmp_path, tiny())

    def test_a_start_of_another_space_is_another_configuration(self, tmp_path: Path) -> None:
        evolve(tmp_path, tiny())
        with pytest.raises(InputError, match=r"has search.space = 'residual', not 'taylor'"):
            evolve(tmp_path, tiny(space="taylor"))
        with Store(tmp_path) as store:
            store.set(START, [1.0])
        with pytest.raises(InputError, match="starts at what its space does not hold"):
            evolve(tmp_path, tiny())

    def test_a_study_of_a_training_function(self, tmp_path: Path) -> None:
        run = StageSettings(tune=False, finalists=1, finalist_seeds=2)
        train = TrainSettings(function="score")
        settings = FunctionSettings(classes=10, train=train, search=tiny().search, run=run)
        function = TrainFunction.of(score)
        evolve_function(tmp_path / "new", function, settings)
        told = asked(tmp_path / "told", sigma=1.0, start=known_loss(10))
        assert genomes(tmp_path / "new")[:4] == told
        # Said again, it is done.
        evolve_function(tmp_path / "new", function, settings)


def score(criterion: Any, seed: int) -> float:
    return float(seed % 7)
