"""Metrics by name: what a search can maximise and a table can show."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lossmith.metrics.classification import accuracy, balanced_accuracy, macro_f1, mean_cross_entropy
from lossmith.metrics.costs import Costs, checked_costs, expected_cost
from lossmith.metrics.finite import finite
from lossmith.metrics.ranking import area_under_roc, average_precision
from lossmith.registry import Registry


@dataclass(frozen=True)
class Metric:
    """A number for each network, of its logits and the targets.

    Calling it gives ``[P]`` in float64 for logits ``[P, N, K]`` and class indices ``[N]``, by the policy of
    :mod:`lossmith.metrics.finite`.

    Args:
        value: Computes it; it is given networks whose logits are all finite.
        higher_is_better: Its direction.
        worst: What a network has that gives a logit that is not finite; without it 0, or ∞ where less is better.
        share: Whether it is a share, which pictures show in percent.
        priced: Makes it of costs, if it has a use for such.

    Example:
        >>> METRICS["accuracy"](torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]), torch.tensor([0, 1])).tolist()
        [0.5]
    """

    value: Callable[[Tensor, Tensor], Tensor]
    higher_is_better: bool = True
    worst: float = math.nan
    share: bool = False
    priced: Callable[[Costs], Metric] | None = None

    def __post_init__(self) -> None:
        if math.isnan(self.worst):
            object.__setattr__(self, "worst", 0.0 if self.higher_is_better else math.inf)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The metric ``[P]``."""
        sound = finite(logits)
        if bool(sound.all()):
            return self.value(logits, targets).double()
        found = torch.full(sound.shape, self.worst, dtype=torch.float64, device=logits.device)
        if bool(sound.any()):
            found[sound] = self.value(logits[sound], targets).double()
        return found

    def fitness(self, values: Tensor) -> Tensor:
        """Values of the metric turned so that higher is better."""
        return values if self.higher_is_better else -values


METRICS: Registry[Metric] = Registry("metric")


def direction(figure: str) -> float:
    """1 for a figure of which more is better, −1 for a metric of which less is."""
    return 1.0 if figure not in METRICS or METRICS[figure].higher_is_better else -1.0


def _calibration_error(logits: Tensor, targets: Tensor) -> Tensor:
    # SciPy takes a second to load, which trainings need not wait for.
    from lossmith.metrics.calibration import calibration_error

    labels = targets.cpu().numpy()
    errors = [calibration_error(one, labels) for one in logits.double().cpu().numpy()]
    return torch.tensor(errors, dtype=torch.float64, device=logits.device)


def _priced(costs: Costs) -> Metric:
    checked = checked_costs(costs)
    return Metric(partial(expected_cost, costs=checked), higher_is_better=False, worst=max(map(max, checked)))


METRICS.register("accuracy", Metric(accuracy, share=True))
METRICS.register("balanced-accuracy", Metric(balanced_accuracy, share=True))
METRICS.register("macro-f1", Metric(macro_f1))
METRICS.register("auc", Metric(area_under_roc))
METRICS.register("average-precision", Metric(average_precision))
METRICS.register("nll", Metric(mean_cross_entropy, higher_is_better=False, worst=torch.inf))
METRICS.register("calibration-error", Metric(_calibration_error, higher_is_better=False, worst=1.0, share=True))
METRICS.register("expected-cost", Metric(expected_cost, higher_is_better=False, worst=1.0, priced=_priced))
