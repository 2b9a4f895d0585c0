"""The mathematics of a loss."""

from lossmith.losses.criterion import Criterion
from lossmith.losses.files import load, save
from lossmith.losses.loss import Loss
from lossmith.losses.named import baikal, cross_entropy, focal, gce, mae, mse, poly, taylor, taylor_length
from lossmith.losses.samples import GradientRule, Term

__all__ = [
    "Criterion",
    "GradientRule",
    "Loss",
    "Term",
    "baikal",
    "cross_entropy",
    "focal",
    "gce",
    "load",
    "mae",
    "mse",
    "poly",
    "save",
    "taylor",
    "taylor_length",
]
