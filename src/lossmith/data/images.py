"""Images through Hugging Face ``datasets`` and Pillow: the only module that needs the extra ``hub``."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossmith.errors import InputError

Row = tuple[Any, int]
Pixels = NDArray[np.uint8]
FIRST_SECONDS, NEXT_SECONDS, REACH_SECONDS = 2.0, 10.0, 10.0
GRAY = ("1", "L", "LA")
LIBRARIES = ("datasets", "huggingface_hub", "fsspec", "filelock")
CONTAINER = Path("/sys/fs/cgroup/memory.max")
_LOG = logging.getLogger("lossmith")


def image_endings() -> frozenset[str]:
    """Endings of file names, such as ``".png"``, that the library's own image folders know.

    Raises:
        InputError: If the library is not installed, naming the extra that installs it.
    """
    _library()
    from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder

    return frozenset(ImageFolder.EXTENSIONS)


def file_rows(files: Sequence[Path], labels: Sequence[int]) -> Iterator[Row]:
    """Images of files, upright as their EXIF orientation says, and their labels, in the order given.

    Raises:
        InputError: If a file cannot be read as an image.
    """
    feature = _library().Image()
    for file, label in zip(files, labels, strict=True):
        try:
            # Bytes, since the library leaves a damaged file open.
            image = feature.decode_example({"bytes": file.read_bytes(), "path": None})
        except Exception as error:
            raise InputError(
                f"{file} cannot be read as an image ({_first_line(error)}): replace or remove it"
            ) from error
        yield image, label


def hub_pixels(
    identifier: str,
    configuration: str | None,
    split: str,
    columns: tuple[str, str],
    *,
    streaming: bool = False,
    name: str | None = None,
) -> list[Row]:
    """The images of a data set of the Hugging Face hub, as :func:`pixels` gives them, in the order of the data set.

    Args:
        identifier: ``owner/name``, or the path of a directory that holds such a data set.
        configuration: Which of its configurations, if it has several.
        split: ``"train"`` or ``"test"``.
        columns: Its column of images and that of labels.
        streaming: Read the files of this split only, without the library's cache.
        name: The name by which the user knows it, if not by its identifier.

    Raises:
        InputError: If the library is not installed, or the data set cannot be loaded.
    """
    datasets = _library()
    with _silent(datasets):
        try:
            _reach(identifier)
            loaded = datasets.load_dataset(identifier, configuration, split=split, streaming=streaming)
            rows = (tuple(row[column] for column in columns) for row in loaded.select_columns(list(columns)))
            count = None if streaming else len(loaded)
            return pixels(rows, lambda number: f"image {number} of {name or identifier} ({split})", count, None)
        except InputError:
            raise
        except Exception as error:
            alone = "unset HF_HUB_OFFLINE, which forbids it to download, and connect" if _offline() else "connect"
            kept = "" if _offline() else " (without a network, HF_HUB_OFFLINE=1 looks for a copy that the library kept)"
            raise InputError(
                f"{name or identifier} cannot be loaded from the Hugging Face hub ({_first_line(error)}): {alone} to "
                f"it once, or give the data as an .npz file{kept}"
            ) from error


def pixels(rows: Iterable[Row], name: Callable[[int], str], count: int | None, side: int | None) -> list[Row]:
    """Each image as uint8 ``[H,W]`` (grey) or ``[H,W,3]`` (colour), and its label; all of one height and width.

    What takes long is logged.

    Args:
        rows: Images and labels.
        name: The name by which the user knows the image of some number.
        count: How many there are, if that is known.
        side: Height and width that images are made to have: the largest square in the middle, resampled by
            antialiased bilinear interpolation, which is the same as resizing the shorter side and cropping.

    Raises:
        InputError: If there are none, images differ in size, or one has pixels without a known white.
    """
    if side is not None and count is not None:
        _check_memory(count, side, side, 1)
    found: list[Row] = []
    due = time.monotonic() + FIRST_SECONDS
    for number, (image, label) in enumerate(rows):
        array = _array(image, name(number), side)
        if found and array.shape[:2] != found[0][0].shape[:2]:
            (height, width), (first_height, first_width) = array.shape[:2], found[0][0].shape[:2]
            raise InputError(
                f"{name(0)} has {first_width} × {first_height} pixels but {name(number)} has {width} × {height}: give "
                "all images one size, or the side of a square that they are cropped and resized to (--image-size)"
            )
        if not found and count is not None:
            _check_memory(count, array.shape[0], array.shape[1], array.shape[2] if array.ndim == 3 else 1)
        found.append((array, int(label)))
        if time.monotonic() >= due:
            of = "" if count is None else f" of {count}"
            _LOG.info("%d%s images read, the last one %s", number + 1, of, name(number))
            due = time.monotonic() + NEXT_SECONDS
    if not found:
        raise InputError(f"{name(0)} is not there, so there are no samples: give at least a few of each class")
    return found


def stacked(rows: list[Row]) -> tuple[Pixels, NDArray[np.int64]]:
    """Images ``[N,C,H,W]`` and labels ``[N]`` of rows, which are used up; with three channels if any has colour.

    Args:
        rows: Images as :func:`pixels` gives them, and labels; at least one.
    """
    channels = 3 if any(image.ndim == 3 for image, _ in rows) else 1
    images = np.empty((len(rows), channels, *rows[0][0].shape[:2]), dtype=np.uint8)
    labels = np.empty(len(rows), dtype=np.int64)
    for number in reversed(range(len(rows))):
        image, labels[number] = rows.pop()
        images[number] = np.moveaxis(image, -1, 0) if image.ndim == 3 else image
    return images, labels


def _check_memory(count: int, height: int, width: int, channels: int) -> None:
    """Refuse images that the memory cannot hold twice, as splitting them asks for, where the system tells its size."""
    memory = _memory()
    needed = 2 * count * height * width * channels
    if memory is not None and needed > memory:
        raise InputError(
            f"{count} images of {width} × {height} pixels take {needed / 2**30:.1f} GiB while they are split, and "
            f"{memory / 2**30:.1f} GiB of memory are there: give a smaller --image-size, or fewer images"
        )


def _memory() -> int | None:
    """Bytes of memory of the machine, or of the container if it has less; None where the system does not tell."""
    found: list[int] = []
    with contextlib.suppress(AttributeError, OSError, ValueError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with contextlib.suppress(OSError, ValueError):
        found.append(int(CONTAINER.read_text()))
    return min(found, default=None)


def _array(image: Any, what: str, side: int | None) -> Pixels:
    """One image of Pillow: grey files stay grey, alpha is dropped, everything else becomes colour."""
    from PIL import Image, ImageOps

    if image.mode in ("I", "F"):
        kind = "whole" if image.mode == "I" else "floating"
        raise InputError(
            f"the pixels of {what} are {kind} numbers of 32 bits, of which none is known to be white: save it with 8 "
            "or 16 bits"
        )
    if image.mode.startswith("I;16"):
        levels = np.asarray(image).astype(np.uint32)
        plain = Image.fromarray(((levels * 255 + 32767) // 65535).astype(np.uint8))
    elif image.mode in GRAY:
        plain = image.convert("L")
    else:
        # By way of RGBA, since Pillow warns of a palette with transparent entries that becomes RGB at once.
        plain = (image.convert("RGBA") if image.mode in ("P", "PA") else image).convert("RGB")
    if side is not None:
        plain = ImageOps.fit(plain, (side, side), method=Image.Resampling.BILINEAR)
    return np.asarray(plain)


def _library() -> Any:
    try:
        import datasets
    except ImportError:
        raise InputError(
            "images are read by Hugging Face datasets, which is not installed: pip install 'lossmith[hub]', or give "
            "the data as an .npz file"
        ) from None
    return datasets


def _reach(identifier: str) -> None:
    """Ask the hub once, since the library would ask again for half a minute; without a network, raise at once."""
    from huggingface_hub import HfApi

    if not _offline() and not Path(identifier).is_dir():
        HfApi().dataset_info(identifier, timeout=REACH_SECONDS)


def _offline() -> bool:
    from huggingface_hub.constants import is_offline_mode

    offline: bool = is_offline_mode()
    return offline


@contextlib.contextmanager
def _silent(datasets: Any) -> Iterator[None]:
    """No bars and no log lines of the libraries meanwhile, since ``--quiet`` and a command's own progress hold."""
    import huggingface_hub.utils

    drawing: tuple[Any, ...] = (datasets.utils, huggingface_hub.utils)
    shown = [module for module in drawing if not module.are_progress_bars_disabled()]
    levels = {logger: logger.level for logger in map(logging.getLogger, LIBRARIES)}
    for logger in levels:
        logger.setLevel(logging.CRITICAL)
    for module in shown:
        module.disable_progress_bars()
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
        for module in shown:
            module.enable_progress_bars()


def _first_line(error: BaseException) -> str:
    """Type and first line of an error, without the addresses of objects in memory."""
    lines = re.sub(r" <[^<>]* at 0x\w*>", "", str(error)).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}".rstrip(".") if lines else type(error).__name__
