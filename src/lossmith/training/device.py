"""Where networks are trained."""

import re

import torch

from lossmith.errors import InputError, brief

LONGEST_REASON = 120


def checked_device(name: str) -> torch.device:
    """The device of a name.

    Raises:
        InputError: if PyTorch does not know it or this machine does not have it.
    """
    if re.fullmatch(r"[a-z]{1,20}(:\d{1,4})?", name, re.ASCII) is None:
        raise InputError(f"the device {brief(name)} is none; give for example cpu, cuda or cuda:1")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except Exception as error:
        # Each kind of device has errors of its own, and one that is not built in names modules that are not there.
        raise InputError(
            f"the device {name!r} cannot be used ({_reason(error)}); take cpu, or a device that PyTorch finds"
        ) from None
    return device


def _reason(error: Exception) -> str:
    first = str(error).split("\n")[0].rstrip(".")
    if first.startswith("Expected one of"):
        return "PyTorch knows no device of that name"
    if not first or len(first) > LONGEST_REASON:
        return "PyTorch on this machine has none of that kind"
    return first
