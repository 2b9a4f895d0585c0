"""What one candidate costs the driver of a study: asking and checks, telling, the write to SQLite, and bytes to send.

    python benchmarks/driver_cost.py [--populations 20 512] [--chunks 1 20] [--candidates 2000] [--json]

Nothing is trained. A study of the space residual is asked and told to its end, chunk by chunk, so that its cost is all
that the driver does but talk to workers. The parts stand beside it: the engine alone, the losses of the genomes with
both forms of the invariant, and the same rows written to a database of their own, one transaction a chunk, on the disk
of ``--folder``. "Whole" is how long a study of that population takes for a candidate, "rows" what the database takes. A
job and its outcome are pickled without what workers read once: the task, and tensors of 16 KiB or more.
"""

import argparse
import io
import json
import math
import pickle
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from machine import median_seconds, say, seconds, write
from torch import Tensor

from lossmith.search import SearchSettings, build_engine, build_space, residual
from lossmith.seeds import generator
from lossmith.study import Result, Store, Study
from lossmith.theory import is_trainable
from lossmith.training import Backend, Job, Outcome, Recipe, Task, Trained, accuracy

CLASSES, HANDED_OVER, ROUNDS = 10, 2**14, 20
Row = dict[str, Any]


class Packed(pickle.Pickler):
    """Pickles a job without what workers read once."""

    def persistent_id(self, value: Any) -> str | None:
        """A name for what is handed over in a file."""
        large = isinstance(value, Tensor) and value.numel() * value.element_size() >= HANDED_OVER
        return "0.pickle" if large or isinstance(value, Task) else None


def packed(value: Any) -> bytes:
    """A job or an outcome as bytes."""
    stream = io.BytesIO()
    Packed(stream).dump(value)
    return stream.getvalue()


def settings_of(population: int, candidates: int) -> SearchSettings:
    """A search of so many candidates, or of two generations."""
    return SearchSettings(population=population, generations=max(2, math.ceil(candidates / population)))


def results_of(study: Study) -> list[Result]:
    """Results of what waits, as a training of one network gives them."""
    return [
        Result(one, 0.5 - 1e-6 * one.member, scores=(0.5 - 1e-6 * one.member,), seconds=12.345678)
        for one in study.pending()
    ]


def parts_of(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """Items in chunks."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def study_run(folder: Path, search: SearchSettings, chunk: int) -> None:
    """Ask and tell to the end."""
    with Study(folder, CLASSES, search) as study:
        while not study.finished:
            for part in parts_of(results_of(study), chunk):
                study.record(part)


def rows_of(folder: Path) -> list[Row]:
    """The candidates of a study."""
    with Study.load(folder, readonly=True) as study:
        return study.store.candidates()


def written_rows(folder: Path, rows: Sequence[Row], chunk: int) -> None:
    """Write rows to a database of their own, chunk by chunk."""
    folder.mkdir()
    with Store(folder) as store:
        for part in parts_of(rows, chunk):
            store.add_candidates({key: value for key, value in row.items() if key != "checksum"} for row in part)


def driver_point(folder: Path, population: int, chunk: int, candidates: int) -> Row:
    """Seconds and bytes of a candidate at one population and size of chunks."""
    search, place = settings_of(population, candidates), folder / f"{population}-{chunk}"
    whole = seconds(partial(study_run, place, search, chunk))
    rows = rows_of(place)
    own = folder / f"{population}-{chunk}-rows"
    writing = seconds(partial(written_rows, own, rows, chunk))
    opened = seconds(lambda: rows_of(place))
    return {
        "population": population,
        "chunk": chunk,
        "candidates": len(rows),
        "whole": whole / len(rows),
        "writing": writing / len(rows),
        "reading": opened / len(rows),
        "bytes": sum(path.stat().st_size for path in own.glob("study.db*")) / len(rows),
    }


def engine_point(population: int) -> Row:
    """Seconds of a candidate in the engine, and in the losses with the checks."""
    search = settings_of(population, 0)
    space = build_space(search)
    engine = build_engine(space, search)

    def turn() -> None:
        genomes, _ = engine.ask(lambda _: True)
        engine.tell(genomes, [-sum(x * x for x in genome) for genome in genomes])

    genomes, _ = engine.ask(lambda _: True)

    def checks() -> None:
        losses = space.build(genomes, CLASSES)
        for form in ("exact", "published"):
            is_trainable(losses, CLASSES, form)

    rounds = max(3, ROUNDS * 20 // population)
    found = {name: median_seconds(work, rounds) / population for name, work in (("engine", turn), ("checks", checks))}
    return {"population": population, **found}


def measured(inputs: Tensor, targets: Tensor, trained: Trained, _: Any) -> dict[str, Tensor]:
    """Accuracy, as a study measures it; it is sent, never called."""
    return {"fitness": accuracy(trained.networks.logits(inputs), targets)}


def message_point(chunk: int) -> Row:
    """Bytes of a job and of its outcome for one candidate, and seconds to pack the one and read the other."""
    inputs = torch.zeros(800, 1, 8, 8, dtype=torch.uint8)
    task = Task(torch.nn.Identity, inputs, torch.zeros(800, dtype=torch.int64), CLASSES)
    points = torch.randn(chunk, 5, generator=generator("driver"), dtype=torch.float64)
    measure = partial(measured, inputs, task.targets)
    job = Job(task, residual(points, CLASSES), tuple(range(chunk)), Recipe(), Backend(), measure)
    figures = {"fitness": torch.rand(chunk, dtype=torch.float64)}
    content = packed(Outcome((figures, torch.zeros(chunk, dtype=torch.bool)), None, 12.345678))
    return {
        "chunk": chunk,
        "job_bytes": len(packed(job)) / chunk,
        "outcome_bytes": len(content) / chunk,
        "packing": median_seconds(partial(packed, job), ROUNDS) / chunk,
        "unpacking": median_seconds(partial(pickle.loads, content), ROUNDS) / chunk,
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--populations", type=int, nargs="+", default=[20, 512])
    parser.add_argument("--chunks", type=int, nargs="+", default=[1, 20])
    parser.add_argument("--candidates", type=int, default=2000, help="of each study, at least two generations")
    parser.add_argument("--folder", type=Path, help="where the studies lie meanwhile (default: the temporary one)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    document: dict[str, Any] = {
        "engine": [engine_point(population) for population in given.populations],
        "messages": [message_point(chunk) for chunk in given.chunks],
        "driver": [],
    }
    if given.folder is not None:
        given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        driver_point(Path(name), 2, 1, 4)
        for population in given.populations:
            for chunk in given.chunks:
                document["driver"].append(driver_point(Path(name), population, chunk, given.candidates))
                say(f"population {population}, chunks of {chunk}")
    if given.json:
        print(json.dumps(document, indent=1))
    else:
        for row in [*document["engine"], *document["messages"], *document["driver"]]:
            print(", ".join(told(*pair) for pair in row.items()), flush=True)
    write("driver_cost", document, given.out)


def told(name: str, value: float) -> str:
    """A figure as text: bytes and counts as they are, seconds in microseconds."""
    if name in ("population", "chunk", "candidates"):
        return f"{name} {value}"
    return f"{name} {value:.0f}" if name.endswith("bytes") else f"{name} {1e6 * value:.0f} µs"


if __name__ == "__main__":
    main()
