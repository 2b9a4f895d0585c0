"""The mathematics of a loss."""

from lossmith.losses import powers
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
    mae,
    mnist,
    mse,
    poly,
    taylor_cross_entropy,
)
from lossmith.losses.criterion import Criterion
from lossmith.losses.files import load, save
from lossmith.losses.formatting import Latex, latex
from lossmith.losses.kernel import GradientRule
from lossmith.losses.loss import Loss
from lossmith.losses.parse import common_classes, find, find_all, find_named, loss_file
from lossmith.losses.polynomials import polynomial, taylor, taylor_length, taylor_order
from lossmith.losses.terms import Term

__all__ = [
    "CATALOG",
    "Criterion",
    "GradientRule",
    "Latex",
    "Loss",
    "Named",
    "Parameter",
    "Term",
    "allcnnc",
    "baikal",
    "bootstrapping",
    "common_classes",
    "cross_entropy",
    "find",
    "find_all",
    "find_named",
    "focal",
    "gce",
    "label_smoothing",
    "latex",
    "load",
    "loss_file",
    "mae",
    "mnist",
    "mse",
    "poly",
    "polynomial",
    "powers",
    "save",
    "taylor",
    "taylor_cross_entropy",
    "taylor_length",
    "taylor_order",
]
