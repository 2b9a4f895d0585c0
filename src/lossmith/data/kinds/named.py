"""Several tensors for each sample, by names, which a network gets as a dict of tensors or as keyword arguments."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from lossmith.data.arrays import real_inputs
from lossmith.data.kinds.base import InputLayer, Kind
from lossmith.data.names import short, shown
from lossmith.errors import InputError

# Types that stay; other whole numbers become int64, and all others float32.
KEPT = (torch.bool, torch.uint8, torch.int64, torch.float32)
MOST_FIELDS = 1000


class Field(NamedTuple):
    """One of the tensors.

    Attributes:
        name: By which the network gets it.
        shape: Of one sample.
        dtype: One of ``KEPT``.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def width(self) -> int:
        """Numbers of a sample."""
        return math.prod(self.shape)


class Unpack(InputLayer):
    """Samples that :func:`packed` made one tensor of, as the tensors that they were.

    Args:
        fields: What is in it.

    Example:
        >>> one, fields = packed({"ids": torch.tensor([[1, 2]]), "size": torch.tensor([0.5])}, "inputs")
        >>> Unpack(fields)(one)
        {'ids': tensor([[1, 2]]), 'size': tensor([0.5000])}
    """

    def __init__(self, fields: tuple[Field, ...]) -> None:
        super().__init__()
        self.fields = fields

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """``[N, total]`` → name → ``[N, …]``."""
        if inputs.is_floating_point():
            raise InputError("dicts of tensors stay as they are: leave out what changes them, such as an attack")
        found, start = {}, 0
        for field in self.fields:
            values = inputs[:, start : start + field.width].reshape(len(inputs), *field.shape)
            start += field.width
            bits = field.dtype == torch.float32
            found[field.name] = values.to(torch.int32).view(torch.float32) if bits else values.to(field.dtype)
        return found


def packed(tensors: Mapping[str, Tensor], what: str) -> tuple[Tensor, tuple[Field, ...]]:
    """One tensor ``[N, total]`` of whole numbers that holds several, to be split and cut into batches as any other.

    Whole numbers and truth values stay; of floating ones, the bits of float32 are whole numbers, which nothing mixes,
    blurs or attacks.

    Args:
        tensors: By name, ``[N, …]`` each.
        what: The name by which the user knows them.

    Raises:
        InputError: If there are none, they have other lengths or names, or one holds no real numbers.
    """
    if not 0 < len(tensors) <= MOST_FIELDS:
        raise InputError(f"{what} is a dict of {len(tensors)} tensors: give 1 to {MOST_FIELDS}")
    nameless = [name for name in tensors if not isinstance(name, str) or not name]
    if nameless:
        raise InputError(f"{what} has the key {shown(short(repr(nameless[0])))}: give each tensor a name")
    fields, parts, count = list[Field](), list[Tensor](), -1
    for name, tensor in sorted(tensors.items()):
        called = f"{shown(short(name))} of {what}"
        if tensor.ndim == 0 or tensor.numel() == 0:
            raise InputError(f"{called} is empty (shape {list(tensor.shape)}): give a value for each sample")
        if count not in (-1, len(tensor)):
            raise InputError(
                f"{called} has {len(tensor)} samples, but {fields[0].name} has {count}: give as many of each"
            )
        count = len(tensor)
        values = _kept(tensor.detach().cpu(), called)
        fields.append(Field(name, tuple(values.shape[1:]), values.dtype))
        numbers = values.contiguous().view(torch.int32) if values.dtype == torch.float32 else values
        parts.append(numbers.to(torch.int64).reshape(count, -1))
    return torch.cat(parts, 1), tuple(fields)


def _kept(tensor: Tensor, what: str) -> Tensor:
    """A tensor in one of the types that stay."""
    if tensor.dtype in KEPT[:3]:
        return tensor
    if tensor.is_floating_point() or tensor.is_complex():
        return real_inputs(tensor, what)
    return tensor.to(torch.int64)


def _prepared(inputs: Tensor, what: str) -> Tensor:
    if inputs.dtype != torch.int64:
        raise InputError(f"{what} is one tensor of type {inputs.dtype}, and no dict: give tensors by their names")
    return inputs


NAMED = Kind(
    called="dicts of tensors",
    shapes=("a dict of [N, …]",),
    dimensions=(2,),
    prepare=_prepared,
    fit=lambda _: Unpack(()),
    plain=lambda: Unpack(()),
    unpack=Unpack,
)
