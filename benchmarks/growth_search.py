"""How time and memory of a whole search grow with its candidates and its worker processes: points of `growth.py`."""

import multiprocessing
import tempfile
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch
from machine import peak_bytes, seconds

from lossmith.data import DataSettings
from lossmith.nets import ModelSettings
from lossmith.search import SearchSettings
from lossmith.study import EvolveSettings, Progress, RunSettings, Study, evolve
from lossmith.training import Executor, Recipe, executor

POPULATION = 16


class SearchOver(Exception):
    """Ends a study after its search."""


def settings_of(model: str, candidates: int, epochs: int, device: str) -> EvolveSettings:
    """A search on the digits without tuning, each candidate a job of its own."""
    return EvolveSettings(
        data=DataSettings(train_size=800),
        model=ModelSettings(name=model),
        recipe=Recipe(lr=0.05, batch_size=50, epochs=epochs),
        search=SearchSettings(
            population=POPULATION, generations=-(-candidates // POPULATION), sigma=0.3, invariant="none"
        ),
        run=RunSettings(tune=False, training="sequential", chunk=1, device=device),
    )


def search_seconds(folder: Path, settings: EvolveSettings, running: Executor) -> float:
    """Seconds from the start of a study to the end of its search."""
    started, ended = time.perf_counter(), list[float]()

    def report(progress: Progress) -> None:
        if progress.phase == "smoothing":
            ended.append(time.perf_counter() - started)
            raise SearchOver

    with suppress(SearchOver):
        evolve(folder, settings, executor=running, report=report)
    return ended[0]


def reopened(folder: Path) -> None:
    """Open a study again, whose search is replayed."""
    with Study.load(folder) as study:
        study.best()


def search_point(model: str, candidates: int, workers: int, epochs: int, threads: int, device: str) -> dict[str, float]:
    """What a search takes in this process and in its workers, none of which is this process alone.

    A search of one generation goes before, so that all have loaded what they need. The peak of memory is the sum over
    all processes, so what they share counts in each.
    """
    torch.set_num_threads(threads)
    settings = settings_of(model, candidates, epochs, device)
    with (
        tempfile.TemporaryDirectory() as folder,
        executor("processes", workers) if workers else executor("local") as running,
    ):
        short, study = Path(folder) / "short", Path(folder) / "study"
        search_seconds(short, settings_of(model, POPULATION, epochs, device), running)
        taken = search_seconds(study, settings, running)
        children = [Path(f"/proc/{process.pid}/status") for process in multiprocessing.active_children()]
        peak = peak_bytes() + sum(map(peak_bytes, children))
        return {
            "seconds": taken,
            "peak": peak,
            "processes": 1 + len(children),
            "database_bytes": (study / "study.db").stat().st_size,
            "reopening_seconds": seconds(partial(reopened, study)),
        }
