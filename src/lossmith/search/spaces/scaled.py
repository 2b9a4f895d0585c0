"""The losses of a space, with their scale as one more coordinate."""

from __future__ import annotations

import math
from dataclasses import replace

from torch import Tensor

from lossmith.errors import InputError
from lossmith.losses import Clipped, Loss, PowerLoss, Schedule, Sharpened, Sum
from lossmith.search.spaces.base import Space, VectorSpace
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
    plain = space

    def times(loss: Loss, factor: Tensor) -> Loss:
        if isinstance(loss, Schedule):
            return replace(loss, losses=tuple(times(one, factor) for one in loss.losses))
        if isinstance(loss, Clipped | Sharpened):
            return loss.of(times(loss.base, factor))
        if isinstance(loss, Sum):
            return replace(loss, weights=loss.weights * factor[..., None])
        if not isinstance(loss, PowerLoss):
            raise InputError(f"the loss {loss.name!r} is no sum of terms, so it has no scale; leave scale out")
        return loss * factor

    def losses(theta: Tensor, classes: int) -> Loss:
        factor = theta[..., 0].double().clamp(-LARGEST_LOG_GAIN, LARGEST_LOG_GAIN).exp()
        return times(plain.losses(theta[..., 1:], classes), factor)

    def place(loss: Loss, classes: int) -> tuple[list[float], float] | None:
        found = plain.inverse(loss, classes)
        return None if found is None else ([math.log(found[1]), *found[0]], 1.0)

    return VectorSpace((0.0, *plain.start), plain.sigma, losses, place)
