"""Augmentation of whole batches on the device: crop, flip, Cutout, mixup, CutMix.

What an epoch of a training draws is drawn at once on the CPU, each kind from a seed of its own, and moved to the device
once: a batch needs no synchronisation, and one kind does not change what another draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lossmith.attacks import floating
from lossmith.data import has_ids
from lossmith.errors import InputError
from lossmith.seeds import derive, generator
from lossmith.training.recipe import Recipe


class Draws(NamedTuple):
    """Random numbers for batches of B samples, with any leading dimensions ``*S``; B is 0 in what is not needed.

    Args:
        shift: Where the crop begins in the padded image, down and right, ``[*S, B, 2]``.
        mirrored: Which images are mirrored, ``[*S, B]``.
        hole: The middle of the hole of Cutout, down and right, ``[*S, B, 2]``.
        partner: The sample of its batch that each is mixed with, ``[*S, B]``.
        share: λ, the share that each sample keeps of itself, ``[*S]``.
        pasted: Whether the batch is mixed by CutMix and not by mixup, ``[*S]``.
        middle: The middle of the piece of CutMix, down and right, as shares of the image, ``[*S, 2]``.
    """

    shift: Tensor
    mirrored: Tensor
    hole: Tensor
    partner: Tensor
    share: Tensor
    pasted: Tensor
    middle: Tensor

    def batch(self, number: int) -> Draws:
        """Those of one batch, from ``[*S, batches, …]``."""
        after_batches = (2, 1, 2, 1, 0, 0, 1)
        return Draws(*(value.select(-1 - after, number) for value, after in zip(self, after_batches, strict=True)))

    def to(self, device: torch.device) -> Draws:
        """The same on a device."""
        return Draws(*(value.to(device) for value in self))


def draw(recipe: Recipe, seeds: Sequence[int], epoch: int, batches: int, size: int, shape: tuple[int, ...]) -> Draws:
    """What one epoch of S trainings draws, ``[S, batches, …]``, on the CPU.

    Args:
        recipe: Which augmentation.
        seeds: The S seeds of the trainings.
        epoch: The epoch, from 0.
        batches: Number of batches.
        size: Samples in a batch.
        shape: Of an input; an image's ends with height and width.
    """
    each = [_draw(recipe, seed, epoch, batches, size, shape) for seed in seeds]
    return Draws(*(torch.stack(values) for values in zip(*each, strict=True)))


def _draw(recipe: Recipe, seed: int, epoch: int, batches: int, size: int, shape: tuple[int, ...]) -> Draws:
    def random(purpose: str) -> torch.Generator:
        return generator(seed, "augmentation", purpose, epoch)

    def beta(name: str, alpha: float) -> Tensor:
        drawn = np.random.default_rng(derive(seed, "augmentation", name, epoch)).beta(alpha, alpha, batches)
        return torch.from_numpy(drawn)

    sides, none = torch.tensor(shape[-2:], dtype=torch.float64), torch.zeros(batches, 0, 2)
    pasted = torch.full((batches,), bool(recipe.cutmix))
    if recipe.mixup and recipe.cutmix:
        pasted = torch.rand(batches, generator=random("kind")) < 0.5
    share = torch.ones(batches, dtype=torch.float64)
    for name, alpha, chosen in (("mixup", recipe.mixup, ~pasted), ("cutmix", recipe.cutmix, pasted)):
        share = torch.where(chosen, beta(name, alpha), share) if alpha else share
    return Draws(
        shift=torch.randint(2 * recipe.crop + 1, (batches, size, 2), generator=random("crop")) if recipe.crop else none,
        mirrored=torch.rand(batches, size, generator=random("flip")) < 0.5 if recipe.flip else none[..., 0],
        hole=(torch.rand(batches, size, 2, generator=random("cutout"), dtype=torch.float64) * sides).long()
        if recipe.cutout
        else none,
        partner=torch.rand(batches, size, generator=random("partner"), dtype=torch.float64).argsort(-1)
        if recipe.mixup or recipe.cutmix
        else none[..., 0],
        share=share,
        pasted=pasted,
        middle=torch.rand(batches, 2, generator=random("middle"), dtype=torch.float64),
    )


def augmented(
    inputs: Tensor, targets: Tensor, draws: Draws, recipe: Recipe, classes: int, mean: Tensor
) -> tuple[Tensor, Tensor]:
    """A batch as the recipe's augmentation changes it: crop, flip, Cutout, then mixup or CutMix.

    Crops and mirrored images keep their type; the others become floating.

    Args:
        inputs: ``[*S, B, C, H, W]``; for mixup alone also ``[*S, B, F]``.
        targets: Class indices ``[*S, B]`` or probabilities ``[*S, B, K]``.
        draws: Of this batch, ``[*S, …]``.
        recipe: Which augmentation.
        classes: K.
        mean: What fills the hole of Cutout, ``[C, 1, 1]``.

    Returns:
        The inputs, and the targets: as they were, or with mixup and CutMix as probabilities ``[*S, B, K]``.

    Source: DeVries and Taylor (2017, Cutout), Zhang et al. (2018, mixup), Yun et al. (2019, CutMix).
    """
    if recipe.crop or recipe.flip:
        inputs = _moved(inputs, draws, recipe)
    if recipe.cutout:
        inputs = _holed(inputs, draws.hole, recipe.cutout, mean)
    if recipe.mixup or recipe.cutmix:
        return _mixed(inputs, targets, draws, recipe, classes)
    return inputs, targets


def check_augmentation(inputs: Tensor, recipe: Recipe) -> None:
    """Raise an InputError if the recipe's augmentation does not suit inputs ``[N, …]``."""
    named = {"crop": recipe.crop, "flip": recipe.flip, "cutout": recipe.cutout, "cutmix": recipe.cutmix}
    wanted = [name for name, value in named.items() if value]
    if has_ids(inputs) and recipe.augments:
        raise InputError(
            "augmentation mixes or moves what is measured, and neither token ids nor dicts of tensors are that: leave "
            "it out"
        )
    if wanted and inputs.ndim != 4:
        raise InputError(
            f"the augmentation {' and '.join(wanted)} needs images [N, channels, height, width], and this data has "
            "flat features: leave it out, or take mixup"
        )
    if recipe.crop and recipe.crop >= min(inputs.shape[-2:]):
        raise InputError(
            f"crop = {recipe.crop} pads images of {inputs.shape[-2]}×{inputs.shape[-1]} pixels so much that nothing of "
            f"one may be left: give {min(inputs.shape[-2:]) - 1} or less (4 is usual for 32×32)"
        )
    height, width = inputs.shape[-2:]
    if recipe.cutout and recipe.cutout >= 2 * min(height, width):
        raise InputError(
            f"cutout = {recipe.cutout} leaves nothing of images of {height}×{width} pixels, wherever it lies: give "
            f"{min(height, width)} or less (16 is usual for 32×32)"
        )


def _moved(images: Tensor, draws: Draws, recipe: Recipe) -> Tensor:
    """Images cropped from the padded ones, and mirrored."""
    height, width = images.shape[-2:]
    rows = torch.arange(height, device=images.device).expand(*images.shape[:-3], height)
    columns = torch.arange(width, device=images.device).expand(*images.shape[:-3], width)
    if recipe.flip:
        columns = torch.where(draws.mirrored[..., None], width - 1 - columns, columns)
    if recipe.crop:
        rows = rows + draws.shift[..., :1] - recipe.crop
        columns = columns + draws.shift[..., 1:] - recipe.crop
    inside = ((rows >= 0) & (rows < height))[..., :, None] & ((columns >= 0) & (columns < width))[..., None, :]
    place = rows.clamp(0, height - 1)[..., :, None] * width + columns.clamp(0, width - 1)[..., None, :]
    flat = images.flatten(-2)
    taken = flat.gather(-1, place.flatten(-2).unsqueeze(-2).expand(flat.shape)).view_as(images)
    return taken.masked_fill(~inside.unsqueeze(-3), 0)


def _holed(images: Tensor, middle: Tensor, side: int, mean: Tensor) -> Tensor:
    inside = [
        ((at := torch.arange(length, device=images.device)) >= (top := middle[..., axis, None] - side // 2))
        & (at < top + side)
        for axis, length in enumerate(images.shape[-2:])
    ]
    hole = inside[0][..., :, None] & inside[1][..., None, :]
    pixels = floating(images)
    return torch.where(hole.unsqueeze(-3), mean.to(pixels.dtype), pixels)


def _mixed(inputs: Tensor, targets: Tensor, draws: Draws, recipe: Recipe, classes: int) -> tuple[Tensor, Tensor]:
    values = floating(inputs)
    if not targets.is_floating_point():
        targets = functional.one_hot(targets, classes).to(values.dtype)
    keep = draws.share
    weight = _against(keep, values)
    if recipe.cutmix:
        piece = _piece(draws, values.shape[-2:])
        rest = 1 - piece.double().mean((-2, -1))
        weight = torch.where(_against(draws.pasted, values), (~piece)[..., None, None, :, :].double(), weight)
        keep = torch.where(draws.pasted, rest, keep)
    others = _taken(values, draws.partner), _taken(targets, draws.partner)
    # lerp gives a sample itself, to the bit, where its weight is 1.
    return (
        torch.lerp(others[0], values, weight.to(values.dtype)),
        torch.lerp(others[1], targets, _against(keep, targets).to(targets.dtype)),
    )


def _piece(draws: Draws, shape: Sequence[int]) -> Tensor:
    """The piece of CutMix, boolean ``[*S, H, W]``: a share 1 − λ of the area, less what lies outside the image."""
    inside = []
    for axis, length in enumerate(shape):
        half = (1 - draws.share).sqrt() * length / 2
        middle = draws.middle[..., axis] * length
        at = torch.arange(length, device=draws.share.device)
        inside.append((at >= (middle - half).floor()[..., None]) & (at < (middle + half).floor()[..., None]))
    return inside[0][..., :, None] & inside[1][..., None, :]


def _against(numbers: Tensor, values: Tensor) -> Tensor:
    """One number for each batch ``[*S]``, shaped to broadcast with values ``[*S, B, …]``."""
    return numbers.reshape(*numbers.shape, *(1,) * (values.ndim - numbers.ndim))


def _taken(values: Tensor, partner: Tensor) -> Tensor:
    """Samples ``[*S, B, …]`` at the places ``[*S, B]`` of their own batch."""
    if partner.ndim == 1:
        return values[partner]
    batches, size = values.reshape(-1, *values.shape[partner.ndim - 1 :]), partner.reshape(-1, partner.shape[-1])
    return batches[torch.arange(len(size), device=values.device)[:, None], size].reshape(values.shape)
