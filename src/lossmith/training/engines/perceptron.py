"""The training of multilayer perceptrons by a program that is compiled where it runs, one member after another.

What a member's steps need, its parameters and what its optimizer keeps, stays in the second-level cache of a processor
for many batches, and sums are made in registers: `perceptron.cpp`. Where there is no compiler, or for another network,
loss or recipe, the population is trained as before.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from lossmith.losses import Loss, PowerLoss
from lossmith.training.engines.compiler import compiled
from lossmith.training.engines.design import Design
from lossmith.training.engines.population import Beginning
from lossmith.training.networks import Networks, State, Task
from lossmith.training.recipe import Recipe

if TYPE_CHECKING:
    from lossmith.training.backend import Backend

SOURCE = Path(__file__).with_suffix(".cpp")
DEGREE = 8  # of the polynomials there
REALS = {torch.float32: ("REAL=float", "WHOLE=int32_t", "SINGLE"), torch.float64: ("REAL=double", "WHOLE=int64_t")}
BETA = 0.999  # β2 of AdamW
BATCHES = 2**19  # bytes of the inputs of one call, which stay in the cache beside a member


class Plan(ctypes.Structure):
    """The arguments of the program, in its order."""

    NUMBERS: ClassVar = ("members", "threads", "layers", "batch", "steps", "sets", "size")
    LISTS: ClassVar = ("widths", "relu", "turned", "weight", "bias", "of", "targets")
    TENSORS: ClassVar = ("inputs", "rule", "masks", "state", "first", "second", "rates")
    FACTORS: ClassVar = ("momentum", "weight_decay", "clip")
    _fields_: ClassVar = [
        *((name, ctypes.c_int64) for name in NUMBERS),
        *((name, ctypes.c_void_p) for name in (*LISTS, *TENSORS)),
        *((name, ctypes.c_double) for name in FACTORS),
        ("adam", ctypes.c_int64),
    ]


@dataclass
class Dense:
    """A linear layer and what follows it.

    Args:
        name: Prefix of its parameters' names.
        rows: Inputs, or outputs where the weight lies turned: as ``[out, in]``.
        columns: The other number.
        turned: Whether it does: so as to be filled up by fewer zeros.
        weight: Where the weight begins in a member's numbers, ``[rows, columns]`` with rows filled up.
        bias: Where the bias begins, or −1.
        relu: Whether a ReLU follows.
        dropout: Layers of dropout that follow.
    """

    name: str
    rows: int
    columns: int
    turned: bool
    weight: int
    bias: int
    relu: bool = False
    dropout: list[nn.Module] = field(default_factory=list)

    @property
    def widths(self) -> tuple[int, int]:
        """Inputs and outputs."""
        return (self.columns, self.rows) if self.turned else (self.rows, self.columns)


class Shape:
    """How a member lies in memory.

    Args:
        design: What the networks are.
        parameters: ``[P, …]`` each.
        lanes: Numbers of a vector of the processor, to whose multiples rows are filled up.
    """

    def __init__(self, design: Design, parameters: State, lanes: int) -> None:
        self.lanes, self.size = lanes, 0
        self.before: list[nn.Module] = []
        self.layers: list[Dense] = []
        for layer in design.layers:
            if layer.kind == "linear":
                outputs, inputs = parameters[f"{layer.name}.weight"].shape[1:]
                turned = outputs * self.filled(inputs) < inputs * self.filled(outputs)
                rows, columns = (outputs, inputs) if turned else (inputs, outputs)
                weight, bias = self.size, self.size + rows * self.filled(columns)
                self.size = bias + self.filled(outputs) * layer.biased
                self.layers.append(Dense(layer.name, rows, columns, turned, weight, bias if layer.biased else -1))
            elif not self.layers:
                self.before.append(nn.ReLU() if layer.dropout is None else layer.dropout)
            elif layer.dropout is None:
                self.layers[-1].relu = True
            else:
                self.layers[-1].dropout.append(layer.dropout)

        self.widths = [self.layers[0].widths[0], *(layer.widths[1] for layer in self.layers)]
        self.lists = {
            "widths": torch.tensor(self.widths),
            "relu": torch.tensor([int(layer.relu) for layer in self.layers]),
            "turned": torch.tensor([int(layer.turned) for layer in self.layers]),
            "weight": torch.tensor([layer.weight for layer in self.layers]),
            "bias": torch.tensor([layer.bias for layer in self.layers]),
        }

    def filled(self, columns: int) -> int:
        """The length of a row in memory."""
        return -(-columns // self.lanes) * self.lanes

    def views(self, state: Tensor) -> State:
        """The parameters in members' numbers ``[P, size]``."""
        found: State = {}
        for layer in self.layers:
            long = self.filled(layer.columns)
            part = state[:, layer.weight : layer.weight + layer.rows * long]
            weight = part.unflatten(1, (layer.rows, long))[..., : layer.columns]
            found[f"{layer.name}.weight"] = weight if layer.turned else weight.mT
            if layer.bias >= 0:
                found[f"{layer.name}.bias"] = state[:, layer.bias : layer.bias + layer.widths[1]]
        return found


class PerceptronRun:
    """The training of P perceptrons with P losses: the same steps as P sequential runs.

    Args:
        begun: Networks and batches as they are at the start.
        rule: The slopes of the losses, from :func:`coefficients`.
        recipe: The recipe of all.
        backend: How they are run.
        stem: What comes before the layers.
        shape: How a member lies in memory.
        library: The program.
    """

    def __init__(
        self,
        begun: Beginning,
        rule: Tensor,
        recipe: Recipe,
        backend: Backend,
        stem: nn.Module,
        shape: Shape,
        library: ctypes.CDLL,
    ) -> None:
        self.batches, self.base, self.place = begun.batches, begun.base, begun.place
        self.rule, self.recipe, self.backend, self.stem = rule, recipe, backend, stem
        self.shape, self.library = shape, library
        self.total = recipe.total_steps(self.batches.samples)
        first = next(iter(begun.parameters.values()))
        self.state = first.new_zeros(len(first), self.shape.size)
        for name, value in self.shape.views(self.state).items():
            value.copy_(begun.parameters[name])
        self.kept = [torch.zeros_like(self.state) for _ in range(1 + (recipe.optimizer == "adamw"))]
        self.done = 0

    def step(self) -> None:
        """Train on the next batch."""
        self.advance(1)

    def advance(self, batches: int) -> None:
        """Train on the next batches."""
        end, threads = self.done + batches, torch.get_num_threads()
        # Threads of PyTorch that have just worked wait for more at full speed, and would take the program's cores.
        torch.set_num_threads(1)
        try:
            while self.done < end:
                inputs, targets = self.batches.several(self.done, min(end - self.done, self._most()))
                self._train(inputs, targets, threads)
                self.done += len(inputs)
        finally:
            torch.set_num_threads(threads)

    def keep(self, members: list[int]) -> None:
        """Go on with some of the members only."""
        self.state, self.rule, self.place = self.state[members], self.rule[members], self.place[members]
        self.kept = [value[members] for value in self.kept]

    def networks(self) -> Networks:
        """The networks as they are now, copied."""
        views = self.shape.views(self.state)
        names = (name for name, _ in self.base.named_parameters())
        return Networks(self.base, {name: views[name].clone() for name in names}, {})

    def _most(self) -> int:
        """Batches of one call."""
        width = self.shape.filled(self.shape.layers[0].widths[0])
        batch = len(self.batches.seeds) * self.batches.size * width * self.state.element_size()
        return max(1, BATCHES // batch)

    @torch.no_grad()
    def _train(self, inputs: Tensor, targets: Tensor, threads: int) -> None:
        shape, steps, widths = self.shape, range(len(inputs)), self.shape.widths
        x: Tensor = self.stem(inputs.flatten(0, targets.ndim - 1)).unflatten(0, targets.shape)
        masks: list[list[Tensor]] = [[] for _ in shape.layers]
        for number in steps:
            # In the order of a forward pass, so that the masks are those of every engine.
            for module in shape.before:
                x[number] = module(x[number])
            for layer, drawn in zip(shape.layers, masks, strict=True):
                if layer.dropout:
                    mask = x.new_ones(targets.shape[-1], layer.widths[1])
                    for module in layer.dropout:
                        mask = mask * module(torch.ones_like(mask))
                    drawn.append(mask)
        stacked = [torch.stack(drawn) if drawn else None for drawn in masks]
        changing = {
            "of": self.place,
            "targets": targets.to(torch.int64).contiguous(),
            "inputs": nn.functional.pad(x, (0, shape.filled(widths[0]) - widths[0])).contiguous(),
            "rule": self.rule,
            "masks": torch.tensor([0 if mask is None else mask.data_ptr() for mask in stacked]),
            "state": self.state,
            "first": self.kept[0],
            "second": self.kept[-1],
            "rates": torch.tensor([self._rates(self.done + number) for number in steps], dtype=torch.float64),
        }
        plan = Plan(
            members=len(self.state),
            threads=threads,
            layers=len(shape.layers),
            batch=targets.shape[-1],
            steps=len(inputs),
            sets=len(self.batches.seeds),
            size=shape.size,
            momentum=self.recipe.momentum,
            weight_decay=self.recipe.weight_decay,
            clip=self.recipe.clip or 0.0,
            adam=self.recipe.optimizer == "adamw",
            **{name: value.data_ptr() for name, value in (*shape.lists.items(), *changing.items())},
        )
        if self.library.train(ctypes.byref(plan)):
            raise MemoryError("the memory does not hold the work of a perceptron")

    def _rates(self, step: int) -> tuple[float, float, float]:
        """The factors of a step: of the update, of the root of AdamW's second moment, and the learning rate."""
        rate = self.recipe.rate(step, self.total)
        if self.recipe.optimizer == "sgd":
            return rate, 1.0, rate
        one, two = (1 - beta ** (step + 1) for beta in (self.recipe.momentum, BETA))
        return rate / one, two**-0.5, rate


def coefficients(losses: Loss, like: Tensor) -> Tensor | None:
    """The slopes of a population of losses as polynomials, ``[P, 2, 9]``; None if they are none.

    Args:
        losses: A population ``[P]``.
        like: For whose dtype.
    """
    if type(losses) is not PowerLoss:
        return None
    found = losses.gradient_rule(like).polynomials()
    if found is None:
        return None
    table = like.new_zeros(len(losses), 2, DEGREE + 1)
    for place, ascending in enumerate(found):
        for power, c in enumerate(ascending):
            if c is not None:
                table[:, place, power] = c.flatten()
    return table


def compiled_run(
    task: Task, begun: Beginning, losses: Loss, recipe: Recipe, backend: Backend, design: Design
) -> PerceptronRun | None:
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
    hard = not (task.targets.is_floating_point() or recipe.mixup or recipe.cutmix)
    plain = recipe.adversary == "none" and recipe.class_weight == "none" and not recipe.flooding
    rule = coefficients(losses, like) if hard and plain and task.device.type == "cpu" else None
    last = next(layer.name for layer in reversed(design.layers) if layer.kind == "linear")
    inputs, classes = design.stem(task.inputs[:1]), begun.parameters[f"{last}.weight"].shape[1]
    if (
        rule is None
        or inputs.dtype != like.dtype
        or not 0 <= int(task.targets.min()) <= int(task.targets.max()) < classes
    ):
        return None
    library = compiled(SOURCE, *REALS[like.dtype])
    if library is None:
        return None
    shape = Shape(design, begun.parameters, library.lanes())
    if not all(shape.widths):
        return None
    return PerceptronRun(begun, rule, recipe, backend, design.stem, shape, library)
