"""Texts that somebody else wrote: they forge no line, control no terminal, and are no command to copy."""

import json
import logging
import re
import shlex
from pathlib import Path

import pytest

from lossmith import InputError, find, load, mse, save
from lossmith.cli.console import Bar, Plain
from lossmith.cli.streams import OneLine
from lossmith.cli.tables import attack_text, finalists_table, own_model
from lossmith.data import DataSettings, open_source
from lossmith.io import read_json, read_toml
from lossmith.nets import build
from lossmith.report.figures import shown
from lossmith.study import EvolveSettings, check_named, data_line, origin_of, read_pareto
from lossmith.training import checked_device

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
        with pytest.raises(InputError, match=r"unknown model .*: give your own network as package\.module:function"):
            check_named(settings, None, Path("study.toml"))
        with pytest.raises(InputError, match=re.escape("give your own network as package.module:function")):
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
