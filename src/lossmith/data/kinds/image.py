"""Images."""

import torch
from torch import Tensor

from lossmith.data.arrays import real_inputs
from lossmith.data.kinds.base import Kind
from lossmith.data.kinds.normalize import Normalize

CHANNELS = (1, 3, 4)


def channels_first(images: Tensor) -> Tensor:
    """``[N,H,W,C]`` → ``[N,C,H,W]`` where the channels are last by :func:`_are_last`; else unchanged."""
    return images.movedim(3, 1).contiguous() if _are_last(images.shape) else images


def _are_last(shape: torch.Size) -> bool:
    """Whether the channels of images are the last dimension.

    They are where that is 1, 3 or 4 and dimension 1 is not, and where images are square in this reading alone and have
    fewer channels than rows.
    """
    if len(shape) != 4:
        return False
    _, first, second, last = shape
    return (last in CHANNELS and first not in CHANNELS) or (first == second and last < first)


def _told(shape: torch.Size) -> str | None:
    """How images are read whose layout does not follow from 1, 3 or 4 channels at one end and from square images."""
    if len(shape) != 4:
        return None
    _, first, second, last = shape
    usual = (first in CHANNELS, last in CHANNELS)
    square = (second == last, first == second)
    turn = _are_last(shape)
    alone = square[turn] and not square[not turn]
    against = square[not turn] and not square[turn]
    if usual[turn] > usual[not turn] and not against:
        return None
    if not turn and usual[0] >= usual[1] and (alone or (first < min(second, last) and not any(usual))):
        return None
    channels, height, width = (last, first, second) if turn else (first, second, last)
    remedy = (
        "if they are [N, channels, height, width], give them in Python (Source.from_tensors), which turns nothing"
        if turn
        else "if the channels are last, save numpy.moveaxis(x, -1, 1)"
    )
    return f"{channels} channels of {height} × {width} pixels (height × width); {remedy}"


def _prepared(images: Tensor, what: str) -> Tensor:
    """``[N,H,W]`` (one channel) or ``[N,C,H,W]`` → ``[N,C,H,W]``, uint8 or float32."""
    numbers = real_inputs(images, what)
    return numbers.unsqueeze(1) if numbers.ndim == 3 else numbers


IMAGE = Kind(
    called="images",
    shapes=("[N, height, width]", "[N, channels, height, width]"),
    dimensions=(3, 4),
    prepare=_prepared,
    fit=Normalize.fit,
    recognized=True,
    from_file=channels_first,
    read_as=_told,
)
