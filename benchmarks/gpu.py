"""What lossmith does on a GPU, in one command of at most 8 minutes, without a network.

    python benchmarks/gpu.py [--seconds 460] [--device cuda:1] [--data cifar10.npz] [--out gpu.json]
    python benchmarks/gpu.py --device cpu --tiny

In the order of what matters most: whether every network trains (one by one, channels last, as a population, in float32
and bfloat16); what a candidate of the MLP, the MNIST CNN, AllCNN-C, PreResNet-20 and WRN-16-8 costs against the
ordinary loops (`benchmarks/ordinary.py`), the peak of its memory, and candidates an hour at a tenth of the schedule;
the tests of `tests/test_gpu.py` (dropout masks, channels last, a population that the memory does not hold, and more);
the compiled ways. The images are random numbers of CIFAR's shape (of MNIST's for its CNN; the costs of the MLP are
those of scikit-learn's digits): what a step costs does not depend on what is on them. An .npz file stands for all.

Each part is a process of its own, so that one that breaks the GPU takes no other along, and has its share of the time
that is left. What a part measures is made smaller until it fits; a part that has not ended by then is ended, and what
it told before stays. The file is written after every figure. What was left out is told once, at the end.

A candidate is built, trained and looked at, on every side; the file tells of how many batches.

``--tiny`` trains small networks for next to no time, and shows only that the program works.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from gpu_parts import PRECISIONS, Asked, Row, rows
from gpu_report import report
from machine import RESULTS, add_device, machine, say

from lossmith.io import write_json
from lossmith.nets import offered

TESTS = Path(__file__).resolve().parents[1] / "tests" / "test_gpu.py"
# In the order in which they are measured; how much of the time each has.
MODELS = {"allcnn-c": 50, "mnist-cnn": 30, "preresnet-20": 40, "mlp": 20, "wrn-16-8": 70}
TRAINED = (*offered("image"), *offered("tokens"))
TINY_TRAINED = ("mlp", "conv", "preresnet-20", "embedding")
SECONDS = 460.0
# A part that has less would hardly do more than start.
LEAST_SECONDS = 12.0
NO_TIME = "no time was left"
# A test and its outcome as `pytest -v` tells them, and the reasons at its end.
OUTCOME = re.compile(r"^(\S+::.+?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b")
REASON = re.compile(r"^(FAILED|ERROR) (\S+::.+?) - (.+)$")


@dataclass(frozen=True)
class Part:
    """Something that is measured by a process of its own.

    Args:
        name: What it is called.
        weight: Its share of the time, beside the weights of the parts after it.
        command: The process, given the seconds that it has.
        read: The row that a line of it stands for, or None.
        fine: Exit statuses of one that did what it was to do.
        missing: Why it cannot be run here, or None.
    """

    name: str
    weight: float
    command: Callable[[float], list[str]]
    read: Callable[[str], Row | None]
    fine: tuple[int, ...] = (0,)
    missing: str | None = None


def measuring(asked: Asked, limit: float) -> list[str]:
    """The command that measures what is asked."""
    document = asdict(replace(asked, until=time.time() + limit))
    program = [sys.executable, "-u", str(Path(__file__).resolve())]
    return [*program, "--device", asked.device, "--part", json.dumps(document)]


def told_row(line: str) -> Row | None:
    """The row of a line of JSON."""
    with suppress(ValueError):
        row = json.loads(line)
        return row if isinstance(row, dict) else None
    return None


def testing(file: Path, words: str, _: float) -> list[str]:
    """The command that runs some tests of a file."""
    quiet = ["-p", "no:cacheprovider", "-v", "--color=no", "--tb=line"]
    return [sys.executable, "-u", "-m", "pytest", str(file), "-k", words, *quiet]


def tested_row(line: str) -> Row | None:
    """The outcome of a test that a line of pytest tells, or the reason of one."""
    if (found := OUTCOME.match(line)) is not None:
        return {"what": "test", "test": found[1].rpartition("/")[2], "outcome": found[2].lower()}
    if (found := REASON.match(line)) is not None:
        return {"what": "reason", "test": found[2].rpartition("/")[2], "reason": found[3].strip()}
    return None


def planned(given: argparse.Namespace) -> list[Part]:
    """The parts, the most important first."""
    asked = partial(
        Asked, device=str(given.device), tiny=given.tiny, pairs=given.pairs, data=given.data and str(given.data)
    )

    def measured(name: str, weight: float, one: Asked) -> Part:
        return Part(name, weight, partial(measuring, one), told_row)

    def tests(name: str, weight: float, words: str) -> Part:
        missing = None if find_spec("pytest") else "pytest is not installed: pip install pytest hypothesis"
        return Part(name, weight, partial(testing, given.tests, words), tested_row, (0, 1), missing)

    trained = TINY_TRAINED if given.tiny else TRAINED
    compiled = ("mlp",) if given.tiny else tuple(MODELS)
    half = PRECISIONS[1]
    return [
        measured("every network trains", 60, asked("trains", trained)),
        *(measured(model, MODELS[model], asked("costs", (model,))) for model in given.models),
        tests("tests", 80, "not every_network and not compiled"),
        measured("compiled", 80, asked("compiled", compiled)),
        measured(f"compiled, {half}", 50, asked("compiled", compiled, precision=half)),
        tests("tests of every network", 40, "every_network or compiled"),
    ]


def ran(command: list[str], limit: float, heard: Callable[[str], None]) -> int | None:
    """The exit status of a process whose lines are heard as they come; None if it was ended after its time."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    ended = threading.Event()

    def end() -> None:
        # Its group, since compilers work in processes of their own.
        if process.poll() is None:
            ended.set()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(limit, end)
    timer.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            heard(line)
        code = process.wait()
    finally:
        timer.cancel()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
    return None if ended.is_set() else code


def run(parts: list[Part], total: float, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Run the parts, each in its share of the time that is left, and hand all that is known to ``keep`` at each row."""
    started, found = time.perf_counter(), dict[str, Any]()
    for number, part in enumerate(parts):
        left = total - (time.perf_counter() - started)
        limit = left * part.weight / sum(one.weight for one in parts[number:])
        of: dict[str, Any] = {"status": "running", "limit": limit, "rows": []}
        found[part.name] = of
        if part.missing is not None or limit < LEAST_SECONDS:
            of.update(status="skipped", reason=part.missing or NO_TIME)
            keep(found)
            continue
        say(f"{part.name}: at most {limit:.0f} s")

        def heard(line: str, part: Part = part, of: dict[str, Any] = of) -> None:
            row = part.read(line)
            if row is not None:
                of["rows"].append(row)
                keep(found)

        began = time.perf_counter()
        code = ran(part.command(limit), limit, heard)
        of["seconds"] = time.perf_counter() - began
        if code is None:
            of.update(status="cut", reason="its time was over")
        elif code not in part.fine or (code != 0 and not of["rows"]):
            of.update(status="failed", reason=f"its process ended with {code}")
        else:
            of["status"] = "done"
        keep(found)
    return found


def processor_of_graphics(device: torch.device) -> dict[str, Any] | None:
    """The GPU and what drives it; None on a CPU."""
    if device.type != "cuda":
        return None
    properties = torch.cuda.get_device_properties(device)
    return {
        "name": properties.name,
        "memory_bytes": properties.total_memory,
        "capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="all that it may take, to the last second")
    parser.add_argument(
        "--models", nargs="*", choices=list(MODELS), default=list(MODELS), help="whose costs are measured"
    )
    parser.add_argument("--pairs", type=int, default=3, help="pairs of times behind each ratio")
    parser.add_argument("--data", type=Path, help="an .npz file of images, x_train and y_train, instead of random ones")
    parser.add_argument(
        "--tiny", action="store_true", help="small networks, next to no time: only to see that it works"
    )
    parser.add_argument("--tests", type=Path, default=TESTS, help="the file of tests that is run")
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu.json")
    parser.add_argument("--part", type=json.loads, help=argparse.SUPPRESS)
    add_device(parser)
    parser.set_defaults(device="cuda")
    given = parser.parse_args(arguments)
    if given.part is not None:
        for row in rows(Asked(**given.part)):
            print(json.dumps(row), flush=True)
        return
    if given.data is not None and not given.data.is_file():
        parser.error(f"--data {given.data} is no file: give an .npz file with x_train and y_train")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    head = {
        "benchmark": "gpu",
        "machine": machine(given.device),
        "gpu": processor_of_graphics(given.device),
        "tiny": given.tiny,
        "data": None if given.data is None else given.data.name,
        "allowed_seconds": given.seconds,
    }

    def keep(parts: dict[str, Any]) -> None:
        document.update(seconds=time.perf_counter() - started, parts=parts)
        write_json(document, given.out)

    document: dict[str, Any] = {**head, "seconds": 0.0, "parts": {}}
    keep({})
    run(planned(given), given.seconds, keep)
    print("\n".join(report(document)), flush=True)
    say(f"written: {given.out}")


if __name__ == "__main__":
    # So that the process of a part is ended with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    main()
