"""The policy for values that are not finite numbers. It is written here once; other modules ask these functions.

- **A network** that gives a logit that is not finite, on any of the samples, is wrong on every one of them: each of its
  metrics is the worst that there is (0 for a share of right answers, infinite for a likelihood), and an attack finds it
  wrong before and after. The whole network counts and not the sample, since the argmax of NaN is a class by accident.
- **A candidate** whose fitness is not finite, or one of whose networks diverged, has diverged: it has no fitness and
  ranks last.
- **A figure that a study records** is null where it is not finite, as an infinite likelihood; a mean of such figures is
  none, and a front leaves the candidate out.
- **What was not measured**, of a network that diverged, is NaN in arrays. Means and tests leave it out, and JSON has
  null for it, as for infinity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def finite(logits: Tensor) -> Tensor:
    """Whether all logits ``[P, N, K]`` of each network are finite numbers, ``[P]``."""
    if not logits.numel():
        return torch.ones(len(logits), dtype=torch.bool, device=logits.device)
    # NaN is the largest number of all, and less than none; to ask each logit takes eight times as long.
    return logits.abs().amax(tuple(range(1, logits.ndim))) < torch.inf


def correct(logits: Tensor, targets: Tensor) -> Tensor:
    """Whether each sample is classified rightly, ``[P, N]``, from logits ``[P, N, K]`` that are finite numbers.

    For samples that come in parts: when all are there, :func:`finite` of all of them decides about the network.
    """
    return (logits.argmax(-1) == targets) & logits.isfinite().all(-1)


def or_worst(values: Tensor, sound: Tensor, worst: float) -> Tensor:
    """Values ``[P]`` of networks, and the worst one for those that are not ``sound [P]``."""
    return torch.where(sound, values, worst)


def mean_of(figures: Sequence[float | None]) -> float | None:
    """The mean of recorded figures; None if there is none, or one of them or their mean is not finite."""
    found = [value for value in figures if value is not None]
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(np.mean(found)) if found and len(found) == len(figures) else math.nan
    return mean if math.isfinite(mean) else None


def known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Those of some values ``[S]`` that were measured."""
    return values[np.isfinite(values)]


def to_lists(values: NDArray[Any]) -> Any:
    """An array as nested lists for JSON, with null for what is not a finite number."""
    found = values.astype(object)
    found[~np.isfinite(values)] = None
    return found.tolist()


def from_lists(lists: Any, dtype: Any = np.float64) -> NDArray[Any]:
    """The array of nested lists, with NaN for null."""
    return np.array(lists, dtype=dtype)


def check_shape(shape: tuple[int, ...], *arrays: NDArray[Any]) -> None:
    """See that arrays of a document have the shape that the rest of it says.

    Raises:
        ValueError: if one has not.
    """
    for one in arrays:
        if one.shape != shape:
            raise ValueError(f"a shape is {one.shape}, not {shape}")
