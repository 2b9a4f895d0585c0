"""Tables that are wrong."""

from __future__ import annotations

import io
import random

from fuzz.cases import SPECIALS, TINY, Case, special
from fuzz.values import damaged

CELLS = (
    *("", " ", "NA", "nan", "inf", "-inf", "1e400", "9" * 400, "0x10", "1_000", "1,5", '"1,5"', "=1+1", "@SUM(A1)"),
    *("2024-01-31", "31.12.2024", "12:30", "True", "false", "\x1b[31m", "\u202e", "\ud7ff", "é", "e\u0301", "'", '"'),
    *("a" * 5000, "a\tb", "-", "?", "None", "null", "1.0", "1 ", "\ufeff", "😀", "\\N", "#", "1;2"),
)
NAMES = ("", " ", "0", "y", "Y", "class", "\x1b[31m", "a" * 300, "é", "e\u0301", "-x", "[bold]", '"a""b"', "\u202e")
SEPARATORS = (",", ",", ";", "\t", "|", ", ")
CODINGS = ("utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1", "utf-32")


def table(rng: random.Random) -> Case:
    """A table of numbers, texts and labels, and something wrong with it."""
    if rng.random() < 0.05:
        name = rng.choice(["t.csv", "t.tsv", "t.parquet"])
        kind = rng.choice(SPECIALS)
        return Case(f"special {kind} {name}", _words(rng, name), True, prepare=special(kind, name))
    if rng.random() < 0.2:
        content = _parquet(rng)
        return Case("parquet", _words(rng, "t.parquet"), files={"t.parquet": content})
    names, rows = ["u", "v", "w", "y"], [_row(rng, number) for number in range(rng.choice([0, 1, 8, 60, 60, 60]))]
    for _ in range(rng.choice([0, 1, 1, 2, 30])):
        how = rng.randrange(6)
        if how == 0:
            names[rng.randrange(4)] = rng.choice(NAMES)
        elif rows and how in (1, 2, 3):
            row = rng.choice(rows)
            row[rng.randrange(len(row))] = rng.choice(CELLS)
        elif rows and how == 4:
            column, cell = rng.randrange(4), rng.choice(CELLS)
            for number, row in enumerate(rows):
                row[column % len(row)] = rng.choice([cell, str(number), f"{cell}{number}"])
        elif rows:
            row = rng.choice(rows)
            row[:] = row[: rng.randrange(1, 4)] if rng.random() < 0.5 else [*row, rng.choice(CELLS)]
    separator = rng.choice(SEPARATORS)
    lines = [separator.join(row) for row in (names, *rows)]
    text = rng.choice(["\n", "\n", "\r\n", "\r", "\n\n"]).join(lines) + rng.choice(["\n", "", '\n"'])
    content = text.encode(rng.choice(CODINGS), "replace")
    name = rng.choice(["t.csv", "t.csv", "t.tsv", "t.CSV"])
    return Case("text", _words(rng, name), files={name: damaged(rng, content) if rng.random() < 0.2 else content})


def _row(rng: random.Random, number: int) -> list[str]:
    return [f"{rng.random():.3f}", rng.choice("abc"), str(rng.randrange(9)), str(number % 3)]


def _words(rng: random.Random, name: str) -> list[str]:
    flags = ["--target", rng.choice(["y", "y", "y", "y", "u", "z", ""])]
    for more in (
        *(["--drop", "u"], ["--drop", "u", "v", "w"], ["--drop", rng.choice(NAMES) or "y"], ["--missing", "impute"]),
        *(["--categories", "ordinal"], ["--groups", rng.choice(["w", "v", "y", "q"])], ["--padding-id", "0"]),
        *(["--split", rng.choice(["time", "groups", "random", "stratified", "x"])], ["--kind", "tokens"]),
        *(["--validation-size", rng.choice(["1", "5", "60"])], ["--test-size", rng.choice(["1", "59", "60"])]),
    ):
        if rng.random() < 0.12:
            flags += more
    return ["evolve", "--out", "s", "--quiet", *TINY, "--data", name, *flags]


def _parquet(rng: random.Random) -> bytes:
    import pandas as pd

    rows = [_row(rng, number) for number in range(60)]
    frame = pd.DataFrame(rows, columns=["u", "v", "w", "y"]).astype({"u": float, "w": int, "y": int})
    how = rng.randrange(4)
    if how == 1:
        frame["v"] = [[1]] * len(frame)
    elif how == 2:
        frame["v"] = pd.date_range("2024-01-01", periods=len(frame))
    elif how == 3:
        frame["v"] = frame["v"].map({"a": b"\x00", "b": None, "c": b"c"})
    file = io.BytesIO()
    frame.to_parquet(file)
    return damaged(rng, file.getvalue()) if rng.random() < 0.6 else file.getvalue()
