"""What robustness costs: a candidate of the robust objective against a plain one, adversarial training, and a basin.

    python benchmarks/adversary.py [--threads 2] [--json FILE]

Digits, MLP 64-128-10, 800 training and 500 validation samples, 15 epochs, 40 candidates at once; all ratios are medians
of pairs that are run one after the other. The basin: 51 points, 8 networks, 3 directions, test part.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lossmith.analysis import (
    AttackPlan,
    MetricObjective,
    Objective,
    ObjectiveSettings,
    basin,
    robustness,
    train_loss,
)
from lossmith.data import DataSettings
from lossmith.losses import Loss, cross_entropy
from lossmith.study import EvolveSettings, Problem
from lossmith.training import Recipe, train

CANDIDATES, PAIRS = 40, 5


def seconds(work: Callable[[], Any]) -> float:
    """How long some work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def ratio(first: Callable[[], Any], second: Callable[[], Any], pairs: int = PAIRS) -> dict[str, float]:
    """Median seconds of two works, run in turn, and the median of their ratios."""
    first(), second()
    times = [(seconds(first), seconds(second)) for _ in range(pairs)]
    return {
        "first": statistics.median(one for one, _ in times),
        "second": statistics.median(other for _, other in times),
        "ratio": statistics.median(one / other for one, other in times),
    }


def measured() -> dict[str, Any]:
    """All figures."""
    settings = EvolveSettings(data=DataSettings(train_size=800, validation_size=500), recipe=Recipe(epochs=15))
    job = Problem.open(settings)
    losses = Loss.stack([cross_entropy()] * CANDIDATES)
    seeds = [0] * CANDIDATES

    def candidates(objective: Objective, recipe: Recipe = settings.recipe) -> Callable[[], Any]:
        return lambda: objective(train(job.task, losses, seeds, recipe), *job.validation)

    accuracy = MetricObjective("accuracy")
    plain = candidates(accuracy)
    robust = {
        name: candidates(ObjectiveSettings.model_validate({"metric": "robust-accuracy", "gradient": name}).build())
        for name in ("worst", "loss")
    }
    adversaries = {
        name: candidates(accuracy, settings.recipe.model_copy(update={"adversary": name})) for name in ("fgsm", "pgd")
    }
    trained_loss = train_loss(job.task, "cross-entropy", cross_entropy(), range(8), settings.recipe)
    inputs, targets = job.test()
    max_pixel = job.task.max_pixel
    assert max_pixel is not None
    whole = AttackPlan(epsilons=(0.1,), attacks=("fgsm", "pgd"))
    return {
        "robust_objective": {name: ratio(work, plain) for name, work in robust.items()},
        "adversarial_training": {name: ratio(work, plain, 3) for name, work in adversaries.items()},
        "basin": statistics.median(
            seconds(lambda: basin(trained_loss, inputs, targets, hessian_samples=0)) for _ in range(PAIRS)
        ),
        "basin_with_eigenvalue": statistics.median(
            seconds(lambda: basin(trained_loss, inputs, targets)) for _ in range(PAIRS)
        ),
        "attack": seconds(lambda: robustness(trained_loss, inputs, targets, max_pixel, whole)),
    }


def main() -> None:
    """Print the figures, and write them to a file if one is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    found = measured()
    for name, one in found["robust_objective"].items():
        print(f"robust objective, gradient {name}: {one['ratio']:.2f} × a plain candidate")
    for name, one in found["adversarial_training"].items():
        print(f"adversarial training, {name}: {one['ratio']:.1f} × a plain candidate")
    print(f"basin of 8 networks, 3 directions, 51 points: {found['basin']:.2f} s")
    print(f"with the largest Hessian eigenvalue of each: {found['basin_with_eigenvalue']:.2f} s")
    print(f"fgsm and pgd (20 steps), three gradients each, 8 networks: {found['attack']:.2f} s")
    if given.json:
        machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
        document = {"machine": machine, "threads": given.threads, "torch": torch.__version__, **found}
        given.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
