"""Trials in TensorBoard, MLflow and Weights & Biases: the real packages, offline."""

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lossmith.errors import InputError
from lossmith.integrations import MLflowCallback, TensorBoardCallback, WandbCallback
from lossmith.integrations.trials import figures_of, number_of, settings_of, texts_of
from lossmith.losses import Loss
from lossmith.study import Result, Study

SMALL: dict[str, Any] = {"classes": 10, "population": 4, "generations": 2, "invariant": "none"}
# Of the trials 0 to 5, in the order in which they are told; None for one that fails.
SCORES = {0: 0.25, 2: 0.75, 1: None, 3: 0.5, 4: float("nan"), 5: 1.0}
FAILED = "ValueError: too steep"


def told(directory: Path, callback: Callable[[Study, Result], None]) -> Study:
    """A closed study whose trials were told, with a second figure, in another order than they were asked for."""
    with Study(directory, **SMALL, callbacks=[callback]) as study:
        for generation in (range(4), range(4, 6)):
            asked = {number: study.ask() for number in generation}
            for number, score in SCORES.items():
                if number not in asked:
                    continue
                candidate = asked[number]
                assert candidate is not None
                if score is None:
                    study.fail(candidate, ValueError("too steep"))
                else:
                    study.tell(candidate, score, {"size": number / 4})
    return study


def formula(study: Study, number: int) -> str:
    with Study.load(study.directory, readonly=True) as read:
        return read.loss_of(read.candidates()[number]).formula()


class TestWhatIsLogged:
    def test_of_each_trial(self, tmp_path: Path) -> None:
        seen: dict[int, tuple[dict[str, float], dict[str, str]]] = {}

        def note(study: Study, trial: Result) -> None:
            seen[number_of(study, trial)] = figures_of(study, trial), texts_of(trial)
            assert settings_of(study).items() >= {"population": "4", "classes": "10", "space": "residual"}.items()

        told(tmp_path, note)
        assert list(seen) == list(SCORES)
        assert {number: numbers.get("fitness") for number, (numbers, _) in seen.items()} == {
            **SCORES,
            4: None,
        }
        assert [numbers["best"] for numbers, _ in seen.values()] == [0.25, 0.75, 0.75, 0.75, 0.75, 1.0]
        assert [numbers.get("figures/size") for numbers, _ in seen.values()] == [0.0, 0.5, None, 0.75, None, 1.25]
        assert seen[5][0].items() >= {"failed": 1.0, "diverged": 1.0, "candidates": 6.0, "generation": 1.0}.items()
        assert seen[1][1]["error"] == FAILED
        assert [words["status"] for _, words in seen.values()] == ["ok", "ok", "failed", "ok", "diverged", "ok"]

    @pytest.mark.parametrize(
        ("make", "module", "extra"),
        [
            (lambda: TensorBoardCallback("runs"), "torch.utils.tensorboard", "tensorboard"),
            (MLflowCallback, "mlflow", "mlflow"),
            (WandbCallback, "wandb", "wandb"),
        ],
    )
    def test_what_is_not_installed(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        make: Callable[[], object],
        module: str,
        extra: str,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        usual = builtins.__import__

        def without(name: str, *rest: Any) -> Any:
            if name == module:
                raise ImportError
            return usual(name, *rest)

        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(InputError, match=rf"not installed: pip install '\.\[{extra}\]' in the source"):
            make()
        assert list(tmp_path.iterdir()) == []


@pytest.mark.integration
class TestTensorBoard:
    def test_it_reads_what_was_told(self, tmp_path: Path) -> None:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        callback = TensorBoardCallback(tmp_path / "runs")
        study = told(tmp_path / "study", callback)
        callback.close()
        found = EventAccumulator(str(tmp_path / "runs"), {"scalars": 0, "tensors": 0}).Reload()
        fitness = {event.step: event.value for event in found.Scalars("fitness")}
        assert fitness == {0: 0.25, 2: 0.75, 3: 0.5, 5: 1.0}
        assert {event.step for event in found.Scalars("best")} == set(SCORES)
        assert {event.step: event.value for event in found.Scalars("figures/size")}[5] == 1.25
        texts = {event.step: event.tensor_proto.string_val[0].decode() for event in found.Tensors("loss/text_summary")}
        assert texts[5] == formula(study, 5)
        (failure,) = found.Tensors("error/text_summary")
        assert (failure.step, failure.tensor_proto.string_val[0].decode()) == (1, FAILED)


@pytest.mark.integration
class TestMLflow:
    def test_one_run_of_all_trials(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from mlflow import MlflowClient

        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        place = (tmp_path / "store").as_uri()
        callback = MLflowCallback("losses", place, run_name="first")
        study = told(tmp_path / "study", callback)
        callback.close()
        client = MlflowClient(place)
        run = client.get_run(callback.run_id)
        assert run.info.run_name == "first"
        assert run.info.status == "FINISHED"
        assert run.data.params.items() >= {"space": "residual", "population": "4", "classes": "10"}.items()
        history = client.get_metric_history(callback.run_id, "fitness")
        assert {metric.step: metric.value for metric in history} == {0: 0.25, 2: 0.75, 3: 0.5, 5: 1.0}
        assert run.data.metrics["failed"] == 1.0
        assert run.data.tags["error"] == f"candidate 1: {FAILED}"
        assert run.data.tags["best loss"] == formula(study, 5)
        # A second study of that experiment is a run of its own.
        again = MLflowCallback("losses", place)
        told(tmp_path / "other", again)
        experiment = client.get_experiment_by_name("losses")
        assert experiment is not None
        assert len(client.search_runs([experiment.experiment_id])) == 2

    def test_closed_without_a_trial(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        MLflowCallback("losses", (tmp_path / "store").as_uri()).close()


@pytest.mark.integration
class TestWandb:
    def test_one_run_of_all_trials(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WANDB_SILENT", "true")
        callback = WandbCallback("losses", mode="offline", dir=str(tmp_path))
        study = told(tmp_path / "study", callback)
        run = callback.run
        summary = dict(run.summary)
        assert run.config["population"] == "4"
        callback.close()
        assert summary["fitness"] == 1.0
        assert summary["trial"] == 5
        assert summary["failed"] == 1.0
        assert summary["error"] == f"candidate 1: {FAILED}"
        assert summary["best loss"] == formula(study, 5)
        (file,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
        assert file.stat().st_size > 0

    def test_by_optimize(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def judge(loss: Loss) -> float:
            return -float(len(loss.formula()))

        monkeypatch.setenv("WANDB_SILENT", "true")
        callback = WandbCallback(mode="offline", dir=str(tmp_path))
        callback.close()
        with Study(tmp_path / "study", **SMALL) as study:
            study.optimize(judge, callbacks=[callback])
            assert callback.run.summary["best"] == study.best_value
        callback.close()
