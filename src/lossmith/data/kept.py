"""Data of a program in a file, as it is, so that other programs and the command line find it again.

The file is an archive of NumPy's arrays, one for each tensor of a source, and one that says the rest. It is data alone:
nothing of it is unpickled, and every array is checked as that of any other file.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field as Setting
from torch import Tensor

from lossmith.data.arrays import check_classes, check_pair, check_test, check_test_targets, prepared_targets
from lossmith.data.columns import Block
from lossmith.data.digests import ROLES
from lossmith.data.kinds import KINDS
from lossmith.data.kinds.named import KEPT, Field
from lossmith.data.names import shown
from lossmith.data.npz import read_array
from lossmith.data.settings import DataSettings
from lossmith.data.source import Source
from lossmith.errors import InputError
from lossmith.io import parsed_json, write_whole
from lossmith.schema import Document, conforming

SUFFIX = ".lossmith"
ABOUT = "about"
LONGEST_ABOUT = 2**24
TYPES = {str(one).removeprefix("torch."): one for one in KEPT}
REMEDY = "take the file that lossmith.evolve wrote"
Name = Annotated[str, Setting(max_length=10_000)]


class KeptBlock(Document):
    """A column of a table that lacks values."""

    name: Name
    width: int = Setting(ge=1)
    ordered: bool


class KeptField(Document):
    """A tensor of a dict of tensors."""

    name: Name
    shape: list[Annotated[int, Setting(ge=0)]]
    dtype: str


class About(Document):
    """What a file says of a source besides its tensors."""

    name: Name
    kind: str
    digest: str
    roles: list[str]
    max_pixel: float | None
    class_names: list[Name] | None
    padding: int | None
    imputed: list[KeptBlock] | None
    layout: list[KeptField]


def keep_source(source: Source, path: Path) -> int:
    """Write a source to a file, all of it or nothing; its bytes.

    Args:
        source: The source.
        path: The file, whose name ends in ``.lossmith``.

    Raises:
        InputError: if it cannot be written.
    """
    tensors = {role: tensor for role in ROLES if (tensor := getattr(source, role)) is not None}
    about = About(
        name=source.name,
        kind=source.kind,
        digest=source.digest,
        roles=list(tensors),
        max_pixel=source.max_pixel,
        class_names=None if source.class_names is None else list(source.class_names),
        padding=source.padding,
        imputed=None if source.imputed is None else [KeptBlock(**one._asdict()) for one in source.imputed],
        layout=[
            KeptField(name=one.name, shape=list(one.shape), dtype=str(one.dtype).removeprefix("torch."))
            for one in source.layout
        ],
    )
    told = np.frombuffer(json.dumps(about.model_dump(mode="json")).encode(), np.uint8)
    arrays: dict[str, Any] = {role: tensor.cpu().numpy() for role, tensor in tensors.items()}
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays, about=told)
    write_whole(content.getvalue(), path)
    return len(content.getbuffer())


def read_kept(data: str, _: DataSettings) -> Source:
    """The source of a file.

    Raises:
        InputError: if there is no such file, or it is damaged.
    """
    path = Path(data).expanduser()
    if not path.exists():
        raise InputError(f"there is no file {shown(path)}: check its path")
    about = _about(path)
    tensors = {role: torch.from_numpy(np.ascontiguousarray(_array(path, role))) for role in about.roles}
    source = _checked(path, about, tensors)
    if source.digest != about.digest:
        raise InputError(f"{shown(path)} is damaged (its digest is another one); {REMEDY}")
    return source


def _about(path: Path) -> About:
    told = _array(path, ABOUT)
    if told.dtype != np.uint8 or told.ndim != 1 or told.nbytes > LONGEST_ABOUT:
        raise InputError(f"{shown(path)} is damaged (it does not say what it holds); {REMEDY}")
    try:
        document = parsed_json(told.tobytes().decode())
    except ValueError:
        raise InputError(f"{shown(path)} is damaged (what it says of itself is no JSON); {REMEDY}") from None
    about = conforming(About, document, shown(path), REMEDY)
    if about.kind not in KINDS or not {"inputs", "targets"} <= set(about.roles) <= set(ROLES):
        raise InputError(f"{shown(path)} is damaged (it holds no data of a known kind); {REMEDY}")
    if any(one.dtype not in TYPES for one in about.layout):
        raise InputError(f"{shown(path)} is damaged (it holds tensors of an unknown type); {REMEDY}")
    return about


def _array(path: Path, name: str) -> Any:
    array = read_array(path, name)[0]
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _checked(path: Path, about: About, tensors: dict[str, Tensor]) -> Source:
    """A source whose parts fit one another."""
    kind = KINDS[about.kind]
    called = {role: f"{role} in {shown(path)}" for role in tensors}
    if about.imputed is None:
        prepared = {role: kind.prepared(tensors[role], called[role]) for role in tensors if role.endswith("inputs")}
        if any(not torch.equal(one, tensors[role]) for role, one in prepared.items()):
            raise InputError(f"{shown(path)} is damaged (its inputs are none of the kind {about.kind}); {REMEDY}")
    targets = prepared_targets(tensors["targets"], called["targets"])
    check_pair(tensors["inputs"], targets, called["inputs"], called["targets"])
    check_classes(targets, called["targets"])
    for part in ("test", "validation"):
        inputs, labels = tensors.get(f"{part}_inputs"), tensors.get(f"{part}_targets")
        if (inputs is None) != (labels is None):
            raise InputError(f"{shown(path)} is damaged (it has half of the {part} part); {REMEDY}")
        if inputs is not None and labels is not None:
            names = called[f"{part}_inputs"], called[f"{part}_targets"]
            check_pair(inputs, labels, *names)
            check_test(tensors["inputs"], inputs, called["inputs"], names[0])
            check_test_targets(labels, int(targets.max()) + 1, names[1])
    classes = int(targets.max()) + 1
    if about.class_names is not None and len(about.class_names) != classes:
        raise InputError(f"{shown(path)} is damaged (it names {len(about.class_names)} of {classes} classes); {REMEDY}")
    return Source(
        about.name,
        **tensors,
        max_pixel=about.max_pixel,
        class_names=None if about.class_names is None else tuple(about.class_names),
        kind=about.kind,
        imputed=None
        if about.imputed is None
        else tuple(Block(one.name, one.width, one.ordered) for one in about.imputed),
        layout=tuple(Field(one.name, tuple(one.shape), TYPES[one.dtype]) for one in about.layout),
        padding=about.padding,
    )


def is_kept(path: Path) -> bool:
    """Whether a path is that of such a file."""
    return path.suffix == SUFFIX and not path.is_dir()
