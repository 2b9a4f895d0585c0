"""The loss of a space that is nearest to one which the space does not hold."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from lossmith.losses import Loss
from lossmith.search import Genome, VectorSpace

SAMPLES, SPREAD = 256, 2.0
# A loss that is nearer at a scale beyond would be trained at a learning rate far from its own.
LARGEST_LOG_SCALE = math.log(10)


def nearest(loss: Loss, space: VectorSpace, classes: int) -> tuple[Genome, float, float]:
    """The point of a space whose loss pulls most like a given one, up to a factor from 0.1 to 10.

    What is compared is the gradient over the logits, at 256 outputs whose logits are normal with deviation 2, by least
    squares over the point and the factor, from where the search of the space begins.

    Args:
        loss: One loss.
        space: Where the nearest one is looked for.
        classes: n.

    Returns:
        The point; the factor by which the loss there is multiplied to be like the given one; and the length of the
        difference of the gradients as a share of the length of the given ones.
    """
    # It takes a while to import, and is seldom needed.
    from scipy.optimize import least_squares

    random = torch.Generator().manual_seed(0)
    logits = SPREAD * torch.randn(SAMPLES, classes, generator=random, dtype=torch.float64)
    targets = torch.arange(SAMPLES) % classes
    wanted = loss.logit_gradient(logits, targets).numpy()
    length = float(np.linalg.norm(wanted)) or 1.0

    def difference(point: NDArray[np.float64]) -> NDArray[np.float64]:
        found = space.build([point[1:].tolist()], classes)[0].logit_gradient(logits, targets).numpy()
        values: NDArray[np.float64] = ((math.exp(point[0]) * found - wanted) / length).ravel()
        return values

    edges = np.array([LARGEST_LOG_SCALE, *(math.inf for _ in space.start)])
    best = least_squares(difference, np.array([0.0, *space.start]), bounds=(-edges, edges))
    return best.x[1:].tolist(), math.exp(best.x[0]), float(np.linalg.norm(best.fun))
