"""What a loss is exported to: the one place where it is told."""

from collections.abc import Callable, Sequence
from functools import partial

from lossmith.errors import InputError
from lossmith.losses.base import Loss
from lossmith.losses.exports.arrays import JAX, NUMPY, array_source
from lossmith.losses.exports.formulas import latex_source
from lossmith.losses.exports.pytorch import torch_source
from lossmith.registry import Registry

Exporter = Callable[[Loss, Sequence[float] | None], str]
"""One loss, and class weights or None, to the text."""

EXPORTS = Registry[Exporter]("export")
EXPORTS.register("torch", torch_source)
EXPORTS.register("latex", latex_source)
EXPORTS.register("jax", partial(array_source, JAX))
EXPORTS.register("numpy", partial(array_source, NUMPY))


def export(loss: Loss, to: str = "torch", weight: Sequence[float] | None = None) -> str:
    """A loss as a text that needs nothing of this package, with every digit of its numbers.

    ``"torch"``: a module with a class ``Loss(torch.nn.Module)`` that is called like ``torch.nn.CrossEntropyLoss`` and
    equals :class:`lossmith.Criterion` in value and gradient. ``"jax"`` and ``"numpy"``: a module with a function
    ``loss(logits, targets)``, the mean over a batch ``[…, K]``. ``"latex"``: its formulas.

    Args:
        loss: One loss.
        to: One of ``EXPORTS``.
        weight: Class weights ``[K]`` that are a part of it, or None.

    Raises:
        InputError: if there is no such export, or the loss cannot be exported so.
    """
    write = EXPORTS[to]
    if loss.shape:
        raise InputError(f"{loss.name!r} is a population; export the one member that you want")
    if loss.at(0.0) is not loss or loss.at(1.0) is not loss:
        raise InputError(
            f"the loss {loss.name!r} ({loss.kind}) changes during the training, which an export does not follow; use "
            "it by lossmith.Criterion, or export loss.at(progress)"
        )
    return write(loss, None if weight is None else [float(one) for one in weight])
