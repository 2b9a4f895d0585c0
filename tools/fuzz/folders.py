"""Folders of images that are wrong."""

from __future__ import annotations

import io
import random
import struct
import zlib
from pathlib import Path

from fuzz.cases import TINY, Case, Setup
from fuzz.values import damaged

Folders = dict[str, dict[str, bytes]]
LINKS = ("/etc/passwd", "/dev/zero", "/dev/null", "nowhere", "9.png", "../../d.npz", "/proc/self/mem", "/dev/stdin")
NAMES = ("ε", "a b", "\x1b[31m", "[bold]", "x" * 200, "a\nb", "-x", "\udc80", "e\u0301")
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 6\n(x) run\n"
FORMATS = ("eps", "ps", "wmf", "gif", "icns", "jp2", "tiff", "webp", "mpo", "pcx", "psd", "xbm", "fits", "im")


def folder(rng: random.Random) -> Case:
    """A folder of images for each of three classes, and something wrong with it."""
    folders: Folders = {
        name: {f"{k}.png": _image(7 * k + 50 * n) for k in range(8)} for n, name in enumerate(("a", "b", "c"))
    }
    links: dict[str, str] = {}
    name, how = rng.choice(["a", "b", "c"]), rng.randrange(17)
    if how == 0:
        folders[name]["3.png"] = damaged(rng, _image(0, rng.choice(["PNG", "JPEG"])))
    elif how == 1:
        ending = rng.choice([".txt", "", ".PNG", ".pdf", ".eps", ".svg", ".tif", ".npz", ".exe", ".png~"])
        folders[name][f"x{ending}"] = rng.choice([b"x", _image(0)])
    elif how == 2:
        folders[name]["3.png"] = _image(3, size=rng.choice([(1, 1), (7, 6), (6, 7), (3000, 1)]))
    elif how == 3:
        mode = rng.choice(["RGB", "RGBA", "LA", "I", "I;16", "F", "1", "P", "CMYK"])
        folders[name]["3.tiff"] = _image(3, "TIFF", mode=mode)
    elif how == 4:
        folders = {key: files for key, files in folders.items() if rng.random() < 0.4}
    elif how == 5:
        folders[name] = {}
    elif how == 6:
        links[f"{name}/9.png"] = rng.choice(LINKS)
    elif how == 7:
        links[rng.choice(["d", f"{name}/d", "train"])] = rng.choice(["/", ".", "..", "/etc", "/proc", "a"])
    elif how == 8:
        other = rng.choice(["test/a", "test/d", "val/a", "x/a", "test/a/b", "Test/a"])
        folders = {f"train/{key}": files for key, files in folders.items()} | {other: {"1.png": _image(0)}}
    elif how == 9:
        sizes = [(2**31 - 1, 2**31 - 1), (60_000, 60_000), (0, 0), (20_000, 20_000), (1, 2**30)]
        folders[name]["3.png"] = _promised(rng.choice(sizes))
    elif how == 10:
        folders[name][f"3.{rng.choice(FORMATS)}"] = rng.choice(
            [_image(0, "GIF"), _image(0, "TIFF"), POSTSCRIPT, b"%!PS\n"]
        )
    elif how == 11:
        folders[rng.choice(NAMES)] = {"1.png": _image(0)}
    elif how == 12:
        folders["." + name] = {"1.png": b"x"}
    elif how == 13:
        folders["."] = {"stray.png": _image(0)}
    elif how == 14:
        folders[name] = {"1.png": _image(0)}
    elif how == 15:
        folders[f"{name}/{name}"] = {"1.png": _image(0)}
    flags = rng.choice([[], [], ["--image-size", rng.choice(["4", "1", "100000", "0", "-1"])], ["--channels", "3"]])
    words = ["evolve", "--out", "s", "--quiet", *TINY, "--data", "images", *flags]
    return Case(f"folder {how}", words, prepare=_make(folders, links))


def _make(folders: Folders, links: dict[str, str]) -> Setup:
    def prepare(directory: Path) -> None:
        base = directory / "images"
        base.mkdir()
        for name, files in folders.items():
            (base / name).mkdir(parents=True, exist_ok=True)
            for file, content in files.items():
                (base / name / file).write_bytes(content)
        for link, target in links.items():
            (base / link).parent.mkdir(parents=True, exist_ok=True)
            (base / link).symlink_to(target)

    return prepare


def _image(seed: int, kind: str = "PNG", size: tuple[int, int] = (6, 6), mode: str = "L") -> bytes:
    from PIL import Image

    file = io.BytesIO()
    bands = len(Image.new(mode, (1, 1)).getbands())
    value = seed % 200
    color: int | float | tuple[int, ...] = (value,) * bands if bands > 1 else float(value) if mode == "F" else value
    Image.new(mode, size, color).save(file, kind)
    return file.getvalue()


def _promised(size: tuple[int, int]) -> bytes:
    """A PNG whose header promises a size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" * 100_000)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
