"""Every loss against the first one: one-tailed tests over several measures, corrected together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossmith.metrics.statistics import Difference, holm, welch


@dataclass(frozen=True)
class Contrast:
    """A loss against the first one in one measure.

    Args:
        place: Of the loss among all.
        measure: What was measured.
        result: Mean of the loss less that of the first, with p that the loss is the better one.
        holm: That p, corrected over all contrasts.
        counts: Networks of the loss and of the first.
    """

    place: int
    measure: str
    result: Difference
    holm: float
    counts: tuple[int, int]


def contrasts_with_first(
    samples: Sequence[Mapping[str, NDArray[np.float64]]], lower: Collection[str] = ()
) -> list[Contrast]:
    """One-tailed Welch tests of each loss but the first against the first, in every measure, Holm-corrected together.

    A measure that fewer than two networks of one of both have gets no test.

    Args:
        samples: For each loss, each measure of its networks ``[S]``; NaN where a network has none.
        lower: Measures of which less is better; of the others, more is.
    """
    found = []
    for place, own in enumerate(samples[1:], 1):
        for measure, values in own.items():
            ours, theirs = (_known(one) for one in (values, samples[0][measure]))
            if min(len(ours), len(theirs)) < 2:
                continue
            if measure in lower:
                turned = welch(theirs, ours)
                result = Difference(-turned.difference, -turned.high, -turned.low, turned.p)
            else:
                result = welch(ours, theirs)
            found.append((place, measure, result, (len(ours), len(theirs))))
    corrected = holm([result.p for _, _, result, _ in found]) if found else []
    return [
        Contrast(place, measure, result, p, counts)
        for (place, measure, result, counts), p in zip(found, corrected, strict=True)
    ]


def _known(values: NDArray[np.float64]) -> list[float]:
    return [float(value) for value in values if np.isfinite(value)]
