"""The rival of a comparison: label smoothing + MAE with a search of its own, as long as that of the evolved loss."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from lossmith.analysis import OBJECTIVES, Deciding, Family, Objective, ObjectiveSettings, fixed
from lossmith.losses import PowerLoss, Term
from lossmith.study.config import EvolveSettings, with_data
from lossmith.study.evolve import Progress, evolve_problem
from lossmith.study.problem import Problem
from lossmith.training import Executor

RIVAL = "label smoothing + MAE, searched"
LONGEST_NAME = 60
Report = Callable[[str, float], None]


def searched_rival(
    settings: EvolveSettings,
    problem: Problem,
    objective: Objective | None,
    place: Path,
    executor: Executor,
    report: Report,
) -> Family:
    """The best that a search of its own finds of label smoothing + MAE.

    Args:
        settings: The study's.
        problem: What is trained on.
        objective: What is maximized, if it is not what the settings say.
        place: The directory of that search.
        executor: Runs the trainings.
        report: Called with the phase and the share of it that is done.
    """
    search = settings.search.model_copy(update={"space": "smoothed-mae", "engine": "cma", "sigma": None, "start": ()})

    def tell(progress: Progress) -> None:
        shares = {"sweep": 0.0, "search": progress.done}
        report(f"searching {RIVAL.split(',')[0]}", shares.get(progress.phase, 1.0))

    changed = {"search": search, "objective": alone(settings.objective)}
    own = with_data(settings, problem.source.name).model_copy(update=changed)
    # No other loss is a finalist of its search.
    outcome = evolve_problem(place, own, problem, objective, executor, tell, known=())
    assert isinstance(outcome.loss, PowerLoss)
    found = dict(zip(outcome.loss.terms, outcome.loss.coefficients.tolist(), strict=True))
    # The search may have a coordinate for the scale; the learning rate, which is tuned, has its part here.
    smoothed = found.get(Term(0, 0, 1), 0.0) * problem.classes
    scale = found.get(Term(0, 1, 1), 0.0) + smoothed
    alpha, weight = smoothed / scale, found.get(Term(1, 1, 0), 0.0) / scale
    return fixed(RIVAL, outcome.loss, baseline=True, text=f"α = {alpha:.3g}, weight = {weight:.3g}")


def alone(settings: ObjectiveSettings) -> ObjectiveSettings:
    """An objective without what is recorded beside it, and without what has no effect on it."""
    names = ("metric", *OBJECTIVES.choice(settings.metric).uses)
    return ObjectiveSettings(**{name: getattr(settings, name) for name in names})


def rival_name(deciding: Deciding) -> str:
    """The directory of the rival's search: one for each objective, and that of older versions for accuracy."""
    if deciding.key is None:
        return "rival"
    text = re.sub("[^A-Za-z0-9.]+", "-", " ".join(map(str, deciding.key.values())))
    if len(text) > LONGEST_NAME:
        text = f"{text[:LONGEST_NAME]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return f"rival-{text}"
