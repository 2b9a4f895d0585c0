"""What is logged of a trial, whoever logs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lossmith.study import Result, Study

COUNTS = ("candidates", "failed", "diverged", "untrainable")


def number_of(study: Study, trial: Result) -> int:
    """The place of a trial in its study, from 0."""
    return trial.candidate.generation * study.search.population + trial.candidate.member


def figures_of(study: Study, trial: Result) -> dict[str, float]:
    """Numbers of a trial by name: its fitness, the mean of each other figure, and where the study stands.

    What a trial has not, since it failed or diverged, is left out.
    """
    counts = study.counts()
    found = {name: float(counts[name]) for name in COUNTS} | {"generation": float(trial.candidate.generation)}
    if counts["best"] is not None:
        found["best"] = counts["best"]
    if trial.fitness is not None:
        found["fitness"] = trial.fitness
    for name, values in trial.figures.items():
        finite = [value for value in values if value is not None]
        if finite and len(finite) == len(values):
            found[f"figures/{name}"] = sum(finite) / len(finite)
    return found


def texts_of(trial: Result) -> dict[str, str]:
    """Words of a trial by name: its status, its loss, and, if it failed, its error."""
    words = {"status": trial.status, "loss": trial.candidate.loss.formula()}
    return words if trial.error is None else {**words, "error": trial.error}


def settings_of(study: Study) -> dict[str, str]:
    """The settings of the search of a study, as texts."""
    settings = study.search.model_dump(mode="json") | {"classes": study.classes}
    return {name: str(value) for name, value in settings.items() if value is not None}
