"""The training of perceptrons and small convolutional networks by a program that is compiled where it runs.

It takes one member after another. What a member's steps need, its parameters and what its optimizer keeps, stays in the
second-level cache of a processor for many batches, and sums are made in registers: `program/`. The slope of a sum of
powers for class indices is found there, too; for other losses and labels the program stops at the logits of each batch,
and goes on with slopes that PyTorch makes of them. Where there is no compiler, or for another network or recipe, the
population is trained as before.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from lossmith.losses import Loss
from lossmith.training.engines.compiler import compiled
from lossmith.training.engines.design import Design
from lossmith.training.engines.layout import Shape
from lossmith.training.engines.masks import drawn_masks
from lossmith.training.engines.population import Beginning
from lossmith.training.engines.rules import Rules
from lossmith.training.networks import Networks, State, Task
from lossmith.training.recipe import Recipe

if TYPE_CHECKING:
    from lossmith.training.backend import Backend

SOURCE = Path(__file__).parent / "program" / "networks.cpp"
REALS = {torch.float32: ("REAL=float", "WHOLE=int32_t", "SINGLE"), torch.float64: ("REAL=double", "WHOLE=int64_t")}
BETA = 0.999  # β2 of AdamW
BATCHES = 2**19  # bytes of one member's inputs of a call, which stay in the cache beside it
STEPS, FORWARD, BACKWARD, LOGITS = range(4)  # what a call does
SAMPLES = 64  # of a step that gives logits alone


class Plan(ctypes.Structure):
    """The arguments of the program, in its order."""

    NUMBERS: ClassVar = (
        *("members", "threads", "layers", "batch", "begin", "steps", "sets", "size", "room", "ruled"),
        *("phase", "stages", "chunk", "convolved", "entered"),
    )
    LISTS: ClassVar = ("geometry", "widths", "relu", "turned", "weight", "bias", "which", "of", "targets")
    TENSORS: ClassVar = ("inputs", "shares", "rule", "masks", "drops", "state", "first", "second", "work", "rates")
    FACTORS: ClassVar = ("momentum", "weight_decay", "clip")
    _fields_: ClassVar = [
        *((name, ctypes.c_int64) for name in NUMBERS),
        *((name, ctypes.c_void_p) for name in (*LISTS, *TENSORS)),
        *((name, ctypes.c_double) for name in FACTORS),
        ("adam", ctypes.c_int64),
    ]


@contextmanager
def _threads() -> Iterator[int]:
    """The number of threads, while PyTorch has one.

    Its threads that have just worked wait for more at full speed, and would take the program's cores.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class Evaluation:
    """The logits of trained networks by the program.

    Args:
        stem: What comes before the layers.
        shape: How a member lies in memory.
    """

    stem: nn.Module
    shape: Shape

    @torch.no_grad()
    def __call__(self, parameters: State, inputs: Tensor) -> Tensor | None:
        """Logits ``[P, N, K]`` of inputs ``[N, …]`` in evaluation mode, or None where the program cannot do it.

        Args:
            parameters: ``[P, …]`` each.
            inputs: Of any number.
        """
        shape, x, first = self.shape, self.stem(inputs), next(iter(parameters.values()))
        library = compiled(SOURCE, *REALS[first.dtype]) if first.dtype in REALS and first.device.type == "cpu" else None
        # Networks may have come from a machine with other vectors.
        fits = library is not None and library.lanes() == shape.lanes
        if library is None or not fits or not len(x) or x.dtype != first.dtype or x.shape[1:] != shape.entering:
            return None
        x = torch.relu(x) if any(isinstance(module, nn.ReLU) for module in shape.before) else x
        samples, row = min(SAMPLES, len(x)), shape.filled(shape.widths[-1])
        steps = -(-len(x) // samples)
        work = first.new_empty(len(first), steps * samples, row)
        known = {
            **shape.lists,
            "which": torch.arange(len(first)),
            "of": torch.zeros(len(first), dtype=torch.int64),
            "inputs": shape.laid_out(_filled(x, steps * samples).unflatten(0, (steps, samples))),
            "masks": torch.zeros(len(shape.layers), dtype=torch.int64),
            "state": shape.packed(parameters),
            "work": work,
        }
        with _threads() as threads:
            plan = Plan(
                members=len(first),
                threads=threads,
                steps=steps,
                sets=1,
                phase=LOGITS,
                **_sizes(shape, samples),
                **{name: value.data_ptr() for name, value in known.items()},
            )
            _run(library, plan)
        return work[:, : len(x), : shape.widths[-1]]


def _filled(x: Tensor, samples: int) -> Tensor:
    """The samples and zeros, so many in all."""
    return nn.functional.pad(x, (0, 0) * (x.ndim - 1) + (0, samples - len(x)))


def _addresses(tensors: list[Tensor | None]) -> Tensor:
    """Where tensors begin in memory; 0 where there is none."""
    return torch.tensor([0 if tensor is None else tensor.data_ptr() for tensor in tensors], dtype=torch.int64)


def _sizes(shape: Shape, batch: int) -> dict[str, int]:
    """What the program is told of a network and its batches."""
    return {
        "layers": len(shape.layers),
        "stages": len(shape.stages),
        "size": shape.size,
        "convolved": shape.convolved,
        "batch": batch,
        "chunk": shape.chunk(batch),
        "entered": shape.entered(batch),
    }


def _run(library: ctypes.CDLL, plan: Plan) -> None:
    if library.train(ctypes.byref(plan)):
        raise MemoryError("the memory does not hold the work of a network")


class NativeRun:
    """The training of P networks with P losses: the same steps as P sequential runs.

    Args:
        begun: Networks and batches as they are at the start.
        rules: How they come to the slopes of their losses.
        recipe: The recipe of all.
        backend: How they are run.
        stem: What comes before the layers.
        shape: How a member lies in memory.
        library: The program.
    """

    def __init__(
        self,
        begun: Beginning,
        rules: Rules,
        recipe: Recipe,
        backend: Backend,
        stem: nn.Module,
        shape: Shape,
        library: ctypes.CDLL,
    ) -> None:
        self.batches, self.base, self.place = begun.batches, begun.base, begun.place
        self.rules, self.recipe, self.backend, self.stem = rules, recipe, backend, stem
        self.shape, self.library = shape, library
        self.work = torch.empty(0)
        self.total = recipe.total_steps(self.batches.samples)
        self.state = shape.packed(begun.parameters)
        self.kept = [torch.zeros_like(self.state) for _ in range(1 + (recipe.optimizer == "adamw"))]
        self.done = 0

    def step(self) -> None:
        """Train on the next batch."""
        self.advance(1)

    def advance(self, batches: int) -> None:
        """Train on the next batches."""
        end = self.done + batches
        with _threads() as threads:
            while self.done < end:
                self.rules.look(self.done)
                most = self.rules.lasts(self.done, min(end - self.done, self._most()))
                inputs, targets = self.batches.several(self.done, most)
                self._train(inputs, targets, threads)
                self.done += len(inputs)

    def keep(self, members: list[int]) -> None:
        """Go on with some of the members only."""
        self.state, self.place = self.state[members], self.place[members]
        self.rules.keep(members)
        self.kept = [value[members] for value in self.kept]

    def networks(self) -> Networks:
        """The networks as they are now, copied."""
        views = self.shape.views(self.state)
        parameters = {
            name: views[name].clone(memory_format=torch.contiguous_format).view(-1, *value.shape)
            for name, value in self.base.named_parameters()
        }
        return Networks(self.base, parameters, {}, quick=Evaluation(self.stem, self.shape))

    def _most(self) -> int:
        """Batches of one call."""
        return max(1, BATCHES // (self.shape.entered(self.batches.size) * self.state.element_size()))

    @torch.no_grad()
    def _train(self, inputs: Tensor, targets: Tensor, threads: int) -> None:
        shape, rules, seeds = self.shape, self.rules, len(self.batches.seeds)
        steps, size = len(inputs), self.batches.size
        leading = inputs.shape[: 2 + (seeds > 1)]
        x: Tensor = self.stem(inputs.flatten(0, len(leading) - 1)).unflatten(0, leading)
        drops, masks = drawn_masks(self.shape, x, size)
        known = {
            **shape.lists,
            "of": self.place,
            "inputs": shape.laid_out(x),
            "masks": _addresses(masks),
            "state": self.state,
            "first": self.kept[0],
            "second": self.kept[-1],
            "rates": torch.tensor([self._rates(self.done + number) for number in range(steps)], dtype=torch.float64),
        }
        if drops:
            known["drops"] = _addresses(drops)
        if len(rules.ours):
            known["targets"] = targets.to(torch.int64).contiguous()
            known["shares"] = nn.functional.pad(rules.shares(targets), (0, shape.filled(size) - size))
            known["rule"] = rules.table
        plan = Plan(
            threads=threads,
            sets=seeds,
            **_sizes(shape, size),
            momentum=self.recipe.momentum,
            weight_decay=self.recipe.weight_decay,
            clip=self.recipe.clip or 0.0,
            adam=self.recipe.optimizer == "adamw",
            **{name: value.data_ptr() for name, value in known.items()},
        )
        if len(rules.ours):
            plan.ruled = known["rule"][0].numel()
            self._call(plan, rules.ours, STEPS, 0, steps)
        if len(rules.theirs):
            widths = shape.widths if shape.stages else shape.widths[1:]
            plan.room = size * sum(map(shape.filled, (*widths, widths[-1]))) + self.library.room(ctypes.byref(plan))
            self._train_others(plan, targets)

    def _train_others(self, plan: Plan, targets: Tensor) -> None:
        """Train the members whose slopes the program does not find."""
        theirs, size, classes = self.rules.theirs, plan.batch, self.shape.widths[-1]
        if self.work.shape != (len(theirs), plan.room):
            self.work = self.state.new_zeros(len(theirs), plan.room)
        plan.work = self.work.data_ptr()
        row = self.shape.filled(classes)
        last = self.work[:, -2 * size * row :].unflatten(1, (2 * size, row))[..., :classes]
        logits, slopes = last.split(size, 1)
        for number, labels in enumerate(targets):
            own = labels if plan.sets == 1 else labels[self.place[theirs]]
            self._call(plan, theirs, FORWARD, number)
            slopes.copy_(self.rules.slopes(self.done + number, logits, own))
            self._call(plan, theirs, BACKWARD, number)

    def _call(self, plan: Plan, members: Tensor, phase: int, begin: int, steps: int = 1) -> None:
        plan.members, plan.which, plan.phase, plan.begin, plan.steps = (
            len(members),
            members.data_ptr(),
            phase,
            begin,
            steps,
        )
        _run(self.library, plan)

    def _rates(self, step: int) -> tuple[float, float, float]:
        """The factors of a step: of the update, of the root of AdamW's second moment, and the learning rate."""
        rate = self.recipe.rate(step, self.total)
        if self.recipe.optimizer == "sgd":
            return rate, 1.0, rate
        one, two = (1 - beta ** (step + 1) for beta in (self.recipe.momentum, BETA))
        return rate / one, two**-0.5, rate


def compiled_run(
    task: Task, begun: Beginning, losses: Loss, recipe: Recipe, backend: Backend, design: Design
) -> NativeRun | None:
    """The training of such a population, or None where the program cannot do it.

    Args:
        task: What is trained on what.
        begun: Networks and batches as they are at the start.
        losses: A population ``[P]``.
        recipe: The recipe of all.
        backend: How they are run.
        design: What the networks are.
    """
    like = next(iter(begun.parameters.values()))
    last = next(layer.name for layer in reversed(design.layers) if layer.kind == "linear")
    inputs, classes = design.stem(task.inputs[:1]), begun.parameters[f"{last}.weight"].shape[1]
    labeled = task.targets.is_floating_point() or 0 <= int(task.targets.min()) <= int(task.targets.max()) < classes
    if task.device.type != "cpu" or recipe.adversary != "none" or inputs.dtype != like.dtype or not labeled:
        return None
    library = compiled(SOURCE, *REALS[like.dtype])
    if library is None:
        return None
    shape = Shape(design, begun.parameters, library.lanes(), tuple(inputs.shape[1:]))
    if not shape.whole:
        return None
    rules = Rules(task, losses, recipe, recipe.total_steps(begun.batches.samples), like)
    return NativeRun(begun, rules, recipe, backend, design.stem, shape, library)
