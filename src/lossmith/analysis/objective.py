"""Objectives: what the search maximises of the networks that were trained with each candidate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from lossmith.analysis.adversarial import fgsm_correct
from lossmith.attacks import GRADIENTS, checked_epsilon
from lossmith.errors import InputError
from lossmith.metrics import METRICS
from lossmith.registry import Registry
from lossmith.settings import Settings
from lossmith.training import Trained

Objective = Callable[[Trained, Tensor, Tensor], Tensor | Mapping[str, Tensor]]
"""Fitness ``[P]`` (higher is better) of P trained networks on validation inputs and targets; or several figures by
name, of which ``"fitness"`` is the one that is maximised, and all are recorded."""


@dataclass(frozen=True)
class Choice:
    """An objective that settings can name.

    Args:
        build: The objective of some settings.
        figures: What it records of networks; one that is recorded beside another objective has one, of its own name.
        uses: Which of the settings decide about it.
        attacks: Whether it attacks images.
        share: Whether the fitness is a share, which pictures show in percent.
    """

    build: Callable[[ObjectiveSettings], Objective]
    figures: tuple[str, ...]
    uses: tuple[str, ...] = ()
    attacks: bool = False
    share: bool = False


class Objectives(Registry[Choice]):
    """What is registered here, after every metric, which is an objective, too."""

    @property
    def entries(self) -> Mapping[str, Choice]:
        """Entries by name.

        Raises:
            InputError: if a metric has the name of one that is registered here.
        """
        own = super().entries
        for name in METRICS:
            if name in own:
                raise InputError(f"there is an objective {name!r} already; register the metric by another name")
        return {**{name: _measuring(name) for name in METRICS}, **own}


class Figures(Registry[Choice]):
    """Those of the objectives that can be recorded beside another one; what is registered there is here."""

    def register(self, name: str, entry: Choice) -> Choice:  # noqa: ARG002
        """Nothing can be registered here alone.

        Raises:
            InputError: always.
        """
        raise InputError(f"register {name!r} as a metric or an objective; figures are those of these that have one")

    @property
    def entries(self) -> Mapping[str, Choice]:
        """Entries by name."""
        return {name: one for name, one in OBJECTIVES.items() if one.figures == (name,)}


OBJECTIVES = Objectives("objective")
FIGURES = Figures("figure")


class ObjectiveSettings(Settings):
    """What the search maximises."""

    metric: Annotated[str, OBJECTIVES] = "accuracy"
    """Fitness of a candidate on validation data: a metric (turned round if less of it is better), accuracy under FGSM,
    or the weighted mean of accuracy and accuracy under FGSM."""

    epsilon: float = Field(default=0.1, ge=0, le=1, allow_inf_nan=False)
    """Strength of FGSM, a share of the range of pixels."""

    gradient: Literal["worst", "loss", "cross-entropy", "margin"] = "worst"
    """The gradient that FGSM follows: of the loss itself (as in the paper; a loss can hide from it), of cross-entropy,
    of the logit margin, or all three, of which an image must survive each."""

    weight: float = Field(default=0.5, ge=0, le=1, allow_inf_nan=False)
    """Weight of the accuracy under FGSM in "weighted"."""

    record: tuple[Annotated[str, FIGURES], ...] = Field(default=(), strict=False)
    """Figures that are measured and recorded for each candidate, besides those that the objective needs."""

    @property
    def is_attacked(self) -> bool:
        """Whether candidates are attacked."""
        return any(OBJECTIVES[name].attacks for name in (self.metric, *self.record))

    @property
    def used(self) -> set[str]:
        """The settings that have an effect."""
        return {setting for name in (self.metric, *self.record) for setting in OBJECTIVES[name].uses}

    def build(self) -> Objective:
        """The objective of the settings."""
        main = OBJECTIVES[self.metric]
        others = [FIGURES[name].build(self) for name in self.record if name not in main.figures]
        # Accuracy costs next to nothing, and a front needs two figures.
        if "accuracy" not in (*main.figures, *self.record):
            others.append(ACCURACY)
        return Recording(main.build(self), tuple(others)) if others else main.build(self)


@dataclass(frozen=True)
class MetricObjective:
    """A registered metric on validation data, ``[P]``; one of which less is better is turned round for the fitness.

    Args:
        metric: Its name.

    Raises:
        InputError: if there is no such metric.
    """

    metric: str

    def __post_init__(self) -> None:
        METRICS[self.metric]

    @property
    def name(self) -> str:
        """What a study knows it by."""
        return self.metric.replace("-", "_")

    def __call__(self, trained: Trained, inputs: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
        """The figure, and the fitness."""
        metric = METRICS[self.metric]
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


def _measuring(metric: str) -> Choice:
    return Choice(lambda _: MetricObjective(metric), (metric,))


def _robust(settings: ObjectiveSettings) -> Objective:
    return RobustAccuracy(settings.epsilon, settings.gradient)


def _weighted(settings: ObjectiveSettings) -> Objective:
    return Weighted(ACCURACY, _robust(settings), settings.weight)


ATTACK = ("epsilon", "gradient")
OBJECTIVES.register("robust-accuracy", Choice(_robust, ("robust-accuracy",), ATTACK, attacks=True, share=True))
OBJECTIVES.register(
    "weighted",
    Choice(_weighted, ("accuracy", "robust-accuracy"), (*ATTACK, "weight"), attacks=True, share=True),
)


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
