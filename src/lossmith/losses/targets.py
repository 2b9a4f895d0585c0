"""Which targets a classifier has, class indices or class probabilities; and what would fit what is neither."""

from __future__ import annotations

import torch
from torch import Tensor

from lossmith.errors import BINARY, MEASURED, SEVERAL, InputError
from lossmith.losses import fused

# How far from 1 class probabilities of half precision may sum to.
TOLERANCE = 0.05


def check_targets(
    logits: Tensor, targets: Tensor, dim: int, weight: Tensor | None, ignore_index: int, look: bool
) -> bool:
    """Whether targets are class indices, and not class probabilities.

    Args:
        logits: With the classes in dimension ``dim``.
        targets: What came with them.
        dim: The class dimension.
        weight: Class weights, or None.
        ignore_index: The class index that counts for nothing.
        look: Whether class probabilities are looked at, which a GPU would wait for.

    Raises:
        InputError: if they are neither, or the class weights do not fit the logits.
    """
    classes = logits.shape[dim]
    if weight is not None and weight.shape != (classes,):
        raise InputError(
            f"weight has shape {tuple(weight.shape)}; it must hold one number for each of the {classes} classes"
        )
    if not isinstance(targets, Tensor):
        raise InputError(f"targets are a {type(targets).__name__}; give a tensor (torch.as_tensor makes one)")
    if targets.shape == logits.shape:
        _check_probabilities(targets, dim, ignore_index, look)
        return False
    if targets.dtype == torch.bool:
        raise InputError("targets are true or false; give class indices (targets.long()) or class probabilities")
    fits = targets.shape == logits.shape[:dim] + logits.shape[dim + 1 :]
    if targets.is_floating_point() or targets.is_complex() or not fits:
        raise InputError(
            f"targets of shape {tuple(targets.shape)} and {targets.dtype} do not fit logits of shape "
            f"{tuple(logits.shape)}: {_remedy(targets, classes, fits)}"
        )
    return True


def _check_probabilities(targets: Tensor, dim: int, ignore_index: int, look: bool) -> None:
    if not targets.is_floating_point():
        if targets.shape[dim] == 1:
            raise InputError(f"targets of the logits' shape are no class indices: {BINARY}")
        raise InputError(
            f"targets of the logits' shape are class probabilities and must be floating point, not {targets.dtype}: "
            f"give targets.float() if one class of each sample is 1; {SEVERAL}"
        )
    if ignore_index >= 0:
        raise InputError("ignore_index does not apply to class probabilities; leave it at its default")
    if look and not torch.compiler.is_compiling() and fused.has_values(targets):
        _check_sums(targets.detach(), dim)


def _check_sums(targets: Tensor, dim: int) -> None:
    """See that what has the shape of class probabilities is no other kind of target.

    Not every sum must be 1: a sample may be left out, or its labels weighted.
    """
    if targets.shape[dim] == 1 and targets.numel() and not bool((targets == 1).all()):
        raise InputError(f"targets of one class are no class probabilities: {_of_one(targets)}")
    sums = targets.sum(dim)
    if not targets.numel() or bool(((sums - 1).abs() <= TOLERANCE).all()):
        return
    if bool(((targets < 0) | (targets > 1)).any()):
        raise InputError(f"targets of the logits' shape are class probabilities, from 0 to 1 and of sum 1: {MEASURED}")
    if bool((sums > 1 + TOLERANCE).any()) and _is_binary(targets):
        raise InputError(
            "targets of the logits' shape are class probabilities, of sum 1, and a sample here has several classes: "
            f"{BINARY if targets.ndim == 1 else SEVERAL}"
        )


def _remedy(targets: Tensor, classes: int, fits: bool) -> str:
    """What would fit targets that are neither class indices nor class probabilities of the logits' shape."""
    usual = "give class indices without the class dimension, or probabilities of the same shape"
    if (not fits and classes > 1) or targets.is_complex():
        return usual
    if classes == 1:
        return _of_one(targets)
    if bool((targets == targets.round()).all()):
        return "give targets.long() if these are class indices; " + MEASURED
    return f"{usual}; {MEASURED}"


def _of_one(targets: Tensor) -> str:
    return BINARY if _is_binary(targets) else MEASURED


def _is_binary(targets: Tensor) -> bool:
    return bool(((targets == 0) | (targets == 1)).all())
