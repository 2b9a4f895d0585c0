"""Folders of images: what lies where; nothing is left out in silence."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lossmith.data.images import ENDINGS, Row, file_rows, pixels, stacked
from lossmith.data.names import listed, shown
from lossmith.data.tree import Tree
from lossmith.errors import InputError

TRAIN, TESTS = "train", ("test", "validation", "val", "valid")
NEARLY = {"training": TRAIN, "Train": TRAIN, "TRAIN": TRAIN, "testing": "test", "Test": "test", "TEST": "test"}
_LOG = logging.getLogger("lossmith")


class _Parts(NamedTuple):
    """The directories of class folders."""

    train: Path
    test: Path | None
    unused: list[Path]


class _Part(NamedTuple):
    files: list[Path]
    labels: list[int]


def read_folder(path: Path, side: int | None = None) -> dict[str, NDArray[Any]]:
    """Images by class, ``DIR/class/*.png``, or ``DIR/train/class/*.png`` with ``DIR/test/class/*.png``.

    Classes are the sorted names of the training folders, and images are in the order of class and file name. The test
    part may be called ``validation``, ``val`` or ``valid``, too; beside ``test``, these are named and not used. If any
    image has colour, all have three channels. No link may lead out of the directory.

    Args:
        path: The directory.
        side: Height and width that images are made to have, as in :func:`lossmith.data.images.pixels`.

    Returns:
        ``x_train`` ``[N,C,H,W]`` uint8 and ``y_train`` ``[N]``, and with a test part ``x_test`` and ``y_test``.

    Raises:
        InputError: If a folder is empty or holds something else, a class is missing, an image is damaged, or images
            differ in size.
    """
    tree = Tree(path)
    train, test, unused = _parts(tree)
    if unused:
        _LOG.warning(
            "nothing in %s is used: test is the test part, and validation samples are split off train",
            ", ".join(map(shown, unused)),
        )
    if test is not None and test.name != TESTS[0]:
        _LOG.warning("%s is taken as the test part; validation samples are split off %s", shown(test), shown(train))
    classes = list(tree.classes(train))
    if len(classes) < 2:
        raise InputError(f"{shown(train)} has one class folder only ({classes[0]}): give images of two classes or more")
    parts = {"train": _part(tree, train, classes)}
    if test is not None:
        parts["test"] = _part(tree, test, classes)
        absent = [name for number, name in enumerate(classes) if number not in parts["test"].labels]
        if absent:
            _LOG.warning("%s has no image of %s: accuracy on it says nothing of that", shown(test), listed(absent))
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
        return _Parts(_without_stray_images(tree, path), None, [])
    others = [folder.name for folder in folders if folder.name != TRAIN]
    unused = [name for name in others if name != TESTS[0]]
    if TESTS[0] in others and set(unused) <= set(TESTS):
        others = [TESTS[0]]
    else:
        unused = []
    if len(others) > 1 or not set(others) <= set(TESTS):
        raise InputError(
            f"{shown(path)} has {listed(others)} beside train, but only one folder is taken, as the test part, named "
            f"{', '.join(TESTS[:-1])} or {TESTS[-1]} (validation samples are split off train): move the others away, "
            "or their images into train"
        )
    return _Parts(path / TRAIN, path / others[0] if others else None, [path / name for name in unused])


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
