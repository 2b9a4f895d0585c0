"""Which samples are in which part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from lossmith.data.source import Source
from lossmith.errors import InputError
from lossmith.registry import Registry
from lossmith.seeds import generator

if TYPE_CHECKING:
    from lossmith.data.settings import DataSettings

AUTO = "auto"
TEST_SHARE = 0.25
VALIDATION_SHARE = 0.2
VALIDATION_LIMIT = 5000


class Rows(NamedTuple):
    """Rows of each part; those of a part for which the source has samples of its own count in these."""

    train: Tensor
    validation: Tensor
    test: Tensor


class Pool(NamedTuple):
    """Samples that are split in two: their labels ``[N]``, and their groups ``[N]`` where they have such."""

    targets: Tensor
    groups: Tensor | None


@dataclass(frozen=True)
class Split:
    """How samples are split in two: a part is one end of an order of theirs.

    Args:
        order: The order of a pool, of which validation and test are the last samples; called with a seed, too.
        text: For the help.
        border: Where an order is cut so that its end has some number of samples or nearly so: the length of the end,
            which may be the whole order if the last argument says so.
        balanced: Whether each part has each class, where that has as many samples as there are parts.
        latest: Whether a smaller training part is the end of a larger one, and not its beginning.
    """

    order: Callable[..., Tensor]
    text: str
    border: Callable[[Pool, Tensor, int, bool], int] = lambda _pool, _order, size, _whole: size
    balanced: bool = False
    latest: bool = False


SPLITS = Registry[Split]("split")


def checked_split(name: str) -> str:
    """The name of a split, or ``auto``.

    Raises:
        InputError: If there is no such split.
    """
    if name != AUTO:
        _ = SPLITS[name]
    return name


def known_splits() -> str:
    """What ``split`` can be, for the help."""
    return ", ".join(f"{name} ({split.text})" for name, split in SPLITS.items())


def split(source: Source, settings: DataSettings) -> Rows:
    """The rows of the parts.

    Args:
        source: All samples.
        settings: Sizes, seed and split; the rest is not read.

    Raises:
        InputError: If the source has too few samples or groups for the sizes asked for, too few of one class, or no
            groups where it is split by these.
    """
    way = SPLITS[way_of(source, settings)]
    if way.balanced:
        _check_class_sizes(source)
    seed, whole = (settings.split_seed, "split"), Pool(source.targets.cpu(), source.groups)
    rest = torch.arange(len(whole.targets))
    if source.test_targets is not None:
        test = _own(source.test_targets, settings.test_size, "test", source, settings)
    else:
        test, rest = _test_and_rest(way, whole, source.name, settings)
    pool = Pool(whole.targets[rest], None if whole.groups is None else whole.groups[rest])
    order = way.order(pool, *seed, "train")
    if source.validation_targets is not None:
        train_size = _train_size(len(rest), settings, source.name)
        validation, left = (
            _own(source.validation_targets, settings.validation_size, "validation", source, settings),
            order,
        )
    else:
        train_size, size = _sizes(len(rest), settings, source.name)
        end = way.border(pool, order, size, False)
        validation, left = rest[order[len(order) - end :]], order[: len(order) - end]
    train = left if settings.train_size is None else _beginning(way, pool, left, train_size)
    rows = Rows(rest[train], validation, test)
    _check_training_classes(source, rows.train)
    return rows


def way_of(source: Source, settings: DataSettings) -> str:
    """The name of the split of some settings.

    Raises:
        InputError: If it is by groups, and there are none.
    """
    if settings.split == AUTO:
        return "stratified" if source.groups is None else "groups"
    if settings.split == "groups" and source.groups is None:
        raise InputError(
            f"split is groups, but {source.name} has no groups: name the column of a table or the array of an .npz "
            "file that holds them (--groups), or give groups in Python"
        )
    return settings.split


def _test_and_rest(way: Split, whole: Pool, name: str, settings: DataSettings) -> tuple[Tensor, Tensor]:
    """The rows of the test part, in the order in which a larger one goes on, and all others in theirs."""
    count = len(whole.targets)
    size = settings.test_size or max(1, round(TEST_SHARE * count))
    if size > count - 1:
        raise InputError(f"test_size is {size}, but {name} has {count} samples: give {count - 1} at most")
    order = way.order(whole, settings.split_seed, "split", "test")
    end = way.border(whole, order, size, False)
    return order[len(order) - end :].flip(0), order[: len(order) - end].sort().values


def _own(targets: Tensor, size: int | None, part: str, source: Source, settings: DataSettings) -> Tensor:
    """Rows of samples of a part that the source brings: all of them as they come, or some."""
    count = len(targets)
    if size is None:
        return torch.arange(count)
    if size > count:
        raise InputError(f"{part}_size is {size}, but {source.name} has {count} {part} samples: give {count} at most")
    # Their groups are not known, and are in no other part.
    name = way_of(source, settings)
    way = SPLITS["stratified" if name == "groups" else name]
    return way.order(Pool(targets.cpu(), None), settings.split_seed, "split", part).flip(0)[:size]


def _beginning(way: Split, pool: Pool, order: Tensor, size: int) -> Tensor:
    """The training samples of those that are left for them."""
    if size >= len(order):
        return order
    if way.latest:
        return order[len(order) - size :]
    return order[: way.border(pool, order.flip(0), size, True)]


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


def random_order(count: int, *seed: int | str) -> Tensor:
    """A random order ``[N]`` of N samples."""
    return torch.randperm(count, generator=generator(*seed))


def grouped_order(groups: Tensor, *seed: int | str) -> Tensor:
    """An order ``[N]`` of samples in which groups are in random order, and the samples of one stand together."""
    numbers, inverse = groups.cpu().unique(return_inverse=True)
    place = torch.empty_like(numbers)
    place[random_order(len(numbers), *seed)] = torch.arange(len(numbers))
    return place[inverse].sort(stable=True).indices


def group_border(groups: Tensor, size: int, whole: bool = False) -> int:
    """The length of the end of some samples that cuts no group and is nearest to a size, the shorter of two.

    Args:
        groups: Of the samples, ``[N]``; those of one group stand together.
        size: The length that is wanted, 1…N.
        whole: Whether all of them may be that end.

    Raises:
        InputError: If there is one group only, and not all may be taken.
    """
    changes = (groups[1:] != groups[:-1]).nonzero()[:, 0] + 1
    if whole:
        changes = torch.cat([torch.zeros(1, dtype=torch.int64), changes])
    if len(changes) == 0:
        raise InputError(
            "there is only one group left to be split in two, and no group may be in two parts: give more groups, or a "
            "smaller test_size or validation_size"
        )
    lengths = (len(groups) - changes).flip(0)
    return int(lengths[(lengths - size).abs().argmin()])


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


def _stratified(pool: Pool, *seed: int | str) -> Tensor:
    # A test part has always been a beginning.
    order = stratified_order(pool.targets, *seed)
    return order if seed[-1] == "train" else order.flip(0)


def _grouped(pool: Pool, *seed: int | str) -> Tensor:
    assert pool.groups is not None
    return grouped_order(pool.groups, *seed)


def _group_border(pool: Pool, order: Tensor, size: int, whole: bool) -> int:
    assert pool.groups is not None
    return group_border(pool.groups.cpu()[order], size, whole)


SPLITS.register("stratified", Split(_stratified, "each class in proportion", balanced=True))
SPLITS.register("random", Split(lambda pool, *seed: random_order(len(pool.targets), *seed), "whatever the classes"))
SPLITS.register(
    "time",
    Split(
        lambda pool, *_: torch.arange(len(pool.targets)),
        "training, validation, test in the order of rows",
        latest=True,
    ),
)
SPLITS.register("groups", Split(_grouped, "no group in two parts", border=_group_border))
