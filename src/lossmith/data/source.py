"""All samples of a data set, checked: from arrays, tensors, or a PyTorch dataset."""

import hashlib
from collections.abc import Mapping, Sized
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from lossmith.data.arrays import (
    check_classes,
    check_pair,
    check_test,
    check_test_targets,
    prepared_targets,
    tell_constant,
    tensor_from_numpy,
)
from lossmith.data.kinds import AUTO, KINDS, has_ids, kind_of, turned
from lossmith.errors import InputError

# Modes of Pillow with a palette.
INDEXED = ("P", "PA")


class _Names(NamedTuple):
    """What the user calls the four arrays."""

    inputs: str
    targets: str
    test_inputs: str
    test_targets: str


@dataclass(frozen=True, eq=False)
class Source:
    """All samples, with clean labels, before any split; made by a classmethod, which checks, or by ``open_source``.

    Attributes:
        name: For people; what identifies the data is ``digest``.
        inputs: ``[N, *input_shape]``; images ``[N,C,H,W]`` and feature vectors ``[N,F]``, uint8 or float32; tokens
            ``[N,L]``, int64.
        targets: ``[N]``, int64, in 0…K−1.
        test_inputs: The source's own test inputs, ``[M, *input_shape]``, if it has any.
        test_targets: Their labels, ``[M]``, int64.
        max_pixel: Value of a white pixel, if the source knows it.
        class_names: What the classes are called, in their order, if the source knows it.
        kind: Its kind of data, a name of ``KINDS``.
        noise: What a file says of label noise: labels ``[N]``, int64, or probabilities ``[K,K]``, float64.
    """

    name: str
    inputs: Tensor
    targets: Tensor
    test_inputs: Tensor | None = None
    test_targets: Tensor | None = None
    max_pixel: float | None = None
    class_names: tuple[str, ...] | None = None
    kind: str = field(kw_only=True)
    noise: Tensor | None = field(kw_only=True, default=None)

    @cached_property
    def classes(self) -> int:
        """Number of classes K."""
        return int(self.targets.max()) + 1

    def class_called(self, index: int) -> str:
        """How to call a class in a message: its number, and its name if it has one."""
        return f"class {index}" if self.class_names is None else f"class {index} ({self.class_names[index]})"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input: ``(C, H, W)``, ``(F,)`` or ``(L,)``."""
        return tuple(self.inputs.shape[1:])

    @cached_property
    def vocabulary(self) -> int | None:
        """The largest id of all inputs, those of the test part too, and 1; None of inputs that are no ids.

        It says how many embeddings a network needs; those of ids that are in no training sample stay as they began.
        """
        parts = [inputs for inputs in (self.inputs, self.test_inputs) if inputs is not None and has_ids(inputs)]
        return 1 + max(int(inputs.max()) for inputs in parts) if parts else None

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of type, shape and bytes of all arrays; the same wherever and under whatever name they lie.

        A kind of data that must be asked for is a part of it, since another one trains other networks.
        """
        digest = hashlib.sha256()
        if not KINDS[self.kind].recognized:
            digest.update(f"kind:{self.kind}:".encode())
        for role in ("inputs", "targets", "test_inputs", "test_targets", "noise"):
            tensor: Tensor | None = getattr(self, role)
            if tensor is not None:
                array = tensor.cpu().contiguous().numpy()
                little = array.astype(array.dtype.newbyteorder("<"), copy=False)
                digest.update(f"{role}:{tensor.dtype}:{list(tensor.shape)}:".encode())
                digest.update(little.reshape(-1).view(np.uint8).data)
        return digest.hexdigest()

    @classmethod
    def from_tensors(
        cls,
        inputs: Tensor,
        targets: Tensor,
        test_inputs: Tensor | None = None,
        test_targets: Tensor | None = None,
        name: str = "tensors",
        kind: str = AUTO,
    ) -> Self:
        """Source of tensors in memory.

        Args:
            inputs: ``[N,F]``, ``[N,H,W]`` or ``[N,C,H,W]``; uint8 stays uint8, any other real type becomes float32.
                Of the kind ``"tokens"``, ``[N,L]``, whole numbers 0, 1, …
            targets: ``[N]`` or ``[N,1]``, class indices 0…K−1.
            test_inputs: Like ``inputs``, for the final comparison only.
            test_targets: Like ``targets``.
            name: What to call the data.
            kind: The kind of data, a name of ``KINDS``; ``"auto"`` knows images and feature vectors by their shape.

        Raises:
            InputError: If shapes, types, lengths or labels cannot be used.
        """
        names = _Names("inputs", "targets", "test_inputs", "test_targets")
        return cls._checked(name, names, kind, inputs, targets, test_inputs, test_targets)

    @classmethod
    def from_dataset(
        cls, dataset: Dataset[Any], test: Dataset[Any] | None = None, name: str = "dataset", kind: str = AUTO
    ) -> Self:
        """Source of a map-style dataset, read once and stacked in memory.

        Random augmentation belongs to the training recipe and not into this dataset. Items are pairs of an input (a
        tensor ``[F]``, ``[H,W]``, ``[C,H,W]`` or ``[L]``; a NumPy array or a PIL image, ``[H,W,C]`` too) and a class
        index.

        Args:
            dataset: Training and validation samples (and test samples, if ``test`` is not given).
            test: The test samples, for the final comparison only.
            name: What to call the data.
            kind: As in :meth:`from_tensors`.

        Raises:
            InputError: If it is not map-style, an item is no such pair, inputs differ in shape or type, or anything
                of :meth:`from_tensors`.
        """
        names = _Names(*(f"{a} of the {b}" for b in ("dataset", "test dataset") for a in ("inputs", "targets")))
        inputs, targets = _stacked(dataset, "the dataset", kind)
        test_inputs, test_targets = _stacked(test, "the test dataset", kind) if test is not None else (None, None)
        return cls._checked(name, names, kind, inputs, targets, test_inputs, test_targets)

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, NDArray[Any]],
        name: str,
        place: str,
        kind: str = AUTO,
        *,
        channels_first: bool = False,
    ) -> Self:
        """Source of the NumPy arrays of a file.

        Args:
            arrays: ``x_train``, ``y_train`` and, if wanted, ``x_test``, ``y_test``; images ``[N,H,W,C]`` with 1, 3 or 4
                channels, or square ones of fewer channels than rows, are recognised and turned round.
            name: What to call the data.
            place: Where the arrays are, for messages.
            kind: As in :meth:`from_tensors`.
            channels_first: Whether images are known to be ``[N,C,H,W]``, so that none is turned round.

        Raises:
            InputError: If an array holds anything but real numbers, or anything of :meth:`from_tensors`.
        """
        names = {key: f"{key} in {place}" for key in ("x_train", "y_train", "x_test", "y_test")}
        tensors = {key: tensor_from_numpy(array, names[key]) for key, array in arrays.items()}
        for key in ("x_train", "x_test"):
            if key in tensors and not channels_first:
                tensors[key] = turned(tensors[key], kind, names[key] if key == "x_train" else None)
        return cls._checked(
            name,
            _Names(*names.values()),
            kind,
            tensors["x_train"],
            tensors["y_train"],
            tensors.get("x_test"),
            tensors.get("y_test"),
        )

    @classmethod
    def _checked(
        cls,
        name: str,
        names: _Names,
        kind: str,
        inputs: Tensor,
        targets: Tensor,
        test_inputs: Tensor | None,
        test_targets: Tensor | None,
    ) -> Self:
        if (test_inputs is None) != (test_targets is None):
            given, absent = names[2:] if test_targets is None else (names.test_targets, names.test_inputs)
            raise InputError(f"there is {given} without {absent}: give both of them or neither")
        kind = kind_of(inputs, names.inputs, kind)
        prepared = KINDS[kind].prepared
        inputs, targets = prepared(inputs, names.inputs), prepared_targets(targets, names.targets)
        check_pair(inputs, targets, names.inputs, names.targets)
        check_classes(targets, names.targets)
        tell_constant(inputs, names.inputs)
        if test_inputs is None or test_targets is None:
            return cls(name, inputs, targets, kind=kind)
        test_inputs = prepared(test_inputs, names.test_inputs)
        test_targets = prepared_targets(test_targets, names.test_targets)
        check_pair(test_inputs, test_targets, names.test_inputs, names.test_targets)
        check_test(inputs, test_inputs, names.inputs, names.test_inputs)
        check_test_targets(test_targets, int(targets.max()) + 1, names.test_targets)
        return cls(name, inputs, targets, test_inputs, test_targets, kind=kind)


def _stacked(dataset: Dataset[Any], what: str, kind: str) -> tuple[Tensor, Tensor]:
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
        sample, target = (_tensor(value, f"item {index} of {what}") for value in item)
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


def _tensor(value: Any, what: str) -> Tensor:
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
