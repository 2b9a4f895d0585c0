"""Dropout for the compiled program: the masks of some batches, drawn as a forward pass draws them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lossmith.training.engines.layout import Shape

Masks = list[Tensor | None]


def drawn_masks(shape: Shape, x: Tensor, samples: int) -> tuple[Masks, Masks]:
    """What dropout multiplies the values by behind each stage of convolutions, and behind each linear layer.

    The first lie as the program wants them, the others are ``[T, samples, width]``; None where nothing is dropped.

    Args:
        shape: What the networks are.
        x: The inputs of T batches, ``[T, …]``; where values of these are dropped, they are here.
        samples: Of a batch.
    """
    places: list[tuple[list[nn.Module], tuple[int, ...]]] = [
        *((stage.dropout, (stage.filters, *stage.given)) for stage in shape.stages),
        *((layer.dropout, layer.widths[1:]) for layer in shape.layers),
    ]
    drawn: list[list[Tensor]] = [[] for _ in places]
    for number in range(len(x)):
        # In the order of a forward pass, so that the masks are those of every engine.
        for module in shape.before:
            x[number] = module(x[number])
        for (modules, width), masks in zip(places, drawn, strict=True):
            if modules:
                mask = x.new_ones(samples, *width)
                for module in modules:
                    mask = mask * module(torch.ones_like(mask))
                masks.append(mask)
    whole = [torch.stack(masks) if masks else None for masks in drawn]
    stages = len(shape.stages)
    drops = [None if mask is None else shape.drop(place, mask) for place, mask in enumerate(whole[:stages])]
    return drops, whole[stages:]
