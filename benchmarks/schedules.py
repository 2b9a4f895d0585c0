"""What a loss that changes in the training costs: trainings with one against trainings with a constant loss.

    python benchmarks/schedules.py [--population 16] [--epochs 30 150] [--pairs 15] [--threads 1]

A population of the space ``residual-schedule`` (two knots) and one of ``residual`` train the same networks on 800
digits, in turn; so does one network with ``Criterion``, whose progress is set before each batch. Everything that a
schedule takes is in it: the losses of its 64 moments are made and prepared in the training, so a short one costs
relatively more. CPU time, so that what else the machine does counts little.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from candidate_cost import task_of
from machine import compared, ranged, write
from torch import nn

from lossmith.losses import Criterion, Loss
from lossmith.search import SearchSettings, build_space
from lossmith.seeds import generator
from lossmith.training import Recipe, Trainer

CLASSES, SAMPLES, BATCH, SPREAD = 10, 800, 50, 0.3
SPACES = ("residual-schedule", "residual")


def losses_of(space: str, population: int) -> Loss:
    """A population near the start of a space; the same losses at the first knot, whichever space it is."""
    settings = SearchSettings(space=space)
    count = settings.knots if space == SPACES[0] else 1
    draws = SPREAD * torch.randn(population, 5, generator=generator("schedules", population), dtype=torch.float64)
    points = torch.cat([draws * (1 + place) for place in range(count)], 1)
    return build_space(settings).build(points.tolist(), CLASSES)


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of some work in this process, all threads together."""
    started = time.process_time()
    work()
    return time.process_time() - started


def in_turn(works: Mapping[str, Callable[[], object]], pairs: int) -> dict[str, Any]:
    """The first work against the second, the order changing from pair to pair."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for number in range(pairs):
        for name in list(works)[:: 1 if number % 2 else -1]:
            found[name].append(cpu_seconds(works[name]))
    return compared(*found.values())


def populations(population: int, epochs: int, pairs: int) -> dict[str, Any]:
    """Whole trainings of a population."""
    trainer, recipe = Trainer(task_of("mlp", SAMPLES)), Recipe(epochs=epochs, batch_size=BATCH, lr=0.01)
    seeds = list(range(population))
    losses = {space: losses_of(space, population) for space in SPACES}
    works = {space: partial(trainer.train, loss, seeds, recipe) for space, loss in losses.items()}
    return in_turn(works, pairs)


def criteria(steps: int, pairs: int) -> dict[str, Any]:
    """Steps of one network in an ordinary loop."""
    random = generator("schedules", "loop")
    inputs, targets = torch.randn(BATCH, 64, generator=random), torch.randint(CLASSES, (BATCH,), generator=random)

    def loop(loss: Loss) -> None:
        network = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, CLASSES))
        optimizer, criterion = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9), Criterion(loss)
        for step in range(steps):
            criterion.progress = step / steps
            optimizer.zero_grad()
            criterion(network(inputs), targets).backward()
            optimizer.step()

    losses = {space: losses_of(space, 1)[0] for space in SPACES}
    return in_turn({space: partial(loop, loss) for space, loss in losses.items()}, pairs)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--population", type=int, default=16)
    parser.add_argument("--epochs", type=int, nargs="+", default=[30, 150])
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    found: dict[str, Any] = {"population": given.population, "batch": BATCH, "steps": {}}
    for epochs in given.epochs:
        steps = epochs * (SAMPLES // BATCH)
        pairs = {
            "population": populations(given.population, epochs, given.pairs),
            "criterion": criteria(steps, given.pairs),
        }
        found["steps"][str(steps)] = pairs
        print(f"a schedule against a constant loss, {steps} steps:")
        for name, pair in pairs.items():
            print(f"    {name:12} {ranged(pair)}")
    write("schedules", found, given.out)


if __name__ == "__main__":
    main()
