"""Losses that were evolved once and ship with their numbers, or that losses for noisy labels boil down to."""

from __future__ import annotations

import math

from lossmith.errors import InputError
from lossmith.losses.catalog import Parameter, catalogued, label_smoothing, power_loss
from lossmith.losses.power import PowerLoss

# The terms h^i y^j log^l h of φ and what each has for r = 1: of results/gentler.
NOISE_ROBUST: dict[tuple[float, int, int], float] = {
    (0, 0, 1): 4.3,
    (1, 1, 0): 12.0,
    (2, 0, 0): 12.0,
    (2, 1, 0): -12.0,
}


@catalogued(
    "noise-robust",
    "φ = y log h + √r ((4.3/n) log h + 12 (y h + (1 − y) h²))",
    "results/gentler of this project",
    Parameter("r", 0.4, "wrong labels"),
    by_classes=True,
)
def noise_robust(wrong: float, classes: int) -> PowerLoss:
    """A loss for noisy labels that nobody must search for.

    ``φ = y log h + √r ((4.3/n) log h + 12 (y h + (1 − y) h²))`` (results/gentler of this project), for n classes:
    label smoothing, MAE of the label, and a reward for confidence in any other class, the stronger the more labels are
    wrong. With r = 0 it is cross-entropy, whose learning rate it takes.

    Args:
        wrong: r, the share of wrong labels, from 0 to below 1, such as ``lossmith probe`` estimates.
        classes: n.

    Raises:
        InputError: if r is not a number from 0 to below 1, or n < 2.
    """
    if isinstance(wrong, bool) or not 0 <= wrong < 1:
        raise InputError(f"noise-robust takes the share of wrong labels, from 0 to below 1, not {wrong}")
    if classes < 2:
        raise InputError(f"noise-robust needs at least 2 classes, not {classes}")
    strength = math.sqrt(wrong)
    scaled = {term: strength * value / (classes if term == (0, 0, 1) else 1) for term, value in NOISE_ROBUST.items()}
    found = power_loss(f"noise-robust {wrong:g}", {(0, 1, 1): 1.0, **scaled})
    return PowerLoss(found.terms, found.coefficients, classes, found.name)


@catalogued(
    "smoothing-squares",
    "φ = ((1 − α) y + α/n) log h + w h²",
    "docs/label-noise.md of this project",
    Parameter("α", 0.5),
    by_classes=True,
    second=Parameter("w", 2.0),
)
def smoothing_squares(alpha: float, weight: float, classes: int) -> PowerLoss:
    """Label smoothing and a reward for confidence in whatever class, ``φ = ((1 − α) y + α/n) log h + w h²``.

    What losses evolved for noisy labels boil down to, written down by hand (docs/label-noise.md of this project), for n
    classes; tables call it label smoothing + Σh².

    Args:
        alpha: α, from 0 to below 1.
        weight: w.
        classes: n.

    Raises:
        InputError: if α is outside [0, 1), w not a finite number, or n < 2.
    """
    if not math.isfinite(weight):
        raise InputError(f"smoothing-squares takes a finite weight w of Σh², not {weight}")
    squares = power_loss("squares", {(2, 0, 0): float(weight)})
    return (label_smoothing(alpha, classes) + squares).named(f"label smoothing {alpha:g} + {weight:g} Σh²")
