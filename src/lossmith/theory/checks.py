"""What every function of the theory asks of its input."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lossmith.errors import InputError
from lossmith.losses import Loss

Numbers = float | Sequence[float] | Tensor


def check_classes(loss: Loss, classes: int) -> None:
    """Raise an InputError if there are fewer than 2 classes or the loss is made for another number."""
    if classes < 2:
        raise InputError(f"a classifier has at least 2 classes, not {classes}")
    loss.check_classes(classes)


def checked_epsilon(epsilon: Numbers) -> Tensor:
    """ε as a float64 tensor of any shape.

    Raises:
        InputError: if a number is outside (0, 1) or not a number.
    """
    values = torch.as_tensor(epsilon, dtype=torch.float64)
    inside = (values > 0) & (values < 1)
    if not bool(inside.all()):
        outside = values[~inside].flatten()[0].item()
        raise InputError(
            f"ε = {outside:g} is outside (0, 1); it is how far the target output is from 1, so give it in between"
        )
    return values
