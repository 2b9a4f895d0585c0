"""What every test gets: one thread, the same examples each time, and no trace in the user's home."""

import os
import shutil
import tempfile

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
