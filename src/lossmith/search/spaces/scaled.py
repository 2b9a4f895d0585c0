"""The losses of a space, with their scale as one more coordinate."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from lossmith.errors import InputError
from lossmith.losses import Loss, PowerLoss
from lossmith.search.spaces.base import Losses, Space, VectorSpace
from lossmith.search.spaces.terms import LARGEST_LOG_GAIN


def scaled(space: Space, name: str) -> VectorSpace:
    """A space of vectors with a first coordinate x0, by whose exponential the loss at the others is multiplied.

    For SGD, a loss times s trained at a rate is the loss trained at s times the rate (without weight decay, clipping
    and flooding): so a search finds the rate that suits a loss together with the loss.

    Args:
        space: The space.
        name: What messages call it.

    Raises:
        InputError: if its genomes are no vectors.
    """
    if not isinstance(space, VectorSpace):
        raise InputError(f"the search space {name!r} is none of vectors, so it has no scale; leave scale out")
    inverse = space.inverse

    def place(loss: Loss, classes: int) -> tuple[list[float], float] | None:
        found = inverse(loss, classes)
        return None if found is None or found[1] <= 0 else ([math.log(found[1]), *found[0]], 1.0)

    return VectorSpace((0.0, *space.start), space.sigma, Scaled(space.losses), place)


@dataclass(frozen=True)
class Scaled:
    """Turns points ``[P, 1 + D]`` into losses."""

    losses: Losses

    def __call__(self, theta: Tensor, classes: int) -> PowerLoss:
        """The losses at some points, for a number of classes."""
        loss = self.losses(theta[..., 1:], classes)
        if not isinstance(loss, PowerLoss):
            raise InputError(f"the loss {loss.name!r} is no sum of terms, so it has no scale; leave scale out")
        return loss * theta[..., 0].double().clamp(-LARGEST_LOG_GAIN, LARGEST_LOG_GAIN).exp()
