"""Labels as tensors: what stands at a class index, indices as probabilities; and logits in the dtype of losses."""

from __future__ import annotations

import torch
from torch import Tensor

from lossmith.errors import BINARY, InputError
from lossmith.losses.sums import classes


def at_class(x: Tensor, index: Tensor, dim: int, differentiable: bool = True) -> Tensor:
    """The values at the class indices, with a class dimension of length 1."""
    if differentiable and torch.compiler.is_compiling():
        # The C++ back end of torch 2.13 gives a wrong gradient for `gather` beside a sum over the classes.
        return torch.where(classes(x, dim) == _checked(index, x, dim), x, 0.0).sum(dim, keepdim=True)
    if torch.compiler.is_compiling():
        return x.gather(dim, index)
    try:
        return x.gather(dim, index)
    except (IndexError, RuntimeError):
        outside = index[(index < 0) | (index >= x.shape[dim])]
        if not outside.numel():
            raise
        if x.shape[dim] == 1:
            raise InputError(f"a target is class {int(outside[0])}, but there is 1 class: {BINARY}") from None
        raise InputError(
            f"a target is class {int(outside[0])}, but the logits have {x.shape[dim]} classes, numbered from 0; "
            "give each class an index below that number"
        ) from None


def class_index(targets: Tensor, x: Tensor, dim: int) -> Tensor:
    """Class indices with a class dimension of length 1, expanded to the other dimensions of ``x``."""
    shape = list(x.shape)
    shape[dim] = 1
    return targets.long().unsqueeze(dim).expand(shape)


def labels_of(targets: Tensor, x: Tensor) -> Tensor:
    """Class indices or probabilities as probabilities of the classes, in the dtype of log outputs ``x [*P, N, K]``."""
    if targets.is_floating_point():
        return targets.to(x.dtype)
    index = class_index(targets, x, -1)
    if torch.compiler.is_compiling():
        index = _checked(index, x, -1)
    else:
        at_class(x.detach(), index, -1)  # It says which class there is not.
    return torch.zeros_like(x).scatter(-1, index, 1.0)


def _checked(index: Tensor, x: Tensor, dim: int) -> Tensor:
    """The class indices of a compiled program, which fails where one is no class.

    What would not be reached, and so give a 0 without a word, is what `gather` refuses on every device.
    """
    return classes(x, dim).expand(x.shape).gather(dim, index)


def wide(logits: Tensor) -> Tensor:
    """Half precision as float32, in which it is computed."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
