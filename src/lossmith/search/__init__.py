"""Spaces of losses, objectives, and the search through the first for the second."""

from lossmith.search.objective import (
    Objective,
    ObjectiveSettings,
    accuracy,
    balanced_accuracy,
    recording,
    robust_accuracy,
    weighted,
)
from lossmith.search.optimizer import Optimizer
from lossmith.search.settings import Invariant, SearchSettings
from lossmith.search.space import Space, build_space, canonical, residual

__all__ = [
    "Invariant",
    "Objective",
    "ObjectiveSettings",
    "Optimizer",
    "SearchSettings",
    "Space",
    "accuracy",
    "balanced_accuracy",
    "build_space",
    "canonical",
    "recording",
    "residual",
    "robust_accuracy",
    "weighted",
]
