"""The figure that decides a comparison: the objective of the search, or accuracy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lossmith.analysis.objective import (
    OBJECTIVES,
    MetricObjective,
    Objective,
    ObjectiveSettings,
    figures,
    objective_name,
)
from lossmith.metrics import METRICS
from lossmith.training import Trained


@dataclass(frozen=True)
class Deciding:
    """The figure that losses are tuned for, ranked by and tested on.

    Args:
        name: What tables call it.
        higher_is_better: Its direction.
        share: Whether it is a share, which pictures show in percent.
        key: What stored results are found by, beside what those of accuracy are found by; None for accuracy.
        objective: Measures it; None for accuracy, which every comparison measures.
    """

    name: str = "accuracy"
    higher_is_better: bool = True
    share: bool = True
    key: Any = field(default=None, compare=False)
    objective: Objective | None = field(default=None, compare=False)

    @staticmethod
    def of(settings: ObjectiveSettings, function: Objective | None = None) -> Deciding:
        """The figure of an objective: of a function from Python, if it is given, or else of settings."""
        if function is not None:
            name = objective_name(function)
            return Deciding(f"{name}()", share=False, key={"function": name}, objective=function)
        if settings.metric == ACCURACY.name:
            return ACCURACY
        choice = OBJECTIVES[settings.metric]
        key = {"metric": settings.metric, **{name: getattr(settings, name) for name in choice.uses}}
        if settings.metric in METRICS:
            metric = METRICS[settings.metric]
            of = MetricObjective(settings.metric)
            return Deciding(settings.metric, metric.higher_is_better, metric.share, key, of)
        return Deciding(settings.metric, share=choice.share, key=key, objective=choice.build(settings))

    @property
    def sign(self) -> float:
        """1 if more of it is better, else −1."""
        return 1.0 if self.higher_is_better else -1.0

    def column(self, part: str) -> str:
        """Where a run has it on the part ``"validation"`` or ``"test"``; accuracy has the name of the part alone."""
        return part if self == ACCURACY else f"{part} objective"

    def fitness(self, trained: Trained, inputs: Tensor, targets: Tensor) -> Tensor:
        """The fitness ``[P]`` of networks, in float64: the figure, turned so that more is better."""
        assert self.objective is not None
        return figures(self.objective(trained, inputs, targets))["fitness"].reshape(-1)

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {"name": self.name, "higher_is_better": self.higher_is_better, "share": self.share}


ACCURACY = Deciding()
