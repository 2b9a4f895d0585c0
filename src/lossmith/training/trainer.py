"""Training of many networks on one task."""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from lossmith.errors import InputError
from lossmith.losses import Loss
from lossmith.metrics import accuracy, finite
from lossmith.training.adversary import checked_max_pixel
from lossmith.training.augmentation import check_augmentation
from lossmith.training.backend import POPULATION, Backend, has_compiler
from lossmith.training.engines import ENGINES, Passes, Run
from lossmith.training.imbalance import check_balance
from lossmith.training.loop import Finished, Judge, Loop, Observe, Samples
from lossmith.training.networks import Networks, Task
from lossmith.training.randomness import is_stochastic, seeded
from lossmith.training.recipe import Recipe
from lossmith.training.shortage import is_shortage

ONE_SAMPLE = "Expected more than 1 value per channel"


@dataclass(frozen=True)
class Trained:
    """The outcome of a training.

    Args:
        networks: The P trained networks.
        diverged: Members whose parameters, buffers or logits are no longer finite numbers, boolean ``[P]``.
        curve: Accuracy, or another figure, on the monitored data after each epoch, ``[P, epochs]`` in float64, or None.
            A network with a logit that is not a finite number counts as wrong on every sample.
        losses: The losses that they were trained with, ``[P]``.
        max_pixel: Value of a white pixel, if they are networks of images that can be attacked.
        pruned: Members whose training was given up as hopeless, boolean ``[P]``; None says none.
    """

    networks: Networks
    diverged: Tensor
    curve: Tensor | None
    losses: Loss
    max_pixel: float | None = None
    pruned: Tensor | None = None


Figure = Callable[[Trained, Tensor, Tensor], Tensor]
"""A number ``[P]`` in float64 of networks, inputs and class indices."""


class Trainer:
    """Trains populations on one task; keeps what this process has learned about it.

    That is: compiled passes, and how many networks the memory holds; results depend on it to rounding only.

    Args:
        task: What is trained on what.
        threads: Threads that trainings will have, if not those of this process; measurements are made with so many.
    """

    def __init__(self, task: Task, threads: int | None = None) -> None:
        self.task, self.threads = task, threads
        self.passes = Passes(task)
        self.fits: int | None = None
        self._refusals: dict[tuple[str, Recipe], str | None] = {}

    @staticmethod
    def of(task: Task | Trainer) -> Trainer:
        """The trainer itself, or a new one of a task."""
        return task if isinstance(task, Trainer) else Trainer(task)

    def train(
        self,
        losses: Loss,
        seeds: Sequence[int],
        recipe: Recipe,
        backend: Backend | str = POPULATION,
        *,
        monitor: Samples | None = None,
        figure: Figure | None = None,
        stop: int | None = None,
        share: float = 1.0,
        prune_at: float | None = None,
        judge: Judge | None = None,
        progress: Callable[[float], None] | None = None,
        observe: Observe | None = None,
    ) -> Trained:
        """Train one network for each member.

        Where the memory of a GPU does not hold all members at once, they are trained in halves, with one warning.

        Args:
            losses: A population ``[P]``.
            seeds: One seed a member, from which its initial weights, batches and dropout derive.
            recipe: The recipe of all members.
            backend: How they are run, or its name; the results agree to rounding.
            monitor: Inputs and class indices on which accuracy is measured after each epoch.
            figure: What is measured on them instead.
            stop: End after this many epochs of the recipe (early stopping), its schedule unchanged.
            share: End after this share of the recipe's batches (partial training), its schedule unchanged.
            prune_at: After this share of the batches, stop training networks that are hopeless: at chance level on the
                task's held-out data, or no longer finite.
            judge: What the recipe's early stopping and ``prune_at`` go by instead of accuracy.
            progress: Called after each epoch with the share of the work that is done.
            observe: Called before the first batch (epoch 0) and after each epoch with the members that are still
                trained together, the epoch, and their networks as they are then; again from epoch 0 where the memory
                did not hold them and they begin anew.

        Raises:
            InputError: if there is not one seed for each member, the losses are made for another number of classes,
                the backend cannot run the network, the recipe does not suit the data, or the memory of the GPU does
                not hold one network.
        """
        task, backend = self.task, Backend.parse(backend) if isinstance(backend, str) else backend
        losses.check_classes(task.classes)
        if len(losses) != len(seeds):
            raise InputError(f"{len(losses)} losses need as many seeds, not {len(seeds)}")
        check_recipe(task, recipe)
        check_state(task, recipe)
        backend = self.resolved(backend, recipe)
        if task.held_out is None and prune_at is not None:
            raise InputError(
                "hopeless networks are found on data held out: give the task held_out, or leave prune_at out"
            )
        watched = None if monitor is None else partial(_seen, task, losses, figure, samples=monitor)
        judged = None if judge is None else partial(_seen, task, losses, judge.figure)
        chance, length = None if judge is None else judge.chance, _length(task, recipe, stop, share)
        loop = Loop(task, recipe, length, watched, prune_at, observe, judged, chance)
        groups = self.groups(seeds, recipe, backend)
        done: list[Finished] = []
        while groups:
            members = groups.pop(0)
            before = sum(len(part.members) for part in done) / len(seeds)

            def report(part: float, before: float = before, size: float = len(members) / len(seeds)) -> None:
                if progress is not None:
                    progress(before + size * part)

            try:
                with seeded(task.device, seeds[members[0]], "dropout"), vectorizable(recipe):
                    part = loop.run(members, self.start(losses, seeds, recipe, backend, members), report)
                done.append(replace(part, networks=part.networks.on(done[0].networks.base)) if done else part)
                continue
            except (RuntimeError, MemoryError) as error:
                size = self.smaller(len(members), error)
            let_go()
            groups = _parts([members, *groups], size)
        place = [member for part in done for member in part.members]
        order = sorted(range(len(place)), key=place.__getitem__)
        networks = Networks.gather([part.networks for part in done], order)
        # Finite weights can still give logits that are not.
        sound = networks.finite() & finite(networks.logits(task.inputs[: recipe.batch_size]))
        curve = torch.cat([part.curve for part in done])[order] if monitor is not None else None
        pruned = torch.cat([part.pruned for part in done])[order]
        return Trained(networks, ~sound, curve, losses, task.max_pixel, pruned)

    def resolved(self, backend: Backend, recipe: Recipe) -> Backend:
        """The backend with the engine that trains this task; ``population`` is the first one that can.

        Raises:
            InputError: if the backend cannot train it, or needs a compiler that is not there.
        """
        if backend.compiled and not has_compiler(self.task.device):
            raise InputError(
                f"the way of training {backend} needs a compiler, which is not found here (g++ on a CPU, Triton on a "
                "GPU): install it, or take training = auto"
            )
        if backend.engine == POPULATION:
            populations = (name for name, engine in ENGINES.items() if engine.population)
            return Backend(next(name for name in populations if self.refusal(name, recipe) is None))
        reason = self.refusal(backend.engine, recipe)
        if reason is not None:
            raise InputError(f"training = {backend} cannot be used, since {reason}; take training = population")
        return backend

    def refusal(self, engine: str, recipe: Recipe) -> str | None:
        """Why an engine cannot train this task, as the end of a sentence, or None."""
        find, key = ENGINES[engine].refusal, (engine, recipe)
        if find is not None and key not in self._refusals:
            self._refusals[key] = find(self.task.build(0), self.task, recipe)
        return self._refusals.get(key)

    def groups(self, seeds: Sequence[int], recipe: Recipe, backend: Backend) -> list[list[int]]:
        """Members that are trained together."""
        if not backend.population:
            return [[member] for member in range(len(seeds))]
        groups = [list(range(len(seeds)))]
        if len(set(seeds)) > 1 and is_stochastic(self.task.build(seeds[0]), self.task.inputs[: recipe.batch_size]):
            groups = [[k for k, seed in enumerate(seeds) if seed == wanted] for wanted in dict.fromkeys(seeds)]
        return _parts(groups, self.fits or len(seeds))

    def start(self, losses: Loss, seeds: Sequence[int], recipe: Recipe, backend: Backend, members: list[int]) -> Run:
        """The run of some members, by a resolved backend."""
        engine = ENGINES[backend.engine]
        chosen = [seeds[member] for member in members]
        return engine.start(self.task, losses[members], chosen, recipe, backend, self.passes)

    def smaller(self, members: int, error: RuntimeError | MemoryError) -> int:
        """How many networks to train at once instead of so many, which the memory does not hold; it is remembered.

        Other errors are raised again.
        """
        device = self.task.device
        if not is_shortage(error):
            raise error
        if members == 1:
            raise InputError(
                f"the memory of {device} does not hold the training of one network: give a smaller batch_size or a "
                "smaller network, or train in bfloat16 (precision)"
            ) from None
        if self.fits is None:
            warnings.warn(
                f"the memory of {device} does not hold {members} networks at once; they are trained in parts",
                stacklevel=_outside(),
            )
        self.fits = -(-members // 2)
        return self.fits


def train(
    task: Task,
    losses: Loss,
    seeds: Sequence[int],
    recipe: Recipe,
    backend: Backend | str = POPULATION,
    monitor: Samples | None = None,
    stop: int | None = None,
    share: float = 1.0,
    prune_at: float | None = None,
    progress: Callable[[float], None] | None = None,
    observe: Observe | None = None,
) -> Trained:
    """Train one network for each member, once; a :class:`Trainer` keeps what it compiles for the next training.

    Arguments and errors are those of :meth:`Trainer.train`.
    """
    return Trainer(task).train(
        losses,
        seeds,
        recipe,
        backend,
        monitor=monitor,
        stop=stop,
        share=share,
        prune_at=prune_at,
        progress=progress,
        observe=observe,
    )


def check_recipe(task: Task, recipe: Recipe) -> None:
    """Raise an InputError if a recipe does not suit a task."""
    if recipe.adversary != "none":
        checked_max_pixel(task)
    check_augmentation(task.inputs, recipe)
    check_balance(task, recipe)
    if recipe.patience is not None and task.held_out is None:
        raise InputError("early stopping (patience) needs data held out: give the task held_out, or leave it out")


def check_state(task: Task, recipe: Recipe) -> str | None:
    """What the user should know of a network's state, as a sentence, or None.

    Raises:
        InputError: if it keeps something where it would be lost.
    """
    with vectorizable(recipe):
        found = task.stateful(recipe.batch_size)
    if found.reason is not None:
        raise InputError(f"the network cannot be trained, since {found.reason}")
    return None if found.notice is None else f"the network {found.notice}"


def repeated(losses: Loss, times: int) -> Loss:
    """A population in which each member stands ``times`` times, one after another."""
    return losses[torch.arange(len(losses)).repeat_interleave(times)]


@contextmanager
def vectorizable(recipe: Recipe) -> Iterator[None]:
    """Turn the error of a network that cannot be vectorized, or have batches of one sample, into an InputError."""
    try:
        yield
    except ValueError as error:
        if ONE_SAMPLE not in str(error):
            raise
        raise InputError(
            "batch norm cannot learn from a batch of one sample: give a batch_size of 2 or more, and as many training "
            "samples"
        ) from None
    except RuntimeError as error:
        vmapped = any(word in str(error) for word in ("vmap", "Batching rule"))
        mixed = recipe.precision != "float32" and "BFloat16" in str(error)
        if not vmapped and not mixed:
            raise
        reason = str(error).strip().split("\n")[0].split(". ")[0].rstrip(".")
        other = " or precision = float32" if mixed else ""
        raise InputError(
            f"the network cannot be trained as a population ({reason}); train it with training = sequential{other}"
        ) from None


def let_go() -> None:
    """Free what a training that failed has left; outside of the handler of its error, which holds on to it."""
    gc.collect()
    torch.cuda.empty_cache()


def _seen(
    task: Task, losses: Loss, figure: Figure | None, members: list[int], networks: Networks, samples: Samples
) -> Tensor:
    """A figure ``[P]`` of some members on some samples; accuracy without one."""
    if figure is None:
        return accuracy(networks.logits(samples[0]), samples[1])
    return figure(Trained(networks, ~networks.finite(), None, losses[members], task.max_pixel), *samples)


def _length(task: Task, recipe: Recipe, stop: int | None, share: float) -> int:
    """Number of batches that are trained."""
    samples = len(task.inputs)
    length = max(1, round(share * recipe.total_steps(samples)))
    return length if stop is None else min(length, stop * recipe.steps_per_epoch(samples))


def _parts(groups: Sequence[list[int]], size: int) -> list[list[int]]:
    return [group[start : start + size] for group in groups for start in range(0, len(group), size)]


def _outside() -> int:
    """The level of the stack, for a warning of the function that asks, at which this package is left."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("lossmith.training."):
        frame, level = frame.f_back, level + 1
    return level
