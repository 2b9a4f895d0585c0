"""The scores of cleanlab for some beliefs and labels; run by a Python that has it, which may have nothing of lossmith.

python experiments/suspects_cleanlab.py FOLDER

``beliefs.npz`` in the folder has ``beliefs [N, K]`` and ``labels [N]``; ``scores.npz`` gets each score ``[N]``, low
where a label is bad, and the seconds of all of them.
"""

import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

METHODS = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")


def main() -> None:
    """Score and write."""
    folder, rank = Path(sys.argv[1]), import_module("cleanlab.rank")
    with np.load(folder / "beliefs.npz") as arrays:
        beliefs, labels = arrays["beliefs"], arrays["labels"]
    started = time.perf_counter()
    found: dict[str, Any] = {
        method: np.asarray(rank.get_label_quality_scores(labels, beliefs, method=method), dtype=np.float64)
        for method in METHODS
    }
    found["seconds"] = time.perf_counter() - started
    np.savez(folder / "scores.npz", **found)


if __name__ == "__main__":
    main()
