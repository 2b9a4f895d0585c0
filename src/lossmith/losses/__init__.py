"""The mathematics of a loss."""

from lossmith.losses import powers
from lossmith.losses.base import KINDS, Loss, Rule
from lossmith.losses.catalog import (
    CATALOG,
    Named,
    Parameter,
    allcnnc,
    baikal,
    bootstrapping,
    cross_entropy,
    focal,
    gce,
    label_smoothing,
    logit_clip,
    mae,
    mnist,
    mse,
    normalized_cross_entropy,
    poly,
    taylor_cross_entropy,
)
from lossmith.losses.combined import Sum
from lossmith.losses.criterion import Criterion
from lossmith.losses.elementwise import FlippedPower, FractionalFocal, JensenShannon, ShiftedPower
from lossmith.losses.evolved import noise_robust, smoothing_squares
from lossmith.losses.exports import EXPORTS, export
from lossmith.losses.expressions import Expression, expression
from lossmith.losses.files import class_weights, load, loss_document, read_loss_document, save
from lossmith.losses.formatting import Latex, latex
from lossmith.losses.kernel import GradientRule
from lossmith.losses.mixed import Mixed
from lossmith.losses.outputs import Forward, NormalizedNegative, Sharpened
from lossmith.losses.parse import common_classes, find, find_all, find_named, find_weighted, loss_file
from lossmith.losses.polynomials import polynomial, taylor, taylor_length, taylor_order
from lossmith.losses.power import PowerLoss
from lossmith.losses.rivals import (
    active_negative,
    agce,
    aul,
    epsilon_softmax,
    forward_correction,
    jensen_shannon,
    nce_agce,
    nce_rce,
    negative_smoothing,
)
from lossmith.losses.schedules import Blend, Schedule, schedule
from lossmith.losses.tables import slope_table
from lossmith.losses.terms import Term
from lossmith.losses.transforms import Clipped, Normalized
from lossmith.losses.weighting import ClassWeighted, label_weights

__all__ = [
    "CATALOG",
    "EXPORTS",
    "KINDS",
    "Blend",
    "ClassWeighted",
    "Clipped",
    "Criterion",
    "Expression",
    "FlippedPower",
    "Forward",
    "FractionalFocal",
    "GradientRule",
    "JensenShannon",
    "Latex",
    "Loss",
    "Mixed",
    "Named",
    "Normalized",
    "NormalizedNegative",
    "Parameter",
    "PowerLoss",
    "Rule",
    "Schedule",
    "Sharpened",
    "ShiftedPower",
    "Sum",
    "Term",
    "active_negative",
    "agce",
    "allcnnc",
    "aul",
    "baikal",
    "bootstrapping",
    "class_weights",
    "common_classes",
    "cross_entropy",
    "epsilon_softmax",
    "export",
    "expression",
    "find",
    "find_all",
    "find_named",
    "find_weighted",
    "focal",
    "forward_correction",
    "gce",
    "jensen_shannon",
    "label_smoothing",
    "label_weights",
    "latex",
    "load",
    "logit_clip",
    "loss_document",
    "loss_file",
    "mae",
    "mnist",
    "mse",
    "nce_agce",
    "nce_rce",
    "negative_smoothing",
    "noise_robust",
    "normalized_cross_entropy",
    "poly",
    "polynomial",
    "powers",
    "read_loss_document",
    "save",
    "schedule",
    "slope_table",
    "smoothing_squares",
    "taylor",
    "taylor_cross_entropy",
    "taylor_length",
    "taylor_order",
]
