"""Do losses that were found for one job help in another? A matrix of sources and targets, and larger targets.

    python experiments/transfer.py results/transfer --mnist mnist.npz --cifar10 cifar10.npz --cifar10n cifar10n.npz

The sources are the searches of the space ``residual`` of ``experiments/noisy.py``, whose kept runs are read
(``results/noisy``): six settings with three numbers each; and the shipped loss. The targets are the same six settings,
and three larger ones: CIFAR-10 with symmetric noise of 40 % and four times as many images, three times as many epochs,
or a network of 512 instead of 64 hidden units. A loss of a number is trained on the target of the same number, with
three networks of the seeds "transfer", and with the rate of tuned cross-entropy there: that of ``noisy.py``, or of the
larger targets the best of six, a factor 2 apart, on the noisy validation labels. Nothing else is tuned. The figure is
the test accuracy less that of cross-entropy's three networks.

Written down before the run. (1) In its own setting a loss gains on cross-entropy; (2) it gains more there than losses
of the other settings do; (3) what was found on CIFAR-10 with symmetric noise of 40 % gains in the mean over the three
larger targets; (4) so does the shipped loss, told the true share. One-tailed, Holm over the four. (1) and (2) are means
over the six settings with the tests of ``noisy.py``: values are of a number and data set; the others of (2) are the
mean over five sources. (3) and (4) are t-tests of three numbers, each the mean over the larger targets.

The estimate: 650 trainings of 0.1 to 4 s, 17 minutes of CPU time.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from evidence import ends_of, markdown, spread, stratified, word_of
from jobs import halved
from networks import scores, seeds_of, trained
from noisy_runs import DATA, REFERENCE, SETTINGS, key_of, settings_of
from program import changed, each, kept, kept_program, processes
from versions import FIRST, version

from lossmith.io import read_json
from lossmith.losses import Loss, cross_entropy
from lossmith.metrics import Difference, holm
from lossmith.study import EvolveSettings, Problem

RUNS = Path("results/noisy/runs.json")
NETWORKS, RATES = 3, range(-4, 2)
SPACE, SHIPPED, ORIGIN = "residual", "the shipped loss", "CIFAR-10 symmetric 40 %"
LARGER: dict[str, dict[str, dict[str, Any]]] = {
    "4 × as many images": {"data": {"train_size": 8000}},
    "3 × as long": {"recipe": {"epochs": 36}},
    "8 × as wide": {"model": {"hidden": [512]}},
}
Row = dict[str, Any]


def target_of(name: str, number: int, places: Mapping[str, str], work: Path) -> EvolveSettings:
    """The settings of a target."""
    if name in LARGER:
        return changed(settings_of(ORIGIN, number, dict(places), work), **LARGER[name])
    return settings_of(name, number, dict(places), work)


def rate_of(problem: Problem, settings: EvolveSettings) -> float:
    """The rate at which cross-entropy is best on the noisy validation labels."""
    found = dict[float, float]()
    for place in RATES:
        recipe = settings.recipe.model_copy(update={"lr": settings.recipe.lr * 2.0**place})
        seeds = seeds_of(settings.search.seed, "rate", 1)
        networks = trained(problem.task, [cross_entropy()], seeds, recipe, settings.run.training)
        found[recipe.lr] = float(np.mean(scores(networks, problem.validation)))
    return max(found, key=found.__getitem__)


def moved(
    target: str, number: int, losses: dict[str, Row], lr: float | None, places: dict[str, str], work: Path
) -> list[Row]:
    """The test accuracies of the networks of each loss, of cross-entropy first, on a target."""
    settings = target_of(target, number, places, work)

    def made() -> list[Row]:
        problem = Problem.open(settings)
        rate = rate_of(problem, settings) if lr is None else lr
        recipe = settings.recipe.model_copy(update={"lr": rate})
        wrong = SETTINGS[ORIGIN if target in LARGER else target][2]
        given: dict[str, Loss] = {REFERENCE: cross_entropy(), SHIPPED: version(FIRST, wrong, problem.classes)}
        given |= {source: Loss.from_json(document) for source, document in losses.items()}
        test, seeds = problem.test(), seeds_of(number, "transfer", NETWORKS)
        return [
            {
                "target": target,
                "number": number,
                "source": source,
                "lr": rate,
                "test": scores(trained(problem.task, [loss], seeds, recipe, settings.run.training), test),
            }
            for source, loss in given.items()
        ]

    key = key_of(settings, target, losses, lr, FIRST)
    found: list[Row] = kept(work / f"{target.replace(' ', '-')}-{number}.json", key, made)
    return found


class Gains:
    """The gains of every source in every target, by number.

    Args:
        rows: What was kept.
    """

    def __init__(self, rows: list[Row]) -> None:
        self.numbers = sorted({row["number"] for row in rows})
        self.means = {(row["target"], row["source"], row["number"]): float(np.mean(row["test"])) for row in rows}

    def __call__(self, target: str, source: str) -> list[float]:
        """The gains on cross-entropy, one for each number."""
        return [self.means[target, source, n] - self.means[target, REFERENCE, n] for n in self.numbers]

    def plain(self, target: str) -> float:
        """Cross-entropy's mean accuracy."""
        return float(np.mean([self.means[target, REFERENCE, n] for n in self.numbers]))

    def cell(self, target: str, source: str) -> str:
        """A cell of the matrix: the mean gain in points with its t interval."""
        if (target, source, self.numbers[0]) not in self.means:
            return ""
        values = self(target, source)
        return f"{100 * float(np.mean(values)):+.1f} {spread(ends_of(values), digits=1)}"


def by_data(values: Mapping[str, Any]) -> Difference:
    """The mean over the settings of values ``[numbers]`` of each, with the data sets as groups."""
    groups = dict[str, list[Any]]()
    for name, own in values.items():
        groups.setdefault(SETTINGS[name][0], []).append(own)
    means = [np.mean(rows, axis=0).tolist() for rows in groups.values()]
    return stratified(means, [len(rows) for rows in groups.values()])


def in_larger(gains: Gains, source: str) -> Difference:
    """The mean gain over the larger targets."""
    return stratified([np.mean([gains(target, source) for target in LARGER], axis=0).tolist()], [1])


def page(document: Mapping[str, Any]) -> list[str]:
    """The outcome as Markdown."""
    gains = Gains(document["runs"])
    own = {target: np.array(gains(target, target)) for target in SETTINGS}
    others = {
        target: np.mean([gains(target, source) for source in SETTINGS if source != target], axis=0)
        for target in SETTINGS
    }
    found = {
        "(1) in its own setting a loss gains on cross-entropy": by_data(own),
        "(2) it gains more there than losses of other settings": by_data(
            {name: own[name] - others[name] for name in own}
        ),
        f"(3) what was found on {ORIGIN} gains in larger targets": in_larger(gains, ORIGIN),
        "(4) the shipped loss gains in larger targets": in_larger(gains, SHIPPED),
    }
    rows = [
        (
            sentence,
            f"{100 * one.difference:+.2f}",
            spread((one.low, one.high)),
            f"{one.p:.2g}",
            f"{adjusted:.2g}",
            word_of(adjusted, one.high),
        )
        for (sentence, one), adjusted in zip(found.items(), holm([one.p for one in found.values()]), strict=True)
    ]
    targets, sources = [*SETTINGS, *LARGER], [*SETTINGS, SHIPPED]
    matrix = [(source, *(gains.cell(target, source) for target in targets)) for source in sources]
    plain = [f"{100 * gains.plain(target):.1f}" for target in targets]
    return [
        "# Transfer: losses found in one setting, used in others and in larger ones",
        "",
        f"Made by `{document['command']}`, PyTorch {document['versions']['torch']}. What is done and the claims,",
        "written down before the run, stand at the head of",
        "[`experiments/transfer.py`](../../experiments/transfer.py). Every figure: [`runs.json`](runs.json).",
        "",
        *markdown(["claim", "points", "95 % interval", "p", "Holm", "verdict"], rows),
        "",
        f"Points of test accuracy over cross-entropy; n = {len(gains.numbers)} numbers in each setting.",
        "",
        *markdown(["found on", *targets], [*matrix, ("cross-entropy, %", *plain)]),
        "",
        "Gain on cross-entropy in points, the mean over the numbers with its 95 % t interval. The last columns are",
        f"larger versions of {ORIGIN}.",
    ]


def found(given: argparse.Namespace) -> dict[str, Any]:
    """Every loss on every target."""
    halved(given.places["cifar10"], given.work)
    kept_runs = read_json(RUNS)["runs"]
    by = {(row["setting"], row["number"], row["row"]): row for row in kept_runs}
    calls = list[tuple[Any, ...]]()
    for number in sorted({row["number"] for row in kept_runs}):
        losses, more = {source: by[source, number, SPACE]["loss"] for source in SETTINGS}, (given.places, given.work)
        calls += [(name, number, losses, by[name, number, REFERENCE]["lr"], *more) for name in SETTINGS]
        calls += [(name, number, losses, None, *more) for name in LARGER]
    with processes(given.workers) as pool:
        return {"runs": [row for rows in each(pool, moved, calls) for row in rows]}


if __name__ == "__main__":
    assert __doc__ is not None
    kept_program(__doc__, "transfer", DATA, None, found, page)
