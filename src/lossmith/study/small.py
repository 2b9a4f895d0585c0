"""How a search begins that has few trainings: at a loss that is known to be good, with a wide first step."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from lossmith.analysis import BASELINES, baselines
from lossmith.losses import Loss
from lossmith.search import Genome, SearchSettings, build_space
from lossmith.study.beginnings import START
from lossmith.study.config import RunSettings, validated
from lossmith.study.function_settings import StageSettings
from lossmith.study.store import Store

LOG = logging.getLogger("lossmith")
# Chosen by results/few for "residual": up to so many trainings, the first step, and the known loss and the place of its
# strengths. In the thirteen coordinates of "noise-robust" half the step is 0.8 times as long.
MOST = 100
STEPS = {"residual": 1.0, "noise-robust": 0.5}
KNOWN = ("label smoothing + Σh²", (1, 1))


def small_beginning(
    directory: Path, search: SearchSettings, run: RunSettings | StageSettings, classes: int
) -> tuple[SearchSettings, Genome | None]:
    """The settings of a search with the first step that it takes, and where it starts; None: where its space says.

    A new search of at most 100 trainings without tuning starts at label smoothing + Σh² with a step of its space, if it
    is CMA-ES in the space "residual" or "noise-robust" and nobody chose a first step. What has begun goes on as it
    began.

    Args:
        directory: Of the study.
        search: The settings of the search.
        run: How candidates are trained.
        classes: n.
    """
    begun, start = _begun(directory)
    if begun is not None:
        return (search if search.sigma is not None else _with_step(search, begun.get("sigma"), directory)), None
    if start is not None and _is_of(start, search):
        # Killed before its settings were stored, it goes on by its study.toml, which has the step, but not the start.
        return search, start
    if not is_small(search, run):
        return search, None
    loss = known_loss(classes)
    place = build_space(search).place(loss, classes)
    assert place is not None
    return _with_step(search, STEPS[search.space], directory), place[0]


def tell_start(search: SearchSettings, start: Genome | None) -> None:
    """Say where a search starts, if it is small."""
    if start is not None:
        LOG.info(
            "a search this short starts at %s, with the first step %g; with a --sigma of your own it starts at "
            "cross-entropy",
            KNOWN[0],
            search.sigma,
        )


def is_small(search: SearchSettings, run: RunSettings | StageSettings) -> bool:
    """Whether a search has few trainings, and nobody chose how it begins."""
    usual = (search.engine, search.scale, search.sigma) == ("cma", False, None)
    usual = usual and search.space in STEPS and KNOWN[0] in BASELINES
    return usual and not run.tune and search.population * search.generations * run.replicates <= MOST


def _is_of(start: Genome, search: SearchSettings) -> bool:
    """Whether a stored start is one of a small search with these settings."""
    return search.space in STEPS and search.sigma == STEPS[search.space] and build_space(search).holds(start)


def known_loss(classes: int) -> Loss:
    """Label smoothing with α = 0.73 and a reward of 2 Σh²."""
    name, place = KNOWN
    (family,) = [family for family in baselines() if family.name == name]
    return family.build(family.strengths(place), classes).named(name)


def _with_step(search: SearchSettings, sigma: Any, directory: Path) -> SearchSettings:
    document = {**search.model_dump(mode="json"), "sigma": sigma}
    return validated(SearchSettings, document, str(directory / "study.db"))


def _begun(directory: Path) -> tuple[dict[str, Any] | None, Genome | None]:
    """What is stored of the search of a study, None before it has begun, and of its start."""
    if not (directory / "study.db").exists():
        return None, None
    with Store(directory) as store:
        settings, start = store.setting("settings"), store.setting(START)
    return None if settings is None else dict(settings["search"]), start
