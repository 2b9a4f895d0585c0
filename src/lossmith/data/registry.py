"""From what the user calls the data to a source: a name, an .npz file, a folder of images, or a source."""

import difflib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from lossmith.data.channels import with_channels
from lossmith.data.folder import class_names, read_folder
from lossmith.data.hub import HUB, read_hub
from lossmith.data.npz import read_npz
from lossmith.data.settings import DataSettings
from lossmith.data.source import Source
from lossmith.errors import InputError

NAMES = ("digits", *HUB)
KINDS = f"{', '.join(NAMES)}, or the path of an .npz file or of a directory of images"


def open_source(data: str | Source, settings: DataSettings | None = None) -> Source:
    """The source that a name stands for.

    Args:
        data: ``"digits"`` (scikit-learn's 1797 handwritten digits, uint8 0…16, ``[N,1,8,8]``, 10 classes); a name of
            :data:`lossmith.data.hub.HUB`; the path of an .npz file with ``x_train``, ``y_train`` and, if wanted,
            ``x_test``, ``y_test``; the path of a directory of images (:func:`lossmith.data.folder.read_folder`); or a
            source. In a file, ``[N,H,W,C]`` with 1, 3 or 4 channels is recognised and turned round.
        settings: ``image_size`` and ``channels`` that images are made to have; the rest is not read.

    Raises:
        InputError: If there is no such data or it cannot be used.
    """
    settings = settings or DataSettings()
    source = data if isinstance(data, Source) else _opened(data, settings.image_size)
    if settings.image_size is not None and source.input_shape[1:] != (settings.image_size, settings.image_size):
        raise InputError(
            f"image_size is {settings.image_size}, but only the images of a directory are resized, and {source.name} "
            f"has samples of shape {list(source.input_shape)}: leave --image-size out"
        )
    return source if settings.channels is None else _converted(source, settings.channels)


def data_path(data: str) -> Path | None:
    """The path that data is at, whether it exists or not; None for a name, and for what is neither."""
    if not data or data in NAMES:
        return None
    try:
        path = Path(data).expanduser()
        return path if path.exists() or path.suffix == ".npz" or len(path.parts) > 1 else None
    except (OSError, RuntimeError, ValueError):
        return None


def _opened(data: str, side: int | None) -> Source:
    if data == "digits":
        return _digits()
    if data in HUB:
        return Source.from_arrays(read_hub(data, HUB[data]), data, data)
    path = data_path(data)
    if path is None:
        near = difflib.get_close_matches(data.lower().replace("_", "-"), NAMES, n=2, cutoff=0.7)
        meant = f" (perhaps {' or '.join(near)} is meant)" if near else ""
        raise InputError(f"unknown data {data!r}{meant}: give {KINDS}")
    if not path.is_dir():
        return Source.from_arrays(read_npz(path), path.name, str(path))
    source = Source.from_arrays(read_folder(path, side), path.resolve().name, str(path))
    return replace(source, class_names=class_names(path))


def _converted(source: Source, channels: int) -> Source:
    inputs = with_channels(source.inputs, channels, source.name)
    test = None if source.test_inputs is None else with_channels(source.test_inputs, channels, source.name)
    return source if inputs is source.inputs else replace(source, inputs=inputs, test_inputs=test)


def _digits() -> Source:
    from sklearn.datasets import load_digits

    digits = load_digits()
    inputs = torch.from_numpy(np.asarray(digits.images, dtype=np.uint8))
    targets = torch.from_numpy(np.asarray(digits.target, dtype=np.int64))
    return replace(Source.from_tensors(inputs, targets, name="digits"), max_pixel=16.0)
