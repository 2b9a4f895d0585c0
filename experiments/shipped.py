"""A loss for noisy labels that nobody must search for: found once, over many small jobs, and shipped with its numbers.

    python experiments/shipped.py results/shipped --workers 2

The loss is ``L = CE + r · R`` with r the share of wrong labels, which its user gives, and R the five terms of the space
``residual`` with one number each, ``φ_R = (c0/n) log h + c1 h² + c2 h³ + c3 h² y + c4 h y``. Nothing else is tuned: it
takes the learning rate of cross-entropy. So it is cross-entropy where no label is wrong.

The five numbers are found by CMA-ES (16 candidates, 60 generations, from label smoothing + Σh² as strong as a search
of few trainings begins at r = 0.4) over the 17 jobs of ``JOBS``: digits and generated tables of 2 to 26 classes, easy
and hard, by MLPs and a convolutional network, with SGD and AdamW, short and long, with symmetric noise and labels that
are mistaken. A job's figure is by how much of cross-entropy's errors there are fewer, ``1 − errors/errors of CE``, from
−1; the fitness is the mean over the jobs. Errors are counted on clean labels, as they are known of these data; each
generation has splits, noise and initial weights of its own, cross-entropy the same ones. The same search of the first
two numbers alone is ``label smoothing + Σh²``.

On 20 fresh draws of each job, of which no search has seen one (the tables are generated anew; digits are drawn again
from the same 1,797 images), a loss is measured by the same figure. The unit is a draw, whose value is the mean over the
jobs; one-tailed paired t-tests, Holm over all. Written down before any fresh draw: (1) the five numbers, to two digits,
are better than cross-entropy, (2) than those of ``label smoothing + Σh²``, and (3) than every rival with its published
number, whose rates are divided by its steepness (but of AdamW, which scales every loss alike).

Added when the search had ended and before any fresh draw was looked at: it found (13, 35, 0.08, −36, 35), which is
nearly ``φ_R = (13/n) log h + 35 (y h + (1 − y) h²)``: label smoothing, MAE of the label, and the squares of all other
outputs. This form is ``two numbers``. (4) It is better than ``label smoothing + Σh²``; (5) than cross-entropy.

The rule: the two numbers ship if (4) holds and the upper end of the interval of five less two numbers is below 2 % of
cross-entropy's errors; else the five, if (2) holds; else ``label smoothing + Σh²``. Whether the loss is any good
elsewhere, no figure of this experiment says: ``experiments/noisy.py`` tests it on images that no search has seen.

Without a claim: what a wrong share costs (the loss is told 0, 0.1, … 0.6 on jobs of other shares).

Changed before any fresh draw was looked at: 30 generations were planned, after which the numbers were still moving. The
rates of the search were eight; the long training on digits took the lowest, so that the fresh draws have ten. The fresh
tables were to be those of the search.

Draws are numbered from 700 (searches), 800 (rates) and 900 (fresh), which no other experiment has used.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from networks import seeds_of
from noisy_runs import steepness
from program import changed, digest_of, each, kept, kept_program, processes, teller
from shipped_page import page
from sklearn.datasets import make_classification

from lossmith.losses import CATALOG, Loss, cross_entropy
from lossmith.metrics import accuracy
from lossmith.search import SearchSettings, VectorSpace, build_engine, residual
from lossmith.study import EvolveSettings, Problem, with_data
from lossmith.training import Trainer

SEARCHED, RATED, FRESH, DRAWS = 700, 800, 900, 20
POPULATION, GENERATIONS = 16, 60
# Where short searches begin, as strong as it is there where 40 % of the labels are wrong; and how far a step of one is
# in each number, as in the space "residual" for ten classes.
START, STEP = (6.8, 18.5), (1.0, 2.5, 5 / 3, 2.5, 5.0)
FIVE, TWO, PAIR = "five numbers", "two numbers", "label smoothing + Σh²"
ROWS = {FIVE: 5, PAIR: 2}
# What the search found, written down by hand with two numbers.
TWO_NUMBERS = [13.0, 35.0, 0.0, -35.0, 35.0]
LOWEST = -1.0
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
RATES, MORE_RATES = range(-5, 3), range(-7, 3)
RIVALS = (
    "gce",
    "agce",
    "aul",
    "nce-rce",
    "nce-agce",
    "anl",
    "epsilon-softmax",
    "logit-clip",
    "jensen-shannon",
    "focal",
)


@dataclass(frozen=True)
class Job:
    """One of the jobs.

    Args:
        classes: n of a generated table; 0 stands for digits.
        noise: Its name.
        rate: What the noise changes: a share of the labels.
        wrong: The share of wrong labels.
        separation: Of the classes of a table: 2 is easy, 1 is hard.
        model: Settings of the network.
        recipe: Settings of the training.
        size: Training samples.
    """

    classes: int
    noise: str
    rate: float
    wrong: float
    separation: float = 2.0
    model: dict[str, Any] = field(default_factory=lambda: {"hidden": [64]})
    recipe: dict[str, Any] = field(default_factory=lambda: {"epochs": 20})
    size: int = 1000


CONV: dict[str, Any] = {"model": {"name": "conv", "hidden": [16]}, "recipe": {"epochs": 15}, "size": 400}
JOBS: dict[str, Job] = {
    "digits, symmetric 20 %": Job(0, "symmetric", 0.2, 0.2, size=800),
    "digits, symmetric 40 %": Job(0, "symmetric", 0.4, 0.4, size=800),
    "digits, symmetric 60 %": Job(0, "symmetric", 0.6, 0.6, size=800),
    "digits, mistaken 20 %": Job(0, "asymmetric:mnist", 0.4, 0.2, size=800),
    "digits, long, symmetric 40 %": Job(0, "symmetric", 0.4, 0.4, recipe={"epochs": 80}, size=400),
    "digits, convolutions, symmetric 40 %": Job(0, "symmetric", 0.4, 0.4, **CONV),
    "digits, convolutions, mistaken 20 %": Job(0, "asymmetric:mnist", 0.4, 0.2, **CONV),
    "2 classes, symmetric 20 %": Job(2, "symmetric", 0.2, 0.2, separation=1.0),
    "5 classes, symmetric 20 %": Job(5, "symmetric", 0.2, 0.2),
    "5 classes, hard, symmetric 40 %": Job(5, "symmetric", 0.4, 0.4, separation=1.0),
    "5 classes, hard, next class 20 %": Job(5, "pairs", 0.2, 0.2, separation=1.0),
    "12 classes, symmetric 40 %": Job(12, "symmetric", 0.4, 0.4),
    "12 classes, next class 30 %": Job(12, "pairs", 0.3, 0.3),
    "12 classes, hard, symmetric 20 %": Job(12, "symmetric", 0.2, 0.2, separation=1.0),
    "12 classes, AdamW, symmetric 40 %": Job(
        12, "symmetric", 0.4, 0.4, recipe={"epochs": 20, "optimizer": "adamw", "lr": 0.01, "weight_decay": 0.01}
    ),
    "26 classes, symmetric 40 %": Job(26, "symmetric", 0.4, 0.4, size=1500),
    "26 classes, symmetric 60 %": Job(26, "symmetric", 0.6, 0.6, size=1500),
}


def source_of(job: Job, work: Path, draw: int) -> str:
    """The data of a job: a table is made if it is not there, for each fresh draw another one."""
    if not job.classes:
        return "digits"
    state = job.classes if draw < FRESH else 1000 * job.classes + draw
    path = work / f"table-{job.classes}-{job.separation:g}-{state}.npz"
    if not path.exists():
        x, y = make_classification(
            n_samples=6000,
            n_features=24,
            n_informative=16,
            n_redundant=4,
            n_classes=job.classes,
            class_sep=job.separation,
            flip_y=0.0,
            random_state=state,
        )
        np.savez(path, x_train=x.astype(np.float32), y_train=y)
    return str(path)


def settings_of(job: Job, work: Path, draw: int) -> EvolveSettings:
    """The settings of a job in a draw."""
    size = {"train_size": job.size, "validation_size": 200, "test_size": 400 if not job.classes else 3000}
    noise = {"noise": job.noise, "label_noise": job.rate, "split_seed": draw, "noise_seed": draw}
    settings = with_data(EvolveSettings(), source_of(job, work, draw))
    return changed(settings, data={**size, **noise}, model={"name": "mlp", **job.model}, recipe=job.recipe)


def errors_of(job: Job, losses: list[dict[str, Any]], lrs: Sequence[float], draw: int, work: Path) -> list[float]:
    """The share of errors on clean labels of a network of each loss: as many rates, or one for all."""
    settings = settings_of(job, work, draw)
    problem = Problem.open(settings)
    inputs, targets = problem.test()
    found = list[float]()
    given = [Loss.from_json(loss) for loss in losses]
    groups = [(given, lrs[0])] if len(lrs) == 1 else [([loss], lr) for loss, lr in zip(given, lrs, strict=True)]
    for members, lr in groups:
        recipe = settings.recipe.model_copy(update={"lr": lr})
        seeds = seeds_of(draw, "shipped", 1) * len(members)
        trained = Trainer(problem.task).train(Loss.stack(members), seeds, recipe)
        right = torch.where(trained.diverged, 0.0, accuracy(trained.networks.logits(inputs), targets))
        found += (1 - right).tolist()
    return found


def rated(job: Job, work: Path, places: Sequence[int]) -> float:
    """The rate, of some a factor 2 apart, at which cross-entropy is best on validation labels, which are noisy, too."""
    base = settings_of(job, work, RATED)
    rates = [base.recipe.lr * 2.0**place for place in places]
    totals = np.zeros(len(rates))
    for draw in range(RATED, RATED + 3):
        problem = Problem.open(settings_of(job, work, draw))
        inputs, targets = problem.validation
        for place, lr in enumerate(rates):
            recipe = base.recipe.model_copy(update={"lr": lr})
            trained = Trainer(problem.task).train(Loss.stack([cross_entropy()] * 4), seeds_of(draw, "rate", 4), recipe)
            right = torch.where(trained.diverged, 0.0, accuracy(trained.networks.logits(inputs), targets))
            totals[place] += float(right.mean())
    return rates[int(totals.argmax())]


def loss_at(numbers: Sequence[float], share: float, classes: int) -> Loss:
    """The loss of some numbers where a share of the labels is wrong."""
    whole = [*numbers, *[0.0] * (len(STEP) - len(numbers))]
    # The space "residual" has weights in proportion to n, all but the first.
    unit = [step * (classes / 10 if place else 1) for place, step in enumerate(STEP)]
    point = torch.tensor([c / one for c, one in zip(whole, unit, strict=True)], dtype=torch.float64)
    return residual(share * point, classes)


def gains(errors: Sequence[float], reference: float) -> list[float]:
    """By what share there are fewer errors than cross-entropy has, from −1."""
    return [max(LOWEST, 1 - error / reference) for error in errors]


def searched(row: str, rates: dict[str, float], work: Path, pool: Any, tell: Any) -> dict[str, Any]:
    """The mean of a search, and its course."""
    dimensions = ROWS[row]
    start = (*(c / step for c, step in zip(START, STEP, strict=False)), *[0.0] * (dimensions - len(START)))
    space = VectorSpace(start, 2.0, residual)
    engine = build_engine(space, SearchSettings(population=POPULATION, sigma=2.0, seed=SEARCHED))
    course, mean = list[dict[str, Any]](), list[float]()
    for generation in range(GENERATIONS):
        genomes, _ = engine.ask(lambda _: True)
        points = [numbers_at(genome) for genome in genomes]
        part = partial(measured, points, SEARCHED + generation, rates, work, pool)
        values = kept(work / row / f"{generation}.json", digest_of(f"{points} {rates} {torch.__version__}"), part)
        engine.tell(genomes, values)
        assert engine.mean is not None
        mean = numbers_at(engine.mean)
        course.append({"points": points, "fitness": values, "mean": mean})
        tell(f"{row}: generation {generation + 1}, mean {np.mean(values):+.3f}, best {max(values):+.3f}")
    return {"numbers": [float(f"{c:.2g}") for c in mean], "course": course}


def numbers_at(genome: Sequence[float]) -> list[float]:
    """The numbers of a point of the search."""
    return [step * x for step, x in zip(STEP, genome, strict=False)]


def measured(
    points: Sequence[Sequence[float]], draw: int, rates: dict[str, float], work: Path, pool: Any
) -> list[float]:
    """The gain of each point in one draw, in the mean over the jobs."""
    calls = list[tuple[Any, ...]]()
    for name, job in JOBS.items():
        classes = job.classes or 10
        losses = [cross_entropy(), *(loss_at(point, job.wrong, classes) for point in points)]
        calls.append((job, [loss.to_json() for loss in losses], [rates[name]], draw, work))
    columns = [gains(errors[1:], errors[0]) for errors in each(pool, errors_of, calls)]
    return [float(np.mean([column[k] for column in columns])) for k in range(len(points))]


def fresh(numbers: dict[str, list[float]], rates: dict[str, float], draw: int, work: Path) -> dict[str, Any]:
    """The errors of every row in each job, in a fresh draw: what was found, rivals, and what is told other shares."""
    found = dict[str, Any]()
    for name, job in JOBS.items():
        classes, lr = job.classes or 10, rates[name]
        losses: dict[str, Loss] = {"cross-entropy": cross_entropy()}
        losses |= {row: loss_at(own, job.wrong, classes) for row, own in numbers.items()}
        losses |= {
            f"{row} told {share:g}": loss_at(own, share, classes) for row, own in numbers.items() for share in SHARES
        }
        plain = errors_of(job, [loss.to_json() for loss in losses.values()], [lr], draw, work)
        rivals = {rival: CATALOG[rival].build(None, classes) for rival in RIVALS}
        scaled = "optimizer" not in job.recipe
        own = [lr / steepness(loss, classes) if scaled else lr for loss in rivals.values()]
        others = errors_of(job, [loss.to_json() for loss in rivals.values()], own, draw, work)
        found[name] = dict(zip([*losses, *rivals], [*plain, *others], strict=True))
    return found


def found(given: argparse.Namespace) -> dict[str, Any]:
    """Rates, searches and fresh draws."""
    work, tell, names, draws = given.work, teller("shipped"), list(JOBS), range(FRESH, FRESH + DRAWS)
    for job in JOBS.values():
        for draw in (RATED, *draws):
            source_of(job, work, draw)
    key = digest_of(f"{JOBS} {START} {STEP} {POPULATION} {GENERATIONS} {torch.__version__}")
    with processes(given.workers) as pool:

        def rates_of(places: range) -> dict[str, float]:
            part = partial(each, pool, rated, [(job, work, places) for job in JOBS.values()])
            best = kept(work / f"rates-{len(places)}.json", digest_of(f"{key} {places}"), part)
            return dict(zip(names, best, strict=True))

        rates = rates_of(RATES)
        searches = {
            row: kept(work / f"{row}.json", key, partial(searched, row, rates, work, pool, tell)) for row in ROWS
        }
        numbers = {row: search["numbers"] for row, search in searches.items()} | {TWO: TWO_NUMBERS}
        tell(f"numbers {numbers}")
        fresh_rates = rates_of(MORE_RATES)
        runs = each(pool, kept_fresh, [(numbers, fresh_rates, draw, work) for draw in draws])
    return {"rates": rates, "fresh_rates": fresh_rates, "searches": searches, "two_numbers": TWO_NUMBERS, "runs": runs}


def kept_fresh(numbers: dict[str, list[float]], rates: dict[str, float], draw: int, work: Path) -> dict[str, Any]:
    """A fresh draw, unless it is there."""
    key = digest_of(f"{JOBS} {RIVALS} {SHARES} {numbers} {rates} {torch.__version__}")
    found: dict[str, Any] = kept(work / f"fresh-{draw}.json", key, partial(fresh, numbers, rates, draw, work))
    return found


if __name__ == "__main__":
    assert __doc__ is not None
    kept_program(
        __doc__, "shipped", (), None, found, partial(page, shares={name: job.wrong for name, job in JOBS.items()})
    )
