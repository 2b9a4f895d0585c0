"""Folders of images: pixels, classes, layouts, conversions, and every bad input."""

import logging
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lossmith.data import DataSettings, Source, open_source, search_parts
from lossmith.data.channels import with_channels
from lossmith.errors import InputError

datasets = pytest.importorskip("datasets", reason="needs the extra hub: make test-integrations")
pytestmark = pytest.mark.integration

Pixels = np.ndarray[Any, Any]


def drawn(shape: tuple[int, ...], seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write(path: Path, pixels: Pixels | Image.Image, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(path, **options)
    return path


def write_classes(directory: Path, shape: tuple[int, ...] = (4, 5, 3), count: int = 4, seed: int = 0) -> list[Pixels]:
    """Class folders cat, Dog and zebra with some images each; the pixels in the order of sorted names."""
    made = []
    for place, name in enumerate(["Dog", "cat", "zebra"]):
        for number in range(count):
            pixels = drawn(shape, seed + 100 * place + number)
            write(directory / name / f"{number}.png", pixels)
            made.append(pixels)
    return made


def one(directory: Path, image: Pixels | Image.Image, ending: str = "png", **options: Any) -> Source:
    """The source of a folder of two classes with the same single image."""
    for name in ("a", "b"):
        write(directory / name / f"x.{ending}", image, **options)
    return open_source(str(directory))


class TestPixels:
    @pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3)])
    def test_pixel_by_pixel(self, tmp_path: Path, shape: tuple[int, ...]) -> None:
        made = np.stack(write_classes(tmp_path / "pets", shape))
        source = open_source(str(tmp_path / "pets"))
        assert (source.name, source.classes, source.inputs.dtype) == ("pets", 3, torch.uint8)
        assert np.array_equal(source.inputs.numpy(), np.moveaxis(made, -1, 1) if len(shape) == 3 else made[:, None])
        assert source.targets.tolist() == [0] * 4 + [1] * 4 + [2] * 4
        assert source.class_names == ("Dog", "cat", "zebra")
        assert source.test_inputs is None

    def test_equals_the_image_folder_of_the_library(self, tmp_path: Path) -> None:
        write_classes(tmp_path / "pets", count=12)
        theirs = datasets.load_dataset(
            "imagefolder", data_dir=str(tmp_path / "pets"), split="train", cache_dir=str(tmp_path / "cache")
        )
        assert theirs.features["label"].names == ["Dog", "cat", "zebra"]
        rows = sorted((row["label"], np.asarray(row["image"]).tobytes()) for row in theirs)
        source = open_source(str(tmp_path / "pets"))
        images = source.inputs.movedim(1, -1).contiguous().numpy()
        assert sorted((int(y), x.tobytes()) for x, y in zip(images, source.targets, strict=True)) == rows

    def test_the_order_of_the_file_system_does_not_matter(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_classes(tmp_path / "pets")
        digest = open_source(str(tmp_path / "pets")).digest
        inner = Path.iterdir
        monkeypatch.setattr(Path, "iterdir", lambda path: reversed(list(inner(path))))
        assert open_source(str(tmp_path / "pets")).digest == digest

    def test_digest_is_that_of_the_pixels(self, tmp_path: Path) -> None:
        made = np.moveaxis(np.stack(write_classes(tmp_path / "pets")), -1, 1)
        tensors = Source.from_tensors(torch.from_numpy(made.copy()), torch.arange(3).repeat_interleave(4))
        assert open_source(str(tmp_path / "pets")).digest == tensors.digest

    @pytest.mark.parametrize("name", ["test", "validation", "val", "valid"])
    def test_train_and_another_part(self, tmp_path: Path, name: str) -> None:
        made, held = write_classes(tmp_path / "train"), write_classes(tmp_path / name, count=2, seed=50)
        (tmp_path / name / "cat" / "0.png").unlink()
        source = open_source(str(tmp_path))
        test, validation = source.test_inputs, source.validation_inputs
        targets = source.test_targets if name == "test" else source.validation_targets
        given, absent = (test, validation) if name == "test" else (validation, test)
        assert np.array_equal(source.inputs.movedim(1, -1).numpy(), np.stack(made))
        assert absent is None
        assert given is not None
        assert np.array_equal(given.movedim(1, -1).numpy(), np.stack([*held[:2], *held[3:]]))
        assert targets is not None
        assert targets.tolist() == [0, 0, 1, 2, 2]

    def test_train_alone_and_a_class_called_train(self, tmp_path: Path) -> None:
        write_classes(tmp_path / "a" / "train")
        assert open_source(str(tmp_path / "a")).test_inputs is None
        for name in ("bus", "test", "train"):
            write(tmp_path / "b" / name / "x.png", drawn((4, 4)))
        assert open_source(str(tmp_path / "b")).classes == 3

    def test_what_systems_put_there_is_left_alone(self, tmp_path: Path) -> None:
        write_classes(tmp_path)
        digest = open_source(str(tmp_path)).digest
        for name in (".DS_Store", "cat/.x.png.swp", "cat/Thumbs.db", "README.txt"):
            (tmp_path / name).write_text("text")
        (tmp_path / ".git").mkdir()
        (tmp_path / "__MACOSX").mkdir()
        assert open_source(str(tmp_path)).digest == digest


class TestModes:
    def test_all_become_color_if_any_is(self, tmp_path: Path) -> None:
        gray, color = drawn((4, 4)), drawn((4, 4, 3))
        write(tmp_path / "train" / "a" / "x.png", gray)
        write(tmp_path / "train" / "b" / "x.png", gray)
        write(tmp_path / "test" / "a" / "x.png", color)
        source = open_source(str(tmp_path))
        assert source.input_shape == (3, 4, 4)
        assert np.array_equal(source.inputs[1].numpy(), np.stack([gray] * 3))
        assert source.test_inputs is not None
        assert np.array_equal(source.test_inputs[0].numpy(), np.moveaxis(color, -1, 0))

    def test_one_bit(self, tmp_path: Path) -> None:
        bits = drawn((4, 4)) > 127
        assert np.array_equal(one(tmp_path, Image.fromarray(bits)).inputs[0, 0].numpy(), bits * 255)

    def test_what_is_opaque_stays(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        colors, gray = drawn((4, 4, 4)), drawn((4, 4, 2))
        colors[..., 3] = gray[..., 1] = 255
        assert np.array_equal(one(tmp_path / "rgba", colors).inputs[0].numpy(), np.moveaxis(colors[..., :3], -1, 0))
        assert np.array_equal(one(tmp_path / "la", gray).inputs[0, 0].numpy(), gray[..., 0])
        assert "transparent" not in caplog.text

    @pytest.mark.parametrize("transparency", [None, 24, b"\xff" * 20])
    def test_palette(self, tmp_path: Path, transparency: int | bytes | None) -> None:
        palette = drawn((25, 3), 1)
        places = drawn((4, 4)) % 20
        image = Image.fromarray(places)
        image.putpalette(palette.tobytes())
        options: dict[str, Any] = {} if transparency is None else {"transparency": transparency}
        source = one(tmp_path, image, **options)
        assert np.array_equal(source.inputs[0].numpy(), np.moveaxis(palette[places], -1, 0))

    def test_gray_of_16_bits_keeps_its_scale(self, tmp_path: Path) -> None:
        levels = np.array([[0, 128, 129, 257], [25700, 32767, 32768, 65535]], dtype=np.uint16)
        expected = np.rint(levels / 257).astype(np.uint8)
        assert expected.tolist() == [[0, 0, 1, 1], [100, 127, 128, 255]]
        for ending in ("png", "tiff"):
            assert np.array_equal(one(tmp_path / ending, levels, ending).inputs[0, 0].numpy(), expected)

    def test_cmyk(self, tmp_path: Path) -> None:
        source = one(tmp_path, Image.new("CMYK", (4, 4), (255, 0, 0, 0)), "tiff")
        assert source.inputs[0, :, 0, 0].tolist() == [0, 255, 255]

    @pytest.mark.parametrize(("kind", "words"), [(np.int32, "whole numbers"), (np.float32, "floating numbers")])
    def test_pixels_without_a_known_max_pixel(self, tmp_path: Path, kind: type, words: str) -> None:
        with pytest.raises(InputError, match=rf"pixels of .*/a/x\.tiff are {words} of 32 bits.*: save it with 8 or 16"):
            one(tmp_path, np.ones((4, 4), dtype=kind), "tiff")

    def test_images_are_made_upright(self, tmp_path: Path) -> None:
        """Orientation 6: the first row is the right side, the first column the top."""
        exif = Image.Exif()
        exif[0x0112] = 6
        pixels = drawn((4, 6, 3))
        source = one(tmp_path, pixels, exif=exif)
        assert np.array_equal(source.inputs[0].movedim(0, -1).numpy(), np.rot90(pixels, -1))


class TestSize:
    def test_same_size_changes_nothing(self, tmp_path: Path) -> None:
        write_classes(tmp_path, (6, 6, 3))
        assert open_source(str(tmp_path), DataSettings(image_size=6)).digest == open_source(str(tmp_path)).digest

    @pytest.mark.parametrize("transpose", [False, True])
    def test_the_longer_side_is_cropped_in_the_middle(self, tmp_path: Path, transpose: bool) -> None:
        pixels = drawn((6, 10, 3))
        for name in ("a", "b"):
            write(tmp_path / name / "x.png", np.swapaxes(pixels, 0, 1) if transpose else pixels)
        source = open_source(str(tmp_path), DataSettings(image_size=6))
        image = source.inputs[0].movedim(0, -1).numpy()
        assert np.array_equal(np.swapaxes(image, 0, 1) if transpose else image, pixels[:, 2:8])

    def test_halving_is_antialiased(self, tmp_path: Path) -> None:
        """A pattern finer than the small image becomes grey, not one of its two colours."""
        board = np.indices((32, 32)).sum(0).astype(np.uint8) % 2 * 255
        for name in ("a", "b"):
            write(tmp_path / name / "x.png", board)
        inner = open_source(str(tmp_path), DataSettings(image_size=8)).inputs[0, 0, 1:-1, 1:-1].to(torch.int64)
        assert (inner - 128).abs().max() <= 2

    def test_different_sizes_and_modes_in_one_folder(self, tmp_path: Path) -> None:
        write(tmp_path / "a" / "x.png", drawn((9, 7, 3)))
        write(tmp_path / "a" / "y.jpg", drawn((4, 20)))
        write(tmp_path / "b" / "x.bmp", drawn((30, 31, 3)))
        source = open_source(str(tmp_path), DataSettings(image_size=5, channels=1))
        assert source.inputs.shape == (3, 1, 5, 5)

    def test_different_sizes_are_an_error_without(self, tmp_path: Path) -> None:
        write_classes(tmp_path)
        odd = write(tmp_path / "cat" / "9.png", drawn((4, 6, 3)))
        first = tmp_path / "Dog" / "0.png"
        with pytest.raises(InputError, match=rf"{first} has 5 × 4 pixels but {odd} has 6 × 4: give .*\(--image-size\)"):
            open_source(str(tmp_path))

    @pytest.mark.parametrize("shape", [(4,), (1, 4, 5), (3, 8, 8)])
    def test_other_sources_are_not_resized(self, shape: tuple[int, ...]) -> None:
        source = Source.from_tensors(torch.rand(6, *shape), torch.arange(6) % 2)
        with pytest.raises(InputError, match=r"image_size is 4, but only .*tensors has samples .*: leave --image-size"):
            open_source(source, DataSettings(image_size=4))
        assert len(shape) == 1 or open_source(source, DataSettings(image_size=None)) is source


class TestChannels:
    @given(st.integers(0, 2**32 - 1))
    def test_luma_is_that_of_pillow(self, seed: int) -> None:
        pixels = drawn((7, 5, 3), seed)
        ours = with_channels(torch.from_numpy(pixels).movedim(-1, 0)[None], 1, "x")
        assert np.array_equal(ours[0, 0].numpy(), np.asarray(Image.fromarray(pixels).convert("L")))

    def test_floating_luma(self) -> None:
        images = torch.rand(9, 3, 2, 2)
        ours = with_channels(images, 1, "x")
        assert torch.allclose(ours[:, 0], 0.299 * images[:, 0] + 0.587 * images[:, 1] + 0.114 * images[:, 2])
        assert ours.shape == (9, 1, 2, 2)

    @pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
    def test_there_and_back(self, kind: torch.dtype) -> None:
        gray = torch.arange(256).reshape(1, 1, 16, 16).to(kind)
        color = with_channels(gray, 3, "x")
        assert torch.equal(color, gray.expand(1, 3, 16, 16))
        assert torch.allclose(with_channels(color, 1, "x"), gray)
        assert with_channels(color, 3, "x") is color

    def test_alpha_is_dropped(self) -> None:
        images = torch.rand(2, 4, 3, 3)
        assert torch.equal(with_channels(images, 3, "x"), images[:, :3])
        assert torch.equal(with_channels(images, 1, "x"), with_channels(images[:, :3], 1, "x"))

    def test_more_images_than_one_block(self) -> None:
        images = torch.randint(256, (4100, 3, 1, 1), dtype=torch.uint8)
        blocks = [with_channels(images[n : n + 1], 1, "x") for n in (0, 4095, 4096, 4099)]
        assert torch.equal(with_channels(images, 1, "x")[[0, 4095, 4096, 4099]], torch.cat(blocks))

    def test_digits(self) -> None:
        digits = open_source("digits")
        color = open_source("digits", DataSettings(channels=3))
        assert torch.equal(color.inputs, digits.inputs.expand(-1, 3, -1, -1))
        assert color.max_pixel == 16
        assert color.digest != digits.digest
        assert open_source(digits, DataSettings(channels=1)) is digits
        assert open_source(color, DataSettings(channels=1)).digest == digits.digest

    def test_npz(self, tmp_path: Path) -> None:
        x, y = drawn((6, 5, 5, 3)), np.arange(6) % 2
        np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])
        source = open_source(str(tmp_path / "a.npz"), DataSettings(channels=1))
        assert source.test_inputs is not None
        assert torch.equal(source.test_inputs, source.inputs[:2])
        assert source.input_shape == (1, 5, 5)

    @pytest.mark.parametrize(
        ("shape", "sentence"),
        [
            ((4,), r"channels is 3, but tensors has flat features \[4\], not images: leave --channels out"),
            ((2, 4, 4), r"channels is 3, but tensors has images of 2 channels, and only 1 .*: leave --channels out"),
        ],
    )
    def test_what_cannot_be_converted(self, shape: tuple[int, ...], sentence: str) -> None:
        source = Source.from_tensors(torch.rand(6, *shape), torch.arange(6) % 2)
        with pytest.raises(InputError, match=sentence):
            open_source(source, DataSettings(channels=3))


def emptied(directory: Path) -> None:
    for file in (directory / "cat").iterdir():
        file.unlink()


def only_one(directory: Path) -> None:
    for name in ("cat", "zebra"):
        (directory / name).rename(directory / f".{name}")


def with_test(*names: str) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        folders = [entry for entry in directory.iterdir() if entry.is_dir()]
        (directory / "train").mkdir()
        for folder in folders:
            folder.rename(directory / "train" / folder.name)
        for name in names:
            (directory / name).mkdir(parents=True)

    return change


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty class": (emptied, r"the class folder D/cat is empty: give it images, or remove it"),
    "one class": (only_one, r"D has one class folder only \(Dog\): give images of two classes or more"),
    "text among the images": (
        lambda path: (path / "cat" / "labels.txt").write_text("x"),
        r"D/cat/labels\.txt is no image by its ending, but .*: remove, rename or convert it",
    ),
    "folder in a class": (
        lambda path: (path / "cat" / "more").mkdir(),
        r"D/cat/more is a folder, but .* D/cat holds images only: move its images up, or give D/cat if its folders are",
    ),
    "image beside the classes": (
        lambda path: write(path / "x.png", drawn((4, 5, 3))),
        r"the image D/x\.png lies beside the class folders: move it into one of them, or remove it",
    ),
    "image beside the classes of test": (
        lambda path: (with_test("test/cat")(path), write(path / "test" / "x.JPG", drawn((4, 5, 3)))),
        r"the image D/test/x\.JPG lies beside the class folders",
    ),
    "empty class in test": (with_test("test/cat"), r"the class folder D/test/cat is empty: give"),
    "empty test": (with_test("test"), r"D/test has no class folders: give it those of train, or remove it"),
    "another class in test": (
        with_test("test/cat", "test/lion"),
        r"D/test has the class lion, which train lacks \(its classes: Dog, cat, zebra\): remove it, or give train",
    ),
    "two validation folders": (
        with_test("val", "validation"),
        r"D has val, validation beside train, but only test \(.*\) and one of val, valid or validation .*: move",
    ),
    "training and testing": (
        lambda path: (with_test("testing/cat")(path), (path / "train").rename(path / "training")),
        r"D/testing holds folders of its own: rename it to test, if it is that part",
    ),
    "another folder beside train": (with_test("extra"), r"D has extra beside train, but only test .* or validation"),
    "no image": (
        lambda path: (path / "cat" / "0.png").write_bytes(b"no image"),
        r"D/cat/0\.png cannot be read as an image \(UnidentifiedImageError: cannot identify image file\): replace",
    ),
    "an empty file": (lambda path: (path / "cat" / "0.png").write_bytes(b""), r"D/cat/0\.png cannot be read as an im"),
    "truncated": (
        lambda path: (path / "zebra" / "2.png").write_bytes((path / "zebra" / "2.png").read_bytes()[:-30]),
        r"D/zebra/2\.png cannot be read as an image \(.*\): replace or remove it",
    ),
    "a dangling link": (
        lambda path: (path / "cat" / "z.png").symlink_to("nowhere.png"),
        r"D/cat/z\.png cannot be read",
    ),
}


class TestBadFolders:
    @pytest.mark.parametrize("case", BAD)
    def test_bad_folder(self, tmp_path: Path, case: str) -> None:
        directory = tmp_path / "pets"
        write_classes(directory)
        assert open_source(str(directory)).classes == 3
        change, sentence = BAD[case]
        change(directory)
        with pytest.raises(InputError) as caught:
            open_source(str(directory))
        message = str(caught.value).replace(str(directory), "D")
        assert re.search(sentence, message), message
        assert "\n" not in message

    @pytest.mark.parametrize("side", [None, 60_000])
    def test_more_than_the_memory_holds(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int | None
    ) -> None:
        """Told before the first image is resized, or after the first one is read."""
        write_classes(tmp_path)
        # 12 images of 5 × 4 × 3 bytes, twice.
        pages = 143 if side is None else 60_000
        monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 10, "SC_PHYS_PAGES": pages}.__getitem__)
        size, taken = ("5 × 4", "1.44 kB") if side is None else ("60000 × 60000", "86.4 GB")
        with pytest.raises(
            InputError,
            match=rf"^12 images of {size} pixels, while they are split, take {taken} of memory, and .* kB are avail",
        ):
            open_source(str(tmp_path), DataSettings(image_size=side))

    def test_a_class_that_the_test_part_lacks_is_told(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        write_classes(tmp_path / "train")
        write(tmp_path / "test" / "cat" / "0.png", drawn((4, 5, 3)))
        open_source(str(tmp_path))
        assert "test has no image of Dog, zebra, so accuracy on it says nothing about that" in caplog.text

    def test_too_few_of_a_class_that_has_a_name(self, tmp_path: Path) -> None:
        one(tmp_path, drawn((4, 5)))
        with pytest.raises(InputError, match=r"class 0 \(a\) of .* has 1 sample, too few to be split into training"):
            search_parts(open_source(str(tmp_path)), DataSettings())

    @pytest.mark.parametrize("depth", ["", "a/b"])
    def test_no_images(self, tmp_path: Path, depth: str) -> None:
        (tmp_path / depth).mkdir(parents=True, exist_ok=True)
        with pytest.raises(InputError, match=r"has no class folders: give a directory|one class folder only"):
            open_source(str(tmp_path))

    def test_unreadable(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(path: Path) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "iterdir", refuse)
        with pytest.raises(InputError, match=r"cannot be read: Permission denied; give yourself permission"):
            open_source(str(tmp_path))

    def test_a_jpeg_that_ends_early_is_named(self, tmp_path: Path) -> None:
        write_classes(tmp_path)
        path = write(tmp_path / "cat" / "x.jpg", drawn((4, 5, 3)))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(InputError, match=rf"{path} cannot be read as an image"):
            open_source(str(tmp_path))

    def test_not_installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_classes(tmp_path)
        monkeypatch.setitem(sys.modules, "PIL", None)
        with pytest.raises(InputError, match=r"pip install '\.\[hub\]' in .*; or give the data as an \.npz file"):
            open_source(str(tmp_path))

    def test_nothing_is_logged_of_what_is_quick(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        write_classes(tmp_path)
        with caplog.at_level(logging.DEBUG, "lossmith"):
            open_source(str(tmp_path))
        assert [record for record in caplog.records if record.name == "lossmith"] == []
