"""Data sets by name, from the Hugging Face hub or from the arrays that were kept of them."""

import io
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossmith.data.images import hub_pixels, stacked
from lossmith.data.names import shown
from lossmith.data.npz import read_npz
from lossmith.errors import InputError
from lossmith.io import write_whole

NOT_KEPT = "the converted data is not kept for the next time; set LOSSMITH_CACHE to a directory that can be written to"
_LOG = logging.getLogger("lossmith")


@dataclass(frozen=True)
class HubData:
    """A data set of the hub with the splits ``train`` and ``test``.

    Attributes:
        identifier: ``owner/name``.
        configuration: Which of its configurations, if it has several.
        image: Column of images.
        label: Column of labels.
        streaming: Whether only the files of these two splits are read, since others are large.
    """

    identifier: str
    configuration: str | None = None
    image: str = "image"
    label: str = "label"
    streaming: bool = False


HUB = {
    "mnist": HubData("ylecun/mnist"),
    "fashion-mnist": HubData("zalando-datasets/fashion_mnist"),
    "cifar10": HubData("uoft-cs/cifar10", image="img"),
    "cifar100": HubData("uoft-cs/cifar100", image="img", label="fine_label"),
    "svhn": HubData("ufldl-stanford/svhn", "cropped_digits", streaming=True),
}


def cache_directory() -> Path:
    """Where converted data is kept: ``LOSSMITH_CACHE``, or else ``lossmith`` in the user's cache directory.

    Raises:
        InputError: If the user's home is not known.
    """
    own = os.environ.get("LOSSMITH_CACHE")
    place = own or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/lossmith"
    try:
        return Path(place).expanduser()
    except RuntimeError:
        raise InputError(
            f"the home directory in {shown(place)}, where converted data is kept, is not known: set LOSSMITH_CACHE to "
            "another directory"
        ) from None


def read_hub(name: str, entry: HubData) -> dict[str, NDArray[Any]]:
    """The arrays of a data set: those kept, or else loaded, converted and kept for the next time.

    Args:
        name: What the user calls it.
        entry: Where it is.

    Returns:
        ``x_train`` ``[N,C,H,W]`` uint8, ``y_train`` ``[N]``, ``x_test`` and ``y_test``.

    Raises:
        InputError: If it cannot be loaded, or what was kept is damaged.
    """
    path = cache_directory() / f"{name}.npz"
    if os.path.lexists(path):
        try:
            return read_npz(path)
        except InputError as error:
            raise InputError(
                f"the copy of {name} that was kept cannot be used; delete {path}, and it is made again ({error})"
            ) from None
    _LOG.info("loading %s (%s of the Hugging Face hub), to be kept in %s", name, entry.identifier, path)
    kept = _can_keep(path.parent)
    arrays: dict[str, NDArray[Any]] = {}
    for split in ("train", "test"):
        rows = hub_pixels(
            entry.identifier,
            entry.configuration,
            split,
            (entry.image, entry.label),
            streaming=entry.streaming,
            name=name,
        )
        arrays[f"x_{split}"], arrays[f"y_{split}"] = stacked(rows)
    if kept:
        _keep(arrays, path)
    return arrays


def _can_keep(directory: Path) -> bool:
    """Whether something can be kept there; if not, that is said before the work is done."""
    there = next(path for path in (directory, *directory.parents) if os.path.lexists(path))
    if there.is_dir() and os.access(there, os.W_OK):
        return True
    _LOG.warning("%s (%s is no directory that can be written to)", NOT_KEPT, there)
    return False


def _keep(arrays: dict[str, NDArray[Any]], path: Path) -> None:
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(content.getvalue(), path)
    except (OSError, InputError) as error:
        _LOG.warning("%s (%s)", NOT_KEPT, error)
