"""Distillation: what is left out, what it was worth, and what is written."""

import importlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from lossmith.analysis import Distillation, Plan, Row, Trial, acting_terms
from lossmith.analysis.distilling import _best, _difference, scaled_family, term_text
from lossmith.cli.tables import distillation_table
from lossmith.errors import InputError
from lossmith.losses import Loss, PowerLoss, Term, cross_entropy, find, load, mae, save
from lossmith.metrics import Difference
from lossmith.report import plot_distillation
from lossmith.study import DistillSettings, EvolveSettings, distill_loss, evolve
from lossmith.study.config import validated
from lossmith.training import Backend, Recipe

CLASSES = 3
PLAN = Plan(recipe=Recipe(), backend=Backend("mlp"))
QUICK = DistillSettings(
    seeds=3, tuning_seeds=1, tuning_finalists=1, tuning_finalist_seeds=1, tuning_epochs=2, margin=1.0
)
FLAGS = ["--seeds", "3", "--tuning-seeds", "1", "--tuning-finalists", "1", "--tuning-finalist-seeds", "1"]
FLAGS += ["--tuning-epochs", "2"]


def loss_of(terms: dict[tuple[float, int, int], float]) -> PowerLoss:
    coefficients = torch.tensor(list(terms.values()), dtype=torch.float64)
    return PowerLoss(tuple(Term(*term) for term in terms), coefficients, None, "mine")


WHOLE = loss_of({(0, 1, 1): 1.0, (2, 0, 0): 0.5, (1, 1, 0): 0.25, (1, 0, 0): 7.0, (0, 1, 0): 3.0, (3, 0, 0): 0.0})


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with data of three clouds, and a study of it."""
    monkeypatch.chdir(tmp_path)
    arrays: dict[str, Any] = {}
    for part, count, number in (("train", 120, 0), ("test", 60, 1)):
        rng, labels = np.random.default_rng(number), np.arange(count) % CLASSES
        arrays[f"x_{part}"] = (rng.normal(0, 1, (count, 4)) + 2 * np.eye(CLASSES, 4)[labels]).astype(np.float32)
        arrays[f"y_{part}"] = labels
    np.savez("clouds.npz", **arrays)
    return tmp_path


def settings() -> EvolveSettings:
    document = {
        "data": {"source": "clouds.npz"},
        "model": {"hidden": [3]},
        "recipe": {"epochs": 1, "batch_size": 40, "lr": 0.1},
        "search": {"population": 4, "generations": 1},
        "run": {"finalists": 1, "finalist_seeds": 2, "tune": False, "training": "population"},
    }
    return validated(EvolveSettings, document, None)


def trial(worth: Difference | None, validation: float, dropped: str = "h²") -> Trial:
    runs = [{"seed": 0, "validation": validation, "test": validation}] * 2
    row = Row("x", False, "", 0.1, 2, 2, 1, validation, WHOLE.to_json(), runs)
    return Trial(row, (dropped,), 2, worth)


class TestTerms:
    def test_what_reaches_no_gradient_goes_at_once(self) -> None:
        acting, idle = acting_terms(WHOLE)
        assert acting.terms == (Term(0, 1, 1), Term(2, 0, 0), Term(1, 1, 0))
        assert set(idle) == {"h", "y", "h³"}
        logits, targets = torch.randn(5, 4, dtype=torch.float64), torch.arange(5) % 4
        torch.testing.assert_close(acting.logit_gradient(logits, targets), WHOLE.logit_gradient(logits, targets))

    @pytest.mark.parametrize(
        ("loss", "said"),
        [
            (Loss.stack([mae(), cross_entropy()]), "is no sum of terms of one loss"),
            (find("nce", 3), "is no sum of terms of one loss"),
            (loss_of({(1, 0, 0): 2.0}), "has no term that reaches a gradient"),
        ],
    )
    def test_what_cannot_be_distilled(self, loss: Loss, said: str) -> None:
        with pytest.raises(InputError, match=said):
            acting_terms(loss)

    def test_all_coefficients_but_one_are_tuned(self) -> None:
        family = scaled_family(acting_terms(WHOLE)[0], "mine")
        assert [axis.name for axis in family.axes] == ["h²", "h y"]
        assert family.strengths((0, 0)) == (1, 1)
        built = family.build(family.strengths((1, -2)), CLASSES)
        assert isinstance(built, PowerLoss)
        assert built.coefficients.tolist() == [1, 1, 0.0625]
        assert not family.baseline

    def test_without_cross_entropy_the_largest_one_stays(self) -> None:
        family = scaled_family(loss_of({(2, 0, 0): 0.5, (1, 1, 0): -4.0}), "mine")
        assert [axis.name for axis in family.axes] == ["h²"]

    def test_names(self) -> None:
        assert [term_text(Term(*term)) for term in ((0, 1, 1), (0, 0, 1), (2, 1, 0))] == ["y log h", "log h", "h² y"]


class TestRule:
    """A trial is good enough if the interval ends at the margin or below; the best one of these is gone on with."""

    def test_the_best_of_the_good_ones(self) -> None:
        good = Difference(0.0, -0.01, 0.004, 0.5)
        trials = [
            trial(Difference(-0.1, -0.2, 0.02, 0.9), 0.99),
            trial(good, 0.7),
            trial(good, 0.8),
            trial(None, 0.9),
        ]
        assert _best(trials, 0.005, PLAN.deciding) == 2
        assert _best(trials, 0.001, PLAN.deciding) is None
        assert _best(trials, 0.004, PLAN.deciding) == 2

    def test_less_is_better(self) -> None:
        turned = replace(PLAN.deciding, name="nll", higher_is_better=False)
        difference = _difference([0.5, 0.6], [0.9, 1.0], turned)
        assert difference is not None
        assert difference.difference == pytest.approx(0.4)
        assert _difference([0.5, None], [0.9, 1.0], turned) is None

    def test_intervals_of_a_round_hold_together(self) -> None:
        one, several = (
            _difference([0.9, 0.8, 0.85], [0.7, 0.8, 0.75], PLAN.deciding, level) for level in (0.95, 1 - 0.05 / 6)
        )
        assert one is not None
        assert several is not None
        assert several.low < one.low < one.difference == several.difference < one.high < several.high


class TestStudies:
    def test_the_whole_way(self, place: Path) -> None:
        said: list[str] = []
        made = distill_loss(WHOLE, settings(), Path("d"), QUICK, report=lambda phase, _: said.append(phase))
        found = made.distillation
        # With a margin of 1, all terms but one go.
        assert [len(trials) for trials in found.rounds] == [3, 2]
        assert found.smallest.terms == 1
        assert repr(found) == f"Distillation(1 of 3 terms left, without {', '.join(found.smallest.dropped)})"
        assert made.loss.name == "distilled"
        assert load("d/distilled.json") == made.loss
        assert len(found.smallest.row.runs) == 3
        assert [row.name for row in found.tested] == ["all terms", "smallest"]
        assert found.tested[0].runs[0]["seed"] != found.whole.row.runs[0]["seed"]
        assert said[-1] == "final networks"
        document = json.loads(Path("d/distillation.json").read_text())
        assert document["whole"]["terms"] == 3
        assert document["taken"] == found.taken
        assert document["settings"]["data"]["source"] == "clouds.npz"
        assert document["data"]["wrong_labels"] == {"train": 0, "validation": 0}

    def test_a_margin_that_nothing_keeps(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("lossmith.analysis.distilling._best", lambda *_: None)
        made = distill_loss(WHOLE, settings(), Path("d"), QUICK)
        assert made.distillation.smallest.terms == 3
        assert repr(made.distillation) == "Distillation(3 of 3 terms left)"
        assert len(made.distillation.rounds) == 1
        assert len(made.distillation.tested) == 1

    def test_it_goes_on_where_it_was_stopped(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Stopped in the last round, and run again; and once more, with nothing left to train."""
        expected = distill_loss(WHOLE, settings(), Path("whole"), QUICK).distillation.to_json()

        def stop(phase: str, _: float) -> None:
            if phase.startswith("1 of 3"):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            distill_loss(WHOLE, settings(), Path("d"), QUICK, report=stop)
        assert not Path("d/distilled.json").exists()
        assert distill_loss(WHOLE, settings(), Path("d"), QUICK).distillation.to_json() == expected
        monkeypatch.setattr(importlib.import_module("lossmith.training.executors.base"), "run_job", None)
        assert distill_loss(WHOLE, settings(), Path("d"), QUICK).distillation.to_json() == expected

    def test_test_data_is_loaded_once_at_the_end(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        problem = importlib.import_module("lossmith.study.problem")
        phases, loaded, usual = list[str](), list[str](), problem.test_part

        def test_part(*arguments: Any) -> Any:
            loaded.append(phases[-1])
            return usual(*arguments)

        monkeypatch.setattr(problem, "test_part", test_part)
        distill_loss(WHOLE, settings(), Path("d"), QUICK, report=lambda phase, _: phases.append(phase))
        assert loaded == ["1 of 3 terms: distilling networks"]

    def test_other_data_is_refused(self, place: Path) -> None:
        with pytest.raises(InputError, match="is not the data that the loss was evolved on"):
            distill_loss(WHOLE, settings(), Path("d"), QUICK, digest="0" * 64)
        assert not Path("d").exists()


class TestCommand:
    @pytest.fixture
    def run(self, place: Path, command: Callable[..., tuple[str, str]]) -> Callable[..., tuple[str, str]]:
        return command

    def test_a_study(self, run: Callable[..., tuple[str, str]]) -> None:
        evolve("study", settings())
        out, err = run("distill", "study/best.json", *FLAGS, "--margin", "0.9")
        assert "Terms left out" in out
        assert "On test data, touched once in a run: the whole loss" in out
        assert "The loss:  study/distilled.json" in out
        assert Path("study/figures/distillation.png").stat().st_size > 5000
        assert "terms: tuning" in err
        assert (
            "distilled.json would be overwritten by what is left of it"
            in run("distill", "study/distilled.json", *FLAGS, code=2)[1]
        )
        assert "does not say what it was evolved on" not in out
        # It knows what it was evolved on, as best.json does.
        assert "recipe.lr = 0.1, not 0.5" in run("compare", "study/distilled.json", "--lr", "0.5", *FLAGS, code=2)[1]
        again = json.loads(run("distill", "study/best.json", *FLAGS, "--margin", "0.9", "--json")[0])
        assert again == {
            key: value
            for key, value in json.loads(Path("study/distillation.json").read_text()).items()
            if key not in ("digest", "settings", "data", "options")
        }

    def test_without_a_study_and_noise(self, run: Callable[..., tuple[str, str]]) -> None:
        save(WHOLE, "mine.json")
        words = ["--data", "clouds.npz", "--hidden", "3", "--epochs", "1", "--batch-size", "40", "--label-noise", "0.2"]
        out, _ = run("distill", "mine.json", *words, *FLAGS, "--margin", "0", "--out", "d", "--svg")
        assert "Without effect from the start: " in out
        assert "mine.json does not say what it was evolved on" in out
        assert "Of the validation labels, too, 20.8% are wrong" in out
        assert Path("d/figures/distillation.svg").exists()

    def test_less_is_better(self, run: Callable[..., tuple[str, str]]) -> None:
        evolve("study", settings())
        words = ["study/best.json", *FLAGS, "--margin", "9", "--metric", "nll"]
        out, err = run("distill", *words)
        assert "the search maximized accuracy; this comparison tunes and tests by nll" in err
        document = json.loads(Path("study/distillation.json").read_text())
        whole, left = (np.mean([one["test objective"] for one in row["runs"]]) for row in document["tested"])
        assert document["worth"]["difference"] == pytest.approx(left - whole)
        assert f"the whole one is better by {left - whole:+.4f}" in " ".join(out.split())

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ([], "no loss is given"),
            (["mse", "mae"], "2 losses are given; distill one"),
            (["nce", "--data", "clouds.npz", "--out", "d"], "is no sum of terms of one loss"),
            (["mse", "--data", "clouds.npz"], "no directory is given"),
            (["mse", "--data", "clouds.npz", "--out", "d", "--margin", "-1"], "--margin is wrong"),
            (["absent.json", "--data", "clouds.npz", "--out", "d"], "absent.json"),
        ],
    )
    def test_bad_input(self, run: Callable[..., tuple[str, str]], words: list[str], said: str) -> None:
        _, err = run("distill", *words, code=2)
        assert said in err
        assert err.count("\n") == 1
        assert not Path("d").exists()


class TestPicture:
    def drawn(self, rounds: list[list[Trial]], taken: list[int | None]) -> Figure:
        row = rounds[0][0].row
        found = Distillation(Trial(row, (), 3, None), rounds, taken, 0.005, [row], (), PLAN.deciding)
        assert distillation_table(found).row_count == sum(map(len, rounds))
        return plot_distillation(found)

    def test_far_ones_and_such_without_figures_are_told_at_the_edge(self) -> None:
        near, far = Difference(0.002, -0.01, 0.004, 0.5), Difference(0.5, 0.4, 0.6, 0.5)
        figure = self.drawn([[trial(near, 0.7), trial(far, 0.2), trial(None, 0.1), trial(near, 0.7)]], [0])
        (axes,) = figure.axes
        assert axes.get_xlim()[1] < 5
        assert {text.get_text() for text in axes.texts} == {"50 →", "not finite", " margin 0.5"}
        assert [label.get_text() for label in axes.get_yticklabels()] == ["2 terms, without h²"] * 4

    def test_nothing_has_figures(self) -> None:
        assert self.drawn([[trial(None, 0.1)]], [None]).axes
