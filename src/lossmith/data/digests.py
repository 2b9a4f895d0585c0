"""What identifies data."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from lossmith.data.kinds import KINDS

if TYPE_CHECKING:
    from torch import Tensor

    from lossmith.data.source import Source

# What a digest covers; what came later stands at the end, and is left out where it is not there.
ROLES = (
    *("inputs", "targets", "test_inputs", "test_targets", "noise"),
    *("validation_inputs", "validation_targets", "groups"),
)


def digest_of(source: Source) -> str:
    """SHA-256 (hex) of type, shape and bytes of all arrays of a source, and of what else decides its networks."""
    digest = hashlib.sha256()
    if source.imputed is not None:
        digest.update(f"imputed:{[(block.width, block.ordered) for block in source.imputed]}:".encode())
    if source.layout:
        digest.update(f"layout:{[(one.name, one.shape, str(one.dtype)) for one in source.layout]}:".encode())
    if source.padding is not None:
        digest.update(f"padding:{source.padding}:".encode())
    if not KINDS[source.kind].recognized:
        digest.update(f"kind:{source.kind}:".encode())
    for role in ROLES:
        tensor: Tensor | None = getattr(source, role)
        if tensor is not None:
            array = tensor.cpu().contiguous().numpy()
            little = array.astype(array.dtype.newbyteorder("<"), copy=False)
            digest.update(f"{role}:{tensor.dtype}:{list(tensor.shape)}:".encode())
            digest.update(little.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
