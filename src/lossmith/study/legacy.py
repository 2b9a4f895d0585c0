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
# Flags of no setting; those of a setting follow from OLD_SETTINGS.
OLD_FLAGS = {"--front": "--pareto"}

# Settings that older versions did not have, with their defaults: with these, stored runs are found as before.
LATER: dict[tuple[str, str], Any] = {
    ("data", "kind"): "auto",
    ("data", "target"): None,
    ("data", "drop"): [],
    ("data", "categories"): "one-hot",
    ("data", "missing"): "refuse",
    ("data", "padding_id"): None,
    ("data", "split"): "auto",
    ("data", "groups"): None,
    ("data", "noise"): "uniform",
    ("model", "normalize"): "auto",
    ("recipe", "class_weight"): "none",
    ("recipe", "sampling"): "uniform",
}

# What a study does that was begun without these settings: a label that was replaced could stay what it was, and all
# was trained at the recipe's rate.
BEFORE: dict[tuple[str, str], Any] = {("data", "noise"): "uniform", ("run", "tune"): False}


def modernized(document: Any, begun: bool = False) -> tuple[Any, list[str]]:
    """A document of settings under today's names, and a sentence for each name or value that was an older one.

    Where both names stand, the older one stays and the settings refuse it; so they do with what is no document at all.

    Args:
        document: The settings, in words.
        begun: Whether a study was begun with them: then what they do not say is what it was at that time. So it was if
            they hold the data's digest.
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
    if begun or "digest" in found:
        for (part, name), value in BEFORE.items():
            settings = found.get(part)
            # Without a rate, no noise was chosen.
            idle = part == "data" and not (isinstance(settings, dict) and settings.get("label_noise"))
            if isinstance(settings, dict) and name not in settings and not idle:
                found[part] = {**settings, name: value}
    return found, notes


def original(part: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a part under the names of version 0.1, for what is identified by them."""
    names = {new: old for (of, old), new in OLD_SETTINGS.items() if of == part}
    return {names.get(key, key): value for key, value in settings.items()}


def identifying(part: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a part less those that came later and have their default, for what was identified without them.

    A noise without a rate is none, and what a file of noise says is a part of the data's digest.
    """
    if part == "data" and not settings["label_noise"]:
        settings = {**settings, "noise": LATER["data", "noise"]}
    return {key: value for key, value in settings.items() if LATER.get((part, key), object()) != value}
