"""Folds of all samples: each is held out once, from networks that learn from the others."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lossmith.data.noise import noisy_labels, with_noise
from lossmith.data.parts import search_parts
from lossmith.data.settings import DataSettings
from lossmith.data.source import Source
from lossmith.data.splits import SPLITS, Pool, split, way_of
from lossmith.errors import InputError


@dataclass(frozen=True, eq=False)
class Folds:
    """The samples of a source, each in one fold.

    Attributes:
        source: All samples; validation and test samples of its own are in no fold.
        labels: Their labels as they are learned from, ``[N]``, int64.
        held: The rows of each fold; together they are 0…N−1.
        wrong: Which labels noise made wrong, boolean ``[N]``; None where no noise was asked for, and nobody knows.
    """

    source: Source
    labels: Tensor
    held: tuple[Tensor, ...]
    wrong: Tensor | None

    def apart(self, number: int) -> Source:
        """The source whose validation samples are those of one fold, and whose training samples are all others."""
        held = self.held[number]
        kept = torch.ones(len(self.labels), dtype=torch.bool)
        kept[held] = False
        inputs, labels = self.source.inputs[held], self.labels[held]
        return replace(
            self.source,
            inputs=self.source.inputs[kept],
            targets=self.labels[kept],
            validation_inputs=inputs,
            validation_targets=labels,
            # What is never looked at; without it, some of the others would be split off.
            test_inputs=inputs[:1],
            test_targets=labels[:1],
            groups=None,
            noise=None,
        )


def folded(source: Source, settings: DataSettings, count: int) -> Folds:
    """The samples of a source in folds of nearly the same size, split as the settings say.

    Label noise is drawn for all samples, not for parts of them.

    Args:
        source: All samples.
        settings: The split, its seed, and label noise; sizes are not read.
        count: How many folds.

    Raises:
        InputError: if there are too few samples of a class, or too few groups.
    """
    source = with_noise(source, settings)
    clean, rows = source.targets.cpu(), torch.arange(len(source.targets))
    labels = noisy_labels(source, clean, rows, settings, settings.noise_seed, "label noise", "all")
    _check_classes(source, labels, count)
    held = _cut(source, labels, settings, count)
    for number, fold in enumerate(held):
        _check_fold(source, labels, fold, number, count)
    noisy = bool(settings.label_noise) or source.noise is not None
    return Folds(source, labels, held, labels != clean if noisy else None)


def seen_samples(source: Source, settings: DataSettings) -> Source:
    """What a search sees as one source: training and validation part, with their labels as noise left them.

    No sample of the test part is in it.

    Args:
        source: All samples.
        settings: Sizes, split, and label noise.

    Raises:
        InputError: as :func:`lossmith.data.search_parts`.
    """
    parts, rows = search_parts(source, settings), split(source, settings)
    train, validation, groups = parts.train, parts.validation, source.groups
    if groups is not None:
        # Validation samples that the data brings have no groups: each is one of its own.
        alone = int(groups.max()) + 1 + torch.arange(len(validation))
        groups = torch.cat(
            [groups[rows.train], alone if source.validation_inputs is not None else groups[rows.validation]]
        )
    return replace(
        source,
        inputs=torch.cat([train.inputs, validation.inputs]),
        targets=torch.cat([train.targets, validation.targets]),
        test_inputs=None,
        test_targets=None,
        validation_inputs=None,
        validation_targets=None,
        groups=groups,
        noise=None,
        imputed=None,
    )


def _cut(source: Source, labels: Tensor, settings: DataSettings, count: int) -> tuple[Tensor, ...]:
    """The order of a split in pieces, the last one first, each in the order of its rows."""
    way, pool = SPLITS[way_of(source, settings)], Pool(labels, source.groups)
    order, held = way.order(pool, settings.split_seed, "split", "train"), list[Tensor]()
    for left in range(count, 1, -1):
        try:
            end = way.border(pool, order, max(1, round(len(order) / left)), False)
        except InputError:
            raise InputError(
                f"the groups of {source.name} are too few or too uneven for {count} folds, since no group may be in "
                "two: give fewer folds (--folds), or leave the groups out"
            ) from None
        held.append(order[len(order) - end :].sort().values)
        order = order[: len(order) - end]
    return (*held, order.sort().values)


def _check_classes(source: Source, labels: Tensor, count: int) -> None:
    """See that each class can be in each fold.

    Raises:
        InputError: if one has fewer samples.
    """
    counts = labels.bincount(minlength=source.classes)
    rarest = int(counts.argmin())
    size = int(counts[rarest])
    if size >= count:
        return
    fewer = f"give fewer folds (--folds {size}), " if size > 1 else ""
    samples = "1 sample" if size == 1 else f"{size} samples"
    raise InputError(
        f"{source.class_called(rarest)} of {source.name} has {samples}, fewer than the {count} folds: {fewer}"
        f"{'or' if fewer else 'give'} more samples of it, or leave that class out"
    )


def _check_fold(source: Source, labels: Tensor, held: Tensor, number: int, count: int) -> None:
    """See that the networks that judge a fold learn every class.

    Raises:
        InputError: if one is in that fold alone.
    """
    others = labels.bincount(minlength=source.classes) - labels[held].bincount(minlength=source.classes)
    if bool((others == 0).any()):
        raise InputError(
            f"all samples of {source.class_called(int(others.argmin()))} of {source.name} are in fold {number + 1} of "
            f"{count}, so that the networks that judge them would not know that class: take --split stratified, or "
            "fewer folds"
        )
