"""Samples that somebody holds in memory or in a PyTorch dataset, as tensors."""

import logging
from collections.abc import Mapping, Sized
from itertools import chain
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from lossmith.data.arrays import tensor_from_numpy
from lossmith.data.kinds import AUTO, Field, packed, turned
from lossmith.data.names import listed, short, shown
from lossmith.errors import InputError

Pair = tuple[Any, Any]
# Modes of Pillow with a palette.
INDEXED = ("P", "PA")
# What a dict of a sample calls its class.
LABELS = ("labels", "label")
_LOG = logging.getLogger("lossmith")


class Samples(NamedTuple):
    """Inputs and labels of one part as they were given, and what the user calls them.

    Attributes:
        inputs: A tensor; a dict of tensors; or sequences of uneven lengths.
        targets: A tensor.
        inputs_name: For messages.
        targets_name: For messages.
    """

    inputs: Any
    targets: Tensor | None
    inputs_name: str
    targets_name: str

    @classmethod
    def of(cls, pair: Pair | None, inputs_name: str, targets_name: str, kind: str) -> Self | None:
        """The samples of a pair, if there is one."""
        if pair is None:
            return None
        inputs, targets = pair
        return cls(
            None if inputs is None else as_inputs(inputs, inputs_name, kind),
            None if targets is None else as_tensor(targets, targets_name),
            inputs_name,
            targets_name,
        )


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


def stacked_dataset(dataset: Dataset[Any], what: str, kind: str) -> tuple[Any, Tensor]:
    """The inputs ``[N, …]`` and labels ``[N]`` of a map-style dataset, which is read once.

    Args:
        dataset: Of pairs of an input and a class index; or of dicts of inputs, with the class index beside such a dict
            or in it, as ``labels`` or ``label``.
        what: The name by which the user knows it.
        kind: The kind of data, or ``"auto"``.

    Returns:
        A tensor, a dict of tensors, or sequences of uneven lengths; and labels.

    Raises:
        InputError: If it is not map-style, an item is no such pair, or inputs differ in shape or type.
    """
    if not isinstance(dataset, Sized) or not hasattr(type(dataset), "__getitem__"):
        raise InputError(f"{what} has no length or no items by index: give a map-style torch.utils.data.Dataset")
    if len(dataset) == 0:
        raise InputError(f"{what} is empty: give at least a few samples of each class")
    pairs = [_pair_in(dataset[index], f"item {index} of {what}") for index in range(len(dataset))]
    targets = torch.stack([_label(label, f"item {index} of {what}") for index, (_, label) in enumerate(pairs)])
    first = pairs[0][0]
    if not isinstance(first, Mapping):
        return _stacked([sample for sample, _ in pairs], what, kind), targets
    for index, (sample, _) in enumerate(pairs):
        if not isinstance(sample, Mapping) or sample.keys() != first.keys():
            raise InputError(
                f"item {index} of {what} is no dict of {listed([str(name) for name in first])}, as item 0 is: give all "
                "items alike"
            )
    return {
        name: _stacked([sample[name] for sample, _ in pairs], f"{shown(short(name))} of {what}", AUTO, named=True)
        for name in first
    }, targets


def _pair_in(item: Any, what: str) -> Pair:
    """An input and a label."""
    if isinstance(item, Mapping):
        label = next((name for name in LABELS if name in item), None)
        if label is None:
            raise InputError(f"{what} is a dict without {' or '.join(LABELS)}: give the class index under that name")
        inputs = {name: value for name, value in item.items() if name != label}
        alone = next(iter(inputs.values()), None) if len(inputs) == 1 else None
        # A data set of images.
        return alone if hasattr(alone, "getbands") else inputs, item[label]
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise InputError(f"{what} is no pair: give (input, class index) for each sample")
    return item[0], item[1]


def _label(value: Any, what: str) -> Tensor:
    target = as_tensor(value, what)
    if target.numel() != 1:
        raise InputError(
            f"{what} has {target.numel()} labels: give one class index (several classes for each sample, or one for "
            "each pixel, are not supported)"
        )
    if target.is_complex():
        raise InputError(f"{what} has a complex label: give one class index")
    return target.reshape(()).to(torch.float64)


def _stacked(values: list[Any], what: str, kind: str, *, named: bool = False) -> Any:
    """Inputs of all items in one tensor; of tokens, as they are if their lengths differ."""
    inputs: list[Tensor] = []
    for index, value in enumerate(values):
        sample = as_tensor(value, f"item {index} of {what}")
        if hasattr(value, "getbands") and sample.ndim == 3:
            # An image of Pillow: its channels are last, however many there are.
            sample = sample.movedim(2, 0)
        elif not isinstance(value, Tensor) and not named:
            sample = turned(sample[None], kind, None if index else f"item 0 of {what}")[0]
        uneven = kind == "tokens" and sample.ndim == 1
        if inputs and (sample.dtype != inputs[0].dtype or (sample.shape != inputs[0].shape and not uneven)):
            remedy = "pad" if named else "resize"
            raise InputError(
                f"item {index} of {what} has shape {list(sample.shape)} and type {sample.dtype}, but item 0 has "
                f"{list(inputs[0].shape)} and {inputs[0].dtype}: {remedy} and convert all inputs alike"
            )
        inputs.append(sample)
    return torch.stack(inputs) if len({one.shape for one in inputs}) == 1 else inputs


def as_inputs(value: Any, what: str, kind: str) -> Any:
    """Inputs of all samples: a tensor, a dict of tensors, or sequences of tokens of uneven lengths.

    Raises:
        InputError: If they are something else.
    """
    if isinstance(value, Mapping):
        return {name: as_tensor(one, f"{shown(short(name))} of {what}") for name, one in value.items()}
    if kind == "tokens" and isinstance(value, list | tuple) and len({_length(one) for one in value}) > 1:
        return [as_tensor(one, f"sequence {number} of {what}") for number, one in enumerate(value)]
    return as_tensor(value, what)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, Sized) else -1


def unpacked(parts: list[Samples | None]) -> tuple[list[Samples | None], tuple[Field, ...]]:
    """The parts with one tensor of inputs each, and what is in it if inputs are dicts of tensors.

    Raises:
        InputError: If one part is a dict and another is not, or their tensors differ.
    """
    if not any(part is not None and isinstance(part.inputs, Mapping) for part in parts):
        return parts, ()
    found, layouts = list[Samples | None](), list[tuple[Field, ...]]()
    for part in parts:
        if part is None:
            found.append(None)
            continue
        if not isinstance(part.inputs, Mapping):
            raise InputError(f"{part.inputs_name} is no dict of tensors, as other inputs are: give all parts alike")
        inputs, layout = packed(part.inputs, part.inputs_name)
        found.append(part._replace(inputs=inputs))
        layouts.append(layout)
        if layout != layouts[0]:
            raise InputError(
                f"{part.inputs_name} has {_described(layout)}, but training inputs have {_described(layouts[0])}: give "
                "all parts the same tensors"
            )
    return found, layouts[0]


def _described(layout: tuple[Field, ...]) -> str:
    return listed([f"{one.name} {list(one.shape)} of {one.dtype}" for one in layout])


def padded(parts: list[Samples | None], padding: int | None) -> tuple[list[Samples | None], int]:
    """Sequences of uneven lengths made as long as the longest of all parts, by an id at their ends.

    Args:
        parts: Some of which have such sequences.
        padding: The id; None takes 0 if no sequence holds it.

    Returns:
        The parts with tensors ``[N, L]``, and the id.

    Raises:
        InputError: If a sequence is empty or no row of whole numbers, or 0 is taken.
    """
    given = {number: part for number, part in enumerate(parts) if part is not None and part.inputs is not None}
    for part in given.values():
        if isinstance(part.inputs, Mapping):
            raise InputError(f"{part.inputs_name} is a dict of tensors, and other inputs are sequences: give all alike")
    sequences = {number: list(part.inputs) for number, part in given.items()}
    for number, part in given.items():
        for place, one in enumerate(sequences[number]):
            if one.ndim != 1 or one.is_floating_point() or one.is_complex() or len(one) == 0:
                raise InputError(
                    f"sequence {place} of {part.inputs_name} has shape {list(one.shape)} and type {one.dtype}, but has "
                    "to be a row of token ids, at least one: mend it"
                )
    every = list(chain.from_iterable(sequences.values()))
    if padding is None and any(bool((one == 0).any()) for one in every):
        raise InputError(
            "sequences of uneven lengths are padded with the id 0, but 0 is a token of these: say which id is padding "
            "(padding_id), or number the tokens from 1"
        )
    filler, longest = padding or 0, max(map(len, every))
    _LOG.info("sequences of %d to %d tokens are padded with the id %d", min(map(len, every)), longest, filler)
    found = list(parts)
    for number, part in given.items():
        rows = [one.to(torch.int64) for one in sequences[number]]
        inputs = pad_sequence([*rows, torch.zeros(longest, dtype=torch.int64)], True, filler)[:-1]
        found[number] = part._replace(inputs=inputs)
    return found, filler


def as_tensor(value: Any, what: str) -> Tensor:
    """A tensor as it is; a number, NumPy array or PIL image as a tensor."""
    if isinstance(value, Tensor):
        if value.layout != torch.strided or value.is_meta:
            raise InputError(f"{what} is a sparse tensor, or one without values: make it dense, by x.to_dense()")
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
