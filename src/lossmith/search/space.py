"""The coordinates that a search looks in, and the loss that each point stands for."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lossmith.losses import Loss, PowerLoss, Term, polynomial, taylor, taylor_length
from lossmith.search.settings import SearchSettings
from lossmith.theory import Canonical, from_canonical

# The search can walk anywhere, and the exponential of a coordinate must stay a finite coefficient.
LARGEST_LOG_GAIN = 30.0


@dataclass(frozen=True)
class Space:
    """A space of losses with D dimensions.

    Args:
        start: The first mean of the search, ``[D]``.
        sigma: The first step size.
        build: Turns points ``[P, D]`` and the number of classes into a population of losses.
    """

    start: tuple[float, ...]
    sigma: float
    build: Callable[[Tensor, int], Loss]

    @property
    def dimensions(self) -> int:
        """D."""
        return len(self.start)


def build_space(settings: SearchSettings) -> Space:
    """The space of the settings."""
    match settings.space:
        case "residual":
            space = Space((0.0,) * 5, 0.5, residual)
        case "canonical" if settings.gain == "free":
            space = Space((0.0, -1.0, 0.0, 0.0), 0.6, canonical)
        case "canonical":
            space = Space((-1.0, 0.0, 0.0), 0.6, _gain_fixed)
        case "taylor":
            order = settings.order
            space = Space((0.0,) * taylor_length(order), 1.2, lambda theta, _: taylor(theta, order))
        case "smoothed-mae":
            space = Space((0.0, 1.0), 1.0, smoothed_mae)
    return space if settings.sigma is None else Space(space.start, settings.sigma, space.build)


def residual(theta: Tensor, classes: int) -> PowerLoss:
    """Smoothed cross-entropy plus a polynomial: ``γ = y/h + (x0/n)/h + (n/2)(x1 h + x2 h² + x3 h y + x4 y)``.

    The origin is cross-entropy; ``x0 = α/(1−α)`` alone is label smoothing α up to the factor 1−α.

    Args:
        theta: ``[*P, 5]``.
        classes: n.
    """
    n = classes
    x0, x1, x2, x3, x4 = theta.double().unbind(-1)
    phi: dict[tuple[float, int, int], Tensor] = {
        (0, 1, 1): torch.ones_like(x0),
        (0, 0, 1): x0 / n,
        (2, 0, 0): n / 4 * x1,
        (3, 0, 0): n / 6 * x2,
        (2, 1, 0): n / 4 * x3,
        (1, 1, 0): n / 2 * x4,
    }
    return _loss(phi, n, "residual")


def canonical(theta: Tensor, classes: int) -> PowerLoss:
    """Third-order losses by their gain and shape: ``x = (log gain, ch/m, chh/m, chy/m)``.

    The null-epoch margin ``m = n e^{x0}`` is positive at every point, so all of them are trainable at the null epoch.

    Args:
        theta: ``[*P, 4]``.
        classes: n.
    """
    x0, *shape = theta.double().unbind(-1)
    point = Canonical(x0.clamp(-LARGEST_LOG_GAIN, LARGEST_LOG_GAIN), *shape)
    return replace(polynomial(*from_canonical(point, classes), name="canonical"), classes=classes)


def smoothed_mae(theta: Tensor, classes: int) -> PowerLoss:
    """Label smoothing + MAE: ``φ = ((1−α) y + α/n) log h + w y h``, ``α = 1/(1 + e^{−x0})``, ``w = e^{x1}``.

    The strongest baseline for noisy labels in coordinates of its own, so that it can have a whole search's budget.

    Args:
        theta: ``[*P, 2]``.
        classes: n.
    """
    x0, x1 = theta.double().unbind(-1)
    alpha = x0.sigmoid()
    weight = x1.clamp(max=LARGEST_LOG_GAIN).exp()
    phi: dict[tuple[float, int, int], Tensor] = {
        (0, 1, 1): 1 - alpha,
        (0, 0, 1): alpha / classes,
        (1, 1, 0): weight,
        (0, 1, 0): -weight,
    }
    return _loss(phi, classes, "label smoothing + MAE")


def _gain_fixed(theta: Tensor, classes: int) -> PowerLoss:
    return canonical(torch.cat([torch.zeros_like(theta[..., :1]), theta], -1), classes)


def _loss(phi: dict[tuple[float, int, int], Tensor], classes: int, name: str) -> PowerLoss:
    return PowerLoss(tuple(Term(*term) for term in phi), torch.stack(list(phi.values()), -1), classes, name)
