"""A class for each pixel: what the criterion costs against PyTorch's cross-entropy.

    python benchmarks/segmentation.py [--shape 4 21 128 128] [--pairs 15] [--threads 1] [--device cuda]

``lossmith.Criterion`` with its backward pass against ``torch.nn.functional.cross_entropy`` with its own, on the same
logits ``[N, K, H, W]`` and class indices ``[N, H, W]``, one pixel in ten being ignored (``ignore_index=255``), in turn:
as they come, the value alone under ``torch.no_grad()``, with class weights, and in the memory layout channels_last. The
losses are those of ``loss_cost.py``.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from loss_cost import Value, backward, contrasts, forward, losses_of
from machine import CPU, add_device, ranged, write
from torch import Tensor
from torch.nn import functional

from lossmith.losses import Criterion
from lossmith.seeds import generator

IGNORED = 255
SHARE = 0.1


def batch(shape: Sequence[int], device: torch.device = CPU) -> tuple[Tensor, Tensor]:
    """Logits ``[N, K, H, W]`` and class indices ``[N, H, W]``, some of them ignored."""
    random = generator("pixels", *shape)
    logits = torch.randn(*shape, generator=random)
    targets = torch.randint(shape[1], (shape[0], *shape[2:]), generator=random)
    targets[torch.rand(targets.shape, generator=random) < SHARE] = IGNORED
    return logits.to(device), targets.to(device)


def ratios(shape: Sequence[int], pairs: int, device: torch.device = CPU) -> dict[str, Any]:
    """Pairs of times, by loss and kind of use."""
    logits, targets = batch(shape, device)
    weight = torch.linspace(0.5, 2.0, shape[1], device=device)
    found: dict[str, Any] = {"shape": list(shape), "ignored": SHARE}
    uses: dict[str, tuple[Tensor | None, Tensor]] = {
        "plain": (None, logits),
        "no_gradient": (None, logits),
        "class_weights": (weight, logits),
        "channels_last": (None, logits.contiguous(memory_format=torch.channels_last)),
    }
    for name, loss in losses_of(shape[1]).items():
        found[name] = {}
        for use, (weights, given) in uses.items():
            ours: Value = Criterion(loss, weights, IGNORED)
            theirs: Value = partial(functional.cross_entropy, weight=weights, ignore_index=IGNORED)
            passes = forward if use == "no_gradient" else backward
            found[name][use] = contrasts(ours, theirs, given.requires_grad_(), targets, pairs, passes)
    return found


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=4, default=[4, 21, 128, 128], metavar=("N", "K", "H", "W"))
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path)
    add_device(parser)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    found = ratios(given.shape, given.pairs, given.device)
    print(f"pixels {' × '.join(map(str, given.shape))}, against torch's cross_entropy:")
    for name in losses_of(given.shape[1]):
        for use, pair in found[name].items():
            print(f"    {name}, {use.replace('_', ' '):24} {ranged(pair)}")
    write("segmentation", {"pixels": found}, given.out, given.device)


if __name__ == "__main__":
    main()
