"""Signals at random moments: whatever stops a study or a comparison, the end must equal that of an uninterrupted run.

    PYTHONPATH=tools python -m fuzz.signals --kills 100 --seed 1

Most signals are SIGKILL, which counts; SIGTERM, SIGHUP, SIGINT, and pauses are among them. Every end is compared: rows
of the databases (but for times), ``best.json``, ``pareto.json``, ``comparison.json``, byte by byte. Half-written
files, torn lines of the log, tracebacks, stray temporary files and wrong exit codes count as faults as well.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fuzz import arrays, harness
from fuzz.cases import TUNING

PART = ("--data", "d.npz", "--hidden", "4", "--batch-size", "8", "--steps", "60", "--threads", "1", "--quiet")
SEARCH = ("--population", "4", "--generations", "6", "--finalists", "2", "--finalist-seeds", "3")
VMAP = ("--training", "population")
JOBS: dict[str, list[str]] = {
    "population, chunks of one": [*VMAP, "--chunk", "1"],
    "sequential": ["--training", "sequential", "--seed", "3"],
    "taylor, redrawn, replicates": [*VMAP, "--space", "taylor", "--untrainable", "redraw", "--replicates", "2"],
    "images, figures, pruning": [
        *("--data", "i.npz", *VMAP, "--record", "robust-accuracy", "--prune-at", "0.5", "--partial", "0.5"),
        *("--mixup", "0.2", "--crop", "1", "--flip", "--chunk", "3"),
    ],
}
COMPARE = ["compare", "s/best.json", "--seeds", "2", *TUNING, "--quiet", "--threads", "1", *VMAP, "--chunk", "8"]
COMPARED = "population, chunks of one"
FILES = ("best.json", "study.toml", "pareto.json", "comparison.json")
DIRECTORIES = ("s", "s/rival")
KINDS = (*[signal.SIGKILL] * 7, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
# After so many, a command is left to end: what stops again and again at the start would never.
MOST_SIGNALS = 14
# Seconds after a signal in which a command must have ended, however busy the machine is.
LONGEST_END = 120
# What takes its time, what is measured on this machine, and what follows from both.
TIMES = ("seconds", "checksum")
State = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """A command and what it leaves when nothing stops it.

    Args:
        name: What it is called.
        words: The command.
        seconds: How long it takes.
        expected: What it leaves.
    """

    name: str
    words: list[str]
    seconds: float
    expected: State


class Trial:
    """Commands that are stopped, and what was wrong after it.

    Args:
        place: The directory that they run in.
        seed: Of the moments and the signals.
    """

    def __init__(self, place: Path, seed: str) -> None:
        self.place, self.rng = place, random.Random(seed)
        self.figures: collections.Counter[str] = collections.Counter()
        self.faults: list[str] = []

    def fault(self, job: str, stage: Stage, what: str) -> None:
        """Note a fault."""
        self.figures["faults"] += 1
        self.faults.append(f"{job}, {stage.name}: {what}")

    def begin(self) -> None:
        """An empty directory with data."""
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)
        images = np.random.default_rng(0).integers(0, 256, (120, 1, 4, 4)).astype(np.uint8)
        np.savez(self.place / "d.npz", allow_pickle=False, **arrays.good_arrays())
        np.savez(self.place / "i.npz", allow_pickle=False, x_train=images, y_train=np.arange(120) % 3)

    def whole(self, name: str, words: list[str]) -> Stage:
        """A command that nothing stops."""
        started = time.monotonic()
        ended = harness.run(words, self.place, timeout=900)
        if ended.code:
            raise SystemExit(f"the command {' '.join(words)} ended with {ended.code}: {ended.err}")
        return Stage(name, words, time.monotonic() - started, state(self.place))

    def stopped(self, job: str, stage: Stage) -> None:
        """A command that is stopped several times, until it ends."""
        for attempt in range(MOST_SIGNALS + 1):
            said = self.place / "said.txt"
            with said.open("wb") as file:
                process = harness.start(stage.words, self.place, file.fileno(), file.fileno())
            if attempt < MOST_SIGNALS and self._signal(process, job, stage, said):
                self._check(job, stage, said.read_text(errors="replace"))
                continue
            if not harness.ends(process, 900):
                os.kill(process, signal.SIGKILL)
            code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
            if code:
                self.fault(job, stage, f"it ended with {code}: {said.read_text(errors='replace')[-500:]}")
            break
        self.figures["ends"] += 1
        found = state(self.place)
        for key, expected in stage.expected.items():
            if found.get(key) != expected:
                self.fault(job, stage, f"{key} differs")

    def _signal(self, process: int, job: str, stage: Stage, said: Path) -> bool:
        """Whether a process was stopped before it ended by itself; one that hangs then is killed, which is a fault."""
        moment = self.rng.uniform(0.05, 0.5 * stage.seconds)
        if self.rng.random() < 0.15 and not harness.ends(process, 0.5 * moment):
            os.kill(process, signal.SIGSTOP)
            time.sleep(self.rng.uniform(0.05, 0.3))
            os.kill(process, signal.SIGCONT)
            self.figures["SIGSTOP"] += 1
        if harness.ends(process, moment):
            return False
        kind = self.rng.choice(KINDS)
        os.kill(process, kind)
        if kind is signal.SIGINT and self.rng.random() < 0.5 and not harness.ends(process, 0.01):
            # Somebody who is impatient.
            os.kill(process, kind)
            self.figures["SIGINT again"] += 1
        if not harness.ends(process, max(LONGEST_END, 3 * stage.seconds)):
            harness.tell_where(process)
            os.kill(process, signal.SIGKILL)
            self.fault(job, stage, f"it hangs after {kind.name}: {said.read_text(errors='replace')[-3000:]}")
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        self.figures[kind.name] += 1
        self.figures[f"{kind.name} → {code}"] += 1
        return True

    def _check(self, job: str, stage: Stage, said: str) -> None:
        """See that what was stopped left nothing half."""
        if "Traceback" in said:
            self.fault(job, stage, f"a traceback: {said[-500:]}")
        for directory in DIRECTORIES:
            for name in FILES:
                file = self.place / directory / name
                key = f"{directory}/{name}"
                if file.exists() and key in stage.expected and file.read_bytes() != stage.expected[key]:
                    self.fault(job, stage, f"{key} is another one")
            try:
                tables(self.place / directory / "study.db")
            except sqlite3.Error as error:
                self.fault(job, stage, f"the database in {directory}: {error}")
        log = self.place / "s" / "training.log"
        for line in log.read_bytes().split(b"\n")[:-1] if log.exists() else ():
            try:
                json.loads(line)
            except ValueError:
                self.fault(job, stage, f"a torn line of the log: {line[:80]!r}")


def tables(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of a database but for what takes its time, by table."""
    if not path.exists():
        return {}
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        ((verdict,),) = connection.execute("PRAGMA integrity_check(1)").fetchall()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: list(_rows(connection, name)) for name in names}
    finally:
        connection.close()


def _rows(connection: sqlite3.Connection, table: str) -> Iterator[tuple[Any, ...]]:
    cursor = connection.execute(" ".join(["SELECT * FROM", table, "ORDER BY 1, 2"]))
    kept = [place for place, column in enumerate(cursor.description) if column[0] not in TIMES]
    for row in cursor:
        # How networks are run was measured, where it is not given.
        if table != "setting" or row[0] != "way":
            yield tuple(row[place] for place in kept)


def state(place: Path) -> State:
    """What commands left: rows and files."""
    found: State = {}
    for directory in DIRECTORIES:
        base = place / directory
        for table, rows in tables(base / "study.db").items():
            found[f"{directory}/study.db, {table}"] = rows
        found |= {f"{directory}/{name}": (base / name).read_bytes() for name in FILES if (base / name).exists()}
        found[f"{directory}, hidden files"] = sorted(path.name for path in base.glob(".*"))
    return found


def main() -> None:
    """Stop studies until the wanted number of SIGKILL is reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="how many SIGKILL")
    parser.add_argument("--seed", default="0", help="any text")
    given = parser.parse_args()
    harness.environment({"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"})
    harness.preload()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lossmith-signals-") as directory:
        trial = Trial(Path(directory) / "same", given.seed)
        stages: dict[str, list[Stage]] = {}
        for job, flags in JOBS.items():
            trial.begin()
            search = ["evolve", "--out", "s", *PART, *SEARCH, *flags]
            stages[job] = [trial.whole("evolve", search)]
            if job == COMPARED:
                stages[job].append(trial.whole("compare", COMPARE))
        while trial.figures["SIGKILL"] < given.kills:
            for job, parts in stages.items():
                trial.begin()
                for stage in parts:
                    trial.stopped(job, stage)
                print(f"{time.monotonic() - started:.0f} s: {dict(trial.figures)}", flush=True)
    print("\n".join(trial.faults) or "all ends are equal")
    sys.exit(1 if trial.faults else 0)


if __name__ == "__main__":
    main()
