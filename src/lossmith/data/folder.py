"""Folders of images: what lies where; nothing is left out in silence."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lossmith.data.arrays import VALIDATIONS
from lossmith.data.images import ENDINGS, Row, file_rows, pixels, stacked
from lossmith.data.names import listed, shown
from lossmith.data.tree import Tree
from lossmith.errors import InputError

TRAIN, TEST = "train", "test"
NEARLY = {"training": TRAIN, "Train": TRAIN, "TRAIN": TRAIN, "testing": "test", "Test": "test", "TEST": "test"}
_LOG = logging.getLogger("lossmith")


class _Parts(NamedTuple):
    """The directories of class folders."""

    train: Path
    validation: Path | None = None
    test: Path | None = None


class _Part(NamedTuple):
    files: list[Path]
    labels: list[int]


def read_folder(path: Path, side: int | None = None) -> dict[str, NDArray[Any]]:
    """Images by class, ``DIR/class/*.png``, or ``DIR/train/class/*.png`` with ``DIR/val`` and ``DIR/test`` like it.

    Classes are the sorted names of the training folders, and images are in the order of class and file name. The
    validation part may be called ``validation``, ``val`` or ``valid``. If any image has colour, all have three
    channels. No link may lead out of the directory.

    Args:
        path: The directory.
        side: Height and width that images are made to have, as in :func:`lossmith.data.images.pixels`.

    Returns:
        ``x_train`` ``[N,C,H,W]`` uint8 and ``y_train`` ``[N]``; with a test part ``x_test`` and ``y_test``, and with a
        validation part ``x_val`` and ``y_val``.

    Raises:
        InputError: If a folder is empty or holds something else, a class is missing, an image is damaged, or images
            differ in size.
    """
    tree = Tree(path)
    found = _parts(tree)
    if found.validation is not None and found.test is None:
        _LOG.warning(
            "%s is the validation part, and test samples are split off %s", shown(found.validation), shown(found.train)
        )
    classes = list(tree.classes(found.train))
    if len(classes) < 2:
        raise InputError(
            f"{shown(found.train)} has one class folder only ({classes[0]}): give images of two classes or more"
        )
    parts = {"train": _part(tree, found.train, classes)}
    for name, place in (("test", found.test), (VALIDATIONS[0], found.validation)):
        if place is not None:
            parts[name] = _part(tree, place, classes)
            absent = [called for number, called in enumerate(classes) if number not in parts[name].labels]
            if absent:
                _LOG.warning(
                    "%s has no image of %s, so accuracy on it says nothing about that", shown(place), listed(absent)
                )
    files = [file for part in parts.values() for file in part.files]
    labels = [label for part in parts.values() for label in part.labels]
    rows = pixels(file_rows(files, labels), lambda number: shown(files[number]), len(files), side)
    arrays = _stacked_parts(rows, [len(part.files) for part in parts.values()])
    return {
        f"{kind}_{name}": array
        for name, pair in zip(parts, arrays, strict=True)
        for kind, array in zip("xy", pair, strict=True)
    }


def class_names(path: Path) -> tuple[str, ...]:
    """The names of the class folders that :func:`read_folder` reads, in the order of their numbers."""
    tree = Tree(path)
    return tuple(tree.classes(_parts(tree).train))


def _stacked_parts(rows: list[Row], sizes: Sequence[int]) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    images, labels = stacked(rows)
    ends = np.cumsum(sizes)
    return [(images[end - size : end], labels[end - size : end]) for size, end in zip(sizes, ends, strict=True)]


def _parts(tree: Tree) -> _Parts:
    path, folders = tree.root, tree.folders(tree.root)
    if not folders:
        raise InputError(
            f"{shown(path)} has no class folders: give a directory with a folder of images for each class (or with "
            "train and test that hold these), or an .npz file"
        )
    for folder in folders:
        if folder.name in NEARLY and tree.folders(folder):
            raise InputError(
                f"{shown(folder)} holds folders of its own: rename it to {NEARLY[folder.name]}, if it is that part"
            )
    if not any(folder.name == TRAIN and tree.folders(folder) for folder in folders):
        return _Parts(_without_stray_images(tree, path))
    others = [folder.name for folder in folders if folder.name != TRAIN]
    validation = [name for name in others if name in VALIDATIONS]
    if len(validation) > 1 or not set(others) <= {TEST, *VALIDATIONS}:
        raise InputError(
            f"{shown(path)} has {listed(others)} beside train, but only {TEST} (the test part) and one of "
            f"{', '.join(VALIDATIONS[:-1])} or {VALIDATIONS[-1]} (the validation part) are taken: move the others "
            "away, or their images into train"
        )
    return _Parts(path / TRAIN, path / validation[0] if validation else None, path / TEST if TEST in others else None)


def _part(tree: Tree, path: Path, classes: Sequence[str]) -> _Part:
    folders = tree.classes(_without_stray_images(tree, path))
    if not folders:
        raise InputError(f"{shown(path)} has no class folders: give it those of train, or remove it")
    new = [name for name in folders if name not in classes]
    if new:
        raise InputError(
            f"{shown(path)} has the class {listed(new)}, which train lacks (its classes: {listed(list(classes))}): "
            "remove it, or give train images of that class"
        )
    part = _Part([], [])
    for name, folder in folders.items():
        files = _images(tree, folder)
        part.files.extend(files)
        part.labels.extend([classes.index(name)] * len(files))
    return part


def _images(tree: Tree, folder: Path) -> list[Path]:
    entries = tree.entries(folder)
    if not entries:
        raise InputError(f"the class folder {shown(folder)} is empty: give it images, or remove it")
    for entry in entries:
        tree.check_link(entry)
        if entry.is_dir():
            raise InputError(
                f"{shown(entry)} is a folder, but a class folder such as {shown(folder)} holds images only: move its "
                f"images up, or give {shown(folder)} if its folders are the classes"
            )
        if entry.suffix.lower() not in ENDINGS:
            raise InputError(
                f"{shown(entry)} is no image by its ending, but a class folder holds images only "
                f"({', '.join(sorted(ENDINGS))}): remove, rename or convert it"
            )
    return entries


def _without_stray_images(tree: Tree, path: Path) -> Path:
    stray = [entry for entry in tree.entries(path) if entry.suffix.lower() in ENDINGS and not entry.is_dir()]
    if stray:
        raise InputError(
            f"the image {shown(stray[0])} lies beside the class folders: move it into one of them, or remove it"
        )
    return path
