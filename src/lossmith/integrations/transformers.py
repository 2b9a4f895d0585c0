"""A criterion for Hugging Face's ``Trainer``: its ``compute_loss_func`` and ``compute_metrics``."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lossmith.errors import InputError
from lossmith.integrations.shared import adapted, check_criterion
from lossmith.losses import Criterion

TrainerLoss = Callable[..., Tensor]
# What the Trainer leaves out when it counts the labels of a step.
IGNORED = -100


def trainer_loss(criterion: Criterion) -> TrainerLoss:
    """The ``compute_loss_func`` of a criterion: the gradient is the same however a step is accumulated.

    ``(Σ_n w_n L_n) / num_items_in_batch``: the Trainer counts the labels of all batches that make a step, on every
    device, so that each counts the same, whatever batch it is in. With class weights w the divisor is the number of
    labels, not the sum of their weights, which no batch knows of the others; weights of mean 1 leave the scale of the
    gradient as it is.

    Args:
        criterion: With ``reduction="mean"`` and ``ignore_index=-100``.

    Returns:
        A function of a model's outputs with logits ``[N, K]``, of tokens ``[N, L, K]``, or of pixels
        ``[N, K, H, W]``; of labels ``[N]``, ``[N, L]`` or ``[N, H, W]``; and of ``num_items_in_batch``, without which
        the criterion's own mean is taken.

    Raises:
        InputError: If the criterion is none, reduces otherwise or ignores another class; when called, on outputs
            without logits, and on those of a causal language model.
    """
    _check(criterion)

    def compute_loss(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        logits, labels = _arranged(_logits_of(outputs), labels)
        if num_items_in_batch is None:
            mean: Tensor = adapted(criterion, logits.device, "mean")(logits, labels)
            return mean
        whole: Tensor = adapted(criterion, logits.device, "sum")(logits, labels)
        return whole / num_items_in_batch

    return compute_loss


def trainer_metrics(criterion: Criterion) -> Callable[[Any], dict[str, float]]:
    """The ``compute_metrics`` of a criterion: ``cross_entropy``, which early stopping should look at, and ``accuracy``.

    An evolved loss, which the Trainer reports as ``eval_loss``, may rise while a network gets better: choose the best
    model by ``metric_for_best_model="cross_entropy", greater_is_better=False`` or by the accuracy.

    Args:
        criterion: With ``reduction="mean"`` and ``ignore_index=-100``.

    Raises:
        InputError: If the criterion is none, reduces otherwise or ignores another class.
    """
    _check(criterion)

    def compute_metrics(evaluation: Any) -> dict[str, float]:
        predictions = evaluation.predictions
        given = predictions[0] if isinstance(predictions, tuple) else predictions
        logits, labels = _arranged(torch.as_tensor(given), torch.as_tensor(evaluation.label_ids))
        right = (logits.argmax(1) == labels)[labels != IGNORED]
        return {
            "cross_entropy": adapted(criterion, logits.device, "mean").monitor(logits, labels).item(),
            "accuracy": right.double().mean().item(),
        }

    return compute_metrics


def _check(criterion: Criterion) -> None:
    check_criterion(criterion)
    if criterion.reduction != "mean":
        raise InputError(
            f"reduction is {criterion.reduction!r}, but the Trainer needs the mean over a step: give 'mean'"
        )
    if criterion.ignore_index != IGNORED:
        raise InputError(
            f"ignore_index is {criterion.ignore_index}, but the Trainer counts every label that is not {IGNORED}: "
            f"leave ignore_index at its default, and mark labels that do not count by {IGNORED}"
        )


def _logits_of(outputs: Any) -> Tensor:
    """The logits among the outputs of a model."""
    if type(outputs).__name__.startswith("CausalLM"):
        raise InputError(
            "a causal language model predicts the next token, so its labels must be shifted: give a function of your "
            "own as compute_loss_func that shifts them and calls the criterion"
        )
    if isinstance(outputs, dict) and "logits" not in outputs:
        raise InputError(
            f"the model's outputs have no 'logits', only {', '.join(outputs)}: give a model with a classification head"
        )
    found = outputs["logits"] if isinstance(outputs, dict) else outputs
    logits: Tensor = found[0] if isinstance(found, (tuple, list)) else found
    return logits


def _arranged(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of tokens ``[N, L, K]`` with the classes where PyTorch's losses have them, ``[N, K, L]``."""
    return (logits.movedim(-1, 1) if logits.ndim == 3 else logits), labels
