"""Settings: what is refused, in which words, before anything is loaded or made; and the names of older versions.

That such a sentence reaches who types a command is tested by a few whole runs in test_cli.py.
"""

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from lossmith.cli.flags import OLD, modern
from lossmith.errors import InputError
from lossmith.study import CompareSettings, EvolveSettings, Origin, check_unchanged
from lossmith.study.config import (
    check_effect,
    flag,
    read_settings,
    rechecked,
    settings_document,
    validated,
)
from lossmith.study.legacy import OLD_FLAGS, OLD_SETTINGS, modernized
from lossmith.study.places import study_place
from lossmith.study.problem import Problem

CLASSES = 3


def copied(**parts: dict[str, Any]) -> EvolveSettings:
    """Settings with single values copied into them, as the flags of a command do it: nothing is checked."""
    settings = EvolveSettings()
    changed = {part: getattr(settings, part).model_copy(update=values) for part, values in parts.items()}
    return settings.model_copy(update=changed)


class TestFlags:
    @pytest.mark.parametrize(
        ("part", "name", "value", "sentence"),
        [
            ("data", "channels", 2, "--channels is wrong (it is 2): input should be 1 or 3"),
            ("data", "label_noise", 1.0, "--label-noise is wrong (it is 1.0): input should be less than 1"),
            ("data", "max_pixel", 0.0, "--max-pixel is wrong (it is 0.0): input should be greater than 0"),
            ("data", "source", 3, "--data is wrong (it is 3)"),
            ("model", "dropout", 1.0, "--dropout is wrong (it is 1.0)"),
            ("model", "hidden", (0,), "--hidden is wrong (it is 0): input should be greater than or equal to 1"),
            ("model", "name", 3, "--model is wrong (it is 3)"),
            ("recipe", "lr", 0.0, "--lr is wrong (it is 0.0)"),
            ("recipe", "lr", -1.0, "--lr is wrong (it is -1.0)"),
            ("recipe", "lr", float("nan"), "--lr is wrong (it is nan): input should be a finite number"),
            ("search", "population", 1, "--population is wrong (it is 1)"),
            ("objective", "metric", "recall", "--metric is wrong (it is 'recall')"),
            ("objective", "weight", 2.0, "--weight is wrong (it is 2.0)"),
            ("objective", "epsilon", -1.0, "--epsilon is wrong (it is -1.0)"),
            ("objective", "record", ("recall",), "--record is wrong (it is 'recall')"),
        ],
    )
    def test_a_wrong_value(self, part: str, name: str, value: Any, sentence: str) -> None:
        with pytest.raises(InputError, match=f"^{re.escape(sentence)}"):
            rechecked(copied(**{part: {name: value}}))

    @pytest.mark.parametrize("name", ["seeds", "tuning_finalists", "tuning_finalist_seeds", "tuning_seeds"])
    def test_a_wrong_number_of_a_comparison(self, name: str) -> None:
        sentence = f"{flag('', name)} is wrong (it is 0): input should be greater than or equal to"
        with pytest.raises(InputError, match=f"^{re.escape(sentence)}"):
            rechecked(CompareSettings().model_copy(update={name: 0}))

    def test_what_is_right_stays_as_it_is(self) -> None:
        settings = copied(model={"hidden": (64, 64), "dropout": 0.1}, recipe={"flip": True, "milestones": (0.5,)})
        assert rechecked(settings) == settings
        assert rechecked(settings).recipe.flip

    @pytest.mark.parametrize(
        ("parts", "name", "wanted"),
        [
            ({"objective": {"epsilon": 0.3}}, "--epsilon", "--metric robust-accuracy or weighted"),
            ({"objective": {"gradient": "loss"}}, "--gradient", "--metric"),
            ({"objective": {"costs": ((0.0, 1.0), (5.0, 0.0))}}, "--costs", "--metric expected-cost"),
            ({"objective": {"metric": "robust-accuracy", "weight": 0.3}}, "--weight", "--metric"),
            ({"recipe": {"adversary_epsilon": 0.3}}, "--adversary-epsilon", "--adversary"),
            ({"recipe": {"adversary": "fgsm", "adversary_steps": 3}}, "--adversary-steps", "--adversary"),
        ],
    )
    def test_what_has_no_effect(self, parts: dict[str, Any], name: str, wanted: str) -> None:
        with pytest.raises(InputError, match=f"^{name} has no effect here; leave it out, or add {wanted}"):
            check_effect(copied(**parts))

    def test_what_has_one(self) -> None:
        check_effect(EvolveSettings())
        check_effect(copied(objective={"record": ("robust-accuracy",), "epsilon": 0.3, "gradient": "loss"}))
        check_effect(copied(objective={"metric": "weighted", "weight": 0.3}))
        check_effect(copied(recipe={"adversary": "pgd", "adversary_epsilon": 0.3, "adversary_steps": 3}))


class TestStudyFile:
    @pytest.mark.parametrize(
        ("text", "match"),
        [
            ("[data", "job.toml is not a TOML file"),
            ("[daat]\nx = 1", "job.toml: there is no setting 'daat'"),
            ("[data]\ntrain_sizes = 3", "there is no setting 'data.train_sizes'"),
            ('[data]\ntrain_size = "many"', "the setting 'data.train_size' is wrong .it is 'many'."),
            ('[recipe]\nlr = "0.1"', "the setting 'recipe.lr' is wrong"),
            ("[search]\nlr_adapt = 1", "the setting 'search.lr_adapt' is wrong"),
            ("data = 3", "the setting 'data' is wrong"),
            ("classes = 3", "trained from Python"),
            ("[data]\ndata = 'digits'\nsource = 'digits'", "there is no setting 'data.data'"),
        ],
    )
    def test_a_bad_one(self, tmp_path: Path, text: str, match: str) -> None:
        path = tmp_path / "job.toml"
        path.write_text(text)
        with pytest.raises(InputError, match=match):
            read_settings(path)

    def test_none(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"no\.toml cannot be read"):
            read_settings(tmp_path / "no.toml")

    def test_a_study_of_its_own(self, tmp_path: Path) -> None:
        """Without --out: beside the file, or where the file is that of a study."""
        assert study_place(tmp_path / "job.toml", None) == (tmp_path / "job", tmp_path / "job.toml")
        assert study_place(None, tmp_path) == (tmp_path, None)
        for name in ("study.db", "study.toml"):
            (tmp_path / name).write_text("")
        assert study_place(tmp_path / "study.toml", None) == (tmp_path, tmp_path / "study.toml")
        assert study_place(None, tmp_path) == (tmp_path, tmp_path / "study.toml")
        assert study_place(tmp_path / "job.toml", tmp_path) == (tmp_path, tmp_path / "job.toml")
        with pytest.raises(InputError, match="is a directory; go on with a study by"):
            study_place(tmp_path, None)
        with pytest.raises(InputError, match="add --out DIR"):
            study_place(None, None)


class TestComparison:
    @pytest.mark.parametrize(
        ("part", "name", "value", "reason"),
        [
            ("recipe", "lr", 0.1, "tuned for every loss"),
            ("recipe", "epochs", 2, "tuned for every loss"),
            ("recipe", "batch_size", 20, "the rest is the search's recipe"),
            ("recipe", "optimizer", "adamw", "the rest is the search's recipe"),
            ("data", "train_size", 50, "could have been in the search"),
            ("data", "validation_size", 20, "could have been in the search"),
            ("data", "test_size", 20, "could have been in the search"),
            ("data", "label_noise", 0.1, "could have been in the search"),
            ("data", "split_seed", 1, "could have been in the search"),
            ("data", "noise_seed", 1, "could have been in the search"),
            ("model", "name", "conv", "the network that it was evolved for"),
            ("model", "hidden", (5,), "the network that it was evolved for"),
            ("model", "dropout", 0.1, "the network that it was evolved for"),
        ],
    )
    def test_what_it_must_not_change(self, part: str, name: str, value: Any, reason: str) -> None:
        kept = EvolveSettings().model_dump(mode="json")[part][name]
        given = list(value) if isinstance(value, tuple) else value
        sentence = f"a.json was evolved with {part}.{name} = {kept!r}, not {given!r}; leave that flag out: "
        with pytest.raises(InputError, match=f"^{re.escape(sentence)}.*{reason}"):
            check_unchanged(copied(**{part: {name: value}}), Origin(Path("a.json"), EvolveSettings(), ""))

    def test_what_it_may_change(self) -> None:
        changed = copied(data={"source": "elsewhere.npz"}, run={"training": "plain", "chunk": 3}, search={"seed": 4})
        check_unchanged(changed, Origin(Path("a.json"), EvolveSettings(), ""))


VALUES: dict[str, Any] = {"data": "digits", "white": 3.0, "model": "mlp", "objective": "accuracy", "hopeless": 0.5}


class TestOldNames:
    @pytest.mark.parametrize(("part", "old"), OLD_SETTINGS)
    def test_every_setting_is_read_and_told_once(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, part: str, old: str
    ) -> None:
        path, new = tmp_path / "job.toml", OLD_SETTINGS[part, old]
        path.write_text(tomli_w.dumps({part: {old: VALUES[old]}}))
        with caplog.at_level(logging.WARNING, "lossmith"):
            document = settings_document(path)
        assert document == EvolveSettings().model_dump(mode="json") | {part: {**document[part], new: VALUES[old]}}
        assert caplog.messages == [f"{path}: the setting {part}.{old} is called {part}.{new} now"]

    def test_every_flag_of_an_old_setting_has_one_of_today(self) -> None:
        """Under its old name, or under the one that the table tells; these are what version 0.1 called otherwise."""
        today = {flag(part, new) for (part, _), new in OLD_SETTINGS.items()}
        for part, old in OLD_SETTINGS:
            assert OLD.get(f"--{old}", f"--{old}") in today, part
        assert OLD == {
            "--white": "--max-pixel",
            "--objective": "--metric",
            "--hopeless": "--prune-at",
            "--front": "--pareto",
        }
        assert OLD_FLAGS.items() <= OLD.items()

    @pytest.mark.parametrize("old", OLD)
    def test_a_flag_is_told_once_in_both_forms(self, caplog: pytest.LogCaptureFixture, old: str) -> None:
        with caplog.at_level(logging.WARNING, "lossmith"):
            assert modern(["a", f"{old}=3", old, "4"]) == ["a", f"{OLD[old]}=3", OLD[old], "4"]
        assert caplog.messages == [f"{old} is called {OLD[old]} now"]

    def test_what_is_no_document_stays(self) -> None:
        assert modernized([1]) == ([1], [])


def arrays(**changed: Any) -> dict[str, Any]:
    """Three classes of flat samples, with some arrays changed, or left out where they are None."""
    made: dict[str, Any] = {}
    for part, count in (("train", 120), ("test", 45)):
        labels = np.arange(count) % CLASSES
        made[f"x_{part}"] = np.random.default_rng(0).normal(size=(count, 5)).astype(np.float32)
        made[f"y_{part}"] = labels
    return {name: value for name, value in {**made, **changed}.items() if value is not None}


LABELS = np.arange(120) % CLASSES
SMALL: dict[str, Any] = {"model": {"hidden": [4]}, "recipe": {"epochs": 1, "batch_size": 30}}
NET = "def net(shape, classes):\n    "


class TestJob:
    """What cannot be trained is refused before anything is made."""

    @pytest.mark.parametrize(
        ("changed", "match"),
        [
            ({"x_train": None, "y_train": None, "x_test": None, "y_test": None}, "no array x_train"),
            ({"y_train": np.array([{}] * 120)}, "Python objects"),
            ({"x_train": np.full((120, 5), np.nan)}, "NaN"),
            ({"y_train": np.array(["a"] * 120)}, "y_train"),
            ({"y_train": np.zeros(120, int)}, "one class"),
            ({"y_train": LABELS + 1, "y_test": None, "x_test": None}, "0, 1, …, K-1"),
            ({"y_train": LABELS * 2}, "0, 1, …, K-1"),
            ({"y_test": np.full(45, 3)}, "label 3"),
            ({"y_train": LABELS[:-1]}, "119 labels"),
            ({"x_test": np.zeros((45, 4), np.float32)}, "shape"),
            ({"y_test": None}, "without y_test"),
        ],
        ids=lambda value: None if isinstance(value, str) else "-".join(value),
    )
    def test_bad_arrays(self, tmp_path: Path, changed: dict[str, Any], match: str) -> None:
        np.savez(tmp_path / "bad.npz", **arrays(**changed))
        with pytest.raises(InputError, match=match):
            Problem.open(validated(EvolveSettings, SMALL | {"data": {"source": str(tmp_path / "bad.npz")}}, None))

    @pytest.mark.parametrize(
        ("parts", "match"),
        [
            ({"data": {"image_size": 4}}, "leave --image-size out"),
            ({"data": {"channels": 3}}, "leave --channels out"),
            ({"data": {"train_size": 5000}}, "train_size"),
            ({"model": {"name": "conv"}}, "the model conv takes image data, but this is tabular"),
            ({"model": {"name": "preresnet-21"}}, "give preresnet-20 or preresnet-26"),
            ({"model": {"name": "resnet-20"}}, "there is no model 'resnet-20' .did you mean preresnet-20"),
            ({"model": {"name": "no_such_module:net"}}, "no_such_module"),
            ({"run": {"device": "nonsense"}}, "'nonsense' cannot be used .PyTorch knows no device of that name.;"),
            ({"run": {"device": "cuda:99"}}, "cuda:99"),
        ],
    )
    def test_bad_settings(self, tmp_path: Path, parts: dict[str, Any], match: str) -> None:
        np.savez(tmp_path / "clouds.npz", **arrays())
        document = {**SMALL, **parts, "data": {"source": str(tmp_path / "clouds.npz"), **parts.get("data", {})}}
        with pytest.raises(InputError, match=match):
            Problem.open(validated(EvolveSettings, document, None))

    @pytest.mark.parametrize("parts", [{"model": {"name": "resnet-20"}}, {"run": {"device": "cuda:99"}}])
    def test_what_is_quick_to_see_is_seen_before_the_data(self, parts: dict[str, Any]) -> None:
        with pytest.raises(InputError, match=r"there is no model|cuda:99"):
            Problem.open(validated(EvolveSettings, {"data": {"source": "no.npz"}, **parts}, None))

    @pytest.mark.parametrize(
        ("code", "function", "match"),
        [
            (f"{NET}return nn.Linear(shape[0], classes)", "", "or your own network as {module}:function, from the"),
            ("x = 1", ":net", "has no net: correct the model"),
            ("raise ValueError('a\\nb')", ":net", "ValueError: a"),
            (f"{NET}raise ValueError('a\\nb')", ":net", "ValueError: a"),
            (f"{NET}return nn.Linear(shape[0], classes + 1)", ":net", r"shape \[30, 4\]"),
            (f"{NET}return 3", ":net", "int"),
        ],
        ids=["no function named", "no such function", "bad module", "bad function", "wrong shape", "no network"],
    )
    def test_bad_models(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        request: pytest.FixtureRequest,
        code: str,
        function: str,
        match: str,
    ) -> None:
        module = "settings_" + re.sub(r"\W", "_", request.node.callspec.id)
        monkeypatch.chdir(tmp_path)
        Path(f"{module}.py").write_text(f"import torch\nfrom torch import nn\n\n{code}\n")
        np.savez("clouds.npz", **arrays())
        document = {**SMALL, "model": {"name": module + function}, "data": {"source": "clouds.npz"}}
        with pytest.raises(InputError, match=match.format(module=module)):
            Problem.open(validated(EvolveSettings, document, None))
