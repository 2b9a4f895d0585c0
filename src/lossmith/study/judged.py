"""What the fitness of a study is: the metric that decides it, as its database says; nothing that it names is loaded."""

from __future__ import annotations

from typing import Any

from lossmith.analysis import OBJECTIVES, UNNAMED, Deciding
from lossmith.code import is_code, portable_code
from lossmith.metrics import METRICS
from lossmith.study.legacy import modernized
from lossmith.study.store import Store


def judged_by(store: Store) -> Deciding:
    """The metric of a study by name, direction and unit; it measures nothing.

    A study that was asked and told, or whose training function gives one score, has a fitness without a name.
    """
    kept = store.setting("objective") or {}
    settings = modernized(store.setting("settings") or {}, begun=True)[0]
    traits = kept.get("metric") or {}
    if kept.get("function") is not None:
        return Deciding(**{"share": False, **traits, "name": f"{kept['function']}()"})
    name = _metric_of(settings)
    if name is None:
        return UNNAMED
    if is_code(name):
        return Deciding(**{"share": False, **traits, "name": portable_code(name)})
    if name in METRICS:
        return Deciding(name, METRICS[name].higher_is_better, METRICS[name].share)
    return Deciding(name, share=name in OBJECTIVES and OBJECTIVES[name].share)


def traits_of(deciding: Deciding) -> dict[str, Any]:
    """What a study keeps of a metric that is not registered."""
    return {"higher_is_better": deciding.higher_is_better, "share": deciding.share}


def _metric_of(settings: Any) -> str | None:
    for part in ("objective", "train"):
        found = settings.get(part) if isinstance(settings, dict) else None
        name = found.get("metric") if isinstance(found, dict) else None
        if isinstance(name, str):
            return name
    # A study of a command begins with accuracy, also where a version that knew nothing else began it.
    return "accuracy" if isinstance(settings, dict) and "recipe" in settings else None
