"""The jobs with noisy labels that several experiments share: digits, an MNIST subset, a CIFAR-10 subset, two tables.

The tables are drawn by scikit-learn's ``make_classification``, since no table with so many classes comes with a
package: their labels are right before noise is added, and each class is a mixture of two normal distributions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from program import changed, located
from sklearn.datasets import make_classification
from torch.nn.functional import avg_pool2d

from lossmith.data import open_source
from lossmith.study import EvolveSettings, with_data

NOISE = {"label_noise": 0.4, "noise": "symmetric"}
TABLES = {"table-12": 12, "table-26": 26}
JOBS: dict[str, dict[str, dict[str, Any]]] = {
    "digits": {
        "data": {**NOISE, "train_size": 800},
        "model": {"hidden": [128]},
        "recipe": {"epochs": 30},
        "search": {"population": 16, "generations": 20},
        "run": {"replicates": 3},
    },
    "mnist": {
        "data": {**NOISE, "train_size": 1000, "validation_size": 1000},
        "model": {"hidden": [64]},
        "recipe": {"epochs": 15},
        "search": {"population": 12, "generations": 12},
        "run": {"replicates": 2},
    },
    "cifar10": {
        "data": {**NOISE, "train_size": 1000, "validation_size": 1000},
        "model": {"hidden": [64]},
        "recipe": {"epochs": 15},
        "search": {"population": 12, "generations": 12},
        "run": {"replicates": 2},
    },
    **{
        name: {
            "data": {**NOISE, "train_size": 1500, "validation_size": 1000},
            "model": {"hidden": [64]},
            "recipe": {"epochs": 20},
            "search": {"population": 12, "generations": 12},
            "run": {"replicates": 2},
        }
        for name in TABLES
    },
}


def job(name: str, work: Path, places: dict[str, str], number: int = 0) -> EvolveSettings:
    """The settings of a search of a job: its seed, split and label noise have a number.

    Args:
        name: Which.
        work: Where tables are written.
        places: Where data lies that is not at hand by its name.
        number: Which search.
    """
    parts = {part: dict(values) for part, values in JOBS[name].items()}
    parts["data"] |= {"split_seed": number, "noise_seed": number}
    parts["model"] |= {"name": "mlp"}
    parts["search"] |= {"seed": number}
    place = places.get(name, name)
    if name in TABLES:
        place = str(table(name, work))
    elif name == "cifar10":
        place = str(halved(place, work))
    return changed(with_data(EvolveSettings(), located(place)), **parts)


def halved(place: str, work: Path) -> Path:
    """Images of half the side, each pixel the mean of four, as a file that is made if it is not there."""
    path = work / "halved.npz"
    if not path.exists():
        work.mkdir(parents=True, exist_ok=True)
        source = open_source(located(place))
        assert source.test_inputs is not None
        assert source.test_targets is not None
        small = [avg_pool2d(images.float(), 2).round().byte().numpy() for images in (source.inputs, source.test_inputs)]
        targets = source.targets.numpy(), source.test_targets.numpy()
        np.savez(path, x_train=small[0], y_train=targets[0], x_test=small[1], y_test=targets[1])
    return path.absolute()


def table(name: str, work: Path) -> Path:
    """A table as a file, made if it is not there: 4,500 samples for training and validation, 3,000 for test."""
    path = work / f"{name}.npz"
    if not path.exists():
        work.mkdir(parents=True, exist_ok=True)
        x, y = make_classification(
            n_samples=7500,
            n_features=24,
            n_informative=16,
            n_redundant=4,
            n_classes=TABLES[name],
            class_sep=2.0,
            flip_y=0.0,
            random_state=TABLES[name],
        )
        x = x.astype(np.float32)
        np.savez(path, x_train=x[:4500], y_train=y[:4500], x_test=x[4500:], y_test=y[4500:])
    return path.absolute()
