"""Settings by the words of the command line: what is ``--label-noise 0.4`` there is ``label_noise=0.4`` here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from lossmith.errors import InputError
from lossmith.registry import nearest
from lossmith.search import counterpart
from lossmith.study import (
    EvolveSettings,
    at_absolute_place,
    check_effect,
    check_named,
    file_settings,
    flag,
    validated,
)

Place = tuple[str, str]


def places() -> dict[str, Place]:
    """Where each word of a setting stands: its part, and its name there."""
    found: dict[str, Place] = {}
    for part, info in EvolveSettings.model_fields.items():
        model = info.annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        for name in model.model_fields:
            found[flag(part, name).removeprefix("--").replace("-", "_")] = (part, name)
    return found


def settings_of(words: Mapping[str, Any], out: Path | None, call: str = "evolve") -> EvolveSettings:
    """Settings of some words; those that are not given come from the study in a directory, if it has begun.

    Args:
        words: Values by their words.
        out: The directory; None where there is no study.
        call: What was called.

    Raises:
        InputError: if there is no such word, or a value cannot be used.
    """
    known, stored = places(), None if out is None else out / "study.toml"
    begun, goes_on = EvolveSettings(), stored is not None and stored.exists()
    if stored is not None and goes_on:
        begun = file_settings(stored)
        # A file is data: code that it names must be named, or given, by the user.
        named = {word: words.get(word) for word in ("model", "metric")}
        check_named(begun, named["model"], stored, named["metric"])
    document = begun.model_dump(mode="json")
    if not goes_on:
        document["search"] |= counterpart(words)
    for word, value in words.items():
        if word not in known:
            raise unknown_word(word, known, call)
        part, name = known[word]
        document[part][name] = plain(value)
    settings = at_absolute_place(validated(EvolveSettings, document, None))
    if not goes_on:
        check_effect(settings)
    return settings


def unknown_word(word: str, known: Iterable[str], call: str = "evolve") -> InputError:
    """What to say of a word that names no setting."""
    return InputError(
        f"lossmith.{call} takes no {word}{nearest(word, known)}; the words are those of lossmith {call} --help-all, "
        "with underscores"
    )


def plain(value: Any) -> Any:
    """A value as JSON has it: a sequence as a list, a number of NumPy or PyTorch as one of Python, a path as text."""
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, tuple | list) else value
