"""Many images: of files, and of data sets through Hugging Face ``datasets``, which the extra ``hub`` installs."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossmith.data.names import shown
from lossmith.data.pictures import FORMATS, Noticed, Pixels, first_line, library, opened, plain
from lossmith.errors import InputError, installing
from lossmith.io import opened_regular
from lossmith.memory import check_available

Row = tuple[Any, int]
FIRST_SECONDS, NEXT_SECONDS, REACH_SECONDS = 2.0, 10.0, 10.0
LIBRARIES = ("datasets", "huggingface_hub", "fsspec", "filelock")
ENDINGS = frozenset(ending for endings in FORMATS.values() for ending in endings)
LARGEST_FILE = 2**28
CHECKED_EVERY = 1024
_LOG = logging.getLogger("lossmith")


def file_rows(files: Sequence[Path], labels: Sequence[int]) -> Iterator[Row]:
    """The contents of files of images and their labels, in the order given.

    Raises:
        InputError: If a file cannot be read, is no regular one, or is larger than an image.
    """
    for file, label in zip(files, labels, strict=True):
        with opened_regular(file) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size > LARGEST_FILE:
                raise InputError(
                    f"{shown(file)} has {size >> 20} MiB, more than any image of a sample: replace or remove it"
                )
            yield stream.read(size), label


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
            image, label = columns
            # Not decoded by the library, which takes every format and every path.
            plain_rows = loaded.select_columns([image, label]).cast_column(image, datasets.Image(decode=False))
            rows = ((_content(row[image], identifier), row[label]) for row in plain_rows)
            count = None if streaming else len(loaded)
            return pixels(rows, lambda number: f"image {number} of {name or identifier} ({split})", count, None)
        except InputError:
            raise
        except Exception as error:
            alone = "unset HF_HUB_OFFLINE, which forbids it to download, and connect" if _offline() else "connect"
            kept = "" if _offline() else " (without a network, HF_HUB_OFFLINE=1 looks for a copy that the library kept)"
            raise InputError(
                f"{name or identifier} cannot be loaded from the Hugging Face hub ({first_line(error)}): {alone} to "
                f"it once, or give the data as an .npz file{kept}"
            ) from error


def pixels(rows: Iterable[Row], name: Callable[[int], str], count: int | None, side: int | None) -> list[Row]:
    """Each image as uint8 ``[H,W]`` (grey) or ``[H,W,3]`` (colour), and its label; all of one height and width.

    What takes long is logged.

    Args:
        rows: Contents of images, as files have them, and labels.
        name: The name by which the user knows the image of some number.
        count: How many there are, if that is known.
        side: Height and width that images are made to have: the largest square in the middle, resampled by
            antialiased bilinear interpolation, which is the same as resizing the shorter side and cropping.

    Raises:
        InputError: If there are none, one cannot be read, images differ in size, one has pixels without a known
            white, or they need more memory than is available.
    """
    if side is not None and count is not None:
        _check_memory(count, side, side, 1)
    noticed = Noticed()
    found: list[Row] = []
    due = time.monotonic() + FIRST_SECONDS
    for number, (content, label) in enumerate(rows):
        array = _array(content, name(number), side, noticed)
        if found and array.shape[:2] != found[0][0].shape[:2]:
            (height, width), (first_height, first_width) = array.shape[:2], found[0][0].shape[:2]
            raise InputError(
                f"{name(0)} has {first_width} × {first_height} pixels but {name(number)} has {width} × {height}: give "
                "all images one size, or the side of a square that they are cropped and resized to (--image-size)"
            )
        if number == 0 if count is not None else number % CHECKED_EVERY == 0:
            channels = array.shape[2] if array.ndim == 3 else 1
            _check_memory(count or 1 + number, array.shape[0], array.shape[1], channels)
        found.append((array, int(label)))
        if time.monotonic() >= due:
            of = "" if count is None else f" of {count}"
            _LOG.info("%d%s images read, the last one %s", number + 1, of, name(number))
            due = time.monotonic() + NEXT_SECONDS
    noticed.tell()
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
    check_available(
        2 * count * height * width * channels,
        f"{count} images of {width} × {height} pixels, while they are split, take",
        "give a smaller --image-size, or fewer images",
    )


def _content(row: Any, identifier: str) -> bytes:
    """The bytes of an image of a data set, which never names a file of this machine."""
    content = row["bytes"]
    if not isinstance(content, bytes):
        raise InputError(
            f"{identifier} names files instead of holding its images, and no file is opened on the word of a data set: "
            "give the directory of the images, or an .npz file"
        )
    return content


def _array(content: bytes, what: str, side: int | None, noticed: Noticed) -> Pixels:
    """One image, uint8 ``[H,W]`` or ``[H,W,3]``."""
    try:
        image = plain(opened(content, what, noticed), what, noticed)
        if side is not None:
            module, operations = library()
            image = operations.fit(image, (side, side), method=module.Resampling.BILINEAR)
        return np.asarray(image)
    except MemoryError:
        raise InputError(f"{what} is larger than the memory: make it smaller") from None


def _library() -> Any:
    try:
        import datasets
    except ImportError:
        raise InputError(
            f"images are read by Hugging Face datasets, which is not installed: {installing('hub')}; or give the data "
            "as an .npz file"
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
