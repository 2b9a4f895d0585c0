"""Where a study stands, as a document: read from its directory, which is left as it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from lossmith.analysis import Deciding
from lossmith.errors import InputError, printable
from lossmith.io import read_json
from lossmith.losses import Loss, load
from lossmith.report.formulas import Formulas, formulas_of
from lossmith.schema import Document, conforming
from lossmith.study import (
    Store,
    finalists_of,
    judged_by,
    modernized,
    pruned_trainings,
    rejected_by_generation,
    summed,
    tuning_of,
)

# Fifty thousand networks fill it.
LARGEST_COMPARISON = 2**24


class Searched(Document):
    """The size of a search."""

    population: int = Field(ge=1)
    generations: int = Field(ge=1)


class Judged(Document):
    """The objective of a search, where a study has one that a command named."""

    metric: str
    record: list[str] = Field(default_factory=list)
    epsilon: float
    gradient: str


class Run(Document):
    """What a study does besides its search."""

    tune: bool = False


class Trained(Document):
    """How its networks are trained."""

    lr: float | None = None


class Stored(Document):
    """What of a study's settings is shown."""

    search: Searched
    run: Run = Run()
    recipe: Trained = Trained()
    objective: Judged | None = None
    model: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """Where a study stands, and the rows that it was told by, which take long to read where they are many.

    Args:
        document: As :func:`summarize` gives it.
        candidates: Stored rows.
        finalists: Stored rows.
        formulas: What a search over formulas went through; None for another one.
    """

    document: dict[str, Any]
    candidates: list[dict[str, Any]]
    finalists: list[dict[str, Any]]
    formulas: Formulas | None


def summarize(directory: Path) -> dict[str, Any]:
    """Settings, data, candidates, finalists, winner and comparison of a study; a running one can be read, too.

    Raises:
        InputError: if there is no study, or something in it is damaged.
    """
    if directory.is_file() and (directory.parent / "study.db").exists():
        raise InputError(f"{directory} is a file; give the directory of its study, {quote(str(directory.parent))}")
    with Store(directory, readonly=True) as store:
        return summary_of(store).document


def summary_of(store: Store) -> Summary:
    """The same of a study that is open.

    Raises:
        InputError: if something in it is damaged.
    """
    directory = store.path.parent
    rate = store.setting("rate")
    untuned = "the learning rate of the search" if rate is None else "known losses"
    untuned = "" if store.setting("known losses") is not None else untuned
    tuning, rejected = tuning_of(store), rejected_by_generation(store)
    settings, rows, finalists = store.setting("settings"), store.candidates(), store.finalists("final")
    settings = None if settings is None else modernized(settings, begun=True)[0]
    data, function, broken = store.setting("data"), store.function, store.setting("breakdown")
    by = judged_by(store)
    remedy = "restore a copy of it, or choose another directory"
    known = None if settings is None else conforming(Stored, settings, f"{store.path} (settings)", remedy)
    formulas = formulas_of(settings, rows, rejected)
    if settings is not None and function is not None:
        settings = {**settings, "objective": {"function": function}}
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["status"]] = counts.get(row["status"], 0) + 1
    place, comparison = directory / "best.json", directory / "comparison.json"
    winner = load(place) if finalists and place.exists() else None
    begun = settings is not None or comparison.exists()
    state = "ended" if winner is not None else _state(known, rows, untuned) if begun else "stopped in its first moments"
    wanted = 0 if known is None or broken is not None else known.search.population * known.search.generations
    if winner is not None and len(rows) < wanted:
        state += f", but {wanted - len(rows)} of {wanted} candidates are missing (lossmith evolve trains them again)"
    if broken is not None:
        state += (
            f"; its search engine broke down in generation {broken['generation']} ({printable(str(broken['why']))})"
        )
    document = {
        "state": state,
        "settings": settings,
        "data": data,
        "tuning": tuning,
        "metric": by.to_json(),
        "candidates": counts,
        "rejected": summed(rejected),
        "formulas": None if formulas is None else formulas.to_json(),
        "dropped": pruned_trainings(rows),
        "best": max((row["fitness"] for row in rows if row["fitness"] is not None), default=None),
        "finalists": finalists_of(finalists, None if known is None else known.recipe.lr),
        "winner": None if winner is None else repr(winner),
        "comparison": _compared(comparison, winner) if comparison.exists() else None,
    }
    return Summary(document, rows, finalists, formulas)


def _state(settings: Stored | None, rows: Sequence[dict[str, Any]], untuned: str) -> str:
    if settings is None:
        return "no search, only comparisons"
    if settings.run.tune and untuned and not rows:
        return f"tuning {untuned}, before the search"
    search = settings.search
    done = len(rows) // search.population
    if done == search.generations:
        return f"all {done} generations are done"
    return f"in generation {done + 1} of {search.generations}"


class Decided(Document):
    """The figure that decides a comparison; those of older versions were of accuracy."""

    name: str = "accuracy"
    higher_is_better: bool = True
    share: bool = True


class Row(Document):
    """A loss of a comparison, and the figures of its networks."""

    name: str
    baseline: bool
    loss: dict[str, Any]
    runs: Annotated[list[dict[str, Any]], Field(min_length=1)]


class Guessed(Document):
    """What an answer gets that is the same for every sample."""

    answer: str
    value: float


class Compared(Document):
    """What of ``comparison.json`` is shown."""

    rows: list[Row]
    best_baseline: str
    objective: Decided = Decided()
    guess: Guessed | None = None

    @property
    def column(self) -> str:
        """Where a run has the figure that decides."""
        return Deciding(**self.objective.model_dump()).column("test")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.best_baseline not in {row.name for row in self.rows}:
            raise ValueError("the best baseline is none of its losses")
        figures = [run.get(self.column, "") for row in self.rows for run in row.runs]
        if not all(value is None or isinstance(value, float) for value in figures):
            raise ValueError(f"a network has no number for {self.column!r}")
        return self

    def mean(self, row: Row) -> str:
        """The mean of the figure that decides; a dash where one of the networks has none."""
        figures = [run[self.column] for run in row.runs]
        return "–" if None in figures else f"{sum(figures) / len(figures):.4f}"


def _compared(path: Path, winner: Loss | None) -> str:
    remedy = "remove it and run lossmith compare again"
    found = conforming(Compared, read_json(path, LARGEST_COMPARISON, remedy), str(path), remedy)
    try:
        keys = [Loss.from_json(row.loss).key() for row in found.rows]
    except InputError as error:
        raise InputError(f"{path} is damaged ({error}); {remedy}") from None
    stale = winner is not None and winner.key() not in keys
    means, best = {row.name: found.mean(row) for row in found.rows}, found.best_baseline
    shown = [f"{row.name} {means[row.name]}" for row in found.rows if not row.baseline]
    guess = [] if found.guess is None else [f"{found.guess.answer} {found.guess.value:.4f}"]
    text = ", ".join([*shown, f"best baseline ({best}) {means[best]}", *guess])
    return printable(f"test {found.objective.name}: {text}") + (" (the winner is not in it)" if stale else "")
