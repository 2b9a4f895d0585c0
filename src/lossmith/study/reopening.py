"""The settings of a study that was begun, read from its directory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lossmith.errors import InputError
from lossmith.search import SearchSettings
from lossmith.study.config import EvolveSettings, checked_classes, validated
from lossmith.study.function_settings import FunctionSettings
from lossmith.study.legacy import modernized
from lossmith.study.store import Store


@dataclass(frozen=True)
class Begun:
    """What a study was begun with.

    Args:
        classes: Number of classes of the classifier.
        search: The settings of the search.
        document: All settings, as ``study.toml`` has them.
        unready: Whether its search begins with what is still to be tuned.
    """

    classes: int
    search: SearchSettings
    document: dict[str, Any]
    unready: bool = False

    def longer(self, generations: int) -> Begun:
        """The same with more generations.

        Raises:
            InputError: if that is no number of them.
        """
        search = validated(
            SearchSettings, {**self.search.model_dump(mode="json"), "generations": generations}, "Study.load"
        )
        return replace(self, search=search, document={**self.document, "search": search.model_dump(mode="json")})


def begun_in(directory: Path) -> Begun:
    """What the study in a directory was begun with, whoever began it: ask and tell, data, or a training function.

    Raises:
        InputError: if there is no study in it, or only comparisons, or what it holds is damaged.
    """
    with Store(directory, readonly=True) as store:
        stored, data, known = (store.setting(name) for name in ("settings", "data", "known losses"))
    if stored is None:
        raise InputError(
            f"{directory} holds no search, but comparisons only, or what was stopped in its first moments; begin one "
            "with Study(directory, classes=…)"
        )
    document, place = modernized(stored, begun=True)[0], str(directory / "study.db")
    digest = {name: document.pop(name) for name in ("digest",) if name in document}
    if "train" in document:
        own = validated(FunctionSettings, document, place)
        return Begun(own.classes, own.search, own.model_dump(mode="json"))
    if "classes" in document:
        search = validated(SearchSettings, document["search"], place)
        return Begun(
            checked_classes(document["classes"]), search, {**document, "search": search.model_dump(mode="json")}
        )
    if data is None:
        raise InputError(f"the study in {directory} was stopped before it knew its data; run the same command again")
    settings = validated(EvolveSettings, document, place)
    unready = settings.run.tune and settings.search.known_first and known is None
    return Begun(data["classes"], settings.search, settings.model_dump(mode="json") | digest, unready)
