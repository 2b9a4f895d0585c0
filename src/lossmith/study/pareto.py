"""The front of a search: evaluated candidates that no other one beats in one figure without losing in another."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from lossmith.analysis import FIGURES, UNNAMED, Deciding
from lossmith.errors import InputError
from lossmith.io import json_bytes, read_json, write_all
from lossmith.losses import Loss, loss_document, read_loss_document
from lossmith.metrics import mean_of
from lossmith.schema import Document, conforming

# As databases of version 0.1 have it.
PRUNED = "dropped"
FILE, FILE_OF_0_1 = "pareto.json", "front.json"
# A hundred thousand candidates take half of it.
LARGEST_FRONT = 2**24
LARGEST_EXPORT = 2**28
NAME = re.compile(r"\d+-\d+\.json")
Row = Mapping[str, Any]
LOG = logging.getLogger("lossmith")
Pair = Annotated[list[float], Field(min_length=2, max_length=2)]


class Numbered(Document):
    """What names a candidate."""

    generation: int = Field(ge=0)
    member: int = Field(ge=0)


class FrontMember(Numbered):
    """A candidate that no other one beats, as ``pareto.json`` has it."""

    figures: dict[str, float]
    loss: dict[str, Any]


class Kept(Document):
    """Where the losses of a front come from."""

    digest: str
    settings: dict[str, Any]


class Front(Document):
    """What ``pareto.json`` must hold; what else it holds is handed on as it is."""

    figures: Annotated[list[str], Field(min_length=2, max_length=2)]
    candidates: list[Pair]
    front: Annotated[list[FrontMember], Field(min_length=1)]
    finalists: dict[str, Pair]
    provenance: Kept

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if any(set(row.figures) != set(self.figures) for row in self.front):
            raise ValueError("a candidate of the front has other figures")
        if len({(row.generation, row.member) for row in self.front}) < len(self.front):
            raise ValueError("a candidate of the front stands there twice")
        return self


class Origin(Numbered):
    """The candidate that an exported loss is."""

    kind: Literal["front"]


class ExportedFrom(Document):
    """Where an exported loss comes from."""

    digest: str
    origin: Origin


class Exported(Document):
    """What tells an exported loss from any other file."""

    provenance: ExportedFrom


def figure_pair(rows: Sequence[Row]) -> tuple[str, str] | None:
    """The two recorded figures that a front is drawn of: accuracy and another, or the first two; None if there is one.

    Args:
        rows: Stored candidates.
    """
    names = list(dict.fromkeys(name for row in rows if row["status"] == "ok" for name in row["figures"]))
    names = [name for name in names if name != PRUNED]
    ordered = sorted(names, key=lambda name: {"accuracy": 0, "robust-accuracy": 1}.get(name, 2))
    return (ordered[0], ordered[1]) if len(ordered) > 1 else None


def pareto_front(rows: Sequence[Row], first: str, second: str, by: Deciding = UNNAMED) -> list[dict[str, Any]]:
    """The candidates that are not dominated in two figures, with ``means``: their two figures.

    Higher is better, but of a metric that says otherwise. One candidate dominates another if it is at least
    as good in both figures and better in one; of equals, the earliest stays.

    Args:
        rows: Stored candidates.
        first: A recorded figure, or ``"fitness"``.
        second: Another.
        by: The metric of the study, which need not be registered.

    Returns:
        From the worst in the first figure to the best, so from the best in the second to the worst.

    Raises:
        InputError: if a figure was not recorded.
    """
    sound = [row for row in rows if row["status"] == "ok"]
    recorded = {name for row in sound for name in row["figures"]} | {"fitness"}
    for name in (first, second):
        if name not in recorded:
            raise InputError(f"the study has no figure {name!r}; recorded are {', '.join(sorted(recorded))}")
    known = having(rows, first, second)
    measured = [{**row, "means": (mean_figure(row, first), mean_figure(row, second))} for row in known]
    turned = by.direction(first), by.direction(second)

    def order(row: Row) -> tuple[float, float, int, int]:
        return -turned[0] * row["means"][0], -turned[1] * row["means"][1], row["generation"], row["member"]

    found: list[dict[str, Any]] = []
    for row in sorted(measured, key=order):
        if not found or order(row)[1] < order(found[-1])[1]:
            found.append(row)
    return found[::-1]


def having(rows: Sequence[Row], *names: str) -> list[Row]:
    """Sound candidates of which some figures are recorded and finite; what an older study stored has none."""
    return [row for row in rows if row["status"] == "ok" and all(mean_figure(row, name) is not None for name in names)]


def mean_figure(row: Row, name: str) -> float | None:
    """The mean of a stored candidate's or finalist's figure over its trainings; None if it is not known or finite."""
    return mean_of(row["scores"] if name == "fitness" else row["figures"].get(name, [None]))


def pareto_document(
    rows: Sequence[Row], finalists: Sequence[Row], build: Callable[[Row], Loss], provenance: Mapping[str, Any]
) -> dict[str, Any] | None:
    """What ``pareto.json`` holds, or None if the study recorded one figure only.

    Args:
        rows: Stored candidates.
        finalists: Stored finalists; their figures are means over fresh seeds.
        build: The loss of a stored candidate.
        provenance: That of the winner.
    """
    pair = figure_pair(rows)
    if pair is None or not having(rows, *pair):
        return None
    kept = {name: provenance[name] for name in ("digest", "settings", "training", "versions", "class_weight")}
    by = Deciding(**provenance["metric"])
    return {
        "figures": list(pair),
        "metric": by.to_json(),
        "candidates": [[mean_figure(row, name) for name in pair] for row in having(rows, *pair)],
        "front": [
            {
                "generation": row["generation"],
                "member": row["member"],
                "genome": row["genome"],
                "figures": dict(zip(pair, row["means"], strict=True)),
                "loss": build(row).to_json(),
            }
            for row in pareto_front(rows, *pair, by)
        ],
        "finalists": {row["name"]: [mean_figure(row, name) for name in pair] for row in having(finalists, *pair)},
        "provenance": kept,
    }


def has_pareto(directory: Path) -> bool:
    """Whether a study has written its front."""
    return _place(directory).exists()


def _place(directory: Path) -> Path:
    old = directory / FILE_OF_0_1
    return old if old.exists() and not (directory / FILE).exists() else directory / FILE


def read_pareto(directory: Path) -> dict[str, Any]:
    """The front of an ended study.

    Raises:
        InputError: if it has none.
    """
    path = _place(directory)
    if not path.exists():
        raise InputError(
            f"{directory} has no front: the study has not ended, or recorded one figure only; evolve with an "
            f"--metric other than accuracy, or with --record and one of {', '.join(FIGURES)}"
        )
    remedy = f"remove it and run lossmith evolve --out {quote(str(directory))} again"
    document: dict[str, Any] = read_json(path, LARGEST_FRONT, remedy)
    conforming(Front, document, str(path), remedy)
    return document


def export_pareto(directory: Path, place: Path) -> list[Path]:
    """Write each member of a study's front as a loss file ``GENERATION-MEMBER.json`` into a directory, all or none.

    Nothing is removed, and a file is replaced only by the same candidate of the same data; what else has such a name is
    told.

    Raises:
        InputError: if there is no front, another file has the name of one, or the files cannot be written.
    """
    document, contents = read_pareto(directory), dict[Path, bytes]()
    repeated, count = len(json_bytes(document["provenance"])), len(document["front"])
    if repeated * count > LARGEST_EXPORT:
        raise InputError(
            f"{_place(directory)} has a front of {count} candidates, and each of their files would repeat {repeated} "
            f"bytes of where it comes from, more than {LARGEST_EXPORT >> 20} MiB in all; take the losses from it "
            "without these"
        )
    for row in document["front"]:
        generation, member = row["generation"], row["member"]
        origin = {"kind": "front", **{key: value for key, value in row.items() if key not in ("kind", "loss")}}
        try:
            loss = Loss.from_json({**row["loss"], "name": f"candidate {generation}.{member}"})
        except InputError as error:
            raise InputError(f"{_place(directory)}, candidate {generation}.{member}: {error}") from None
        path = place / f"{generation}-{member}.json"
        kept = {key: value for key, value in document["provenance"].items() if key != "origin"}
        provenance = {"origin": origin, **kept}
        _check_replaced(path, provenance)
        contents[path] = json_bytes(loss_document(loss, provenance=provenance))
    made = [folder for folder in (place, *place.parents) if not folder.exists()]
    try:
        place.mkdir(parents=True, exist_ok=True)
        write_all(contents)
    except BaseException as error:
        for folder in made:
            if folder.exists() and not any(folder.iterdir()):
                folder.rmdir()
        if isinstance(error, OSError):
            raise InputError(f"{place} cannot be made: {error.strerror}; give another directory") from None
        raise
    others = sorted(path.name for path in place.glob("*.json") if NAME.fullmatch(path.name) and path not in contents)
    if others:
        LOG.warning("%s holds other files called like candidates, which are left there: %s", place, ", ".join(others))
    return list(contents)


def _check_replaced(path: Path, provenance: Mapping[str, Any]) -> None:
    """See that a file which is to be replaced is an earlier export of the same candidate.

    Raises:
        InputError: if it is anything else.
    """
    if not (path.exists() or path.is_symlink()):
        return
    try:
        found = conforming(Exported, read_loss_document(path), str(path), "")
        same = found.provenance.digest == provenance["digest"] and all(
            getattr(found.provenance.origin, key) == provenance["origin"][key] for key in ("generation", "member")
        )
    except InputError:
        same = False
    if not same:
        raise InputError(f"{path} is there already, and is no candidate of this study; give another directory")
