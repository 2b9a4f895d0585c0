"""A simulated cluster in virtual time, and searches that keep its workers busy."""

from __future__ import annotations

import heapq
import itertools
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from lossmith.search import Genome, SearchSettings, Space, build_engine
from lossmith.seeds import derive

MOST_TRIES = 4


@dataclass(eq=False)
class Candidate:
    """A genome, and the fitness of its trainings as they come back.

    Args:
        genome: Where it is.
        search: Which of several searches asked for it.
        generation: The generation that it was asked for in.
        member: Its place there.
    """

    genome: Genome
    search: int = 0
    generation: int = 0
    member: int = 0
    scores: list[float | None] = field(default_factory=list)

    @property
    def fitness(self) -> float | None:
        """The mean of its trainings; None if one has none."""
        found = [score for score in self.scores if score is not None]
        return float(np.mean(found)) if len(found) == len(self.scores) else None


class Search(ABC):
    """Asks an engine of lossmith for candidates, and tells it what came back."""

    seeds = 1
    """Trainings of each candidate."""

    @abstractmethod
    def wanted(self) -> list[Candidate]:
        """What is to be trained now, besides what is out."""

    @abstractmethod
    def back(self, candidate: Candidate) -> bool:
        """Take a candidate whose trainings are back; whether that moved the search."""

    @property
    @abstractmethod
    def mean(self) -> Genome:
        """What the search would give now."""


class Generations(Search):
    """Whole generations, told in their order, some of them in flight: generation g + lag is asked when g is told.

    With a lag of 1 a search is synchronous, as lossmith's is. What it asks for depends on the fitness alone, never on
    who came back first.

    Args:
        space: Where it searches.
        population: λ.
        seed: Of the search.
        seeds: Trainings of each candidate.
        lag: Generations in flight.
        number: Which of several searches it is.
    """

    def __init__(self, space: Space, population: int, seed: int, seeds: int = 1, lag: int = 1, number: int = 0) -> None:
        self.population, self.seed, self.seeds, self.lag, self.number = population, seed, seeds, lag, number
        self.engine = build_engine(space, SearchSettings(population=population, seed=seed))
        self.asked = 0
        self.level = -np.inf
        self._back: dict[int, list[Candidate]] = {}
        self._waiting = list[Candidate]()
        for _ in range(lag):
            self._ask()

    def wanted(self) -> list[Candidate]:
        """Every generation that was asked for and is not out yet."""
        found, self._waiting = self._waiting, []
        return found

    def _ask(self) -> None:
        """Ask for the next generation, before anything else is told."""
        self.engine.begin(derive(self.seed, "candidates", self.asked))
        drawn = [self.engine.draw() for _ in range(self.population)]
        self._waiting += [Candidate(genome, self.number, self.asked, member) for member, genome in enumerate(drawn)]
        self.asked += 1

    def back(self, candidate: Candidate) -> bool:
        """Tell every generation that is whole, in order."""
        self._back.setdefault(candidate.generation, []).append(candidate)
        moved = False
        while len(self._back.get(self.engine.generation, ())) == self.population:
            told = sorted(self._back.pop(self.engine.generation), key=lambda one: one.member)
            fitness = [one.fitness for one in told]
            self.level = float(np.mean([0.0 if value is None else value for value in fitness]))
            self.engine.tell([one.genome for one in told], fitness)
            self._ask()
            moved = True
        return moved

    @property
    def mean(self) -> Genome:
        """The center."""
        return self.engine.mean


class Steady(Search):
    """Every worker is busy; the λ candidates that came back first are told, whenever they were asked for.

    Args:
        space: Where it searches.
        population: λ.
        seed: Of the search.
        workers: Candidates in flight.
    """

    def __init__(self, space: Space, population: int, seed: int, workers: int) -> None:
        self.population, self.seed, self.workers = population, seed, workers
        self.engine = build_engine(space, SearchSettings(population=population, seed=seed))
        self.engine.begin(derive(seed, "candidates", 0))
        self._out, self._back = 0, list[Candidate]()

    def wanted(self) -> list[Candidate]:
        """As many as workers are free."""
        found = [Candidate(self.engine.draw()) for _ in range(self.workers - self._out)]
        self._out = self.workers
        return found

    def back(self, candidate: Candidate) -> bool:
        """Tell the first λ, and draw from what the engine has learned."""
        self._out -= 1
        self._back.append(candidate)
        if len(self._back) < self.population:
            return False
        told, self._back = self._back, []
        self.engine.tell([one.genome for one in told], [one.fitness for one in told])
        self.engine.begin(derive(self.seed, "candidates", self.engine.generation))
        return True

    @property
    def mean(self) -> Genome:
        """The center."""
        return self.engine.mean


class Several(Search):
    """Independent searches that share the workers; that whose last generation was best on average gives its center.

    Args:
        searches: With their places as their numbers.
    """

    def __init__(self, searches: Sequence[Generations]) -> None:
        self.searches = searches

    def wanted(self) -> list[Candidate]:
        """What each of them wants."""
        return [candidate for search in self.searches for candidate in search.wanted()]

    def back(self, candidate: Candidate) -> bool:
        """Give it to the search that asked for it."""
        return self.searches[candidate.search].back(candidate)

    @property
    def mean(self) -> Genome:
        """The center of the best one."""
        return max(self.searches, key=lambda search: search.level).mean


class Work(Protocol):
    """What a training is to the cluster."""

    def own(self, candidate: Candidate) -> float:
        """What the candidate itself has to do with its time: the same in all its trainings."""

    def worker(self) -> float:
        """The factor of one try on one worker."""

    def score(self, candidate: Candidate) -> float | None:
        """What one training gives."""


@dataclass(eq=False)
class Job:
    """One training of one candidate: a pure function, so that whichever try ends first gives its outcome.

    Args:
        candidate: Whose.
        seconds: What the candidate itself has to do with its time.
    """

    candidate: Candidate
    seconds: float
    begun: dict[int, float] = field(default_factory=dict)
    done: bool = False


@dataclass(frozen=True)
class Course:
    """What came of a search.

    Args:
        moments: When it moved.
        means: Its center from then on.
        used: Share of the workers' time that went into trainings which count.
        copied: Share that went into tries that another try was ahead of.
        trained: Trainings that are back.
    """

    moments: list[float]
    means: list[Genome]
    used: float
    copied: float
    trained: int

    def at(self, moment: float) -> Genome | None:
        """The center at a moment; None before the search has moved."""
        place = int(np.searchsorted(self.moments, moment, side="right"))
        return self.means[place - 1] if place else None


def simulated(search: Search, work: Work, workers: int, until: float, copies: bool = False) -> Course:
    """A search on a cluster, from 0 to a moment.

    Args:
        search: The search.
        work: What trainings take and give.
        workers: How many trainings run at once.
        until: When it ends.
        copies: Whether an idle worker tries again what another is still at, the job with the fewest tries and the
            earliest of these first.
    """
    waiting, ending, number = deque[Job](), list[tuple[float, int, Job]](), itertools.count()
    again = [deque[Job]() for _ in range(MOST_TRIES)]
    moments, means = list[float](), list[Genome]()
    now, free, used, copied, trained = 0.0, workers, 0.0, 0.0, 0

    def begin(job: Job) -> None:
        place = next(number)
        job.begun[place] = now
        again[len(job.begun) - 1].append(job)
        heapq.heappush(ending, (now + job.seconds * work.worker(), place, job))

    def next_copy() -> Job | None:
        for tries in again[: MOST_TRIES - 1]:
            while tries:
                job = tries.popleft()
                if not job.done:
                    return job
        return None

    while True:
        for candidate in search.wanted():
            own = work.own(candidate)
            waiting.extend(Job(candidate, own) for _ in range(search.seeds))
        while free and (waiting or copies):
            job = waiting.popleft() if waiting else next_copy()
            if job is None:
                break
            begin(job)
            free -= 1
        now = ending[0][0]
        if now > until:
            break
        moved = False
        # What ends at one moment is all heard of before anything is asked for.
        while ending and ending[0][0] == now:
            _, place, job = heapq.heappop(ending)
            if job.done:
                continue
            job.done = True
            free += len(job.begun)
            trained += 1
            used += now - job.begun.pop(place)
            copied += sum(now - start for start in job.begun.values())
            job.candidate.scores.append(work.score(job.candidate))
            if len(job.candidate.scores) == search.seeds:
                moved |= search.back(job.candidate)
        if moved:
            moments.append(now)
            means.append(search.mean)
    for job in {id(job): job for _, _, job in ending if not job.done}.values():
        first, *others = sorted(job.begun.values())
        used += until - first
        copied += sum(until - start for start in others)
    return Course(moments, means, used / (workers * until), copied / (workers * until), trained)
