"""Which samples are in which part."""

from typing import NamedTuple

import torch
from torch import Tensor

from lossmith.data.settings import DataSettings
from lossmith.data.source import Source
from lossmith.errors import InputError
from lossmith.seeds import generator

TEST_SHARE = 0.25
VALIDATION_SHARE = 0.2
VALIDATION_LIMIT = 5000


class Rows(NamedTuple):
    """Rows of each part; those of a part for which the source has samples of its own count in these."""

    train: Tensor
    validation: Tensor
    test: Tensor


def split(source: Source, settings: DataSettings) -> Rows:
    """The rows of the parts.

    Args:
        source: All samples.
        settings: Sizes and seed; the rest is not read.

    Raises:
        InputError: If the source has too few samples for the sizes asked for, or too few of one class.
    """
    _check_class_sizes(source)
    order, size = _test_rows(source, settings)
    rest = torch.arange(len(source.targets)) if source.test_targets is not None else order[size:].sort().values
    shuffled = rest[stratified_order(source.targets.cpu()[rest], settings.split_seed, "split", "train")]
    if source.validation_targets is None:
        train_size, validation_size = _sizes(len(rest), settings, source.name)
        validation = shuffled[len(shuffled) - validation_size :]
    else:
        train_size, validation = _train_size(len(rest), settings, source.name), _own_validation(source, settings)
    rows = Rows(shuffled[:train_size], validation, order[:size])
    _check_training_classes(source, rows.train)
    return rows


def _test_rows(source: Source, settings: DataSettings) -> tuple[Tensor, int]:
    """An order of the samples that the test part is the beginning of, and its size."""
    own_test = source.test_targets is not None
    pool = source.targets if source.test_targets is None else source.test_targets
    limit = len(pool) if own_test else len(pool) - 1
    size = settings.test_size or (len(pool) if own_test else max(1, round(TEST_SHARE * len(pool))))
    if size > limit:
        samples = "test samples" if own_test else "samples"
        raise InputError(f"test_size is {size}, but {source.name} has {len(pool)} {samples}: give {limit} at most")
    return stratified_order(pool, settings.split_seed, "split", "test"), size


def _own_validation(source: Source, settings: DataSettings) -> Tensor:
    """Rows of the source's own validation samples: all of them as they come, or a stratified part."""
    assert source.validation_targets is not None
    count = len(source.validation_targets)
    if settings.validation_size is None:
        return torch.arange(count)
    if settings.validation_size > count:
        raise InputError(
            f"validation_size is {settings.validation_size}, but {source.name} has {count} validation samples: give "
            f"{count} at most, or leave it out"
        )
    order = stratified_order(source.validation_targets, settings.split_seed, "split", "validation")
    return order[: settings.validation_size]


def _train_size(available: int, settings: DataSettings, name: str) -> int:
    """Training size beside validation samples of the source's own."""
    if settings.train_size is not None and settings.train_size > available:
        raise InputError(
            f"train_size is {settings.train_size}, but {name} has {available} training samples besides the test part: "
            f"give {available} at most"
        )
    return settings.train_size or available


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


def _check_class_sizes(source: Source) -> None:
    named = {"validation": source.validation_targets, "test": source.test_targets}
    split_off = [name for name, own in named.items() if own is None]
    parts = 1 + len(split_off)
    counts = source.targets.bincount()
    rarest = int(counts.argmin())
    if counts[rarest] < parts:
        names = "training, validation and test" if parts == 3 else f"training and {split_off[0]}"
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
