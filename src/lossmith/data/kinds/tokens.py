"""Sequences of token ids, which stay whole numbers all the way to the network."""

import torch
from torch import Tensor

from lossmith.data.kinds.base import InputLayer, Kind
from lossmith.errors import InputError

# Beyond any vocabulary: an id that large is a hash or no id at all, and a table of so many rows fits into no memory.
MOST_IDS = 2**24


class Ids(InputLayer):
    """Token ids, handed on as int64."""

    def forward(self, inputs: Tensor) -> Tensor:
        """``[N, L]``.

        Raises:
            InputError: If they are no whole numbers any more.
        """
        if inputs.is_floating_point():
            raise InputError("token ids are whole numbers: leave out what changes them by little, such as an attack")
        return inputs.to(torch.int64)


def _prepared(ids: Tensor, what: str) -> Tensor:
    """``[N, L]`` of any type of whole numbers → int64."""
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise InputError(
            f"{what} holds values of type {ids.dtype}, but token ids are whole numbers: give them as int64"
        )
    low, high = int(ids.min()), int(ids.max())
    if low < 0:
        raise InputError(f"{what} holds the token id {low}, but ids are 0, 1, …: give padding an id of its own")
    if high >= MOST_IDS:
        raise InputError(f"{what} holds the token id {high}, more than any vocabulary has: number the tokens 0, 1, …")
    return ids.to(torch.int64)


TOKENS = Kind(
    called="tokens",
    shapes=("[N, length]",),
    dimensions=(2,),
    prepare=_prepared,
    fit=lambda _: Ids(),
    plain=Ids,
)
