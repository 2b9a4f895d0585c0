"""Errors of allocators, which come in several kinds and words."""

from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")
# Not every lack of memory comes as `torch.OutOfMemoryError`.
MEMORY = (
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "can't allocate memory",
    "not enough memory",
    "Cannot allocate memory",
)


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that there is not enough memory."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in MEMORY)
    )


def within_memory(work: Callable[[int], Result], rows: int) -> Result:
    """What some work gives for at most so many rows at a time: half as many whenever the memory does not hold them.

    Raises:
        RuntimeError: if it does not hold one row.
        MemoryError: the same.
    """
    while True:
        try:
            return work(rows)
        except (RuntimeError, MemoryError) as error:
            if rows == 1 or not is_shortage(error):
                raise
            rows = max(1, rows // 2)
