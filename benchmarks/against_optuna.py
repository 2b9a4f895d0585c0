"""A whole search against what a user would take instead: Optuna's CMA-ES around the ordinary PyTorch loop.

    python benchmarks/against_optuna.py [--model mlp] [--pairs 3] [--quick] [--indexed] [--device cuda]

Digits with 40 % of the training and validation labels replaced (the demo's job). Both sides search the five residual
coordinates from cross-entropy with step size 0.5, by CMA-ES of the same population, and train the same networks as
often, as long, on the same samples; fitness is the mean validation accuracy of a candidate's networks. Optuna wants
bounds, which are ten step sizes either way, and draws its first trial apart from CMA-ES: it is given the start. It
trains by `benchmarks/ordinary.py`. lossmith is `lossmith.study.evolve` as a user calls it, with its database, its
choice of the way of training and its default everything but the invariant "none", so that it trains every candidate
as Optuna does. Both times begin before the data is opened.

Told are pairs of whole searches, run in turn, each side with the number of threads that suits it best in a short search
beforehand. Told besides is the same against the ordinary loop without a ``DataLoader`` (``indexed``): in each round
both loops train some networks in turn, and Optuna's time is scaled by the quotient of their times (which flatters it a
little, since what is no training is scaled, too); with ``--indexed`` Optuna searches with that loop as well, in full,
and its own time is told.

lossmith's finalists (which Optuna has no counterpart of) are left out of the time of the search, and told apart as
``with finalists``. A search with lossmith's default invariant says what rejecting candidates saves besides. At last the
test accuracy of each result, ten networks each trained by the ordinary loop: of Optuna's best trial; of lossmith's best
candidate and mean, chosen without finalists, too; and of what lossmith hands over after its finalists.
"""

import argparse
import statistics
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from machine import add_device, compared, ranged, say, seconds, with_threads, write
from ordinary import ResidualLoss, Samples, accuracy, fit
from torch import Tensor, nn

from lossmith.data import DataSettings, Normalize
from lossmith.losses import Criterion, Loss
from lossmith.nets import ModelSettings
from lossmith.search import SearchSettings
from lossmith.seeds import derive
from lossmith.study import EvolveSettings, Problem, Progress, RunSettings, Study, evolve
from lossmith.training import Recipe

START, STEP, BOUND = 0.0, 0.5, 5.0
NAMES = ("x0", "x1", "x2", "x3", "x4")


@dataclass(frozen=True)
class Ended:
    """A search that has ended.

    Args:
        seconds: Time of the search.
        networks: Networks that it trained.
        results: What it found, by name: the point or the loss.
        whole: Time with the finalists, where there are any.
        rejected: Candidates that were not trained.
    """

    seconds: float
    networks: int
    results: dict[str, tuple[float, ...] | Loss]
    whole: float | None = None
    rejected: int = 0


class Prepared:
    """The data of a job as the ordinary loop wants it: normalised beforehand, in float32."""

    def __init__(self, settings: EvolveSettings, indexed: bool = False) -> None:
        job = Problem.open(settings)
        self.job, self.recipe = job, settings.recipe
        normalize = job.task.build(0).get_submodule("0")
        assert isinstance(normalize, Normalize)
        self.train = Samples.of(normalize(job.task.inputs), job.task.targets, indexed)
        self.validation = (normalize(job.validation[0]), job.validation[1])
        self._normalize = normalize

    def network(self, loss: nn.Module, seed: int) -> nn.Module:
        """A network trained by the ordinary loop."""
        network = self.job.task.build(seed).get_submodule("1")
        recipe = self.recipe
        batches = self.train.batches(recipe.batch_size, seed, pinned=self.job.task.device.type == "cuda")
        fit(network, batches, loss, recipe.lr, recipe.momentum, recipe.epochs)
        return network

    def test(self) -> tuple[Tensor, Tensor]:
        """Normalised test inputs and their labels."""
        inputs, targets = self.job.test()
        return self._normalize(inputs), targets


def by_optuna(settings: EvolveSettings, indexed: bool = False) -> Ended:
    """The search with Optuna's CmaEsSampler and an ordinary loop."""
    started = time.perf_counter()
    prepared, search = Prepared(settings, indexed), settings.search
    seeds = [derive(search.seed, "optuna", number) for number in range(settings.run.replicates)]

    def objective(trial: optuna.Trial) -> float:
        point = [trial.suggest_float(name, START - BOUND, START + BOUND) for name in NAMES]
        loss = ResidualLoss(*point)
        return statistics.mean(accuracy(prepared.network(loss, seed), *prepared.validation) for seed in seeds)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        # Optuna 5 warns that `sigma0` will go; without it the step size hangs on the bounds.
        warnings.simplefilter("ignore", FutureWarning)
        sampler = optuna.samplers.CmaEsSampler(
            sigma0=STEP / (2 * BOUND), popsize=search.population, seed=derive(search.seed, "optuna") % 2**31
        )
    study = optuna.create_study(sampler=sampler, direction="maximize")
    study.enqueue_trial(dict.fromkeys(NAMES, START))
    trials = search.population * search.generations
    study.optimize(objective, n_trials=trials)
    found = tuple(float(study.best_params[name]) for name in NAMES)
    return Ended(time.perf_counter() - started, trials * len(seeds), {"Optuna, best trial": found})


class _SearchOver(Exception):
    """Ends a study after its search."""


def by_lossmith(settings: EvolveSettings, finalists: bool = False) -> Ended:
    """The search with lossmith, and the finalists too where they are asked for."""
    ended: list[float] = []

    def report(progress: Progress) -> None:
        if progress.phase == "smoothing" and not ended:
            ended.append(time.perf_counter() - started)
            if not finalists:
                raise _SearchOver

    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        results: dict[str, tuple[float, ...] | Loss] = {}
        try:
            results["lossmith, after finalists"] = evolve(folder, settings, report=report).loss
        except _SearchOver:
            results.clear()
        whole = time.perf_counter() - started
        job = Problem.open(settings)
        document = {**settings.model_dump(mode="json"), "digest": job.digest}
        with Study(folder, job.classes, settings.search, document=document) as study:
            counts = study.counts()
            results |= {"lossmith, best candidate": tuple(study.best().genome)}
            results |= {"lossmith, mean": tuple(study.mean_genome or ())}
    return Ended(ended[0], counts["trainings"], results, whole if finalists else None, counts["untrainable"])


def network_seconds(settings: EvolveSettings, networks: int = 5) -> tuple[list[float], list[float]]:
    """Seconds of some networks that the two ordinary loops train and judge in turn, with a ``DataLoader`` and indexed.

    The first of each, in which PyTorch loads what it needs, is not told.
    """
    loops = [Prepared(settings, indexed) for indexed in (False, True)]
    times: list[list[float]] = [[], []]
    for seed in range(networks + 1):
        for taken, loop in zip(times, loops, strict=True):

            def work(loop: Prepared = loop, seed: int = seed) -> None:
                accuracy(loop.network(ResidualLoss(0.4, -0.3, 0.2, 0.3, -0.2), seed), *loop.validation)

            taken.append(seconds(work, loop.job.task.device))
    return times[0][1:], times[1][1:]


def judged(settings: EvolveSettings, result: tuple[float, ...] | Loss, networks: int) -> list[float]:
    """Test accuracy of fresh networks trained with a result by the ordinary loop."""
    prepared = Prepared(settings)
    loss = Criterion(result) if isinstance(result, Loss) else ResidualLoss(*result)
    seeds = [derive(settings.search.seed, "against optuna", number) for number in range(networks)]
    return [accuracy(prepared.network(loss, seed), *prepared.test()) for seed in seeds]


def best_threads(counts: list[int], settings: EvolveSettings) -> dict[str, dict[int, float]]:
    """Seconds of a short search of each side with each number of threads."""
    short = settings.model_copy(update={"search": settings.search.model_copy(update={"generations": 2})})
    return {
        name: with_threads(counts, lambda side=side: side(short).seconds)  # type: ignore[misc]
        for name, side in (("optuna", by_optuna), ("lossmith", by_lossmith))
    }


def measured(
    settings: EvolveSettings, pairs: int, threads: list[int], networks: int, indexed: bool = False
) -> dict[str, Any]:
    """Pairs of searches, what the invariant saves, and the accuracy of what was found."""
    tried = best_threads(threads, settings)
    best = {name: min(found, key=found.__getitem__) for name, found in tried.items()}
    optunas, lossmiths, quicker = list[Ended](), list[Ended](), list[Ended]()
    by_loader, by_index = list[float](), list[float]()
    accuracies: dict[str, list[list[float]]] = {}
    for number in range(pairs):
        seeded = _with_search(settings, seed=settings.search.seed + number)
        torch.set_num_threads(best["optuna"])
        optunas.append(by_optuna(seeded))
        if indexed:
            quicker.append(by_optuna(seeded, indexed=True))
        for times, taken in zip((by_loader, by_index), network_seconds(seeded), strict=True):
            times.append(statistics.median(taken))
        torch.set_num_threads(best["lossmith"])
        lossmiths.append(by_lossmith(seeded, finalists=True))
        say(f"pair {number + 1} of {pairs}: {optunas[-1].seconds:.1f} s, {lossmiths[-1].seconds:.1f} s")
        for name, result in (optunas[-1].results | lossmiths[-1].results).items():
            accuracies.setdefault(name, []).append(judged(seeded, result, networks))
    saving = by_lossmith(_with_search(settings, invariant="exact"))
    both = {one.networks for one in (*optunas, *quicker, *lossmiths)}
    if len(both) > 1:
        raise SystemExit(f"the sides trained different numbers of networks: {sorted(both)}")
    slow, fast = [one.seconds for one in optunas], [one.seconds for one in lossmiths]
    loops = compared(by_loader, by_index)
    scaled = [taken / quotient for taken, quotient in zip(slow, loops["quotients"], strict=True)]
    return {
        "networks": both.pop(),
        "threads": best,
        "short_search_by_threads": tried,
        "search": compared(slow, fast),
        "with_finalists": compared(slow, [one.whole or one.seconds for one in lossmiths]),
        "network_by_loader_against_indexed": loops,
        "search_indexed_scaled": compared(scaled, fast),
        **({"search_indexed": compared([one.seconds for one in quicker], fast)} if indexed else {}),
        "invariant_exact": {"seconds": saving.seconds, "networks": saving.networks, "rejected": saving.rejected},
        "test_accuracy": accuracies,
    }


def _with_search(settings: EvolveSettings, **changes: Any) -> EvolveSettings:
    return settings.model_copy(update={"search": settings.search.model_copy(update=changes)})


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mlp")
    parser.add_argument("--population", type=int, default=16)
    parser.add_argument("--generations", type=int, default=20)
    parser.add_argument("--replicates", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--train-size", type=int, default=800)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--indexed", action="store_true", help="search with the indexed loop in full as well")
    parser.add_argument("--networks", type=int, default=10, help="networks that judge each result")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads that are tried")
    parser.add_argument("--quick", action="store_true", help="two pairs of searches of four generations")
    parser.add_argument("--out", type=Path)
    add_device(parser)
    given = parser.parse_args(arguments)
    settings = EvolveSettings(
        data=DataSettings(train_size=given.train_size, label_noise=0.4, noise="uniform"),
        model=ModelSettings(name=given.model),
        recipe=Recipe(lr=0.05, batch_size=50, epochs=given.epochs),
        search=SearchSettings(
            population=given.population,
            generations=4 if given.quick else given.generations,
            sigma=STEP,
            invariant="none",
        ),
        run=RunSettings(replicates=given.replicates, tune=False, device=str(given.device)),
    )
    found = measured(settings, 2 if given.quick else given.pairs, given.threads, given.networks, given.indexed)
    search = found["search"]
    print(f"{found['networks']} networks a search; Optuna and the ordinary loop against lossmith, both searching:")
    print(f"    {ranged(search)}: {np.median(search['first']):.1f} s, {np.median(search['second']):.1f} s")
    print(f"    {ranged(found['search_indexed_scaled'])} against the indexed loop, Optuna's time scaled, not measured:")
    print(
        f"        a network by DataLoader against one indexed is {ranged(found['network_by_loader_against_indexed'])}"
    )
    if given.indexed:
        print(f"    {ranged(found['search_indexed'])} against the indexed loop, measured in whole searches")
    print(f"    {ranged(found['with_finalists'])} where lossmith trains its finalists besides")
    saving = found["invariant_exact"]
    print(f"lossmith, invariant exact: {saving['rejected']} candidates rejected, {saving['seconds']:.1f} s")
    for name, scores in found["test_accuracy"].items():
        means = [statistics.mean(one) for one in scores]
        print(f"{name:26} test accuracy {statistics.mean(means):.4f} ({min(means):.4f}–{max(means):.4f})")
    document = {"settings": settings.model_dump(mode="json"), "optuna": optuna.__version__, **found}
    write("against-optuna", document, given.out, given.device)


if __name__ == "__main__":
    main()
