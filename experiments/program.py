"""The program of an experiment: its command line, its plan, parts that are kept, and the document of a run.

A stopped experiment goes on. What it tells can be derived again from the kept raw runs (``--again``), so a summary says
no more than they do.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Self

import torch
from matplotlib.figure import Figure

from lossmith.data import open_source
from lossmith.io import read_json, write_json, write_toml, write_whole
from lossmith.report import save_figure
from lossmith.study import EvolveSettings, read_settings, validated, with_data

WORK = Path("experiments/work")


def study_file(path: Path) -> EvolveSettings:
    """The settings of a study file."""
    return read_settings(path)


def changed(settings: EvolveSettings, **parts: dict[str, Any]) -> EvolveSettings:
    """The same settings with other values in some parts, checked."""
    document = settings.model_dump(mode="json")
    return validated(EvolveSettings, {**document, **{p: document[p] | parts[p] for p in parts}}, "the experiment")


def located(data: str) -> str:
    """Data by a name, or the absolute path of a file, since a part runs in a process of its own."""
    return str(Path(data).expanduser().absolute()) if Path(data).suffix == ".npz" else data


@dataclass(frozen=True)
class Plan:
    """What is run; an experiment that needs more adds fields.

    Args:
        settings: Of the study file, with the place of the data.
        digest: Of the data.
        networks: Networks of each loss on test data.
    """

    settings: EvolveSettings
    digest: str
    networks: int

    @property
    def key(self) -> str:
        """What identifies the job, wherever its data lies."""
        asked = {field.name: getattr(self, field.name) for field in fields(self)}
        asked["settings"] = with_data(self.settings, "").model_dump(mode="json")
        text = json.dumps({**asked, "torch": torch.__version__}, sort_keys=True, default=asdict)
        return digest_of(text)

    @classmethod
    def asked(cls, given: argparse.Namespace) -> Self:
        """The plan that a command line with a study file asks for."""
        settings = study_file(given.file)
        place = located(given.data or settings.data.source)
        return cls(with_data(settings, place), open_source(place).digest, given.networks)

    def split(self, number: int, **data: Any) -> EvolveSettings:
        """The settings with the search seed, split and label noise of a search."""
        wanted = {"split_seed": number, "noise_seed": number, **data}
        return changed(self.settings, data=wanted, search={"seed": number})


def digest_of(text: str) -> str:
    """Sixteen characters that identify a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def kept(path: Path, key: str, made: Callable[[], Any]) -> Any:
    """What a file holds, or what it is made to hold, so that a stopped experiment goes on."""
    if path.exists():
        document = read_json(path)
        if document["key"] != key:
            raise SystemExit(f"{path} is of another job (other settings, data or torch); choose another --work")
        return document["found"]
    path.parent.mkdir(parents=True, exist_ok=True)
    found = made()
    write_json({"key": key, "found": found}, path)
    return found


@contextmanager
def processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """Worker processes of one thread each, as small networks train fastest; what waits is dropped after a failure."""
    pool = ProcessPoolExecutor(count, get_context("spawn"), torch.set_num_threads, (1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def each(pool: ProcessPoolExecutor, part: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> list[Any]:
    """What a part finds for each call, in the order of the calls."""
    return [waiting.result() for waiting in [pool.submit(part, *call) for call in calls]]


def teller(name: str) -> Callable[[str], None]:
    """Prints lines of progress with the seconds since now."""
    started = time.perf_counter()
    return lambda text: print(f"{name}: {text} ({time.perf_counter() - started:.0f} s)", flush=True)


def arguments(
    doc: str,
    name: str,
    first: Mapping[str, dict[str, Any]],
    counts: Mapping[str, tuple[int, int, str]],
    data: bool = True,
) -> argparse.Namespace:
    """What a command line asks for.

    Args:
        doc: The head of the experiment.
        name: Its name.
        first: Its positional arguments before the directory of the results.
        counts: Its numbers: what they are by default, at least, and what they count.
        data: Whether its data can be given.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for word, options in first.items():
        parser.add_argument(word, **options)
    parser.add_argument("target", type=Path, help="directory of the results")
    if data:
        parser.add_argument("--data", help="name or .npz file, if it is not what the study file names")
    counts = {**counts, "workers": (1, 1, "processes, a thread each")}
    for word, (usual, _, help_text) in counts.items():
        parser.add_argument(f"--{word}", type=int, default=usual, help=help_text)
    parser.add_argument("--work", type=Path, default=WORK / name, help="directory of what is kept of a stopped run")
    parser.add_argument("--again", action="store_true", help="judge the kept runs again and train nothing")
    given = parser.parse_args()
    for word, (_, least, _) in counts.items():
        if getattr(given, word) < least:
            parser.error(f"--{word} is {getattr(given, word)}; take at least {least}")
    # Two data sets of one experiment have parts of the same names.
    given.work /= given.target.name
    given.command = command(name, given)
    return given


def command(name: str, given: argparse.Namespace) -> str:
    """The command that makes the results again, on a machine where the data lies elsewhere."""
    words = ["python", f"experiments/{name}.py"]
    for word, value in vars(given).items():
        if word in ("file", "job", "target"):
            words.append(str(value))
        elif word not in ("work", "again") and value is not None:
            words += [f"--{word}", Path(value).name if word == "data" else str(value)]
    return " ".join(words)


def made_by() -> dict[str, Any]:
    """Versions and machine of a run."""
    versions = {name: version(name) for name in ("lossmith", "numpy", "scipy")}
    return {
        "versions": {**versions, "torch": torch.__version__, "python": platform.python_version()},
        "machine": {
            "system": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
        },
    }


def versions_line(document: dict[str, Any]) -> str:
    """The versions of a run as pages tell them."""
    return f"lossmith {document['versions']['lossmith']}, PyTorch {document['versions']['torch']}"


def kept_program(
    doc: str,
    name: str,
    data: Sequence[str],
    count: tuple[str, int] | None,
    found: Callable[[argparse.Namespace], dict[str, Any]],
    page: Callable[[dict[str, Any]], Sequence[str]],
) -> None:
    """The command line of an experiment whose parts are kept: it runs what is missing, and writes the page of it all.

    Args:
        doc: The head of the experiment.
        name: Its name.
        data: Data sets that are given as .npz files.
        count: What it can be told a number of, and how many by default; None for nothing.
        found: Gives what is kept besides the command and the versions, with ``"runs"``. It is given the command line:
            the absolute directory ``work``, ``workers``, the absolute places of the data as ``places``, the number.
        page: The page of that.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path, help="directory of the results")
    for one in data:
        parser.add_argument(f"--{one}", default=f"{one}.npz", help=f"{one}, as an .npz file")
    if count is not None:
        parser.add_argument(f"--{count[0]}", type=int, default=count[1])
    parser.add_argument("--workers", type=int, default=1, help="processes, a thread each")
    parser.add_argument("--work", type=Path, default=WORK / name, help="directory of what is kept of a stopped run")
    parser.add_argument("--again", action="store_true", help="write the page anew from the kept runs")
    given = parser.parse_args()
    file = given.target / "runs.json"
    if not given.again:
        words = ["python", f"experiments/{name}.py", str(given.target), *(f"--{one} {one}.npz" for one in data)]
        if count is not None:
            words.append(f"--{count[0]} {getattr(given, count[0])}")
        given.work = given.work.absolute()
        given.work.mkdir(parents=True, exist_ok=True)
        given.places = {one: located(getattr(given, one)) for one in data}
        document = {"command": " ".join(words), **made_by(), **found(given)}
        given.target.mkdir(parents=True, exist_ok=True)
        write_whole(compact(document), file)
    write_whole(("\n".join(page(read_json(file))) + "\n").encode(), given.target / "summary.md")


def compact(document: dict[str, Any]) -> bytes:
    """A document with a line for each run or draw: its tens of thousands of figures would be as many lines."""
    text = json.dumps(
        {key: [] if many(value) else value for key, value in document.items()}, ensure_ascii=False, indent=1
    )
    for key, value in document.items():
        if many(value):
            rows = ",\n".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in value)
            text = text.replace(f"\n {json.dumps(key)}: []", f"\n {json.dumps(key)}: [\n{rows}\n]")
    return f"{text}\n".encode()


def many(value: Any) -> bool:
    """Whether it is a list of rows."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def raw(given: argparse.Namespace, plan: Plan, **found: Any) -> dict[str, Any]:
    """The document of a run, with everything that was found and nothing that was judged."""
    portable = with_data(plan.settings, Path(plan.settings.data.source).name).model_dump(mode="json")
    return {"command": given.command, **made_by(), "digest": plan.digest, "settings": portable, **found}


def keep(target: Path, document: dict[str, Any]) -> None:
    """Write what was found: ``runs.json``, and its settings as a study file."""
    target.mkdir(parents=True, exist_ok=True)
    write_json(document, target / "runs.json")
    write_toml(document["settings"], target / "study.toml")


def told_again(target: Path, page: Callable[[list[dict[str, Any]], str], Sequence[str]]) -> None:
    """Write ``summary.md`` from the runs and the command that ``runs.json`` keeps."""
    document = read_json(target / "runs.json")
    write_whole(("\n".join(page(document["runs"], document["command"])) + "\n").encode(), target / "summary.md")


def tell(target: Path, summary: dict[str, Any], lines: Sequence[str], figures: Mapping[str, Figure]) -> None:
    """Write what came out: ``summary.json``, ``summary.md`` and the pictures."""
    write_json(summary, target / "summary.json")
    for name, figure in figures.items():
        save_figure(figure, target / f"{name}.png")
    write_whole(("\n".join(lines) + "\n").encode(), target / "summary.md")
