"""A metric of the user's own: a function, by name and from Python, and what is said of one that cannot be used."""

import importlib
import json
import logging
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from lossmith.analysis import Deciding, Family, MetricObjective, ObjectiveSettings, chosen_metric, fixed, metric_of
from lossmith.code import absolute_code, check_code, load_code, portable_code, source_of
from lossmith.errors import InputError
from lossmith.losses import cross_entropy, mse
from lossmith.metrics import METRICS, Metric, named_metric, own_metric
from lossmith.study import EvolveSettings, Store, check_named, evolve, read_settings, without_own_metric
from lossmith.training import executor

FEW = ("--seeds", "2", "--tuning-seeds", "1", "--tuning-epochs", "1", "--tuning-finalists", "1", "--no-rival")
QUICK = (*FEW, "--tuning-finalist-seeds", "1", "--quiet")
RARE = """
def recall(targets, predictions):
    return (predictions[targets == 1] == 1).mean()


def miss_cost(targets, probabilities):
    return probabilities[targets == 1, 0].mean()


recall.higher_is_better = True
recall.share = True
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two clouds, of which one has an eighth of the samples, and a file with metrics."""
    monkeypatch.chdir(tmp_path)
    few = [Family("cross-entropy", (), lambda *_: cross_entropy()), fixed("MSE", mse(), baseline=True)]
    monkeypatch.setattr(importlib.import_module("lossmith.study.estimates"), "baselines", lambda: few)
    Path("rare.py").write_text(RARE)
    arrays: dict[str, Any] = {}
    for part, count, number in (("train", 160, 0), ("test", 80, 1)):
        rng, labels = np.random.default_rng(number), (np.arange(count) % 8 == 0).astype(int)
        arrays[f"x_{part}"] = (rng.normal(0, 1, (count, 3)) + 2 * np.eye(2, 3)[labels]).astype(np.float32)
        arrays[f"y_{part}"] = labels
    np.savez("clouds.npz", **arrays)


DATA = ("--data", "clouds.npz", "--train-size", "80", "--validation-size", "80", "--hidden", "4", "--epochs", "1")
TINY = (*DATA, "--population", "4", "--generations", "1", "--finalists", "1", "--finalist-seeds", "2", "--no-tune")


def drawn(classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.randn(2, 30, classes, generator=random), torch.randint(classes, (30,), generator=random)


def of_logits(targets: Any, logits: Any) -> float:
    return float(logits[np.arange(len(targets)), targets].mean())


class TestFunctions:
    @pytest.mark.parametrize("name", ["accuracy_score", "matthews_corrcoef", "balanced_accuracy_score"])
    def test_those_of_another_library(self, name: str) -> None:
        logits, targets = drawn()
        found = named_metric(f"sklearn.metrics:{name}", ".")(logits, targets)
        assert found.tolist() == [getattr(sk, name)(targets.numpy(), row.argmax(-1).numpy()) for row in logits]

    def test_each_is_given_what_it_names(self) -> None:
        logits, targets = drawn(2)
        rows = logits.double()
        probability = rows.softmax(-1)
        assert own_metric(of_logits)(logits, targets).tolist() == [
            of_logits(targets.numpy(), row) for row in rows.numpy()
        ]
        area = named_metric("sklearn.metrics:roc_auc_score", ".")
        torch.testing.assert_close(area(logits, targets), METRICS["auc"](logits, targets))
        seen: list[Any] = []

        def shape(targets: Any, probabilities: Any) -> float:
            seen.append(probabilities)
            return 0.0

        own_metric(shape)(logits, targets)
        np.testing.assert_array_equal(np.stack(seen), probability.numpy())

    def test_its_direction(self, caplog: pytest.LogCaptureFixture) -> None:
        def doubtful(targets: Any, predictions: Any) -> float:
            return 0.0

        def wrong_loss(targets: Any, predictions: Any) -> float:
            return 0.0

        with caplog.at_level(logging.WARNING, "lossmith"):
            assert own_metric(doubtful, name="doubtful").higher_is_better
            assert own_metric(doubtful, name="doubtful").higher_is_better
            assert not own_metric(wrong_loss, name="wrong_loss").higher_is_better
            said = list(caplog.messages)
            assert own_metric(wrong_loss, higher_is_better=True).higher_is_better
            assert named_metric("rare.py:recall", ".").higher_is_better
        assert [text.partition(";")[0] for text in said] == [
            "of the metric doubtful, more is taken to be better",
            "of the metric wrong_loss, less is taken to be better by its name",
        ]
        assert caplog.messages == said

    def test_a_network_that_is_not_finite_has_no_figure(self) -> None:
        logits, targets = drawn()
        logits[0, 0, 0] = torch.nan
        found = own_metric(of_logits, higher_is_better=True)(logits, targets)
        assert found.isfinite().tolist() == [False, True]
        assert own_metric(of_logits, higher_is_better=True, worst=-9)(logits, targets)[0] == -9

    def test_what_it_changes_is_a_copy(self) -> None:
        def greedy(targets: Any, logits: Any) -> float:
            targets[:] = 0
            logits[:] = 0
            return 1.0

        logits, targets = drawn()
        kept = logits.clone(), targets.clone()
        own_metric(greedy, higher_is_better=True)(logits, targets)
        own_metric(greedy, higher_is_better=True)(logits.double(), targets)
        assert torch.equal(logits, kept[0])
        assert torch.equal(targets, kept[1])

    def test_a_metric_of_a_file(self) -> None:
        Path("whole.py").write_text(
            "from lossmith.metrics import Metric\n"
            "top = Metric(lambda z, t: (z.topk(2).indices == t[:, None]).any(-1).double().mean(-1), worst=0.25)\n"
            "two = Metric(lambda z, t: z[0, 0])\nbad = Metric(lambda z, t: 1 / 0)\n"
        )
        logits, targets = drawn()
        found = named_metric("whole.py:top", ".")
        wanted = (logits.topk(2).indices == targets[:, None]).any(-1).double().mean(-1)
        assert torch.equal(pickle.loads(pickle.dumps(found))(logits, targets), wanted)  # noqa: S301
        assert found.worst == 0.25
        with pytest.raises(InputError, match=r"metric whole.py:two gave a shape of \[3\] for 2 networks"):
            named_metric("whole.py:two", ".")(logits, targets)
        with pytest.raises(InputError, match=r"whole.py:bad raised ZeroDivisionError: division by zero: correct"):
            named_metric("whole.py:bad", ".")(logits, targets)

    @pytest.mark.parametrize(
        ("body", "sentence"),
        [
            ("f = 3", "the metric bad.py:f is an object of type int: give a function f(targets, predictions)"),
            ("def f(targets): pass", "the metric bad.py:f has less than two arguments: give f(targets, predictions)"),
            (
                "def f(y, x): pass",
                "the metric bad.py:f has a second argument 'x': give f(targets, predictions), f(targ",
            ),
            ("def f(logits, targets): pass", "has a second argument 'targets'"),
            ("def g(): pass", "bad.py has no f: correct the metric bad.py:f"),
            ("raise ValueError('a\\nb')", "cannot be imported (ValueError: a): correct it"),
            ("def f(", "cannot be imported (SyntaxError: "),
            ("import sys; sys.exit(3)", "cannot be imported (SystemExit: 3)"),
            ("import no_such_module_at_all", "cannot be imported (ModuleNotFoundError: "),
        ],
    )
    def test_code_that_cannot_be_used(self, body: str, sentence: str) -> None:
        Path("bad.py").write_text(body)
        with pytest.raises(InputError, match=re.escape(sentence)):
            named_metric("bad.py:f", ".")


class TestNames:
    @pytest.mark.parametrize("name", ["a.b:f", "m.py:f", "/x y/m.py:f", "c:/m.py:f", "~/m.py:f"])
    def test_of_either_form(self, name: str) -> None:
        check_code(name, "metric")
        assert ObjectiveSettings(metric=name).label == portable_code(name)

    @pytest.mark.parametrize(
        "name", ["a b:f", ":f", "a:", "m.py:", "m.py:f g", "a..b:f", "m.txt/x:f", "m.py:a.b", "\0.py:f"]
    )
    def test_of_neither(self, name: str) -> None:
        with pytest.raises(ValueError, match=r"there is no metric .* give your own metric as package.module:function"):
            ObjectiveSettings(metric=name)

    def test_places(self, tmp_path: Path) -> None:
        assert absolute_code("m.py:f") == f"{tmp_path}/m.py:f"
        assert absolute_code("a.b:f") == portable_code("a.b:f") == "a.b:f"
        assert portable_code("/x/y/m.py:f") == "m.py:f"

    def test_a_file_is_run_once_and_again_when_it_has_changed(self) -> None:
        Path("beside.py").write_text("value = 5")
        Path("m.py").write_text("import beside\nvalues = []\ndef f():\n    return beside.value\n")
        found = load_code("m.py:f", "metric", "elsewhere")
        assert found() == 5
        assert load_code("m.py:f", "metric", "elsewhere") is found
        before = source_of("m.py:f")
        Path("m.py").write_text("def f():\n    return 7\n")
        assert load_code("m.py:f", "metric", "elsewhere")() == 7
        assert source_of("m.py:f") != before

    def test_no_file(self) -> None:
        with pytest.raises(InputError, match=r"there is no file .*/none.py: check its path"):
            load_code("none.py:f", "metric", ".")


class TestSettings:
    def test_nothing_is_loaded_for_settings_alone(self) -> None:
        Path("loud.py").write_text("raise RuntimeError")
        settings = EvolveSettings(objective={"metric": "loud.py:f"})  # type: ignore[arg-type]
        assert settings.objective.used == set()
        assert not settings.is_attacked
        assert without_own_metric(settings) == EvolveSettings()
        with pytest.raises(InputError, match="cannot be imported"):
            settings.objective.build()

    def test_a_file_alone_starts_none(self) -> None:
        Path("job.toml").write_text('[objective]\nmetric = "rare.py:recall"\n')
        with pytest.raises(InputError, match=r"job.toml names the metric rare.py:recall, which is Python code, and"):
            read_settings(Path("job.toml"))
        for named in ("rare.py:recall", absolute_code("rare.py:recall")):
            assert read_settings(Path("job.toml"), metric=named).objective.metric == "rare.py:recall"
        with pytest.raises(InputError, match=r"name it, too: --metric rare.py:recall"):
            check_named(read_settings(Path("job.toml"), metric="rare.py:recall"), None, Path("x"), "rare.py:miss_cost")

    def test_it_decides_under_a_name_without_a_place(self, tmp_path: Path) -> None:
        deciding = Deciding.of(ObjectiveSettings(metric=f"{tmp_path}/rare.py:recall"))
        assert (deciding.name, deciding.share) == ("rare.py:recall", True)
        assert deciding.key == {"metric": "rare.py:recall", "source": source_of("rare.py:recall")}
        assert pickle.loads(pickle.dumps(deciding.fitness)).__self__ == deciding  # noqa: S301
        assert pickle.loads(pickle.dumps(deciding.objective)) == deciding.objective  # noqa: S301

    def test_from_python(self) -> None:
        mine = MetricObjective("of_logits", own_metric(of_logits, higher_is_better=False))
        deciding = Deciding.of(ObjectiveSettings(), mine)
        assert (deciding.name, deciding.higher_is_better, deciding.key) == (
            "of_logits()",
            False,
            {"function": "of_logits"},
        )
        assert isinstance(metric_of("nll"), Metric)


class TestChosenInPython:
    def test_what_another_process_finds_has_a_name(self) -> None:
        assert chosen_metric("macro-f1") == ("macro-f1", None)
        assert chosen_metric(of_logits) == (f"{__name__}:of_logits", None)
        name, objective = chosen_metric(sk.matthews_corrcoef)
        assert objective is None
        assert metric_of(name)(*drawn()).shape == (2,)

    def test_what_none_finds_is_an_objective(self) -> None:
        def local(targets: Any, predictions: Any) -> float:
            return 1.0

        name, objective = chosen_metric(local)
        assert name == "accuracy"
        assert isinstance(objective, MetricObjective)
        assert objective.metric.endswith("local")
        name, objective = chosen_metric(METRICS["nll"])
        assert objective == MetricObjective("own metric", METRICS["nll"])
        with pytest.raises(InputError, match=r"the metric is 3; give a name, or a function f\(targets, predictions\)"):
            chosen_metric(3)


BAD = {
    "raises": ("raise KeyError('x')", "the metric bad.py:f raised KeyError: 'x': correct the function"),
    "vector": ("return [1.0, 2.0]", "the metric bad.py:f gave 2 numbers: let it return one"),
    "nothing": ("return None", "the metric bad.py:f gave nan for random logits: let it return a finite number"),
    "text": ("return 'much'", "the metric bad.py:f gave 'much': let it return one number"),
    "nan": ("return float('nan')", "the metric bad.py:f gave nan for random logits"),
    "infinite": ("return float('inf')", "the metric bad.py:f gave inf for random logits"),
    "of constants": (
        "assert len(set(predictions)) > 1\n    return 1",
        "the metric bad.py:f raised AssertionError: correct the function",
    ),
}


class TestCommands:
    @pytest.fixture
    def refused(self, command: Callable[..., tuple[str, str]]) -> Callable[..., str]:
        def call(*words: str) -> str:
            before = sorted(Path().rglob("*"))
            out, err = command(*words, code=2)
            assert out == ""
            assert [path for path in sorted(Path().rglob("*")) if "__pycache__" not in str(path)] == before
            return err.splitlines()[-1]

        return call

    def test_from_evolve_to_compare(self, command: Callable[..., tuple[str, str]], refused: Callable[..., str]) -> None:
        out, _ = command("evolve", "--out", "study", *TINY, "--metric", "rare.py:recall")
        assert "rare.py:recall" in out
        assert "lossmith compare study/best.json --metric" in out
        with Store(Path("study"), readonly=True) as store:
            rows = [row for row in store.candidates() if row["status"] == "ok"]
        assert all(row["figures"]["rare.py:recall"] == row["scores"] for row in rows)
        place = absolute_code("rare.py:recall")
        assert refused("evolve", "--out", "study").endswith(f"name it, too: --metric {place}")
        best = json.loads(Path("study/best.json").read_text())["provenance"]["settings"]["objective"]
        assert best["metric"] == "rare.py:recall"
        assert refused("compare", "study/best.json", *QUICK).endswith("name it, too: --metric rare.py:recall")
        _, err = command("compare", "study/best.json", *QUICK, "--metric", "rare.py:recall")
        assert err == ""
        document = json.loads(Path("study/comparison.json").read_text())
        assert document["objective"] == {"name": "rare.py:recall", "higher_is_better": True, "share": True}
        shown, _ = command("show", "study")
        assert "test rare.py:recall: " in " ".join(shown.split())
        _, err = command("attack", "study/best.json", "--seeds", "1", "--attacks", "fgsm", code=2)
        assert "metric" not in err
        command("trace", "study/best.json", "--samples", "5", "--quiet")

    def test_another_metric_needs_no_code(self, command: Callable[..., tuple[str, str]]) -> None:
        command("evolve", "--out", "study", *TINY, "--metric", "rare.py:recall", "--quiet")
        Path("rare.py").write_text("raise RuntimeError")
        _, err = command("compare", "study/best.json", *QUICK[:-1], "--metric", "macro-f1")
        assert "the search maximized rare.py:recall; this comparison tunes and tests by macro-f1" in err

    def test_a_file_that_moved(self, command: Callable[..., tuple[str, str]]) -> None:
        command("evolve", "--out", "study", *TINY, "--metric", "rare.py:recall", "--quiet")
        Path("code").mkdir()
        Path("rare.py").rename("code/rare.py")
        command("evolve", "--out", "study", "--metric", "code/rare.py:recall", "--generations", "2", "--quiet")

    @pytest.mark.parametrize("kind", BAD)
    def test_a_function_that_cannot_be_used(self, kind: str, refused: Callable[..., str]) -> None:
        body, sentence = BAD[kind]
        Path("bad.py").write_text(f"def f(targets, predictions):\n    {body}\nf.higher_is_better = True\n")
        assert sentence in refused("evolve", "--out", "study", *TINY, "--metric", "bad.py:f")

    @pytest.mark.parametrize(
        ("metric", "sentence"),
        [
            ("roc-auc", "--metric is wrong (it is 'roc-auc'): there is no metric 'roc-auc' (did you mean auc"),
            ("none.py:f", "there is no file"),
            ("lossmith_no_such:f", "lossmith_no_such, which has the metric f, cannot be imported (ModuleNotFoundError"),
            (
                "a b:f",
                "there is no metric 'a b:f'; give your own metric as package.module:function or FILE.py:function",
            ),
            (
                "expected-cost",
                "lossmith: expected-cost needs costs (--costs): give a matrix, in row c what each answer",
            ),
        ],
    )
    def test_a_name_of_nothing(self, metric: str, sentence: str, refused: Callable[..., str]) -> None:
        assert sentence in refused("evolve", "--out", "study", *TINY, "--metric", metric)

    def test_workers_find_it(self) -> None:
        document: dict[str, Any] = {
            "data": {"source": "clouds.npz", "train_size": 80, "validation_size": 80},
            "model": {"hidden": (4,)},
            "recipe": {"epochs": 1},
            "search": {"population": 4, "generations": 1},
            "objective": {"metric": "rare.py:miss_cost"},
            "run": {"training": "population", "finalists": 1, "finalist_seeds": 2, "tune": False},
        }
        settings = EvolveSettings.model_validate(document)
        evolve("here", settings)
        with executor("processes", 1) as workers:
            evolve("there", settings, executor=workers)
        rows = []
        for place in ("here", "there"):
            with Store(Path(place), readonly=True) as store:
                rows.append([{**row, "seconds": 0} for row in store.candidates()])
        assert rows[0] == rows[1]
        assert all(
            row["fitness"] == -row["figures"]["rare.py:miss_cost"][0] for row in rows[0] if row["status"] == "ok"
        )


class TestCosts:
    @pytest.fixture
    def matrix(self) -> list[list[float]]:
        return [[0.0, 1.0], [5.0, 0.0]]

    def test_of_files_and_texts(self, matrix: list[list[float]]) -> None:
        np.save("c.npy", np.array(matrix))
        np.savez("c.npz", costs=np.array(matrix), other=np.zeros(2))
        Path("c.csv").write_text("0,1\n5,0\n\n")
        Path("d.csv").write_text("\ufeff0; 1\r\n5; 0\r\n")
        wanted = tuple(map(tuple, matrix))
        for given in ("c.npy", "c.npz:costs", "c.csv", "d.csv", "[[0, 1], [5, 0]]", matrix, np.array(matrix)):
            assert ObjectiveSettings(metric="expected-cost", costs=given).costs == wanted  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("given", "sentence"),
        [
            ("none.csv", "there is no file none.csv"),
            ("none.npy", "there is no file none.npy"),
            ("costs.txt", "there are no costs 'costs.txt'; give FILE.npy, FILE.npz:ARRAY, FILE.csv, or a matrix"),
            ("[[0, 1], [5", "cannot be read"),
            ("[0, 1]", "is no matrix of costs"),
            ('[[0, "x"], [1, 0]]', "the costs hold 'x', which is no number"),
            ("[[0, true], [1, 0]]", "the costs hold True, which is no number"),
            ("[[0, 1], [-5, 0]]", "row 1 of the costs holds -5"),
            ("[[0, NaN], [5, 0]]", "cannot be read"),
            ("nan.csv", "row 0 of the costs holds nan"),
            ("names.csv", "names.csv holds no numbers alone"),
            ("wide.csv", "row 0 of the costs has 3 numbers"),
            ("flat.npy", "is no matrix of costs"),
            ("three.csv", "the costs are of 3 classes, but the data has 2; give a row and a column for each class"),
        ],
    )
    def test_that_cannot_be_used(self, given: str, sentence: str, command: Callable[..., tuple[str, str]]) -> None:
        np.save("flat.npy", np.zeros(3))
        Path("nan.csv").write_text("0,nan\n5,0\n")
        Path("names.csv").write_text("healthy,ill\n0,1\n5,0\n")
        Path("wide.csv").write_text("0,1,2\n5,0,1\n")
        Path("three.csv").write_text("0,1,2\n5,0,1\n1,1,0\n")
        words = ("evolve", "--out", "study", *TINY, "--metric", "expected-cost", "--costs", given)
        _, err = command(*words, code=2)
        assert sentence in err
        assert err.count("\n") == 1
        assert not Path("study").exists()

    def test_a_study_keeps_the_numbers(
        self, matrix: list[list[float]], command: Callable[..., tuple[str, str]]
    ) -> None:
        Path("c.csv").write_text("0,1\n5,0\n")
        command("evolve", "--out", "study", *TINY, "--metric", "expected-cost", "--costs", "c.csv", "--quiet")
        Path("c.csv").unlink()
        command("evolve", "--out", "study", "--generations", "2", "--quiet")
        assert "has objective.costs" in command("evolve", "--out", "study", "--costs", "[[0,1],[4,0]]", code=2)[1]
        with Store(Path("study"), readonly=True) as store:
            rows = [row for row in store.candidates() if row["status"] == "ok"]
        assert len(rows) > 4
        assert all(row["fitness"] == -row["figures"]["expected-cost"][0] for row in rows)
        _, err = command("compare", "study/best.json", *QUICK)
        assert err == ""
        document = json.loads(Path("study/comparison.json").read_text())
        assert document["settings"]["objective"]["costs"] == matrix
        assert document["objective"] == {"name": "expected-cost", "higher_is_better": False, "share": False}
