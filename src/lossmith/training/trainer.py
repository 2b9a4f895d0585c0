"""Training of many networks, in the way that is fastest here."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from lossmith.errors import InputError
from lossmith.losses import Loss
from lossmith.training.adversary import checked_white
from lossmith.training.networks import Networks, Task
from lossmith.training.plain import PlainRun
from lossmith.training.population import PopulationRun
from lossmith.training.randomness import is_stochastic, seeded
from lossmith.training.recipe import Recipe

Way = Literal["plain", "population", "plain-compiled", "population-compiled"]
Run = PlainRun | PopulationRun
Observe = Callable[[list[int], int, Networks], None]


@dataclass(frozen=True)
class Trained:
    """The outcome of a training.

    Args:
        networks: The P trained networks.
        diverged: Members whose parameters, buffers or logits are no longer finite numbers, boolean ``[P]``.
        curve: Accuracy on the monitored data after each epoch, ``[P, epochs]`` in float64, or None. A network with a
            logit that is not a finite number counts as wrong on every sample.
        losses: The losses that they were trained with, ``[P]``.
        white: Value of a white pixel, if they are networks of images that can be attacked.
    """

    networks: Networks
    diverged: Tensor
    curve: Tensor | None
    losses: Loss
    white: float | None = None


def train(
    task: Task,
    losses: Loss,
    seeds: Sequence[int],
    recipe: Recipe,
    way: Way = "population",
    monitor: tuple[Tensor, Tensor] | None = None,
    stop: int | None = None,
    tick: Callable[[float], None] | None = None,
    observe: Observe | None = None,
) -> Trained:
    """Train one network for each member.

    Args:
        task: What is trained on what.
        losses: A population ``[P]``.
        seeds: One seed a member, from which its initial weights, batches and dropout derive.
        recipe: The recipe of all members.
        way: ``"plain"`` (one after another) or ``"population"`` (in one program); the results agree to rounding.
        monitor: Inputs and class indices on which accuracy is measured after each epoch.
        stop: End after this many epochs of the recipe (early stopping), its schedule unchanged.
        tick: Called after each epoch with the share of the work that is done.
        observe: Called before the first batch (epoch 0) and after each epoch with the members that are trained
            together, the epoch, and their networks as they are then.

    Raises:
        InputError: if there is not one seed for each member, the losses are made for another number of classes,
            the population way cannot run the network, or an adversary has no images to attack.
    """
    losses.check_classes(task.classes)
    if len(losses) != len(seeds):
        raise InputError(f"{len(losses)} losses need as many seeds, not {len(seeds)}")
    if recipe.adversary != "none":
        checked_white(task)
    runs = list(_runs(task, losses, seeds, recipe, way))
    length = recipe.total_steps(len(task.inputs))
    per_epoch = recipe.steps_per_epoch(len(task.inputs))
    if stop is not None:
        length = min(length, stop * per_epoch)
    parts: list[Networks] = []
    curves: list[Tensor] = []
    for number, (members, make) in enumerate(runs):
        curve: list[Tensor] = []
        with seeded(task.device, seeds[members[0]], "dropout"), _vectorisable():
            run = make()
            if observe is not None:
                observe(members, 0, run.networks())
            for step in range(1, length + 1):
                run.step()
                if step % per_epoch == 0 or step == length:
                    if observe is not None:
                        observe(members, -(-step // per_epoch), run.networks())
                    if monitor is not None:
                        curve.append(accuracy(run.networks().logits(monitor[0]), monitor[1]))
                    if tick is not None:
                        tick((number + step / length) / len(runs))
        parts.append(run.networks())
        if monitor is not None:
            curves.append(torch.stack(curve, 1))
    place = [member for members, _ in runs for member in members]
    order = sorted(range(len(place)), key=place.__getitem__)
    networks = Networks.gather(parts, order)
    sound = networks.finite() & _finite(networks.logits(task.inputs[: recipe.batch_size]))
    curve_of_all = torch.cat(curves)[order] if curves else None
    return Trained(networks, ~sound, curve_of_all, losses, task.white)


@contextmanager
def _vectorisable() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not any(word in str(error) for word in ("vmap", "Batching rule")):
            raise
        reason = str(error).strip().split("\n")[0].split(". ")[0].rstrip(".")
        raise InputError(
            f"the network cannot be trained as a population ({reason}); train it with training = plain"
        ) from None


def accuracy(logits: Tensor, targets: Tensor) -> Tensor:
    """Share of right answers ``[P]`` in float64, for logits ``[P, N, K]``; 0 where a logit is not a finite number."""
    right = (logits.argmax(-1) == targets).double().mean(-1)
    return torch.where(_finite(logits), right, 0.0)


def _finite(logits: Tensor) -> Tensor:
    return logits.isfinite().flatten(1).all(1)


def _runs(
    task: Task, losses: Loss, seeds: Sequence[int], recipe: Recipe, way: Way
) -> Iterator[tuple[list[int], Callable[[], Run]]]:
    compiled = way.endswith("-compiled")
    if way.startswith("plain"):
        for member in range(len(seeds)):
            yield [member], lambda k=member: PlainRun(task, losses[k], seeds[k], recipe, compiled)  # type: ignore[misc]
        return
    groups = [list(range(len(seeds)))]
    if len(set(seeds)) > 1 and is_stochastic(task.build(seeds[0]), task.inputs[: recipe.batch_size]):
        groups = [[k for k, seed in enumerate(seeds) if seed == wanted] for wanted in dict.fromkeys(seeds)]
    for members in groups:
        yield (
            members,
            lambda rows=members: PopulationRun(task, losses[rows], [seeds[k] for k in rows], recipe, compiled),  # type: ignore[misc]
        )


@dataclass(frozen=True)
class Choice:
    """A way of training and the measured seconds of one batch of all members, by way."""

    way: Way
    seconds: dict[Way, float]


COMPILE_WORTH = 300.0


def choose_way(task: Task, losses: Loss, seeds: Sequence[int], recipe: Recipe, batches: int) -> Choice:
    """Measure a few batches of each way and keep the faster.

    Compiling takes about a minute, so it is tried only where the whole work (``batches`` batches of all members) takes
    the faster way more than five; where there is no compiler, or it fails on the network, nothing is said and the
    ordinary way is kept. A network that cannot be vectorised (an LSTM) is trained the plain way. What fails has no
    seconds.
    """
    seconds: dict[Way, float] = {}
    with suppress(RuntimeError, TypeError, ValueError):
        seconds["population"] = measure(task, losses, seeds, recipe, "population")
    seconds["plain"] = measure(task, losses, seeds, recipe, "plain")
    best = min(seconds, key=seconds.__getitem__)
    if seconds[best] * batches > COMPILE_WORTH and has_compiler(task.device):
        compiled: Way = "plain-compiled" if best == "plain" else "population-compiled"
        with suppress(Exception):
            seconds[compiled] = measure(task, losses, seeds, recipe, compiled)
    return Choice(min(seconds, key=seconds.__getitem__), seconds)


def measure(task: Task, losses: Loss, seeds: Sequence[int], recipe: Recipe, way: Way, budget: float = 0.15) -> float:
    """Seconds that one batch of all members takes in one way: the median of the batches that fit the budget."""
    plain = way.startswith("plain")
    runs = list(_runs(task, losses, seeds, recipe, way))
    chosen = runs[:1] if plain else runs
    total = 0.0
    for members, make in chosen:
        with ExitStack() as stack:
            stack.enter_context(seeded(task.device, seeds[members[0]], "dropout"))
            run = make()
            for _ in range(3):
                run.step()
            times: list[float] = []
            while len(times) < 5 or (sum(times) < budget / len(chosen) and len(times) < 200):
                _wait(task.device)
                start = time.perf_counter()
                run.step()
                _wait(task.device)
                times.append(time.perf_counter() - start)
        total += sorted(times)[len(times) // 2]
    return total * len(runs) if plain else total


def available(way: Way, device: torch.device) -> Way:
    """The way itself, or without compiling where this machine has no compiler."""
    if has_compiler(device):
        return way
    return "plain" if way.startswith("plain") else "population"


def has_compiler(device: torch.device) -> bool:
    """Whether ``torch.compile`` finds what it needs on this machine."""
    if device.type == "cpu":
        return any(shutil.which(name) for name in ("g++", "clang++", "c++"))
    return device.type == "cuda"


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def repeated(losses: Loss, times: int) -> Loss:
    """A population in which each member stands ``times`` times, one after another."""
    return replace(losses, coefficients=losses.coefficients.repeat_interleave(times, 0))
