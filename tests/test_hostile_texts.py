"""Texts that somebody else wrote: they forge no line, control no terminal, and are no command to copy."""

import json
import logging
import re
import shlex
import shutil
from pathlib import Path

import matplotlib
import pytest

from lossmith import InputError, find, load, mse, save
from lossmith.cli import main
from lossmith.cli.console import Bar, Plain
from lossmith.cli.streams import OneLine
from lossmith.cli.tables import attack_text, finalists_table, own_model
from lossmith.data import DataSettings, open_source
from lossmith.io import read_json, read_toml
from lossmith.nets import build
from lossmith.report import draw_search
from lossmith.report.figures import shown, styled
from lossmith.study import EvolveSettings, check_named, data_line, export_pareto, origin_of, read_pareto
from lossmith.training import checked_device

OLD = Path(__file__).parent / "data" / "version-0.1" / "ended"
HOSTILE = "a\x1b]0;x\x07b\nWinner: mine\t\u202e"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def is_harmless(text: str) -> bool:
    return not set("\x1b\x07\n\t\u202e") & set(text)


class TestLines:
    """A name from a file stays within its line."""

    def test_a_line_of_the_log(self) -> None:
        record = logging.LogRecord("lossmith", logging.WARNING, "", 0, "%s is there", (HOSTILE,), None)
        line = OneLine("lossmith: %(message)s").format(record)
        assert is_harmless(line)
        assert line.startswith("lossmith: a\\x1b]0;x\\x07b\\nWinner")

    def test_a_line_beside_a_bar(self, capfd: pytest.CaptureFixture[str]) -> None:
        with Bar(quiet=False):
            logging.getLogger("lossmith").warning("%s is there", HOSTILE)
        assert "b\\nWinner: mine" in capfd.readouterr().err

    def test_a_name_in_a_loss_file(self) -> None:
        save(mse().named(HOSTILE), "loss.json")
        assert find("loss.json", 10).name == "a\\x1b]0;x\\x07b\\nWinner: mine\\t\\u202e"

    def test_a_name_of_megabytes(self) -> None:
        save(mse().named("x" * 5_000_000), "loss.json")
        found = find("loss.json", 10)
        assert len(found.name) == 1001
        assert len(repr(found)) < 200

    def test_finalists(self, capsys: pytest.CaptureFixture[str]) -> None:
        row = {"name": HOSTILE, "status": "ok", "mean": 0.5, "std": None, "n": 1}
        Plain(width=200).print(finalists_table([row]))
        assert "b\\nWinner: mine" in capsys.readouterr().out

    def test_data(self) -> None:
        data = {"name": HOSTILE, "class_names": [HOSTILE], "shape": [2], "classes": 1}
        assert is_harmless(data_line({**data, "train": 1, "validation": 1, "test": 1}))

    def test_a_picture(self) -> None:
        assert is_harmless(shown("a\x1b\x07\u202e"))


NO_NAMES = ["x:net; rm -rf ~", "x:net:net", "x y:net", "$(id):net", ":net", "x:", "x..y:net", "x:net\n", "x:a.b"]


class TestCommands:
    """What a reader may copy into a shell is one command with the words that it shows."""

    @pytest.mark.parametrize("name", NO_NAMES)
    def test_a_model_that_has_no_such_name(self, name: str) -> None:
        settings = EvolveSettings.model_validate({"model": {"name": name}})
        with pytest.raises(InputError, match=r"there is no model .*; give your own model as package\.module:function"):
            check_named(settings, None, Path("study.toml"))
        with pytest.raises(InputError, match=re.escape("give your own model as package.module:function")):
            build(name, (4,), 3)

    def test_a_model_of_a_package(self) -> None:
        settings = EvolveSettings.model_validate({"model": {"name": "package.module:function"}})
        with pytest.raises(InputError, match=r"--model package\.module:function$"):
            check_named(settings, None, Path("study.toml"))

    def test_words_of_files_are_quoted(self) -> None:
        settings = EvolveSettings().model_dump()
        settings["model"]["name"] = "x:net; ls"
        assert shlex.split(own_model(settings)) == ["--model", "x:net; ls"]
        settings["objective"] |= {"metric": "robust-accuracy"}
        said = attack_text(settings, Path("my study"))
        assert "'my study/best.json' --epsilon" in said


class TestSizes:
    """A file is no larger than files of its kind are, and a sentence about it fits its kind."""

    def test_a_loss_file_has_one_limit(self) -> None:
        Path("loss.json").write_text(json.dumps({"format": "lossmith.loss", "more": "x" * 2**24}))
        for read in (load, lambda path: origin_of([str(path)])):
            with pytest.raises(InputError, match=r"loss\.json is larger than 16 MiB"):
                read(Path("loss.json"))

    def test_settings(self) -> None:
        Path("study.toml").write_text("# " + "x" * 2**20)
        with pytest.raises(InputError, match=r"study\.toml is larger than 1 MiB"):
            read_toml("study.toml")

    def test_remedies(self) -> None:
        Path("pareto.json").write_text("{")
        with pytest.raises(InputError, match=r"; remove it and run lossmith evolve --out \. again$"):
            read_pareto(Path())
        with pytest.raises(InputError, match=r"; write losses with lossmith\.save$"):
            load("pareto.json")
        with pytest.raises(InputError, match=r"; give the path of one that is whole$"):
            read_json("pareto.json")


@pytest.mark.parametrize("compares", [False, True])
def test_only_a_comparison_takes_accuracy_instead(compares: bool, caplog: pytest.LogCaptureFixture) -> None:
    settings = EvolveSettings().model_dump(mode="json")
    settings["objective"]["metric"] = "unheard-of"
    save(mse(), "best.json", provenance={"digest": "0", "settings": settings})
    origin_of(["best.json"], compares)
    assert ("which is not registered here" in caplog.text) != compares
    assert ("takes accuracy instead of 'unheard-of'" in caplog.text) == compares


@pytest.mark.parametrize("name", ["privateuseone", "xla", "hpu", "cuda:x", "warp drive", "x" * 10_000, "cuda\x1b[31m"])
def test_devices_that_are_not_there(name: str) -> None:
    with pytest.raises(InputError, match=r"^the device ") as caught:
        checked_device(name)
    assert len(str(caught.value)) < 300


def test_data_that_is_not_there_is_not_quoted_whole() -> None:
    with pytest.raises(InputError, match="there is no data") as caught:
        open_source("x" * 10_000, DataSettings())
    assert "x" * 100 not in str(caught.value)


def evil_front(name: str, count: int = 1) -> None:
    """A front whose numbers or provenance are too large."""
    figures = {"accuracy": 1e308, "nll": -1e308}
    row = {"member": 0, "genome": [1.0], "figures": figures, "loss": mse().to_json()}
    kept = {"digest": "0", "settings": {"x": name}, "training": "", "versions": {}}
    document = {
        "figures": list(figures),
        "candidates": [[1e308, -1e308], [-1e308, 1e308]],
        "front": [{"generation": number, **row} for number in range(count)],
        "finalists": {"mean": [1e308, -1e308]},
        "provenance": kept,
    }
    Path("study").mkdir(exist_ok=True)
    Path("study/pareto.json").write_text(json.dumps(document))


class TestFronts:
    def test_figures_that_no_picture_holds(self, caplog: pytest.LogCaptureFixture) -> None:
        shutil.copytree(OLD, "study")
        evil_front("")
        drawn = draw_search(Path("study"))
        assert [path.stem for path in drawn] == ["history", "loss"]
        assert "the front is not drawn: a figure of it is beyond 1e+100" in caplog.text

    def test_files_that_repeat_too_much(self) -> None:
        evil_front("x" * 2**20, 300)
        with pytest.raises(InputError, match=r"more than 256 MiB in all"):
            export_pareto(Path("study"), Path("out"))
        assert not Path("out").exists()

    def test_folders_that_were_made_are_removed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        evil_front("")
        Path("kept").mkdir()

        def full(*_: object) -> None:
            raise InputError("no room")

        monkeypatch.setattr("lossmith.study.pareto.write_all", full)
        with pytest.raises(InputError, match="no room"):
            export_pareto(Path("study"), Path("kept/a/b"))
        assert not list(Path("kept").iterdir())


def test_no_file_beside_the_data_says_how_to_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(matplotlib.rcParams, "text.usetex", True)
    monkeypatch.setitem(matplotlib.rcParams, "font.size", 77.0)
    with styled():
        assert not matplotlib.rcParams["text.usetex"]
        assert matplotlib.rcParams["font.size"] == 10


def test_show_of_a_file_names_the_study(capfd: pytest.CaptureFixture[str]) -> None:
    Path("my own").mkdir()
    save(mse(), "my own/best.json")
    Path("my own/study.db").touch()
    with pytest.raises(SystemExit):
        main(["show", "my own/best.json"])
    assert "my own/best.json is a file; give the directory of its study, 'my own'" in capfd.readouterr().err


def test_a_comparison_that_is_stopped_at_once(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for name in ("read", "compare_losses"):
        with monkeypatch.context() as patched:
            patched.setattr(f"lossmith.cli.compare.{name}", stopped)
            with pytest.raises(SystemExit) as end:
                main(["compare", "mse", "--out", "new", "--data", "digits", "--quiet"])
        assert end.value.code == 130
        assert "stopped. Nothing was begun." in capfd.readouterr().err


@pytest.mark.parametrize("text", ["nce:" + "9" * 5000, "gce:" + "x" * 5000])
def test_a_parameter_without_end_is_cut(text: str) -> None:
    with pytest.raises(InputError) as error:
        find(text, 10)
    assert len(str(error.value)) < 300
