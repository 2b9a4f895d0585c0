"""The work of one process on a study: what is missing is trained, measured and stored, chunk by chunk."""

from __future__ import annotations

import functools
import itertools
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from lossmith.analysis import Family, baselines
from lossmith.losses import PowerLoss
from lossmith.search import Genome
from lossmith.seeds import derive
from lossmith.study.beginnings import most_known
from lossmith.study.chunks import (
    Chunk,
    Measured,
    finalist_row,
    finalists_chunk,
    result_of,
    search_chunk,
)
from lossmith.study.clock import Clock
from lossmith.study.config import RunSettings
from lossmith.study.finalists import Entry, evolved_entries, plain_entries, smoothing_entries
from lossmith.study.function_settings import StageSettings
from lossmith.study.judged import judged_by
from lossmith.study.log import LOG_FILE, TrainingLog
from lossmith.study.rows import damaged
from lossmith.study.study import Study
from lossmith.study.trainings import Training
from lossmith.study.tuning import SWEPT, FitnessTuning
from lossmith.training import Executor

REPORT_SECONDS = 0.3
LOG = logging.getLogger("lossmith")
Item = TypeVar("Item")
Row = Mapping[str, Any]


def _fitness(entry: Entry) -> float:
    return -math.inf if entry.fitness is None else entry.fitness


class Runner:
    """Trains what a study lacks.

    Args:
        study: The study.
        training: How its losses are trained.
        stages: How its stages are sized.
        executor: Runs the trainings.
        report: Called with the phase and the share of it that is done.
        known: Losses that the search must beat, tuned as its finalists are.
        clock: Says when the search must end; without one, it never must.
    """

    def __init__(
        self,
        study: Study,
        training: Training,
        stages: RunSettings | StageSettings,
        executor: Executor,
        report: Callable[[str, float], None],
        known: Sequence[Family] = (),
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock
        self.study, self.training, self.stages, self.executor = study, training, stages, executor
        self.families = list(known)
        self.seconds = 0.0
        self._report, self._reported = report, 0.0
        self._differs = False
        self._log = TrainingLog(study.directory / LOG_FILE)

    @functools.cached_property
    def lr(self) -> float | None:
        """The learning rate of the search: that of the training, or the one that a sweep finds; None without any."""
        given = self.training.lr
        if given is None or not (self.stages.tune and self.training.is_swept):
            return given
        stored = self.study.store.setting("rate")
        if stored is None:
            swept = [family for family in baselines() if family.name in SWEPT]
            stored = {"lr": self._tuning.sweep(swept, given)}
            self.study.store.set("rate", stored)
        return float(stored["lr"])

    def search(self) -> None:
        """Train and record what is missing of the search, generation by generation."""
        study, replicates = self.study, self.stages.replicates
        if self.stages.tune:
            self._tell_known()
            if self.study.search.known_first:
                self._begin_with_known()
        first = study.generation
        if not study.finished:
            self._tell_idle()
            # The finalists of a search that a time limit ended are none any more.
            study.store.forget_finalists()
        while not study.finished:
            generation = study.generation
            if self._is_up(generation - first):
                break
            self.training.prepare(generation)
            waiting = {candidate.member for candidate in study.pending()}
            # What is stored has no say in how a generation is divided: a resumed one trains the same chunks.
            parts = self._parts(study.trainable(), replicates)
            chunks = [search_chunk(generation, part, waiting) for part in parts]
            seeds = [derive(self.study.search.seed, "search", generation, replicate) for replicate in range(replicates)]

            def shown(done: float, generation: int = generation) -> float:
                return (generation + done) / study.search.generations

            for number, results in self._trained("search", chunks, seeds, shown, searching=True):
                found = [result_of(*pair) for pair in zip(parts[number], results, strict=True)]
                new = [result for result in found if result.candidate.member in waiting]
                stored = study.store.candidates(generation) if len(new) < len(found) else []
                study.record(new)
                self._compare([result.row() for result in found], stored, "member")
        self.tell("search", 1.0)

    def _is_up(self, done: int) -> bool:
        """Whether the time limit ends the search before its next generation, of which one at least is trained."""
        study, clock = self.study, self.clock
        left = study.search.generations - study.generation
        ends = clock is not None and done > 0 and clock.is_up(done, left + done)
        if ends:
            LOG.warning(
                "the time limit ends the search after generation %d of %d; run it again to go on",
                study.generation,
                study.search.generations,
            )
        return ends

    def finals(self) -> list[dict[str, Any]]:
        """Tune the finalists, known losses among them, and train them with fresh seeds; their stored results."""
        run = self.stages
        evolved = evolved_entries(self.study, run.finalists)
        if run.tune:
            rated = evolved if self.lr is None else self._tuning.rates(evolved, self.lr)
            entries = [*rated, *self._known]
        else:
            smoothings = self._tried("smoothing", smoothing_entries(self.study.classes), (run.finalist_seeds + 1) // 2)
            entries = [*evolved, *plain_entries(smoothings)]
        return self._tried("final", entries, run.finalist_seeds)

    def tell(self, phase: str, done: float) -> None:
        """Report the progress."""
        self._reported = time.perf_counter()
        self._report(phase, done)

    @functools.cached_property
    def _known(self) -> list[Entry]:
        """Known losses, each at its best strengths and rate; a study keeps those that it began with."""
        stored = self.study.store.setting("known losses")
        if stored is None:
            found = self._tuning.known(self.families, self.lr)
            stored = [entry.to_json() for entry in found]
            self.study.store.set("known losses", stored)
        return [Entry.from_json(document) for document in stored]

    def _tell_known(self) -> None:
        """Say, before the search, at which rate it trains, and what known losses there are to beat."""
        known = self._known
        if not known:
            return
        if self.training.is_swept:
            LOG.info("the search trains with lr = %g; the recipe says %g", self.lr, self.training.lr)
        best = max(known, key=_fitness)
        if best.fitness is None:
            LOG.warning("no known loss has a fitness: all diverged, or the objective gave no number")
        else:
            rate = "" if best.lr is None else f", lr = {best.lr:g}"
            by = judged_by(self.study.store)
            value = by.sign * best.fitness + 0.0
            LOG.info("the best known loss, tuned: %s%s, %s %.6g", best.name, rate, by.called, value)

    def _begin_with_known(self) -> None:
        """Let the search begin with known losses that the space holds, the best first, at most half a generation."""
        settings, found = self.study.search, dict[str, Genome]()
        for entry in sorted(self._known, key=lambda entry: -_fitness(entry)):
            loss = entry.loss
            if settings.scale and isinstance(loss, PowerLoss) and entry.lr is not None and self.lr is not None:
                # What the rate is to the loss, the scale is to the search.
                loss = loss * (entry.lr / self.lr)
            place = self.study.space.place(loss, self.study.classes)
            if place is not None and entry.fitness is not None:
                found[entry.name] = place[0]
        chosen = list(found)[: most_known(settings)]
        LOG.info("the search begins with %s", "; ".join(chosen) or f"nothing known, since {settings.space} holds none")
        self.study.begin_with([found[name] for name in chosen])

    def _tried(self, stage: str, entries: Sequence[Entry], count: int) -> list[dict[str, Any]]:
        """Stored results of a stage, after what is missing of them was trained with ``count`` seeds each."""
        store = self.study.store
        kept = store.finalists(stage)
        stored = {row["rank"] for row in kept}
        names = dict(enumerate(entry.name for entry in entries))
        strangers = [row["rank"] for row in kept if names.get(row["rank"]) != row["name"]]
        if strangers:
            raise damaged(store.path, f"a finalist of rank {max(strangers)} is none of this search")
        # Those of one rate are trained together.
        ranked = sorted(enumerate(entries), key=lambda pair: pair[1].lr or 0.0)
        together = [list(group) for _, group in itertools.groupby(ranked, lambda pair: pair[1].lr)]
        parts = [part for group in together for part in self._parts(group, count)]
        chunks = [finalists_chunk(part, stored) for part in parts]
        seeds = self._seeds(stage, count)
        for number, results in self._trained(stage, chunks, seeds, lambda done: done):
            rows = [
                finalist_row(stage, rank, entry, one) for (rank, entry), one in zip(parts[number], results, strict=True)
            ]
            store.add_finalists(row for row in rows if row["rank"] not in stored)
            self._compare(rows, kept, "rank")
        return store.finalists(stage)

    def _trained(
        self,
        phase: str,
        chunks: Sequence[Chunk],
        seeds: Sequence[int],
        shown: Callable[[float], float],
        searching: bool = False,
    ) -> Iterator[tuple[int, list[Measured]]]:
        """The number of each missing chunk with what came of its losses, which the caller stores before the next.

        Args:
            phase: For reports and the log.
            chunks: All of the stage.
            seeds: Of the networks of each loss.
            shown: The share of the phase that is done, by that of these chunks.
            searching: Whether trainings are partial and pruned, as the settings say.
        """
        missing = [number for number, chunk in enumerate(chunks) if chunk.missing]
        jobs = [
            self.training.work(chunk.losses, seeds, self.lr if chunk.lr is None else chunk.lr, searching)
            for chunk in (chunks[number] for number in missing)
        ]
        shares, done_of_all = [0.0] * len(missing), 0.0

        def share() -> float:
            return shown(min(1.0, (len(chunks) - len(missing) + done_of_all) / len(chunks)))

        def reach(number: int, done: float) -> None:
            nonlocal done_of_all
            # A sum that is kept: to add up all of many chunks at each word of one takes the square of their number.
            done_of_all += done - shares[number]
            shares[number] = done

        begun, following = set[int](), 0

        def begin(number: int) -> None:
            if number not in begun:
                begun.add(number)
                self._log.begun(phase, chunks[missing[number]].label)

        def progress(number: int, done: float) -> None:
            # Workers go on beyond a slow job.
            begin(number)
            reach(number, done)
            if time.perf_counter() - self._reported > REPORT_SECONDS:
                self.tell(phase, share())

        outcomes = self.executor.run(jobs, progress)
        for place_of_job, number in enumerate(missing):
            # As many as there are workers are begun, before any of them is heard of.
            while following < min(place_of_job + self.executor.workers, len(missing)):
                begin(following)
                following += 1
            self.tell(phase, share())
            outcome = next(outcomes)
            self.seconds += outcome.seconds
            if self.clock is not None:
                trained = len(chunks[number].losses) * len(seeds)
                self.clock.heard(outcome.seconds / trained / self.executor.workers)
            yield number, self.training.measured(outcome.result, chunks[number], outcome.seconds)
            reach(place_of_job, 1.0)
            self._log.stored(phase, chunks[number].label)

    def _compare(self, found: Sequence[Row], stored: Sequence[Row], key: str) -> None:
        """Say, once a run, that what was stored of a chunk is another result than its training gives now.

        Args:
            found: Of the whole chunk.
            stored: What the study held before.
            key: What tells a row from the others.
        """
        scores = {row[key]: row["scores"] for row in stored}
        other = [row[key] for row in found if row[key] in scores and row["scores"] != scores[row[key]]]
        if other and not self._differs:
            self._differs = True
            LOG.warning(
                "%s holds a part of a chunk; the chunk was trained again, and %s %d came out otherwise (another "
                "machine, or another number of threads): the stored result stands",
                self.study.store.path,
                key,
                other[0],
            )

    def _tell_idle(self) -> None:
        """Say, once a run, that a generation has fewer chunks than there are workers."""
        population, workers, replicates = (
            self.study.search.population,
            self.executor.workers,
            self.stages.replicates,
        )
        chunks = -(-population // self.training.size(replicates))
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

    @functools.cached_property
    def _tuning(self) -> FitnessTuning:
        run = self.stages
        first, fresh = max(2, run.replicates), (run.finalist_seeds + 1) // 2
        return FitnessTuning(
            self.study.store, self.study.classes, self._trained, self.training.size, self._seeds, first, fresh
        )

    def _seeds(self, purpose: str, count: int) -> list[int]:
        return [derive(self.study.search.seed, purpose, number) for number in range(count)]

    def _parts(self, items: list[Item], replicates: int) -> list[list[Item]]:
        size = self.training.size(replicates)
        return [items[start : start + size] for start in range(0, len(items), size)]
