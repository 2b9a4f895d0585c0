"""From whatever shape and type samples come in to the ones that the package uses, or a sentence that says why not.

Every function takes ``what``, the name by which the user knows the array.
"""

import logging
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossmith.data.names import short, shown
from lossmith.errors import MEASURED, InputError

# Kinds of NumPy types: boolean, unsigned, signed and floating numbers.
NUMBERS = "buif"
# How the validation part of a file or folder may be called.
VALIDATIONS = ("val", "valid", "validation")
BLOCK = 4096
# Differences and products with standard deviations of larger ones leave float32.
LARGEST_INPUT = 1e37
# Beyond it a floating number need not be the label that was meant.
LARGEST_LABEL = 2**53
# So many classes may be had with less than two samples each, which the split tells of by name.
FEW_CLASSES = 10
_LOG = logging.getLogger("lossmith")


def no_numbers(kind: object, what: str) -> InputError:
    """What to say of values of another type."""
    return InputError(
        f"{what} holds values of type {shown(short(kind))}, but has to hold numbers: convert it before saving"
    )


def tensor_from_numpy(array: NDArray[Any], what: str) -> Tensor:
    """A tensor with the array's values: uint8 and int64 as they are, every other real type as float32 or float64.

    uint8 is not copied where it need not be.

    Raises:
        InputError: If the array holds anything but real numbers, or whole ones beyond int64.
    """
    if array.dtype.kind not in NUMBERS:
        raise no_numbers(array.dtype, what)
    if array.dtype == np.uint64 and array.size and int(array.max()) >= 2**63:
        raise InputError(f"{what} holds the whole number {int(array.max())}, beyond int64: scale it, or save floats")
    if array.dtype == np.uint8:
        return torch.from_numpy(np.require(array, requirements=["C", "W"]))
    wide = array.dtype.kind == "f" and array.dtype.itemsize > 4
    number_type = np.float64 if wide else np.float32 if array.dtype.kind in "bf" else np.int64
    with np.errstate(over="ignore"):
        # What a long double has beyond float64 becomes infinite, which is told later.
        return torch.from_numpy(np.array(array, dtype=number_type, order="C"))


def real_inputs(inputs: Tensor, what: str) -> Tensor:
    """Numbers ``[N, …]`` as they are kept: uint8 as it is, every other real type as float32.

    Args:
        inputs: Of any type.
        what: The name by which the user knows them.

    Raises:
        InputError: If they are complex, or not all finite in float32, or so large that differences are not.
    """
    if inputs.is_complex():
        raise InputError(f"{what} holds complex numbers, but has to be real: give real and imaginary part as features")
    if inputs.dtype == torch.uint8:
        return inputs
    numbers = inputs.to(torch.float32)
    ends = [float(end) for block in torch.split(numbers, BLOCK) for end in block.aminmax()]
    if not all(map(math.isfinite, ends)):
        raise InputError(f"{what} holds NaN or infinite values in float32: remove or replace these before saving")
    if (largest := max(map(abs, ends))) > LARGEST_INPUT:
        raise InputError(f"{what} holds values as large as {largest:g}, too large to be normalized: divide them")
    _tell_lost(inputs, what)
    return numbers


def _tell_lost(inputs: Tensor, what: str) -> None:
    """Say so if float32 makes features constant that are not, such as times in seconds since 1970."""
    if inputs.dtype in (torch.float64, torch.int64, torch.int32):
        low, high = inputs.amin(0), inputs.amax(0)
        lost = int(((low != high) & (low.to(torch.float32) == high.to(torch.float32))).sum())
        if lost:
            _LOG.warning(
                "%s has values that differ by too little for float32, and %d of %d features become constant: subtract "
                "the mean of each before saving",
                what,
                lost,
                low.numel(),
            )


def tell_constant(inputs: Tensor, what: str) -> None:
    """Say so if all samples ``[N, …]`` are equal."""
    if all(bool((block == inputs[0]).all()) for block in torch.split(inputs, BLOCK)):
        _LOG.warning("all samples of %s are equal, so that nothing can be learned from them", what)


def prepared_targets(targets: Tensor, what: str) -> Tensor:
    """Labels as int64 ``[N]``.

    Args:
        targets: ``[N]`` or ``[N,1]``; integers, or floats with integral values.
        what: The name by which the user knows them.

    Raises:
        InputError: If they have another shape or are not integral.
    """
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    if targets.ndim != 1:
        raise InputError(
            f"{what} has shape {list(targets.shape)}, but has to be [N] with one class index for each sample: "
            f"{_remedy(targets)}"
        )
    if targets.is_complex() or (targets.is_floating_point() and not torch.equal(targets, targets.round())):
        raise InputError(
            f"{what} holds values that are no integers (or NaN): give class indices 0, 1, …, K-1; {MEASURED}"
        )
    if targets.is_floating_point() and targets.isinf().any():
        raise InputError(f"{what} holds infinite values: give class indices 0, 1, …, K-1")
    if targets.is_floating_point() and targets.numel() and float(targets.abs().max()) >= LARGEST_LABEL:
        raise InputError(f"{what} holds the label {float(targets.abs().max()):g}: give class indices 0, 1, …, K-1")
    return targets.detach().to(torch.int64).contiguous()


def _remedy(targets: Tensor) -> str:
    """What to do with labels of another shape than ``[N]``, none of which may be told to throw away what they hold."""
    if targets.ndim > 2:
        return "there is no segmentation, which has a class for each pixel; give one label for each whole image"
    if targets.ndim < 2:
        return "give a label for each sample"
    if not bool(((targets == 0) | (targets == 1)).all()):
        return (
            "soft labels and several targets for each sample are not supported; give the one class of each, or train "
            f"with them in a loop of your own, by lossmith.Criterion; {MEASURED}"
        )
    if bool((targets.sum(1) == 1).all()):
        return "take argmax(1) of one-hot labels"
    return (
        "several classes for each sample, or none (multi-label), are not supported; learn one of these columns at a "
        "time, or train with torch.nn.BCEWithLogitsLoss"
    )


def check_pair(inputs: Tensor, targets: Tensor, inputs_name: str, targets_name: str) -> None:
    """Raise InputError unless there is one label for each input."""
    if len(inputs) != len(targets):
        raise InputError(
            f"{inputs_name} has {len(inputs)} samples but {targets_name} has {len(targets)} labels: "
            "give one label for each sample"
        )


def check_classes(targets: Tensor, what: str) -> None:
    """Raise InputError unless the labels ``[N]`` are 0…K−1 without a gap, two classes at least, and are classes."""
    present = np.unique(targets.cpu().numpy())
    if len(present) > max(FEW_CLASSES, len(targets) // 2):
        raise InputError(
            f"{what} holds {len(present)} different labels for {len(targets)} samples, so that these are no classes "
            "but numbers of samples or measured values: give each sample a class that several samples have; "
            f"{MEASURED}"
        )
    if len(present) < 2:
        raise InputError(f"{what} holds one class only (label {int(present[0])}): give samples of two classes or more")
    low, high = int(present[0]), int(present[-1])
    if low == 0 and high == len(present) - 1:
        return
    remedy = "relabel the classes as 0, 1, …, K-1 (numpy.unique(y, return_inverse=True) does it)"
    if low < 0:
        raise InputError(f"{what} holds the label {low}, but labels are 0, 1, …, K-1 without a gap: {remedy}")
    first_gap = next((n for n, label in enumerate(present.tolist()) if n != label))
    raise InputError(
        f"{what} holds labels from {low} to {high} but never {first_gap}, and labels are 0, 1, …, K-1 without a gap: "
        f"{remedy}"
    )


def check_test(inputs: Tensor, test_inputs: Tensor, inputs_name: str, test_name: str) -> None:
    """Raise InputError unless test inputs have the shape and type of the training inputs."""
    if inputs.shape[1:] != test_inputs.shape[1:]:
        raise InputError(
            f"{test_name} has samples of shape {list(test_inputs.shape[1:])} but {inputs_name} of shape "
            f"{list(inputs.shape[1:])}: give both in the same shape"
        )
    if inputs.dtype != test_inputs.dtype:
        raise InputError(
            f"one of {inputs_name} and {test_name} is uint8 and the other is not, so that their scales would differ: "
            "give both in the same type and scale"
        )


def check_test_targets(test_targets: Tensor, classes: int, what: str) -> None:
    """Raise InputError unless all test labels ``[N]`` are in 0…K−1, ``classes`` being K."""
    outside = test_targets[(test_targets < 0) | (test_targets >= classes)]
    if len(outside):
        raise InputError(
            f"{what} holds the label {int(outside[0])}, but the training labels are 0…{classes - 1}: "
            "remove these samples or give training samples of that class too"
        )


def group_numbers(groups: Any, count: int, what: str) -> Tensor:
    """The number of each sample's group, ``[N]``, int64, of numbers or texts.

    Args:
        groups: ``[N]``.
        count: N.
        what: The name by which the user knows them.

    Raises:
        InputError: If there is not one for each sample, one is missing, or they are neither numbers nor texts.
    """
    try:
        values = np.asarray(groups)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"{what} holds what is no group: give a number or a text for each sample") from None
    if values.shape != (count,):
        raise InputError(f"{what} has shape {list(values.shape)}, but there are {count} samples: give a group for each")
    is_text = values.dtype.kind == "U" or (values.dtype == object and all(isinstance(one, str) for one in values))
    if not is_text and values.dtype.kind not in NUMBERS:
        raise InputError(f"{what} holds what is no group: give a number or a text for each sample")
    if values.dtype.kind == "f" and bool(np.isnan(values).any()):
        raise InputError(f"{what} holds NaN: give each sample a group")
    numbers = np.unique(values, return_inverse=True)[1]
    return torch.from_numpy(numbers.astype(np.int64))
