"""Kinds of data: what their inputs are, and the first layer of their networks."""

from lossmith.data.kinds.base import AUTO, KINDS, InputLayer, Kind, Plain, checked_kind, has_ids, kind_of, turned
from lossmith.data.kinds.image import IMAGE
from lossmith.data.kinds.normalize import Normalize
from lossmith.data.kinds.tabular import TABULAR
from lossmith.data.kinds.tokens import TOKENS

KINDS.register("image", IMAGE)
KINDS.register("tabular", TABULAR)
KINDS.register("tokens", TOKENS)

__all__ = ["AUTO", "KINDS", "InputLayer", "Kind", "Normalize", "Plain", "checked_kind", "has_ids", "kind_of", "turned"]
