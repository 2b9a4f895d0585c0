"""What finds a good loss with 24, 48 or 96 trainings: small populations, known starts, samplers, halving, no search.

    python experiments/few.py results/few --mnist mnist.npz --searches 10

Every method of ``few_methods.py`` runs on the same splits, label noise and rates: the demo's digits with 40 % of the
labels replaced; 240 clean digits with its recipe; 400 samples of MNIST with 40 % of the labels replaced; and the clean
table of 12 classes. A candidate is one network. Of the first 24, 48 and 96 trainings of a method, the best three
candidates are trained again with three fresh seeds (nine trainings more for every method alike), and the best mean of
these is what it gives; ten fresh networks of that are tested. The reference is today's CMA-ES after 20 generations of
16. Optuna's samplers are asked for eight at a time, as a population of 8 is, over the box ±6 of the space residual; its
Gaussian process, whose fitting takes longer than these trainings, runs on noisy digits and the table up to 48.
Successive halving begins with as many candidates as the trainings allow, normal about the known loss with standard
deviation 2, and trains each rung from the beginning. "No search" takes the baselines in turn, at random strengths. The
searches are numbered from 100, which no other experiment has used.

Written down before the run. The unit is a search number, of which the mean over the four data sets counts; intervals
are 95 % t intervals of paired differences, not corrected. (1) At 48 trainings CMA-ES 8 from the known loss finds better
losses than CMA-ES 16. (2) At 48 trainings TPE over the blind box is no better than CMA-ES 8. (3) At 48 trainings the
best variant of CMA-ES is within half a point of the reference on each data set. (4) It is better than no search.

The rule: the default for small budgets becomes that variant of CMA-ES (8, from the known loss, known losses first)
whose mean gain over CMA-ES 16 at 48 trainings is highest, if its interval is above 0 and it loses no more than half a
point of the mean on any data set. If none passes, the default stays. A sampler, successive halving or no search that is
better than the chosen one with an interval above 0 is told on the page and is no default, since the samplers need
another library, and the others another kind of study.

The estimate: 1,500 trainings a search and data set, 0.006 to 0.037 s each on one core, and half a minute of fitting
Gaussian processes: two minutes a search, 22 minutes for ten.

Changed during the second search, since a busy machine gave a quarter of a core: three searches are whole, and of the
other seven there is what the rule and the claims ask for: all methods but the Gaussian process after 48 trainings, and
the reference, which was run last. 24 and 96 trainings and the Gaussian process are told of three searches.
"""

import argparse
from collections.abc import Iterable, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from few_methods import BUDGETS, METHODS, REFERENCE, Wish
from few_page import page
from jobs import job
from program import changed, compact, digest_of, kept, made_by, study_file

from lossmith.io import read_json, write_whole
from lossmith.losses import Loss
from lossmith.metrics import accuracy
from lossmith.seeds import derive
from lossmith.study import EvolveSettings, Problem, with_data
from lossmith.training import Trainer

FIRST, FINALISTS, FRESH, TESTED = 100, 3, 3, 10
JOBS = ("noisy-digits", "clean-digits", "mnist", "table")
FITTED, MOST_FITTED, RULED = ("noisy-digits", "table"), 48, 48
ENDS = {"whole": "", "ruled": "", "reference": "-reference"}


def settings_of(name: str, work: Path, mnist: str, number: int) -> EvolveSettings:
    """The settings of a job: its split and label noise have the number of the search."""
    data = {"split_seed": number, "noise_seed": number}
    if name == "noisy-digits":
        return changed(study_file(Path("experiments/noisy-digits.toml")), data=data)
    if name == "clean-digits":
        return changed(study_file(Path("experiments/clean-digits.toml")), data={**data, "train_size": 240})
    if name == "mnist":
        settings = job("mnist", work, {"mnist": mnist}, number)
        return changed(settings, data={"train_size": 400}, model={"hidden": [32]}, recipe={"epochs": 10})
    settings = job("table-12", work, {}, number)
    return changed(settings, data={"train_size": 800, "label_noise": 0.0}, recipe={"epochs": 12})


class Bench:
    """Trains what the methods of one search wish for.

    Args:
        settings: Of the job.
        number: Of the search.
    """

    def __init__(self, settings: EvolveSettings, number: int) -> None:
        self.problem, self.recipe, self.number = Problem.open(settings), settings.recipe, number
        self.trainer = Trainer(self.problem.task)

    def scores(self, wishes: Sequence[Wish], purpose: str, test: bool = False) -> list[float]:
        """Accuracy of each, 0 where it diverged; those of a group and a share are trained in one program."""
        inputs, targets = self.problem.test() if test else self.problem.validation
        found = [0.0] * len(wishes)
        for group, share in dict.fromkeys((wish.group, wish.share) for wish in wishes):
            places = [k for k, wish in enumerate(wishes) if (wish.group, wish.share) == (group, share)]
            seeds = [derive(self.number, purpose, wishes[k].block) for k in places]
            losses = Loss.stack([wishes[k].loss for k in places])
            trained = self.trainer.train(losses, seeds, self.recipe, share=share)
            right = torch.where(trained.diverged, 0.0, accuracy(trained.networks.logits(inputs), targets))
            for k, value in zip(places, right.tolist(), strict=True):
                found[k] = round(value, 6)
        return found


Entry = tuple[Wish, float]
History = list[Entry]


def budgets_of(method: str, name: str, part: str) -> tuple[int, ...]:
    """After how many trainings a method is looked at in a job.

    Args:
        method: Which.
        name: The job.
        part: "whole", "ruled" (what the rule asks for), or "reference" (the reference alone).
    """
    if method.startswith("GP"):
        fitted = part == "whole" and name in FITTED
        return tuple(budget for budget in BUDGETS if budget <= MOST_FITTED) if fitted else ()
    referred = (REFERENCE,) if method == "CMA-ES 16" else ()
    return {"whole": (*BUDGETS, *referred), "ruled": (RULED,), "reference": referred}[part]


def runs_of(name: str, part: str) -> list[tuple[str, int]]:
    """The searches: a method and its number of trainings; one search serves smaller numbers, but halving's."""
    runs = list[tuple[str, int]]()
    for method in METHODS:
        budgets = budgets_of(method, name, part)
        runs += [(method, budget) for budget in (budgets if method == "successive halving" else budgets[-1:])]
    return runs


def searched(bench: Bench, name: str, part: str) -> dict[tuple[str, int], History]:
    """All searches, one round of each at a time: what was trained, in order, with its validation accuracy."""
    classes = bench.problem.classes
    working = {run: METHODS[run[0]](bench.number, classes, run[1]) for run in runs_of(name, part)}
    histories: dict[tuple[str, int], History] = {run: [] for run in working}
    asked = {run: next(method) for run, method in working.items()}
    while asked:
        found = iter(bench.scores([wish for wishes in asked.values() for wish in wishes], "search"))
        answers = {run: [next(found) for _ in wishes] for run, wishes in asked.items()}
        following = dict[tuple[str, int], list[Wish]]()
        for run, wishes in asked.items():
            histories[run] += zip(wishes, answers[run], strict=True)
            try:
                following[run] = working[run].send(answers[run])
            except StopIteration:
                continue
        asked = following
    return histories


def best(history: Sequence[Entry], budget: int) -> History:
    """The best candidates of so many trainings that were trained in full, the earlier first among equals."""
    whole = [entry for entry in history if entry[0].share == 1][:budget]
    return sorted(whole, key=lambda entry: -entry[1])[:FINALISTS]


def fresh(bench: Bench, wishes: Iterable[Wish], count: int, purpose: str, test: bool = False) -> dict[int, list[float]]:
    """Accuracies of each wish, by its identity, with as many fresh seeds."""
    once = {id(wish): wish for wish in wishes}
    again = [Wish(wish.loss, k, group=wish.group) for wish in once.values() for k in range(count)]
    rows = np.array(bench.scores(again, purpose, test)).reshape(len(once), count)
    return dict(zip(once, rows.tolist(), strict=True))


def one(settings: EvolveSettings, name: str, number: int, part: str) -> dict[str, Any]:
    """Every method in one search, what it gives after each number of trainings, and the test of that."""
    bench = Bench(settings, number)
    histories = searched(bench, name, part)
    finals = dict[tuple[str, int], History]()
    for (method, most), history in histories.items():
        budgets = (most,) if method == "successive halving" else budgets_of(method, name, part)
        finals |= {(method, budget): best(history, budget) for budget in budgets}
    again = fresh(bench, (wish for found in finals.values() for wish, _ in found), FRESH, "final")
    chosen = {
        place: max((wish for wish, _ in found), key=lambda wish: np.mean(again[id(wish)]))
        for place, found in finals.items()
    }
    tests = fresh(bench, chosen.values(), TESTED, "test", test=True)
    found = [
        {
            "method": method,
            "trainings": budget,
            "finalists": [{"search": value, "fresh": again[id(wish)]} for wish, value in finals[method, budget]],
            "loss": wish.loss.to_json(),
            "formula": wish.loss.formula(),
            "test": tests[id(wish)],
        }
        for (method, budget), wish in chosen.items()
    ]
    told = [
        {
            "method": method,
            "trainings": round(sum(wish.share for wish, _ in history), 3),
            "validation": [value for _, value in history],
        }
        for (method, _), history in histories.items()
    ]
    return {"search": number, "found": found, "searches": told}


def joined(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One row of the parts of a search; of a method that several parts ran, the last one told the most."""
    searches = {search["method"]: search for part in parts for search in part["searches"]}
    told = parts[0]["searches"] if len(parts) == 1 else list(searches.values())
    return {**parts[0], "found": [found for part in parts for found in part["found"]], "searches": told}


def main() -> None:
    """Run what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("target", type=Path, help="directory of the results")
    parser.add_argument("--mnist", default="mnist", help="MNIST, as an .npz file")
    parser.add_argument("--searches", type=int, default=10)
    parser.add_argument("--whole", type=int, default=3, help="searches of all methods with all numbers of trainings")
    parser.add_argument("--work", type=Path, default=Path("experiments/work/few"), help="directory of what is kept")
    parser.add_argument("--again", action="store_true", help="write the page anew from the kept runs")
    given = parser.parse_args()
    torch.set_num_threads(1)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in JOBS}
    # What the rule asks for comes first.
    numbers = sorted(range(FIRST, FIRST + given.searches), key=lambda number: number < FIRST + given.whole)
    for number in numbers if not given.again else ():
        for name in JOBS:
            settings = settings_of(name, given.work, given.mnist, number)
            portable = with_data(settings, Path(settings.data.source).name)
            key = digest_of(f"{portable.model_dump_json()} {torch.__version__}")
            parts = ("whole",) if number < FIRST + given.whole else ("ruled", "reference")
            made = [
                kept(given.work / name / f"{number}{ENDS[part]}.json", key, partial(one, settings, name, number, part))
                for part in parts
            ]
            runs[name].append(joined(made))
            print(f"{name}, search {number}", flush=True)
    if not given.again:
        given.target.mkdir(parents=True, exist_ok=True)
        sizes = f"--searches {given.searches} --whole {given.whole}"
        command = f"python experiments/few.py {given.target} --mnist mnist.npz {sizes}"
        for name, rows in runs.items():
            rows.sort(key=itemgetter("search"))
            settings = settings_of(name, given.work, given.mnist, FIRST)
            told = with_data(settings, Path(settings.data.source).name).model_dump(mode="json")
            document = {"command": command, **made_by(), "settings": told, "runs": rows}
            write_whole(compact(document), given.target / f"{name}.json")
    documents = {name: read_json(given.target / f"{name}.json") for name in JOBS}
    write_whole(("\n".join(page(documents)) + "\n").encode(), given.target / "summary.md")


if __name__ == "__main__":
    main()
