"""Training of many networks, in the way that is fastest here."""

import gc
import importlib.util
import logging
import math
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from lossmith.errors import InputError
from lossmith.losses import Loss
from lossmith.metrics import finite
from lossmith.training.adversary import checked_max_pixel
from lossmith.training.augmentation import check_augmentation
from lossmith.training.engines.population import PopulationRun
from lossmith.training.engines.sequential import SequentialRun
from lossmith.training.loop import Finished, Loop, Observe, Run
from lossmith.training.networks import Networks, Task
from lossmith.training.randomness import is_stochastic, seeded
from lossmith.training.recipe import Recipe

Way = Literal[
    "plain",
    "population",
    "plain-compiled",
    "population-compiled",
    "plain-channels-last",
    "plain-channels-last-compiled",
]
COMPILED: dict[Way, Way] = {
    "plain": "plain-compiled",
    "plain-channels-last": "plain-channels-last-compiled",
    "population": "population-compiled",
}
UNCOMPILED = {compiled: way for way, compiled in COMPILED.items()}


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
        dropped: Members whose training was given up as hopeless, boolean ``[P]``; None says none.
    """

    networks: Networks
    diverged: Tensor
    curve: Tensor | None
    losses: Loss
    max_pixel: float | None = None
    pruned: Tensor | None = None


def train(
    task: Task,
    losses: Loss,
    seeds: Sequence[int],
    recipe: Recipe,
    way: Way = "population",
    monitor: tuple[Tensor, Tensor] | None = None,
    stop: int | None = None,
    share: float = 1.0,
    prune_at: float | None = None,
    progress: Callable[[float], None] | None = None,
    observe: Observe | None = None,
) -> Trained:
    """Train one network for each member.

    Where the memory of a GPU does not hold all members at once, they are trained in halves, with one warning.

    Args:
        task: What is trained on what.
        losses: A population ``[P]``.
        seeds: One seed a member, from which its initial weights, batches and dropout derive.
        recipe: The recipe of all members.
        way: ``"plain"`` (one after another) or ``"population"`` (in one program), compiled or not, the plain way also
            with channels last in memory; the results agree to rounding.
        monitor: Inputs and class indices on which accuracy is measured after each epoch.
        stop: End after this many epochs of the recipe (early stopping), its schedule unchanged.
        share: End after this share of the recipe's batches (partial training), its schedule unchanged.
        drop: After this share of the batches, stop training networks that are hopeless: at chance level on the task's
            held-out data, or no longer finite.
        tick: Called after each epoch with the share of the work that is done.
        observe: Called before the first batch (epoch 0) and after each epoch with the members that are still trained
            together, the epoch, and their networks as they are then; again from epoch 0 where the memory did not hold
            them and they begin anew.

    Raises:
        InputError: if there is not one seed for each member, the losses are made for another number of classes,
            the population way cannot run the network, the recipe does not suit the data, or the memory of the GPU does
            not hold one network.
    """
    losses.check_classes(task.classes)
    if len(losses) != len(seeds):
        raise InputError(f"{len(losses)} losses need as many seeds, not {len(seeds)}")
    check_recipe(task, recipe)
    if way.endswith("-compiled") and not has_compiler(task.device):
        raise InputError(
            f"the way of training {way} needs a compiler, which is not found here (g++ on a CPU, Triton on a GPU): "
            "install it, or take training = auto"
        )
    if task.held_out is None and prune_at is not None:
        raise InputError("hopeless networks are found on data held out: give the task held_out, or leave drop out")
    loop = Loop(task, recipe, _length(task, recipe, stop, share), monitor, prune_at, observe)
    groups = _groups(task, seeds, recipe, way)
    done: list[Finished] = []
    while groups:
        members = groups.pop(0)
        before = sum(len(part.members) for part in done) / len(seeds)

        def told(part: float, before: float = before, size: float = len(members) / len(seeds)) -> None:
            if progress is not None:
                progress(before + size * part)

        try:
            with seeded(task.device, seeds[members[0]], "dropout"), _vectorizable(recipe):
                part = loop.run(members, _made(task, losses, seeds, recipe, way, members), told)
            done.append(replace(part, networks=part.networks.on(done[0].networks.base)) if done else part)
            continue
        except RuntimeError as error:
            size = _smaller(task, len(members), error)
        _let_go()
        groups = _parts([members, *groups], size)
    place = [member for part in done for member in part.members]
    order = sorted(range(len(place)), key=place.__getitem__)
    networks = Networks.gather([part.networks for part in done], order)
    sound = networks.finite() & finite(networks.logits(task.inputs[: recipe.batch_size]))
    curve = torch.cat([part.curve for part in done])[order] if monitor is not None else None
    pruned = torch.cat([part.pruned for part in done])[order]
    return Trained(networks, ~sound, curve, losses, task.max_pixel, pruned)


def check_recipe(task: Task, recipe: Recipe) -> None:
    """Raise an InputError if a recipe does not suit a task."""
    if recipe.adversary != "none":
        checked_max_pixel(task)
    check_augmentation(task.inputs, recipe)
    if recipe.patience is not None and task.held_out is None:
        raise InputError("early stopping (patience) needs data held out: give the task held_out, or leave it out")


def _length(task: Task, recipe: Recipe, stop: int | None, share: float) -> int:
    """Number of batches that are trained."""
    samples = len(task.inputs)
    length = max(1, round(share * recipe.total_steps(samples)))
    return length if stop is None else min(length, stop * recipe.steps_per_epoch(samples))


MEMORY = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


def _smaller(task: Task, members: int, error: RuntimeError) -> int:
    """How many networks to train at once instead of so many, which the memory does not hold; the task remembers it.

    Other errors are raised again.
    """
    if not isinstance(error, torch.OutOfMemoryError) and not any(word in str(error) for word in MEMORY):
        raise error
    if members == 1:
        raise InputError(
            f"the memory of {task.device} does not hold the training of one network: give a smaller batch_size or a "
            "smaller network, or train in bfloat16 (precision)"
        ) from None
    if "fits" not in task.memo:
        warnings.warn(
            f"the memory of {task.device} does not hold {members} networks at once; they are trained in parts",
            stacklevel=3,
        )
    task.memo["fits"] = -(-members // 2)
    return int(task.memo["fits"])


def _let_go() -> None:
    """Free what a training that failed has left; outside of the handler of its error, which holds on to it."""
    gc.collect()
    torch.cuda.empty_cache()


def _parts(groups: Sequence[list[int]], size: int) -> list[list[int]]:
    return [group[start : start + size] for group in groups for start in range(0, len(group), size)]


@contextmanager
def _vectorizable(recipe: Recipe) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        vmapped = any(word in str(error) for word in ("vmap", "Batching rule"))
        mixed = recipe.precision != "float32" and "BFloat16" in str(error)
        if not vmapped and not mixed:
            raise
        reason = str(error).strip().split("\n")[0].split(". ")[0].rstrip(".")
        other = " or precision = float32" if mixed else ""
        raise InputError(
            f"the network cannot be trained as a population ({reason}); train it with training = plain{other}"
        ) from None


def _groups(task: Task, seeds: Sequence[int], recipe: Recipe, way: Way) -> list[list[int]]:
    """Members that are trained together."""
    if way.startswith("plain"):
        return [[member] for member in range(len(seeds))]
    groups = [list(range(len(seeds)))]
    if len(set(seeds)) > 1 and is_stochastic(task.build(seeds[0]), task.inputs[: recipe.batch_size]):
        groups = [[k for k, seed in enumerate(seeds) if seed == wanted] for wanted in dict.fromkeys(seeds)]
    return _parts(groups, task.memo.get("fits", len(seeds)))


def _made(task: Task, losses: Loss, seeds: Sequence[int], recipe: Recipe, way: Way, members: list[int]) -> Run:
    """The run of some members."""
    compiled = way.endswith("-compiled")
    if way.startswith("plain"):
        (member,) = members
        return SequentialRun(task, losses[member], seeds[member], recipe, compiled, "-channels-last" in way)
    return PopulationRun(task, losses[members], [seeds[k] for k in members], recipe, compiled)


@dataclass(frozen=True)
class Choice:
    """A way of training, the measured seconds of one batch of all members by way, and why others failed, by way."""

    way: Way
    seconds: dict[Way, float]
    failed: dict[Way, str] = field(default_factory=dict)


COMPILE_WORTH = 300.0
HOPELESS = 4.0
LOGGER = logging.getLogger("lossmith")


def choose_way(task: Task, losses: Loss, seeds: Sequence[int], recipe: Recipe, batches: int) -> Choice:
    """Measure a few batches of each way and keep the fastest.

    Channels last is tried with networks that convolve. Compiling takes about a minute, so it is tried only where the
    whole work (``batches`` batches of all members) takes the fastest way more than five: with the faster of the plain
    ways, and with the population unless that is many times slower. Where there is no compiler, or it fails on the
    network, the ordinary way is kept. A network that cannot be vectorized (an LSTM) is trained the plain way. What
    fails has no seconds but a reason, which is logged.

    Raises:
        InputError: if the memory of the GPU does not hold one network.
    """
    seconds: dict[Way, float] = {}
    failed: dict[Way, str] = {}

    def tried(way: Way, *errors: type[Exception]) -> None:
        try:
            seconds[way] = measure(task, losses, seeds, recipe, way)
        except errors as error:
            failed[way] = str(error).strip().split("\n")[0]
            LOGGER.info("the way of training %s cannot be used (%s)", way, failed[way])

    tried("population", RuntimeError, TypeError, ValueError)
    tried("plain")
    if any(value.ndim == 4 for value in task.build(seeds[0]).parameters()):
        tried("plain-channels-last")
    best = min(seconds.values())
    if best * batches > COMPILE_WORTH and has_compiler(task.device):
        plain = min((way for way in seconds if way != "population"), key=seconds.__getitem__)
        for way in (plain, "population"):
            if seconds.get(way, math.inf) < HOPELESS * best:
                tried(COMPILED[way], Exception)
    return Choice(min(seconds, key=seconds.__getitem__), seconds, failed)


def measure(task: Task, losses: Loss, seeds: Sequence[int], recipe: Recipe, way: Way, budget: float = 0.15) -> float:
    """Seconds that one batch of all members takes in one way: the median of the batches that fit the budget.

    On a GPU ten batches are timed at a time, since waiting for each would hide what overlaps.
    """
    while True:
        groups = _groups(task, seeds, recipe, way)
        try:
            return _timed(groups, task, losses, seeds, recipe, way, budget)
        except RuntimeError as error:
            _smaller(task, max(map(len, groups)), error)
        _let_go()


def _timed(
    groups: list[list[int]], task: Task, losses: Loss, seeds: Sequence[int], recipe: Recipe, way: Way, budget: float
) -> float:
    chosen = groups[:1] if way.startswith("plain") else groups
    block = 10 if task.device.type == "cuda" else 1
    total = 0.0
    for members in chosen:
        with seeded(task.device, seeds[members[0]], "dropout"):
            run = _made(task, losses, seeds, recipe, way, members)
            for _ in range(3):
                run.step()
            times: list[float] = []
            while len(times) < 5 or (sum(times) < budget / len(chosen) and len(times) < 200):
                _wait(task.device)
                start = time.perf_counter()
                for _ in range(block):
                    run.step()
                _wait(task.device)
                times.append((time.perf_counter() - start) / block)
        total += sorted(times)[len(times) // 2]
    return total * len(groups) / len(chosen)


def available(way: Way, device: torch.device) -> Way:
    """The way itself, or without compiling where this machine has no compiler."""
    return way if has_compiler(device) else UNCOMPILED.get(way, way)


def has_compiler(device: torch.device) -> bool:
    """Whether ``torch.compile`` finds what it needs on this machine."""
    if device.type == "cpu":
        return any(shutil.which(name) for name in ("g++", "clang++", "c++"))
    return device.type == "cuda" and importlib.util.find_spec("triton") is not None


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def repeated(losses: Loss, times: int) -> Loss:
    """A population in which each member stands ``times`` times, one after another."""
    return replace(losses, coefficients=losses.coefficients.repeat_interleave(times, 0))
