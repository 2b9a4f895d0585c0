"""Rare classes: weights that let their samples count for more, and batches that hold them more often."""

from __future__ import annotations

import torch
from torch import Tensor

from lossmith.errors import InputError
from lossmith.losses import label_weights
from lossmith.training.networks import Task
from lossmith.training.recipe import Recipe

FAR_APART = 1000


def class_weights(task: Task, recipe: Recipe) -> Tensor | None:
    """The weights ``[K]`` of a recipe in float64, on the device that trains; None without any.

    Balanced ones are ``N / (K N_k)``, of the labels that are trained on, so that every class counts alike and a sample
    1 on average.

    Raises:
        InputError: if there is not one for each class, or no sample of a class that is to be balanced.
    """
    if recipe.class_weight == "none":
        return None
    if recipe.class_weight == "balanced":
        counts = _counts(task, "class_weight")
        weights = counts.sum() / (task.classes * counts)
    else:
        weights = torch.tensor(recipe.class_weight, dtype=torch.float64)
        if len(weights) != task.classes:
            raise InputError(
                f"class_weight has {len(weights)} numbers, but the data has {task.classes} classes: give one for each, "
                "in the order of the classes"
            )
    return weights.to(task.device)


def class_shares(task: Task, recipe: Recipe) -> Tensor | None:
    """The probability that a draw takes one of the first samples, ``[N]`` in float64 on the CPU; None if uniform.

    Raises:
        InputError: if there is no sample of a class.
    """
    if recipe.sampling == "uniform":
        return None
    chance = label_weights(1 / _counts(task, "sampling"), _labels(task)).cumsum(0)
    return chance / chance[-1]


def check_balance(task: Task, recipe: Recipe) -> str | None:
    """What the user should know of a recipe's way with rare classes, as a sentence, or None.

    Raises:
        InputError: if it does not suit the task.
    """
    weights, shares = class_weights(task, recipe), class_shares(task, recipe)
    if recipe.class_weight == "balanced" and shares is not None:
        return (
            "class_weight and sampling both balance the classes, so that rare ones count twice over: leave one of them "
            "out"
        )
    if weights is None and shares is not None:
        weights = 1 / _counts(task, "sampling")
    if weights is None or float(weights.max() / weights.min()) <= FAR_APART:
        return None
    most, least = int(weights.argmax()), int(weights.argmin())
    count, ratio = float(_counted(task)[most]), float(weights[most] / weights[least])
    return (
        f"a sample of class {most}, of which there are {count:g} for training, counts {ratio:.0f} times as much as one "
        f"of class {least}: a network then learns these few by heart; find more of them, or give weights as numbers "
        "(class_weight) that are nearer to each other"
    )


def batch_weights(weights: Tensor | None, targets: Tensor, like: Tensor) -> Tensor | int:
    """What the sum of a batch's losses is divided by: its size, or the weights of its labels, ``[*P, 1, 1]``.

    Args:
        weights: ``[K]`` or None.
        targets: Class indices ``[*P, B]`` or probabilities ``[*P, B, K]``.
        like: Logits ``[*P, B, K]``; half precision is computed in float32.
    """
    if weights is None:
        return like.shape[-2]
    total = label_weights(weights, targets).sum(-1)[..., None, None]
    return total.float() if like.dtype == torch.bfloat16 else total.to(like.dtype)


def _counts(task: Task, wanted: str) -> Tensor:
    """Training labels of each class, of which there is one at least."""
    counts = _counted(task)
    if not bool((counts > 0).all()):
        absent = int(counts.argmin())
        raise InputError(
            f"{wanted} is balanced, but none of the {len(task.targets)} training labels is of class {absent}: give "
            f"more training samples, or leave {wanted} out"
        )
    return counts


def _counted(task: Task) -> Tensor:
    """Training labels of each class, ``[K]`` in float64 on the CPU; of probabilities their sums."""
    labels = _labels(task)
    if labels.is_floating_point():
        return labels.sum(0)
    return labels.bincount(minlength=task.classes).double()


def _labels(task: Task) -> Tensor:
    labels = task.targets.cpu()
    return labels.double() if labels.is_floating_point() else labels
