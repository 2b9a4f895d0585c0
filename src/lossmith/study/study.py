"""A study: a search by ask and tell whose every answer is stored, and which goes on wherever it stopped."""

from __future__ import annotations

import json
import operator
import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from lossmith.errors import InputError
from lossmith.io import read_toml, write_toml
from lossmith.losses import Criterion, Loss
from lossmith.search import Optimizer, SearchSettings, build_space
from lossmith.study.config import differences, validated
from lossmith.study.legacy import modernized
from lossmith.study.pareto import pareto_front
from lossmith.study.store import Store
from lossmith.theory import is_trainable

Status = Literal["ok", "untrainable", "diverged"]
AGREEMENT = 1e-9
MAY_CHANGE = ("data.source", "search.generations")


@dataclass(frozen=True)
class Candidate:
    """One loss to be tried.

    Args:
        generation: Its generation, from 0.
        member: Its place in the generation, from 0.
        theta: Its point in the space of the search.
        loss: The loss there.
        exact: Whether the exact invariant holds.
        published: Whether the published invariant holds.
        redrawn: How many points the invariant rejected before this one was drawn.
    """

    generation: int
    member: int
    theta: tuple[float, ...]
    loss: Loss
    exact: bool
    published: bool
    redrawn: int = 0

    @property
    def criterion(self) -> Criterion:
        """The loss as a drop-in for ``torch.nn.CrossEntropyLoss``."""
        return Criterion(self.loss)


@dataclass(frozen=True)
class Result:
    """What came of a candidate.

    Args:
        candidate: The candidate.
        fitness: Its fitness (higher is better), or None if it has none.
        status: ``"ok"``, ``"untrainable"`` or ``"diverged"``.
        scores: The fitness of each of its trainings.
        seconds: How long its training took.
        figures: What else was measured, by name: a number for each of its trainings.
    """

    candidate: Candidate
    fitness: float | None
    status: Status = "ok"
    scores: tuple[float, ...] = ()
    seconds: float = 0.0
    figures: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


class Study:
    """A search for a loss by CMA-ES, stored in a directory and resumed by replay.

    Made on a directory that holds a study already, it goes on with that one: the stored points and fitness are told to
    a new optimiser, and only what is missing is asked for.

    Args:
        directory: Where the study lives; it is made if it is not there.
        classes: Number of classes of the classifier.
        search: The settings of the search; keyword arguments instead of it give single ones.
        document: What ``study.toml`` holds, if more than the search's settings.
        defaults: Values of settings that a study begun by an older version does not hold.

    Raises:
        InputError: if the directory holds a study of another configuration, or cannot be used.

    Example:
        >>> import tempfile
        >>> study = Study(tempfile.mkdtemp(), classes=10, population=4, generations=2)
        >>> while (candidate := study.ask()) is not None:
        ...     study.tell(candidate, fitness=-sum(x * x for x in candidate.theta))
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
        try:
            classes = operator.index(classes)
        except TypeError:
            raise InputError(f"a classifier has a whole number of classes, at least 2, not {classes!r}") from None
        if classes < 2:
            raise InputError(f"a classifier has at least 2 classes, not {classes}")
        self.search = search or validated(SearchSettings, settings, "the settings of the study")
        self.classes = classes
        self.directory = Path(directory)
        self.space = build_space(self.search)
        self._defaults = defaults or {}
        self._document = document or {"classes": classes, "search": self.search.model_dump()}
        self._make_directory()
        self.store = Store(self.directory)
        try:
            self._agree()
            self._replay()
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
        """The generation in work, or the number of generations if the search is over."""
        return self._optimizer.generation

    @property
    def finished(self) -> bool:
        """Whether all generations are told."""
        return self.generation >= self.search.generations

    @property
    def mean(self) -> Loss:
        """The loss at the search's mean."""
        return self._loss(self._optimizer.mean[None])[0]

    @property
    def mean_theta(self) -> tuple[float, ...]:
        """The search's mean."""
        return tuple(self._optimizer.mean.tolist())

    def ask(self) -> Candidate | None:
        """The next candidate to be trained; None when the search is over.

        A candidate that the invariant rejects is recorded and never given. Several candidates of a generation can be
        out at once.

        Raises:
            InputError: if all candidates of the generation are out and a fitness must be told first.
        """
        if self.finished:
            return None
        for candidate in self.pending():
            if candidate.member not in self._out:
                self._out.add(candidate.member)
                return candidate
        raise InputError(
            f"all candidates of generation {self.generation} are out: tell the fitness of one of them before the next "
            "is asked for"
        )

    def tell(self, candidate: Candidate, fitness: float, figures: Mapping[str, float] | None = None) -> None:
        """Record the fitness of a candidate (higher is better); a fitness that is not finite counts as diverged.

        ``figures`` are recorded beside it, for :meth:`front`.

        Raises:
            InputError: if the candidate is not one that waits for a fitness.
        """
        value = float(fitness)
        if np.isfinite(value):
            others = {name: (float(figure),) for name, figure in (figures or {}).items()}
            self.record([Result(candidate, value, "ok", (value,), figures=others)])
        else:
            self.record([Result(candidate, None, "diverged")])

    def pending(self) -> list[Candidate]:
        """Candidates of the generation in work that have no fitness yet."""
        return [candidate for candidate in self._asked if candidate.member not in self._known]

    def trainable(self) -> list[Candidate]:
        """Candidates of the generation in work that the invariant lets train, whether they have a fitness or not."""
        return [candidate for candidate in self._asked if self._passes(candidate)]

    def record(self, results: Iterable[Result]) -> None:
        """Store results of the generation in work in one transaction; a complete generation moves the search on.

        Raises:
            InputError: if a result is not of a candidate that waits for one.
        """
        results = list(results)
        waiting = {(candidate.generation, candidate.member): candidate.theta for candidate in self.pending()}
        for result in results:
            place = (result.candidate.generation, result.candidate.member)
            if waiting.pop(place, None) != result.candidate.theta:
                raise InputError(
                    f"candidate {place[1]} of generation {place[0]} is not waiting for a fitness; tell those of this "
                    "study that ask gave, each once"
                )
        if results:
            self.store.add_candidates(_row(result) for result in results)
        for result in results:
            self._known[result.candidate.member] = result.fitness
            self._out.discard(result.candidate.member)
        self._advance()

    def candidates(self) -> list[dict[str, Any]]:
        """All stored candidates."""
        return self.store.candidates()

    def counts(self) -> dict[str, Any]:
        """Numbers of ``candidates``, ``untrainable``, ``diverged`` and ``trainings`` that are stored.

        Besides, the ``best`` fitness, and the ``mean`` of the last complete generation (or None).
        """
        (row,) = self.store.rows(
            "SELECT count(*) AS candidates, max(fitness) AS best, total(json_array_length(scores)) AS trainings, "
            "total(status = 'untrainable') AS untrainable, total(status = 'diverged') AS diverged FROM candidate"
        )
        (last,) = self.store.rows(
            "SELECT avg(fitness) AS mean FROM candidate WHERE generation = ?", self.generation - 1
        )
        return {
            "best": row["best"],
            "mean": last["mean"],
            **{name: int(row[name]) for name in ("candidates", "untrainable", "diverged", "trainings")},
        }

    def verdicts(self) -> dict[str, int]:
        """How many stored candidates each form of the invariant passes: both, exact only, published only, neither."""
        (row,) = self.store.rows(
            "SELECT total(exact AND published) AS both, total(exact AND NOT published) AS exact_only, "
            "total(published AND NOT exact) AS published_only, total(NOT exact AND NOT published) AS neither, "
            "total(redrawn) AS redrawn FROM candidate"
        )
        return {name: int(value) for name, value in row.items()}

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
        return [self._stored(row) for row in pareto_front(self.store.candidates(), first, second)]

    def _make_directory(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.directory} cannot be made a study directory: {error.strerror}") from None

    def _agree(self) -> None:
        path = self.directory / "study.toml"
        wanted = json.loads(json.dumps(self._document))
        stored = self.store.setting("settings")
        stored = None if stored is None else modernized(stored)[0]
        if stored is None:
            if self.store.candidates():
                raise InputError(f"{self.store.path} holds candidates but no settings; start in another directory")
        else:
            self._refuse(differences(wanted, _completed(stored, self._defaults)), stored)
        written = None
        if path.exists() and stored is not None:
            written = modernized(json.loads(json.dumps(read_toml(path), default=str)))[0]
            for key, kept, found in differences(_pruned(stored), written):
                if key not in MAY_CHANGE:
                    raise InputError(
                        f"{path} was changed after the study began: {key} is {found!r} there, the study has {kept!r}; "
                        "change it back or begin another study"
                    )
        if written != _pruned(wanted):
            write_toml(self._document, path)
        if stored is not None and any(key == "search.generations" for key, *_ in differences(wanted, stored)):
            self.store.set_and_forget_finalists("settings", wanted)
        elif stored != wanted:
            self.store.set("settings", wanted)

    def _refuse(self, changes: list[tuple[str, Any, Any]], stored: dict[str, Any]) -> None:
        same_data = self._document.get("digest") == stored.get("digest") is not None
        for key, wanted, kept in changes:
            if key == "data.source" and same_data:
                continue
            if key == "digest":
                raise InputError(
                    f"the data is not the data that the study in {self.directory} began with (their digests differ); "
                    "give that data (of a folder of images: the same files under the same names), or choose another "
                    "directory"
                )
            if key == "search.generations":
                done = (
                    max(
                        (
                            row["generation"]
                            for row in self.store.rows("SELECT max(generation) AS generation FROM candidate")
                            if row["generation"] is not None
                        ),
                        default=-1,
                    )
                    + 1
                )
                if wanted < done:
                    raise InputError(
                        f"the study in {self.directory} has {done} generations already, more than "
                        f"generations = {wanted}; give at least {done}"
                    )
                continue
            raise InputError(
                f"the study in {self.directory} has {key} = {kept!r}, not {wanted!r}; "
                "leave that setting out to go on with the study, or choose another directory"
            )

    def _replay(self) -> None:
        self._optimizer = Optimizer(self.space, self.search)
        self._warned = False
        self._load()
        self._advance()

    def _advance(self) -> None:
        while not self.finished and len(self._known) == self.search.population:
            points = np.array([candidate.theta for candidate in self._asked])
            self._optimizer.tell(points, [self._known[member] for member in range(self.search.population)])
            self._load()

    def _load(self) -> None:
        """Ask for the generation in work, take what is stored of it, and record what the invariant rejects."""
        self._asked: list[Candidate] = []
        self._known: dict[int, float | None] = {}
        self._out: set[int] = set()
        if self.finished:
            return
        generation = self.generation
        points, redrawn = self._optimizer.ask(self._acceptable if self.search.untrainable == "redraw" else _always)
        rows = {row["member"]: row for row in self.store.candidates(generation)}
        for member, row in rows.items():
            if not 0 <= member < self.search.population or not self._is_point(row["theta"]):
                raise InputError(
                    f"{self.store.path} is damaged (candidate {member} of generation {generation} is none of this "
                    "search); restore a copy or start in another directory"
                )
            stored = np.array(row["theta"], dtype=np.float64)
            if not np.allclose(stored, points[member], rtol=AGREEMENT, atol=AGREEMENT) and not self._warned:
                self._warned = True
                warnings.warn(
                    f"the candidates of generation {generation} differ from the stored ones (another machine's linear "
                    "algebra); the stored ones stand",
                    stacklevel=4,
                )
            points[member] = stored
        losses = self._loss(points)
        exact, published = (is_trainable(losses, self.classes, form).tolist() for form in ("exact", "published"))
        for member, row in rows.items():
            exact[member], published[member] = bool(row["exact"]), bool(row["published"])
        self._asked = [
            Candidate(
                generation,
                member,
                tuple(points[member].tolist()),
                losses[member],
                exact[member],
                published[member],
                redrawn[member],
            )
            for member in range(self.search.population)
        ]
        self._known = {member: row["fitness"] for member, row in rows.items()}
        rejected = [candidate for candidate in self.pending() if not self._passes(candidate)]
        if rejected:
            self.store.add_candidates(_row(Result(candidate, None, "untrainable")) for candidate in rejected)
            self._known |= {candidate.member: None for candidate in rejected}

    def _is_point(self, theta: Any) -> bool:
        if not isinstance(theta, list) or len(theta) != self.space.dimensions:
            return False
        return all(isinstance(x, int | float) and np.isfinite(x) for x in theta)

    def _passes(self, candidate: Candidate) -> bool:
        return {"none": True, "exact": candidate.exact, "published": candidate.published}[self.search.invariant]

    def _acceptable(self, point: NDArray[np.float64]) -> bool:
        if self.search.invariant == "none":
            return True
        return bool(is_trainable(self._loss(point[None]), self.classes, self.search.invariant)[0])

    def _loss(self, points: NDArray[np.float64]) -> Loss:
        return self.space.build(torch.from_numpy(points), self.classes)

    def loss_of(self, row: Mapping[str, Any]) -> Loss:
        """The loss of a stored candidate."""
        return self._stored(row).loss

    def _stored(self, row: Mapping[str, Any]) -> Candidate:
        point = np.array([row["theta"]])
        return Candidate(
            row["generation"],
            row["member"],
            tuple(row["theta"]),
            self._loss(point)[0],
            bool(row["exact"]),
            bool(row["published"]),
            row["redrawn"],
        )


def _row(result: Result) -> dict[str, Any]:
    candidate = result.candidate
    return {
        "generation": candidate.generation,
        "member": candidate.member,
        "theta": list(candidate.theta),
        "status": result.status,
        "fitness": result.fitness,
        "scores": list(result.scores),
        "exact": int(candidate.exact),
        "published": int(candidate.published),
        "redrawn": candidate.redrawn,
        "seconds": result.seconds,
        "figures": {name: list(values) for name, values in result.figures.items()},
    }


def _completed(document: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """A document with the defaults of what it lacks."""
    found = dict(document)
    for key, value in defaults.items():
        if isinstance(value, dict) and isinstance(found.get(key, {}), dict):
            found[key] = _completed(found.get(key, {}), value)
        else:
            found.setdefault(key, value)
    return found


def _always(_: object) -> bool:
    return True


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _pruned(part) for key, part in value.items() if part is not None}
    return value
