"""Tables: CSV, Parquet and DataFrames, from their cells to trained networks."""

import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lossmith.cli import main
from lossmith.data import DataSettings, Source, open_source, part_sizes, search_parts, test_part
from lossmith.data.columns import Block, Cells, features, labels
from lossmith.data.missing import filled, usual
from lossmith.errors import InputError
from lossmith.io import read_toml
from lossmith.study import EvolveSettings, evolve

ROWS = 120
QUICK: dict[str, Any] = {
    "recipe": {"epochs": 1, "batch_size": 20, "lr": 0.1},
    "search": {"population": 4, "generations": 1},
    "run": {"finalists": 1, "finalist_seeds": 2, "tune": False, "training": "sequential"},
}
PLAIN = "".join(f"{number % 7}.5,{'ab'[number % 2]},{number % 3}\n" for number in range(30))


def table() -> pd.DataFrame:
    """Numbers, a truth value, a category and labels; ages are whole, as in a file."""
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": random.integers(18, 90, ROWS),
            "income": random.normal(size=ROWS),
            "city": random.choice(["Rome", "Lima", "Oslo"], ROWS),
            "smoker": random.random(ROWS) > 0.5,
            "risk": np.array(["low", "high", "none"])[np.arange(ROWS) % 3],
        }
    )


def with_gaps() -> pd.DataFrame:
    frame = table()
    frame.loc[3, "city"] = None
    frame.loc[5:9, "income"] = np.nan
    frame["smoker"] = frame["smoker"].astype("boolean")
    frame.loc[7, "smoker"] = pd.NA
    return frame


def read(path: Path, content: str | bytes, target: str | None = "y", **changes: Any) -> Source:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_source(str(path), DataSettings(target=target, **changes))


def test_every_way_to_a_source(tmp_path: Path) -> None:
    frame = table()
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_csv(tmp_path / "b.csv", index=False, sep=";")
    frame.to_csv(tmp_path / "c.tsv", index=False, sep="\t")
    frame.to_parquet(tmp_path / "d.parquet")
    frame.astype({"city": "category", "smoker": "boolean", "age": "Int64"}).to_parquet(tmp_path / "e.PARQUET")
    frame.set_index("age", drop=False).rename_axis(None).to_parquet(tmp_path / "f.parquet")
    found = [open_source(str(path), DataSettings(target="risk")) for path in sorted(tmp_path.iterdir())]
    found.append(Source.from_frame(frame, "risk"))
    assert len({one.digest for one in found}) == 1
    source = found[0]
    assert (source.kind, source.input_shape, source.class_names) == ("tabular", (6,), ("high", "low", "none"))
    assert source.class_called(1) == "class 1 (low)"


def test_what_each_cell_becomes() -> None:
    source = Source.from_frame(table(), "risk")
    row = table().iloc[4]
    city = [float(row["city"] == name) for name in ("Lima", "Oslo", "Rome")]
    wanted = [row["age"], row["income"], *city, float(row["smoker"])]
    torch.testing.assert_close(source.inputs[4], torch.tensor(wanted, dtype=torch.float32))
    ordinal = Source.from_frame(table(), "risk", categories="ordinal")
    assert ordinal.inputs[4, 2] == ("Lima", "Oslo", "Rome").index(row["city"])
    assert Source.from_frame(table(), "risk", drop=["city", "age"]).input_shape == (2,)


@pytest.mark.parametrize(
    ("values", "targets", "names"),
    [
        ([0, 1, 2] * 5, [0, 1, 2] * 5, None),
        ([7, 3, 5] * 5, [2, 0, 1] * 5, ("3", "5", "7")),
        ([1.0, 0.0] * 5, [1, 0] * 5, None),
        ([True, False] * 5, [1, 0] * 5, ("false", "true")),
        (["b", "a", "ß"] * 5, [1, 0, 2] * 5, ("a", "b", "ß")),
        (["caf\xe9", "cafe\u0301", "tea"] * 5, [0, 0, 1] * 5, ("caf\xe9", "tea")),
    ],
)
def test_labels_become_classes(values: list[Any], targets: list[int], names: tuple[str, ...] | None) -> None:
    frame = pd.DataFrame({"x": np.arange(len(values)) % 4, "y": values})
    source = Source.from_frame(frame, "y")
    assert source.targets.tolist() == targets
    assert source.class_names == names


class TestMissing:
    def test_by_default_it_is_refused(self) -> None:
        with pytest.raises(
            InputError, match=r"income of frame has 5 empty cells \(the first in row 6\): fill them, drop"
        ):
            Source.from_frame(with_gaps(), "risk")
        with pytest.raises(InputError, match=r"column city of frame has an empty cell \(in row 4\)"):
            Source.from_frame(with_gaps(), "risk", drop=["income", "smoker"])

    def test_only_training_rows_say_what_is_usual(self) -> None:
        """Other values of all other samples change nothing that stands for a missing one."""
        frame, chosen = with_gaps().assign(row=np.arange(ROWS) + 0.5), DataSettings()
        parts = search_parts(Source.from_frame(frame, "risk", missing="impute"), chosen)
        others = sorted({*range(ROWS)} - set((parts.train.inputs[:, -1] - 0.5).int().tolist()))
        frame.loc[others, "income"] += 1000
        frame.loc[others, "city"] = frame.loc[others, "city"].where(frame.loc[others, "city"].isna(), "Oslo")
        source = Source.from_frame(frame, "risk", missing="impute")
        again, test = search_parts(source, chosen), test_part(source, chosen)
        assert torch.equal(again.train.inputs, parts.train.inputs)
        assert bool(source.inputs.isnan().any())
        assert not any(bool(part.inputs.isnan().any()) for part in (again.train, again.validation, test))
        rows = source.inputs[:, 1].isnan()
        assert bool(rows[others].any())
        middle = float(parts.train.inputs[~rows[(parts.train.inputs[:, -1] - 0.5).long()], 1].median())
        gaps = [part.inputs[rows[(part.inputs[:, -1] - 0.5).long()], 1] for part in (again.validation, test)]
        assert torch.cat(gaps).sub(middle).abs().max() < 0.2

    def test_median_and_most_frequent(self) -> None:
        nan = torch.nan
        train = torch.tensor(
            [[1.0, 1, 0, 0, 2], [4.0, 0, 1, 0, 2], [10.0, 0, 1, 0, 0], [2.0, nan, nan, nan, nan], [nan, 0, 0, 1, 0]]
        )
        blocks = (Block("a", 1, True), Block("b", 3, False), Block("c", 1, False))
        assert usual(train, blocks).tolist() == [3.0, 0, 1, 0, 0]
        assert usual(train[:3], blocks).tolist() == [4.0, 0, 1, 0, 2]
        assert filled(train, usual(train, blocks))[3].tolist() == [2.0, 0, 1, 0, 0]
        assert filled(train, usual(train, blocks))[4].tolist() == [3.0, 0, 0, 1, 0]

    def test_a_column_without_a_value_in_the_training_part(self) -> None:
        frame = table()
        parts = search_parts(Source.from_frame(frame.assign(row=np.arange(ROWS) + 0.5), "risk"), DataSettings())
        seen = set((parts.train.inputs[:, -1] - 0.5).int().tolist())
        frame["rare"] = [np.nan if row in seen else 1.0 * row for row in range(ROWS)]
        source = Source.from_frame(frame, "risk", missing="impute")
        with pytest.raises(InputError, match=r"column rare has no value in the training part.*drop it \(--drop rare\)"):
            search_parts(source, DataSettings())

    def test_the_digest_knows_which_columns_are_filled(self) -> None:
        frame = pd.DataFrame({"a": [0.0, 1, np.nan] * 5, "y": [0, 1, 1] * 5})
        numbers = Source.from_frame(frame, "y", missing="impute")
        truths = Source.from_frame(frame.astype({"a": "boolean"}), "y", missing="impute")
        assert torch.equal(numbers.inputs.nan_to_num(9), truths.inputs.nan_to_num(9))
        assert numbers.digest != truths.digest
        assert Source.from_frame(table(), "risk", missing="impute").digest == Source.from_frame(table(), "risk").digest


class TestParts:
    def test_a_directory_of_tables(self, tmp_path: Path) -> None:
        frame = table()
        frame[:80].to_csv(tmp_path / "train.csv", index=False)
        frame[80:100][frame.columns[::-1]].to_csv(tmp_path / "valid.csv", index=False)
        frame[100:].to_parquet(tmp_path / "test.parquet")
        source = open_source(str(tmp_path), DataSettings(target="risk"))
        assert part_sizes(source, DataSettings()) == {"train": 80, "validation": 20, "test": 20}
        frames = Source.from_frame(frame[:80], "risk", test=frame[100:], validation=frame[80:100])
        assert source.digest == frames.digest

    def test_a_category_that_only_test_has(self) -> None:
        frame = table()
        frame.loc[100, "city"] = "Quito"
        source = Source.from_frame(frame[:100], "risk", test=frame[100:])
        assert source.input_shape == (7,)
        assert source.test_inputs is not None
        assert source.test_inputs[0, 2:6].tolist() == [0, 0, 1, 0]
        assert float(source.inputs[:, 4].sum()) == 0

    def test_the_training_table_says_what_a_column_is(self) -> None:
        """Ids that begin anew in each table are ids all the same."""
        frame = table()
        frame["number"] = [*range(100), *range(20)]
        with pytest.raises(InputError, match="column number of frame has another whole number in each row, as ids"):
            Source.from_frame(frame[:100], "risk", test=frame[100:])
        frame["number"] = [None] * 100 + [1.5] * 20
        with pytest.raises(InputError, match="column number of frame is empty: drop it"):
            Source.from_frame(frame[:100], "risk", test=frame[100:], missing="impute")
        frame["number"] = [1.5] * 100 + [np.inf] * 20
        with pytest.raises(InputError, match="column number of frame holds infinite values"):
            Source.from_frame(frame[:100], "risk", test=frame[100:])

    def test_what_differs_is_refused(self, tmp_path: Path) -> None:
        frame = table()
        other = frame[100:].assign(risk="huge")
        for test, sentence in (
            (other, r"the test part of frame has the class huge, which frame lacks: remove these rows, or give"),
            (frame[100:].drop(columns="age"), r"the test part of frame has no column age, which frame has"),
            (frame[100:].assign(more=1), r"the test part of frame has the column more, which not frame has"),
            (frame[100:].astype({"age": str}).replace("3", "?"), r"column age of frame holds numbers, but also texts"),
            (frame[:0], r"the test part of frame has 0 rows"),
        ):
            with pytest.raises(InputError, match=sentence):
                Source.from_frame(frame[:100], "risk", test=test)
        for name in ("train.csv", "val.csv", "valid.tsv"):
            frame.to_csv(tmp_path / name, index=False)
        with pytest.raises(InputError, match=r"has val\.csv, valid\.tsv for one part: leave one there"):
            open_source(str(tmp_path), DataSettings(target="risk"))


BAD_TEXTS: dict[str, tuple[str | bytes, str]] = {
    "no target": ("u,v,z\n" + PLAIN, r"has no column y, only u, v, z: mend --target"),
    "too few cells": ("u,v,y\n" + PLAIN + "1,2\n", r"row 32 of .* has 2 cells, but its first line names 3 columns"),
    "too many cells": ("u,v,y\n" + PLAIN + "1,2,3,4\n", r"row 32 of .* has 4 cells"),
    "one name twice": ("u,y,y\n" + PLAIN, r"has two columns that are called y: give each its own name"),
    "no name": ("u,,y\n" + PLAIN, r"column 2 of .* has no name in the first line"),
    "no header": ("1,2,3\n" + PLAIN, r"the first line of .* holds numbers, but has to name the columns"),
    "empty": ("", r"has no rows: give a line with the names"),
    "only blank lines": ("\n\n", r"has no rows"),
    "only names": ("u,v,y\n", r"has no rows"),
    "UTF-16": ("u,v,y\n".encode("utf-16"), r"is no text in UTF-8 \(its byte 0xff is none there\): save it as UTF-8"),
    "Latin 1": (("u,v,y\n" + PLAIN + "1,\xe9,2\n").encode("latin-1"), r"is no text in UTF-8 \(its byte 0xe9"),
    "a null byte": ("u,v,y\n" + PLAIN + "1,a\0b,2\n", r"line 32 of .* holds a null byte"),
    "an open quote": ("u,v,y\n" + PLAIN + '1,"abc,2\n', r"row 32 of .* cannot be read \(unexpected end of data\)"),
    "a quote inside": ("u,v,y\n" + PLAIN + '1,"a"b,2\n', r"row 32 of .* cannot be read"),
    "a huge cell": ("u,v,y\n" + PLAIN + f"1,{'a' * 200_000},2\n", r"row 32 of .* \(field larger than field limit"),
    "a formula": ("u,v,y\n" + PLAIN + "=cmd|calc,b,2\n", r"column u of .* holds numbers, but also texts such as '=cmd"),
    "a gap": ("u,v,y\n" + PLAIN + ",b,2\n", r"column u of .* has an empty cell \(in row 31\)"),
    "a label that is missing": (
        "u,v,y\n" + PLAIN + "1,b,\n",
        r"holds the labels, has an empty cell .*: remove these r",
    ),
    "infinite": ("u,v,y\n" + PLAIN + "inf,b,2\n", r"column u of .* holds infinite values, or numbers beyond 1e\+37"),
    "40 digits": ("u,v,y\n" + PLAIN + f"{'9' * 40},b,2\n", r"holds infinite values, or numbers beyond 1e\+37"),
    "regression": ("u,v,y\n" + PLAIN + "1,b,0.5\n", r"column y of .* holds measured values, such as 0\.5, .* no regr"),
    "one class": ("u,y\n" + "1.5,a\n" * 9, r"y_train in .* holds one class only"),
    "names as labels": ("u,y\n" + "".join(f"{n % 5},n{n}\n" for n in range(30)), r"holds 30 different labels for 30"),
    "alike": (
        "u,v,y\n" + PLAIN.replace(",0\n", ",cat\n") + "1,b,Cat\n",
        r"has the classes 'Cat' and 'cat', which diff",
    ),
    "commas": (
        "u;y\n" + "".join(f"{n},{n % 10};{n % 2}\n" for n in range(30)),
        r"column u of .* holds numbers with a decimal comma \(0,0\): write them with a point",
    ),
    "dates": (
        "u,d,y\n" + "".join(f"{n % 5},2024-01-{n + 1:02},{n % 2}\n" for n in range(30)),
        r"column d of .* holds dates or times \(2024-01-01\): drop it \(--drop d\), or give what matters",
    ),
    "other dates": (
        "u,d,y\n" + "".join(f"{n % 5},{n % 3 + 1}.2.2024 12:30,{n % 2}\n" for n in range(30)),
        r"column d of .* holds dates or times",
    ),
    "ids": (
        "u,id,y\n" + "".join(f"{n % 5},{n + 100},{n % 2}\n" for n in range(30)),
        r"column id of .* has another whole number in each row, as ids .*: drop it \(--drop id\), or write",
    ),
    "names": (
        "u,who,y\n" + "".join(f"{n % 5},Person {n},{n % 2}\n" for n in range(30)),
        r"column who of .* has 30 different texts in 30 rows, as ids, names and free texts have: drop it",
    ),
    "an empty column": (
        "u,v,y\n" + PLAIN.replace(",a,", ",,").replace(",b,", ",,"),
        r"column v of .* is empty: drop it",
    ),
    "labels alone": ("y\n" + "0\n1\n" * 9, r"has no column beside the labels"),
    "strange names": ("u,v\x1b[31m\n" + PLAIN.replace(",a,", ",").replace(",b,", ","), r"only u, v\\x1b\[31m: mend"),
    "many columns": (",".join(f"c{n}" for n in range(70_000)) + "\n1\n", r"has 70000 columns, more than 65536"),
}


@pytest.mark.parametrize("case", BAD_TEXTS)
def test_bad_texts(case: str, tmp_path: Path) -> None:
    content, sentence = BAD_TEXTS[case]
    with pytest.raises(InputError, match=sentence) as caught:
        read(tmp_path / "bad.csv", content)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "content",
    [
        "u;v;y\n" + PLAIN.replace(",", ";"),
        "\ufeffu,v,y\r\n" + PLAIN.replace("\n", "\r\n"),
        "u,v,y\n\n" + PLAIN + "\n\n",
        "u, v, y\n" + PLAIN.replace(",", ", "),
        '"u","v","y"\n' + PLAIN.replace("a", '"a"'),
    ],
)
def test_texts_that_say_the_same(content: str, tmp_path: Path) -> None:
    plain = read(tmp_path / "plain.csv", "u,v,y\n" + PLAIN)
    assert read(tmp_path / "other.csv", content).digest == plain.digest


def test_columns_that_are_named(tmp_path: Path) -> None:
    text = "u,v,y\n" + PLAIN
    for target, drop, sentence in (
        (None, (), r"has the columns u, v, y: say which holds the labels \(--target COLUMN\)"),
        ("Y", (), r"has no column Y \(did you mean y\?\), only u, v, y: mend --target"),
        ("y", ("w",), r"has no column w.*, only u, v, y: mend --drop"),
        ("y", ("y",), r"the column y is to be dropped, but holds the labels"),
        ("y", ("u", "v"), r"has no column beside the labels"),
    ):
        with pytest.raises(InputError, match=sentence):
            read(tmp_path / "a.csv", text, target, drop=drop)


def test_what_is_guessed_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table().to_csv(tmp_path / "a.csv")
    source = open_source(str(tmp_path / "a.csv"), DataSettings(target="risk"))
    assert source.digest == Source.from_frame(table(), "risk").digest
    (record,) = caplog.records
    assert "the first column of" in record.getMessage()
    assert "is left out: it has no name, and numbers the rows" in record.getMessage()
    caplog.clear()
    rows = "".join(f"{n * n * 7919 % 100_003},{n % 2}\n" for n in range(90))
    assert read(tmp_path / "b.csv", "area,y\n" + rows).input_shape == (1,)
    assert "column area of" in caplog.text
    assert "has another whole number in each row; if it is an id, drop it (--drop)" in caplog.text


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        ([[1, 2]] * 30, r"column x of frame holds values of type list, but numbers, truth values and texts alone"),
        ([b"a"] * 30, r"column x of frame holds values of type bytes"),
        ([1, "a"] * 15, r"column x of frame holds numbers, but also texts such as 'a'"),
        ([1, True] * 15, r"column x of frame holds numbers in some rows and truth values in others"),
        ([1j] * 30, r"column x of frame holds values of type complex"),
        # The oldest pandas makes no column of such whole numbers by itself.
        (pd.Series([10**400] * 30, dtype=object), r"column x of frame holds infinite values"),
        (pd.date_range("2024-01-01", periods=30), r"column x of frame holds dates or times"),
        (pd.to_timedelta(range(30), unit="s"), r"column x of frame holds dates or times"),
        (pd.date_range("2024-01-01", periods=30).date, r"column x of frame holds dates or times"),
        ([None] * 30, r"column x of frame is empty"),
        (pd.interval_range(0, 30), r"column x of frame holds values of type Interval"),
    ],
)
def test_bad_columns_of_a_frame(column: Any, sentence: str) -> None:
    frame = pd.DataFrame({"x": column, "z": np.arange(30) % 4, "y": np.arange(30) % 2})
    with pytest.raises(InputError, match=sentence):
        Source.from_frame(frame, "y")


def test_bad_frames() -> None:
    frame = table()
    twice = frame.set_axis(["age", "age", "city", "smoker", "risk"], axis=1)
    levels = frame.set_axis(pd.MultiIndex.from_product([["a"], frame.columns]), axis=1)
    for bad, sentence in (
        (frame.to_numpy(), r"a table is a pandas\.DataFrame, not an object of type ndarray"),
        (twice, r"frame has two columns that are called age"),
        (levels, r"frame has columns of several levels"),
        (frame[:0], r"frame has 0 rows"),
        (frame.drop(columns="risk"), r"frame has no column risk"),
    ):
        with pytest.raises(InputError, match=sentence):
            Source.from_frame(bad, "risk")


def test_parquet_that_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table().to_parquet(path)
    whole = path.read_bytes()
    random, told = np.random.default_rng(1), list[str]()
    for content in (b"", b"PAR1" * 30, whole[:-40], whole[40:], b"x" * 500):
        with pytest.raises(InputError, match=r"a\.parquet cannot be read as a table \(.*\): mend it"):
            read(path, content, "risk")
    for _ in range(60):
        changed = bytearray(whole)
        for place in random.integers(0, len(whole), 3):
            changed[place] = random.integers(256)
        try:
            read(path, bytes(changed), "risk")
        except InputError as error:
            told.append(str(error))
    assert told
    assert all("\n" not in one for one in told)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200) | st.text("ab,;\t\"'\n\r0.1-éN\0", max_size=80).map(str.encode))
def test_any_bytes_are_a_table_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    told = ""
    try:
        assert read(path, b"a,y\n" + content, "y").classes >= 2
    except InputError as error:
        told = str(error)
    assert told.isprintable()


def test_special_files_and_what_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("none.csv", "none.parquet"):
        with pytest.raises(InputError, match=f"there is no file .*{name}: check its path"):
            open_source(str(tmp_path / name), DataSettings(target="y"))
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="is no regular file"):
        open_source(str(tmp_path / "zero.csv"), DataSettings(target="y"))
    table().to_csv(tmp_path / "a.csv", index=False)
    table().to_parquet(tmp_path / "a.parquet")
    monkeypatch.setattr("lossmith.memory.available_memory", lambda: 1000)
    for name in ("a.csv", "a.parquet"):
        with pytest.raises(InputError, match=r"1.00 kB|1 kB|0\.001 MB|1e-03|available"):
            open_source(str(tmp_path / name), DataSettings(target="risk"))
    with pytest.raises(InputError, match=r"frame has 120 rows, which with the 3 categories of city take"):
        Source.from_frame(table(), "risk")


def test_too_many_categories() -> None:
    texts = np.array([f"c{number % 1001}" for number in range(4004)], object)
    column = Cells("city", "text", texts, np.zeros(4004, bool))
    with pytest.raises(InputError, match=r"city of t has 1001 different texts, more than 1000: drop it"):
        features([column], "t")
    assert features([column], "t", "ordinal")[0].shape == (4004, 1)
    assert labels(column, "t")[0].max() == 1000


def test_without_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    frame = table()
    frame.to_parquet(tmp_path / "a.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match=r"is read by pyarrow, .*: pip install '\.\[tables\]' in the source"):
        open_source(str(tmp_path / "a.parquet"), DataSettings(target="risk"))
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r"tables are read by pandas, which is not installed: pip install"):
        Source.from_frame(frame, "risk")


def test_a_study_of_a_table(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with_gaps().to_csv(tmp_path / "a.csv", index=False)
    data = {"source": str(tmp_path / "a.csv"), "target": "risk", "missing": "impute", "drop": ["age"]}
    with caplog.at_level(logging.INFO, "lossmith"):
        outcome = evolve(tmp_path / "study", EvolveSettings.model_validate({"data": data, **QUICK}))
    assert "a.csv: 3 classes (high, low, none)" in caplog.text
    assert outcome.classes == 3
    kept = read_toml(tmp_path / "study" / "study.toml")["data"]
    assert (kept["target"], kept["drop"], kept["missing"]) == ("risk", ["age"], "impute")


def test_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    table().to_csv("a.csv", index=False)
    flags = ["--data", "a.csv", "--epochs", "1", "--population", "4", "--generations", "1", "--no-tune"]
    flags += ["--finalists", "1", "--finalist-seeds", "2", "--training", "sequential"]
    with pytest.raises(SystemExit) as end:
        main(["evolve", "--out", "study", *flags])
    assert end.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("lossmith: ")
    assert told.endswith(
        "a.csv has the columns age, income, city, smoker, risk: say which holds the labels (--target COLUMN)\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    main(["evolve", "--out", "study", *flags, "--target", "risk", "--drop", "age", "city", "--quiet"])
    document = json.loads(Path("study/best.json").read_text())
    assert document["provenance"]["settings"]["data"]["drop"] == ["age", "city"]
    assert document["provenance"]["data"]["shape"] == [2]
