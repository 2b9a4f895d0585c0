"""Loss files: what is saved comes back, what is broken is refused with one sentence, and nothing is half written."""

import errno
import json
import math
import os
import resource
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lossmith import InputError, PowerLoss, baikal, cross_entropy, focal, gce, load, mae, mse, poly, save, taylor
from lossmith.io import read_json, write_json
from lossmith.losses import Term, class_weights, loss_document, read_loss_document

MNIST = [-10.9408, 7.5216, 8.2896, 0.2415, 7.8726, 8.9666, 2.0184, 7.0513]
ODD = PowerLoss(
    (Term(-2.5, 1, 1), Term(1e-7, 2, 1), Term(0, 0, 0)), torch.tensor([0.1, -1e300, 5e-324], dtype=torch.float64)
)
LOSSES = [
    cross_entropy(),
    mse(),
    baikal(),
    mae(),
    poly(-0.5),
    gce(1 / 3),
    focal(4),
    *(
        taylor(torch.randn(length, generator=torch.Generator().manual_seed(length)), order)
        for order, length in ((2, 5), (4, 12), (5, 17))
    ),
    taylor(MNIST),
    cross_entropy() + 0.3 * mae(),
    cross_entropy().smoothed(0.1, 10),
    taylor(MNIST).smoothed(1 / 7, 3).smoothed(0.2, 3),
    ODD,
    PowerLoss((), torch.zeros(0)),
    PowerLoss.stack([mse(), baikal(), cross_entropy().smoothed(0.1, 10)]),
    PowerLoss.stack([mse()]),
    PowerLoss.stack([PowerLoss.stack([mse(), focal(2)]), PowerLoss.stack([gce(0.5), poly(1)])]),
    PowerLoss(cross_entropy().terms, torch.ones(1), 7, "γ “quoted” \\ 損失 \t %s {x}"),
]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: repr(loss)[:40])
DOCUMENT = cross_entropy().to_json()


def nested(depth: int) -> list[Any]:
    deep: list[Any] = []
    for _ in range(depth):
        deep = [deep]
    return deep


def assert_sentence(error: pytest.ExceptionInfo[InputError], path: Path) -> None:
    """One line that begins with the file and is short enough to be read."""
    text = str(error.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    assert len(text) < len(str(path)) + 280


def refusal(call: Callable[[], object]) -> str | None:
    """The sentence with which a call refuses its input; None if it takes it."""
    try:
        call()
    except InputError as error:
        return str(error)
    return None


# What is saved comes back.


@every_loss
def test_round_trip(loss: PowerLoss, tmp_path: Path) -> None:
    path = tmp_path / "loss.json"
    save(loss, path)
    restored = load(path)
    assert restored == loss
    assert (restored.name, restored.classes, restored.shape) == (loss.name, loss.classes, loss.shape)
    assert isinstance(restored, PowerLoss)
    assert restored.terms == loss.terms
    assert torch.equal(restored.coefficients, loss.coefficients)
    assert [file.name for file in tmp_path.iterdir()] == ["loss.json"]


@every_loss
def test_the_file_is_plain_json_of_numbers_and_text(loss: PowerLoss, tmp_path: Path) -> None:
    save(loss, tmp_path / "loss.json")
    text = (tmp_path / "loss.json").read_text(encoding="utf-8")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    document = json.loads(text, parse_constant=refuse)
    assert list(document) == ["format", "version", "kind", "name", "classes", "terms", "coefficients"]
    assert (document["format"], document["version"]) == ("lossmith.loss", 2)
    assert text.endswith("}\n")
    assert json.dumps(loss.name, ensure_ascii=False) in text
    assert PowerLoss.from_json(document) == loss


def test_the_file_of_cross_entropy(tmp_path: Path) -> None:
    """The format, once in full: it must not change while the version is 2."""
    save(cross_entropy(), tmp_path / "loss.json")
    assert json.loads((tmp_path / "loss.json").read_text(encoding="utf-8")) == {
        "format": "lossmith.loss",
        "version": 2,
        "kind": "power",
        "name": "cross-entropy",
        "classes": None,
        "terms": [[0, 1, 1]],
        "coefficients": [1.0],
    }


@every_loss
def test_version_1_is_read_and_is_what_stored_runs_are_found_by(loss: PowerLoss) -> None:
    """It knew one kind of loss, and did not name it."""
    document = loss.to_json()
    del document["kind"]
    document["version"] = 1
    assert loss.key() == document
    assert list(loss.key()) == ["format", "version", "name", "classes", "terms", "coefficients"]
    assert PowerLoss.from_json(document) == loss


@given(
    terms=st.lists(st.tuples(st.floats(-1e3, 1e3), st.integers(0, 9), st.integers(0, 1)), max_size=6, unique=True),
    members=st.one_of(st.none(), st.integers(1, 3)),
    classes=st.one_of(st.none(), st.integers(2, 10**6)),
    name=st.text(st.characters(codec="utf-8")),
    data=st.data(),
)
def test_any_loss_comes_back(
    terms: list[tuple[float, int, int]], members: int | None, classes: int | None, name: str, data: st.DataObject
) -> None:
    number = st.floats(allow_nan=False, allow_infinity=False)
    row = st.lists(number, min_size=len(terms), max_size=len(terms))
    rows = row if members is None else st.lists(row, min_size=members, max_size=members)
    shape = (len(terms),) if members is None else (members, len(terms))
    coefficients = torch.tensor(data.draw(rows), dtype=torch.float64).reshape(shape)
    loss = PowerLoss(tuple(Term(*t) for t in terms), coefficients, classes, name)
    document = json.loads(json.dumps(loss.to_json(), allow_nan=False))
    restored = PowerLoss.from_json(document)
    assert isinstance(restored, PowerLoss)
    assert restored.terms == loss.terms
    assert (restored.classes, restored.name) == (classes, name)
    assert restored == loss
    assert torch.equal(restored.coefficients, loss.coefficients)


def test_extra_values_are_kept_and_not_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "best.json"
    extra = {"accuracy": 0.93, "data": {"hash": "abc", "seed": 3}, "notes": ["λ", None, True]}
    save(mse(), path, **extra)
    document = json.loads(path.read_text(encoding="utf-8"))
    assert {key: document[key] for key in extra} == extra
    assert load(path) == mse()
    assert read_json(path) == document


@pytest.mark.parametrize("key", ["format", "version", "kind", "name", "classes", "terms", "coefficients"])
def test_extra_values_cannot_take_the_place_of_the_loss(key: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"keeps {key} for the loss"):
        save(mse(), tmp_path / "loss.json", **{key: 1})
    assert list(tmp_path.iterdir()) == []


def test_paths_may_be_text(tmp_path: Path) -> None:
    save(mse(), str(tmp_path / "loss.json"))
    assert load(str(tmp_path / "loss.json")) == mse()


def test_paths_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(mse(), "loss.json")
    assert load("loss.json") == mse()


def test_a_file_has_the_rights_of_any_other(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        save(mse(), tmp_path / "loss.json")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "loss.json").stat().st_mode) == 0o640


# The file appears whole or not at all.


def test_saving_replaces_a_file(tmp_path: Path) -> None:
    path = tmp_path / "loss.json"
    path.write_text("something longer than the loss that follows " * 100, encoding="utf-8")
    save(mse(), path)
    assert load(path) == mse()
    assert list(tmp_path.iterdir()) == [path]


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("place", ["os.fsync", "pathlib.Path.replace", "pathlib.Path.chmod", "tempfile.mkstemp"])
@pytest.mark.parametrize("there", [False, True], ids=["new", "existing"])
def test_a_failing_write_leaves_what_was_there(
    place: str, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "loss.json"
    if there:
        save(baikal(), path)
    with monkeypatch.context() as patch:
        patch.setattr(place, full_disk)
        with pytest.raises(InputError, match="cannot be written: No space left on device; ") as error:
            save(mse(), path)
    assert_sentence(error, path)
    assert list(tmp_path.iterdir()) == ([path] if there else [])
    assert not there or load(path) == baikal()


def test_an_interrupted_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "loss.json"
    save(baikal(), path)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            save(mse(), path)
    assert list(tmp_path.iterdir()) == [path]
    assert load(path) == baikal()


def test_a_file_over_the_limit(tmp_path: Path) -> None:
    """What a full disk does, by the system's own limit on the size of a file."""
    path = tmp_path / "loss.json"
    save(baikal(), path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        with pytest.raises(InputError, match="cannot be written: File too large; ") as error:
            save(PowerLoss.stack([taylor(MNIST)] * 100), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_sentence(error, path)
    assert list(tmp_path.iterdir()) == [path]
    assert load(path) == baikal()


def test_writing_into_a_directory_that_there_is_not(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "loss.json"
    with pytest.raises(InputError, match="cannot be written: No such file or directory; ") as error:
        save(mse(), path)
    assert_sentence(error, path)
    assert list(tmp_path.iterdir()) == []


def test_writing_where_a_directory_is(tmp_path: Path) -> None:
    path = tmp_path / "loss.json"
    path.mkdir()
    with pytest.raises(InputError, match="cannot be written: Is a directory; ") as error:
        save(mse(), path)
    assert_sentence(error, path)
    assert [*tmp_path.iterdir(), *path.iterdir()] == [path]


def test_writing_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    path = tmp_path / "file" / "loss.json"
    with pytest.raises(InputError, match="cannot be written: Not a directory; ") as error:
        save(mse(), path)
    assert_sentence(error, path)


@pytest.mark.parametrize("value", [math.nan, math.inf, object()], ids=["NaN", "infinity", "object"])
def test_what_json_cannot_hold_is_not_written(value: object, tmp_path: Path) -> None:
    path = tmp_path / "loss.json"
    save(baikal(), path)
    with pytest.raises((TypeError, ValueError), match="JSON"):
        save(mse(), path, extra=value)
    with pytest.raises((TypeError, ValueError), match="JSON"):
        write_json({"x": value}, path)
    assert list(tmp_path.iterdir()) == [path]
    assert load(path) == baikal()


# What is broken is refused.


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "cannot be read: No such file or directory; give the path"),
        (lambda path: path.mkdir(), "cannot be read: Is a directory"),
        (lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links"),
        (lambda path: path.write_bytes(b""), "is not a JSON file"),
        (lambda path: path.write_bytes(b"   \n"), "is not a JSON file"),
        (lambda path: path.write_bytes(b"lambda h, y: y / h"), "is not a JSON file"),
        (lambda path: path.write_bytes(b"\x80\x02}q\x00."), "is not a JSON file"),
        (lambda path: path.write_bytes(b"\xff\xfe{\x00}\x00"), "is not a JSON file"),
        (lambda path: path.write_bytes(b"\xef\xbb\xbf{}"), "is not a JSON file"),
        (lambda path: path.write_bytes(b'{"format": "lossmith.loss", "version": 1, "na'), "is not a JSON file"),
        (lambda path: path.write_bytes(b'{"format": "lossmith.loss",}'), "is not a JSON file"),
        (lambda path: path.write_bytes(b"{} {}"), "is not a JSON file"),
        (lambda path: path.write_bytes(b"[" * 100_000), "is not a JSON file"),
        (lambda path: path.write_bytes(b"[" * 100_000 + b"]" * 100_000), "is not a JSON file"),
        (lambda path: path.write_bytes(b'{"a":' * 100_000), "is not a JSON file"),
        (lambda path: path.write_bytes(b"[" + b"9" * 5000 + b"]"), "is not a JSON file"),
        (lambda path: path.write_bytes(b"\x00" * 100), "is not a JSON file"),
    ],
)
def test_what_is_no_json_file(make: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "loss.json"
    make(path)
    with pytest.raises(InputError, match=message) as error:
        load(path)
    assert_sentence(error, path)
    with pytest.raises(InputError, match=message):
        read_json(path)


@pytest.mark.parametrize("document", [None, True, 3, 1.5, "loss", [], [DOCUMENT], {}, {"format": None}, nested(50)])
def test_another_document(document: object, tmp_path: Path) -> None:
    path = tmp_path / "loss.json"
    write_json(document, path)
    with pytest.raises(InputError, match="this is not a loss file") as error:
        load(path)
    assert_sentence(error, path)


NOT_NUMBERS: list[Any] = [
    None,
    True,
    "1",
    {},
    {"a": 1},
    [None],
    [True],
    [False],
    ["1.0"],
    [{}],
    [[1.0], [1.0, 2.0]],
    [[]],
    [1, "x"],
]
NOT_TERMS: list[Any] = [
    None,
    1,
    "hyl",
    {},
    {"a": 1},
    True,
    [None],
    [0, 1, 1],
    ["011"],
    [{"0": 0, "1": 1, "2": 2}],
    [[0, 1]],
]
NOT_TERMS += [
    [[0, 1, 1, 1]],
    [["0", 1, 1]],
    [[0, "1", 1]],
    [[0, 1.0, 1]],
    [[0, 1, True]],
    [[None, 1, 1]],
    [[0, 1, [1]]],
    [[]],
]
NOT_JSON = "is not a JSON file"
BROKEN = [
    *(("coefficients", value, "coefficients|takes as many") for value in NOT_NUMBERS),
    *(("terms", value, '"terms" of the loss file must be a list') for value in NOT_TERMS),
    ("coefficients", 1.0, "a loss of 1 terms takes as many"),
    ("coefficients", [], "a loss of 1 terms takes as many"),
    ("coefficients", [1.0, 2.0], "a loss of 1 terms takes as many"),
    ("coefficients", [[1.0, 2.0]], "a loss of 1 terms takes as many"),
    ("coefficients", [math.nan], NOT_JSON),
    ("coefficients", [math.inf], NOT_JSON),
    ("coefficients", [-math.inf], NOT_JSON),
    ("coefficients", [10**400], NOT_JSON),
    ("coefficients", [[10**400]], NOT_JSON),
    ("coefficients", nested(40), '"coefficients" of the loss file|takes as many'),
    ("coefficients", nested(200), NOT_JSON),
    ("terms", [], "a loss of 0 terms takes as many"),
    ("terms", [[0, 1, 1], [1, 1, 0]], "a loss of 2 terms takes as many"),
    ("terms", [[math.nan, 1, 1]], NOT_JSON),
    ("terms", [[math.inf, 1, 1]], NOT_JSON),
    ("terms", [[10**400, 1, 1]], NOT_JSON),
    ("terms", [[0, -1, 1]], r"the term \[0, -1, 1\]"),
    ("terms", [[0, 10**400, 1]], NOT_JSON),
    ("terms", [[0, 1, 2]], r"the term \[0, 1, 2\]"),
    ("terms", [[0, 1, -1]], r"the term \[0, 1, -1\]"),
    ("terms", nested(200), NOT_JSON),
    ("classes", 1, '"classes" of the loss file is 1'),
    ("classes", 0, '"classes" of the loss file is 0'),
    ("classes", -3, '"classes" of the loss file is -3'),
    ("classes", -(10**400), NOT_JSON),
    ("classes", 3.0, '"classes" of the loss file is 3.0'),
    ("classes", math.nan, NOT_JSON),
    ("classes", True, '"classes" of the loss file is True'),
    ("classes", "10", "\"classes\" of the loss file is '10'"),
    ("classes", nested(200), NOT_JSON),
    ("name", None, '"name" of the loss file is None'),
    ("name", 3, '"name" of the loss file is 3'),
    ("name", nested(200), NOT_JSON),
    ("name", ["long"] * 1000, '"name" of the loss file'),
    ("format", "lossmith.study", "this is not a loss file"),
    ("format", nested(200), NOT_JSON),
    ("version", 3, "version 3, this program reads versions 1 to 2"),
    ("kind", "powers", r"no kind of loss 'powers' \(did you mean power or shifted-power\?\); give one of"),
    ("kind", None, '"kind" of the loss file is None'),
    ("kind", nested(200), NOT_JSON),
    ("version", 0, "version 0"),
    ("version", "1", "version '1'"),
    ("version", None, "version None"),
    ("version", True, "version True"),
    ("version", math.nan, NOT_JSON),
    ("version", nested(200), NOT_JSON),
    ("version", "x" * 10_000, "version 'xxx"),
]


@pytest.mark.parametrize(("key", "value", "message"), BROKEN, ids=lambda value: repr(value)[:30])
def test_a_broken_value(key: str, value: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "loss.json"
    path.write_text(json.dumps({**DOCUMENT, key: value}), encoding="utf-8")
    with pytest.raises(InputError, match=message) as error:
        load(path)
    assert_sentence(error, path)


@pytest.mark.parametrize("key", ["format", "version", "kind", "name", "classes", "terms", "coefficients"])
def test_a_missing_key(key: str, tmp_path: Path) -> None:
    path = tmp_path / "loss.json"
    write_json({name: value for name, value in DOCUMENT.items() if name != key}, path)
    messages = {"format": "this is not a loss file", "version": "version None"}
    with pytest.raises(InputError, match=messages.get(key, f'has no "{key}"')) as error:
        load(path)
    assert_sentence(error, path)


def test_a_repeated_term(tmp_path: Path) -> None:
    path = tmp_path / "loss.json"
    write_json({**DOCUMENT, "terms": [[1, 1, 0], [1.0, 1, 0]], "coefficients": [1.0, 2.0]}, path)
    with pytest.raises(InputError, match="names a term twice") as error:
        load(path)
    assert_sentence(error, path)


@pytest.mark.parametrize("key", ["terms", "coefficients", "classes", "name", "version", "format", "extra"])
def test_no_depth_of_nesting_is_too_much(key: str, tmp_path: Path) -> None:
    """As deep as the reader goes, and deeper: about Python's limit of recursion, one by one."""
    path = tmp_path / "loss.json"
    for depth in [64, 65, 100, 500, *range(800, 1010, 3), 5000]:
        text = json.dumps({**DOCUMENT, key: "HERE"}).replace('"HERE"', "[" * depth + "]" * depth)
        path.write_text(text, encoding="utf-8")
        sentence = refusal(lambda: load(path))
        if sentence is None:
            assert key == "extra"
        else:
            assert sentence.startswith(str(path))
            assert len(sentence) < len(str(path)) + 280
            assert key != "extra" or depth > 90


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=8,
)


@given(st.sampled_from(list(DOCUMENT)), json_values)
def test_any_value_in_any_place_is_a_loss_or_a_sentence(key: str, value: object) -> None:
    document = json.loads(json.dumps({**DOCUMENT, key: value}))
    sentence = refusal(lambda: PowerLoss.from_json(document))
    if sentence is None:
        loss = PowerLoss.from_json(document)
        assert PowerLoss.from_json(loss.to_json()) == loss
        assert isinstance(loss, PowerLoss)
        assert replace(loss, classes=None).value(torch.zeros(1, 3), torch.tensor([0])).shape == (*loss.shape, 1)
    else:
        assert "\n" not in sentence
        assert len(sentence) < 280


@given(content=st.binary(max_size=40))
def test_any_bytes_are_a_sentence(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any bytes.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"is not a JSON file|this is not a loss file") as error:
        load(path)
    assert str(error.value).startswith(str(path))


def test_a_file_is_never_evaluated(tmp_path: Path) -> None:
    path = tmp_path / "loss.json"
    trap = f"__import__('pathlib').Path({str(tmp_path / 'trap')!r}).touch()"
    for key in DOCUMENT:
        write_json({**DOCUMENT, key: trap}, path)
        if key == "name":
            assert load(path).name == trap
        else:
            with pytest.raises(InputError):
                load(path)
    assert list(tmp_path.iterdir()) == [path]


def test_the_class_weights_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "best.json"
    save(cross_entropy(), path, provenance={"class_weight": [0.25, 4, 1 / 3]})
    assert class_weights(read_loss_document(path)) == [0.25, 4.0, 1 / 3]
    others: list[dict[str, Any]] = [
        {},
        {"provenance": None},
        {"provenance": {}},
        {"provenance": {"class_weight": None}},
    ]
    for other in others:
        assert class_weights(loss_document(cross_entropy(), **other)) is None
    assert class_weights([]) is None


@pytest.mark.parametrize(
    "found", ["balanced", 2.0, [], [1.0], [1.0, 0.0], [1.0, -1.0], [1.0, math.nan], [1.0, True], [[1.0, 2.0]], [1, "2"]]
)
def test_class_weights_of_a_file_that_are_none(found: object) -> None:
    with pytest.raises(InputError, match="a list of numbers from 1e-9 to 1e9, one for each class"):
        class_weights({**DOCUMENT, "provenance": {"class_weight": found}})


def test_class_weights_of_another_number_of_classes() -> None:
    document = {**cross_entropy().smoothed(0.1, 3).to_json(), "provenance": {"class_weight": [1.0, 2.0]}}
    with pytest.raises(InputError, match="one for each class"):
        class_weights(document)
