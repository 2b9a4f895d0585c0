"""Validation samples that the data brings: they are the validation part, wherever they come from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from lossmith.data import DataSettings, Source, open_source, part_sizes, search_parts, test_part
from lossmith.errors import InputError
from lossmith.seeds import generator
from lossmith.study import EvolveSettings, Problem, evolve

CLASSES = 3


def samples(count: int, purpose: str) -> tuple[Tensor, Tensor]:
    inputs = torch.randn(count, 4, generator=generator(purpose))
    return inputs, torch.arange(count) % CLASSES


TRAIN, VALIDATION, TEST = samples(60, "train"), samples(12, "validation"), samples(9, "test")


def source(**others: Any) -> Source:
    return Source.from_tensors(*TRAIN, validation=VALIDATION, **others)


def saved(path: Path, **arrays: Any) -> str:
    np.savez(path, x_train=TRAIN[0].numpy(), y_train=TRAIN[1].numpy(), **arrays)
    return str(path)


@pytest.mark.parametrize("spelling", ["val", "valid", "validation"])
def test_every_way_to_such_a_source(spelling: str, tmp_path: Path) -> None:
    arrays = {f"{letter}_{spelling}": one.numpy() for letter, one in zip("xy", VALIDATION, strict=True)}
    found = [
        open_source(saved(tmp_path / "a.npz", **arrays)),
        Source.from_dataset(TensorDataset(*TRAIN), validation=TensorDataset(*VALIDATION)),
        Source.from_tensors(*(one.numpy() for one in TRAIN), validation=[one.numpy() for one in VALIDATION]),  # type: ignore[arg-type]
    ]
    assert {one.digest for one in found} == {source().digest}
    assert source().digest != Source.from_tensors(*TRAIN).digest


def test_they_are_the_validation_part_and_nothing_else_is() -> None:
    parts = search_parts(source(), DataSettings())
    assert torch.equal(parts.validation.inputs, VALIDATION[0])
    assert torch.equal(parts.validation.targets, VALIDATION[1])
    assert part_sizes(source(), DataSettings()) == {"train": 45, "validation": 12, "test": 15}
    whole = source(test_inputs=TEST[0], test_targets=TEST[1])
    assert part_sizes(whole, DataSettings()) == {"train": 60, "validation": 12, "test": 9}
    assert sorted(search_parts(whole, DataSettings()).train.inputs[:, 0].tolist()) == sorted(TRAIN[0][:, 0].tolist())


def test_the_test_part_does_not_depend_on_them() -> None:
    without = test_part(Source.from_tensors(*TRAIN), DataSettings())
    assert torch.equal(test_part(source(), DataSettings()).inputs, without.inputs)


def test_a_validation_size_takes_a_stratified_subset() -> None:
    parts = search_parts(source(), DataSettings(validation_size=6, train_size=30))
    assert parts.validation.targets.bincount().tolist() == [2, 2, 2]
    rows = [int((VALIDATION[0] == one).all(1).nonzero()) for one in parts.validation.inputs]
    assert len(set(rows)) == 6
    smaller = search_parts(source(), DataSettings(validation_size=3)).validation
    assert torch.equal(smaller.inputs, parts.validation.inputs[:3])


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        ({"validation_size": 13}, r"validation_size is 13, but tensors has 12 validation samples: give 12 at most$"),
        ({"train_size": 46}, r"train_size is 46, but tensors has 45 training samples besides the test part: give 45"),
        ({"test_size": 60}, r"test_size is 60, but tensors has 60 samples: give 59 at most"),
    ],
)
def test_sizes_that_are_too_large(sizes: dict[str, int], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        search_parts(source(), DataSettings(**sizes))  # type: ignore[arg-type]


def test_label_noise_of_a_rate_reaches_them_and_labels_of_a_file_do_not(tmp_path: Path) -> None:
    assert search_parts(source(), DataSettings(label_noise=0.5)).validation.wrong == 0.5
    np.save(tmp_path / "noisy.npy", (TRAIN[1].numpy() + 1) % CLASSES)
    parts = search_parts(source(), DataSettings(noise=str(tmp_path / "noisy.npy")))
    assert (parts.train.wrong, parts.validation.wrong) == (1.0, 0.0)


def test_classes_of_two_samples_are_enough() -> None:
    """One for training and one for test; with a test part, too, one is."""
    few = torch.tensor([0, 0, 0, 1, 1, 1, 1, 2, 2])
    inputs = torch.randn(9, 4, generator=generator("few"))
    assert search_parts(Source.from_tensors(inputs, few, validation=VALIDATION), DataSettings()).classes == 3
    with pytest.raises(InputError, match="class 2 of tensors has 1 sample, too few to be split into training and test"):
        search_parts(Source.from_tensors(inputs[:8], few[:8], validation=VALIDATION), DataSettings())
    own = Source.from_tensors(inputs[:8], few[:8], *TEST, validation=VALIDATION)
    assert search_parts(own, DataSettings()).classes == 3


@pytest.mark.parametrize(
    ("validation", "sentence"),
    [
        (
            (VALIDATION[0][:, :3], VALIDATION[1]),
            r"validation inputs has samples of shape \[3\] but inputs of shape \[4\]",
        ),
        ((VALIDATION[0], VALIDATION[1][:5]), r"validation inputs has 12 samples but validation targets has 5 labels"),
        ((VALIDATION[0], VALIDATION[1] + 1), r"validation targets holds the label 3, but the training labels are 0…2"),
        ((VALIDATION[0] * torch.nan, VALIDATION[1]), r"validation inputs holds NaN or infinite values"),
        ((VALIDATION[0].to(torch.uint8), VALIDATION[1]), r"one of inputs and validation inputs is uint8"),
        ((VALIDATION[0], None), r"there is validation inputs without validation targets: give both"),
        ((VALIDATION[0][:0], VALIDATION[1][:0]), r"validation inputs is empty"),
        (VALIDATION[0], r"validation is no pair: give \(inputs, targets\)"),
        ((1, 2, 3), r"validation is no pair"),
        ((["a"], [0]), r"validation inputs holds values of type"),
    ],
)
def test_bad_ones(validation: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        Source.from_tensors(*TRAIN, validation=validation)
    assert "\n" not in str(caught.value)


def test_bad_arrays_of_a_file(tmp_path: Path) -> None:
    x, y = (one.numpy() for one in VALIDATION)
    for arrays, sentence in (
        ({"x_val": x}, r"has x_val without y_val: save both of them or neither"),
        ({"y_valid": y}, r"has y_valid without x_valid"),
        (
            {"x_val": x, "y_val": y, "x_valid": x, "y_valid": y},
            r"x_val and x_valid, which both name the validation part: leave one out",
        ),
        ({"x_val": x, "y_val": y + 9}, r"y_val in .* holds the label 9"),
    ):
        with pytest.raises(InputError, match=sentence):
            open_source(saved(tmp_path / "bad.npz", **arrays))


def test_what_else_sees_the_samples() -> None:
    ids = torch.arange(120).reshape(30, 4) % 7
    tokens = Source.from_tensors(ids, torch.arange(30) % 3, kind="tokens", validation=(ids + 40, torch.arange(30) % 3))
    assert tokens.vocabulary == 47
    images = torch.zeros(30, 3, 4, 4)
    pictures = Source.from_tensors(images, torch.arange(30) % 3, validation=(images[:6], torch.arange(6) % 3))
    gray = open_source(pictures, DataSettings(channels=1))
    assert gray.validation_inputs is not None
    assert gray.validation_inputs.shape == (6, 1, 4, 4)
    assert Problem.open(EvolveSettings(data=DataSettings(channels=1)), pictures).validation[0].shape == (6, 1, 4, 4)


def test_a_study_goes_on_with_the_same_samples_only(tmp_path: Path) -> None:
    settings = EvolveSettings.model_validate(
        {
            "recipe": {"epochs": 1, "batch_size": 20},
            "search": {"population": 4, "generations": 1},
            "run": {"finalists": 1, "finalist_seeds": 2, "tune": False, "training": "sequential"},
        }
    )
    evolve(tmp_path / "study", settings, source())
    evolve(tmp_path / "study", settings, source())
    with pytest.raises(InputError, match="the data is not the data that the study"):
        evolve(tmp_path / "study", settings, Source.from_tensors(*TRAIN, validation=(VALIDATION[0] + 1, VALIDATION[1])))
