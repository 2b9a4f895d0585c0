"""One SQLite file for a study: every candidate, finalist and record of an analysis, in whole transactions."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lossmith.errors import InputError
from lossmith.study.lock import lock_study

SCHEMA_VERSION = 3
WAIT_SECONDS = 3.0

SCHEMA = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE candidate (
    generation INTEGER NOT NULL,
    member     INTEGER NOT NULL,
    genome     TEXT NOT NULL,     -- JSON: where the loss is in the space of the search
    status     TEXT NOT NULL CHECK (status IN ('ok', 'untrainable', 'diverged')),
    fitness    REAL,              -- NULL where there is none
    scores     TEXT NOT NULL,     -- JSON list: the fitness of each training
    exact      INTEGER NOT NULL,  -- 1 if the exact invariant holds
    published  INTEGER NOT NULL,  -- 1 if the published invariant holds
    redrawn    INTEGER NOT NULL,  -- draws that the invariant rejected before this one
    seconds    REAL NOT NULL,
    figures    TEXT NOT NULL DEFAULT '{}',  -- JSON object: other figures by name, a list for each
    PRIMARY KEY (generation, member)
) STRICT;
CREATE TABLE finalist (
    stage   TEXT NOT NULL,        -- 'smoothing' (tuning of label smoothing) or 'final'
    rank    INTEGER NOT NULL,
    name    TEXT NOT NULL,
    origin  TEXT NOT NULL,        -- JSON: where the loss comes from
    loss    TEXT NOT NULL,        -- JSON loss
    status  TEXT NOT NULL,
    mean    REAL,
    scores  TEXT NOT NULL,        -- JSON list: one for each fresh seed
    seconds REAL NOT NULL,
    figures TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (stage, rank)
) STRICT;
CREATE TABLE run (                -- what any analysis keeps; version 0.1 kept comparisons only
    comparison TEXT NOT NULL,     -- digest of what is compared or measured, and on what
    chunk      TEXT NOT NULL,     -- part of it that was trained or measured together
    result     TEXT NOT NULL,     -- JSON: raw figures of every training
    seconds    REAL NOT NULL,
    PRIMARY KEY (comparison, chunk)
) STRICT;
"""
# What brings a database of each older version up to the next: candidates had one figure, and every genome was a vector.
UPGRADES = {
    1: """
ALTER TABLE candidate ADD COLUMN figures TEXT NOT NULL DEFAULT '{}';
ALTER TABLE finalist ADD COLUMN figures TEXT NOT NULL DEFAULT '{}';
""",
    2: "ALTER TABLE candidate RENAME COLUMN theta TO genome;",
}
OLD_COLUMNS = {"theta": "genome"}
ENCODED = ("genome", "origin", "loss", "scores", "figures")
INSERT_CANDIDATE = """INSERT INTO candidate VALUES
(:generation, :member, :genome, :status, :fitness, :scores, :exact, :published, :redrawn, :seconds, :figures)"""
INSERT_FINALIST = """INSERT INTO finalist VALUES
(:stage, :rank, :name, :origin, :loss, :status, :mean, :scores, :seconds, :figures)"""


class Store:
    """The database ``study.db`` of a study directory, held by one process at a time.

    Args:
        directory: The study's directory; it must exist.
        readonly: Only look at an existing study, also while another process works on it.

    Raises:
        InputError: if another process works on the study, the database is locked, damaged, of another schema version,
            or the disk is full. Every method raises it as well.
    """

    def __init__(self, directory: Path, readonly: bool = False) -> None:
        self.path = directory / "study.db"
        if readonly and not self.path.exists():
            raise InputError(f"{directory} holds no study: there is no study.db in it; make one with lossmith evolve")
        self._lock = None if readonly else lock_study(directory)
        address = f"{self.path.absolute().as_uri()}?mode={'ro' if readonly else 'rwc'}"
        try:
            with self._clear_errors():
                # isolation_level=None: transactions begin and end where `write` says, and nowhere else.
                self._connection = sqlite3.connect(address, timeout=WAIT_SECONDS, isolation_level=None, uri=True)
                self._prepare()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the database and let go of the study."""
        if hasattr(self, "_connection"):
            self._connection.close()
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
        rows = self.rows("SELECT value FROM setting WHERE name = ?", name)
        return self._json(rows[0]["value"]) if rows else None

    def set(self, name: str, value: Any) -> None:
        """Store a JSON value in a transaction of its own."""
        self.write([("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, json.dumps(value)))])

    def candidates(self, generation: int | None = None) -> list[dict[str, Any]]:
        """Stored candidates as rows with ``genome``, ``scores`` and ``figures`` decoded, by generation and member."""
        query = "SELECT * FROM candidate WHERE ?1 IS NULL OR generation = ?1 ORDER BY generation, member"
        rows = self.rows(query, generation)
        return [self._decoded(row) for row in rows]

    def generations(self) -> int:
        """How many generations are begun: one more than the last that a stored candidate is of."""
        return int(self._row("SELECT coalesce(max(generation) + 1, 0) AS begun FROM candidate")["begun"])

    def mean_fitness(self, generation: int) -> float | None:
        """The mean fitness of a generation; None if no candidate of it has one."""
        mean: float | None = self._row("SELECT avg(fitness) AS mean FROM candidate WHERE generation = ?", generation)[
            "mean"
        ]
        return mean

    def best_fitness(self) -> float | None:
        """The highest fitness, or None."""
        best: float | None = self._row("SELECT max(fitness) AS best FROM candidate")["best"]
        return best

    def counts(self) -> dict[str, int]:
        """Numbers of ``candidates``, ``untrainable``, ``diverged`` and ``trainings``."""
        return self._whole(
            "SELECT count(*) AS candidates, total(status = 'untrainable') AS untrainable, "
            "total(status = 'diverged') AS diverged, total(json_array_length(scores)) AS trainings FROM candidate"
        )

    def verdicts(self) -> dict[str, int]:
        """How many candidates each form of the invariant passes (both, one only, neither), and how many it redrew."""
        return self._whole(
            "SELECT total(exact AND published) AS both, total(exact AND NOT published) AS exact_only, "
            "total(published AND NOT exact) AS published_only, total(NOT exact AND NOT published) AS neither, "
            "total(redrawn) AS redrawn FROM candidate"
        )

    def add_candidates(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Store candidates in one transaction."""
        self.write((INSERT_CANDIDATE, _encoded(row)) for row in rows)

    def finalists(self, stage: str) -> list[dict[str, Any]]:
        """Stored finalists of a stage, decoded."""
        rows = self.rows("SELECT * FROM finalist WHERE stage = ? ORDER BY rank", stage)
        return [self._decoded(row) for row in rows]

    def add_finalists(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Store finalists in one transaction."""
        self.write((INSERT_FINALIST, _encoded(row)) for row in rows)

    def set_and_forget_finalists(self, name: str, value: Any) -> None:
        """Store a JSON value and remove the finalists, because the search goes on, in one transaction."""
        statement = ("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, json.dumps(value)))
        self.write([statement, ("DELETE FROM finalist", ())])

    def record(self, analysis: str, part: str) -> Any:
        """What is kept of a part of an analysis (a comparison, an attack, …), or None.

        Args:
            analysis: The digest of what is measured, and on what.
            part: What was trained or measured together.
        """
        rows = self.rows("SELECT result FROM run WHERE comparison = ? AND chunk = ?", analysis, part)
        return self._json(rows[0]["result"]) if rows else None

    def add_record(self, analysis: str, part: str, result: Any, seconds: float) -> None:
        """Keep the raw figures of a part of an analysis."""
        self.write([("INSERT INTO run VALUES (?, ?, ?, ?)", (analysis, part, json.dumps(result), seconds))])

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """The rows of a query."""
        with self._clear_errors():
            cursor = self._connection.execute(query, values)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def _row(self, query: str, *values: Any) -> dict[str, Any]:
        (row,) = self.rows(query, *values)
        return row

    def _whole(self, query: str) -> dict[str, int]:
        return {name: int(value) for name, value in self._row(query).items()}

    def write(self, statements: Iterable[tuple[str, tuple[Any, ...] | dict[str, Any]]]) -> None:
        """Run statements in one transaction: all of them or none."""
        with self._clear_errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                for statement, values in statements:
                    self._connection.execute(statement, values)
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def _prepare(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (state,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if state != "ok":
            problem = state.splitlines()[-1]
            raise InputError(f"{self.path} is damaged ({problem}); restore a copy or start in another directory")
        if version == 0 and tables == 0 and self._lock is not None:
            # So `lossmith show` can read while a study writes.
            self._connection.execute("PRAGMA journal_mode = WAL")
            script = f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
            self._connection.executescript(script)
        elif version in UPGRADES and tables:
            self._upgrade(version)
        elif version != SCHEMA_VERSION:
            raise InputError(
                f"{self.path} has schema version {version}, this program reads version {SCHEMA_VERSION}: "
                "use the version of lossmith that made it, or another directory"
            )
        if self._lock is not None:
            # With WAL a power cut can then cost the last transactions, which are computed again, but not the file.
            self._connection.execute("PRAGMA synchronous = NORMAL")

    def _upgrade(self, version: int) -> None:
        """Bring a study of an older schema version up to this one.

        What is only read stays as it is: its rows are completed and renamed as they are decoded.
        """
        if self._lock is not None:
            steps = "".join(UPGRADES[step] for step in range(version, SCHEMA_VERSION))
            self._connection.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")

    def _decoded(self, row: dict[str, Any]) -> dict[str, Any]:
        whole = {"figures": "{}"} | {OLD_COLUMNS.get(name, name): value for name, value in row.items()}
        return {name: self._json(value) if name in ENCODED else value for name, value in whole.items()}

    def _json(self, text: str) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise InputError(
                f"{self.path} is damaged (a value is not JSON); restore a copy or start in another directory"
            ) from None

    @contextlib.contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            text = str(error)
            if "locked" in text or "busy" in text:
                raise InputError(f"{self.path} is locked by another program; close it there and try again") from None
            if self._lock is not None and ("full" in text or "disk I/O" in text):
                raise InputError(
                    f"{self.path} cannot be written ({text}); make room on the disk and run the same command again, "
                    "nothing stored is lost"
                ) from None
            if "readonly" in text or "unable to open" in text:
                raise InputError(f"{self.path} cannot be opened for writing ({text}); check its permissions") from None
            raise InputError(
                f"{self.path} cannot be used ({text}); restore a copy or start in another directory"
            ) from None
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"{self.path} is damaged ({error}); restore a copy or start in another directory"
            ) from None


def _encoded(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with what is JSON encoded; ``figures`` may be left out."""
    whole = {"figures": {}, **row}
    return {name: json.dumps(value) if name in ENCODED else value for name, value in whole.items()}
