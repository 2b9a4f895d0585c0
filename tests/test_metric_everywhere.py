"""One metric through search, finalists, early stopping, pruning, comparison, tables, pictures and sentences."""

import importlib
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lossmith.analysis import (
    UNNAMED,
    Comparison,
    Deciding,
    Family,
    Guess,
    MetricObjective,
    ObjectiveSettings,
    Row,
    fixed,
    metric_of,
)
from lossmith.cli import tables
from lossmith.losses import Loss, cross_entropy, mse
from lossmith.metrics import METRICS, best_constant, own_metric
from lossmith.report import plot_history, plot_pareto, search_history, summarize
from lossmith.study import EvolveSettings, Problem, Store, evolve, judged_by, read_pareto, validated
from lossmith.study.finalists import Gain
from lossmith.training import Judge, Recipe, Trained, Trainer

LESS = Deciding.of(ObjectiveSettings(metric="nll"))
SHARE = Deciding.of(ObjectiveSettings(metric="balanced-accuracy"))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two clouds, of which one has an eighth of the samples."""
    monkeypatch.chdir(tmp_path)
    few = [Family("cross-entropy", (), lambda *_: cross_entropy()), fixed("MSE", mse(), baseline=True)]
    monkeypatch.setattr(importlib.import_module("lossmith.study.estimates"), "baselines", lambda: few)
    arrays: dict[str, Any] = {}
    for part, count, number in (("train", 160, 0), ("test", 80, 1)):
        rng, labels = np.random.default_rng(number), (np.arange(count) % 8 == 0).astype(int)
        arrays[f"x_{part}"] = (rng.normal(0, 1, (count, 3)) + 2 * np.eye(2, 3)[labels]).astype(np.float32)
        arrays[f"y_{part}"] = labels
    np.savez("clouds.npz", **arrays)


def tiny(metric: str = "accuracy", **parts: dict[str, Any]) -> EvolveSettings:
    document: dict[str, dict[str, Any]] = {
        "data": {"source": "clouds.npz", "train_size": 80, "validation_size": 80},
        "model": {"hidden": [4]},
        "recipe": {"epochs": 1, "batch_size": 20},
        "search": {"population": 4, "generations": 1},
        "objective": {"metric": metric},
        "run": {"training": "population", "finalists": 1, "finalist_seeds": 2, "tune": False},
    }
    return validated(EvolveSettings, {key: {**document[key], **parts.get(key, {})} for key in document}, "the test")


TARGETS = torch.tensor([0] * 5 + [1] * 3 + [2] * 2)


class TestBestConstant:
    """Five samples of class 0, three of class 1, two of class 2."""

    @pytest.mark.parametrize(
        ("metric", "value", "answer"),
        [
            ("accuracy", 0.5, 0),
            ("balanced-accuracy", 1 / 3, 0),
            ("macro-f1", 2 * 5 / 15 / 3, 0),
            ("auc", 0.5, 0),
            ("average-precision", 1 / 3, 0),
            ("nll", -(0.5 * math.log(0.5) + 0.3 * math.log(0.3) + 0.2 * math.log(0.2)), None),
            ("calibration-error", 0.0, None),
            ("expected-cost", 0.5, 0),
        ],
    )
    def test_of_every_metric(self, metric: str, value: float, answer: int | None) -> None:
        found = best_constant(METRICS[metric], TARGETS, 3)
        assert found is not None
        assert found.value == pytest.approx(value, abs=1e-9)
        assert found.answer == answer

    def test_costs_make_another_class_the_best(self) -> None:
        found = best_constant(
            metric_of("expected-cost", ((0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (9.0, 9.0, 0.0))), TARGETS, 3
        )
        assert found is not None
        assert found.answer == 2
        assert found.value == pytest.approx(0.8)
        assert found.text(("a", "b", "c")) == "always answering class c"

    def test_a_class_without_samples_and_one_of_ones_own(self) -> None:
        def share_of_three(targets: Any, predictions: Any) -> float:
            return float((predictions == 3).mean())

        found = best_constant(own_metric(share_of_three, higher_is_better=True), TARGETS, 4)
        assert found is not None
        assert (found.answer, found.value) == (3, 1.0)
        assert (
            best_constant(own_metric(lambda targets, predictions: math.nan, higher_is_better=True), TARGETS, 3) is None
        )
        nll = best_constant(METRICS["nll"], TARGETS, 5)
        assert nll is not None
        assert nll.text() == "giving every sample the shares of the classes as outputs"


class TestWhoLearnedNothing:
    @pytest.mark.parametrize("metric", ["accuracy", "balanced-accuracy", "macro-f1", "auc", "nll"])
    def test_the_winner_is_told(self, metric: str, caplog: pytest.LogCaptureFixture) -> None:
        """With a rate of nearly 0 nothing is learned."""
        with caplog.at_level(logging.WARNING, "lossmith"):
            evolve("blind", tiny(metric, recipe={"lr": 1e-12}))
        problem = Problem.open(tiny(metric))
        found = Deciding.of(ObjectiveSettings(metric=metric)).best_constant(problem.validation[1], 2)
        assert found is not None
        said = [text for text in caplog.messages if "nothing was learned" in text]
        value = summarize(Path("blind"))["finalists"]
        best = max(row["mean"] for row in value)
        sign = METRICS[metric].fitness(torch.tensor(1.0)).item()
        assert bool(said) == (sign * best * sign <= sign * found.value + 1e-9)
        if said:
            assert f"has a validation {metric} of " in said[0]
            assert f"{found.text()} gets {found.value:.4g}" in said[0]

    def test_a_rare_class_that_is_found_is_no_failure(self, caplog: pytest.LogCaptureFixture) -> None:
        """Balanced accuracy above that of a constant answer, accuracy below."""

        def found(trained: Trained, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
            count = len(trained.networks)
            return {"fitness": torch.full((count,), 0.8), "accuracy": torch.full((count,), 0.85)}

        deciding = importlib.import_module("lossmith.study.evolve")
        row = {"name": "candidate 2.0", "origin": {"kind": "candidate"}, "scores": [0.8]}
        row["figures"] = {"accuracy": [0.85], "balanced-accuracy": [0.8]}
        with caplog.at_level(logging.WARNING, "lossmith"):
            deciding._warn_of_chance(row, Problem.open(tiny()), SHARE)
            assert not caplog.messages
            deciding._warn_of_chance(row, Problem.open(tiny()), Deciding.of(ObjectiveSettings(), found))
        (said,) = caplog.messages
        assert "the winner, generation 3, candidate 1, has a validation accuracy of 0.85, and always " in said
        assert "answering class 0 gets 0.875" in said

    def test_rows_of_a_comparison(self) -> None:
        def row(name: str, *values: float) -> Row:
            runs = [
                {"seed": seed, "test objective": value, "validation objective": value}
                for seed, value in enumerate(values)
            ]
            return Row(name, True, "", 0.1, 1, 1, 1, 0.5, cross_entropy().to_json(), runs)

        rows = [row("sharp", 0.3, 0.4), row("dull", 0.6, 0.7), row("equal", 0.5, 0.5)]
        found = Comparison(rows, [], "sharp", LESS, guess=Guess("always answering class 0", 0.5))
        assert found.unlearned == ["dull", "equal"]
        text = tables.guess_text(found)
        assert text.startswith("Without learning: always answering class 0 gets a test nll of 0.5000. No better on av")
        assert text.endswith("average: dull, equal.\n")
        assert Comparison.from_json(found.to_json()).guess == found.guess
        assert "\nWithout learning: always answering class 0 gets a test nll of 0.5000. " in repr(found)
        assert tables.guess_text(Comparison(rows[:1], [], "sharp", LESS, guess=Guess("x", 0.5))).endswith(
            "Every loss is better on average.\n"
        )
        assert tables.guess_text(Comparison(rows, [], "sharp", LESS)) == ""

    def test_a_comparison_says_it(self, command: Callable[..., tuple[str, str]]) -> None:
        words = "--hidden 4 --epochs 1 --training population --seeds 2 --tuning-seeds 1 --tuning-epochs 1 --no-rival "
        words += "--tuning-finalists 1 --tuning-finalist-seeds 1 --data clouds.npz --out out --metric macro-f1"
        out, _ = command("compare", "mae", *words.split())
        always = torch.eye(2)[torch.zeros(80, dtype=torch.long)][None]
        wanted = METRICS["macro-f1"](always, (torch.arange(80) % 8 == 0).long())
        said = f"Without learning: always answering class 0 gets a test macro-f1 of {wanted.item():.4f}. "
        assert said in " ".join(out.split())
        assert f", always answering class 0 {wanted.item():.4f}" in str(summarize(Path("out"))["comparison"])


class TestStoppingAndPruning:
    def test_early_stopping_goes_by_the_metric(self) -> None:
        """The epoch whose networks are given has the best figure, whatever their accuracy is."""
        problem = Problem.open(tiny("nll"))
        recipe = Recipe(epochs=6, batch_size=20, lr=0.5, patience=6)
        losses, seeds = Loss.stack([cross_entropy(), mse()]), [0, 1]
        judge = LESS.judge(recipe)
        assert judge is not None
        held_out = problem.validation
        seen: list[Tensor] = []
        plain = recipe.model_copy(update={"patience": None})
        Trainer(problem.task).train(
            losses,
            seeds,
            plain,
            observe=lambda members, epoch, networks: seen.append(
                METRICS["nll"](networks.logits(held_out[0]), held_out[1])
            ),
        )
        best = torch.stack(seen[1:]).min(0).values
        stopped = Trainer(problem.task).train(losses, seeds, recipe, judge=judge)
        found = METRICS["nll"](stopped.networks.logits(held_out[0]), held_out[1])
        torch.testing.assert_close(found, best, rtol=1e-5, atol=1e-6)
        by_accuracy = Trainer(problem.task).train(losses, seeds, recipe)
        assert (METRICS["nll"](by_accuracy.networks.logits(held_out[0]), held_out[1]) > best + 1e-4).any()

    def test_pruning_goes_by_the_metric(self) -> None:
        """A network that always answers one class has no AUC above ½; the accuracy of others can be below that."""
        problem = Problem.open(tiny("auc"))

        def figure(trained: Trained, inputs: Tensor, targets: Tensor) -> Tensor:
            return torch.tensor([0.4, 0.5, 0.6], dtype=torch.float64)

        losses, recipe = Loss.stack([cross_entropy()] * 3), Recipe(epochs=2, batch_size=20)
        train = Trainer(problem.task).train
        pruned = train(losses, [0] * 3, recipe, prune_at=0.5, judge=Judge(figure, 0.5)).pruned
        assert pruned is not None
        assert pruned.tolist() == [True, True, False]
        unknown = train(losses, [0] * 3, recipe, prune_at=0.5, judge=Judge(figure)).pruned
        by_accuracy = train(losses, [0] * 3, recipe, prune_at=0.5).pruned
        assert unknown is not None
        assert by_accuracy is not None
        assert unknown.tolist() == by_accuracy.tolist()

    def test_who_judges(self) -> None:
        recipe, stopping = Recipe(), Recipe(patience=2)
        assert Deciding().judge(stopping, TARGETS, 3) is None
        assert LESS.judge(recipe) is None
        judge = LESS.judge(recipe, TARGETS, 3)
        assert judge is not None
        assert judge.chance == pytest.approx(-1.0297, abs=1e-4)
        own = Deciding.of(ObjectiveSettings(), lambda *_: torch.zeros(1)).judge(stopping, TARGETS, 3)
        assert own is not None
        assert own.chance is None

    def test_an_older_study_goes_on_by_accuracy(self, caplog: pytest.LogCaptureFixture) -> None:
        settings = tiny("macro-f1", recipe={"patience": 1, "epochs": 2})
        evolve("study", settings)
        with Store(Path("study")) as store:
            assert store.setting("objective") == {"function": None, "watched": True}
            store.set("objective", {"function": None})
        with caplog.at_level(logging.WARNING, "lossmith"):
            evolve("study", tiny("macro-f1", recipe={"patience": 1, "epochs": 2}, search={"generations": 2}))
        assert (
            "early stopping and pruning go by accuracy, as they did where the study in study began" in caplog.messages
        )


class TestNames:
    def test_a_study_says_what_it_is_judged_by(self) -> None:
        for metric in ("accuracy", "nll"):
            evolve(metric, tiny(metric))
            with Store(Path(metric), readonly=True) as store:
                assert judged_by(store) == Deciding.of(ObjectiveSettings(metric=metric))
                assert ("watched" in store.setting("objective")) == (metric != "accuracy")

        def cheap(targets: Any, predictions: Any) -> float:
            return float(predictions.mean())

        evolve("own", tiny(), objective=MetricObjective("cheap", own_metric(cheap, higher_is_better=False)))
        with Store(Path("own"), readonly=True) as store:
            assert judged_by(store) == Deciding("cheap()", higher_is_better=False, share=False)
            rows = [row for row in store.candidates() if row["status"] == "ok"]
        assert all(row["fitness"] == -row["figures"]["cheap"][0] for row in rows)

    def test_without_a_study_of_commands(self, tmp_path: Path) -> None:
        with Store(tmp_path) as store:
            assert judged_by(store) == UNNAMED
            store.set("settings", {"classes": 3, "search": {"population": 2, "generations": 1}})
            assert judged_by(store) == UNNAMED

    def test_the_finalists_are_shown_in_its_direction(self) -> None:
        rows = [
            {
                "name": "a",
                "status": "ok",
                "mean": -0.5,
                "std": 0.1,
                "n": 2,
                "figures": {"nll": {"mean": 0.5, "std": 0.1}},
            },
            {"name": "b", "status": "ok", "mean": -0.25, "std": 0.1, "n": 2, "figures": {}},
        ]
        table = tables.finalists_table(rows, LESS)
        columns = {str(column.header): list(column.cells) for column in table.columns}
        assert columns == {
            "loss": ["b", "a"],
            "validation nll": ["0.2500 ± 0.1000", "0.5000 ± 0.1000"],
            "n": ["2", "2"],
        }
        assert "validation fitness" in [str(column.header) for column in tables.finalists_table(rows).columns]

    @pytest.mark.parametrize(
        ("by", "axis", "label", "height"),
        [
            (UNNAMED, "fitness on validation data", "cross-entropy: 0.500", 0.5),
            (SHARE, "validation balanced-accuracy, %", "cross-entropy: 50.0 %", 50.0),
            (LESS, "validation nll", "cross-entropy: -0.500", -0.5),
        ],
    )
    def test_the_history_is_drawn_in_its_unit(self, by: Deciding, axis: str, label: str, height: float) -> None:
        rows = [{"generation": 0, "fitness": value} for value in (0.5, 0.25)]
        finalists = [{"name": "cross-entropy", "mean": 0.5, "origin": {"kind": "cross-entropy"}}]
        (axes,) = plot_history(search_history(rows, finalists), by).axes
        assert axes.get_ylabel() == axis
        assert [text.get_text() for text in axes.texts] == [label]
        drawn = {line.get_label(): np.asarray(line.get_ydata()).tolist() for line in axes.lines}
        assert drawn["best of the generation"] == [height]

    def test_a_front_of_a_metric_that_is_not_registered(self) -> None:
        by = Deciding("mine.py:cost", higher_is_better=False, share=True)
        (axes,) = plot_pareto([(0.5, 0.2), (0.6, 0.4)], [(0.5, 0.2)], {}, ("accuracy", "mine.py:cost"), by).axes
        assert axes.get_ylabel() == "mine.py:cost on validation data, %"
        Path("mine.py").write_text("def cost(targets, predictions):\n    return (predictions == 0).mean()\n")
        evolve("study", tiny("mine.py:cost", search={"generations": 2}))
        document = read_pareto(Path("study"))
        assert document["figures"] == ["accuracy", "mine.py:cost"]
        assert document["metric"] == {"name": "mine.py:cost", "higher_is_better": False, "share": False}
        points = {tuple(pair) for pair in document["candidates"]}
        for row in document["front"]:
            first, second = row["figures"].values()
            assert not any(a >= first and b <= second and (a, b) != (first, second) for a, b in points)

    def test_what_is_said_of_the_gain(self) -> None:
        def row(kind: str, *scores: float) -> dict[str, Any]:
            return {"name": kind, "origin": {"kind": kind}, "mean": float(np.mean(scores)), "scores": list(scores)}

        ahead = Gain.of([row("candidate", -0.2, -0.21), row("cross-entropy", -0.5, -0.51)], LESS)
        assert ahead is not None
        assert (
            "ahead of the best known loss, cross-entropy, by 0.3 (standard error 0.0071) in nll on the"
            in ahead.sentence
        )
        behind = Gain.of([row("candidate", -0.6, -0.6), row("cross-entropy", -0.5, -0.5)], LESS)
        assert behind is not None
        assert "cross-entropy has a validation nll of 0.5, the best that was found 0.6; the known" in behind.sentence
