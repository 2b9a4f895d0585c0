"""The ordinary PyTorch loop: what a competent user writes to train one classifier with a loss of their own.

Eager, samples normalised beforehand, ``torch.optim.SGD`` as it comes, the loss in plain ``torch``, accuracy in
evaluation mode at the end. Its batches come in one of two ways:

- by a ``DataLoader`` over tensors in the memory of the CPU, no worker processes (there is nothing to decode), and on a
  GPU from pinned memory by copies that do not block;
- ``indexed``: without a ``DataLoader``, ``inputs[order[start:end]]`` of tensors on the device that trains.
"""

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain, islice, repeat

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

Batches = Iterable[tuple[Tensor, Tensor]]


class ResidualLoss(nn.Module):
    """Smoothed cross-entropy plus a polynomial, the coordinates of lossmith's space ``residual`` written by hand.

    ``L = −Σ_k (y + x0/n) log h + (n/4)(x1 + x3 y) h² + (n/6) x2 h³ + (n/2) x4 y h``, h = softmax(logits), averaged.
    """

    def __init__(self, x0: float, x1: float, x2: float, x3: float, x4: float) -> None:
        super().__init__()
        self.coordinates = (x0, x1, x2, x3, x4)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of logits ``[N, K]`` and class indices ``[N]``."""
        x0, x1, x2, x3, x4 = self.coordinates
        n = logits.shape[1]
        log_h = functional.log_softmax(logits, 1)
        h = log_h.exp()
        log_target = log_h.gather(1, targets[:, None]).squeeze(1)
        target = log_target.exp()
        square = h * h
        everywhere = (x0 / n * log_h + n / 4 * x1 * square + n / 6 * x2 * square * h).sum(1)
        return -(everywhere + log_target + n / 4 * x3 * target * target + n / 2 * x4 * target).mean()


@dataclass(frozen=True)
class Samples:
    """Normalised training samples where the loop wants them.

    Args:
        inputs: ``[N, …]``, in the memory of the CPU for a ``DataLoader``, on the device that trains where indexed.
        targets: Class indices ``[N]`` in the same place.
        indexed: Whether batches are made by indexing.
    """

    inputs: Tensor
    targets: Tensor
    indexed: bool = False

    @staticmethod
    def of(inputs: Tensor, targets: Tensor, indexed: bool) -> "Samples":
        """Samples from tensors on the device that trains."""
        return Samples(inputs, targets, True) if indexed else Samples(inputs.cpu(), targets.cpu())

    def batches(self, batch_size: int, seed: int, pinned: bool) -> Batches:
        """Batches, shuffled anew in each epoch; the incomplete last one is left out."""
        if self.indexed:
            return Indexed(self.inputs, self.targets, batch_size, seed)
        return loader(self.inputs, self.targets, batch_size, seed, pinned)


def loader(
    inputs: Tensor, targets: Tensor, batch_size: int, seed: int, pinned: bool = False
) -> DataLoader[tuple[Tensor, ...]]:
    """Batches by a ``DataLoader``, in pinned memory where they go to a GPU."""
    random = torch.Generator().manual_seed(seed)
    samples = TensorDataset(inputs, targets)
    return DataLoader(samples, batch_size, shuffle=True, drop_last=True, generator=random, pin_memory=pinned)


class Indexed:
    """Batches by indexing, in the order of a new permutation each time they are iterated over."""

    def __init__(self, inputs: Tensor, targets: Tensor, batch_size: int, seed: int) -> None:
        self.inputs, self.targets, self.batch_size = inputs, targets, batch_size
        self.random = torch.Generator().manual_seed(seed)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of an epoch."""
        order = torch.randperm(len(self.inputs), generator=self.random).to(self.inputs.device)
        for start in range(0, len(order) - self.batch_size + 1, self.batch_size):
            rows = order[start : start + self.batch_size]
            yield self.inputs[rows], self.targets[rows]


def fit(
    network: nn.Module,
    batches: Batches,
    loss: nn.Module,
    lr: float,
    momentum: float,
    epochs: int,
    steps: int | None = None,
    precision: str = "float32",
    layout: torch.memory_format = torch.preserve_format,
) -> None:
    """Train a network on all batches, ``epochs`` times, or for ``steps`` batches in all.

    With the precision ``bfloat16`` the forward pass runs under PyTorch's autocast, and the loss in float32.
    """
    device = next(network.parameters()).device
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=momentum)
    network.train()
    passes = repeat(batches) if steps is not None else repeat(batches, epochs)
    half = precision == "bfloat16"
    for inputs, targets in islice(chain.from_iterable(passes), steps):
        x = inputs.to(device, non_blocking=True, memory_format=layout)
        y = targets.to(device, non_blocking=True)
        optimizer.zero_grad()
        with torch.autocast(device.type, dtype=torch.bfloat16) if half else nullcontext():
            logits = network(x)
        loss(logits.float() if half else logits, y).backward()
        optimizer.step()


def accuracy(network: nn.Module, inputs: Tensor, targets: Tensor, batch: int = 1000) -> float:
    """Share of normalised inputs that a network classifies rightly."""
    network.eval()
    with torch.no_grad():
        right = sum(
            (network(x).argmax(1) == y).sum() for x, y in zip(inputs.split(batch), targets.split(batch), strict=True)
        )
    return float(right) / len(targets)
