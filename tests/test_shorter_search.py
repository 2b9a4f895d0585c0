"""Partial training and the drop of hopeless networks in a whole study: what is saved, recorded, and left as it was."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lossmith import InputError
from lossmith.cli import main
from lossmith.losses import GradientRule, load
from lossmith.report import summarize
from lossmith.search import build_space
from lossmith.seeds import derive
from lossmith.study import EvolveSettings, evolve
from lossmith.study.config import validated
from lossmith.study.pareto import figure_pair
from lossmith.study.problem import Problem
from lossmith.study.provenance import pruned_trainings
from lossmith.study.records import Result
from lossmith.study.store import Store
from lossmith.study.study import Study
from lossmith.training import Trained, accuracy, repeated, train
from lossmith.training.engines.population import PopulationRun
from lossmith.training.engines.sequential import SequentialRun


def settings_of(**changes: Any) -> EvolveSettings:
    """A space in which many candidates are hopeless, and none is rejected."""
    document: dict[str, dict[str, Any]] = {
        "data": {"train_size": 200, "validation_size": 200},
        "model": {"hidden": [8]},
        "recipe": {"epochs": 5, "lr": 0.1, "batch_size": 40},
        "search": {"population": 8, "generations": 2, "space": "taylor", "invariant": "none"},
        "run": {"training": "population", "finalists": 2, "finalist_seeds": 2, "tune": False, "replicates": 2},
    }
    for key, value in changes.items():
        part, name = key.split("__")
        document[part][name] = value
    return validated(EvolveSettings, document, "the test")


def rows(directory: Path) -> list[dict[str, Any]]:
    with Store(directory, readonly=True) as store:
        return store.candidates()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whole")
    evolve(directory, settings_of())
    return directory


class TestPruning:
    @pytest.mark.parametrize("backend", ["population", "sequential"])
    def test_the_first_generation_differs_in_those_given_up_only(
        self, tmp_path: Path, whole: Path, backend: str
    ) -> None:
        evolve(tmp_path, settings_of(run__prune_at=0.4, run__training=backend))
        before, after = ([row for row in rows(place) if row["generation"] == 0] for place in (whole, tmp_path))
        given_up = 0
        for mine, theirs in zip(after, before, strict=True):
            assert mine["genome"] == theirs["genome"]
            assert len(mine["figures"]["dropped"]) == 2
            for score, other, pruned in zip(mine["scores"], theirs["scores"], mine["figures"]["dropped"], strict=True):
                given_up += pruned == 1
                if pruned:
                    assert score <= 0.25
                else:
                    assert score == pytest.approx(other, abs=0.011)
            assert "dropped" not in theirs["figures"]
        assert given_up > 0

    def test_how_many_were_is_recorded(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        outcome = evolve(tmp_path, settings_of(run__prune_at=0.4))
        count = sum(sum(row["figures"].get("dropped", ())) for row in rows(tmp_path))
        assert count == pruned_trainings(rows(tmp_path)) > 0
        assert outcome.provenance["candidates"]["dropped trainings"] == count
        assert summarize(tmp_path)["dropped"] == count
        main(["show", str(tmp_path)])
        assert f"networks given up as hopeless: {count:.0f}" in capsys.readouterr().out

    def test_nothing_is_said_of_it_where_nothing_is_given_up(
        self, whole: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        document = json.loads((whole / "best.json").read_text())
        assert "dropped trainings" not in document["provenance"]["candidates"]
        main(["show", str(whole)])
        assert "hopeless" not in capsys.readouterr().out

    def test_it_is_no_figure_for_a_pareto_front(self, tmp_path: Path) -> None:
        evolve(tmp_path, settings_of(run__prune_at=0.4))
        assert figure_pair(rows(tmp_path)) is None
        assert not (tmp_path / "pareto.json").exists()

    def test_finalists_are_never_given_up(self, tmp_path: Path) -> None:
        evolve(tmp_path, settings_of(run__prune_at=0.4))
        with Store(tmp_path, readonly=True) as store:
            for row in store.finalists("final"):
                assert "dropped" not in row["figures"]

    def test_killed_between_chunks_and_resumed_like_uninterrupted(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        settings = settings_of(run__prune_at=0.4, run__chunk=6)
        evolve(tmp_path / "once", settings)
        record, done = Study.record, list[int]()

        def killed(study: Study, results: Iterable[Result]) -> None:
            record(study, results)
            done.append(1)
            if len(done) == 4:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Study, "record", killed)
            with pytest.raises(KeyboardInterrupt):
                evolve(tmp_path / "twice", settings)
        assert 8 < len(rows(tmp_path / "twice")) < 16
        evolve(tmp_path / "twice", settings)
        kept = [[{**row, "seconds": 0} for row in rows(tmp_path / name)] for name in ("once", "twice")]
        assert kept[0] == kept[1]
        assert load(tmp_path / "once" / "best.json") == load(tmp_path / "twice" / "best.json")

    @pytest.mark.parametrize("value", [0.0, 1.0, -0.1, float("nan")])
    def test_a_share_that_cannot_be(self, value: float) -> None:
        with pytest.raises(InputError, match=r"run\.prune_at"):
            settings_of(run__prune_at=value)


class TestPartial:
    @pytest.mark.usefixtures("without_program")
    @pytest.mark.parametrize(("backend", "run"), [("population", PopulationRun), ("sequential", SequentialRun)])
    def test_candidates_get_a_share_of_the_batches_and_finalists_all(
        self,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        backend: str,
        run: type[PopulationRun] | type[SequentialRun],
    ) -> None:
        lengths: dict[int, list[float]] = {}
        step = run.step

        def counted(one: Any) -> None:
            step(one)
            if one.recipe.schedule != "cosine":  # a step by which two backends are compared
                return
            lengths.setdefault(id(one), []).append(one.optimizer.param_groups[0]["lr"])
            kept.append(one)

        kept: list[object] = []
        monkeypatch.setattr(run, "step", counted)
        # What is measured to say how long it all takes is no training.
        monkeypatch.setattr("lossmith.study.trainings.step_seconds", lambda *_: 0.0)
        evolve(tmp_path, settings_of(run__partial=0.4, run__training=backend, recipe__schedule="cosine"))
        whole = whole_schedule()
        assert {len(rates) for rates in lengths.values()} == {10, 25}
        for rates in lengths.values():
            assert rates == pytest.approx(whole[: len(rates)])

    def test_the_share_of_one_is_the_whole(self, tmp_path: Path, whole: Path) -> None:
        evolve(tmp_path, settings_of(run__partial=1.0))
        assert (tmp_path / "best.json").read_bytes() == (whole / "best.json").read_bytes()


def whole_schedule() -> list[float]:
    recipe = settings_of(recipe__schedule="cosine").recipe
    return [recipe.rate(step, 25) for step in range(25)]


class TestEarlyStopping:
    def test_candidates_are_taken_at_their_best_epoch(self, tmp_path: Path) -> None:
        """With patience for all epochs, a score is the highest of the candidate's curve without early stopping."""
        settings = settings_of(recipe__patience=5)
        evolve(tmp_path, settings)
        job = Problem.open(settings)
        seeds = [derive(settings.search.seed, "search", 0, replicate) for replicate in range(2)]
        recipe = settings.recipe.model_copy(update={"patience": None})
        first = [row for row in rows(tmp_path) if row["generation"] == 0]
        genomes = [row["genome"] for row in first]
        losses = repeated(build_space(settings.search).build(genomes, job.classes), 2)
        curve = train(job.task, losses, seeds * len(first), recipe, monitor=job.validation).curve
        assert curve is not None
        best = curve.max(1).values.reshape(len(first), 2)
        assert not torch.equal(best, curve[:, -1].reshape(len(first), 2))
        for row, expected in zip(first, best.tolist(), strict=True):
            if row["status"] == "ok":
                assert row["scores"] == pytest.approx(expected, abs=0.011)


def test_augmentation_that_does_not_suit_is_found_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="crop = 9 pads images of 8×8 pixels"):
        evolve(tmp_path / "study", settings_of(recipe__crop=9))
    assert not (tmp_path / "study").exists()


def test_labels_are_mixed_in_every_training_of_a_study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    soft: list[bool] = []
    call = GradientRule.__call__

    def seen(rule: GradientRule, logits: Tensor, targets: Tensor) -> Tensor:
        soft.append(targets.is_floating_point() and bool((targets.amax(-1) < 1).any()))
        return call(rule, logits, targets)

    monkeypatch.setattr(GradientRule, "__call__", seen)
    evolve(tmp_path, settings_of(recipe__mixup=5.0, recipe__crop=1, recipe__flooding=0.05))
    assert len(soft) > 50
    assert all(soft)


def test_a_figure_of_ones_own_cannot_be_called_dropped(tmp_path: Path) -> None:
    def objective(trained: Trained, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        right = accuracy(trained.networks.logits(inputs), targets)
        return {"fitness": right, "dropped": right}

    with pytest.raises(InputError, match="the objective gave a figure called 'dropped', which a study keeps"):
        evolve(tmp_path, settings_of(), objective=objective)
