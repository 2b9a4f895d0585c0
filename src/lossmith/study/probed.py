"""What a probe of some data found, and how much it trained."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Any

from lossmith.analysis import Deciding, Gain, WrongLabels, best_gain
from lossmith.losses import Loss
from lossmith.study.budget import Budget
from lossmith.study.efforts import EFFORTS, Work
from lossmith.study.problem import Problem
from lossmith.study.words import probe_text, use_text
from lossmith.training import Backend

PROBE_FOLDS, PROBE_NETWORKS, PROBE_SEEDS = 5, 4, 10
# The rule of thumb: so many labels must be wrong for a search to be worth its cost.
LEAST_WRONG = 0.1
# What JSON has, by the names of Python.
FIGURES = (
    *("data", "digest", "metric", "wrong_labels", "wrong_labels_between", "wrong_labels_trusted", "agreement"),
    *("wrong_labels_known", "noise_floor", "best_known", "known", "worth_searching", "why", "use"),
    *("search_trainings", "search_seconds", "folds", "networks", "seeds", "training", "seconds"),
)


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
    """What a probe found; printed, it is a few sentences. What ``to_json`` has is here by the same names.

    Args:
        wrong: The share of wrong labels.
        wrong_labels_known: What it is; None where nobody knows.
        known: The tuned losses, cross-entropy first.
        best_known: The one that is best by the tuning; cross-entropy, if the gain of its fresh networks is not clear,
            with 0 in its 95 % interval.
        noise_floor: What is noise.
        deciding: The figure.
        problem: Data, network and parts.
        size: How much was trained.
        backend: How the losses were trained.
        search: What a search with the same settings trains.
        seconds: How long all of it took.
    """

    wrong: WrongLabels
    wrong_labels_known: float | None
    known: tuple[Gain, ...]
    best_known: Gain
    noise_floor: NoiseFloor
    deciding: Deciding
    problem: Problem
    size: Size
    backend: Backend
    search: Budget
    seconds: float

    def __repr__(self) -> str:
        """What was found, in words."""
        return f"{probe_text(self)}\n{use_text(self)}"

    @property
    def wrong_labels(self) -> float:
        """The estimated share of wrong labels."""
        return self.wrong.share

    @property
    def wrong_labels_between(self) -> list[float]:
        """The lower and the higher figure, by how labels are counted that networks are not sure of."""
        return [self.wrong.low, self.wrong.high]

    @property
    def wrong_labels_trusted(self) -> bool:
        """Whether networks know the classes well enough for the estimate."""
        return self.wrong.trusted

    @property
    def agreement(self) -> float:
        """The share of the labels that networks agree with."""
        return self.wrong.agreement

    @property
    def data(self) -> dict[str, Any]:
        """The data, and how it was cut."""
        return self.problem.described()

    @property
    def digest(self) -> str:
        """Of the data."""
        return self.problem.digest

    @property
    def metric(self) -> dict[str, Any]:
        """The figure, as files have it."""
        return self.deciding.to_json()

    @property
    def training(self) -> str:
        """How the losses were trained."""
        return str(self.backend)

    @property
    def folds(self) -> int:
        """In how many parts the samples were cut."""
        return self.size.folds

    @property
    def networks(self) -> int:
        """How many networks judged each label."""
        return self.size.networks

    @property
    def seeds(self) -> int:
        """Fresh networks of each tuned loss."""
        return self.size.seeds

    @property
    def search_trainings(self) -> float:
        """About how many trainings a search with the same settings takes."""
        return self.search.trainings

    @property
    def search_seconds(self) -> float:
        """About how long these take."""
        return self.search.total

    @property
    def leading(self) -> Gain:
        """The best by the tuning of the losses but cross-entropy."""
        return best_gain(self.known[1:], self.deciding.sign)

    @property
    def use(self) -> str:
        """The best known loss as a line of Python."""
        text, classes = self.best_known.typed
        more = f", classes={self.problem.classes}" if classes else ""
        return f"criterion = lossmith.Criterion({json.dumps(text)}{more})"

    @property
    def gains_enough(self) -> bool:
        """Whether the best known loss gains more on cross-entropy than the noise floor."""
        return self.best_known.gain > self.noise_floor.value

    @property
    def worth_searching(self) -> bool:
        """Whether a search may be worth its cost: a rule of thumb."""
        return self.wrong.share >= LEAST_WRONG and self.gains_enough

    @property
    def loss(self) -> Loss:
        """The best known loss."""
        return self.best_known.tuned.loss(self.problem.classes)

    @property
    def why(self) -> str:
        """Why a search may be worth its cost, or is not."""
        name = self.best_known.tuned.family.name
        if self.best_known == self.known[0]:
            return (
                "no known loss is clearly better than cross-entropy here, so keep it: what a search finds could not be "
                "told from noise, either; with more validation samples (--validation-size) smaller gains can be told"
            )
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
        own = {
            "noise_floor": {
                "value": _known(self.noise_floor.value),
                "seeds": _known(self.noise_floor.seeds),
                "samples": self.noise_floor.samples,
            },
            "best_known": _described(self.best_known, self.problem.classes),
            "known": [_described(one, self.problem.classes) for one in self.known],
        }
        return {name: own[name] if name in own else getattr(self, name) for name in FIGURES}


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
