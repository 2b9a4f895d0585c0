"""What one candidate costs: the ordinary PyTorch loop against lossmith, network by network.

    python benchmarks/candidate_cost.py [--models mlp conv mnist-cnn allcnn-c preresnet-20] [--threads 1 2]
    python benchmarks/candidate_cost.py --device cuda --models allcnn-c --precision bfloat16 --compiled

A candidate is a network that is built, trained for a number of batches with a loss of the residual space, and looked at
once; its cost is the time of all that. The opponents are the two loops of `benchmarks/ordinary.py`, one network at a
time: ``ordinary`` with a ``DataLoader``, and ``ordinary, indexed`` without one; networks that convolve are trained by
both with memory in channels-last order, too. Against each of them stand lossmith's ways of training, ``population``
with as many candidates at once as told, and with ``--compiled`` the compiled ways (without the time it takes to
compile). With ``--precision bfloat16`` all sides run in it, and ``ordinary, float32`` is one opponent more.

All sides are measured in turn, after a run that is not counted, and each has the number of threads that suits it best.
The images of MNIST's and CIFAR-10's shape are random numbers: what a step costs does not depend on what is on them.
"""

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from machine import CPU, add_device, compared, ranged, say, seconds, with_threads, write
from ordinary import ResidualLoss, Samples, accuracy, fit
from torch import Tensor

from lossmith.data import DataSettings, Normalize, open_source, search_parts
from lossmith.nets import ModelSettings, network_factory
from lossmith.search import residual
from lossmith.seeds import generator
from lossmith.training import Backend, Recipe, Task, Trainer, has_compiler

CIFAR = (3, 32, 32)
SHAPES = {"mnist-cnn": (1, 28, 28), "alexnet": CIFAR, "allcnn-c": CIFAR, "preresnet-20": CIFAR, "wrn-16-8": CIFAR}
MODELS = ("mlp", "conv", "mnist-cnn", "allcnn-c", "preresnet-20")
TARGETS = {("allcnn-c", "cuda"): 5.0}


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
    "wrn-16-8": Size(128, 2, 2),
}
GPU_SIZES = {
    "mnist-cnn": Size(128, 200, 28),
    "allcnn-c": Size(128, 100, 20),
    "preresnet-20": Size(128, 100, 20),
    "wrn-16-8": Size(128, 50, 20),
}


@dataclass(frozen=True)
class Opponent:
    """One way to train a candidate by the ordinary loop.

    Args:
        task: The network, and its samples on the device that trains.
        samples: The normalised samples where this loop wants them.
        channels_last: Whether memory is in channels-last order.
    """

    task: Task
    samples: Samples
    channels_last: bool = False

    def candidate(self, recipe: Recipe, point: list[float]) -> float:
        """One candidate; its accuracy on one batch."""
        task, size = self.task, recipe.batch_size
        network = task.build(0).get_submodule("1")
        layout = torch.channels_last if self.channels_last else torch.preserve_format
        if self.channels_last:
            network.to(memory_format=layout)  # type: ignore[call-overload]
        batches = self.samples.batches(size, 0, pinned=task.device.type == "cuda")
        loss = ResidualLoss(*point)
        fit(network, batches, loss, recipe.lr, recipe.momentum, recipe.epochs, recipe.steps, recipe.precision, layout)
        seen = self.samples.inputs[:size].to(task.device, memory_format=layout)
        return accuracy(network, seen, task.targets[:size])


def task_of(model: str, samples: int, device: torch.device = CPU) -> Task:
    """A network and data of its usual shape: the digits, or random images."""
    if model in SHAPES:
        random = generator("candidate cost", model)
        inputs = torch.randint(256, (samples, *SHAPES[model]), generator=random, dtype=torch.uint8)
        targets = torch.arange(samples) % 10
    else:
        part = search_parts(open_source("digits"), DataSettings(train_size=min(samples, 800))).train
        inputs, targets = part.inputs, part.targets
    factory = network_factory(ModelSettings(name=model), Normalize.fit(inputs), inputs.shape[1:], 10)
    return Task(factory, inputs.to(device), targets.to(device), 10)


def opponents_of(task: Task) -> dict[str, Opponent]:
    """The ordinary loops that suit a network; the first is the plainest."""
    inputs = task.build(0).get_submodule("0")(task.inputs)
    by_loader, indexed = (Samples.of(inputs, task.targets, by_index) for by_index in (False, True))
    found = {"ordinary": Opponent(task, by_loader), "ordinary, indexed": Opponent(task, indexed)}
    if convolves(task):
        turned = Samples.of(inputs.contiguous(memory_format=torch.channels_last), task.targets, True)
        found["ordinary, channels last"] = Opponent(task, by_loader, channels_last=True)
        found["ordinary, indexed, channels last"] = Opponent(task, turned, channels_last=True)
    return found


def convolves(task: Task) -> bool:
    """Whether a network has convolutions of images."""
    return any(weight.ndim == 4 for weight in task.build(0).parameters())


def backends_of(task: Task, compiled: bool) -> list[str]:
    """Lossmith's ways of training that suit a network."""
    backends = ["sequential", "population", *["sequential-channels-last"] * convolves(task)]
    compiled_backends = [
        "sequential-compiled",
        "vmap-compiled",
        *["sequential-channels-last-compiled"] * convolves(task),
    ]
    return backends + compiled_backends * compiled


def lossmith_candidates(trainer: Trainer, recipe: Recipe, points: Tensor, backend: str) -> None:
    """Some candidates in one of lossmith's ways."""
    trainer.train(residual(points, trainer.task.classes), [0] * len(points), recipe, backend)


def each(work: Callable[[], object], candidates: int, device: torch.device) -> float:
    """Seconds of some work for each of the candidates that it trains."""
    return seconds(work, device) / candidates


def warmed(work: Callable[[], float]) -> float:
    """What some work gives the second time."""
    work()
    return work()


def points_of(population: int) -> Tensor:
    """Points of the residual space, the same for every benchmark."""
    return 0.3 * torch.randn(population, 5, generator=generator("points"), dtype=torch.float64)


def measured(
    task: Task | Trainer, recipe: Recipe, population: int, threads: list[int], pairs: int, backends: list[str]
) -> dict[str, Any]:
    """Seconds a candidate on every side, and each ordinary loop's against each way of lossmith.

    A trainer that is given has compiled before what it is to run.
    """
    trainer = Trainer.of(task)
    task, points = trainer.task, points_of(population)
    first, sides = points[0].tolist(), dict[str, Callable[[], float]]()
    for name, opponent in opponents_of(task).items():
        sides[name] = partial(each, partial(opponent.candidate, recipe, first), 1, task.device)
        if name == "ordinary" and recipe.precision != "float32":
            whole = recipe.model_copy(update={"precision": "float32"})
            sides["ordinary, float32"] = partial(each, partial(opponent.candidate, whole, first), 1, task.device)
    opponents = list(sides)
    for backend in backends:
        members = points if Backend.parse(backend).population else points[:1]
        candidates = partial(lossmith_candidates, trainer, recipe, members, backend)
        sides[backend] = partial(each, candidates, len(members), task.device)
    by_threads = {name: with_threads(threads, partial(warmed, work)) for name, work in sides.items()}
    best = {name: min(found, key=found.__getitem__) for name, found in by_threads.items()}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(pairs):
        for name, work in sides.items():
            times[name].append(with_threads([best[name]], work)[best[name]])
        say(f"pair {number + 1} of {pairs}")
    middle = {name: statistics.median(taken) for name, taken in times.items()}
    return {
        "threads": best,
        "seconds_by_threads": by_threads,
        "seconds": middle,
        "fastest_way": min(backends, key=middle.__getitem__),
        "against": {
            name: {backend: compared(times[name], times[backend]) for backend in backends} for name in opponents
        },
    }


def report(model: str, device: torch.device, found: dict[str, Any]) -> list[str]:
    """The figures of one network as lines of text."""
    fastest, steps, threads = found["fastest_way"], found["size"]["steps"], found["threads"]
    lines = [f"{model}, {device}: lossmith's backends against"]
    for name, pairs in found["against"].items():
        cost = found["seconds"][name] / steps * 1e3
        lines.append(f"  {name}, {cost:.2f} ms a batch, {threads[name]} threads")
        lines += [f"    {backend:30} {ranged(pair)}, {threads[backend]} threads" for backend, pair in pairs.items()]
    target = TARGETS.get((model, device.type))
    if target is not None:
        ratio = found["against"]["ordinary"][fastest]["ratio"]
        verdict = "held" if ratio >= target else "not held"
        lines.append(f"  target, {target:g} × over the ordinary loop: {verdict} ({ratio:.2f} ×, {fastest})")
    return lines


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads that are tried")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--steps", type=int, help="batches of a training, instead of each network's own number")
    parser.add_argument("--population", type=int, help="candidates at once, instead of each network's own number")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--compiled", action="store_true", help="measure lossmith's compiled ways as well")
    parser.add_argument("--quick", action="store_true", help="three pairs, a quarter of the batches")
    parser.add_argument("--out", type=Path)
    add_device(parser)
    given = parser.parse_args(arguments)
    device = given.device
    if given.compiled and not has_compiler(device):
        parser.error("--compiled needs a C++ compiler, which this machine lacks: install g++, or leave it out")
    document: dict[str, Any] = {}
    for model in given.models:
        sizes = {**SIZES, **GPU_SIZES} if device.type == "cuda" else SIZES
        size = sizes.get(model, sizes["conv"])
        steps = given.steps or (max(2, size.steps // 4) if given.quick else size.steps)
        size = Size(size.batch, steps, given.population or size.population)
        task = task_of(model, max(32 * size.batch, 256), device)
        recipe = Recipe(batch_size=size.batch, steps=size.steps, lr=0.01, precision=given.precision)
        say(model)
        pairs = 3 if given.quick else given.pairs
        found = measured(task, recipe, size.population, given.threads, pairs, backends_of(task, given.compiled))
        document[model] = {"size": vars(size), "precision": given.precision, **found}
        print("\n".join(report(model, device, document[model])), flush=True)
    write("candidate-cost", {"models": document}, given.out, device)


if __name__ == "__main__":
    main()
