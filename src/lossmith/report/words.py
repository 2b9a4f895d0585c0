"""What a loss does, in plain words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import torch

from lossmith.losses import Loss
from lossmith.theory import Explanation, Zone, logit_steps

# How much the network gives the label: where a loss is compared with cross-entropy.
LOWEST, HIGHEST, POINTS = 0.01, 0.99, 491
# What counts as harder and weaker, and the shortest run of such beliefs that is told.
HARDER, WEAKER, SHORTEST = 1.15, 0.85, 0.02


def plain_words(loss: Loss, page: Explanation) -> list[str]:
    """What one loss does beside cross-entropy, a sentence each.

    The pull on a label is the step of its logit, ``−∂L/∂f_T``, where what the network does not give the label is shared
    evenly among the other classes. That of cross-entropy is ``ε = 1 − h_T``. Both are compared at the scale at which
    they begin alike, since a factor of the whole loss is a matter of the learning rate.

    Args:
        loss: One loss.
        page: What the theory says of it, by :func:`lossmith.theory.explain`.

    Example:
        >>> from lossmith.losses import cross_entropy
        >>> from lossmith.theory import explain
        >>> plain_words(cross_entropy(), explain(cross_entropy(), 10))
        ['It pulls as cross-entropy does.']
    """
    start = 1 / page.classes
    if page.margin <= 0:
        return [
            f"While the network gives every class {_percent(start)}, it does not pull the label up: training may never "
            "begin.",
            *_pushes(page.zones["exact"], start),
        ]
    belief = torch.linspace(LOWEST, HIGHEST, POINTS, dtype=torch.float64)
    _, step = logit_steps(loss, 1 - belief, page.classes)
    ratio = (step / (1 - belief) / page.gain).tolist()
    shape = _pulls(belief.tolist(), ratio)
    found = [*shape, *_pushes(page.zones["exact"], start)] or ["It pulls as cross-entropy does."]
    if shape and _runs(belief.tolist(), ratio, lambda value: WEAKER <= value <= HARDER):
        found.append(f"Elsewhere it pulls about as hard as cross-entropy, within {100 * (HARDER - 1):.0f} %.")
    if not 1 / 1.05 < page.gain < 1.05:
        found.append(
            f"Its first steps are {_times(page.gain)} those of cross-entropy; the learning rate makes up for it."
        )
    alpha = page.smoothing["alpha"] if page.smoothing is not None else page.cross_entropy_smoothing
    if alpha is not None and 1e-9 < alpha < 1:
        part = "It is" if page.smoothing is not None else "Its terms with log h are those of"
        found.append(f"{part} a loss with label smoothing, α = {alpha:.2g}.")
    return found


def _pulls(belief: Sequence[float], ratio: Sequence[float]) -> list[str]:
    """Where it pulls harder than cross-entropy, and where less."""
    found = []
    for low, high in _runs(belief, ratio, lambda value: value > HARDER):
        most = max(range(low, high + 1), key=ratio.__getitem__)
        found.append(
            f"It pulls harder than cross-entropy {_while(belief, low, high)}: {_times(ratio[most])} as "
            f"hard at {_percent(belief[most])}."
        )
    for low, high in _runs(belief, ratio, lambda value: 0 < value < WEAKER):
        if low == 0:
            found.append(
                f"It lets go of labels that the network hardly believes, where wrong ones are: "
                f"below {_percent(belief[high])} it pulls less than cross-entropy, {_left(ratio[0])} at "
                f"{_percent(belief[0])}."
            )
        elif high == len(belief) - 1:
            found.append(
                f"What is learned counts less than with cross-entropy: from {_percent(belief[low])} on it pulls less, "
                f"{_left(ratio[high])} at {_percent(belief[high])}."
            )
        else:
            found.append(f"It pulls less than cross-entropy {_while(belief, low, high)}.")
    return found


def _pushes(zones: Sequence[Zone], start: float) -> list[str]:
    """Where it pushes a label down. Zones are of ε, which is what the label is not given."""
    found = []
    for zone in zones:
        low, high = 1 - zone.high, 1 - zone.low
        if zone.sign >= 0 or high - low < 1e-3:
            continue
        if high > HIGHEST and low <= 0:
            found.append("It pushes every label down: the sign of the loss may be turned.")
        elif high > HIGHEST:
            found.append(
                f"Once the network gives a label more than {_percent(low)}, it pushes it down again, which keeps "
                "the network from being too sure."
            )
        elif high <= start:
            found.append(
                f"Labels that the network gives less than {_percent(high)} it pushes further down: it takes them for "
                "wrong."
            )
        else:
            found.append(f"It pushes labels down that the network gives {_percent(low)} to {_percent(high)}.")
    return found


def _runs(belief: Sequence[float], ratio: Sequence[float], wanted: Callable[[float], bool]) -> list[tuple[int, int]]:
    """First and last places of the runs in which a ratio is as wanted."""
    groups = [list(group) for is_wanted, group in groupby(range(len(ratio)), lambda k: wanted(ratio[k])) if is_wanted]
    return [(run[0], run[-1]) for run in groups if belief[run[-1]] - belief[run[0]] >= SHORTEST]


def _while(belief: Sequence[float], low: int, high: int) -> str:
    if low == 0 and high == len(belief) - 1:
        return "whatever the network gives the label"
    if low == 0:
        return f"on labels that the network gives less than {_percent(belief[high])}"
    if high == len(belief) - 1:
        return f"from the moment the network gives a label {_percent(belief[low])}"
    many = f"{_percent(belief[low])} to {_percent(belief[high])}"
    half = belief[low] <= 0.5 <= belief[high]
    return f"while the network half believes a label ({many})" if half else f"while the network gives a label {many}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.1g} %"


def _left(share: float) -> str:
    return "with nothing left" if share < 0.005 else f"with {_percent(share)} of its pull left"


def _times(factor: float) -> str:
    text = f"{factor:.0f}" if factor >= 9.95 else f"{factor:.1f}" if factor >= 0.995 else f"{factor:.1g}"
    return f"{text} times"
