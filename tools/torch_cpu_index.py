"""Print the given package index if pip should take torch from it: no GPU on this machine, and the index answers.

On Linux pip's usual torch carries several gigabytes of CUDA libraries. The Makefile asks here before it installs;
nothing printed means that pip is left to its own configuration, so a machine without network is not held up.
"""

import platform
import shutil
import sys
import threading
import urllib.request
from pathlib import Path

SECONDS = 5.0


def has_gpu() -> bool:
    """Whether an NVIDIA driver is there."""
    return shutil.which("nvidia-smi") is not None or Path("/dev/nvidia0").exists()


def offers_torch(index: str) -> bool:
    """Whether the index lists CPU builds of torch; every failure to answer is a no."""
    try:
        with urllib.request.urlopen(f"{index.rstrip('/')}/torch/", timeout=SECONDS) as answer:  # noqa: S310
            page: bytes = answer.read()
    except (OSError, ValueError):
        return False
    return b"%2Bcpu" in page or b"+cpu" in page


def main(arguments: list[str]) -> None:
    """Decide within ``SECONDS``: the thread is there because a name look-up knows no time limit."""
    if not arguments or platform.system() != "Linux" or has_gpu():
        return
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(offers_torch(arguments[0])), daemon=True)
    thread.start()
    thread.join(SECONDS)
    if answers == [True]:
        print(arguments[0])


if __name__ == "__main__":
    main(sys.argv[1:])
