"""The parts of experiments/noisy.py and experiments/second.py: settings, racing, searches, fresh networks."""

from __future__ import annotations

import argparse
import random
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jobs import halved, job
from networks import evolved, scores, seeds_of, trained
from program import changed, digest_of, each, kept, located, processes, teller
from versions import FIRST as FIRST_VERSION
from versions import SECOND as SECOND_VERSION
from versions import version

from lossmith.analysis import BASELINES, Family, Grid, learning_rates, wrong_labels
from lossmith.data import open_source, seen_samples
from lossmith.losses import Loss, PowerLoss, cross_entropy
from lossmith.seeds import derive
from lossmith.study import EvolveSettings, Problem, Study, find_suspects, told_share, with_data

DATA = ("mnist", "cifar10", "cifar10n")
FIRST, NETWORKS = 600, 5
DRAWN, TRIED, KEPT, SEEDS = 8, 12, 3, 3
REFERENCE, BY_HAND = "cross-entropy", "label smoothing + Σh²"
RIVALS = (
    REFERENCE,
    "label smoothing",
    "focal",
    "PolyLoss-1, cross-entropy + ε MAE",
    "generalised cross-entropy",
    BY_HAND,
    *(name for name, family in BASELINES.items() if family.noisy),
)
SPACES = ("residual", "noise-robust")
OVERFITTING = {"batch_size": 50, "lr": 0.1, "schedule": "cosine", "weight_decay": 5e-4, "crop": 2}
# The shipped loss, told the share of wrong labels that is estimated, or the true one, which nobody knows.
ESTIMATED, TOLD = "the shipped loss, told the estimate", "the shipped loss, told the truth"
# Its second version, of experiments/gentler.py.
AGAIN = "the second, told the estimate"
VERSIONS = {ESTIMATED: FIRST_VERSION, TOLD: FIRST_VERSION, AGAIN: SECOND_VERSION}
FOLDS = 5
CIFAR, MNIST = "CIFAR-10", "MNIST"
# The data and noise of each setting, and the share of labels that becomes wrong.
SETTINGS: dict[str, tuple[str, dict[str, Any], float]] = {
    "CIFAR-10 symmetric 40 %": (CIFAR, {"noise": "symmetric", "label_noise": 0.4}, 0.4),
    "CIFAR-10 symmetric 80 %": (CIFAR, {"noise": "symmetric", "label_noise": 0.8}, 0.8),
    "CIFAR-10 asymmetric 40 %": (CIFAR, {"noise": "asymmetric:cifar10", "label_noise": 0.4}, 0.2),
    "CIFAR-10N worst": (CIFAR, {"label_noise": 0.0}, 0.4),
    "MNIST symmetric 40 %": (MNIST, {"noise": "symmetric", "label_noise": 0.4}, 0.4),
    "MNIST asymmetric 40 %": (MNIST, {"noise": "asymmetric:mnist", "label_noise": 0.4}, 0.2),
}
# Of experiments/second.py: right labels, networks that overfit, with weight decay and augmentation.
CLEAN = {"CIFAR-10, 500 images": CIFAR, "MNIST, 300 images": MNIST}
Row = dict[str, Any]


def settings_of(name: str, number: int, places: dict[str, str], work: Path) -> EvolveSettings:
    """The settings of the search of a setting, in the space ``residual``."""
    search = {"population": 8, "generations": 4, "seed": number}
    run = {"replicates": 1, "tune": False, "finalists": 2, "finalist_seeds": SEEDS}
    if name in CLEAN:
        cifar = CLEAN[name] == CIFAR
        size = 500 if cifar else 300
        source = str(halved(places["cifar10"], work)) if cifar else located(places["mnist"])
        return changed(
            with_data(EvolveSettings(), source),
            data={"train_size": size, "validation_size": size, "split_seed": number},
            model={"name": "conv", "hidden": [64]},
            recipe={**OVERFITTING, "flip": cifar, "epochs": 24 if cifar else 12},
            search=search,
            run={**run, "training": "sequential-channels-last"},
        )
    data, noise, _ = SETTINGS[name]
    if data == MNIST:
        settings = job("mnist", work, {"mnist": places["mnist"]}, number)
        return changed(settings, data=noise, search=search, run={**run, "training": "population"})
    if name == "CIFAR-10N worst":
        noise = {**noise, "noise": f"{located(places['cifar10n'])}:worst"}
    sizes = {"train_size": 2000, "validation_size": 2000, "split_seed": number, "noise_seed": number}
    return changed(
        with_data(EvolveSettings(), str(halved(places["cifar10"], work))),
        data={**noise, **sizes},
        model={"name": "conv", "hidden": [64]},
        recipe={"epochs": 12, "batch_size": 100, "lr": 0.1, "schedule": "cosine"},
        search=search,
        run={**run, "training": "sequential-channels-last"},
    )


@lru_cache(maxsize=1)
def opened(name: str, number: int, places: tuple[tuple[str, str], ...], work: Path) -> tuple[EvolveSettings, Problem]:
    """The settings and the data of a setting, opened once where its losses follow one another."""
    settings = settings_of(name, number, dict(places), work)
    return settings, Problem.open(settings)


def steepness(loss: Loss, classes: int) -> float:
    """The mean norm of a loss's gradient by the logits at outputs of a new network, through that of cross-entropy."""
    generator = torch.Generator().manual_seed(derive("steepness"))
    logits = 0.1 * torch.randn(1024, classes, generator=generator, dtype=torch.float64)
    targets = torch.randint(classes, (1024,), generator=generator)
    own, plain = (one.logit_gradient(logits, targets).norm(dim=-1).mean() for one in (loss, cross_entropy()))
    return float(own / plain)


def raced(family: Family, settings: EvolveSettings, problem: Problem, seeds: list[int]) -> Row:
    """The best setting of a loss, of at most twelve that are tried with one seed, three of them with three."""
    classes, training = problem.classes, settings.run.training
    grid = Grid(family.name, (*family.axes, learning_rates(settings.recipe.lr)))
    chance = random.Random(derive(settings.search.seed, "race", family.name))
    found = dict[tuple[int, ...], list[float]]()

    def built(place: tuple[int, ...]) -> tuple[Loss, float]:
        loss, lr = family.build(family.strengths(place[:-1]), classes), grid.values(place)[-1]
        if not settings.recipe.weight_decay:
            return loss, lr / steepness(loss, classes)
        # The rate would change what the decay takes; without one the two ways are the same.
        assert isinstance(loss, PowerLoss)
        return loss * (1 / steepness(loss, classes)), lr

    def measure(place: tuple[int, ...], own: list[int]) -> None:
        loss, lr = built(place)
        networks = trained(problem.task, [loss], own, settings.recipe.model_copy(update={"lr": lr}), training)
        found.setdefault(place, []).extend(scores(networks, problem.validation))

    start = grid.start()
    for place in chance.sample(start, min(DRAWN, len(start))):
        measure(place, seeds[:1])
    while len(found) < TRIED:
        best = max(found, key=found.__getitem__)
        near = [place for place in grid.around(best) if place not in found]
        if not near:
            break
        for place in chance.sample(near, min(len(near), TRIED - len(found))):
            measure(place, seeds[:1])
    for place in sorted(found, key=found.__getitem__, reverse=True)[:KEPT]:
        measure(place, seeds[1:])
    best = max((place for place in found if len(found[place]) == SEEDS), key=lambda place: float(np.mean(found[place])))
    loss, lr = built(best)
    tried = [{"place": list(place), "validation": values} for place, values in found.items()]
    trainings = sum(len(values) for values in found.values())
    return {
        "loss": loss.to_json(),
        "lr": lr,
        "strength": family.describe(best[:-1]),
        "tried": tried,
        "trainings": trainings,
    }


def tested(found: Row, settings: EvolveSettings, problem: Problem) -> Row:
    """What was found, with the accuracies of fresh networks on validation and test data."""
    seeds = seeds_of(settings.search.seed, "final", NETWORKS)
    recipe = settings.recipe.model_copy(update={"lr": found["lr"]})
    networks = trained(problem.task, [Loss.from_json(found["loss"])], seeds, recipe, settings.run.training)
    return {**found, "validation": scores(networks, problem.validation), "test": scores(networks, problem.test())}


def compared(name: str, number: int, row: str, places: tuple[tuple[str, str], ...], work: Path) -> Row:
    """A row of the table in a setting: tuned or searched, then tested."""
    settings, problem = opened(name, number, places, work)

    def rate() -> float:
        own = compared(name, number, REFERENCE, places, work)
        return float(own["lr"])

    def made() -> Row:
        started = time.process_time()
        if row in VERSIONS:
            own = changed(settings, recipe={"lr": rate()})
            share = SETTINGS[name][2] if row == TOLD else estimated(own)
            loss, trainings = version(VERSIONS[row], share, problem.classes), 0 if row == TOLD else FOLDS
            found = {
                "loss": loss.to_json(),
                "lr": own.recipe.lr,
                "strength": f"r = {share:g}",
                "trainings": trainings,
            }
        elif row in SPACES:
            found = searched(changed(settings, search={"space": row}, recipe={"lr": rate()}), folder)
        else:
            found = raced(BASELINES[row], settings, problem, seeds_of(number, "race", SEEDS))
        found["seconds"] = round(time.process_time() - started, 1)
        return {
            "setting": name,
            "number": number,
            "row": row,
            "wrong": problem.wrong,
            **tested(found, settings, problem),
        }

    place = work / str(number) / name.replace(" %", "").replace(" ", "-")
    folder = place / f"search-{row}"
    numbers = [VERSIONS[row]] if row in VERSIONS else []
    found: Row = kept(place / f"{row.replace(' ', '-')}.json", key_of(settings, row, *numbers), made)
    return found


def estimated(settings: EvolveSettings) -> float:
    """The share of wrong labels as ``lossmith probe`` estimates it and tells it to the shipped loss."""
    seen = seen_samples(open_source(settings.data.source, settings.data), settings.data)
    sizes = dict.fromkeys(("train_size", "validation_size"))
    plain = changed(settings, data={"noise": "symmetric", "label_noise": 0.0, **sizes})
    found = find_suspects(plain, seen, folds=FOLDS, networks=1, seed=settings.search.seed)
    return told_share(wrong_labels(found.beliefs.last, found.folds.labels.numpy()))


def all_rows(
    name: str, given: argparse.Namespace, first: int, settings: tuple[str, ...], rows: tuple[str, ...]
) -> list[Row]:
    """Cross-entropy and some rows, in some settings, of as many numbers as are asked for."""
    tell, places, found = teller(name), tuple(given.places.items()), list[Row]()
    with processes(given.workers) as pool:
        for number in range(first, first + given.searches):
            # Cross-entropy first: the others take its rate.
            for part in ((REFERENCE,), rows):
                calls = [(setting, number, row, places, given.work) for setting in settings for row in part]
                found += each(pool, compared, calls)
            tell(f"number {number}")
    return found


def searched(settings: EvolveSettings, folder: Path) -> Row:
    """What a search finds, and what it cost."""
    loss = evolved(settings, folder)
    with Study.load(folder, readonly=True) as study:
        counts = study.counts()
        again = sum(len(row["scores"]) for row in study.store.finalists("final"))
    trainings = counts["trainings"] + again
    return {"loss": loss.to_json(), "lr": settings.recipe.lr, "strength": loss.formula(), "trainings": trainings}


def key_of(settings: EvolveSettings, row: str, *more: object) -> str:
    """What identifies a part, wherever its data lies."""
    document = settings.model_dump(mode="json")
    for part in ("source", "noise"):
        document["data"][part] = Path(document["data"][part]).name
    return digest_of(" ".join(map(str, (document, row, *more, torch.__version__))))
