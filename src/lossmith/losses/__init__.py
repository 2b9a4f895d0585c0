"""The mathematics of a loss."""

from lossmith.losses.criterion import Criterion
from lossmith.losses.files import load, save
from lossmith.losses.loss import Loss
from lossmith.losses.named import (
    baikal,
    cross_entropy,
    focal,
    gce,
    mae,
    mse,
    poly,
    polynomial,
    taylor,
    taylor_length,
    taylor_order,
)
from lossmith.losses.parse import NAMES, common_classes, find, find_all, loss_file
from lossmith.losses.published import allcnnc, mnist, taylor_cross_entropy
from lossmith.losses.samples import GradientRule, Term
from lossmith.losses.typeset import latex

__all__ = [
    "NAMES",
    "Criterion",
    "GradientRule",
    "Loss",
    "Term",
    "allcnnc",
    "baikal",
    "common_classes",
    "cross_entropy",
    "find",
    "find_all",
    "focal",
    "gce",
    "latex",
    "load",
    "loss_file",
    "mae",
    "mnist",
    "mse",
    "poly",
    "polynomial",
    "save",
    "taylor",
    "taylor_cross_entropy",
    "taylor_length",
    "taylor_order",
]
