"""Samples that somebody holds in memory or in a PyTorch dataset, as tensors."""

from collections.abc import Sized
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lossmith.data.arrays import tensor_from_numpy
from lossmith.data.kinds import turned
from lossmith.errors import InputError

Pair = tuple[Any, Any]
# Modes of Pillow with a palette.
INDEXED = ("P", "PA")


class Samples(NamedTuple):
    """Inputs and labels of one part as they were given, and what the user calls them."""

    inputs: Tensor | None
    targets: Tensor | None
    inputs_name: str
    targets_name: str

    @classmethod
    def of(cls, pair: Pair | None, inputs_name: str, targets_name: str) -> Self | None:
        """The samples of a pair, if there is one."""
        if pair is None:
            return None
        named = zip(pair, (inputs_name, targets_name), strict=True)
        inputs, targets = (None if value is None else as_tensor(value, name) for value, name in named)
        return cls(inputs, targets, inputs_name, targets_name)


def pair_of(given: Pair | None, what: str) -> Pair | None:
    """A pair of inputs and labels, or nothing.

    Raises:
        InputError: If it is something else.
    """
    if given is not None and (not isinstance(given, tuple | list) or len(given) != 2):
        raise InputError(f"{what} is no pair: give (inputs, targets)")
    return given


def check_both(part: Samples | None) -> None:
    """Raise InputError if a part has inputs without labels, or labels without inputs."""
    if part is None or (part.inputs is None) == (part.targets is None):
        return
    names = (part.inputs_name, part.targets_name)
    given, absent = names if part.targets is None else names[::-1]
    raise InputError(f"there is {given} without {absent}: give both of them or neither")


def stacked_dataset(dataset: Dataset[Any], what: str, kind: str) -> tuple[Tensor, Tensor]:
    """The inputs ``[N, …]`` and labels ``[N]`` of a map-style dataset, which is read once.

    Args:
        dataset: Of pairs of an input and a class index.
        what: The name by which the user knows it.
        kind: The kind of data, or ``"auto"``.

    Raises:
        InputError: If it is not map-style, an item is no such pair, or inputs differ in shape or type.
    """
    if not isinstance(dataset, Sized) or not hasattr(type(dataset), "__getitem__"):
        raise InputError(f"{what} has no length or no items by index: give a map-style torch.utils.data.Dataset")
    if len(dataset) == 0:
        raise InputError(f"{what} is empty: give at least a few samples of each class")
    inputs: list[Tensor] = []
    targets: list[Tensor] = []
    for index in range(len(dataset)):
        item: Any = dataset[index]
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise InputError(f"item {index} of {what} is no pair: give (input, class index) for each sample")
        sample, target = (as_tensor(value, f"item {index} of {what}") for value in item)
        if hasattr(item[0], "getbands") and sample.ndim == 3:
            # An image of Pillow: its channels are last, however many there are.
            sample = sample.movedim(2, 0)
        elif not isinstance(item[0], Tensor):
            sample = turned(sample[None], kind, None if index else f"item 0 of {what}")[0]
        if inputs and (sample.shape != inputs[0].shape or sample.dtype != inputs[0].dtype):
            raise InputError(
                f"item {index} of {what} has shape {list(sample.shape)} and type {sample.dtype}, but item 0 has "
                f"{list(inputs[0].shape)} and {inputs[0].dtype}: resize and convert all inputs alike"
            )
        if target.numel() != 1:
            raise InputError(
                f"item {index} of {what} has {target.numel()} labels: give one class index (several classes for each "
                "sample, or one for each pixel, are not supported)"
            )
        if target.is_complex():
            raise InputError(f"item {index} of {what} has a complex label: give one class index")
        inputs.append(sample)
        targets.append(target.reshape(()).to(torch.float64))
    return torch.stack(inputs), torch.stack(targets)


def as_tensor(value: Any, what: str) -> Tensor:
    """A tensor as it is; a number, NumPy array or PIL image as a tensor."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if getattr(value, "mode", None) in INDEXED:
        raise InputError(
            f"{what} is an image of mode {value.mode}, whose pixels are numbers of colors and no colors: convert it "
            "(image.convert('RGB'))"
        )
    try:
        array = np.asarray(value)
    except ValueError:
        raise InputError(f"{what} holds a list of uneven lengths: give tensors, arrays or images") from None
    return tensor_from_numpy(array, what)
