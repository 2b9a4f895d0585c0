"""Which coordinates of a search mattered: how much of the spread of fitness each one explains by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# Groups of equal size that the places of a coordinate are cut into.
GROUPS, FEWEST = 5, 40


@dataclass(frozen=True)
class Importance:
    """Shares of the spread of fitness within generations.

    Args:
        shares: ``[D]``, of each coordinate alone; they need not sum to 1.
        chance: What a coordinate without any effect rarely exceeds.
        candidates: How many were looked at.
    """

    shares: Array
    chance: float
    candidates: int


def importance(candidates: Sequence[Mapping[str, Any]]) -> Importance | None:
    """What each coordinate explains of the order of fitness within its generation.

    Within a generation both are ranked, so neither the drift of a search nor an outlier counts. The ranks of the
    coordinate are cut into g = 5 groups, and ``ε² = (SS_between − (g − 1) MS_within) / SS_total`` (Kelley) is the share
    of the variance of the fitness ranks that the groups explain, less what chance gives.

    Args:
        candidates: Stored rows.

    Returns:
        None where genomes are no vectors, or fewer than 40 candidates can be ranked.
    """
    generations: dict[int, list[Mapping[str, Any]]] = {}
    for row in candidates:
        if row["fitness"] is not None:
            generations.setdefault(row["generation"], []).append(row)
    groups = [rows for rows in generations.values() if len(rows) > 1]
    rows = [row for group in groups for row in group]
    length = len(rows[0]["genome"]) if rows and isinstance(rows[0]["genome"], list) else 0
    if len(rows) < FEWEST or not length or not all(_is_vector(row["genome"], length) for row in rows):
        return None
    fitness = np.concatenate([_ranks(np.array([row["fitness"] for row in group])) for group in groups])
    places = np.concatenate([_ranks(np.array([row["genome"] for row in group], float)) for group in groups])
    total = float(((fitness - fitness.mean()) ** 2).sum())
    if total == 0:
        return None
    shares = np.array(
        [_explained(np.minimum((column * GROUPS).astype(int), GROUPS - 1), fitness, total) for column in places.T]
    )
    # Twice the standard deviation of ε² without any effect.
    chance = 2 * np.sqrt(2 * (GROUPS - 1)) / len(rows)
    return Importance(np.clip(shares, 0.0, 1.0), float(chance), len(rows))


def _is_vector(genome: Any, length: int) -> bool:
    return (
        isinstance(genome, list)
        and len(genome) == length
        and all(isinstance(value, int | float) and not isinstance(value, bool) for value in genome)
    )


def _ranks(values: Array) -> Array:
    """Ranks of each column in (0, 1); equal values share theirs by their order, which tells nothing."""
    order = values.argsort(0, kind="stable").argsort(0, kind="stable")
    ranks: Array = (order + 0.5) / len(values)
    return ranks


def _explained(groups: NDArray[np.int_], fitness: Array, total: float) -> float:
    counts = np.bincount(groups, minlength=GROUPS)
    means = np.bincount(groups, fitness, GROUPS) / np.maximum(counts, 1)
    between = float((counts * (means - fitness.mean()) ** 2).sum())
    used = int((counts > 0).sum())
    within = (total - between) / max(1, len(fitness) - used)
    return (between - (used - 1) * within) / total
