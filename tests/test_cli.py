"""The command line: what a user types, reads, and is told when something is wrong."""

import importlib
import itertools
import json
import logging
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import BaseModel

from lossmith.analysis import Family, ObjectiveSettings, fixed
from lossmith.analysis.trained import train_loss
from lossmith.cli import COMMANDS, main
from lossmith.cli.arguments import parse
from lossmith.cli.attack import Attack
from lossmith.cli.basin import Basin
from lossmith.cli.compare import Compare
from lossmith.cli.console import WIDTH, Plain, SearchProgress
from lossmith.cli.corruption import Corruption
from lossmith.cli.distill import Distill
from lossmith.cli.evolve import Evolve
from lossmith.cli.explain import Explain
from lossmith.cli.explore import Explore
from lossmith.cli.export import Export
from lossmith.cli.flags import settings_rules
from lossmith.cli.probe import SHOWN as PROBED
from lossmith.cli.probe import ProbeData
from lossmith.cli.report import Report
from lossmith.cli.show import Show
from lossmith.cli.suspects import SHOWN as JUDGED
from lossmith.cli.suspects import Suspects
from lossmith.cli.trace import TraceLosses
from lossmith.cli.trained import SHOWN, Trained
from lossmith.cli.usual import USUAL
from lossmith.data import DataSettings
from lossmith.losses import CATALOG, Loss, PowerLoss, cross_entropy, find, load, mae, mse, save, taylor
from lossmith.nets import ModelSettings
from lossmith.report import plain_words
from lossmith.search import SearchSettings
from lossmith.seeds import derive
from lossmith.study import CompareSettings, DistillSettings, EvolveSettings, Progress, RunSettings, Study
from lossmith.study.problem import Problem
from lossmith.study.schema import seal
from lossmith.study.store import Store
from lossmith.theory import explain
from lossmith.training import Recipe, Trainer, accuracy

comparison: Any = importlib.import_module("lossmith.study.comparison")
CLASSES = 3
TINY = [
    *("--train-size", "60", "--hidden", "4", "--epochs", "1", "--batch-size", "30", "--population", "4"),
    *("--generations", "1", "--finalists", "1", "--finalist-seeds", "2", "--no-tune", "--training", "population"),
]
CLOUDS = "clouds.npz: 3 classes, samples of 5; 60 for training, 60 for validation, 45 for test"
FRESH = ["--tuning-finalists", "1", "--tuning-finalist-seeds", "1"]
QUICK = ["--seeds", "2", "--tuning-seeds", "1", "--tuning-epochs", "1", *FRESH, "--no-rival"]
LOSSMITH = [sys.executable, "-c", "from lossmith.cli import main; main()"]


def clouds(test_seed: int = 1) -> dict[str, Any]:
    """Three classes, 120 flat samples of 5 features, and 45 test samples."""
    arrays: dict[str, Any] = {}
    for part, count, seed in (("train", 120, 0), ("test", 45, test_seed)):
        rng, labels = np.random.default_rng(seed), np.arange(count) % CLASSES
        arrays[f"x_{part}"] = (rng.normal(0, 1, (count, 5)) + 2 * np.eye(CLASSES, 5)[labels]).astype(np.float32)
        arrays[f"y_{part}"] = labels
    return arrays


def write_npz(path: Path, arrays: dict[str, Any]) -> Path:
    np.savez(path, **arrays)
    return path


def files(directory: Path) -> dict[str, bytes]:
    """All files below a directory, less SQLite's own beside a database, with what is in them."""
    found = (path for path in directory.rglob("*") if path.is_file() and path.suffix not in (".db-shm", ".db-wal"))
    return {str(path.relative_to(directory)): path.read_bytes() for path in found}


class Run:
    """Runs a command in this process; ``code``, ``out`` and ``err`` are those of the last one."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self.capfd = capfd

    def __call__(self, *arguments: str | Path, code: int = 0) -> str:
        self.capfd.readouterr()
        self.code: Any = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            self.code = end.code
        self.out, self.err = self.capfd.readouterr()
        assert self.code == code, self.err
        return self.out

    def refused(self, *arguments: str | Path, notes: int = 0) -> str:
        """The one sentence that a bad input gets, after some notes."""
        self(*arguments, code=2)
        assert self.out == ""
        lines = self.err.splitlines()
        assert len(lines) == 1 + notes, self.err
        assert all(line.startswith("lossmith: ") for line in lines)
        assert self.err.endswith("\n")
        return lines[-1]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    threads = torch.get_num_threads()
    yield Run(capfd)
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test in a directory of its own, on what is no terminal."""
    monkeypatch.chdir(tmp_path)
    for name in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most tests do not look at the pictures of their commands, which take long to be drawn."""
    if request.cls not in DRAWING and request.function.__name__ not in DRAWN:
        monkeypatch.setattr(importlib.import_module("lossmith.report.figures"), "_rendered", lambda *_: b"a picture")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two baselines instead of all, since a test trains them all."""
    families = [Family("cross-entropy", (), lambda *_: cross_entropy()), fixed("MSE", mse(), baseline=True)]
    monkeypatch.setattr("lossmith.study.estimates.baselines", lambda: list(families))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data and a study on it that has ended, to be copied."""
    directory = tmp_path_factory.mktemp("made")
    data = write_npz(directory / "clouds.npz", clouds())
    main(["evolve", "--out", str(directory / "study"), "--data", str(data), "--quiet", *TINY])
    return directory


@pytest.fixture
def data(made: Path) -> Path:
    return made / "clouds.npz"


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Path:
    """A study that has ended, as ``study`` in the current directory."""
    shutil.copytree(made / "study", tmp_path / "study")
    return Path("study")


def candidates(directory: Path) -> int:
    with Store(directory, readonly=True) as store:
        return len(store.candidates())


class TestOverview:
    def test_no_arguments(self, run: Run) -> None:
        assert run(code=2) == run("--help") == run("-h")
        for command, what in COMMANDS.items():
            assert command in run.out
            assert what in run.out

    def test_version(self, run: Run) -> None:
        assert re.fullmatch(r"lossmith \d+\.\d+\.\d+\n", run("--version"))

    def test_unknown_command(self, run: Run) -> None:
        sentence = run.refused("evovle")
        assert "'evovle'" in sentence
        for some in ("evolve, compare, distill, explain, explore, export, trace", "attack, corruption, basin, probe"):
            assert some in sentence
        assert "suspects, show" in sentence

    @pytest.mark.parametrize("arguments", [["--help"], ["show", "study", "--json"], ["show", "study"]])
    def test_what_reads_the_output_has_ended(
        self, run: Run, study: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
    ) -> None:
        """As in ``lossmith show study | head -1``: no complaint, also where the output is written at the end only."""
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "w") as pipe:
            monkeypatch.setattr(sys, "stdout", pipe)
            run(*arguments, code=1)
            monkeypatch.undo()
        assert run.err == ""

    def test_python_dash_m(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "lossmith", "--version"], capture_output=True, text=True, check=True
        )
        assert re.fullmatch(r"lossmith \d+\.\d+\.\d+\n", done.stdout)

    def test_console_script(self, tmp_path: Path) -> None:
        """The script itself, outside of the source tree."""
        script = Path(sys.executable).with_name("lossmith")
        result = subprocess.run(
            [script, "show", "nowhere"], capture_output=True, text=True, cwd=tmp_path, check=False, timeout=60
        )
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr.startswith("lossmith: nowhere holds no study")
        assert result.stderr.count("\n") == 1


def settings_of(*models: type[BaseModel]) -> set[str]:
    called = {"source": "data", "name": "model"}
    return {f"--{called.get(name, name).replace('_', '-')}" for model in models for name in model.model_fields}


MACHINE = ("--threads", "--executor", "--workers", "--ray-address", "--gpus-per-chunk")
LOOKING = {
    *("--seeds", "--seed", *MACHINE, "--time-limit", "--figure", "--quiet", "--json", "--training", "--device"),
    *settings_of(DataSettings, ModelSettings, Recipe),
}
FLAGS = {
    "evolve": {"--out", *MACHINE, "--time-limit", "--svg", "--quiet", "--json"}
    | settings_of(DataSettings, ModelSettings, Recipe, SearchSettings, ObjectiveSettings, RunSettings),
    "compare": {"--out", *MACHINE, "--time-limit", "--svg", "--quiet", "--json"}
    | {"--training", "--chunk", "--device", "--no-rival"}
    | (settings_of(DataSettings, ModelSettings, Recipe, ObjectiveSettings, CompareSettings) - {"--rival", "--record"}),
    "distill": {"--out", *MACHINE, "--time-limit", "--svg", "--quiet", "--json", "--training", "--chunk", "--device"}
    | (settings_of(DataSettings, ModelSettings, Recipe, ObjectiveSettings, DistillSettings) - {"--record"}),
    "explain": {"--classes", "--epsilon", "--figure", "--figure3", "--latex", "--json"},
    "explore": {"--html", "--classes"},
    "export": {"--to", "--classes", "--out"},
    "trace": {
        "--out",
        "--samples",
        "--seed",
        *MACHINE,
        "--time-limit",
        "--svg",
        "--quiet",
        "--json",
        "--training",
        "--device",
    }
    | settings_of(DataSettings, ModelSettings, Recipe),
    "attack": LOOKING
    | {"--epsilon", "--attacks", "--pgd-steps", "--samples", "--library-samples", "--iterations", "--queries"},
    "basin": LOOKING | {"--directions", "--points", "--hessian-samples"},
    "corruption": LOOKING | {"--input-noise", "--weight-noise", "--silenced", "--draws"},
    "probe": {
        *("--folds", "--networks", "--seeds", "--seed", *MACHINE, "--time-limit"),
        *("--quiet", "--json", "--training", "--device"),
    }
    | (settings_of(DataSettings, ModelSettings, Recipe, ObjectiveSettings) - {"--data", "--patience"}),
    "suspects": {
        *("--out", "--figure", "--loss", "--folds", "--networks", "--seed", *MACHINE, "--time-limit"),
        *("--quiet", "--json", "--training", "--device"),
    }
    | (
        settings_of(DataSettings, ModelSettings, Recipe)
        - {"--data", "--train-size", "--validation-size", "--test-size", "--patience"}
    ),
    "show": {"--pareto", "--json"},
    "report": {"--watch", "--port"},
}


KINDS = [
    ("evolve", Evolve),
    ("compare", Compare),
    ("distill", Distill),
    ("explain", Explain),
    ("explore", Explore),
    ("export", Export),
    ("trace", TraceLosses),
    ("attack", Attack),
    ("basin", Basin),
    ("corruption", Corruption),
    ("probe", ProbeData),
    ("suspects", Suspects),
    ("show", Show),
    ("report", Report),
]


class TestOldNames:
    """Of version 0.1: read as those of today, and told once, unless nothing but errors is wanted."""

    LEVELS = ("--input-noise", "0.1", "--weight-noise", "0.1", "--silenced", "0.1", "--draws", "1", "--seeds", "1")

    def test_a_command(self, run: Run, data: Path) -> None:
        arguments = ["damage", "mse", "--data", str(data), *self.LEVELS, *TestTrace.TINY]
        run(*arguments, "--white", "1")
        assert run.err.splitlines()[:2] == [
            "lossmith: damage is called corruption now",
            "lossmith: --white is called --max-pixel now",
        ]
        for flag in ("--quiet", "--json"):
            run(*arguments, "--white=1", flag)
            assert run.err == ""

    @pytest.mark.parametrize("flags", [["--hopeless", "0.5"], ["--hopeless=0.5"]])
    def test_flags(self, run: Run, data: Path, flags: list[str]) -> None:
        run("evolve", "--out", "study", "--data", data, *TINY, *flags)
        assert run.err.startswith("lossmith: --hopeless is called --prune-at now\n")
        assert f"\n{CLOUDS}\n" in run.err
        assert tomllib.loads(Path("study/study.toml").read_text())["run"]["prune_at"] == 0.5
        run.refused("show", "study", "--front", "front", notes=1)
        assert run.err.startswith("lossmith: --front is called --pareto now\nlossmith: study has no front")

    def test_a_study_file(self, run: Run, data: Path) -> None:
        Path("job.toml").write_text(
            f'[data]\ndata = "{data}"\nwhite = 2.0\n[model]\nmodel = "mlp"\n[objective]\nobjective = "accuracy"\n'
        )
        run("evolve", "job.toml", *TINY)
        assert run.err.splitlines()[:4] == [
            f"lossmith: job.toml: the setting {old} is called {new} now"
            for old, new in (
                ("data.data", "data.source"),
                ("data.white", "data.max_pixel"),
                ("model.model", "model.name"),
                ("objective.objective", "objective.metric"),
            )
        ]
        run("evolve", "job.toml", "--out", "again", "--quiet", *TINY)
        assert run.err == ""


class TestHelp:
    @pytest.mark.parametrize("command", COMMANDS)
    def test_every_flag_is_there_and_described(self, run: Run, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
        monkeypatch.setenv("COLUMNS", "80")
        text = run(command, "--help-all")
        assert f"usage: lossmith {command}" in text
        inside = "\n".join(line.strip("│╭╰╮╯ ─") for line in text.partition("╭")[2].splitlines())
        parts = re.split(r"^(--[a-z0-9-]+)", inside, flags=re.MULTILINE)
        described = {flag: " ".join(words.split()) for flag, words in zip(parts[1::2], parts[2::2], strict=True)}
        assert described.keys() == FLAGS[command]
        for flag, words in described.items():
            assert len(re.findall(r"[a-z]{2,}", words)) >= 3, f"{flag} is hardly described: {words!r}"

    @pytest.mark.parametrize("command", USUAL)
    def test_a_short_one_shows_the_usual_flags(self, run: Run, command: str) -> None:
        short, all_of_it = run(command, "--help"), run(command, "--help-all")
        assert short == run(command, "-h")
        flags = re.findall(r"^│ (--[a-z0-9-]+)", short, re.MULTILINE)
        assert sorted(flags) == sorted(USUAL[command])
        assert 8 <= len(flags) <= 12
        assert short.endswith(f"use; lossmith {command} --help-all shows all.\n")
        assert all_of_it == run(command, "--help", "--help-all")
        head, remark = all_of_it.partition("╭")[0], "that most people use"
        assert short.startswith(head)
        assert "example:  lossmith" in head
        assert remark not in all_of_it
        assert set(USUAL[command]) < FLAGS[command]

    def test_whoever_has_few_flags_has_one_help(self, run: Run) -> None:
        few = COMMANDS.keys() - USUAL.keys()
        assert few == {command for command, flags in FLAGS.items() if len(flags) <= 12}
        for command in few:
            assert run(command, "--help") == run(command, "--help-all")

    @pytest.mark.parametrize("command", COMMANDS)
    def test_nothing_of_the_program_shows_through(self, run: Run, command: str) -> None:
        text = run(command, "--help-all")
        for word in ("None", "ANNOTATED", "settings.", "options options", "dataclass", "Optional", "(default: )"):
            assert word not in text

    @pytest.mark.parametrize("command", COMMANDS)
    def test_it_fits_on_a_terminal(self, run: Run, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
        """But for the example, which can be copied; no line is broken before it is full."""
        monkeypatch.setenv("COLUMNS", "80")
        lines = run(command, "--help-all").splitlines()
        assert [line for line in lines if len(line) > 80 and not line.startswith("example:")] == []
        words = [line.strip("│ ") for line in lines if line.startswith("│ " + " " * 12)]
        room = max(map(len, words), default=0)
        for line, following in itertools.pairwise(words):
            if following and line and not line.startswith("-"):
                assert line.endswith((".", ")")) or len(line) + 1 + len(following.split()[0]) > room, line

    @pytest.mark.parametrize(("command", "kind"), KINDS)
    def test_examples_can_be_typed(self, run: Run, command: str, kind: type) -> None:
        lines = [*run(command, "--help-all").splitlines(), *run("--help").splitlines()]
        examples = [shlex.split(line.removeprefix("example:")) for line in lines if f" lossmith {command} " in line]
        examples = [words for words in examples if words[:2] == ["lossmith", command] and "--help" not in words]
        assert examples
        rules = settings_rules(
            {Suspects: JUDGED, ProbeData: PROBED}.get(kind, SHOWN if issubclass(kind, Trained) else {})
        )
        for words in examples:
            assert isinstance(parse(kind, words[2:], command, rules=rules), kind)

    @pytest.mark.parametrize(
        ("arguments", "shown"),
        [
            (["evolve", "--populaton", "3"], "--population"),
            (["evolve", "--population", "many"], "--population"),
            (["evolve", "--population"], "--population"),
            (["evolve", "--depth", "deep"], "--depth"),
            (["compare", "a.json", "--seeds", "2.5"], "--seeds"),
            (["explain", "mse", "--classes", "ten"], "--classes"),
            (["explain", "mse", "--epsilon", "half"], "--epsilon"),
            (["trace", "mse", "--samples", "some"], "--samples"),
            (["probe"], "DATA"),
            (["suspects"], "DATA"),
            (["show"], "DIR"),
            (["show", "a", "b"], "b"),
            (["report"], "DIR"),
        ],
    )
    def test_flags_that_cannot_be_read(self, run: Run, arguments: list[str], shown: str) -> None:
        assert run(*arguments, code=2) == ""
        assert shown in run.err
        assert f"lossmith {arguments[0]} --help" in run.err
        assert "Traceback" not in run.err
        assert list(Path().iterdir()) == []


class TestEvolve:
    def test_a_first_run(self, run: Run, data: Path) -> None:
        out = run("evolve", "--out", "study", "--data", data, *TINY)
        assert {path.name for path in Path("study").iterdir() if path.suffix not in (".db-shm", ".db-wal")} == {
            *("study.toml", "study.db", "study.lock", "best.json", "training.log", "figures"),
            "report.html",
        }
        assert {path.name for path in Path("study/figures").iterdir()} == {"history.png", "loss.png"}
        for text in ("Finalists", "cross-entropy", "The winner", "study/figures/history.png"):
            assert text in out
        assert "lossmith compare study/best.json" in out
        assert "lossmith explain study/best.json cross-entropy" in out
        assert 'lossmith.Criterion("study/best.json")' in out
        assert "generation 1/1" in run.err
        assert run.err.startswith(f"{CLOUDS}\n")
        for word in ("best", "mean", "untrainable", "diverged"):
            assert word in run.err
        assert candidates(Path("study")) == 4

    def test_a_batch_larger_than_the_training_part(self, run: Run, data: Path) -> None:
        run("evolve", "--out", "large", "--data", data, *TINY, "--batch-size", "61")
        assert "a batch of 61 is larger than the training part: it holds all 60 samples\n" in run.err

    @pytest.mark.integration
    def test_a_folder_of_images(self, run: Run, tmp_path: Path) -> None:
        """Names of the classes, and which folder counts as the test part, are told and kept."""
        random = np.random.default_rng(0)
        for part, count in (("train", 12), ("val", 3)):
            for name in ("cat", "dog"):
                (tmp_path / "pets" / part / name).mkdir(parents=True)
                for number in range(count):
                    pixels = random.integers(0, 256, (6, 5), dtype=np.uint8)
                    Image.fromarray(pixels).save(tmp_path / "pets" / part / name / f"{number}.png")
        run("evolve", "--out", "of-pets", "--data", "pets", *TINY, "--train-size", "18")
        line = "pets: 2 classes (cat, dog), samples of 1 × 6 × 5; 18 for training, 6 for validation, 6 for test"
        assert f"\n{line}\n" in run.err
        assert "pets/val is the validation part, and test samples are split off" in run.err
        assert line in run("show", "of-pets")
        kept = json.loads(Path("of-pets/best.json").read_text())["provenance"]["data"]
        assert kept["class_names"] == ["cat", "dog"]
        assert json.loads(run("show", "of-pets", "--json"))["data"] == kept

    def test_quiet(self, run: Run, data: Path, study: Path) -> None:
        assert run("evolve", "--out", "new", "--data", data, "--quiet", *TINY) == run.err == ""
        assert run("evolve", "--out", study, "--quiet", "--svg") == run.err == ""

    def test_json(self, run: Run, study: Path) -> None:
        document = json.loads(run("evolve", "--out", study, "--json"))
        assert run.err == ""
        assert document["best"] == "study/best.json"
        assert document["provenance"] == json.loads((study / "best.json").read_text())["provenance"]
        assert document["seconds"]["all"] > 0

    def test_the_same_command_goes_on_with_switches_too(self, run: Run, data: Path) -> None:
        command: list[str | Path] = ["evolve", "--out", "switched", "--data", data, "--lr-adapt", "--no-flip", *TINY]
        run(*command)
        run(*command)
        assert "has search.lr_adapt = True, not False" in run.refused("evolve", "--out", "switched", "--no-lr-adapt")
        run("attack", "mse", "--data", data, "--no-flip", "--epochs", "1", "--seeds", "1", "--attacks", "fgsm", code=2)
        assert "Unrecognized" not in run.err

    def test_flags_that_are_not_given_come_from_the_directory(self, run: Run, study: Path) -> None:
        before = files(study)
        run("evolve", "--out", study)
        after = files(study)
        assert {name for name in after if after[name] != before.get(name)} <= {"study.db"}
        run("evolve", "--out", study, "--lr", "0.05", "--hidden", "4")

    @pytest.mark.parametrize(
        ("flags", "key", "kept"),
        [
            (["--lr", "0.1"], "recipe.lr", "0.05"),
            (["--hidden", "4", "5"], "model.hidden", "[4]"),
            (["--seed", "1"], "search.seed", "0"),
            (["--label-noise", "0.5"], "data.label_noise", "0.0"),
            (["--replicates", "2"], "run.replicates", "1"),
            (["--space", "taylor"], "search.space", "'residual'"),
        ],
    )
    def test_a_flag_that_conflicts(self, run: Run, study: Path, flags: list[str], key: str, kept: str) -> None:
        before = files(study)
        sentence = run.refused("evolve", "--out", study, *flags)
        assert f"{key} = {kept}" in sentence
        assert files(study) == before

    def test_a_longer_search(self, run: Run, study: Path) -> None:
        run("evolve", "--out", study, "--generations", "3", "--quiet")
        assert candidates(study) == 12
        assert tomllib.loads((study / "study.toml").read_text())["search"]["generations"] == 3
        assert "3 generations already" in run.refused("evolve", "--out", study, "--generations", "2")

    def test_a_study_file(self, run: Run, data: Path) -> None:
        Path("job.toml").write_text(
            f'[data]\nsource = "{data}"\ntrain_size = 60\n[model]\nhidden = [4]\n'
            "[recipe]\nepochs = 1\nbatch_size = 30\n"
            "[search]\npopulation = 4\ngenerations = 1\n"
            '[run]\nfinalists = 1\nfinalist_seeds = 2\ntraining = "sequential"\n'
        )
        run("evolve", "job.toml", "--seed", "3", "--quiet")
        kept = tomllib.loads(Path("job/study.toml").read_text())
        assert (kept["search"]["seed"], kept["run"]["training"], kept["data"]["train_size"]) == (3, "sequential", 60)
        assert "search.seed" in run.refused("evolve", "job.toml", "--out", "job")
        run("evolve", "job/study.toml", "--generations", "2", "--quiet")
        assert candidates(Path("job")) == 8
        run("evolve", "job.toml", "--out", "other", "--quiet")
        assert candidates(Path("other")) == 4

    def test_goes_on_from_another_place(self, run: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        shutil.copy(data, "clouds.npz")
        run("evolve", "--out", "study", "--data", "clouds.npz", "--quiet", *TINY)
        Path("sub").mkdir()
        monkeypatch.chdir("sub")
        run("evolve", "--out", "../study", "--generations", "2", "--quiet")
        assert candidates(Path("../study")) == 8

    def test_svg(self, run: Run, study: Path) -> None:
        out = run("evolve", "--out", study, "--svg")
        pictures = {path.name for path in (study / "figures").iterdir()}
        assert pictures == {"history.png", "loss.png", "history.svg", "loss.svg"}
        assert all(f"study/figures/{name}" in out for name in pictures)

    def test_threads(self, run: Run, study: Path) -> None:
        run("evolve", "--out", study, "--threads", "2", "--quiet")
        assert torch.get_num_threads() == 2

    def test_own_model(self, run: Run, data: Path) -> None:
        Path("mynet_cli.py").write_text(
            "from torch import nn\n\n\ndef small(shape, classes):\n    return nn.Linear(shape[0], classes)\n"
        )
        run("evolve", "--out", "study", "--data", data, "--model", "mynet_cli:small", "--quiet", *TINY)
        assert load("study/best.json").classes in (None, CLASSES)
        assert run.refused("evolve", "--out", "study").endswith("name it, too: --model mynet_cli:small")
        out = run("evolve", "--out", "study", "--model", "mynet_cli:small")
        assert "lossmith compare study/best.json --model mynet_cli:small\n" in out

    def test_names_with_brackets_are_shown_as_they_are(self, run: Run, study: Path) -> None:
        study.rename("[red]x")
        out = run("evolve", "--out", "[red]x")
        assert "lossmith compare '[red]x/best.json'" in out
        assert "Study [red]x: ended" in run("show", "[red]x")

    def test_the_reader_is_told_of_noisy_validation_labels(self, run: Run, data: Path, study: Path) -> None:
        noisy = run("evolve", "--out", "noisy", "--data", data, "--label-noise", "0.4", *TINY)
        assert "validation labels, too, 40.0% are wrong" in noisy
        assert "replaced" not in run("evolve", "--out", study)

    def test_progress_fits_on_a_terminal(
        self, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TTY_COMPATIBLE", "1")
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "80")
        for phase in ("search", "final"):
            with SearchProgress(quiet=False) as progress:
                progress.report(Progress(phase, 0.5, 100, 200, 0.99231, 0.5, 12345, 1234, 123, 999999))
        shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capfd.readouterr().err).replace("\r", "\n")
        assert "generation 100/200  best 0.9923  mean 0.5000  untrainable 1234  diverged 123" in shown
        assert "training the finalists again" in shown
        assert re.search(r"left -?[0-9:-]+$", shown, re.MULTILINE)
        assert "…" not in shown
        assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80


@pytest.mark.usefixtures("few")
class TestCompare:
    def test_settings_are_those_of_the_search(self, run: Run, study: Path) -> None:
        out = run("compare", study / "best.json", *QUICK)
        document = json.loads((study / "comparison.json").read_text())
        kept = json.loads((study / "best.json").read_text())["provenance"]
        assert document["settings"] == kept["settings"]
        assert document["digest"] == kept["digest"]
        for text in ("evolved", "MSE", "lr = ", "Holm", "Best baseline", "study/comparison.json", "Settings tried: "):
            assert text in out
        assert (study / "figures" / "comparison.png").exists()
        assert "tuning" in run.err
        assert "fresh seeds" in run.err
        assert document["options"]["tuning_finalists"] == document["options"]["tuning_finalist_seeds"] == 1

    def test_flags_that_say_the_same_are_accepted(self, run: Run, study: Path, data: Path) -> None:
        same: list[str | Path] = [
            "--data",
            data,
            "--model",
            "mlp",
            "--hidden",
            "4",
            "--lr",
            "0.05",
            "--train-size",
            "60",
        ]
        run("compare", study / "best.json", *QUICK, *same, "--label-noise", "0", "--quiet")
        kept = json.loads((study / "comparison.json").read_text())["settings"]
        assert (kept["model"]["hidden"], kept["recipe"]["lr"], kept["data"]["train_size"]) == ([4], 0.05, 60)

    @pytest.mark.parametrize(
        ("flags", "key"),
        [
            (["--lr", "0.1"], "recipe.lr"),
            (["--train-size", "50"], "data.train_size"),
            (["--hidden", "5"], "model.hidden"),
        ],
    )
    def test_a_flag_that_conflicts(self, run: Run, study: Path, flags: list[str], key: str) -> None:
        before = files(study)
        sentence = run.refused("compare", study / "best.json", *QUICK, *flags)
        assert sentence.startswith(f"lossmith: study/best.json was evolved with {key} = ")
        assert files(study) == before

    def test_device_and_backend_can_be_chosen(self, run: Run, study: Path) -> None:
        run(
            "compare",
            study / "best.json",
            *QUICK,
            "--training",
            "sequential",
            "--device",
            "cpu",
            "--chunk",
            "7",
            "--quiet",
        )
        kept = json.loads((study / "comparison.json").read_text())["settings"]["run"]
        assert (kept["training"], kept["device"], kept["chunk"]) == ("sequential", "cpu", 7)

    @pytest.mark.parametrize("words", [("--training", "plain"), ("--training=plain",)])
    def test_an_old_backend_is_read_with_a_note(
        self, run: Run, data: Path, tmp_path: Path, words: tuple[str, ...]
    ) -> None:
        flags = ("--train-size", "60", "--hidden", "4", "--epochs", "1", "--seeds", "2")
        run("basin", "mse", "--data", data, *flags, "--points", "3", *words)
        assert run.err.count("lossmith: --training plain is called sequential now\n") == 1

    def test_other_data_is_refused(self, run: Run, study: Path) -> None:
        other = write_npz(Path("other.npz"), clouds(test_seed=9))
        before = files(study)
        assert "not the data that the loss was evolved on" in run.refused(
            "compare", study / "best.json", *QUICK, "--data", other
        )
        assert files(study) == before

    def test_the_same_data_at_another_place(self, run: Run, study: Path, data: Path) -> None:
        shutil.copy(data, "copy.npz")
        run("compare", study / "best.json", *QUICK, "--data", "copy.npz", "--quiet")
        assert json.loads((study / "comparison.json").read_text())["settings"]["data"]["source"] == "copy.npz"

    def test_a_best_json_away_from_its_study(self, run: Run, study: Path, data: Path) -> None:
        Path("apart").mkdir()
        shutil.copy(study / "best.json", "apart/best.json")
        assert "clouds.npz" in run.refused("compare", "apart/best.json", *QUICK)
        run("compare", "apart/best.json", *QUICK, "--data", data, "--quiet")
        assert Path("apart/comparison.json").exists()

    def test_a_loss_from_nowhere(self, run: Run, data: Path) -> None:
        save(mae() + 0.5 * mse(), "mine.json")
        flags: list[str | Path] = [
            "--data",
            data,
            "--train-size",
            "60",
            "--hidden",
            "4",
            "--epochs",
            "1",
            "--training",
            "population",
        ]
        run("compare", "mine.json", "--out", "out", *flags, *QUICK, "--quiet")
        document = json.loads(Path("out/comparison.json").read_text())
        assert document["settings"]["data"]["train_size"] == 60
        assert [row["name"] for row in document["rows"] if not row["baseline"]] == ["MAE + 0.5 MSE"]

    @pytest.mark.parametrize("out", [None, "out"])
    def test_raw_runs_of_a_loss_from_nowhere(self, run: Run, data: Path, out: str | None) -> None:
        """Below the current directory under its name, not beside the file, unless --out says where."""
        Path("losses").mkdir()
        save(mae() + 0.5 * mse(), "losses/mine.json")
        flags: list[str | Path] = ["--data", data, "--train-size", "60", "--hidden", "4", "--training", "population"]
        flags += ["--epochs", "1", *([] if out is None else ["--out", out])]
        printed = run("compare", "losses/mine.json", *flags, *QUICK)
        place = Path(out or "mine-comparison")
        assert f"Raw runs:  {place}/comparison.json" in printed
        assert (place / "comparison.json").exists()
        assert (place / "study.db").exists()
        assert [path.name for path in Path("losses").iterdir()] == ["mine.json"]
        assert not Path("mine-comparison").exists() or out is None
        assert "losses/mine.json does not say what it was evolved on; see to it that no test sample" in printed
        for flag in ("--quiet", "--json"):
            run("compare", "losses/mine.json", *flags, *QUICK, flag)
            assert run.err == ""

    def test_losses_of_one_name_are_called_as_their_files(self, run: Run, study: Path) -> None:
        save(mae(), "a.json")
        save(mae() + mse(), "b.json")
        for name in ("a.json", "b.json"):
            Path(name).write_text(json.dumps({**json.loads(Path(name).read_text()), "name": "evolved"}))
        run("compare", study / "best.json", "a.json", "b.json", *QUICK, "--quiet")
        rows = json.loads((study / "comparison.json").read_text())["rows"]
        assert {row["name"] for row in rows if not row["baseline"]} == {"study/best.json", "a.json", "b.json"}

    @pytest.mark.parametrize("loss", [cross_entropy(), mse()])
    def test_a_winner_called_as_a_baseline_is(self, run: Run, study: Path, loss: Loss) -> None:
        """As where cross-entropy itself is the best finalist."""
        document = json.loads((study / "best.json").read_text())
        (study / "best.json").write_text(json.dumps({**document, **loss.to_json()}))
        run("compare", study / "best.json", *QUICK, "--quiet")
        rows = json.loads((study / "comparison.json").read_text())["rows"]
        assert [row["name"] for row in rows if not row["baseline"]] == ["study/best.json"]

    def test_json(self, run: Run, study: Path) -> None:
        document = json.loads(run("compare", study / "best.json", *QUICK, "--json"))
        assert run.err == ""
        kept = json.loads((study / "comparison.json").read_text())
        assert document == {
            name: kept[name]
            for name in ("objective", "rows", "pairs", "best_baseline", "wrong_labels", "guess", "effort")
        }

    def test_quiet_and_svg(self, run: Run, study: Path) -> None:
        assert run("compare", study / "best.json", *QUICK, "--quiet", "--svg") == run.err == ""
        assert (study / "figures" / "comparison.svg").exists()

    @pytest.mark.parametrize("columns", [80, 100, 132, 200])
    def test_tables_fit_on_a_terminal(
        self, run: Run, study: Path, monkeypatch: pytest.MonkeyPatch, columns: int
    ) -> None:
        monkeypatch.setenv("TTY_COMPATIBLE", "1")
        monkeypatch.setenv("COLUMNS", str(columns))
        out = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", run("compare", study / "best.json", *QUICK))
        assert max(len(line) for line in out.splitlines()) <= columns
        assert "…" not in out
        assert ("Calibration" in out.split()) == (columns < WIDTH)
        numbers = [line for line in out.splitlines() if "│" in line]
        assert any(re.search(r"0\.\d{4} ± 0\.\d{4}", line) for line in numbers)
        assert any(re.search(r"\[[-+]\d\.\d{4}, [-+]\d\.\d{4}\]", line) for line in numbers)
        assert any(re.search(r"\d\.\d{3} → \d\.\d{3}", line) for line in numbers)

    @pytest.mark.parametrize("columns", [80, 132])
    def test_tables_of_several_losses(
        self, run: Run, study: Path, monkeypatch: pytest.MonkeyPatch, columns: int
    ) -> None:
        """A table of tests for each loss; a long name is broken into lines, a number never."""
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("TTY_COMPATIBLE", "1")
        long = Path("a-directory-with-quite-a-long-name") / "and-another-one-below-it" / "mine.json"
        long.parent.mkdir(parents=True)
        shutil.copy(study / "best.json", long)
        out = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", run("compare", study / "best.json", long, *QUICK))
        assert max(len(line) for line in out.splitlines()) <= columns
        assert len(re.findall(r"\[[-+]\d\.\d{4}, [-+]\d\.\d{4}\]", out)) == 3 + 2 * 2
        assert len(re.findall("minus this", out)) == 2

    def test_a_diverged_loss_is_shown(self, run: Run, data: Path) -> None:
        save(1e30 * mse(), "wild.json")
        flags: list[str | Path] = [
            "--data",
            data,
            "--train-size",
            "60",
            "--hidden",
            "4",
            "--epochs",
            "1",
            "--training",
            "population",
        ]
        out = run("compare", "wild.json", "--out", "out", *flags, *QUICK)
        assert "– → –" in out
        assert "0.0000 ± 0.0000" in out

    def test_interrupted(self, run: Run, study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def stopped(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(importlib.import_module("lossmith.cli.compare"), "compare_losses", stopped)
        run("compare", study / "best.json", code=130)
        assert run.err.endswith("lossmith: stopped. What is stored is kept; go on with the same command\n")


def test_the_whole_way_from_digits_to_the_table(run: Run) -> None:
    """Every baseline, the rival, and the flags of the issue."""
    small = [argument if argument != "60" else "100" for argument in TINY]
    run("evolve", "--out", "study", "--data", "digits", "--model", "mlp", "--quiet", *small)
    flags = [*(argument for argument in QUICK if argument != "--no-rival"), "--effort", "thorough"]
    out = run("compare", "study/best.json", "--data", "digits", "--model", "mlp", *flags)
    document = json.loads(Path("study/comparison.json").read_text())
    assert len(document["rows"]) == 14
    assert len(document["pairs"]) == 13 + 12
    assert "searching label smoothing + MAE" in run.err
    for row in document["rows"]:
        assert row["name"].split()[0] in out
        assert len(row["runs"]) == 2
    assert "α = " in next(row["strengths"] for row in document["rows"] if row["name"].endswith("searched"))
    assert "best baseline" in run("show", "study")


class TestShow:
    def test_no_study(self, run: Run) -> None:
        assert "nowhere holds no study" in run.refused("show", "nowhere")
        Path("empty").mkdir()
        assert "empty holds no study" in run.refused("show", "empty")
        Path("file").write_text("")
        assert "file holds no study" in run.refused("show", "file")
        assert list(Path("empty").iterdir()) == []

    def test_a_candidate_that_is_missing(self, run: Run, study: Path) -> None:
        """No checksum can tell of a row that is gone."""
        connection = sqlite3.connect(study / "study.db")
        with connection:
            connection.execute("DELETE FROM candidate WHERE member = 2")
        connection.close()
        assert "Study study: ended, but 1 of 4 candidates are missing (lossmith evolve" in run("show", study)
        run("evolve", "--out", study, "--quiet")
        assert "are missing" not in run("show", study)

    def test_ended(self, run: Run, study: Path) -> None:
        before = files(study)
        out = run("show", study)
        for text in ("Study study: ended", "population 4", "hidden [4]", "epochs 1", "Finalists", "winner: Loss("):
            assert text in out
        assert f"\n{CLOUDS}\n" in out
        assert re.search(r"candidates: \d ok", out)
        assert "comparison" not in out
        assert run.err == ""
        assert files(study) == before

    def test_json(self, run: Run, study: Path) -> None:
        document = json.loads(run("show", study, "--json"))
        assert document["state"] == "ended"
        assert document["settings"]["search"]["population"] == 4
        assert sum(document["candidates"].values()) == 4
        assert {row["name"] for row in document["finalists"]} >= {"cross-entropy", "mean of the search"}
        assert document["comparison"] is None
        assert 0 <= document["best"] <= 1

    def test_with_a_comparison(self, run: Run, study: Path, few: None) -> None:
        run("compare", study / "best.json", *QUICK, "--quiet")
        out = run("show", study)
        assert re.search(r"comparison: test accuracy: evolved 0\.\d{4}, best baseline \(.*\) 0\.\d{4}, always ", out)
        run("evolve", "--out", study, "--generations", "2", "--quiet")
        assert ("the winner is not in it" in run("show", study)) == (
            load(study / "best.json").to_json()
            not in [row["loss"] for row in json.loads((study / "comparison.json").read_text())["rows"]]
        )

    def test_a_study_that_goes_on(self, run: Run, study: Path) -> None:
        """Made longer and stopped: the winner of the shorter search is not the winner of this one."""
        document = {**json.loads(_setting(study)), "search": {**json.loads(_setting(study))["search"]}}
        document["search"]["generations"] = 4
        with Study(study, CLASSES, SearchSettings(**document["search"]), document=document) as going:
            for _ in range(3):
                candidate = going.ask()
                if candidate is not None:
                    going.tell(candidate, 0.5)
            out = run("show", study)
        assert "Study study: in generation 2 of 4" in out
        assert "winner" not in out
        assert "Finalists" not in out

    def test_a_search_by_ask_and_tell(self, run: Run) -> None:
        with Study("mine", 10, population=3, generations=2) as study:
            assert "in generation 1 of 2" in run("show", "mine")
            assert "candidates: none" in run.out
            while (candidate := study.ask()) is not None:
                study.tell(candidate, 0.1 * candidate.member)
        out = run("show", "mine")
        assert "Study mine: all 2 generations are done" in out
        assert "best fitness of a candidate: 0.2000" in out
        assert json.loads(run("show", "mine", "--json"))["settings"]["classes"] == 10
        assert "trained from Python" in run.refused("evolve", "--out", "mine")

    def test_comparisons_only(self, run: Run, data: Path, few: None) -> None:
        save(mae() + mse(), "mine.json")
        flags: list[str | Path] = ["--data", data, "--train-size", "60", "--hidden", "4", "--training", "population"]
        run("compare", "mine.json", "--out", "out", *flags, *QUICK, "--quiet")
        out = run("show", "out")
        assert "Study out: no search, only comparisons" in out
        assert "MAE + MSE 0." in out

    @pytest.mark.parametrize("text", ["{", "[]", '{"rows": [{"name": "a", "runs": []}]}', '{"rows": 3}'])
    def test_a_damaged_comparison(self, run: Run, study: Path, text: str) -> None:
        (study / "comparison.json").write_text(text)
        assert "comparison.json" in run.refused("show", study)


def _setting(study: Path) -> str:
    with sqlite3.connect(study / "study.db") as connection:
        (text,) = connection.execute("SELECT value FROM setting WHERE name = 'settings'").fetchone()
    connection.close()
    return str(text)


# Bad input: the arguments of a command that must be refused, made where the test runs. One or two of a kind: what
# settings, study files, data and networks are refused for is tested without a command in test_settings.py.


def with_arrays(**changed: Any) -> Callable[[Path], list[str]]:
    def make(made: Path) -> list[str]:
        arrays = {name: value for name, value in {**clouds(), **changed}.items() if value is not None}
        write_npz(Path("bad.npz"), arrays)
        return ["evolve", "--out", "new", "--data", "bad.npz", *TINY]

    return make


def with_flags(*flags: str) -> Callable[[Path], list[str]]:
    return lambda made: ["evolve", "--out", "new", "--data", str(made / "clouds.npz"), *TINY, *flags]


def with_model(code: str, model: str) -> Callable[[Path], list[str]]:
    def make(made: Path) -> list[str]:
        Path(f"{model.partition(':')[0]}.py").write_text(f"import torch\nfrom torch import nn\n\n{code}\n")
        return with_flags("--model", model)(made)

    return make


def with_study_file(text: str) -> Callable[[Path], list[str]]:
    def make(made: Path) -> list[str]:
        Path("job.toml").write_text(text)
        return ["evolve", "job.toml", "--out", "new"]

    return make


def with_loss_file(content: str | bytes) -> Callable[[Path], list[str]]:
    def make(made: Path) -> list[str]:
        Path("mine.json").write_bytes(content if isinstance(content, bytes) else content.encode())
        return ["compare", "mine.json", "--out", "new", "--data", str(made / "clouds.npz"), "--quiet"]

    return make


def loss_file(**changed: Any) -> str:
    return json.dumps({**mse().to_json(), **changed})


BAD: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "no directory": (lambda _: ["evolve"], "--out DIR"),
    "no such data": (lambda _: ["evolve", "--out", "new", "--data", "no.npz"], "no file or directory .*no.npz"),
    "unknown data": (lambda _: ["evolve", "--out", "new", "--data", "cifar"], r"did you mean cifar10 or cifar100"),
    "no arrays": (with_arrays(x_train=None), "no array x_train"),
    "lr that is no number": (with_flags("--lr", "nan"), "--lr is wrong"),
    "no threads": (with_flags("--threads", "0"), "--threads"),
    "a module that raises": (with_model("raise ValueError('a\\nb')", "cli_bad_2:net"), "ValueError: a"),
    "no study file": (lambda _: ["evolve", "no.toml", "--out", "new"], "no.toml cannot be read"),
    "unknown key": (with_study_file("[data]\ntrain_sizes = 3"), "'data.train_sizes'"),
    "no loss": (lambda _: ["compare"], "no loss is given"),
    "no such loss": (lambda _: ["compare", "no.json"], "no.json cannot be read"),
    "loss not JSON": (with_loss_file("{"), "mine.json is not a JSON file"),
    "loss not text": (with_loss_file(bytes(range(128, 256))), "mine.json"),
    "loss of another kind": (with_loss_file("[1, 2]"), "not a loss file"),
    "loss without terms": (with_loss_file(json.dumps({"format": "lossmith.loss", "version": 1})), '"classes"'),
    "loss with a number too few": (with_loss_file(loss_file(coefficients=[1.0])), "coefficients"),
    "loss with NaN": (with_loss_file(loss_file(coefficients=[1.0, float("nan"), 1.0])), "finite|number of JSON"),
    "loss for other classes": (with_loss_file(loss_file(classes=7)), "7 classes"),
    "a population": (with_loss_file(json.dumps(Loss.stack([mse(), mae()]).to_json())), "population"),
    "damaged provenance": (with_loss_file(loss_file(provenance={"digest": "0"})), "provenance"),
    "one seed": (lambda made: [*with_loss_file(loss_file())(made), "--seeds", "1"], "--seeds is wrong"),
}


class TestBadInput:
    @pytest.mark.parametrize("name", BAD)
    def test_one_sentence_and_nothing_left_behind(self, run: Run, made: Path, tmp_path: Path, name: str) -> None:
        make, match = BAD[name]
        arguments = make(made)
        before = files(tmp_path)
        assert re.search(match, run.refused(*arguments)), run.err
        left = {name: content for name, content in files(tmp_path).items() if "__pycache__" not in name}
        assert left == before
        assert not Path("new").exists()

    @pytest.mark.parametrize("command", ["evolve", "compare"])
    def test_a_directory_that_is_a_file(self, run: Run, made: Path, command: str) -> None:
        Path("new").write_text("in the way")
        arguments = with_flags()(made) if command == "evolve" else with_loss_file(loss_file(name="mine"))(made)
        assert "new cannot be made" in run.refused(*arguments)
        assert Path("new").read_text() == "in the way"

    def test_a_study_directory_for_a_study_file(self, run: Run, study: Path) -> None:
        assert "--out study" in run.refused("evolve", study)

    @pytest.mark.parametrize(
        "content", [b"SQLite format 3\0" + bytes(4000), b"not a database at all" * 300], ids=["zero", "text"]
    )
    @pytest.mark.parametrize("command", ["evolve", "compare", "show"])
    def test_a_damaged_database(self, run: Run, study: Path, content: bytes, command: str) -> None:
        (study / "study.db").write_bytes(content)
        before = files(study)
        arguments = {"evolve": ["evolve", "--out"], "compare": ["compare"], "show": ["show"]}[command]
        place = study / "best.json" if command == "compare" else study
        assert "study.db" in run.refused(*arguments, place)
        assert files(study) == before

    def test_an_empty_database(self, run: Run, study: Path) -> None:
        """As after a start that was killed at once: nothing to show, and the study begins."""
        (study / "study.db").write_bytes(b"")
        assert "stopped in its first moments; begin it" in run.refused("show", study)
        run("evolve", "--out", study, "--quiet")
        assert candidates(study) == 4

    def test_a_page_of_the_database_is_damaged(self, run: Run, study: Path) -> None:
        content = bytearray((study / "study.db").read_bytes())
        content[4096:] = b"\xff" * (len(content) - 4096)
        (study / "study.db").write_bytes(content)
        for words in (f"evolve --out {study}", f"show {study}", f"compare {study}/best.json"):
            assert "study.db" in run.refused(*words.split())

    def test_a_database_of_another_version(self, run: Run, study: Path) -> None:
        with sqlite3.connect(study / "study.db") as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
        for words in (f"evolve --out {study}", f"show {study}", f"compare {study}/best.json"):
            assert "version 99" in run.refused(*words.split())

    @pytest.mark.parametrize("command", ["evolve", "compare"])
    def test_a_locked_database(
        self, run: Run, study: Path, monkeypatch: pytest.MonkeyPatch, command: str, few: None
    ) -> None:
        monkeypatch.setattr(importlib.import_module("lossmith.study.opening"), "WAIT_SECONDS", 0.05)
        arguments: list[str | Path] = (
            ["evolve", "--out", study, "--generations", "2"]
            if command == "evolve"
            else ["compare", study / "best.json", *QUICK]
        )
        connection = sqlite3.connect(study / "study.db", isolation_level=None)
        connection.execute("BEGIN EXCLUSIVE")
        before = files(study)
        try:
            assert "locked by another program" in run.refused(*arguments, "--quiet")
            after = files(study)
            assert {name for name in after if after[name] != before.get(name)} <= {"study.toml"}
            assert not (study / "rival").exists()
        finally:
            connection.close()
        run(*arguments, "--quiet")

    @pytest.mark.parametrize("command", ["evolve", "compare"])
    def test_a_study_that_another_process_works_on(self, run: Run, study: Path, command: str) -> None:
        arguments: list[str | Path] = (
            ["evolve", "--out", study] if command == "evolve" else ["compare", study / "best.json"]
        )
        with Store(study):
            assert "another process" in run.refused(*arguments)
            assert "ended" in run("show", study)

    def test_a_study_file_that_was_changed(self, run: Run, study: Path) -> None:
        text = (study / "study.toml").read_text()
        (study / "study.toml").write_text(text.replace("lr = 0.05", "lr = 0.06"))
        assert "recipe.lr" in run.refused("evolve", "--out", study)

    @pytest.mark.parametrize("command", ["evolve", "compare"])
    def test_no_place_for_the_pictures(self, run: Run, study: Path, command: str, few: None) -> None:
        shutil.rmtree(study / "figures")
        (study / "figures").write_text("in the way")
        arguments: list[str | Path] = (
            ["evolve", "--out", study] if command == "evolve" else ["compare", study / "best.json", *QUICK]
        )
        assert "study/figures is no folder, which a study keeps there; remove it" in run.refused(*arguments, "--quiet")

    def test_a_full_disk(self, study: Path, tmp_path: Path) -> None:
        """A limit on the size of a file does what a full disk does; with room again, the study goes on."""
        command = [*LOSSMITH, "evolve", "--out", str(study), "--generations", "40", "--quiet"]
        limit = f"ulimit -f {((study / 'study.db').stat().st_size + 8192) // 1024}; "
        # The measurement of coverage writes a file of its own, under the same limit.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
        result = subprocess.run(
            ["bash", "-c", limit + shlex.join(command)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=environment,
        )
        assert (result.returncode, result.stdout) == (2, ""), result.stderr
        assert result.stderr.startswith("lossmith: ")
        assert result.stderr.count("\n") == 1
        stored = candidates(study)
        assert 4 <= stored < 160
        with Store(study):
            assert candidates(study) == stored


ATTACK = ["--train-size", "150", "--hidden", "8", "--epochs", "2", "--training", "population", "--seeds", "2"]


class TestAttack:
    def test_json(self, run: Run) -> None:
        words = ["--data", "digits", "--model", "mlp", "--epsilon", "0", "0.05", "0.1", "--json", *ATTACK]
        document = json.loads(run("attack", "cross-entropy", "mse", *words))
        assert run.err == ""
        assert {"clean_accuracy", "accuracy", "masking"} <= document.keys()
        for name in ("cross-entropy", "MSE"):
            clean = document["clean_accuracy"][name]
            assert clean["n"] == len(clean["values"]) == 2
            assert document["accuracy"][name].keys() == document["masking"][name].keys() == {"0", "0.05", "0.1"}
            for attack, figure in document["accuracy"][name]["0"].items():
                assert figure["values"] == clean["values"], attack
            assert document["accuracy"][name]["0.1"]["worst"]["mean"] < clean["mean"]
            assert document["masking"][name]["0.1"]["black_box_only"] is None
            assert document["masking"][name]["0.1"]["not_run"] == ["black box (square, with pgd)"]
        assert [row["measure"] for row in document["tests"]] == ["ε = 0.05", "ε = 0.1"]
        assert document["max_pixel"] == 16

    def test_clean_accuracy_is_that_of_an_ordinary_evaluation(self, run: Run) -> None:
        document = json.loads(run("attack", "mse", "--epsilon", "0", "--json", "--seed", "3", *ATTACK))
        settings = EvolveSettings.model_validate(
            {"data": {"train_size": 150}, "model": {"hidden": [8]}, "recipe": {"epochs": 2}}
        )
        job = Problem.open(settings)
        seeds = [derive(3, "networks", number) for number in range(2)]
        trained_loss = train_loss(job.task, "MSE", mse(), seeds, settings.recipe)
        inputs, targets = job.test()
        wanted = accuracy(trained_loss.networks.logits(inputs), targets).tolist()
        assert document["clean_accuracy"]["MSE"]["values"] == wanted

    @pytest.mark.integration
    def test_tables_and_picture(self, run: Run, tmp_path: Path) -> None:
        words = ["--attacks", "fgsm", "square", "--queries", "20", "--library-samples", "20", *ATTACK]
        text = run("attack", "mse", "--epsilon", "0", "0.1", "baikal", *words, "--figure", "two.svg")
        for word in ("Accuracy under attack", "square", "worst", "Is it real?", "not run", "Holm-corrected", "two.svg"):
            assert word in text
        assert "Not run: more steps (fgsm and pgd)" in text
        assert "MSE" in text
        assert "Baikal" in text
        assert (tmp_path / "two.svg").read_text().startswith("<?xml")

    def test_never_without_the_masking_report(self, run: Run) -> None:
        text = run("attack", "mse", "--attacks", "fgsm", *ATTACK)
        assert "Signs of gradient masking" in text
        assert "Not run: more steps (fgsm and pgd), black box (square, with pgd)." in text

    def test_tables_fit_a_terminal_of_80_columns(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("lossmith.cli.attack.output", lambda: Plain(width=80))
        lines = run("attack", "mse", "cross-entropy", "--attacks", "fgsm", "pgd", *ATTACK).splitlines()
        tables = [line.rstrip() for line in lines if line[:1] in ("┏", "┃", "┡", "│", "├", "└")]
        assert len(tables) > 15
        assert all(line[-1] in "┓┃┩│┤┘" and len(line) <= 80 for line in tables)
        assert "…" not in "".join(tables)

    @pytest.mark.integration
    def test_autoattack_is_its_three_parts(self, run: Run) -> None:
        words = ["--attacks", "autoattack", "--library-samples", "10", "--queries", "5", "--iterations", "3", "--json"]
        document = json.loads(run("attack", "mse", *words, "--epsilon", "0.1", *ATTACK))
        assert document["accuracy"]["MSE"]["0.1"].keys() == {"apgd-ce", "apgd-dlr", "square", "autoattack", "worst"}
        assert document["samples"]["autoattack"] == 10

    def test_a_loss_of_a_study_brings_its_settings(self, run: Run, tmp_path: Path) -> None:
        words = ["--train-size", "150", "--hidden", "8", "--epochs", "1", "--population", "4", "--generations", "1"]
        run("evolve", "--out", "study", *words, "--finalists", "1", "--finalist-seeds", "2", "--no-tune", "--quiet")
        document = json.loads(run("attack", "study/best.json", "--seeds", "2", "--json", "--attacks", "fgsm"))
        assert document["settings"]["data"]["train_size"] == 150
        assert document["settings"]["recipe"]["epochs"] == 1

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["attack"], "no loss is given"),
            (["attack", "mse", "--epsilon=-0.1"], "epsilon is -0.1"),
            (["attack", "mse", "--epsilon", "2"], "epsilon is 2"),
            (["attack", "mse", "--attacks", "bomb"], "there is no attack 'bomb'"),
            (["attack", "mse", "--seeds", "0"], "--seeds is 0"),
            (["attack", "mse", "--pgd-steps", "0"], "--pgd-steps is 0"),
            (["attack", "mse", "--figure", "two.gif"], "must end in .png"),
            (["attack", "mse", "--figure", "away/two.png"], "away is no directory"),
            (["attack", "mse", "--data", "clouds.npz"], "flat features"),
            (["attack", "mse", "--data", "wide.npz"], "pixels from -1"),
            (["attack", "mse", "--max-pixel", "0"], "--max-pixel is wrong"),
            (["corruption", "mse", "--silenced", "2"], "silenced"),
            (["basin", "mse", "--points", "4"], "odd"),
            (["evolve", "--out", "study", "--metric", "robust-accuracy", "--data", "clouds.npz"], "flat features"),
            (["evolve", "--out", "study", "--adversary", "fgsm", "--data", "wide.npz"], "pixels from -1"),
            (["evolve", "--out", "study", "--epsilon", "0.3"], "--epsilon has no effect here; leave it out, or add"),
            (["corruption", "mse", "--input-noise", "0.1", "0.1"], "given twice"),
            (["attack", "mse", "--data", "black.npz", "--quiet"], "all pixels of black.npz are 0"),
            pytest.param(
                ["attack", "mse", "--data", "two.npz", "--attacks", "autoattack"],
                "give apgd-ce square instead",
                marks=pytest.mark.integration,
            ),
        ],
    )
    def test_bad_input(
        self, run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
    ) -> None:
        def trained(*_: Any, **__: Any) -> None:
            raise AssertionError("a network was trained before the input was looked at")

        monkeypatch.setattr(Trainer, "train", trained)
        shutil.copy(data, tmp_path / "clouds.npz")
        images = np.linspace(-1, 1, 90 * 16, dtype=np.float32).reshape(90, 1, 4, 4)
        write_npz(tmp_path / "wide.npz", {"x_train": images, "y_train": np.arange(90) % 3})
        black = {"x_train": np.zeros((90, 4, 4), np.uint8), "y_train": np.arange(90) % 3}
        write_npz(tmp_path / "black.npz", black)
        write_npz(tmp_path / "two.npz", {"x_train": (images + 1) / 2, "y_train": np.arange(90) % 2})
        before = files(tmp_path)
        assert sentence in run.refused(*arguments)
        assert files(tmp_path) == before

    def test_a_missing_extra(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in [name for name in sys.modules if name == "art" or name.startswith("art.")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "art", None)
        assert "pip install '.[robust]' in the source of lossmith" in run.refused(
            "attack", "mse", "--attacks", "square"
        )
        run("attack", "mse", "--attacks", "fgsm", "--quiet", *ATTACK)

    def test_interrupted(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        def stopped(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(importlib.import_module("lossmith.analysis.looks"), "robustness", stopped)
        run("attack", "mse", *ATTACK, "--quiet", code=130)
        assert run.err.endswith("so nothing was written.\n")


class TestPareto:
    def test_drawn_and_exported(self, run: Run, tmp_path: Path) -> None:
        words = ["--train-size", "150", "--hidden", "8", "--epochs", "1", "--population", "4", "--generations", "2"]
        words += [
            "--metric",
            "weighted",
            "--epsilon",
            "0.05",
            "--finalists",
            "1",
            "--finalist-seeds",
            "2",
            "--no-tune",
        ]
        text = run("evolve", "--out", "study", *words)
        assert "figures/pareto.png" in text
        assert "robust-accuracy" in text
        assert (tmp_path / "study/figures/pareto.png").read_bytes().startswith(b"\x89PNG")
        text = run("show", "study", "--pareto", "front")
        assert "not dominated" in text
        paths = sorted((tmp_path / "front").iterdir())
        assert paths
        for path in paths:
            assert f"front/{path.name}" in text
            assert load(path).classes == 10
        document = json.loads(run("show", "study", "--pareto", "front", "--json"))
        assert sorted(document["front"]) == [f"front/{path.name}" for path in paths]

    def test_there_is_none(self, run: Run, study: Path, tmp_path: Path) -> None:
        assert "has no front" in run.refused("show", study, "--pareto", "front")
        assert not (tmp_path / "front").exists()


class TestExplain:
    @pytest.mark.parametrize("name", CATALOG.names)
    def test_every_named_loss(self, run: Run, name: str) -> None:
        text = run("explain", name)
        assert run.err == ""
        words = ["gain m/n", "invariant, exact", "attracts", "ε 0"]
        powers = isinstance(find(name, 10), PowerLoss)
        words += ["γ(h, y)", "label smoothing", "regime", "as published"] if powers else ["Not shown", "read off φ"]
        for word in words:
            assert word in text
        assert find(name, 10).name in text
        assert ("for 10 classes, since none are given" in " ".join(text.split())) == CATALOG[name].by_classes
        assert "since none are given" not in run("explain", name, "--classes", "10")

    def test_a_loss_that_trains_is_not_said_to_be_unable_to(self, run: Run) -> None:
        """Theorem 3 as printed rejects it; what pulls the label up is m, as autograd finds at equal logits."""
        text = " ".join(run("explain", "noise-robust:0.2").replace("│", " ").split())
        assert "m > 0: the label is pulled up from the start" in text
        assert "theorem 3 as printed rejects it, as it does many losses that train: go by the exact form" in text
        assert "cannot train" not in text
        logits = torch.zeros(1, 10, dtype=torch.float64, requires_grad=True)
        find("noise-robust:0.2", 10).value(logits, torch.tensor([3])).sum().backward()
        assert logits.grad is not None
        assert logits.grad[0, 3] < 0 < logits.grad[0, 0]

    def test_plain_words_come_first(self, run: Run) -> None:
        text = run("explain", "cross-entropy", "mae", "--classes", "10")
        words, _, _ = text.partition("┏")
        assert words.split("\n")[0].rstrip() == "cross-entropy, 10 classes"
        assert "–  It pulls as cross-entropy does." in words
        assert "lets go of labels that the network hardly believes" in " ".join(words.split())
        assert max(map(len, words.splitlines())) <= 80

    def test_what_the_page_says(self, run: Run) -> None:
        text = run("explain", "paper/mnist")
        for words in (
            "c1 = 1951",
            "14.035 × the first",
            "theorem 3 as printed",
            "repels below ε = 0.4692 (h_T = 0.5308)",
        ):
            assert words in text
        text = run("explain", "label-smoothing:0.2", "mae", "--classes", "5")
        assert "α = 0.2 of φ = y log h" in text
        assert "cross-entropy smoothed" in text
        assert "attracts at every ε" in text
        assert "has no effect at every ε" in run("explain", "0,0,1,0,0")

    def test_json(self, run: Run) -> None:
        document = json.loads(run("explain", "focal:3", "baikal", "--classes", "2", "7", "--json"))
        assert run.err == ""
        assert document["pictures"] == []
        pages = [(find(name, n), explain(find(name, n), n)) for n in (2, 7) for name in ("focal:3", "baikal")]
        wanted = [{**page.to_json(), "words": plain_words(loss, page)} for loss, page in pages]
        assert document["losses"] == json.loads(json.dumps(wanted))

    def test_several_numbers_of_classes_stand_side_by_side(self, run: Run) -> None:
        text = run("explain", "baikal", "--classes", "4", "100")
        assert re.search(r"classes n +│ 4 +│ 100", text)
        assert "ε = 0.5 (h_T = 0.5)" in text
        assert "ε = 0.9 (h_T = 0.1)" in text

    @pytest.mark.parametrize("lam", ["-1,0,0,-1,0,2,0,0", "[-1, 0, 0, -1, 0, 2, 0, 0]", "-1 0 0 -1 0 2 0 0"])
    def test_lambda_may_begin_with_a_minus(self, run: Run, lam: str) -> None:
        document = json.loads(run("explain", lam, "--json"))
        assert document["losses"][0]["phi"] == taylor([-1, 0, 0, -1, 0, 2, 0, 0]).formula()

    def test_a_file_says_its_number_of_classes(self, run: Run, study: Path) -> None:
        best = study / "best.json"
        document = json.loads(run("explain", best, "mse", "--json"))
        assert [page["classes"] for page in document["losses"]] == [CLASSES, CLASSES]
        assert f"made for {CLASSES} classes, not 9" in run.refused("explain", best, "--classes", "9")

    def test_pictures(self, run: Run) -> None:
        text = run("explain", "mse", "paper/allcnnc", "--figure", "here/page.png", "--figure3", "three.svg")
        assert "Picture: here/page.png" in text
        assert Path("here/page.png").read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in Path("three.svg").read_bytes()
        assert run("explain", "--figure3", "paper.pdf").strip() == "Picture: paper.pdf"
        assert Path("paper.pdf").read_bytes().startswith(b"%PDF")
        assert json.loads(run("explain", "--figure3", "again.png", "--json")) == {
            "losses": [],
            "pictures": ["again.png"],
        }

    def test_latex(self, run: Run) -> None:
        text = run("explain", "mse", "paper/mnist", "--latex")
        assert text.startswith("% MSE\n")
        assert "gamma" in text
        assert text.count("{") == text.count("}")

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ([], "no loss is given; name a loss file, λ, or one of cross-entropy"),
            (["entropy"], "there is no loss 'entropy'"),
            (["1,2,3"], "λ has 3 numbers; a Taylor loss takes 5 (order 2), 8 (order 3)"),
            (["nan,0,0,0,0,0,0,0"], "λ has a number that is not finite"),
            (["mse", "--classes", "1"], "at least 2 classes, not 1"),
            (["mse", "--classes", "5", "5"], "--classes names 5 twice"),
            (["mse", "--epsilon", "0"], "ε = 0 is outside (0, 1)"),
            (["mse", "--epsilon", "0.5", "1.5"], "ε = 1.5 is outside (0, 1)"),
            (["mse", "--epsilon", "nan"], "ε = nan is outside (0, 1)"),
            (["label-smoothing:1"], "α in [0, 1), not 1"),
            (["label-smoothing:-0.5"], "α in [0, 1), not -0.5"),
            (["focal:nan"], "takes a focusing parameter from 0 to 1000"),
            (["gce:2"], "q in (0, 1], not 2"),
            (["mse", "mse"], "mse is given twice"),
            (["mse", "--figure", "page.bmp"], "must end in .png, .svg, .pdf"),
            (["--figure", "page.png", "--figure3", "three.png"], "--figure draws the losses that are given"),
            (["."], ". is a directory"),
            (["none.json"], "none.json cannot be read"),
            (["mse", "--classes", "99999999999999999999"], "up to 1000000000 classes"),
            (["mse", "--json", "--latex"], "--json and --latex"),
            (["mse", "--figure", "a.png", "--figure3", "a.png"], "name the same file a.png"),
            (["mse", "--figure", "a.png", "--figure3", "no/no/b.png"], "no is not there; make that first"),
            (["1,2,3,4," * 80], "λ has 320 numbers"),
            (["x" * 300], "there is no loss 'xxx"),
            (
                ["1e308,1e308,1e308,1e308,1e308,1e308,1e308,1e308"],
                "so large that the coefficients of its loss overflow",
            ),
            (["0", "0", "0", "-1"], "put all numbers of a λ into one pair of quotes"),
            (["poly:1e308", "--figure", "a.png"], "cannot be drawn"),
        ],
    )
    def test_bad_input(self, run: Run, arguments: list[str], words: str) -> None:
        assert words in run.refused("explain", *arguments)
        assert list(Path().iterdir()) == []

    def test_losses_may_stand_after_the_numbers(self, run: Run) -> None:
        wanted = run("explain", "mse", "baikal", "--classes", "3", "4", "--epsilon", "0.5", "--json")
        assert run("explain", "--classes", "3", "4", "mse", "--epsilon", "0.5", "baikal", "--json") == wanted

    def test_the_strip_shows_each_change_whatever_its_width(self, run: Run) -> None:
        for losses in (["label-smoothing:0.01"], ["label-smoothing:0.01", "mse", "baikal", "mae", "paper/mnist"]):
            assert "ε 0 ±++" in run("explain", *losses)
        assert "−0" not in re.sub(r"−0\.|e−0", "", run("explain", "0,0,0,0,0"))

    def test_a_loss_that_the_invariant_rejects_and_that_may_train(self, run: Run) -> None:
        text = " ".join(run("explain", "0,0,0,-10,0,-6.2,30,0").replace("│", " ").split())
        assert "m ≤ 0: the label is not pulled up at h = 1/n, but from h_T = 0.1053 on" in text
        assert "turn the sign" not in text
        assert "the loss is −Σφ, so turn the sign of φ" in " ".join(run("explain", "expr:-y*log(h)").split())
        assert "theorem 3 lets it pass" in text

    def test_many_classes_cost_no_more(self, run: Run) -> None:
        document = json.loads(run("explain", "mse", "--classes", "1000000", "--figure", "a.png", "--json"))
        assert document["losses"][0]["gain"] == pytest.approx(2e-6)

    def test_names_are_no_mathematics(self, run: Run) -> None:
        save(PowerLoss(mse().terms, mse().coefficients, None, "$x^{$ " + "long " * 20), "odd.json")
        run("explain", "odd.json", "--figure", "a.png", "--figure3", "b.png")
        assert all(Path(name).read_bytes().startswith(b"\x89PNG") for name in ("a.png", "b.png"))

    def test_a_console_of_another_encoding(self) -> None:
        environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
        result = subprocess.run(
            [*LOSSMITH, "explain", "mse"], capture_output=True, text=True, env=environment, check=True
        )
        assert "attracts at every epsilon" in result.stdout
        assert "h^2" in result.stdout
        assert "?" not in result.stdout

    def test_a_picture_that_cannot_be_written(self, run: Run) -> None:
        Path("file").write_text("")
        assert "cannot be made" in run.refused("explain", "mse", "--figure", "file/page.png")

    def test_it_loads_nothing_that_it_does_not_need(self) -> None:
        """The page must be there at once: what takes long to import is left to the commands that need it."""
        program = (
            "import sys; from lossmith.cli import main; main(['explain', 'mse', 'paper/mnist']); "
            "print({'cmaes', 'matplotlib', 'scipy', 'sklearn', 'lossmith.study'} & set(sys.modules))"
        )
        result = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
        assert result.stdout.splitlines()[-1] == "set()"


class TestTrace:
    TINY = ("--train-size", "60", "--hidden", "4", "--epochs", "3", "--batch-size", "30", "--training", "population")

    def test_a_first_run(self, run: Run, data: Path) -> None:
        out = run("trace", "cross-entropy", "paper/mnist", "--data", data, "--samples", "20", *self.TINY)
        assert {path.name for path in Path("trace").iterdir()} == {"trace.json", "trace.npz", "figures"}
        assert Path("trace/figures/trace.png").read_bytes().startswith(b"\x89PNG")
        for words in ("Share of repelled samples", "TaylorGLO (MNIST)", "epoch 3", "accuracy", "trace/trace.npz"):
            assert words in out
        assert "training" in run.err
        document = json.loads(Path("trace/trace.json").read_text())
        assert [row["name"] for row in document["losses"]] == ["cross-entropy", "TaylorGLO (MNIST)"]
        assert Loss.from_json(document["losses"][1]["loss"]) == find("paper/mnist", CLASSES)
        assert document["settings"]["data"]["source"] == data.name
        with np.load("trace/trace.npz", allow_pickle=False) as arrays:
            assert arrays["losses"].tolist() == ["cross-entropy", "TaylorGLO (MNIST)"]
            assert arrays["exact"].shape == arrays["published"].shape == arrays["vector"].shape == (2, 4, 20)
            share = (arrays["exact"] < 0).mean(-1)
            assert document["losses"][1]["repelled"]["exact"] == pytest.approx(share[1].tolist())

    def test_the_same_again(self, run: Run, data: Path) -> None:
        arguments = ["baikal", "mse", "--data", str(data), "--quiet", "--seed", "4", *self.TINY]
        assert run("trace", *arguments, "--out", "one") == run("trace", *arguments, "--out", "two") == run.err == ""
        assert files(Path("one")) == files(Path("two"))
        run("trace", *arguments, "--out", "two", "--seed", "5")
        assert files(Path("one")) != files(Path("two"))

    def test_all_samples_and_svg(self, run: Run, data: Path) -> None:
        run("trace", "mae", "--data", data, "--samples", "all", "--svg", "--quiet", *self.TINY, "--training", "auto")
        assert {path.name for path in Path("trace/figures").iterdir()} == {"trace.png", "trace.svg"}
        with np.load("trace/trace.npz", allow_pickle=False) as arrays:
            assert arrays["exact"].shape == (1, 4, 60)

    def test_a_winner_brings_its_settings(self, run: Run, study: Path) -> None:
        document = json.loads(run("trace", "cross-entropy", study / "best.json", "--epochs", "2", "--json"))
        assert run.err == ""
        kept = json.loads((study / "best.json").read_text())["provenance"]["settings"]
        assert document["settings"]["model"] == kept["model"]
        assert document["settings"]["recipe"] == {**kept["recipe"], "epochs": 2}
        assert len(document["losses"][0]["accuracy"]) == 3

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ([], "no loss is given"),
            (["mse", "--samples", "0"], "--samples is 0; give a number from 1, or all"),
            (["mse", "--lr", "-1"], "--lr is wrong"),
            (["mse", "--data", "nowhere.npz"], "nowhere.npz"),
            (["nothing"], "there is no loss 'nothing'"),
            (["1,2"], "λ has 2 numbers"),
            (["mse", "mse"], "given twice"),
            (["mse", "--device", "nonsense"], "the device 'nonsense' cannot be used"),
            (["mse", "--threads", "0"], "--threads is 0"),
        ],
    )
    def test_bad_input(self, run: Run, arguments: list[str], words: str) -> None:
        assert words in run.refused("trace", *arguments)
        assert list(Path().iterdir()) == []

    def test_a_loss_for_another_number_of_classes(self, run: Run, study: Path) -> None:
        before = files(Path())
        assert f"made for {CLASSES} classes" in run.refused("trace", study / "best.json", "--data", "digits")
        assert files(Path()) == before

    def test_a_place_that_cannot_be_written(self, run: Run, data: Path) -> None:
        Path("file").write_text("")
        assert "file is no directory" in run.refused("trace", "mse", "--data", data, "--out", "file/trace", *self.TINY)
        Path("trace/figures/trace.png").mkdir(parents=True)
        assert "trace.png is a directory" in run.refused("trace", "mse", "--data", data, *self.TINY)

    def test_an_interrupt_leaves_nothing(self, run: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def stopped(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(importlib.import_module("lossmith.study.analyses"), "trace", stopped)
        run("trace", "mse", "--data", data, *self.TINY, code=130)
        assert run.err.endswith("A trace is written at its end, so nothing was written.\n")
        assert list(Path().iterdir()) == []

    def test_winners_of_different_studies(self, run: Run, study: Path) -> None:
        document = json.loads((study / "best.json").read_text())
        document["provenance"]["settings"]["recipe"]["lr"] = 0.123
        Path("other.json").write_text(json.dumps(document))
        assert "recipe.lr" in run.refused("trace", study / "best.json", "other.json")

    def test_samples_are_those_that_were_there(self, run: Run, data: Path) -> None:
        document = json.loads(run("trace", "mse", "--data", data, "--samples", "1000", "--json", *self.TINY))
        assert (document["samples"], document["training"], document["device"]) == (60, "mlp", "cpu")


class TestInterrupt:
    def test_a_search_is_stopped_and_goes_on(self, run: Run, data: Path) -> None:
        """The signal comes when the first generation is told on standard error."""
        arguments = list(TINY)
        arguments[arguments.index("--generations") + 1] = "5000"
        with subprocess.Popen(
            [*LOSSMITH, "evolve", "--out", "study", "--data", str(data), *arguments],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            # What a shell starts in the background ignores interrupts, and so would this.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process:
            assert process.stderr is not None
            lines = []
            for line in process.stderr:
                lines.append(line)
                if line.startswith("generation 2/5000"):
                    process.send_signal(signal.SIGINT)
                    break
            out, rest = process.communicate(timeout=60)
        assert process.returncode == 130, (lines, rest)
        assert out == ""
        assert "Traceback" not in rest
        assert rest.splitlines()[-1] == (
            "lossmith: stopped. What is stored is kept; go on with: lossmith evolve --out study"
        )
        stored = candidates(Path("study"))
        assert stored >= 8
        assert f"in generation {stored // 4 + 1} of 5000" in run("show", "study")
        assert not Path("study/best.json").exists()
        more = stored // 4 + 2
        run("evolve", "--out", "study", "--generations", str(more), "--quiet")
        assert candidates(Path("study")) == 4 * more
        log = [json.loads(line) for line in Path("study/training.log").read_text().splitlines()]
        done = [line["generation"] for line in log if line["stage"] == "search" and line["event"] == "stored"]
        assert len(set(done)) == len(done)
        # The signal can come when a generation is stored and not yet logged.
        assert set(range(more)) - set(done) <= {stored // 4 - 1}

    def test_in_this_process(self, run: Run, study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def stopped(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(importlib.import_module("lossmith.cli.evolve"), "evolve", stopped)
        run("evolve", "--out", study, code=130)
        assert run.err.endswith("go on with: lossmith evolve --out study\n")
        assert run.out == ""

    @pytest.mark.parametrize("command", COMMANDS)
    def test_outside_of_the_work(self, run: Run, study: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
        def stopped(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        place = command if command in ("explain", "explore", "export", "report", "show") else "flags"
        monkeypatch.setattr(importlib.import_module(f"lossmith.cli.{place}"), "parse", stopped)
        run(command, study, code=130)
        why = "Nothing was begun." if command in ("compare", "distill") else "Nothing stored is lost."
        assert run.err == f"\nlossmith: stopped. {why}\n"


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Images of three classes and three sizes, some grey, as ``pets`` in the current directory."""
    rng = np.random.default_rng(0)
    for number in range(90):
        label = number % CLASSES
        pixels = rng.integers(0, 120, (6 + label, 7, 3), dtype=np.uint8) + np.uint8(60 * label)
        path = tmp_path / "pets" / f"class {label}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[..., 0] if number % 7 == 0 else pixels).save(path)
    return Path("pets")


@pytest.mark.integration
class TestImageFolder:
    FLAGS = ("--data", "pets", "--image-size", "6", *TINY[2:], "--train-size", "40")

    @pytest.mark.usefixtures("few")
    def test_from_evolve_to_compare(self, run: Run, pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        run("evolve", "--out", "study", *self.FLAGS, "--quiet")
        kept = tomllib.loads(Path("study/study.toml").read_text())["data"]
        assert (kept["source"], kept["image_size"]) == (str(pets.absolute()), 6)
        assert "channels" not in kept
        Path("sub").mkdir()
        monkeypatch.chdir("sub")
        assert json.loads(run("show", "../study", "--json"))["candidates"] == {"ok": 4}
        run("evolve", "--out", "../study", "--generations", "2", "--quiet")
        assert candidates(Path("../study")) == 8
        run("compare", "../study/best.json", *QUICK, "--quiet")
        document = json.loads(Path("../study/comparison.json").read_text())
        assert document["settings"]["data"]["source"] == "pets"
        assert document["settings"]["data"]["image_size"] == 6
        assert "data.image_size = 6, not 5" in run.refused("compare", "../study/best.json", *QUICK, "--image-size", "5")
        looking = ["../study/best.json", "--seeds", "1", "--quiet"]
        run("attack", *looking, "--attacks", "fgsm", "--samples", "5")
        run("corruption", *looking, "--draws", "1")
        run("trace", "../study/best.json", "--samples", "5", "--quiet")
        described = json.loads(Path("trace/trace.json").read_text())
        assert described["settings"]["data"]["image_size"] == 6

    @pytest.mark.usefixtures("few")
    def test_a_folder_that_moved(self, run: Run, pets: Path) -> None:
        run("evolve", "--out", "study", *self.FLAGS, "--quiet")
        pets.rename("moved")
        assert "pets" in run.refused("compare", "study/best.json", *QUICK)
        run("compare", "study/best.json", *QUICK, "--data", "moved", "--quiet")
        run("evolve", "--out", "study", "--data", "moved", "--quiet")
        (Path("moved") / "class 0" / "0.png").unlink()
        assert "not the data that" in run.refused("compare", "study/best.json", *QUICK, "--data", "moved")

    def test_bad_images_leave_nothing_behind(self, run: Run, pets: Path) -> None:
        assert "--image-size" in run.refused("evolve", "--out", "study", "--data", "pets", *TINY)
        (pets / "class 1" / "1.png").write_bytes(b"no image")
        assert "pets/class 1/1.png cannot be read" in run.refused("evolve", "--out", "study", *self.FLAGS)
        assert not Path("study").exists()

    def test_what_takes_long_is_told_unless_quiet(self, run: Run, pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        images = importlib.import_module("lossmith.data.images")
        monkeypatch.setattr(images, "FIRST_SECONDS", 0.0)
        monkeypatch.setattr(images, "NEXT_SECONDS", 1e9)
        level = logging.getLogger("lossmith").level
        for command in (["evolve", "--out", "study"], ["attack", "mse", "--attacks", "fgsm", "--seeds", "1"]):
            flags = self.FLAGS if command[0] == "evolve" else (*self.FLAGS[:6], "--epochs", "1")
            run(*command, *flags)
            assert run.err.count("1 of 90 images read, the last one ") == 1
            run(*command, *flags, "--quiet")
            assert run.err == ""
        assert logging.getLogger("lossmith").handlers == []
        assert logging.getLogger("lossmith").level == level

    def test_a_model_for_color_on_gray_images(self, run: Run, pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        Path("colourful.py").write_text(
            "from torch import nn\n\n\ndef net(shape, classes):\n"
            "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(64, classes))\n"
        )
        gray = ["evolve", "--out", "study", *self.FLAGS, "--model", "colourful:net"]
        sentence = run.refused(*gray, "--channels", "1")
        assert "the model takes images of 3 channels, but these have 1: convert them with channels = 3" in sentence
        run(*gray, "--channels", "3", "--quiet")


@pytest.mark.integration
class TestDataByName:
    def test_a_name_stays_a_name(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing is read of a file or folder that happens to be called like it; ./svhn would be."""
        arrays = clouds()
        opened: list[str] = []

        def read(name: str, entry: object) -> dict[str, Any]:
            opened.append(name)
            return arrays

        monkeypatch.setattr(importlib.import_module("lossmith.data.registry"), "read_hub", read)
        Path("svhn").mkdir()
        run("evolve", "--out", "study", "--data", "svhn", "--quiet", *TINY)
        assert tomllib.loads(Path("study/study.toml").read_text())["data"]["source"] == "svhn"
        assert json.loads(Path("study/best.json").read_text())["provenance"]["settings"]["data"]["source"] == "svhn"
        run("trace", "study/best.json", "--samples", "5", "--quiet")
        assert opened == ["svhn", "svhn"]
        assert "svhn has no class folders" in run.refused("evolve", "--out", "other", "--data", "./svhn", *TINY)


def test_a_study_of_a_version_without_image_settings_goes_on(run: Run, study: Path) -> None:
    with sqlite3.connect(study / "study.db") as database:
        (text,) = database.execute("SELECT value FROM setting WHERE name = 'settings'").fetchone()
        kept = json.loads(text)
        for key in ("image_size", "channels"):
            assert kept["data"].pop(key, "absent") is None
        database.execute("UPDATE setting SET value = ? WHERE name = 'settings'", (json.dumps(kept),))
        seal(database)
    database.close()
    run("evolve", "--out", study, "--generations", "2", "--quiet")
    assert candidates(study) == 8


# Whose pictures are drawn.
DRAWING = (TestExplain, TestTrace, TestAttack, TestPareto)
DRAWN = {
    "test_a_first_run",
    "test_flags_that_are_not_given_come_from_the_directory",
    "test_settings_are_those_of_the_search",
    "test_quiet_and_svg",
    "test_svg",
    "test_the_whole_way_from_digits_to_the_table",
}
