"""Studies: the search for a loss, stored and resumable."""

from lossmith.analysis import Objective
from lossmith.io import read_toml, write_toml
from lossmith.study.comparison import RIVAL, CompareSettings, compare_losses, conflicts, settings_of
from lossmith.study.config import EvolveSettings, RunSettings, differences, validated, with_data
from lossmith.study.evolve import Outcome, Progress, evolve
from lossmith.study.finalists import SMOOTHINGS
from lossmith.study.legacy import modernized, original
from lossmith.study.pareto import PRUNED, export_pareto, has_pareto, read_pareto
from lossmith.study.problem import Problem
from lossmith.study.provenance import data_line, pruned_trainings, spread
from lossmith.study.records import Candidate, Result
from lossmith.study.store import Store
from lossmith.study.study import Study

__all__ = [
    "PRUNED",
    "RIVAL",
    "SMOOTHINGS",
    "Candidate",
    "CompareSettings",
    "EvolveSettings",
    "Objective",
    "Outcome",
    "Problem",
    "Progress",
    "Result",
    "RunSettings",
    "Store",
    "Study",
    "compare_losses",
    "conflicts",
    "data_line",
    "differences",
    "evolve",
    "export_pareto",
    "has_pareto",
    "modernized",
    "original",
    "pruned_trainings",
    "read_pareto",
    "read_toml",
    "settings_of",
    "spread",
    "validated",
    "with_data",
    "write_toml",
]
