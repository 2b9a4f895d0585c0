"""Images."""

from torch import Tensor

from lossmith.data.arrays import real_inputs
from lossmith.data.kinds.base import Kind
from lossmith.data.kinds.normalize import Normalize

CHANNELS = (1, 3, 4)


def channels_first(images: Tensor) -> Tensor:
    """``[N,H,W,C]`` → ``[N,C,H,W]`` where ``C`` is 1, 3 or 4 and dimension 1 is none of these; else unchanged."""
    if images.ndim == 4 and images.shape[3] in CHANNELS and images.shape[1] not in CHANNELS:
        return images.movedim(3, 1).contiguous()
    return images


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
)
