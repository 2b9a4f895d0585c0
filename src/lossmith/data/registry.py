"""The readers that there are, and from what the user calls the data to a source."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lossmith.data.channels import with_channels
from lossmith.data.digits import read_digits
from lossmith.data.folder import class_names, read_folder
from lossmith.data.framed import is_table, read_tables
from lossmith.data.hub import HUB, read_hub
from lossmith.data.kept import is_kept, read_kept
from lossmith.data.kinds import AUTO, KINDS
from lossmith.data.names import short, shown
from lossmith.data.noise import array_in, with_noise
from lossmith.data.npz import read_npz
from lossmith.data.readers import FALLBACK, READERS, Reader, reader_of
from lossmith.data.settings import DataSettings
from lossmith.data.source import Source
from lossmith.errors import InputError, brief

# Settings that say what the columns of a table are.
OF_TABLES = ("target", "drop", "categories", "missing", "groups")


def open_source(data: str | Source, settings: DataSettings | None = None) -> Source:
    """The source that a name stands for.

    Args:
        data: ``"digits"`` (scikit-learn's 1797 handwritten digits, uint8 0…16, ``[N,1,8,8]``, 10 classes); a name of
            :data:`lossmith.data.hub.HUB`; the path of an .npz file (:func:`lossmith.data.npz.read_npz`), of a table
            (:func:`lossmith.data.framed.read_tables`) or of a directory of images
            (:func:`lossmith.data.folder.read_folder`); what another one of ``READERS`` takes; or a source. In an .npz
            file, images ``[N,H,W,C]`` with 1, 3 or 4 channels are recognised and turned round.
        settings: ``kind`` of the data, what the columns of a table are, ``image_size`` and ``channels`` that images are
            made to have, and ``noise`` where that is a file; the rest is not read.

    Raises:
        InputError: If there is no such data or it cannot be used.
    """
    settings = settings or DataSettings()
    source = data if isinstance(data, Source) else _read(data, settings)
    if settings.kind not in (AUTO, source.kind):
        raise InputError(
            f"kind is {settings.kind}, but {source.name} has {KINDS[source.kind].called} ({source.kind}): leave --kind "
            "out, or give other data"
        )
    side = settings.image_size
    if side is not None and (source.kind != "image" or source.input_shape[1:] != (side, side)):
        raise InputError(
            f"image_size is {side}, but only the images of a directory are resized, and {source.name} has samples of "
            f"shape {list(source.input_shape)}: leave --image-size out"
        )
    source = source.with_padding(settings.padding_id)
    return with_noise(source if settings.channels is None else _converted(source, settings.channels), settings)


def _read(data: str, settings: DataSettings) -> Source:
    reader, usual = reader_of(data), DataSettings()
    for name in OF_TABLES:
        if name not in reader.uses and getattr(settings, name) != getattr(usual, name):
            raise InputError(
                f"{name} is {brief(getattr(settings, name))}, but {shown(short(data))} is no table, which alone has "
                f"columns: leave --{name} out"
            )
    return reader.read(data, settings)


def _converted(source: Source, channels: int) -> Source:
    if source.kind != "image":
        raise InputError(
            f"channels is {channels}, but {source.name} has {KINDS[source.kind].called} {list(source.input_shape)}, "
            "not images: leave --channels out"
        )
    inputs = with_channels(source.inputs, channels, source.name)
    if inputs is source.inputs:
        return source
    others = {"validation_inputs": source.validation_inputs, "test_inputs": source.test_inputs}
    converted: dict[str, Any] = {
        name: None if one is None else with_channels(one, channels, source.name) for name, one in others.items()
    }
    return replace(source, inputs=inputs, **converted)


def _digits(_data: str, _settings: DataSettings) -> Source:
    inputs, targets = map(torch.from_numpy, read_digits())
    return replace(Source.from_tensors(inputs, targets, name="digits"), max_pixel=16.0)


def _hub(name: str, _data: str, _settings: DataSettings) -> Source:
    return Source.from_arrays(read_hub(name, HUB[name]), name, name, channels_first=True)


def _npz(data: str, settings: DataSettings) -> Source:
    path = Path(data).expanduser()
    name = settings.groups or ("groups" if settings.split == "groups" else None)
    arrays = read_npz(path, array_in(settings.noise, path), () if name is None else (name,))
    source = Source.from_arrays(arrays, shown(path.name), shown(path), settings.kind)
    return source if name is None else source.with_groups(arrays[name], f"{shown(name)} in {shown(path)}")


def _folder(data: str, settings: DataSettings) -> Source:
    path = Path(data).expanduser()
    arrays, name = read_folder(path, settings.image_size), Path(os.path.realpath(path)).name
    source = Source.from_arrays(arrays, shown(name), shown(path), channels_first=True)
    return replace(source, class_names=class_names(path))


READERS.register("digits", Reader(_digits))
for _name in HUB:
    READERS.register(_name, Reader(partial(_hub, _name)))
READERS.register(
    FALLBACK,
    Reader(_npz, path=lambda path: path.suffix == ".npz", described="an .npz file", uses=("groups",)),
)
READERS.register("folder", Reader(_folder, path=Path.is_dir, described="a directory of images"))
READERS.register(
    "table",
    Reader(read_tables, path=is_table, described="a table (.csv, .tsv or .parquet)", uses=OF_TABLES),
)
READERS.register(
    "kept",
    Reader(read_kept, path=is_kept, described="data that lossmith.evolve kept (.lossmith)"),
)
