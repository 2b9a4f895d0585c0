"""Kinds of data: what their inputs are, and the first layer of their networks."""

from lossmith.data.kinds.base import AUTO, KINDS, InputLayer, Kind, Plain, checked_kind, has_ids, kind_of, turned
from lossmith.data.kinds.image import IMAGE
from lossmith.data.kinds.named import NAMED, Field, Unpack, packed
from lossmith.data.kinds.normalize import Normalize
from lossmith.data.kinds.tabular import TABULAR
from lossmith.data.kinds.tokens import MOST_IDS, TOKENS

KINDS.register("image", IMAGE)
KINDS.register("tabular", TABULAR)
KINDS.register("tokens", TOKENS)
KINDS.register("dict", NAMED)

__all__ = [
    "AUTO",
    "KINDS",
    "MOST_IDS",
    "Field",
    "InputLayer",
    "Kind",
    "Normalize",
    "Plain",
    "Unpack",
    "checked_kind",
    "has_ids",
    "kind_of",
    "packed",
    "turned",
]
