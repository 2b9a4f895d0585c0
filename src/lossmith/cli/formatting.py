"""Figures of networks and tests as commands tell them in text."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lossmith.metrics import Contrast, known


def spread_text(values: NDArray[np.float64], digits: int = 2, factor: float = 1.0) -> str:
    """Mean ± sample standard deviation of what networks ``[S]`` have, or a dash."""
    measured = factor * known(values)
    if not len(measured):
        return "–"
    spread = f" ± {measured.std(ddof=1):.{digits}f}" if len(measured) > 1 else ""
    return f"{measured.mean():.{digits}f}{spread}"


def p_text(contrasts: Sequence[Contrast], place: int, measure: str) -> str:
    """The corrected p of a loss in one measure, empty without a test."""
    return next((f"{one.holm:.2g}" for one in contrasts if (one.place, one.measure) == (place, measure)), "")


def tests_text(contrasts: Sequence[Contrast], names: Sequence[str], better: str, averaged: str) -> str:
    """What the p of a table are, or why there are none.

    Args:
        contrasts: The tests.
        names: Of the losses.
        better: What is tested that a loss is, compared with the first.
        averaged: What is averaged within a network.
    """
    if contrasts:
        return (
            f"p: one-tailed Welch that a loss is {better} than {names[0]}, Holm-corrected over all {len(contrasts)} "
            f"tests of this table; the unit is a network, its {averaged} averaged."
        )
    return "" if len(names) < 2 else "No tests: each needs two networks of both losses that have not diverged."


def networks_text(diverged: NDArray[np.bool_]) -> str:
    """How many networks the figures stand on, and how many have diverged."""
    lost = int(diverged.sum())
    return f"{len(diverged) - lost} ({lost} diverged)" if lost else str(len(diverged))
