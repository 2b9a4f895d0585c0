"""The judgement of a comparison: fresh networks of each tuned loss on test data, and the tests between losses."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from lossmith.analysis.curves import tuned_recipe
from lossmith.analysis.deciding import Deciding
from lossmith.analysis.jobs import Part, each_loss, is_number, results_of
from lossmith.analysis.records import Chunks, Comparison, Pair, Plan, Report, Row, Samples, Tuned
from lossmith.analysis.trained import batched
from lossmith.losses import Loss
from lossmith.metrics import (
    accuracy,
    calibration_error,
    finite,
    holm,
    negative_log_likelihood,
    temperature,
    tempered,
    to_lists,
    welch,
)
from lossmith.seeds import derive
from lossmith.training import Executor, Task, Trained

CALIBRATION = ("nll", "ece", "temperature", "nll_scaled", "ece_scaled")
Runs = list[dict[str, Any]]


def judge(
    task: Task,
    validation: Samples,
    test: Callable[[], Samples],
    tuned: Sequence[Tuned],
    plan: Plan,
    executor: Executor,
    chunks: Chunks,
    report: Report,
    purpose: str = "final",
) -> list[Row]:
    """Figures of fresh networks of each tuned loss; each purpose has networks of its own."""
    seeds = [derive(plan.seed, "comparison", purpose, number) for number in range(plan.seeds)]
    groups: dict[tuple[float, int, int], list[Tuned]] = {}
    for choice in tuned:
        groups.setdefault((choice.lr, choice.epochs, choice.stop), []).append(choice)
    samples = test()
    together: list[list[Tuned]] = []
    parts: list[Part] = []
    for (lr, epochs, stop), members in groups.items():
        recipe = tuned_recipe(plan, lr, epochs)
        for chunk in batched(members, plan.chunk // len(seeds)):
            losses = [choice.loss(task.classes) for choice in chunk]
            labels = [{"loss": loss.key(), "lr": lr, "epochs": epochs, "stop": stop} for loss in losses]
            measure = partial(_judged, validation, samples, seeds, plan.deciding)
            judge = plan.deciding.judge(recipe)
            job = each_loss(task, losses, seeds, recipe, plan.backend, measure, stop=stop, judge=judge)
            together.append(chunk)
            key, fits = (
                json.dumps({purpose: labels, "seeds": seeds}),
                partial(_are_runs, len(chunk), seeds, plan.deciding),
            )
            parts.append(Part(key, job, stop * len(chunk), fits))
    results = results_of(parts, executor, chunks, partial(report, f"{purpose} networks"))
    runs: dict[str, Runs] = {
        choice.family.name: rows
        for chunk, result in zip(together, results, strict=True)
        for choice, rows in zip(chunk, result, strict=True)
    }
    return [_row(choice, choice.loss(task.classes), runs[choice.family.name]) for choice in tuned]


def concluded(rows: list[Row], deciding: Deciding) -> Comparison:
    """The tests of each loss and the first, and of each given loss and each baseline, corrected together.

    A loss with a network whose figure is not finite has the worst mean and no test.
    """
    reference, test = rows[0], deciding.column("test")

    def height(row: Row) -> float:
        mean = deciding.sign * row.mean(deciding.column("validation"))
        return mean if math.isfinite(mean) else -math.inf

    best = max((row for row in rows if row.baseline), key=height)
    wanted = [(row, reference) for row in rows[1:]]
    wanted += [(row, other) for row in rows if not row.baseline for other in rows[1:] if other.baseline]
    wanted = [pair for pair in wanted if all(None not in row.column(test) for row in pair)]
    results = [welch(first.column(test), second.column(test), deciding.higher_is_better) for first, second in wanted]
    corrected = holm([result.p for result in results])
    pairs = [
        Pair(first.name, second.name, result, p)
        for (first, second), result, p in zip(wanted, results, corrected, strict=True)
    ]
    return Comparison(sorted(rows, key=height, reverse=True), pairs, best.name, deciding)


def _judged(
    validation: Samples,
    test: Samples,
    seeds: list[int],
    deciding: Deciding,
    trained: Trained,
    _: Callable[[float], None],
) -> list[Runs]:
    """Figures of the networks of each loss, one for each seed."""
    networks = trained.networks
    on_validation, on_test = networks.logits(validation[0]), networks.logits(test[0])
    figures = [
        {"seed": seed, "validation": right, "test": share, **_calibration(seen, validation[1], new, test[1])}
        for seed, right, share, seen, new in zip(
            seeds * (len(networks) // len(seeds)),
            accuracy(on_validation, validation[1]).tolist(),
            accuracy(on_test, test[1]).tolist(),
            on_validation,
            on_test,
            strict=True,
        )
    ]
    if deciding.objective is not None:
        for part, (inputs, targets) in (("validation", validation), ("test", test)):
            values = deciding.sign * deciding.fitness(trained, inputs, targets).cpu()
            for figure, value in zip(figures, to_lists(values.numpy()), strict=True):
                figure[deciding.column(part)] = value
    return batched(figures, len(seeds))


def _are_runs(count: int, seeds: list[int], deciding: Deciding, result: Any) -> bool:
    """Whether a result is of ``count`` losses, each with a network of each seed."""
    return (
        isinstance(result, list)
        and len(result) == count
        and all(isinstance(runs, list) and len(runs) == len(seeds) for runs in result)
        and all(_is_run(run, seed, deciding) for runs in result for run, seed in zip(runs, seeds, strict=True))
    )


def _is_run(run: Any, seed: int, deciding: Deciding) -> bool:
    accuracies = {"validation", "test"}
    unbounded = {*CALIBRATION, *map(deciding.column, accuracies)} - accuracies
    return (
        isinstance(run, dict)
        and run.keys() == {"seed", *accuracies, *unbounded}
        and run["seed"] == seed
        and is_number(run["validation"])
        and is_number(run["test"])
        and all(run[name] is None or is_number(run[name]) for name in unbounded)
    )


def _calibration(seen: Tensor, seen_targets: Tensor, new: Tensor, new_targets: Tensor) -> dict[str, float | None]:
    """Figures of one network, the temperature fitted on samples seen before; none for one that is not finite."""
    if not bool(finite(seen[None]) & finite(new[None])):
        return dict.fromkeys(CALIBRATION)
    known, logits = seen.double().cpu().numpy(), new.double().cpu().numpy()
    known_targets, targets = seen_targets.cpu().numpy(), new_targets.cpu().numpy()
    scale = temperature(known, known_targets)
    scaled = tempered(logits, scale)
    found = {
        "nll": negative_log_likelihood(logits, targets),
        "ece": calibration_error(logits, targets),
        "temperature": scale,
        "nll_scaled": negative_log_likelihood(scaled, targets),
        "ece_scaled": calibration_error(scaled, targets),
    }
    return {name: value if math.isfinite(value) else None for name, value in found.items()}


def _row(tuned: Tuned, loss: Loss, runs: Runs) -> Row:
    return Row(
        name=tuned.family.name,
        baseline=tuned.family.baseline,
        strengths=tuned.family.describe(tuned.place),
        lr=tuned.lr,
        epochs=tuned.epochs,
        stop=tuned.stop,
        tried=tuned.tried,
        tuning=tuned.validation,
        loss=loss.to_json(),
        runs=runs,
    )
