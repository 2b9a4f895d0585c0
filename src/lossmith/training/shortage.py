"""Errors of allocators, which come in several kinds and words."""

import torch

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
