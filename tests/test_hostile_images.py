"""Folders of images that are hostile or hold more than is read: a sentence, or one warning of each kind."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lossmith.data import Source, open_source
from lossmith.data import images as images_module
from lossmith.data.hub import HUB, HubData
from lossmith.errors import InputError

datasets = pytest.importorskip("datasets", reason="needs the extra hub: make test-integrations")
pytestmark = pytest.mark.integration

Pixels = np.ndarray[Any, Any]


def drawn(shape: tuple[int, ...], seed: int = 0, high: int = 256) -> Pixels:
    return np.random.default_rng(seed).integers(0, high, shape, dtype=np.uint8 if high <= 256 else np.uint16)


def folder(root: Path, *images: Image.Image | Pixels, ending: str = "png", **options: Any) -> Path:
    """Two classes, with the images in turn."""
    for number, image in enumerate(images):
        place = root / "ab"[number % 2] / f"{number}.{ending}"
        place.parent.mkdir(parents=True, exist_ok=True)
        (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(place, **options)
    return root


def opened(root: Path, *images: Image.Image | Pixels, ending: str = "png", **options: Any) -> Source:
    return open_source(str(folder(root, *images, ending=ending, **options)))


class TestTransparency:
    def test_black_glyphs_differ(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Black on a transparent ground, of which all channels but alpha are 0."""
        glyphs = [np.zeros((8, 8, 4), np.uint8) for _ in range(2)]
        glyphs[0][:2, :, 3] = glyphs[1][2:6, 2:6, 3] = 255
        inputs = opened(tmp_path, *glyphs, *glyphs).inputs
        for image, glyph in zip(inputs[[0, 2]], glyphs, strict=True):
            assert torch.equal(image, torch.from_numpy(255 - glyph[..., 3]).expand(3, 8, 8))
        (record,) = caplog.records
        assert record.getMessage().endswith("a/0.png and 3 more, what is transparent is shown on white")

    def test_half_transparent(self, tmp_path: Path) -> None:
        colors, gray = drawn((4, 4, 4)), drawn((4, 4, 2))
        for name, pixels in (("rgba", colors), ("la", gray)):
            seen = opened(tmp_path / name, pixels, 255 - pixels).inputs[0].movedim(0, -1).double().numpy()
            alpha = pixels[..., -1:] / 255
            assert np.abs(seen - (pixels[..., :-1] * alpha + 255 * (1 - alpha))).max() <= 1

    @pytest.mark.parametrize("mode", ["L", "RGB", "P"])
    def test_a_level_that_stands_for_transparent(self, tmp_path: Path, mode: str) -> None:
        image = Image.fromarray(np.array([[0, 9], [9, 200]], np.uint8)).convert(mode)
        if mode == "P":
            image.putpalette([level for level in range(256) for _ in range(3)])
        transparency = (9, 9, 9) if mode == "RGB" else 9
        seen = opened(tmp_path, image, image.rotate(90), transparency=transparency).inputs[0, 0]
        assert seen.tolist() == [[0, 255], [255, 200]]


class TestDepth:
    def test_levels_that_are_lost_are_told(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        assert opened(tmp_path, drawn((9, 9), 0, 4096), drawn((9, 9), 1, 4096)).inputs.max() < 17
        (record,) = caplog.records
        assert "0.png and 1 more, greys of 16 bits become 8 bits; give floating numbers" in record.getMessage()

    def test_levels_that_are_kept_are_not(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        levels = [drawn((9, 9), seed).astype(np.uint16) * 257 for seed in range(2)]
        assert np.array_equal(opened(tmp_path, *levels).inputs[0, 0].numpy(), levels[0] // 257)
        assert caplog.text == ""

    def test_colors_of_16_bits(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in drawn((6, 6, 3), 0, 65536))
        for name in "ab":
            (tmp_path / name).mkdir()
            (tmp_path / name / "x.png").write_bytes(png((6, 6), zlib.compress(rows), depth=16, kind=2))
        (tmp_path / "b" / "y.ppm").write_bytes(b"P6 6 6 65535\n" + drawn((6, 6, 3), 1, 65536).astype(">u2").tobytes())
        open_source(str(tmp_path))
        assert "a/x.png and 2 more, channels of 16 bits become 8 bits" in caplog.text

    def test_colors_that_are_not_converted(self, tmp_path: Path) -> None:
        with pytest.raises(
            InputError, match=r"0\.tiff has colours of mode LAB, which are not converted: save it as RGB"
        ):
            opened(tmp_path, *[Image.new("LAB", (4, 4))] * 2, ending="tiff")


@pytest.mark.parametrize("ending", ["tiff", "gif", "webp", "png"])
def test_frames_after_the_first_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture, ending: str) -> None:
    frames = [Image.fromarray(np.full((8, 8, 3), value, np.uint8)) for value in (10, 120, 240)]
    first = opened(tmp_path, frames[0], frames[2], ending=ending, save_all=True, append_images=frames[1:])
    assert abs(first.inputs[0].float().mean() - 10) < 2
    (record,) = caplog.records
    assert record.getMessage().endswith(f"a/0.{ending} and 1 more, only the first frame is read")


def png(size: tuple[int, int], data: bytes, depth: int = 8, kind: int = 0) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def encoded(kind: str) -> bytes:
    content = io.BytesIO()
    Image.fromarray(drawn((4, 5, 3))).save(content, kind)
    return content.getvalue()


SCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 4\n(x) run\n"
BAD: dict[str, tuple[str, bytes | Callable[[Path], Any], str]] = {
    "a program": (
        "x.eps",
        SCRIPT,
        r"a/x\.eps is no image by its ending, but .* \(\.apng, \.bmp, .*: remove, rename or",
    ),
    "a hidden program": ("x.png", SCRIPT, r"a/x\.png cannot be read as an image \(UnidentifiedImageError"),
    "a hidden format": ("x.png", encoded("PCX"), r"a/x\.png cannot be read as an image .*, or convert it to PNG"),
    "a bomb": (
        "x.png",
        png((60000, 60000), b""),
        r"a/x\.png (has 60000 × 60000 pixels|cannot be read .*DecompressionBom)",
    ),
    "a small bomb": ("x.png", png((9000, 9000), b""), r"a/x\.png has 9000 × 9000 pixels, which no sample needs: make"),
    "a pipe": ("x.png", os.mkfifo, r"a/x\.png is no regular file, but a pipe"),
    "a link out": (
        "x.png",
        lambda path: path.symlink_to("/dev/zero"),
        r"a/x\.png is a link that leads out of .*: put a",
    ),
    "a link to data": (
        "x.png",
        lambda path: path.symlink_to("../../data.png"),
        r"a/x\.png is a link that leads out of",
    ),
    "a link to itself": (
        "x.png",
        lambda path: path.symlink_to("x.png"),
        r"a/x\.png cannot be read, since it is a link",
    ),
    "a huge file": ("x.png", lambda path: path.write_bytes(bytes(5000)), r"a/x\.png has 0 MiB, more than any image"),
    "a name": ("\x1b[31m.png", b"", r"a/\\x1b\[31m\.png cannot be read as an image"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    name, content, sentence = BAD[case]
    root = folder(tmp_path / "pets", *[drawn((4, 5, 3))] * 2)
    (tmp_path / "data.png").write_bytes(encoded("PNG"))
    monkeypatch.setattr(images_module, "LARGEST_FILE", 4096)
    place = root / "a" / name
    _ = place.write_bytes(content) if isinstance(content, bytes) else content(place)
    with pytest.raises(InputError, match=sentence) as caught:
        open_source(str(root))
    assert str(caught.value).isprintable()


def test_what_pillow_warns_of_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cut_off = b"Exif\0\0II*\0\x08\0\0\0\x05\0"
    opened(tmp_path, drawn((4, 4)), drawn((4, 4), 1), ending="jpg", exif=cut_off)
    assert "a/0.jpg and 1 more, Pillow warns (UserWarning: Corrupt EXIF data" in caplog.text


def test_a_validation_folder_is_read_and_its_role_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for part in ("train", "test", "val"):
        folder(tmp_path / part, drawn((4, 4)), drawn((4, 4), 1))
    source = open_source(str(tmp_path))
    assert (source.test_targets is None, source.validation_targets is None) == (False, False)
    assert caplog.text == ""
    (tmp_path / "test").rename(tmp_path / ".test")
    open_source(str(tmp_path))
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{tmp_path / 'val'} is the validation part, and test samples are split off {tmp_path / 'train'}"
    )
    (tmp_path / "val" / "a" / "0.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"val/a/0\.png cannot be read as an image"):
        open_source(str(tmp_path))


def test_one_form_of_unicode_in_both_parts(tmp_path: Path) -> None:
    for part, name in (("train", "caf\xe9"), ("test", "cafe\u0301")):
        folder(tmp_path / part, drawn((4, 4)), drawn((4, 4), 1))
        (tmp_path / part / "b").rename(tmp_path / part / name)
    source = open_source(str(tmp_path))
    assert source.class_names == ("a", "caf\xe9")
    assert source.test_targets is not None
    assert source.test_targets.tolist() == [0, 1]


def test_images_of_odd_shapes_are_not_turned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pixels = [drawn((3, 1, 3), seed) for seed in range(2)]
    assert np.array_equal(opened(tmp_path, *pixels).inputs.movedim(1, -1).numpy(), np.stack(pixels))
    assert caplog.text == ""


def test_a_data_set_that_names_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No path that a data set names is opened, whatever lies there."""
    monkeypatch.setenv("LOSSMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "library"))
    (tmp_path / "secret.png").write_bytes(encoded("PNG"))
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    rows = {"image": [{"bytes": None, "path": str(tmp_path / "secret.png")}] * 2, "label": [0, 1]}
    (tmp_path / "hub").mkdir()
    datasets.Dataset.from_dict(rows, features=features).to_parquet(str(tmp_path / "hub" / "train.parquet"))
    monkeypatch.setitem(HUB, "mnist", HubData(str(tmp_path / "hub")))
    with pytest.raises(
        InputError, match="names files instead of holding its images, and no file is opened on the word"
    ):
        open_source("mnist")
