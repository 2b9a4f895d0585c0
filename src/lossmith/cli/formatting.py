"""Figures of networks as commands tell them: text, JSON, and tests."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossmith.analysis.contrasts import Contrast


def numbers(values: NDArray[Any]) -> Any:
    """An array as nested lists for JSON, with null for what is not a finite number."""
    if values.ndim:
        return [numbers(value) for value in values]
    return values.item() if np.isfinite(values) else None


def moments(values: NDArray[np.float64]) -> dict[str, Any]:
    """Mean, sample standard deviation and number of what networks ``[S]`` have, for JSON, and the values."""
    known = values[np.isfinite(values)]
    return {
        "mean": float(known.mean()) if len(known) else None,
        "std": float(known.std(ddof=1)) if len(known) > 1 else None,
        "n": len(known),
        "values": numbers(values),
    }


def spread_text(values: NDArray[np.float64], digits: int = 2, factor: float = 1.0) -> str:
    """Mean ± sample standard deviation of what networks ``[S]`` have, or a dash."""
    known = factor * values[np.isfinite(values)]
    if not len(known):
        return "–"
    spread = f" ± {known.std(ddof=1):.{digits}f}" if len(known) > 1 else ""
    return f"{known.mean():.{digits}f}{spread}"


def p_text(contrasts: Sequence[Contrast], place: int, measure: str) -> str:
    """The corrected p of a loss in one measure, empty without a test."""
    return next((f"{one.holm:.2g}" for one in contrasts if (one.place, one.measure) == (place, measure)), "")


def tests_document(contrasts: Sequence[Contrast], names: Sequence[str]) -> list[dict[str, Any]]:
    """Every test, for JSON."""
    return [
        {
            "loss": names[one.place],
            "against": names[0],
            "measure": one.measure,
            "difference": one.result.difference,
            "interval": [one.result.low, one.result.high],
            "p": one.result.p,
            "holm": one.holm,
            "n": list(one.counts),
        }
        for one in contrasts
    ]


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
