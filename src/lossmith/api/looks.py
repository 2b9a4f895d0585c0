"""What the calls have in common that look at data and begin no study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lossmith.analysis import Objective, chosen_metric
from lossmith.api.data import source_of
from lossmith.api.model import Model, named_model
from lossmith.api.words import places, settings_of, unknown_word
from lossmith.data import Source
from lossmith.study import EvolveSettings, with_data

# Of how things are run, what has an effect where nothing is searched for.
RUN = (("run", "training"), ("run", "device"))


@dataclass(frozen=True)
class Looked:
    """What such a call looks at.

    Args:
        settings: Of the words, with the name of the data.
        source: The data, if no name or path of it was given.
        model: What builds the network, if no name of it was given.
        objective: What decides, if no name of it was given.
    """

    settings: EvolveSettings
    source: Source | None
    model: Model | None
    objective: Objective | None


def looked_at(
    call: str, data: Any, beside: Mapping[str, Any], words: Mapping[str, Any], parts: Sequence[str]
) -> Looked:
    """What a call looks at.

    Args:
        call: What was called.
        data: The data, as ``lossmith.evolve`` takes it.
        beside: What belongs to it: ``"validation"``, ``"test"`` and ``"groups"``.
        words: Values by their words, the model and the metric among them; None for what is not given.
        parts: The parts of the settings that have words here.

    Raises:
        InputError: if there is no such word, or an input cannot be used.
    """
    given = {name: value for name, value in words.items() if value is not None}
    known = [word for word, place in places().items() if place[0] in parts or place in RUN]
    strange = next((word for word in given if word not in known), None)
    if strange is not None:
        raise unknown_word(strange, known, call)
    model: Model | None = None
    objective: Objective | None = None
    if "model" in given:
        given["model"], model = named_model(given["model"])
    if "metric" in given:
        given["metric"], objective = chosen_metric(given["metric"])
    source = source_of(data, dict(beside), given)
    if isinstance(source, str):
        given["data"] = source
        return Looked(settings_of(given, None, call), None, model, objective)
    return Looked(with_data(settings_of(given, None, call), source.name), source, model, objective)
