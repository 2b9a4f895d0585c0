"""What a loss is worth and what it does: objectives, comparisons and looks at networks, as records.

Drawing and storing them happens elsewhere.
"""

from lossmith.analysis.baselines import (
    BASELINES,
    Family,
    add_baseline,
    baselines,
    find_baselines,
    fixed,
    learning_rates,
    named_family,
)
from lossmith.analysis.basin import EIGENVALUE, WIDTHS, Basin, basin, check_slices
from lossmith.analysis.comparison import compare
from lossmith.analysis.corruption import (
    INPUT,
    KINDS,
    WEIGHT,
    Corruption,
    check_corruption,
    corruption_document,
    corruption_measure,
    corruptions_of,
    input_noise,
    silenced_units,
    weight_noise,
)
from lossmith.analysis.costs import costs_text
from lossmith.analysis.deciding import ACCURACY, UNNAMED, Deciding
from lossmith.analysis.distilling import Distillation, Trial, acting_terms, distill
from lossmith.analysis.jobs import Part, UnreadableError, each_loss, results_of
from lossmith.analysis.judging import CALIBRATION, concluded
from lossmith.analysis.known import Gain, best_gain, known_gains, probed_families
from lossmith.analysis.looks import Attacking, Corrupting, Look, Walking
from lossmith.analysis.masking import Masking
from lossmith.analysis.measuring import (
    MetricObjective,
    Objective,
    Recording,
    RobustAccuracy,
    Weighted,
    figures,
    objective_name,
)
from lossmith.analysis.objective import FIGURES, OBJECTIVES, Choice, ObjectiveSettings, chosen_metric, metric_of
from lossmith.analysis.plans import ATTACKS, OWN_ATTACKS, AttackPlan
from lossmith.analysis.probing import check_metric
from lossmith.analysis.records import QUICK, Chunks, Comparison, Guess, Pair, Plan, Row
from lossmith.analysis.robustness import Robustness, attack_contrasts, attack_document, robustness
from lossmith.analysis.shares import WrongLabels, wrong_labels
from lossmith.analysis.silencing import SILENCED, hidden_layers
from lossmith.analysis.suspects import (
    Beliefs,
    Fold,
    Suspects,
    believed,
    margin,
    ranked,
    rivalry,
    self_confidence,
    suspects,
)
from lossmith.analysis.trace import FORMS, Trace, trace
from lossmith.analysis.trained import TrainedLoss, train_loss
from lossmith.analysis.tuning import Axis, Chosen, Grid, RunOff, Setting, Tuner, mean_score

__all__ = [
    "ACCURACY",
    "ATTACKS",
    "BASELINES",
    "CALIBRATION",
    "EIGENVALUE",
    "FIGURES",
    "FORMS",
    "INPUT",
    "KINDS",
    "OBJECTIVES",
    "OWN_ATTACKS",
    "QUICK",
    "SILENCED",
    "UNNAMED",
    "WEIGHT",
    "WIDTHS",
    "AttackPlan",
    "Attacking",
    "Axis",
    "Basin",
    "Beliefs",
    "Choice",
    "Chosen",
    "Chunks",
    "Comparison",
    "Corrupting",
    "Corruption",
    "Deciding",
    "Distillation",
    "Family",
    "Fold",
    "Gain",
    "Grid",
    "Guess",
    "Look",
    "Masking",
    "MetricObjective",
    "Objective",
    "ObjectiveSettings",
    "Pair",
    "Part",
    "Plan",
    "Recording",
    "RobustAccuracy",
    "Robustness",
    "Row",
    "RunOff",
    "Setting",
    "Suspects",
    "Trace",
    "TrainedLoss",
    "Trial",
    "Tuner",
    "UnreadableError",
    "Walking",
    "Weighted",
    "WrongLabels",
    "acting_terms",
    "add_baseline",
    "attack_contrasts",
    "attack_document",
    "baselines",
    "basin",
    "believed",
    "best_gain",
    "check_corruption",
    "check_metric",
    "check_slices",
    "chosen_metric",
    "compare",
    "concluded",
    "corruption_document",
    "corruption_measure",
    "corruptions_of",
    "costs_text",
    "distill",
    "each_loss",
    "figures",
    "find_baselines",
    "fixed",
    "hidden_layers",
    "input_noise",
    "known_gains",
    "learning_rates",
    "margin",
    "mean_score",
    "metric_of",
    "named_family",
    "objective_name",
    "probed_families",
    "ranked",
    "results_of",
    "rivalry",
    "robustness",
    "self_confidence",
    "silenced_units",
    "suspects",
    "trace",
    "train_loss",
    "weight_noise",
    "wrong_labels",
]
