"""The course of a search: its generations are replayed from what is stored, and move on when all of one is known."""

from __future__ import annotations

import itertools
import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from lossmith.errors import InputError
from lossmith.losses import Loss
from lossmith.search import Breakdown, Genome, SearchSettings, Space, build_engine
from lossmith.study.beginnings import FIRST, QUEUED, queue_of
from lossmith.study.filters import keep_rejected
from lossmith.study.generation import Generation, checked, losses_of, restored
from lossmith.study.records import Candidate, Result
from lossmith.study.rows import damaged
from lossmith.study.store import Store
from lossmith.theory import is_trainable

LOG = logging.getLogger("lossmith")
# So many generations of equal fitness are no accident, where a fitness is one of many values.
FLAT = 3
# A message that comes back so often is no accident of a seed, which the members of a generation share.
FAILED = 3


class Course:
    """A search engine that is told what is stored, and the generation in work.

    Args:
        space: Where it searches.
        search: The settings of the search.
        classes: Number of classes n.

    Raises:
        InputError: if the engine does not search the space.
    """

    def __init__(self, space: Space, search: SearchSettings, classes: int) -> None:
        self.space, self.search, self.classes = space, search, classes
        self.work = Generation([], {})
        self._engine = build_engine(space, search)
        self._engine.classes = classes
        self._queue: dict[int, list[Genome]] = {}
        self._ended: Mapping[str, Any] | None = None
        self._said: set[str] = set()
        self._flat = 0
        self._failing, self._message = 0, ""

    @property
    def generation(self) -> int:
        """The generation in work, or the number of those that were told if the search is over."""
        return self._engine.generation

    @property
    def finished(self) -> bool:
        """Whether all generations are told, or the engine broke down."""
        return self._ended is not None or self.generation >= self.search.generations

    @property
    def mean(self) -> tuple[Genome, Loss] | None:
        """The search's mean and the loss there; None if its engine has none, or broke down where there is no loss."""
        genome = self._engine.mean
        if genome is None:
            return None
        try:
            return genome, self._losses([genome])[0]
        except InputError:
            if self._ended is None:
                raise
            return None

    def check_beginning(self) -> None:
        """See that the first generation can be asked for, before anything is stored.

        Raises:
            InputError: if it cannot.
        """
        try:
            self._losses(self._asked()[0])
        except Breakdown as error:
            raise InputError(f"the search cannot begin: {error}; give other settings of the search") from None

    def replay(self, store: Store, going_on: bool = True) -> None:
        """Go on from what is stored.

        Args:
            store: Where it is stored.
            going_on: Whether the next generation is asked for, which may store what the invariant rejects of it.

        Raises:
            InputError: if that cannot be of this search.
        """
        # All of it is read once, so that what is damaged is told before anything changes.
        stored: dict[int, dict[int, Mapping[str, Any]]] = {}
        for row in store.checked_candidates():
            stored.setdefault(row["generation"], {})[row["member"]] = row
        last = max(stored, default=0)
        if last >= self.search.generations:
            raise damaged(
                store.path, f"it holds a candidate of generation {last}, and the search has {self.search.generations}"
            )
        self._store, self._going_on = store, going_on
        self._engine.first = store.setting(FIRST) or ()
        self._queue = queue_of(store.setting(QUEUED))
        if not all(map(self.space.holds, (*self._engine.first, *itertools.chain(*self._queue.values())))):
            raise damaged(store.path, "the search begins with what its space does not hold")
        self._ended_before: Mapping[str, Any] | None = store.setting("breakdown")
        while not self.finished:
            rows = stored.get(self.generation, {})
            if self._is_end() or len(rows) < self.search.population:
                break
            genomes = self._restored(rows, self._asked()[0])
            members = [rows[member] for member in range(len(rows))]
            errors = [row["error"] for row in members if row["error"] is not None]
            self._tell(genomes, [row["fitness"] for row in members], errors)
        if going_on:
            self._load()
            self.advance()

    def requeue(self) -> None:
        """Take what was queued for later generations."""
        self._queue = queue_of(self._store.setting(QUEUED))

    def advance(self) -> None:
        """Move on over generations of which all is known.

        Raises:
            InputError: if that was the third generation in a row, or a later one, that failed with one message.
        """
        while not self.finished and self.work.complete:
            self._tell(self.work.genomes, self.work.fitness, self.work.errors)
            self._load()
            if self._failing >= FAILED:
                raise InputError(
                    f"{self._failing} generations in a row have failed with one message ({self._message}); mend what "
                    "raises it and go on with the study: what is stored is kept, and the next generation is trained"
                )

    def take(self, results: Sequence[Result]) -> None:
        """Know some results of the generation in work, and tell, once, that a training failed."""
        self.work.take(results)
        for result in results:
            if result.error is not None:
                self._say(
                    "failed",
                    f"candidate {result.candidate.member} of generation {result.candidate.generation} failed "
                    f"({result.error}): it ranks last, its message is stored, and the study goes on",
                )

    def trainable(self) -> list[Candidate]:
        """Candidates of the generation in work that the invariant lets train."""
        return [candidate for candidate in self.work.candidates if self._passes(candidate)]

    def _load(self) -> None:
        """Ask for the generation in work, take what is stored of it, and record what the invariant rejects."""
        self.work = Generation([], {})
        if self.finished or self._is_end():
            return
        rows = self._rows()
        try:
            asked, redrawn = self._asked()
        except Breakdown as error:
            return self._end(error)
        keep_rejected(self._store, self.generation, {why: len(them) for why, them in self._engine.rejected.items()})
        genomes = self._restored(rows, asked)
        try:
            losses = self._losses(genomes)
        except InputError as error:
            if rows:
                raise damaged(
                    self._store.path, f"a candidate of generation {self.generation} gives no loss: {error}"
                ) from None
            return self._end(Breakdown(f"what the engine asks for gives no loss: {error}"))
        exact, published = (is_trainable(losses, self.classes, form).tolist() for form in ("exact", "published"))
        for member, row in rows.items():
            exact[member], published[member] = bool(row["exact"]), bool(row["published"])
        candidates = [
            Candidate(self.generation, member, genome, losses[member], exact[member], published[member], redraws)
            for member, (genome, redraws) in enumerate(zip(genomes, redrawn, strict=True))
        ]
        errors = {member: row["error"] for member, row in rows.items() if row["error"] is not None}
        self.work = Generation(candidates, {member: row["fitness"] for member, row in rows.items()}, errors)
        rejected = [
            Result(candidate, None, "untrainable") for candidate in self.work.pending() if not self._passes(candidate)
        ]
        if rejected:
            self._store.add_candidates(result.row() for result in rejected)
            self.work.take(rejected)
        return None

    def _asked(self) -> tuple[list[Genome], list[int]]:
        asked, redrawn = self._engine.ask(self._acceptable)
        queued = self._queue.get(self.generation, [])[: self.search.population]
        begin = len(self._engine.first) if self.generation == 0 else 0
        places = slice(begin, begin + len(queued))
        asked[places], redrawn[places] = queued, [0] * len(queued)
        return checked(asked, self.space, self.search.engine, self.search.space), redrawn

    def _rows(self) -> dict[int, Mapping[str, Any]]:
        return {row["member"]: row for row in self._store.candidates(self.generation)}

    def _restored(self, rows: Mapping[int, Mapping[str, Any]], asked: list[Genome]) -> list[Genome]:
        genomes, agree = restored(asked, rows, self.generation, self.space, self._store.path)
        if not agree and "differs" not in self._said:
            self._said.add("differs")
            warnings.warn(
                f"the candidates of generation {self.generation} differ from the stored ones (another machine's linear "
                f"algebra, or another version of the search engine {self.search.engine}); the stored ones stand",
                stacklevel=5,
            )
        return genomes

    def _tell(self, genomes: Sequence[Genome], fitness: Sequence[float | None], errors: Sequence[str]) -> None:
        generation = self.generation
        try:
            self._engine.tell(genomes, fitness)
            stalled = self._engine.stalled
        except Breakdown as error:
            self._end(error)
            return
        known = [value for value in fitness if value is not None]
        self._count_failure(errors if not known else ())
        self._flat = self._flat + 1 if len(known) > 1 and len(set(known)) == 1 else 0
        if not known:
            self._say(
                "no fitness",
                f"no candidate of generation {generation} has a fitness: all {_ways(errors)}, and the search "
                "stays where it is; if that goes on, begin another study with a lower lr or sigma",
            )
        elif self._flat == FLAT:
            self._say(
                "flat",
                f"all candidates of {FLAT} generations, to generation {generation}, have the same fitness "
                f"({known[0]:g}), so that the search has nothing to go by; look whether networks learn at all (lr, "
                "epochs, the objective)",
            )
        elif stalled is not None:
            self._say(
                "stalled",
                f"the search stagnates from generation {generation} on: {stalled}; more generations will hardly find "
                "anything else",
            )

    def _count_failure(self, errors: Sequence[str]) -> None:
        """Count generations in a row that failed with one message; one that did not, begins anew."""
        message = errors[0] if len(set(errors)) == 1 else ""
        self._failing = self._failing + 1 if message and message == self._message else int(bool(message))
        self._message = message

    def _say(self, kind: str, sentence: str) -> None:
        """Warn, once of each kind."""
        if kind not in self._said:
            self._said.add(kind)
            LOG.warning("%s", sentence)

    def _is_end(self) -> bool:
        """Whether the engine broke down here when what is stored was found; then the search ends here."""
        if self._ended_before is None or self._ended_before["generation"] != self.generation:
            return False
        self._ended = self._ended_before
        self._tell_end()
        return True

    def _end(self, error: Breakdown) -> None:
        """End the search with what it found."""
        if self.generation == 0 and not self._rows():
            raise InputError(f"the search cannot begin: {error}; give other settings of the search")
        self._ended = {"generation": self.generation, "why": str(error)}
        if self._going_on:
            self._store.set("breakdown", self._ended)
        self._tell_end()

    def _tell_end(self) -> None:
        LOG.warning(
            "the search ends in generation %d of %d, since its engine broke down: %s; what it found until there stands",
            self.generation,
            self.search.generations,
            (self._ended or {})["why"],
        )

    def _passes(self, candidate: Candidate) -> bool:
        return {"none": True, "exact": candidate.exact, "published": candidate.published}[self.search.invariant]

    def _acceptable(self, genome: Genome) -> bool:
        if self.search.invariant == "none" or self.search.untrainable == "worst":
            return True
        try:
            losses = self._losses([genome])
        except InputError as error:
            raise Breakdown(f"what the engine asks for gives no loss: {error}") from None
        return bool(is_trainable(losses, self.classes, self.search.invariant)[0])

    def _losses(self, genomes: Sequence[Genome]) -> Loss:
        return losses_of(self.space, genomes, self.classes, self.search.space)


def _ways(errors: Sequence[str]) -> str:
    """What has become of candidates without a fitness, in words."""
    return "failed, diverged or are untrainable" if errors else "diverged or are untrainable"
