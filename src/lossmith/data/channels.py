"""Grey from colour and colour from grey, for images of any source."""

import logging

import torch
from torch import Tensor

from lossmith.errors import InputError

BLOCK = 4096
LUMA = (0.299, 0.587, 0.114)
# The same weights in 1/65536, as Pillow rounds them, so that a uint8 image becomes what its "L" would be.
LUMA_16 = (19595, 38470, 7471)
_LOG = logging.getLogger("lossmith")


def with_channels(images: Tensor, channels: int, what: str) -> Tensor:
    """Images with 1 or 3 channels; the same tensor if they have these already.

    Grey is the luma of ITU-R BT.601, ``0.299 R + 0.587 G + 0.114 B``, rounded for uint8; colour is grey three times.
    A fourth channel (alpha) is left out, and that is told where it differs from pixel to pixel.

    Args:
        images: ``[N,C,H,W]``, uint8 or float32, C = 1, 3 or 4.
        channels: 1 or 3.
        what: The name by which the user knows them.

    Returns:
        ``[N,channels,H,W]``, of the same type.

    Raises:
        InputError: If they have another number of channels.
    """
    present = images.shape[1]
    if present == channels:
        return images
    if present not in (1, 3, 4):
        raise InputError(
            f"channels is {channels}, but {what} has images of {present} channels, and only 1 (grey), 3 (colour) or "
            "4 (colour and alpha) can be converted: leave --channels out"
        )
    if present == 4 and bool((images[:, 3] != images[0, 3, 0, 0]).any()):
        _LOG.warning("the fourth channel (alpha) of %s, which differs from pixel to pixel, is left out", what)
    if channels == 3:
        return images.expand(-1, 3, -1, -1).contiguous() if present == 1 else images[:, :3].contiguous()
    return torch.cat([_luma(block) for block in torch.split(images, BLOCK)])


def _luma(images: Tensor) -> Tensor:
    if images.dtype != torch.uint8:
        weights = torch.tensor(LUMA, dtype=images.dtype, device=images.device)
        return torch.einsum("nchw,c->nhw", images[:, :3], weights).unsqueeze(1)
    whole = torch.tensor(LUMA_16, dtype=torch.int32, device=images.device).reshape(3, 1, 1)
    weighted = (images[:, :3].to(torch.int32) * whole).sum(dim=1, keepdim=True, dtype=torch.int32)
    return ((weighted + (1 << 15)) >> 16).to(torch.uint8)
