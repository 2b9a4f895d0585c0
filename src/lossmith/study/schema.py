"""The tables of a study's database, and how those of older versions are brought up to date."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any

from lossmith.errors import InputError, brief
from lossmith.study.rows import REMEDY, checksum, damaged

VERSION = 5
SEALED = 4
CANDIDATE = """
CREATE TABLE candidate (
    generation INTEGER NOT NULL,
    member     INTEGER NOT NULL,
    genome     TEXT NOT NULL,     -- JSON: where the loss is in the space of the search
    status     TEXT NOT NULL CHECK (status IN ('ok', 'untrainable', 'diverged', 'failed', 'pruned')),
    fitness    REAL,              -- NULL where there is none
    scores     TEXT NOT NULL,     -- JSON list: the fitness of each training
    exact      INTEGER NOT NULL,  -- 1 if the exact invariant holds
    published  INTEGER NOT NULL,  -- 1 if the published invariant holds
    redrawn    INTEGER NOT NULL,  -- draws that the invariant rejected before this one
    seconds    REAL NOT NULL,
    figures    TEXT NOT NULL DEFAULT '{}',  -- JSON object: other figures by name, a list for each
    error      TEXT,              -- of a failed one: type and message of its exception, else NULL
    checksum   TEXT NOT NULL,     -- of all that stands before it, less the seconds
    PRIMARY KEY (generation, member)
) STRICT;
"""
SCHEMA = (
    """
CREATE TABLE setting (
    name     TEXT PRIMARY KEY,
    value    TEXT NOT NULL,
    checksum TEXT NOT NULL
) STRICT;
"""
    + CANDIDATE
    + """
CREATE TABLE finalist (
    stage    TEXT NOT NULL,       -- 'smoothing' (tuning of label smoothing) or 'final'
    rank     INTEGER NOT NULL,
    name     TEXT NOT NULL,
    origin   TEXT NOT NULL,       -- JSON: where the loss comes from
    loss     TEXT NOT NULL,       -- JSON loss
    status   TEXT NOT NULL,
    mean     REAL,
    scores   TEXT NOT NULL,       -- JSON list: one for each fresh seed
    seconds  REAL NOT NULL,
    figures  TEXT NOT NULL DEFAULT '{}',
    error    TEXT,
    checksum TEXT NOT NULL,
    PRIMARY KEY (stage, rank)
) STRICT;
CREATE TABLE run (                -- what any analysis keeps; version 0.1 kept comparisons only
    comparison TEXT NOT NULL,     -- digest of what is compared or measured, and on what
    chunk      TEXT NOT NULL,     -- part of it that was trained or measured together
    result     TEXT NOT NULL,     -- JSON: raw figures of every training
    seconds    REAL NOT NULL,
    checksum   TEXT NOT NULL,
    PRIMARY KEY (comparison, chunk)
) STRICT;
"""
)
# What brings a database of each older version up to the next: candidates had one figure, every genome was a vector,
# rows had no checksum, and no training failed.
WORDS = re.compile(r"--.*|'[^']*'|\w+|[(),]|\S")
LONGEST_SQL = 10_000
UPGRADES = {
    1: """
ALTER TABLE candidate ADD COLUMN figures TEXT NOT NULL DEFAULT '{}';
ALTER TABLE finalist ADD COLUMN figures TEXT NOT NULL DEFAULT '{}';
""",
    2: "ALTER TABLE candidate RENAME COLUMN theta TO genome;",
    3: """
ALTER TABLE setting ADD COLUMN checksum TEXT NOT NULL DEFAULT '';
ALTER TABLE candidate ADD COLUMN checksum TEXT NOT NULL DEFAULT '';
ALTER TABLE finalist ADD COLUMN checksum TEXT NOT NULL DEFAULT '';
ALTER TABLE run ADD COLUMN checksum TEXT NOT NULL DEFAULT '';
""",
    4: "ALTER TABLE finalist ADD COLUMN error TEXT;",
}
# A candidate may have a new status, and SQLite changes no check: its table is made anew.
REMADE = (
    "ALTER TABLE candidate RENAME TO older;"
    + CANDIDATE
    + """
INSERT INTO candidate
    (generation, member, genome, status, fitness, scores, exact, published, redrawn, seconds, figures, checksum)
SELECT generation, member, genome, status, fitness, scores, exact, published, redrawn, seconds, figures, checksum
FROM older;
DROP TABLE older;
"""
)
EVERY_ROW = {
    "setting": ("SELECT rowid, * FROM setting", "UPDATE setting SET checksum = ? WHERE rowid = ?"),
    "candidate": ("SELECT rowid, * FROM candidate", "UPDATE candidate SET checksum = ? WHERE rowid = ?"),
    "finalist": ("SELECT rowid, * FROM finalist", "UPDATE finalist SET checksum = ? WHERE rowid = ?"),
    "run": ("SELECT rowid, * FROM run", "UPDATE run SET checksum = ? WHERE rowid = ?"),
}


def prepared(connection: sqlite3.Connection, path: Path, writable: bool) -> int:
    """The version of a database's schema, after it was made, checked, and brought up to date.

    What is only read stays as it is: the rows of an older version are completed and renamed as they are decoded.

    Args:
        connection: Open.
        path: Of the database, for messages.
        writable: Whether it may be changed.

    Raises:
        InputError: if it is damaged, of another program or version, or if it is only read and nothing is in it yet.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    found = connection.execute("SELECT name, type, tbl_name, sql FROM sqlite_master").fetchall()
    if version == 0 and not found:
        return _begun(connection, path, writable)
    if not 1 <= version <= VERSION:
        raise InputError(
            f"{path} has schema version {version}, this program reads versions 1 to {VERSION}: use the version of "
            "lossmith that made it, or another directory"
        )
    _check(connection, found, path)
    if version < VERSION and writable:
        steps = "".join(UPGRADES[step] for step in range(version, VERSION))
        try:
            connection.executescript(f"BEGIN IMMEDIATE; {steps} {REMADE}")
        except sqlite3.IntegrityError as error:
            raise damaged(path, str(error)) from None
        # What carries checksums already keeps them: what they do not fit stays damaged.
        if version < SEALED:
            seal(connection)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
        return VERSION
    return int(version)


def seal(connection: sqlite3.Connection) -> None:
    """Give every row the checksum of what it holds now."""
    for rows, update in EVERY_ROW.values():
        cursor = connection.execute(rows)
        names = [column[0] for column in cursor.description[1:]]
        found = [(checksum(dict(zip(names, values, strict=True))), rowid) for rowid, *values in cursor.fetchall()]
        connection.executemany(update, found)


def _begun(connection: sqlite3.Connection, path: Path, writable: bool) -> int:
    if not writable:
        raise InputError(
            f"{path} is empty: the study was stopped in its first moments; begin it with lossmith evolve --out "
            f"{path.parent}"
        )
    # So `lossmith show` can read while a study writes.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
    return VERSION


def _check(connection: sqlite3.Connection, found: list[tuple[Any, ...]], path: Path) -> None:
    """See that the tables are there and sound, and that nothing else is: no view, trigger, function, or index.

    A column that is computed, a default, or an index of an expression could make a small file fill the disk.

    Raises:
        InputError: if not.
    """
    for name in EVERY_ROW.keys() - {name for name, *_ in found}:
        raise damaged(path, f"no such table: {name}")
    for name, kind, table, sql in found:
        own = name.startswith("sqlite_autoindex_") and table in EVERY_ROW and sql is None
        if not own and not (kind == "table" and name in EVERY_ROW and _is_plain(sql)):
            raise InputError(f"{path} holds {brief(name)}, which is no table as a study has it; {REMEDY}")
    (state,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if state != "ok":
        raise damaged(path, state.splitlines()[-1])


def _is_plain(sql: str) -> bool:
    """Whether a table is made of the words that the tables of all versions are made of, and of no other."""
    return len(sql) <= LONGEST_SQL and _words(sql) <= _words(SCHEMA + "".join(UPGRADES.values()))


def _words(sql: str) -> set[str]:
    return {word for word in WORDS.findall(sql) if not word.startswith("--")}
