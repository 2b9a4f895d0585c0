"""Attacks on the inputs of networks, for whole populations at once, and those of a library for one network."""

from lossmith.attacks.gradients import GRADIENTS, Forward, Slope, floating, input_gradients, margin_slope, slopes
from lossmith.attacks.library import LIBRARY_ATTACKS, check_attack, check_available, library_attack
from lossmith.attacks.steps import STEP_SHARE, checked_epsilon, fgsm, pgd, random_start, signed_step

__all__ = [
    "GRADIENTS",
    "LIBRARY_ATTACKS",
    "STEP_SHARE",
    "Forward",
    "Slope",
    "check_attack",
    "check_available",
    "checked_epsilon",
    "fgsm",
    "floating",
    "input_gradients",
    "library_attack",
    "margin_slope",
    "pgd",
    "random_start",
    "signed_step",
    "slopes",
]
