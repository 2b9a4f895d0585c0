"""Networks changed a little: every network in the same ways, all of them scored as one population."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lossmith.analysis.trained import TrainedLoss
from lossmith.metrics import METRICS, cross_entropies, finite, or_worst
from lossmith.seeds import generator
from lossmith.training import Networks

State = dict[str, Tensor]
Change = Callable[[Networks, Tensor, Tensor], Networks]
Scores = tuple[NDArray[np.float64], NDArray[np.float64]]
Batches = Iterable[tuple[Tensor, Tensor]]

BATCH = 1024
MEMBERS, ELEMENTS = 64, 2**26
NORMALIZATIONS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def sound(trained_loss: TrainedLoss) -> list[int]:
    """Which networks have not diverged."""
    return [member for member, gone in enumerate(trained_loss.diverged.tolist()) if not gone]


def batches(networks: Networks, inputs: Tensor, targets: Tensor) -> Batches:
    """Samples ``[N, …]`` and labels ``[N]`` in parts, as :meth:`Networks.logits` would run all of them."""
    rows = networks.rows(inputs, BATCH)
    step = rows * (BATCH // rows)
    return zip(inputs.split(step), targets.split(step), strict=True)


def scores(networks: Networks, parts: Batches) -> Scores:
    """Accuracy and mean cross-entropy of each network.

    They are summed over the parts, since a whole data set need not fit into memory; what is not finite is decided by
    :mod:`lossmith.metrics.finite` for all parts together.

    Args:
        networks: P networks.
        parts: Inputs ``[N, …]`` and class indices ``[N]``, in parts.

    Returns:
        Two arrays ``[P]``, computed from the logits in float64.
    """
    device = next(iter(networks.parameters.values())).device
    right = torch.zeros(len(networks), dtype=torch.float64, device=device)
    total = torch.zeros_like(right)
    sound = torch.ones_like(right, dtype=torch.bool)
    count = 0
    for inputs, targets in parts:
        logits = networks.logits(inputs).double()
        sound &= finite(logits)
        right += (logits.argmax(-1) == targets).sum(-1)
        total += cross_entropies(logits, targets).sum(-1)
        count += len(targets)
    accuracy = or_worst(right / count, sound, METRICS["accuracy"].worst)
    cross_entropy = or_worst(total / count, sound, METRICS["nll"].worst)
    return accuracy.cpu().numpy(), cross_entropy.cpu().numpy()


def perturbed_scores(networks: Networks, count: int, change: Change, inputs: Tensor, targets: Tensor) -> Scores:
    """Accuracy and mean cross-entropy of every variant of every network, a population of them at a time.

    Args:
        networks: S networks.
        count: V, how many variants there are of each.
        change: Makes M variants of M networks, given also which network ``[M]`` and which variant ``[M]`` each is.
        inputs: ``[N, …]``.
        targets: Class indices ``[N]``.

    Returns:
        Two arrays ``[S, V]``.
    """
    size = sum(value[0].numel() for value in networks.parameters.values())
    members = max(1, min(MEMBERS, ELEMENTS // size))
    total = len(networks) * count
    accuracy, cross_entropy = np.empty(total), np.empty(total)
    for places in torch.arange(total).split(members):
        network, perturbation = places // count, places % count
        changed = change(networks.select(network.tolist()), network, perturbation)
        # As an array: NumPy takes a tensor of one place for a number.
        chunk = places.numpy()
        accuracy[chunk], cross_entropy[chunk] = scores(changed, batches(changed, inputs, targets))
    return accuracy.reshape(-1, count), cross_entropy.reshape(-1, count)


def filter_noise(networks: Networks, *path: int | str) -> State:
    """A random direction for each network, scaled to it filter by filter (Li et al., 2018, §4).

    ``d_f = g_f / ‖g_f‖ · ‖w_f‖`` for every filter f, which is a slice of a parameter along its first dimension; g is
    Gaussian and the same for all networks. Biases (all parameters of one dimension) and the parameters of
    normalisation layers are not moved.

    Args:
        networks: S networks.
        path: What the direction is for, a seed first; each parameter draws from a seed of its own.

    Returns:
        The moved parameters' directions ``[S, …]`` by name.
    """
    still = {
        id(value)
        for module in networks.base.modules()
        if isinstance(module, NORMALIZATIONS)
        for value in module.parameters(recurse=False)
    }
    directions = {}
    for name, own in networks.base.named_parameters():
        if own.ndim < 2 or id(own) in still:
            continue
        weights = networks.parameters[name]
        # Drawn on the CPU, so that a seed gives the same direction on every device.
        raw = torch.randn(own.shape, generator=generator(*path, name)).to(weights).flatten(1)
        lengths = weights.flatten(2).norm(dim=2, keepdim=True)
        directions[name] = (raw / raw.norm(dim=1, keepdim=True) * lengths).reshape(weights.shape)
    return directions


def moved(directions: State, steps: Tensor) -> Change:
    """Each network's weights plus t times its direction, for every t of ``steps [V]``."""

    def change(networks: Networks, network: Tensor, perturbation: Tensor) -> Networks:
        parameters = dict(networks.parameters)
        for name, direction in directions.items():
            own = direction[network.to(direction.device)]
            parameters[name] = torch.addcmul(parameters[name], broadcast(steps[perturbation], own).to(own), own)
        return replace(networks, parameters=parameters)

    return change


def broadcast(values: Tensor, other: Tensor) -> Tensor:
    """Values of some leading dimensions, with as many dimensions as another tensor."""
    return values.reshape(*values.shape, *(1,) * (other.ndim - values.ndim))


def along(
    networks: Networks, directions: State, steps: Sequence[float], clean: Scores, inputs: Tensor, targets: Tensor
) -> Scores:
    """Scores ``[S, V]`` at V steps along a direction of each of S networks; where t = 0, those of the network itself.

    Args:
        networks: S networks.
        directions: As :func:`filter_noise` gives them.
        steps: The V values of t.
        clean: Scores ``[S]`` of the networks as they are.
        inputs: ``[N, …]``.
        targets: Class indices ``[N]``.
    """
    away = [place for place, step in enumerate(steps) if step != 0]
    change = moved(directions, torch.tensor([steps[place] for place in away], dtype=torch.float64))
    accuracy, cross_entropy = (np.repeat(own[:, None], len(steps), 1) for own in clean)
    if away:
        accuracy[:, away], cross_entropy[:, away] = perturbed_scores(networks, len(away), change, inputs, targets)
    return accuracy, cross_entropy
