"""What is trained and attacked for the robustness of losses: the searches, tuning and networks of a study."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from evidence import finite
from networks import BASELINE, chosen_backend, evolved, seeds_of, trained
from program import Plan, changed, kept, teller
from torch import Tensor

from lossmith.analysis import (
    AttackPlan,
    Axis,
    Grid,
    ObjectiveSettings,
    Robustness,
    Setting,
    TrainedLoss,
    Tuner,
    basin,
    figures,
    input_noise,
    robustness,
    silenced_units,
    weight_noise,
)
from lossmith.data import DataSettings
from lossmith.losses import Loss, cross_entropy
from lossmith.nets import ModelSettings
from lossmith.search import SearchSettings
from lossmith.study import EvolveSettings, Problem, RunSettings
from lossmith.training import Recipe

EPSILON = 0.1
FGSM = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
CLEAN, ROBUST = "accuracy", "robust-accuracy"
LEVELS: dict[str, tuple[float, ...]] = {
    "input noise": (0.0, 0.1, 0.2, 0.3),
    "weight noise": (0.0, 0.25, 0.5, 0.75),
    "silenced units": (0.0, 0.15, 0.3, 0.45),
}
NOTE = "tuned for robustness"
Place = tuple[int, ...]


@dataclass(frozen=True)
class Sizes(Plan):
    """A plan with the sizes of a job."""

    studies: int
    spaces: tuple[str, ...]
    tuning_seeds: int
    finalists: int
    finalist_seeds: int
    attacks: AttackPlan
    fgsm_samples: int | None
    points: int
    hessian_samples: int
    looked_at: int | None


def plan_of(job: str, data: str, digest: str = "") -> Sizes:
    """The plan of a job by name."""
    if job == "digits":
        return Sizes(
            EvolveSettings(
                data=DataSettings(source=data, train_size=800),
                recipe=Recipe(epochs=15, lr=0.05),
                search=SearchSettings(population=16, generations=15),
                run=RunSettings(training="population", replicates=3, tune=False),
            ),
            digest,
            networks=10,
            studies=5,
            spaces=("canonical", "residual"),
            tuning_seeds=3,
            finalists=5,
            finalist_seeds=10,
            attacks=AttackPlan(
                epsilons=(0.05, 0.1), attacks=("fgsm", "pgd", "apgd-ce", "apgd-dlr", "square"), library_samples=150
            ),
            fgsm_samples=None,
            points=51,
            hessian_samples=449,
            looked_at=None,
        )
    return Sizes(
        EvolveSettings(
            data=DataSettings(source=data, train_size=2000, validation_size=500, test_size=1000),
            model=ModelSettings(name="cnn", hidden=(64,)),
            recipe=Recipe(epochs=4, lr=0.05),
            search=SearchSettings(population=10, generations=10),
            run=RunSettings(training="sequential", tune=False, finalists=3, finalist_seeds=4),
        ),
        digest,
        networks=10,
        studies=2,
        spaces=("canonical",),
        tuning_seeds=2,
        finalists=3,
        finalist_seeds=5,
        attacks=AttackPlan(
            epsilons=(0.05, 0.1),
            attacks=("fgsm", "pgd", "apgd-ce", "apgd-dlr", "square"),
            steps=10,
            samples=200,
            library_samples=60,
            queries=200,
        ),
        fgsm_samples=300,
        points=25,
        hessian_samples=100,
        looked_at=300,
    )


@dataclass(frozen=True)
class Row:
    """A loss that is judged, by what it is tuned for.

    Args:
        name: What tables call it.
        objective: The figure that its setting is chosen by.
        build: The loss at a place: that of the learning rate, and that of the smoothing where it has one.
        smoothed: Whether it has a smoothing.
    """

    name: str
    objective: str
    build: Callable[[Place, int], Loss]
    smoothed: bool = False


def smoothing(place: int) -> float:
    """α of a place of the grid."""
    return float(1 / (1 + np.exp(-place)))


AXES = (Axis("lr", lambda place: 2.0**place, -5, 2, -8, 5), Axis("α", smoothing, -3, 3, -6, 6))


def rows_of(losses: dict[str, Loss]) -> list[Row]:
    """Every loss that is judged."""

    def fixed(loss: Loss) -> Callable[[Place, int], Loss]:
        return lambda *_: loss

    def smoothed(place: Place, classes: int) -> Loss:
        return cross_entropy().smoothed(smoothing(place[1]), classes)

    plain = fixed(cross_entropy())
    again = [
        Row(f"{name}, {NOTE}", ROBUST, fixed(loss)) for name, loss in losses.items() if not name.endswith(", robust")
    ]
    return [
        Row(BASELINE, CLEAN, plain),
        Row("label smoothing", CLEAN, smoothed, smoothed=True),
        Row(f"{BASELINE}, {NOTE}", ROBUST, plain),
        Row(f"label smoothing, {NOTE}", ROBUST, smoothed, smoothed=True),
        *(Row(name, ROBUST if "robust" in name else CLEAN, fixed(loss)) for name, loss in losses.items()),
        *again,
    ]


def searched(plan: Sizes, number: int, work: Path) -> dict[str, Loss]:
    """The losses that the searches of a study end with, by name."""
    found, settings = {}, plan.split(number)
    for space in plan.spaces:
        for objective in (CLEAN, ROBUST):
            wanted = changed(settings, search={"space": space}, objective={"metric": objective, "epsilon": EPSILON})
            name = ("TaylorGLO" if space == "canonical" else space) + (", robust" if objective == ROBUST else "")
            found[name] = evolved(wanted, work / f"{space}-{objective}")
    return found


class Tuning:
    """Validation figures of settings, each trained once whoever asks."""

    def __init__(self, plan: Sizes, job: Problem, number: int) -> None:
        self.plan, self.job, self.number = plan, job, number
        self.backend = chosen_backend(job, plan.settings)
        self.objective = ObjectiveSettings(metric="weighted", epsilon=EPSILON).build()
        self.known: dict[tuple[str, Place, str], dict[str, float]] = {}

    def measured(self, row: Row, place: Place, purpose: str, count: int) -> dict[str, float]:
        """Mean figures at a place over some seeds."""
        loss = row.build(place, self.job.classes)
        key = (json.dumps(loss.body()), place, purpose)
        if key not in self.known:
            seeds = seeds_of(self.number, purpose, count)
            networks = trained(self.job.task, [loss], seeds, self.recipe(place), self.backend)
            found, sound = figures(self.objective(networks, *self.job.validation)), ~networks.diverged.cpu()
            self.known[key] = {name: float((found[name] * sound).mean()) for name in (CLEAN, ROBUST)}
        return self.known[key]

    def recipe(self, place: Place) -> Recipe:
        """The recipe at a place of the learning rates."""
        return self.plan.settings.recipe.model_copy(
            update={"lr": self.plan.settings.recipe.lr * AXES[0].value(place[0])}
        )

    def best(self, row: Row) -> tuple[Place, float, int]:
        """The place with the highest figure over fresh seeds, that figure, and how many were tried."""

        def measured(purpose: str, count: int, wanted: Sequence[Setting]) -> dict[Setting, dict[str, float]]:
            return {one: self.measured(row, one.place, purpose, count) for one in wanted}

        axes = AXES if row.smoothed else AXES[:1]
        tuner = Tuner[dict[str, float]]([Grid(row.name, axes)], score=lambda _, found: found[row.objective])
        tried = tuner.search(partial(measured, "tuning", self.plan.tuning_seeds))
        again = partial(measured, "tuning again", self.plan.finalist_seeds)
        chosen = tuner.choose(tried, self.plan.finalists, again)[row.name]
        return chosen.setting.place, chosen.score, chosen.tried


def study(plan: Sizes, number: int, work: Path) -> dict[str, Any]:
    """One study, kept in a file."""
    return dict(kept(work / f"{number}.json", plan.key, lambda: finite(made(plan, number, work / str(number)), 6)))


def made(plan: Sizes, number: int, work: Path) -> dict[str, Any]:
    """One study: searches, tuning, and everything that is measured of the final networks."""
    started, say = time.perf_counter(), teller(f"study {number}")
    job = Problem.open(plan.split(number))
    losses = searched(plan, number, work)
    say("searched")
    tuning = Tuning(plan, job, number)
    tuned = {row.name: (row, *tuning.best(row)) for row in rows_of(losses)}
    say("tuned")
    samples, document = job.test(), {}
    for name, (row, place, validation, tried) in tuned.items():
        loss, recipe = row.build(place, job.classes), tuning.recipe(place)
        found = trained(job.task, [loss], seeds_of(number, "final", plan.networks), recipe, tuning.backend)
        document[name] = {
            "loss": loss.to_json(),
            "formula": loss.formula(),
            "lr": recipe.lr,
            "smoothing": smoothing(place[1]) if row.smoothed else None,
            "tuned_for": row.objective,
            "validation": validation,
            "tried": tried,
            **judged(plan, TrainedLoss(name, loss, found.networks, found.diverged), samples, job, number),
        }
        say(name)
    return {"study": number, "seconds": round(time.perf_counter() - started), "losses": document}


def judged(
    plan: Sizes, networks: TrainedLoss, samples: tuple[Tensor, Tensor], job: Problem, number: int
) -> dict[str, Any]:
    """Everything that is measured of the networks of one loss on test data."""
    max_pixel, (inputs, targets) = job.task.max_pixel, samples
    assert max_pixel is not None
    attacks = {
        "clean": AttackPlan((0.0,), ("fgsm",), seed=number),
        "fgsm": AttackPlan(epsilons=FGSM, attacks=("fgsm",), samples=plan.fgsm_samples, seed=number),
        "attacks": replace(plan.attacks, seed=number),
    }
    attacked = {
        name: figures_of(robustness(networks, inputs, targets, max_pixel, attack)) for name, attack in attacks.items()
    }
    few, labels = inputs[: plan.looked_at], targets[: plan.looked_at]
    corruptions = [
        input_noise(networks, few, labels, LEVELS["input noise"], seed=number, max_pixel=max_pixel),
        weight_noise(networks, few, labels, LEVELS["weight noise"], seed=number),
        silenced_units(networks, few, labels, LEVELS["silenced units"], seed=number),
    ]
    slices = basin(networks, few, labels, points=plan.points, seed=number, hessian_samples=plan.hessian_samples)
    return {
        **attacked,
        "clean": attacked["clean"]["clean"],
        "damage": {
            corruption.kind: {"clean": corruption.clean.tolist(), "accuracy": corruption.accuracy.mean(2).tolist()}
            for corruption in corruptions
        },
        "basin": {
            "t": slices.t.tolist(),
            "width90": slices.width(0.9)[0].mean(1).tolist(),
            "width99": slices.width(0.99)[0].mean(1).tolist(),
            "eigenvalue": slices.eigenvalue.tolist(),
            "converged": slices.converged.tolist(),
            "accuracy": slices.accuracy.mean(1).tolist(),
            "cross_entropy": slices.cross_entropy.mean(1).tolist(),
        },
        "diverged": networks.diverged.tolist(),
    }


def figures_of(found: Robustness) -> dict[str, Any]:
    """Accuracy under attack and signs of masking as lists."""
    return {
        "epsilons": list(found.epsilons),
        "clean": found.clean.tolist(),
        "accuracy": {name: values.tolist() for name, values in found.accuracy.items()},
        "samples": found.samples,
        "masking": [one.to_json() for one in found.masking],
    }
