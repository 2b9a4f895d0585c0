"""The figure that decides a comparison: the objective of the search, or accuracy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lossmith.analysis.measuring import MetricObjective, Objective, figures, objective_name
from lossmith.analysis.objective import OBJECTIVES, ObjectiveSettings, metric_of
from lossmith.code import is_code, source_of
from lossmith.metrics import METRICS, Constant, Metric, best_constant, direction
from lossmith.training import LOOKED_AT, Judge, Recipe, Trained


@dataclass(frozen=True)
class Deciding:
    """The figure that losses are tuned for, ranked by and tested on.

    Args:
        name: What tables call it.
        higher_is_better: Its direction.
        share: Whether it is a share, which pictures show in percent.
        key: What stored results are found by, beside what those of accuracy are found by; None for accuracy.
        objective: Measures it; None for accuracy, which every comparison measures.
        constant: The metric by which an answer that is always the same is judged, if it is known.
    """

    name: str = "accuracy"
    higher_is_better: bool = True
    share: bool = True
    key: Any = field(default=None, compare=False)
    objective: Objective | None = field(default=None, compare=False)
    constant: Metric | None = field(default=None, compare=False)

    @staticmethod
    def of(settings: ObjectiveSettings, function: Objective | None = None) -> Deciding:
        """The figure of an objective: of a function from Python, if it is given, or else of settings.

        Raises:
            InputError: if a metric of the user's own cannot be loaded.
        """
        if function is not None:
            name = objective_name(function)
            own = function.own if isinstance(function, MetricObjective) else None
            higher, share = (True, False) if own is None else (own.higher_is_better, own.share)
            return Deciding(f"{name}()", higher, share, {"function": name}, function, own)
        if settings.metric == ACCURACY.name:
            return ACCURACY
        choice = OBJECTIVES.choice(settings.metric)
        key = {"metric": settings.label, **{name: getattr(settings, name) for name in choice.uses}}
        constant = metric_of(choice.constant, settings.matrix) if choice.constant else None
        if is_code(settings.metric):
            key["source"] = source_of(settings.metric)
        if is_code(settings.metric) or settings.metric in METRICS:
            assert constant is not None
            of = choice.build(settings)
            return Deciding(settings.label, constant.higher_is_better, constant.share, key, of, constant)
        return Deciding(
            settings.metric, share=choice.share, key=key, objective=choice.build(settings), constant=constant
        )

    @property
    def called(self) -> str:
        """What a sentence calls it on validation data."""
        return self.name if self == UNNAMED else f"validation {self.name}"

    @property
    def unit(self) -> str:
        """What follows its numbers in a picture."""
        return " %" if self.share else ""

    def shown(self, fitness: Any) -> Any:
        """A fitness, or an array of such, as a picture shows it: in the figure's direction, a share in percent."""
        return self.sign * fitness * (100 if self.share else 1)

    @property
    def sign(self) -> float:
        """1 if more of it is better, else −1."""
        return 1.0 if self.higher_is_better else -1.0

    def direction(self, figure: str) -> float:
        """1 for a figure of which more is better, −1 for one of which less is: this one, or a registered metric."""
        return self.sign if figure == self.name else direction(figure)

    def is_share(self, figure: str) -> bool:
        """Whether a figure is a share: this one, or one that is registered."""
        if figure == self.name:
            return self.share
        return figure in OBJECTIVES and (METRICS[figure].share if figure in METRICS else OBJECTIVES[figure].share)

    def column(self, part: str) -> str:
        """Where a run has it on the part ``"validation"`` or ``"test"``; accuracy has the name of the part alone."""
        return part if self == ACCURACY else f"{part} objective"

    def fitness(self, trained: Trained, inputs: Tensor, targets: Tensor) -> Tensor:
        """The fitness ``[P]`` of networks, in float64: the figure, turned so that more is better."""
        assert self.objective is not None
        return figures(self.objective(trained, inputs, targets))["fitness"].reshape(-1)

    def judge(self, recipe: Recipe, targets: Tensor | None = None, classes: int = 0) -> Judge | None:
        """What early stopping and pruning go by; None for accuracy, and where nothing is stopped or pruned.

        Args:
            recipe: Of the trainings.
            targets: Of the validation part ``[N]``, where networks are pruned; None where none is.
            classes: K.
        """
        if self.objective is None or (recipe.patience is None and targets is None):
            return None
        known = None if targets is None else self.best_constant(targets[:LOOKED_AT], classes)
        return Judge(self.fitness, None if known is None else self.sign * known.value)

    def best_constant(self, targets: Tensor, classes: int) -> Constant | None:
        """The best answer that is the same for every sample; None where nobody knows what that gets."""
        return None if self.constant is None else best_constant(self.constant, targets, classes)

    def is_better(self, value: float, other: float) -> bool:
        """Whether a value of the figure is better than another by more than rounding."""
        return self.sign * (value - other) > 1e-9 * max(1.0, abs(other))

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {"name": self.name, "higher_is_better": self.higher_is_better, "share": self.share}


UNNAMED = Deciding("fitness", share=False)
ACCURACY = Deciding(constant=METRICS["accuracy"])
