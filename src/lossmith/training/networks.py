"""Trained networks of a population, and what a training needs to know to make them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from lossmith.data import InputLayer, Normalize
from lossmith.training.randomness import seeded
from lossmith.training.shortage import within_memory
from lossmith.training.state import TORCHS_OWN, Stateful, stateful

State = dict[str, Tensor]
SAMPLES, ELEMENTS = 2**13, 2**23


@dataclass(frozen=True)
class Task:
    """What is trained on what.

    Args:
        factory: Builds one network, its initial weights drawn from PyTorch's global generator.
        inputs: Training inputs ``[N, …]`` on the device that trains.
        targets: Class indices ``[N]`` or class probabilities ``[N, K]`` on the same device.
        classes: K.
        max_pixel: Value of a white pixel, if the inputs are images that can be attacked.
        held_out: Inputs and class indices that are not trained on, for early stopping and for pruning hopeless
            networks.
    """

    factory: Callable[[], nn.Module]
    inputs: Tensor
    targets: Tensor
    classes: int
    max_pixel: float | None = None
    held_out: tuple[Tensor, Tensor] | None = None

    @property
    def device(self) -> torch.device:
        """Where the data lies and the networks are trained."""
        return self.inputs.device

    @cached_property
    def mean(self) -> Tensor:
        """Mean of the training inputs, which are no ids, for each channel ``[C, 1, 1]`` or feature ``[F]``."""
        return Normalize.fit(self.inputs).mean

    def stateful(self, batch: int) -> Stateful:
        """What a network keeps outside of parameters and buffers, seen on a batch; looked at once."""
        known: dict[int, Stateful] = self.__dict__.setdefault("_stateful", {})
        if batch not in known:
            known[batch] = stateful(self.build(0), self.inputs[:batch])
        return known[batch]

    def build(self, seed: int) -> nn.Module:
        """A network with the initial weights of a training seed."""
        with seeded(torch.device("cpu"), seed, "weights"):
            return self.factory().to(self.device)


@dataclass(frozen=True)
class Networks:
    """P networks of one architecture: stacked parameters and buffers, each ``[P, …]``.

    Args:
        base: One network of the architecture; its own parameters are never used.
        parameters: Stacked parameters by name.
        buffers: Stacked buffers by name, less the shared ones.
        vectorized: Whether :meth:`logits` runs all networks in one program or one after another.
        quick: A program that gives the logits of some parameters and inputs in less time, to rounding, or None where it
            cannot.
    """

    base: nn.Module
    parameters: State
    buffers: State
    vectorized: bool = True
    quick: Callable[[State, Tensor], Tensor | None] | None = None

    def __len__(self) -> int:
        """P."""
        return len(next(iter(self.parameters.values())))

    def logits(self, inputs: Tensor, batch: int = 1024) -> Tensor:
        """Logits ``[P, N, K]`` of inputs ``[N, …]`` in evaluation mode, in batches of at most ``batch`` samples."""
        found = within_memory(lambda rows: self._quick_logits(inputs, rows), max(1, batch))
        return (
            within_memory(lambda rows: self._slow_logits(inputs, rows), self.rows(inputs, batch))
            if found is None
            else found
        )

    def _quick_logits(self, inputs: Tensor, rows: int) -> Tensor | None:
        parts = list[Tensor]()
        for x in inputs.split(rows):
            found = None if self.quick is None else self.quick(self.parameters, x)
            if found is None:
                return None
            parts.append(found)
        return torch.cat(parts, 1)

    @torch.no_grad()
    def _slow_logits(self, inputs: Tensor, rows: int) -> Tensor:
        return torch.cat([self._logits(x) for x in inputs.split(rows)], 1)

    def _logits(self, x: Tensor) -> Tensor:
        if self.vectorized and input_dim(self.parameters) is None:
            return vmap(self._evaluator(), in_dims=(0, 0, None))(self.parameters, self.buffers, x)
        return self.forward(x.expand(len(self), *x.shape))

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits ``[P, N, K]`` of inputs of each network's own, ``[P, N, …]``, in evaluation mode.

        They can be differentiated with respect to the inputs.
        """
        call = self._evaluator()
        if self.vectorized:
            return vmap(call)(self.parameters, self.buffers, inputs)
        return torch.stack([call(*self._state(member), x) for member, x in enumerate(inputs)])

    def rows(self, inputs: Tensor, batch: int = 1024) -> int:
        """How many samples are best run at a time: through all networks, or through one where they take turns."""
        members = len(self) if self.vectorized else 1
        return max(1, min(batch, SAMPLES // members, ELEMENTS // (members * inputs[0].numel())))

    def _evaluator(self) -> Callable[[State, State, Tensor], Tensor]:
        base = self.base.eval()
        shared = shared_buffers(base)

        def call(parameters: State, buffers: State, x: Tensor) -> Tensor:
            result: Tensor = functional_call(base, {**parameters, **buffers, **shared}, (x,))
            return result

        return call

    def member(self, index: int) -> nn.Module:
        """One network as an ordinary module with its own parameters and buffers, in evaluation mode."""
        network = _copied(self.base)
        parameters, buffers = self._state(index)
        own = {**parameters, **buffers}
        # Shared buffers are not in the state, and stay as they are in the base.
        with torch.no_grad():
            for name, value in (*network.named_parameters(), *network.named_buffers()):
                value.copy_(own.get(name, value))
        return network.eval()

    def finite(self) -> Tensor:
        """Whether all parameters and buffers of each network are finite numbers, ``[P]``."""
        states = [value for value in (*self.parameters.values(), *self.buffers.values()) if value.is_floating_point()]
        return torch.stack([value.reshape(len(value), -1).isfinite().all(1) for value in states]).all(0)

    def _state(self, index: int) -> tuple[State, State]:
        return (
            {name: value[index] for name, value in self.parameters.items()},
            {name: value[index] for name, value in self.buffers.items()},
        )

    def classes(self, inputs: Tensor) -> int:
        """K, seen on one input of some ``[N, …]``."""
        return self.select([0]).logits(inputs[:1]).shape[-1]

    def apart(self) -> list[Networks]:
        """Populations that are run one after another, so that only one graph is held: all together, or each alone."""
        return [self] if self.vectorized else [self.select([member]) for member in range(len(self))]

    def select(self, rows: slice | list[int]) -> Networks:
        """Some of the networks, as views where a slice gives them."""
        parameters = {name: value[rows] for name, value in self.parameters.items()}
        buffers = {name: value[rows] for name, value in self.buffers.items()}
        return replace(self, parameters=parameters, buffers=buffers)

    def where(self, replaced: Tensor, others: Networks) -> Networks:
        """These networks, less those ``replaced [P]`` by others."""

        def mixed(mine: State, theirs: State) -> State:
            return {
                name: torch.where(replaced.to(value.device).reshape(-1, *(1,) * (value.ndim - 1)), theirs[name], value)
                for name, value in mine.items()
            }

        return replace(
            self,
            parameters=mixed(self.parameters, others.parameters),
            buffers=mixed(self.buffers, others.buffers),
        )

    @staticmethod
    def gather(parts: list[Networks], order: list[int]) -> Networks:
        """The networks of several populations one after another, then brought into ``order``."""
        first = parts[0]
        if len(parts) == 1 and order == list(range(len(first))):
            return first
        ends = list(accumulate((len(part) for part in parts), initial=0))

        def joined(states: list[State]) -> State:
            whole = {}
            for name, value in states[0].items():
                whole[name] = value.new_empty((len(order), *value.shape[1:]))
                for state, begin, end in zip(states, ends, ends[1:], strict=False):
                    rows = [(target, source - begin) for target, source in enumerate(order) if begin <= source < end]
                    targets, sources = ([row[side] for row in rows] for side in (0, 1))
                    whole[name][targets] = state[name][sources]
            return whole

        parameters = joined([part.parameters for part in parts])
        buffers = joined([part.buffers for part in parts])
        return replace(first, parameters=parameters, buffers=buffers)

    def on(self, base: nn.Module) -> Networks:
        """The same networks with another network of the architecture as their base."""
        return replace(self, base=base)


def input_dim(parameters: State) -> int | None:
    """How inputs that all members share enter the vectorized forward pass: as they are (None), or expanded (0).

    A convolution of shared inputs with stacked weights is one large convolution; a matrix product of stacked inputs
    with stacked weights needs no copies.
    """
    return None if any(value.ndim > 3 for value in parameters.values()) else 0


def shared_buffers(network: nn.Module) -> State:
    """Buffers that every member has in common: those of input layers."""
    return {
        f"{prefix}.{name}" if prefix else name: buffer
        for prefix, module in network.named_modules()
        if isinstance(module, InputLayer)
        for name, buffer in module.named_buffers()
    }


def own_state(network: nn.Module) -> tuple[State, State]:
    """Parameters and buffers of one network, detached copies, less the shared buffers."""
    shared = shared_buffers(network)
    parameters = {name: value.detach().clone() for name, value in network.named_parameters()}
    buffers = {name: value.detach().clone() for name, value in network.named_buffers() if name not in shared}
    return parameters, buffers


def _copied(network: nn.Module) -> nn.Module:
    """A copy, without what modules show of their last batch, where that belongs to a program that is over."""
    gone: dict[int, Any] = {}
    for module in network.modules():
        for name, value in vars(module).items():
            if name not in TORCHS_OWN:
                try:
                    copy.deepcopy(value)
                except (NotImplementedError, RuntimeError):
                    gone[id(value)] = None
    return copy.deepcopy(network, gone)
