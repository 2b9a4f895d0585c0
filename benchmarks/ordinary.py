"""The ordinary PyTorch loop: what a competent user writes to train one classifier with a loss of their own.

A ``DataLoader`` over tensors on the device, normalised beforehand, no worker processes (they would only copy), eager,
``torch.optim.SGD`` as it comes, the loss in plain ``torch``, accuracy in evaluation mode at the end.
"""

from collections.abc import Iterable
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


def loader(inputs: Tensor, targets: Tensor, batch_size: int, seed: int) -> DataLoader[tuple[Tensor, ...]]:
    """Batches of normalised inputs, shuffled anew in each epoch; the incomplete last one is left out."""
    random = torch.Generator().manual_seed(seed)
    return DataLoader(TensorDataset(inputs, targets), batch_size, shuffle=True, drop_last=True, generator=random)


def fit(
    network: nn.Module,
    batches: Batches,
    loss: nn.Module,
    lr: float,
    momentum: float,
    epochs: int,
    steps: int | None = None,
) -> None:
    """Train a network on all batches, ``epochs`` times, or for ``steps`` batches in all."""
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=momentum)
    network.train()
    passes = repeat(batches) if steps is not None else repeat(batches, epochs)
    for inputs, targets in islice(chain.from_iterable(passes), steps):
        optimizer.zero_grad()
        loss(network(inputs), targets).backward()
        optimizer.step()


def accuracy(network: nn.Module, inputs: Tensor, targets: Tensor, batch: int = 1000) -> float:
    """Share of normalised inputs that a network classifies rightly."""
    network.eval()
    with torch.no_grad():
        right = sum(
            (network(x).argmax(1) == y).sum() for x, y in zip(inputs.split(batch), targets.split(batch), strict=True)
        )
    return float(right) / len(targets)
