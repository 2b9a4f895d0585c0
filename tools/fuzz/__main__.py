"""Thousands of bad inputs for the command line: seeded, bounded, with figures at the end.

Each case runs in a fork of this process, in a directory of its own, with limits on time and memory. A case is wrong
if it prints a traceback, ends with another code than it should (2 for what is surely bad; 0 or 2 for what may be
good), does not end, leaves or changes files although it was refused, or says anything but sentences. Exit code 1 if
one is wrong; what it was is kept in the folder that --out names.

    PYTHONPATH=tools python -m fuzz --count 10000 --seed 1
"""

from __future__ import annotations

import argparse
import collections
import itertools
import multiprocessing
import random
import shlex
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from fuzz import arrays, folders, harness, losses, settings, studies, tables
from fuzz.cases import COMPARE, TINY, Case, faults
from fuzz.harness import Ended
from fuzz.values import dumped

TIMEOUT, TIMEOUT_OF_LONG, MEMORY = 40.0, 3.0, 6.0
LONGEST_FILE = 300_000
SHARES = {
    **{"loss": 26, "name": 9, "toml": 19, "npz": 14, "flag": 15, "best": 6, "study": 6, "other": 3, "folder": 2},
    "table": 6,
}
EVERY = 200


@dataclass(frozen=True)
class Bench:
    """Where cases are tried.

    Args:
        base: What a case may use: data, a loss, a study with a comparison and a front.
        out: Where wrong ones are kept.
        seed: Of all cases.
        families: Their kinds.
    """

    base: Path
    out: Path
    seed: str
    families: tuple[str, ...]

    def case(self, number: int) -> tuple[str, Case]:
        """The family and the case of a number, which alone and the seed decide it."""
        rng = random.Random(f"{self.seed} {number}")
        family = rng.choices(self.families, [SHARES[name] for name in self.families])[0]
        study = self.base / "study"
        makers: dict[str, Callable[[random.Random], Case]] = {
            **{"loss": losses.loss_file, "name": losses.loss_name, "toml": settings.study_file, "npz": arrays.npz_file},
            **{"flag": settings.flags, "folder": folders.folder, "table": tables.table},
            "best": partial(studies.best_file, study=study),
            "study": partial(studies.study_directory, study=study),
            "other": partial(studies.other_file, study=study),
        }
        return family, makers[family](rng)

    def tried(self, number: int, directory: Path) -> tuple[str, Case, Ended | None, list[str]]:
        """What came of a case, and its faults; nothing if this system cannot make it."""
        family, case = self.case(number)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        for name in ("d.npz", "i.npz", "good.json"):
            shutil.copy(self.base / name, directory / name)
        if "study" in " ".join((*case.words, *case.files)):
            shutil.copytree(self.base / "study", directory / "study")
        try:
            for name, content in case.files.items():
                (directory / name).write_bytes(content)
            case.prepare(directory)
        except (OSError, ValueError):
            return family, case, None, []
        ended = harness.run(case.words, directory, TIMEOUT_OF_LONG if case.long else TIMEOUT, MEMORY)
        wrong = faults(case, ended)
        # Where a pickle of `arrays.Evil` is loaded.
        if any(Path(name).name == "PWNED" for name in ended.changed):
            wrong.append("pwned")
        return family, case, ended, wrong


def keep(place: Path, case: Case, ended: Ended, wrong: list[str]) -> None:
    """Keep a wrong case: its command, its files, and what it said."""
    place.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["lossmith", *case.words]).encode("utf-8", "backslashreplace")[:20_000]
    (place / "command.txt").write_bytes(command + b"\n")
    said = (
        f"{case.label}: {', '.join(wrong)}\nexit code {ended.code}, {ended.seconds:.1f} s, {ended.memory} MiB\n"
        f"changed: {ended.changed}\n--- standard error\n{ended.err[:20_000]}\n--- standard output\n{ended.out[:2000]}\n"
    )
    (place / "said.txt").write_text(said, encoding="utf-8", errors="backslashreplace")
    for name, content in case.files.items():
        if len(content) < LONGEST_FILE:
            (place / name.replace("/", "_")).write_bytes(content)


def work(bench: Bench, numbers: range, told: bool) -> collections.Counter[str]:
    """Try some cases; how often each fault was found."""
    figures: collections.Counter[str] = collections.Counter()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lossmith-fuzz-") as place:
        for count, number in enumerate(numbers, 1):
            family, case, ended, wrong = bench.tried(number, Path(place) / "case")
            figures["not made" if ended is None else "tried"] += 1
            figures.update(wrong)
            if wrong and ended is not None:
                figures["wrong"] += 1
                keep(bench.out / f"{family}-{number:05d}-{'-'.join(wrong)}", case, ended, wrong)
                last = ([line for line in ended.err.splitlines() if line.strip()] or [""])[-1]
                print(f"{number} {family} {case.label[:60]!r} {wrong}: {last[:160]!r}", flush=True)
            if told and count % EVERY == 0:
                print(f"{count} of {len(numbers)} in {time.monotonic() - started:.0f} s: {dict(figures)}", flush=True)
    return figures


def prepare(base: Path) -> None:
    """Data, a loss, and a study with a front and a comparison."""
    arrays_of_images = np.random.default_rng(0).integers(0, 256, (60, 1, 4, 4)).astype(np.uint8)
    np.savez(base / "d.npz", allow_pickle=False, **arrays.good_arrays())
    np.savez(base / "i.npz", allow_pickle=False, x_train=arrays_of_images, y_train=np.arange(60) % 3)
    (base / "good.json").write_bytes(dumped(losses.POWER))
    search = ["evolve", "--out", "study", "--quiet", *TINY, "--data", "i.npz", "--record", "robust-accuracy"]
    for words in (search, ["compare", "study/best.json", *COMPARE]):
        ended = harness.run(words, base, timeout=300)
        if ended.code:
            raise SystemExit(f"the sound command {shlex.join(words)} ended with {ended.code}: {ended.err}")
    connection = sqlite3.connect(base / "study" / "study.db")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def main() -> None:
    """Try cases, in as many processes as wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="how many")
    parser.add_argument("--seed", default="0", help="any text")
    parser.add_argument("--first", type=int, default=0, help="the number of the first, to try one again: --count 1")
    parser.add_argument("--families", default=",".join(SHARES), help="which kinds")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), help="where wrong ones are kept")
    given = parser.parse_args()
    families = tuple(name for name in given.families.split(",") if name != "folder" or find_spec("PIL") is not None)
    harness.environment({"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "COLUMNS": "80"})
    harness.preload()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lossmith-fuzz-") as base:
        prepare(Path(base))
        bench = Bench(Path(base), given.out.absolute(), given.seed, families)
        end = given.first + given.count
        parts = [range(given.first + job, end, given.jobs) for job in range(given.jobs)]
        # A fork has everything imported, as its own forks need it.
        with ProcessPoolExecutor(given.jobs, multiprocessing.get_context("fork")) as pool:
            found = list(pool.map(work, itertools.repeat(bench), parts, (place == 0 for place in range(given.jobs))))
    figures = sum(found, collections.Counter[str]())
    tried, missing = figures.pop("tried", 0), figures.pop("not made", 0)
    seconds = time.monotonic() - started
    print(f"{tried} inputs of the seed {given.seed!r} in {seconds:.0f} s; {missing} cannot be made here")
    named = {"traceback": "tracebacks", "code": "wrong exit codes", "hang": "hangs", "left": "left files"}
    print(", ".join(f"{figures.pop(name, 0)} {text}" for name, text in named.items()) + f"; others: {dict(figures)}")
    sys.exit(1 if figures["wrong"] else 0)


if __name__ == "__main__":
    main()
