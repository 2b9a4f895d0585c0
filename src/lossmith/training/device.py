"""Where networks are trained."""

import torch

from lossmith.errors import InputError


def checked_device(name: str) -> torch.device:
    """The device of a name.

    Raises:
        InputError: if PyTorch does not know it or this machine does not have it.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0].rstrip(".")
        if reason.startswith("Expected one of"):
            reason = "PyTorch knows no device of that name"
        raise InputError(
            f"the device {name!r} cannot be used ({reason}); take cpu, or a device that PyTorch finds"
        ) from None
    return device
