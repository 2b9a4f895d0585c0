"""Objectives by name: what settings can ask for, and the metric that decides everything."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from lossmith.analysis.costs import read_costs
from lossmith.analysis.measuring import ACCURACY, MetricObjective, Objective, Recording, RobustAccuracy, Weighted
from lossmith.code import FORMS, check_code, is_code, portable_code
from lossmith.errors import InputError, brief
from lossmith.losses import Loss
from lossmith.metrics import METRICS, Costs, Metric, named_metric, own_metric
from lossmith.registry import Registry, unknown
from lossmith.settings import Settings


@dataclass(frozen=True)
class Choice:
    """An objective that settings can name.

    Args:
        build: The objective of some settings.
        figures: What it records of networks; one that is recorded beside another objective has one, of its own name.
        uses: Which of the settings decide about it.
        attacks: Whether it attacks images.
        share: Whether the fitness is a share, which pictures show in percent.
        constant: The metric by which an answer that is always the same is judged; empty if that is not known.
    """

    build: Callable[[ObjectiveSettings], Objective]
    figures: tuple[str, ...]
    uses: tuple[str, ...] = ()
    attacks: bool = False
    share: bool = False
    constant: str = ""


class Objectives(Registry[Choice]):
    """What is registered here, after every metric, which is an objective, too; and the user's own, by its name."""

    def checked(self, name: str) -> str:
        """A name that has an entry, or the form of one of the user's own.

        Raises:
            InputError: if it has neither.
        """
        if is_code(name):
            check_code(name, "metric")
        elif name not in self:
            raise InputError(f"{unknown(name, self.kind, list(self))}, or your own as {FORMS}")
        return name

    def choice(self, name: str) -> Choice:
        """The entry of a name; that of the user's own, which is not loaded.

        Raises:
            InputError: if there is none.
        """
        return _measuring(name) if is_code(name) else self[name]

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


OBJECTIVES = Objectives("metric")
FIGURES = Figures("figure")


class ObjectiveSettings(Settings):
    """What the search maximises."""

    metric: Annotated[str, OBJECTIVES] = "accuracy"
    """The figure on held-out data by which losses are searched, tuned, ranked and tested. Or a function of your own,
    f(targets, predictions), as FILE.py:function or package.module:function."""

    costs: Annotated[str | Costs | None, BeforeValidator(read_costs)] = None
    """The costs of expected-cost: a matrix as "[[0, 1], [5, 0]]", FILE.npy, FILE.npz:ARRAY or FILE.csv, in whose row c
    stands what each answer costs where class c is true."""

    epsilon: float = Field(default=0.1, ge=0, le=1, allow_inf_nan=False)
    """Strength of FGSM, a share of the range of pixels."""

    gradient: Literal["worst", "loss", "cross-entropy", "margin"] = "worst"
    """The gradient that FGSM follows: of the loss itself (as in the paper; a loss can hide from it), of cross-entropy,
    of the margin between the logits, or "worst": an image must survive all three."""

    weight: float = Field(default=0.5, ge=0, le=1, allow_inf_nan=False)
    """Weight of the accuracy under FGSM in "weighted"."""

    record: tuple[Annotated[str, FIGURES], ...] = Field(default=(), strict=False)
    """Figures that are measured and recorded for each candidate, besides those that the objective needs."""

    @model_validator(mode="after")
    def _has_costs(self) -> Self:
        if self.costs is None and any("costs" in OBJECTIVES.choice(name).uses for name in self.named):
            raise ValueError(
                "expected-cost needs costs (--costs): give a matrix, in row c what each answer costs where class c is "
                "true"
            )
        return self

    @property
    def named(self) -> tuple[str, ...]:
        """The objective, and what is recorded beside it."""
        return (self.metric, *self.record)

    @property
    def is_attacked(self) -> bool:
        """Whether candidates are attacked."""
        return any(OBJECTIVES.choice(name).attacks for name in self.named)

    @property
    def used(self) -> set[str]:
        """The settings that have an effect."""
        return {setting for name in self.named for setting in OBJECTIVES.choice(name).uses}

    @property
    def label(self) -> str:
        """What tables call the metric."""
        return portable_code(self.metric)

    @property
    def matrix(self) -> Costs | None:
        """The costs, as they were read."""
        assert not isinstance(self.costs, str)
        return self.costs

    def build(self) -> Objective:
        """The objective of the settings.

        Raises:
            InputError: if a metric of the user's own cannot be loaded.
        """
        main = OBJECTIVES.choice(self.metric)
        others = [FIGURES[name].build(self) for name in self.record if name not in main.figures]
        # Accuracy costs next to nothing, and a front needs two figures.
        if "accuracy" not in (*main.figures, *self.record):
            others.append(ACCURACY)
        return Recording(main.build(self), tuple(others)) if others else main.build(self)


def _measuring(name: str) -> Choice:
    label = portable_code(name)
    priced = not is_code(name) and METRICS[name].priced is not None

    def build(settings: ObjectiveSettings) -> Objective:
        if is_code(name) or priced:
            return MetricObjective(label, metric_of(name, settings.matrix))
        return MetricObjective(label)

    return Choice(build, (label,), ("costs",) if priced else (), constant=name)


def metric_of(name: str, costs: Costs | None = None) -> Metric:
    """The metric of a name: a registered one, with costs if it has a use for them, or the user's own, which is loaded.

    Raises:
        InputError: if there is none, or it cannot be loaded.
    """
    if is_code(name):
        return named_metric(name, str(Path.cwd()))
    metric = METRICS[name]
    return metric if metric.priced is None or costs is None else metric.priced(costs)


def chosen_metric(metric: Any) -> tuple[str, Objective | None]:
    """What a metric means that is given in Python: the name for the settings, and an objective beside them, if needed.

    A function that another process finds by its module and name is known by these, as on the command line; any other
    is an objective of its name, which goes on and is compared in Python only.

    Args:
        metric: A name, a function as :func:`lossmith.metrics.own_metric` takes it, or a
            :class:`lossmith.metrics.Metric`.

    Raises:
        InputError: if it is none of these.
    """
    if isinstance(metric, str):
        return metric, None
    if isinstance(metric, Metric):
        return ACCURACY.metric, MetricObjective("own metric", metric)
    if not callable(metric) or isinstance(metric, Loss):
        raise InputError(f"the metric is {brief(metric)}; give a name, or a function f(targets, predictions)")
    module, name = getattr(metric, "__module__", None), str(getattr(metric, "__qualname__", type(metric).__qualname__))
    found = getattr(sys.modules.get(str(module)), name, None)
    if found is metric and module != "__main__" and name.isidentifier():
        return f"{module}:{name}", None
    return ACCURACY.metric, MetricObjective(name, own_metric(metric))


def _robust(settings: ObjectiveSettings) -> Objective:
    return RobustAccuracy(settings.epsilon, settings.gradient)


def _weighted(settings: ObjectiveSettings) -> Objective:
    return Weighted(ACCURACY, _robust(settings), settings.weight)


ATTACK = ("epsilon", "gradient")
# An attack does not change an answer that is always the same.
_ATTACKED: dict[str, Any] = {"attacks": True, "share": True, "constant": "accuracy"}
OBJECTIVES.register("robust-accuracy", Choice(_robust, ("robust-accuracy",), ATTACK, **_ATTACKED))
OBJECTIVES.register("weighted", Choice(_weighted, ("accuracy", "robust-accuracy"), (*ATTACK, "weight"), **_ATTACKED))
