"""Mistyped names are told before PyTorch loads, in the words that the commands themselves have for them."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest

from lossmith.cli import COMMANDS, main, names
from lossmith.cli.flags import OLD, VALUES
from lossmith.cli.spelling import CHECKS, FIRST, OF_STUDIES, check_flags, check_names
from lossmith.data import READERS
from lossmith.errors import InputError
from lossmith.losses import CATALOG, EXPORTS
from lossmith.nets import NETWORKS
from lossmith.search import SEARCH_ENGINES, SPACES
from lossmith.study import CompareSettings, DistillSettings, EvolveSettings, validated
from lossmith.training import EXECUTORS

WITHOUT_TORCH = """
import sys

class Guard:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "torch":
            raise ImportError("PyTorch was asked for")

sys.meta_path.insert(0, Guard())
from lossmith.cli import main
main()
"""
# Each with what the sentence has to say.
MISTYPED = {
    ("evovle",): "there is no command 'evovle'",
    ("evolve", "--datta", "digits"): "there is no flag '--datta' (did you mean --data",
    ("evolve", "--out", "study", "--data", "digitz"): "(did you mean digits?)",
    ("evolve", "--out", "study", "--data=digitz"): "(did you mean digits?)",
    ("evolve", "--out", "study", "--model", "mlpp"): "(did you mean mlp?)",
    ("evolve", "--out", "study", "--metric", "acuracy"): "(did you mean accuracy or",
    ("evolve", "--out", "study", "--training", "sequentiel"): "did you mean sequential",
    ("evolve", "--out", "study", "--executor", "proceses"): "there is no executor 'proceses'",
    ("evolve", "--out", "study", "--space", "residul"): "did you mean residual",
    ("evolve", "--out", "study", "--engine", "cmaa"): "(did you mean cma?)",
    ("evolve", "--out", "study", "--kind", "imag"): "(did you mean image?)",
    ("evolve", "--out", "study", "--split", "tim"): "did you mean time",
    ("evolve", "--out", "study", "--noise", "symetric"): "did you mean symmetric",
    ("evolve", "--out", "study", "--optimizer", "sgdd"): "(did you mean sgd?); give one of sgd, adamw",
    ("compare", "mse", "--effort=quik"): "(did you mean quick?)",
    ("compare", "focall", "--out", "study"): "(did you mean focal?)",
    ("explain", "mse1", "--classes", "3"): "did you mean mse",
    ("export", "mse", "--to", "tourch"): "(did you mean torch?)",
    ("suspects", "digits", "--loss", "focall"): "(did you mean focal?)",
    ("probe", "digitz"): "(did you mean digits?)",
    ("trace", "mse", "--data", "digitz"): "(did you mean digits?)",
    ("show", "nowhere"): "nowhere holds no study",
    ("report", "nowhere"): "nowhere holds no study",
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def by_name(command: str, *words: str) -> str:
    """What is said of some words where PyTorch is not loaded; empty if they pass."""
    loaded = sys.modules.pop("torch")
    try:
        check_flags(command, words)
        check_names(command, words)
    except InputError as error:
        return str(error)
    finally:
        sys.modules["torch"] = loaded
    return ""


@pytest.mark.parametrize("words", MISTYPED, ids=" ".join)
def test_the_command_says_the_same(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """PyTorch is loaded here, so that the command finds the mistake where it uses the name; the tables agree."""
    with pytest.raises(SystemExit) as end:
        main(words)
    said = capsys.readouterr()
    assert (end.value.code, said.out) == (2, "")
    assert MISTYPED[words] in said.err
    if words[0] in COMMANDS:
        assert said.err == f"lossmith: {by_name(*words)}\n"


def test_pytorch_is_not_needed(tmp_path: Path) -> None:
    """In processes of their own that cannot import it."""
    for words, sentence in MISTYPED.items():
        program = [sys.executable, "-c", WITHOUT_TORCH, *words]
        done = subprocess.run(program, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=60)
        assert (done.returncode, done.stdout) == (2, ""), (words, done.stderr)
        assert sentence in done.stderr
        assert done.stderr.startswith("lossmith: ")
        assert done.stderr.count("\n") == 1
    program = [sys.executable, "-c", WITHOUT_TORCH, "show", str(tmp_path)]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    assert "PyTorch was asked for" in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_flags_are_those_of_the_commands(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help-all"])
    assert not end.value.code
    said = capfd.readouterr().out
    heads = [re.split(r"  |$", line.strip("│ "))[0] for line in said.splitlines() if re.match("│ -", line)]
    flags = {flag for head in heads for flag in re.findall(r"--([a-z0-9-]+)", head)}
    assert flags - {"help"} == {*names.FLAGS[command]}
    assert len(flags) > 2


def test_choices_are_those_of_the_settings() -> None:
    found = {}
    for settings in (*dict(EvolveSettings()).values(), CompareSettings(), DistillSettings()):
        for name, info in type(settings).model_fields.items():
            if get_origin(info.annotation) is Literal:
                found[name] = get_args(info.annotation)
    assert found == names.CHOICES


def test_old_names_are_known() -> None:
    assert {f"--{flag}" for flag in names.OLD_FLAGS} == OLD.keys()
    assert not by_name("evolve", "--objective", "accuracy", "--white", "1", "--model", "cnn", "--training", "plain")
    assert VALUES["--training"].keys() <= {*names.BESIDES["training"]}


def test_every_registered_name_is_known() -> None:
    """The sentences of the commands name them all, but for what is no word alone."""
    assert [name for name, reader in READERS.items() if reader.path is None] == [*names.DATA]
    assert [*NETWORKS] == [*names.MODELS]
    assert [*CATALOG] == [*names.LOSSES]
    assert ["auto", *EXECUTORS] == [*names.EXECUTORS]
    assert [*EXPORTS] == [*names.EXPORTS]
    assert [*SPACES] == [*names.SETTINGS["space"][1]]
    assert [*SEARCH_ENGINES] == [*names.SETTINGS["engine"][1]]
    parts = {part: type(settings).model_fields for part, settings in EvolveSettings()}
    for name in names.SETTINGS:
        part = next(one for one, fields in parts.items() if name in fields)
        for value in (*names.SETTINGS[name][1], *names.BESIDES.get(name, ())):
            assert not by_name("evolve", f"--{name}", value)
            other = {"search": {"engine": "genetic"}} if value.startswith("expression") else {}
            costs = {"costs": "[[0, 1], [1, 0]]"} if value == "expected-cost" else {}
            validated(EvolveSettings, {part: {name: value, **other.get(part, {}), **costs}}, None)


@pytest.mark.parametrize(
    "words",
    [
        ("evolve", "--data", "mine"),
        ("evolve", "--data", "clouds.npz"),
        ("evolve", "--data", "./digitz"),
        ("evolve", "--noise", "mine"),
        ("evolve", "--noise", "matrix.npy"),
        ("evolve", "--model", "mine"),
        ("evolve", "--model", "mine:net", "--data", "ours"),
        ("evolve", "--model", "wrn-16-8"),
        ("evolve", "--metric", "mine.py:score", "--data", "ours"),
        ("evolve", "--no_tune", "--train-size=60", "--data=digits"),
        ("evolve", "--data"),
        ("evolve", "--datta", "--help"),
        ("evolve", "--tyro-print-completion", "bash"),
        ("compare", "mine"),
        ("compare", "0, 0, 0, -1"),
        ("compare", "paper/mnist", "focal:2", "expr:log(h)"),
        ("explain", "-1,0,1"),
        ("show", "mine"),
        ("probe", "mine.csv", "--target", "class"),
    ],
    ids=" ".join,
)
def test_what_may_be_right_is_left_to_the_command(words: tuple[str, ...]) -> None:
    """Files and folders, code of one's own, what a colon parts, and help."""
    Path("mine").mkdir()
    Path("mine", "__init__.py").touch()
    assert by_name(*words) == ""


def test_what_is_registered_besides_is_never_refused() -> None:
    """Whoever registers has loaded PyTorch; then names are the command's own matter."""
    check_names("evolve", ["--data", "ours", "--space", "ours"])
    assert {*FIRST, *OF_STUDIES, "evolve"} == COMMANDS.keys()
    assert {*CHECKS} > {*names.SETTINGS}
