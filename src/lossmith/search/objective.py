"""Objectives: what the search maximises of the networks that were trained with each candidate."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from lossmith.analysis.adversarial import fgsm_correct
from lossmith.attacks import GRADIENTS, checked_epsilon
from lossmith.errors import InputError
from lossmith.settings import Settings
from lossmith.training import Trained
from lossmith.training import accuracy as share_of_right

Objective = Callable[[Trained, Tensor, Tensor], Tensor | Mapping[str, Tensor]]
"""Fitness ``[P]`` (higher is better) of P trained networks on validation inputs and targets; or several figures by
name, of which ``"fitness"`` is the one that is maximised, and all are recorded."""

Name = Literal["accuracy", "balanced-accuracy", "robust-accuracy", "weighted"]
Figure = Literal["accuracy", "balanced-accuracy", "robust-accuracy"]


class ObjectiveSettings(Settings):
    """What the search maximises."""

    metric: Name = "accuracy"
    """Fitness of a candidate on validation data: accuracy, the mean of the classes' accuracies, accuracy under FGSM,
    or the weighted mean of accuracy and accuracy under FGSM."""

    epsilon: float = Field(default=0.1, ge=0, le=1, allow_inf_nan=False)
    """Strength of FGSM, a share of the range of pixels."""

    gradient: Literal["worst", "loss", "cross-entropy", "margin"] = "worst"
    """The gradient that FGSM follows: of the loss itself (as in the paper; a loss can hide from it), of cross-entropy,
    of the logit margin, or all three, of which an image must survive each."""

    weight: float = Field(default=0.5, ge=0, le=1, allow_inf_nan=False)
    """Weight of the accuracy under FGSM in "weighted"."""

    record: tuple[Figure, ...] = Field(default=(), strict=False)
    """Figures that are measured and recorded for each candidate, besides those that the objective needs."""

    @property
    def is_attacked(self) -> bool:
        """Whether candidates are attacked."""
        return self.metric in ("robust-accuracy", "weighted") or "robust-accuracy" in self.record

    def build(self) -> Objective:
        """The objective of the settings."""
        known: dict[str, Objective] = {
            "accuracy": accuracy,
            "balanced-accuracy": balanced_accuracy,
            "robust-accuracy": robust_accuracy(self.epsilon, self.gradient),
        }
        needed: tuple[str, ...] = ("accuracy", "robust-accuracy")
        if self.metric == "weighted":
            main = weighted(accuracy, known["robust-accuracy"], self.weight)
        else:
            main = known[self.metric]
            needed = (self.metric,)
        others = [known[name] for name in self.record if name not in needed]
        # Accuracy costs next to nothing, and a front needs two figures.
        if "accuracy" not in (*needed, *self.record):
            others.append(accuracy)
        return recording(main, others) if others else main


def accuracy(trained: Trained, inputs: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
    """Share of the samples that each network classifies rightly, ``[P]``; the default."""
    value = share_of_right(trained.networks.logits(inputs), targets)
    return {"fitness": value, "accuracy": value}


def balanced_accuracy(trained: Trained, inputs: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
    """Mean over the classes (those that the samples have) of the share that is classified rightly, ``[P]``."""
    logits = trained.networks.logits(inputs)
    right = (logits.argmax(-1) == targets).double()
    members = torch.nn.functional.one_hot(targets, logits.shape[-1]).double()
    counts = members.sum(0)
    by_class = (right @ members) / counts.clamp(min=1)
    value = by_class.sum(-1) / (counts > 0).sum()
    sound = logits.isfinite().flatten(1).all(1)
    value = torch.where(sound, value, 0.0)
    return {"fitness": value, "balanced-accuracy": value}


def robust_accuracy(epsilon: float, gradient: str = "worst") -> Objective:
    """The objective of §6 of the paper: accuracy on validation images that FGSM has changed by ε.

    Args:
        epsilon: Strength, a share of the range of pixels; 0 gives the accuracy.
        gradient: ``"loss"`` as in the paper, ``"cross-entropy"``, ``"margin"``, or ``"worst"``: an image counts if it
            is classified rightly without attack and survives all three.

    Raises:
        InputError: if ε is none, there is no such gradient, or (when it is called) the data is no images.
    """
    checked_epsilon(epsilon)
    if gradient not in ("worst", *GRADIENTS):
        raise InputError(f"there is no gradient {gradient!r}; give worst, {', '.join(GRADIENTS)}")
    followed = GRADIENTS if gradient == "worst" else (gradient,)

    def measured(trained: Trained, inputs: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
        if trained.max_pixel is None:
            raise InputError(
                "robust accuracy needs images with pixels in [0, 1], which this data is not; take another objective"
            )
        networks, losses = trained.networks, trained.losses
        _, survived, _ = fgsm_correct(networks, losses, inputs, targets, [epsilon], trained.max_pixel, followed)
        value = survived[0].all(0).double().mean(-1)
        return {"fitness": value, "robust-accuracy": value}

    return _named(measured, f"robust_accuracy({epsilon:g}, {gradient})")


def weighted(first: Objective, second: Objective, weight: float = 0.5) -> Objective:
    """``(1 − w)`` times one objective plus ``w`` times another; the figures of both are recorded.

    Raises:
        InputError: unless w is in [0, 1].
    """
    if not 0 <= weight <= 1:
        raise InputError(f"the weight is {weight:g}; it must be from 0 to 1")

    def measured(trained: Trained, inputs: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
        parts = [figures(one(trained, inputs, targets)) for one in (first, second)]
        fitness = (1 - weight) * parts[0]["fitness"] + weight * parts[1]["fitness"]
        return {**parts[0], **parts[1], "fitness": fitness}

    return _named(measured, f"weighted({_name(first)}, {_name(second)}, {weight:g})")


def recording(main: Objective, others: Sequence[Objective]) -> Objective:
    """An objective whose networks are measured by others, too, without a say in the fitness."""

    def measured(trained: Trained, inputs: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
        found: dict[str, Tensor] = {}
        for one in (*others, main):
            found |= figures(one(trained, inputs, targets))
        return found

    return _named(measured, f"recording({_name(main)}, {', '.join(map(_name, others))})")


def _name(objective: Objective) -> str:
    return str(getattr(objective, "__qualname__", type(objective).__qualname__))


def _named(objective: Objective, name: str) -> Objective:
    """The objective under a name that says what it is, since a study knows a function by its name."""
    objective.__qualname__ = name
    return objective


def figures(measured: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What an objective gave, as figures by name in float64, ``"fitness"`` among them.

    Raises:
        InputError: if there is no fitness.
    """
    found = dict(measured) if isinstance(measured, Mapping) else {"fitness": measured}
    if "fitness" not in found:
        raise InputError(f'the objective gave {", ".join(found) or "nothing"}; one of its figures must be "fitness"')
    return {name: torch.as_tensor(value, dtype=torch.float64) for name, value in found.items()}
