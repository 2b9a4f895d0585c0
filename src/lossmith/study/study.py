"""A study: a search by ask and tell whose every answer is stored, and which goes on wherever it stopped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lossmith.errors import InputError
from lossmith.search import Genome, SearchSettings, build_space
from lossmith.study.agreement import agree, make_directory
from lossmith.study.asking import AskTell, Callback
from lossmith.study.beginnings import (
    FIRST,
    QUEUED,
    START,
    Known,
    agreed_start,
    check_first,
    enqueued,
    genome_of,
    genomes_to_try,
    started_at,
    tell_untrainable,
)
from lossmith.study.config import checked_classes, validated
from lossmith.study.generation import checked
from lossmith.study.optimizing import Budget, Objective, check_callbacks, optimized
from lossmith.study.reopening import begun_in
from lossmith.study.store import Store
from lossmith.training import Executor


class Study(AskTell):
    """A search for a loss, stored in a directory and resumed by replay.

    Made on a directory that holds a study already, it goes on with that one: the stored genomes and fitness are told to
    a new search engine, and only what is missing is asked for. That replay waits until somebody asks how the search
    goes on; what is stored (:meth:`best`, :meth:`top`, :attr:`trials`, :meth:`pareto_front`, :meth:`candidates`) can be
    read without. :meth:`load` opens a study without its settings.

    Args:
        directory: Where the study lives; it is made if it is not there.
        classes: Number of classes of the classifier.
        search: The settings of the search; keyword arguments instead of it give single ones.
        start: A loss (or its name, or a genome) that the search starts at, instead of where its space says: the first
            mean of CMA-ES. A study keeps that which it began with.
        callbacks: Each is called with the study and the trial, a :class:`Result`, after what came of it is stored.
        readonly: Only look at a study, also while another process works on it.
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
        start: Known | None = None,
        callbacks: Sequence[Callback] = (),
        readonly: bool = False,
        document: dict[str, Any] | None = None,
        defaults: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        if search is not None and settings:
            raise InputError(
                f"give either search=SearchSettings(…) or single settings ({', '.join(settings)}), not both"
            )
        check_callbacks(callbacks)
        search = search or validated(SearchSettings, settings, "the settings of the study")
        super().__init__(Path(directory), checked_classes(classes), search, build_space(search), callbacks, readonly)
        point = None if start is None else genome_of(start, self.space, self.classes, search)
        self.space = started_at(self.space, point, search)
        if readonly:
            self.store = Store(self.directory, readonly=True)
            self.space = started_at(self.space, self.store.setting(START), search)
            return
        first: list[Genome] | None = None
        if not (self.directory / "study.db").exists():
            self._new_course().check_beginning()
            first = genomes_to_try(self.space, self.classes, search)
        make_directory(self.directory)
        self.store = Store(self.directory)
        try:
            self.space = started_at(self.space, agreed_start(self.store, self.space, point), search)
            if self.store.setting("settings") is None:
                self._new_course().check_beginning()
            document = document or {"classes": self.classes, "search": self.search.model_dump(mode="json")}
            agree(self.store, document, {"search": SearchSettings().model_dump(mode="json"), **(defaults or {})})
            if search.start and self.store.setting(QUEUED) is None and not self.store.generations():
                self.enqueue(*(genomes_to_try(self.space, self.classes, search) if first is None else first))
        except BaseException:
            self.close()
            raise

    @classmethod
    def load(
        cls, directory: str | os.PathLike[str], *, readonly: bool = False, generations: int | None = None
    ) -> Study:
        """A study that was begun, whatever began it, with the settings that it holds.

        One of :func:`lossmith.evolve` or of the command line is opened, too: to be looked at (``readonly=True``, also
        while it runs), or to be gone on with by ask and tell.

        Args:
            directory: Where it lives.
            readonly: Only look at it.
            generations: Of the search, if they are to be more than it began with.

        Raises:
            InputError: if there is none, it is damaged, or another process works on it and it is not only looked at.

        Example:
            >>> import tempfile
            >>> directory = tempfile.mkdtemp()
            >>> with Study(directory, classes=3, population=4, generations=1) as study:
            ...     study.optimize(lambda loss: -len(loss.formula()))
            >>> with Study.load(directory, readonly=True) as study:
            ...     study.counts()["candidates"], study.search.population
            (4, 4)
        """
        begun = begun_in(Path(directory))
        if begun.unready and not readonly:
            raise InputError(
                f"the study in {directory} has not tuned the known losses that its search begins with; let lossmith "
                "evolve go on with it, or look at it with readonly=True"
            )
        if generations is not None:
            if readonly:
                raise InputError(
                    "a study opened with readonly=True cannot be given more generations; leave one of the two out"
                )
            begun = begun.longer(generations)
        document = begun.document
        return cls(directory, begun.classes, begun.search, readonly=readonly, document=document, defaults=document)

    def __enter__(self) -> Study:
        """The study itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def optimize(
        self,
        function: Objective,
        n_trials: int | None = None,
        timeout: float | str | None = None,
        *,
        callbacks: Sequence[Callback] = (),
        catch: tuple[type[Exception], ...] | type[Exception] = (Exception,),
        executor: Executor | str | None = None,
    ) -> None:
        """Ask, call a function, and tell, until the search or a budget ends.

        Args:
            function: Called with a loss; gives its fitness (higher is better), or figures by name with ``"fitness"``
                among them.
            n_trials: The most candidates that are tried in this call.
            timeout: Seconds, or a time such as ``"30m"``, after which no other candidate is begun; with workers, what
                is not done then is left.
            callbacks: Besides those of the study.
            catch: Exceptions of the function that are stored: the candidate ranks last, and the study goes on. Others
                end it.
            executor: Runs the function in other processes: ``"processes"``, or an executor that runs. The function and
                what it gives must be picklable, and what it gives must follow from the loss alone: then what is stored
                does not depend on who ran it.

        Raises:
            InputError: if the function gives no number, the budget is none, or three generations in a row have failed
                with one message.
        """
        self._check_writable()
        if "recipe" in (self.store.setting("settings") or {}):
            raise InputError(
                f"the study in {self.directory} trains networks of its own, and another fitness must not be mixed with "
                "theirs; go on with it by lossmith evolve, or begin another study"
            )
        optimized(self, function, Budget.of(n_trials, timeout), catch, executor, callbacks)

    def enqueue(self, *losses: Known, project: bool = False) -> int:
        """Let the search try losses in the first places of its next generation, before what its engine draws.

        The engine learns from them as from what it drew itself. What does not fit into a generation is tried in the
        next one. A loss that is queued already, or was, is left out, so that a script can be run again.

        Args:
            losses: Losses, criteria, texts that name one (``"label-smoothing:0.1"``, a loss file), or genomes.
            project: Try what is nearest instead of a loss that the space does not hold, and tell how near that is.

        Returns:
            How many of them are new.

        Raises:
            InputError: if the space does not hold one, or the search has no generation left.
        """
        self._check_writable()
        genomes = [genome_of(loss, self.space, self.classes, self.search, project) for loss in losses]
        with self._moved:
            course = self._replayed
            is_begun = course is not None and (course.work.is_out or bool(self.store.candidates(course.generation)))
            at = self.store.generations() if course is None else course.generation + int(is_begun)
            new = enqueued(self.store, genomes, self.space, self.search, at)
            tell_untrainable(new, self.space, self.classes, self.search)
            if new and course is not None and is_begun:
                course.requeue()
            elif new:
                # What was asked for and is not out is asked for again, with these in its place.
                self._replayed = None
            return len(new)

    def begin_with(self, genomes: Sequence[Genome]) -> None:
        """Let the first generation begin with some genomes; said again of a search that began so, it changes nothing.

        Raises:
            InputError: if the space does not hold one, they are more than a generation, or the search began otherwise.
        """
        self._check_writable()
        with self._guard:
            if self.store.setting(FIRST) == list(genomes):
                return
            check_first(genomes, self.store, self.search)
            if self._replayed is not None:
                raise InputError("the first generation is out already; say what it begins with before the first ask")
            checked(genomes, self.space, self.search.engine, self.search.space)
            self.store.set(FIRST, list(genomes))
