"""Adversarial training: each batch is attacked before the networks are trained on it."""

from torch import Tensor

from lossmith.attacks import STEP_SHARE, Forward, Slope, pgd
from lossmith.errors import InputError
from lossmith.training.networks import Task
from lossmith.training.recipe import Recipe

FGSM_LENGTH = 1.25


def attacked_batch(
    forward: Forward, inputs: Tensor, targets: Tensor, start: Tensor, slope: Slope, recipe: Recipe, max_pixel: float
) -> Tensor:
    """The images of a batch as the recipe's adversary changes them, ``[P, B, …]``.

    FGSM with a random start: one step of 1.25 ε, brought back to within ε (Wong et al., 2020). PGD: steps of
    2.5 ε / steps from a random start (Madry et al., 2018). The networks are in evaluation mode meanwhile.

    Args:
        forward: The networks, in evaluation mode.
        inputs: ``[P, B, …]``, floating.
        targets: Class indices ``[B]`` or ``[P, B]``, or probabilities with a last dimension K.
        start: Random offsets in [−1, 1], ``[B, …]`` or ``[P, B, …]``.
        slope: Of the loss that is trained.
        recipe: Which adversary, how strong.
        max_pixel: Value of a white pixel.
    """
    epsilon = recipe.adversary_epsilon
    steps = 1 if recipe.adversary == "fgsm" else recipe.adversary_steps
    size = FGSM_LENGTH * epsilon if recipe.adversary == "fgsm" else STEP_SHARE * epsilon / steps
    return pgd(forward, inputs, targets, epsilon, slope, max_pixel, steps, size, start)


def checked_max_pixel(task: Task) -> float:
    """The value of a white pixel of a task.

    Raises:
        InputError: if its inputs are no images that can be attacked.
    """
    if task.max_pixel is None:
        raise InputError(
            "adversarial training attacks images with pixels in [0, 1], which this data is not; train without adversary"
        )
    return task.max_pixel
