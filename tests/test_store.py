"""The database: whole transactions, one process at a time, and one sentence for everything that can go wrong."""

import contextlib
import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossmith.errors import InputError
from lossmith.study import opening
from lossmith.study.lock import StudyLock
from lossmith.study.schema import VERSION, seal
from lossmith.study.store import Store


def candidate(generation: int, member: int, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "generation": generation,
        "member": member,
        "genome": [0.1, -2.5],
        "status": "ok",
        "fitness": 0.5,
        "scores": [0.4, 0.6],
        "exact": 1,
        "published": 0,
        "redrawn": 0,
        "seconds": 0.25,
        "figures": {"accuracy": [0.5, 0.5]},
        "error": None,
    }
    return {**row, **changes}


def finalist(stage: str, rank: int, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "stage": stage,
        "rank": rank,
        "name": "cross-entropy",
        "origin": {"kind": "cross-entropy"},
        "loss": {"terms": []},
        "status": "ok",
        "mean": 0.5,
        "scores": [0.5],
        "seconds": 1.0,
        "figures": {},
        "error": None,
    }
    return {**row, **changes}


@contextlib.contextmanager
def outside(directory: Path, sealing: bool = False) -> Iterator[sqlite3.Connection]:
    """Another program's connection to the database, which gives the rows their checksums in the end if it is asked."""
    with contextlib.closing(sqlite3.connect(directory / "study.db", isolation_level=None)) as connection:
        yield connection
        if sealing:
            seal(connection)


def filled(directory: Path, count: int = 400) -> Path:
    """A closed study with ``count`` candidates, in many pages."""
    with Store(directory) as store:
        store.add_candidates(candidate(number // 20, number % 20, genome=[number / 7] * 8) for number in range(count))
        store.set("settings", {"search": {"population": 20, "generations": 20}})
    return directory / "study.db"


def refused(directory: Path, *words: str, readonly: bool = False) -> str:
    """The one-line sentence with which the store is refused."""

    def look() -> None:
        with Store(directory, readonly=readonly) as store:
            store.candidates()
            store.setting("settings")

    with pytest.raises(InputError) as caught:
        look()
    sentence = str(caught.value)
    assert "\n" not in sentence
    for word in words:
        assert word in sentence
    return sentence


class TestContract:
    def test_empty(self, tmp_path: Path) -> None:
        with Store(tmp_path) as store:
            assert store.candidates() == store.finalists("final") == []
            assert store.setting("settings") is None
            assert store.record("digest", "chunk") is None
            assert store.generations() == 0
            assert store.best_fitness() is store.mean_fitness(0) is None
            assert set(store.counts().values()) == set(store.verdicts().values()) == {0}

    def test_everything_comes_back_in_order(self, tmp_path: Path) -> None:
        rows = [candidate(1, 0), candidate(0, 1, status="untrainable", fitness=None, scores=[]), candidate(0, 0)]
        finalists = [finalist("final", 1), finalist("smoothing", 0), finalist("final", 0, status="diverged", mean=None)]
        with Store(tmp_path) as store:
            store.add_candidates(rows)
            store.add_finalists(finalists)
            store.add_record("digest", "chunk", [{"test": 0.5}], 2.0)
            store.set("way", {"way": "plain"})
            store.set("way", {"way": "population"})
        for readonly in (False, True):
            with Store(tmp_path, readonly=readonly) as store:
                assert store.candidates() == [rows[2], rows[1], rows[0]]
                assert store.candidates(1) == [rows[0]]
                assert store.candidates(7) == []
                assert store.finalists("final") == [finalists[2], finalists[0]]
                assert store.finalists("smoothing") == [finalists[1]]
                assert store.record("digest", "chunk") == [{"test": 0.5}]
                assert store.setting("way") == {"way": "population"}
        with Store(tmp_path) as store:
            store.set_and_forget_finalists("way", {"way": "plain"})
            assert store.setting("way") == {"way": "plain"}
            assert store.finalists("final") == store.finalists("smoothing") == []
            assert len(store.candidates()) == 3

    @given(
        genome=st.recursive(
            st.floats(allow_nan=False, allow_infinity=False) | st.none() | st.booleans() | st.integers() | st.text(),
            lambda part: st.lists(part) | st.dictionaries(st.text(), part),
            max_leaves=8,
        ),
        fitness=st.floats(-1e300, 1e300),
    )
    def test_genomes_come_back_to_the_last_bit(
        self, tmp_path_factory: pytest.TempPathFactory, genome: Any, fitness: float
    ) -> None:
        with Store(tmp_path_factory.mktemp("study")) as store:
            store.add_candidates([candidate(0, 0, genome=genome, fitness=fitness)])
            (row,) = store.candidates()
        assert json.dumps(row["genome"]) == json.dumps(genome)
        assert row["fitness"] == fitness

    def test_the_columns_that_others_read(self, tmp_path: Path) -> None:
        with Store(tmp_path) as store:
            store.add_candidates([candidate(0, 3)])
        with outside(tmp_path) as connection:
            row = connection.execute("SELECT generation, member, genome, status, fitness FROM candidate").fetchone()
        assert row == (0, 3, "[0.1, -2.5]", "ok", 0.5)


class TestTransactions:
    def test_a_second_of_the_same_leaves_nothing(self, tmp_path: Path) -> None:
        with Store(tmp_path) as store:
            store.add_candidates([candidate(0, 0)])
            with pytest.raises(InputError):
                store.add_candidates([candidate(0, 1), candidate(0, 2), candidate(0, 0, fitness=1.0)])
            assert store.candidates() == [candidate(0, 0)]
            store.add_candidates([candidate(0, 1)])
            assert len(store.candidates()) == 2

    @pytest.mark.parametrize("changes", [{"status": "lost"}, {"fitness": "high"}, {"seconds": None}])
    def test_a_wrong_row_leaves_nothing(self, tmp_path: Path, changes: dict[str, Any]) -> None:
        with Store(tmp_path) as store:
            with pytest.raises(InputError):
                store.add_candidates([candidate(0, 0), candidate(0, 1, **changes)])
            assert store.candidates() == []

    def test_a_failing_statement_leaves_nothing(self, tmp_path: Path) -> None:
        statement = ("INSERT INTO setting VALUES (?, ?, '')", ("a", "1"))
        with Store(tmp_path) as store:
            with pytest.raises(InputError, match="no such table"):
                store.write([statement, ("DELETE FROM absent", ())])
            assert store.setting("a") is None

    def test_no_room_leaves_nothing(self, tmp_path: Path) -> None:
        with Store(tmp_path) as store:
            store.add_candidates([candidate(0, 0)])
            store.rows("PRAGMA max_page_count = 20")
            with pytest.raises(InputError, match=r"cannot be written .*full.*; make room on the disk"):
                store.add_candidates(candidate(1, member) for member in range(2000))
            assert store.candidates() == [candidate(0, 0)]
            store.rows("PRAGMA max_page_count = 2000")
            store.add_candidates(candidate(1, member) for member in range(2000))
            assert len(store.candidates()) == 2001

    def test_an_interrupt_leaves_nothing(self, tmp_path: Path) -> None:
        def statements() -> Iterator[tuple[str, tuple[Any, ...]]]:
            yield "INSERT INTO setting VALUES (?, ?, '')", ("a", "1")
            raise KeyboardInterrupt

        with Store(tmp_path) as store:
            with pytest.raises(KeyboardInterrupt):
                store.write(statements())
            assert store.setting("a") is None
            store.set("a", 2)
            assert store.setting("a") == 2

    def test_closing_in_the_middle_leaves_nothing(self, tmp_path: Path) -> None:
        store = Store(tmp_path)

        def statements() -> Iterator[tuple[str, tuple[Any, ...]]]:
            yield "INSERT INTO setting VALUES (?, ?, '')", ("a", "1")
            store.close()
            yield "INSERT INTO setting VALUES (?, ?, '')", ("b", "1")

        with pytest.raises((InputError, sqlite3.Error)):
            store.write(statements())
        with Store(tmp_path) as again:
            assert again.rows("SELECT * FROM setting") == []


class TestOneAtATime:
    def test_another_process(self, tmp_path: Path) -> None:
        program = (
            "import sys, pathlib; from lossmith.study.store import Store; from lossmith.errors import InputError\n"
            "directory = pathlib.Path(sys.argv[1])\n"
            "with Store(directory, readonly=True) as store: print(len(store.candidates()))\n"
            "try: Store(directory)\n"
            "except InputError as error: print(error)\n"
        )
        with Store(tmp_path) as store:
            store.add_candidates([candidate(0, 0), candidate(0, 1)])
            other = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
            store.add_candidates([candidate(0, 2)])
        assert other.stderr == ""
        count, sentence = other.stdout.splitlines()
        assert count == "2"
        assert "another process" in sentence
        assert str(tmp_path) in sentence

    def test_a_killed_process_holds_nothing(self, tmp_path: Path) -> None:
        program = (
            "import sys, pathlib; from lossmith.study.store import Store\n"
            "store = Store(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()\n"
        )
        command = [sys.executable, "-c", program, str(tmp_path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            refused(tmp_path, "another process")
            other.kill()
            other.wait()
            with Store(tmp_path) as store:
                assert store.candidates() == []

    def test_another_thread_lets_go(self, tmp_path: Path) -> None:
        held = StudyLock(tmp_path)
        thread = threading.Thread(target=held.release)
        thread.start()
        thread.join()
        StudyLock(tmp_path).release()

    def test_twice_in_one_process(self, tmp_path: Path) -> None:
        with Store(tmp_path):
            refused(tmp_path, "another process", "wait for it or stop it")
            with Store(tmp_path, readonly=True) as reader:
                assert reader.candidates() == []
        with Store(tmp_path):
            pass

    def test_a_reader_sees_what_is_committed(self, tmp_path: Path) -> None:
        with Store(tmp_path) as store, Store(tmp_path, readonly=True) as reader:
            store.add_candidates([candidate(0, 0)])
            assert len(reader.candidates()) == 1
            with pytest.raises(InputError, match="readonly"):
                reader.set("a", 1)

    def test_a_reader_makes_nothing(self, tmp_path: Path) -> None:
        refused(tmp_path, "holds no study", "lossmith evolve", readonly=True)
        assert list(tmp_path.iterdir()) == []

    def test_a_failed_opening_lets_go(self, tmp_path: Path) -> None:
        (tmp_path / "study.db").mkdir()
        refused(tmp_path)
        (tmp_path / "study.db").rmdir()
        with Store(tmp_path) as store:
            assert store.candidates() == []

    def test_closing_twice(self, tmp_path: Path) -> None:
        store = Store(tmp_path)
        store.close()
        store.close()


class TestLocked:
    @pytest.fixture(autouse=True)
    def _impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(opening, "WAIT_SECONDS", 0.02)

    def test_while_writing(self, tmp_path: Path) -> None:
        with Store(tmp_path) as store, outside(tmp_path) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert store.candidates() == []
            with pytest.raises(InputError, match="locked by another program; close it there and try again"):
                store.add_candidates([candidate(0, 0)])
            other.execute("ROLLBACK")
            store.add_candidates([candidate(0, 0)])
            assert len(store.candidates()) == 1

    def test_while_opening(self, tmp_path: Path) -> None:
        filled(tmp_path, 1)
        with outside(tmp_path) as other:
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
            other.execute("BEGIN EXCLUSIVE")
            refused(tmp_path, "locked by another program")
            refused(tmp_path, "locked by another program", readonly=True)
        with Store(tmp_path) as store:
            assert len(store.candidates()) == 1

    def test_while_beginning(self, tmp_path: Path) -> None:
        with outside(tmp_path) as other:
            other.execute("BEGIN EXCLUSIVE")
            refused(tmp_path, "locked by another program")


class TestDamage:
    @pytest.mark.parametrize("size", [5, 4096, 200_000])
    def test_random_bytes(self, tmp_path: Path, size: int) -> None:
        path = tmp_path / "study.db"
        path.write_bytes(content := random.Random(0).randbytes(size))
        for readonly in (False, True):
            refused(tmp_path, "damaged", "restore a copy or start in another directory", readonly=readonly)
        assert path.read_bytes() == content

    @pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
    def test_cut_short(self, tmp_path: Path, share: float) -> None:
        path = filled(tmp_path)
        path.write_bytes(content := path.read_bytes()[: int(share * path.stat().st_size)])
        for readonly in (False, True):
            refused(tmp_path, "study.db", "restore a copy or start in another directory", readonly=readonly)
        assert path.read_bytes() == content

    def test_any_page_overwritten(self, tmp_path: Path) -> None:
        path = filled(tmp_path)
        content = path.read_bytes()
        assert len(content) > 10 * 4096
        for start in range(0, len(content), 4096):
            page = random.Random(start).randbytes(4096)
            path.write_bytes(content[:start] + page + content[start + 4096 :])
            refused(tmp_path, "study.db", "restore a copy or start in another directory")
            refused(tmp_path, "study.db", "restore a copy or start in another directory", readonly=True)
        path.write_bytes(content)
        with Store(tmp_path) as store:
            assert len(store.candidates()) == 400

    def test_text_in_the_place_of_a_table(self, tmp_path: Path) -> None:
        filled(tmp_path, 1)
        with outside(tmp_path) as other:
            other.execute("DROP TABLE candidate")
        refused(tmp_path, "no such table: candidate")

    @pytest.mark.parametrize("value", ["", "{", "0.5]", "evolve", "[" * 100_000])
    @pytest.mark.parametrize("column", ["genome", "scores"])
    def test_a_value_that_is_not_json(self, tmp_path: Path, column: str, value: str) -> None:
        filled(tmp_path, 2)
        with outside(tmp_path, sealing=True) as other:
            other.execute(
                {"genome": "UPDATE candidate SET genome = ?", "scores": "UPDATE candidate SET scores = ?"}[column],
                (value,),
            )
        refused(tmp_path, "damaged", "not JSON")

    def test_a_setting_that_is_not_json(self, tmp_path: Path) -> None:
        filled(tmp_path, 1)
        with outside(tmp_path, sealing=True) as other:
            other.execute("UPDATE setting SET value = 'settings'")
        refused(tmp_path, "damaged", "not JSON")

    @pytest.mark.parametrize("version", [0, 6, 99, -1])
    def test_another_version(self, tmp_path: Path, version: int) -> None:
        path = filled(tmp_path, 1)
        with outside(tmp_path) as other:
            other.execute(f"PRAGMA user_version = {version}")
        content = path.read_bytes()
        for readonly in (False, True):
            refused(tmp_path, f"schema version {version}", "reads versions 1 to 5", readonly=readonly)
        assert path.read_bytes() == content

    @pytest.mark.parametrize("version", [1, 2, 3, 4])
    def test_an_older_version_is_read_as_it_is_and_upgraded_when_written(self, tmp_path: Path, version: int) -> None:
        path = filled(tmp_path, 3)
        with Store(tmp_path) as store:
            store.add_finalists([finalist("final", 0)])
            rows = store.candidates()
        with outside(tmp_path) as other:
            if version < 3:
                other.execute("ALTER TABLE candidate RENAME COLUMN genome TO theta")
            for table in ("candidate", "finalist"):
                other.execute(f"ALTER TABLE {table} DROP COLUMN error")
            for table in ("candidate", "finalist", "setting", "run") if version < 4 else ():
                other.execute(f"ALTER TABLE {table} DROP COLUMN checksum")
            for table in ("candidate", "finalist") if version == 1 else ():
                other.execute(f"ALTER TABLE {table} DROP COLUMN figures")
            other.execute(f"PRAGMA user_version = {version}")
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        content = path.read_bytes()
        if version == 1:
            rows = [{**row, "figures": {}} for row in rows]
        with Store(tmp_path, readonly=True) as store:
            assert store.candidates() == rows
            assert [row["figures"] for row in store.finalists("final")] == [{}]
        assert path.read_bytes() == content
        with Store(tmp_path) as store:
            store.add_candidates([candidate(9, 0)])
            assert store.candidates() == [*rows, candidate(9, 0)]
        with outside(tmp_path) as other:
            assert other.execute("PRAGMA user_version").fetchone() == (VERSION,)
            names = [row[1] for row in other.execute("PRAGMA table_info(candidate)")]
        assert {"generation", "member", "genome", "status", "fitness", "figures"} < set(names)
        assert "theta" not in names

    def test_a_damaged_older_version_is_not_upgraded(self, tmp_path: Path) -> None:
        path = filled(tmp_path)
        with outside(tmp_path) as other:
            other.execute("ALTER TABLE candidate RENAME COLUMN genome TO theta")
            other.execute("PRAGMA user_version = 2")
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            (root,) = other.execute("SELECT rootpage FROM sqlite_master WHERE name = 'candidate'").fetchone()
        content = path.read_bytes()
        path.write_bytes(content[: 4096 * (root - 1)] + b"\xff" * 4096 + content[4096 * root :])
        content = path.read_bytes()
        refused(tmp_path, "damaged", "restore a copy")
        assert path.read_bytes() == content

    def test_a_database_of_another_program(self, tmp_path: Path) -> None:
        with outside(tmp_path) as other:
            other.execute("CREATE TABLE invoice (number INTEGER)")
        refused(tmp_path, "schema version 0")
        with outside(tmp_path) as other:
            assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("invoice",)]

    def test_killed_before_the_tables_were_made(self, tmp_path: Path) -> None:
        with outside(tmp_path) as other:
            other.execute("PRAGMA journal_mode = WAL")
        with Store(tmp_path) as store:
            store.add_candidates([candidate(0, 0)])
            assert len(store.candidates()) == 1


class TestPlaces:
    @pytest.mark.parametrize("readonly", [False, True])
    def test_a_directory_in_the_way(self, tmp_path: Path, readonly: bool) -> None:
        (tmp_path / "study.db").mkdir()
        refused(tmp_path, "study.db", "cannot be used", "start in another directory", readonly=readonly)
        assert (tmp_path / "study.db").is_dir()

    def test_a_directory_in_the_way_of_the_lock(self, tmp_path: Path) -> None:
        (tmp_path / "study.lock").mkdir()
        refused(tmp_path, "study.lock", "is no regular file", "remove it")
        assert (tmp_path / "study.lock").is_dir()

    def test_no_directory(self, tmp_path: Path) -> None:
        refused(tmp_path / "absent", "study.lock", "cannot be opened")
        assert not (tmp_path / "absent").exists()

    @pytest.mark.parametrize("name", ["a b", "ö", "100%", "what?x=1", "a#b", "file:x"])
    def test_names_that_an_address_would_read_otherwise(self, tmp_path: Path, name: str) -> None:
        directory = tmp_path / name
        directory.mkdir()
        filled(directory, 1)
        assert {path.name for path in directory.iterdir()} == {"study.db", "study.lock"}
        with Store(directory, readonly=True) as store:
            assert len(store.candidates()) == 1

    def test_a_relative_directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        filled(Path())
        assert (tmp_path / "study.db").exists()

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_no_permission(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        refused(tmp_path, "study.lock", "permissions")
        tmp_path.chmod(0o700)
