"""What a study with many candidates costs who comes back to it: to show it, to open it again, to write its report.

    python benchmarks/large_study.py [--candidates 20000] [--population 20] [--json]

Nothing is trained: the results are given, and written generation by generation, as a search with worker processes
writes them. "show" is the whole process ``lossmith show``, beside the same of a study of two generations, so that the
difference is what the candidates cost. To open reads the settings; the first question for candidates replays the
generations that are told. The report is also that of a search over formulas, all of them different. Memory is what the
process holds that makes the study, after a tenth of the generations and at their end.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from driver_cost import CLASSES, results_of, settings_of, study_run
from machine import held_bytes, median_seconds, say, seconds, write

from lossmith.losses.expressions import json_of, parse
from lossmith.report import write_report
from lossmith.search import SearchSettings
from lossmith.study import Study

ROUNDS = 3
FORMS = (
    "{a}*y*log(h) + {b}*h*h - y/h",
    "{a}*y*log(h) - {b}*sqrt(h) + h*h*h",
    "tanh({a}*h - y)*({b} + log(h)) - y*log(h)",
    "y*exp({a}*h) + {b}*h - y*log(h)",
)


def made(folder: Path, population: int, candidates: int) -> dict[str, int]:
    """Make a study, and what the process holds after a tenth of it and at its end."""
    search = settings_of(population, candidates)
    early = max(1, search.generations // 10)
    held = 0
    with Study(folder, CLASSES, search) as study:
        while not study.finished:
            study.record(results_of(study))
            if study.generation == early:
                held = held_bytes()
        return {"early": held, "end": held_bytes(), "generations": search.generations}


def reopened(folder: Path, population: int, candidates: int) -> dict[str, float]:
    """Seconds to open a study that is longer by a generation, to get its candidates, and to tell them."""
    search, opened = settings_of(population, candidates + population), list[Study]()
    found = {"open": seconds(lambda: opened.append(Study(folder, CLASSES, search)))}
    with opened[0] as study:
        found["candidates"] = seconds(study.pending)
        results = results_of(study)
        found["tell"] = seconds(lambda: study.record(results))
    return found


def made_of_formulas(folder: Path, population: int, candidates: int) -> None:
    """Make a study whose candidates are formulas, no two of them alike."""
    rng, generations = np.random.default_rng(0), -(-candidates // population)
    fixed = {"status": "ok", "scores": [0.5], "exact": 1, "published": 1, "redrawn": 0, "seconds": 0.1}
    rows = []
    for number, (a, b) in enumerate(rng.uniform(0.1, 2, (generations * population, 2)).tolist()):
        generation, member = divmod(number, population)
        tree = parse(FORMS[number % len(FORMS)].format(a=a, b=b))
        placed = {"generation": generation, "member": member, "genome": json_of(tree), "fitness": a / (1 + b)}
        rows.append({**placed, **fixed})
    search = SearchSettings(space="expression", engine="genetic", population=population, generations=generations)
    with Study(folder, CLASSES, search) as study:
        study.store.add_candidates(rows)


def shown(folder: Path) -> float:
    """Seconds of the process that shows a study."""
    command = [sys.executable, "-m", "lossmith", "show", str(folder)]
    return statistics.median(
        seconds(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(ROUNDS)
    )


def reported(folder: Path) -> float:
    """Seconds to write the report of a study."""
    return median_seconds(lambda: write_report(folder), ROUNDS)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=20_000)
    parser.add_argument("--population", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        small, large, formulas = (Path(name) / one for one in ("small", "large", "formulas"))
        made_of_formulas(formulas, given.population, given.candidates)
        study_run(small, settings_of(given.population, 2 * given.population), given.population)
        document: dict[str, Any] = {
            "candidates": given.candidates,
            "population": given.population,
            "bytes_held": made(large, given.population, given.candidates),
            "file_bytes": (large / "study.db").stat().st_size,
            "show": {"two generations": shown(small), "all": shown(large)},
            "report": {"all": reported(large), "formulas": reported(formulas)},
            "again": reopened(large, given.population, given.candidates),
        }
    if given.json:
        print(json.dumps(document, indent=1))
    else:
        show, again, held = document["show"], document["again"], document["bytes_held"]
        report = document["report"]
        say(f"show: {show['all']:.2f} s; a study of two generations: {show['two generations']:.2f} s")
        say(f"report: {report['all']:.2f} s; of different formulas: {report['formulas']:.2f} s")
        say(f"open: {again['open']:.2f} s; next candidates: {again['candidates']:.2f} s; tell: {again['tell']:.3f} s")
        say(f"memory: {held['early'] / 2**20:.0f} MiB after a tenth, {held['end'] / 2**20:.0f} MiB at the end")
    write("large-study", document, given.out)


if __name__ == "__main__":
    main()
