"""`lossmith.evolve`: the user's own objects in one call, and the same study from the command line."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import lossmith
from lossmith import InputError
from lossmith.api.data import source_of
from lossmith.api.model import name_of, named_model
from lossmith.api.words import places, settings_of
from lossmith.cli import main
from lossmith.data import Source
from lossmith.study import Store

X = np.random.default_rng(0).normal(size=(120, 4)).astype(np.float32)
Y = X[:, :3].argmax(1)
NAMES = np.array(["ant", "bee", "cow"])[Y]
SMALL: dict[str, Any] = {
    "population": 4,
    "generations": 1,
    "epochs": 1,
    "finalists": 1,
    "finalist_seeds": 2,
    "tune": False,
    "training": "population",
    "quiet": True,
}
MODULE = """
import torch
from torch import nn

class Net(nn.Sequential):
    def __init__(self, input_shape, classes):
        super().__init__(nn.Linear(input_shape[0], 5), nn.Tanh(), nn.Linear(5, classes))

def recall(targets, predictions):
    return float((predictions[targets == 0] == 0).mean())

recall.higher_is_better = True

def train(criterion, seed, lr=0.1):
    torch.manual_seed(seed)
    return float(-criterion(torch.tensor([[1.0, 0.5, -1.0]]), torch.tensor([0])).abs())
"""


class Pairs(Dataset[Any]):
    def __len__(self) -> int:
        return len(Y)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.from_numpy(X[index]), int(Y[index])


def network(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    return nn.Linear(input_shape[0], classes)


def macro(targets: Any, predictions: Any) -> float:
    return float(np.mean([(predictions[targets == one] == one).mean() for one in np.unique(targets)]))


macro.higher_is_better = True  # type: ignore[attr-defined]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of the user's that lies in the current directory."""
    (tmp_path / "own_of_api.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("own_of_api")
    del sys.modules["own_of_api"]


def rows(directory: Path) -> list[dict[str, Any]]:
    with Store(directory, readonly=True) as store:
        found = [*store.candidates(), *store.finalists("final")]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in found]


class TestOneCall:
    @pytest.mark.parametrize(
        "data",
        [
            (X, Y),
            (torch.from_numpy(X), torch.from_numpy(Y)),
            (X.tolist(), Y.tolist()),
            (X, NAMES),
            Pairs(),
            TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)),
            Source.from_tensors(torch.from_numpy(X), torch.from_numpy(Y)),
        ],
        ids=["arrays", "tensors", "lists", "texts", "dataset", "tensor dataset", "source"],
    )
    def test_whatever_the_data_is_the_study_is_the_same(self, tmp_path: Path, data: Any) -> None:
        result = lossmith.evolve("mlp", data, out=tmp_path / "a", hidden=[4], **SMALL)
        known = lossmith.evolve("mlp", (X, Y), out=tmp_path / "b", hidden=[4], **SMALL)
        assert rows(tmp_path / "a") == rows(tmp_path / "b")
        assert result.loss.to_json() == known.loss.to_json()

    def test_the_result(self, tmp_path: Path) -> None:
        result = lossmith.evolve(network, (X, NAMES), metric="macro-f1", class_weight="balanced", out=tmp_path, **SMALL)
        assert result.directory == tmp_path
        assert lossmith.load(tmp_path / "best.json").to_json() == result.loss.to_json()
        counts = np.bincount(result_labels(tmp_path), minlength=3)
        weight = result.criterion().weight
        assert weight is not None
        assert torch.allclose(weight.double(), torch.tensor(counts.sum() / (3 * counts)), rtol=1e-4)
        loaded = lossmith.Criterion(tmp_path / "best.json").weight
        assert loaded is not None
        assert torch.equal(weight, loaded)
        assert result.criterion(reduction="sum").reduction == "sum"
        assert repr(result).startswith(f"Result({str(tmp_path)!r}, Loss(")
        assert "validation macro-f1 0." in repr(result)
        assert len(repr(result)) < 300

    def test_validation_test_and_groups(self, tmp_path: Path) -> None:
        lossmith.evolve(
            "mlp", (X, NAMES), validation=(X[:30], NAMES[:30]), test=(X[:20], NAMES[:20]), out=tmp_path, **SMALL
        )
        with Store(tmp_path, readonly=True) as store:
            data = store.setting("data")
        assert (data["train"], data["validation"], data["test"]) == (120, 30, 20)
        assert data["class_names"] == ["ant", "bee", "cow"]
        other = tmp_path / "groups"
        lossmith.evolve("mlp", (X, Y), groups=np.arange(120) // 6, out=other, **SMALL)
        assert lossmith.study.read_settings(other / "study.toml").data.split == "groups"

    def test_a_frame(self, tmp_path: Path) -> None:
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame(X, columns=list("abcd")).assign(kind=NAMES)
        result = lossmith.evolve("mlp", frame, target="kind", out=tmp_path, **SMALL)
        assert result.provenance["data"]["class_names"] == ["ant", "bee", "cow"]
        with pytest.raises(InputError, match="the column of its labels is not named; add target='kind'"):
            lossmith.evolve("mlp", frame, out=tmp_path / "new", **SMALL)

    def test_own_metric(self, tmp_path: Path, own: Any) -> None:
        first = lossmith.evolve(own.Net, (X, Y), metric=own.recall, out=tmp_path / "a", **SMALL)
        assert first.metric == "own_of_api:recall"
        second = lossmith.evolve(network, (X, Y), metric=lambda targets, predictions: 0.5, out=tmp_path / "b", **SMALL)
        assert second.provenance["validation"]["mean"] == 0.5

    def test_called_again_it_does_nothing_and_without_words_it_goes_on(self, tmp_path: Path) -> None:
        first = lossmith.evolve("mlp", (X, Y), out=tmp_path, **SMALL)
        before = (tmp_path / "study.db").read_bytes()
        again = lossmith.evolve(out=tmp_path, quiet=True)
        assert again.loss.to_json() == first.loss.to_json()
        assert (tmp_path / "study.db").read_bytes() == before
        longer = lossmith.evolve(out=tmp_path, generations=2, quiet=True)
        assert longer.provenance["candidates"]["candidates"] == 8

    def test_without_a_directory(self, caplog: pytest.LogCaptureFixture) -> None:
        result = lossmith.evolve("mlp", (X, Y), **SMALL)
        assert (result.directory / "best.json").exists()
        assert str(result.directory) in caplog.text

    def test_compared(self, tmp_path: Path) -> None:
        result = lossmith.evolve(lambda: nn.Linear(4, 3), (X, Y), metric="balanced-accuracy", out=tmp_path, **SMALL)
        found = result.compare(["label-smoothing"], seeds=2, effort="quick")
        assert {"cross-entropy", "label smoothing"} < {row.name for row in found.rows}
        assert found.deciding.name == "balanced-accuracy"
        assert str(found).splitlines()[0].startswith("loss ")
        assert str(result.compare(["label-smoothing"], seeds=2, effort="quick")) == str(found)

    def test_it_tells_and_is_quiet(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        lossmith.evolve("mlp", (X, Y), out=tmp_path / "a", **SMALL)
        assert capsys.readouterr() == ("", "")
        lossmith.evolve("mlp", (X, Y), out=tmp_path / "b", **{**SMALL, "quiet": False})
        out, err = capsys.readouterr()
        assert out == ""
        assert "trainings, about" in err
        assert "generation 1/1" in err


def result_labels(directory: Path) -> Any:
    """The labels that the training part of a study has."""
    from lossmith.study import Problem, read_settings

    settings = read_settings(directory / "study.toml", f"{__name__}:network")
    return Problem.open(settings, None, None, network).task.targets.numpy()


class TestBothDoors:
    def test_a_study_of_python_goes_on_and_is_compared_on_the_command_line(self, tmp_path: Path, own: Any) -> None:
        result = lossmith.evolve(own.Net, (X, NAMES), metric="macro-f1", out="study", **SMALL)
        before = rows(Path("study"))
        main(["evolve", "--out", "study", "--model", "own_of_api:Net", "--quiet"])
        assert rows(Path("study")) == before
        words = ["--model", "own_of_api:Net", "--effort", "quick", "--baselines", "focal", "--seeds", "2", "--quiet"]
        main(["compare", "study/best.json", *words])
        found = result.compare(["focal"], seeds=2, effort="quick")
        assert found.deciding.name == "macro-f1"
        assert [row.name for row in found.rows if not row.baseline]
        main(["show", "study"])

    def test_a_study_of_the_command_line_goes_on_in_python(self, tmp_path: Path) -> None:
        npz = tmp_path / "data.npz"
        np.savez(npz, x_train=X, y_train=Y)
        flags = [f"--{name.replace('_', '-')}" for name in ("population", "generations", "epochs", "finalists")]
        values = [str(SMALL[flag.removeprefix("--")]) for flag in flags]
        words = [word for pair in zip(flags, values, strict=True) for word in pair]
        main(
            [
                "evolve",
                "--out",
                f"{tmp_path / 's'}",
                "--data",
                f"{npz}",
                *words,
                "--finalist-seeds",
                "2",
                "--no-tune",
                "--quiet",
            ]
        )
        before = rows(tmp_path / "s")
        lossmith.evolve(out=tmp_path / "s", quiet=True)
        assert rows(tmp_path / "s") == before

    def test_a_script_with_its_own_class_and_workers(self, tmp_path: Path) -> None:
        script = tmp_path / "script.py"
        script.write_text(
            "import numpy as np, lossmith\nfrom torch import nn\n\n"
            "class Net(nn.Linear):\n    def __init__(self):\n        super().__init__(4, 3)\n\n"
            "X = np.random.default_rng(0).normal(size=(90, 4)).astype('float32')\n"
            "if __name__ == '__main__':\n"
            "    lossmith.evolve(Net, (X, X[:, :3].argmax(1)), out='study', executor='processes', population=4,\n"
            "        generations=1, epochs=1, finalists=1, finalist_seeds=2, tune=False, quiet=True)\n"
        )
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        run = [sys.executable, str(script)]
        ended = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        before = rows(tmp_path / "study")
        main(["evolve", "--out", f"{tmp_path / 'study'}", "--model", f"{script}:Net", "--quiet"])
        assert rows(tmp_path / "study") == before

    def test_a_network_of_a_notebook_moves_to_a_file(
        self, tmp_path: Path, own: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def Net(input_shape: tuple[int, ...], classes: int) -> nn.Module:
            return own.Net(input_shape, classes)  # type: ignore[no-any-return]

        lossmith.evolve(Net, (X, Y), out="study", **SMALL)
        before = rows(Path("study"))
        with pytest.raises(SystemExit):
            main(["evolve", "--out", "study", "--quiet"])
        assert "was defined in a notebook or a function; put it into a file" in capsys.readouterr().err
        main(["evolve", "--out", "study", "--model", "own_of_api.py:Net", "--quiet"])
        assert rows(Path("study")) == before


class TestFilesAreData:
    @pytest.mark.parametrize("what", ["model", "metric"])
    def test_code_that_only_a_file_names_is_not_loaded(self, tmp_path: Path, what: str) -> None:
        lossmith.evolve("mlp", (X, Y), out=tmp_path / "s", **SMALL)
        (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\ndef f(*a): return 1\n")
        file = tmp_path / "s" / "study.toml"
        usual = {"model": 'name = "mlp"', "metric": 'metric = "accuracy"'}[what]
        key = usual.split(" = ")[0]
        assert usual in file.read_text()
        file.write_text(file.read_text().replace(usual, f'{key} = "{tmp_path / "evil.py"}:f"'))
        with pytest.raises(InputError, match="which is Python code, and a file alone starts none"):
            lossmith.evolve(out=tmp_path / "s", quiet=True)
        assert not (tmp_path / "ran").exists()

    def test_a_study_that_was_moved_finds_its_data(self, tmp_path: Path) -> None:
        lossmith.evolve("mlp", (X, Y), out=tmp_path / "s", **SMALL)
        before = rows(tmp_path / "s")
        (tmp_path / "s").rename(tmp_path / "t")
        lossmith.evolve(out=tmp_path / "t", quiet=True)
        main(["evolve", "--out", f"{tmp_path / 't'}", "--quiet"])
        quick = ["--effort", "quick", "--baselines", "focal", "--seeds", "2", "--tuning-epochs", "1", "--quiet"]
        main(["compare", f"{tmp_path / 't' / 'best.json'}", *quick])
        assert rows(tmp_path / "t") == before

    def test_data_that_was_deleted_is_written_again(self, tmp_path: Path) -> None:
        lossmith.evolve("mlp", (X, Y), out=tmp_path, **SMALL)
        kept = (tmp_path / "data.lossmith").read_bytes()
        (tmp_path / "data.lossmith").unlink()
        with pytest.raises(InputError, match=r"there is no file .*data\.lossmith"):
            lossmith.evolve(out=tmp_path, quiet=True)
        lossmith.evolve("mlp", (X, Y), out=tmp_path, quiet=True)
        assert (tmp_path / "data.lossmith").read_bytes() == kept


class TestTrainingFunction:
    def test_one_call(self, tmp_path: Path, own: Any) -> None:
        small: dict[str, Any] = {"population": 3, "generations": 1, "finalists": 1, "finalist_seeds": 2, "tune": False}
        result = lossmith.evolve(train=own.train, classes=3, out=tmp_path / "s", quiet=True, **small)
        assert result.metric == "score"
        again = lossmith.evolve(train=own.train, out=tmp_path / "s", quiet=True)
        assert again.loss.to_json() == result.loss.to_json()
        found = result.compare(baselines=["cross-entropy", "label-smoothing"], seeds=2, quiet=True)
        assert len(found.rows) == 3
        assert "No test data" in str(found)
        for effort in ("quick", "bogus"):
            with pytest.raises(InputError, match="has no effect on a comparison by a training function"):
                result.compare(quiet=True, effort=effort)  # type: ignore[arg-type]
        assert len(result.compare(["mae"], seeds=2, quiet=True, time_limit="1h").rows) == 3
        with pytest.raises(InputError, match=r"the time limit is 1e-09 s, and the comparison takes about"):
            result.compare(["mse"], seeds=2, quiet=True, time_limit=1e-9)

    def test_its_settings_are_those_of_the_study(self, tmp_path: Path) -> None:
        given: list[int] = []

        def train(criterion: nn.Module, seed: int, width: int = 1) -> dict[str, float]:
            given.append(width)
            return {"nll": float(criterion(torch.tensor([[1.0, 0.5, -1.0]]), torch.tensor([0])).abs())}

        small: dict[str, Any] = {"population": 3, "finalists": 1, "finalist_seeds": 2, "tune": False, "quiet": True}
        words: dict[str, Any] = {"train": train, "out": tmp_path / "s", **small}
        first = lossmith.evolve(classes=3, settings={"width": 4}, metric="nll", generations=1, **words)
        again = lossmith.evolve(generations=2, **words)
        assert set(given) == {4}
        assert "validation nll 0." in repr(first) or "validation nll 1." in repr(first)
        assert again.provenance["candidates"]["candidates"] == 6

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"model": "mlp"}, "model has no effect beside train"),
            ({"data": (X, Y)}, "data has no effect beside train"),
            ({"classes": None}, "the number of classes is not given"),
            ({"metric": print}, "name one of the scores"),
            ({"label_noise": 0.4}, "takes no label_noise"),
            ({"populaton": 4}, r"takes no populaton \(did you mean population"),
            ({"train": "own.py:train"}, "give a function, train"),
            ({"baselines": ["focall"]}, "there is no baseline 'focall'"),
            ({"time_limit": "soon"}, "the time limit is 'soon'"),
            ({"epochs": 3}, "epochs is no matter of the search here, but of your training function"),
            ({"settings": [1]}, r"settings is \[1\]; give a dict"),
            ({"classes": 1}, "classes"),
        ],
    )
    def test_bad_input(self, tmp_path: Path, given: dict[str, Any], words: str) -> None:
        usual: dict[str, Any] = {
            "train": lambda criterion, seed: 1.0,
            "classes": 3,
            "out": tmp_path / "new",
            "quiet": True,
        }
        with pytest.raises(InputError, match=words):
            lossmith.evolve(**{**usual, **given})
        assert not (tmp_path / "new").exists()


class TestBadInput:
    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"data": None}, "no data is given"),
            ({"data": X}, r"one array of shape \[120, 4\], without labels"),
            ({"data": (X, Y, Y)}, "a tuple of 3"),
            ({"data": (X, Y[:-1])}, "120 samples but .* 119 labels"),
            ({"data": DataLoader(Pairs())}, "give its dataset"),
            ({"data": (NAMES, Y)}, "have to be numbers"),
            ({"data": "digit"}, "there is no data 'digit'"),
            ({"data": "digits", "validation": (X, Y)}, "validation has no effect beside data that is named"),
            ({"validation": (X, np.array(["dog"] * 120))}, "numbers and those of validation texts"),
            ({"validation": 3}, "validation is 3; give"),
            ({"target": "y"}, "target has no effect here"),
            ({"model": nn.Linear(4, 3)}, "each training needs a new one: give the class"),
            ({"model": 3}, "the model is 3; give a name, or a class or function"),
            ({"model": "mpl"}, "there is no model 'mpl' .*did you mean mlp"),
            ({"model": lambda a, b, c: None}, "can be called neither with"),
            ({"model": lambda: nn.Linear(4, 2)}, "let it return .*3"),
            ({"metric": "macro_f2"}, "there is no metric 'macro_f2'"),
            ({"metric": 3}, "the metric is 3"),
            ({"metric": lambda targets, predictions: [1, 2]}, "let it return one"),
            ({"class_weight": [1.0]}, "--class-weight is wrong"),
            ({"epochs": 0}, "--epochs is wrong"),
            ({"hiden": [3]}, r"takes no hiden \(did you mean hidden"),
            ({"classes": 3}, "classes belongs to a training function"),
            ({"settings": {}}, "settings belongs to a training function"),
            ({"executor": "cluster"}, "executor"),
            ({"time_limit": 0}, "the time limit is 0"),
            ({"time_limit": 10**400}, "the time limit is 1000"),
            ({"executor": 3}, "the executor is 3"),
            ({"out": ""}, "out is ''"),
            ({"out": 5}, "out is 5"),
            ({"out": "a\0b"}, "no directory can be called so"),
            ({"out": "x" * 300}, "no directory can be called so"),
            ({"data": (X, np.array(["a", None, "c"], object)[Y])}, "the label of sample .* of data is missing"),
            ({"data": (X, np.array([0.0, np.nan, 1.0], object)[Y])}, "is missing"),
            (
                {"validation": TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))},
                "validation is .*; give .X, y., as",
            ),
            ({"data": Pairs(), "validation": (X, Y)}, "validation is a tuple of 2; give a Dataset"),
        ],
    )
    def test_one_sentence_and_nothing_written(self, tmp_path: Path, given: dict[str, Any], words: str) -> None:
        usual: dict[str, Any] = {"model": "mlp", "data": (X, Y), "out": tmp_path / "new", **SMALL}
        with pytest.raises(InputError, match=words) as caught:
            lossmith.evolve(**{**usual, **given})
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "new").exists()

    def test_parts_without_data(self, tmp_path: Path) -> None:
        lossmith.evolve("mlp", (X, Y), out=tmp_path, **SMALL)
        with pytest.raises(InputError, match="validation has no effect without data"):
            lossmith.evolve(out=tmp_path, validation=(X, Y))

    def test_baselines_by_one_name_and_none(self, tmp_path: Path) -> None:
        result = lossmith.evolve("mlp", (X, Y), out=tmp_path, **SMALL)
        with pytest.raises(InputError, match="baselines is empty"):
            result.compare([])
        found = result.compare("focal", seeds=2, effort="quick")
        assert {"cross-entropy", "focal"} < {row.name for row in found.rows}
        assert "Quick: losses are tuned with few networks" in str(found)

    def test_a_frame_with_groups_beside_it_and_columns_of_numbers(self, tmp_path: Path) -> None:
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame(np.c_[X, Y])
        lossmith.evolve("mlp", frame, target=4, groups=np.arange(120) // 6, out=tmp_path, **SMALL)  # type: ignore[arg-type]
        with Store(tmp_path, readonly=True) as store:
            assert store.setting("data")["train"] % 6 == 0

    def test_a_relative_directory_is_the_same_from_anywhere(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        result = lossmith.evolve("mlp", (X, Y), out="s", **SMALL)
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path / "other")
        result.compare(["focal"], seeds=2, effort="quick")
        assert (tmp_path / "s" / "comparison.json").exists()
        assert list((tmp_path / "other").iterdir()) == []

    def test_other_data_is_another_study(self, tmp_path: Path) -> None:
        lossmith.evolve("mlp", (X, Y), out=tmp_path, **SMALL)
        kept = (tmp_path / "data.lossmith").read_bytes()
        with pytest.raises(InputError, match="is not the data that the study"):
            lossmith.evolve("mlp", (X + 1, Y), out=tmp_path, **SMALL)
        assert (tmp_path / "data.lossmith").read_bytes() == kept


class TestNames:
    def test_of_functions(self, own: Any) -> None:
        assert name_of(own.Net) == "own_of_api:Net"
        assert name_of(lambda: None) == "__main__:network"
        assert named_model("mlp") == ("mlp", None)
        assert named_model(own.Net) == ("own_of_api:Net", own.Net)

    def test_every_setting_has_a_word(self) -> None:
        found = places()
        assert {"label_noise", "hidden", "space", "metric", "tune", "data", "model", "batch_size"} < found.keys()
        assert len(set(found.values())) == len(found)

    def test_values_of_numpy(self, tmp_path: Path) -> None:
        settings = settings_of(
            {"lr": np.float64(0.25), "hidden": np.array([3, 4]), "epochs": torch.tensor(3)}, tmp_path
        )
        assert (settings.recipe.lr, settings.model.hidden, settings.recipe.epochs) == (0.25, (3, 4), 3)

    def test_sequences_and_dicts(self) -> None:
        words: dict[str, Any] = {"kind": "tokens"}
        ragged = [[1, 2], [3], [4, 5, 6]] * 10
        found = source_of((ragged, [0, 1, 2] * 10), {"validation": None, "test": None, "groups": None}, words)
        assert isinstance(found, Source)
        assert found.inputs.shape == (30, 3)
        named = {"ids": np.arange(60).reshape(30, 2), "mask": np.ones((30, 2), bool)}
        found = source_of((named, [0, 1, 2] * 10), {"validation": None, "test": None, "groups": None}, {})
        assert isinstance(found, Source)
        assert found.kind == "dict"
