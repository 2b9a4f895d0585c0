"""Where the time of the demo's search goes, and how much memory a population of 200 networks takes.

    python benchmarks/demo.py [experiments/noisy-digits.toml]

"besides training" is the share of the search and finalists that is not training: asking, invariant, store, files, and
the measurement that chooses the way of training (in which PyTorch loads what its first training step needs).
"""

import resource
import sys
import tempfile
from pathlib import Path

import torch

from lossmith.data import DataSettings, Normalize, open_source, search_parts
from lossmith.nets import ModelSettings, network_factory
from lossmith.search import residual
from lossmith.seeds import generator
from lossmith.study import EvolveSettings, evolve, settings_document, validated
from lossmith.training import Recipe, Task, train


def memory(members: int = 200) -> float:
    """Peak resident memory in GiB of this process after training so many digits MLPs at once."""
    parts = search_parts(open_source("digits"), DataSettings(train_size=800))
    factory = network_factory(ModelSettings(), Normalize.fit(parts.train.inputs), parts.input_shape, parts.classes)
    task = Task(factory, parts.train.inputs, parts.train.targets, parts.classes)
    points = torch.randn(members, 5, generator=generator("benchmark"), dtype=torch.float64) * 0.3
    monitor = (parts.validation.inputs, parts.validation.targets)
    train(task, residual(points, parts.classes), list(range(members)), Recipe(epochs=2), "population", monitor)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Measure and print."""
    print(f"200 digits MLPs with seeds of their own: {memory():.2f} GiB resident at most")
    file = Path(sys.argv[1] if len(sys.argv) > 1 else "experiments/noisy-digits.toml")
    with tempfile.TemporaryDirectory() as folder:
        outcome = evolve(Path(folder) / "study", validated(EvolveSettings, settings_document(file), str(file)))
    seconds = outcome.seconds
    besides = 1 - seconds["training"] / seconds["all"]
    print(f"{file}: search and finalists {seconds['all']:.1f} s, training {seconds['training']:.1f} s")
    measuring = seconds["measuring"] / seconds["all"]
    print(f"besides training {besides:.1%}, of which {measuring:.1%} chooses the way of training")


if __name__ == "__main__":
    main()
