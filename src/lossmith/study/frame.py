"""Stored candidates as a table of pandas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lossmith.errors import InputError, installing
from lossmith.study.pareto import mean_figure

if TYPE_CHECKING:
    from pandas import DataFrame as DataFrame

FIRST = ("generation", "member", "status", "fitness", "error", "seconds", "exact", "published", "redrawn")


def frame(rows: Sequence[Mapping[str, Any]]) -> DataFrame:
    """A table of candidates, one in each row.

    Args:
        rows: As the store gives them.

    Raises:
        InputError: if pandas is not installed.
    """
    try:
        from pandas import DataFrame
    except ImportError:
        raise InputError(
            f"a table of the trials is one of pandas, which is not installed: {installing('tables')}; or take "
            "candidates(), a list"
        ) from None
    figures = list(dict.fromkeys(name for row in rows for name in row["figures"]))
    columns: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in FIRST}
    columns |= {name: [bool(row[name]) for row in rows] for name in ("exact", "published")}
    # A figure of the user's may be called as one of ours.
    columns |= {
        name if name not in FIRST else f"figures.{name}": [mean_figure(row, name) for row in rows] for name in figures
    }
    return DataFrame(columns | _genomes([row["genome"] for row in rows]))


def _genomes(genomes: Sequence[Any]) -> dict[str, list[Any]]:
    """The coordinates of vectors of equal length, a column for each; else the genomes themselves."""
    lengths = {len(genome) if isinstance(genome, list) else -1 for genome in genomes}
    are_numbers = all(
        isinstance(genome, list) and all(isinstance(value, int | float) for value in genome) for genome in genomes
    )
    if len(lengths) != 1 or not are_numbers:
        return {"genome": list(genomes)}
    return {f"x{place}": [genome[place] for genome in genomes] for place in range(lengths.pop())}
