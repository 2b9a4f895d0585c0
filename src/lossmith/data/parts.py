"""The parts that data is split into: training and validation for the search, test for final comparisons only."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lossmith.data.noise import noisy_labels, with_noise
from lossmith.data.settings import DataSettings
from lossmith.data.source import Source
from lossmith.errors import InputError
from lossmith.memory import check_available
from lossmith.seeds import generator

TEST_SHARE = 0.25
VALIDATION_SHARE = 0.2
VALIDATION_LIMIT = 5000
# Of one output of a network: as it comes, put together with the others, and as a probability of double precision.
OUTPUT_BYTES = 4 + 4 + 8


@dataclass(frozen=True, eq=False)
class Part:
    """Samples of one part.

    Attributes:
        inputs: ``[N, *input_shape]``, as the source has them.
        targets: ``[N]``, int64.
        wrong: Share of the targets that are not the sample's own, by label noise.
    """

    inputs: Tensor
    targets: Tensor
    wrong: float = 0.0

    def __len__(self) -> int:
        return len(self.targets)

    def to(self, device: torch.device | str) -> "Part":
        """The same samples on another device."""
        return Part(self.inputs.to(device), self.targets.to(device), self.wrong)


@dataclass(frozen=True, eq=False)
class SearchParts:
    """What a search may see: training and validation samples, and no test sample.

    Attributes:
        train: Training part.
        validation: Validation part.
        classes: Number of classes K.
        input_shape: ``(C, H, W)``, ``(F,)`` or ``(L,)``.
    """

    train: Part
    validation: Part
    classes: int
    input_shape: tuple[int, ...]


class _Indices(NamedTuple):
    """Rows of each part; ``test`` counts in the source's own test arrays where it has these."""

    train: Tensor
    validation: Tensor
    test: Tensor


def search_parts(source: Source, settings: DataSettings) -> SearchParts:
    """Training and validation part, with label noise where the settings ask for it.

    Args:
        source: All samples; its test samples are left out.
        settings: Sizes, seeds and label noise; ``settings.data`` is not read.

    Raises:
        InputError: If the source has too few samples for the sizes asked for, or too few of one class, or the outputs
            of a network need more memory than is available.
    """
    source, indices = with_noise(source, settings), _split(source, settings)
    count = len(indices.validation)
    check_available(
        OUTPUT_BYTES * count * source.classes,
        f"the outputs of one network for {count} validation samples and {source.classes} classes take",
        "give fewer classes, or a smaller validation_size",
    )
    return SearchParts(
        train=_noisy_part(source, indices.train, settings, "train"),
        validation=_noisy_part(source, indices.validation, settings, "validation"),
        classes=source.classes,
        input_shape=source.input_shape,
    )


def test_part(source: Source, settings: DataSettings) -> Part:
    """The test part, with clean labels; for final comparisons only.

    It is the source's own test samples (a stratified subset of ``test_size`` of these, if that is given), or else
    a stratified part of all samples. It depends on ``test_size`` and ``split_seed`` and on nothing else.

    Raises:
        InputError: As :func:`search_parts`.
    """
    test = _split(source, settings).test
    if source.test_inputs is None or source.test_targets is None:
        return Part(source.inputs[test], source.targets[test])
    if settings.test_size is None:
        return Part(source.test_inputs, source.test_targets)
    return Part(source.test_inputs[test], source.test_targets[test])


def part_sizes(source: Source, settings: DataSettings) -> dict[str, int]:
    """Number of samples of the parts ``train``, ``validation`` and ``test``.

    Raises:
        InputError: As :func:`search_parts`.
    """
    return {name: len(rows) for name, rows in _split(source, settings)._asdict().items()}


test_part.__test__ = False  # type: ignore[attr-defined]


def stratified_order(targets: Tensor, *seed: int | str) -> Tensor:
    """A random order of the samples in which every beginning and every end has each class in proportion.

    Within class ``c`` the order is random, and sample ``r`` of its ``n_c`` gets the place ``(r + ½) / n_c``: Webster's
    method of apportionment. So a shorter beginning is a subset of a longer one, and what one end takes does not
    depend on what the other takes.

    Args:
        targets: Labels ``[N]``, int64.
        seed: What the order is for, as in :func:`lossmith.seeds.derive`.

    Returns:
        Indices ``[N]``, a permutation.
    """
    # On the CPU, so that a split is the same on every device.
    targets, random = targets.cpu(), generator(*seed)
    order = torch.randperm(len(targets), generator=random)
    class_order = torch.randperm(int(targets.max()) + 1, generator=random)
    labels, grouped = class_order[targets[order]].sort(stable=True)
    counts = labels.bincount()
    rank = torch.arange(len(labels)) - (counts.cumsum(0) - counts)[labels]
    place = (rank.to(torch.float64) + 0.5) / counts[labels]
    return order[grouped[place.sort(stable=True).indices]]


def _noisy_part(source: Source, rows: Tensor, settings: DataSettings, name: str) -> Part:
    seed = (settings.noise_seed, "label noise", name)
    clean = source.targets[rows]
    targets = noisy_labels(source, rows, settings, *seed)
    return Part(source.inputs[rows], targets, float((targets != clean).double().mean()))


def _split(source: Source, settings: DataSettings) -> _Indices:
    own_test = source.test_targets is not None
    _check_class_sizes(source, parts=2 if own_test else 3)
    pool = source.targets if source.test_targets is None else source.test_targets
    limit = len(pool) if own_test else len(pool) - 1
    size = settings.test_size or (len(pool) if own_test else max(1, round(TEST_SHARE * len(pool))))
    if size > limit:
        samples = "test samples" if own_test else "samples"
        raise InputError(f"test_size is {size}, but {source.name} has {len(pool)} {samples}: give {limit} at most")
    order = stratified_order(pool, settings.split_seed, "split", "test")
    rest = torch.arange(len(source.targets)) if own_test else order[size:].sort().values
    train_size, validation_size = _sizes(len(rest), settings, source.name)
    shuffled = rest[stratified_order(source.targets.cpu()[rest], settings.split_seed, "split", "train")]
    indices = _Indices(shuffled[:train_size], shuffled[len(shuffled) - validation_size :], order[:size])
    _check_training_classes(source, indices.train)
    return indices


def _sizes(available: int, settings: DataSettings, name: str) -> tuple[int, int]:
    """Training and validation size out of the samples that the test part leaves."""
    train, validation = settings.train_size, settings.validation_size
    if validation is None:
        left = available - train if train is not None else round(VALIDATION_SHARE * available)
        validation = max(1, min(VALIDATION_LIMIT, left))
    if train is None:
        train = max(1, available - validation)
    if train + validation > available and settings.validation_size is None and train <= available:
        raise InputError(
            f"train_size {train} leaves no sample for validation, since {name} has {available} besides the test part: "
            f"give {available - 1} at most"
        )
    if train + validation > available:
        raise InputError(
            f"train_size {train} and validation_size {validation} ask for {train + validation} samples, but {name} has "
            f"{available} besides the test part: give smaller sizes"
        )
    return train, validation


def _check_class_sizes(source: Source, parts: int) -> None:
    counts = source.targets.bincount()
    rarest = int(counts.argmin())
    if counts[rarest] < parts:
        names = "training, validation and test" if parts == 3 else "training and validation"
        raise InputError(
            f"{source.class_called(rarest)} of {source.name} has {_samples(int(counts[rarest]))}, too few to be split "
            f"into {names}: "
            f"give at least {parts} of each class"
        )


def _check_training_classes(source: Source, rows: Tensor) -> None:
    absent = (source.targets.cpu()[rows].bincount(minlength=source.classes) == 0).nonzero().flatten().tolist()
    if absent:
        raise InputError(
            f"{source.class_called(absent[0])} of {source.name} has too few samples to be split with {len(rows)} "
            "training samples, since none of it would be among these: give a larger train_size or more samples of "
            "that class"
        )


def _samples(count: int) -> str:
    return "1 sample" if count == 1 else f"{count} samples"
