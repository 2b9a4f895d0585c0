"""The settings of a whole study, and the TOML file that they live in."""

import json
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lossmith.data import DataSettings
from lossmith.errors import InputError
from lossmith.nets import ModelSettings
from lossmith.search import ObjectiveSettings, SearchSettings
from lossmith.training import Recipe

Settings = TypeVar("Settings", bound=BaseModel)


class RunSettings(BaseModel):
    """How candidates are trained and the winner is chosen."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    training: Literal[
        "auto",
        "plain",
        "population",
        "plain-channels-last",
        "plain-compiled",
        "plain-channels-last-compiled",
        "population-compiled",
    ] = "auto"
    """One network after another, all in one program, either of them compiled, or whichever a short measurement finds
    fastest."""

    replicates: int = Field(default=1, ge=1)
    """Networks trained for each candidate, with seeds of their own; the fitness is their mean."""

    partial: float = Field(default=1.0, gt=0, le=1, allow_inf_nan=False)
    """Partial training: share of the recipe's schedule after which a candidate is judged; finalists are trained in
    full."""

    prune_at: float | None = Field(default=None, gt=0, lt=1, allow_inf_nan=False)
    """Share of a candidate's training after which networks are given up that are at chance level on validation data, or
    no longer finite (default: none is); how many were is recorded. Where learning begins slowly, give 0.3 or more."""

    finalists: int = Field(default=5, ge=1)
    """The best candidates that are trained again, beside the search's mean, cross-entropy and tuned label smoothing."""

    finalist_seeds: int = Field(default=10, ge=2)
    """Fresh seeds that each finalist is trained with; the best mean wins."""

    chunk: int = Field(default=256, ge=1)
    """Most networks trained in one program; what a killed run can lose."""

    device: str = "cpu"
    """Where networks are trained: "cpu", "cuda", or "cuda:1"."""


class EvolveSettings(BaseModel):
    """Everything that decides the outcome of a study."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    recipe: Recipe = Recipe()
    search: SearchSettings = SearchSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    run: RunSettings = RunSettings()

    @property
    def is_attacked(self) -> bool:
        """Whether the study attacks images, so that it needs some."""
        return self.objective.is_attacked or self.recipe.adversary != "none"


def with_data(settings: EvolveSettings, place: str) -> EvolveSettings:
    """The same settings with the data at another place."""
    return settings.model_copy(update={"data": settings.data.model_copy(update={"source": place})})


def validated(model: type[Settings], document: dict[str, Any], source: str | None) -> Settings:
    """Settings from a document.

    Args:
        model: Which settings.
        document: Their values, as in JSON.
        source: What the document is, for messages; None for the flags of a command.

    Raises:
        InputError: one sentence that names the key and what is wrong with it.
    """
    try:
        return model.model_validate_json(json.dumps(document, default=lambda value: [str(value)]))
    except ValidationError as error:
        if source is None:
            raise InputError(first_problem(error, flags=True)) from None
        raise InputError(f"{source}: {first_problem(error)}") from None


def first_problem(error: ValidationError, flags: bool = False) -> str:
    """The first problem of a validation, as a sentence that names the key, or the flag of a command."""
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"there is no setting {key!r}; remove it or mend its name"
    given = problem["input"]
    shown = f" (it is {given!r})" if isinstance(given, str | int | float | bool | list) else ""
    message = problem["msg"][:1].lower() + problem["msg"][1:]
    if flags:
        named = [part for part in problem["loc"] if isinstance(part, str)]
        return f"--{named[-1].replace('_', '-')} is wrong{shown}: {message}" if named else message
    return f"the setting {key!r} is wrong{shown}: {message}"


def differences(wanted: dict[str, Any], stored: dict[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    """Settings in which two documents differ: (dotted key, wanted, stored)."""
    found: list[tuple[str, Any, Any]] = []
    for key in dict.fromkeys((*wanted, *stored)):
        ours, theirs = wanted.get(key), stored.get(key)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            found += differences(ours, theirs, f"{prefix}{key}.")
        elif ours != theirs:
            found.append((f"{prefix}{key}", ours, theirs))
    return found
