"""The losses that an evolved one is compared with, each with the strength that is tuned for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from lossmith.analysis.tuning import Axis
from lossmith.losses import Loss, baikal, bootstrapping, cross_entropy, focal, gce, label_smoothing, mae, mse, poly


@dataclass(frozen=True)
class Family:
    """A loss with the strengths that are tuned.

    Args:
        name: What tables call it.
        axes: Its strengths; none for a loss that has nothing to tune but the learning rate and the number of epochs.
        build: The loss at some strengths, for a number of classes.
        baseline: Whether it is a baseline, and not a loss that the user gave.
        text: Strengths of a loss without axes, as tables show them.
    """

    name: str
    axes: tuple[Axis, ...]
    build: Callable[[tuple[float, ...], int], Loss]
    baseline: bool = True
    text: str = ""

    def strengths(self, place: tuple[int, ...]) -> tuple[float, ...]:
        """Values of the strengths at a place of the grid."""
        return tuple(axis.value(index) for axis, index in zip(self.axes, place, strict=True))

    def describe(self, place: tuple[int, ...]) -> str:
        """The strengths as text."""
        values = zip(self.axes, self.strengths(place), strict=True)
        return ", ".join(f"{axis.name} = {value:.3g}" for axis, value in values) or self.text


def fixed(name: str, loss: Loss, baseline: bool = False, text: str = "") -> Family:
    """A family of one loss, whose strengths are not tuned."""
    return Family(name, (), lambda *_: loss, baseline, text)


def learning_rates(lr: float) -> Axis:
    """Learning rates a factor 2 apart: from 2⁻³ to twice the recipe's, and from 2⁻⁸ to 2⁶ times it when extended."""
    return Axis("lr", lambda place: lr * 2.0**place, -3, 1, -8, 6)


def baselines() -> list[Family]:
    """Every baseline: cross-entropy first.

    PolyLoss-1 with ε and cross-entropy + ε MAE are the same loss, so they are one entry.
    """
    smoothing = Axis("α", _sigmoid, -3, 3, -5, 5)
    weight = Axis("ε", _power_of_two, -1, 5, -4, 9)
    return [
        Family("cross-entropy", (), lambda *_: cross_entropy()),
        Family("label smoothing", (smoothing,), lambda s, n: label_smoothing(s[0], n)),
        Family("MSE", (), lambda *_: mse()),
        Family("Baikal", (), lambda *_: baikal()),
        Family("focal", (Axis("focusing", float, 1, 3, 1, 8),), lambda s, _: focal(int(s[0]))),
        Family("PolyLoss-1, cross-entropy + ε MAE", (weight,), lambda s, _: poly(s[0])),
        Family("MAE", (), lambda *_: mae()),
        Family("generalised cross-entropy", (Axis("q", _sigmoid, -2, 2, -5, 5),), lambda s, _: gce(s[0])),
        Family(
            "label smoothing + MAE",
            (Axis("α", _sigmoid, -1, 2, -5, 5), Axis("weight", _power_of_two, 1, 4, -3, 9)),
            lambda s, n: label_smoothing(s[0], n) + s[1] * mae(),
        ),
        Family("soft bootstrapping", (Axis("β", _sigmoid, 0, 3, -5, 7),), lambda s, _: _bootstrapping(s[0])),
    ]


def _bootstrapping(beta: float) -> Loss:
    # The name is a part of what stored comparisons are found by, and version 0.1 had this one.
    return replace(bootstrapping(beta), name=f"{beta:g} cross-entropy + {1 - beta:g} loss")


def _sigmoid(place: int) -> float:
    return 1 / (1 + math.exp(-place))


def _power_of_two(place: int) -> float:
    return 2.0**place
