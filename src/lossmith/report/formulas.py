"""What a search over formulas went through: how large they were, what its filters rejected, and the best of each time.

The archive of an engine knows the gradients of all formulas that were drawn; what equals one of them is drawn again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossmith.losses.expressions import Tree, simplified, size, text_of, tree_of

# By which spaces write their genomes as formulas, and how they are called where they are no whole loss.
SPACES = {"expression": "", "expression-residual": "smoothed cross-entropy, and "}
TRAINED, KNOWN_REASONS = "trained", ("equivalent", "untrainable", "rehearsal")
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Formulas:
    """A search over formulas by generation, ``[G]``.

    Args:
        generations: From 1.
        sizes: Mean number of nodes of the candidates.
        best_sizes: That of the best formula so far; NaN before there is one.
        drawn: Numbers of draws by what came of them: "trained", or why they were rejected.
        records: Generation, fitness and text of each formula that was better than all before.
        added_to: What the formulas are added to, as a text begins; empty where they are the whole loss.
    """

    generations: Array
    sizes: Array
    best_sizes: Array
    drawn: dict[str, Array]
    records: list[tuple[int, float, str]]
    added_to: str = ""

    @property
    def hit_rate(self) -> Array:
        """The share of the draws of each generation whose gradient the archive held."""
        found: Array = self.drawn.get("equivalent", np.zeros(len(self.sizes))) / sum(self.drawn.values())
        return found

    def to_json(self) -> dict[str, Any]:
        """The figures of the whole search, and its best formula."""
        drawn = sum(float(counts.sum()) for counts in self.drawn.values())
        hits = float(self.drawn.get("equivalent", np.zeros(1)).sum())
        _, _, best = self.records[-1] if self.records else (0, 0.0, None)
        return {
            "best": None if best is None else self.added_to + best,
            "best_size": None if best is None else int(self.best_sizes[-1]),
            "mean_size": float(self.sizes[-1]),
            "drawn": int(drawn),
            "archive_hit_rate": hits / drawn,
        }


def formulas_of(
    settings: Mapping[str, Any] | None,
    candidates: Sequence[Mapping[str, Any]],
    rejected: Mapping[int, Mapping[str, int]],
) -> Formulas | None:
    """What a search went through; None for one that is not over formulas, or has no candidates.

    Args:
        settings: The stored settings of the study.
        candidates: Its stored candidates.
        rejected: What its filters rejected, by generation and reason.

    Raises:
        InputError: if a candidate is no formula.
    """
    space = (settings or {}).get("search", {}).get("space")
    if space not in SPACES or not candidates:
        return None
    count = 1 + max(row["generation"] for row in candidates)
    sizes: list[list[int]] = [[] for _ in range(count)]
    best_sizes = np.full(count, np.nan)
    records, best = list[tuple[int, float, str]](), -np.inf
    ordered = sorted(candidates, key=lambda row: (row["generation"], row["member"]))
    for row in ordered:
        tree: Tree = simplified(tree_of(row["genome"]))
        sizes[row["generation"]].append(size(tree))
        if row["fitness"] is not None and row["fitness"] > best:
            best = row["fitness"]
            # One of a generation: the last that was better.
            records = [one for one in records if one[0] != row["generation"] + 1]
            records.append((row["generation"] + 1, best, text_of(_rounded(tree))))
            best_sizes[row["generation"] :] = size(tree)
    drawn = {TRAINED: np.array([float(len(some)) for some in sizes])}
    reasons = dict.fromkeys((*KNOWN_REASONS, *(why for counts in rejected.values() for why in counts)))
    for why in reasons:
        counts = np.array([float(rejected.get(generation, {}).get(why, 0)) for generation in range(count)])
        if counts.any():
            drawn[why] = counts
    means = np.array([float(np.mean(some)) if some else np.nan for some in sizes])
    return Formulas(np.arange(1.0, count + 1), means, best_sizes, drawn, records, SPACES[space])


def _rounded(tree: Tree) -> Tree:
    """The same with numbers as people read them."""
    if isinstance(tree, tuple):
        return (tree[0], *map(_rounded, tree[1:]))
    return float(f"{tree:.4g}") if isinstance(tree, float) else tree
