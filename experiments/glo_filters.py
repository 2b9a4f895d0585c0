"""What the candidates of a search do to samples, and how often the filters of the engine genetic were wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lossmith.losses import Loss, baikal
from lossmith.metrics import accuracy
from lossmith.search import Genome, build_engine, signature
from lossmith.seeds import derive
from lossmith.study import EvolveSettings, Problem, Study
from lossmith.theory import attraction
from lossmith.training import Trainer, repeated

# Errors ε at which attraction is looked at, ascending; formulas of each filter that are trained; who has children.
EPSILONS, SAMPLE, PARENTS = tuple(np.geomspace(1e-3, 0.89, 60).tolist()), 16, 24
# What counts as the same direction of the gradient, as the archive of the engine has it.
TOLERANCE = 1e-6
# Baikal repels below ε = 1 − 1/√n.
HALF = 0.5


def behaviors(study: Study, winner: Loss) -> dict[str, Any]:
    """Up to which error the candidates and the winner repel what the network believes, and how near Baikal is.

    Args:
        study: An ended search.
        winner: Its best loss.
    """
    rows = [row for row in study.candidates() if row["fitness"] is not None]
    losses = [study.loss_of(row) for row in rows]
    wanted = signature(baikal(), study.classes)
    assert wanted is not None
    ends = [repelled(loss, study.classes) for loss in losses]
    near = [
        float(np.abs(found[:-1] - wanted[:-1]).max())
        for loss in losses
        if (found := signature(loss.at(1.0), study.classes)) is not None
    ]
    return {
        "repelling": sum(end > 0 for end in ends),
        "repelling_half": sum(end >= HALF for end in ends),
        "winner_repels": round(repelled(winner, study.classes), 3),
        "baikal": min(near),
        "baikal_found": sum(one < TOLERANCE for one in near),
    }


def repelled(loss: Loss, classes: int) -> float:
    """The largest ε below which a loss repels everywhere, at the end of the training; 0 where it attracts first."""
    signs = torch.sign(attraction(loss.at(1.0), EPSILONS, classes)).tolist()
    end = next((k for k, sign in enumerate(signs) if sign >= 0), len(signs))
    return EPSILONS[end - 1] if end else 0.0


def judged_filters(study: Study, settings: EvolveSettings) -> dict[str, Any]:
    """A sample of what each filter rejected, trained as candidates are.

    Args:
        study: An ended search by the engine genetic.
        settings: Its settings.
    """
    rejected, stored = replayed(study)
    fitness, trained = fitness_of(study), trainer_of(study, settings)
    worth = fitness[:PARENTS][-1]
    source, told = random.Random(settings.search.seed), dict[str, Any]()
    for why, genomes in sorted(rejected.items()):
        able = [genome for genome in genomes if study.space.holds(genome)]
        sample = source.sample(able, min(SAMPLE, len(able)))
        if not sample:
            continue
        scores = trained(sample)
        told[why] = {
            "rejected": len(genomes),
            "no formula": len(genomes) - len(able),
            "fitness": [round(score, 6) for score in scores],
            "wrong": sum(score >= worth for score in scores),
        }
        if why == "equivalent":
            twins = trained([twin(study, genome, stored) for genome in sample])
            told[why]["twins"] = [round(score, 6) for score in twins]
    return {"worth": worth, "best": fitness[0], "by": told}


def fitness_of(study: Study) -> list[float]:
    """That of the candidates, the best first."""
    return sorted((row["fitness"] for row in study.candidates() if row["fitness"] is not None), reverse=True)


def trainer_of(study: Study, settings: EvolveSettings) -> Callable[[Sequence[Genome]], list[float]]:
    """What trains genomes with the seeds of the first generation, and gives the validation accuracy of each."""
    problem, count = Problem.open(settings), settings.run.replicates
    trainer, (inputs, targets) = Trainer(problem.task), problem.validation
    seeds = [derive(settings.search.seed, "search", 0, replicate) for replicate in range(count)]

    def trained(genomes: Sequence[Genome]) -> list[float]:
        losses = study.space.build(list(genomes), study.classes)
        found = trainer.train(repeated(losses, count), seeds * len(genomes), settings.recipe)
        right = torch.where(found.diverged, 0.0, accuracy(found.networks.logits(inputs), targets))
        means: list[float] = right.view(len(genomes), count).mean(1).tolist()
        return means

    return trained


def control(study: Study, settings: EvolveSettings) -> dict[str, Any]:
    """As many candidates that the filters let pass, trained as those that they rejected: how many would have children.

    Asked for after a review, when the run was under way: without it, a share of the rejected has nothing beside it.

    Args:
        study: An ended search by the engine genetic.
        settings: Its settings.
    """
    rows = study.candidates()
    sample = random.Random(settings.search.seed).sample([row["genome"] for row in rows], min(SAMPLE, len(rows)))
    scores, worth = trainer_of(study, settings)(sample), fitness_of(study)[:PARENTS][-1]
    return {"fitness": [round(score, 6) for score in scores], "children": sum(score >= worth for score in scores)}


def replayed(study: Study) -> tuple[dict[str, list[Genome]], list[tuple[Genome, NDArray[np.float64]]]]:
    """What the filters rejected, by the reason, and the candidates with their signatures."""
    engine = build_engine(study.space, study.search)
    engine.classes = study.classes
    rejected, stored = dict[str, list[Genome]](), list[tuple[Genome, NDArray[np.float64]]]()
    rows = study.candidates()
    for generation in range(study.search.generations):
        engine.ask(lambda _: True)
        for why, genomes in engine.rejected.items():
            rejected.setdefault(why, []).extend(genomes)
        told = [row for row in rows if row["generation"] == generation]
        engine.tell([row["genome"] for row in told], [row["fitness"] for row in told])
        for row in told:
            found = signature(study.loss_of(row), study.classes)
            if found is not None:
                stored.append((row["genome"], found))
    return rejected, stored


def twin(study: Study, genome: Genome, stored: list[tuple[Genome, NDArray[np.float64]]]) -> Genome:
    """The candidate whose gradient a formula has."""
    found = signature(study.space.build([genome], study.classes)[0], study.classes)
    assert found is not None
    return min(stored, key=lambda one: float(np.abs(one[1] - found).max()))[0]
