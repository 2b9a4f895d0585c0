"""The versions of the loss for noisy labels that ships: three terms, as strong as labels are wrong."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lossmith.losses import PowerLoss, Term

# Of results/shipped: a, b and c where 40 % of the labels are wrong, p and d.
FIRST = (5.2, 14.0, 14.0, 1.0, 0.0)
AT = 0.4
# Of results/gentler: φ = y log h + √r ((4.3/n) log h + 12 (y h + (1 − y) h²)).
SECOND = (4.3 * AT**0.5, 12 * AT**0.5, 12 * AT**0.5, 0.5, 0.0)


def version(numbers: Sequence[float], wrong: float, classes: int) -> PowerLoss:
    """``φ = (y log h + s (a/n log h + b y h + c (1 − y) h²)) / (1 + d s)``, where s is (r/0.4)^p for a share r."""
    a, b, c, p, d = numbers
    s = (wrong / AT) ** p
    terms = (Term(0, 1, 1), Term(0, 0, 1), Term(1, 1, 0), Term(2, 0, 0), Term(2, 1, 0))
    coefficients = torch.tensor([1.0, *(s * one for one in (a / classes, b, c, -c))], dtype=torch.float64)
    return PowerLoss(terms, coefficients / (1 + d * s), None, "version")
