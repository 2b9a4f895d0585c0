"""One SQLite file for a study: every candidate, finalist and record of an analysis, in whole transactions."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lossmith.errors import InputError
from lossmith.study.lock import StudyLock
from lossmith.study.opening import Opened, check_place, clear_errors
from lossmith.study.rows import decoded, encoded, json_of, setting_of, value_of
from lossmith.study.schema import SEALED, prepared

ADD_CANDIDATE = """INSERT INTO candidate VALUES (:generation, :member, :genome, :status, :fitness, :scores, :exact,
:published, :redrawn, :seconds, :figures, :error, :checksum)"""
# By name: where the table is of an older version, the checksum stands before the error.
ADD_FINALIST = """INSERT INTO finalist
(stage, rank, name, origin, loss, status, mean, scores, seconds, figures, error, checksum)
VALUES (:stage, :rank, :name, :origin, :loss, :status, :mean, :scores, :seconds, :figures, :error, :checksum)"""
ADD_RECORD = "INSERT INTO run VALUES (:comparison, :chunk, :result, :seconds, :checksum)"
SET = "INSERT OR REPLACE INTO setting VALUES (:name, :value, :checksum)"
Statement = tuple[str, tuple[Any, ...] | dict[str, Any]]


class Store:
    """The database ``study.db`` of a study directory, held by one process at a time, whose threads may share it.

    Args:
        directory: The study's directory; it must exist.
        readonly: Only look at an existing study, also while another process works on it, and where nothing can be
            written.

    Raises:
        InputError: if another process works on the study, the database is locked, damaged, of another schema version,
            or the disk is full. Every method raises it as well.
    """

    def __init__(self, directory: Path, readonly: bool = False) -> None:
        self.path = directory / "study.db"
        check_place(self.path, not readonly)
        self._guard = threading.RLock()
        self._tallied: dict[str, Any] | None = None
        self._lock = None if readonly else StudyLock(directory)
        try:
            with self._clear_errors():
                self._opened = Opened(self.path, not readonly)
                self._connection = self._opened.connection
                self._version = prepared(self._connection, self.path, not readonly)
            if not readonly:
                # A commit is on the disk when it returns, at a few milliseconds a chunk, and a power cut costs none.
                self.rows("PRAGMA synchronous = FULL")
                self._file = self.path.stat().st_ino
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the database and let go of the study."""
        with self._guard:
            if hasattr(self, "_opened"):
                self._opened.close()
            if self._lock is not None:
                self._lock.release()

    def __enter__(self) -> Store:
        """The store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def setting(self, name: str) -> Any:
        """A stored JSON value, or None."""
        found = self._checked("setting", "SELECT * FROM setting WHERE name = ?", name)
        if not found:
            return None
        return setting_of(name, value_of(found[0]["value"], f"the setting {name!r}", self.path), self.path)

    @property
    def function(self) -> str | None:
        """The name of the function that is the objective; None for the objective of the settings."""
        name: str | None = (self.setting("objective") or {}).get("function")
        return name

    def set(self, name: str, value: Any) -> None:
        """Store a JSON value in a transaction of its own."""
        self.write([self._setting(name, value)])

    def checked_candidates(self) -> list[dict[str, Any]]:
        """All candidates, after they, settings and finalists were seen to be what was stored, before any changes."""
        for row in self._checked("setting", "SELECT * FROM setting"):
            self.setting(row["name"])
        self._checked("finalist", "SELECT * FROM finalist")
        return self.candidates()

    def candidates(self, generation: int | None = None) -> list[dict[str, Any]]:
        """Stored candidates as rows with ``genome``, ``scores`` and ``figures`` decoded, by generation and member."""
        if generation is None:
            return self._checked("candidate", "SELECT * FROM candidate ORDER BY generation, member")
        return self._checked("candidate", "SELECT * FROM candidate WHERE generation = ? ORDER BY member", generation)

    def generations(self) -> int:
        """How many generations are begun: one more than the last that a stored candidate is of."""
        return int(self._row("SELECT coalesce(max(generation) + 1, 0) AS begun FROM candidate")["begun"])

    def is_complete(self, generation: int, population: int) -> bool:
        """Whether all candidates of a generation are stored."""
        count = self._row("SELECT count(*) AS count FROM candidate WHERE generation = ?", generation)["count"]
        return int(count) >= population

    def mean_fitness(self, generation: int) -> float | None:
        """The mean fitness of a generation; None if no candidate of it has one."""
        mean: float | None = self._row("SELECT avg(fitness) AS mean FROM candidate WHERE generation = ?", generation)[
            "mean"
        ]
        return mean

    def best_fitness(self) -> float | None:
        """The highest fitness, or None."""
        best: float | None = self._tally()["best"]
        return best

    def counts(self) -> dict[str, int]:
        """Numbers of ``candidates``, ``untrainable``, ``diverged``, ``failed`` and ``trainings``."""
        return {name: int(value) for name, value in self._tally().items() if name != "best"}

    def verdicts(self) -> dict[str, int]:
        """How many candidates each form of the invariant passes (both, one only, neither), and how many it redrew."""
        return self._whole(
            "SELECT total(exact AND published) AS both, total(exact AND NOT published) AS exact_only, "
            "total(published AND NOT exact) AS published_only, total(NOT exact AND NOT published) AS neither, "
            "total(redrawn) AS redrawn FROM candidate"
        )

    def add_candidates(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Store candidates in one transaction."""
        rows = list(rows)
        before = self._tallied
        self.write((ADD_CANDIDATE, encoded("candidate", row)) for row in rows)
        self._tallied = None if before is None else _with(before, rows)

    def finalists(self, stage: str) -> list[dict[str, Any]]:
        """Stored finalists of a stage, decoded."""
        return self._checked("finalist", "SELECT * FROM finalist WHERE stage = ? ORDER BY rank", stage)

    def add_finalists(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Store finalists in one transaction."""
        self.write((ADD_FINALIST, encoded("finalist", row)) for row in rows)

    def set_and_forget_finalists(self, name: str, value: Any) -> None:
        """Store a JSON value and remove the finalists, because the search goes on, in one transaction."""
        self.write([self._setting(name, value), ("DELETE FROM finalist", ())])

    def forget_finalists(self) -> None:
        """Remove the finalists, because the search goes on."""
        if self._row("SELECT count(*) AS count FROM finalist WHERE stage = 'final'")["count"]:
            self.write([("DELETE FROM finalist WHERE stage = 'final'", ())])

    def record(self, analysis: str, part: str) -> Any:
        """What is kept of a part of an analysis (a comparison, an attack, …), or None.

        Args:
            analysis: The digest of what is measured, and on what.
            part: What was trained or measured together.
        """
        found = self._checked("run", "SELECT * FROM run WHERE comparison = ? AND chunk = ?", analysis, part)
        return value_of(found[0]["result"], "a record of an analysis", self.path) if found else None

    def add_record(self, analysis: str, part: str, result: Any, seconds: float) -> None:
        """Keep the raw figures of a part of an analysis."""
        text = json_of(result, "a record of an analysis")
        row = {"comparison": analysis, "chunk": part, "result": text, "seconds": seconds}
        self.write([(ADD_RECORD, encoded("run", row))])

    def analyses(self) -> list[str]:
        """What parts are kept of, the one that got a part last at the end."""
        return [row["comparison"] for row in self.rows("SELECT comparison FROM run GROUP BY 1 ORDER BY max(rowid)")]

    def records(self, analysis: str) -> dict[str, Any]:
        """All that is kept of an analysis, by part."""
        found = self._checked("run", "SELECT * FROM run WHERE comparison = ? ORDER BY rowid", analysis)
        return {row["chunk"]: value_of(row["result"], "a record of an analysis", self.path) for row in found}

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """The rows of a query, as they stand in the database."""
        with self._guard, self._clear_errors():
            cursor = self._connection.execute(query, values)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def write(self, statements: Iterable[Statement]) -> None:
        """Run statements in one transaction: all of them or none."""
        with self._guard, self._clear_errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                for statement, values in statements:
                    self._connection.execute(statement, values)
                self._check_file()
                self._connection.execute("COMMIT")
                self._tallied = None
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def _check_file(self) -> None:
        """See that what is written is still the study: who removes or replaces a file leaves its writers the old one.

        Raises:
            InputError: if it is not.
        """
        if self._lock is None:
            return
        try:
            same = self.path.stat().st_ino == self._file
        except OSError:
            same = False
        if not same:
            raise InputError(
                f"{self.path} was removed or replaced while this process worked on it; restore it and run the same "
                "command again, or begin another study"
            )

    def _tally(self) -> dict[str, Any]:
        """Counts and the highest fitness; a writer, who alone changes them, counts all candidates only once."""
        with self._guard:
            tally = self._tallied or self._row(
                "SELECT max(fitness) AS best, count(*) AS candidates, total(status = 'untrainable') AS untrainable, "
                "total(status = 'diverged') AS diverged, total(status = 'failed') AS failed, "
                "total(status = 'pruned') AS pruned, "
                "total(json_array_length(scores)) AS trainings FROM candidate"
            )
            if self._lock is not None:
                self._tallied = tally
            return tally

    def _checked(self, table: str, query: str, *values: Any) -> list[dict[str, Any]]:
        sealed = self._version >= SEALED
        return [decoded(table, row, sealed, self.path) for row in self.rows(query, *values)]

    def _setting(self, name: str, value: Any) -> Statement:
        text = json_of(value, f"the setting {name!r}")
        return SET, encoded("setting", {"name": name, "value": text})

    def _row(self, query: str, *values: Any) -> dict[str, Any]:
        (row,) = self.rows(query, *values)
        return row

    def _whole(self, query: str) -> dict[str, int]:
        return {name: int(value) for name, value in self._row(query).items()}

    def _clear_errors(self) -> contextlib.AbstractContextManager[None]:
        return clear_errors(self.path, self._lock is not None)


def _with(tally: dict[str, Any], rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts with those of some more candidates."""
    found = dict(tally)
    for row in rows:
        found["candidates"] += 1
        found["trainings"] += len(row["scores"])
        if row["status"] != "ok":
            found[row["status"]] += 1
        if row["fitness"] is not None:
            found["best"] = row["fitness"] if found["best"] is None else max(found["best"], row["fitness"])
    return found
