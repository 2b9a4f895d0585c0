"""What an engine is: it trains some networks, a batch at a time. A new one is a file and a registration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from lossmith.losses import ClassWeighted, Loss, PowerLoss, Rule
from lossmith.registry import Registry
from lossmith.training.imbalance import batch_weights
from lossmith.training.networks import Networks, State, Task
from lossmith.training.randomness import compiled_like_eager
from lossmith.training.recipe import Recipe

if TYPE_CHECKING:
    from lossmith.training.backend import Backend


class Run(Protocol):
    """The training of some networks, a batch at a time.

    Args:
        backend: How they are run.
        done: Batches that they have been trained on.
    """

    backend: Backend
    done: int

    def step(self) -> None:
        """Train on the next batch."""

    def keep(self, members: list[int]) -> None:
        """Go on with some of the members only."""

    def networks(self) -> Networks:
        """The networks as they are now, copied."""


def advance(run: Run, batches: int) -> None:
    """Train on the next batches: at once by ``run.advance(batches)`` where a run has it, since that takes less time."""
    # To ask a protocol takes as long as some batches of a perceptron.
    several: Callable[[int], None] | None = getattr(run, "advance", None)
    if several is not None:
        several(batches)
        return
    for _ in range(batches):
        run.step()


class Schedule:
    """Losses at each batch of a training, and the rule of their gradient, which is made anew only where they change.

    Args:
        losses: One loss or a population.
        total: Batches of the whole training.
        weights: Class weights ``[K]``, or None.
    """

    def __init__(self, losses: Loss, total: int, weights: Tensor | None = None) -> None:
        self.start, self.total, self.weights = losses, total, weights
        self._now = losses
        self._rule: Rule | None = None

    def losses(self, done: int) -> Loss:
        """The losses after some batches."""
        return self.start.at(done / self.total)

    def rule(self, done: int, like: Tensor) -> Rule:
        """The rule of their gradient, for the dtype and device of a tensor."""
        losses = self.losses(done)
        # Members of a mixed population can be new values of the same losses. To compare sums of powers takes longer.
        new = losses is not self._now and (isinstance(losses, PowerLoss) or losses != self._now)
        if self._rule is None or new:
            self._now, self._rule = losses, self._made(losses, like)
        return self._rule

    def known_rule(self, done: int) -> Rule:
        """The rule that is there already, or else the gradient itself; for inputs whose logits are not known yet."""
        losses = self.losses(done)
        if self._rule is not None and losses is self._now:
            return self._rule
        if self.weights is None:
            return losses.logit_gradient
        return lambda logits, targets: self._made(losses, logits)(logits, targets)

    def values(self, done: int, logits: Tensor, targets: Tensor) -> Tensor:
        """The losses of each sample, ``[*P, B]``, by their weights."""
        losses = self.losses(done)
        wide = logits.float() if logits.dtype == torch.bfloat16 else logits
        if self.weights is None:
            return losses.value(wide, targets)
        return ClassWeighted(losses).value(wide, targets, self.weights)

    def mean_gradient(self, done: int, logits: Tensor, targets: Tensor, flooding: float) -> Tensor:
        """The gradient of each member's mean loss, ``[P, B, K]``; below the level of flooding, its opposite.

        Args:
            done: Batches that were trained.
            logits: ``[P, B, K]``.
            targets: Class indices or probabilities of the batch.
            flooding: The level b of ``|L − b| + b``; 0 is none.
        """
        count = batch_weights(self.weights, targets, logits)
        slope = self.rule(done, logits)(logits, targets) / count
        if flooding:
            values = self.values(done, logits, targets)
            mean = values.mean(-1)[:, None, None] if isinstance(count, int) else values.sum(-1)[:, None, None] / count
            slope = slope * (mean - flooding).sign().to(logits.dtype)
        return slope.to(logits.dtype)

    def _made(self, losses: Loss, like: Tensor) -> Rule:
        if self.weights is None:
            return losses.gradient_rule(like)
        return ClassWeighted(losses).rule(like, self.weights)

    def keep(self, members: list[int]) -> None:
        """Go on with some of the members only."""
        self.start, self._rule = self.start[members], None


class Passes:
    """Forward passes of one task's network, compiled once each for all its trainings, with weights as an input."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._made: dict[str, Callable[..., Any]] = {}

    def get(self, name: str, make: Callable[[nn.Module], Callable[..., Any]]) -> Callable[..., Any]:
        """The compiled pass of a name; ``make`` gives the uncompiled one of a network in training mode."""
        if name not in self._made:
            self._made[name] = compiled_like_eager(make(self.task.build(0).train()))
        return self._made[name]


Start = Callable[[Task, Loss, Sequence[int], Recipe, "Backend", Passes], Run]


@dataclass(frozen=True)
class Engine:
    """How networks are run.

    Args:
        start: Begins the training of losses ``[P]`` with one seed each.
        population: Whether it runs all networks in one program; otherwise P is 1.
        compiles: Whether it can be compiled.
        layouts: Whether images can lie in memory with their channels last.
        refusal: Gives why it cannot train a network, as the end of a sentence, or None; without it, it trains any.
    """

    start: Start
    population: bool
    compiles: bool = False
    layouts: bool = False
    refusal: Callable[[nn.Module, Task, Recipe], str | None] | None = None


ENGINES = Registry[Engine]("engine")


class Stack(Protocol):
    """The forward and backward pass of P networks whose weights are stacked.

    Args:
        parameters: Their parameters, ``[P, …]`` each.
        buffers: Their buffers, ``[P, …]`` each, less the shared ones.
        leaves: What an optimizer steps.
    """

    parameters: State
    buffers: State
    leaves: list[Tensor]

    def logits(self, inputs: Tensor, of: Tensor | None) -> Tensor:
        """Logits ``[P, B, K]`` in training mode.

        Args:
            inputs: ``[B, …]`` for all members, or ``[S, B, …]``.
            of: Which of the S each member takes, ``[P]``.
        """

    def differentiate(self, slope: Tensor) -> None:
        """Set the gradients of the leaves, where ``slope [P, B, K]`` is that of the last logits."""

    def gradients(self) -> list[Tensor]:
        """The gradients by parameter, ``[P, …]`` each."""

    def selected(self, values: Tensor, rows: Tensor) -> Tensor:
        """Of values shaped like a leaf, those of some members."""


def buffers_written(state: State, before: State) -> State:
    """Buffers that a forward pass has assigned anew; those that it changed in place are the tensors they were.

    ``functional_call`` puts what a module assigns back into the dictionary of its weights.
    """
    return {name: state[name] for name, value in before.items() if state[name] is not value}
