"""What stands for values that are missing: what is usual in the training part, which is all that may be looked at."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from lossmith.data.columns import Block
from lossmith.data.names import short, shown
from lossmith.errors import InputError


def usual(train: Tensor, blocks: tuple[Block, ...]) -> Tensor:
    """What stands for a missing value of each feature, ``[F]``.

    It is the median of a number, and the most frequent category (of these the first) or truth value.

    Args:
        train: The training inputs, ``[N,F]``, NaN where a value is missing.
        blocks: The columns that the features are of.

    Raises:
        InputError: If a column has no value in the training part.
    """
    found, start = list[Tensor](), 0
    for block in blocks:
        values = train[:, start : start + block.width]
        there = values[~values[:, 0].isnan()].to(torch.float64)
        if len(there) == 0:
            raise InputError(
                f"the column {shown(short(block.name))} has no value in the training part, so that nothing can stand "
                f"for those that are missing: drop it (--drop {shown(short(block.name))})"
            )
        found.append(_usual(there, block).to(train.dtype))
        start += block.width
    return torch.cat(found)


def _usual(values: Tensor, block: Block) -> Tensor:
    """Of values ``[N,W]`` of one column, ``[W]``."""
    if block.ordered:
        ordered = values.sort(0).values
        return torch.stack([ordered[(len(values) - 1) // 2], ordered[len(values) // 2]]).mean(0)
    if block.width == 1:
        different, counts = values.unique(return_counts=True)
        frequent: Tensor = different[counts.argmax()]
        return frequent[None]
    most: Tensor = one_hot(values.sum(0).argmax(), block.width)
    return most


def filled(inputs: Tensor, values: Tensor) -> Tensor:
    """Inputs ``[N,F]`` with values ``[F]`` where they are NaN."""
    return torch.where(inputs.isnan(), values.to(inputs.device), inputs)
