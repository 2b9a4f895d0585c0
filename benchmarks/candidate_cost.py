"""What one candidate costs: the ordinary PyTorch loop against lossmith, network by network.

    python benchmarks/candidate_cost.py [--models mlp conv mnist-cnn allcnn-c preresnet-20] [--threads 1 2]

A candidate is a network that is built, trained for a number of batches with a loss of the residual space, and looked at
once; its cost is the time of all that. ``ordinary`` is `benchmarks/ordinary.py`, one network at a time; against it
stand lossmith's ways of training, ``population`` with as many candidates at once as told. Told besides: the ordinary
loop with memory in channels-last order (``ordinary, channels last``) and a step of lossmith compiled (``--compiled``,
without the time it takes to compile). Each pair is measured in turn, and every side has the number of threads that
suits it best. The images of MNIST's and CIFAR-10's shape are random numbers: what a step costs does not depend on what
is on them.
"""

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch
from machine import compared, ranged, say, seconds, with_threads, write
from ordinary import ResidualLoss, accuracy, fit, loader

from lossmith.data import DataSettings, open_source, search_parts
from lossmith.nets import ModelSettings, network_factory
from lossmith.search import residual
from lossmith.seeds import generator
from lossmith.training import Recipe, Task, train
from lossmith.training.trainer import Way, measure

SHAPES = {"mnist-cnn": (1, 28, 28), "allcnn-c": (3, 32, 32), "preresnet-20": (3, 32, 32)}
MODELS = ("mlp", "conv", *SHAPES)


@dataclass(frozen=True)
class Size:
    """How much of a network is measured.

    Args:
        batch: Samples in a batch.
        steps: Batches of a training.
        population: Candidates trained at once.
    """

    batch: int
    steps: int
    population: int


SIZES = {
    "mlp": Size(50, 160, 48),
    "conv": Size(50, 64, 48),
    "mnist-cnn": Size(128, 8, 8),
    "allcnn-c": Size(128, 3, 4),
    "preresnet-20": Size(128, 4, 4),
}


def task_of(model: str, samples: int) -> Task:
    """A network and data of its usual shape: the digits, or random images."""
    if model in SHAPES:
        random = generator("candidate cost", model)
        inputs = torch.randint(256, (samples, *SHAPES[model]), generator=random, dtype=torch.uint8)
        targets = torch.arange(samples) % 10
    else:
        part = search_parts(open_source("digits"), DataSettings(train_size=min(samples, 800))).train
        inputs, targets = part.inputs, part.targets
    return Task(network_factory(ModelSettings(model=model), inputs, 10), inputs, targets, 10)


def ordinary_candidate(task: Task, recipe: Recipe, point: list[float], channels_last: bool = False) -> float:
    """One candidate the ordinary way; its accuracy on one batch."""
    normalise, network = task.build(0).children()
    inputs = normalise(task.inputs)
    if channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    batches = loader(inputs, task.targets, recipe.batch_size, seed=0)
    fit(network, batches, ResidualLoss(*point), recipe.lr, recipe.momentum, recipe.epochs, recipe.steps)
    return accuracy(network, inputs[: recipe.batch_size], task.targets[: recipe.batch_size])


def lossmith_candidates(task: Task, recipe: Recipe, points: torch.Tensor, way: Way) -> None:
    """Some candidates in one of lossmith's ways."""
    train(task, residual(points, task.classes), [0] * len(points), recipe, way)


def measured(model: str, size: Size, threads: list[int], pairs: int, compiled: bool) -> dict[str, Any]:
    """Seconds a candidate on every side, and the ordinary loop's against each."""
    task = task_of(model, max(8 * size.batch, 256))
    recipe = Recipe(batch_size=size.batch, steps=size.steps, lr=0.01)
    points = 0.3 * torch.randn(size.population, 5, generator=generator("points"), dtype=torch.float64)
    first = points[0].tolist()
    sides: dict[str, Callable[[], float]] = {
        "ordinary": lambda: seconds(partial(ordinary_candidate, task, recipe, first))
    }
    convolves = any(weight.ndim == 4 for weight in task.build(0).parameters())
    ways = [way for way in get_args(Way) if convolves or "channels-last" not in way]
    for way in ways:
        if not way.endswith("-compiled"):
            members = points if way == "population" else points[:1]
            sides[way] = partial(each, partial(lossmith_candidates, task, recipe, members, way), len(members))
    if convolves:
        sides["ordinary, channels last"] = lambda: seconds(
            partial(ordinary_candidate, task, recipe, first, channels_last=True)
        )
    by_threads = {name: with_threads(threads, work) for name, work in sides.items()}
    best = {name: min(found, key=found.__getitem__) for name, found in by_threads.items()}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(pairs):
        for name, work in sides.items():
            times[name].append(with_threads([best[name]], work)[best[name]])
        say(f"{model}: pair {number + 1} of {pairs}")
    middle = {name: statistics.median(taken) for name, taken in times.items()}
    found: dict[str, Any] = {
        "size": vars(size),
        "threads": best,
        "seconds_by_threads": by_threads,
        "seconds": middle,
        "fastest_way": min((name for name in sides if name in ways), key=middle.__getitem__),
        "ordinary_against": {name: compared(times["ordinary"], times[name]) for name in sides if name != "ordinary"},
    }
    if compiled:
        losses, step = residual(points[:1], task.classes), {}
        for way in ways:
            if way.startswith("plain") and way.endswith("-compiled"):
                count = best[way.removesuffix("-compiled")]
                work = partial(measure, task, losses, [0], recipe, way, budget=1.0)
                step[way] = with_threads([count], work)[count]
        found["seconds_of_a_compiled_step"] = step
    return found


def each(work: Callable[[], object], candidates: int) -> float:
    """Seconds of some work for each of the candidates that it trains."""
    return seconds(work) / candidates


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads that are tried")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--steps", type=int, help="batches of a training, instead of each network's own number")
    parser.add_argument("--population", type=int, help="candidates at once, instead of each network's own number")
    parser.add_argument("--compiled", action="store_true", help="measure lossmith's compiled step as well")
    parser.add_argument("--quick", action="store_true", help="three pairs, a quarter of the batches")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    document: dict[str, Any] = {}
    for model in given.models:
        size = SIZES.get(model, SIZES["conv"])
        steps = given.steps or (max(2, size.steps // 4) if given.quick else size.steps)
        size = Size(size.batch, steps, given.population or size.population)
        found = measured(model, size, given.threads, 3 if given.quick else given.pairs, given.compiled)
        document[model] = found
        cost = found["seconds"]["ordinary"] / steps * 1e3
        print(f"{model}: ordinary {cost:.2f} ms a batch, {found['threads']['ordinary']} threads; ordinary against")
        for name, pair in found["ordinary_against"].items():
            print(f"    {name:24} {ranged(pair)}, {found['threads'][name]} threads", flush=True)
    write("candidate-cost", {"models": document}, given.out)


if __name__ == "__main__":
    main()
