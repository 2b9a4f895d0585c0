"""Studies: the search for a loss, stored and resumable."""

from lossmith.study.comparison import CompareSettings, compare_losses
from lossmith.study.evolve import Objective, Outcome, Progress, evolve
from lossmith.study.settings import EvolveSettings, RunSettings
from lossmith.study.study import Candidate, Result, Study

__all__ = [
    "Candidate",
    "CompareSettings",
    "EvolveSettings",
    "Objective",
    "Outcome",
    "Progress",
    "Result",
    "RunSettings",
    "Study",
    "compare_losses",
    "evolve",
]
