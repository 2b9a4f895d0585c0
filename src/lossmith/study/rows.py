"""The rows of a study's database: their shapes, how values stand in them, and the checksum that each one carries."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from lossmith.errors import InputError
from lossmith.io import checked_values, parsed_json
from lossmith.schema import Document, conforming

Count = Annotated[int, Field(ge=0, lt=2**63)]
Flag = Annotated[int, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]
Figures = list[float | None]
LONGEST_ERROR = 500
ErrorLine = Annotated[str, Field(max_length=LONGEST_ERROR)]
Row = dict[str, Any]

ENCODED = {"candidate": ("genome", "scores", "figures"), "finalist": ("origin", "loss", "scores", "figures")}
REAL = ("fitness", "mean", "seconds")
# Version 1 had no other figures, no version before 5 an error, and version 2 called a genome theta.
OLD_COLUMNS = {"theta": "genome"}
ENCODER = json.JSONEncoder(allow_nan=False)


class CandidateRow(Document):
    """A candidate and what came of it."""

    generation: Count
    member: Count
    genome: Any
    status: Literal["ok", "untrainable", "diverged", "failed", "pruned"]
    fitness: float | None
    scores: Figures
    exact: Flag
    published: Flag
    redrawn: Count
    seconds: Seconds
    figures: dict[str, Figures]
    error: ErrorLine | None


class OriginOfFinalist(Document):
    """Where a finalist comes from."""

    kind: str


class FinalistRow(Document):
    """A finalist and what came of it."""

    stage: str
    rank: Count
    name: str
    origin: OriginOfFinalist
    loss: dict[str, Any]
    status: Literal["ok", "diverged", "failed"]
    mean: float | None
    scores: Figures
    seconds: Seconds
    figures: dict[str, Figures]
    error: ErrorLine | None


class SearchOfSettings(Document):
    """What is used of a search's settings before they are compared with those that are wanted."""

    population: Annotated[int, Field(ge=1, lt=2**63)]
    generations: Annotated[int, Field(ge=1, lt=2**63)]


class StoredSettings(Document):
    """The settings of a study."""

    search: SearchOfSettings
    data: dict[str, Any] | None = None
    model: dict[str, Any] | None = None
    recipe: dict[str, Any] | None = None
    objective: dict[str, Any] | None = None
    run: dict[str, Any] | None = None


class StoredTraits(Document):
    """Direction and unit of a metric."""

    higher_is_better: bool
    share: bool


class StoredObjective(Document):
    """The name of the function that is the objective; None for that of the settings.

    Of a metric of the user's own, its direction and unit; and whether early stopping and pruning go by the metric.
    """

    function: str | None
    metric: StoredTraits | None = None
    watched: bool = False


class StoredData(Document):
    """What the data was when the study began."""

    name: str
    shape: list[Count]
    classes: Count
    class_names: list[str] | None
    train: Count
    validation: Count
    test: Count
    wrong_labels: dict[Literal["train", "validation"], float] = Field(default_factory=dict)


class StoredBreakdown(Document):
    """How a search ended before its last generation."""

    generation: Count
    why: str


class StoredRate(Document):
    """The learning rate of a search, where it was tuned."""

    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class StoredEntry(Document):
    """A known loss as it was tuned."""

    name: str
    origin: OriginOfFinalist
    loss: dict[str, Any]
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None
    fitness: float | None


class Chosen(Document):
    """A backend, as it was measured or set; version 0.1 called it a way."""

    backend: str = ""
    way: str = ""


class StoredPace(Document):
    """Where a study trains that was begun with the executor auto; what a batch of one network takes a worker."""

    executor: Literal["local", "processes"]
    chunk: Annotated[int, Field(ge=1, lt=2**63)]
    seconds: Seconds | None = None


SETTINGS: dict[str, Any] = {
    "settings": StoredSettings,
    "objective": StoredObjective,
    "data": StoredData,
    "versions": dict[str, str],
    "breakdown": StoredBreakdown,
    "rate": StoredRate,
    "known losses": list[StoredEntry],
    "untuned": bool,
    "code": dict[str, str],
    "training seconds": Annotated[float, Field(ge=0)],
    "first candidates": list[Any],
    "queued candidates": dict[Annotated[str, Field(pattern=r"^[0-9]{1,7}$")], list[Any]],
    "start": list[float] | None,
    "checked": dict[str, list[str]],
    "backend": dict[str, Chosen],
    "way": Chosen,
    "executor": StoredPace,
}
SHAPES: dict[str, Any] = {"candidate": CandidateRow, "finalist": FinalistRow}
COLUMNS = {
    "setting": ("name", "value"),
    "candidate": tuple(CandidateRow.model_fields),
    "finalist": tuple(FinalistRow.model_fields),
    "run": ("comparison", "chunk", "result", "seconds"),
}


def checksum(row: Mapping[str, Any]) -> str:
    """What a row is known to be whole by: a digest of its values as they are stored.

    The seconds that it took are left out: they are no result, and differ where all else of two studies is equal. So is
    an error where there is none, which rows of older versions do not have.
    """
    left_out = {"seconds", "checksum"} if row.get("error") is not None else {"seconds", "checksum", "error"}
    values = [value for name, value in row.items() if name not in left_out]
    return hashlib.blake2b(json.dumps(values).encode(), digest_size=8).hexdigest()


def encoded(table: str, row: Mapping[str, Any]) -> Row:
    """A row as it is stored, with its checksum; ``figures`` and ``error`` may be left out.

    Raises:
        InputError: if it has another shape.
    """
    whole: Row = {"figures": {}, "error": None, **row} if table in SHAPES else dict(row)
    if table in SHAPES:
        conforming(SHAPES[table], whole, f"what is to be stored of {called(table, whole)}", "nothing of it is stored")
    for name in ENCODED.get(table, ()):
        whole[name] = json_of(whole[name], called(table, whole))
    for name in REAL:
        if whole.get(name) is not None:
            # SQLite has no negative zero.
            whole[name] = float(whole[name]) + 0.0
    stored = {name: whole[name] for name in COLUMNS[table]}
    return {**stored, "checksum": checksum(stored)}


def json_of(value: Any, what: str) -> str:
    """A value of JSON as text.

    Raises:
        InputError: if it is none.
    """
    try:
        return ENCODER.encode(checked_values(value))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{what} cannot be stored ({error}); give values of JSON with finite numbers") from None


def decoded(table: str, row: Row, sealed: bool, path: Any) -> Row:
    """A row as it was before it was stored.

    Args:
        table: Whose it is.
        row: What the database has.
        sealed: Whether it carries a checksum, as those of schema version 4.
        path: The database, for messages.

    Raises:
        InputError: if it is not what was stored.
    """
    whole = {OLD_COLUMNS.get(name, name): value for name, value in row.items()}
    if sealed and whole.pop("checksum", None) != checksum(whole):
        raise damaged(path, f"{called(table, whole)} is not what was stored, its checksum says")
    if table in SHAPES:
        whole = {"figures": "{}", "error": None, **whole}
    if whole.keys() != set(COLUMNS[table]):
        raise damaged(path, f"a column of the table {table} has another name")
    for name in ENCODED.get(table, ()):
        whole[name] = value_of(whole[name], f"a value of {called(table, whole)}", path)
    if table in SHAPES:
        conforming(SHAPES[table], whole, f"{path} ({called(table, whole)})", REMEDY)
    return whole


def value_of(text: Any, what: str, path: Any) -> Any:
    """The value of a JSON text.

    Raises:
        InputError: if it is none.
    """
    try:
        return parsed_json(text)
    except (TypeError, ValueError, RecursionError):
        raise damaged(path, f"{what} is not JSON") from None


def setting_of(name: str, value: Any, path: Any) -> Any:
    """A stored setting, whose shape is known by the first word of its name.

    Raises:
        InputError: if it has another shape.
    """
    kind = SETTINGS.get(name.partition(" of ")[0])
    if kind is not None:
        conforming(kind, value, f"{path} (what it holds as {name!r})", REMEDY)
    return value


REMEDY = "restore a copy or start in another directory"


def damaged(path: Any, problem: str) -> InputError:
    """The sentence about a database that does not hold what was stored."""
    return InputError(f"{path} is damaged ({problem}); {REMEDY}")


def called(table: str, row: Mapping[str, Any]) -> str:
    """What messages call a row."""
    if table == "candidate":
        return f"candidate {row.get('member')} of generation {row.get('generation')}"
    if table == "finalist":
        return f"finalist {row.get('rank')} of the stage {row.get('stage')!r}"
    return "a setting" if table == "setting" else "a record of an analysis"
