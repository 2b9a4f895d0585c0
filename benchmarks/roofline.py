"""How near each engine comes to what the machine can do: operations, bytes, reached and possible rate, on one core.

    python benchmarks/roofline.py [--network mlp] [--population 48] [--steps 160] [--json]
    python benchmarks/roofline.py --network conv
    python benchmarks/roofline.py --network mnist-cnn --population 4
    env PATH= .venv/bin/python benchmarks/roofline.py

Operations are the floating-point ones of the products of a batch of one network, forward and backward, as PyTorch
counts them. Those with the zeros around an image, and with the zeros that max pooling hands back, are among them,
though an engine may leave them out. Bytes are what a batch has to move at least: parameters and momentum, read and
written, and the inputs and activations, written and read twice. Reached is the operations a second of CPU time of a
whole training, from building the networks on. Possible is what PyTorch's libraries give on something large, the better
of a square matrix product and a 3 × 3 convolution (on AMD processors the library for the first uses half of the width).
Without a compiler to be found, as in the last line, the engine `mlp` is that of batched matrix products.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from candidate_cost import SIZES, convolves, points_of, task_of
from machine import machine, write
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from lossmith.search import residual
from lossmith.training import Backend, Recipe, Task, Trainer, has_compiler
from lossmith.training.engines import ENGINES

ROUNDS = 5


def operations(task: Task, recipe: Recipe) -> int:
    """Floating-point operations of one batch of one network: forward and backward."""
    network = task.build(0).train()
    with FlopCounterMode(display=False) as counter:
        network(task.inputs[: recipe.batch_size]).sum().backward()
    return int(counter.get_total_flops())


def moved(task: Task, recipe: Recipe) -> int:
    """Bytes that one batch of one network moves at least."""
    network, sizes = task.build(0).train(), list[int]()
    for module in network.modules():
        if any(True for _ in module.parameters(recurse=False)):
            module.register_forward_hook(lambda _, given, out: sizes.append(given[0].numel() + 2 * out.numel()))
    network(task.inputs[: recipe.batch_size])
    # The weights are read forward and backward; they and the momentum are read and written by the optimizer.
    weights = sum(value.numel() for value in network.parameters())
    return 4 * (6 * weights + 2 * sum(sizes))


@torch.no_grad()
def possible_rate(size: int = 1024, channels: int = 256, side: int = 32) -> float:
    """Floating-point operations a second of the better library on a large product or convolution."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    image, kernel = (
        torch.randn(*shape).contiguous(memory_format=torch.channels_last)
        for shape in ((1, channels, side, side), (channels, channels, 3, 3))
    )
    product = min(_cpu(lambda: a @ b) for _ in range(ROUNDS))
    convolution = min(_cpu(lambda: functional.conv2d(image, kernel, padding=1)) for _ in range(ROUNDS))
    return max(2 * size**3 / product, 2 * 9 * channels**2 * side**2 / convolution)


def _cpu(work: Any) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def measured(task: Task, recipe: Recipe, population: int) -> dict[str, Any]:
    """What each engine reaches."""
    losses, trainer, rows = residual(points_of(population), task.classes), Trainer(task), dict[str, Any]()
    backends = [name for name in ENGINES if trainer.refusal(name, recipe) is None]
    backends += ["sequential-channels-last"] * convolves(task)
    work, taken, possible = operations(task, recipe), {name: list[float]() for name in backends}, list[float]()
    for number in range(ROUNDS + 1):
        possible.append(possible_rate())
        for name in backends:
            members = population if Backend.parse(name).population else 2
            spent = _cpu(
                lambda name=name, members=members: trainer.train(losses[:members], [0] * members, recipe, name)
            )
            # The first round loads and compiles what is needed.
            taken[name] += [spent / members / recipe.total_steps(len(task.inputs))] * bool(number)
    for name, seconds in taken.items():
        rate = work / statistics.median(seconds)
        rows[name] = {"seconds": statistics.median(seconds), "rate": rate, "share": rate / statistics.median(possible)}
    return {"operations": work, "bytes": moved(task, recipe), "possible": statistics.median(possible), "engines": rows}


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="mlp")
    parser.add_argument("--population", type=int, default=48)
    parser.add_argument("--steps", type=int, help="batches of a training, instead of the network's own number")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--out", type=Path, help="keep the figures in a file")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    size = SIZES.get(given.network, SIZES["conv"])
    batch, steps = size.batch, given.steps or size.steps
    task, recipe = task_of(given.network, 32 * batch), Recipe(batch_size=batch, steps=steps, lr=0.01)
    found = measured(task, recipe, given.population)
    if given.out:
        write("roofline", found, given.out)
    if given.json:
        print(json.dumps({"benchmark": "roofline", "machine": machine(), **found}, indent=1))
        return
    compiler = "with" if has_compiler(task.device) else "without"
    print(f"{given.network}, batch {batch}, population {given.population}, one thread, {compiler} a compiler")
    print(f"operations {found['operations'] / 1e6:.2f} M, at least {found['bytes'] / 1e3:.0f} kB moved, ", end="")
    print(f"{found['operations'] / found['bytes']:.1f} operations a byte, possible {found['possible'] / 1e9:.0f} G/s")
    for name, row in found["engines"].items():
        print(f"{name:26}{row['seconds'] * 1e6:9.1f} µs a batch{row['rate'] / 1e9:8.1f} G/s{row['share']:8.1%}")


if __name__ == "__main__":
    main()
