"""How fast the theory answers: `lossmith explain` against importing torch, and attraction of a million pairs.

    python benchmarks/theory.py

The command's time is that of the whole process, in turn with a process that imports torch and nothing else; told are
the medians and their difference. The million (loss, ε) pairs are 1000 random third-order losses at 1000 ε, against the
time of filling that many numbers once (the least that any answer of that size costs).
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import torch

from lossmith.losses import taylor
from lossmith.seeds import generator
from lossmith.theory import Form, attraction, output_change

ROUNDS = 7
FORMS: tuple[Form, ...] = ("exact", "published")


def whole_process(program: str, *arguments: str) -> float:
    """Seconds of a Python process."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True)
    return time.perf_counter() - started


def best(work: Callable[[], object]) -> float:
    """The fewest seconds of some runs."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    torch.set_num_threads(parser.parse_args().threads)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    folder = tempfile.mkdtemp()
    command = "from lossmith.cli import main; main()"
    pages = {
        "one loss": ["explain", "paper/mnist"],
        "three losses": ["explain", "paper/mnist", "baikal", "mse"],
        "as LaTeX": ["explain", "paper/mnist", "--latex"],
        "as a picture": ["explain", "paper/mnist", "--figure", f"{folder}/page.png"],
    }
    for name, arguments in pages.items():
        torch_alone, whole = [], []
        for _ in range(ROUNDS):
            torch_alone.append(whole_process("import torch"))
            whole.append(whole_process(command, *arguments))
        alone, all_of_it = statistics.median(torch_alone), statistics.median(whole)
        print(f"explain, {name:14} {all_of_it:.2f} s, import torch {alone:.2f} s, the rest {all_of_it - alone:.2f} s")
    lam = 1.2 * torch.randn(1000, 8, generator=generator("benchmark", "theory"), dtype=torch.float64)
    losses, epsilon = taylor(lam), torch.linspace(0, 1, 1002, dtype=torch.float64)[1:-1]
    floor = best(lambda: torch.full((1000, 1000), 0.5, dtype=torch.float64))
    for form in FORMS:
        seconds = best(lambda form=form: attraction(losses, epsilon, 10, form))  # type: ignore[misc]
        print(f"attraction, 10⁶ pairs, {form:9} {seconds * 1e3:.0f} ms, {seconds / floor:.0f} × filling the answer")
    outputs = torch.softmax(torch.randn(1000, 10, generator=generator("outputs"), dtype=torch.float64), -1)
    targets = torch.arange(1000) % 10
    seconds = best(lambda: output_change(losses, outputs, targets))
    print(f"output_change, 10⁶ pairs, 10 classes {seconds * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
