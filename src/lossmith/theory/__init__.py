"""What a loss does, computed from its learning rule."""

from lossmith.theory.invariant import gain, is_trainable, margin, null_epoch

__all__ = ["gain", "is_trainable", "margin", "null_epoch"]
