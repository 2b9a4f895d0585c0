"""Studies: the search for a loss, stored and resumable."""

from lossmith.analysis import Objective
from lossmith.study.comparison import CompareSettings, compare_losses
from lossmith.study.config import EvolveSettings, RunSettings
from lossmith.study.evolve import Outcome, Progress, evolve
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
