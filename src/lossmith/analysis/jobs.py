"""Jobs whose results are kept under a key: what is known is recalled, the rest is run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lossmith.analysis.records import Chunks
from lossmith.losses import Loss
from lossmith.training import Backend, Executor, Figure, Job, Judge, Measure, Recipe, Samples, Task, repeated


class UnreadableError(ValueError):
    """What is kept of a part is not what such a part gives."""


@dataclass(frozen=True)
class Part:
    """A job, and the key of its result.

    Args:
        key: What the result is kept under.
        job: The job.
        work: How much of the whole it is, in any unit.
        fits: Whether a result that is recalled is one of this part.
    """

    key: str
    job: Job
    work: float
    fits: Callable[[Any], bool] = lambda _: True


def is_number(value: Any) -> bool:
    """Whether a value of JSON is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def each_loss(
    task: Task,
    losses: Sequence[Loss],
    seeds: Sequence[int],
    recipe: Recipe,
    backend: Backend,
    measure: Measure,
    monitor: Samples | None = None,
    stop: int | None = None,
    figure: Figure | None = None,
    measuring: float = 0.0,
    judge: Judge | None = None,
) -> Job:
    """The job that trains each loss with each seed, the seeds of the first loss first."""
    population = repeated(Loss.stack(losses), len(seeds))
    all_seeds = tuple(seeds) * len(losses)
    return Job(
        task,
        population,
        all_seeds,
        recipe,
        backend,
        measure,
        monitor=monitor,
        figure=figure,
        judge=judge,
        stop=stop,
        measuring=measuring,
    )


def results_of(
    parts: Sequence[Part], executor: Executor, chunks: Chunks, report: Callable[[float], None] = lambda _: None
) -> list[Any]:
    """The result of each part, in order; what was not known is kept as soon as it is.

    Args:
        parts: Jobs with keys; equal keys stand for one job.
        executor: Runs what is not known.
        chunks: What is known, and where results are kept.
        report: Called with the share of the work that is done.

    Raises:
        UnreadableError: if a result that is known does not fit.
    """
    found = {part.key: chunks.recall(part.key) for part in parts}
    for part in parts:
        if found[part.key] is not None and not part.fits(found[part.key]):
            raise UnreadableError(part.key)
    missing = list({part.key: part for part in parts if found[part.key] is None}.values())
    total = sum(part.work for part in parts) or 1.0
    known = total - sum(part.work for part in missing)
    shares = [0.0] * len(missing)

    def progress(number: int, share: float) -> None:
        shares[number] = share
        report((known + sum(part.work * done for part, done in zip(missing, shares, strict=True))) / total)

    outcomes = executor.run([part.job for part in missing], progress)
    for number, (part, outcome) in enumerate(zip(missing, outcomes, strict=True)):
        found[part.key] = outcome.result
        chunks.keep(part.key, outcome.result, outcome.seconds)
        progress(number, 1.0)
    if not missing:
        report(1.0)
    return [found[part.key] for part in parts]
