"""FGSM and PGD: steps along the sign of a gradient, within ε of an image and within the range of pixels.

ε is in units of pixels in [0, 1]; where pixels lie in [0, w] (w is 255 for uint8 images), ε stands for ε · w.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lossmith.attacks.gradients import Forward, Slope, input_gradients
from lossmith.errors import InputError
from lossmith.seeds import derive

STEP_SHARE = 2.5
See = Callable[[Tensor], None]


def checked_epsilon(epsilon: float) -> float:
    """The strength of an attack itself.

    Raises:
        InputError: unless it is a number from 0 to 1.
    """
    if not (math.isfinite(epsilon) and 0 <= epsilon <= 1):
        raise InputError(f"epsilon is {epsilon:g}; the strength of an attack is a share of the pixels' range, 0 to 1")
    return epsilon


def fgsm(
    forward: Forward, inputs: Tensor, targets: Tensor, epsilon: float, slope: Slope, max_pixel: float = 1.0
) -> Tensor:
    """Fast gradient sign method: ``clip(x + ε w sign(∂/∂x), 0, w)``, for each network; x itself where ε is 0.

    Args:
        forward: The networks.
        inputs: Images ``[P, N, …]``, floating, pixels in [0, w].
        targets: Class indices ``[N]``.
        epsilon: ε, in [0, 1].
        slope: What the attack raises.
        max_pixel: w.

    Raises:
        InputError: if ε is none.

    Source: Goodfellow et al. (2015); equation in §6 of the paper.
    """
    checked_epsilon(epsilon)
    _, (gradient,) = input_gradients(forward, inputs, targets, [slope])
    return signed_step(inputs, gradient, epsilon, max_pixel)


def signed_step(inputs: Tensor, gradient: Tensor, epsilon: float, max_pixel: float) -> Tensor:
    """``clip(x + ε w sign(g), 0, w)``."""
    return (inputs + epsilon * max_pixel * gradient.sign()).clamp(0, max_pixel)


def pgd(
    forward: Forward,
    inputs: Tensor,
    targets: Tensor,
    epsilon: float,
    slope: Slope,
    max_pixel: float = 1.0,
    steps: int = 20,
    size: float | None = None,
    start: Tensor | None = None,
    see: See | None = None,
) -> Tensor:
    """Projected gradient descent: steps of FGSM, each brought back to within ε of the image.

    Args:
        forward: The networks.
        inputs: Images ``[P, N, …]``, floating, pixels in [0, w].
        targets: Class indices ``[N]``.
        epsilon: ε, in [0, 1].
        slope: What the attack raises.
        max_pixel: w.
        steps: Number of steps.
        size: Length of a step (default: 2.5 ε / steps).
        start: Where it begins, as offsets from the images in units of ε ``[N, …]`` or ``[P, N, …]``; the images
            themselves if it is None.
        see: Called with the logits ``[P, N, K]`` at the beginning of each step.

    Raises:
        InputError: if ε is none, or there is no step.

    Source: Madry et al. (2018).
    """
    checked_epsilon(epsilon)
    if steps < 1:
        raise InputError(f"an attack has 1 step or more, not {steps}")
    length = STEP_SHARE * epsilon / steps if size is None else size
    radius = epsilon * max_pixel
    low, high = (inputs - radius).clamp(min=0), (inputs + radius).clamp(max=max_pixel)
    x = inputs if start is None else (inputs + radius * start).clamp(low, high)
    for _ in range(steps):
        logits, (gradient,) = input_gradients(forward, x, targets, [slope])
        if see is not None:
            see(logits)
        x = (x + length * max_pixel * gradient.sign()).clamp(low, high)
    return x


def random_start(like: Tensor, *seed: int | str) -> Tensor:
    """Offsets drawn uniformly from [−1, 1], of the shape and on the device of ``like``."""
    generator = torch.Generator(like.device).manual_seed(derive(*seed))
    return torch.rand(like.shape, generator=generator, device=like.device, dtype=like.dtype) * 2 - 1
