"""The choice of a backend: measured, checked against sequential, remembered."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch

from lossmith.errors import InputError
from lossmith.losses import Loss
from lossmith.training.agreement import SEQUENTIAL, Agreement
from lossmith.training.backend import POPULATION, Backend, available, has_compiler
from lossmith.training.engines import ENGINES, Run, advance
from lossmith.training.networks import Task
from lossmith.training.randomness import seeded
from lossmith.training.recipe import Recipe
from lossmith.training.trainer import Trainer, check_state, let_go

AUTO = "auto"
# Seconds of the whole work; compiling takes about a fifth of that.
COMPILE_WORTH = 300.0
TOO_SLOW = 4.0
# A backend is timed so many times at least, on so many batches at most.
LEAST, MOST = 5, 200
LOGGER = logging.getLogger("lossmith")


class Memory(Protocol):
    """Where a choice is remembered, as a study's store does."""

    def setting(self, name: str) -> Any:
        """What is stored under a name, or None."""

    def set(self, name: str, value: Any) -> None:
        """Store a value of JSON under a name."""


@dataclass(frozen=True)
class Choice:
    """What a measurement found.

    Args:
        backend: The fastest one that agrees with sequential.
        seconds: Of one batch of all members, by the name of the backend.
        failed: Why others cannot be used, by name.
    """

    backend: Backend
    seconds: dict[str, float]
    failed: dict[str, str] = field(default_factory=dict)


def choose_backend(
    setting: str,
    task: Task | Trainer,
    losses: Loss,
    seeds: Sequence[int],
    recipe: Recipe,
    batches: float,
    memory: Memory | None = None,
) -> Backend:
    """The backend of a setting, resolved for the task: as it is named, or for ``"auto"`` the fastest.

    What was measured is remembered under "backend", for the networks, recipe, number of networks and device that it was
    measured with; version 0.1 remembered it under "way", for any. A backend that is named is checked, too, once: one
    step must agree with that of sequential.

    Args:
        setting: The name of a backend, or ``"auto"``.
        task: What is trained; a trainer keeps what is compiled here for the training.
        losses: A population like those to be trained, ``[P]``.
        seeds: One seed a member.
        recipe: The recipe.
        batches: Batches of such populations that are to be trained in all.
        memory: Where the choice is looked up and kept.

    Raises:
        InputError: if there is no such backend, it cannot train the network, or its step differs from that of
            sequential.
    """
    trainer = Trainer.of(task)
    check_state(trainer.task, recipe)
    if setting != AUTO:
        backend = trainer.resolved(Backend.parse(setting), recipe)
        if backend == SEQUENTIAL:
            return backend
        of = _measured_with(trainer.task, seeds, recipe)
        checked = {} if memory is None else memory.setting("checked") or {}
        agreeing = checked.get(of, [])
        if str(backend) not in agreeing:
            _check(backend, trainer, losses, seeds, recipe)
            if memory is not None:
                memory.set("checked", {**checked, of: [*agreeing, str(backend)]})
        return backend
    of = _measured_with(trainer.task, seeds, recipe)
    known = {} if memory is None else memory.setting("backend") or {}
    stored = known.get(of) or (None if memory is None else memory.setting("way"))
    if stored is None:
        with _threads(trainer.threads):
            choice = measured_choice(trainer, losses, seeds, recipe, batches)
        stored = {"backend": str(choice.backend), "seconds": choice.seconds, "failed": choice.failed}
        if memory is not None:
            memory.set("backend", {**known, of: stored})
    backend = Backend.parse(stored["backend"] if "backend" in stored else stored["way"])
    return trainer.resolved(available(backend, trainer.task.device), recipe)


def step_seconds(
    backend: Backend,
    task: Task | Trainer,
    losses: Loss,
    seeds: Sequence[int],
    recipe: Recipe,
    memory: Memory | None = None,
) -> float:
    """Seconds that one batch of one network takes, as :func:`choose_backend` has measured it, or measured now.

    Args:
        backend: How networks are run, resolved.
        task: What is trained.
        losses: A population like those to be trained, ``[P]``.
        seeds: One seed a member.
        recipe: The recipe.
        memory: Where the choice is kept.
    """
    trainer = Trainer.of(task)
    known = {} if memory is None else memory.setting("backend") or {}
    stored = known.get(_measured_with(trainer.task, seeds, recipe), {}).get("seconds", {}).get(str(backend))
    if stored is None:
        with _threads(trainer.threads):
            stored = measure(trainer, losses, seeds, recipe, backend)
    return float(stored) / len(seeds)


def _measured_with(task: Task, seeds: Sequence[int], recipe: Recipe) -> str:
    """A digest of what decides which backend is the fastest: layers, recipe, inputs, number of networks, and device."""
    network = task.build(seeds[0])
    layers = [type(module).__name__ for module in network.modules()]
    state = dict(network.named_parameters()) | dict(network.named_buffers())
    shapes = [(name, list(value.shape), str(value.dtype)) for name, value in state.items()]
    inputs = [list(task.inputs.shape), str(task.inputs.dtype)]
    # How samples are weighted and drawn costs nothing, and measurements were remembered before there was a choice.
    settings = recipe.model_dump(mode="json", exclude={"class_weight", "sampling"})
    what = [layers, shapes, settings, inputs, len(seeds), str(task.device)]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]


def _check(backend: Backend, trainer: Trainer, losses: Loss, seeds: Sequence[int], recipe: Recipe) -> None:
    """See that a backend agrees with sequential.

    Raises:
        InputError: if it does not.
    """
    while True:
        try:
            reason = Agreement(trainer, losses, seeds, recipe).disagreement(backend)
            break
        except (RuntimeError, MemoryError) as error:
            trainer.smaller(max(map(len, trainer.groups(seeds, recipe, backend))), error)
        let_go()
    if reason is not None:
        raise InputError(
            f"training = {backend} cannot be used with this network, since {reason}; take training = sequential"
        )


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """So many threads of PyTorch meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if number is None else number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measured_choice(trainer: Trainer, losses: Loss, seeds: Sequence[int], recipe: Recipe, batches: float) -> Choice:
    """Measure a few batches of each backend and keep the fastest that agrees with sequential.

    Channels last is tried with networks that convolve. Compiling takes about a minute, so it is tried only where the
    whole work (``batches`` batches of all members) takes the fastest backend more than five: with the fastest that
    trains one by one, and with the population unless that is many times slower. Where there is no compiler, or it
    fails on the network, the ordinary backend is kept. A network that cannot be vectorized (an LSTM) is trained by
    sequential. What fails or disagrees has no seconds but a reason, which is logged.

    Raises:
        InputError: if the memory of the GPU does not hold one network.
    """
    seconds: dict[Backend, float] = {}
    failed: dict[str, str] = {}
    agreement = Agreement(trainer, losses, seeds, recipe)

    def tried(backend: Backend, *errors: type[Exception]) -> None:
        try:
            taken = measure(trainer, losses, seeds, recipe, backend)
            reason = None if backend == SEQUENTIAL else agreement.disagreement(backend)
        except errors as error:
            reason = str(error).strip().split("\n")[0]
        if reason is None:
            seconds[backend] = taken
        else:
            failed[str(backend)] = reason
            LOGGER.info("training = %s cannot be used (%s)", backend, reason)

    network = trainer.task.build(seeds[0])
    tried(trainer.resolved(Backend(POPULATION), recipe), RuntimeError, MemoryError, TypeError, ValueError)
    for name, engine in ENGINES.items():
        if not engine.population and trainer.refusal(name, recipe) is None:
            tried(Backend(name))
            if engine.layouts and any(value.ndim == 4 for value in network.parameters()):
                tried(Backend(name, channels_last=True))
    best = min(seconds.values())
    if best * batches > COMPILE_WORTH and has_compiler(trainer.task.device):
        singles = [backend for backend in seconds if not backend.population and ENGINES[backend.engine].compiles]
        population = next((backend for backend in seconds if backend.population), None)
        for backend in (min(singles, key=seconds.__getitem__), population):
            if backend is not None and seconds.get(backend, math.inf) < TOO_SLOW * best:
                tried(_compiled(backend), Exception)
    fastest = min(seconds, key=seconds.__getitem__)
    return Choice(fastest, {str(backend): taken for backend, taken in seconds.items()}, failed)


def _compiled(backend: Backend) -> Backend:
    """The backend compiled, or the first one for populations that can be where it cannot."""
    if ENGINES[backend.engine].compiles:
        return replace(backend, compiled=True)
    return Backend(next(name for name, engine in ENGINES.items() if engine.population and engine.compiles), True)


def measure(
    trainer: Trainer, losses: Loss, seeds: Sequence[int], recipe: Recipe, backend: Backend, budget: float = 0.15
) -> float:
    """Seconds that one batch of all members takes a backend on a quiet machine: the least of what fits the budget.

    On a GPU at least ten batches are timed at a time, since waiting for each would hide what overlaps.
    """
    backend = trainer.resolved(backend, recipe)
    while True:
        groups = trainer.groups(seeds, recipe, backend)
        try:
            return _timed(groups, trainer, losses, seeds, recipe, backend, budget)
        except (RuntimeError, MemoryError) as error:
            trainer.smaller(max(map(len, groups)), error)
        let_go()


def _timed(
    groups: list[list[int]],
    trainer: Trainer,
    losses: Loss,
    seeds: Sequence[int],
    recipe: Recipe,
    backend: Backend,
    budget: float,
) -> float:
    device = trainer.task.device
    # One after another, each member takes as long as the first.
    chosen = groups if backend.population else groups[:1]
    total = 0.0
    for members in chosen:
        with seeded(device, seeds[members[0]], "dropout"):
            run, part = trainer.start(losses, seeds, recipe, backend, members), budget / len(chosen)
            # The first batches also allocate and, on a GPU, choose kernels.
            began = time.process_time()
            once = min([_seconds(run, 1, device) for _ in range(3)])
            block = 10 if device.type == "cuda" else 1
            if hasattr(run, "advance"):
                # As in a training, which asks for the batches of an epoch at once, as many as fit a quiet machine.
                once = max(min(once, (time.process_time() - began) / 3), 1e-6)
                epoch = recipe.steps_per_epoch(len(trainer.task.inputs))
                block = max(block, min(epoch, MOST // LEAST, int(part / LEAST / once)))
            times: list[float] = []
            while len(times) < LEAST or (block * sum(times) < part and block * len(times) < MOST):
                times.append(_seconds(run, block, device) / block)
        # Other work on the machine makes none of them shorter, and may make most of them longer.
        total += min(times)
    return total * len(groups) / len(chosen)


def _seconds(run: Run, batches: int, device: torch.device) -> float:
    """Seconds that some batches take."""
    _wait(device)
    start = time.perf_counter()
    advance(run, batches)
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
