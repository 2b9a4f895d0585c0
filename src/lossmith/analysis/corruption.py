"""What damage does to trained networks: noise on their inputs, noise on their weights, units silenced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossmith.analysis.perturbations import (
    Batches,
    along,
    batches,
    filter_noise,
    perturbed_scores,
    scores,
    sound,
)
from lossmith.analysis.silencing import SILENCED, hidden_layers, silence
from lossmith.analysis.trained import TrainedLoss
from lossmith.data import has_ids
from lossmith.errors import InputError
from lossmith.metrics import check_shape, from_lists, moments, to_lists
from lossmith.seeds import generator
from lossmith.training import Networks

INPUT, WEIGHT = "input noise", "weight noise"
KINDS = (INPUT, WEIGHT, SILENCED)
BLOCK = 1024


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

    def measures(self) -> dict[str, NDArray[np.float64]]:
        """What is tested, a number for each network: its draws averaged. At level 0 there is nothing to test."""
        means = self.accuracy.mean(2).T
        pairs = zip(self.levels, means, strict=True)
        return {corruption_measure(self.kind, level): mean for level, mean in pairs if level}

    def to_json(self) -> dict[str, Any]:
        """A JSON object, as of :func:`corruption_document` for one kind."""
        return corruption_document([self])

    @staticmethod
    def from_json(document: dict[str, Any]) -> Corruption:
        """The corruption of :meth:`to_json`."""
        (found,) = corruptions_of(document)
        return found


def corruption_measure(kind: str, level: float) -> str:
    """What tests call a level of a kind of damage."""
    return f"{kind} {level:g}"


def corruption_document(corruptions: Sequence[Corruption]) -> dict[str, Any]:
    """One loss under several kinds of damage, as JSON; null where a network has diverged."""
    clean = corruptions[0].clean
    return {
        "diverged": np.isnan(clean).tolist(),
        "test_accuracy": moments(clean),
        "damage": [
            {
                "kind": corruption.kind,
                "level": float(level),
                **moments(corruption.accuracy[:, place].mean(1)),
                "draws": to_lists(corruption.accuracy[:, place]),
            }
            for corruption in corruptions
            for place, level in enumerate(corruption.levels)
        ],
    }


def corruptions_of(document: dict[str, Any]) -> list[Corruption]:
    """The kinds of damage of :func:`corruption_document`; one without any level is not among them.

    Raises:
        ValueError: if the document has another shape, or KeyError, or TypeError.
    """
    clean = from_lists(document["test_accuracy"]["values"])
    kinds: dict[str, list[dict[str, Any]]] = {}
    for row in document["damage"]:
        kinds.setdefault(row["kind"], []).append(row)
    found = [
        Corruption(
            kind,
            np.array([row["level"] for row in rows], dtype=float),
            clean,
            np.stack([from_lists(row["draws"]) for row in rows], 1),
        )
        for kind, rows in kinds.items()
    ]
    for one in found:
        check_shape((len(clean), len(one.levels), one.accuracy.shape[-1]), one.accuracy)
    return found


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

    The unit of images is the white pixel, and noisy pixels are clipped to ``[0, max_pixel]``; that of other inputs is
    each feature's own standard deviation, and nothing is clipped. The noise of a draw is the same for every network of
    every loss, and at every level but for its size.

    Args:
        trained_loss: A loss and its S networks.
        inputs: ``[N, …]``, of the test part.
        targets: Class indices ``[N]``.
        levels: Standard deviations of the noise in the unit.
        draws: R, how often noise is drawn.
        seed: Decides the noise.
        max_pixel: Value of a white pixel, if the inputs are images.
        reference: Inputs ``[M, …]`` whose standard deviations are the unit of other inputs; ``inputs`` without it.

    Raises:
        InputError: if a number cannot be used, or the inputs are token ids.
    """
    if has_ids(inputs):
        raise InputError(
            "noise can be added neither to token ids, which are names, nor to dicts of tensors: leave the levels of "
            "input noise out"
        )
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
