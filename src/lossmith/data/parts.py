"""The parts that data is split into: training and validation for the search, test for final comparisons only."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lossmith.data.missing import filled, usual
from lossmith.data.noise import noisy_labels, with_noise
from lossmith.data.settings import DataSettings
from lossmith.data.source import Source
from lossmith.data.splits import Rows, split
from lossmith.memory import check_available

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


def search_parts(source: Source, settings: DataSettings) -> SearchParts:
    """Training and validation part, with label noise where the settings ask for it.

    The validation part is the source's own validation samples (a stratified subset of ``validation_size`` of these, if
    that is given), or else a part of what the test part leaves.

    Args:
        source: All samples; its test samples are left out.
        settings: Sizes, seeds and label noise; ``settings.data`` is not read.

    Raises:
        InputError: If the source has too few samples for the sizes asked for, or too few of one class, or the outputs
            of a network need more memory than is available.
    """
    source, rows = with_noise(source, settings), split(source, settings)
    count = len(rows.validation)
    check_available(
        OUTPUT_BYTES * count * source.classes,
        f"the outputs of one network for {count} validation samples and {source.classes} classes take",
        "give fewer classes, or a smaller validation_size",
    )
    fill = _filling(source, rows)
    return SearchParts(
        train=_noisy_part(source, rows.train, settings, "train", fill),
        validation=_noisy_part(source, rows.validation, settings, "validation", fill),
        classes=source.classes,
        input_shape=source.input_shape,
    )


def test_part(source: Source, settings: DataSettings) -> Part:
    """The test part, with clean labels; for final comparisons only.

    It is the source's own test samples (a stratified subset of ``test_size`` of these, if that is given), or else
    a stratified part of all samples. Which samples it has depends on ``test_size`` and ``split_seed`` and on nothing
    else; what stands for values that are missing depends on the training part.

    Raises:
        InputError: As :func:`search_parts`.
    """
    rows = split(source, settings)
    fill, test = _filling(source, rows), rows.test
    if source.test_inputs is None or source.test_targets is None:
        return Part(fill(source.inputs[test]), source.targets[test])
    if settings.test_size is None:
        return Part(fill(source.test_inputs), source.test_targets)
    return Part(fill(source.test_inputs[test]), source.test_targets[test])


def part_sizes(source: Source, settings: DataSettings) -> dict[str, int]:
    """Number of samples of the parts ``train``, ``validation`` and ``test``.

    Raises:
        InputError: As :func:`search_parts`.
    """
    return {name: len(rows) for name, rows in split(source, settings)._asdict().items()}


test_part.__test__ = False  # type: ignore[attr-defined]


def _filling(source: Source, rows: Rows) -> Callable[[Tensor], Tensor]:
    """What puts into inputs that lack values what is usual in the training part."""
    if source.imputed is None:
        return lambda inputs: inputs
    return partial(filled, values=usual(source.inputs[rows.train], source.imputed))


def _noisy_part(
    source: Source, rows: Tensor, settings: DataSettings, name: str, fill: Callable[[Tensor], Tensor]
) -> Part:
    seed = (settings.noise_seed, "label noise", name)
    if name == "validation" and source.validation_inputs is not None and source.validation_targets is not None:
        inputs, clean, own = source.validation_inputs[rows], source.validation_targets[rows], None
    else:
        inputs, clean, own = source.inputs[rows], source.targets[rows], rows
    targets = noisy_labels(source, clean, own, settings, *seed)
    return Part(fill(inputs), targets, float((targets != clean).double().mean()))
