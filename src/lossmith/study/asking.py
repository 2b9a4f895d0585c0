"""Ask and tell: the candidates of a search, one by one, and what came of each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lossmith.errors import InputError
from lossmith.losses import Loss
from lossmith.search import Genome, SearchSettings, Space
from lossmith.study.course import Course
from lossmith.study.reading import StoredStudy
from lossmith.study.records import Candidate, Result, failed, told

Callback = Callable[[Any, Result], None]


class AskTell(StoredStudy):
    """A stored study whose search goes on: from the first question on, which replays what is stored.

    Args:
        directory: Where the study lives.
        classes: Number of classes of the classifier.
        search: The settings of the search.
        space: Whose genomes are stored.
        callbacks: Each is called with the study and the result, after that is stored.
        readonly: Whether nothing can be asked for or told.
    """

    def __init__(
        self,
        directory: Path,
        classes: int,
        search: SearchSettings,
        space: Space,
        callbacks: Sequence[Callback],
        readonly: bool,
    ) -> None:
        super().__init__(directory, classes, search, space)
        self.callbacks, self.readonly = list(callbacks), readonly
        self._guard = threading.RLock()
        self._moved = threading.Condition(self._guard)
        self._replayed: Course | None = None
        self._closed = False

    def close(self) -> None:
        """Let go of the directory."""
        with self._guard:
            self._closed = True
            self._moved.notify_all()
        self.store.close()

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

    def ask(self, wait: bool = False) -> Candidate | None:
        """The next candidate to be trained; None when the search is over.

        A candidate that the invariant rejects is recorded and never given. Several candidates of a generation can be
        out at once, and several threads may ask and tell.

        Args:
            wait: Wait, if all candidates of the generation are out, until other threads have told what came of them.

        Raises:
            InputError: if all candidates of the generation are out, a fitness must be told first, and none is waited
                for.
        """
        self._check_writable()
        with self._moved:
            while True:
                if self._closed:
                    raise InputError(f"the study in {self.directory} is closed; open it again to use it")
                if self.finished:
                    return None
                candidate = self._course.work.give()
                if candidate is not None:
                    return candidate
                if not wait:
                    raise InputError(
                        f"all candidates of generation {self.generation} are out: tell the fitness of one of them "
                        "before the next is asked for, or let a thread wait for others: ask(wait=True)"
                    )
                self._moved.wait()

    def has_more(self) -> bool:
        """Whether a candidate of the generation in work waits that nobody has asked for."""
        with self._guard:
            return self._course.work.has_more

    def give_back(self, candidates: Iterable[Candidate]) -> None:
        """Let candidates that were asked for, and wait for a fitness still, be asked for again."""
        with self._moved:
            self._course.work.give_back(candidates)
            self._moved.notify_all()

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

    def pending(self) -> list[Candidate]:
        """Candidates of the generation in work that have no fitness yet."""
        with self._guard:
            return self._course.work.pending()

    def trainable(self) -> list[Candidate]:
        """Candidates of the generation in work that the invariant lets train, whether they have a fitness or not."""
        with self._guard:
            return self._course.trainable()

    def record(self, results: Iterable[Result], callbacks: Sequence[Callback] = ()) -> None:
        """Store results of the generation in work in one transaction; a complete generation moves the search on.

        Args:
            results: What came of candidates.
            callbacks: Called besides those of the study.

        Raises:
            InputError: if a result is not of a candidate that waits for one.
        """
        self._check_writable()
        results = list(results)
        with self._moved:
            course = self._course
            course.work.check(results)
            if results:
                self.store.add_candidates(result.row() for result in results)
            course.take(results)
            try:
                course.advance()
            finally:
                self._moved.notify_all()
                for result in results:
                    for callback in (*self.callbacks, *callbacks):
                        callback(self, result)

    def _check_writable(self) -> None:
        if self.readonly:
            raise InputError(
                f"the study in {self.directory} was opened to be read only; open it by Study.load(directory) to go on"
            )

    def _new_course(self) -> Course:
        return Course(self.space, self.search, self.classes)

    @property
    def _course(self) -> Course:
        """The search, replayed by the first who asks for it: what is stored can be read without."""
        with self._guard:
            if self._replayed is None:
                course = self._new_course()
                course.replay(self.store, going_on=not self.readonly)
                self._replayed = course
            return self._replayed
