"""Which score ranks wrong labels best, from networks of which loss, and after how much of the training?

    python experiments/suspects.py results/suspects --mnist mnist.npz --cifar10 cifar10.npz --cifar10n cifar10n.npz

All rows of digits, 2,000 images of MNIST and a table of 3,000 rows and 12 classes, each with 20 % and 40 % symmetric
noise and with 30 % of a noise that mistakes classes for others (``asymmetric:mnist``, which changes half of the classes
only; ``pairs`` for the table); and 2,500 images of CIFAR-10, 16 × 16 pixels, with the human labels ``worst`` of
CIFAR-10N. Each is drawn five times: the number of a draw is the seed of the rows or the table, of the folds, the noise
and the networks. Five folds, four networks for each (an MLP with 128 hidden units, 10 epochs, the usual recipe). The
area under precision and recall (average precision) of the order that a score gives is measured. The seeds 0 to 4 were
used for nothing before; what is claimed comes from runs with the seeds 100 and 101.

Written down before the run; a setting is one data set with one noise, and its figure the mean of its draws.
(1) Of the three scores of beliefs that are averaged over the epochs, the rival's share is best in the mean over the
settings: better than self-confidence 1 − h_T and than the margin max h − h_T, which are each better in some setting.
(2) Beliefs that are averaged over the epochs are better than those after the last epoch in the mean over the settings,
though not in each.
(3) Networks trained with label smoothing + Σh² (α = 0.5, weight 2) are better than those of cross-entropy in each
setting in which classes are mistaken for others, and in the mean over the settings; not so on CIFAR-10N.
(4) How little a step on the sample would pull its output towards the label (the attraction of the trace, at the mean
belief), which is what pushes and pulls during the training, ranks worse than the rival's share in each setting.
(5) The scores of cleanlab, from the same beliefs, are no better than the rival's share in the mean over the settings;
this is left open where cleanlab is not installed (``--cleanlab PYTHON`` names a Python that has it).
A logistic regression of scikit-learn on the same folds, ranked by the rival's share, stands beside it without a claim.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from program import changed, made_by
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from suspects_page import page
from torch.nn.functional import avg_pool2d

from lossmith.analysis import margin, ranked, rivalry, self_confidence
from lossmith.data import Source, open_source, read_array
from lossmith.io import read_json, write_json, write_whole
from lossmith.losses import Loss
from lossmith.study import EvolveSettings, Suspicion, find_suspects
from lossmith.theory import output_change

Scored = dict[str, float | None]
DRAWS = range(5)
SYMMETRIC = (("symmetric", 0.2), ("symmetric", 0.4))
SETTINGS: dict[str, tuple[tuple[str, float], ...]] = {
    "digits": (*SYMMETRIC, ("asymmetric:mnist", 0.3)),
    "mnist": (*SYMMETRIC, ("asymmetric:mnist", 0.3)),
    "table": (*SYMMETRIC, ("pairs", 0.3)),
    "cifar10": (("worst", 0.0),),
}
LOSSES = {"label smoothing + Σh²": None, "cross-entropy": "cross-entropy"}


def source_of(name: str, draw: int, given: argparse.Namespace) -> tuple[Source, NDArray[np.int64]]:
    """The data of a draw, and its rows in the whole."""
    if name == "digits":
        return open_source("digits"), np.arange(1797)
    if name == "table":
        x, y = make_classification(
            n_samples=3000,
            n_features=20,
            n_informative=12,
            n_redundant=4,
            n_classes=12,
            n_clusters_per_class=1,
            class_sep=1.5,
            flip_y=0,
            random_state=draw,
        )
        return Source.from_tensors(torch.from_numpy(x), torch.from_numpy(y), name="table"), np.arange(3000)
    whole = open_source(str(given.mnist if name == "mnist" else given.cifar10))
    rows = np.random.default_rng(draw).choice(len(whole.targets), 2000 if name == "mnist" else 2500, replace=False)
    inputs = whole.inputs[rows]
    small = inputs if name == "mnist" else avg_pool2d(inputs.float(), 2)
    return Source.from_tensors(small, whole.targets[rows], name=name), rows


def settings_of(noise: str, rate: float, draw: int, file: Path | None) -> EvolveSettings:
    """The settings of a draw."""
    named = {"noise": str(file)} if file is not None else {"noise": noise, "label_noise": rate}
    return changed(EvolveSettings(), data={**named, "split_seed": draw, "noise_seed": draw})


def scores(beliefs: NDArray[np.float64], found: Suspicion, wrong: NDArray[np.bool_]) -> Scored:
    """The area of each score."""
    labels = found.folds.labels
    given, outputs = labels.numpy(), torch.from_numpy(beliefs / beliefs.sum(1, keepdims=True))
    loss: Loss = found.loss
    return {
        "rival's share": ranked(rivalry(beliefs, given), wrong),
        "self-confidence": ranked(self_confidence(beliefs, given), wrong),
        "margin": ranked(margin(beliefs, given), wrong),
        "pull": ranked(-output_change(loss, outputs, labels).numpy(), wrong),
    }


def regression(found: Suspicion, wrong: NDArray[np.bool_]) -> Scored:
    """What a logistic regression finds on the same folds, and how long it takes."""
    started, folds = time.perf_counter(), found.folds
    beliefs = np.zeros((len(folds.labels), folds.source.classes))
    inputs, labels = folds.source.inputs.flatten(1).double().numpy(), folds.labels.numpy()
    for held in folds.held:
        kept = np.setdiff1d(np.arange(len(labels)), held.numpy())
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=100))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            beliefs[held.numpy()] = model.fit(inputs[kept], labels[kept]).predict_proba(inputs[held.numpy()])
    return {"area": ranked(rivalry(beliefs, labels), wrong), "seconds": time.perf_counter() - started}


def cleanlab(python: str | None, found: Suspicion, wrong: NDArray[np.bool_]) -> Scored:
    """The areas of cleanlab's scores of the same beliefs, and the seconds of all of them; nothing without it."""
    if python is None:
        return {}
    with tempfile.TemporaryDirectory() as place:
        np.savez(Path(place) / "beliefs.npz", beliefs=found.beliefs.mean, labels=found.folds.labels.numpy())
        program = Path(__file__).with_name("suspects_cleanlab.py")
        subprocess.run([python, str(program), place], check=True)
        with np.load(Path(place) / "scores.npz") as arrays:
            # cleanlab's scores are low where a label is bad.
            areas = {name: ranked(-arrays[name], wrong) for name in arrays.files if name != "seconds"}
            return {**areas, "seconds": float(arrays["seconds"])}


def run(name: str, noise: str, rate: float, draw: int, given: argparse.Namespace) -> list[dict[str, Any]]:
    """The figures of one draw, with each loss."""
    source, rows = source_of(name, draw, given)
    found_rows = []
    with tempfile.TemporaryDirectory() as place:
        file = None
        if noise == "worst":
            file = Path(place) / "worst.npy"
            np.save(file, read_array(given.cifar10n, "worst")[0][rows].astype(np.int64))
        for loss, text in LOSSES.items():
            found = find_suspects(settings_of(noise, rate, draw, file), source, loss=text, seed=draw)
            wrong = found.suspects.wrong
            assert wrong is not None
            known = np.empty_like(wrong)
            known[found.suspects.index] = wrong
            usual = loss == next(iter(LOSSES))
            row = {
                "data": name,
                "noise": noise,
                "rate": rate,
                "draw": draw,
                "loss": loss,
                "labels": len(known),
                "wrong": float(known.mean()),
                "seconds": found.seconds,
                "mean": scores(found.beliefs.mean, found, known),
                "last": scores(found.beliefs.last, found, known),
                "cleanlab": cleanlab(given.cleanlab, found, known) if usual else {},
                "regression": regression(found, known) if usual else {},
            }
            print(json.dumps(row), flush=True)
            found_rows.append(row)
    return found_rows


def version_of(python: str | None) -> str | None:
    """The version of cleanlab that a Python has."""
    if python is None:
        return None
    code = "from importlib.metadata import version; print(version('cleanlab'))"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    place: Callable[[str], Path] = Path
    parser.add_argument("target", type=place, help="directory of the results")
    parser.add_argument("--mnist", type=place, default=place("mnist.npz"))
    parser.add_argument("--cifar10", type=place, default=place("cifar10.npz"))
    parser.add_argument("--cifar10n", type=place, default=place("cifar10n.npz"))
    parser.add_argument("--cleanlab", help="a Python that has cleanlab")
    parser.add_argument("--again", action="store_true", help="write the page of the kept runs again")
    given = parser.parse_args()
    kept = given.target / "runs.json"
    if not given.again:
        rows = [
            row
            for name, noises in SETTINGS.items()
            for noise, rate in noises
            for draw in DRAWS
            for row in run(name, noise, rate, draw, given)
        ]
        words = "--mnist mnist.npz --cifar10 cifar10.npz --cifar10n cifar10n.npz"
        document = {
            "command": f"python experiments/suspects.py results/suspects {words}",
            "cleanlab": version_of(given.cleanlab),
            "threads": torch.get_num_threads(),
            **made_by(),
            "runs": rows,
        }
        given.target.mkdir(parents=True, exist_ok=True)
        write_json(document, kept)
    write_whole(("\n".join(page(read_json(kept))) + "\n").encode(), given.target / "summary.md")


if __name__ == "__main__":
    main()
