"""Losses of spaces from the terms of φ."""

import torch
from torch import Tensor

from lossmith.losses import PowerLoss, Term

# The search can walk anywhere, and the exponential of a coordinate must stay a finite coefficient.
LARGEST_LOG_GAIN = 30.0


def from_terms(phi: dict[tuple[float, int, int], Tensor], classes: int, name: str) -> PowerLoss:
    """The loss of the terms ``h^i y^j log^l h`` by their exponents, with coefficients ``[*P]``."""
    return PowerLoss(tuple(Term(*term) for term in phi), torch.stack(list(phi.values()), -1), classes, name)
