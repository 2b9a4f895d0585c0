"""What measures trained networks: a metric, accuracy under FGSM, a weighted mean, or several of these at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lossmith.analysis.adversarial import fgsm_correct
from lossmith.attacks import GRADIENTS, checked_epsilon
from lossmith.errors import InputError
from lossmith.metrics import METRICS, Metric
from lossmith.training import Trained

Objective = Callable[[Trained, Tensor, Tensor], Tensor | Mapping[str, Tensor]]
"""Fitness ``[P]`` (higher is better) of P trained networks on validation inputs and targets; or several figures by
name, of which ``"fitness"`` is the one that is maximised, and all are recorded."""


@dataclass(frozen=True)
class MetricObjective:
    """A metric on validation data, ``[P]``; one of which less is better is turned round for the fitness.

    Args:
        metric: Its name, by which its figure is recorded.
        own: The metric, if it is not the one that is registered by that name.

    Raises:
        InputError: if there is no such metric.
    """

    metric: str
    own: Metric | None = None

    def __post_init__(self) -> None:
        _ = self.measuring

    @property
    def measuring(self) -> Metric:
        """The metric."""
        return METRICS[self.metric] if self.own is None else self.own

    @property
    def name(self) -> str:
        """What a study knows it by."""
        return self.metric.replace("-", "_") if self.own is None else self.metric

    def __call__(self, trained: Trained, inputs: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
        """The figure, and the fitness."""
        metric = self.measuring
        value = metric(trained.networks.logits(inputs), targets)
        return {"fitness": metric.fitness(value), self.metric: value}


@dataclass(frozen=True)
class RobustAccuracy:
    """The objective of §6 of the paper: accuracy ``[P]`` on validation images that FGSM has changed by ε.

    Args:
        epsilon: Strength, a share of the range of pixels; 0 gives the accuracy.
        gradient: ``"loss"`` as in the paper, ``"cross-entropy"``, ``"margin"``, or ``"worst"``: an image counts if it
            is classified rightly without attack and survives all three.

    Raises:
        InputError: if ε is none, there is no such gradient, or (when it is called) the data is no images.
    """

    epsilon: float
    gradient: str = "worst"

    def __post_init__(self) -> None:
        checked_epsilon(self.epsilon)
        if self.gradient not in ("worst", *GRADIENTS):
            raise InputError(f"there is no gradient {self.gradient!r}; give worst, {', '.join(GRADIENTS)}")

    @property
    def name(self) -> str:
        """What a study knows it by."""
        return f"robust_accuracy({self.epsilon:g}, {self.gradient})"

    def __call__(self, trained: Trained, inputs: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
        """The figure, and the fitness."""
        if trained.max_pixel is None:
            raise InputError(
                "robust accuracy needs images with pixels in [0, 1], which this data is not; take another objective"
            )
        followed = GRADIENTS if self.gradient == "worst" else (self.gradient,)
        networks, losses = trained.networks, trained.losses
        _, survived, _ = fgsm_correct(networks, losses, inputs, targets, [self.epsilon], trained.max_pixel, followed)
        value = survived[0].all(0).double().mean(-1)
        return {"fitness": value, "robust-accuracy": value}


@dataclass(frozen=True)
class Weighted:
    """``(1 − w)`` times one objective plus ``w`` times another; the figures of both are recorded.

    Raises:
        InputError: unless w is in [0, 1].
    """

    first: Objective
    second: Objective
    weight: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise InputError(f"the weight is {self.weight:g}; it must be from 0 to 1")

    @property
    def name(self) -> str:
        """What a study knows it by."""
        return f"weighted({objective_name(self.first)}, {objective_name(self.second)}, {self.weight:g})"

    def __call__(self, trained: Trained, inputs: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
        """The figures of both, and the fitness."""
        first, second = (figures(one(trained, inputs, targets)) for one in (self.first, self.second))
        fitness = (1 - self.weight) * first["fitness"] + self.weight * second["fitness"]
        return {**first, **second, "fitness": fitness}


@dataclass(frozen=True)
class Recording:
    """An objective whose networks are measured by others, too, without a say in the fitness."""

    main: Objective
    others: tuple[Objective, ...]

    @property
    def name(self) -> str:
        """What a study knows it by."""
        return f"recording({objective_name(self.main)}, {', '.join(map(objective_name, self.others))})"

    def __call__(self, trained: Trained, inputs: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
        """The figures of all, and the fitness of the main one."""
        found: dict[str, Tensor] = {}
        for one in (*self.others, self.main):
            found |= figures(one(trained, inputs, targets))
        return found


ACCURACY = MetricObjective("accuracy")


def objective_name(objective: Objective) -> str:
    """What a study knows an objective by, since it cannot look into a function: the same name is the same objective."""
    if isinstance(objective, MetricObjective | RobustAccuracy | Weighted | Recording):
        return objective.name
    return str(getattr(objective, "__qualname__", type(objective).__qualname__))


def figures(measured: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What an objective gave, as figures by name in float64, ``"fitness"`` among them.

    Raises:
        InputError: if there is no fitness.
    """
    found = dict(measured) if isinstance(measured, Mapping) else {"fitness": measured}
    if "fitness" not in found:
        raise InputError(f'the objective gave {", ".join(found) or "nothing"}; one of its figures must be "fitness"')
    return {name: torch.as_tensor(value, dtype=torch.float64) for name, value in found.items()}
