"""A criterion for Keras 3 on PyTorch, whose losses take ``(y_true, y_pred)`` with the classes last."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lossmith.errors import InputError
from lossmith.integrations.shared import adapted, check_criterion
from lossmith.losses import Criterion

KerasFunction = Callable[[Any, Any], Tensor]


def keras_loss(criterion: Criterion) -> KerasFunction:
    """The ``loss`` of ``model.compile``: the criterion's value for each sample, of which Keras takes the mean.

    ``y_pred`` holds logits ``[N, K]`` or ``[N, d1, …, K]``, so the model must not end in a softmax; ``y_true`` holds
    class indices, with or without a last dimension of 1, or class probabilities of the logits' shape. The criterion's
    reduction is Keras's: the mean divides by the number of samples, with class weights and ignored samples, too, and
    ``class_weight`` and ``sample_weight`` of ``fit`` act as with other losses.

    Raises:
        InputError: If the criterion is none; when called, on probabilities in place of logits, and where Keras does not
            run on PyTorch.
    """
    check_criterion(criterion)
    looked = False

    def lossmith_loss(y_true: Any, y_pred: Any) -> Tensor:
        nonlocal looked
        logits, target = _arranged(y_true, y_pred)
        # Once is enough, and in a long training with small batches logits may look so by chance.
        if not looked and not logits.is_meta and not torch.compiler.is_compiling():
            _check_logits(y_pred)
            looked = True
        value: Tensor = adapted(criterion, logits.device, "none")(logits, target)
        return value

    return lossmith_loss


def keras_monitor(criterion: Criterion) -> KerasFunction:
    """A metric for ``model.compile``: cross-entropy, which early stopping should look at, as ``val_cross_entropy``.

    An evolved loss, which Keras reports as ``val_loss``, may rise while a network gets better. Arguments as those of
    ``keras_loss``.
    """
    check_criterion(criterion)

    def cross_entropy(y_true: Any, y_pred: Any) -> Tensor:
        logits, target = _arranged(y_true, y_pred)
        return adapted(criterion, logits.device, "none").monitor(logits, target)

    return cross_entropy


def _arranged(y_true: Any, y_pred: Any) -> tuple[Tensor, Tensor]:
    """Logits with the classes in dimension 1 and targets, as PyTorch's losses take them."""
    if not isinstance(y_pred, Tensor):
        raise InputError(
            f"Keras gives {type(y_pred).__module__}.{type(y_pred).__name__}, not a PyTorch tensor: set the environment "
            "variable KERAS_BACKEND=torch before keras is imported"
        )
    logits = y_pred.movedim(-1, 1)
    if y_true.shape == y_pred.shape:
        return logits, y_true.movedim(-1, 1)
    # Keras makes floating numbers of class indices.
    return logits, (y_true.squeeze(-1) if y_true.ndim == y_pred.ndim else y_true).long()


def _check_logits(outputs: Tensor) -> None:
    """See that not every sample has numbers from 0 to 1 with the sum 1, as logits do not."""
    outputs = outputs.detach()
    if outputs.shape[-1] > 1 and (outputs >= 0).all() and ((outputs.sum(-1) - 1).abs() < 1e-5).all():
        raise InputError(
            "y_pred holds probabilities, not logits: leave out the softmax at the end of the model, since the loss "
            "applies one"
        )
