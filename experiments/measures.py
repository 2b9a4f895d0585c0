"""What measures against noisy fitness and a wrong learning rate are worth, over several searches at equal trainings.

    python experiments/measures.py experiments/uniform-digits.toml results/measures --searches 10

Every variant of the search runs on every search seed, split and label noise, and may train 960 networks. Its best five
losses, by the fitness that the variant knows, and its mean are tuned in learning rate and trained again; who wins is
decided on validation data, and 30 fresh networks of the winner are tested. The searches are numbered from 10: those
that results/noisy-digits tells of are 0 to 4. Every run is kept; stopped and run again, it goes on.

Written down when a third of the runs had ended: a measure is kept if its gain of mean test accuracy over the search as
it was is above 0 with p < 0.05 (paired t-test, one-tailed; unit: a search), or if it makes the worst of the 30 networks
better in that sense and costs no more than 0.1 points of the mean. The estimate: 100 searches of 55 s on one core, 1.5
hours.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from evidence import percent
from measures_page import page
from program import changed, digest_of, kept, study_file, told_again
from scipy.stats import spearmanr

from lossmith.analysis import Axis, Grid, Setting, Tuner, baselines
from lossmith.io import write_json
from lossmith.losses import Loss, PowerLoss, cross_entropy
from lossmith.metrics import accuracy
from lossmith.search import SearchSettings
from lossmith.seeds import derive
from lossmith.study import EvolveSettings, Problem, Study
from lossmith.training import Recipe, Trainer, repeated

FIRST, TESTED, FRESH, TUNING = 10, 30, 10, 4
SWEEP, RATES = (-6, -4, -2, 0, 2), (-2, -1, 0, 1, 2)
COLLAPSED = 0.8
CENTRE = {"cross-entropy": (), "label smoothing + MAE": (0, 3)}


@dataclass(frozen=True)
class Variant:
    """A search.

    Args:
        name: In the table.
        seeds: Networks of each candidate.
        raced: How many more the best third of a generation gets.
        elites: How many of the best so far are measured again in each generation, each with ``again`` networks.
        again: Networks of each of these.
        penalty: By how many standard deviations a fitness is below the mean.
        patience: Generations without a better mean after which the search ends.
        swept: Whether the learning rate is that of the better of cross-entropy and label smoothing + MAE in a sweep.
        scale: Whether the scale of the loss is a coordinate.
        known: Whether the search begins with known losses, tuned.
    """

    name: str
    seeds: int = 3
    raced: int = 0
    elites: int = 0
    again: int = 0
    penalty: float = 0.0
    patience: int | None = None
    swept: bool = False
    scale: bool = False
    known: bool = False


VARIANTS = (
    Variant("as it was"),
    Variant("race", seeds=2, raced=3),
    Variant("elites", seeds=2, elites=5, again=3),
    Variant("penalty", penalty=1.0),
    Variant("race and penalty", seeds=2, raced=3, penalty=1.0),
    Variant("stop", patience=5),
    Variant("scale", scale=True),
    Variant("swept rate", swept=True),
    Variant("swept rate and scale", swept=True, scale=True),
    Variant("known losses first", swept=True, scale=True, known=True),
)
Scores = dict[tuple[int, int], list[float]]


class Bench:
    """Trains losses of one job and measures them on validation data.

    Args:
        settings: Of the job.
    """

    def __init__(self, settings: EvolveSettings) -> None:
        self.problem = Problem.open(settings)
        self.trainer, self.settings = Trainer(self.problem.task), settings
        self.trainings = 0

    def scores(self, losses: Sequence[Loss], recipe: Recipe, seeds: Sequence[int], test: bool = False) -> np.ndarray:
        """Accuracies ``[losses, seeds]``."""
        stack = repeated(Loss.stack(list(losses)), len(seeds))
        trained = self.trainer.train(stack, list(seeds) * len(losses), recipe)
        self.trainings += len(stack)
        inputs, targets = self.problem.test() if test else self.problem.validation
        return accuracy(trained.networks.logits(inputs), targets).numpy().reshape(len(losses), len(seeds))


def swept(bench: Bench, recipe: Recipe, number: int) -> float:
    """The rate of the better of two known losses."""
    families = {family.name: family for family in baselines()}
    losses = [
        families[name].build(families[name].strengths(place), bench.problem.classes) for name, place in CENTRE.items()
    ]
    seeds = [derive(number, "sweep", k) for k in range(3)]
    found = {place: bench.scores(losses, _at(recipe, place), seeds).mean(1).max() for place in SWEEP}
    return recipe.lr * 2.0 ** max(found, key=found.__getitem__)


def tuned_places(bench: Bench, study: Study, recipe: Recipe) -> list[list[float]]:
    """Points of the known losses that the space holds, tuned by climbing as a study does, the best first."""
    rates, classes = Axis("lr", lambda place: 2.0**place, -1, 1, -8, 8), bench.problem.classes
    middle = {family.name: tuple((axis.first + axis.last) // 2 for axis in family.axes) for family in baselines()}
    families = {
        family.name: family
        for family in baselines()
        if study.space.place(family.build(family.strengths(middle[family.name]), classes), classes) is not None
    }

    def loss(setting: Setting) -> PowerLoss:
        family = families[setting.name]
        found = family.build(family.strengths(setting.place[:-1]), classes)
        assert isinstance(found, PowerLoss)
        return found * rates.value(setting.place[-1])

    def measure(wanted: Sequence[Setting]) -> dict[Setting, list[float]]:
        rows = bench.scores([loss(setting) for setting in wanted], recipe, _seeds(study.search.seed, "known", 3))
        return dict(zip(wanted, rows.tolist(), strict=True))

    grids = [
        Grid(
            name,
            (
                *(
                    replace(axis, first=place, last=place)
                    for axis, place in zip(family.axes, middle[name], strict=True)
                ),
                rates,
            ),
        )
        for name, family in families.items()
    ]
    tuner = Tuner[list[float]](grids)
    tried = tuner.search(measure)
    best = [tuner.ranked(tried, name)[0] for name in families]
    best.sort(key=lambda setting: -float(np.mean(tried[setting])))
    places = [study.space.place(loss(setting), classes) for setting in best]
    return [place[0] for place in places if place is not None]


def searched(bench: Bench, variant: Variant, search: SearchSettings, recipe: Recipe, folder: Path) -> dict[str, Any]:
    """The search of a variant: its best five losses and its mean, and what their fitness was worth."""
    known, best, since = Scores(), -np.inf, 0
    losses: dict[tuple[int, int], Loss] = {}

    def fitness(key: tuple[int, int]) -> float:
        values = np.array(known[key])
        return float(values.mean() - variant.penalty * (values.std(ddof=1) if len(values) > 1 else 0.0))

    def more(keys: Sequence[tuple[int, int]], count: int, what: str) -> None:
        if keys and count:
            seeds = [derive(search.seed, what, study.generation, k) for k in range(count)]
            for key, row in zip(keys, bench.scores([losses[key] for key in keys], recipe, seeds), strict=True):
                known.setdefault(key, []).extend(row.tolist())

    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*"):
        old.unlink()
    with Study(folder, bench.problem.classes, search) as study:
        if variant.known:
            study.begin_with(tuned_places(bench, study, recipe))
        while not study.finished:
            waiting = study.pending()
            if not waiting:
                break
            keys = [(candidate.generation, candidate.member) for candidate in waiting]
            losses |= {key: candidate.loss for key, candidate in zip(keys, waiting, strict=True)}
            more(keys, variant.seeds, "search")
            if variant.raced:
                more(sorted(keys, key=fitness, reverse=True)[: len(keys) // 3], variant.raced, "race")
            if variant.elites:
                more(sorted(known, key=fitness)[-variant.elites :], variant.again, "elites")
            mean = float(np.median([fitness(key) for key in keys]))
            best, since = (mean, 0) if mean > best else (best, since + 1)
            for key, candidate in zip(keys, waiting, strict=True):
                study.tell(candidate, fitness(key))
            if variant.patience is not None and since >= variant.patience:
                break
        top = sorted(known, key=fitness, reverse=True)
        orders = top[:5] + top[5 :: max(1, len(top) // 15)][:15]
        found = [losses[key] for key in top[:5]] + ([study.mean] if study.mean is not None else [])
        trainings = bench.trainings
        # How well the stored fitness orders candidates, and how often their networks collapse.
        again = bench.scores(
            [losses[key] for key in orders], recipe, [derive(search.seed, "order", k) for k in range(8)]
        )
        late = [key for key in known if key[0] >= study.generation // 2]
        values = [value for key in late for value in known[key]]
        low = 0.5 * max(np.mean(known[key]) for key in late)
        return {
            "losses": [loss.to_json() for loss in found],
            "generations": study.generation,
            "trainings": trainings,
            "spearman": float(spearmanr([fitness(key) for key in orders], again.mean(1)).statistic),
            "collapsed": float(np.mean(np.array(values) < low)),
            "candidates with one": float(np.mean([min(known[key]) < low for key in late])),
        }


def one(file: Path, variant: Variant, number: int, work: Path) -> dict[str, Any]:
    """A search of a variant, its winner, and the test of it."""
    settings = changed(study_file(file), data={"split_seed": number, "noise_seed": number}, search={"seed": number})
    settings = changed(settings, search={"scale": variant.scale})
    bench = Bench(settings)
    recipe = settings.recipe
    if variant.swept:
        recipe = recipe.model_copy(update={"lr": swept(bench, recipe, number)})
    bench.trainings = 0
    found = searched(bench, variant, settings.search, recipe, work / variant.name.replace(" ", "-") / str(number))
    losses = [Loss.from_json(loss) for loss in found.pop("losses")] + [cross_entropy()]
    tuning = {
        place: bench.scores(losses, _at(recipe, place), _seeds(number, "tuning", TUNING)).mean(1) for place in RATES
    }
    rates = [max(RATES, key=lambda place: tuning[place][k]) for k in range(len(losses))]
    final = np.stack(
        [
            bench.scores([loss], _at(recipe, rate), _seeds(number, "final", FRESH))[0]
            for loss, rate in zip(losses, rates, strict=True)
        ]
    )
    chosen = {"mean": int(final.mean(1).argmax()), "mean and quantile": int(_careful(final).argmax())}
    tests = {
        place: bench.scores([losses[place]], _at(recipe, rates[place]), _seeds(number, "test", TESTED), test=True)[0]
        for place in set(chosen.values())
    }
    return {
        "variant": variant.name,
        "search": number,
        "lr": recipe.lr,
        "rates": rates,
        **found,
        "final": final.tolist(),
        "chosen": chosen,
        "test": {rule: tests[place].tolist() for rule, place in chosen.items()},
        "formula": losses[chosen["mean"]].formula(),
    }


def _careful(scores: np.ndarray) -> np.ndarray:
    """Half the mean and half the lower tenth."""
    careful: np.ndarray = (scores.mean(1) + np.quantile(scores, 0.1, axis=1)) / 2
    return careful


def _at(recipe: Recipe, place: int) -> Recipe:
    return recipe.model_copy(update={"lr": recipe.lr * 2.0**place})


def _seeds(number: int, purpose: str, count: int) -> list[int]:
    return [derive(number, purpose, k) for k in range(count)]


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path, help="study file of the job")
    parser.add_argument("target", type=Path, help="directory of the results")
    parser.add_argument("--searches", type=int, default=10)
    parser.add_argument("--only", nargs="*", help="run these variants, and write no table")
    parser.add_argument(
        "--work", type=Path, default=Path("experiments/work/measures"), help="directory of what is kept"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--again", action="store_true", help="write the page anew from the kept runs")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows = []
    for number in range(FIRST, FIRST + given.searches) if not given.again else ():
        for variant in VARIANTS:
            if given.only and variant.name not in given.only:
                continue
            place = given.work / variant.name.replace(" ", "-") / f"{number}.json"
            key = digest_of(json.dumps([str(variant), number, study_file(given.file).model_dump(mode="json")]))
            row = kept(place, key, partial(one, given.file, variant, number, given.work))
            rows.append(row)
            print(f"{variant.name}, search {number}: {percent(row['test']['mean'])}", flush=True)
    if given.only:
        return
    given.target.mkdir(parents=True, exist_ok=True)
    if not given.again:
        command = f"python experiments/measures.py {given.file} {given.target} --searches {given.searches}"
        write_json({"command": command, "runs": rows}, given.target / "runs.json")
    told_again(given.target, page)


if __name__ == "__main__":
    main()
