"""What is stored of a study, which can be read without asking how its search goes on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossmith.errors import InputError
from lossmith.losses import Loss
from lossmith.markup import Child, element, named_rows
from lossmith.search import SearchSettings, Space
from lossmith.study.filters import rejected_by_generation, summed
from lossmith.study.frame import frame
from lossmith.study.generation import losses_of
from lossmith.study.judged import judged_by
from lossmith.study.pareto import pareto_front
from lossmith.study.records import Candidate
from lossmith.study.rows import damaged
from lossmith.study.store import Store

if TYPE_CHECKING:
    from lossmith.study.frame import DataFrame

LOST = ("untrainable", "diverged", "failed")


class StoredStudy:
    """The candidates of a study and what came of them.

    Args:
        directory: Where the study lives.
        classes: Number of classes of the classifier.
        search: The settings of the search.
        space: Whose genomes are stored.
    """

    store: Store

    def __init__(self, directory: Path, classes: int, search: SearchSettings, space: Space) -> None:
        self.directory, self.classes, self.search, self.space = directory, classes, search, space

    @property
    def best_value(self) -> float:
        """The highest fitness.

        Raises:
            InputError: if no candidate has a fitness.
        """
        value = self.store.best_fitness()
        if value is None:
            raise self._nothing()
        return value

    @property
    def best_loss(self) -> Loss:
        """The loss of :meth:`best`.

        Raises:
            InputError: if no candidate has a fitness.
        """
        return self.best().loss

    @property
    def trials(self) -> DataFrame:
        """All stored candidates as a pandas DataFrame, a row for each, by generation and member.

        It has ``generation``, ``member``, ``status``, ``fitness``, ``error`` (of one that failed), ``seconds``,
        ``exact`` and ``published`` (whether the invariant holds), ``redrawn``, the mean of each other figure by its
        name, and the genome: ``x0``, ``x1``, … where it is a vector, else ``genome``.

        Raises:
            InputError: if pandas is not installed.
        """
        return frame(self.store.candidates())

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

    def rejected(self) -> dict[str, int]:
        """How many draws the filters of the search engine rejected, by the reason; nothing was trained with these."""
        return summed(rejected_by_generation(self.store))

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
            raise self._nothing()
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

    def _repr_html_(self) -> str:
        """How far it is, for a notebook."""
        counts, by = self.counts(), judged_by(self.store)
        done, search = self.store.generations(), self.search
        rows: list[tuple[str, Child]] = [
            ("space", f"{search.space}, {self.classes} classes"),
            ("generations", f"{done} of {search.generations}, with {search.population} candidates each"),
            (
                "candidates",
                ", ".join([str(counts["candidates"]), *(f"{counts[one]} {one}" for one in LOST if counts[one])]),
            ),
        ]
        if counts["best"] is not None:
            rows += [
                (f"best {by.called}", f"{by.sign * counts['best'] + 0.0:.6g}, one of many noisy values"),
                ("its loss", element("code", self.best_loss.formula())),
            ]
        return named_rows(f"Study {self.directory}", rows)

    def loss_of(self, row: Mapping[str, Any]) -> Loss:
        """The loss of a stored candidate."""
        return self._stored(row).loss

    def _nothing(self) -> InputError:
        return InputError(f"no candidate of the study in {self.directory} has a fitness yet; tell one first")

    def _stored(self, row: Mapping[str, Any]) -> Candidate:
        place = f"candidate {row['member']} of generation {row['generation']}"
        if not self.space.holds(row["genome"]):
            raise damaged(self.store.path, f"{place} is none of this search")
        try:
            loss = losses_of(self.space, [row["genome"]], self.classes, self.search.space)[0]
        except InputError as error:
            raise damaged(self.store.path, f"{place} gives no loss: {error}") from None
        return Candidate.stored(row, loss)
