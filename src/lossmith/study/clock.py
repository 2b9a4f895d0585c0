"""One clock for the whole of a study: which share is done, and when a time limit ends its search."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from lossmith.analysis import Family
from lossmith.study.budget import Budget, amount_text, search_budget, time_text
from lossmith.study.config import RunSettings
from lossmith.study.function_settings import StageSettings
from lossmith.study.study import Study
from lossmith.study.trainings import Training

# Tuning before the search may take this share of a time limit; else it is left out.
TUNING_SHARE = 0.4
AFTER = ("rates", "smoothing", "final")
SMOOTHING = 10
LOG = logging.getLogger("lossmith")


Stages = TypeVar("Stages", RunSettings, StageSettings)


class Clock:
    """Measures how fast a study goes, and says when its search must end for what comes after it.

    Args:
        budget: What is to be trained; its seconds may be 0 where none is known yet.
        limit: Seconds that all of it may take; None for no limit.
        started: The moment from which it counts, of ``time.perf_counter``; now without it.
    """

    def __init__(self, budget: Budget, limit: float | None = None, started: float | None = None) -> None:
        self.budget, self.limit = budget, limit
        self.started = time.perf_counter() if started is None else started

    @property
    def elapsed(self) -> float:
        """Seconds since it was started."""
        return time.perf_counter() - self.started

    def heard(self, seconds: float) -> None:
        """Learn how long one training takes, where nobody knew."""
        if self.budget.seconds or seconds <= 0:
            return
        self.budget = replace(self.budget, seconds=seconds)
        LOG.info("one training takes %s: all of them about %s", time_text(seconds), time_text(self.budget.total))

    def has_room_for_tuning(self) -> bool:
        """Whether the tuning before the search takes no more than its share of the limit."""
        return self.limit is None or self.budget.of("sweep", "known") <= TUNING_SHARE * self.limit

    def is_up(self, done: float, generations: int) -> bool:
        """Whether there is no time for another generation of the search, and for what comes after it.

        Args:
            done: Generations that this process has trained.
            generations: Those that the budget counts.
        """
        if self.limit is None or not self.budget.seconds:
            return False
        share = self.budget.share("search", done / generations)
        planned = share * self.budget.total
        # As fast as it went until now, where that is known; what is said before is an estimate.
        pace = self.elapsed / planned if done else 1.0
        needed = self.budget.of("search") / generations + self.budget.of(*AFTER)
        return self.elapsed + pace * needed > self.limit


def begun_clock(
    study: Study,
    stages: RunSettings | StageSettings,
    known: Sequence[Family],
    training: Training,
    seconds: float,
    share: float = 1.0,
    limit: float | None = None,
    started: float | None = None,
) -> Clock:
    """The clock of a study from here on; what it will train is told.

    Args:
        study: The study.
        stages: How its stages are sized.
        known: Losses that the search must beat.
        training: How its losses are trained.
        seconds: Of one training; 0 where nobody knows yet.
        share: Share of a training that a candidate gets.
        limit: Seconds that it may take.
        started: The moment from which they count.
    """
    store, search = study.store, study.search
    budget = search_budget(
        population=search.population,
        generations=search.generations - min(store.generations(), search.generations),
        replicates=stages.replicates,
        finalists=stages.finalists,
        finalist_seeds=stages.finalist_seeds,
        known=known,
        tune=stages.tune and not store.setting("untuned"),
        swept=training.is_swept,
        rated=training.lr is not None,
        share=share,
        seconds=seconds,
    )
    # What is stored of tuning is over; of a search whose end was a time limit, the finalists come again.
    searched = store.is_complete(search.generations - 1, search.population)
    done = {"sweep": store.setting("rate"), "known": store.setting("known losses")}
    if searched and store.finalists("final"):
        done |= dict.fromkeys(AFTER, True)
    left = {name: 0.0 if done.get(name) else size for name, size in budget.stages.items()}
    clock = Clock(replace(budget, stages=left), limit, started)
    if clock.budget.trainings >= 1:
        LOG.info("%s", clock.budget.sentence() if seconds else f"about {amount_text(clock.budget.trainings)} trainings")
    return clock


def tuned_stages(study: Study, stages: Stages, clock: Clock) -> Stages:
    """The stages of a study, without tuning where the time limit leaves no room for it; a study keeps to that."""
    store = study.store
    begun = store.generations() or store.setting("rate") or store.setting("known losses")
    if stages.tune and not begun and not clock.has_room_for_tuning():
        LOG.warning(
            "tuning known losses first would take %s, too much of the time limit: the search trains with the "
            "recipe's learning rate, and of known losses label smoothing alone is tuned",
            time_text(clock.budget.of("sweep", "known")),
        )
        store.set("untuned", True)
        left = {"sweep": 0.0, "known": 0.0, "rates": 0.0, "smoothing": SMOOTHING * stages.finalist_seeds / 2}
        clock.budget = replace(clock.budget, stages={**clock.budget.stages, **left})
    _tell_shortage(study, clock)
    return stages.model_copy(update={"tune": False}) if store.setting("untuned") else stages


def _tell_shortage(study: Study, clock: Clock) -> None:
    """Say so if a time limit is too short for what is trained all the same."""
    # Of the store: to ask the search how far it is would draw its first candidates, which may still be chosen.
    left = study.search.generations - study.store.generations()
    if clock.limit is None or left < 1:
        return
    least = clock.elapsed + clock.budget.of("sweep", "known", *AFTER) + clock.budget.of("search") / left
    if least > clock.limit:
        LOG.warning(
            "the time limit is too short: a generation of the search and what comes before and after take about %s",
            time_text(least),
        )
