"""The settings of a study of one's own training function."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from lossmith.analysis import BASELINES
from lossmith.errors import InputError, brief
from lossmith.search import SearchSettings
from lossmith.settings import Settings

KNOWN = ("cross-entropy", "label smoothing")


class StageSettings(Settings):
    """How the stages of a study of one's own training function are sized."""

    replicates: int = Field(default=1, ge=1, le=10**4)
    """Trainings of each candidate, with seeds of their own; the fitness is their mean."""

    tune: bool = True
    """Tune the strengths of known losses, and, where the function takes one, the learning rate of every finalist."""

    baselines: Annotated[tuple[Annotated[str, BASELINES], ...], Field(strict=False, min_length=1)] = KNOWN
    """Known losses that the search must beat: they are tuned before it, and are finalists."""

    finalists: int = Field(default=3, ge=1, le=10**4)
    """The best candidates that are trained again, beside the search's mean and known losses."""

    finalist_seeds: int = Field(default=3, ge=2, le=10**5)
    """Fresh seeds that each finalist is trained with; the best mean wins."""

    prune: bool = False
    """Stop a training of the search whose reports are below the median of those of earlier generations."""


class TrainSettings(Settings):
    """The user's training function, in words: it is known by its name."""

    function: str
    metric: str | None = None
    lr: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    settings: dict[str, Any] = Field(default_factory=dict)


class FunctionSettings(Settings):
    """Everything that decides the outcome of a study of one's own training function."""

    classes: int = Field(ge=2)
    train: TrainSettings
    search: SearchSettings = SearchSettings()
    run: StageSettings = StageSettings()


def checked_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a training function, as a study keeps them.

    Raises:
        InputError: if one is no value of JSON.
    """
    for name, value in settings.items():
        try:
            same = json.loads(json.dumps(value, allow_nan=False)) == value
        except (TypeError, ValueError):
            same = False
        if not same:
            raise InputError(
                f"the setting {name} of the training function is {brief(value)}, which a study cannot keep; give "
                "numbers, texts and lists, and bind what else the function needs by functools.partial"
            )
    return dict(settings)
