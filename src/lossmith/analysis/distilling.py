"""Distillation: what each term of a loss is worth, and the smallest loss that is not worse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from lossmith.analysis.baselines import Family
from lossmith.analysis.curves import CurveTuning
from lossmith.analysis.deciding import Deciding
from lossmith.analysis.judging import judge
from lossmith.analysis.records import Chunks, Plan, Report, Row, Samples, Tuned
from lossmith.analysis.tuning import Axis
from lossmith.errors import InputError
from lossmith.losses import Loss, PowerLoss, Term
from lossmith.metrics import Difference, welch
from lossmith.training import Executor, Local, Task

ALL = "all terms"
CROSS_ENTROPY = Term(0, 1, 1)


@dataclass(frozen=True)
class Trial:
    """A loss with some terms left out and the others tuned again, beside the whole loss.

    Args:
        row: The loss, how it is trained, and the figures of fresh networks on validation data.
        dropped: The terms that it lacks, as text, in the order in which they were left out; the last is on trial.
        terms: How many it has.
        worth: By how much the mean of the whole loss is better; None without finite figures. Its interval has the
            level ``1 − 0.05 / k`` in a round of k trials (Bonferroni): all of a round hold together at 95 %.
    """

    row: Row
    dropped: tuple[str, ...]
    terms: int
    worth: Difference | None


@dataclass(frozen=True)
class Distillation:
    """The outcome of a distillation.

    Args:
        whole: The whole loss, tuned like all others.
        rounds: What was tried in each round.
        taken: The number of the trial that was gone on with in each round; None where none was good enough.
        margin: How much worse a loss may be.
        tested: The whole and the smallest loss with figures on test data; once, at the end.
        without_effect: Terms of the loss that reach no gradient.
        deciding: The figure that decides.
    """

    whole: Trial
    rounds: list[list[Trial]]
    taken: list[int | None]
    margin: float
    tested: list[Row]
    without_effect: tuple[str, ...]
    deciding: Deciding

    def __repr__(self) -> str:
        """How many terms are left, and which were left out."""
        left = self.smallest
        dropped = f", without {', '.join(left.dropped)}" if left.dropped else ""
        return f"Distillation({left.terms} of {self.whole.terms} terms left{dropped})"

    @property
    def smallest(self) -> Trial:
        """The loss that is left."""
        left = [trials[place] for trials, place in zip(self.rounds, self.taken, strict=True) if place is not None]
        return left[-1] if left else self.whole

    @property
    def worth(self) -> Difference | None:
        """By how much the whole loss is better than what is left on test data, at 95 %; None without finite figures."""
        column = self.deciding.column("test")
        return _difference(self.tested[0].column(column), self.tested[-1].column(column), self.deciding)

    def to_json(self) -> dict[str, Any]:
        """Everything, as a JSON object."""
        return {
            "objective": self.deciding.to_json(),
            "margin": self.margin,
            "without_effect": list(self.without_effect),
            "whole": asdict(self.whole),
            "rounds": [[asdict(trial) for trial in trials] for trials in self.rounds],
            "taken": self.taken,
            "tested": [asdict(row) for row in self.tested],
            "worth": None if self.worth is None else asdict(self.worth),
        }


def term_text(term: Term) -> str:
    """A term as tables call it: ``h² y``."""
    return PowerLoss((term,), torch.ones(1, dtype=torch.float64)).formula()


def acting_terms(loss: Loss) -> tuple[PowerLoss, tuple[str, ...]]:
    """A loss less the terms that reach no gradient, and these as text.

    Raises:
        InputError: if it is a population, or no sum of terms, or nothing of it acts.
    """
    if not isinstance(loss, PowerLoss) or loss.shape:
        raise InputError(
            f"{loss.name!r} is no sum of terms of one loss but of the kind {loss.kind}; distill a sum of powers, as a "
            "search in the space residual, canonical or taylor writes it"
        )
    acting = loss.acting()
    zeros = [term for term, value in zip(acting.terms, acting.coefficients.tolist(), strict=True) if value == 0]
    acting = _without(acting, *zeros)
    if not acting.terms:
        raise InputError(f"{loss.name!r} has no term that reaches a gradient; distill another loss")
    return acting, tuple(term_text(term) for term in loss.terms if term not in acting.terms)


def scaled_family(loss: PowerLoss, name: str) -> Family:
    """A loss whose coefficients are tuned by factors of 2, but for one, whose part the learning rate has.

    That is y log h, or the largest one where there is none.
    """
    values = loss.coefficients.tolist()
    anchor = max(range(len(values)), key=lambda place: (loss.terms[place] == CROSS_ENTROPY, abs(values[place])))
    free = [place for place in range(len(values)) if place != anchor]
    axes = tuple(Axis(term_text(loss.terms[place]), _factor, 0, 0, -3, 3) for place in free)

    def build(strengths: tuple[float, ...], _: int) -> Loss:
        factors = [1.0] * len(values)
        for place, strength in zip(free, strengths, strict=True):
            factors[place] = strength
        return replace(loss, coefficients=loss.coefficients * loss.coefficients.new_tensor(factors))

    return Family(name, axes, build, baseline=False)


def distill(
    task: Task,
    validation: Samples,
    test: Callable[[], Samples],
    loss: Loss,
    plan: Plan,
    margin: float,
    *,
    executor: Executor | None = None,
    recall: Callable[[str], Any] = lambda _: None,
    keep: Callable[[str, Any, float], None] = lambda *_: None,
    report: Report = lambda *_: None,
) -> Distillation:
    """Leave out terms one by one, as long as what is left is not worse than the whole loss by more than a margin.

    In each round every term that is left is left out on trial. Each time learning rate, number of epochs and the other
    coefficients are tuned again, and fresh networks are measured on validation data. A trial is good enough if the
    interval of what the whole loss is better by (Welch; unit: a network; Bonferroni within the round) ends at the
    margin or below; the best of those is gone on with. That several rounds follow each other, and that the best is
    taken, is not corrected for: the whole and the smallest loss are measured on test data, once, which judges.

    Args:
        task: What is trained on what.
        validation: Inputs and class indices.
        test: Gives the test inputs and class indices; called once, at the end.
        loss: The loss.
        plan: How.
        margin: In the unit of the deciding figure.
        executor: Runs the trainings; this process without it.
        recall: Gives a stored result for a key, or None.
        keep: Stores a result, so that a distillation that was stopped goes on.
        report: Called with the phase and the share of it that is done.

    Raises:
        InputError: as :func:`acting_terms`.
    """
    chunks, executor = Chunks(recall, keep), executor or Local()
    current, idle = acting_terms(loss)

    def measured(losses: dict[str, PowerLoss], phase: str) -> list[tuple[Tuned, Row]]:
        def tell(what: str, done: float) -> None:
            report(f"{phase}: {what}", done)

        families = [scaled_family(one, name) for name, one in losses.items()]
        tuned = CurveTuning(task, validation, families, plan, executor, chunks, tell).tune()
        rows = judge(task, validation, lambda: validation, tuned, plan, executor, chunks, tell, "distilling")
        return list(zip(tuned, rows, strict=True))

    dropped = tuple[str, ...]()
    ((best, row),) = measured({ALL: current}, ALL)
    whole = Trial(row, (), len(current.terms), None)
    chosen, current = best, _tuned_loss(best, task.classes)
    rounds, taken = list[list[Trial]](), list[int | None]()
    while len(current.terms) > 1:
        without = {term_text(term): _without(current, term) for term in current.terms}
        found = measured(without, f"{len(current.terms) - 1} of {whole.terms} terms")
        trials = [
            Trial(row, (*dropped, name), len(without[name].terms), _worth(whole.row, row, plan.deciding, len(without)))
            for name, (_, row) in zip(without, found, strict=True)
        ]
        place = _best(trials, margin, plan.deciding)
        rounds.append(trials)
        taken.append(place)
        if place is None:
            break
        chosen, dropped = found[place][0], trials[place].dropped
        current = _tuned_loss(chosen, task.classes)
    smallest = chosen if chosen is best else replace(chosen, family=replace(chosen.family, name="smallest"))
    tested = judge(
        task, validation, test, [best] if chosen is best else [best, smallest], plan, executor, chunks, report
    )
    return Distillation(whole, rounds, taken, margin, tested, idle, plan.deciding)


def _without(loss: PowerLoss, *dropped: Term) -> PowerLoss:
    kept = [place for place, term in enumerate(loss.terms) if term not in dropped]
    return replace(loss, terms=tuple(loss.terms[place] for place in kept), coefficients=loss.coefficients[kept])


def _factor(place: int) -> float:
    return 2.0**place


def _tuned_loss(tuned: Tuned, classes: int) -> PowerLoss:
    loss = tuned.loss(classes)
    assert isinstance(loss, PowerLoss)
    return loss


def _worth(whole: Row, row: Row, deciding: Deciding, trials: int) -> Difference | None:
    column = deciding.column("validation")
    return _difference(whole.column(column), row.column(column), deciding, 1 - 0.05 / trials)


def _difference(
    whole: Sequence[float | None], other: Sequence[float | None], deciding: Deciding, level: float = 0.95
) -> Difference | None:
    """How much better the whole loss is, in the deciding figure, above 0 where it is better."""
    sign = deciding.sign
    first, second = ([sign * value for value in values if value is not None] for values in (whole, other))
    if len(first) < len(whole) or len(second) < len(other):
        return None
    return welch(first, second, level=level)


def _best(trials: Sequence[Trial], margin: float, deciding: Deciding) -> int | None:
    """The number of the best trial that is good enough; its figures are finite."""
    good = [place for place, trial in enumerate(trials) if trial.worth is not None and trial.worth.high <= margin]
    column = deciding.column("validation")
    return max(good, key=lambda place: deciding.sign * trials[place].row.mean(column), default=None)
