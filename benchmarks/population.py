"""How much faster a population trains in one program than one network after another, and how near the machine's rate.

    python benchmarks/population.py [--threads 2] [--device cuda]

Each line is one network at one population size. Both ways are measured in turn in this one run, several times, and
the median of the ratios is printed with their range. "of matmul" is the share of the rate of a large float32 matrix
product, measured between them, that the floating-point operations of the training (forward, backward) reach: plain,
population. "auto/best" is the speed of the way that `auto` chooses against the better one.
"""

import argparse
import statistics

import torch
from machine import CPU, add_device, machine, seconds
from torch.utils.flop_counter import FlopCounterMode

from lossmith.data import DataSettings, Normalize, open_source, search_parts
from lossmith.nets import ModelSettings, network_factory
from lossmith.search import residual
from lossmith.seeds import generator
from lossmith.training import Backend, Recipe, Task, Trainer, measure, measured_choice

ROUNDS = 5


def matmul_rate(size: int = 2048, device: torch.device = CPU) -> float:
    """Floating-point operations a second of a square matrix product."""
    a, b = torch.randn(size, size, device=device), torch.randn(size, size, device=device)
    return 2 * size**3 / min(seconds(lambda: a @ b, device) for _ in range(5))


def operations(task: Task, recipe: Recipe) -> int:
    """Floating-point operations of one batch of one network: forward and backward."""
    network = task.build(0).train()
    with FlopCounterMode(display=False) as counter:
        network(task.inputs[: recipe.batch_size]).sum().backward()
    return int(counter.get_total_flops())


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--populations", type=int, nargs="+", default=[20, 40, 80])
    add_device(parser)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    place = machine(given.device)["device"]
    parts = search_parts(open_source("digits"), DataSettings(train_size=800))
    samples = parts.train.to(given.device)
    recipe = Recipe(batch_size=50)
    print(
        f"torch {torch.__version__}, {place}, {given.threads} threads, digits, batch {recipe.batch_size}, SGD, momentum"
    )
    titles = (
        f"{'one by one':>12}{'population, ms':>16}{'ratio (range)':>20}{'of matmul':>16}{'auto':>14}{'auto/best':>11}"
    )
    print(f"{'network':10}{'P':>5}{titles}")
    for model in ("mlp", "cnn"):
        factory = network_factory(
            ModelSettings(name=model), Normalize.fit(parts.train.inputs), parts.input_shape, parts.classes
        )
        task = Task(factory, samples.inputs, samples.targets, parts.classes)
        work = operations(task, recipe)
        for size in given.populations:
            points = torch.randn(size, 5, generator=generator("benchmark"), dtype=torch.float64) * 0.3
            losses, seeds = residual(points, parts.classes), [0] * size
            trainer, rates = Trainer(task), list[float]()
            sequential, population = list[float](), list[float]()
            for _ in range(ROUNDS):
                rates.append(matmul_rate(device=given.device))
                for backend, times in ((Backend(), sequential), (Backend("population"), population)):
                    times.append(measure(trainer, losses, seeds, recipe, backend, budget=0.5))
            ratios = [one / other for one, other in zip(sequential, population, strict=True)]
            shares = [
                statistics.median(work * size / t / rate for t, rate in zip(times, rates, strict=True))
                for times in (sequential, population)
            ]
            choice = measured_choice(trainer, losses, seeds, recipe, batches=500)
            medians = {False: statistics.median(sequential), True: statistics.median(population)}
            kept = min(medians.values()) / medians[choice.backend.population]
            ratio = f"{statistics.median(ratios):.1f} ({min(ratios):.1f}–{max(ratios):.1f})"
            print(
                f"{model:10}{size:5}{medians[False] * 1e3:12.2f}{medians[True] * 1e3:16.2f}{ratio:>20}"
                f"{f'{shares[0]:.1%}, {shares[1]:.1%}':>16}{choice.backend!s:>14}{kept:11.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
