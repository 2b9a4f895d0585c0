"""Flags of settings: tyro reads them into the settings' own models, which check all of them afterwards."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol, TypeVar, get_args, get_origin

import tyro
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from lossmith.analysis import costs_text
from lossmith.cli.arguments import parse
from lossmith.registry import Listed, Registry
from lossmith.search import counterpart
from lossmith.study import (
    OLD_FLAGS,
    OLD_SETTINGS,
    OLD_VALUES,
    EvolveSettings,
    at_absolute_place,
    check_named,
    flag,
    rechecked,
    without_own_metric,
)

LOG = logging.getLogger("lossmith")
Shown = Mapping[type[BaseModel], Sequence[str]]
Helps = Mapping[tuple[type[BaseModel], str], str]
PARTS = {info.annotation: name for name, info in EvolveSettings.model_fields.items()}
# --data and --model are called as they were: the names of these settings changed, their flags did not.
OLD = {
    f"--{old}": flag(part, new) for (part, old), new in OLD_SETTINGS.items() if f"--{old}" != flag(part, new)
} | OLD_FLAGS

VALUES = {flag(part, name): values for (part, name), values in OLD_VALUES.items()}


class HasSettings(Protocol):
    """A command with settings: a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def settings(self) -> EvolveSettings:
        """Of the study, or of the trainings."""


Command = TypeVar("Command", bound=HasSettings)
Begun = tuple[EvolveSettings, Path | None]
"""Settings to begin with, and the file that they come from."""
if TYPE_CHECKING:
    SettingsFlags = EvolveSettings
else:
    SettingsFlags = Annotated[EvolveSettings, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="")]


def read(
    command: type[Command],
    words: Sequence[str],
    name: str,
    base: Callable[[Command], Begun],
    shown: Shown | None = None,
    helps: Helps | None = None,
) -> Command:
    """The command of some words; settings that no flag gives are those of ``base``.

    Args:
        command: The command.
        words: What was typed.
        name: What the command is called.
        base: The settings to begin with, and the file that they come from, of the command as far as it stands in its
            own flags.
        shown: The settings that have flags, for models of which not all have one.
        helps: What the help says of settings that are of something else here than in a study.

    Raises:
        InputError: if a setting cannot be used, or a file names code of one's own that no flag names.
    """
    words, rules = modern(words), settings_rules(shown or {}, helps)
    # The first reading finds the files that the defaults of the second come from.
    given = parse(command, words, name, rules=rules)
    typed, (begun, file) = given.settings, base(given)
    if shown and "objective" not in shown.get(EvolveSettings, ("objective",)):
        begun = without_own_metric(begun)
    if file is None:
        flags = {word.partition("=")[0] for word in words}
        named = {part: getattr(typed.search, part) for part in ("engine", "space") if f"--{part}" in flags}
        begun = begun.model_copy(update={"search": begun.search.model_copy(update=counterpart(named))})
    if begun != EvolveSettings():
        given = parse(command, words, name, replace(command(), settings=begun), rules)
    settings = rechecked(given.settings)
    if file is not None:
        check_named(settings, typed.model.name, file, typed.objective.metric)
    return replace(given, settings=at_absolute_place(settings))


def modern(words: Sequence[str]) -> list[str]:
    """The words of a command with flags under today's names; each older one is told once."""
    found, notes = list[str](), dict[str, None]()
    for before, word in pairwise(["", *words]):
        name, equals, value = word.partition("=")
        if name in OLD:
            notes[f"{name} is called {OLD[name]} now"] = None
            name = OLD[name]
        values = VALUES.get(name if equals else before, {})
        last = value if equals else name
        if last in values:
            notes[f"{name if equals else before} {last} is called {values[last]} now"] = None
        found.append(name + equals + values.get(value, value) if equals else values.get(name, name))
    for note in notes:
        LOG.warning("%s", note)
    return found


def settings_rules(shown: Shown, helps: Helps | None = None) -> ConstructorRegistry:
    """How tyro makes settings: by a copy of the default, so that what has no flag stays as it is.

    The copy is not checked: tyro would show pydantic's many lines in a frame, where one sentence is wanted.
    """
    rules, texts = ConstructorRegistry(), helps or {}

    @rules.struct_rule
    def rule(info: StructTypeInfo) -> StructConstructorSpec | None:
        model, default = info.type, info.default
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return None
        names = shown.get(model, tuple(model.model_fields))

        def instantiate(**values: Any) -> Any:
            return default.model_copy(update=values)

        # What the whole model is for would be wrong of a part of it.
        instantiate.__doc__ = (model.__doc__ or "").split("\n")[0] if model not in shown else ""
        fields = [_field(model, name, getattr(default, name), texts.get((model, name))) for name in names]
        return StructConstructorSpec(instantiate, tuple(fields))

    return rules


def _field(model: type[BaseModel], name: str, default: Any, text: str | None = None) -> StructFieldSpec:
    info = model.model_fields[name]
    kind: Any = info.annotation
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        part: Any = Annotated[kind, tyro.conf.OmitArgPrefixes]
        return StructFieldSpec(name, part, default)
    shown: dict[str, Any] = {"help": _help(info) if text is None else text}
    shown["name"] = flag(PARTS.get(model, ""), name).removeprefix("--")
    names = _names(info.metadata)
    if NoneType in get_args(kind):
        # None stands for a flag that is not given, and is nothing to be typed; the settings check the choices.
        kind = get_args(kind)[0]
        # A matrix that a study holds is typed as text.
        default = costs_text(default) if kind is str and isinstance(default, tuple) else default
        shown |= {"metavar": _metavar(kind), "help_behavior_hint": ""}
        kind = (type(get_args(kind)[0]) if get_origin(kind) is Literal else kind) | None
    elif words := [part for part in get_args(kind) if get_origin(part) is Literal]:
        # A word or numbers: the settings tell them apart, in a sentence of their own.
        shown |= {"metavar": f"{_metavar(words[0])}|FLOAT ..."}
        kind, default = tuple[str, ...], (default,) if isinstance(default, str) else tuple(map(repr, default))
    elif get_origin(kind) is tuple:
        shown |= {"metavar": f"{_metavar(get_args(kind)[0])} ..."} | ({} if default else {"help_behavior_hint": ""})
    elif kind is bool:
        # Both forms in a study: its own value becomes the default, and the same command goes on with it.
        shown |= {"help_behavior_hint": ""}
        kind = tyro.conf.FlagCreatePairsOff[bool] if info.default and model not in PARTS else bool
    elif names:
        shown |= {"metavar": names}
    kind = Annotated[kind, tyro.conf.arg(**shown)]
    return StructFieldSpec(name, kind, default)


def _help(info: FieldInfo) -> str:
    """The text of a setting, with the names that are registered now."""
    text = " ".join((info.description or "").split())
    for mark in info.metadata:
        if isinstance(mark, Listed):
            text = text.replace("{names}", mark.names())
    return text


def _metavar(kind: Any) -> str:
    """What stands for a value: its choices, or its type."""
    if get_origin(kind) is Literal:
        return _choices(get_args(kind))
    if names := _names(getattr(kind, "__metadata__", ())):
        return names
    name: str = getattr(kind, "__origin__", kind).__name__
    return name.upper()


def _names(metadata: Iterable[Any]) -> str:
    """The names of the registry that a setting is of; empty if it is of none."""
    return "".join(_choices(one.names) for one in metadata if isinstance(one, Registry))


def _choices(values: Iterable[Any]) -> str:
    return f"{{{','.join(map(str, values))}}}"
