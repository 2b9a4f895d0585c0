"""Flags made from settings: same names, defaults and help, checked by the settings themselves."""

import dataclasses
import functools
import logging
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import tyro
from pydantic import BaseModel

from lossmith.data import data_path
from lossmith.errors import InputError
from lossmith.io import read_toml
from lossmith.study import EvolveSettings
from lossmith.study.config import validated, with_data
from lossmith.study.legacy import modernized

LOG = logging.getLogger("lossmith")
# Settings do not repeat the name of their part, but their flags stand without it.
NAMES = {
    ("DataSettings", "source"): "data",
    ("ModelSettings", "name"): "model",
    ("ObjectiveSettings", "metric"): "objective",
}


@functools.cache
def flags(model: type[BaseModel], only: tuple[str, ...] = ()) -> Any:
    """A dataclass with a flag for each setting of a model, without its checks, so that all errors read alike.

    Args:
        model: The settings.
        only: Names of the settings that get flags, "part" or "part.name"; all, if there are none.
    """
    fields: list[tuple[str, Any, Any]] = []
    for name, info in model.model_fields.items():
        inner = tuple(wanted.partition(".")[2] for wanted in only if wanted.startswith(f"{name}."))
        if only and name not in only and not inner:
            continue
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            nested = flags(info.annotation, inner)
            fields.append(
                (name, Annotated[nested, tyro.conf.OmitArgPrefixes], dataclasses.field(default_factory=nested))
            )
        else:
            shown: dict[str, Any] = {"help": " ".join((info.description or "").split())}
            kind: Any = info.annotation
            if flag := NAMES.get((model.__name__, name)):
                shown["name"] = flag
            if NoneType in get_args(kind):
                optional = get_args(kind)[0]
                shown |= {"metavar": _metavar(optional), "help_behavior_hint": ""}
                if get_origin(optional) is Literal:
                    # tyro would offer None among the choices; the settings check the value.
                    kind = type(get_args(optional)[0]) | None
            elif kind is bool:
                # Otherwise both forms: a study's own value becomes the default, and the same command goes on with it.
                shown |= {"help_behavior_hint": ""}
                kind = tyro.conf.FlagCreatePairsOff[bool] if info.default else bool
            fields.append((name, Annotated[kind, tyro.conf.arg(**shown)], dataclasses.field(default=info.default)))
    made = dataclasses.make_dataclass(model.__name__, fields, frozen=True)
    made.__doc__ = (model.__doc__ or "").split("\n")[0]
    return made


def _metavar(kind: Any) -> str:
    """What stands for the value of an optional setting: its choices, or its type."""
    if get_origin(kind) is Literal:
        return f"{{{','.join(map(str, get_args(kind)))}}}"
    name: str = getattr(kind, "__origin__", kind).__name__
    return name.upper()


def filled(made: Any, document: dict[str, Any]) -> Any:
    """Flags whose defaults are the values of a document."""
    values = {}
    for field in dataclasses.fields(made):
        if field.name in document:
            value = document[field.name]
            if isinstance(value, dict):
                value = filled(type(getattr(made(), field.name)), value)
            values[field.name] = tuple(value) if isinstance(value, list) else value
    return made(**values)


def document_of(parsed: Any) -> dict[str, Any]:
    """The document of parsed flags, without what is None."""
    return {
        name: document_of(value) if dataclasses.is_dataclass(value) else value
        for name, value in ((field.name, getattr(parsed, field.name)) for field in dataclasses.fields(parsed))
        if value is not None
    }


def settings_document(path: Path) -> dict[str, Any]:
    """What a study file asks for.

    Raises:
        InputError: if it cannot be read, or names something that is not a setting.
    """
    document, notes = modernized(read_toml(path))
    for note in notes:
        LOG.warning("%s: %s", path, note)
    document.pop("digest", None)
    if "classes" in document:
        raise InputError(f"{path} belongs to a study that is trained from Python (ask and tell); go on with it there")
    return validated(EvolveSettings, document, str(path)).model_dump(mode="json")


def merged(base: EvolveSettings, given: Any) -> EvolveSettings:
    """The settings of parsed flags, over those that they began with."""
    kept, wished = base.model_dump(mode="json"), document_of(given)
    document = {**kept, **wished, "run": {**kept["run"], **wished["run"]}}
    return at_absolute_place(validated(EvolveSettings, document, None))


def at_absolute_place(settings: EvolveSettings) -> EvolveSettings:
    """The same settings with the path of the data made absolute, so that a study goes on from anywhere."""
    path = data_path(settings.data.source)
    return settings if path is None else with_data(settings, str(path.absolute()))
