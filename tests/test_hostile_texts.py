"""Texts that somebody else wrote: they forge no line, control no terminal, and are no command to copy."""

import logging
import re
import shlex
from pathlib import Path

import pytest

from lossmith import InputError, find, mse, save
from lossmith.cli.console import Bar, Plain
from lossmith.cli.streams import OneLine
from lossmith.cli.tables import attack_text, finalists_table, own_model
from lossmith.nets import build
from lossmith.report.figures import shown
from lossmith.study import EvolveSettings, check_named, data_line

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
