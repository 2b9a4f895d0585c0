"""Ask, call, tell: a search for one's own function of a loss, here or in other processes."""

from __future__ import annotations

import math
import operator
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossmith.errors import InputError, brief
from lossmith.losses import Loss
from lossmith.study.budget import parsed_time
from lossmith.study.records import FITNESS, Candidate, Result, error_line, told
from lossmith.training import Call, Executor, Local, Outcome, running

if TYPE_CHECKING:
    from lossmith.study.asking import Callback
    from lossmith.study.study import Study

Objective = Callable[[Loss], float | Mapping[str, float]]
Catch = tuple[type[Exception], ...]


@dataclass(frozen=True)
class Answer:
    """What a function gave for a loss.

    Args:
        value: A fitness, or figures by name.
        error: What it raised instead, in one line.
    """

    value: Any = None
    error: str | None = None


@dataclass(frozen=True)
class Question:
    """A call of a function with a loss: a value that can be pickled.

    Args:
        function: The function.
        loss: The loss.
        catch: Exceptions that are an answer.
    """

    function: Objective
    loss: Loss
    catch: Catch

    def __call__(self, _: Callable[[float], None]) -> Answer:
        """What the function gives."""
        try:
            return Answer(self.function(self.loss))
        except self.catch as error:
            return Answer(error=error_line(error))


@dataclass(frozen=True)
class Budget:
    """How long a search goes on.

    Args:
        trials: The most trials; None for no bound.
        until: When no other trial is begun.
    """

    trials: int | None
    until: float

    @staticmethod
    def of(n_trials: Any, timeout: Any) -> Budget:
        """The budget of what a user gives.

        Raises:
            InputError: if it is none.
        """
        try:
            most = None if n_trials is None else operator.index(n_trials)
        except TypeError:
            most = 0
        if most is not None and most < 1:
            raise InputError(f"n_trials is {brief(n_trials)}; give a whole number from 1, or None for no bound")
        return Budget(most, math.inf if timeout is None else time.monotonic() + parsed_time(timeout))

    def left(self, done: int) -> float:
        """How many more trials may be begun after so many."""
        if time.monotonic() >= self.until:
            return 0
        return math.inf if self.trials is None else self.trials - done


def optimized(
    study: Study,
    function: Objective,
    budget: Budget,
    catch: Catch | type[Exception],
    executor: Executor | str | None,
    callbacks: Sequence[Callback],
) -> None:
    """Ask, call and tell until the search or a budget ends; arguments and errors as :meth:`Study.optimize`."""
    if not callable(function):
        raise InputError(f"optimize calls a function with a loss; {brief(function)} is none")
    caught = catch if isinstance(catch, tuple) else (catch,)
    if not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in caught):
        raise InputError(f"catch is {brief(catch)}; give kinds of exceptions, such as (ValueError, OSError), or ()")
    if executor is not None and not isinstance(executor, str) and not hasattr(executor, "run"):
        raise InputError(f'the executor is {brief(executor)}; give "local", "processes", or one that runs')
    check_callbacks(callbacks)
    done = 0
    with running(executor) as runs:
        while budget.left(done) > 0:
            # In this process one is asked for at a time, so that a budget ends between two.
            most = 1 if isinstance(runs, Local) else budget.left(done)
            batch = _asked(study, most)
            if not batch:
                return
            calls = [Call(Question(function, one.loss, caught), "the function") for one in batch]
            done += _tried(study, batch, runs.run(calls), budget, callbacks)


def check_callbacks(callbacks: Any) -> None:
    """See that callbacks can be called.

    Raises:
        InputError: if they are no list of functions.
    """
    if not isinstance(callbacks, list | tuple) or not all(map(callable, callbacks)):
        raise InputError(f"callbacks is {brief(callbacks)}; give a list of functions of the study and the trial")


def _asked(study: Study, most: float) -> list[Candidate]:
    """At most so many candidates of the generation in work; none when the search is over."""
    found = list[Candidate]()
    while len(found) < most and (not found or study.has_more()):
        candidate = study.ask(wait=True)
        if candidate is None:
            break
        found.append(candidate)
    return found


def _tried(
    study: Study,
    batch: Sequence[Candidate],
    outcomes: Iterator[Outcome],
    budget: Budget,
    callbacks: Sequence[Callback],
) -> int:
    """Tell what came of candidates, and give back those that were not come to; how many were told."""
    done = 0
    try:
        for candidate, outcome in zip(batch, outcomes, strict=False):
            study.record([_result(candidate, outcome.result, outcome.seconds)], callbacks)
            done += 1
            if time.monotonic() >= budget.until:
                break
    finally:
        if isinstance(outcomes, Generator):
            # What workers are at is left.
            outcomes.close()
        study.give_back(batch[done:])
    return done


def _result(candidate: Candidate, answer: Answer, seconds: float) -> Result:
    if answer.error is not None:
        return Result(candidate, None, "failed", seconds=seconds, error=answer.error)
    value, figures = answer.value, dict[Any, Any]()
    if isinstance(value, Mapping):
        figures = dict(value)
        if FITNESS not in figures:
            raise InputError(
                f"the function gave figures without {FITNESS!r} ({brief(list(figures))}); let it give that one, too"
            )
        value = figures.pop(FITNESS)
    return told(candidate, value, figures, seconds)
