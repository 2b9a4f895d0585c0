"""Feature vectors."""

from lossmith.data.arrays import real_inputs
from lossmith.data.kinds.base import Kind
from lossmith.data.kinds.normalize import Normalize

TABULAR = Kind(
    called="flat features",
    shapes=("[N, features]",),
    dimensions=(2,),
    prepare=real_inputs,
    fit=Normalize.fit,
    recognized=True,
)
