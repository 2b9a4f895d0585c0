"""Data sets by name: small local ones stand in for those of the hub, since tests download nothing."""

import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lossmith.data import READERS, DataSettings, Source, open_source
from lossmith.data import hub as hub_module
from lossmith.data import images as images_module
from lossmith.data.hub import HUB, NOT_KEPT, HubData, cache_directory
from lossmith.errors import InputError

datasets = pytest.importorskip("datasets", reason="needs the extra hub: make test-integrations")
huggingface_hub = pytest.importorskip("huggingface_hub")
pytestmark = pytest.mark.integration

Arrays = dict[str, np.ndarray[Any, Any]]


def drawn(shape: tuple[int, ...], seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def local_hub(directory: Path, color: bool = True, image: str = "image", label: str = "label") -> Arrays:
    """A data set of parquet files with the splits train, test and extra, such as the hub holds; and its arrays."""
    arrays: Arrays = {}
    directory.mkdir()
    for split, count in (("train", 23), ("test", 7), ("extra", 3)):
        x, y = drawn((count, 5, 6, 3) if color else (count, 5, 6), count), np.arange(count) % 3
        features = datasets.Features(
            {
                image: datasets.Image(),
                "other": datasets.Value("string"),
                label: datasets.ClassLabel(names=["a", "b", "c"]),
            }
        )
        columns = {image: [Image.fromarray(one) for one in x], "other": ["text"] * count, label: y.tolist()}
        dataset = datasets.Dataset.from_dict(columns, features=features)
        dataset.to_parquet(str(directory / f"{split}-00000-of-00001.parquet"))
        if split != "extra":
            arrays |= {f"x_{split}": np.moveaxis(x, -1, 1) if color else x[:, None], f"y_{split}": y}
    return arrays


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of this package's and one of the library's for each test."""
    monkeypatch.setenv("LOSSMITH_CACHE", str(tmp_path / "cache" / "deep"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "library"))


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Arrays:
    """``mnist`` is a local data set."""
    arrays = local_hub(tmp_path / "hub")
    monkeypatch.setitem(HUB, "mnist", HubData(str(tmp_path / "hub")))
    return arrays


def as_source(arrays: Arrays) -> Source:
    x, y, test_x, test_y = (torch.from_numpy(arrays[key]) for key in ("x_train", "y_train", "x_test", "y_test"))
    return Source.from_tensors(x, y, test_x, test_y)


class TestConversion:
    @pytest.mark.parametrize("streaming", [False, True])
    @pytest.mark.parametrize("color", [False, True])
    def test_pixel_by_pixel(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, color: bool, streaming: bool
    ) -> None:
        arrays = local_hub(tmp_path / "hub", color, "img", "fine_label")
        entry = HubData(str(tmp_path / "hub"), image="img", label="fine_label", streaming=streaming)
        monkeypatch.setitem(HUB, "cifar100", entry)
        source = open_source("cifar100")
        assert source.name == "cifar100"
        assert source.input_shape == (3 if color else 1, 5, 6)
        assert source.digest == as_source(arrays).digest

    def test_kept_arrays_make_the_same_source(self, named: Arrays) -> None:
        first = open_source("mnist")
        (kept,) = cache_directory().iterdir()
        assert kept.name == "mnist.npz"
        with np.load(kept) as file:
            assert {key: file[key].tolist() for key in file} == {key: value.tolist() for key, value in named.items()}
        again = open_source("mnist")
        assert (again.digest, again.name) == (first.digest, first.name) == (as_source(named).digest, "mnist")
        assert open_source(str(kept)).digest == first.digest

    def test_channels(self, named: Arrays) -> None:
        gray = open_source("mnist", DataSettings(channels=1))
        expected = [np.asarray(Image.fromarray(np.moveaxis(one, 0, -1)).convert("L")) for one in named["x_train"]]
        assert np.array_equal(gray.inputs[:, 0].numpy(), np.stack(expected))
        assert gray.test_inputs is not None
        assert gray.test_inputs.shape == (7, 1, 5, 6)
        with np.load(cache_directory() / "mnist.npz") as file:
            assert np.array_equal(file["x_train"], named["x_train"])

    def test_only_the_images_of_a_directory_are_resized(self, named: Arrays) -> None:
        with pytest.raises(InputError, match=r"image_size is 4, but only .* of a directory .* mnist .*: leave --image"):
            open_source("mnist", DataSettings(image_size=4))

    def test_table(self) -> None:
        assert READERS.names[:6] == ("digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "svhn")
        assert all(entry.identifier.count("/") == 1 for entry in HUB.values())

    def test_bars_and_log_levels_are_put_back(self, named: Arrays, capfd: pytest.CaptureFixture[str]) -> None:
        logger = logging.getLogger("datasets")
        level = logger.level
        datasets.utils.enable_progress_bars()
        open_source("mnist")
        assert capfd.readouterr().err == ""
        assert not datasets.utils.are_progress_bars_disabled()
        tools = huggingface_hub.utils
        assert not tools.are_progress_bars_disabled()
        assert logger.level == level


class TestCache:
    def test_place(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        assert cache_directory() == tmp_path / "cache" / "deep"
        monkeypatch.delenv("LOSSMITH_CACHE")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert cache_directory() == tmp_path / "xdg" / "lossmith"
        monkeypatch.delenv("XDG_CACHE_HOME")
        assert cache_directory() == Path.home() / ".cache" / "lossmith"

    def test_second_start_needs_neither_library_nor_network(self, named: Arrays) -> None:
        digest = open_source("mnist").digest
        program = (
            "import sys; sys.modules['datasets'] = None; sys.modules['huggingface_hub'] = None\n"
            "from lossmith.data import open_source\n"
            "print(open_source('mnist').digest)"
        )
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert (result.returncode, result.stdout, result.stderr) == (0, f"{digest}\n", "")

    @pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError])
    def test_an_interrupted_write_leaves_nothing(
        self, named: Arrays, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException]
    ) -> None:
        def interrupted(descriptor: int) -> None:
            raise stop

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", interrupted)
            with pytest.raises(stop):
                open_source("mnist")
        assert list(cache_directory().iterdir()) == []
        assert open_source("mnist").digest == as_source(named).digest

    def test_a_cache_that_cannot_be_written_is_told(
        self, named: Arrays, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "cache").write_text("a file")
        with caplog.at_level(logging.INFO, "lossmith"):
            assert open_source("mnist").digest == as_source(named).digest
        messages = [
            record.getMessage() for record in caplog.records if "not kept for the next time" in record.getMessage()
        ]
        assert len(messages) == 1
        assert messages[0].startswith(f"{NOT_KEPT} (")
        assert "set LOSSMITH_CACHE to a directory that can be written to" in NOT_KEPT

    def test_a_cache_that_cannot_be_written_is_told_before_the_data_is_loaded(
        self, named: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def stop(*_: Any, **__: Any) -> None:
            raise InputError("no network")

        (tmp_path / "cache").write_text("a file")
        monkeypatch.setattr(hub_module, "hub_pixels", stop)
        with pytest.raises(InputError, match="no network"):
            open_source("mnist")
        assert NOT_KEPT in caplog.text

    @pytest.mark.parametrize("cut", [0, 10, 1000])
    def test_a_damaged_copy(self, named: Arrays, cut: int) -> None:
        digest = open_source("mnist").digest
        kept = cache_directory() / "mnist.npz"
        kept.write_bytes(kept.read_bytes()[:cut])
        with pytest.raises(InputError, match=rf"copy of mnist that was kept cannot be used; delete {kept}, and it is"):
            open_source("mnist")
        kept.unlink()
        assert open_source("mnist").digest == digest


class TestBad:
    def test_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "datasets", None)
        with pytest.raises(
            InputError, match=r"not installed: pip install '\.\[hub\]' in .*; or give the data as an .npz"
        ):
            open_source("mnist")
        assert not cache_directory().exists()

    def test_offline(self, tmp_path: Path) -> None:
        """As on a machine whose caches are empty; by the command line, so one line of standard error."""
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "empty")}
        command = "from lossmith.cli import main; main()"
        arguments = ["evolve", "--out", "study", "--data", "fashion-mnist", "--quiet"]
        result = subprocess.run(
            [sys.executable, "-c", command, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=environment,
        )
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr.startswith("lossmith: fashion-mnist cannot be loaded from the Hugging Face hub (")
        assert "unset HF_HUB_OFFLINE, which forbids it to download, and connect to it once, or give" in result.stderr
        assert "HF_HUB_OFFLINE=1" not in result.stderr
        assert result.stderr.count("\n") == 1
        assert not (tmp_path / "study").exists()
        assert not cache_directory().exists()

    def test_a_hub_that_cannot_be_reached_is_asked_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[str] = []

        def unreachable(self: Any, identifier: str, **_: Any) -> None:
            asked.append(identifier)
            raise OSError("no route\nto the host")

        def forbidden(*_: Any, **__: Any) -> None:
            raise AssertionError("the library would ask for half a minute")

        monkeypatch.setattr(huggingface_hub.constants, "is_offline_mode", lambda: False)
        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unreachable)
        monkeypatch.setattr(datasets, "load_dataset", forbidden)
        with pytest.raises(InputError, match=r"svhn cannot be loaded .* \(OSError: no route\): connect to it once"):
            open_source("svhn")
        assert asked == ["ufldl-stanford/svhn"]

    def test_another_column(self, named: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(HUB, "mnist", HubData(str(tmp_path / "hub"), image="picture"))
        with pytest.raises(InputError, match=r"mnist cannot be loaded .*picture"):
            open_source("mnist")

    def test_images_of_several_sizes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
        images = [Image.fromarray(drawn(shape, 0)) for shape in ((4, 5), (4, 5), (5, 5))]
        dataset = datasets.Dataset.from_dict({"image": images, "label": [0, 1, 0]}, features=features)
        (tmp_path / "hub").mkdir()
        dataset.to_parquet(str(tmp_path / "hub" / "train.parquet"))
        monkeypatch.setitem(HUB, "mnist", HubData(str(tmp_path / "hub")))
        with pytest.raises(InputError, match=r"image 0 of mnist \(train\) has 5 × 4 pixels but image 2 .* 5 × 5: give"):
            open_source("mnist")
        assert not cache_directory().exists()


class TestTelling:
    def test_loading_is_told(self, named: Arrays, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, "lossmith"):
            open_source("mnist")
            assert "loading mnist (" in caplog.text
            assert str(cache_directory() / "mnist.npz") in caplog.text
            caplog.clear()
            open_source("mnist")
            assert caplog.text == ""

    def test_what_takes_long_is_told_now_and_then(
        self, named: Arrays, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each look at the clock is a second later; training images are looked at 23 times."""
        seconds = iter(range(1000))
        monkeypatch.setattr(images_module, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))
        with caplog.at_level(logging.INFO, "lossmith"):
            open_source("mnist")
        messages = [record.getMessage() for record in caplog.records if "images read" in record.getMessage()]
        assert messages == [
            "2 of 23 images read, the last one image 1 of mnist (train)",
            "12 of 23 images read, the last one image 11 of mnist (train)",
            "22 of 23 images read, the last one image 21 of mnist (train)",
            "2 of 7 images read, the last one image 1 of mnist (test)",
        ]
