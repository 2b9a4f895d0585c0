"""What damage does to trained networks: noise on their inputs, noise on their weights, units silenced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lossmith.analysis.perturbations import (
    NORMALIZATIONS,
    Batches,
    Change,
    along,
    batches,
    broadcast,
    filter_noise,
    perturbed_scores,
    scores,
    sound,
)
from lossmith.analysis.trained import TrainedLoss
from lossmith.errors import InputError
from lossmith.seeds import generator
from lossmith.training import Networks

INPUT, WEIGHT, SILENCED = KINDS = ("input noise", "weight noise", "silenced units")
BLOCK = 1024
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Corruption:
    """Accuracy of S networks under one kind of damage; NaN where a network has diverged.

    Args:
        kind: One of ``KINDS``.
        levels: How strong the damage is, ``[L]``.
        clean: Accuracy without damage, ``[S]``.
        accuracy: Accuracy at each level in each of R draws, ``[S, L, R]``.
    """

    kind: str
    levels: NDArray[np.float64]
    clean: NDArray[np.float64]
    accuracy: NDArray[np.float64]


def input_noise(
    trained_loss: TrainedLoss,
    inputs: Tensor,
    targets: Tensor,
    levels: Sequence[float],
    draws: int = 3,
    seed: int = 0,
    max_pixel: float | None = None,
    reference: Tensor | None = None,
) -> Corruption:
    """Accuracy under Gaussian noise of standard deviation ``level · unit`` on the inputs.

    The unit of images is the white pixel, and noisy pixels are clipped to ``[0, white]``; that of other inputs is each
    feature's own standard deviation, and nothing is clipped. The noise of a draw is the same for every network of
    every loss, and at every level but for its size.

    Args:
        trained_loss: A loss and its S networks.
        inputs: ``[N, …]``, of the test part.
        targets: Class indices ``[N]``.
        levels: Standard deviations of the noise in the unit.
        draws: R, how often noise is drawn.
        seed: Decides the noise.
        white: Value of a white pixel, if the inputs are images.
        reference: Inputs ``[M, …]`` whose standard deviations are the unit of other inputs; ``inputs`` without it.

    Raises:
        InputError: if a number cannot be used.
    """
    unit = max_pixel if max_pixel is not None else spread(inputs if reference is None else reference)

    def noisy(level: float, draw: int) -> Batches:
        parts = zip(inputs.split(BLOCK), targets.split(BLOCK), strict=True)
        for block, (x, y) in enumerate(parts):
            clean = x if x.is_floating_point() else x.float()
            noise = torch.randn(x.shape, generator=generator(seed, INPUT, draw, block)).to(clean)
            found = clean + level * unit * noise
            yield (found if max_pixel is None else found.clamp(0, max_pixel)), y

    def measured(networks: Networks, clean: NDArray[np.float64], draw: int) -> NDArray[np.float64]:
        return np.stack([scores(networks, noisy(level, draw))[0] if level else clean for level in levels], 1)

    return _corruption(INPUT, trained_loss, inputs, targets, levels, draws, measured)


def weight_noise(
    trained_loss: TrainedLoss, inputs: Tensor, targets: Tensor, levels: Sequence[float], draws: int = 3, seed: int = 0
) -> Corruption:
    """Accuracy with Gaussian noise on each filter that is ``level`` times as long as the filter.

    The noise is that of :func:`lossmith.analysis.perturbations.filter_noise`, times the level: biases and normalisation
    parameters are not moved, and a draw is the same Gaussian for every network of every loss.

    Args:
        trained_loss: A loss and its S networks.
        inputs: ``[N, …]``, of the test part.
        targets: Class indices ``[N]``.
        levels: Lengths of the noise.
        draws: R, how often noise is drawn.
        seed: Decides the noise.

    Raises:
        InputError: if a number cannot be used.
    """

    def measured(networks: Networks, clean: NDArray[np.float64], draw: int) -> NDArray[np.float64]:
        noise = filter_noise(networks, seed, WEIGHT, draw)
        return along(networks, noise, levels, (clean, clean), inputs, targets)[0]

    return _corruption(WEIGHT, trained_loss, inputs, targets, levels, draws, measured)


def silenced_units(
    trained_loss: TrainedLoss, inputs: Tensor, targets: Tensor, levels: Sequence[float], draws: int = 3, seed: int = 0
) -> Corruption:
    """Accuracy with ``round(level · units)`` units silenced in every hidden layer.

    A silenced unit's weights and bias are 0, and so is what a normalisation layer that is given the layer's output
    does to it: before its activation function, the unit is 0 for every input. Which units are silenced is drawn for
    each layer, the same for every network of every loss; those of a higher level contain those of a lower one.

    Args:
        trained_loss: A loss and its S networks.
        inputs: ``[N, …]``, of the test part.
        targets: Class indices ``[N]``.
        levels: Shares of the units, 0 to 1.
        draws: R, how often units are drawn.
        seed: Decides the units.

    Raises:
        InputError: if a number cannot be used, or the network has no hidden layer.
    """
    layers = hidden_layers(trained_loss.networks.base, inputs[:2])
    if not layers:
        raise InputError("the network has no hidden linear or convolutional layer, so no unit can be silenced; add one")
    counts = [level for level in levels if level]

    def measured(networks: Networks, clean: NDArray[np.float64], draw: int) -> NDArray[np.float64]:
        found = np.repeat(clean[:, None], len(levels), 1)
        if counts:
            change = silence(layers, counts, seed, draw)
            hurt = [place for place, level in enumerate(levels) if level]
            found[:, hurt] = perturbed_scores(networks, len(counts), change, inputs, targets)[0]
        return found

    return _corruption(SILENCED, trained_loss, inputs, targets, levels, draws, measured)


def spread(inputs: Tensor) -> Tensor:
    """Standard deviation of each feature of ``[N, …]``, computed in float64, in the type of floating inputs."""
    return inputs.double().std(0, correction=0).to(inputs.dtype if inputs.is_floating_point() else torch.float32)


@dataclass(frozen=True)
class Hidden:
    """A layer whose units can be silenced.

    Args:
        name: Of the layer in the network.
        units: How many it has.
        state: Names of the parameters and buffers that a unit has a slice of.
    """

    name: str
    units: int
    state: tuple[str, ...]


def hidden_layers(network: nn.Module, inputs: Tensor) -> list[Hidden]:
    """Linear and convolutional layers whose output is not the network's, in the order in which they are run.

    With each goes a normalisation layer that is given the layer's output as it is; not one that is given a sum of
    several, as in residual networks.

    Args:
        network: A network; it is run once, in evaluation mode.
        inputs: A few samples ``[N, …]``.
    """
    names = {id(value): name for name, value in (*network.named_parameters(), *network.named_buffers())}
    order: dict[int, tuple[str, nn.Module, Tensor]] = {}
    following: dict[int, nn.Module] = {}
    hooks = []

    def remember(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def hook(module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
            if isinstance(module, LAYERS) and id(module) not in order:
                order[id(module)] = (name, module, output)
            for key, (_, _, made) in order.items():
                if isinstance(module, NORMALIZATIONS) and given and given[0] is made:
                    following.setdefault(key, module)

        return hook

    for name, module in network.named_modules():
        if isinstance(module, (*LAYERS, *NORMALIZATIONS)):
            hooks.append(module.register_forward_hook(remember(name)))
    try:
        with torch.no_grad():
            logits = network.eval()(inputs)
    finally:
        for one in hooks:
            one.remove()
    last = next((key for key, (_, _, made) in order.items() if made is logits), next(reversed(order), None))
    found = []
    for key, (name, layer, _) in order.items():
        if key == last or id(layer.weight) not in names:
            continue
        state: list[Any] = [layer.weight, layer.bias]
        if key in following:
            state += [getattr(following[key], part, None) for part in ("weight", "bias", "running_mean")]
        units = len(layer.weight)  # type: ignore[arg-type]
        known = [names[id(value)] for value in state if id(value) in names and len(value) == units]
        found.append(Hidden(name, units, tuple(known)))
    return found


def silence(layers: Sequence[Hidden], levels: Sequence[float], seed: int, draw: int) -> Change:
    """Networks with a share of the units of each layer silenced, a variant for each level."""
    silent = {}
    for layer in layers:
        rank = torch.randperm(layer.units, generator=generator(seed, SILENCED, draw, layer.name))
        mask = rank < torch.tensor([round(level * layer.units) for level in levels])[:, None]
        silent.update(dict.fromkeys(layer.state, mask))

    def change(networks: Networks, _: Tensor, perturbation: Tensor) -> Networks:
        def quiet(state: dict[str, Tensor]) -> dict[str, Tensor]:
            return {
                name: value.masked_fill(broadcast(silent[name][perturbation], value).to(value.device), 0)
                if name in silent
                else value
                for name, value in state.items()
            }

        return replace(networks, parameters=quiet(networks.parameters), buffers=quiet(networks.buffers))

    return change


def check_corruption(kind: str, levels: Sequence[float], draws: int) -> None:
    """See that damage can be done.

    Raises:
        InputError: if it cannot.
    """
    highest = 1.0 if kind == SILENCED else np.inf
    for level in levels:
        if not 0 <= level <= highest or not np.isfinite(level):
            allowed = "from 0 to 1" if kind == SILENCED else "a finite number from 0"
            raise InputError(f"a level of {kind} is {level:g}; it must be {allowed}")
    if draws < 1:
        raise InputError(f"the number of draws is {draws}; it must be at least 1")


Measured = Callable[[Networks, NDArray[np.float64], int], NDArray[np.float64]]


def _corruption(
    kind: str,
    trained_loss: TrainedLoss,
    inputs: Tensor,
    targets: Tensor,
    levels: Sequence[float],
    draws: int,
    measured: Measured,
) -> Corruption:
    check_corruption(kind, levels, draws)
    networks, alive = trained_loss.networks, sound(trained_loss)
    clean = np.full(len(networks), np.nan)
    accuracy = np.full((len(networks), len(levels), draws), np.nan)
    if alive:
        clean[alive] = scores(networks, batches(networks, inputs, targets))[0][alive]
        networks = networks.select(alive)
        for draw in range(draws):
            accuracy[alive, :, draw] = measured(networks, clean[alive], draw)
    return Corruption(kind, np.array(levels, dtype=float), clean, accuracy)
