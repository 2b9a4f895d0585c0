"""Figures of the networks of studies of robustness: where they stand, their means, and the pictures of all studies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from robustness_runs import FGSM, LEVELS, NOTE

from lossmith.analysis import Basin, Corruption, Masking, Robustness
from lossmith.report import plot_attacks, plot_basin, plot_corruption

JUDGED = {"input noise": 0.2, "weight noise": 0.5, "silenced units": 0.3}
Find = Callable[[dict[str, Any]], Sequence[float | None]]


def attacked(attack: str, epsilon: float, part: str = "fgsm") -> Find:
    """Accuracy of the networks of a loss under an attack."""
    return lambda row: row[part]["accuracy"][attack][row[part]["epsilons"].index(epsilon)]


def corrupted(kind: str) -> Find:
    """Accuracy under the level of a damage that is judged."""
    place = LEVELS[kind].index(JUDGED[kind])
    return lambda row: [network[place] or 0.0 for network in row["damage"][kind]["accuracy"]]


def clean(row: dict[str, Any]) -> Sequence[float | None]:
    """Accuracy without attack."""
    return list(row["clean"])


def minimum(key: str) -> Find:
    """A figure of the minima."""
    return lambda row: row["basin"][key]


def means(studies: Sequence[dict[str, Any]], name: str) -> dict[str, float]:
    """Means over all networks of a loss."""
    rows = [one["losses"][name] for one in studies]

    def mean(find: Find) -> float:
        return float(np.mean([value for row in rows for value in find(row) if value is not None]))

    attacks = rows[0]["attacks"]
    return {
        "clean": mean(lambda row: row["clean"]),
        **{f"fgsm-own {epsilon:g}": mean(attacked("fgsm-loss", epsilon)) for epsilon in FGSM[1:]},
        **{f"fgsm {epsilon:g}": mean(attacked("fgsm", epsilon)) for epsilon in FGSM[1:]},
        **{
            f"{attack} {epsilon:g}": mean(attacked(attack, epsilon, "attacks"))
            for epsilon in attacks["epsilons"]
            for attack in ("pgd", "autoattack", "worst")
        },
        **{f"{kind} {JUDGED[kind]:g}": mean(corrupted(kind)) for kind in LEVELS},
        "width90": mean(lambda row: row["basin"]["width90"]),
        "width99": mean(lambda row: row["basin"]["width99"]),
        "eigenvalue": mean(lambda row: row["basin"]["eigenvalue"]),
    }


def pictures(studies: Sequence[dict[str, Any]]) -> dict[str, Figure]:
    """Every picture by its name."""
    three = ["cross-entropy", "TaylorGLO", "TaylorGLO, robust"]
    four = ["cross-entropy", f"label smoothing, {NOTE}", "TaylorGLO", "TaylorGLO, robust"]
    return {
        "figure2": plot_attacks([pooled(studies, name, "fgsm") for name in three]),
        "attacks": plot_attacks([pooled(studies, name, "attacks") for name in four]),
        "figure4": plot_basin([pooled_basin(studies, name) for name in three], three),
        "corruption": plot_corruption([pooled_corruption(studies, name) for name in three], three, "white pixels"),
    }


def pooled(studies: Sequence[dict[str, Any]], name: str, part: str) -> Robustness:
    """All networks of a loss over the studies, as they are drawn."""
    rows = [one["losses"][name][part] for one in studies]
    accuracy = {
        attack: np.concatenate([np.array(row["accuracy"][attack]) for row in rows], 1) for attack in rows[0]["accuracy"]
    }
    witnesses = [field.name for field in fields(Masking) if field.name != "zero_gradients"]

    def mean(values: Sequence[float | None]) -> float | None:
        return None if None in values else float(np.mean([value for value in values if value is not None]))

    masking = [
        Masking(
            {
                key: float(np.mean([row["masking"][place]["zero_gradients"][key] for row in rows]))
                for key in ("loss", "cross-entropy", "margin")
            },
            *(mean([row["masking"][place][field] for row in rows]) for field in witnesses),
        )
        for place in range(len(rows[0]["epsilons"]))
    ]
    clean = np.concatenate([row["clean"] for row in rows])
    return Robustness(
        name,
        tuple(rows[0]["epsilons"]),
        clean,
        accuracy,
        rows[0]["samples"],
        None,
        masking,
        np.concatenate([one["losses"][name]["diverged"] for one in studies]),
    )


def pooled_basin(studies: Sequence[dict[str, Any]], name: str) -> Basin:
    """The slices of all networks of a loss, each the mean over its directions."""
    rows = [one["losses"][name]["basin"] for one in studies]

    def joined(key: str) -> NDArray[np.float64]:
        return np.concatenate([np.array(row[key], dtype=float) for row in rows])

    accuracy, entropy = joined("accuracy")[:, None], joined("cross_entropy")[:, None]
    eigenvalue = joined("eigenvalue")
    converged = np.concatenate([row["converged"] for row in rows])
    diverged = np.concatenate([one["losses"][name]["diverged"] for one in studies])
    return Basin(np.array(rows[0]["t"]), accuracy, entropy, eigenvalue, converged, diverged)


def pooled_corruption(studies: Sequence[dict[str, Any]], name: str) -> list[Corruption]:
    """All networks of a loss under each damage."""
    found = []
    for kind, levels in LEVELS.items():
        rows = [one["losses"][name]["damage"][kind] for one in studies]
        accuracy = np.concatenate([np.array(row["accuracy"], dtype=float) for row in rows])[:, :, None]
        clean = np.concatenate([np.array(row["clean"], dtype=float) for row in rows])
        found.append(Corruption(kind, np.array(levels), clean, accuracy))
    return found
