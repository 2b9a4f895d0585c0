"""Trainings that raise: what the store keeps of them, how the search goes on, and when it stops."""

import logging
import math
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lossmith.errors import InputError
from lossmith.report import summarize
from lossmith.study import Candidate, Study
from lossmith.study.records import error_line
from lossmith.study.rows import LONGEST_ERROR
from lossmith.study.store import Store

OLD = Path(__file__).parent / "data" / "schema-4"
SMALL: dict[str, Any] = {"classes": 10, "population": 4, "generations": 5, "invariant": "none"}


def fitness(candidate: Candidate) -> float:
    return -float(sum(x * x for x in candidate.genome))


def ask(study: Study) -> Candidate:
    candidate = study.ask()
    assert candidate is not None
    return candidate


class TestLines:
    def test_one_line_of_type_and_message(self) -> None:
        assert error_line(ValueError("one\n\ttwo\r\n\x1b[31m\u202e")) == r"ValueError: one two \x1b[31m\u202e"
        assert error_line(KeyboardInterrupt()) == "KeyboardInterrupt"

    @pytest.mark.parametrize("letter", ["x", "\x1b", "é"])
    def test_no_line_is_longer_than_a_row_takes(self, letter: str) -> None:
        line = error_line(RuntimeError(letter * 10_000))
        assert len(line) == LONGEST_ERROR
        assert line.endswith("…")

    def test_an_exception_without_a_text(self) -> None:
        class Broken(Exception):
            def __str__(self) -> str:
                raise TypeError

        assert error_line(Broken()) == "Broken: its message cannot be made (TypeError)"


class TestFailures:
    def test_it_is_stored_and_ranks_last(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "lossmith"), Study(tmp_path, **SMALL) as study:
            first, *others = (ask(study) for _ in range(4))
            study.fail(first, ValueError("no memory"))
            with pytest.raises(InputError, match="not waiting"):
                study.fail(first, ValueError("again"))
            for candidate in others:
                study.tell(candidate, fitness(candidate))
            assert study.generation == 1
            assert study.counts()["failed"] == 1
            study.fail(ask(study), ValueError("no memory"))
            assert study.counts()["failed"] == 2
        rows = [row for row in summarized(tmp_path) if row["status"] == "failed"]
        assert [(row["generation"], row["member"]) for row in rows] == [(0, 0), (1, 0)]
        assert rows[0] | {"seconds": 0.0} == rows[0]
        assert {(row["error"], row["fitness"], tuple(row["scores"])) for row in rows} == {
            ("ValueError: no memory", None, ())
        }
        assert [record.message for record in caplog.records] == [
            "candidate 0 of generation 0 failed (ValueError: no memory): it ranks last, its message is stored, and the "
            "study goes on"
        ]
        assert summarize(tmp_path)["candidates"] == {"failed": 2, "ok": 3}

    def test_the_search_sees_what_it_sees_of_a_diverged_one(self, tmp_path: Path) -> None:
        asked = []
        for name in ("failed", "diverged"):
            with Study(tmp_path / name, **SMALL) as study:
                for _ in range(8):
                    candidate = ask(study)
                    if candidate.member != 1:
                        study.tell(candidate, fitness(candidate))
                    elif name == "failed":
                        study.fail(candidate, RuntimeError())
                    else:
                        study.tell(candidate, math.nan)
                asked.append((ask(study).genome, study.mean_genome))
        assert asked[0] == asked[1]

    def test_it_goes_on_after_a_reopening(self, tmp_path: Path) -> None:
        genomes: list[list[Any]] = [[], []]
        for kept, pause in zip(genomes, (False, True), strict=True):
            place = tmp_path / str(pause)
            study = Study(place, **SMALL)
            for number in range(12):
                if pause:
                    study.close()
                    study = Study(place, **SMALL)
                candidate = ask(study)
                kept.append(candidate.genome)
                if number % 3:
                    study.tell(candidate, fitness(candidate))
                else:
                    study.fail(candidate, RuntimeError(f"number {number}"))
            study.close()
        assert genomes[0] == genomes[1]

    def test_who_is_no_candidate(self, tmp_path: Path) -> None:
        with Study(tmp_path, **SMALL) as study, pytest.raises(InputError, match="is no candidate"):
            study.fail("best", ValueError())  # type: ignore[arg-type]


class TestStop:
    def fail(self, study: Study, messages: dict[int, str], last: int = 4) -> None:
        """Fail each member with the message of its generation, where that has one."""
        while study.generation < last and (candidate := study.ask()) is not None:
            if candidate.generation in messages:
                study.fail(candidate, ValueError(messages[candidate.generation]))
            else:
                study.tell(candidate, fitness(candidate))

    def test_three_generations_of_one_message(self, tmp_path: Path) -> None:
        sentence = r"3 generations in a row have failed with one message \(ValueError: a\); mend"
        with Study(tmp_path, **SMALL) as study:
            with pytest.raises(InputError, match=sentence):
                self.fail(study, dict.fromkeys(range(5), "a"))
            assert study.generation == 3
        # It is opened again without complaint; another generation of that message stops it again.
        with Study(tmp_path, **SMALL) as study:
            with pytest.raises(InputError, match="4 generations in a row"):
                self.fail(study, {3: "a"})
            assert study.generation == 4
            self.fail(study, {}, 5)
            assert study.finished

    @pytest.mark.parametrize(
        "messages",
        [{0: "a", 1: "a", 2: "b", 3: "b"}, {0: "a", 1: "a", 3: "a", 4: "a"}, {0: "a", 2: "a", 4: "a"}],
    )
    def test_what_does_not_stop(self, tmp_path: Path, messages: dict[int, str]) -> None:
        with Study(tmp_path, **SMALL) as study:
            self.fail(study, messages, 5)
            assert study.finished

    def test_one_that_trains_is_enough_to_go_on(self, tmp_path: Path) -> None:
        with Study(tmp_path, **SMALL) as study:
            while (candidate := study.ask()) is not None:
                if candidate.member:
                    study.fail(candidate, ValueError("a"))
                else:
                    study.tell(candidate, fitness(candidate))
            assert study.finished
            assert study.counts()["failed"] == 15

    def test_messages_that_differ_within_a_generation(self, tmp_path: Path) -> None:
        with Study(tmp_path, **SMALL) as study:
            while (candidate := study.ask()) is not None:
                study.fail(candidate, ValueError(str(candidate.member)))
            assert study.finished


class TestOlder:
    """A study that was told six candidates, two of them diverged, by a version that kept no errors."""

    SETTINGS: dict[str, Any] = {"classes": 10, "population": 4, "generations": 4, "seed": 5}  # noqa: RUF012

    @pytest.fixture
    def asked(self, tmp_path: Path) -> Path:
        return Path(shutil.copytree(OLD / "asked", tmp_path / "asked"))

    def test_it_is_read_as_it_is(self, asked: Path) -> None:
        before = {path.name: path.read_bytes() for path in asked.iterdir()}
        rows = summarized(asked)
        assert len(rows) == 6
        assert {row["error"] for row in rows} == {None}
        assert {name: (asked / name).read_bytes() for name in before} == before

    def test_it_goes_on_and_can_fail(self, asked: Path) -> None:
        before = summarized(asked)
        with closing(sqlite3.connect(asked / "study.db")) as connection:
            checksums = connection.execute("SELECT checksum FROM candidate").fetchall()
        with Study(asked, **self.SETTINGS) as study:
            study.fail(ask(study), ValueError("a"))
            assert study.counts()["failed"] == 1
        assert summarized(asked)[:6] == before
        with closing(sqlite3.connect(asked / "study.db")) as connection:
            assert connection.execute("SELECT checksum FROM candidate").fetchall()[:6] == checksums
            assert connection.execute("PRAGMA user_version").fetchone() == (5,)
        with Study(asked, **self.SETTINGS) as study:
            assert study.counts()["failed"] == 1

    def test_what_is_damaged_stays_so(self, asked: Path) -> None:
        with closing(sqlite3.connect(asked / "study.db", isolation_level=None)) as connection:
            connection.execute("UPDATE candidate SET fitness = 7 WHERE member = 1")
        with Store(asked) as store, pytest.raises(InputError, match="its checksum says"):
            store.candidates()

    def test_what_cannot_be_brought_up_to_date_is_damaged(self, asked: Path) -> None:
        with closing(sqlite3.connect(asked / "study.db", isolation_level=None)) as connection:
            connection.executescript(
                "PRAGMA ignore_check_constraints = ON; UPDATE candidate SET status = 'x' WHERE member = 0"
            )
        content = (asked / "study.db").read_bytes()
        for _ in range(2):
            with pytest.raises(InputError, match=r"is damaged \(.*CHECK"):
                Store(asked)
        assert (asked / "study.db").read_bytes() == content


def summarized(directory: Path) -> list[dict[str, Any]]:
    """The candidates of a study that is only read."""
    with Store(directory, readonly=True) as store:
        return store.candidates()
