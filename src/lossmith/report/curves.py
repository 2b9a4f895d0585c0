"""What the pictures show, as data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lossmith.losses import Loss, PowerLoss
from lossmith.study import EVOLVED
from lossmith.theory import attraction, logit_steps, sign_changes, symmetric_gamma, symmetric_values

Array = NDArray[np.float64]


@dataclass(frozen=True)
class History:
    """Fitness by generation; NaN where a generation has no candidate with a fitness.

    Args:
        generations: ``[G]``, from 1.
        best: Highest fitness of each generation.
        mean: Mean fitness.
        low: Lower quartile.
        high: Upper quartile.
        lines: Name and mean fitness of the finalists that are drawn as lines.
    """

    generations: Array
    best: Array
    mean: Array
    low: Array
    high: Array
    lines: list[tuple[str, float]]


def search_history(candidates: Sequence[Mapping[str, Any]], finalists: Sequence[Mapping[str, Any]]) -> History:
    """The history of a search from its stored candidates and finalists."""
    count = 1 + max((row["generation"] for row in candidates), default=-1)
    best, mean, low, high = (np.full(count, np.nan) for _ in range(4))
    found: dict[int, list[float]] = {}
    for row in candidates:
        if row["fitness"] is not None:
            found.setdefault(row["generation"], []).append(row["fitness"])
    for generation, known in found.items():
        best[generation], mean[generation] = np.max(known), np.mean(known)
        low[generation], high[generation] = np.quantile(known, [0.25, 0.75])
    measured = [row for row in finalists if row["mean"] is not None]
    evolved = [row["mean"] for row in measured if row["origin"]["kind"] in EVOLVED]
    # A baseline's name without its strengths, for which a picture has no room.
    others = {
        row["origin"].get("baseline", row["name"]): row["mean"]
        for row in measured
        if row["origin"]["kind"] not in EVOLVED
    }
    strongest = max(others, key=others.__getitem__, default="")
    lines = [(name, others[name]) for name in dict.fromkeys(("cross-entropy", strongest)) if name in others]
    if evolved:
        lines.append(("best found, fresh seeds", max(evolved)))
    return History(np.arange(1.0, count + 1), best, mean, low, high, lines)


@dataclass(frozen=True)
class Shape:
    """A loss where the outputs of the classes that are not the target are equal.

    Args:
        name: The loss.
        output: Target output h_T, ``[N]``.
        value: Loss less its value at h_T = 1/n.
        gradient: ``∂L/∂f_T``, the gradient with respect to the target's logit.
    """

    name: str
    output: Array
    value: Array
    gradient: Array


def loss_shape(loss: Loss, classes: int, points: int = 400) -> Shape:
    """A loss and its gradient against the target output."""
    target = torch.linspace(0.002, 0.998, points, dtype=torch.float64)
    start = torch.tensor([1 / classes], dtype=torch.float64)
    value = symmetric_values(loss, 1 - torch.cat([start, target]), classes)
    _, step = logit_steps(loss, 1 - target, classes)
    return Shape(loss.name, target.numpy(), (value[1:] - value[0]).numpy(), -step.numpy())


@dataclass(frozen=True)
class Attraction:
    """Attraction towards zero training error against the deviation from it, exact and published (figure 3).

    Args:
        name: The loss.
        classes: n.
        epsilon: ``[N]``, ascending.
        exact: Strength, ``[N]``.
        published: Strength, ``[N]``; NaN for a loss that has no such form.
        roots: Where the exact strength changes its sign.
    """

    name: str
    classes: int
    epsilon: Array
    exact: Array
    published: Array
    roots: list[float]


def attraction_curve(loss: Loss, classes: int, points: int = 999) -> Attraction:
    """Attraction of one loss at evenly spaced ε in (0, 1)."""
    epsilon = torch.linspace(0, 1, points + 2, dtype=torch.float64)[1:-1]
    exact = attraction(loss, epsilon, classes)
    has_published = loss.sums_over_classes
    published = attraction(loss, epsilon, classes, "published") if has_published else torch.full_like(exact, torch.nan)
    roots = sign_changes(loss, classes)
    return Attraction(loss.name, classes, epsilon.numpy(), exact.numpy(), published.numpy(), roots)


@dataclass(frozen=True)
class Rule:
    """The learning rule at symmetric outputs against the target's output.

    Args:
        name: The loss.
        output: Target output h_T, ``[N]``.
        difference: ``γ_T − γ_¬T``, which alone moves the target's logit by ``ε(1−ε)`` times it, ``[N]``.
    """

    name: str
    output: Array
    difference: Array


def rule_curve(loss: Loss, classes: int, points: int = 400) -> Rule:
    """The learning rule of one loss, less c1, at evenly spaced target outputs."""
    output = torch.linspace(0.002, 0.998, points, dtype=torch.float64)
    if isinstance(loss, PowerLoss):
        other, target = symmetric_gamma(loss.acting(), 1 - output, classes)
        return Rule(loss.name, output.numpy(), (target - other).numpy())
    _, step = logit_steps(loss, 1 - output, classes)
    return Rule(loss.name, output.numpy(), (step / (output * (1 - output))).numpy())
