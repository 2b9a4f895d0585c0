"""The settings of a whole study, and the TOML file that they live in."""

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from lossmith.data import DataSettings
from lossmith.errors import InputError
from lossmith.losses.files import write_whole
from lossmith.nets import ModelSettings
from lossmith.search import ObjectiveSettings, SearchSettings
from lossmith.training import Backend, Recipe

Settings = TypeVar("Settings", bound=BaseModel)


def _training(text: str) -> str:
    """The name of a backend as it is today, or "auto"."""
    return text if text == "auto" else str(Backend.parse(text))


class RunSettings(BaseModel):
    """How candidates are trained and the winner is chosen."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    training: Annotated[str, AfterValidator(_training)] = "auto"
    """How networks are run: "sequential", one after another; "population", all in one program, "mlp" where the network
    is a multilayer perceptron in float32, else "vmap"; "sequential-channels-last"; "sequential-compiled",
    "sequential-channels-last-compiled", "vmap-compiled"; or "auto", whichever a short measurement finds fastest."""

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


def read_toml(path: Path) -> dict[str, Any]:
    """The document of a TOML file.

    Raises:
        InputError: if there is no such file, or it is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; give the path of a study file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path} is not a TOML file: {error}") from None


def write_toml(document: dict[str, Any], path: Path) -> None:
    """Write a TOML file that appears whole or not at all; values that are None are left out.

    Raises:
        InputError: if the file cannot be written.
    """
    write_whole(tomli_w.dumps(_without_none(document)).encode(), path)


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
    # What a check of our own says is a sentence already.
    message = problem["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
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


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(part) for key, part in value.items() if part is not None}
    return list(value) if isinstance(value, tuple) else value
