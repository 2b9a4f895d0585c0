"""Data that is hostile, damaged or not what it seems: one sentence before the work, and nothing dropped in silence."""

import io
import os
import pickle
import resource
import socket
import struct
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.utils.data import Dataset

import lossmith.memory as memory_module
from lossmith.data import DataSettings, Normalize, Source, open_source, search_parts
from lossmith.data.folder import class_names
from lossmith.data.hub import cache_directory
from lossmith.data.names import is_plain, listed, shown
from lossmith.errors import InputError

X, Y = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32), np.arange(12) % 3
Arrays = dict[str, Any]


def npy(array: Any) -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array(content, np.asarray(array))
    return content.getvalue()


def raw(header: str, data: bytes = b"", version: int = 1) -> bytes:
    """A member with a header of one's own."""
    text = header.encode("latin-1") + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text + data


def archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as made:
        for name, content in {"x_train.npy": npy(X), "y_train.npy": npy(Y), **members}.items():
            made.writestr(name, content)
    return path


def refused(path: Path, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        open_source(str(path))
    assert is_plain(str(caught.value))


def saved(path: Path, **arrays: Any) -> Source:
    np.savez(path / "a.npz", **{"x_train": X, "y_train": Y, **arrays})
    return open_source(str(path / "a.npz"))


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def little_memory(monkeypatch: pytest.MonkeyPatch, size: int = 1 << 20) -> None:
    monkeypatch.setattr(memory_module, "available_memory", lambda: size)


class TestExhaustion:
    def test_an_archive_of_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """712 KB of zeros took 5 GB, which the memory may well have."""
        monkeypatch.setattr("lossmith.data.npz.LARGEST_PACKED", 2**20)
        path = tmp_path / "zeros.npz"
        arrays: dict[str, Any] = {"x_train": np.zeros((12, 200_000)), "y_train": Y}
        np.savez_compressed(path, **arrays)
        refused(path, r"x_train in .*zeros\.npz unpacks to 19\.2 MB from .* kB, as only values that repeat")
        np.savez(path, **arrays)
        assert len(open_source(str(path)).inputs) == 12

    @pytest.mark.parametrize("kind", [np.uint8, np.float64])
    def test_zeros_that_inflate(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type) -> None:
        """Told from the header, before any of it is unpacked."""
        path = tmp_path / "zeros.npz"
        np.savez_compressed(path, x_train=np.zeros((12, 100_000), kind), y_train=Y)
        assert path.stat().st_size < 20_000
        monkeypatch.setattr(np, "empty", lambda *_, **__: pytest.fail("something is allocated"))
        little_memory(monkeypatch)
        refused(path, r"x_train in .*zeros\.npz has shape \[12, 100000\] of \w+, and .* MB of memory, and 1\.05 MB are")

    @pytest.mark.parametrize("version", [1, 2, 3])
    @pytest.mark.parametrize(
        "shape",
        [
            "(1000000000000, 5)",
            "(9223372036854775807,)",
            f"(1{'0' * 4000},)",
            "(4294967296, 4294967296)",
            "(-12, 4)",
            f"(12, 4{', 1' * 99})",
        ],
    )
    def test_shapes_that_the_file_does_not_hold(self, tmp_path: Path, shape: str, version: int) -> None:
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}"
        path = archive(tmp_path / "a.npz", {"x_train.npy": raw(header, X.tobytes(), version)})
        refused(path, r"x_train in .* cannot be read, so the file is damaged: save it again")

    @pytest.mark.parametrize(
        "header",
        ["{}", "x" * 9_000, "[" * 5000, "{'descr': 'f99', 'fortran_order': False, 'shape': (12, 4)}", "'\\d' ()"],
    )
    def test_headers_that_are_none(self, tmp_path: Path, header: str) -> None:
        refused(archive(tmp_path / "a.npz", {"x_train.npy": raw(header)}), r"x_train in .*a\.npz cannot be read")

    @pytest.mark.parametrize("shape", ["(0, 4611686018427387904, 4611686018427387904)", "(0, 5)", f"(0{', 9' * 40})"])
    def test_shapes_of_nothing(self, tmp_path: Path, shape: str) -> None:
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}"
        refused(
            archive(tmp_path / "a.npz", {"x_train.npy": raw(header)}),
            r"x_train in .* (cannot be read, so the file is damaged|is empty \(shape \[0, 5\]\))",
        )

    def test_a_header_of_four_gibibytes(self, tmp_path: Path) -> None:
        content = b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 100_000
        refused(archive(tmp_path / "a.npz", {"y_train.npy": content}), r"y_train in .* cannot be read, so the file is")

    def test_numbers_of_samples_are_no_classes(self) -> None:
        with pytest.raises(InputError, match=r"targets holds 40 different labels for 60 samples, so that these are no"):
            Source.from_tensors(torch.rand(60, 2), torch.arange(60) % 40)
        assert Source.from_tensors(torch.rand(60, 2), torch.arange(60) % 30).classes == 30

    def test_outputs_that_the_memory_cannot_hold(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """20,000 classes of a file of 89 KB."""
        source = Source.from_tensors(torch.zeros(3000, 1, dtype=torch.uint8), torch.arange(3000) % 1000)
        little_memory(monkeypatch)
        with pytest.raises(InputError, match=r"one network for 450 validation samples and 1000 classes take 7\.2 MB"):
            search_parts(source, DataSettings())

    def test_the_least_of_all_limits(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        whole = memory_module.available_memory()
        assert whole is not None
        (tmp_path / "one").write_text("max\n")
        (tmp_path / "two").write_bytes(b"\xff")
        monkeypatch.setattr(memory_module, "CONTAINERS", (tmp_path / "one", tmp_path / "two", tmp_path / "none"))
        assert memory_module.available_memory() is not None
        (tmp_path / "two").write_text("4096\n")
        assert memory_module.available_memory() == 4096
        monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
        assert memory_module.available_memory() == 0

    @pytest.mark.parametrize("text", ["1" + "0" * 400, "65537"])
    def test_a_side_that_is_no_side(self, text: str) -> None:
        with pytest.raises(ValidationError, match="image_size"):
            DataSettings(image_size=int(text))

    @pytest.mark.parametrize("pixel", [1e300, 1e38])
    def test_a_white_pixel_beyond_float32(self, pixel: float) -> None:
        with pytest.raises(ValidationError, match="max_pixel"):
            DataSettings(max_pixel=pixel)


class TestArchives:
    @pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED])
    def test_every_packing_is_read_and_its_damage_told(self, tmp_path: Path, method: int) -> None:
        path = archive(tmp_path / "a.npz", {}, method)
        assert open_source(str(path)).digest == saved(tmp_path / "").digest
        content = bytearray(archive(path, {}, method).read_bytes())
        for place in (60, 70, 90):
            damaged = content.copy()
            damaged[place] ^= 0xFF
            path.write_bytes(damaged)
            refused(path, r"x_train in .* cannot be read, so the file is damaged: save it again")

    def test_values_whose_checksum_is_wrong(self, tmp_path: Path) -> None:
        content = bytearray(archive(tmp_path / "a.npz", {}).read_bytes())
        content[content.index(X.tobytes()) + 3] ^= 1
        (tmp_path / "a.npz").write_bytes(content)
        refused(tmp_path / "a.npz", r"x_train in .* cannot be read, so the file is damaged")

    def test_both_orders_in_memory(self, tmp_path: Path) -> None:
        assert saved(tmp_path, x_train=np.asfortranarray(X)).digest == saved(tmp_path).digest

    def test_two_of_a_name(self, tmp_path: Path) -> None:
        refused(archive(tmp_path / "a.npz", {"y_train": b"text"}), r"a\.npz holds y_train twice: save it again")

    @pytest.mark.parametrize(
        "content", [b"", b"x", b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff", npy(X)[:-7], npy(X) + b"x"]
    )
    def test_members_that_end_early_or_late(self, tmp_path: Path, content: bytes) -> None:
        path = archive(tmp_path / "a.npz", {"x_train.npy": content})
        refused(path, r"x_train in .* (cannot be read, so the file is damaged|is not a NumPy array): save it")

    def test_a_member_that_asks_for_a_password(self, tmp_path: Path) -> None:
        content = bytearray(archive(tmp_path / "a.npz", {}).read_bytes())
        content[content.index(b"PK\x01\x02") + 8] |= 1
        (tmp_path / "a.npz").write_bytes(content)
        refused(tmp_path / "a.npz", r"x_train in .* cannot be read, so the file is damaged")

    def test_objects_are_never_made(self, tmp_path: Path) -> None:
        class Evil:
            def __reduce__(self) -> Any:
                return os.mkdir, (str(tmp_path / "made"),)

        header = "{'descr': '|O', 'fortran_order': False, 'shape': (12,)}"
        path = archive(tmp_path / "a.npz", {"x_train.npy": raw(header, pickle.dumps(Evil()))})
        refused(path, "x_train in .* holds Python objects, which are never loaded")
        assert not (tmp_path / "made").exists()

    @pytest.mark.parametrize(
        "descr",
        [
            "'|V1000000000'",
            "('<f4', (1000000,))",
            "[('a', '<f4')]",
            f"[({'a' * 5000!r}, '<f4'), ('\\x1b', '<f4')]",
            "'<M8[D]'",
        ],
    )
    def test_types_that_are_no_numbers(self, tmp_path: Path, descr: str) -> None:
        header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': (12,)}}"
        path = archive(tmp_path / "a.npz", {"x_train.npy": raw(header, b"\0" * 48)})
        refused(path, r"x_train in .* holds values of type .*, but has to hold numbers|x_train in .* cannot be read")

    @pytest.mark.parametrize(
        "make",
        [
            os.mkfifo,
            lambda path: path.symlink_to("/dev/zero"),
            bind,
        ],
    )
    def test_special_files(self, tmp_path: Path, make: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        make(Path("a.npz"))
        refused(Path("a.npz"), r"^a\.npz (is no regular file, but a pipe|cannot be read: No such device)")

    def test_arrays_that_nothing_uses_are_named_once(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        digest = saved(tmp_path).digest
        assert caplog.text == ""
        members = {
            "x_other.npy": npy(X),
            "y_other.npy": npy(Y),
            "\x1b[31mred.npy": b"no array",
            "../evil.npy": npy(Y),
            "z" * 60_000: b"",
        }
        assert open_source(str(archive(tmp_path / "b.npz", members))).digest == digest
        (record,) = caplog.records
        assert len(record.getMessage()) < 500
        assert "holds \\x1b[31mred, ../evil, x_other, y_other, zzz" in record.getMessage()
        assert record.getMessage().endswith(
            "…, which nothing uses: only x_train, y_train, x_val, y_val, x_test and y_test are read"
        )


class TestLabels:
    @pytest.mark.parametrize(
        ("labels", "sentence"),
        [
            (np.where(Y == 0, 1e300, Y), r"y_train in .* holds the label 1e\+300: give class indices 0, 1"),
            (np.where(Y == 0, 2**60, Y), r"y_train in .* holds labels from 1 to 1152921504606846976 but never 0"),
            (np.where(Y == 0, 2.0**60, Y), r"y_train in .* holds the label 1\.15292e\+18: give class"),
            (np.full(12, 2**63, np.uint64), r"y_train in .* holds the whole number 9223372036854775808, beyond int64"),
            (-Y, r"y_train in .* holds the label -2"),
            (np.eye(3)[Y], r"shape \[12, 3\].*: take argmax\(1\) of one-hot labels"),
            (
                np.tri(12, 3),
                r"shape \[12, 3\].*\(multi-label\), are not supported; learn one of these .*BCEWithLogitsLoss",
            ),
            (np.full((12, 3), 1 / 3), r"shape \[12, 3\].*: soft labels .* are not supported.* by lossmith.Criterion"),
            (np.linspace(-3, 9, 36).reshape(12, 3), r"measured values \(regression\) are not supported: .*MSELoss"),
            (np.linspace(-3, 9, 12), r"no integers.*measured values \(regression\) are not supported: .*MSELoss"),
            (np.linspace(-3, 9, 12)[:, None], r"no integers.*measured values \(regression\) are not supported"),
            (np.arange(12), r"12 different labels for 12 samples.*measured values \(regression\) are not supported"),
            (
                np.zeros((12, 5, 5)),
                r"shape \[12, 5, 5\].*: there is no segmentation, .*; give one label for each whole",
            ),
            (np.zeros(()), r"y_train in .* shape \[\].*: give a label for each sample"),
        ],
    )
    def test_labels_that_are_none(self, tmp_path: Path, labels: Any, sentence: str) -> None:
        with pytest.raises(InputError, match=sentence) as caught:
            saved(tmp_path, y_train=labels)
        assert ("argmax" in str(caught.value)) == ("one-hot" in sentence)

    def test_labels_of_other_types(self, tmp_path: Path) -> None:
        digest = saved(tmp_path).digest
        assert {saved(tmp_path, y_train=Y.astype(kind)).digest for kind in ("f2", ">f8", "u8", "i1")} == {digest}
        assert saved(tmp_path, y_train=Y > 0).classes == 2

    @pytest.mark.parametrize(
        ("target", "sentence"),
        [(torch.tensor(1j), "item 0 .* a complex label"), (torch.tensor([1, 1, 0]), r"3 labels: give one .*\(several")],
    )
    def test_labels_of_a_dataset(self, target: torch.Tensor, sentence: str) -> None:
        with pytest.raises(InputError, match=sentence):
            Source.from_dataset(Items([(torch.zeros(2), target)] * 4))


class Items(Dataset[Any]):
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class Picture:
    """What is seen of an image of Pillow."""

    def __init__(self, array: np.ndarray[Any, Any], mode: str) -> None:
        self.array, self.mode = array, mode

    def getbands(self) -> tuple[str, ...]:
        return tuple(self.mode)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        return self.array


class TestLayouts:
    @pytest.mark.parametrize(
        ("shape", "expected", "told"),
        [
            ((16, 16, 2), (2, 16, 16), True),
            ((16, 16, 5), (5, 16, 16), True),
            ((64, 64, 13), (13, 64, 64), True),
            ((4, 4, 3), (3, 4, 4), True),
            ((6, 6, 8), (6, 6, 8), True),
            ((9, 7, 5), (9, 7, 5), True),
            ((5, 5, 5), (5, 5, 5), True),
            ((3, 5, 4), (3, 5, 4), True),
            ((16, 3, 3), (3, 16, 3), True),
            ((13, 9, 9), (13, 9, 9), False),
            ((2, 5, 7), (2, 5, 7), False),
            ((3, 8, 8), (3, 8, 8), False),
            ((1, 4, 4), (1, 4, 4), False),
            ((4, 3, 3), (4, 3, 3), False),
            ((8, 8, 3), (3, 8, 8), False),
            ((5, 7, 1), (1, 5, 7), False),
            ((1, 5, 7), (1, 5, 7), False),
        ],
    )
    def test_what_is_not_clear_is_told(
        self,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        shape: tuple[int, ...],
        expected: tuple[int, ...],
        told: bool,
    ) -> None:
        images = np.random.default_rng(0).random((12, *shape))
        source = saved(tmp_path, x_train=images, x_test=images, y_test=Y)
        assert source.input_shape == expected
        right = images if expected == shape else np.moveaxis(images, -1, 1)
        assert torch.equal(source.inputs, torch.from_numpy(right.astype(np.float32)))
        assert torch.equal(source.inputs, source.test_inputs)  # type: ignore[arg-type]
        channels, height, width = expected
        messages = [f"is read as {channels} channels of {height} × {width} pixels"] if told else []
        assert len(caplog.records) == len(messages)
        assert all(part in caplog.text for part in messages)

    def test_items_are_told_of_once(self, caplog: pytest.LogCaptureFixture) -> None:
        arrays = np.random.default_rng(0).random((6, 9, 7, 5))
        Source.from_dataset(Items([(array, index % 2) for index, array in enumerate(arrays)]))
        (record,) = caplog.records
        assert record.getMessage().startswith("item 0 of the dataset has shape [1, 9, 7, 5] and is read as 9 channels")

    def test_channels_of_an_image_are_last(self, caplog: pytest.LogCaptureFixture) -> None:
        arrays = np.random.default_rng(0).integers(0, 9, (6, 3, 7, 4), dtype=np.uint8)
        source = Source.from_dataset(Items([(Picture(array, "CMYK"), i % 2) for i, array in enumerate(arrays)]))
        assert source.input_shape == (4, 3, 7)
        assert caplog.text == ""
        with pytest.raises(InputError, match=r"item 0 .* of mode P, whose pixels are numbers of colors.*: convert"):
            Source.from_dataset(Items([(Picture(arrays[0, ..., 0], "P"), 0)] * 2))

    def test_an_alpha_channel_that_is_left_out_is_told(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        images = np.random.default_rng(0).integers(0, 255, (12, 5, 5, 4), dtype=np.uint8)
        np.savez(tmp_path / "a.npz", x_train=images, y_train=Y)
        open_source(str(tmp_path / "a.npz"), DataSettings(channels=3))
        assert "the fourth channel (alpha) of a.npz, which differs from pixel to pixel, is left out" in caplog.text


class TestScales:
    @pytest.mark.parametrize("scale", [1e38, -3e38])
    def test_too_large_to_be_normalized(self, tmp_path: Path, scale: float) -> None:
        with pytest.raises(InputError, match=r"x_train in .* holds values as large as .*e\+3\d, too large .*: divide"):
            saved(tmp_path, x_train=X / np.abs(X).max() * scale)

    @pytest.mark.parametrize("scale", [1e-30, 1.0, 1e36])
    def test_every_other_scale_is_normalized(self, tmp_path: Path, scale: float) -> None:
        inputs = saved(tmp_path, x_train=X / np.abs(X).max() * scale).inputs
        normalized = Normalize.fit(inputs)(inputs)
        assert torch.allclose(normalized.std(0, correction=0), torch.ones(4), atol=1e-3)

    def test_too_small_to_be_normalized(self, tmp_path: Path) -> None:
        inputs = saved(tmp_path, x_train=X * 1e-44).inputs
        with pytest.raises(InputError, match=r"standard deviation is .*, too small for float32: multiply"):
            Normalize.fit(inputs)

    def test_a_constant_feature_becomes_zero(self, tmp_path: Path) -> None:
        features = X.copy()
        features[:, 1] = 1e36
        inputs = saved(tmp_path, x_train=features).inputs
        assert torch.equal(Normalize.fit(inputs)(inputs)[:, 1], torch.zeros(12))

    @pytest.mark.parametrize("kind", [np.float64, np.int64])
    def test_what_float32_makes_constant_is_told(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: type
    ) -> None:
        times: np.ndarray[Any, Any] = (1.7e9 + np.arange(48).reshape(12, 4) % [[8, 8, 8, 8 << 9]]).astype(kind)
        times[:, 3] *= 1 + np.arange(12)
        saved(tmp_path, x_train=times)
        assert "3 of 4 features become constant: subtract the mean" in caplog.text

    def test_samples_that_are_all_equal_are_told(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        saved(tmp_path, x_train=np.ones((12, 3)))
        assert "all samples of x_train in " in caplog.text

    def test_a_long_double_beyond_float64(self, tmp_path: Path) -> None:
        wide = X.astype(np.longdouble)
        wide[3, 1] = np.longdouble("1e4000")
        with pytest.raises(InputError, match=r"x_train in .* infinite values in float32"):
            saved(tmp_path, x_train=wide)

    def test_whole_numbers_beyond_int64(self, tmp_path: Path) -> None:
        with pytest.raises(
            InputError, match=r"x_train in .* holds the whole number 18446744073709551615, beyond int64"
        ):
            saved(tmp_path, x_train=np.full((12, 2), 2**64 - 1, np.uint64))


def classes(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
    return root


COMPOSED = "caf\xe9"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


class TestNames:
    def test_shown(self) -> None:
        assert shown("a\x1b[31m\udc80\u202e\nκ👩‍👩") == "a\\x1b[31m\\udc80\\u202e\\nκ👩‍👩"
        assert listed(["a\n", *"bcd"], 2) == "a\\n, b, …"

    @pytest.mark.parametrize("name", ["\x1b[31mred", "a\nb", os.fsdecode(b"\x80"), "a\u202egnp", "\x9b1m"])
    def test_classes_that_cannot_be_printed(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(InputError, match=r"name of the folder .* cannot be printed .*: rename it") as caught:
            class_names(classes(tmp_path, "a", name))
        assert is_plain(str(caught.value))
        assert str(caught.value).count("\\") >= 1

    def test_one_form_of_unicode(self, tmp_path: Path) -> None:
        assert class_names(classes(tmp_path / "one", DECOMPOSED, "tea")) == (COMPOSED, "tea")
        with pytest.raises(InputError, match=r"two folders that are called café in different forms .*\('cafe\\u0301'"):
            class_names(classes(tmp_path / "two", DECOMPOSED, COMPOSED))

    def test_a_file_of_such_a_name(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "\x1b[31m.npz", x_train=X, y_train=Y)
        assert open_source(str(tmp_path / "\x1b[31m.npz")).name == "\\x1b[31m.npz"

    def test_a_home_that_nobody_has(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LOSSMITH_CACHE", "~nobody-of-this-name/cache")
        with pytest.raises(InputError, match=r"home directory in ~nobody-of-this-name/cache.*: set LOSSMITH_CACHE to"):
            cache_directory()


class TestLinks:
    @pytest.mark.parametrize(
        ("target", "sentence"),
        [
            ("/etc", r"dogs is a link that leads out of .* \(to /etc\): put a copy there, or a hard link"),
            ("../other", r"dogs is a link that leads out of .*: put a copy"),
            ("..", r"dogs is a link that leads out of "),
            (".", r"dogs is a link to a folder that holds the link itself: remove it"),
            ("nowhere", r"dogs cannot be read, since it is a link that leads nowhere: remove it"),
            ("dogs", r"dogs cannot be read, since it is a link that leads nowhere"),
        ],
    )
    def test_links_to_folders(self, tmp_path: Path, target: str, sentence: str) -> None:
        (tmp_path / "other").mkdir()
        root = classes(tmp_path / "pets", "cats", "birds")
        (root / "dogs").symlink_to(target)
        with pytest.raises(InputError, match=sentence):
            class_names(root)

    def test_links_within_and_to_the_directory_itself(self, tmp_path: Path) -> None:
        root = classes(tmp_path / "pets", "cats", ".kept/dogs")
        (root / "dogs").symlink_to(".kept/dogs")
        (root / "README").symlink_to("/etc/hostname")
        (tmp_path / "link").symlink_to("pets")
        assert class_names(tmp_path / "link") == ("cats", "dogs")
