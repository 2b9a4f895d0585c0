"""What a loss is searched for: data, a network, and a metric of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lossmith.analysis import Objective, check_metric
from lossmith.data import (
    KINDS,
    DataSettings,
    Source,
    find_max_pixel,
    is_idle,
    open_source,
    part_sizes,
    search_parts,
    test_part,
)
from lossmith.errors import InputError
from lossmith.nets import check_name, check_network, fed, network_factory
from lossmith.study.config import EvolveSettings
from lossmith.training import Recipe, Task, check_balance, check_recipe, check_state, checked_device, class_weights

LOG = logging.getLogger("lossmith")


@dataclass(frozen=True)
class Problem:
    """The data and network of a study on the device that trains, and what is maximised.

    Args:
        task: What networks are trained on.
        validation: Inputs and labels that they are measured on.
        objective: Their fitness, and what else is recorded of them.
        source: Where the data comes from.
        split: How it was split.
        wrong: Shares of the labels that learning and validation see and that noise made wrong.
    """

    task: Task
    validation: tuple[Tensor, Tensor]
    objective: Objective
    source: Source
    split: DataSettings
    wrong: dict[str, float]

    @property
    def digest(self) -> str:
        """What identifies the data."""
        return self.source.digest

    @property
    def classes(self) -> int:
        """K."""
        return self.task.classes

    @staticmethod
    def open(
        settings: EvolveSettings,
        source: Source | None = None,
        objective: Objective | None = None,
        model: Callable[..., nn.Module] | None = None,
    ) -> Problem:
        """Load the data, build the network's factory and check that the two fit.

        Args:
            settings: What to open.
            source: The data, if it is not what ``settings.data.source`` names.
            objective: What is maximised, if it is not what ``settings.objective`` says.
            model: A class or function that gives the network, instead of what ``settings.model.name`` names.

        Raises:
            InputError: if something cannot be used, or does not suit the rest.
        """
        device = checked_device(settings.run.device)
        if model is None:
            check_name(settings.model.name)
        source = open_source(source if source is not None else settings.data.source, settings.data)
        parts = search_parts(source, settings.data)
        kind, sample = KINDS[source.kind], parts.train.inputs[: settings.recipe.batch_size]
        layer = kind.layer(parts.train.inputs, settings.model.normalize, source.layout)
        plain = network_factory(
            settings.model,
            layer,
            _shapes(layer(sample)),
            parts.classes,
            kind=kind.becomes or source.kind,
            vocabulary=source.vocabulary,
            padding=source.padding,
            own=model,
        )
        factory: Callable[[], nn.Module] = fed(plain, sample) if ":" in settings.model.name else plain
        check_network(factory, sample, parts.classes, source.vocabulary)
        if is_idle(settings.data):
            LOG.warning("the noise %s changes no label, since label_noise is 0", settings.data.noise)
        wrong = {"train": parts.train.wrong, "validation": parts.validation.wrong}
        train_part, validation = parts.train.to(device), parts.validation.to(device)
        held_out = (validation.inputs, validation.targets)
        objective = objective or settings.objective.build()
        check_metric(objective, validation.targets, parts.classes)
        max_pixel = _max_pixel(source, settings)
        task = Task(factory, train_part.inputs, train_part.targets, parts.classes, max_pixel, held_out)
        check_recipe(task, settings.recipe)
        for notice in (check_state(task, settings.recipe), check_balance(task, settings.recipe)):
            if notice is not None:
                LOG.warning("%s", notice)
        return Problem(task, held_out, objective, source, settings.data, wrong)

    def class_weight(self, recipe: Recipe) -> list[float] | None:
        """The class weights that a recipe trains with, in numbers; None without any."""
        weights = class_weights(self.task, recipe)
        return None if weights is None else weights.tolist()

    def described(self) -> dict[str, Any]:
        """The data in words and numbers: name, shape, classes and their names, sizes of the parts, wrong labels."""
        source = self.source
        return {
            "name": source.name,
            "shape": list(source.input_shape),
            "classes": source.classes,
            "class_names": None if source.class_names is None else list(source.class_names),
            **part_sizes(source, self.split),
            "wrong_labels": self.wrong,
        }

    def test(self) -> tuple[Tensor, Tensor]:
        """Inputs and labels of the test part; for what is done once, at the end."""
        part = test_part(self.source, self.split).to(self.task.device)
        return part.inputs, part.targets


def _shapes(given: Tensor | dict[str, Tensor]) -> tuple[int, ...] | dict[str, tuple[int, ...]]:
    """The shape of one sample behind the input layer; of dicts of tensors, that of each."""
    if isinstance(given, dict):
        return {name: tuple(one.shape[1:]) for name, one in given.items()}
    return tuple(given.shape[1:])


def _max_pixel(source: Source, settings: EvolveSettings) -> float | None:
    """The value of a white pixel; None if there is none and no attack needs it."""
    try:
        return find_max_pixel(source, settings.data)
    except InputError:
        if settings.is_attacked:
            raise
        return None
