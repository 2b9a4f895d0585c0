"""The basin around a trained network: accuracy and cross-entropy along random directions, and how flat it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossmith.analysis.hessian import largest_eigenvalues
from lossmith.analysis.perturbations import along, batches, filter_noise, scores, sound
from lossmith.analysis.trained import TrainedLoss
from lossmith.errors import InputError
from lossmith.metrics import check_shape, from_lists, moments, to_lists
from lossmith.seeds import generator

EIGENVALUE = "largest eigenvalue"
WIDTHS = {0.99: "width at 99 %", 0.9: "width at 90 %"}


@dataclass(frozen=True)
class Basin:
    """Slices of the basins of S networks, each along D random directions; NaN where a network has diverged.

    Args:
        t: Steps from −1 to 1, ``[T]``; a step of 1 is as long, in each filter, as the filter.
        accuracy: On the samples, ``[S, D, T]``.
        cross_entropy: Mean on the samples, ``[S, D, T]``; infinite where a logit is no finite number.
        eigenvalue: Largest eigenvalue of the Hessian of the cross-entropy, ``[S]``; NaN if it was left out.
        converged: Whether the power iteration for it came to rest, boolean ``[S]``.
        diverged: Networks whose training diverged, boolean ``[S]``.
    """

    t: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    cross_entropy: NDArray[np.float64]
    eigenvalue: NDArray[np.float64]
    converged: NDArray[np.bool_]
    diverged: NDArray[np.bool_]

    def width(self, share: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Widths ``[S, D]`` at a share of each slice's top accuracy, and which end only where the slice does."""
        shape = self.accuracy.shape[:2]
        found = [width(self.t, curve, share) for curve in self.accuracy.reshape(-1, len(self.t))]
        lengths, capped = zip(*found, strict=True)
        return np.reshape(lengths, shape), np.reshape(capped, shape)

    @property
    def clean(self) -> NDArray[np.float64]:
        """Accuracy of the networks themselves, ``[S]``."""
        return self.accuracy[:, 0, len(self.t) // 2]

    def measures(self) -> dict[str, NDArray[np.float64]]:
        """What is tested, a number for each network: mean widths of its slices, and the eigenvalue."""
        widths = {title: self.width(share)[0].mean(1) for share, title in WIDTHS.items()}
        return {**widths, EIGENVALUE: self.eigenvalue}

    def figures(self) -> dict[str, Any]:
        """Everything but the steps, as JSON; null where a network has diverged or a cross-entropy is infinite."""
        widths = {}
        for share, title in WIDTHS.items():
            lengths, capped = self.width(share)
            widths[title] = {**moments(lengths.mean(1)), "slices": to_lists(lengths), "capped": capped.tolist()}
        return {
            "diverged": self.diverged.tolist(),
            "test_accuracy": moments(self.clean),
            "accuracy": self._curve(self.accuracy),
            "cross_entropy": self._curve(self.cross_entropy),
            **widths,
            EIGENVALUE: {**moments(self.eigenvalue), "converged": self.converged.tolist()},
        }

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {"t": to_lists(self.t), **self.figures()}

    @staticmethod
    def from_json(document: dict[str, Any]) -> Basin:
        """The basin of :meth:`to_json`.

        Raises:
            ValueError: if the document has another shape, or KeyError, or TypeError.
        """
        diverged = np.array(document["diverged"], dtype=bool)
        accuracy, cross_entropy = (from_lists(document[name]["values"]) for name in ("accuracy", "cross_entropy"))
        # A network that was measured has no NaN, so that null stands for infinity there.
        cross_entropy[np.isnan(cross_entropy) & ~diverged[:, None, None]] = np.inf
        eigenvalue = document[EIGENVALUE]
        found = Basin(
            np.array(document["t"], dtype=float),
            accuracy,
            cross_entropy,
            from_lists(eigenvalue["values"]),
            np.array(eigenvalue["converged"], dtype=bool),
            diverged,
        )
        check_shape((len(diverged), accuracy.shape[1], len(found.t)), accuracy, cross_entropy)
        check_shape(diverged.shape, found.eigenvalue, found.converged)
        return found

    def _curve(self, values: NDArray[np.float64]) -> dict[str, Any]:
        """Mean and standard deviation ``[T]`` over the slices of all sound networks, and the values ``[S, D, T]``."""
        slices = values[~self.diverged].reshape(-1, len(self.t))
        empty = np.full(len(self.t), np.nan)
        with np.errstate(invalid="ignore"):
            mean = slices.mean(0) if len(slices) else empty
            std = slices.std(0, ddof=1) if len(slices) > 1 else empty
        return {"mean": to_lists(mean), "std": to_lists(std), "n": len(slices), "values": to_lists(values)}


def basin(
    trained_loss: TrainedLoss,
    inputs: Tensor,
    targets: Tensor,
    directions: int = 3,
    points: int = 51,
    seed: int = 0,
    hessian_samples: int = 1000,
    progress: Callable[[float], None] | None = None,
) -> Basin:
    """Accuracy and cross-entropy of networks along random directions (figure 4; Li et al., 2018).

    Weights ``w + t·d`` with t in ``points`` steps from −1 to 1 and d as in
    :func:`lossmith.analysis.perturbations.filter_noise`; a seed gives the same Gaussian to every network of every loss.
    The step t = 0 is the network itself.

    Args:
        trained_loss: A loss and its S networks.
        inputs: ``[N, …]``, of the test part.
        targets: Class indices ``[N]``.
        directions: D.
        points: T, an odd number.
        seed: Decides the directions, and what the Hessian is computed on.
        hessian_samples: Samples of the Hessian, drawn at random if there are more; 0 leaves it out.
        progress: Called with the share of the work that is done.

    Raises:
        InputError: if a number cannot be used, or the network cannot be differentiated twice.
    """
    check_slices(directions, points, hessian_samples)
    t = np.linspace(-1, 1, points)
    t[points // 2] = 0
    networks, alive = trained_loss.networks, sound(trained_loss)
    curves = np.full((2, len(networks), directions, points), np.nan)
    eigenvalue, converged = np.full(len(networks), np.nan), np.zeros(len(networks), dtype=bool)
    if alive:
        accuracy, cross_entropy = scores(networks, batches(networks, inputs, targets))
        clean = accuracy[alive], cross_entropy[alive]
        networks = networks.select(alive)
        for number in range(directions):
            direction = filter_noise(networks, seed, "basin", number)
            curves[:, alive, number] = along(networks, direction, t.tolist(), clean, inputs, targets)
            if progress is not None:
                progress((number + 1) / (directions + (hessian_samples > 0)))
        if hessian_samples:
            order = torch.randperm(len(inputs), generator=generator(seed, "hessian", "samples"))
            chosen = order[:hessian_samples].sort().values.to(inputs.device)
            found = largest_eigenvalues(networks, inputs[chosen], targets[chosen], seed)
            eigenvalue[alive], converged[alive] = found.value, found.converged
    if progress is not None:
        progress(1.0)
    return Basin(t, curves[0], curves[1], eigenvalue, converged, trained_loss.diverged.cpu().numpy())


def check_slices(directions: int, points: int, hessian_samples: int = 0) -> None:
    """See that slices can be made.

    Raises:
        InputError: if they cannot.
    """
    if directions < 1:
        raise InputError(f"the number of directions is {directions}; it must be at least 1")
    if points < 3 or points % 2 == 0:
        raise InputError(
            f"the number of points is {points}; it must be odd, so that the network is one of them, and at least 3"
        )
    if hessian_samples < 0:
        raise InputError(f"the number of Hessian samples is {hessian_samples}; it must be at least 0")


def width(t: NDArray[np.float64], accuracy: NDArray[np.float64], share: float) -> tuple[float, bool]:
    """How long accuracy stays at or above a share of its top, around the top.

    The interval ends where the line between two points crosses ``share · top``, or with the slice. Of several tops,
    the one nearest to t = 0 counts.

    Args:
        t: Steps ``[T]``, ascending.
        accuracy: ``[T]``.
        share: Of the top accuracy, below 1.

    Returns:
        The length, NaN for a slice that is NaN or 0 everywhere, and whether the slice ends before the interval does.

    Example:
        >>> width(np.array([-1.0, 0.0, 1.0]), np.array([0.5, 1.0, 0.5]), 0.75)
        (1.0, False)
    """
    top = accuracy.max()
    if not top > 0:
        return float("nan"), False
    level = share * top
    center = min(np.flatnonzero(accuracy == top), key=lambda place: abs(t[place]))
    below = np.flatnonzero(accuracy < level)
    left, right = below[below < center], below[below > center]

    def crossing(outside: int, inside: int) -> float:
        part = (level - accuracy[outside]) / (accuracy[inside] - accuracy[outside])
        return float(t[outside] + part * (t[inside] - t[outside]))

    low = crossing(left[-1], left[-1] + 1) if len(left) else float(t[0])
    high = crossing(right[0], right[0] - 1) if len(right) else float(t[-1])
    return high - low, not (len(left) and len(right))
