"""Normalisation as a layer, so that data stays uint8 on the device and attacks work in the data's own units."""

from collections.abc import Callable, Iterator
from typing import Self

import torch
from torch import Tensor

from lossmith.data.kinds.base import InputLayer
from lossmith.errors import InputError

# 16 MiB in float64, so that the whole data is never there in that type.
_CHUNK_ELEMENTS = 1 << 21


class Normalize(InputLayer):
    """``(x − mean) / std``, for each channel of ``[N,C,H,W]`` or each feature of ``[N,F]``.

    Args:
        mean: ``[C,1,1]`` or ``[F]``.
        std: Like ``mean``; positive.

    Example:
        >>> Normalize.fit(torch.tensor([[0, 7], [2, 7]], dtype=torch.uint8))(torch.tensor([[2, 7]], dtype=torch.uint8))
        tensor([[1., 0.]])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.to(torch.float32))
        self.register_buffer("std", std.to(torch.float32))

    @classmethod
    def fit(cls, inputs: Tensor) -> Self:
        """Layer with the statistics of the training inputs.

        Mean and (population) standard deviation are computed in float64, a chunk of samples at a time. What is constant
        gets the standard deviation 1, so that it becomes 0.

        Args:
            inputs: ``[N,C,H,W]`` (for each channel) or any other ``[N, …]`` (for each feature); uint8 or floating.

        Raises:
            InputError: If something differs by so little that float32 cannot divide it by its standard deviation.
        """
        reduced = (0, 2, 3) if inputs.ndim == 4 else (0,)
        total = _total(inputs, lambda chunk: chunk.sum(reduced, keepdim=True))
        count = inputs.numel() // total.numel()
        mean = total / count
        variance = _total(inputs, lambda chunk: (chunk - mean).square().sum(reduced, keepdim=True)) / count
        # After rounding, the variance of a constant need not be 0.
        low, high = inputs.amin(reduced, keepdim=True), inputs.amax(reduced, keepdim=True)
        std = variance.sqrt().to(torch.float32)
        constant = low == high
        if bool((~constant & (std < torch.finfo(torch.float32).tiny)).any()):
            least = float(std[~constant].min())
            raise InputError(
                f"the inputs have a channel or feature whose standard deviation is {least:g}, too small for float32: "
                "multiply its values"
            )
        return cls(mean[0], torch.where(constant, torch.ones_like(std), std)[0])

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs ``[N, …]`` of any real type, normalised, in the type of the layer's buffers."""
        return (inputs.to(self.mean.dtype) - self.mean) / self.std


def _chunks(inputs: Tensor) -> Iterator[Tensor]:
    samples = max(1, _CHUNK_ELEMENTS // max(1, inputs.shape[1:].numel()))
    return (chunk.to(torch.float64) for chunk in torch.split(inputs, samples))


def _total(inputs: Tensor, statistic: Callable[[Tensor], Tensor]) -> Tensor:
    """Sum of a statistic over the chunks, in float64."""
    chunks = _chunks(inputs)
    total = statistic(next(chunks))
    for chunk in chunks:
        total = total + statistic(chunk)
    return total
