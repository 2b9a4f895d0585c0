"""What every function of the theory asks of its input."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lossmith.errors import InputError, brief
from lossmith.losses import Loss, PowerLoss

Numbers = float | Sequence[float] | Tensor
MOST_CLASSES, MOST_IN_VECTORS, MOST_IN_ZONES, MOST_TERMS = 10**9, 10**5, 10**4, 1000


def check_count(classes: int) -> None:
    """Raise an InputError if that is no number of classes."""
    if isinstance(classes, bool) or not isinstance(classes, int):
        raise InputError(f"the number of classes is a whole number, not {classes!r}")
    if classes < 2:
        raise InputError(f"a classifier has at least 2 classes, not {classes}")
    if classes > MOST_CLASSES:
        raise InputError(f"the theory is computed for up to {MOST_CLASSES} classes, not {brief(classes)}")


def check_classes(loss: Loss, classes: int) -> None:
    """Raise an InputError if that is no number of classes, or the loss is made for another."""
    check_count(classes)
    loss.check_classes(classes)


def check_vectors(classes: int) -> None:
    """Raise an InputError if there are so many classes that whole output vectors have no room."""
    if classes > MOST_IN_VECTORS:
        raise InputError(
            f"a loss that is no sum over classes is looked at with whole output vectors, of at most {MOST_IN_VECTORS} "
            f"classes, not {classes}"
        )


def check_zones(loss: Loss, classes: int) -> None:
    """Raise an InputError if thousands of points of a loss are more than can be looked at: terms, or whole vectors."""
    if isinstance(loss, PowerLoss) and len(loss.terms) > MOST_TERMS:
        raise InputError(
            f"the loss {loss.name!r} has {len(loss.terms)} terms; its attraction is followed for {MOST_TERMS} at most"
        )
    if not loss.sums_over_classes and classes > MOST_IN_ZONES:
        raise InputError(
            f"the attraction of a loss that is no sum over classes is followed with whole output vectors, of at most "
            f"{MOST_IN_ZONES} classes, not {classes}"
        )


def checked_powers(loss: Loss, what: str) -> PowerLoss:
    """A loss that is a sum of powers, for what is read off its terms.

    Raises:
        InputError: if it is none.
    """
    if not isinstance(loss, PowerLoss):
        raise InputError(
            f"{what} is read off φ(h, y) as a sum of powers, which the loss {loss.name!r} ({loss.kind}) is not; leave "
            "it out for this loss"
        )
    return loss


def checked_epsilon(epsilon: Numbers) -> Tensor:
    """ε as a float64 tensor of any shape.

    Raises:
        InputError: if a number is outside (0, 1) or not a number.
    """
    try:
        values = torch.as_tensor(epsilon, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise InputError("ε must be a number, a list of numbers or a tensor") from None
    inside = (values > 0) & (values < 1)
    if not bool(inside.all()):
        outside = values[~inside].flatten()[0].item()
        raise InputError(
            f"ε = {outside:g} is outside (0, 1); it is how far the target output is from 1, so give it in between"
        )
    return values
