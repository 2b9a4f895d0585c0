"""``.npz`` files that are wrong."""

from __future__ import annotations

import io
import os
import pickle
import random
import re
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fuzz.cases import LOOK, SPECIALS, TINY, TRACE, Case, special
from fuzz.values import flipped

Arrays = dict[str, NDArray[Any]]
TYPES = (
    *(
        "O",
        "S3",
        "U3",
        "V8",
        "M8[D]",
        "m8[s]",
        "c8",
        "c16",
        "?",
        "i1",
        "u1",
        "i2",
        ">i2",
        "u2",
        ">u2",
        "u4",
        ">u4",
        "u8",
    ),
    *(">i8", "i8", "f2", ">f2", ">f4", "f8", ">f8", "f16", "S0", "i4,f4", "(2,)f4", "U0"),
)
NO_NUMBERS = ("O", "S3", "U3", "V8", "M8[D]", "m8[s]", "c8", "c16")
SHAPES: tuple[tuple[int, ...], ...] = (
    *(
        (),
        (0,),
        (60,),
        (60, 1),
        (1, 60),
        (60, 0),
        (0, 5),
        (60, 5, 1),
        (60, 1, 5, 1),
        (60, 1, 1, 5, 1),
        (59, 5),
        (61, 5),
    ),
    *((1, 5), (60, 5, 0), (2, 5), (3, 5), (60, 1, 1, 1), (60, 2, 2, 2), (60, 3, 3), (60, 17, 1, 1), (60, *[1] * 31)),
)
HEADER_SHAPES = (
    *("(1000000000000,)", "(1000000000000, 5)", "(10000000000000000000000,)", "(-1,)", "(-5, 5)", "(60, 5.0)", "60"),
    *("(60, True)", "()", "None", "(60, 5", "[60, 5]", "(9223372036854775807,)", "(4294967296, 4294967296)"),
    *("(2147483648, 2)", "(" * 150 + ")" * 150, "(1" + "0" * 5000 + ",)", "(60, 5) * 9"),
)
HEADER_TYPES = (
    *("'<f4'", "'|O'", "'<i8'", "'<f4' * 100", "'|V1000000000'", "'|S2147483647'", "('<f4', (1000000,))"),
    *("[('a', '<f4')]", "'f99'", "''", "None", "'>f4'", "lambda: 0"),
)


class Evil:
    """What leaves a file when somebody unpickles it."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        """Make the file ``PWNED`` in the current directory."""
        return os.mkdir, ("PWNED",)


def good_arrays() -> Arrays:
    """Data that is as it should be: 60 samples of 5 features and 3 classes, 15 for test."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    x = (rng.normal(0, 1, (60, 5)) + 2 * np.eye(3, 5)[labels]).astype(np.float32)
    return {"x_train": x, "y_train": labels, "x_test": x[:15].copy(), "y_test": labels[:15]}


def npz(arrays: Mapping[str, NDArray[Any]], compressed: bool = False) -> bytes:
    """Arrays as an ``.npz`` file."""
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, allow_pickle=True, **arrays)
    return file.getvalue()


def npz_file(rng: random.Random) -> Case:
    """An ``.npz`` file."""
    words = ["evolve", "--out", "s", "--quiet", *TINY, "--data", "b.npz"]
    if rng.random() < 0.03:
        kind = rng.choice(SPECIALS)
        return Case(f"special {kind}", words, True, prepare=special(kind, "b.npz"))
    label, content, bad = (_large if rng.random() < 0.01 else rng.choice(MAKERS))(rng)
    chance = rng.random()
    if chance < 0.15:
        words = ["trace", "mse", *TRACE, "--data", "b.npz"]
    elif chance < 0.25:
        words = ["attack", "mse", *LOOK, "--data", "b.npz"]
    elif chance < 0.4:
        words += ["--label-noise", "0.5", "--mixup", "0.2"]
    return Case(label, words, bad, {"b.npz": content})


def _of_type(rng: random.Random) -> tuple[str, bytes, bool]:
    arrays, name, kind = good_arrays(), _any(rng), rng.choice(TYPES)
    try:
        arrays[name] = arrays[name].astype(kind)
    except (TypeError, ValueError):
        arrays[name] = np.zeros(arrays[name].shape, dtype=kind)
    return f"type {name} {kind}", npz(arrays), kind in NO_NUMBERS


def _of_shape(rng: random.Random) -> tuple[str, bytes, bool]:
    arrays, name, shape = good_arrays(), _any(rng), rng.choice(SHAPES)
    arrays[name] = np.zeros(shape, arrays[name].dtype)
    return f"shape {name} {shape}", npz(arrays), False


def _of_value(rng: random.Random) -> tuple[str, bytes, bool]:
    arrays, name, value = good_arrays(), _any(rng), rng.choice([np.nan, np.inf, -np.inf, 1e39, -1e39, 1e308])
    arrays[name] = arrays[name].astype(np.float64)
    arrays[name].flat[rng.randrange(arrays[name].size)] = value
    return f"value {name} {value}", npz(arrays), True


def _labels(rng: random.Random) -> tuple[str, bytes, bool]:
    arrays = good_arrays()
    labels = arrays["y_train"]
    one = labels.copy()
    one[rng.randrange(60)] = rng.choice([-1, -100, 3, 4, 255, 256, 10**6, 2**31, 2**62, -(2**63)])
    ways: list[NDArray[Any]] = [
        *(one, np.zeros(60), np.ones(60), np.eye(3)[labels], np.arange(60), labels + 0.5, np.full(60, np.nan)),
        *(labels * 2, labels.astype(str), labels[:, None], np.full(60, 2**63, np.uint64), -labels),
        *(np.where(labels == 0, 2.0**60, labels), np.where(labels == 0, 1e300, labels)),
    ]
    arrays["y_train"] = rng.choice(ways)
    return "labels", npz(arrays), False


def _missing(rng: random.Random) -> tuple[str, bytes, bool]:
    arrays = good_arrays()
    missing = rng.sample(sorted(arrays), rng.choice([1, 2, 3, 4]))
    kept = {name: value for name, value in arrays.items() if name not in missing}
    bad = "x_train" in missing or "y_train" in missing or len({"x_test", "y_test"} & set(missing)) == 1
    return f"missing {missing}", npz(kept), bad


def _cut(rng: random.Random) -> tuple[str, bytes, bool]:
    content = npz(good_arrays(), rng.random() < 0.5)
    return "cut", content[: rng.randrange(len(content))], False


def _flipped(rng: random.Random) -> tuple[str, bytes, bool]:
    return "flipped", flipped(rng, npz(good_arrays(), rng.random() < 0.5), (1, 2, 5, 50)), False


def _header(rng: random.Random) -> tuple[str, bytes, bool]:
    name, shape, kind = _any(rng), rng.choice(HEADER_SHAPES), rng.choice(HEADER_TYPES)
    header = f"{{'descr': {kind}, 'fortran_order': {rng.choice(['False', 'True', '0', 'None'])}, 'shape': {shape}, }}"
    version = rng.choice([(1, 0), (2, 0), (3, 0), (4, 0), (0, 0), (255, 255)])
    member = _npy_of_header(header, rng.choice([b"", b"\0" * 1200]), version)
    return f"header {name} {kind} {shape[:40]}", _zipped({**_members(), f"{name}.npy": member}), False


def _member(rng: random.Random) -> tuple[str, bytes, bool]:
    name = _any(rng)
    whole = _members()[f"{name}.npy"]
    ways = [
        *(b"", b"x", b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff", pickle.dumps(Evil()), b"\0" * 1000, whole[:-7]),
        *(whole + b"x", _npy_of_header("{}" * 5000), _npy_of_header("[" * 5000), _npy_of_header("{'descr': '<f4'}")),
        b"\x93NUMPY\x02\x00\xff\xff\xff\x7f",
    ]
    return f"member {name}", _zipped({**_members(), f"{name}.npy": rng.choice(ways)}), False


def _extra(rng: random.Random) -> tuple[str, bytes, bool]:
    ways: list[dict[str, bytes]] = [
        *({"../evil.npy": b"x"}, {"/PWNED": b"x"}, {"x_train": b"text"}, {"x_train.npy.npy": b"x"}, {"./": b"x"}),
        *({"a" * 60_000: b"x"}, {"\x1b[31m.npy": b"x"}, {f"n{k}.npy": b"" for k in range(500)}, {"dir/": b""}),
    ]
    return "extra members", _zipped({**_members(), **rng.choice(ways)}), False


def _pickled(rng: random.Random) -> tuple[str, bytes, bool]:
    objects = np.array([[Evil()] * 5] * 60, dtype=object)
    whole = npz({**good_arrays(), "x_train": objects})
    return "pickle", rng.choice([whole, pickle.dumps(Evil())]), True


def _another(rng: random.Random) -> tuple[str, bytes, bool]:
    file = io.BytesIO()
    np.save(file, good_arrays()["x_train"])
    return "something else", rng.choice([file.getvalue(), rng.randbytes(1000), b"", rng.randbytes(22)]), True


def _images(rng: random.Random) -> tuple[str, bytes, bool]:
    shapes = [(1, 1, 1), (2, 2), (5, 5, 3), (3, 5, 5), (4, 4, 4), (1, 64, 64), (0, 3, 3), (16, 16, 13)]
    shape = rng.choice(shapes)
    inputs = np.random.default_rng(0).random((60, *shape)).astype(np.float32) * rng.choice([0, 1])
    return f"images {shape}", npz({"x_train": inputs, "y_train": np.arange(60) % 3}), False


def _few(rng: random.Random) -> tuple[str, bytes, bool]:
    arrays, count = good_arrays(), rng.choice([2, 3, 4, 5, 6, 9])
    return f"{count} samples", npz({name: arrays[name][:count] for name in ("x_train", "y_train")}), False


def _around(rng: random.Random) -> tuple[str, bytes, bool]:
    content = npz(good_arrays())
    ways = [b"x" * 10 + content, content + b"x" * 100, content * 2, b"MZ" + content, content + b"\0" * 70_000]
    return "something around", rng.choice(ways), False


def _compression(rng: random.Random) -> tuple[str, bytes, bool]:
    method = rng.choice([zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED])
    return "compression", flipped(rng, _zipped(_members(), method), (0, 1, 1, 2)), False


def _directory(rng: random.Random) -> tuple[str, bytes, bool]:
    content = bytearray(npz(good_arrays()))
    for found in re.finditer(b"PK\x01\x02", bytes(content)):
        place = found.start() + rng.choice([8, 10, 20, 24, 42])
        content[place : place + 2] = rng.choice([b"\x01\x00", b"\xff\xff", b"\x63\x00", b"\x00\x00", b"\x09\x00"])
    return "directory of the archive", bytes(content), False


def _scaled(rng: random.Random) -> tuple[str, bytes, bool]:
    arrays = good_arrays()
    if rng.random() < 0.5:
        arrays["x_train"] = np.full((60, 5), rng.choice([0, 1, 255, 1e30, -1e30, 3e38, 1e-45]), np.float32)
    else:
        arrays["x_train"] = arrays["x_train"] * np.float32(rng.choice([1e19, 1e37, 1e-38, 1e-45]))
    return "scale", npz(arrays), False


def _test(rng: random.Random) -> tuple[str, bytes, bool]:
    arrays = good_arrays()
    labels = arrays["y_test"]
    if rng.random() < 0.3:
        arrays["x_test"] = arrays["x_test"][:, : rng.choice([0, 1, 4])]
        return "test of another shape", npz(arrays), True
    ways = [labels + 1, labels - 1, labels[:14], np.zeros(15), np.full(15, 7), np.full(15, np.nan)]
    arrays["y_test"] = rng.choice(ways)
    return "labels of test", npz(arrays), False


def _large(rng: random.Random) -> tuple[str, bytes, bool]:
    """Small files of much: labels that are no classes, and zeros that fill the memory."""
    count = rng.choice([20_000, 200_000])
    many: Arrays = {"x_train": np.zeros((count * 3 // 2, 1), np.float32), "y_train": np.arange(count * 3 // 2) % count}
    zeros: Arrays = {"x_train": np.zeros((60, 700_000 * rng.choice([1, 10])), np.float16), "y_train": np.arange(60) % 3}
    return "large", npz(rng.choice([many, zeros]), compressed=True), False


MAKERS = (
    *(_of_type, _of_shape, _of_value, _labels, _missing, _cut, _flipped, _flipped, _flipped, _header, _member, _extra),
    *(_pickled, _another, _images, _few, _around, _compression, _directory, _scaled, _test),
)


def _any(rng: random.Random) -> str:
    return rng.choice(["x_train", "y_train", "x_test", "y_test"])


def _members() -> dict[str, bytes]:
    found = {}
    for name, array in good_arrays().items():
        file = io.BytesIO()
        np.lib.format.write_array(file, array)
        found[f"{name}.npy"] = file.getvalue()
    return found


def _zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def _npy_of_header(header: str, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    text = header.encode("latin-1")
    text += b" " * (64 - (11 + len(text)) % 64) + b"\n"
    size = struct.pack("<H" if version[0] == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + size + text + data
