"""What every test gets: one thread, the same examples each time, and no trace in the user's home."""

import gc
import importlib
import importlib.util
import json
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import pytest
import torch
from torch import Tensor

from lossmith.cli import main
from lossmith.io import read_toml, write_toml
from lossmith.registry import Registry
from lossmith.study.schema import seal
from lossmith.training import Recipe
from lossmith.training.engines.native import NativeRun

HOME = pytest.StashKey[str]()
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

hypothesis.settings.register_profile("lossmith", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("lossmith")

# Tests run in several processes at once; subprocesses that tests start read the variable.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ["RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES"] = str(100 * 2**20)


def pytest_configure(config: pytest.Config) -> None:
    """One temporary home for the session; the workers of xdist inherit it."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    config.stash[HOME] = home = tempfile.mkdtemp(prefix="lossmith-tests-")
    os.environ["HOME"] = home
    os.environ["MPLCONFIGDIR"] = f"{home}/matplotlib"
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{home}/inductor"


def pytest_collection_finish() -> None:
    """What is loaded by now stays, and need not be looked through for garbage."""
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    """The home goes when the session ends."""
    if HOME in config.stash:
        shutil.rmtree(config.stash[HOME], ignore_errors=True)


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    """Runs a command of lossmith that must end with ``code``, and gives its output and errors."""

    def go(*words: str, code: int = 0) -> tuple[str, str]:
        capfd.readouterr()
        ended: Any = 0
        try:
            main(words)
        except SystemExit as end:
            ended = end.code
        out, err = capfd.readouterr()
        assert ended == code, err
        return out, err

    return go


@pytest.fixture(scope="session")
def experiment() -> Iterator[Callable[[str], ModuleType]]:
    """Loads a program of `experiments/` by its name; what they share is found beside them, as where they are run."""
    folder = Path(__file__).parents[1] / "experiments"

    def loaded(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"experiments_{name}", folder / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module.__name__] = module
        spec.loader.exec_module(module)
        return module

    sys.path.append(str(folder))
    yield loaded
    sys.path.remove(str(folder))


@pytest.fixture
def without_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where there is no compiler: perceptrons are trained by batched matrix products."""
    monkeypatch.setattr("lossmith.training.engines.native.compiled", lambda *_: None)


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The numbers of batches that the compiled program has been given; a test must give it some."""
    batches, advance = list[int](), NativeRun.advance

    def counted(run: NativeRun, number: int) -> None:
        batches.append(number)
        advance(run, number)

    monkeypatch.setattr(NativeRun, "advance", counted)
    yield batches
    assert batches


@pytest.fixture(scope="session")
def optimized() -> Callable[[Recipe, Iterable[Tensor]], torch.optim.Optimizer]:
    """PyTorch's own optimizer of a recipe."""

    def built(recipe: Recipe, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        rates: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.weight_decay, "fused": True}
        if recipe.optimizer == "sgd":
            return torch.optim.SGD(parameters, momentum=recipe.momentum, **rates)
        return torch.optim.AdamW(parameters, betas=(recipe.momentum, 0.999), **rates)

    return built


@pytest.fixture(scope="module")
def benchmark() -> Iterator[Callable[[str], ModuleType]]:
    """Loads a program of `benchmarks/`, which finds its neighbours as it does when it is run."""
    folder = Path(__file__).parents[1] / "benchmarks"
    sys.path.insert(0, str(folder))
    names = {path.stem for path in folder.glob("*.py")}
    yield importlib.import_module
    sys.path.remove(str(folder))
    for name in names & sys.modules.keys():
        del sys.modules[name]


@pytest.fixture(scope="session")
def almost() -> Callable[[Any, Any], bool]:
    """Whether two documents are equal but for the last digits of their numbers."""

    def equal(one: Any, other: Any) -> bool:
        if isinstance(one, dict):
            return one.keys() == other.keys() and all(equal(value, other[key]) for key, value in one.items())
        if isinstance(one, list):
            return len(one) == len(other) and all(map(equal, one, other))
        return bool(one == pytest.approx(other, rel=1e-6)) if isinstance(one, float) else bool(one == other)

    return equal


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Registers an entry for the time of a test; with ``only``, the registry has no others but these."""

    def registered(registry: Registry[Any], name: str, entry: Any, only: Sequence[str] | None = None) -> None:
        kept = dict(registry._entries) if only is None else {one: registry[one] for one in only}
        monkeypatch.setattr(registry, "_entries", kept)
        registry.register(name, entry)

    return registered


# Modules whose processes are measured, since nothing else runs what workers, ``python -m`` and the script run.
MEASURED = {"test_executors", "test_cli"}


@pytest.fixture(scope="module", autouse=True)
def unmeasured(request: pytest.FixtureRequest) -> Iterator[None]:
    """Coverage takes a second of each process that a test starts, and finds nothing there that is not run elsewhere."""
    with pytest.MonkeyPatch.context() as context:
        for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
            if request.path.stem not in MEASURED:
                context.delenv(name)
        yield


@pytest.fixture
def forget() -> Callable[[Path, str, str], None]:
    """Takes a setting out of a study, as if a version that had it not had begun it."""

    def forgotten(directory: Path, part: str, name: str) -> None:
        written = read_toml(directory / "study.toml")
        del written[part][name]
        write_toml(written, directory / "study.toml")
        with closing(sqlite3.connect(directory / "study.db")) as connection, connection:
            (text,) = connection.execute("SELECT value FROM setting WHERE name = 'settings'").fetchone()
            stored = json.loads(text)
            del stored[part][name]
            connection.execute("UPDATE setting SET value = ? WHERE name = 'settings'", (json.dumps(stored),))
            seal(connection)

    return forgotten


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window, driven by Playwright."""
    playwright = pytest.importorskip("playwright.sync_api")
    place = next((path for name in BROWSERS if (path := shutil.which(name)) is not None), None)
    if place is None:
        pytest.fail("no browser is here: install chromium (on Debian and Ubuntu: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=place, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()
