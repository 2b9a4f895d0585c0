"""How experiments/few.py finds a loss with few trainings: each method as a generator that asks for trainings.

A method yields what it wants to be trained, and is sent the validation accuracy of each; so the methods of one search
are trained together, in one program. What the trainability invariant rejects is no training, whoever asks for it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from lossmith.analysis import baselines
from lossmith.losses import Loss
from lossmith.search import Breakdown, SearchSettings, VectorSpace, build_engine, build_space
from lossmith.seeds import derive, generator
from lossmith.theory import is_trainable

if TYPE_CHECKING:
    import optuna

BUDGETS = (24, 48, 96)
REFERENCE = 320
BATCH, SHARED = 8, 16
BOX, SPREAD = 6.0, 2.0
RUNGS = (0.25, 0.5, 1.0)
GENERATIONS = {16: 20, 8: 24}
# Label smoothing + Σh² with α = 0.73 and the weight 2, and seven more that the space holds within the box.
START = ("label smoothing + Σh²", (1, 1))
KNOWN: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("cross-entropy", ()),
    ("label smoothing", (0,)),
    ("label smoothing", (1,)),
    ("PolyLoss-1, cross-entropy + ε MAE", (1,)),
    ("label smoothing + MAE", (0, 1)),
    ("label smoothing + MAE", (0, 2)),
    ("label smoothing + Σh²", (0, 1)),
    START,
)
RESIDUAL = "residual"


@dataclass(frozen=True)
class Wish:
    """A training that a method asks for.

    Args:
        loss: The loss.
        block: Number of the seed: trainings of one block share initial weights and batches.
        share: Share of the schedule.
        group: What is trained together, since it is made of the same terms.
    """

    loss: Loss
    block: int
    share: float = 1.0
    group: str = RESIDUAL


Wishes = Generator[list[Wish], list[float], None]
Method = Callable[[int, int, int], Wishes]


def space(classes: int, start: bool = False) -> VectorSpace:
    """The space residual, begun at cross-entropy or at the known loss."""
    plain = build_space(SearchSettings())
    assert isinstance(plain, VectorSpace)
    return replace(plain, start=tuple(point(*START, classes))) if start else plain


def known(name: str, place: tuple[int, ...], classes: int) -> Loss:
    """A loss of a baseline at some of its strengths."""
    (family,) = [family for family in baselines() if family.name == name]
    return family.build(family.strengths(place), classes)


def point(name: str, place: tuple[int, ...], classes: int) -> list[float]:
    """The point of it."""
    found = space(classes).place(known(name, place, classes), classes)
    assert found is not None
    genome: list[float] = found[0]
    return genome


def known_points(classes: int) -> list[list[float]]:
    """The points of the known losses that a search can begin with."""
    return [point(name, place, classes) for name, place in KNOWN]


def losses_of(points: Sequence[Sequence[float]], classes: int) -> list[Loss]:
    """The losses at points of the space."""
    stack = space(classes).build([list(one) for one in points], classes)
    return [stack[k] for k in range(len(points))]


def passes(loss: Loss, classes: int) -> bool:
    """Whether the invariant lets a loss train."""
    return bool(is_trainable(loss, classes))


def evolving(population: int, sigma: float | None = None, start: bool = False, first: bool = False) -> Method:
    """CMA-ES.

    Args:
        population: Its population.
        sigma: Its first step size; None for that of the space.
        start: Whether it begins at the known loss.
        first: Whether its first generation is known losses.
    """

    def method(number: int, classes: int, most: int) -> Wishes:
        settings = SearchSettings(population=population, sigma=sigma, seed=number)
        engine = build_engine(space(classes, start), settings)
        engine.first = known_points(classes) if first else ()
        trained = 0
        for generation in range(GENERATIONS[population]):
            try:
                points, _ = engine.ask(lambda _: True)
            except Breakdown:
                return
            losses = losses_of(points, classes)
            places = [k for k, loss in enumerate(losses) if passes(loss, classes)]
            block = generation * population // SHARED
            found = yield [Wish(losses[k], block) for k in places]
            fitness: list[float | None] = [None] * population
            for k, value in zip(places, found, strict=True):
                fitness[k] = value
            try:
                engine.tell(points, fitness)
            except Breakdown:
                return
            trained += len(places)
            if trained >= most:
                return

    return method


def sampling(kind: str, first: bool = False) -> Method:
    """A sampler of Optuna over the box, asked for eight at a time.

    Args:
        kind: Which.
        first: Whether the known losses are enqueued first.
    """

    def method(number: int, classes: int, most: int) -> Wishes:
        study, axes = box_study(kind, derive(number, "sampler"))
        for one in known_points(classes) if first else ():
            study.enqueue_trial(dict(zip(axes, one, strict=True)))
        for batch in range(most // BATCH):
            losses: list[Loss] = []
            trials: list[optuna.Trial] = []
            while len(trials) < BATCH:
                trial = study.ask(axes)
                (loss,) = losses_of([[trial.params[axis] for axis in axes]], classes)
                if passes(loss, classes):
                    trials.append(trial)
                    losses.append(loss)
                else:
                    # What does not train is right by chance.
                    study.tell(trial, 1 / classes)
            found = yield [Wish(loss, batch * BATCH // SHARED) for loss in losses]
            for trial, value in zip(trials, found, strict=True):
                study.tell(trial, value)

    return method


def box_study(kind: str, seed: int) -> tuple[optuna.Study, dict[str, optuna.distributions.BaseDistribution]]:
    """A study of Optuna over the box, and its axes; whoever does not sample needs no Optuna."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler: optuna.samplers.BaseSampler = (
            optuna.samplers.TPESampler(seed=seed, constant_liar=True)
            if kind == "TPE"
            else optuna.samplers.GPSampler(seed=seed)
        )
    box: optuna.distributions.BaseDistribution = optuna.distributions.FloatDistribution(-BOX, BOX)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    return study, {f"x{k}": box for k in range(5)}


def entrants(budget: int) -> int:
    """How many candidates successive halving begins with for so many trainings."""
    count = budget
    while cost(count + 1) <= budget:
        count += 1
    return count


def cost(count: int) -> float:
    """Trainings of successive halving that begins with so many candidates, each rung trained from the beginning."""
    return sum((share * (count // 4**rung) for rung, share in enumerate(RUNGS)), 0.0)


def halving(number: int, classes: int, most: int) -> Wishes:
    """Candidates about the known loss, of which each rung promotes the best quarter."""
    count, draws = entrants(most), generator(number, "halving", most)
    center = torch.tensor(point(*START, classes), dtype=torch.float64)
    losses = list[Loss]()
    while len(losses) < count:
        drawn = center + SPREAD * torch.randn(5, generator=draws, dtype=torch.float64)
        losses += [loss for loss in losses_of([drawn.tolist()], classes) if passes(loss, classes)]
    for rung, share in enumerate(RUNGS):
        losses = losses[: count // 4**rung]
        found = yield [Wish(loss, rung, share) for loss in losses]
        order = sorted(range(len(losses)), key=lambda k: -found[k])
        losses = [losses[k] for k in order]


def knowing(number: int, classes: int, most: int) -> Wishes:
    """No search: known losses, one of each baseline in turn, at strengths in random order."""
    draws = generator(number, "known losses")
    left = {}
    for family in baselines():
        places: list[tuple[int, ...]] = [()]
        for axis in family.axes:
            places = [(*place, k) for place in places for k in range(axis.first, axis.last + 1)]
        left[family] = [places[k] for k in torch.randperm(len(places), generator=draws).tolist()]
    wishes = list[Wish]()
    while len(wishes) < most and any(left.values()):
        for family in [list(left)[k] for k in torch.randperm(len(left), generator=draws).tolist()]:
            if left[family]:
                loss = family.build(family.strengths(left[family].pop()), classes)
                wishes.append(Wish(loss, len(wishes) // SHARED, group=family.name))
    yield wishes[:most]


METHODS: dict[str, Method] = {
    "CMA-ES 16": evolving(16),
    "CMA-ES 8": evolving(8, sigma=1.0),
    "CMA-ES 8 from the known loss": evolving(8, sigma=1.0, start=True),
    "CMA-ES 8, known losses first": evolving(8, sigma=1.0, first=True),
    "TPE": sampling("TPE"),
    "TPE, known losses first": sampling("TPE", first=True),
    "GP": sampling("GP"),
    "GP, known losses first": sampling("GP", first=True),
    "successive halving": halving,
    "no search": knowing,
}
