"""What a page shows of a study: all that its directory holds, read as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any, Self

from pydantic import Field, model_validator

from lossmith.analysis import CALIBRATION, Comparison, Deciding, Robustness
from lossmith.errors import InputError
from lossmith.io import read_json
from lossmith.losses import Loss, load, read_loss_document
from lossmith.report.formulas import Formulas
from lossmith.report.summary import LARGEST_COMPARISON, Compared, Row, summary_of
from lossmith.report.web.learned import Curve, curves_of, nameless
from lossmith.schema import Document, conforming
from lossmith.study import EVOLVED, Store, Study

ATTACK = "attack "


class Tested(Document):
    """A difference of two means, as ``comparison.json`` has it."""

    difference: float
    low: float
    high: float
    p: float


class PairOfRows(Document):
    """A test of a comparison."""

    first: str
    second: str
    result: Tested
    holm: float


class WholeRow(Row):
    """A loss of a comparison."""

    strengths: str
    lr: float | None
    epochs: int | None
    stop: int | None
    tried: int
    tuning: float | None
    runs: list[dict[str, float | int | str | None]]


class WholeComparison(Compared):
    """All of ``comparison.json`` that a page shows."""

    rows: list[WholeRow]  # type: ignore[assignment]
    pairs: list[PairOfRows]
    wrong_labels: float = 0.0
    tested_on: str = "test"
    effort: str = ""

    @model_validator(mode="after")
    def _is_drawable(self) -> Self:
        column = Deciding(**self.objective.model_dump()).column("validation")
        runs = [run for row in self.rows for run in row.runs]
        wanted = {column} | (set(CALIBRATION) if any("ece" in run for run in runs) else set())
        for name in sorted(wanted):
            if not all(run.get(name, "") is None or isinstance(run.get(name), int | float) for run in runs):
                raise ValueError(f"a network has no number for {name!r}")
        return self


class Ahead(Document):
    """How far a winner is ahead of the best known loss on validation data."""

    known: str
    mean: float
    error: float | None
    clear: bool


class KeptAttack(Document):
    """What a page shows of an attack on a loss beside arrays."""

    name: str
    epsilons: tuple[float, ...] = Field(min_length=1)
    samples: dict[str, int] = Field(min_length=1)


class WinnersOrigin(Document):
    """What a winner was."""

    kind: str


class Provenance(Document):
    """Where a winner comes from, as ``best.json`` has it; version 0.1 said less."""

    origin: WinnersOrigin | None = None
    gain: Ahead | None = None
    lr: float | None = None
    training: str | None = None
    class_weight: list[float] | None = None


class BestFile(Document):
    """What of ``best.json`` a page shows beside the loss."""

    provenance: Provenance = Provenance()


@dataclass(frozen=True)
class Findings:
    """A study.

    Args:
        directory: Where it lives.
        summary: As ``lossmith show`` has it.
        by: What fitness is.
        classes: n, where it is known.
        candidates: Stored rows.
        finalists: Stored rows.
        winner: The winning loss of an ended search.
        provenance: Where that comes from.
        comparison: The last one.
        behind: What else ``comparison.json`` says.
        curves: Of the losses of the comparison.
        attacks: Every attack, the last one first, with a record for each loss.
        versions: That the study began with.
        study: Builds the losses of candidates; None where its space or settings are not known here.
        formulas: What a search over formulas went through; None for another one.
    """

    directory: Path
    summary: dict[str, Any]
    by: Deciding
    classes: int | None
    candidates: list[dict[str, Any]]
    finalists: list[dict[str, Any]]
    winner: Loss | None = None
    provenance: Provenance = field(default_factory=Provenance)
    comparison: Comparison | None = None
    behind: dict[str, Any] = field(default_factory=dict)
    curves: list[Curve] = field(default_factory=list)
    attacks: list[list[Robustness]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    study: Study | None = None
    formulas: Formulas | None = None

    @property
    def name(self) -> str:
        """That of the directory, wherever it lies: a page may be sent to somebody."""
        return self.directory.resolve().name

    @property
    def best(self) -> str:
        """The winner's file, as a command beside the directory names it."""
        return quote(f"{self.name}/best.json")

    @property
    def evolved(self) -> bool:
        """Whether the winner was found by the search, and is no known loss."""
        origin = self.provenance.origin
        return origin is None or origin.kind in EVOLVED

    @property
    def leading(self) -> str | None:
        """The name of the row of a comparison that a page is about: the winner, or the best loss that was given."""
        if self.comparison is None:
            return None
        given = [row for row in self.comparison.rows if not row.baseline]
        if self.winner is not None:
            body = nameless(self.winner)
            same = [row for row in self.comparison.rows if nameless(Loss.from_json(row.loss)) == body]
            given = [row for row in same if not row.baseline] or same
        return given[0].name if given else None


def findings(directory: Path) -> Findings:
    """All that a page shows of a study; a running one can be read, too.

    Raises:
        InputError: if there is no study, or something in it is damaged.
    """
    with Store(directory, readonly=True) as store:
        read = summary_of(store)
        summary, candidates, finalists = read.document, read.candidates, read.finalists
        versions, data = store.setting("versions") or {}, summary["data"]
        comparison, behind = _comparison(directory / "comparison.json")
        curves = [] if comparison is None else curves_of(store, comparison)
        attacks = _attacks(store)
    study = _opened(directory)
    for row in candidates:
        # Pages draw an array of generations.
        if row["generation"] >= len(candidates) or row["member"] >= 2**32:
            where = f"candidate {row['member']} of generation {row['generation']} is none of its search"
            raise InputError(f"{directory / 'study.db'} is damaged ({where}); restore a copy of it")
    best = directory / "best.json"
    winner = load(best) if finalists and best.exists() else None
    remedy = "restore a copy of it, or run lossmith evolve again"
    kept = conforming(BestFile, read_loss_document(best), str(best), remedy).provenance if winner else Provenance()
    classes = study.classes if study is not None else data["classes"] if data else None
    return Findings(
        directory,
        summary,
        Deciding(**summary["metric"]),
        classes,
        candidates,
        finalists,
        winner,
        kept,
        comparison,
        behind,
        curves,
        attacks,
        versions,
        study,
        read.formulas,
    )


def _opened(directory: Path) -> Study | None:
    """The study, closed, to build losses by; None where its space is not registered here, which the page says."""
    try:
        with Study.load(directory, readonly=True) as study:
            return study
    except InputError:
        return None


def _comparison(path: Path) -> tuple[Comparison | None, dict[str, Any]]:
    if not path.exists():
        return None, {}
    remedy = "remove it and run lossmith compare again"
    document = read_json(path, LARGEST_COMPARISON, remedy)
    known = conforming(WholeComparison, document, str(path), remedy).model_dump()
    try:
        found = Comparison.from_json({key: value for key, value in known.items() if value is not None})
        for row in found.rows:
            Loss.from_json(row.loss)
    except InputError as error:
        raise InputError(f"{path} is damaged ({error}); {remedy}") from None
    rest = {name: document.get(name) for name in ("settings", "data", "options")}
    return found, {name: value for name, value in rest.items() if isinstance(value, dict)}


def _drawable(attacks: list[Robustness]) -> list[Robustness]:
    """The losses of one attack, which all have its strengths; ValueError or InputError if they have not."""
    for one in attacks:
        conforming(KeptAttack, vars(one), f"the attack on {one.name}", "attack it again")
        if one.epsilons != attacks[0].epsilons:
            raise ValueError(f"{one.name} was attacked with other strengths than {attacks[0].name}")
    return attacks


def _attacks(store: Store) -> list[list[Robustness]]:
    """Every attack that was kept, the last one first."""
    kept = [store.records(name) for name in reversed(store.analyses()) if name.startswith(ATTACK)]
    try:
        return [_drawable([Robustness.from_json(document) for document in records.values()]) for records in kept]
    except (InputError, KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise InputError(
            f"{store.path} is damaged (what it holds of an attack cannot be read); restore a copy of it"
        ) from None
