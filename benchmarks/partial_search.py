"""How long a search by partial training would take at the authors' settings: an extrapolation.

    python benchmarks/partial_search.py [--device cuda] [--precision bfloat16] [--compiled] [--candidates 1000]

The authors train each candidate for a part of the schedule: 2,000 batches on MNIST, a tenth of the epochs on 45,000
images of CIFAR-10 (AllCNN-C 35, AlexNet 16, PreResNet-20 and WRN-16-8 20), batches of 128, SGD with momentum 0.9,
weight decay, crop and flip on CIFAR-10, in generations of 28 and 20. Measured are one batch of a whole generation (the
median of some, in each of lossmith's ways) and the accuracy of its networks on 5,000 validation images. The time of the
search is extrapolated from these two in the fastest way, and never run to its end; building networks, compiling, and
the search's own bookkeeping are left out. The images are random numbers of the right shape.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from candidate_cost import backends_of, points_of, task_of
from machine import add_device, median_seconds, say, write

from lossmith.losses import Loss
from lossmith.search import residual
from lossmith.training import Backend, Recipe, Task, Trainer, accuracy, has_compiler, measure, train

VALIDATION, EPOCH, HOUR = 5000, 45_000 // 128, 3600.0
CIFAR = {"batch_size": 128, "crop": 4, "flip": True}


@dataclass(frozen=True)
class Partial:
    """The authors' partial training of a network.

    Args:
        batches: Batches that a candidate is trained for.
        population: Candidates in a generation.
        recipe: How.
    """

    batches: int
    population: int
    recipe: Recipe


SETTINGS = {
    "mnist-cnn": Partial(2000, 28, Recipe(batch_size=128, lr=0.01)),
    "alexnet": Partial(16 * EPOCH, 20, Recipe.model_validate({**CIFAR, "lr": 0.1, "weight_decay": 5e-4})),
    "allcnn-c": Partial(35 * EPOCH, 20, Recipe.model_validate({**CIFAR, "lr": 0.01, "weight_decay": 1e-3})),
    "preresnet-20": Partial(20 * EPOCH, 20, Recipe.model_validate({**CIFAR, "lr": 0.1, "weight_decay": 1e-4})),
    "wrn-16-8": Partial(20 * EPOCH, 20, Recipe.model_validate({**CIFAR, "lr": 0.1, "weight_decay": 5e-4})),
}


def extrapolated(batch: float, judging: float, batches: int, population: int, candidates: int) -> float:
    """Seconds of a search from those of one batch of a generation and of judging it."""
    return candidates / population * (batches * batch + judging)


def judging_seconds(task: Task, losses: Loss, recipe: Recipe, validation: int) -> float:
    """Seconds of the accuracy of a generation on so many validation samples; training samples stand for them."""
    networks = train(task, losses, [0] * len(losses), recipe.model_copy(update={"steps": 1})).networks
    repeats = -(-validation // len(task.inputs))
    inputs = task.inputs.repeat(repeats, *(1,) * (task.inputs.ndim - 1))[:validation]
    targets = task.targets.repeat(repeats)[:validation]
    return median_seconds(lambda: accuracy(networks.logits(inputs), targets), 3, warm=1, device=task.device)


def measured(
    task: Task,
    partial: Partial,
    population: int,
    candidates: int,
    backends: list[str],
    recipe: Recipe,
    validation: int | None = None,
) -> dict[str, Any]:
    """What was measured of one network, and what follows."""
    losses = residual(points_of(population), task.classes)
    trainer = Trainer(task)
    by_backend = {
        backend: measure(trainer, losses, [0] * population, recipe, Backend.parse(backend), budget=1.0)
        for backend in backends
    }
    fastest = min(by_backend, key=by_backend.__getitem__)
    judging = judging_seconds(task, losses, recipe, validation or VALIDATION)
    return {
        "population": population,
        "candidates": candidates,
        "batches": partial.batches,
        "seconds_of_a_batch_of_a_generation": by_backend,
        "seconds_of_judging_a_generation": judging,
        "fastest_way": fastest,
        "extrapolated_seconds": extrapolated(by_backend[fastest], judging, partial.batches, population, candidates),
        "recipe": recipe.model_dump(mode="json"),
    }


def report(model: str, found: dict[str, Any]) -> str:
    """The figures of one network as a line of text."""
    hours = found["extrapolated_seconds"] / HOUR
    batch = found["seconds_of_a_batch_of_a_generation"][found["fastest_way"]] / found["population"]
    verdict = "held" if hours < 1 else "not held"
    return (
        f"{model}: {batch * 1e3:.3f} ms a batch and candidate ({found['fastest_way']}, {found['population']} at once); "
        f"extrapolated, not run: {found['candidates']} candidates of {found['batches']} batches in {hours:.2f} h; "
        f"target, under an hour: {verdict}"
    )


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--population", type=int, help="candidates at once, instead of the authors' number")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--compiled", action="store_true", help="try lossmith's compiled ways as well")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path)
    add_device(parser)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    if given.compiled and not has_compiler(given.device):
        parser.error("--compiled needs a C++ compiler, which this machine lacks: install g++, or leave it out")
    document: dict[str, Any] = {}
    for model in given.models:
        partial = SETTINGS[model]
        task = task_of(model, 32 * partial.recipe.batch_size, given.device)
        recipe = partial.recipe.model_copy(update={"steps": partial.batches, "precision": given.precision})
        say(model)
        document[model] = measured(
            task,
            partial,
            given.population or partial.population,
            given.candidates,
            backends_of(task, given.compiled),
            recipe,
        )
        print(report(model, document[model]), flush=True)
    write("partial-search", {"models": document}, given.out, given.device)


if __name__ == "__main__":
    main()
