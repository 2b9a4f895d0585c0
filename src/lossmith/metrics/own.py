"""Metrics of the user's own: a function of NumPy arrays, as scikit-learn's are, or a name of one."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossmith.code import ByName, described, importable, load_code, portable_code
from lossmith.errors import InputError, brief
from lossmith.metrics.registered import METRICS, Metric

LOG = logging.getLogger("lossmith")
Function = Callable[[Any, Any], Any]
PREDICTIONS = ("predictions", "predicted", "y_pred")
PROBABILITIES, OF_ONE = ("probabilities",), ("y_score", "y_prob", "y_proba")
LOGITS = ("logits",)
# As scikit-learn calls what is to be minimized.
LESS = ("loss", "error", "cost", "deviance")


@dataclass(frozen=True)
class OwnValue:
    """Calls a function for one network after the other.

    Args:
        called: The function.
        name: What it is called in messages.
    """

    called: Function
    name: str

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The metric ``[P]``.

        Raises:
            InputError: if the function raises, or gives anything but one number.
        """
        given, labels = argument_of(self.called, self.name), targets.cpu().numpy()
        values = [self._one(given(row.double()), labels.copy()) for row in logits.detach().cpu()]
        return torch.tensor(values, dtype=torch.float64, device=logits.device)

    def _one(self, given: Any, labels: Any) -> float:
        try:
            value = self.called(labels, given)
        except Exception as error:
            raise InputError(f"the metric {self.name} raised {described(error)}: correct the function") from error
        try:
            array = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError(f"the metric {self.name} gave {brief(value)}: let it return one number") from None
        if array.size != 1:
            raise InputError(f"the metric {self.name} gave {array.size} numbers: let it return one")
        return float(array.reshape(()))


@dataclass(frozen=True)
class Named(ByName):
    """A function of the user's own, found again by its name in another process.

    Args:
        name: ``package.module:function`` or ``FILE.py:function``.
        directory: Where its module is looked for, too.
    """

    name: str
    directory: str

    @cached_property
    def function(self) -> Any:
        """What the name stands for."""
        with torch.random.fork_rng(devices=[]):
            return load_code(self.name, "metric", self.directory)

    def __call__(self, *given: Any) -> Any:
        """What the function gives."""
        with importable(self.name, self.directory):
            return self.function(*given)

    def __reduce__(self) -> tuple[type[Named], tuple[str, str]]:
        """By name: another process finds no module of a file."""
        return Named, (self.name, self.directory)


def own_metric(
    function: Function,
    *,
    higher_is_better: bool | None = None,
    share: bool | None = None,
    worst: float | None = None,
    name: str | None = None,
) -> Metric:
    """A metric of a function ``f(targets, predictions)`` that gives one number for one network.

    Both are NumPy arrays. What the function is given is said by the name of its second argument, scikit-learn's
    included: ``predictions`` (``y_pred``) are class indices ``[N]``; ``probabilities`` softmax outputs ``[N, K]``;
    ``y_score`` and ``y_proba``, too, but with two classes those of class 1 alone, ``[N]``; ``logits`` ``[N, K]``.

    A network whose figure is not finite counts as diverged.

    Args:
        function: The function.
        higher_is_better: Its direction; without it the attribute ``higher_is_better`` of the function, or else by its
            name: less is better of what ends in loss, error, cost or deviance. Such a guess is told.
        share: Whether pictures show it in percent; without it the attribute ``share`` of the function, or not.
        worst: What a network has that gives a logit that is not finite; without it the attribute ``worst`` of the
            function, or no finite number.
        name: What it is called; without it as the function is.

    Raises:
        InputError: if it is no function, or its second argument has another name.

    Example:
        >>> def spread(targets, predictions):
        ...     return abs(predictions.mean() - targets.mean())
        >>> spread.higher_is_better = False
        >>> own_metric(spread)(torch.eye(2)[None], torch.tensor([0, 0])).tolist()
        [0.5]
    """
    called: Any = function.function if isinstance(function, Named) else function
    label = name or str(getattr(called, "__qualname__", type(called).__qualname__))
    argument_of(called, label)
    if higher_is_better is None:
        higher_is_better = _direction(called, label)
    share = bool(getattr(called, "share", False)) if share is None else share
    if worst is None:
        worst = float(getattr(called, "worst", -math.inf if higher_is_better else math.inf))
    return Metric(OwnValue(function, label), higher_is_better, worst, share)


def named_metric(name: str, directory: str) -> Metric:
    """The metric that a name of the user's code stands for: a function as :func:`own_metric` takes it, or a Metric.

    Raises:
        InputError: if nothing can be loaded by that name, or it is neither.
    """
    named = Named(name, directory)
    found = named.function
    if isinstance(found, Metric):
        return Metric(NamedValue(named), found.higher_is_better, found.worst, found.share)
    return own_metric(named, name=portable_code(name))


@dataclass(frozen=True)
class NamedValue:
    """The value of a Metric that a name stands for."""

    named: Named

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The metric ``[P]``.

        Raises:
            InputError: if it raises, or gives another number of figures.
        """
        name = portable_code(self.named.name)
        try:
            with importable(self.named.name, self.named.directory):
                found: Tensor = torch.as_tensor(self.named.function.value(logits, targets), dtype=torch.float64)
        except Exception as error:
            raise InputError(f"the metric {name} raised {described(error)}: correct it") from error
        if found.shape != logits.shape[:1]:
            raise InputError(f"the metric {name} gave a shape of {list(found.shape)} for {len(logits)} networks")
        return found


def argument_of(function: Any, name: str) -> Callable[[Tensor], Any]:
    """What a function wants as its second argument, made of the logits ``[N, K]`` of a network.

    Raises:
        InputError: if it is no function, or its second argument has no known name.
    """
    function = function.function if isinstance(function, Named) else function
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        raise InputError(f"the metric {name} is {_a(function)}: give a function f(targets, predictions)") from None
    wanted = parameters[1].name if len(parameters) > 1 else ""
    if wanted in PREDICTIONS:
        return lambda row: row.argmax(-1).numpy()
    if wanted in PROBABILITIES:
        return lambda row: row.softmax(-1).numpy()
    if wanted in OF_ONE:
        return lambda row: row.softmax(-1).numpy()[:, 1 if row.shape[-1] == 2 else slice(None)]
    if wanted in LOGITS:
        return lambda row: row.numpy().copy()
    raise InputError(
        f"the metric {name} has {f'a second argument {wanted!r}' if wanted else 'less than two arguments'}: give "
        "f(targets, predictions), f(targets, probabilities) or f(targets, logits), whose names say what is wanted"
    )


def _direction(function: Any, name: str) -> bool:
    """Whether more is better, as the function says, or else by its name, which is told."""
    said = getattr(function, "higher_is_better", None)
    if isinstance(said, bool):
        return said
    less = not higher_is_better(name)
    _tell_direction(name, less)
    return not less


def higher_is_better(name: str) -> bool:
    """Whether more of a score is better, by what it is called: that of a metric, or less of a loss, error or cost."""
    return METRICS[name].higher_is_better if name in METRICS else not name.lower().endswith(LESS)


@cache
def _tell_direction(name: str, less: bool) -> None:
    """Say once which direction a metric is taken to have."""
    LOG.warning(
        "of the metric %s, %s is taken to be better%s; to say it, give the function an attribute higher_is_better",
        name,
        "less" if less else "more",
        " by its name" if less else "",
    )


def _a(value: object) -> str:
    return "None" if value is None else f"an object of type {type(value).__name__}"
