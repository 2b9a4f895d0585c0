"""Study directories that are wrong: ``best.json``, ``pareto.json``, ``comparison.json``, ``study.toml``, databases."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from fuzz.cases import COMPARE, Case, Setup, special
from fuzz.settings import TOML
from fuzz.values import copied, damaged, dumped, flipped, mutated, nasty, places

QUIET = ["--quiet", "--threads", "1"]
LOSS_COMMANDS = (
    *(
        ["show", "study"],
        ["report", "study"],
        ["explain", "study/best.json"],
        ["trace", "study/best.json", "--samples", "5", *QUIET],
    ),
    *(["compare", "study/best.json", *COMPARE], ["corruption", "study/best.json", "--seeds", "2", *QUIET]),
    *(["basin", "study/best.json", "--seeds", "2", *QUIET], ["evolve", "--out", "study", *QUIET]),
)
COMMANDS = (
    *(["evolve", "--out", "study", *QUIET], ["evolve", "--out", "study", *QUIET, "--generations", "2"]),
    *(["report", "study"], ["show", "study"], ["show", "study", "--json"], ["show", "study", "--pareto", "front"]),
    *(["evolve", "study/study.toml", *QUIET], ["trace", "study/best.json", "--samples", "5", *QUIET]),
)
FILES = (
    *("study.db", "study.lock", "study.toml", "training.log", "best.json", "figures", "pareto.json", "comparison.json"),
    *("figures/history.png", "study.db-wal", "study.db-shm", "report.html"),
)
KINDS = ("fifo", "directory", "loop", "dangling", "/etc/passwd", "/dev/null", "/dev/full", "text", "empty", "remove")
JSON = (
    *("", "x", "null", "[]", "{}", "[1]", "[1,2,3,4,5]", '["a"]', "[[1,2],[3]]", "NaN", "[NaN,0,0,0,0]", "0", '"x"'),
    *("[1e999,0,0,0,0]", "[" * 3000, '{"function": 1}', "true", "[null]", "1" * 5000, "[" + "1" * 5000 + "]"),
    *('{"a": {"b": 1}}', '{"way": null}', '"plain"', "\x00", '"\\ud800"'),
)
NUMBERS: tuple[Any, ...] = (None, 0, -1, 1, 10**6, 2**62, 1e308, -1e308, float("inf"), float("-inf"), "x", b"x")
SETTINGS = ("settings", "objective", "versions", "way", "data")


def best_file(rng: random.Random, study: Path) -> Case:
    """A study's ``best.json``."""
    content = (study / "best.json").read_bytes()
    how = rng.random()
    if how < 0.55:
        document = json.loads(content)
        paths = [path for path in places(document) if path]
        if rng.random() < 0.6:
            inner = ("digest", "settings", "data", "training")
            paths = [path for path in paths if path[0] == "provenance" and (len(path) == 1 or path[1] in inner)]
        path = rng.choice(paths)
        parent = document
        for step in path[:-1]:
            parent = parent[step]
        if rng.random() < 0.8:
            parent[path[-1]] = nasty(rng)
        else:
            del parent[path[-1]]
        label, content = f"best.json {'.'.join(map(str, path))[:60]}", dumped(document)
    elif how < 0.75:
        label, content = "best.json structure", dumped(mutated(rng, json.loads(content)))
    else:
        label, content = "best.json text", damaged(rng, content)
    return Case(label, list(rng.choice(LOSS_COMMANDS)), files={"study/best.json": content})


def other_file(rng: random.Random, study: Path) -> Case:
    """``comparison.json`` or ``pareto.json`` beside a study."""
    name = rng.choice(["comparison.json", "pareto.json"])
    document = json.loads((study / name).read_bytes())
    if name == "comparison.json":
        rows = [{**row, "runs": row["runs"][:2]} for row in document["rows"][:3]]
        document = {**document, "rows": rows, "pairs": document["pairs"][:2]}
    content = dumped(mutated(rng, copied(document))) if rng.random() < 0.75 else damaged(rng, dumped(document))
    words = rng.choice([["show", "study", *rng.choice([[], ["--json"], ["--pareto", "front"]])], ["report", "study"]])
    return Case(name, words, files={f"study/{name}": content})


def study_directory(rng: random.Random, study: Path) -> Case:
    """A study's settings, database, and everything that may lie in its place."""
    words = list(rng.choice(COMMANDS))
    how = rng.random()
    if how < 0.2:
        return Case(
            "study.toml text", words, files={"study/study.toml": damaged(rng, (study / "study.toml").read_bytes())}
        )
    if how < 0.35:
        lines = (study / "study.toml").read_text(encoding="utf-8").splitlines()
        place = rng.choice([number for number, line in enumerate(lines) if "=" in line])
        lines[place] = lines[place].partition("=")[0] + "= " + rng.choice(TOML)
        content = "\n".join(lines).encode()
        return Case(f"study.toml {lines[place][:50]}", words, files={"study/study.toml": content}, long=True)
    if how < 0.6:
        content = (study / "study.db").read_bytes()
        cut = rng.random() < 0.3
        content = content[: rng.randrange(len(content))] if cut else flipped(rng, content, (1, 2, 5, 50, 500))
        return Case(f"database {'cut' if cut else 'flipped'}", words, files={"study/study.db": content})
    if how < 0.9:
        label, statement, values = _statement(rng)
        return Case(label, words, prepare=_execute(statement, values))
    name, kind = rng.choice(FILES), rng.choice(KINDS)
    return Case(f"{name} is {kind}", words, prepare=_instead(f"study/{name}", kind))


def _execute(statement: str, values: tuple[Any, ...]) -> Setup:
    def prepare(directory: Path) -> None:
        connection = sqlite3.connect(directory / "study" / "study.db")
        try:
            with connection:
                connection.execute(statement, values)
        except (sqlite3.Error, UnicodeEncodeError):
            # A check of the table refuses it: then the study is sound.
            pass
        finally:
            connection.close()

    return prepare


def _instead(name: str, kind: str) -> Setup:
    def prepare(directory: Path) -> None:
        path = directory / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        path.parent.mkdir(exist_ok=True)
        if kind in ("text", "empty"):
            path.write_bytes(b"hello\n" if kind == "text" else b"")
        elif kind != "remove":
            special(kind, name)(directory)

    return prepare


def _statement(rng: random.Random) -> tuple[str, str, tuple[Any, ...]]:
    """A label, a statement, and its values."""
    how = rng.randrange(10)
    table = rng.choice(["setting", "candidate", "finalist", "run"])
    if how == 0:
        return f"drop {table}", f"DROP TABLE {table}", ()
    if how == 1:
        version = rng.choice([0, 1, 2, 3, 99, -1, 2**31 - 1])
        return f"version {version}", f"PRAGMA user_version = {version}", ()
    if how == 2:
        name, text = rng.choice(SETTINGS), rng.choice(JSON)
        return f"setting {name} {text[:20]}", "UPDATE setting SET value = ? WHERE name = ?", (text, name)
    if how == 3:
        name = rng.choice(SETTINGS)
        return f"no setting {name}", "DELETE FROM setting WHERE name = ?", (name,)
    if how == 9:
        half = rng.choice(["", "WHERE rowid % 2 = 0"])
        return f"delete {table}", " ".join(["DELETE FROM", table, half]), ()
    texts = {"candidate": ("genome", "scores", "figures", "status"), "finalist": ("origin", "loss", "scores", "name")}
    numbers = {
        "candidate": ("generation", "member", "fitness", "exact", "published", "redrawn", "seconds"),
        "finalist": ("mean", "rank", "seconds"),
    }
    table = rng.choice(["candidate", "finalist"])
    column, value = rng.choice(
        [(rng.choice(texts[table]), rng.choice(JSON)), (rng.choice(numbers[table]), rng.choice(NUMBERS))]
    )
    which = {"candidate": "member", "finalist": "rank"}[table]
    one = rng.choice(["", f" WHERE {which} = 1"])
    return f"{table} {column} {value!r}"[:60], " ".join(["UPDATE", table, "SET", column, "= ?" + one]), (value,)
