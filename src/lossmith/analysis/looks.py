"""What is looked at in the networks of a loss when they are trained: values, so that workers can do it, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from lossmith.analysis.basin import Basin, basin
from lossmith.analysis.corruption import (
    INPUT,
    WEIGHT,
    Corruption,
    corruption_document,
    corruptions_of,
    input_noise,
    silenced_units,
    weight_noise,
)
from lossmith.analysis.plans import AttackPlan
from lossmith.analysis.robustness import Robustness, robustness
from lossmith.analysis.trained import TrainedLoss

Progress = Callable[[float], None]


class Look(Protocol):
    """Looks at the networks of one loss; it can be pickled."""

    def __call__(self, trained_loss: TrainedLoss, progress: Progress) -> dict[str, Any]:
        """What is seen, as JSON."""

    def read(self, document: dict[str, Any]) -> Any:
        """The record of what was seen."""

    def plan(self) -> dict[str, Any]:
        """What decides the outcome beside the networks and the data, as JSON."""


@dataclass(frozen=True, eq=False)
class Attacking:
    """Attacks test images.

    Args:
        inputs: Images ``[N, C, H, W]``.
        targets: Class indices ``[N]``.
        max_pixel: Value of a white pixel.
        attacks: Which attacks.
    """

    inputs: Tensor
    targets: Tensor
    max_pixel: float
    attacks: AttackPlan

    def __call__(self, trained_loss: TrainedLoss, progress: Progress) -> dict[str, Any]:
        """The figures of :class:`Robustness`."""
        return robustness(trained_loss, self.inputs, self.targets, self.max_pixel, self.attacks, progress).to_json()

    def read(self, document: dict[str, Any]) -> Robustness:
        """The record.

        Raises:
            KeyError: if it is not one of these attacks, or as :meth:`Robustness.from_json`.
        """
        found = Robustness.from_json(document)
        for missing in {*self.attacks.attacks, "worst"} - {*found.accuracy} or {"worst"} - {*found.samples}:
            raise KeyError(missing)
        return found

    def plan(self) -> dict[str, Any]:
        """Everything about the attacks."""
        samples = {"samples": self.attacks.samples, "library_samples": self.attacks.library_samples}
        return {**self.attacks.to_json(), **samples, "seed": self.attacks.seed, "max_pixel": self.max_pixel}


@dataclass(frozen=True, eq=False)
class Corrupting:
    """Corrupts inputs and networks.

    Args:
        inputs: ``[N, …]``, of the test part.
        targets: Class indices ``[N]``.
        levels: Of each kind of corruption.
        draws: How often each is drawn.
        seed: Decides what is drawn.
        max_pixel: Value of a white pixel, if the inputs are images.
        reference: Inputs whose standard deviations are the unit of the noise on other inputs.
    """

    inputs: Tensor
    targets: Tensor
    levels: Mapping[str, tuple[float, ...]]
    draws: int
    seed: int
    max_pixel: float | None
    reference: Tensor

    def __call__(self, trained_loss: TrainedLoss, progress: Progress) -> dict[str, Any]:
        """The figures of each :class:`Corruption`."""
        found = []
        for place, kind in enumerate(self.levels):
            found.append(self._one(kind, trained_loss))
            progress((place + 1) / len(self.levels))
        return corruption_document(found)

    def _one(self, kind: str, trained_loss: TrainedLoss) -> Corruption:
        given = (trained_loss, self.inputs, self.targets, self.levels[kind], self.draws, self.seed)
        if kind == INPUT:
            return input_noise(*given, self.max_pixel, self.reference)
        return weight_noise(*given) if kind == WEIGHT else silenced_units(*given)

    def read(self, document: dict[str, Any]) -> list[Corruption]:
        """The records, one for each kind."""
        return corruptions_of(document)

    def plan(self) -> dict[str, Any]:
        """Levels, draws and seed."""
        levels = {kind: list(values) for kind, values in self.levels.items()}
        return {"levels": levels, "draws": self.draws, "seed": self.seed, "max_pixel": self.max_pixel}


@dataclass(frozen=True, eq=False)
class Walking:
    """Walks away from the networks.

    Args:
        inputs: ``[N, …]``, of the test part.
        targets: Class indices ``[N]``.
        directions: How many.
        points: Steps along each.
        seed: Decides the directions.
        hessian_samples: Samples of the Hessian; 0 leaves it out.
    """

    inputs: Tensor
    targets: Tensor
    directions: int
    points: int
    seed: int
    hessian_samples: int

    def __call__(self, trained_loss: TrainedLoss, progress: Progress) -> dict[str, Any]:
        """The figures of :class:`Basin`."""
        size = (self.directions, self.points, self.seed, self.hessian_samples)
        return basin(trained_loss, self.inputs, self.targets, *size, progress).to_json()

    def read(self, document: dict[str, Any]) -> Basin:
        """The record."""
        return Basin.from_json(document)

    def plan(self) -> dict[str, Any]:
        """Directions, steps, seed and the samples of the Hessian."""
        hessian = {"hessian_samples": self.hessian_samples}
        return {"directions": self.directions, "points": self.points, "seed": self.seed, **hessian}
