"""What every registered label noise must do, and what files of noise say; the tiny one here passes the same suite."""

import io
import json
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from lossmith.data import NOISES, DataSettings, Noise, Source, mistaken, open_source, search_parts, test_part
from lossmith.data.noise import replaced
from lossmith.errors import InputError
from lossmith.seeds import generator
from lossmith.study import EvolveSettings, evolve
from lossmith.study.config import validated

SAMPLES, CLASSES = 200, 10
TARGETS = torch.arange(SAMPLES) % CLASSES
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
STUDY: dict[str, Any] = {
    "model": {"hidden": [4]},
    "recipe": {"epochs": 1, "batch_size": 50, "lr": 0.1},
    "search": {"population": 4, "generations": 1},
    "run": {"finalists": 1, "finalist_seeds": 2, "tune": False, "training": "sequential"},
}
FLAGS = ["--hidden", "4", "--epochs", "1", "--batch-size", "50", "--population", "4", "--generations", "1"]
FLAGS += ["--finalists", "1", "--finalist-seeds", "2", "--no-tune", "--training", "sequential"]


def _zeros(labels: Tensor, _classes: int, _random: torch.Generator) -> Tensor:
    return torch.zeros_like(labels)


@pytest.fixture(autouse=True)
def _own() -> Iterator[None]:
    NOISES.register("all-zero", Noise(_zeros, "class 0"))
    yield
    del NOISES._entries["all-zero"]


each_noise = pytest.mark.parametrize("noise", [*NOISES, "all-zero"])


@pytest.fixture
def source() -> Source:
    """Ten classes of two features."""
    inputs = torch.stack([TARGETS.float(), torch.rand(SAMPLES, generator=generator("noise"))], 1)
    return Source.from_tensors(inputs, TARGETS)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestRules:
    @each_noise
    @settings(max_examples=30, deadline=None)
    @given(rate=st.floats(0, 0.999), size=st.integers(0, 200), seed=st.integers(0, 99))
    def test_at_most_the_rate_changes(self, noise: str, rate: float, size: int, seed: int) -> None:
        clean = torch.arange(size) % CLASSES
        noisy = replaced(clean, rate, CLASSES, noise, seed)
        assert noisy.dtype == torch.int64
        assert int((noisy != clean).sum()) <= round(rate * size)
        assert not size or 0 <= int(noisy.min()) <= int(noisy.max()) < CLASSES
        assert torch.equal(clean, torch.arange(size) % CLASSES)
        assert torch.equal(noisy, replaced(clean, rate, CLASSES, noise, seed))

    @each_noise
    def test_without_a_rate_nothing_changes(self, noise: str) -> None:
        assert torch.equal(replaced(TARGETS, 0, CLASSES, noise, 0), TARGETS)

    @each_noise
    def test_neither_the_split_nor_the_test_part_changes(self, source: Source, noise: str) -> None:
        plain, noisy = DataSettings(), DataSettings(label_noise=0.5, noise=noise)
        clean, changed = search_parts(source, plain), search_parts(source, noisy)
        for name in ("train", "validation"):
            before, after = getattr(clean, name), getattr(changed, name)
            assert torch.equal(before.inputs, after.inputs)
            assert after.wrong == float((before.targets != after.targets).double().mean()) > 0
            assert before.wrong == 0
        assert torch.equal(test_part(source, plain).targets, test_part(source, noisy).targets)

    @each_noise
    def test_a_study_and_a_comparison_of_it(self, place: Path, source: Source, noise: str) -> None:
        np.savez("d.npz", x_train=source.inputs.numpy(), y_train=source.targets.numpy())
        whole = {**STUDY, "data": {"source": "d.npz", "label_noise": 0.5, "noise": noise}}
        outcome = evolve("study", validated(EvolveSettings, whole, None))
        said = outcome.provenance
        assert said["settings"]["data"]["noise"] == noise
        assert 0 < said["data"]["wrong_labels"]["train"] <= 0.5
        assert tomllib.loads((place / "study" / "study.toml").read_text())["data"]["noise"] == noise
        assert evolve("study", validated(EvolveSettings, whole, None)).loss == outcome.loss

    def test_symmetric_makes_the_whole_share_wrong(self) -> None:
        clean = torch.arange(10_000) % CLASSES
        noisy = replaced(clean, 0.4, CLASSES, "symmetric", 0)
        assert int((noisy != clean).sum()) == 4000
        steps = ((noisy - clean) % CLASSES).bincount(minlength=CLASSES)[1:]
        assert 380 < int(steps.min()) <= int(steps.max()) < 510

    def test_symmetric_of_two_classes_turns_them_round(self) -> None:
        clean = torch.arange(100) % 2
        noisy = replaced(clean, 0.25, 2, "symmetric", 0)
        assert int((noisy != clean).sum()) == 25

    def test_uniform_is_what_it_was_in_version_0_1(self) -> None:
        clean, random = torch.full((10_000,), 3), generator(7, "label noise", "train")
        chosen = torch.randperm(10_000, generator=random)[:4000]
        expected = clean.index_put((chosen,), torch.randint(CLASSES, (4000,), generator=random))
        noisy = replaced(clean, 0.4, CLASSES, "uniform", 7, "label noise", "train")
        assert torch.equal(noisy, expected)
        assert 0.35 < float((noisy != clean).double().mean()) < 0.37

    def test_pairs(self) -> None:
        noisy = replaced(TARGETS, 0.3, CLASSES, "pairs", 0)
        changed = noisy != TARGETS
        assert int(changed.sum()) == 60
        assert torch.equal(noisy[changed], (TARGETS[changed] + 1) % CLASSES)

    @pytest.mark.parametrize(
        ("noise", "expected"),
        [
            (
                "asymmetric:cifar10",
                {"truck": "automobile", "bird": "airplane", "deer": "horse", "cat": "dog", "dog": "cat"},
            ),
            ("asymmetric:mnist", {7: 1, 2: 7, 5: 6, 6: 5, 3: 8}),
        ],
    )
    def test_maps(self, noise: str, expected: dict[Any, Any]) -> None:
        clean = torch.arange(1000) % CLASSES
        noisy = replaced(clean, 0.5, CLASSES, noise, 0)
        names = CIFAR10 if noise.endswith("cifar10") else range(10)
        found = {
            (names[old], names[new]) for old, new in zip(clean.tolist(), noisy.tolist(), strict=True) if old != new
        }
        assert found == set(expected.items())
        for old in expected:
            of_class = clean == list(names).index(old)
            assert 0.3 < float((noisy[of_class] != clean[of_class]).double().mean()) < 0.7

    def test_a_rule_of_ones_own(self) -> None:
        draw = mistaken({0: 2, 2: 1})
        assert draw(torch.tensor([0, 1, 2, 3]), 4, generator(0)).tolist() == [2, 1, 1, 3]

    def test_a_map_of_other_classes(self, source: Source) -> None:
        few = Source.from_tensors(source.inputs, TARGETS % 3)
        with pytest.raises(InputError, match="asymmetric:mnist is of 10 classes, but tensors has 3: give symmetric"):
            search_parts(few, DataSettings(label_noise=0.2, noise="asymmetric:mnist"))
        assert search_parts(few, DataSettings(noise="asymmetric:mnist")).train.wrong == 0

    @pytest.mark.parametrize(
        ("noise", "said"),
        [
            ("symetric", "did you mean symmetric"),
            ("asymmetric:svhn", "did you mean asymmetric:mnist"),
            ("", "there is no noise ''"),
            ("noise.txt", "FILE.npz:ARRAY"),
        ],
    )
    def test_no_such_noise(self, noise: str, said: str) -> None:
        with pytest.raises(ValidationError, match=said):
            DataSettings(noise=noise)


class TestFiles:
    def labels(self, source: Source, array: Any) -> Tensor:
        np.save("noise.npy", np.asarray(array))
        settings = DataSettings(noise="noise.npy", train_size=100, validation_size=50, test_size=50)
        return search_parts(open_source(source, settings), settings).train.targets

    def test_labels_of_all_samples(self, place: Path, source: Source) -> None:
        noisy = (TARGETS + (torch.arange(SAMPLES) % 4 == 0)) % CLASSES
        chosen = DataSettings(noise="given.npz:worst", train_size=100, validation_size=50)
        np.savez("given.npz", worst=noisy.numpy(), clean=TARGETS.numpy(), other=np.zeros(3))
        parts = search_parts(open_source(source, chosen), chosen)
        clean = search_parts(source, DataSettings(train_size=100, validation_size=50))
        rows = {tuple(row): number for number, row in enumerate(source.inputs.tolist())}
        for given_part, clean_part in ((parts.train, clean.train), (parts.validation, clean.validation)):
            at = [rows[tuple(row)] for row in given_part.inputs.tolist()]
            assert torch.equal(given_part.targets, noisy[at])
            assert given_part.wrong == float((noisy[at] != clean_part.targets).double().mean())
        assert torch.equal(test_part(source, chosen).targets, test_part(source, DataSettings()).targets)

    def test_a_matrix(self, place: Path, source: Source) -> None:
        matrix = np.eye(CLASSES)
        matrix[3] = 0
        matrix[3, 8] = 1
        matrix[5, [5, 6]] = 0.5
        noisy = self.labels(source, matrix)
        clean = search_parts(source, DataSettings(train_size=100, validation_size=50, test_size=50)).train.targets
        assert (noisy[clean == 3] == 8).all()
        assert set(noisy[clean == 5].tolist()) == {5, 6}
        others = (clean != 3) & (clean != 5)
        assert torch.equal(noisy[others], clean[others])
        assert torch.equal(noisy, self.labels(source, matrix.astype(np.float32)))

    @pytest.mark.parametrize(
        ("array", "said"),
        [
            (np.zeros(SAMPLES - 1, int), "has 199 labels, but tensors has 200 samples"),
            (np.full(SAMPLES, CLASSES), "holds the label 10, but the classes are 0…9"),
            (np.full(SAMPLES, -1), "holds the label -1"),
            (np.full(SAMPLES, 0.5), "holds values that are no integers"),
            (np.eye(CLASSES + 1), r"has shape \[11, 11\], but 10 classes need \[10, 10\]"),
            (np.ones((CLASSES, CLASSES)), "row 0 of noise.npy sums to 10"),
            (np.eye(CLASSES) * 0.9, "row 0 of noise.npy sums to 0.9"),
            (np.eye(CLASSES) * np.nan, "holds a negative number or NaN"),
            (np.eye(CLASSES) - 0.1, "holds a negative number or NaN"),
            (np.full((CLASSES, CLASSES), np.inf), "sums to inf"),
            (np.zeros((2, 2, 2)), r"has shape \[2, 2, 2\]"),
            (np.array(["a", "b"]), "has to hold numbers"),
            (np.array([None, 1]), "holds Python objects, which are never loaded"),
        ],
    )
    def test_what_suits_not(self, place: Path, source: Source, array: Any, said: str) -> None:
        with pytest.raises(InputError, match=said) as caught:
            self.labels(source, array)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("noise", "said"),
        [
            ("absent.npy", "there is no file absent.npy"),
            ("two.npz", "two.npz holds a, b: name one of its arrays, as in two.npz:a"),
            ("two.npz:c", "two.npz holds no array c but a, b"),
            ("one.npy:c", "holds one array without a name: leave :c out"),
            ("text.npy", "is no file of NumPy"),
            ("cut.npy", "cannot be read, so the file is damaged"),
            ("huge.npy", "cannot be read, so the file is damaged"),
            ("empty.npz", "empty.npz holds nothing"),
            ("folder.npy", "folder.npy"),
        ],
    )
    def test_files_that_cannot_be_used(self, place: Path, source: Source, noise: str, said: str) -> None:
        np.savez("two.npz", a=TARGETS.numpy(), b=TARGETS.numpy())
        np.save("one.npy", TARGETS.numpy())
        whole = Path("one.npy").read_bytes()
        Path("cut.npy").write_bytes(whole[:-8])
        Path("huge.npy").write_bytes(whole.replace(b"(200,)", b"(2e9,)").replace(b"(2e9,)", b"(999,)"))
        Path("text.npy").write_text("0 1 2 3 4 5 6 7")
        Path("folder.npy").mkdir()
        with zipfile.ZipFile("empty.npz", "w"):
            pass
        with pytest.raises(InputError, match=said) as caught:
            open_source(source, DataSettings(noise=noise))
        assert "\n" not in str(caught.value)

    def test_one_array_needs_no_name(self, place: Path, source: Source) -> None:
        np.savez("one.npz", anything=TARGETS.numpy())
        assert open_source(source, DataSettings(noise="one.npz")).noise is not None

    def test_a_name_with_a_colon(self, place: Path, source: Source) -> None:
        np.save("a:b.npy", TARGETS.numpy())
        assert open_source(source, DataSettings(noise="a:b.npy")).noise is not None

    def test_clean_labels_in_another_order(self, place: Path, source: Source) -> None:
        np.savez("given.npz", worst=TARGETS.numpy(), clean=TARGETS.flip(0).numpy())
        with pytest.raises(InputError, match=r"clean beside worst in given\.npz is not the labels of tensors"):
            open_source(source, DataSettings(noise="given.npz:worst"))

    def test_a_rate_beside_a_file(self, place: Path, source: Source) -> None:
        with pytest.raises(InputError, match=r"label_noise is 0.4, but a.npy says which labels are wrong"):
            open_source(source, DataSettings(noise="a.npy", label_noise=0.4))

    def test_packed_without_end(self, place: Path, source: Source) -> None:
        content = io.BytesIO()
        np.save(content, np.zeros(2**26))
        with zipfile.ZipFile("bomb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            archive.writestr("a.npy", content.getvalue())
        with pytest.raises(InputError, match="as only values that repeat without end do"):
            open_source(source, DataSettings(noise="bomb.npz"))

    def test_the_settings_alone_say_which_noise(self, place: Path, source: Source) -> None:
        """Whatever a source was opened with before, or was not."""
        np.save("pairs.npy", ((TARGETS + 1) % CLASSES).numpy())
        np.save("none.npy", TARGETS.numpy())
        chosen = DataSettings(noise="pairs.npy")
        assert search_parts(source, chosen).train.wrong == 1
        opened = open_source(source, chosen)
        assert search_parts(opened, DataSettings(noise="pairs", label_noise=0.5)).train.wrong == pytest.approx(0.5)
        assert search_parts(opened, DataSettings()).train.wrong == 0
        other = open_source(opened, DataSettings(noise="none.npy"))
        assert search_parts(other, DataSettings(noise="none.npy")).train.wrong == 0
        assert len({source.digest, opened.digest, other.digest}) == 3
        assert open_source(opened, DataSettings()).digest == source.digest

    def test_labels_in_the_file_of_the_data(
        self, place: Path, source: Source, caplog: pytest.LogCaptureFixture
    ) -> None:
        arrays: dict[str, Any] = {"x_train": source.inputs.numpy(), "y_train": TARGETS.numpy()}
        np.savez("both.npz", **arrays, y_noisy=TARGETS.numpy(), more=np.zeros(2))
        opened = open_source("both.npz", DataSettings(source="both.npz", noise="both.npz:y_noisy"))
        assert opened.noise is not None
        assert "holds more, which nothing uses" in caplog.text


class TestStudies:
    @pytest.fixture
    def data(self, place: Path, source: Source) -> Path:
        np.savez("d.npz", x_train=source.inputs.numpy(), y_train=source.targets.numpy())
        np.savez("noise.npz", worst=((TARGETS + (torch.arange(SAMPLES) % 4 == 0)) % CLASSES).numpy())
        return place

    @pytest.fixture
    def run(self, command: Callable[..., tuple[str, str]]) -> Callable[..., str]:
        return lambda *words, code=0: "".join(command(*words, code=code))

    def test_a_file_of_labels_from_the_command_line(self, data: Path, run: Callable[..., str]) -> None:
        said = run("evolve", "--out", "study", "--data", "d.npz", "--noise", "noise.npz:worst", *FLAGS)
        assert "% are wrong; the test's are clean" in said
        assert "noise makes" in run("show", "study")
        found = json.loads((data / "study" / "best.json").read_text())["provenance"]
        assert found["settings"]["data"]["noise"] == "noise.npz:worst"
        written = tomllib.loads((data / "study" / "study.toml").read_text())["data"]["noise"]
        assert written == f"{data / 'noise.npz'}:worst"
        plan = ["--seeds", "2", "--tuning-seeds", "1", "--tuning-finalists", "1", "--tuning-finalist-seeds", "1"]
        compared = run("compare", "study/best.json", *plan, "--no-rival")
        assert "% are wrong; the test's are clean" in compared
        assert json.loads((data / "study" / "comparison.json").read_text())["wrong_labels"] > 0.2
        (data / "moved").mkdir()
        (data / "noise.npz").rename(data / "moved" / "noise.npz")
        assert "there is no file" in run("evolve", "--out", "study", code=2)
        run("evolve", "--out", "study", "--noise", "moved/noise.npz:worst")
        np.savez("moved/noise.npz", worst=TARGETS.numpy())
        assert "their digests differ" in run("evolve", "--out", "study", code=2)

    def test_flags_that_do_nothing_or_fight(self, data: Path, run: Callable[..., str]) -> None:
        common = ["evolve", "--out", "s", "--data", "d.npz", *FLAGS]
        assert "--noise has no effect here" in run(*common, "--noise", "pairs", code=2)
        assert "--noise is wrong" in run(*common, "--noise", "nothing", "--label-noise", "0.1", code=2)
        assert "leave label_noise out" in run(*common, "--noise", "noise.npz:worst", "--label-noise", "0.1", code=2)
        assert "--label-noise" in run(*common, "--label-noise", "1", code=2)
        assert not (data / "s").exists()

    def test_elsewhere_a_noise_without_a_rate_is_told(self, data: Path, run: Callable[..., str]) -> None:
        words = ["--data", "d.npz", "--hidden", "4", "--epochs", "1", "--samples", "5", "--out", "t"]
        assert "the noise pairs changes no label, since label_noise is 0" in run(
            "trace", "mse", *words, "--noise", "pairs"
        )

    def test_a_study_keeps_the_noise_it_began_with(self, data: Path, run: Callable[..., str]) -> None:
        common = ["evolve", "--out", "s", "--data", "d.npz", *FLAGS]
        run(*common, "--label-noise", "0.3", "--noise", "uniform")
        assert "data.noise = 'uniform', not 'pairs'" in run("evolve", "--out", "s", "--noise", "pairs", code=2)
        Path("mine.toml").write_text((data / "s" / "study.toml").read_text().partition("\n\n")[2])
        text = Path("mine.toml").read_text()
        Path("mine.toml").write_text(text.replace('noise = "uniform"\n', ""))
        assert "data.noise = 'uniform', not 'symmetric'" in run("evolve", "mine.toml", "--out", "s", code=2)
        # Without a word of it, as version 0.1 wrote it, it stays uniform.
        text = (data / "s" / "study.toml").read_text()
        (data / "s" / "study.toml").write_text(text.replace('noise = "uniform"\n', ""))
        said = run("evolve", "mine.toml", "--out", "s")
        assert "the study in s goes on with data.noise = uniform, as it was begun" in said
        run("evolve", "--out", "s", "--generations", "2")
        assert (
            json.loads((data / "s" / "best.json").read_text())["provenance"]["settings"]["data"]["noise"] == "uniform"
        )
