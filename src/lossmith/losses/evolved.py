"""Losses that were evolved once and ship with their numbers."""

from __future__ import annotations

from lossmith.errors import InputError
from lossmith.losses.catalog import Parameter, catalogued, power_loss
from lossmith.losses.power import PowerLoss

# The terms h^i y^j log^l h of φ and what each has for r = 1: of results/shipped.
NOISE_ROBUST: dict[tuple[float, int, int], float] = {
    (0, 0, 1): 13.0,
    (1, 1, 0): 35.0,
    (2, 0, 0): 35.0,
    (2, 1, 0): -35.0,
}


@catalogued(
    "noise-robust",
    "φ = y log h + r ((13/n) log h + 35 (y h + (1 − y) h²))",
    "results/shipped of this project",
    Parameter("r", 0.4, "wrong labels"),
    by_classes=True,
)
def noise_robust(wrong: float, classes: int) -> PowerLoss:
    """A loss for noisy labels that nobody must search for.

    ``φ = y log h + r ((13/n) log h + 35 (y h + (1 − y) h²))`` (results/shipped of this project), for n classes: label
    smoothing, MAE of the label, and a reward for confidence in any other class, as strong as labels are wrong. With
    r = 0 it is cross-entropy, whose learning rate it takes.

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
    scaled = {term: wrong * value / (classes if term == (0, 0, 1) else 1) for term, value in NOISE_ROBUST.items()}
    found = power_loss(f"noise-robust {wrong:g}", {(0, 1, 1): 1.0, **scaled})
    return PowerLoss(found.terms, found.coefficients, classes, found.name)
