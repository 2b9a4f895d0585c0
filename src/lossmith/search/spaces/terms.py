"""Losses of spaces from the terms of φ."""

import torch
from torch import Tensor

from lossmith.losses import Loss, PowerLoss, Term

# The search can walk anywhere, and the exponential of a coordinate must stay a finite coefficient.
LARGEST_LOG_GAIN = 30.0


def terms_of(loss: Loss) -> dict[tuple[float, int, int], float] | None:
    """Coefficients of the terms of φ that act, by their exponents; None of what is no single sum of terms."""
    if not isinstance(loss, PowerLoss) or loss.shape:
        return None
    acting = loss.acting()
    values = zip(acting.terms, acting.coefficients.tolist(), strict=True)
    return {(term.h, term.y, term.log): value for term, value in values}


def from_terms(phi: dict[tuple[float, int, int], Tensor], classes: int, name: str) -> PowerLoss:
    """The loss of the terms ``h^i y^j log^l h`` by their exponents, with coefficients ``[*P]``."""
    return PowerLoss(tuple(Term(*term) for term in phi), torch.stack(list(phi.values()), -1), classes, name)
