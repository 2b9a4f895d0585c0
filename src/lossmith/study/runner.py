"""The work of one process on a study: what is missing is trained, measured and stored, chunk by chunk."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from torch import Tensor

from lossmith.analysis import Objective, figures
from lossmith.errors import InputError
from lossmith.losses import Loss, cross_entropy
from lossmith.metrics import mean_of, to_lists
from lossmith.seeds import derive
from lossmith.study.config import EvolveSettings
from lossmith.study.finalists import Entry, final_entries, smoothing_entries
from lossmith.study.log import TrainingLog
from lossmith.study.pareto import PRUNED
from lossmith.study.problem import Problem
from lossmith.study.records import Candidate, Result
from lossmith.study.study import Study
from lossmith.training import Backend, Executor, Job, Trained, choose_backend, repeated

REPORT_SECONDS = 0.3
LOG = logging.getLogger("lossmith")
Item = TypeVar("Item")
Figures = list[float | None]


@dataclass(frozen=True)
class Chunk:
    """Losses that are trained together.

    Args:
        losses: One or more.
        label: What the log calls it.
        missing: Whether it is still to be trained.
    """

    losses: list[Loss]
    label: dict[str, Any]
    missing: bool


@dataclass(frozen=True)
class Measured:
    """What came of one loss of a chunk.

    Args:
        figures: Its figures by name, one number for each of its networks, None where it is not finite; ``"fitness"``
            among them.
        diverged: Whether one of its networks has diverged.
        seconds: Its share of the time of the chunk.
    """

    figures: dict[str, Figures]
    diverged: bool
    seconds: float

    @property
    def scores(self) -> Figures:
        """The fitness of each network."""
        return self.figures["fitness"]

    @property
    def mean(self) -> float | None:
        """The fitness of the loss; None if it diverged."""
        return None if self.diverged else mean_of(self.scores)

    @property
    def others(self) -> dict[str, Figures]:
        """The figures besides the fitness."""
        return {name: values for name, values in self.figures.items() if name != "fitness"}


class Runner:
    """Trains what a study lacks.

    Args:
        study: The study.
        problem: What is trained on, and how it is measured.
        settings: The study's.
        executor: Runs the trainings.
        report: Called with the phase and the share of it that is done.
    """

    def __init__(
        self,
        study: Study,
        problem: Problem,
        settings: EvolveSettings,
        executor: Executor,
        report: Callable[[str, float], None],
    ) -> None:
        self.study, self.problem, self.settings, self.executor = study, problem, settings, executor
        self.seconds = {"measuring": 0.0, "training": 0.0}
        self._report, self._reported = report, 0.0
        self._log = TrainingLog(study.directory / "training.log")

    def search(self) -> None:
        """Train and record what is missing of the search, generation by generation."""
        study, replicates = self.study, self.settings.run.replicates
        if not study.finished:
            self._tell_idle()
        while not study.finished:
            generation = study.generation
            waiting = {candidate.member for candidate in study.pending()}
            # What is stored has no say in how a generation is divided: a resumed one trains the same chunks.
            parts = self._parts(study.trainable(), replicates)
            chunks = [_search_chunk(generation, part, waiting) for part in parts]
            seeds = [
                derive(self.settings.search.seed, "search", generation, replicate) for replicate in range(replicates)
            ]
            place = (generation, study.search.generations)
            for number, results in self._trained("search", chunks, seeds, place, searching=True):
                study.record(_result(*pair) for pair in zip(parts[number], results, strict=True))
        self.tell("search", 1.0)

    def finals(self) -> list[dict[str, Any]]:
        """Tune label smoothing and train the finalists with fresh seeds; their stored results."""
        run = self.settings.run
        smoothings = self._tried("smoothing", smoothing_entries(self.problem.classes), (run.finalist_seeds + 1) // 2)
        return self._tried("final", final_entries(self.study, run.finalists, smoothings), run.finalist_seeds)

    @functools.cached_property
    def backend(self) -> Backend:
        """How networks are run: as set, or as measured when the study began."""
        started = time.perf_counter()
        task, recipe, run, search = self.problem.task, self.settings.recipe, self.settings.run, self.settings.search
        count = min(search.population, max(1, run.chunk // run.replicates))
        losses = repeated(Loss.stack([cross_entropy()] * count), run.replicates)
        seeds = [derive(search.seed, "measuring", replicate) for replicate in range(run.replicates)]
        chunks = -(-search.population // count)
        batches = round(run.partial * recipe.total_steps(len(task.inputs))) * search.generations * chunks
        trainer = self.executor.trainer(task)
        chosen = choose_backend(run.training, trainer, losses, seeds * count, recipe, batches, self.study.store)
        self.seconds["measuring"] += time.perf_counter() - started
        return chosen

    def tell(self, phase: str, done: float) -> None:
        """Report the progress."""
        self._reported = time.perf_counter()
        self._report(phase, done)

    def _tried(self, stage: str, entries: Sequence[Entry], count: int) -> list[dict[str, Any]]:
        """Stored results of a stage, after what is missing of them was trained with ``count`` seeds each."""
        store = self.study.store
        stored = {row["rank"] for row in store.finalists(stage)}
        parts = self._parts(list(enumerate(entries)), count)
        chunks = [
            Chunk([entry.loss for _, entry in part], {"ranks": [rank for rank, _ in part]}, part[0][0] not in stored)
            for part in parts
        ]
        seeds = [derive(self.settings.search.seed, stage, number) for number in range(count)]
        for number, results in self._trained(stage, chunks, seeds, (0, 1)):
            store.add_finalists(
                _finalist(stage, rank, entry, one) for (rank, entry), one in zip(parts[number], results, strict=True)
            )
        return store.finalists(stage)

    def _trained(
        self, phase: str, chunks: Sequence[Chunk], seeds: Sequence[int], place: tuple[int, int], searching: bool = False
    ) -> Iterator[tuple[int, list[Measured]]]:
        """The number of each missing chunk with what came of its losses, which the caller stores before the next.

        Args:
            phase: For reports and the log.
            chunks: All of the stage.
            seeds: Of the networks of each loss.
            place: Which part of the phase the stage is, and of how many.
            searching: Whether trainings are partial and pruned, as the settings say.
        """
        missing = [number for number, chunk in enumerate(chunks) if chunk.missing]
        jobs = [self._job(chunks[number].losses, seeds, searching) for number in missing]
        shares = [0.0] * len(missing)

        def share() -> float:
            return (place[0] + (len(chunks) - len(missing) + sum(shares)) / len(chunks)) / place[1]

        begun: set[int] = set()

        def begin(number: int) -> None:
            if number not in begun:
                begun.add(number)
                self._log.begun(phase, chunks[missing[number]].label)

        def progress(number: int, done: float) -> None:
            # Workers go on beyond a slow job.
            begin(number)
            shares[number] = done
            if time.perf_counter() - self._reported > REPORT_SECONDS:
                self.tell(phase, share())

        outcomes = self.executor.run(jobs, progress)
        for place_of_job, number in enumerate(missing):
            # As many as there are workers are begun, before any of them is heard of.
            for following in range(place_of_job, min(place_of_job + self.executor.workers, len(missing))):
                begin(following)
            self.tell(phase, share())
            outcome = next(outcomes)
            self.seconds["training"] += outcome.seconds
            (found, diverged), count = outcome.result, len(chunks[number].losses)
            yield number, _by_loss(found, diverged, count, outcome.seconds / count)
            shares[place_of_job] = 1.0
            self._log.stored(phase, chunks[number].label)

    def _job(self, losses: Sequence[Loss], seeds: Sequence[int], searching: bool) -> Job:
        """The training of each loss with each seed, and what is measured of it: the one place where a study trains."""
        run = self.settings.run
        prune_at = run.prune_at if searching else None
        return Job(
            self.problem.task,
            repeated(Loss.stack(losses), len(seeds)),
            tuple(seeds) * len(losses),
            self.settings.recipe,
            self.backend,
            partial(measured, self.problem.objective, self.problem.validation, prune_at is not None),
            share=run.partial if searching else 1.0,
            prune_at=prune_at,
        )

    def _tell_idle(self) -> None:
        """Say, once a run, that a generation has fewer chunks than there are workers."""
        population, workers, replicates = (
            self.study.search.population,
            self.executor.workers,
            self.settings.run.replicates,
        )
        chunks = -(-population // self._size(replicates))
        if chunks >= workers:
            return
        remedy = "give fewer workers"
        if population >= workers:
            # Equal shares, if these are as many as the workers.
            size = -(-population // workers)
            size = size if -(-population // size) == workers else population // workers
            remedy += f", or begin another study with --chunk {size * replicates}, whose results differ by rounding"
        LOG.warning(
            "%d of %d workers will be idle, since a generation is trained in %d chunk%s: %s",
            workers - chunks,
            workers,
            chunks,
            "" if chunks == 1 else "s",
            remedy,
        )

    def _size(self, replicates: int) -> int:
        """The most losses of a chunk."""
        # Of the settings and the network alone, never of the executor: so every executor stores the same.
        return max(1, self.settings.run.chunk // replicates) if self.backend.population else 1

    def _parts(self, items: list[Item], replicates: int) -> list[list[Item]]:
        size = self._size(replicates)
        return [items[start : start + size] for start in range(0, len(items), size)]


def measured(
    objective: Objective,
    validation: tuple[Tensor, Tensor],
    pruning: bool,
    trained: Trained,
    _: Callable[[float], None],
) -> tuple[dict[str, Tensor], Tensor]:
    """Figures ``[P]`` of trained networks by name, ``"fitness"`` among them, and which networks diverged, ``[P]``.

    Args:
        objective: What measures.
        validation: Inputs and labels that it measures on.
        pruning: Whether hopeless networks were given up, which is then a figure, too.
        trained: The networks.

    Raises:
        InputError: if the objective gives something else than its figures.
    """
    found = {name: value.cpu() for name, value in figures(objective(trained, *validation)).items()}
    if PRUNED in found:
        raise InputError(f"the objective gave a figure called {PRUNED!r}, which a study keeps for itself; rename it")
    if pruning and trained.pruned is not None:
        found[PRUNED] = trained.pruned.double()
    for name, values in found.items():
        if values.shape != (len(trained.networks),):
            raise InputError(
                f"the objective gave a shape of {tuple(values.shape)} for {name}; it must give one number for each "
                "network"
            )
    return found, trained.diverged.cpu()


def _by_loss(found: Mapping[str, Tensor], diverged: Tensor, count: int, seconds: float) -> list[Measured]:
    """Figures of all networks, which stand loss by loss, as figures of each loss."""
    lost = (diverged | ~found["fitness"].isfinite()).reshape(count, -1).any(1).tolist()
    lists = {name: to_lists(values.reshape(count, -1).numpy()) for name, values in found.items()}
    return [
        Measured({name: values[place] for name, values in lists.items()}, lost[place], seconds)
        for place in range(count)
    ]


def _search_chunk(generation: int, part: Sequence[Candidate], waiting: set[int]) -> Chunk:
    members = [candidate.member for candidate in part]
    label = {"generation": generation, "members": members}
    return Chunk([candidate.loss for candidate in part], label, members[0] in waiting)


def _result(candidate: Candidate, one: Measured) -> Result:
    return Result(
        candidate,
        one.mean,
        "diverged" if one.diverged else "ok",
        tuple(one.scores),
        one.seconds,
        {name: tuple(values) for name, values in one.others.items()},
    )


def _finalist(stage: str, rank: int, entry: Entry, one: Measured) -> dict[str, Any]:
    return {
        "stage": stage,
        "rank": rank,
        "name": entry.name,
        "origin": entry.origin,
        "loss": entry.loss.to_json(),
        "status": "diverged" if one.diverged else "ok",
        "mean": one.mean,
        "scores": one.scores,
        "seconds": one.seconds,
        "figures": one.others,
    }
