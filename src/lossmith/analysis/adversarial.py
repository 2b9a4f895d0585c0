"""Which images survive FGSM and PGD, for whole populations of networks."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lossmith.attacks import GRADIENTS, floating, input_gradients, pgd, random_start, signed_step, slopes
from lossmith.losses import Loss
from lossmith.metrics import correct, finite
from lossmith.training import Networks


def fgsm_correct(
    networks: Networks,
    losses: Loss,
    inputs: Tensor,
    targets: Tensor,
    epsilons: Sequence[float],
    max_pixel: float,
    gradients: Sequence[str] = GRADIENTS,
) -> tuple[Tensor, Tensor, Tensor]:
    """Which images survive FGSM, along each gradient; one forward pass and one gradient for all strengths.

    Args:
        networks: P networks.
        losses: The losses they were trained with, ``[P]``.
        inputs: Images ``[N, C, H, W]``, pixels in [0, max_pixel].
        targets: Class indices ``[N]``.
        epsilons: The E strengths.
        max_pixel: Value of a white pixel.
        gradients: The G gradients that are followed.

    Returns:
        Whether an image is classified rightly without attack, ``[P, N]``; also after it, ``[E, G, P, N]``; and whether
        its gradient is 0 in every pixel, ``[G, P, N]``.
    """
    followed = list(gradients)
    parts = [
        _fgsm_correct(some, losses[members], inputs, targets, epsilons, max_pixel, followed)
        for some, members in _apart(networks)
    ]
    clean, survived, zero = (torch.cat(one, -2) for one in zip(*(part[:3] for part in parts), strict=True))
    # Parts of the samples do not know of each other, so what is not finite is decided for whole networks here.
    sound = torch.cat([part[3] for part in parts])[:, None]
    return clean & sound, survived & sound, zero


def _fgsm_correct(
    networks: Networks,
    losses: Loss,
    inputs: Tensor,
    targets: Tensor,
    epsilons: Sequence[float],
    max_pixel: float,
    gradients: Sequence[str],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    followed = slopes(losses.to(inputs.device), gradients)
    clean, survived, zero, numbers = [], [], [], []
    rows = networks.rows(inputs)
    for x, y in zip(inputs.split(rows), targets.split(rows), strict=True):
        images = floating(x).expand(len(networks), *x.shape)
        logits, found = input_gradients(networks.forward, images, y, followed)
        right = correct(logits, y)
        clean.append(right)
        numbers.append(finite(logits))
        zero.append(torch.stack([gradient.flatten(2).abs().amax(-1) == 0 for gradient in found]))
        with torch.no_grad():
            after = [
                [correct(networks.forward(signed_step(images, one, epsilon, max_pixel)), y) & right for one in found]
                if epsilon
                else [right] * len(found)
                for epsilon in epsilons
            ]
        survived.append(torch.stack([torch.stack(row) for row in after]))
    return torch.cat(clean, -1), torch.cat(survived, -1), torch.cat(zero, -1), torch.stack(numbers).all(0)


def _apart(networks: Networks) -> list[tuple[Networks, slice]]:
    """Populations that are run one after another, and which members they are."""
    parts = networks.apart()
    return [(part, slice(None) if len(parts) == 1 else slice(k, k + 1)) for k, part in enumerate(parts)]


def pgd_correct(
    networks: Networks,
    losses: Loss,
    inputs: Tensor,
    targets: Tensor,
    epsilon: float,
    max_pixel: float,
    steps: int,
    seed: int,
    gradients: Sequence[str] = GRADIENTS,
) -> Tensor:
    """Which images survive PGD from a random start, along each gradient and at each of its steps, ``[G, P, N]``.

    Arguments as of :func:`fgsm_correct`; the start is the same for all networks and gradients.
    """
    start = random_start(floating(inputs), seed, "pgd")
    return torch.cat(
        [
            _pgd_correct(some, losses[members], inputs, targets, start, epsilon, max_pixel, steps, gradients)
            for some, members in _apart(networks)
        ],
        1,
    )


def _pgd_correct(
    networks: Networks,
    losses: Loss,
    inputs: Tensor,
    targets: Tensor,
    start: Tensor,
    epsilon: float,
    max_pixel: float,
    steps: int,
    gradients: Sequence[str],
) -> Tensor:
    found = []
    rows = networks.rows(inputs)
    for x, y, offset in zip(inputs.split(rows), targets.split(rows), start.split(rows), strict=True):
        images = floating(x).expand(len(networks), *x.shape)
        with torch.no_grad():
            right = correct(networks.forward(images), y)
        verdicts = []
        for slope in slopes(losses.to(inputs.device), gradients):
            standing = [right]
            if epsilon:

                def see(logits: Tensor, y: Tensor = y, standing: list[Tensor] = standing) -> None:
                    standing[0] = standing[0] & correct(logits, y)

                last = pgd(networks.forward, images, y, epsilon, slope, max_pixel, steps, start=offset, see=see)
                with torch.no_grad():
                    see(networks.forward(last))
            verdicts.append(standing[0])
        found.append(torch.stack(verdicts))
    return torch.cat(found, -1)
