"""The losses that an evolved one is compared with, each with the strength that is tuned for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lossmith.analysis.tuning import Axis
from lossmith.errors import InputError
from lossmith.losses import (
    CATALOG,
    Loss,
    Named,
    bootstrapping,
    forward_correction,
    label_smoothing,
    mae,
)
from lossmith.registry import Registry, unknown


@dataclass(frozen=True)
class Family:
    """A loss with the strengths that are tuned.

    Args:
        name: What tables call it.
        axes: Its strengths; none for a loss that has nothing to tune but the learning rate and the number of epochs.
        build: The loss at some strengths, for a number of classes.
        baseline: Whether it is a baseline, and not a loss that the user gave.
        text: Strengths of a loss without axes, as tables show them.
        named: What the catalog of losses, which has its formula and source, calls it; empty if it has it not.
        noisy: Whether it was published for noisy labels, and is compared where it is asked for.
    """

    name: str
    axes: tuple[Axis, ...]
    build: Callable[[tuple[float, ...], int], Loss]
    baseline: bool = True
    text: str = ""
    named: str = ""
    noisy: bool = False

    @property
    def entry(self) -> Named | None:
        """Its entry in the catalog of losses, with formula and source; None if it has none."""
        return CATALOG[self.named] if self.named else None

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


def learning_rates(lr: float, stride: int = 1) -> Axis:
    """Learning rates a factor 2 apart: from 2⁻³ to twice the recipe's, and from 2⁻⁸ to 2⁶ times it when extended."""
    return Axis("lr", lambda place: lr * 2.0**place, -3, 1, -8, 6, stride)


BASELINES = Registry[Family]("baseline")
"""Every baseline by what tables call it, cross-entropy first; those for noisy labels are compared where asked for."""
ALL = "all"


def baselines() -> list[Family]:
    """Every baseline but those for noisy labels: cross-entropy, with which the others are compared, first."""
    return [family for _, family in BASELINES.items() if not family.noisy]


def find_baselines(names: Sequence[str] | str) -> list[Family]:
    """The baselines of some names, cross-entropy, with which the others are compared, first even if it is not named.

    Args:
        names: What tables call them, spaces or hyphens (``"label-smoothing"``), or what the catalog does (``"gce"``);
            ``"all"`` is every one, those for noisy labels among them.

    Raises:
        InputError: if there is none of a name.
    """
    names = [names] if isinstance(names, str) else names
    every = [family for _, family in BASELINES.items()]
    known = {_plain(family.name): family for family in reversed(every)}
    known |= {_plain(family.named): family for family in every if family.named}
    wanted = [_plain(str(name)) for name in names]
    for name, plain in zip(names, wanted, strict=True):
        if plain != ALL and plain not in known:
            raise InputError(unknown(str(name), BASELINES.kind, [family.name for family in every]))
    if ALL in wanted:
        return every
    chosen = {known[plain].name for plain in wanted} | {every[0].name}
    return [family for family in every if family.name in chosen]


def _plain(name: str) -> str:
    return name.lower().replace("_", " ").replace("-", " ")


def add_baseline(family: Family) -> Family:
    """Register a baseline under its name.

    Raises:
        InputError: if there is one of that name.
    """
    return BASELINES.register(family.name, family)


def named_family(named: str, name: str, *axes: Axis, noisy: bool = False) -> Family:
    """The family of a loss of the catalog, whose parameters are the strengths that are tuned, if it has some.

    Args:
        named: What the catalog calls it.
        name: What tables call it.
        axes: Its parameters.
        noisy: Whether it was published for noisy labels.

    Raises:
        InputError: if there is no such loss, or it has not as many parameters.
    """
    entry = CATALOG[named]
    if len(axes) > len(entry.parameters):
        raise InputError(f"the baseline {name!r} has {len(axes)} strengths, more than the loss {named} has parameters")

    def build(strengths: tuple[float, ...], classes: int) -> Loss:
        return entry.build(strengths[0] if strengths else None, classes, *strengths[1:])

    return Family(name, axes, build, named=named, noisy=noisy)


def _bootstrapping(strengths: tuple[float, ...], classes: int) -> Loss:
    # The name is a part of what stored comparisons are found by, and version 0.1 had this one.
    (beta,) = strengths
    return CATALOG["bootstrapping"].build(beta, classes).named(f"{beta:g} cross-entropy + {1 - beta:g} loss")


def _squares(strengths: tuple[float, ...], classes: int) -> Loss:
    # The name is a part of what stored comparisons are found by, and version 0.1 had this one.
    alpha, weight = strengths
    return CATALOG["smoothing-squares"].build(alpha, classes, weight).named(f"cross-entropy smoothed {alpha:g} + loss")


def _smoothed_bootstrapping(strengths: tuple[float, ...], classes: int) -> Loss:
    """φ = (β ((1 − α) y + α/n) + (1 − β) h) log h: the same with the entropy's reward."""
    alpha, beta = strengths
    return bootstrapping(beta).smoothed(alpha, classes)


def _sigmoid(place: int) -> float:
    return 1 / (1 + math.exp(-place))


def _negative(place: int) -> float:
    return -(2.0**-place)


def _power_of_two(place: int) -> float:
    return 2.0**place


add_baseline(named_family("cross-entropy", "cross-entropy"))
add_baseline(named_family("label-smoothing", "label smoothing", Axis("α", _sigmoid, -3, 3, -5, 5)))
add_baseline(named_family("mse", "MSE"))
add_baseline(named_family("baikal", "Baikal"))
add_baseline(named_family("focal", "focal", Axis("focusing", float, 1, 3, 1, 8)))
# These two are the same loss, so they are one entry.
add_baseline(named_family("poly", "PolyLoss-1, cross-entropy + ε MAE", Axis("ε", _power_of_two, -1, 5, -4, 9)))
add_baseline(named_family("mae", "MAE"))
add_baseline(named_family("gce", "generalised cross-entropy", Axis("q", _sigmoid, -2, 2, -5, 5)))
add_baseline(
    Family(
        "label smoothing + MAE",
        (Axis("α", _sigmoid, -1, 2, -5, 5), Axis("weight", _power_of_two, 1, 4, -3, 9)),
        lambda s, classes: label_smoothing(s[0], classes) + s[1] * mae(),
    )
)
add_baseline(Family("soft bootstrapping", (Axis("β", _sigmoid, 0, 3, -5, 7),), _bootstrapping, named="bootstrapping"))
# What losses evolved for noisy labels boil down to, written down by hand.
add_baseline(
    Family(
        "label smoothing + Σh²",
        (Axis("α", _sigmoid, -1, 2, -5, 5), Axis("weight", _power_of_two, 0, 3, -4, 8)),
        _squares,
        named="smoothing-squares",
    )
)
add_baseline(
    Family(
        "label smoothing + soft bootstrapping",
        (Axis("α", _sigmoid, -1, 2, -5, 5), Axis("β", _sigmoid, 0, 3, -5, 7)),
        _smoothed_bootstrapping,
    )
)
# What was published for noisy labels: with all strengths of one number, the others as published for CIFAR-10.
_WEIGHT = Axis("w", _power_of_two, -2, 4, -6, 10)
add_baseline(named_family("nce-rce", "NCE + RCE", _WEIGHT, noisy=True))
add_baseline(named_family("nce-agce", "NCE + AGCE", _WEIGHT, noisy=True))
add_baseline(named_family("agce", "AGCE", Axis("q", _sigmoid, -2, 2, -5, 5), noisy=True))
add_baseline(named_family("aul", "AUL", Axis("p", _power_of_two, -3, 1, -6, 3), noisy=True))
add_baseline(named_family("anl", "ANL, without its L1 norm", _WEIGHT, noisy=True))
add_baseline(named_family("epsilon-softmax", "ε-softmax CE + MAE", Axis("w", _power_of_two, 2, 10, -3, 14), noisy=True))
add_baseline(named_family("logit-clip", "LogitClip", Axis("τ", _power_of_two, -2, 3, -5, 7), noisy=True))
add_baseline(named_family("negative-smoothing", "negative smoothing", Axis("r", _negative, -2, 2, -5, 6), noisy=True))
# By the share of labels that are replaced by any class, of which 1/n stays what it was.
add_baseline(
    Family(
        "forward",
        (Axis("replaced", _sigmoid, -3, 1, -6, 4),),
        lambda s, classes: forward_correction(s[0] * (1 - 1 / classes), classes),
        noisy=True,
    )
)
add_baseline(named_family("jensen-shannon", "Jensen–Shannon", Axis("π", _sigmoid, -2, 2, -6, 6), noisy=True))
