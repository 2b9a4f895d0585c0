"""A loss as a drop-in for ``torch.nn.CrossEntropyLoss``."""

import logging
import math
import os
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from lossmith.errors import InputError, brief, printable
from lossmith.losses import fused, powers
from lossmith.losses.base import Loss
from lossmith.losses.catalog import CATALOG, cross_entropy
from lossmith.losses.kernel import values as sample_values
from lossmith.losses.labels import labels_of, wide
from lossmith.losses.parse import find_weighted
from lossmith.losses.power import PowerLoss
from lossmith.losses.targets import check_targets
from lossmith.losses.terms import Weighted, smooth_labels
from lossmith.losses.weighting import ClassWeighted, label_weights

LOG = logging.getLogger("lossmith")


class Criterion(nn.CrossEntropyLoss):
    """Any loss behind the call of ``torch.nn.CrossEntropyLoss``; with ``cross_entropy()`` the two are equal.

    A sample counts by the weight of its label, ``w(y) L``, for every loss alike; with class probabilities and with
    ``label_smoothing`` a sum of powers weights what it makes of the label of each class by that class, as PyTorch
    does for cross-entropy (:class:`~lossmith.losses.ClassWeighted`). Half precision is computed in float32; value and
    gradients are finite at every finite logit (a float16 result, whose range ends at 65504, may overflow), and a logit
    of −∞ counts as a log output of −1e18; it can be differentiated twice, and compiled, then once. A class index that
    is no class stops eager and compiled programs alike. The state dictionary holds the class weights alone, as that of
    ``nn.CrossEntropyLoss``, and the two load each other's: the loss is an argument like the reduction, kept by
    ``lossmith.save(criterion.loss, file)`` or by saving the whole module. Logits must not be changed in place between
    the forward and the backward pass.

    The value of an evolved loss does not show progress: it may rise while a network learns. Early stopping, schedules
    and curves should look at :meth:`monitor`, or at a metric.

    Args:
        loss: One loss (not a population); or what :func:`lossmith.find` takes: a name with its parameter
            (``"focal:2"``), λ, or a loss file (``"best.json"``).
        weight: A weight ``[K]`` for each class; as in PyTorch, with class indices the mean divides by their sum.
            Without it those with which the loss of a file was evolved, if it was with any; a loss that is loaded
            (``lossmith.load``) brings none.
        ignore_index: Samples with this class index count for nothing.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        label_smoothing: α in [0, 1]; labels y become ``(1−α) y + α/K``.
        classes: K, for names that depend on it (``"label-smoothing:0.1"``).

    Attributes:
        progress: The share of the training that is done, from 0 to 1, which the training script sets for a loss that
            changes during the training; others are what they are.

    Shapes: logits (``input``) ``(K,)``, ``(N, K)`` or ``(N, K, d1, …)``; ``target`` holds class indices (the same
    without K) or class probabilities (the same shape as the logits).

    Raises:
        InputError: on an argument out of range, a population, or logits of another number of classes than the loss is
            made for.

    Example:
        >>> import torch, lossmith
        >>> criterion = lossmith.Criterion("focal:2", label_smoothing=0.1)
        >>> criterion(torch.zeros(2, 4), torch.tensor([0, 3]))
        tensor(0.7798)
        >>> criterion.monitor(torch.zeros(2, 4), torch.tensor([0, 3]))
        tensor(1.3863)
    """

    _terms: tuple[Weighted, ...] | None

    def __init__(
        self,
        loss: Loss | str | os.PathLike[str],
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        classes: int | None = None,
    ) -> None:
        if not isinstance(loss, Loss | str | os.PathLike):
            raise InputError(
                f"Criterion takes a lossmith.Loss, a name such as 'focal:2' or a loss file, not {type(loss).__name__}"
            )
        if reduction not in ("mean", "sum", "none"):
            raise InputError(f"reduction is {reduction!r}; it must be 'mean', 'sum' or 'none'")
        if not 0 <= label_smoothing <= 1:
            raise InputError(f"label_smoothing is {label_smoothing}; it must lie between 0 and 1")
        if weight is not None and not isinstance(weight, Tensor):
            raise InputError(f"weight is a {type(weight).__name__}; give a tensor (torch.as_tensor makes one)")
        if not isinstance(loss, Loss):
            loss, weight = _found(os.fspath(loss), weight, classes)
        elif classes is not None:
            loss.check_classes(classes)
        super().__init__(weight, ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing)
        self._progress = 0.0
        self._set_loss(loss)
        # At the first class probabilities on a GPU; on the host at all.
        self._look = True

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of a batch; shapes as for ``torch.nn.CrossEntropyLoss``."""
        logits, targets = input, target
        if not isinstance(logits, Tensor) or not logits.is_floating_point():
            kind = logits.dtype if isinstance(logits, Tensor) else type(logits).__name__
            raise InputError(f"logits are {kind}; give a floating tensor")
        if logits.ndim == 0:
            raise InputError("logits must have a class dimension: (K,), (N, K) or (N, K, d1, …)")
        dim = 0 if logits.ndim == 1 else 1
        classes = logits.shape[dim]
        if not classes:
            raise InputError(f"logits of shape {tuple(logits.shape)} have no classes; give one logit at least for each")
        self.loss.check_classes(classes)
        look = self._look or (isinstance(targets, Tensor) and targets.is_cpu)
        weight = self.weight
        indices = check_targets(logits, targets, dim, weight, self.ignore_index, look)
        count: Tensor | int
        terms = self._terms
        if terms is not None and self.label_smoothing:
            terms = tuple(smooth_labels(terms, self.label_smoothing, classes))
        compiling = torch.compiler.is_compiling()
        if look and not compiling:
            self._look = False
        # Else the weights are of other labels than those that the loss sees.
        alike = weight is None or not self.label_smoothing
        if terms is not None and alike and not compiling and fused.applies(logits, targets, weight):
            values = fused.reduced(terms, logits, targets, self.ignore_index, self.reduction, weight)
            return self._result(values, logits, targets)
        if indices:
            targets = targets.long()
            kept = targets != self.ignore_index
            known = torch.where(kept, targets, 0)
            values = torch.where(kept, self._values(terms, logits, known, dim), 0.0)
            count = kept.sum() if weight is None else self._counted(weight.to(values.dtype), known, kept)
        else:
            values = self._values(terms, logits, targets, dim)
            count = values.numel()
        if self.reduction != "none":
            values = values.sum()
        if self.reduction == "mean":
            values = values / count
        return self._result(values, logits, targets)

    @torch.no_grad()
    def monitor(self, input: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy with the same class weights, ``ignore_index`` and reduction, without gradient.

        Early stopping and curves should look at this and not at the loss, whose value does not show progress. It falls
        as the outputs come nearer to the labels, whatever the loss, and is comparable between losses.
        """
        if torch.compiler.is_compiling():
            return self._monitored(input, target)
        value: Tensor = Criterion(cross_entropy(), self.weight, self.ignore_index, self.reduction)(input, target)
        return value

    def _monitored(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The same in a program that is traced, where no loss can be made."""
        f = wide(logits)
        weight = None if self.weight is None else self.weight.to(f.dtype)
        known = targets.to(f.dtype) if targets.is_floating_point() else targets.long()
        value = nn.functional.cross_entropy(f, known, weight, ignore_index=self.ignore_index, reduction=self.reduction)
        return self._result(value, logits, targets)

    @staticmethod
    def _result(values: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        """In the dtype of logits and class probabilities; under autocast in float32, as that of `cross_entropy`."""
        if values.dtype == logits.dtype and not targets.is_floating_point():
            return values
        wide = not logits.is_meta and torch.is_autocast_enabled(logits.device.type)
        return values if wide else values.to(torch.promote_types(logits.dtype, targets.dtype))

    @staticmethod
    def _counted(weight: Tensor, known: Tensor, kept: Tensor) -> Tensor:
        """The sum of the class weights of the samples that count."""
        return (label_weights(weight, known) * kept).sum()

    def _values(self, terms: tuple[Weighted, ...] | None, logits: Tensor, targets: Tensor, dim: int) -> Tensor:
        """The weighted loss of each sample, shaped as the logits without their class dimension."""
        soft = targets.is_floating_point() or self.label_smoothing
        if terms is None or (self.weight is not None and soft):
            return self._of_any_kind(logits, targets, dim)
        traced = self.weight is None and logits.ndim == 2 and torch.compiler.is_compiling()
        if traced and fused.applies(logits, targets):
            return fused.values(terms, logits, targets)
        x = powers.log_outputs(logits, dim)
        values = sample_values(terms, x, targets, dim)
        return values if self.weight is None else values * label_weights(self.weight.to(x.dtype), targets)

    def _of_any_kind(self, logits: Tensor, targets: Tensor, dim: int) -> Tensor:
        """The same for any loss and any labels, with the classes in the last dimension."""
        f = logits.movedim(dim, -1)
        soft = targets.is_floating_point()
        y = labels_of(targets.movedim(dim, -1) if soft else targets, wide(f))
        given = y
        if self.label_smoothing:
            y = (1 - self.label_smoothing) * y + self.label_smoothing / f.shape[-1]
        shape = f.shape[:-1]
        f, y, given = (one.reshape(-1, f.shape[-1]) for one in (f, y, given))
        if self.weight is None:
            return self._now.value(f, y).reshape(shape)
        return self._weighted.value(f, y, self.weight, given).reshape(shape)

    @property
    def progress(self) -> float:
        """The share of the training that is done, from 0 to 1, of which a loss that changes makes use."""
        return self._progress

    @progress.setter
    def progress(self, share: float) -> None:
        try:
            done = float(share)
        except (TypeError, ValueError, RuntimeError):
            done = math.nan
        if isinstance(share, bool | str) or not 0 <= done <= 1:
            raise InputError(f"progress is {brief(share)}; give the share of the training that is done, from 0 to 1")
        self._progress = done
        now = self.loss.at(done)
        if now is not self._now:
            self._set_now(now)

    def _set_loss(self, loss: Loss) -> None:
        if loss.shape:
            raise InputError("Criterion takes one loss, not a population; index the member that you want")
        self.loss = loss
        self._set_now(loss.at(self._progress))

    def _set_now(self, loss: Loss) -> None:
        self._now, self._weighted, self._terms = loss, ClassWeighted(loss), None
        if isinstance(loss, PowerLoss):
            terms, coefficients = loss.evaluated
            self._terms = tuple(zip(terms, coefficients.tolist(), strict=True))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        # Up to version 0.2 the state carried the loss, and restored it.
        loss = state_dict.pop(prefix + "_extra_state", None)
        if loss is not None:
            self._set_loss(Loss.from_json(loss))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def __prepare_scriptable__(self) -> NoReturn:
        """What ``torch.jit.script`` asks for."""
        raise InputError(
            "a Criterion cannot be scripted: compile the training step with torch.compile, and script the network "
            "without its criterion"
        )

    def extra_repr(self) -> str:
        """Formula and settings."""
        more = "" if self.weight is None else f", weight={self.weight.tolist()}"
        more += "" if self.ignore_index == -100 else f", ignore_index={self.ignore_index}"
        return f"{self.loss!r}, reduction={self.reduction!r}, label_smoothing={self.label_smoothing:g}{more}"


def _found(text: str, weight: Tensor | None, classes: int | None) -> tuple[Loss, Tensor | None]:
    """The loss that a text stands for, and the class weights that are given or those of its file."""
    known = len(weight) if classes is None and weight is not None and weight.ndim == 1 else classes
    loss, weights = find_weighted(text, known)
    _tell_share(text)
    if weights is None:
        return loss, weight
    if weight is not None:
        LOG.warning("the class weights that %s was evolved with give way to those of the criterion", printable(text))
        return loss, weight
    return loss, torch.tensor(weights)


def _tell_share(text: str) -> None:
    """Say which share a loss takes that depends on one and is told none."""
    parameter = CATALOG[text].parameter if text in CATALOG else None
    if parameter is not None and parameter.share:
        LOG.warning(
            "%s takes %s = %g for the share of %s, since none is given; write for example %s:0.2",
            *(text, parameter.symbol, parameter.default, parameter.share, text),
        )
