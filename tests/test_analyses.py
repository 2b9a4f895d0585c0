"""Looks at the networks of a study's losses: what is kept of them, and what is done where nothing can be kept."""

import contextlib
import functools
import importlib
import io
import json
import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lossmith import InputError
from lossmith.analysis import (
    INPUT,
    SILENCED,
    WEIGHT,
    Attacking,
    AttackPlan,
    Corrupting,
    Look,
    Trace,
    Walking,
    corruption_document,
)
from lossmith.cli import main
from lossmith.study import Store, analyses
from lossmith.study.kept import read_record
from lossmith.study.schema import seal
from lossmith.training import tuner
from lossmith.training.executors.base import run_job

STUDIES = Path(__file__).parent / "data" / "version-0.1"
SEARCH = (
    "--data", "digits", "--train-size", "60", "--validation-size", "60", "--hidden", "4", "--epochs", "1",
    "--batch-size", "20", "--training", "population", "--population", "4", "--generations", "1", "--finalists", "1",
    "--finalist-seeds", "2", "--no-tune", "--threads", "1", "--quiet",
)  # fmt: skip
LOOKS = {
    "attack": ("--epsilon", "0", "0.1", "--attacks", "fgsm", "--samples", "20", "--seeds", "2"),
    "corruption": (
        "--input-noise", "0.1", "--weight-noise", "0.5", "--silenced", "0.5", "--draws", "2", "--seeds", "2",
    ),
    "basin": ("--directions", "1", "--points", "3", "--hessian-samples", "20", "--seeds", "2"),
    "trace": ("--samples", "5"),
}  # fmt: skip
OTHER = {"attack": ("--epsilon", "0", "0.2"), "corruption": ("--draws", "1"), "basin": ("--points", "5")}
EXECUTED = importlib.import_module("lossmith.training.executors.base")
each_look = pytest.mark.parametrize("name", list(LOOKS))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made") / "study"
    main(["evolve", "--out", str(directory), *SEARCH])
    return directory


@pytest.fixture
def study(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(made, tmp_path / "study"))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many networks each job had."""
    sizes: list[int] = []

    def counted(job: Any, *others: Any) -> Any:
        sizes.append(len(job.seeds))
        return run_job(job, *others)

    monkeypatch.setattr(EXECUTED, "run_job", counted)
    return sizes


@pytest.fixture
def look(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a look prints as JSON of MSE and the study's loss."""

    def looked(name: str, *arguments: str, losses: tuple[str, ...] = ("mse", "study/best.json")) -> str:
        capsys.readouterr()
        main([name, *losses, *LOOKS[name], "--threads", "1", "--json", *arguments])
        return capsys.readouterr().out

    return looked


def rows(study: Path) -> list[tuple[str, str, str]]:
    with contextlib.closing(sqlite3.connect(study / "study.db")) as connection:
        return connection.execute("SELECT comparison, chunk, result FROM run ORDER BY 1, 2").fetchall()


def change(study: Path, result: str) -> None:
    with contextlib.closing(sqlite3.connect(study / "study.db")) as connection:
        connection.execute("UPDATE run SET result = ?", (result,))
        seal(connection)
        connection.commit()


def sentence(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """The one sentence that a command is refused with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(list(command))
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


class TestKept:
    @each_look
    def test_the_same_again_trains_nothing(
        self, study: Path, trained: list[int], look: Callable[..., str], name: str
    ) -> None:
        first = look(name)
        jobs = [2] if name == "trace" else [2, 2]
        assert trained == jobs
        assert len(rows(study)) == len(jobs)
        assert {analysis.split()[0] for analysis, *_ in rows(study)} == {name}
        assert look(name) == first
        assert trained == jobs
        assert look(name, "--executor", "processes") == first

    @each_look
    def test_what_is_measured_once_is_remembered(
        self, study: Path, trained: list[int], look: Callable[..., str], monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """Another measurement could find another backend the fastest, whose records are others."""
        first = look(name, "--training", "auto")
        monkeypatch.setattr(tuner, "measured_choice", None)
        before = list(trained)
        assert look(name, "--training", "auto") == first
        assert trained == before

    def test_other_code_is_another_record(
        self, study: Path, trained: list[int], look: Callable[..., str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        look("basin")
        before = list(trained)
        monkeypatch.setattr(analyses, "version", lambda name: "9.9.9")
        look("basin")
        assert trained == [*before, *before]
        monkeypatch.setattr(analyses, "source_of", lambda name: "edited")
        look("basin")
        assert trained == [*before, *before, *before]

    @each_look
    def test_other_flags_are_another_record(
        self, study: Path, trained: list[int], look: Callable[..., str], name: str
    ) -> None:
        look(name)
        known, before = len(rows(study)), len(trained)
        changes = [("--seed", "5"), ("--lr", "0.01"), OTHER.get(name, ("--samples", "6"))]
        if name != "trace":
            changes.append(("--seeds", "3"))
        for number, changed in enumerate(changes, 2):
            look(name, *changed)
            assert len(rows(study)) == number * known
            assert len(trained) == number * before

    @pytest.mark.parametrize("name", ["attack", "corruption", "basin"])
    def test_one_that_was_stopped_goes_on(
        self, study: Path, trained: list[int], look: Callable[..., str], monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        def stopped(job: Any, *others: Any) -> Any:
            if trained:
                raise KeyboardInterrupt
            trained.append(len(job.seeds))
            return run_job(job, *others)

        with monkeypatch.context() as context:
            context.setattr(EXECUTED, "run_job", stopped)
            with pytest.raises(SystemExit) as ended:
                look(name)
        assert ended.value.code == 130
        assert len(rows(study)) == 1
        whole = look(name)
        assert len(trained) == 2
        with contextlib.closing(sqlite3.connect(study / "study.db")) as connection:
            connection.execute("DELETE FROM run")
            connection.commit()
        assert look(name) == whole
        assert len(trained) == 4

    def test_a_loss_that_is_added_costs_no_other(
        self, study: Path, trained: list[int], look: Callable[..., str]
    ) -> None:
        look("attack")
        both = json.loads(look("attack", losses=("mae", "study/best.json", "mse")))
        assert len(trained) == 3
        assert len(both["losses"]) == 3

    @each_look
    def test_it_is_found_from_everywhere(
        self,
        study: Path,
        trained: list[int],
        look: Callable[..., str],
        monkeypatch: pytest.MonkeyPatch,
        name: str,
    ) -> None:
        """A loss whose name is taken is called by the path of its file, which does not identify it."""
        first = look(name, losses=("cross-entropy", "study/best.json"))
        assert '"study/best.json"' in first
        before = list(trained)
        monkeypatch.chdir(study)
        assert look(name, losses=("cross-entropy", "best.json")).replace('"best.json"', '"study/best.json"') == first
        assert trained == before

    def test_it_is_told_in_one_line(
        self, study: Path, look: Callable[..., str], caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO, "lossmith"):
            look("attack")
            assert [record for record in caplog.records if "kept" in record.getMessage()] == []
            look("attack")
        told = [record.getMessage() for record in caplog.records if "kept" in record.getMessage()]
        assert told == ["attack of MSE, cross-entropy: as kept in study/study.db"]

    def test_a_loss_by_name_keeps_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: Callable[..., str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        look("attack", "--data", "digits", "--train-size", "60", "--hidden", "4", losses=("mse",))
        assert list(tmp_path.iterdir()) == []


class TestTheStudy:
    def test_it_is_shown_and_goes_on_as_before(
        self, study: Path, trained: list[int], look: Callable[..., str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        def shown() -> str:
            capsys.readouterr()
            main(["show", "study", "--json"])
            return capsys.readouterr().out

        before, best = shown(), (study / "best.json").read_bytes()
        for name in ("attack", "trace"):
            look(name, "--training", "auto")
        assert shown() == before
        del trained[:]
        main(["evolve", "--out", "study", "--threads", "1", "--quiet"])
        assert trained == []
        assert shown() == before
        assert (study / "best.json").read_bytes() == best

    @pytest.mark.parametrize("version", ["short", "plain", "ended"])
    def test_of_version_0_1(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        trained: list[int],
        look: Callable[..., str],
        version: str,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        study = Path(shutil.copytree(STUDIES / version, tmp_path / "study"))
        kept = rows(study)
        first = look("attack", losses=("study/best.json",))
        assert len(trained) == 1
        assert len(rows(study)) == len(kept) + 1
        assert set(kept) < set(rows(study)) or not kept
        assert look("attack", losses=("study/best.json",)) == first
        assert len(trained) == 1
        # It was the older program's: this one has completed its tables, and goes on with it.
        main(["evolve", "--out", "study", "--threads", "1", "--quiet"])
        assert len(trained) == 1


class TestNothingIsKept:
    @pytest.fixture
    def told(self, caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
        with caplog.at_level(logging.INFO, "lossmith"):
            yield lambda: [record.getMessage() for record in caplog.records if "not kept" in record.getMessage()]

    @each_look
    def test_another_process_works_on_the_study(
        self, study: Path, look: Callable[..., str], told: Callable[[], list[str]], name: str
    ) -> None:
        with Store(study):
            found = look(name)
        assert told() == [
            "what is found is not kept, since another process (of this machine) works on the study in study; wait for "
            "it or stop it"
        ]
        assert rows(study) == []
        assert look(name) == found

    def test_the_directory_cannot_be_written(
        self, study: Path, look: Callable[..., str], told: Callable[[], list[str]]
    ) -> None:
        (study / "study.lock").unlink(missing_ok=True)
        (study / "study.lock").mkdir()
        assert json.loads(look("attack"))["accuracy"]
        (line,) = told()
        assert line.startswith("what is found is not kept, since study/study.lock is no regular file")

    @each_look
    def test_the_disk_is_full(
        self,
        study: Path,
        look: Callable[..., str],
        told: Callable[[], list[str]],
        monkeypatch: pytest.MonkeyPatch,
        name: str,
    ) -> None:
        """The figures of a long training are not lost because they cannot be kept."""

        def full(*_: object) -> None:
            raise InputError("study/study.db cannot be written (database or disk is full); make room")

        with monkeypatch.context() as context:
            context.setattr(Store, "write", full)
            found = look(name, "--training", "auto")
        assert told() == [
            "what is found is not kept from here on, since study/study.db cannot be written (database or disk is "
            "full); make room"
        ]
        assert rows(study) == []
        assert json.loads(found)["losses"]


def reads(name: str) -> Callable[[Any], Any]:
    """How the command reads its records."""
    flat, labels = torch.zeros(0, 1), torch.zeros(0, dtype=torch.long)
    kinds = dict.fromkeys((INPUT, WEIGHT, SILENCED), (0.1,))
    looks: dict[str, Look] = {
        "attack": Attacking(flat, labels, 16.0, AttackPlan(epsilons=(0.0, 0.1), attacks=("fgsm",), samples=20)),
        "corruption": Corrupting(flat, labels, kinds, 2, 0, 16.0, flat),
        "basin": Walking(flat, labels, 1, 3, 0, 20),
    }
    return Trace.from_json if name == "trace" else looks[name].read


class TestDamaged:
    @pytest.fixture(scope="class")
    @classmethod
    def seen(cls, made: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
        """A study with the records of one command."""

        @functools.cache
        def see(name: str) -> Path:
            place = tmp_path_factory.mktemp(name)
            shutil.copytree(made, place / "study")
            with contextlib.chdir(place), contextlib.redirect_stdout(io.StringIO()):
                main([name, "mse", "study/best.json", *LOOKS[name], "--threads", "1", "--json"])
            return place

        return see

    @pytest.fixture
    def place(self, seen: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> Path:
        monkeypatch.chdir(tmp_path)
        return Path(shutil.copytree(seen(name) / "study", tmp_path / "study"))

    @each_look
    @pytest.mark.parametrize("result", ["{", "{}"])
    def test_the_command_ends_with_a_sentence(
        self, place: Path, capsys: pytest.CaptureFixture[str], name: str, result: str
    ) -> None:
        change(place, result)
        line = sentence(capsys, name, "mse", "study/best.json", *LOOKS[name], "--threads", "1", "--json")
        assert line.startswith("lossmith: study/study.db is damaged (")
        assert "restore a copy" in line

    @each_look
    @pytest.mark.parametrize("result", [[], 3, "text", {}, {"diverged": [True, False]}, {"name": 1, "accuracy": []}])
    def test_what_is_no_record_is_told(self, name: str, result: Any) -> None:
        with pytest.raises(
            InputError, match=r"study\.db is damaged \(what it holds of the look cannot be read\); restore"
        ):
            read_record(reads(name), result, 2, "the look", Path("study.db"))

    @each_look
    def test_every_part_of_it_is_looked_at(
        self, place: Path, look: Callable[..., str], capsys: pytest.CaptureFixture[str], name: str
    ) -> None:
        """A key that is missing, a value of another kind, a list that is too short: a sentence, or it is not used."""
        _, _, kept = rows(place)[0]
        refused, changed = 0, []
        whole = written(reads(name)(json.loads(kept)))
        for broken in damaged(json.loads(kept)):
            try:
                found = read_record(reads(name), broken, 1 if name == "trace" else 2, "the look", Path("study.db"))
            except InputError:
                refused += 1
            else:
                changed += [] if written(found) == whole else [broken]
        assert refused > 5
        # What can be read and is another record is printed.
        for broken in changed:
            change(place, json.dumps(broken))
            assert json.loads(look(name))


def written(record: Any) -> str:
    """A record as JSON."""
    return json.dumps(corruption_document(record) if isinstance(record, list) else record.to_json())


def damaged(document: Any) -> Iterator[Any]:
    """The document with one thing wrong, at each of its places but deep in its lists."""
    if isinstance(document, dict):
        for name, value in document.items():
            yield {other: kept for other, kept in document.items() if other != name}
            yield {**document, name: "text"}
            for broken in damaged(value):
                yield {**document, name: broken}
    elif isinstance(document, list) and document:
        yield document[:-1]
        yield [*document[:-1], "text"]
        for broken in damaged(document[0]):
            yield [broken, *document[1:]]
