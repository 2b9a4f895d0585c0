"""What every test gets: one thread, the same examples each time, and no trace in the user's home."""

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import hypothesis
import pytest
import torch

HOME = pytest.StashKey[str]()

hypothesis.settings.register_profile("lossmith", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("lossmith")

# Tests run in several processes at once; subprocesses that tests start read the variable.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"


def pytest_configure(config: pytest.Config) -> None:
    """One temporary home for the session; the workers of xdist inherit it."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    config.stash[HOME] = home = tempfile.mkdtemp(prefix="lossmith-tests-")
    os.environ["HOME"] = home
    os.environ["MPLCONFIGDIR"] = f"{home}/matplotlib"
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{home}/inductor"


def pytest_unconfigure(config: pytest.Config) -> None:
    """The home goes when the session ends."""
    if HOME in config.stash:
        shutil.rmtree(config.stash[HOME], ignore_errors=True)


@pytest.fixture(scope="session")
def experiment() -> Callable[[str], ModuleType]:
    """Loads a program of `experiments/` by its name."""

    def loaded(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(
            f"experiments_{name}", Path(__file__).parents[1] / "experiments" / f"{name}.py"
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module.__name__] = module
        spec.loader.exec_module(module)
        return module

    return loaded
