"""Attacks on the inputs of networks, for whole populations at once, and those of a library for one network."""

from lossmith.attacks.gradients import GRADIENTS, Forward, Slope, floating, input_gradients, margin_slope, slopes
from lossmith.attacks.steps import STEP_SHARE, checked_epsilon, fgsm, pgd, random_start

__all__ = [
    "GRADIENTS",
    "STEP_SHARE",
    "Forward",
    "Slope",
    "checked_epsilon",
    "fgsm",
    "floating",
    "input_gradients",
    "margin_slope",
    "pgd",
    "random_start",
    "slopes",
]
