"""What the loss itself costs: its share of a training step, and many classes against cross-entropy.

    python benchmarks/loss_cost.py [--model allcnn-c] [--classes 1000] [--compiled] [--device cuda]

The share: value and gradient of a loss of the residual space on the logits of one batch, by ``lossmith.Criterion`` and
autograd (``criterion``) and by the closed form of the gradient alone (``gradient``), of one whole training step of the
network in lossmith's sequential engine. The classes: ``lossmith.Criterion`` with its backward pass against
``torch.nn.functional.cross_entropy`` with its own, on the same logits, in turn: eager with class indices; under
``torch.no_grad()``, the value alone; with class weights; with class probabilities as mixup and CutMix make them; and
with ``--compiled`` both of them compiled by ``torch.compile``. Then the same, but for the compiler, for the 50 samples
and 10 classes of a small network, where the number of calls counts and not that of logits. The losses: one of the
residual space with all its terms, the paper's TaylorGLO loss for MNIST, and cross-entropy.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from candidate_cost import task_of
from machine import CPU, add_device, compared, median_seconds, ranged, say, seconds, write
from torch import Tensor
from torch.nn import functional

from lossmith.losses import Criterion, Loss, cross_entropy, find
from lossmith.search import residual
from lossmith.seeds import generator
from lossmith.training import Backend, Recipe, Trainer

Value = Callable[[Tensor, Tensor], Tensor]
Pass = Callable[[Value, Tensor, Tensor], Callable[[], object]]
FEW = (10, 50)
POINT = (0.4, -0.3, 0.2, 0.3, -0.2)


def loss_of(classes: int) -> Loss:
    """A loss of the residual space in which every term acts."""
    return residual(torch.tensor(POINT, dtype=torch.float64), classes)


def losses_of(classes: int) -> dict[str, Loss]:
    """The losses that are compared for many classes."""
    return {"residual": loss_of(classes), "taylor": find("paper/mnist", classes), "cross-entropy": cross_entropy()}


def backward(value: Value, logits: Tensor, targets: Tensor) -> Callable[[], object]:
    """The value of a loss and its gradient with respect to the logits."""
    return lambda: torch.autograd.grad(value(logits, targets), logits)


def forward(value: Value, logits: Tensor, targets: Tensor) -> Callable[[], object]:
    """The value of a loss alone, under ``torch.no_grad()``."""
    return torch.no_grad()(lambda: value(logits, targets))


def mixed(targets: Tensor, classes: int) -> Tensor:
    """Class probabilities ``[N, K]`` as mixup and CutMix make them: 0.7 of a label and 0.3 of another sample's."""
    whole = functional.one_hot(targets, classes).float()
    return 0.7 * whole + 0.3 * whole.roll(1, 0)


def share(model: str, batch: int, rounds: int, device: torch.device = CPU) -> dict[str, Any]:
    """Seconds of a training step, and the share of the loss in it."""
    task = task_of(model, max(2 * batch, 256), device)
    loss = loss_of(task.classes)
    recipe = Recipe(batch_size=batch, lr=0.01)
    run = Trainer(task).start(Loss.stack([loss]), [0], recipe, Backend(), [0])
    step = median_seconds(run.step, rounds, warm=1, device=device)
    logits = torch.randn(batch, task.classes, generator=generator("logits")).to(device).requires_grad_()
    targets = (torch.arange(batch) % task.classes).to(device)
    rule = loss.gradient_rule(logits)
    works = {
        "criterion": backward(Criterion(loss), logits, targets),
        "criterion, no gradient": forward(Criterion(loss), logits, targets),
        "criterion, class probabilities": backward(Criterion(loss), logits, mixed(targets, task.classes)),
        "gradient": lambda: rule(logits.detach(), targets),
        "cross-entropy of PyTorch": backward(functional.cross_entropy, logits, targets),
    }
    parts = {name: median_seconds(work, 200, device=device) for name, work in works.items()}
    return {
        "model": model,
        "batch": batch,
        "step": step,
        "parts": {name: {"seconds": taken, "share": taken / step} for name, taken in parts.items()},
    }


def contrasts(
    first: Value, second: Value, logits: Tensor, targets: Tensor, pairs: int, passes: Pass = backward
) -> dict[str, Any]:
    """Pairs of times of two losses, each the median of some passes that take turns, so that noise meets both."""
    works = [passes(value, logits, targets) for value in (first, second)]
    for work in works:
        for _ in range(5):
            work()
    times: list[list[float]] = [[], []]
    for _ in range(pairs):
        taken = [[seconds(work, logits.device) for work in works] for _ in range(20)]
        for both, one in zip(times, zip(*taken, strict=True), strict=True):
            both.append(statistics.median(one))
    return compared(*times)


def many_classes(classes: int, batch: int, pairs: int, compiled: bool, device: torch.device = CPU) -> dict[str, Any]:
    """Lossmith's criterion against cross-entropy for many classes, in each kind of use."""
    found: dict[str, Any] = {"classes": classes, "batch": batch}
    random, theirs = generator("logits", classes), functional.cross_entropy
    logits = torch.randn(batch, classes, generator=random).to(device).requires_grad_()
    targets = torch.randint(classes, (batch,), generator=random).to(device)
    probabilities, weight = mixed(targets, classes), torch.linspace(0.5, 2.0, classes, device=device)
    weighted: Value = partial(theirs, weight=weight)
    for name, loss in losses_of(classes).items():
        ours: Value = Criterion(loss)
        found[name] = {
            "eager": contrasts(ours, theirs, logits, targets, pairs),
            "no_gradient": contrasts(ours, theirs, logits, targets, pairs, forward),
            "class_weights": contrasts(Criterion(loss, weight), weighted, logits, targets, pairs),
            "class_probabilities": contrasts(ours, theirs, logits, probabilities, pairs),
        }
        if compiled:
            say(f"compiling {name}")
            both = (torch.compile(ours), torch.compile(theirs))
            found[name]["compiled"] = contrasts(*both, logits, targets, pairs)
            found[name]["compiled_against_eager"] = contrasts(both[0], theirs, logits, targets, pairs)
    return found


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="allcnn-c")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=5, help="training steps")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--quick", action="store_true", help="three pairs, three training steps")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path)
    add_device(parser)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    of_step = share(given.model, given.batch, 3 if given.quick else given.rounds, given.device)
    print(f"a step of {given.model}, batch {given.batch}: {of_step['step'] * 1e3:.2f} ms, of which")
    for name, part in of_step["parts"].items():
        print(f"    {name:32} {part['share']:.2%}")
    pairs = 3 if given.quick else given.pairs
    classes = many_classes(given.classes, given.batch, pairs, given.compiled, given.device)
    few = many_classes(*FEW, pairs, False, given.device)
    for found in (classes, few):
        print(f"{found['classes']} classes, batch {found['batch']}, against torch's cross_entropy:")
        for name in losses_of(found["classes"]):
            for kind, pair in found[name].items():
                print(f"    {name}, {kind.replace('_', ' '):24} {ranged(pair)}")
    write("loss-cost", {"step": of_step, "classes": classes, "few": few}, given.out, given.device)


if __name__ == "__main__":
    main()
