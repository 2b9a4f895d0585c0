"""The user's own training function: how it is called, what it may give, and when it is stopped."""

from __future__ import annotations

import functools
import inspect
import math
import statistics
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lossmith.errors import InputError, brief, printable
from lossmith.losses import Criterion, Loss
from lossmith.metrics import higher_is_better
from lossmith.study.pareto import PRUNED
from lossmith.study.records import FITNESS, error_line

LONGEST_TRACE = 20_000
# So many earlier trainings that reported are needed before one is found hopeless.
FEWEST = 5
PARTS = frozenset({"validation", "test"})
OWN = ("criterion", "seed", "lr", "report")
Curve = tuple[tuple[float, float], ...]
"""What a training has reported: the share of it that was done, and its score then."""


class ContractError(InputError):
    """The function gives something else than it must: that is no matter of a single training."""


class HopelessError(BaseException):
    """Ends a training function from within; no ``except Exception`` of the user's catches it."""


@dataclass(frozen=True)
class TrainFunction:
    """A function that trains a network with a loss and scores it.

    It is called as ``function(criterion, seed, **settings)``, with ``lr=`` where it takes a learning rate, and with
    ``report=`` where it takes that.

    Args:
        function: The function.
        settings: What it is called with besides.
        lr: The learning rate that it begins from; None if it takes none.
        metric: Which of its scores decides, if it gives several by name.

    Raises:
        InputError: if it cannot be called so.
    """

    function: Callable[..., Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    lr: float | None = None
    metric: str | None = None

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise InputError(f"train is {brief(self.function)}; give a function, train(criterion, seed)")
        taken = next((name for name in OWN if name in self.settings), None)
        if taken is not None:
            raise InputError(f"the training function gets {taken} from the search; leave it out of its settings")
        try:
            parameters = inspect.signature(self.function).parameters
            given = {**self.settings, **({} if self.lr is None else {"lr": self.lr})}
            given |= {"report": print} if "report" in parameters else {}
            inspect.signature(self.function).bind(None, 0, **given)
        except TypeError as error:
            raise InputError(
                f"the training function {self.name} cannot be called with (criterion, seed"
                f"{''.join(f', {name}=…' for name in given)}): {error}; let it take these"
            ) from None
        except ValueError:
            raise InputError(
                f"the parameters of {self.name} are not known; wrap it in a function of your own"
            ) from None

    @staticmethod
    def of(
        function: Callable[..., Any],
        settings: Mapping[str, Any] | None = None,
        lr: float | None = None,
        metric: str | None = None,
    ) -> TrainFunction:
        """The function, with the learning rate that is given, or that its parameter ``lr`` has by default.

        Raises:
            InputError: if it cannot be called so, or has a parameter ``lr`` and no rate is known.
        """
        if callable(function) and lr is None:
            try:
                own = inspect.signature(function).parameters.get("lr")
            except (TypeError, ValueError):
                own = None
            if own is not None and isinstance(own.default, int | float):
                lr = float(own.default)
            elif own is not None:
                raise InputError(
                    f"the training function {name_of(function)} takes a learning rate, and none is known: give "
                    "lr=…, or its parameter lr a default, from which rates are tuned"
                )
        return TrainFunction(function, dict(settings or {}), lr, metric)

    @property
    def name(self) -> str:
        """What a study knows it by."""
        return name_of(self.function)

    @property
    def sign(self) -> float:
        """−1 where less of the score that decides is better, by what it is called."""
        return 1.0 if self.metric is None or higher_is_better(self.metric) else -1.0

    def run(
        self, loss: Loss, seed: int, lr: float | None, rule: MedianRule | None, progress: Callable[[float], None]
    ) -> Trial:
        """One training.

        Raises:
            InputError: if the function gives no score, or reports none.
        """
        curve: list[tuple[float, float]] = []

        def report(score: float, progress_: float) -> None:
            given, share = _number(score, f"{self.name} reported the score"), _share(progress_, self.name)
            progress(share)
            if math.isfinite(given):
                curve.append((share, self.sign * given))
                if rule is not None and rule.is_hopeless(curve):
                    raise HopelessError

        options = {**self.settings}
        if self.lr is not None:
            options["lr"] = self.lr if lr is None else lr
        if "report" in inspect.signature(self.function).parameters:
            options["report"] = lambda score, progress: report(score, progress)
        try:
            answer = self.function(Criterion(loss), seed, **options)
        except HopelessError:
            return Trial({}, {}, tuple(curve), pruned=True)
        except ContractError:
            raise
        except Exception as error:
            trace = "".join(traceback.format_exception(error))[-LONGEST_TRACE:]
            return Trial({}, {}, tuple(curve), error=error_line(error), trace=trace)
        validation, test = _parts(answer, self.name)
        return Trial(self._scores(validation), self._scores(test) if test is not None else {}, tuple(curve))

    def _scores(self, given: Any) -> dict[str, float]:
        """Scores by name, the fitness among them."""
        if not isinstance(given, Mapping):
            return {FITNESS: self.sign * _number(given, f"{self.name} returned")}
        if not all(isinstance(name, str) for name in given):
            raise ContractError(f"{self.name} returned scores by {brief(list(given))}; let their names be texts")
        scores = {name: _number(value, f"{self.name} returned for {name}") for name, value in given.items()}
        if PRUNED in scores:
            raise ContractError(
                f"{self.name} returned a score called {PRUNED!r}, which a study keeps for itself; rename it"
            )
        deciding = self.metric or (FITNESS if FITNESS in scores else next(iter(scores)) if len(scores) == 1 else None)
        if deciding is None:
            raise ContractError(
                f"{self.name} returned the scores {', '.join(scores) or 'nothing'}; say which one decides: metric=…"
            )
        if self.metric is None and not higher_is_better(deciding):
            raise ContractError(
                f"{self.name} returned {deciding}, of which less is better: say that it decides, metric={deciding!r}"
            )
        if deciding not in scores:
            raise ContractError(
                f"{self.name} returned the scores {', '.join(scores) or 'nothing'}, and the metric is {deciding!r}; "
                "let it return that one, too"
            )
        return {**scores, FITNESS: self.sign * scores[deciding]}


@dataclass(frozen=True)
class Trial:
    """What one training gave.

    Args:
        scores: Its scores by name on validation data, ``"fitness"`` among them; empty if it raised or was stopped.
        test: The same on test data, if the function gives them.
        curve: What it reported, but for what is no finite number.
        error: What it raised, in one line.
        trace: The traceback of that.
        pruned: Whether it was stopped as hopeless.
    """

    scores: dict[str, float]
    test: dict[str, float]
    curve: Curve = ()
    error: str | None = None
    trace: str | None = None
    pruned: bool = False


@dataclass(frozen=True)
class MedianRule:
    """A training is hopeless if its best score so far is below the median of what earlier ones had by then.

    Args:
        curves: Of the trainings of earlier generations.
    """

    curves: tuple[Curve, ...]

    def is_hopeless(self, curve: Sequence[tuple[float, float]]) -> bool:
        """Whether a training is that has reported so much; never as long as fewer than five others are known."""
        share = curve[-1][0]
        best = [max(scores) for known in self.curves if (scores := [one for at, one in known if at <= share])]
        return len(best) >= FEWEST and max(score for _, score in curve) < statistics.median(best)


@dataclass(frozen=True)
class Trials:
    """Trainings of some losses with some seeds each, by the user's function: a value that can be pickled.

    Args:
        function: The function.
        losses: The losses.
        seeds: Of each of them.
        lr: The learning rate.
        rule: Which of them are hopeless.
    """

    function: TrainFunction
    losses: tuple[Loss, ...]
    seeds: tuple[int, ...]
    lr: float | None
    rule: MedianRule | None = None

    def __call__(self, progress: Callable[[float], None]) -> list[list[Trial]]:
        """The trials of each loss."""
        total, found = len(self.losses) * len(self.seeds), list[list[Trial]]()
        for place, loss in enumerate(self.losses):
            row = list[Trial]()
            for number, seed in enumerate(self.seeds):
                done = place * len(self.seeds) + number

                def within(share: float, done: int = done) -> None:
                    progress((done + share) / total)

                row.append(self.function.run(loss, seed, self.lr, self.rule, within))
                within(1.0)
            found.append(row)
        return found


def name_of(function: Any) -> str:
    """What a study knows a function by: the same name is the same function."""
    inner = function.func if isinstance(function, functools.partial) else function
    return printable(str(getattr(inner, "__qualname__", type(inner).__qualname__)))


def _parts(answer: Any, name: str) -> tuple[Any, Any]:
    """What stands for validation and for test data, None where there is none."""
    if isinstance(answer, Mapping) and "validation" in answer and answer.keys() <= PARTS:
        return answer["validation"], answer.get("test")
    if isinstance(answer, Mapping) and answer.keys() == {"test"}:
        raise ContractError(f"{name} returned scores of test data alone; let it return those of validation data, too")
    if isinstance(answer, tuple | list):
        if len(answer) != 2:
            raise ContractError(
                f"{name} returned {len(answer)} values; let it return one score, scores by name, or those of "
                "validation and test data"
            )
        return answer[0], answer[1]
    return answer, None


def _number(value: Any, what: str) -> float:
    try:
        return float("" if isinstance(value, bool | str | bytes) else value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise ContractError(f"{what} {brief(value)}, which is no number; let it be one (higher is better)") from None


def _share(value: Any, name: str) -> float:
    share = _number(value, f"{name} reported the progress")
    if not 0 <= share <= 1 or math.isnan(share):
        raise ContractError(f"{name} reported the progress {share:g}; give the share that is done, from 0 to 1")
    return share
