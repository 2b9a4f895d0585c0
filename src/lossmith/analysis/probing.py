"""The trial of a metric that is not lossmith's own, before anything is trained or written."""

from __future__ import annotations

import torch
from torch import Tensor

from lossmith.analysis.measuring import MetricObjective, Objective, Recording, Weighted
from lossmith.errors import InputError
from lossmith.metrics import best_constant
from lossmith.seeds import generator


def check_metric(objective: Objective, targets: Tensor, classes: int) -> None:
    """See that a metric of the user's own, or with costs, gives numbers on some labels.

    It is tried with random logits, and with outputs that are the same for every sample, as a network can begin with.

    Args:
        objective: What is maximized.
        targets: Class indices ``[N]`` of the validation part.
        classes: K.

    Raises:
        InputError: if the metric raises, or gives anything but one finite number for random logits.
    """
    for one in _metrics_of(objective):
        logits = torch.randn(2, len(targets), classes, generator=generator("probing"), dtype=torch.float64)
        values = one.measuring(logits.to(targets.device), targets)
        if not bool(values.isfinite().all()):
            raise InputError(
                f"the metric {one.metric} gave {values.tolist()[0]:g} for random logits: let it return a finite number"
            )
        best_constant(one.measuring, targets, classes)


def _metrics_of(objective: Objective) -> list[MetricObjective]:
    """The metrics in an objective that are not registered ones as they stand."""
    if isinstance(objective, Recording):
        return [one for part in (objective.main, *objective.others) for one in _metrics_of(part)]
    if isinstance(objective, Weighted):
        return [*_metrics_of(objective.first), *_metrics_of(objective.second)]
    return [objective] if isinstance(objective, MetricObjective) and objective.own is not None else []
