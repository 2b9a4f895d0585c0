"""What worker processes gain on the demo's search, on idle cores and on busy ones.

    python benchmarks/workers.py [--generations 6] [--rounds 3] [--chunk 24] [--busy 2]

The search of ``experiments/noisy-digits.toml`` (16 candidates with three networks each) for some generations, in chunks
that two workers can share: in this process with as many threads as cores, and in worker processes of one thread each,
one and as many as cores. Each is measured in turn, so many rounds, on idle cores and beside processes that multiply
matrices without end, one for each core. Seconds of the whole search, without the start of the workers and without
finalists; the figures are ratios of two that were measured in turn.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from growth_search import search_seconds
from machine import compared, ranged, say, write

from lossmith.study import EvolveSettings, settings_document, validated
from lossmith.training import Executor, executor

FILE = Path(__file__).parents[1] / "experiments" / "noisy-digits.toml"
LOCAL, ONE, ALL = "threads", "one worker", "a worker for each core"


def settings_of(generations: int, chunk: int) -> EvolveSettings:
    """The search, population training on every executor alike."""
    given = validated(EvolveSettings, settings_document(FILE), str(FILE))
    search = given.search.model_copy(update={"generations": generations})
    run = given.run.model_copy(update={"tune": False, "training": "population", "chunk": chunk})
    return given.model_copy(update={"search": search, "run": run})


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Some other processes, each of which keeps a core busy."""
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=multiply, daemon=True) for _ in range(count)]
    for other in others:
        other.start()
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.join()


def multiply() -> None:
    """Multiply matrices without end, in one thread."""
    torch.set_num_threads(1)
    matrix = torch.randn(200, 200)
    while True:
        torch.mm(matrix, matrix)


def measured(settings: EvolveSettings, rounds: int) -> dict[str, list[float]]:
    """Seconds of the search with each executor, in turn."""
    cores = len(os.sched_getaffinity(0))
    found: dict[str, list[float]] = {LOCAL: [], ONE: [], ALL: []}
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        runs: dict[str, Executor] = {
            LOCAL: executor("local"),
            ONE: stack.enter_context(executor("processes", 1)),
            ALL: stack.enter_context(executor("processes", cores)),
        }
        # Before it is measured each has loaded what it needs.
        for number in range(rounds + 1):
            for name, running in runs.items():
                taken = search_seconds(Path(folder) / f"{name}-{number}", settings, running)
                if number:
                    found[name].append(taken)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cores = len(os.sched_getaffinity(0))
    for word, usual in (("generations", 6), ("rounds", 3), ("chunk", 24), ("busy", cores)):
        parser.add_argument(f"--{word}", type=int, default=usual)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    torch.set_num_threads(cores)
    settings = settings_of(given.generations, given.chunk)
    idle = measured(settings, given.rounds)
    say("idle cores are measured")
    with busy(given.busy):
        crowded = measured(settings, given.rounds)
    ratios: dict[str, dict[str, Any]] = {
        f"{ALL} over {ONE}, idle": compared(idle[ONE], idle[ALL]),
        f"{ALL} over {LOCAL}, idle": compared(idle[LOCAL], idle[ALL]),
        f"{ALL}, busy over idle": compared(idle[ALL], crowded[ALL]),
        f"{LOCAL}, busy over idle": compared(idle[LOCAL], crowded[LOCAL]),
        f"{ALL} over {LOCAL}, busy": compared(crowded[LOCAL], crowded[ALL]),
    }
    for name, seconds in (("idle", idle), ("busy", crowded)):
        for way, values in seconds.items():
            print(f"{name}, {way}: {statistics.median(values):.2f} s")
    for name, pair in ratios.items():
        print(f"{name}: {ranged(pair)}")
    asked = {"generations": given.generations, "chunk": given.chunk, "busy": given.busy}
    write("workers", {"asked": asked, "ratios": ratios}, given.out)


if __name__ == "__main__":
    main()
