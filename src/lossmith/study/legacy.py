"""Names of older versions: version 0.1 called some settings by the name of their part, and a few things otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lossmith.training import OLD_NAMES

OLD_SETTINGS = {
    ("data", "data"): "source",
    ("data", "white"): "max_pixel",
    ("model", "model"): "name",
    ("objective", "objective"): "metric",
    ("run", "hopeless"): "prune_at",
}
OLD_VALUES = {("run", "training"): OLD_NAMES}
OLD_COMMANDS = {"damage": "corruption"}
# Flags of no setting; those of a setting follow from OLD_SETTINGS.
OLD_FLAGS = {"--front": "--pareto"}

# Settings that older versions did not have, with their defaults: with these, stored runs are found as before.
LATER = {("data", "kind"): "auto", ("model", "normalize"): "auto"}


def modernized(document: Any) -> tuple[Any, list[str]]:
    """A document of settings under today's names, and a sentence for each name or value that was an older one.

    Where both names stand, the older one stays and the settings refuse it; so they do with what is no document at all.
    """
    if not isinstance(document, dict):
        return document, []
    found, notes = dict(document), list[str]()
    for (part, old), new in OLD_SETTINGS.items():
        settings = found.get(part)
        if isinstance(settings, dict) and old in settings and new not in settings:
            found[part] = {new if key == old else key: value for key, value in settings.items()}
            notes.append(f"the setting {part}.{old} is called {part}.{new} now")
    for (part, name), values in OLD_VALUES.items():
        settings = found.get(part)
        value = settings.get(name) if isinstance(settings, dict) else None
        if isinstance(value, str) and value in values:
            found[part] = {**found[part], name: values[value]}
            notes.append(f"{part}.{name} = {value} is called {values[value]} now")
    return found, notes


def original(part: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a part under the names of version 0.1, for what is identified by them."""
    names = {new: old for (of, old), new in OLD_SETTINGS.items() if of == part}
    return {names.get(key, key): value for key, value in settings.items()}


def identifying(part: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a part less those that came later and have their default, for what was identified without them."""
    return {key: value for key, value in settings.items() if LATER.get((part, key), object()) != value}
