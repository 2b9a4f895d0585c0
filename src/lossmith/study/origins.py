"""What loss files say of the search that they come from, and what that decides where losses are compared."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from lossmith.analysis import OBJECTIVES
from lossmith.code import is_code
from lossmith.errors import InputError, brief, printable
from lossmith.io import read_toml
from lossmith.losses import loss_file, read_loss_document
from lossmith.registry import Registry
from lossmith.schema import Document, conforming
from lossmith.search import SEARCH_ENGINES, SPACES
from lossmith.study.config import EvolveSettings, check_named, differences, is_moved, validated, with_data
from lossmith.study.legacy import modernized
from lossmith.study.places import found_again

LOG = logging.getLogger("lossmith")
REASONS = {
    "data": "with other data or another split, test samples could have been in the search",
    "model": "the loss is worth what it is worth for the network that it was evolved for",
    "recipe": "the learning rate and the number of epochs are tuned for every loss, the rest is the search's recipe",
}


@dataclass(frozen=True)
class Origin:
    """The search that a loss file comes from.

    Args:
        file: The file.
        settings: Of the search.
        digest: Of its data.
        function: Name of the function from Python that it maximized, if it was one.
        lr: The rate that a sweep found for it, if one was made.
    """

    file: Path
    settings: EvolveSettings
    digest: str
    function: str | None = None
    lr: float | None = None


class SaidTuning(Document):
    """What a loss file says of the tuning of its search."""

    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class SaidFunction(Document):
    """What a loss file says of a search by one's own training function."""

    function: str


class Said(Document):
    """What a loss file must say of the search that it comes from, if it says anything."""

    digest: str
    settings: dict[str, Any]
    tuning: SaidTuning | None = None


def provenance(path: Path) -> dict[str, Any] | None:
    """Where the loss of a file comes from, if the file says so.

    Raises:
        InputError: if the file cannot be read, or says it in a way that cannot be understood.
    """
    document = read_loss_document(path)
    if not isinstance(document, dict):
        raise InputError(
            f"{path} is not a loss file; take the best.json that lossmith evolve wrote, or save the loss again"
        )
    found: dict[str, Any] | None = document.get("provenance")
    if found is not None:
        shape = SaidFunction if _is_by_function(found) else Said
        conforming(shape, found, f'"provenance" of {path}', "take the best.json that lossmith evolve wrote")
    return found


def _is_by_function(said: Any) -> bool:
    return isinstance(said, dict) and "function" in said and "digest" not in said


def origin_of(texts: Sequence[str], compares: bool = False) -> Origin | None:
    """Where the loss files among what names some losses come from, if one says so; nothing that they name is imported.

    The place of the data comes from the ``study.toml`` beside the file, since a loss file holds no path.

    Args:
        texts: What names the losses.
        compares: Whether they are about to be compared: then what that takes instead of a metric that is unknown here
            is told, else what is unknown.

    Raises:
        InputError: if two files disagree, so that no fair comparison of them is possible.
    """
    found = [origin for origin in (_origin(file, compares) for file in _files(texts)) if origin is not None]
    for other in found[1:]:
        changes = conflicts(other.settings, found[0].settings)
        if changes or other.digest != found[0].digest:
            key = changes[0][0] if changes else "data"
            raise InputError(
                f"{other.file} and {found[0].file} were evolved with different settings ({key}); take them one at a "
                "time"
            )
    return found[0] if found else None


def _origin(path: Path, compares: bool) -> Origin | None:
    said = provenance(path)
    if said is None:
        return None
    if _is_by_function(said):
        own = printable(str(said["function"]))
        if compares:
            raise InputError(
                f"{path} was evolved by a training function of your own, {own}; compare it in Python, where that "
                "is: lossmith.evolve(train=…, out=…).compare()"
            )
        return None
    settings = validated(
        EvolveSettings, _known(modernized(said["settings"], begun=True)[0], path, compares), f'"settings" of {path}'
    )
    file = path.parent / "study.toml"
    data = modernized(read_toml(file))[0].get("data") if file.exists() else None
    if isinstance(data, dict) and isinstance(data.get("source"), str):
        noise = str(data.get("noise", ""))
        moved = is_moved("data.noise", noise, settings.data.noise)
        settings = with_data(settings, found_again(data["source"], path.parent), noise if moved else None)
    else:
        settings = with_data(settings, found_again(settings.data.source, path.parent))
    function = said.get("objective")
    lr = (said.get("tuning") or {}).get("lr")
    return Origin(path, settings, said["digest"], function if isinstance(function, str) else None, lr)


def _known(document: Any, path: Path, compares: bool) -> Any:
    """Settings of a search without the names that nothing is registered under here, which none is needed of."""
    if not isinstance(document, dict):
        return document
    found = dict(document)
    named: list[tuple[str, str, Registry[Any]]] = [
        ("search", "space", SPACES),
        ("search", "engine", SEARCH_ENGINES),
        ("objective", "metric", OBJECTIVES),
    ]
    for part, key, registry in named:
        settings = found.get(part)
        name = settings.get(key) if isinstance(settings, dict) else None
        if isinstance(name, str) and name not in registry and not (registry is OBJECTIVES and is_code(name)):
            found[part] = {one: value for one, value in found[part].items() if one != key}
            if not compares:
                LOG.warning(
                    "%s: its search had the %s %s, which is not registered here", path, registry.kind, brief(name)
                )
            elif registry is OBJECTIVES:
                LOG.warning("the comparison takes accuracy instead of %s", brief(name))
    return found


def settings_for(texts: Sequence[str], model: str | None = None, metric: str | None = None) -> EvolveSettings:
    """Settings that the best.json files among some losses were evolved with, or the defaults.

    Args:
        texts: What names the losses.
        model: The network of one's own that the files may name.
        metric: The metric of one's own that they may name.

    Raises:
        InputError: if two of them disagree, or they name other such code.
    """
    origin = origin_of(texts)
    if origin is None:
        return EvolveSettings()
    check_named(origin.settings, model, origin.file, metric)
    return origin.settings


def conflicts(wanted: EvolveSettings, kept: EvolveSettings) -> list[tuple[str, Any, Any]]:
    """What a comparison must not change: data (but for its place), model and recipe."""
    parts = ("data", "model", "recipe")
    changes = differences(
        wanted.model_dump(mode="json", include=set(parts)), kept.model_dump(mode="json", include=set(parts))
    )
    return [change for change in changes if not is_moved(*change)]


def check_unchanged(wanted: EvolveSettings, origin: Origin) -> None:
    """See that flags change nothing that a comparison must not change.

    Args:
        wanted: The settings with the flags.
        origin: Where the loss comes from.

    Raises:
        InputError: if they do.
    """
    changes = conflicts(wanted, origin.settings)
    if changes:
        key, given, stored = changes[0]
        raise InputError(
            f"{origin.file} was evolved with {key} = {brief(stored)}, not {brief(given)}; leave that flag out: "
            + REASONS[key.split(".")[0]]
        )


def comparison_place(texts: Sequence[str], out: Path | None, origin: Origin | None) -> Path:
    """The directory of a comparison: the one that is given, or that of the study, or one named after a loss file.

    Args:
        texts: What names the losses.
        out: The directory that is given.
        origin: Where the losses come from, if one says so.

    Raises:
        InputError: if none is given, and no loss is a file.
    """
    if out is not None:
        return out
    if origin is not None:
        return origin.file.parent
    files = _files(texts)
    if not files:
        raise InputError(
            "no directory is given; add --out DIR, since no loss is a file (data, model and recipe are those of the "
            "flags)"
        )
    return Path(f"{files[0].stem}-comparison")


def unknown_origins(texts: Sequence[str]) -> list[Path]:
    """Loss files that do not say what they were evolved on.

    Raises:
        InputError: if a file cannot be read.
    """
    said = {file: provenance(file) for file in _files(texts)}
    return [file for file, one in said.items() if one is None or _is_by_function(one)]


def _files(texts: Sequence[str]) -> list[Path]:
    return [file for file in map(loss_file, texts) if file is not None]
