"""What a probe of some data found, and how much it trained."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from lossmith.analysis import Deciding, Gain, WrongLabels
from lossmith.losses import Loss
from lossmith.study.efforts import EFFORTS, Work
from lossmith.study.problem import Problem
from lossmith.training import Backend

PROBE_FOLDS, PROBE_NETWORKS, PROBE_SEEDS = 5, 4, 10
# The rule of thumb: so many labels must be wrong for a search to be worth its cost.
LEAST_WRONG = 0.1


@dataclass(frozen=True)
class Size:
    """How much is trained.

    Args:
        folds: In how many parts the samples are cut.
        networks: How many networks judge each label.
        seeds: Fresh networks of each tuned loss.
        work: How the losses are tuned.
    """

    folds: int = PROBE_FOLDS
    networks: int = PROBE_NETWORKS
    seeds: int = PROBE_SEEDS
    work: Work = EFFORTS["quick"]

    def smaller(self, share: float) -> Size:
        """The same with a share of the networks."""
        networks, finalists = max(1, round(share * self.networks)), max(1, round(share * self.work.finalists))
        seeds = min(self.seeds, max(3, round(share * self.seeds)))
        return replace(self, networks=networks, seeds=seeds, work=replace(self.work, finalists=finalists))


@dataclass(frozen=True)
class NoiseFloor:
    """What of the deciding figure on validation data is noise.

    Args:
        value: The least gain of the best loss but cross-entropy that is not noise, from seeds and samples together.
        seeds: The standard deviation of the figure between cross-entropy's networks, which have other seeds.
        samples: The standard error √(a(1 − a)/n) of cross-entropy's from the number of validation samples; None of
            other figures than accuracy, whose noise floor leaves samples out.
    """

    value: float
    seeds: float
    samples: float | None


@dataclass(frozen=True)
class Probe:
    """What a probe found.

    Args:
        wrong: The share of wrong labels.
        known_wrong: What it is; None where nobody knows.
        gains: The tuned losses, cross-entropy first.
        best: The one that is best by the tuning; cross-entropy, if fresh networks of that gain nothing on it.
        floor: What is noise.
        deciding: The figure.
        problem: Data, network and parts.
        size: How much was trained.
        backend: How the losses were trained.
        seconds: How long all of it took.
    """

    wrong: WrongLabels
    known_wrong: float | None
    gains: tuple[Gain, ...]
    best: Gain
    floor: NoiseFloor
    deciding: Deciding
    problem: Problem
    size: Size
    backend: Backend
    seconds: float

    @property
    def wrong_labels(self) -> float:
        """The estimated share of wrong labels."""
        return self.wrong.share

    @property
    def gains_enough(self) -> bool:
        """Whether the best known loss gains more on cross-entropy than the noise floor."""
        return self.best.gain > self.floor.value

    @property
    def worth_searching(self) -> bool:
        """Whether a search may be worth its cost: a rule of thumb."""
        return self.wrong.share >= LEAST_WRONG and self.gains_enough

    @property
    def loss(self) -> Loss:
        """The best known loss."""
        return self.best.tuned.loss(self.problem.classes)

    @property
    def why(self) -> str:
        """Why a search may be worth its cost, or is not."""
        name = self.best.tuned.family.name
        if not self.gains_enough:
            return (
                "no known loss gains more on cross-entropy than the noise floor of the measurement, so what a search "
                "finds could not be told from noise, either; more validation samples (--validation-size) lower it"
            )
        if self.wrong.share < LEAST_WRONG:
            return (
                f"few labels seem to be wrong (less than {LEAST_WRONG:.0%}), and where labels were right an evolved "
                f"loss drew with known ones: take {name}"
            )
        return (
            f"labels are wrong, and {name} gains more on cross-entropy than the noise floor; where 40 % of the "
            "labels were wrong, evolved losses came first in 4 of 9 searches, and known ones in the others"
        )

    def to_json(self) -> dict[str, Any]:
        """All figures."""
        return {
            "data": self.problem.described(),
            "digest": self.problem.digest,
            "metric": self.deciding.to_json(),
            "wrong_labels": self.wrong.share,
            "wrong_labels_between": [self.wrong.low, self.wrong.high],
            "wrong_labels_trusted": self.wrong.trusted,
            "agreement": self.wrong.agreement,
            "wrong_labels_known": self.known_wrong,
            "noise_floor": {
                "value": _known(self.floor.value),
                "seeds": _known(self.floor.seeds),
                "samples": self.floor.samples,
            },
            "best_known": _described(self.best, self.problem.classes),
            "known": [_described(one, self.problem.classes) for one in self.gains],
            "worth_searching": self.worth_searching,
            "why": self.why,
            "folds": self.size.folds,
            "networks": self.size.networks,
            "seeds": self.size.seeds,
            "training": str(self.backend),
            "seconds": self.seconds,
        }


def _described(one: Gain, classes: int) -> dict[str, Any]:
    """A loss and its gain, for JSON."""
    tuned = one.tuned
    return {
        "loss": tuned.family.name,
        "strengths": dict(
            zip([axis.name for axis in tuned.family.axes], tuned.family.strengths(tuned.place), strict=True)
        ),
        "lr": tuned.lr,
        "epochs": tuned.epochs,
        "stop": tuned.stop,
        "tried": tuned.tried,
        "mean": _known(one.mean),
        "gain": _known(one.gain),
        "interval": [_known(one.low), _known(one.high)],
        "values": [_known(value) for value in one.values],
        "document": tuned.loss(classes).to_json(),
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
