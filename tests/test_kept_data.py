"""Data of a program in a file: it comes back as it was, and a file that is anything else gets a sentence."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lossmith import InputError
from lossmith.data import DataSettings, Source, keep_source, open_source, search_parts
from lossmith.data.kept import About

GENERATOR = torch.Generator().manual_seed(0)
LABELS = torch.arange(40) % 4


def sources() -> dict[str, Source]:
    images = torch.randint(0, 256, (40, 3, 4, 4), generator=GENERATOR).to(torch.uint8)
    features = torch.randn(40, 5, generator=GENERATOR)
    tokens = torch.randint(1, 9, (40, 6), generator=GENERATOR)
    named: Any = {"ids": tokens, "mask": tokens > 3, "sizes": features}
    pair = (features[:8], LABELS[:8])
    return {
        "images": replace(Source.from_tensors(images, LABELS), max_pixel=255.0, class_names=("a", "b\n", "c", "é")),
        "channels that could be last": Source.from_tensors(images.movedim(1, 3), LABELS),
        "parts": Source.from_tensors(features, LABELS, *pair, validation=pair),
        "groups": Source.from_tensors(features, LABELS, groups=[f"{place // 4}" for place in range(40)]),
        "tokens": Source.from_tensors(tokens, LABELS, kind="tokens", padding_id=0),
        "dicts": Source.from_tensors(named, LABELS),
    }


@pytest.mark.parametrize("name", sources())
def test_it_comes_back_as_it_was(tmp_path: Path, name: str) -> None:
    source, path = sources()[name], tmp_path / "data.lossmith"
    size = keep_source(source, path)
    assert size == path.stat().st_size
    found = open_source(str(path), DataSettings())
    assert found.digest == source.digest
    for role in ("name", "kind", "max_pixel", "class_names", "padding", "layout", "imputed"):
        assert getattr(found, role) == getattr(source, role)
    split = DataSettings(split="groups" if name == "groups" else "random")
    ours, theirs = search_parts(source, split), search_parts(found, split)
    assert torch.equal(ours.train.inputs, theirs.train.inputs)
    assert torch.equal(ours.validation.targets, theirs.validation.targets)


def test_tables_that_lack_values(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.0, None, 3.0, 4.0] * 5, "b": ["u", "v", None, "u"] * 5, "y": ["no", "yes"] * 10})
    source = Source.from_frame(frame, "y", missing="impute")
    keep_source(source, tmp_path / "data.lossmith")
    found = open_source(str(tmp_path / "data.lossmith"))
    assert found.digest == source.digest
    assert found.imputed == source.imputed
    assert torch.equal(
        search_parts(source, DataSettings()).train.inputs, search_parts(found, DataSettings()).train.inputs
    )


def changed(path: Path, told: dict[str, Any], arrays: dict[str, Any]) -> None:
    """Write other contents into a file that was kept."""
    with np.load(path) as kept:
        found = {name: kept[name] for name in kept.files}
    document = {**json.loads(found["about"].tobytes()), **told}
    found |= {"about": np.frombuffer(json.dumps(document).encode(), np.uint8), **arrays}
    with path.open("wb") as file:
        np.savez(file, **{name: value for name, value in found.items() if value is not None})


@pytest.mark.parametrize(
    ("about", "arrays", "words"),
    [
        ({"kind": "sounds"}, {}, "no data of a known kind"),
        ({"roles": ["inputs"]}, {}, "no data of a known kind"),
        ({"roles": ["inputs", "targets", "secrets"]}, {}, "no data of a known kind"),
        ({"roles": ["inputs", "targets", "test_inputs"]}, {}, "holds no array test_inputs"),
        ({"class_names": ["a"]}, {}, "names 1 of 4 classes"),
        ({"digest": "0"}, {}, "its digest is another one"),
        ({"padding": "x"}, {}, r"padding: input should be a valid integer"),
        ({"layout": [{"name": "a", "shape": [5], "dtype": "object"}]}, {}, "tensors of an unknown type"),
        ({}, {"about": np.zeros(3)}, "does not say what it holds"),
        ({}, {"about": np.frombuffer(b"{", np.uint8)}, "is no JSON"),
        ({}, {"about": None}, "holds no array about"),
        ({}, {"targets": np.zeros(3, np.int64)}, "3 labels"),
        ({}, {"inputs": np.array([{}], dtype=object)}, "type object|Python objects"),
        ({}, {"inputs": np.zeros((40, 5), np.float64)}, "its digest is another one"),
        ({"kind": "tokens"}, {}, "inputs in .* are no token ids|whole numbers|token"),
        ({"kind": "image"}, {}, "shape"),
    ],
)
def test_another_file(tmp_path: Path, about: dict[str, Any], arrays: dict[str, Any], words: str) -> None:
    path = tmp_path / "data.lossmith"
    keep_source(Source.from_tensors(torch.randn(40, 5, generator=GENERATOR), LABELS), path)
    changed(path, about, arrays)
    with pytest.raises(InputError, match=words):
        open_source(str(path))


def test_no_file_and_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "data.lossmith"
    with pytest.raises(InputError, match="there is no file"):
        open_source(str(path))
    path.write_bytes(b"PK\x03\x04" + bytes(99))
    with pytest.raises(InputError, match=r"data\.lossmith"):
        open_source(str(path))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("about.npy", b"nothing")
    with pytest.raises(InputError, match=r"data\.lossmith"):
        open_source(str(path))


def test_it_says_all_that_a_source_is() -> None:
    """A new attribute of a source must be kept, too."""
    kept = {"name", "kind", "max_pixel", "class_names", "padding", "imputed", "layout"}
    assert kept | {"digest", "roles"} == set(About.model_fields)
    from dataclasses import fields

    from lossmith.data.digests import ROLES

    assert {one.name for one in fields(Source)} == kept | set(ROLES)
