"""The parts of `benchmarks/gpu.py` that measure: each gives its figures one by one, as soon as they are there.

A row is a dict of JSON with ``"what"`` it tells. One that could not be measured has an ``"error"``, or says under
``"skipped"`` why it was left out; the rows after it are measured all the same.
"""

import gc
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from candidate_cost import (
    CIFAR,
    GPU_SIZES,
    SHAPES,
    SIZES,
    Size,
    backends_of,
    convolves,
    lossmith_candidates,
    measured,
    opponents_of,
    points_of,
)
from candidate_cost import task_of as random_task
from machine import seconds, wait
from partial_search import HOUR, SETTINGS, Partial
from partial_search import measured as searched

from lossmith.data import KINDS, DataSettings, open_source, search_parts
from lossmith.nets import ModelSettings, network_factory, offered
from lossmith.search import residual
from lossmith.seeds import generator
from lossmith.training import Backend, Recipe, Task, Trainer, has_compiler, train

Row = dict[str, Any]
Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
# Members, batches and samples in a batch of a training that only shows that a network trains.
TRIAL = {False: (3, 6, 32), True: (2, 1, 4)}
# The same kinds of networks, small.
TINY = {
    "preresnet-20": "preresnet-8",
    "preresnet-32": "preresnet-8",
    "preresnet-56": "preresnet-8",
    "wrn-16-8": "wrn-10-1",
    "wrn-28-5": "wrn-10-1",
    "wrn-28-10": "wrn-10-1",
}
TINY_SIZE = Size(4, 1, 2)
LEAST_STEPS, LEAST_MEMBERS = 5, 4
# Batches of each member that `hour` takes: 3 and at least 5 times 10, and 4 times 5,000 samples forwards.
HOUR_BATCHES = 110
VOCABULARY, LENGTH = 100, 16
# The MLP has no authors: a tenth of 30 epochs of 16 batches, those of the demo.
TENTHS = {"mlp": Partial(48, 20, Recipe(batch_size=50, lr=0.05)), **SETTINGS}


@dataclass(frozen=True)
class Asked:
    """What a part is to measure.

    Args:
        kind: A name of ``PARTS``.
        models: Networks.
        device: Where.
        until: When it must have ended, in seconds of the system's clock.
        tiny: Whether small networks are trained for next to no time, to see that the program works.
        pairs: Pairs of times behind each ratio.
        precision: Of what is compiled.
        data: An .npz file instead of random images.
    """

    kind: str
    models: tuple[str, ...]
    device: str
    until: float = math.inf
    tiny: bool = False
    pairs: int = 3
    precision: Precision = "float32"
    data: str | None = None

    @property
    def place(self) -> torch.device:
        """The device."""
        return torch.device(self.device)

    def left(self) -> float:
        """Seconds that are left."""
        return self.until - time.time()

    def task(self, model: str, samples: int, digits: bool = False) -> Task:
        """A network, and samples of the file, or random ones of the network's usual shape; for the MLP, or digits."""
        name = TINY.get(model, model) if self.tiny else model
        if self.data is not None:
            parts = search_parts(open_source(self.data), DataSettings(source=self.data))
            inputs, targets = parts.train.inputs[:samples], parts.train.targets[:samples]
            return task_of(name, inputs, targets, parts.classes, self.place)
        if digits and name == "mlp":
            return random_task(name, max(samples, 100), self.place)
        random = generator("gpu", name)
        if name in offered("tokens"):
            inputs = torch.randint(VOCABULARY, (samples, LENGTH), generator=random)
        else:
            inputs = torch.randint(256, (samples, *SHAPES.get(name, CIFAR)), generator=random, dtype=torch.uint8)
        return task_of(name, inputs, torch.arange(samples) % 10, 10, self.place)

    def size(self, model: str) -> Size:
        """The most that is measured of a network."""
        sizes = {**SIZES, **GPU_SIZES} if self.place.type == "cuda" else SIZES
        return TINY_SIZE if self.tiny else sizes[model]


def task_of(name: str, inputs: torch.Tensor, targets: torch.Tensor, classes: int, device: torch.device) -> Task:
    """A network on some samples, images or tokens."""
    kind, ids = ("tokens", VOCABULARY) if name in offered("tokens") else ("image", None)
    layer, settings = KINDS[kind].layer(inputs), ModelSettings(name=name)
    factory = network_factory(settings, layer, tuple(inputs.shape[1:]), classes, kind=kind, vocabulary=ids)
    return Task(factory, inputs.to(device), targets.to(device), classes)


def peak_bytes(work: Callable[[], object], device: torch.device) -> int | None:
    """The most memory that PyTorch allocates on a GPU in some work; None on a CPU, where it does not count."""
    if device.type != "cuda":
        work()
        return None
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    work()
    wait(device)
    return torch.cuda.max_memory_allocated(device)


def told(what: str, work: Callable[[], Row], **more: Any) -> Row:
    """The row of some work, or of its error."""
    try:
        return {"what": what, **more, **work()}
    except Exception as error:
        # What fails on a machine that nobody has seen is a figure, too.
        words = str(error).strip().split("\n")[0]
        return {"what": what, **more, "error": f"{type(error).__name__}: {words}"}


def with_task(task: Callable[[], Task], model: str, figures: Callable[[str, Task], Iterator[Row]]) -> Iterator[Row]:
    """The figures of a network, or one row of the error that it cannot be made."""
    made = told("network", lambda: {"task": task()}, model=model)
    if "error" in made:
        yield made
    else:
        yield from figures(model, made["task"])


def trains(asked: Asked) -> Iterator[Row]:
    """Whether every network trains: one by one, channels last, as a population, in both precisions."""
    members, steps, batch = TRIAL[asked.tiny]

    def figures(model: str, task: Task) -> Iterator[Row]:
        for precision in PRECISIONS:
            recipe = Recipe(batch_size=batch, steps=steps, lr=0.01, precision=precision)
            first: list[torch.Tensor] = []
            for backend in ("sequential", "sequential-channels-last", "population"):
                if suits(backend, task):
                    work = partial(trial, task, recipe, members, backend, first)
                    yield told("trains", work, model=model, backend=backend, precision=precision)

    for model in asked.models:
        yield from with_task(partial(asked.task, model, 2 * batch), model, figures)


def suits(backend: str, task: Task) -> bool:
    """Whether a way of training suits a network: the layout of memory is nothing to one that does not convolve."""
    return not Backend.parse(backend).channels_last or convolves(task)


def trial(task: Task, recipe: Recipe, members: int, backend: str, first: list[torch.Tensor]) -> Row:
    """A short training: whether weights moved and are finite, time, memory, and how far logits are from the first's."""
    losses, found = residual(points_of(members), task.classes), []
    taken = time.perf_counter()
    peak = peak_bytes(lambda: found.append(train(task, losses, [0] * members, recipe, backend)), task.device)
    taken = time.perf_counter() - taken
    fresh = dict(task.build(0).named_parameters())
    weights = {name: value for name, value in found[0].networks.parameters.items() if fresh[name].ndim > 1}
    moved = all(not torch.equal(value[0], fresh[name]) for name, value in weights.items())
    logits = found[0].networks.logits(task.inputs[: recipe.batch_size])
    first.append(logits)
    apart = float((logits - first[0]).abs().max() / first[0].abs().max())
    return {
        "moved": moved,
        "finite": not bool(found[0].diverged.any()),
        "seconds": taken,
        "peak_bytes": peak,
        "apart": apart if math.isfinite(apart) else None,
    }


def samples_of(asked: Asked, size: Size) -> int:
    """Samples of a task that is measured."""
    return 4 * size.batch if asked.tiny else max(32 * size.batch, 256)


def costs(asked: Asked) -> Iterator[Row]:
    """What a candidate of some networks costs against the ordinary loops, its memory, and candidates an hour."""

    def figures(model: str, task: Task) -> Iterator[Row]:
        size, backends, measurements = asked.size(model), backends_of(task, compiled=False), dict[str, Row]()
        for precision, share in zip(PRECISIONS, (0.4, 0.55), strict=True):
            recipe = Recipe(batch_size=size.batch, steps=size.steps, lr=0.01, precision=precision)
            work = partial(ratio, task, recipe, size, backends, asked, share)
            found = told("ratio", work, model=model, precision=precision)
            yield found
            if "seconds" in found:
                measurements[precision] = found
                few = recipe.model_copy(update={"steps": min(2, size.steps)})
                work = partial(memory, task, few, found["size"]["population"], backends)
                yield told("memory", work, model=model, precision=precision)
        if measurements:
            yield told("hour", partial(hour, asked, model, task, measurements), model=model)

    for model in asked.models:
        task = partial(asked.task, model, samples_of(asked, asked.size(model)), digits=True)
        yield from with_task(task, model, figures)


def ratio(task: Task, recipe: Recipe, size: Size, backends: list[str], asked: Asked, share: float) -> Row:
    """The ratios of one network, of as many batches and candidates as fit into a share of the time that is left.

    A compiled way is compiled first, which is timed by itself.
    """
    trainer, opponents = Trainer(task), len(opponents_of(task)) + (recipe.precision != "float32")
    populations = [Backend.parse(name).population for name in backends]
    singles, allowed = opponents + populations.count(False), share * asked.left()
    batch = batch_seconds(task, recipe, asked.tiny)
    fitting = fitted(size, batch, allowed, asked.pairs, singles, any(populations))
    if fitting is None:
        return {"skipped": f"a batch takes {batch:.3g} s, which is too long for the {allowed:.0f} s that are left"}
    compiling: dict[str, float] = {}
    once = recipe.model_copy(update={"steps": 1})
    for backend in backends:
        if Backend.parse(backend).compiled:
            points = points_of(fitting.population if Backend.parse(backend).population else 1)
            compiling[backend] = seconds(partial(lossmith_candidates, trainer, once, points, backend), task.device)
    recipe = recipe.model_copy(update={"steps": fitting.steps})
    found = measured(trainer, recipe, fitting.population, [torch.get_num_threads()], asked.pairs, backends)
    building = seconds(partial(task.build, 0), task.device)
    return {"size": vars(fitting), "seconds_of_compiling": compiling, "seconds_of_building": building, **found}


def batch_seconds(task: Task, recipe: Recipe, tiny: bool) -> float:
    """Seconds of a batch of the plainest ordinary loop, after a training that is not counted."""
    opponent, steps = opponents_of(task)["ordinary"], 1 if tiny else LEAST_STEPS
    few = recipe.model_copy(update={"steps": steps})
    work = partial(opponent.candidate, few, [0.0] * 5)
    work()
    return seconds(work, task.device) / steps


def fitted(size: Size, batch: float, allowed: float, pairs: int, singles: int, population: bool) -> Size | None:
    """The most batches and candidates that fit into the time, if a population is no slower than one by one.

    Candidates are given up first, since with few batches the building of a network would be much of its cost. Every
    side runs once uncounted and once for its threads before the pairs.

    Args:
        size: The most that is wanted.
        batch: Seconds of a batch of one network.
        allowed: Seconds.
        pairs: Runs that count.
        singles: Sides that train one network.
        population: Whether there is a side that trains a population.
    """
    for halvings in range(16):
        steps = max(min(LEAST_STEPS, size.steps), size.steps >> halvings // 2)
        members = max(min(LEAST_MEMBERS, size.population), size.population >> halvings)
        if (pairs + 2) * batch * steps * (singles + members * population) <= allowed:
            return Size(size.batch, steps, members)
    return None


def memory(task: Task, recipe: Recipe, population: int, backends: list[str]) -> Row:
    """The peak of memory of each side, data and all; of the population, in how many parts it was trained."""
    trainer, points, peaks = Trainer(task), points_of(population), dict[str, int | None]()
    for name, opponent in opponents_of(task).items():
        peaks[name] = peak_bytes(partial(opponent.candidate, recipe, points[0].tolist()), task.device)
    for backend in backends:
        members = points if Backend.parse(backend).population else points[:1]
        peaks[backend] = peak_bytes(partial(lossmith_candidates, trainer, recipe, members, backend), task.device)
    return {"population": population, "at_once": trainer.fits or population, "peak_bytes": peaks}


def hour(asked: Asked, model: str, task: Task, found: dict[str, Row]) -> Row:
    """Candidates an hour at a tenth of the schedule, extrapolated from one batch of a generation and its judging."""
    best = {precision: row["seconds"][row["fastest_way"]] / row["size"]["steps"] for precision, row in found.items()}
    precision = min(best, key=best.__getitem__)
    row, tenth = found[precision], TENTHS[model]
    fitting = row["size"]["population"] if asked.tiny else 0.7 * asked.left() / (HOUR_BATCHES * best[precision])
    population = int(min(row["size"]["population"], fitting))
    if population < 1:
        return {"skipped": f"a batch takes {best[precision]:.3g} s, which is too long for the time that is left"}
    batch = row["size"]["batch"]
    changes: Row = {"precision": precision, "steps": tenth.batches, **({"batch_size": batch} if asked.tiny else {})}
    recipe = tenth.recipe.model_copy(update=changes)
    backends, validation = [row["fastest_way"]], 2 * batch if asked.tiny else None
    of = searched(task, tenth, population, population, backends, recipe, validation)
    return {"candidates_an_hour": HOUR * population / of["extrapolated_seconds"], "precision": precision, **of}


def compiled(asked: Asked) -> Iterator[Row]:
    """The compiled ways of each network: what compiling takes, and the ratios after it."""
    if not has_compiler(asked.place):
        yield {"what": "compiled", "skipped": "this machine has no compiler (g++ for a CPU, Triton for a GPU)"}
        return

    def figures(model: str, task: Task) -> Iterator[Row]:
        size, share = asked.size(model), 0.5 / (len(asked.models) - asked.models.index(model))
        recipe = Recipe(batch_size=size.batch, steps=size.steps, lr=0.01, precision=asked.precision)
        alone = "sequential-channels-last-compiled" if convolves(task) else "sequential-compiled"
        for backend in (alone, "vmap-compiled"):
            work = partial(ratio, task, recipe, size, [backend], asked, share)
            yield told("compiled", work, model=model, backend=backend, precision=asked.precision)

    for model in asked.models:
        task = partial(asked.task, model, samples_of(asked, asked.size(model)), digits=True)
        yield from with_task(task, model, figures)


PARTS: dict[str, Callable[[Asked], Iterator[Row]]] = {"trains": trains, "costs": costs, "compiled": compiled}


def rows(asked: Asked) -> Iterator[Row]:
    """The rows of a part."""
    return PARTS[asked.kind](asked)
