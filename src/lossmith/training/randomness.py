"""The one place that seeds PyTorch's global generators, and puts them back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lossmith.seeds import derive, generator


@contextmanager
def seeded(device: torch.device, *path: int | str) -> Iterator[None]:
    """Run a block with the global generators seeded for one purpose; afterwards they are as they were."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(derive(*path))
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(derive(*path))
        yield


def is_stochastic(network: nn.Module, inputs: Tensor) -> bool:
    """Whether a forward pass in training mode draws random numbers (dropout)."""
    with seeded(inputs.device, "stochastic"), torch.no_grad():
        before = _state(inputs.device)
        network.train()(inputs)
        return not torch.equal(before, _state(inputs.device))


def batch_order(seed: int, epoch: int, samples: int, shares: Tensor | None = None) -> Tensor:
    """The order of the training samples in one epoch of one training, ``[samples]``.

    Args:
        seed: Of the training.
        epoch: From 0.
        samples: Number of training samples.
        shares: If given, so many are drawn with replacement: the probability ``[samples]`` that a draw takes one of the
            first samples.
    """
    random = generator(seed, "batches", epoch)
    if shares is None:
        return torch.randperm(samples, generator=random)
    drawn = torch.searchsorted(shares, torch.rand(samples, generator=random, dtype=torch.float64), right=True)
    return drawn.clamp(max=samples - 1)


def compiled_like_eager(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A forward pass compiled so that dropout draws the same masks as it does uncompiled."""
    compiled: Callable[..., Tensor] = torch.compile(forward, options={"fallback_random": True})
    return compiled


def _state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
