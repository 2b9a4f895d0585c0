"""What a study tunes: the learning rate of its search, known losses, and the learning rates of its finalists."""

from __future__ import annotations

import itertools
import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lossmith.analysis import Axis, Family, Grid, Setting, Tuner, fixed
from lossmith.losses import Loss
from lossmith.metrics import mean_of
from lossmith.schema import conforming
from lossmith.study.chunks import Chunk, Measured
from lossmith.study.finalists import Entry
from lossmith.study.rows import REMEDY, damaged
from lossmith.study.store import Store

RECORDS = "tuning"
# The losses whose best rate the search begins with: where it starts, and the strongest known one for noisy labels.
SWEPT = ("cross-entropy", "label smoothing + MAE")
AGAIN = 2
SWEEP = (1e-5, 4.0)
# Of trainings that take no rate: one place that stands for it.
NO_RATES = Axis("lr", lambda _: math.nan, 0, 0, 0, 0)
LOG = logging.getLogger("lossmith")
Scores = list[float | None]
Shown = Callable[[float], float]
Train = Callable[[str, Sequence[Chunk], Sequence[int], Shown], Iterator[tuple[int, list[Measured]]]]


class FitnessTuning:
    """Tunes losses by the fitness that candidates have, after full trainings.

    Each loss starts in the middle of its strengths with three rates, and climbs from neighbour to neighbour, a factor 2
    of the rate or one step of a strength at a time, as long as a better one is found; the best two places of each are
    then measured with fresh seeds. What was measured is kept, so a study that was stopped goes on.

    Args:
        store: Where it is kept.
        classes: n.
        train: Trains chunks of a phase with some seeds each, and shows which share of the phase is done.
        size: The most losses of a chunk, by how many seeds each of them has.
        seeds: So many seeds of a purpose.
        first: How many seeds each place is measured with.
        fresh: How many the best places are measured with again.
        records: What the measurements are kept under.
    """

    def __init__(
        self,
        store: Store,
        classes: int,
        train: Train,
        size: Callable[[int], int],
        seeds: Callable[[str, int], list[int]],
        first: int,
        fresh: int,
        records: str = RECORDS,
    ) -> None:
        self.store, self.classes, self.train, self.size = store, classes, train, size
        self.seeds, self.first, self.fresh, self.records = seeds, first, fresh, records

    def sweep(self, families: Sequence[Family], lr: float) -> float:
        """The best rate for the best of some losses at the middle of their strengths, a power of 4 times a rate.

        All from 10⁻⁵ to 4 are tried: where a rate is so wrong that nothing learns, no neighbour says which way to go.

        Args:
            families: The losses.
            lr: A rate; the nearest to it are taken among equals.
        """
        # Neither a quotient nor a power of 4 alone, which a rate near the ends of the floats would take beyond them.
        first, last = ((math.log(bound) - math.log(lr)) / math.log(4) for bound in SWEEP)
        lowest, highest = math.ceil(first - 1e-9), math.floor(last + 1e-9)
        rates = Axis("lr", lambda place: math.ldexp(lr, 2 * place), lowest, highest, lowest - 64, highest + 64)
        tried = _tuner(families, rates).search(self._measure("sweep", families, rates, self.first))
        best = max(tried, key=lambda setting: (_mean(setting, tried[setting]), -abs(setting.place[-1])))
        if math.isinf(_mean(best, tried[best])):
            LOG.warning(
                "no known loss has a fitness at any learning rate from %g to %g: the rate of the recipe stays", *SWEEP
            )
            return lr
        return rates.value(best.place[-1])

    def known(self, families: Sequence[Family], lr: float | None) -> list[Entry]:
        """Known losses at the best strengths and rates.

        Args:
            families: The losses.
            lr: Where the rates are begun from; None for trainings that take none.
        """
        return [
            Entry(
                f"{family.name}, {text}" if (text := family.describe(place[:-1])) else family.name,
                {"kind": "baseline", "baseline": family.name},
                family.build(family.strengths(place[:-1]), self.classes),
                rate,
                fitness,
            )
            for family, (place, rate, fitness) in zip(families, self._tuned("known", families, lr), strict=True)
        ]

    def rates(self, entries: Sequence[Entry], lr: float) -> list[Entry]:
        """Finalists at their best rates.

        Args:
            entries: The finalists.
            lr: Where the rates are begun from.
        """
        families = [fixed(str(number), entry.loss) for number, entry in enumerate(entries)]
        return [
            replace(entry, lr=rate, fitness=fitness)
            for entry, (_, rate, fitness) in zip(entries, self._tuned("rates", families, lr), strict=True)
        ]

    def _tuned(
        self, phase: str, families: Sequence[Family], lr: float | None
    ) -> list[tuple[tuple[int, ...], float | None, float | None]]:
        """The best place of each loss, its rate, and its mean fitness with fresh seeds."""
        if not families:
            return []
        rates = NO_RATES if lr is None else Axis("lr", lambda place: lr * 2.0**place, -1, 1, -16, 16)
        tuner = _tuner(families, rates)
        tried = tuner.search(self._measure(phase, families, rates, self.first))
        chosen = tuner.choose(tried, AGAIN, self._measure(f"{phase} again", families, rates, self.fresh))
        found = [chosen[family.name] for family in families]
        return [
            (one.setting.place, _rate(rates, one.setting), one.score if math.isfinite(one.score) else None)
            for one in found
        ]

    def _measure(
        self, purpose: str, families: Sequence[Family], rates: Axis, count: int
    ) -> Callable[[Sequence[Setting]], dict[Setting, Scores]]:
        """Measures the fitness of each network of each setting, round by round.

        Args:
            purpose: What the seeds are for; its first word is the phase.
            families: The losses.
            rates: The learning rates, the last axis of every setting.
            count: How many seeds.
        """
        named = {family.name: family for family in families}
        rounds, seeds = itertools.count(), self.seeds(purpose, count)

        def measure(wanted: Sequence[Setting]) -> dict[Setting, Scores]:
            number = next(rounds)
            # How many rounds there will be, nobody knows.
            return self._measured(purpose, named, rates, seeds, wanted, lambda done: 1 - 1 / (1 + number + done))

        return measure

    def _measured(
        self,
        purpose: str,
        families: Mapping[str, Family],
        rates: Axis,
        seeds: list[int],
        wanted: Sequence[Setting],
        shown: Shown,
    ) -> dict[Setting, Scores]:
        """The fitness of each network of each setting; settings of one rate are trained together."""
        size = self.size(len(seeds))
        groups: dict[int, list[Setting]] = {}
        for setting in wanted:
            groups.setdefault(setting.place[-1], []).append(setting)
        parts = [group[start : start + size] for group in groups.values() for start in range(0, len(group), size)]
        known, keys, chunks = dict[str, list[Scores]](), list[str](), list[Chunk]()
        for part in parts:
            lr, losses = _rate(rates, part[0]), [self._loss(families, setting) for setting in part]
            key = json.dumps({"losses": [loss.key() for loss in losses], "lr": lr, "seeds": seeds})
            kept = self.store.record(self.records, key)
            if kept is not None:
                known[key] = self._checked(kept, len(part), len(seeds))
            # Two that are one loss are trained once.
            missing = kept is None and key not in keys
            keys.append(key)
            chunks.append(Chunk(losses, {"purpose": purpose, "lr": lr, "losses": len(losses)}, missing, lr))
        for number, results in self.train(purpose.split()[0], chunks, seeds, shown):
            scores: list[Scores] = [one.scores if one.mean is not None else [None] * len(seeds) for one in results]
            self.store.add_record(self.records, keys[number], scores, sum(one.seconds for one in results))
            known[keys[number]] = scores
        found = {
            setting: one
            for key, part in zip(keys, parts, strict=True)
            for setting, one in zip(part, known[key], strict=True)
        }
        return {setting: found[setting] for setting in wanted}

    def _loss(self, families: Mapping[str, Family], setting: Setting) -> Loss:
        family = families[setting.name]
        return family.build(family.strengths(setting.place[:-1]), self.classes)

    def _checked(self, kept: Any, losses: int, seeds: int) -> list[Scores]:
        conforming(list[Scores], kept, f"{self.store.path} (what it holds of the tuning)", REMEDY)
        if len(kept) != losses or any(len(row) != seeds for row in kept):
            raise damaged(self.store.path, "what it holds of the tuning is of other losses")
        return list(kept)


def _rate(rates: Axis, setting: Setting) -> float | None:
    """The learning rate of a setting, if there is one."""
    return None if rates is NO_RATES else rates.value(setting.place[-1])


def tuning_trainings(store: Store) -> int:
    """How many networks the tuning of a study has trained."""
    chunks = (json.loads(row["chunk"]) for row in store.rows("SELECT chunk FROM run WHERE comparison = ?", RECORDS))
    return sum(len(chunk["losses"]) * len(chunk["seeds"]) for chunk in chunks)


def _tuner(families: Sequence[Family], rates: Axis) -> Tuner[Scores]:
    """Climbs from the middle of the strengths of each loss, with some rates."""
    grids = []
    for family in families:
        middles = [(axis.first + axis.last) // 2 for axis in family.axes]
        axes = [replace(axis, first=middle, last=middle) for axis, middle in zip(family.axes, middles, strict=True)]
        grids.append(Grid(family.name, (*axes, rates)))
    return Tuner(grids, _mean)


def _mean(_: Setting, scores: Scores) -> float:
    """The mean fitness; the lowest there is of a loss with a network that diverged."""
    mean = mean_of(scores)
    return -math.inf if mean is None else mean
