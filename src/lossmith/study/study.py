"""A study: a search by ask and tell whose every answer is stored, and which goes on wherever it stopped."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lossmith.errors import InputError
from lossmith.io import read_toml, write_toml
from lossmith.losses import Loss
from lossmith.search import Genome, SearchSettings, build_space
from lossmith.study.agreement import reconciled
from lossmith.study.config import checked_classes, validated
from lossmith.study.course import FIRST, Course
from lossmith.study.generation import checked, losses_of
from lossmith.study.judged import judged_by
from lossmith.study.pareto import pareto_front
from lossmith.study.records import Candidate, Result, failed, told
from lossmith.study.rows import damaged
from lossmith.study.store import Store


class Study:
    """A search for a loss, stored in a directory and resumed by replay.

    Made on a directory that holds a study already, it goes on with that one: the stored genomes and fitness are told to
    a new search engine, and only what is missing is asked for. That replay waits until somebody asks how the search
    goes on; what is stored (:meth:`best`, :meth:`top`, :meth:`pareto_front`, :meth:`candidates`) can be read without.

    Args:
        directory: Where the study lives; it is made if it is not there.
        classes: Number of classes of the classifier.
        search: The settings of the search; keyword arguments instead of it give single ones.
        document: What ``study.toml`` holds, if more than the search's settings.
        defaults: Values of settings that a study begun by an older version does not hold.

    Raises:
        InputError: if the directory holds a study of another configuration, or cannot be used, or the search engine
            does not search the space.

    Example:
        >>> import tempfile
        >>> study = Study(tempfile.mkdtemp(), classes=10, population=4, generations=2)
        >>> while (candidate := study.ask()) is not None:
        ...     study.tell(candidate, fitness=-sum(x * x for x in candidate.genome))
        >>> study.best().generation in (0, 1)
        True
        >>> study.close()
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        classes: int,
        search: SearchSettings | None = None,
        *,
        document: dict[str, Any] | None = None,
        defaults: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        if search is not None and settings:
            raise InputError(
                f"give either search=SearchSettings(…) or single settings ({', '.join(settings)}), not both"
            )
        self.search = search or validated(SearchSettings, settings, "the settings of the study")
        self.classes = checked_classes(classes)
        self.directory = Path(directory)
        self.space = build_space(self.search)
        self._guard = threading.RLock()
        self._replayed: Course | None = None
        first = self._new_course()
        if not (self.directory / "study.db").exists():
            first.check_beginning()
        self._make_directory()
        self.store = Store(self.directory)
        try:
            if self.store.setting("settings") is None:
                first.check_beginning()
            document = document or {"classes": self.classes, "search": self.search.model_dump()}
            self._agree(document, {"search": SearchSettings().model_dump(), **(defaults or {})})
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the directory."""
        self.store.close()

    def __enter__(self) -> Study:
        """The study itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    @property
    def generation(self) -> int:
        """The generation in work, or the number of those that were told if the search is over."""
        return self._course.generation

    @property
    def finished(self) -> bool:
        """Whether all generations are told, or the search engine broke down and the search ended there."""
        return self._course.finished

    @property
    def mean(self) -> Loss | None:
        """The loss at the search's mean; None if its engine has none."""
        found = self._course.mean
        return None if found is None else found[1]

    @property
    def mean_genome(self) -> Genome | None:
        """The search's mean; None if its engine has none."""
        found = self._course.mean
        return None if found is None else found[0]

    def ask(self) -> Candidate | None:
        """The next candidate to be trained; None when the search is over.

        A candidate that the invariant rejects is recorded and never given. Several candidates of a generation can be
        out at once.

        Raises:
            InputError: if all candidates of the generation are out and a fitness must be told first.
        """
        with self._guard:
            if self.finished:
                return None
            candidate = self._course.work.give()
        if candidate is not None:
            return candidate
        raise InputError(
            f"all candidates of generation {self.generation} are out: tell the fitness of one of them before the next "
            "is asked for"
        )

    def tell(self, candidate: Candidate, fitness: float, figures: Mapping[str, float] | None = None) -> None:
        """Record the fitness of a candidate (higher is better); a fitness that is not finite counts as diverged.

        ``figures`` are recorded beside it, for :meth:`pareto_front`, which leaves a candidate out of which one is not
        finite. Several threads may ask and tell.

        Raises:
            InputError: if the candidate is not one that waits for a fitness, or what is told is not one number; it can
                be told again.
        """
        self.record([told(candidate, fitness, figures)])

    def fail(self, candidate: Candidate, error: BaseException) -> None:
        """Record that the training of a candidate raised an exception: it ranks last, and type and message are kept.

        Raises:
            InputError: if the candidate is not one that waits for a fitness; or, once it is recorded, if three
                generations in a row have failed with one message.
        """
        self.record([failed(candidate, error)])

    def begin_with(self, genomes: Sequence[Genome]) -> None:
        """Let the first generation begin with some genomes; said again of a search that began so, it changes nothing.

        Raises:
            InputError: if the space does not hold one, they are more than a generation, or the search began otherwise.
        """
        with self._guard:
            if self.store.setting(FIRST) == list(genomes):
                return
            if self.store.setting(FIRST) is not None or self.store.generations():
                raise InputError(
                    f"the study in {self.directory} has begun with other candidates; leave these out, or choose "
                    "another directory"
                )
            if len(genomes) > self.search.population:
                raise InputError(
                    f"{len(genomes)} genomes are more than a generation of {self.search.population}; give fewer"
                )
            if self._replayed is not None:
                raise InputError("the first generation is out already; say what it begins with before the first ask")
            checked(genomes, self.space, self.search.engine, self.search.space)
            self.store.set(FIRST, list(genomes))

    def pending(self) -> list[Candidate]:
        """Candidates of the generation in work that have no fitness yet."""
        with self._guard:
            return self._course.work.pending()

    def trainable(self) -> list[Candidate]:
        """Candidates of the generation in work that the invariant lets train, whether they have a fitness or not."""
        with self._guard:
            return self._course.trainable()

    def record(self, results: Iterable[Result]) -> None:
        """Store results of the generation in work in one transaction; a complete generation moves the search on.

        Raises:
            InputError: if a result is not of a candidate that waits for one.
        """
        results = list(results)
        with self._guard:
            course = self._course
            course.work.check(results)
            if results:
                self.store.add_candidates(result.row() for result in results)
            course.take(results)
            course.advance()

    def candidates(self) -> list[dict[str, Any]]:
        """All stored candidates."""
        return self.store.candidates()

    def counts(self) -> dict[str, Any]:
        """Numbers of ``candidates``, ``untrainable``, ``diverged``, ``failed`` and ``trainings`` that are stored.

        Besides, the ``best`` fitness, and the ``mean`` of the last complete generation (or None).
        """
        store = self.store
        last = store.generations() - 1
        if not store.is_complete(last, self.search.population):
            last -= 1
        return {"best": store.best_fitness(), "mean": store.mean_fitness(last), **store.counts()}

    def verdicts(self) -> dict[str, int]:
        """How many stored candidates each form of the invariant passes: both, exact only, published only, neither."""
        return self.store.verdicts()

    def top(self, count: int) -> list[Candidate]:
        """The at most ``count`` stored candidates of highest fitness, the earlier first among equals."""
        rows = [row for row in self.store.candidates() if row["fitness"] is not None]
        rows.sort(key=lambda row: (-row["fitness"], row["generation"], row["member"]))
        return [self._stored(row) for row in rows[:count]]

    def best(self) -> Candidate:
        """The candidate of highest fitness: the best of many noisy values, so train it again before you trust it.

        Raises:
            InputError: if no candidate has a fitness.
        """
        top = self.top(1)
        if not top:
            raise InputError(f"no candidate of the study in {self.directory} has a fitness yet; tell one first")
        return top[0]

    def pareto_front(self, first: str = "accuracy", second: str = "robust-accuracy") -> list[Candidate]:
        """The evaluated candidates that no other one beats in one figure without losing in the other.

        Args:
            first: A recorded figure, or ``"fitness"``.
            second: Another.

        Returns:
            Ascending in the first figure, so descending in the second; of equals, the earliest.

        Raises:
            InputError: if a figure was not recorded.
        """
        by = judged_by(self.store)
        return [self._stored(row) for row in pareto_front(self.store.candidates(), first, second, by)]

    def _make_directory(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.directory} cannot be made a study directory: {error.strerror}") from None

    def _agree(self, document: dict[str, Any], defaults: dict[str, Any]) -> None:
        """See that the study goes on with the settings that it began with, and store those that may change."""
        path, stored = self.directory / "study.toml", self.store.setting("settings")
        # A study file without stored settings is the remains of a begin that was killed, or a file of the user's.
        written = read_toml(path) if stored is not None and path.exists() else None
        agreed = reconciled(document, stored, written, defaults, self.store.generations(), self.directory)
        if agreed.changes_file or agreed.changes_store:
            self.store.checked_candidates()
        if agreed.changes_file:
            write_toml(document, path)
        if agreed.is_longer:
            self.store.set_and_forget_finalists("settings", agreed.document)
        elif agreed.changes_store:
            self.store.set("settings", agreed.document)

    def _new_course(self) -> Course:
        return Course(self.space, self.search, self.classes)

    @property
    def _course(self) -> Course:
        """The search, replayed by the first who asks for it: what is stored can be read without."""
        with self._guard:
            if self._replayed is None:
                course = self._new_course()
                course.replay(self.store)
                self._replayed = course
            return self._replayed

    def loss_of(self, row: Mapping[str, Any]) -> Loss:
        """The loss of a stored candidate."""
        return self._stored(row).loss

    def _stored(self, row: Mapping[str, Any]) -> Candidate:
        place = f"candidate {row['member']} of generation {row['generation']}"
        if not self.space.holds(row["genome"]):
            raise damaged(self.store.path, f"{place} is none of this search")
        try:
            loss = losses_of(self.space, [row["genome"]], self.classes, self.search.space)[0]
        except InputError as error:
            raise damaged(self.store.path, f"{place} gives no loss: {error}") from None
        return Candidate.stored(row, loss)
