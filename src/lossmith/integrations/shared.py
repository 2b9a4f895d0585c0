"""What the integrations share: a criterion as a library needs it, the user's own left as it is."""

from copy import copy, deepcopy

import torch

from lossmith.errors import InputError
from lossmith.losses import Criterion


def check_criterion(criterion: object) -> None:
    """See that it is one: a function called later fails far from where it was made.

    Raises:
        InputError: If it is not.
    """
    if not isinstance(criterion, Criterion):
        raise InputError(f"criterion is a {type(criterion).__name__}; give a lossmith.Criterion, made of the loss")


def adapted(criterion: Criterion, device: torch.device, reduction: str) -> Criterion:
    """The criterion with another reduction, and with its class weights on a device.

    Libraries move the network there, and the criterion, which is no part of it, they leave behind.
    """
    elsewhere = criterion.weight is not None and criterion.weight.device != device
    changed = deepcopy(criterion).to(device) if elsewhere else copy(criterion)
    changed.reduction = reduction
    return changed
