"""Folders of images: what lies where; nothing is left out in silence."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lossmith.data.images import Row, file_rows, image_endings, pixels, stacked
from lossmith.errors import InputError

TRAIN, TESTS = "train", ("test", "validation", "val", "valid")
NEARLY = {"training": TRAIN, "Train": TRAIN, "TRAIN": TRAIN, "testing": "test", "Test": "test", "TEST": "test"}
OF_THE_SYSTEM = ("thumbs.db", "desktop.ini", "__macosx")
LISTED = 8
_LOG = logging.getLogger("lossmith")


class _Part(NamedTuple):
    files: list[Path]
    labels: list[int]


def read_folder(path: Path, side: int | None = None) -> dict[str, NDArray[Any]]:
    """Images by class, ``DIR/class/*.png``, or ``DIR/train/class/*.png`` with ``DIR/test/class/*.png``.

    Classes are the sorted names of the training folders, and images are in the order of class and file name. The test
    part may be called ``validation``, ``val`` or ``valid``, too. If any image has colour, all have three channels.

    Args:
        path: The directory.
        side: Height and width that images are made to have, as in :func:`lossmith.data.images.pixels`.

    Returns:
        ``x_train`` ``[N,C,H,W]`` uint8 and ``y_train`` ``[N]``, and with a test part ``x_test`` and ``y_test``.

    Raises:
        InputError: If a folder is empty or holds something else, a class is missing, an image is damaged, or images
            differ in size.
    """
    endings = image_endings()
    train, test = _parts(path, endings)
    if test is not None and test.name != TESTS[0]:
        _LOG.warning("%s is taken as the test part; validation samples are split off %s", test, train)
    classes = [folder.name for folder in _folders(train)]
    if len(classes) < 2:
        raise InputError(f"{train} has one class folder only ({classes[0]}): give images of two classes or more")
    parts = {"train": _part(train, classes, endings)}
    if test is not None:
        parts["test"] = _part(test, classes, endings)
        absent = [name for number, name in enumerate(classes) if number not in parts["test"].labels]
        if absent:
            _LOG.warning("%s has no image of %s: accuracy on it says nothing of that", test, _listed(absent))
    files = [file for part in parts.values() for file in part.files]
    labels = [label for part in parts.values() for label in part.labels]
    rows = pixels(file_rows(files, labels), lambda number: str(files[number]), len(files), side)
    arrays = _stacked_parts(rows, [len(part.files) for part in parts.values()])
    return {
        f"{kind}_{name}": array
        for name, pair in zip(parts, arrays, strict=True)
        for kind, array in zip("xy", pair, strict=True)
    }


def class_names(path: Path) -> tuple[str, ...]:
    """The names of the class folders that :func:`read_folder` reads, in the order of their numbers."""
    return tuple(folder.name for folder in _folders(_parts(path, image_endings())[0]))


def _stacked_parts(rows: list[Row], sizes: Sequence[int]) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    images, labels = stacked(rows)
    ends = np.cumsum(sizes)
    return [(images[end - size : end], labels[end - size : end]) for size, end in zip(sizes, ends, strict=True)]


def _parts(path: Path, endings: frozenset[str]) -> tuple[Path, Path | None]:
    """The directories of class folders for training and test."""
    folders = _folders(path)
    if not folders:
        raise InputError(
            f"{path} has no class folders: give a directory with a folder of images for each class (or with train and "
            "test that hold these), or an .npz file"
        )
    for folder in folders:
        if folder.name in NEARLY and _folders(folder):
            raise InputError(
                f"{folder} holds folders of its own: rename it to {NEARLY[folder.name]}, if it is that part"
            )
    if not any(folder.name == TRAIN and _folders(folder) for folder in folders):
        return _without_stray_images(path, endings), None
    others = [folder.name for folder in folders if folder.name != TRAIN]
    if len(others) > 1 or not set(others) <= set(TESTS):
        raise InputError(
            f"{path} has {_listed(others)} beside train, but only one folder is taken, as the test part, named "
            f"{', '.join(TESTS[:-1])} or {TESTS[-1]} (validation samples are split off train): move the others away, "
            "or their images into train"
        )
    return path / TRAIN, path / others[0] if others else None


def _part(path: Path, classes: Sequence[str], endings: frozenset[str]) -> _Part:
    folders = _folders(_without_stray_images(path, endings))
    if not folders:
        raise InputError(f"{path} has no class folders: give it those of train, or remove it")
    new = [folder.name for folder in folders if folder.name not in classes]
    if new:
        raise InputError(
            f"{path} has the class {_listed(new)}, which train lacks (its classes: {_listed(classes)}): remove it, or "
            "give train images of that class"
        )
    part = _Part([], [])
    for folder in folders:
        files = _images(folder, endings)
        part.files.extend(files)
        part.labels.extend([classes.index(folder.name)] * len(files))
    return part


def _images(folder: Path, endings: frozenset[str]) -> list[Path]:
    entries = _entries(folder)
    if not entries:
        raise InputError(f"the class folder {folder} is empty: give it images, or remove it")
    for entry in entries:
        if entry.is_dir():
            raise InputError(
                f"{entry} is a folder, but a class folder such as {folder} holds images only: move its images up, or "
                f"give {folder} if its folders are the classes"
            )
        if entry.suffix.lower() not in endings:
            raise InputError(
                f"{entry} is no image by its ending, but a class folder holds images only: remove, rename or convert it"
            )
    return entries


def _without_stray_images(path: Path, endings: frozenset[str]) -> Path:
    stray = [entry for entry in _entries(path) if entry.suffix.lower() in endings and not entry.is_dir()]
    if stray:
        raise InputError(f"the image {stray[0]} lies beside the class folders: move it into one of them, or remove it")
    return path


def _folders(path: Path) -> list[Path]:
    return [entry for entry in _entries(path) if entry.is_dir()]


def _entries(path: Path) -> list[Path]:
    """What a directory holds by name, without hidden files and those that systems put there."""
    try:
        found = sorted(path.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; give yourself permission to read it") from None
    return [entry for entry in found if entry.name[0] != "." and entry.name.lower() not in OF_THE_SYSTEM]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:LISTED]) + ", …" * (len(names) > LISTED)
