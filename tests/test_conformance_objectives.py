"""What every objective that settings can name must do, metrics among them; one of one's own passes the same suite."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lossmith.analysis import BASELINES, FIGURES, OBJECTIVES, Choice, ObjectiveSettings, Weighted, figures, metric_of
from lossmith.cli import main
from lossmith.errors import InputError
from lossmith.losses import Loss, cross_entropy, mse
from lossmith.metrics import METRICS, Metric, direction
from lossmith.report import draw_search
from lossmith.study import CompareSettings, EvolveSettings, Problem, Store, compare_losses, evolve, read_pareto
from lossmith.training import Recipe, Trained, train

every = pytest.mark.parametrize("name", OBJECTIVES.names)
QUICK = CompareSettings(
    seeds=2, tuning_seeds=1, tuning_finalists=1, tuning_finalist_seeds=1, tuning_epochs=1, rival=False
)


COSTS = tuple(tuple(0.0 if i == j else 1.0 + j for j in range(10)) for i in range(10))


def tiny(generations: int = 2, **objective: Any) -> EvolveSettings:
    """Digits, four candidates in a generation."""
    if "expected-cost" in (objective.get("metric"), *objective.get("record", ())):
        objective = {"costs": COSTS, **objective}
    return EvolveSettings.model_validate(
        {
            "data": {"train_size": 60, "validation_size": 60},
            "model": {"hidden": (4,)},
            "recipe": {"epochs": 1},
            "search": {"population": 4, "generations": generations},
            "objective": objective,
            "run": {"training": "population", "finalists": 1, "finalist_seeds": 2, "tune": False},
        }
    )


@every
class TestEveryObjective:
    def test_a_search_ends_is_shown_and_resumes(
        self, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], register: Callable[..., None]
    ) -> None:
        register(BASELINES, "MAE", BASELINES["MAE"], only=["cross-entropy"])
        whole = evolve(tmp_path / "whole", tiny(metric=name))
        evolve(tmp_path / "study", tiny(1, metric=name))
        outcome = evolve(tmp_path / "study", tiny(metric=name))
        assert (tmp_path / "study/best.json").read_bytes() == (tmp_path / "whole/best.json").read_bytes()
        with Store(tmp_path / "study", readonly=True) as store:
            rows = [row for row in store.candidates() if row["status"] == "ok"]
        assert rows
        wanted = {*OBJECTIVES[name].figures, "accuracy"}
        assert all(row["figures"].keys() == wanted for row in rows)
        if len(OBJECTIVES[name].figures) == 1:
            assert all(row["fitness"] == pytest.approx(direction(name) * row["figures"][name][0]) for row in rows)
        means = [row["mean"] for row in outcome.provenance["finalists"] if row["status"] == "ok"]
        assert outcome.provenance["validation"]["mean"] == max(means)
        main(["show", str(tmp_path / "study")])
        shown = " ".join(capsys.readouterr().out.split())
        assert f"objective: metric {name}, " in shown
        assert f"best validation {name} of a candidate: " in shown
        assert "of a candidate: -" not in shown
        assert f"validation {name} " in " ".join(shown.replace("┃", " ").split())
        assert any(path.name == "history.png" for path in draw_search(tmp_path / "study"))
        assert (tmp_path / "study/figures/pareto.png").exists() == (len(wanted) > 1)
        found = compare_losses({"mine": whole.loss}, tiny(metric=name), tmp_path / "study", QUICK)
        assert found.row("mine").runs

    def test_its_front_is_not_dominated(self, name: str, tmp_path: Path) -> None:
        other = "balanced-accuracy" if name == "accuracy" else name
        evolve(tmp_path, tiny(metric=name, record=["balanced-accuracy"] if name == "accuracy" else []))
        document = read_pareto(tmp_path)
        turned = [(a * direction("accuracy"), b * direction(document["figures"][1])) for a, b in document["candidates"]]
        assert document["figures"] == ["accuracy", "robust-accuracy" if name == "weighted" else other]
        front = [tuple(row["figures"].values()) for row in document["front"]]
        assert front
        for row in front:
            a, b = row[0], row[1] * direction(document["figures"][1])
            assert not any(x >= a and y >= b and (x, y) != (a, b) for x, y in turned)

    def test_settings_that_have_no_effect_are_those_that_it_does_not_use(self, name: str) -> None:
        assert set(OBJECTIVES[name].uses) <= ObjectiveSettings.model_fields.keys() - {"metric", "record"}
        assert OBJECTIVES[name].attacks == ("epsilon" in OBJECTIVES[name].uses)


@pytest.mark.parametrize("name", FIGURES.names)
def test_every_figure_is_recorded_without_a_say(name: str) -> None:
    problem = Problem.open(tiny(record=[name]))
    trained = train(problem.task, Loss.stack([cross_entropy(), mse()]), [0, 0], Recipe(epochs=1))
    found = figures(problem.objective(trained, *problem.validation))
    assert found.keys() == {"fitness", "accuracy", name}
    assert torch.equal(found["fitness"], found["accuracy"])
    if name in METRICS:
        logits = trained.networks.logits(problem.validation[0])
        metric = metric_of(name, COSTS)
        assert torch.equal(found[name], metric(logits, problem.validation[1]))


def test_names_in_order() -> None:
    ranking = ("auc", "average-precision")
    metrics = ("accuracy", "balanced-accuracy", "macro-f1", *ranking, "nll", "calibration-error", "expected-cost")
    assert OBJECTIVES.names[:8] == METRICS.names == metrics
    assert OBJECTIVES.names[-2:] == ("robust-accuracy", "weighted")
    assert set(FIGURES) == set(OBJECTIVES) - {"weighted"}


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            ["--metric", "acuracy"],
            "--metric is wrong (it is 'acuracy'): there is no metric 'acuracy' (did you",
        ),
        (["--record", "nlll"], "--record is wrong (it is 'nlll'): there is no figure 'nlll' (did you mean nll?); give"),
        (["--record", "weighted"], "there is no figure 'weighted'"),
        (["--metric", "nll", "--epsilon", "0.3"], "--epsilon has no effect here"),
        (["--metric", "robust-accuracy", "--weight", "0.3"], "--weight has no effect here"),
    ],
)
def test_a_name_that_is_none(
    flags: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["evolve", "--out", str(tmp_path / "new"), *flags])
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_a_study_file_with_a_name_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "job.toml").write_text('[objective]\nmetric = "f1"\n')
    with pytest.raises(SystemExit, match="2"):
        main(["evolve", str(tmp_path / "job.toml"), "--out", str(tmp_path / "new")])
    assert "the setting 'objective.metric' is wrong (it is 'f1'): there is no metric 'f1'" in capsys.readouterr().err


def top_two(logits: Tensor, targets: Tensor) -> Tensor:
    return (logits.topk(2).indices == targets[:, None]).any(-1).double().mean(-1)


class TestOnesOfOnesOwn:
    def test_a_metric_and_an_objective_are_chosen_by_name(
        self, tmp_path: Path, register: Callable[..., None], capsys: pytest.CaptureFixture[str]
    ) -> None:
        def softened(settings: ObjectiveSettings) -> Weighted:
            return Weighted(OBJECTIVES["nll"].build(settings), OBJECTIVES["top-two"].build(settings), settings.weight)

        register(METRICS, "top-two", Metric(top_two, share=True))
        register(OBJECTIVES, "softened", Choice(softened, ("nll", "top-two"), uses=("weight",)))
        with pytest.raises(InputError, match="there is a metric 'top-two' already"):
            OBJECTIVES.register("top-two", OBJECTIVES["softened"])
        with pytest.raises(SystemExit, match="0"):
            main(["evolve", "--help-all"])
        helped = "".join(line.strip("│ ") for line in capsys.readouterr().out.splitlines())
        assert "--metric {accuracy,balanced-accuracy,macro-f1,auc,average-precision,nll,calibration-error" in helped
        assert helped.count("top-two") == 2
        assert helped.count("softened") == 1
        settings = tiny(1, metric="softened", weight=0.25, record=["top-two"])
        evolve(tmp_path, settings)
        with Store(tmp_path, readonly=True) as store:
            rows = [row for row in store.candidates() if row["status"] == "ok"]
        for row in rows:
            (likelihood,), (share,) = row["figures"]["nll"], row["figures"]["top-two"]
            assert row["fitness"] == pytest.approx(-0.75 * likelihood + 0.25 * share)
        assert read_pareto(tmp_path)["figures"] == ["accuracy", "nll"]


class TestWhatIsNotFinite:
    def test_an_infinite_likelihood_is_no_zero(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """It is null, has no mean and is in no front; the fitness beside it stands."""

        def half(trained: Trained, inputs: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
            logits = trained.networks.logits(inputs)
            logits[1] = math.inf
            return {name: METRICS[name](logits, targets) for name in ("accuracy", "nll")} | {
                "fitness": torch.arange(len(logits)).double()
            }

        outcome = evolve(tmp_path, tiny(1), objective=half)
        with Store(tmp_path, readonly=True) as store:
            rows = store.candidates()
        assert [row["figures"]["nll"] == [None] for row in rows] == [False, True, False, False]
        assert [row["figures"]["accuracy"][0] == 0 for row in rows][1]
        assert [row["fitness"] for row in rows] == [0, 1, 2, 3]
        assert len(read_pareto(tmp_path)["candidates"]) == 3
        spreads = [row["figures"]["nll"] for row in outcome.provenance["finalists"]]
        assert [one["mean"] is None for one in spreads] == [one["std"] is None for one in spreads]
        assert sum(one["mean"] is None for one in spreads) == 1
        main(["show", str(tmp_path)])
        assert "–" in capsys.readouterr().out

    def test_a_candidate_without_a_finite_fitness_has_diverged(self, tmp_path: Path) -> None:
        def endless(trained: Trained, inputs: Tensor, targets: Tensor) -> Tensor:
            if len(trained.networks) == 4:
                return torch.tensor([0.5, -math.inf, math.nan, 0.25])
            return torch.tensor([math.nan, *[0.5] * (len(trained.networks) - 1)])

        outcome = evolve(tmp_path, tiny(1), objective=endless)
        with Store(tmp_path, readonly=True) as store:
            rows, finalists = store.candidates(), store.finalists("final")
        assert [(row["status"], row["scores"]) for row in rows] == [
            ("ok", [0.5]),
            ("diverged", [None]),
            ("diverged", [None]),
            ("ok", [0.25]),
        ]
        lost = [row["status"] == "diverged" for row in finalists]
        assert [row["mean"] is None for row in outcome.provenance["finalists"]] == lost
        assert any(lost)
        assert not all(lost)
        json.dumps(outcome.provenance, allow_nan=False)


def test_names_that_stand_twice_are_refused(register: Callable[..., None]) -> None:
    with pytest.raises(InputError, match="register 'mine' as a metric or an objective"):
        FIGURES.register("mine", OBJECTIVES["accuracy"])
    register(METRICS, "weighted", METRICS["accuracy"])
    with pytest.raises(InputError, match="there is an objective 'weighted' already"):
        OBJECTIVES["accuracy"]
