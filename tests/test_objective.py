"""Objectives of the search, the figures that are recorded, and their front."""

import itertools
import json
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lossmith.analysis import (
    MetricObjective,
    ObjectiveSettings,
    Recording,
    RobustAccuracy,
    Weighted,
    figures,
    objective_name,
)
from lossmith.analysis.adversarial import fgsm_correct
from lossmith.data import DataSettings, Normalize, Source, open_source, search_parts
from lossmith.errors import InputError
from lossmith.losses import Loss, baikal, cross_entropy, load, mse
from lossmith.nets import ModelSettings, network_factory
from lossmith.study import EvolveSettings, Study, evolve
from lossmith.study.config import validated
from lossmith.study.pareto import export_pareto, figure_pair, mean_figure, pareto_front, read_pareto
from lossmith.study.store import Store
from lossmith.training import Recipe, Task, Trained, train
from lossmith.training import accuracy as share_of_right

accuracy, balanced_accuracy = MetricObjective("accuracy"), MetricObjective("balanced-accuracy")


@pytest.fixture(scope="module")
def parts() -> tuple[Trained, Tensor, Tensor]:
    found = search_parts(open_source("digits"), DataSettings(train_size=300, validation_size=120))
    factory = network_factory(
        ModelSettings(hidden=(16,)), Normalize.fit(found.train.inputs), found.train.inputs.shape[1:], 10
    )
    task = Task(factory, found.train.inputs, found.train.targets, 10, 16.0)
    losses = Loss.stack([cross_entropy(), mse(), baikal()])
    trained = train(task, losses, [1, 1, 1], Recipe(epochs=3))
    return trained, found.validation.inputs, found.validation.targets


class TestObjectives:
    def test_accuracy(self, parts: tuple[Trained, Tensor, Tensor]) -> None:
        trained, inputs, targets = parts
        found = figures(accuracy(*parts))
        assert torch.equal(found["fitness"], share_of_right(trained.networks.logits(inputs), targets))
        assert torch.equal(found["accuracy"], found["fitness"])

    def test_balanced_accuracy_by_hand(self, parts: tuple[Trained, Tensor, Tensor]) -> None:
        trained, inputs, targets = parts
        rows = torch.cat([torch.arange(60), (targets == 3).nonzero().squeeze(1)])
        rows = rows[targets[rows] != 7]
        x, y = inputs[rows], targets[rows]
        answers = trained.networks.logits(x).argmax(-1)
        classes = sorted(set(y.tolist()))
        assert 7 not in classes
        wanted = torch.stack([(answers[:, y == one] == one).double().mean(1) for one in classes]).mean(0)
        torch.testing.assert_close(figures(balanced_accuracy(trained, x, y))["fitness"], wanted)

    def test_balanced_accuracy_is_not_fooled_by_the_largest_class(self) -> None:
        class Always:
            def logits(self, inputs: Tensor) -> Tensor:
                return torch.tensor([1.0, 0.0]).expand(1, len(inputs), 2)

        trained: Any = type("Made", (), {"networks": Always()})
        targets = torch.tensor([0] * 9 + [1])
        assert figures(balanced_accuracy(trained, torch.zeros(10, 1), targets))["fitness"].item() == 0.5

    @pytest.mark.parametrize("gradient", ["worst", "loss", "cross-entropy", "margin"])
    def test_robust_accuracy(self, parts: tuple[Trained, Tensor, Tensor], gradient: str) -> None:
        trained, inputs, targets = parts
        value = figures(RobustAccuracy(0.1, gradient)(*parts))["robust-accuracy"]
        names = ("loss", "cross-entropy", "margin") if gradient == "worst" else (gradient,)
        _, survived, _ = fgsm_correct(trained.networks, trained.losses, inputs, targets, [0.1], 16.0, names)
        assert torch.equal(value, survived[0].all(0).double().mean(-1))
        clean = figures(accuracy(*parts))["fitness"]
        assert (value < clean - 0.1).all()
        torch.testing.assert_close(figures(RobustAccuracy(0.0, gradient)(*parts))["fitness"], clean, rtol=0, atol=0)

    def test_weighted(self, parts: tuple[Trained, Tensor, Tensor]) -> None:
        both = figures(Weighted(accuracy, RobustAccuracy(0.1), 0.25)(*parts))
        assert both.keys() == {"fitness", "accuracy", "robust-accuracy"}
        torch.testing.assert_close(both["fitness"], 0.75 * both["accuracy"] + 0.25 * both["robust-accuracy"])

    def test_recording_has_no_say(self, parts: tuple[Trained, Tensor, Tensor]) -> None:
        found = figures(Recording(accuracy, (balanced_accuracy,))(*parts))
        assert found.keys() == {"fitness", "accuracy", "balanced-accuracy"}
        assert torch.equal(found["fitness"], found["accuracy"])

    @pytest.mark.parametrize(
        ("settings", "names"),
        [
            ({}, {"accuracy"}),
            ({"metric": "balanced-accuracy"}, {"accuracy", "balanced-accuracy"}),
            ({"metric": "robust-accuracy"}, {"accuracy", "robust-accuracy"}),
            ({"metric": "weighted"}, {"accuracy", "robust-accuracy"}),
            ({"record": ["robust-accuracy"]}, {"accuracy", "robust-accuracy"}),
            ({"metric": "weighted", "record": ["accuracy", "balanced-accuracy"]},
             {"accuracy", "robust-accuracy", "balanced-accuracy"}),
        ],
    )  # fmt: skip
    def test_what_the_settings_record(
        self, parts: tuple[Trained, Tensor, Tensor], settings: dict[str, Any], names: set[str]
    ) -> None:
        found = figures(validated(ObjectiveSettings, settings, "the test").build()(*parts))
        assert found.keys() == {"fitness", *names}
        key = settings.get("metric", "accuracy")
        if key != "weighted":
            assert torch.equal(found["fitness"], found[key])

    @pytest.mark.parametrize(
        ("objective", "name"),
        [
            (accuracy, "accuracy"),
            (balanced_accuracy, "balanced_accuracy"),
            (RobustAccuracy(0.1), "robust_accuracy(0.1, worst)"),
            (Weighted(accuracy, RobustAccuracy(0.05, "loss"), 0.3),
             "weighted(accuracy, robust_accuracy(0.05, loss), 0.3)"),
            (Recording(accuracy, (balanced_accuracy,)), "recording(accuracy, balanced_accuracy)"),
            (ObjectiveSettings(metric="weighted", record=("balanced-accuracy",)).build(),
             "recording(weighted(accuracy, robust_accuracy(0.1, worst), 0.5), balanced_accuracy)"),
        ],
    )  # fmt: skip
    def test_pickled_and_named(self, parts: tuple[Trained, Tensor, Tensor], objective: Any, name: str) -> None:
        again = pickle.loads(pickle.dumps(objective))  # noqa: S301
        assert again == objective
        assert objective_name(again) == name
        first, second = figures(objective(*parts)), figures(again(*parts))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)

    def test_no_images(self, parts: tuple[Trained, Tensor, Tensor]) -> None:
        trained, inputs, targets = parts
        blind = Trained(trained.networks, trained.diverged, None, trained.losses)
        with pytest.raises(InputError, match="robust accuracy needs images with pixels in"):
            RobustAccuracy(0.1)(blind, inputs, targets)

    @pytest.mark.parametrize(
        ("make", "sentence"),
        [
            (lambda: RobustAccuracy(-0.1), "epsilon is -0.1"),
            (lambda: RobustAccuracy(0.1, "steepest"), "there is no gradient 'steepest'; give worst, loss"),
            (lambda: Weighted(accuracy, accuracy, 1.5), "the weight is 1.5"),
            (lambda: figures({"accuracy": torch.ones(1)}), 'gave accuracy; one of its figures must be "fitness"'),
        ],
    )
    def test_bad_input(self, make: Any, sentence: str) -> None:
        with pytest.raises(InputError, match=sentence):
            make()


def rows_of(points: list[tuple[float, float]]) -> list[dict[str, Any]]:
    return [
        {
            "generation": place // 4,
            "member": place % 4,
            "status": "ok",
            "scores": [first],
            "figures": {"accuracy": [first], "robust-accuracy": [second]},
        }
        for place, (first, second) in enumerate(points)
    ]


class TestPareto:
    @given(st.lists(st.tuples(*[st.integers(0, 6).map(float)] * 2), min_size=1, max_size=25))
    def test_against_the_definition(self, points: list[tuple[float, float]]) -> None:
        def dominated(one: tuple[float, float]) -> bool:
            return any(all(a >= b for a, b in zip(other, one, strict=True)) and other != one for other in points)

        found = pareto_front(rows_of(points), "accuracy", "robust-accuracy")
        assert [row["means"] for row in found] == sorted({one for one in points if not dominated(one)})
        for row in found:
            first = points.index(row["means"])
            assert (row["generation"], row["member"]) == (first // 4, first % 4)

    def test_a_metric_of_which_less_is_better(self) -> None:
        rows = rows_of([(0.5, 0.2), (0.6, 0.3), (0.6, 0.4), (0.4, 0.3)])
        for row in rows:
            row["figures"]["nll"] = row["figures"].pop("robust-accuracy")
        assert [row["means"] for row in pareto_front(rows, "accuracy", "nll")] == [(0.5, 0.2), (0.6, 0.3)]
        assert [row["means"] for row in pareto_front(rows, "nll", "accuracy")] == [(0.3, 0.6), (0.2, 0.5)]

    def test_what_is_no_candidate(self) -> None:
        rows = rows_of([(0.5, 0.5), (0.9, 0.9)])
        rows[1] |= {"status": "diverged", "figures": {}}
        assert [row["means"] for row in pareto_front(rows, "accuracy", "robust-accuracy")] == [(0.5, 0.5)]
        assert [row["means"] for row in pareto_front(rows, "fitness", "robust-accuracy")] == [(0.5, 0.5)]
        with pytest.raises(InputError, match="no figure 'speed'; recorded are accuracy, fitness, robust-accuracy"):
            pareto_front(rows, "accuracy", "speed")

    def test_figures_are_means_over_the_trainings(self) -> None:
        row = {"scores": [0.2, 0.4], "figures": {"accuracy": [0.5, 1.0]}}
        assert mean_figure(row, "accuracy") == 0.75
        assert mean_figure(row, "fitness") == pytest.approx(0.3)

    def test_what_an_older_study_stored_has_no_figures(self) -> None:
        old, new = rows_of([(0.5, 0.5), (0.4, 0.9)])
        old["figures"] = {}
        assert [row["means"] for row in pareto_front([old, new], "accuracy", "robust-accuracy")] == [(0.4, 0.9)]

    def test_which_pair(self) -> None:
        assert figure_pair(rows_of([(1.0, 1.0)])) == ("accuracy", "robust-accuracy")
        (row,) = rows_of([(1.0, 1.0)])
        row["figures"] = {"balanced-accuracy": [1.0], "accuracy": [1.0]}
        assert figure_pair([row]) == ("accuracy", "balanced-accuracy")
        row["figures"] = {"accuracy": [1.0]}
        assert figure_pair([row]) is None


def settings_of(**parts: dict[str, Any]) -> EvolveSettings:
    document: dict[str, Any] = {
        "data": {"train_size": 100, "validation_size": 60},
        "model": {"hidden": [8]},
        "recipe": {"epochs": 1},
        "search": {"population": 4, "generations": 2},
        "objective": {"metric": "weighted", "epsilon": 0.05, "weight": 0.25},
        "run": {"training": "population", "replicates": 2, "finalists": 2, "finalist_seeds": 2, "tune": False},
    }
    return validated(EvolveSettings, {key: {**document[key], **parts.get(key, {})} for key in document}, "the test")


class TestStudies:
    @pytest.fixture(scope="class")
    @classmethod
    def study(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        place = tmp_path_factory.mktemp("robust") / "study"
        evolve(place, settings_of())
        return place

    def test_every_candidate_has_its_figures(self, study: Path) -> None:
        with Store(study, readonly=True) as store:
            rows, finalists = store.candidates(), store.finalists("final")
        assert len(rows) == 8
        for row in (*(row for row in rows if row["status"] == "ok"), *finalists):
            assert row["figures"].keys() == {"accuracy", "robust-accuracy"}
            assert all(len(values) == 2 for values in row["figures"].values())
            parts = (np.array(row["figures"][name]) for name in ("accuracy", "robust-accuracy"))
            clean, robust = parts
            np.testing.assert_allclose(row["scores"], 0.75 * clean + 0.25 * robust, rtol=1e-12)
            assert (robust <= clean).all()

    def test_the_winner_says_how_it_was_judged(self, study: Path) -> None:
        document = json.loads((study / "best.json").read_text())
        finalists = document["provenance"]["finalists"]
        assert all(row["figures"]["robust-accuracy"]["n"] == 2 for row in finalists if row["status"] == "ok")
        assert document["provenance"]["settings"]["objective"]["weight"] == 0.25

    def test_the_pareto_front_is_exported_as_losses(self, study: Path, tmp_path: Path) -> None:
        document = read_pareto(study)
        (tmp_path / "front").mkdir()
        for name in ("99-1.json", "mine.json"):
            (tmp_path / "front" / name).write_text("{}")
        paths = export_pareto(study, tmp_path / "front")
        kept = {"99-1.json", "mine.json"}
        assert {path.name for path in (tmp_path / "front").iterdir()} == {*(path.name for path in paths), *kept}
        assert [path.name for path in paths] == [
            f"{row['generation']}-{row['member']}.json" for row in document["front"]
        ]
        with Store(study, readonly=True) as store:
            known = {(row["generation"], row["member"]): row for row in store.candidates()}
        means = [list(row["figures"].values()) for row in document["front"]]
        assert means == sorted(means)
        for path, row in zip(paths, document["front"], strict=True):
            stored = known[row["generation"], row["member"]]
            assert row["genome"] == stored["genome"]
            assert row["figures"] == {name: mean_figure(stored, name) for name in ("accuracy", "robust-accuracy")}
            loss = load(path)
            assert loss == Loss.from_json(row["loss"])
            assert loss.name == f"candidate {row['generation']}.{row['member']}"
            origin = json.loads(path.read_text())["provenance"]
            assert origin["origin"]["kind"] == "front"
            assert origin["digest"] == json.loads((study / "best.json").read_text())["provenance"]["digest"]

    def test_resumed_like_uninterrupted(self, study: Path, tmp_path: Path) -> None:
        evolve(tmp_path / "study", settings_of(search={"population": 4, "generations": 1}))
        evolve(tmp_path / "study", settings_of())
        assert (tmp_path / "study/pareto.json").read_bytes() == (study / "pareto.json").read_bytes()
        with Store(study, readonly=True) as first, Store(tmp_path / "study", readonly=True) as second:
            for one, other in zip(first.candidates(), second.candidates(), strict=True):
                assert {**one, "seconds": 0} == {**other, "seconds": 0}

    def test_a_study_of_an_older_version_goes_on(self, tmp_path: Path) -> None:
        """Its settings have no objective, no adversary and no dropout; these are the defaults then."""
        settings = settings_of(objective={"metric": "accuracy", "epsilon": 0.1, "weight": 0.5})
        whole = evolve(tmp_path / "whole", settings)
        first = settings.model_copy(update={"search": settings.search.model_copy(update={"generations": 1})})
        place = tmp_path / "old"
        evolve(place, first)
        with Store(place) as store:
            document = store.setting("settings")
            del document["objective"]
            for name in ("adversary", "adversary_epsilon", "adversary_steps"):
                del document["recipe"][name]
            del document["model"]["dropout"]
            store.set("settings", document)
        text = (place / "study.toml").read_text()
        kept = [line for line in text.splitlines() if not line.startswith("adversary")]
        start = kept.index("[objective]")
        end = next(place for place, line in enumerate(kept) if place > start and line.startswith("["))
        (place / "study.toml").write_text("\n".join([*kept[:start], *kept[end:]]) + "\n")
        assert evolve(place, settings).loss == whole.loss
        other = settings_of()
        before = (place / "study.toml").read_bytes()
        with pytest.raises(InputError, match=r"has objective.metric = 'accuracy', not 'weighted'"):
            evolve(place, other)
        assert (place / "study.toml").read_bytes() == before

    def test_no_pareto_front_of_one_figure(self, tmp_path: Path) -> None:
        evolve(tmp_path / "study", settings_of(objective={"metric": "accuracy"}))
        assert not (tmp_path / "study/pareto.json").exists()
        with pytest.raises(InputError, match=r"has no front: .* --metric other than accuracy"):
            export_pareto(tmp_path / "study", tmp_path / "front")
        assert not (tmp_path / "front").exists()

    def test_a_damaged_pareto_file(self, study: Path, tmp_path: Path) -> None:
        shutil.copytree(study, tmp_path / "study")
        (tmp_path / "study/pareto.json").write_text("{}")
        with pytest.raises(InputError, match=r"pareto.json is damaged \(figures: field required\); remove it"):
            read_pareto(tmp_path / "study")
        (tmp_path / "study/pareto.json").unlink()
        evolve(tmp_path / "study", settings_of())
        assert (tmp_path / "study/pareto.json").read_bytes() == (study / "pareto.json").read_bytes()

    def test_from_python(self, tmp_path: Path) -> None:
        def mine(trained: Trained, inputs: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
            found = figures(RobustAccuracy(0.05)(trained, inputs, targets))
            return {"fitness": found["fitness"], "twice": 2 * found["fitness"]}

        evolve(tmp_path / "study", settings_of(objective={"metric": "accuracy"}), objective=mine)
        with Store(tmp_path / "study", readonly=True) as store:
            rows = [row for row in store.candidates() if row["status"] == "ok"]
        assert all(row["figures"] == {"twice": [2 * score for score in row["scores"]]} for row in rows)

    @pytest.mark.parametrize("part", [{"objective": {"metric": "robust-accuracy"}}, {"recipe": {"adversary": "pgd"}}])
    def test_data_without_pixels_is_refused_before_anything_is_made(
        self, tmp_path: Path, part: dict[str, dict[str, Any]]
    ) -> None:
        targets = torch.arange(300) % 3
        flat = Source.from_tensors(torch.randn(300, 5), targets, name="flat")
        wide = Source.from_tensors(torch.randn(300, 1, 4, 4), targets, name="wide")
        for source, sentence in ((flat, "flat has flat features"), (wide, "wide has pixels from -")):
            with pytest.raises(InputError, match=sentence):
                evolve(tmp_path / "study", settings_of(**part), source)
        assert not (tmp_path / "study").exists()

    def test_a_pareto_front_that_the_study_object_knows(self, study: Path, tmp_path: Path) -> None:
        shutil.copytree(study, tmp_path / "study")
        with Store(tmp_path / "study", readonly=True) as store:
            document = store.setting("settings")
        with Study(tmp_path / "study", 10, settings_of().search, document=document) as again:
            found = again.pareto_front()
            assert [(one.generation, one.member) for one in found] == [
                (row["generation"], row["member"]) for row in read_pareto(study)["front"]
            ]
            with pytest.raises(InputError, match="no figure 'speed'"):
                again.pareto_front("speed")


def test_a_study_goes_on_with_its_objective_only(tmp_path: Path) -> None:
    def mine(trained: Trained, inputs: Tensor, targets: Tensor) -> Tensor:
        return torch.arange(len(trained.networks)).double()

    settings = settings_of(objective={"metric": "accuracy"})
    longer = settings_of(objective={"metric": "accuracy"}, search={"generations": 3})
    place = tmp_path / "own"
    outcome = evolve(place, settings, objective=mine)
    assert outcome.provenance["objective"].endswith("mine")
    for other in (None, accuracy, RobustAccuracy(0.1)):
        with pytest.raises(InputError, match=r"begun with another objective \(the function .*mine, not"):
            evolve(place, longer, objective=other)
    evolve(place, longer, objective=mine)
    plain = tmp_path / "plain"
    assert evolve(plain, settings).provenance["objective"] is None
    with pytest.raises(InputError, match=r"that of its settings, not the function .*mine"):
        evolve(plain, longer, objective=mine)
    combined = Weighted(accuracy, RobustAccuracy(0.05, "loss"), 0.3)
    named = evolve(tmp_path / "named", settings, objective=combined).provenance["objective"]
    assert named == "weighted(accuracy, robust_accuracy(0.05, loss), 0.3)"


def test_figures_by_ask_and_tell(tmp_path: Path) -> None:
    with Study(tmp_path, 10, population=4, generations=1) as study:
        for place in range(4):
            candidate = study.ask()
            assert candidate is not None
            study.tell(candidate, place, figures={"speed": -place, "size": place % 2})
        assert [one.member for one in study.pareto_front("speed", "size")] == [1, 0]
        assert [one.member for one in study.pareto_front("fitness", "size")] == [3]


def test_pairs_of_losses_share_their_networks() -> None:
    """Common random numbers: the attack of one loss does not depend on which others are measured beside it."""
    found = search_parts(open_source("digits"), DataSettings(train_size=200, validation_size=80))
    factory = network_factory(
        ModelSettings(hidden=(8,)), Normalize.fit(found.train.inputs), found.train.inputs.shape[1:], 10
    )
    task = Task(factory, found.train.inputs, found.train.targets, 10, 16.0)
    values = []
    for losses in itertools.permutations([cross_entropy(), mse()]):
        trained = train(task, Loss.stack(losses), [1, 1], Recipe(epochs=2))
        measured = figures(RobustAccuracy(0.1)(trained, found.validation.inputs, found.validation.targets))
        values.append(measured["fitness"])
    assert torch.equal(values[0], values[1].flip(0))
