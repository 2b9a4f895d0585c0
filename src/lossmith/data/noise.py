"""Label noise by the definitions of the literature: which labels become wrong ones, and by what.

With the rate η, ``round(η N)`` of N labels, chosen at random, are drawn again by a rule that knows a label's class and
the number of classes K. A file says more: how each class is mistaken, or each sample's noisy label.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Generator, Tensor

from lossmith.data.arrays import prepared_targets, tensor_from_numpy
from lossmith.data.names import shown
from lossmith.data.npz import read_array
from lossmith.data.source import Source
from lossmith.errors import InputError, brief
from lossmith.registry import Registry, nearest
from lossmith.seeds import generator

if TYPE_CHECKING:
    from lossmith.data.settings import DataSettings

SUFFIXES = (".npy", ".npz")
# Rows of a matrix that was saved in float32, or rounded to six digits.
TOLERANCE = 1e-5
Draw = Callable[[Tensor, int, Generator], Tensor]


@dataclass(frozen=True)
class Noise:
    """A rule by which chosen labels are drawn again.

    Args:
        draw: The new labels of some labels ``[M]`` of K classes.
        text: What becomes of a chosen label, for the help.
        classes: K, where the rule is made for one number of classes.
    """

    draw: Draw
    text: str
    classes: int | None = None


NOISES = Registry[Noise]("noise")


def _symmetric(labels: Tensor, classes: int, random: Generator) -> Tensor:
    return (labels + torch.randint(1, classes, labels.shape, generator=random)) % classes


def _uniform(labels: Tensor, classes: int, random: Generator) -> Tensor:
    return torch.randint(classes, labels.shape, generator=random)


def _pairs(labels: Tensor, classes: int, _: Generator) -> Tensor:
    return (labels + 1) % classes


def mistaken(pairs: Mapping[int, int]) -> Draw:
    """A rule by which each of some classes becomes another one, and the others stay."""

    def draw(labels: Tensor, classes: int, _: Generator) -> Tensor:
        table = torch.arange(classes)
        table[list(pairs)] = torch.tensor(list(pairs.values()))
        return table[labels]

    return draw


NOISES.register("symmetric", Noise(_symmetric, "one of the other classes, uniformly"))
NOISES.register("uniform", Noise(_uniform, "any class, uniformly, its own among them"))
NOISES.register("pairs", Noise(_pairs, "the next class"))
# Patrini et al. (CVPR 2017), section 5: truck → automobile, bird → airplane, deer → horse, cat ↔ dog.
NOISES.register(
    "asymmetric:cifar10",
    Noise(mistaken({9: 1, 2: 0, 4: 7, 3: 5, 5: 3}), "truck → automobile, bird → airplane, deer → horse, cat ↔ dog", 10),
)
# There, too: 7 → 1, 2 → 7, 5 ↔ 6, 3 → 8.
NOISES.register("asymmetric:mnist", Noise(mistaken({7: 1, 2: 7, 5: 6, 6: 5, 3: 8}), "7 → 1, 2 → 7, 5 ↔ 6, 3 → 8", 10))


def known_noises() -> str:
    """What ``noise`` can be, for the help."""
    return ", ".join(f"{name} ({noise.text})" for name, noise in NOISES.items())


def is_noise_file(noise: str) -> bool:
    """Whether a noise is the path of a file, and no name."""
    return noise not in NOISES and _parted(noise)[0].suffix in SUFFIXES


def is_idle(settings: DataSettings) -> bool:
    """Whether a noise with a name was asked for, and no share of labels that it changes."""
    usual = type(settings).model_fields["noise"].default
    return not settings.label_noise and settings.noise != usual and not is_noise_file(settings.noise)


def checked_noise(noise: str) -> str:
    """A noise that can be one.

    Raises:
        InputError: if it is neither registered nor the path of an array.
    """
    if noise in NOISES or is_noise_file(noise):
        return noise
    raise InputError(
        f"there is no noise {brief(noise)}{nearest(noise, NOISES)}; give one of {', '.join(NOISES)}, or a matrix or "
        "labels in a file of NumPy: FILE.npy, FILE.npz:ARRAY"
    )


def absolute_noise(noise: str) -> str:
    """A noise whose file, if it is one, is named by its absolute path."""
    if not is_noise_file(noise):
        return noise
    path, array = _parted(noise)
    return f"{path.expanduser().absolute()}{array and ':' + array}"


def portable_noise(noise: str) -> str:
    """A noise whose file, if it is one, is named without its folder."""
    if not is_noise_file(noise):
        return noise
    path, array = _parted(noise)
    return f"{path.name}{array and ':' + array}"


def array_in(noise: str, path: Path) -> str | None:
    """The array of a file that a noise names; None if it names another file, or no array."""
    file, array = _parted(noise)
    return array or None if is_noise_file(noise) and file.expanduser().absolute() == path.absolute() else None


def with_noise(source: Source, settings: DataSettings) -> Source:
    """A source that knows what the file of ``settings.noise`` says, if that is one, and of no other noise.

    Raises:
        InputError: if the file cannot be read, or suits the source not.
    """
    if not is_noise_file(settings.noise):
        return source if source.noise is None else replace(source, noise=None)
    if settings.label_noise:
        raise InputError(
            f"label_noise is {settings.label_noise:g}, but {shown(settings.noise)} says which labels are wrong: leave "
            "label_noise out"
        )
    path, name = _parted(settings.noise)
    array, what, clean = read_array(path.expanduser(), name or None)
    values = tensor_from_numpy(array, what)
    if values.ndim == 2:
        return replace(source, noise=_matrix(values, source.classes, what))
    labels = prepared_targets(values, what)
    if len(labels) != len(source.targets):
        raise InputError(
            f"{what} has {len(labels)} labels, but {source.name} has {len(source.targets)} samples (without test "
            "and validation samples of its own): give a label for each, in their order"
        )
    if not bool(((labels >= 0) & (labels < source.classes)).all()):
        outside = int(labels[(labels < 0) | (labels >= source.classes)][0])
        raise InputError(f"{what} holds the label {outside}, but the classes are 0…{source.classes - 1}: mend it")
    if clean is not None and not np.array_equal(clean, source.targets.cpu().numpy()):
        raise InputError(
            f"the array clean beside {what} is not the labels of {source.name}, so the samples are others or in "
            "another order: give the data that the file was made for"
        )
    return replace(source, noise=labels)


def noisy_labels(
    source: Source, clean: Tensor, rows: Tensor | None, settings: DataSettings, *seed: int | str
) -> Tensor:
    """Labels ``[M]`` of a source as they are learned from.

    Args:
        source: Where they are from; what it knows of noise.
        clean: The clean labels, ``[M]``.
        rows: Which samples they are of, ``[M]``; None of samples of the source's own validation part, whose labels
            stay where the noise is a label for each sample.
        settings: ``label_noise`` and ``noise``.
        seed: What the draws are for, as in :func:`lossmith.seeds.derive`.

    Raises:
        InputError: if the noise is made for another number of classes.
    """
    if source.noise is not None and source.noise.ndim == 1:
        return clean if rows is None else source.noise[rows].to(clean.device)
    if source.noise is not None:
        return torch.multinomial(source.noise[clean.cpu()], 1, generator=generator(*seed))[:, 0].to(clean.device)
    if not settings.label_noise:
        return clean
    made_for = NOISES[settings.noise].classes
    if made_for not in (None, source.classes):
        raise InputError(
            f"the noise {settings.noise} is of {made_for} classes, but {source.name} has {source.classes}: give "
            "symmetric, pairs, or a matrix in a file"
        )
    return replaced(clean, settings.label_noise, source.classes, settings.noise, *seed)


def replaced(labels: Tensor, rate: float, classes: int, noise: str, *seed: int | str) -> Tensor:
    """A copy of labels ``[M]`` in which ``round(rate · M)``, chosen at random, are drawn again.

    Args:
        labels: Of K classes, int64.
        rate: η.
        classes: K.
        noise: By which rule; a name of ``NOISES``.
        seed: What the draws are for.
    """
    random = generator(*seed)
    chosen = torch.randperm(len(labels), generator=random)[: round(rate * len(labels))]
    drawn = NOISES[noise].draw(labels.cpu()[chosen], classes, random)
    return labels.index_put((chosen.to(labels.device),), drawn.to(labels.device))


def _matrix(values: Tensor, classes: int, what: str) -> Tensor:
    """Row c: the probabilities of the labels of a sample of class c."""
    if values.shape != (classes, classes):
        raise InputError(
            f"{what} has shape {list(values.shape)}, but {classes} classes need [{classes}, {classes}]: row c holds "
            "the probabilities of the labels of class c"
        )
    matrix = values.to(torch.float64)
    if not bool((matrix >= 0).all()):
        raise InputError(f"{what} holds a negative number or NaN: its rows are probabilities")
    sums = matrix.sum(1)
    wrong = int((sums - 1).abs().nan_to_num(torch.inf).argmax())
    if not abs(float(sums[wrong]) - 1) <= TOLERANCE:
        raise InputError(f"row {wrong} of {what} sums to {float(sums[wrong]):g}: the probabilities of a row sum to 1")
    return matrix


def _parted(noise: str) -> tuple[Path, str]:
    """A file and the array in it; a file whose own name has a colon is taken as it stands."""
    head, colon, array = noise.rpartition(":")
    if colon and Path(noise).suffix not in SUFFIXES:
        return Path(head), array
    return Path(noise), ""
