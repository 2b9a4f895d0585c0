"""Studies: the search for a loss, stored and resumable."""

from lossmith.analysis import Objective
from lossmith.io import read_toml, write_toml
from lossmith.study.analyses import Analysis
from lossmith.study.budget import parsed_time
from lossmith.study.comparison import compare_losses, tell_other_objective
from lossmith.study.config import (
    EvolveSettings,
    RunSettings,
    at_absolute_place,
    check_effect,
    check_named,
    differences,
    file_settings,
    flag,
    read_settings,
    rechecked,
    settings_document,
    validated,
    with_data,
    without_own_metric,
)
from lossmith.study.distillation import Distilled, DistillSettings, distill_loss
from lossmith.study.efforts import CompareSettings, TuningSettings
from lossmith.study.evolve import Outcome, Progress, evolve
from lossmith.study.filters import rejected_by_generation, summed
from lossmith.study.finalists import EVOLVED, SMOOTHINGS, candidate_name
from lossmith.study.function_comparison import compare_by_function, reported_curves
from lossmith.study.function_evolve import evolve_function
from lossmith.study.function_settings import FunctionSettings, StageSettings, checked_settings
from lossmith.study.judged import judged_by
from lossmith.study.legacy import OLD_FLAGS, OLD_SETTINGS, OLD_VALUES, modernized, original
from lossmith.study.origins import (
    Origin,
    check_unchanged,
    comparison_place,
    conflicts,
    origin_of,
    settings_for,
    unknown_origins,
)
from lossmith.study.pareto import PRUNED, export_pareto, has_pareto, read_pareto
from lossmith.study.places import study_place
from lossmith.study.probe import check_probe, probe_data, told_share
from lossmith.study.probed import PROBE_FOLDS, PROBE_NETWORKS, PROBE_SEEDS, NoiseFloor, Probe, Size
from lossmith.study.problem import Problem
from lossmith.study.provenance import data_line, finalists_of, pruned_trainings, tuning_of
from lossmith.study.records import Candidate, Result
from lossmith.study.rival import RIVAL
from lossmith.study.store import Store
from lossmith.study.study import Study
from lossmith.study.suspects import (
    SUSPECT_FOLDS,
    SUSPECT_NETWORKS,
    Suspicion,
    check_suspects,
    check_table,
    find_suspects,
)
from lossmith.study.trials import TrainFunction
from lossmith.study.words import gain_text, percent_text, probe_text, setting_text, suspects_text, use_text

__all__ = [
    "EVOLVED",
    "OLD_FLAGS",
    "OLD_SETTINGS",
    "OLD_VALUES",
    "PROBE_FOLDS",
    "PROBE_NETWORKS",
    "PROBE_SEEDS",
    "PRUNED",
    "RIVAL",
    "SMOOTHINGS",
    "SUSPECT_FOLDS",
    "SUSPECT_NETWORKS",
    "Analysis",
    "Candidate",
    "CompareSettings",
    "DistillSettings",
    "Distilled",
    "EvolveSettings",
    "FunctionSettings",
    "NoiseFloor",
    "Objective",
    "Origin",
    "Outcome",
    "Probe",
    "Problem",
    "Progress",
    "Result",
    "RunSettings",
    "Size",
    "StageSettings",
    "Store",
    "Study",
    "Suspicion",
    "TrainFunction",
    "TuningSettings",
    "at_absolute_place",
    "candidate_name",
    "check_effect",
    "check_named",
    "check_probe",
    "check_suspects",
    "check_table",
    "check_unchanged",
    "checked_settings",
    "compare_by_function",
    "compare_losses",
    "comparison_place",
    "conflicts",
    "data_line",
    "differences",
    "distill_loss",
    "evolve",
    "evolve_function",
    "export_pareto",
    "file_settings",
    "finalists_of",
    "find_suspects",
    "flag",
    "gain_text",
    "has_pareto",
    "judged_by",
    "modernized",
    "origin_of",
    "original",
    "parsed_time",
    "percent_text",
    "probe_data",
    "probe_text",
    "pruned_trainings",
    "read_pareto",
    "read_settings",
    "read_toml",
    "rechecked",
    "rejected_by_generation",
    "reported_curves",
    "setting_text",
    "settings_document",
    "settings_for",
    "study_place",
    "summed",
    "suspects_text",
    "tell_other_objective",
    "told_share",
    "tuning_of",
    "unknown_origins",
    "use_text",
    "validated",
    "with_data",
    "without_own_metric",
    "write_toml",
]
