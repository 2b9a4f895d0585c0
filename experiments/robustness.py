"""Does an evolved loss resist attacks, noise and damage better, and sit in a wider minimum? The paper's §6 and App. F.

    python experiments/robustness.py digits results/robustness/digits --jobs 2
    python experiments/robustness.py mnist results/robustness/mnist --data mnist.npz --jobs 2

A study: data split, searches, tuning and final networks, all of its number K; every study is told. In each:

- TaylorGLO losses (third order, searched in the canonical coordinates, which hold all of them that are trainable at the
  null epoch) evolved for validation accuracy, and for validation accuracy under FGSM at ε = 0.1 (an image must survive
  the gradients of the loss, of cross-entropy and of the margin); on digits the same in lossmith's residual coordinates.
  The best candidate by its mean over fresh seeds is taken, never cross-entropy or label smoothing.
- Cross-entropy and label smoothing. Every loss's learning rate, and the strength of label smoothing, is tuned on
  validation data, beyond the edges of the grid where the best lies there: once for accuracy, once for accuracy under
  FGSM. The losses evolved for robustness are tuned for it, too; the others for accuracy.
- 10 networks of each, judged once on test data.

Written down before the run. A claim holds if its mean difference is above 0 in every study and one-tailed Welch
p < 0.05 (10 networks each) in four fifths of the studies or more; it fails if the mean difference over the studies is
0 or below; anything else is "not shown". The unit of a p is a network of one study. The claims:

1. clean: TaylorGLO has a higher test accuracy than cross-entropy. (Paper, table 1.)
2. fgsm-own: TaylorGLO is more accurate than cross-entropy under FGSM with the gradient of the loss itself, at every ε
   of 0.05, 0.1, …, 0.3. (Paper, figure 2; a claim for each ε.)
3. fgsm-worst: the same where an image must survive three gradients.
4. robust-objective: TaylorGLO evolved for robustness is more accurate under worst-of-three FGSM at ε = 0.1 than
   TaylorGLO evolved for accuracy whose learning rate is tuned for robustness, too. (Paper, §6.)
5. robust-baseline: it is more accurate there than the better of cross-entropy and label smoothing tuned for robustness
   (the better one on validation data).
6. all-attacks: as 5, where an image must survive FGSM, PGD, Auto-PGD on cross-entropy and on the difference of logits
   ratio, and Square.
7. noise-input, noise-weight, silenced: TaylorGLO is more accurate than cross-entropy under input noise σ = 0.2, weight
   noise of half of each filter's length, and with 30 % of the units silenced.
8. basin: TaylorGLO keeps 90 % of its top accuracy over a longer way than cross-entropy; basin-robust: TaylorGLO evolved
   for robustness over a longer way than TaylorGLO tuned for robustness. (Paper, figure 4.)
9. eigenvalue: the largest Hessian eigenvalue of cross-entropy is lower at TaylorGLO's networks than at cross-entropy's.
   (It depends on how large the logits are, too, not on the minimum alone.)

Signs of gradient masking are told for every loss and ε. A network that diverged counts as wrong on every image, damaged
or not; it has no basin. The number of epochs is the same for all, and no baseline gets a search of its own. The p hold
for these test images: what another choice of images would change is not in them.

A first run of digits (its claims are kept in ``first-run.json``) judged robust-objective and basin-robust against
TaylorGLO tuned for accuracy, and so gave the objective the merit of a learning rate; its grid of rates was narrower,
and units were silenced, and PGD begun, in a slightly different way. The searches are the same. The job mnist was begun
twice with more attacks, and stopped for its length before a study had ended. A trial with 2 networks and a search of 8
candidates was made before, to see that it runs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from dataclasses import fields as dataclass_fields
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lossmith.analysis.basin import Basin, basin
from lossmith.analysis.corruption import Corruption, input_noise, silenced_units, weight_noise
from lossmith.analysis.masking import Masking
from lossmith.analysis.objective import ObjectiveSettings, figures
from lossmith.analysis.plans import AttackPlan
from lossmith.analysis.robustness import Robustness, robustness
from lossmith.analysis.trained import TrainedLoss, train_loss
from lossmith.data import DataSettings
from lossmith.io import read_json, write_json, write_whole
from lossmith.losses import Loss, cross_entropy
from lossmith.metrics.statistics import welch
from lossmith.nets import ModelSettings
from lossmith.report import plot_attacks, save_figure
from lossmith.report.minima import plot_basin, plot_corruption
from lossmith.search import SearchSettings
from lossmith.seeds import derive
from lossmith.study import EvolveSettings, RunSettings, evolve
from lossmith.study.problem import Problem
from lossmith.study.store import Store
from lossmith.training import Recipe, Trained

EPSILON = 0.1
FGSM = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
CLEAN, ROBUST = "accuracy", "robust-accuracy"
RATES, SMOOTHINGS = range(-5, 3), range(-3, 4)
FAR_RATES, FAR_SMOOTHINGS = (-8, 5), (-6, 6)
NETWORKS = 10
LEVELS: dict[str, tuple[float, ...]] = {
    "input noise": (0.0, 0.1, 0.2, 0.3),
    "weight noise": (0.0, 0.25, 0.5, 0.75),
    "silenced units": (0.0, 0.15, 0.3, 0.45),
}
JUDGED = {"input noise": 0.2, "weight noise": 0.5, "silenced units": 0.3}
NOTE = "tuned for robustness"
LENGTHS = ("basin", "basin-robust", "eigenvalue")


@dataclass(frozen=True)
class Plan:
    """The size of a job."""

    settings: EvolveSettings
    studies: int
    spaces: tuple[str, ...]
    backend: str
    tuning_seeds: int
    finalists: int
    finalist_seeds: int
    attacks: AttackPlan
    fgsm_samples: int | None
    points: int
    hessian_samples: int
    looked_at: int | None


def plan_of(job: str, data: str) -> Plan:
    """The plan of a job by name."""
    if job == "digits":
        return Plan(
            EvolveSettings(
                data=DataSettings(source=data, train_size=800),
                recipe=Recipe(epochs=15, lr=0.05),
                search=SearchSettings(population=16, generations=15),
                run=RunSettings(training="population", replicates=3),
            ),
            studies=5,
            spaces=("canonical", "residual"),
            backend="population",
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
    return Plan(
        EvolveSettings(
            data=DataSettings(source=data, train_size=2000, validation_size=500, test_size=1000),
            model=ModelSettings(name="cnn", hidden=(64,)),
            recipe=Recipe(epochs=4, lr=0.05),
            search=SearchSettings(population=10, generations=10),
            run=RunSettings(training="sequential", finalists=3, finalist_seeds=4),
        ),
        studies=2,
        spaces=("canonical",),
        backend="sequential",
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
class Setting:
    """A loss at a learning rate: places on their grids."""

    rate: int
    smoothing: int | None = None


@dataclass(frozen=True)
class Row:
    """A loss that is judged, by what it is tuned for."""

    name: str
    objective: str
    build: Callable[[Setting, int], Loss]
    smoothed: bool = False


def smoothing(place: int) -> float:
    """α of a place of the grid."""
    return float(1 / (1 + np.exp(-place)))


def searched(plan: Plan, job: Problem, number: int, work: Path) -> dict[str, Loss]:
    """The losses that the searches of a study end with, by name."""
    found = {}
    for space in plan.spaces:
        for objective in (CLEAN, ROBUST):
            search = plan.settings.search.model_copy(update={"space": space, "seed": number})
            wanted = ObjectiveSettings.model_validate({"objective": objective, "epsilon": EPSILON})
            settings = plan.settings.model_copy(update={"data": job.split, "search": search, "objective": wanted})
            folder = work / f"{space}-{objective}"
            evolve(folder, settings)
            with Store(folder, readonly=True) as store:
                rows = [row for row in store.finalists("final") if row["mean"] is not None and "theta" in row["origin"]]
            best = max(rows, key=lambda row: row["mean"])
            name = "TaylorGLO" if space == "canonical" else space
            found[name + (", robust" if objective == ROBUST else "")] = Loss.from_json(best["loss"])
    return found


class Tuning:
    """Validation figures of settings, each trained once whoever asks."""

    def __init__(self, plan: Plan, job: Problem, number: int) -> None:
        self.plan, self.job, self.number = plan, job, number
        self.objective = ObjectiveSettings(metric="weighted", epsilon=EPSILON).build()
        self.known: dict[tuple[str, Setting, str], dict[str, float]] = {}

    def measured(self, row: Row, setting: Setting, purpose: str, count: int) -> dict[str, float]:
        """Mean figures of a setting over some seeds."""
        loss = row.build(setting, self.job.classes)
        key = (json.dumps(loss.to_json()["coefficients"]) + json.dumps(loss.to_json()["terms"]), setting, purpose)
        if key not in self.known:
            seeds = [derive(self.number, purpose, k) for k in range(count)]
            trained_loss = train_loss(self.job.task, row.name, loss, seeds, self.recipe(setting), self.plan.backend)
            trained = Trained(
                trained_loss.networks, trained_loss.diverged, None, trained_loss.losses, self.job.task.max_pixel
            )
            found = figures(self.objective(trained, *self.job.validation))
            sound = ~trained_loss.diverged.cpu()
            self.known[key] = {name: float((found[name] * sound).mean()) for name in (CLEAN, ROBUST)}
        return self.known[key]

    def recipe(self, setting: Setting) -> Recipe:
        """The recipe at a place of the learning rates."""
        return self.plan.settings.recipe.model_copy(update={"lr": self.plan.settings.recipe.lr * 2.0**setting.rate})

    def best(self, row: Row) -> tuple[Setting, float, int]:
        """The setting with the highest figure over fresh seeds, that figure, and how many were tried."""
        tried: dict[Setting, float] = {}
        wanted = [Setting(rate, place) for rate in RATES for place in (SMOOTHINGS if row.smoothed else (None,))]
        while wanted:
            for setting in wanted:
                tried[setting] = self.measured(row, setting, "tuning", self.plan.tuning_seeds)[row.objective]
            top = max(tried, key=tried.__getitem__)
            wanted = [setting for setting in neighbors(top) if setting not in tried]
        leading = sorted(tried, key=tried.__getitem__, reverse=True)[: self.plan.finalists]
        again = {
            setting: self.measured(row, setting, "tuning again", self.plan.finalist_seeds)[row.objective]
            for setting in leading
        }
        chosen = max(again, key=again.__getitem__)
        return chosen, again[chosen], len(tried)


def neighbors(setting: Setting) -> list[Setting]:
    """The settings one step from another, within what grids can be extended to."""
    rate, place = setting.rate, setting.smoothing
    found = [Setting(other, place) for other in (rate - 1, rate + 1) if FAR_RATES[0] <= other <= FAR_RATES[1]]
    if place is not None:
        low, high = FAR_SMOOTHINGS
        found += [Setting(rate, other) for other in (place - 1, place + 1) if low <= other <= high]
    return found


def rows_of(losses: dict[str, Loss]) -> list[Row]:
    """Every loss that is judged."""

    def fixed(loss: Loss) -> Callable[[Setting, int], Loss]:
        return lambda *_: loss

    def smoothed(setting: Setting, classes: int) -> Loss:
        assert setting.smoothing is not None
        return cross_entropy().smoothed(smoothing(setting.smoothing), classes)

    plain = fixed(cross_entropy())
    again = [
        Row(f"{name}, {NOTE}", ROBUST, fixed(loss)) for name, loss in losses.items() if not name.endswith(", robust")
    ]
    return [
        Row("cross-entropy", CLEAN, plain),
        Row("label smoothing", CLEAN, smoothed, smoothed=True),
        Row(f"cross-entropy, {NOTE}", ROBUST, plain),
        Row(f"label smoothing, {NOTE}", ROBUST, smoothed, smoothed=True),
        *(Row(name, ROBUST if "robust" in name else CLEAN, fixed(loss)) for name, loss in losses.items()),
        *again,
    ]


def study(job_name: str, data: str, number: int, target: Path, work: Path) -> Path:
    """One study, kept in ``study-K.json``; one that is there already is left as it is."""
    path = target / f"study-{number}.json"
    plan = plan_of(job_name, data)
    asked = hashlib.sha256(repr(replace(plan, settings=without_place(plan.settings))).encode()).hexdigest()[:16]
    if path.exists():
        if read_json(path)["plan"] != asked:
            raise SystemExit(f"{path} was made with another plan; choose another folder")
        return path
    torch.set_num_threads(1)
    started = time.perf_counter()
    split = plan.settings.data.model_copy(update={"split_seed": number})
    job = Problem.open(plan.settings.model_copy(update={"data": split}))
    losses = searched(plan, job, number, work / str(number))
    print(f"{job_name} {number}: searched, {time.perf_counter() - started:.0f} s", flush=True)
    tuning = Tuning(plan, job, number)
    tuned = {row.name: (row, *tuning.best(row)) for row in rows_of(losses)}
    print(f"{job_name} {number}: tuned, {time.perf_counter() - started:.0f} s", flush=True)
    inputs, targets = job.test()
    document = {}
    for name, (row, setting, validation, tried) in tuned.items():
        loss = row.build(setting, job.classes)
        seeds = [derive(number, "final", k) for k in range(NETWORKS)]
        trained_loss = train_loss(job.task, name, loss, seeds, tuning.recipe(setting), plan.backend)
        document[name] = {
            "loss": loss.to_json(),
            "formula": loss.formula(),
            "lr": tuning.recipe(setting).lr,
            "smoothing": None if setting.smoothing is None else smoothing(setting.smoothing),
            "tuned_for": row.objective,
            "validation": validation,
            "tried": tried,
            **judged(plan, trained_loss, inputs, targets, job, number),
        }
        print(f"{job_name} {number}: {name}, {time.perf_counter() - started:.0f} s", flush=True)
    settings = plan.settings.model_dump(mode="json")
    settings["data"] = {**split.model_dump(mode="json"), "data": Path(data).name}
    versions = {"lossmith": version("lossmith"), "torch": torch.__version__}
    target.mkdir(parents=True, exist_ok=True)
    kept: dict[str, Any] = {
        "study": number,
        "plan": asked,
        "settings": settings,
        "digest": job.digest,
        "versions": versions,
        "seconds": round(time.perf_counter() - started),
        "losses": document,
    }
    write_json(rounded(kept), path)
    return path


def without_place(settings: EvolveSettings) -> EvolveSettings:
    """The same settings wherever the data lies."""
    place = settings.data.model_copy(update={"data": Path(settings.data.source).name})
    return settings.model_copy(update={"data": place})


def judged(
    plan: Plan, trained_loss: TrainedLoss, inputs: torch.Tensor, targets: torch.Tensor, job: Problem, number: int
) -> dict[str, Any]:
    """Everything that is measured of the networks of one loss on test data."""
    max_pixel = job.task.max_pixel
    assert max_pixel is not None
    fgsm = AttackPlan(epsilons=FGSM, attacks=("fgsm",), samples=plan.fgsm_samples, seed=number)
    whole = AttackPlan(**{**plan.attacks.__dict__, "seed": number})
    few, labels = inputs[: plan.looked_at], targets[: plan.looked_at]
    corruptions: list[Corruption] = [
        input_noise(trained_loss, few, labels, LEVELS["input noise"], seed=number, max_pixel=max_pixel),
        weight_noise(trained_loss, few, labels, LEVELS["weight noise"], seed=number),
        silenced_units(trained_loss, few, labels, LEVELS["silenced units"], seed=number),
    ]
    slices = basin(trained_loss, few, labels, points=plan.points, seed=number, hessian_samples=plan.hessian_samples)
    return {
        "clean": figures_of(
            robustness(trained_loss, inputs, targets, max_pixel, AttackPlan((0.0,), ("fgsm",), seed=number))
        )["clean"],
        "fgsm": figures_of(robustness(trained_loss, inputs, targets, max_pixel, fgsm)),
        "attacks": figures_of(robustness(trained_loss, inputs, targets, max_pixel, whole)),
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
        "diverged": trained_loss.diverged.tolist(),
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


def rounded(value: Any) -> Any:
    """The same document with numbers of six digits, NaN as null."""
    if isinstance(value, dict):
        return {key: part if key == "loss" else rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value


@dataclass(frozen=True)
class Claim:
    """A claim and what came of it.

    Args:
        name: As in the head of this file.
        text: What is claimed.
        differences: Mean of the first less mean of the second, for each study; of the second less the first where
            lower is better.
        p: One-tailed Welch p of each study.
    """

    name: str
    text: str
    differences: list[float]
    p: list[float]

    @property
    def verdict(self) -> str:
        """Held, failed or not shown."""
        if np.mean(self.differences) <= 0:
            return "failed"
        clear = sum(p < 0.05 for p in self.p) >= 0.8 * len(self.p) and min(self.differences) > 0
        return "held" if clear else "not shown"


Find = Callable[[dict[str, Any]], Sequence[float | None]]


def attacked(attack: str, epsilon: float, part: str = "fgsm") -> Find:
    """Accuracy of the networks of a loss under an attack."""
    return lambda row: row[part]["accuracy"][attack][row[part]["epsilons"].index(epsilon)]


def damaged(kind: str) -> Find:
    """Accuracy under the level of a damage that is judged."""
    place = LEVELS[kind].index(JUDGED[kind])
    return lambda row: [network[place] or 0.0 for network in row["damage"][kind]["accuracy"]]


def claims(studies: Sequence[dict[str, Any]]) -> list[Claim]:
    """Every claim, for each space that was searched."""
    found: list[Claim] = []
    names = ["TaylorGLO"] + (["residual"] if "residual" in studies[0]["losses"] else [])
    for name in names:
        mark = "" if name == "TaylorGLO" else " (residual)"
        robust, ce = f"{name}, robust", "cross-entropy"

        def add(
            key: str, text: str, first: str, second: str | None, find: Find, sign: float = 1, mark: str = mark
        ) -> None:
            differences, p = [], []
            for one in studies:
                other = second if second is not None else best_baseline(one)
                ours, theirs = (known(find(one["losses"][loss]), sign) for loss in (first, other))
                enough = min(len(ours), len(theirs)) > 1
                differences.append(float(np.mean(ours) - np.mean(theirs)) if ours and theirs else 0.0)
                p.append(welch(ours, theirs).p if enough else 1.0)
            found.append(Claim(key + mark, text, differences, p))

        add("clean", f"{name} > {ce}, no attack", name, ce, lambda row: row["clean"])
        for epsilon in FGSM[1:]:
            text = f"{name} > {ce}, FGSM with the loss's own gradient, ε = {epsilon:g}"
            add(f"fgsm-own {epsilon:g}", text, name, ce, attacked("fgsm-loss", epsilon))
        for epsilon in FGSM[1:]:
            text = f"{name} > {ce}, FGSM worst of three gradients, ε = {epsilon:g}"
            add(f"fgsm-worst {epsilon:g}", text, name, ce, attacked("fgsm", epsilon))
        tuned = f"{name}, {NOTE}"
        text = f"{robust} > {tuned}, FGSM worst of three, ε = {EPSILON:g}"
        add("robust-objective", text, robust, tuned, attacked("fgsm", EPSILON))
        text = f"{robust} > better baseline {NOTE}, FGSM worst of three, ε = {EPSILON:g}"
        add("robust-baseline", text, robust, None, attacked("fgsm", EPSILON))
        text = f"{robust} > better baseline {NOTE}, all attacks, ε = {EPSILON:g}"
        add("all-attacks", text, robust, None, attacked("worst", EPSILON, "attacks"))
        for key, kind in (
            ("noise-input", "input noise"),
            ("noise-weight", "weight noise"),
            ("silenced", "silenced units"),
        ):
            add(key, f"{name} > {ce}, {kind} {JUDGED[kind]:g}", name, ce, damaged(kind))
        wide: Find = lambda row: row["basin"]["width90"]  # noqa: E731
        add("basin", f"{name} > {ce}, width of the basin at 90 %", name, ce, wide)
        add("basin-robust", f"{robust} > {tuned}, width of the basin at 90 %", robust, tuned, wide)
        text = f"{name} < {ce}, largest Hessian eigenvalue"
        add("eigenvalue", text, name, ce, lambda row: row["basin"]["eigenvalue"], -1)
    return found


def best_baseline(one: dict[str, Any]) -> str:
    """The better baseline tuned for robustness, on validation data."""
    names = [f"cross-entropy, {NOTE}", f"label smoothing, {NOTE}"]
    return max(names, key=lambda name: one["losses"][name]["validation"])


def known(values: Sequence[float | None], sign: float) -> list[float]:
    """The figures that there are, turned where lower is better."""
    return [sign * value for value in values if value is not None]


def pooled(studies: Sequence[dict[str, Any]], name: str, part: str) -> Robustness:
    """All networks of a loss over the studies, as they are drawn."""
    rows = [one["losses"][name][part] for one in studies]
    accuracy = {
        attack: np.concatenate([np.array(row["accuracy"][attack]) for row in rows], 1) for attack in rows[0]["accuracy"]
    }
    fields = [field.name for field in dataclass_fields(Masking) if field.name != "zero_gradients"]

    def mean(values: Sequence[float | None]) -> float | None:
        return None if None in values else float(np.mean([value for value in values if value is not None]))

    masking = [
        Masking(
            {
                key: float(np.mean([row["masking"][place]["zero_gradients"][key] for row in rows]))
                for key in ("loss", "cross-entropy", "margin")
            },
            *(mean([row["masking"][place][field] for row in rows]) for field in fields),
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


def summarize(job: str, target: Path, command: str) -> None:
    """Write what came out: ``summary.json``, ``summary.md`` and the pictures."""
    studies = [read_json(path) for path in sorted(target.glob("study-*.json"))]
    found = claims(studies)
    names = list(studies[0]["losses"])
    three = ["cross-entropy", "TaylorGLO", "TaylorGLO, robust"]
    save_figure(plot_attacks([pooled(studies, name, "fgsm") for name in three]), target / "figure2.png")
    four = ["cross-entropy", f"label smoothing, {NOTE}", "TaylorGLO", "TaylorGLO, robust"]
    save_figure(plot_attacks([pooled(studies, name, "attacks") for name in four]), target / "attacks.png")
    save_figure(plot_basin([pooled_basin(studies, name) for name in three], three), target / "figure4.png")
    save_figure(
        plot_corruption([pooled_corruption(studies, name) for name in three], three, "white pixels"),
        target / "damage.png",
    )
    document = {
        "command": command,
        "studies": len(studies),
        "claims": [
            {"name": one.name, "text": one.text, "verdict": one.verdict, "differences": one.differences, "p": one.p}
            for one in found
        ],
        "means": {name: means(studies, name) for name in names},
    }
    write_json(rounded(document), target / "summary.json")
    write_whole(page(job, studies, found, command).encode(), target / "summary.md")


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
        **{f"{kind} {JUDGED[kind]:g}": mean(damaged(kind)) for kind in LEVELS},
        "width90": mean(lambda row: row["basin"]["width90"]),
        "width99": mean(lambda row: row["basin"]["width99"]),
        "eigenvalue": mean(lambda row: row["basin"]["eigenvalue"]),
    }


def page(job: str, studies: Sequence[dict[str, Any]], found: Sequence[Claim], command: str) -> str:
    """The outcome as a Markdown page."""
    names = list(studies[0]["losses"])
    attack = studies[0]["losses"][names[0]]["attacks"]
    lines = [
        f"# Robustness and minima: {job}",
        "",
        f"Made by `{command}`. What is done, and what was claimed before the run, stands at the head of",
        "[`experiments/robustness.py`](../../../experiments/robustness.py). Raw figures of every network:",
        f"`study-K.json`, {len(studies)} studies, {NETWORKS} networks of each loss in each, PyTorch "
        f"{studies[0]['versions']['torch']}.",
        "",
        "## Claims",
        "",
        "Difference: percentage points of accuracy (length of the way for basins, eigenvalue), the mean over the",
        "studies; p: the largest and the second largest one-tailed Welch p of a study.",
        "",
        "| claim | what | difference | studies above 0 | p | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for one in found:
        scale = 1 if one.name.split()[0] in LENGTHS else 100
        worst = sorted(one.p, reverse=True)[:2]
        lines.append(
            f"| {one.name} | {one.text} | {scale * np.mean(one.differences):+.2f} "
            f"| {sum(value > 0 for value in one.differences)} of {len(one.differences)} "
            f"| {', '.join(f'{p:.2g}' for p in worst)} | {one.verdict} |"
        )
    figures_told = {
        "clean": "clean",
        "FGSM own, ε 0.1": "fgsm-own 0.1",
        "FGSM, ε 0.1": "fgsm 0.1",
        "FGSM, ε 0.2": "fgsm 0.2",
        **{f"PGD, ε {e:g}": f"pgd {e:g}" for e in attack["epsilons"]},
        **{f"all attacks, ε {e:g}": f"worst {e:g}" for e in attack["epsilons"]},
        **{f"{kind} {level:g}": f"{kind} {level:g}" for kind, level in JUDGED.items()},
    }
    lines += ["", "## Mean accuracy of all networks, %", "", f"| loss | {' | '.join(figures_told)} |"]
    lines.append("|---" * (1 + len(figures_told)) + "|")
    for name in names:
        mine = means(studies, name)
        lines.append(f"| {name} | {' | '.join(f'{100 * mine[key]:.1f}' for key in figures_told.values())} |")
    samples = attack["samples"]
    lines += [
        "",
        "FGSM and PGD: worst of three gradients, but for FGSM own. All attacks: FGSM, PGD, APGD-CE, APGD-DLR and",
        f"Square on {samples['worst']} images.",
        "",
        "## Minima",
        "",
        "| loss | width at 90 % | width at 99 % | largest Hessian eigenvalue |",
        "|---|---|---|---|",
    ]
    for name in names:
        mine = means(studies, name)
        lines.append(f"| {name} | {mine['width90']:.3f} | {mine['width99']:.3f} | {mine['eigenvalue']:.3g} |")
    fgsm = studies[0]["losses"][names[0]]["fgsm"]["epsilons"]
    lines += ["", "## Signs of gradient masking", "", "Number of studies in which a sign was seen.", ""]
    for part, epsilons, title in (
        ("attacks", attack["epsilons"], "All attacks"),
        ("fgsm", [epsilon for epsilon in fgsm if epsilon], "FGSM alone (more steps and the black box not run)"),
    ):
        lines += [f"| {title} | {' | '.join(f'ε {e:g}' for e in epsilons)} |", "|---" * (1 + len(epsilons)) + "|"]
        for name in names:
            rows = [done["losses"][name][part] for done in studies]
            lines.append(f"| {name} | {' | '.join(seen(rows, epsilon) for epsilon in epsilons)} |")
        lines.append("")
    lines += ["", "## The losses", "", "| study | loss | φ | learning rate | settings tried |", "|---|---|---|---|---|"]
    for done in studies:
        for name, row in done["losses"].items():
            lines.append(f"| {done['study']} | {name} | {row['formula']} | {row['lr']:.3g} | {row['tried']} |")
    lines += [
        "",
        "![Figure 2](figure2.png)",
        "![Attacks](attacks.png)",
        "![Figure 4](figure4.png)",
        "![Corruption](damage.png)",
        "",
    ]
    return "\n".join(lines)


def seen(rows: Sequence[dict[str, Any]], epsilon: float) -> str:
    """The signs of masking at one ε, and in how many studies each was seen."""
    signs = Counter(sign for row in rows for sign in row["masking"][row["epsilons"].index(epsilon)]["signs"])
    return "; ".join(f"{sign} ({count})" for sign, count in signs.items()) or "none"


def overview(folders: dict[str, Path]) -> str:
    """The claims of several jobs side by side, as ``docs/robustness.md`` tells them."""
    found = {job: read_json(folder / "summary.json")["claims"] for job, folder in folders.items()}
    names = list(dict.fromkeys(one["name"] for claims in found.values() for one in claims))
    lines = [f"| claim | {' | '.join(f'{job}: difference, studies above 0, verdict' for job in found)} |"]
    lines.append("|---" * (1 + len(found)) + "|")
    for name in names:
        cells = []
        for claims in found.values():
            one = next((row for row in claims if row["name"] == name), None)
            if one is None:
                cells.append("–")
                continue
            differences = one["differences"]
            scale, digits = (1, 2) if name.split()[0] in LENGTHS else (100, 1)
            above = f"{sum(value > 0 for value in differences)} of {len(differences)}"
            cells.append(f"{scale * np.mean(differences):+.{digits}f}, {above}, **{one['verdict']}**")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the studies that are missing, then tell what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=("digits", "mnist"))
    parser.add_argument("target", type=Path)
    parser.add_argument("--data", help="the .npz file of mnist: x_train, y_train, x_test, y_test")
    parser.add_argument("--work", type=Path, default=Path("robustness-work"), help="databases of the searches")
    parser.add_argument("--jobs", type=int, default=1, help="studies at a time, a thread each")
    given = parser.parse_args()
    if given.job == "mnist" and given.data is None:
        parser.error("mnist needs --data mnist.npz")
    data = "digits" if given.job == "digits" else str(Path(given.data).absolute())
    numbers = range(plan_of(given.job, data).studies)
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
        waiting = [
            pool.submit(study, given.job, data, number, given.target, given.work / given.job) for number in numbers
        ]
        for one in waiting:
            print(one.result(), flush=True)
    extra = " --data mnist.npz" if given.job == "mnist" else ""
    command = f"python experiments/robustness.py {given.job} results/robustness/{given.job}{extra} --jobs {given.jobs}"
    summarize(given.job, given.target, command)


if __name__ == "__main__":
    main()
