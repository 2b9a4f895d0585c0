"""The database of a study."""

from lossmith.store.database import Store

__all__ = ["Store"]
