"""Sources, the split into parts, label noise, and every bad input."""

import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.datasets import load_digits
from torch.utils.data import Dataset, TensorDataset

from lossmith.data import DataSettings, Part, Source, open_source, search_parts, test_part
from lossmith.data.splits import stratified_order
from lossmith.errors import InputError


def numbered(per_class: list[int], test: int = 0) -> Source:
    """Flat samples whose single feature is the sample's own number; test samples are numbered from 10 000."""
    targets = torch.cat([torch.full((n,), label) for label, n in enumerate(per_class)])
    targets = targets[torch.randperm(len(targets), generator=torch.Generator().manual_seed(7))]
    inputs = torch.arange(len(targets), dtype=torch.float32)[:, None]
    if not test:
        return Source.from_tensors(inputs, targets)
    test_inputs = 10_000 + torch.arange(test, dtype=torch.float32)[:, None]
    return Source.from_tensors(inputs, targets, test_inputs, torch.arange(test) % len(per_class))


def numbers(part: Part) -> list[int]:
    return [int(n) for n in part.inputs[:, 0]]


@pytest.fixture(scope="module")
def digits() -> Source:
    return open_source("digits")


class TestSource:
    def test_digits(self, digits: Source) -> None:
        assert digits.inputs.shape == (1797, 1, 8, 8)
        assert digits.inputs.dtype == torch.uint8
        assert int(digits.inputs.max()) == 16
        assert (digits.classes, digits.input_shape, digits.name) == (10, (1, 8, 8), "digits")
        assert open_source(digits) is digits

    def test_digits_are_those_of_scikit_learn(self, digits: Source, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also where their file is not found, and its own function reads them."""
        images, targets = load_digits(return_X_y=True)
        assert (digits.inputs.flatten(1).numpy() == images).all()
        assert (digits.targets.numpy() == targets).all()
        monkeypatch.setattr("lossmith.data.digits.PLACE", Path("nowhere"))
        again = open_source("digits")
        assert again.inputs.equal(digits.inputs)
        assert again.targets.equal(digits.targets)

    def test_digest_changes_with_one_byte(self) -> None:
        inputs, targets = torch.zeros(6, 4, dtype=torch.uint8), torch.arange(6) % 2
        digest = Source.from_tensors(inputs, targets).digest
        assert digest == Source.from_tensors(inputs.clone(), targets, name="other").digest
        assert len(digest) == 64
        changed = inputs.clone()
        changed[5, 3] = 1
        relabeled = targets.clone()
        relabeled[0] = 1
        others = [
            Source.from_tensors(changed, targets),
            Source.from_tensors(inputs, relabeled),
            Source.from_tensors(inputs.float(), targets),
            Source.from_tensors(inputs.reshape(6, 2, 2), targets),
            Source.from_tensors(inputs, targets, inputs, targets),
        ]
        assert len({digest, *(source.digest for source in others)}) == 6

    def test_digest_of_a_file_equals_that_of_its_tensors(self, tmp_path: Path) -> None:
        x, y = np.random.default_rng(0).integers(0, 255, (12, 5)).astype(np.uint8), np.arange(12) % 3
        np.savez(tmp_path / "a.npz", x_train=np.asfortranarray(x), y_train=y.astype(np.uint8))
        opened = open_source(str(tmp_path / "a.npz"))
        assert opened.digest == Source.from_tensors(torch.from_numpy(x), torch.from_numpy(y)).digest
        assert opened.name == "a.npz"

    @pytest.mark.parametrize(
        ("shape", "expected"),
        [
            ((6, 4), (4,)),
            ((6, 5, 7), (1, 5, 7)),
            ((6, 5, 7, 3), (3, 5, 7)),
            ((6, 5, 7, 1), (1, 5, 7)),
            ((6, 3, 5, 4), (3, 5, 4)),
            ((6, 2, 5, 7), (2, 5, 7)),
        ],
    )
    def test_shapes_in_a_file(self, tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
        x = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
        np.savez(tmp_path / "a.npz", x_train=x, y_train=np.arange(6) % 2, x_test=x[:2], y_test=np.arange(2))
        source = open_source(str(tmp_path / "a.npz"))
        assert source.input_shape == expected
        turned = len(shape) == 4 and shape[-1] == expected[0]
        assert np.array_equal(source.inputs.numpy(), (np.moveaxis(x, -1, 1) if turned else x).reshape(6, *expected))
        assert source.test_inputs is not None
        assert torch.equal(source.test_inputs, source.inputs[:2])

    @pytest.mark.parametrize("kind", ["bool", "int8", "uint16", "int64", "uint64", "float16", ">f8", "longdouble"])
    def test_every_other_type_becomes_float32(self, tmp_path: Path, kind: str) -> None:
        x = (np.arange(12).reshape(6, 2) % 2).astype(kind)
        np.savez(tmp_path / "a.npz", x_train=x, y_train=np.arange(6)[:, None] % 2.0)
        source = open_source(str(tmp_path / "a.npz"))
        assert source.inputs.dtype == torch.float32
        assert source.targets.dtype == torch.int64
        assert source.inputs.tolist() == x.astype(float).tolist()
        assert source.targets.tolist() == [0, 1, 0, 1, 0, 1]

    def test_tensors_are_never_turned(self) -> None:
        source = Source.from_tensors(torch.zeros(4, 16, 5, 3), torch.arange(4) % 2)
        assert source.input_shape == (16, 5, 3)

    def test_home_directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        np.savez(tmp_path / "a.npz", x_train=np.zeros((4, 2)), y_train=np.arange(4) % 2)
        assert open_source("~/a.npz").classes == 2


class FakeImage:
    """What NumPy sees of a PIL image."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array
        self.array.setflags(write=False)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        return self.array


class ListDataset(Dataset[Any]):
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class TestDataset:
    def test_tensor_dataset_equals_tensors(self) -> None:
        inputs, targets = torch.rand(10, 3, 4, 4), torch.arange(10) % 3
        source = Source.from_dataset(TensorDataset(inputs, targets), TensorDataset(inputs[:5], targets[:5]))
        assert source.digest == Source.from_tensors(inputs, targets, inputs[:5], targets[:5]).digest

    def test_images(self) -> None:
        image = np.arange(90, dtype=np.uint8).reshape(5, 6, 3)
        source = Source.from_dataset(ListDataset([(FakeImage(image), 0), (FakeImage(image.copy()), np.int32(1))]))
        assert source.inputs.dtype == torch.uint8
        assert np.array_equal(source.inputs[1].numpy(), np.moveaxis(image, -1, 0))

    def test_gray_images(self) -> None:
        source = Source.from_dataset(ListDataset([(np.ones((4, 5)), 0), (np.zeros((4, 5)), 1)]))
        assert source.input_shape == (1, 4, 5)

    @pytest.mark.parametrize(
        ("dataset", "sentence"),
        [
            (ListDataset([]), r"dataset is empty: give"),
            (Dataset[Any](), r"give a map-style"),
            (ListDataset([torch.zeros(2)]), r"item 0 .* no pair: give \(input, class index\)"),
            (ListDataset([(torch.zeros(2), 0), (torch.zeros(3), 1)]), r"item 1 .*\[3\].*item 0 has \[2\].*: resize"),
            (ListDataset([(torch.zeros(2), 0), (torch.zeros(2, dtype=torch.uint8), 1)]), r"item 1 .*uint8.*convert"),
            (ListDataset([(torch.zeros(2), [0, 1])]), r"item 0 .* 2 labels: give one"),
            (ListDataset([([[1], [1, 2]], 0)]), r"item 0 .* uneven lengths: give tensors"),
            (ListDataset([("text", 0)]), r"item 0 .* <U4, but has to hold numbers: convert"),
            (ListDataset([(torch.zeros(2), 0), (torch.zeros(2), 0.5)]), r"targets of the dataset .* no integers"),
            (ListDataset([(torch.zeros(()), 0), (torch.zeros(()), 1)]), r"inputs of the dataset has shape \[2\]"),
        ],
    )
    def test_bad_dataset(self, dataset: Dataset[Any], sentence: str) -> None:
        with pytest.raises(InputError, match=sentence):
            Source.from_dataset(dataset)


class TestBadTensors:
    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ((torch.zeros(4, 2, dtype=torch.complex64), torch.arange(4)), "inputs holds complex numbers"),
            ((torch.zeros(4, 2), torch.zeros(4, dtype=torch.complex64)), "targets holds values that are no integers"),
            ((torch.zeros(4, 2), torch.tensor([0, 1, torch.inf, 1])), "targets holds infinite values: give"),
            ((torch.zeros(4, 2), torch.arange(4), torch.zeros(4, 2)), "test_inputs without test_targets: give both"),
            ((torch.zeros(4, 2), torch.arange(4), None, torch.arange(4)), "test_targets without test_inputs"),
            ((torch.zeros(4, 2), torch.arange(4), torch.zeros(3, 2), torch.arange(2)), "test_inputs has 3 .* 2 labels"),
        ],
    )
    def test_bad_tensors(self, arguments: tuple[Any, ...], sentence: str) -> None:
        with pytest.raises(InputError, match=sentence):
            Source.from_tensors(*arguments)


X, Y = np.random.default_rng(0).normal(size=(12, 4)), np.arange(12) % 3


def with_value(array: np.ndarray[Any, Any], value: float) -> np.ndarray[Any, Any]:
    changed = array.astype(float)
    changed.flat[5] = value
    return changed


BAD_ARRAYS: dict[str, tuple[dict[str, Any], str]] = {
    "no y": ({"x_train": X}, r"has no array y_train, only x_train: save it with numpy\.savez"),
    "neither": ({"images": X, "a": Y}, r"has no array x_train and no array y_train, only a, images: save"),
    "odd names": ({"a\nb": X, **{f"c{n:02}": X for n in range(20)}}, r"only 'a\\nb', c00, .*, c10, …: save"),
    "nothing": ({}, r"only nothing: save"),
    "objects": ({"x_train": X.astype(object), "y_train": Y}, r"x_train in .* Python objects.*: save it as an array"),
    "object labels": ({"x_train": X, "y_train": Y.astype(object)}, r"y_train in .* Python objects.*: save it as"),
    "text": ({"x_train": X, "y_train": Y.astype(str)}, r"y_train in .* <U21, but has to hold numbers: convert"),
    "complex": ({"x_train": X.astype(complex), "y_train": Y}, r"x_train in .* complex128.*: convert"),
    "NaN": ({"x_train": with_value(X, np.nan), "y_train": Y}, r"x_train in .* NaN or infinite.*: remove or replace"),
    "infinite": ({"x_train": with_value(X, -np.inf), "y_train": Y}, r"x_train in .* NaN or infinite.*: remove"),
    "too large": ({"x_train": with_value(X, 1e300), "y_train": Y}, r"x_train in .* infinite values in float32: remove"),
    "NaN label": ({"x_train": X, "y_train": with_value(Y, np.nan)}, r"y_train in .* no integers \(or NaN\): give"),
    "half label": ({"x_train": X, "y_train": with_value(Y, 0.5)}, r"y_train in .* no integers.*: give class indices"),
    "lengths": ({"x_train": X, "y_train": Y[:9]}, r"x_train .* has 12 samples but y_train .* has 9 labels: give one"),
    "empty": ({"x_train": X[:0], "y_train": Y[:0]}, r"x_train in .* is empty \(shape \[0, 4\]\): give"),
    "one class": ({"x_train": X, "y_train": Y * 0}, r"y_train in .* one class only \(label 0\): give samples of two"),
    "from one": ({"x_train": X, "y_train": Y + 1}, r"y_train in .* from 1 to 3 but never 0, .*: relabel"),
    "gap": ({"x_train": X, "y_train": Y * 2}, r"y_train in .* from 0 to 4 but never 1, .*: relabel"),
    "negative": ({"x_train": X, "y_train": Y - 1}, r"y_train in .* the label -1, .*: relabel"),
    "one-hot": ({"x_train": X, "y_train": np.eye(3)[Y]}, r"y_train in .* shape \[12, 3\].*: take argmax"),
    "one dimension": ({"x_train": X[:, 0], "y_train": Y}, r"x_train in .* shape \[12\], .*: reshape"),
    "five dimensions": ({"x_train": np.zeros((12, 1, 1, 1, 1)), "y_train": Y}, r"x_train in .* \[12, 1, 1, 1, 1\]"),
    "x_test alone": ({"x_train": X, "y_train": Y, "x_test": X}, r"has x_test without y_test: save both"),
    "y_test alone": ({"x_train": X, "y_train": Y, "y_test": Y}, r"has y_test without x_test: save both"),
    "other shape": (
        {"x_train": X, "y_train": Y, "x_test": X[:, :3], "y_test": Y},
        r"x_test in .* samples of shape \[3\] but x_train .* \[4\]: give both in the same shape",
    ),
    "other scale": (
        {"x_train": X.astype(np.uint8), "y_train": Y, "x_test": X, "y_test": Y},
        r"x_train in .* x_test in .* uint8 and the other is not, .*: give both in the same type",
    ),
    "test lengths": (
        {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y[:3]},
        r"x_test in .* has 12 samples but y_test .* 3 labels: give",
    ),
    "test label": (
        {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y + 1},
        r"y_test in .* the label 3, but the training labels are 0…2: remove",
    ),
}


class TestBadFiles:
    @pytest.mark.parametrize("case", BAD_ARRAYS)
    def test_bad_arrays(self, tmp_path: Path, case: str) -> None:
        arrays, sentence = BAD_ARRAYS[case]
        path = tmp_path / "bad.npz"
        np.savez(path, **arrays)
        with pytest.raises(InputError, match=sentence) as caught:
            open_source(str(path))
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"there is no file .*/none\.npz: check the path"):
            open_source(str(tmp_path / "none.npz"))

    @pytest.mark.integration
    def test_directory(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"has no class folders: give a directory .*, or an \.npz file"):
            open_source(str(tmp_path))

    @pytest.mark.parametrize("name", ["imagenet", "", "~nobody-of-this-name", "x" * 5000])
    def test_unknown_name(self, name: str) -> None:
        with pytest.raises(InputError, match=r"there is no data '.*; give digits, mnist, .*, svhn, an"):
            open_source(name)

    @pytest.mark.parametrize(
        ("name", "near"),
        [
            ("dig\0its", "digits"),
            ("MNIST", "mnist or fashion-mnist"),
            ("Fashion_MNIST", "fashion-mnist or mnist"),
            ("cifar", "cifar10 or cifar100"),
            ("cifar-100", "cifar100 or cifar10"),
            ("shvn", "svhn"),
        ],
    )
    def test_the_nearest_names_are_offered(self, name: str, near: str) -> None:
        with pytest.raises(InputError, match=rf"there is no data '.*' \(did you mean {near}\?\); give digits, "):
            open_source(name)

    @pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 torn", b"\x80\x04."])
    def test_no_archive(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "bad.npz"
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"bad\.npz is not an \.npz file, or a damaged one: save"):
            open_source(str(path))

    def test_npy(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", X)
        with pytest.raises(InputError, match=r"a\.npy is not an \.npz file"):
            open_source(str(tmp_path / "a.npy"))

    def test_unreadable(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise PermissionError(13, "Permission denied")

        np.savez(tmp_path / "a.npz", x_train=X, y_train=Y)
        monkeypatch.setattr(os, "open", refuse)
        with pytest.raises(InputError, match=r"a\.npz cannot be read: Permission denied; give"):
            open_source(str(tmp_path / "a.npz"))

    def test_member_that_is_no_array(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr("x_train", "text")
            archive.writestr("y_train", "text")
        with pytest.raises(InputError, match=r"x_train in .* is not a NumPy array: save it with"):
            open_source(str(tmp_path / "a.npz"))

    def test_truncated(self, tmp_path: Path) -> None:
        path = tmp_path / "a.npz"
        np.savez_compressed(path, x_train=X, y_train=Y)
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(InputError, match="damaged"):
            open_source(str(path))

    @settings(max_examples=60, deadline=None)
    @given(position=st.floats(0, 0.999), value=st.integers(1, 255), compressed=st.booleans())
    def test_any_damaged_byte_is_survived_or_told(
        self, tmp_path_factory: pytest.TempPathFactory, position: float, value: int, compressed: bool
    ) -> None:
        path = tmp_path_factory.mktemp("damaged") / "a.npz"
        save: Callable[..., None] = np.savez_compressed if compressed else np.savez
        save(path, x_train=X, y_train=Y)
        content = bytearray(path.read_bytes())
        content[int(position * len(content))] ^= value
        path.write_bytes(content)
        with suppress(InputError):
            assert open_source(str(path)).inputs.shape == (12, 4)


class TestSplit:
    @settings(max_examples=60, deadline=None)
    @given(counts=st.lists(st.integers(8, 60), min_size=2, max_size=6), seed=st.integers(0, 99), own=st.booleans())
    def test_disjoint_and_complete(self, counts: list[int], seed: int, own: bool) -> None:
        source = numbered(counts, test=20 if own else 0)
        chosen = DataSettings(split_seed=seed)
        parts, test = search_parts(source, chosen), test_part(source, chosen)
        seen = [*numbers(parts.train), *numbers(parts.validation)]
        if own:
            assert min(numbers(test)) >= 10_000
        else:
            seen += numbers(test)
        assert sorted(seen) == list(range(sum(counts)))
        for part in (parts.train, parts.validation):
            rows = torch.tensor(numbers(part))
            assert torch.equal(source.targets[rows], part.targets)

    @settings(max_examples=60, deadline=None)
    @given(counts=st.lists(st.integers(1, 80), min_size=2, max_size=6), data=st.data())
    def test_both_ends_are_stratified(self, counts: list[int], data: st.DataObject) -> None:
        targets = torch.cat([torch.full((n,), label) for label, n in enumerate(counts)])
        order = stratified_order(targets, data.draw(st.integers(0, 9)), "test")
        assert sorted(order.tolist()) == list(range(len(targets)))
        size = data.draw(st.integers(1, len(targets)))
        for end in (order[:size], order[-size:]):
            expected = torch.tensor(counts) * size / len(targets)
            assert (targets[end].bincount(minlength=len(counts)) - expected).abs().max() < 2

    def test_digits_are_stratified(self, digits: Source) -> None:
        parts, test = search_parts(digits, DataSettings(train_size=500)), test_part(digits, DataSettings())
        share = digits.targets.bincount() / 1797
        for part in (parts.train, parts.validation, test):
            assert (part.targets.bincount() - share * len(part)).abs().max() < 2

    def test_default_sizes(self, digits: Source) -> None:
        default = search_parts(digits, DataSettings())
        assert len(test_part(digits, DataSettings())) == 449
        assert (len(default.train), len(default.validation)) == (1078, 270)
        given_train = search_parts(digits, DataSettings(train_size=500))
        assert (len(given_train.train), len(given_train.validation)) == (500, 848)
        given_both = search_parts(digits, DataSettings(train_size=500, validation_size=100, test_size=1000))
        assert (len(given_both.train), len(given_both.validation)) == (500, 100)
        assert (default.classes, default.input_shape) == (10, (1, 8, 8))

    def test_validation_is_limited(self) -> None:
        source = numbered([20_000, 20_000], test=10)
        for chosen in (DataSettings(), DataSettings(train_size=100)):
            assert len(search_parts(source, chosen).validation) == 5000

    def test_sizes_never_change_the_test_part(self, digits: Source) -> None:
        base = test_part(digits, DataSettings())
        for chosen in (
            DataSettings(train_size=100),
            DataSettings(train_size=100, validation_size=50),
            DataSettings(label_noise=0.4, noise_seed=3),
        ):
            other = test_part(digits, chosen)
            assert torch.equal(base.inputs, other.inputs)
            assert torch.equal(base.targets, other.targets)

    def test_smaller_training_part_is_a_subset(self) -> None:
        source = numbered([50, 90])
        small = search_parts(source, DataSettings(train_size=20, validation_size=30))
        large = search_parts(source, DataSettings(train_size=60, validation_size=30))
        assert set(numbers(small.train)) < set(numbers(large.train))
        assert numbers(small.validation) == numbers(large.validation)

    def test_seed_decides(self) -> None:
        source = numbered([40, 40, 40])
        first, again, other = (search_parts(source, DataSettings(split_seed=seed)) for seed in (0, 0, 1))
        assert numbers(first.train) == numbers(again.train)
        assert set(numbers(first.train)) != set(numbers(other.train))
        assert set(numbers(test_part(source, DataSettings()))) != set(
            numbers(test_part(source, DataSettings(split_seed=1)))
        )

    def test_global_generator_neither_matters_nor_moves(self) -> None:
        source = numbered([40, 40])
        state = torch.get_rng_state()
        search_parts(source, DataSettings(label_noise=0.5))
        assert torch.equal(torch.get_rng_state(), state)

    def test_training_part_does_not_depend_on_own_test_samples(self) -> None:
        source = numbered([40, 40], test=20)
        assert source.test_inputs is not None
        assert source.test_targets is not None
        changed = replace(source, test_inputs=source.test_inputs[:8] + 5, test_targets=source.test_targets[:8])
        for chosen in (DataSettings(), DataSettings(label_noise=0.3)):
            first, second = search_parts(source, chosen), search_parts(changed, chosen)
            assert numbers(first.train) == numbers(second.train)
            assert torch.equal(first.train.targets, second.train.targets)
            assert numbers(first.validation) == numbers(second.validation)

    def test_own_test_samples(self) -> None:
        source = numbered([40, 40], test=20)
        assert numbers(test_part(source, DataSettings())) == list(range(10_000, 10_020))
        subset = test_part(source, DataSettings(test_size=6))
        assert min(numbers(subset)) >= 10_000
        assert subset.targets.bincount().tolist() == [3, 3]
        assert len(search_parts(source, DataSettings(test_size=6)).train) == 64

    def test_part_moves(self, digits: Source) -> None:
        part = test_part(digits, DataSettings()).to("meta")
        assert part.inputs.device.type == part.targets.device.type == "meta"
        assert len(part) == 449

    @pytest.mark.parametrize(
        ("chosen", "sentence"),
        [
            ({"test_size": 120}, r"test_size is 120, but tensors has 120 samples: give 119 at most"),
            ({"train_size": 91}, r"train_size 91 and validation_size 1 .* tensors has 90 besides the test part: give"),
            ({"train_size": 90}, r"train_size 90 leaves no sample for validation, since .* has 90 .*: give 89 at most"),
            ({"validation_size": 90}, r"train_size 1 and validation_size 90 ask for 91"),
            ({"train_size": 60, "validation_size": 40}, r"ask for 100 samples, but tensors has 90 .*: give smaller"),
            ({"train_size": 3}, r"class \d of tensors .* 3 training samples.*: give a larger train_size"),
        ],
    )
    def test_sizes_that_are_too_large(self, chosen: dict[str, int], sentence: str) -> None:
        source = numbered([30, 30, 30, 30])
        for part in (search_parts, test_part):
            with pytest.raises(InputError, match=sentence):
                part(source, DataSettings(**chosen))  # type: ignore[arg-type]

    def test_own_test_part_that_is_too_small(self) -> None:
        with pytest.raises(InputError, match=r"test_size is 21, but tensors has 20 test samples: give 20 at most"):
            test_part(numbered([40, 40], test=20), DataSettings(test_size=21))

    def test_class_that_is_too_small(self) -> None:
        with pytest.raises(
            InputError, match=r"class 1 of tensors has 2 samples, .* training, validation and test: give"
        ):
            search_parts(numbered([40, 2, 40]), DataSettings())
        search_parts(numbered([40, 2, 40], test=9), DataSettings())
        with pytest.raises(InputError, match=r"class 2 of tensors has 1 sample, .* training and validation: give"):
            search_parts(numbered([40, 40, 1], test=9), DataSettings())


class TestNoise:
    def test_parts(self, digits: Source) -> None:
        clean, noisy = (search_parts(digits, DataSettings(label_noise=share)) for share in (0.0, 0.4))
        other = search_parts(digits, DataSettings(label_noise=0.4, noise_seed=1))
        for name in ("train", "validation"):
            first, second, third = (getattr(parts, name) for parts in (clean, noisy, other))
            assert torch.equal(first.inputs, second.inputs)
            changed = int((first.targets != second.targets).sum()) / len(first)
            assert changed == pytest.approx(0.4, abs=1e-3)
            assert (first.wrong, second.wrong) == (0, pytest.approx(changed))
            assert not torch.equal(second.targets, third.targets)
        assert torch.equal(
            test_part(digits, DataSettings(label_noise=0.4)).targets, test_part(digits, DataSettings()).targets
        )
        again = search_parts(digits, DataSettings(label_noise=0.4))
        assert torch.equal(noisy.train.targets, again.train.targets)


class TestSettings:
    @pytest.mark.parametrize(
        "values",
        [
            {"train_size": 0},
            {"validation_size": -1},
            {"test_size": True},
            {"train_size": "12"},
            {"label_noise": 1.0},
            {"label_noise": -0.1},
            {"label_noise": float("nan")},
            {"unknown": 1},
        ],
    )
    def test_bad_values_name_the_key(self, values: dict[str, Any]) -> None:
        with pytest.raises(ValidationError, match=next(iter(values))):
            DataSettings(**values)

    def test_frozen(self) -> None:
        with pytest.raises(ValidationError):
            DataSettings().split_seed = 2  # type: ignore[misc]
