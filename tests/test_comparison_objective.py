"""Comparisons by the objective of a search: losses are tuned for it, ranked by it and tested on it, and it is told."""

import dataclasses
import importlib
import json
import logging
import math
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lossmith.analysis import (
    Comparison,
    Deciding,
    Family,
    MetricObjective,
    ObjectiveSettings,
    Plan,
    Row,
    fixed,
)
from lossmith.analysis.judging import concluded
from lossmith.cli import main, tables
from lossmith.losses import cross_entropy, mae, mse
from lossmith.metrics import METRICS, holm, welch
from lossmith.report import plot_comparison, summarize
from lossmith.study import CompareSettings, EvolveSettings, compare_losses, evolve, validated
from lossmith.training import Backend, Trained, Trainer

comparison: Any = importlib.import_module("lossmith.study.comparison")
OPTIONS = CompareSettings(
    seeds=3, tuning_seeds=1, tuning_finalists=1, tuning_finalist_seeds=1, tuning_epochs=2, rival=False
)
NO_MORE = ("--tuning-finalist-seeds", "1", "--no-rival")
QUICK = ("--seeds", "2", "--tuning-seeds", "1", "--tuning-epochs", "1", "--tuning-finalists", "1", *NO_MORE)
BASELINES = [Family("cross-entropy", (), lambda *_: cross_entropy()), fixed("MSE", mse(), baseline=True)]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two baselines instead of all, since a test trains them all."""
    monkeypatch.setattr("lossmith.study.estimates.baselines", lambda: list(BASELINES))


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    """Two clouds, of which one has an eighth of the samples."""
    arrays: dict[str, Any] = {}
    for part, count, number in (("train", 160, 0), ("test", 80, 1)):
        rng, labels = np.random.default_rng(number), (np.arange(count) % 8 == 0).astype(int)
        arrays[f"x_{part}"] = (rng.normal(0, 1, (count, 3)) + np.eye(2, 3)[labels]).astype(np.float32)
        arrays[f"y_{part}"] = labels
    np.savez(tmp_path / "clouds.npz", **arrays)
    return tmp_path / "clouds.npz"


def tiny(place: Path, **objective: Any) -> EvolveSettings:
    document: dict[str, Any] = {
        "data": {"source": str(place), "train_size": 80, "validation_size": 80},
        "model": {"hidden": [4]},
        "recipe": {"epochs": 1, "batch_size": 20},
        "search": {"population": 4, "generations": 1},
        "objective": objective,
        "run": {"training": "population", "finalists": 1, "finalist_seeds": 2, "tune": False},
    }
    return validated(EvolveSettings, document, "the test")


def rows_of(**figures: Sequence[float | None]) -> list[Row]:
    """Rows whose networks have some figures on validation and on test data; a name with a capital is no baseline."""
    return [
        Row(
            name,
            name.islower(),
            "",
            0.1,
            1,
            1,
            5,
            0.5,
            cross_entropy().to_json(),
            [
                {
                    "seed": seed,
                    "validation": 0.5,
                    "test": 0.25,
                    "validation objective": value,
                    "test objective": value,
                    "nll": 1.0,
                    "ece": 0.1,
                    "temperature": 1.0,
                    "nll_scaled": 1.0,
                    "ece_scaled": 0.1,
                }
                for seed, value in enumerate(values)
            ],
        )
        for name, values in figures.items()
    ]


LESS = Deciding.of(ObjectiveSettings(metric="nll"))


class TestCompareLosses:
    @pytest.mark.parametrize("metric", ["balanced-accuracy", "nll"])
    def test_losses_are_tuned_ranked_and_tested_by_it(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, npz: Path, metric: str
    ) -> None:
        tuned, inner = [0], Trainer.train

        def train(trainer: Trainer, *arguments: Any, **named: Any) -> Trained:
            trained = inner(trainer, *arguments, **named)
            if named["monitor"] is not None:
                inputs, targets = named["monitor"]
                assert trained.curve is not None
                wanted = METRICS[metric].fitness(METRICS[metric](trained.networks.logits(inputs), targets))
                torch.testing.assert_close(trained.curve[:, -1], wanted, rtol=0, atol=0)
                tuned[0] += 1
            return trained

        monkeypatch.setattr(Trainer, "train", train)
        result = compare_losses({"mine": mae()}, tiny(npz, metric=metric), tmp_path / "out", OPTIONS)
        assert tuned[0] > 2
        direction = 1 if METRICS[metric].higher_is_better else -1
        heights = [direction * row.mean("validation objective") for row in result.rows]
        assert heights == sorted(heights, reverse=True)
        assert result.best_baseline == next(row.name for row in result.rows if row.baseline)
        for row in result.rows:
            assert row.tuning is not None
            assert 0 <= min(row.column("test")) <= max(row.column("test")) <= 1
            assert row.column("test objective") != row.column("test")
        results = []
        for pair in result.pairs:
            first, second = (result.row(name).column("test objective") for name in (pair.first, pair.second))
            assert pair.result.difference == pytest.approx(np.mean(first) - np.mean(second))
            assert pair.result == welch(first, second, METRICS[metric].higher_is_better)
            assert (pair.result.p < 0.5) == (direction * pair.result.difference > 0)
            results.append(pair.result.p)
        assert [pair.holm for pair in result.pairs] == holm(results)

    def test_the_objective_is_in_the_record_and_read_again(self, tmp_path: Path, npz: Path) -> None:
        result = compare_losses({"mine": mae()}, tiny(npz, metric="nll"), tmp_path, OPTIONS)
        document = json.loads((tmp_path / "comparison.json").read_text())
        assert document["objective"] == {"name": "nll", "higher_is_better": False, "share": False}
        assert document["settings"]["objective"]["metric"] == "nll"
        assert Comparison.from_json(document) == result

    def test_another_objective_is_another_comparison_and_the_same_one_is_found_again(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, npz: Path
    ) -> None:
        first = compare_losses({"mine": mae()}, tiny(npz), tmp_path, OPTIONS)
        other = compare_losses({"mine": mae()}, tiny(npz, metric="balanced-accuracy"), tmp_path, OPTIONS)
        assert (first.deciding.name, other.deciding.name) == ("accuracy", "balanced-accuracy")
        monkeypatch.setattr(Trainer, "train", None)
        assert compare_losses({"mine": mae()}, tiny(npz), tmp_path, OPTIONS).to_json() == first.to_json()
        again = compare_losses({"mine": mae()}, tiny(npz, metric="balanced-accuracy"), tmp_path, OPTIONS)
        assert again.to_json() == other.to_json()

    def test_the_rival_searches_for_it_in_a_directory_of_its_own(self, tmp_path: Path, npz: Path) -> None:
        options = OPTIONS.model_copy(update={"rival": True, "effort": "thorough"})
        compare_losses({"mine": mae()}, tiny(npz, record=["nll"]), tmp_path, options)
        result = compare_losses({"mine": mae()}, tiny(npz, metric="nll"), tmp_path, options)
        assert result.row(comparison.RIVAL).baseline
        settings = [summarize(tmp_path / name)["settings"]["objective"] for name in ("rival", "rival-nll")]
        assert [one["metric"] for one in settings] == ["accuracy", "nll"]
        assert settings[0] == ObjectiveSettings().model_dump(mode="json")

    def test_robust_accuracy_with_the_strength_of_the_search(self, tmp_path: Path) -> None:
        """A strength of 0 gives the accuracy itself."""
        labels = np.arange(60) % 2
        images = np.clip(
            np.random.default_rng(0).normal(0.4, 0.2, (60, 1, 4, 4)) + 0.2 * labels[:, None, None, None], 0, 1
        )
        place = tmp_path / "images.npz"
        np.savez(place, x_train=images.astype(np.float32), y_train=labels)
        data = {"source": str(place), "max_pixel": 1.0}
        for epsilon in (0.0, 0.1):
            settings = tiny(place, metric="robust-accuracy", epsilon=epsilon).model_dump(mode="json")
            wanted = validated(EvolveSettings, {**settings, "data": data}, "the test")
            result = compare_losses({"mine": mae()}, wanted, tmp_path / "out", OPTIONS)
            assert result.deciding.name == "robust-accuracy"
            robust, plain = (
                [run[name] for row in result.rows for run in row.runs] for name in ("test objective", "test")
            )
            assert (robust == plain) == (epsilon == 0)
            assert all(one <= other for one, other in zip(robust, plain, strict=True))

    def test_a_function_from_python(self, tmp_path: Path, npz: Path, caplog: pytest.LogCaptureFixture) -> None:
        """It decides where it is given, and what decides instead is said where it is not."""

        def least(trained: Trained, inputs: Tensor, targets: Tensor) -> Tensor:
            return -METRICS["nll"](trained.networks.logits(inputs), targets)

        evolve(tmp_path / "study", tiny(npz), objective=least)
        caplog.clear()
        name = "TestCompareLosses.test_a_function_from_python.<locals>.least"
        with caplog.at_level(logging.WARNING, "lossmith"):
            result = compare_losses({"mine": mae()}, tiny(npz), tmp_path / "study", OPTIONS, objective=least)
            assert not caplog.messages
            other = compare_losses({"mine": mae()}, tiny(npz), tmp_path / "study", OPTIONS)
        assert result.deciding.name == f"{name}()"
        assert max(result.row("mine").column("test objective")) < 0
        assert other.deciding.name == "accuracy"
        (said,) = caplog.messages
        assert f"the search maximized {name}, a function from Python; this comparison tunes and tests by acc" in said

    def test_the_command_tells_of_a_function_in_another_directory(
        self, tmp_path: Path, npz: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        evolve(tmp_path / "study", tiny(npz), objective=MetricObjective("nll"))
        with caplog.at_level(logging.WARNING, "lossmith"):
            main(["compare", str(tmp_path / "study" / "best.json"), "--out", str(tmp_path / "out"), *QUICK, "--quiet"])
        assert sum("the search maximized nll, a function from Python" in text for text in caplog.messages) == 1


class TestDeciding:
    def test_stored_results_are_found_by_what_has_an_effect_on_it(self) -> None:
        settings = EvolveSettings()
        plan = Plan(recipe=settings.recipe, backend=Backend("population"))

        def digest(**objective: Any) -> str:
            deciding = Deciding.of(ObjectiveSettings(**objective))
            found: str = comparison.comparison_digest("0" * 64, settings, dataclasses.replace(plan, deciding=deciding))
            return found

        assert digest() == digest(epsilon=0.3) == digest(record=("nll",)) == "c84aa2a893590d0b"
        wanted: list[dict[str, Any]] = [
            {"metric": "nll"},
            {"metric": "balanced-accuracy"},
            {"metric": "robust-accuracy"},
            {"metric": "robust-accuracy", "epsilon": 0.2},
            {"metric": "weighted"},
            {"metric": "weighted", "weight": 0.1},
        ]
        assert len({digest(**one) for one in (*wanted, {})}) == len(wanted) + 1
        assert digest(metric="nll", epsilon=0.3) == digest(metric="nll")

    @pytest.mark.parametrize("metric", ["nll", "robust-accuracy", "weighted"])
    def test_workers_can_be_given_it(self, metric: str) -> None:
        deciding = Deciding.of(ObjectiveSettings(metric=metric))
        assert pickle.loads(pickle.dumps(deciding.fitness)).__self__ == deciding  # noqa: S301

    def test_a_function_called_accuracy_is_not_accuracy(self) -> None:
        def accuracy(*_: Any) -> Tensor:
            return torch.zeros(1)

        accuracy.__qualname__ = "accuracy"
        deciding = Deciding.of(ObjectiveSettings(), accuracy)
        assert deciding != Deciding()
        assert deciding.column("test") != "test"

    def test_a_record_of_an_older_version_is_of_accuracy(self) -> None:
        document = concluded(rows_of(first=[0.5, 0.6], Mine=[0.5, 0.7]), Deciding()).to_json()
        del document["objective"]
        assert Comparison.from_json(document).deciding == Deciding()


class TestConcluded:
    def test_less_is_better(self) -> None:
        found = concluded(rows_of(first=[2.0, 2.1, 2.2], second=[1.0, 1.1, 1.3], Mine=[0.4, 0.5, 0.7]), LESS)
        assert [row.name for row in found.rows] == ["Mine", "second", "first"]
        assert found.best_baseline == "second"
        for pair in found.pairs:
            assert pair.result.low < pair.result.difference < pair.result.high < 0
            assert pair.holm < 0.05

    @pytest.mark.parametrize(
        ("mine", "said"),
        [
            ([1.5, 1.6], " It is ahead of Mine there: take it, or search on."),
            ([1.0, 1.2], ""),
            ([0.4, 0.5], ""),
            ([None, 0.1], " It is ahead of Mine there: take it, or search on."),
        ],
    )
    def test_a_baseline_that_is_ahead_is_told(self, mine: list[float | None], said: str) -> None:
        found = concluded(rows_of(first=[2.0, 2.1], second=[1.0, 1.2], Mine=mine), LESS)
        assert found.best_baseline == "second"
        assert tables.leading_text(found) == said

    def test_without_a_loss_of_ones_own_nothing_is_ahead(self) -> None:
        assert tables.leading_text(concluded(rows_of(first=[2.0, 2.1], second=[1.0, 1.2]), LESS)) == ""

    def test_a_figure_that_is_not_finite_ranks_last_and_has_no_test(self) -> None:
        rows = rows_of(first=[2.0, 2.1], second=[None, 0.1], third=[1.0, 1.2], Mine=[0.4, 0.5])
        found = concluded(rows, LESS)
        assert [row.name for row in found.rows] == ["Mine", "third", "first", "second"]
        assert found.best_baseline == "third"
        assert {(pair.first, pair.second) for pair in found.pairs} == {
            ("third", "first"),
            ("Mine", "first"),
            ("Mine", "third"),
        }
        assert math.isnan(found.row("second").mean("test objective"))
        assert tables.untested_text(found) == " No tests of second: a network's nll is not finite."
        json.dumps(found.to_json(), allow_nan=False)
        (axes,) = plot_comparison(found).axes
        assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "third", "Mine"]

    def test_no_figure_at_all_can_still_be_drawn(self) -> None:
        (axes,) = plot_comparison(concluded(rows_of(first=[None, None], Mine=[None, 1.0]), LESS)).axes
        assert not axes.get_yticklabels()

    @pytest.mark.parametrize("wide", [True, False])
    def test_what_is_shown_says_which_figure_decides(self, wide: bool) -> None:
        found = concluded(rows_of(**{"cross-entropy": [2.0, 2.1], "Mine": [0.4, 0.5]}), LESS)
        table = tables.worth_tables(found, wide)[0]
        assert str(table.title).startswith("Test nll")
        columns = {str(column.header): list(column.cells) for column in table.columns}
        assert columns["test"] == ["0.4500 ± 0.0707", "2.0500 ± 0.0707"]
        assert columns["test accuracy"] == ["0.2500 ± 0.0000", "0.2500 ± 0.0000"]
        assert "nll decides, of which less is better" in tables.decided_text(found)
        less = tables.tests_tables(found, wide)[0].columns[1]
        assert str(next(iter(less.cells))).startswith("-1.6000 [")
        (axes,) = plot_comparison(found).axes
        assert axes.get_xlabel() == "test nll (each dot is one of 2 networks)"

    def test_accuracy_is_not_said_to_decide(self) -> None:
        assert tables.decided_text(concluded(rows_of(first=[1.0, 2.0], Mine=[1.0, 2.0]), Deciding())) == ""


class TestCommand:
    @pytest.fixture
    def run(self, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
        def call(*words: Any) -> str:
            main([str(word) for word in words])
            return capsys.readouterr().out

        return call

    def test_a_study_brings_its_objective(self, run: Callable[..., str], tmp_path: Path, npz: Path) -> None:
        study = tmp_path / "study"
        evolve(study, tiny(npz, metric="balanced-accuracy"))
        printed = run("compare", study / "best.json", *QUICK)
        assert "balanced-accuracy decides, of which more is better" in " ".join(printed.split())
        assert "test balanced-accuracy: " in str(summarize(study)["comparison"])
        assert json.loads(run("compare", study / "best.json", *QUICK, "--json"))["objective"]["share"]

    def test_another_one_than_that_of_the_search_is_told(
        self, run: Callable[..., str], tmp_path: Path, npz: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        study = tmp_path / "study"
        evolve(study, tiny(npz, metric="balanced-accuracy"))
        with caplog.at_level(logging.WARNING, "lossmith"):
            run("compare", study / "best.json", *QUICK, "--metric", "nll")
        assert "the search maximized balanced-accuracy; this comparison tunes and tests by nll" in caplog.text
        assert "test nll: " in str(summarize(study)["comparison"])

    def test_a_loss_by_name_is_compared_by_a_flag(self, run: Callable[..., str], tmp_path: Path, npz: Path) -> None:
        words = ("--data", npz, "--hidden", "4", "--epochs", "1", "--training", "population", "--out", tmp_path / "out")
        run("compare", "gce:0.7", *words, *QUICK, "--metric", "calibration-error")
        document = json.loads((tmp_path / "out" / "comparison.json").read_text())
        assert document["objective"]["name"] == "calibration-error"

    def test_a_flag_without_effect(self, capsys: pytest.CaptureFixture[str], npz: Path, tmp_path: Path) -> None:
        with pytest.raises(SystemExit) as ended:
            main(["compare", "mae", "--data", str(npz), "--out", str(tmp_path / "out"), "--epsilon", "0.3"])
        assert ended.value.code == 2
        assert "--epsilon has no effect here" in capsys.readouterr().err
