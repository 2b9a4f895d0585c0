"""The front of a search: evaluated candidates that no other one beats in one figure without losing in another."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lossmith.analysis import FIGURES
from lossmith.errors import InputError
from lossmith.io import read_json
from lossmith.losses import Loss, save
from lossmith.metrics import direction, mean_of

# As databases of version 0.1 have it.
PRUNED = "dropped"
FILE, FILE_OF_0_1 = "pareto.json", "front.json"
NAME = re.compile(r"\d+-\d+\.json")
Row = Mapping[str, Any]


def figure_pair(rows: Sequence[Row]) -> tuple[str, str] | None:
    """The two recorded figures that a front is drawn of: accuracy and another, or the first two; None if there is one.

    Args:
        rows: Stored candidates.
    """
    names = list(dict.fromkeys(name for row in rows if row["status"] == "ok" for name in row["figures"]))
    names = [name for name in names if name != PRUNED]
    ordered = sorted(names, key=lambda name: {"accuracy": 0, "robust-accuracy": 1}.get(name, 2))
    return (ordered[0], ordered[1]) if len(ordered) > 1 else None


def pareto_front(rows: Sequence[Row], first: str, second: str) -> list[dict[str, Any]]:
    """The candidates that are not dominated in two figures, with ``means``: their two figures.

    Higher is better, but of a registered metric that says otherwise. One candidate dominates another if it is at least
    as good in both figures and better in one; of equals, the earliest stays.

    Args:
        rows: Stored candidates.
        first: A recorded figure, or ``"fitness"``.
        second: Another.

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
    turned = direction(first), direction(second)

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
    kept = {name: provenance[name] for name in ("digest", "settings", "training", "versions")}
    return {
        "figures": list(pair),
        "candidates": [[mean_figure(row, name) for name in pair] for row in having(rows, *pair)],
        "front": [
            {
                "generation": row["generation"],
                "member": row["member"],
                "genome": row["genome"],
                "figures": dict(zip(pair, row["means"], strict=True)),
                "loss": build(row).to_json(),
            }
            for row in pareto_front(rows, *pair)
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
            f"--objective other than accuracy, or with --record and one of {', '.join(FIGURES)}"
        )
    document: dict[str, Any] = read_json(path)
    if not {"figures", "candidates", "front", "finalists", "provenance"} <= document.keys():
        raise InputError(f"{path} is damaged; remove it and run lossmith evolve --out {directory} again")
    return document


def export_pareto(directory: Path, place: Path) -> list[Path]:
    """Write each member of a study's front as a loss file ``GENERATION-MEMBER.json`` into a directory.

    Files of such names that an earlier front left there are removed.

    Raises:
        InputError: if there is no front, or the files cannot be written.
    """
    document = read_pareto(directory)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{place} cannot be made: {error.strerror}; give another directory") from None
    paths = []
    for row in document["front"]:
        name = f"{row['generation']}-{row['member']}"
        origin = {"kind": "front", **{key: value for key, value in row.items() if key != "loss"}}
        loss = Loss.from_json({**row["loss"], "name": f"candidate {row['generation']}.{row['member']}"})
        paths.append(place / f"{name}.json")
        save(loss, paths[-1], provenance={"origin": origin, **document["provenance"]})
    for path in place.glob("*.json"):
        if NAME.fullmatch(path.name) and path not in paths:
            path.unlink()
    return paths
