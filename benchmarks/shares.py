"""What share of a search and of its comparison is training, and where the rest of the processor's time goes.

    python benchmarks/shares.py [experiments/noisy-digits.toml] [--seeds 30] [--json]

Each runs in a process of its own, on one thread, as the command does it but for reading its flags. Times are seconds of
the processor. "loading" is the interpreter with all that is imported before the work begins; "training" all that the
executor runs, with the measurements on validation and test data; "report" pictures and page. "rest" is what is left:
asking and telling, the invariant, the database, statistics, what is imported on the way, and in a search "measuring",
which chooses how networks are run and is a part of it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lossmith.training import Executor

STAGES = ("loading", "training", "report", "rest")


def timed_executor() -> "tuple[Executor, dict[str, float]]":
    """The executor of this process, and how long it has trained."""
    from lossmith.training import Local

    spent = {"training": 0.0}

    class Timed(Local):
        def run(self, jobs: Any, progress: Any = None) -> "Iterator[Any]":
            outcomes = super().run(jobs, progress)
            while True:
                began = time.process_time()
                outcome = next(outcomes, None)
                spent["training"] += time.process_time() - began
                if outcome is None:
                    return
                yield outcome

    return Timed(), spent


def searched(file: Path, folder: Path) -> "tuple[Callable[[Executor], float], Callable[[], None]]":
    """The search of a study file, which gives the seconds of choosing a backend, and its report."""
    from lossmith import report
    from lossmith.study import evolve, read_settings

    def work(executor: "Executor") -> float:
        return evolve(folder, read_settings(file), executor=executor).seconds["measuring"]

    def told() -> None:
        report.draw_search(folder, ("png",))
        report.report_beside(folder)

    return work, told


def compared(seeds: int, folder: Path) -> "tuple[Callable[[Executor], float], Callable[[], None]]":
    """The comparison of what a search has found, and its report."""
    from lossmith import report
    from lossmith.study import CompareSettings, compare_losses, origin_of

    losses, found = [str(folder / "best.json")], list[Any]()

    def work(executor: "Executor") -> float:
        origin = origin_of(losses, compares=True)
        assert origin is not None
        options = CompareSettings(seeds=seeds)
        known = partial(compare_losses, digest=origin.digest, lr=origin.lr, executor=executor)
        found.append(known(losses, origin.settings, folder, options))
        return 0.0

    def told() -> None:
        report.draw_comparison(found[0], folder, ("png",))
        report.report_beside(folder)

    return work, told


def stages(command: str, file: Path, seeds: int, folder: Path) -> dict[str, float]:
    """Seconds of each stage of a command, in a process that has done nothing before."""
    import torch

    torch.set_num_threads(1)
    executor, spent = timed_executor()
    work, told = searched(file, folder) if command == "evolve" else compared(seeds, folder)
    loaded = time.process_time()
    measuring = work(executor)
    done = time.process_time()
    told()
    end = time.process_time()
    parts = {"loading": loaded, **spent, "report": end - done}
    return {**parts, "rest": end - sum(parts.values()), "measuring": measuring, "all": end}


def measured(command: str, file: Path, seeds: int, folder: Path) -> dict[str, float]:
    """The stages of a command, in a process of its own."""
    program = [sys.executable, __file__, str(file), "--seeds", str(seeds), "--stages", command, str(folder)]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True, env=one_thread)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print the seconds and shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", default=Path("experiments/noisy-digits.toml"))
    parser.add_argument("--seeds", type=int, default=30, help="networks of each loss in the comparison")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--stages", nargs=2, metavar=("COMMAND", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.stages is not None:
        command, folder = given.stages
        print(json.dumps(stages(command, given.file, given.seeds, Path(folder))))
        return
    with tempfile.TemporaryDirectory() as place:
        study = Path(place) / "study"
        found = {command: measured(command, given.file, given.seeds, study) for command in ("evolve", "compare")}
    if given.json:
        print(json.dumps(found, indent=1))
        return
    for command, parts in found.items():
        told = ", ".join(f"{name} {parts[name]:.2f} s ({parts[name] / parts['all']:.1%})" for name in STAGES)
        print(f"{command}: {parts['all']:.1f} s of the processor: {told}; measuring {parts['measuring']:.2f} s")
        print(f"  all but training: {1 - parts['training'] / parts['all']:.1%}")


if __name__ == "__main__":
    main()
