"""A loss as a text that needs nothing of this package: PyTorch, JAX or NumPy source, or LaTeX."""

from lossmith.losses.exports.registered import EXPORTS, export

__all__ = ["EXPORTS", "export"]
