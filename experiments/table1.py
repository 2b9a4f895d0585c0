"""Table 1 of the paper, reduced: is a search better with the invariant, at an equal number of trained candidates?

    python experiments/table1.py experiments/small/table1-mnist.toml results/table1/mnist --data mnist.npz --workers 2

The study file gives data, network, recipe and a search of population P and G generations in the paper's space (λ, mean
0, σ = 1.2). Three ways to search:

- ``none``: P candidates a generation, all trained;
- ``published``, ``exact``: 2P candidates a generation, as in the paper. One that the form of the invariant rejects
  ranks last, is not trained, and costs nothing.

**Each search ends after P·G trained candidates**, in the middle of a generation if need be: the paper compares the
same number of generations, so up to twice the trainings with the invariant. Networks given up as hopeless count.

A search K has a split, initial weights and batches of its own, which its three ways share. The best candidates of a
search and its mean are trained again in full with fresh seeds on the validation split, and the highest mean is the
search's loss; never cross-entropy or label smoothing. Cross-entropy's learning rate is tuned on the same validation
split with as many seeds, on a grid that grows where the best rate is at its edge; the evolved losses keep the recipe's,
at which they were searched. When all of this is done, 10 networks of each loss are judged once on test data.

Written down before the run. The claims:

1. published > none (the paper's: "significantly better performance in many cases and never a detrimental effect");
2. exact > none;
3. none > cross-entropy, published > cross-entropy, exact > cross-entropy.

A claim holds if its mean difference of test accuracy is above 0 in every search and one-tailed Welch p < 0.05 in two
thirds of the searches or more, corrected by Holm over all tests of all searches; it fails if the mean difference over
the searches is 0 or below; anything else is "not shown". The unit of those p is a network of one search. A second p, by
a paired t-test over the searches, has the search as its unit; splits of one data set overlap, so it is too small if
anything. Networks that diverged count as wrong on every image.

Stopped and run again, it goes on: the databases of the searches lie in ``--work``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy import stats

from lossmith.analysis.baselines import learning_rates
from lossmith.data import open_source
from lossmith.io import read_json, write_json, write_toml, write_whole
from lossmith.losses import Loss, cross_entropy
from lossmith.metrics.statistics import holm, welch
from lossmith.report import save_figure
from lossmith.report.figures import EVOLVED, OTHER, PLAIN, styled
from lossmith.seeds import derive
from lossmith.study import EvolveSettings, Result, Study
from lossmith.study.config import settings_document, validated, with_data
from lossmith.study.pareto import PRUNED
from lossmith.study.problem import Problem
from lossmith.study.store import Store
from lossmith.training import Backend, Trained, Trainer, accuracy, choose_backend, repeated

FACTOR = {"none": 1, "published": 2, "exact": 2}
BASELINE = "cross-entropy"
CLAIMS = (("published", "none"), ("exact", "none"), *((arm, BASELINE) for arm in FACTOR))
PATIENCE = 20
LEVEL = 0.05


@dataclass(frozen=True)
class Plan:
    """What is run.

    Args:
        settings: Of the study file, with the place of the data.
        digest: Of the data.
        networks: Networks of each loss on test data.
    """

    settings: EvolveSettings
    digest: str
    networks: int

    @property
    def budget(self) -> int:
        """Candidates that each search trains."""
        return self.settings.search.population * self.settings.search.generations

    @property
    def key(self) -> str:
        """What identifies the job, wherever its data lies."""
        settings = with_data(self.settings, "").model_dump(mode="json")
        asked = {"settings": settings, "digest": self.digest, "networks": self.networks, "torch": torch.__version__}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]

    def of(self, number: int, arm: str = "none") -> EvolveSettings:
        """The settings of search ``number`` in one of the three ways."""
        search = self.settings.search.model_copy(
            update={
                "seed": number,
                "invariant": arm,
                "population": FACTOR[arm] * self.settings.search.population,
                # Rejected candidates make a search of as many trainings longer; the budget ends it.
                "generations": PATIENCE * self.settings.search.generations,
            }
        )
        data = self.settings.data.model_copy(update={"split_seed": number, "noise_seed": number})
        return self.settings.model_copy(update={"data": data, "search": search})


def searched(plan: Plan, number: int, arm: str, work: Path) -> dict[str, Any]:
    """One search and its choice."""
    settings, started = plan.of(number, arm), time.perf_counter()
    job, told = Problem.open(settings), 0
    document = {**settings.model_dump(mode="json"), "digest": job.digest}
    with Study(work / f"{number}-{arm}", job.classes, settings.search, document=document) as study:
        trainer = Trainer(job.task)
        backend = chosen_backend(trainer, settings, study.store)
        while (left := plan.budget - trained_of(study)) > 0:
            if study.finished:
                raise SystemExit(f"{study.directory}: {arm} rejects nearly every candidate; take another space or σ")
            chunk = study.pending()[: left if backend.population else 1]
            seed = derive(number, "search", study.generation)
            losses = [candidate.loss for candidate in chunk]
            begun = time.perf_counter()
            found = trained(trainer, settings, losses, [seed], backend, settings.run.partial, settings.run.prune_at)
            seconds = (time.perf_counter() - begun) / len(chunk)
            rows = zip(chunk, on_validation(found, job), found.diverged.tolist(), pruned(found), strict=True)
            study.record(
                Result(
                    candidate,
                    None if lost else right,
                    "diverged" if lost else "ok",
                    (right,),
                    seconds,
                    {PRUNED: (float(gone),)},
                )
                for candidate, right, lost, gone in rows
            )
            share = 10 * trained_of(study) // plan.budget
            if share > told:
                told = share
                say(number, arm, f"{trained_of(study)} of {plan.budget} trained, generation {study.generation}", begun)
        finalists = again(job, trainer, settings, study, backend, number)
        best = max(finalists, key=lambda row: float(np.mean(row["scores"])))
        rows_of = study.candidates()
        return {
            "arm": arm,
            "way": str(backend),
            "population": settings.search.population,
            "generations": study.generation,
            "trained": trained_of(study),
            "status": [row["status"] for row in rows_of],
            "fitness": [row["fitness"] for row in rows_of],
            "dropped": sum(int(row["figures"].get(PRUNED, [0.0])[0]) for row in rows_of),
            "finalists": [{key: row[key] for key in ("name", "scores")} for row in finalists],
            "chosen": best["name"],
            "lr": settings.recipe.lr,
            "formula": best["loss"].formula(),
            "loss": best["loss"].to_json(),
            "seconds": round(time.perf_counter() - started),
        }


def again(
    job: Problem, trainer: Trainer, settings: EvolveSettings, study: Study, backend: Backend, number: int
) -> list[dict[str, Any]]:
    """The best candidates and the mean of a search, trained in full with fresh seeds."""
    named = {f"candidate {one.generation}.{one.member}": one.loss for one in study.top(settings.run.finalists)}
    named["mean of the search"] = study.mean
    seeds = [derive(number, "finalists", k) for k in range(settings.run.finalist_seeds)]
    scores = on_validation(trained(trainer, settings, list(named.values()), seeds, backend), job)
    rows = np.reshape(scores, (len(named), len(seeds))).tolist()
    return [{"name": name, "loss": loss, "scores": row} for (name, loss), row in zip(named.items(), rows, strict=True)]


def tuned(plan: Plan, number: int, work: Path) -> dict[str, Any]:
    """Cross-entropy with the learning rate that is best on validation data."""
    settings, started = plan.of(number), time.perf_counter()
    job = Problem.open(settings)
    folder = work / f"{number}-{BASELINE}"
    folder.mkdir(parents=True, exist_ok=True)
    seeds = [derive(number, "finalists", k) for k in range(settings.run.finalist_seeds)]
    axis = learning_rates(settings.recipe.lr)
    trainer = Trainer(job.task)
    with Store(folder) as store:
        backend = chosen_backend(trainer, settings, store)

    def measured(place: int) -> list[float]:
        recipe = settings.recipe.model_copy(update={"lr": axis.value(place)})
        found = trained(trainer, with_recipe(settings, recipe), [cross_entropy()], seeds, backend)
        return on_validation(found, job)

    tried = climbed(measured, range(axis.first, axis.last + 1), axis.lowest, axis.highest)
    best = max(tried, key=lambda place: float(np.mean(tried[place])))
    say(number, BASELINE, f"lr = {axis.value(best):g} of {len(tried)} tried", started)
    return {
        "arm": BASELINE,
        "way": str(backend),
        "lr": axis.value(best),
        "tried": [{"lr": axis.value(place), "scores": tried[place]} for place in sorted(tried)],
        "formula": cross_entropy().formula(),
        "loss": cross_entropy().to_json(),
        "seconds": round(time.perf_counter() - started),
    }


def climbed(
    measured: Callable[[int], list[float]], grid: Sequence[int], lowest: int, highest: int
) -> dict[int, list[float]]:
    """Scores at each place of a grid, which grows by a place as long as the best one is at its edge."""
    tried: dict[int, list[float]] = {}
    wanted = list(grid)
    while wanted:
        tried |= {place: measured(place) for place in wanted}
        best = max(tried, key=lambda place: float(np.mean(tried[place])))
        wanted = [p for p in (best - 1, best + 1) if lowest <= p <= highest and p not in tried]
    return tried


def judged(plan: Plan, number: int, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Test accuracy of fresh networks of each loss of search ``number``."""
    started = time.perf_counter()
    job = Problem.open(plan.of(number))
    inputs, targets = job.test()
    trainer = Trainer(job.task)
    seeds = [derive(number, "networks", k) for k in range(plan.networks)]
    rows = {}
    for part in parts:
        settings = plan.of(number)
        recipe = settings.recipe.model_copy(update={"lr": part["lr"]})
        loss, backend = Loss.from_json(part["loss"]), Backend.parse(part["way"])
        found = trained(trainer, with_recipe(settings, recipe), [loss], seeds, backend)
        test = accuracy(found.networks.logits(inputs), targets).tolist()
        rows[part["arm"]] = {**part, "seeds": seeds, "validation": on_validation(found, job), "test": test}
        say(number, part["arm"], f"test accuracy {np.mean(test):.4f} ({np.std(test, ddof=1):.4f})", started)
    return {"search": number, "train": len(job.task.inputs), "test": len(targets), "losses": rows}


def trained(
    trainer: Trainer,
    settings: EvolveSettings,
    losses: Sequence[Loss],
    seeds: Sequence[int],
    backend: Backend,
    share: float = 1.0,
    prune_at: float | None = None,
) -> Trained:
    """Each loss trained with each seed."""
    population = repeated(Loss.stack(losses), len(seeds))
    seeds_of_all = [*seeds] * len(losses)
    return trainer.train(population, seeds_of_all, settings.recipe, backend, share=share, prune_at=prune_at)


def on_validation(found: Trained, job: Problem) -> list[float]:
    """Validation accuracy of each network, 0 where it diverged."""
    inputs, targets = job.validation
    right = torch.where(found.diverged, 0.0, accuracy(found.networks.logits(inputs), targets))
    scores: list[float] = right.tolist()
    return scores


def pruned(found: Trained) -> list[bool]:
    """Which networks were given up."""
    gone: list[bool] = (torch.zeros_like(found.diverged) if found.pruned is None else found.pruned).tolist()
    return gone


def trained_of(study: Study) -> int:
    """Candidates that a search has trained."""
    counts = study.counts()
    return int(counts["candidates"] - counts["untrainable"])


def chosen_backend(trainer: Trainer, settings: EvolveSettings, store: Store) -> Backend:
    """How networks are run: as set, or the fastest one as measured at the beginning."""
    count = settings.search.population
    losses, seeds = Loss.stack([cross_entropy()] * count), [derive("measuring")] * count
    return choose_backend(settings.run.training, trainer, losses, seeds, settings.recipe, 0, store)


def with_recipe(settings: EvolveSettings, recipe: Any) -> EvolveSettings:
    """The same settings with another recipe."""
    return settings.model_copy(update={"recipe": recipe})


def part(plan: Plan, number: int, arm: str, work: Path) -> dict[str, Any]:
    """What is done before test data is touched: a search, or the tuning of cross-entropy; kept in a file."""
    torch.set_num_threads(1)

    def made() -> dict[str, Any]:
        return tuned(plan, number, work) if arm == BASELINE else searched(plan, number, arm, work)

    return kept(work / f"{number}-{arm}.json", plan.key, made)


def final(plan: Plan, number: int, parts: Sequence[dict[str, Any]], work: Path) -> dict[str, Any]:
    """The judgement of a search on test data; kept in a file."""
    torch.set_num_threads(1)
    return kept(work / f"{number}-test.json", plan.key, lambda: judged(plan, number, parts))


def kept(path: Path, key: str, made: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a file holds, or what it is made to hold."""
    if path.exists():
        document = read_json(path)
        if document["key"] != key:
            raise SystemExit(f"{path} is of another job (other settings, data or torch); choose another --work")
        found: dict[str, Any] = document["found"]
        return found
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"key": key, "found": made()}
    write_json(document, path)
    return dict(document["found"])


def say(number: int, arm: str, text: str, started: float) -> None:
    """A line of progress."""
    print(f"search {number}, {arm}: {text} ({time.perf_counter() - started:.0f} s)", flush=True)


@dataclass(frozen=True)
class Claim:
    """A claim and what came of it, an entry for each search.

    Args:
        first: The losses that are claimed to be better.
        second: The others.
        differences: Mean test accuracy of the first less that of the second.
        low: Lower ends of their 95 % intervals (Welch).
        high: Upper ends.
        p: One-tailed Welch p, the unit being a network.
        holm: The same, corrected over all tests of the table.
        over_searches: One-tailed p of a paired t-test over the searches (None of fewer than two).
        verdict: Whether it held.
    """

    first: str
    second: str
    differences: list[float]
    low: list[float]
    high: list[float]
    p: list[float]
    holm: list[float]
    over_searches: float | None
    verdict: str


def claims(runs: Sequence[dict[str, Any]]) -> list[Claim]:
    """Every claim of the head of this file."""
    results = [
        [welch(run["losses"][first]["test"], run["losses"][second]["test"]) for run in runs] for first, second in CLAIMS
    ]
    corrected = iter(holm([one.p for row in results for one in row]))
    found = []
    for (first, second), row in zip(CLAIMS, results, strict=True):
        differences = [one.difference for one in row]
        adjusted = [next(corrected) for _ in row]
        low, high, p = ([getattr(one, name) for one in row] for name in ("low", "high", "p"))
        verdict = verdict_of(differences, adjusted)
        found.append(Claim(first, second, differences, low, high, p, adjusted, paired(differences), verdict))
    return found


def verdict_of(differences: Sequence[float], corrected: Sequence[float]) -> str:
    """What came of a claim by the rule of the head of this file: held, failed, or not shown."""
    if np.mean(differences) <= 0:
        return "failed"
    enough = 3 * sum(p < LEVEL for p in corrected) >= 2 * len(corrected)
    return "held" if min(differences) > 0 and enough else "not shown"


def paired(differences: Sequence[float]) -> float | None:
    """One-tailed p that the mean of the differences is above 0 (t-test)."""
    if len(differences) < 2:
        return None
    if np.ptp(differences) == 0:
        return 0.5 - 0.5 * float(np.sign(differences[0]))
    return float(stats.ttest_1samp(differences, 0, alternative="greater").pvalue)


def progress(part: dict[str, Any]) -> list[float]:
    """Highest fitness after each trained candidate."""
    trained = [
        fitness for fitness, status in zip(part["fitness"], part["status"], strict=True) if status != "untrainable"
    ]
    values = [0.0 if fitness is None else fitness for fitness in trained]
    return [float(value) for value in np.maximum.accumulate(values)]


def picture(runs: Sequence[dict[str, Any]]) -> Figure:
    """Test accuracy of every network, and the best fitness against the number of trained candidates."""
    arms = (BASELINE, *FACTOR)
    colors = dict(zip(arms, (PLAIN, "#8a97a5", OTHER, EVOLVED), strict=True))
    with styled():
        figure = Figure(figsize=(9.6, 4.0), layout="constrained")
        left, right = figure.subplots(1, 2)
        for place, run in enumerate(runs):
            for shift, arm in zip((-0.27, -0.09, 0.09, 0.27), arms, strict=True):
                values = 100 * np.array(run["losses"][arm]["test"])
                x = np.full(len(values), place + shift)
                left.scatter(x, values, s=10, color=colors[arm], alpha=0.5, lw=0, label=arm if place == 0 else None)
                left.plot([place + shift - 0.07, place + shift + 0.07], [values.mean()] * 2, color=colors[arm], lw=2)
        left.set_xticks(range(len(runs)), [str(run["search"]) for run in runs])
        left.set(xlabel="search", ylabel="test accuracy, %", title="Networks")
        figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=len(arms), fontsize=9)
        means = {arm: 100 * np.mean([progress(run["losses"][arm]) for run in runs], axis=0) for arm in FACTOR}
        for arm, mean in means.items():
            right.plot(range(1, len(mean) + 1), mean, color=colors[arm], lw=1.8)
        right.set(xlabel="trained candidates", ylabel="best validation accuracy so far, %", title="Searches, mean")
        # The first candidates hardly learn; what is worth seeing begins after a twentieth of them.
        low = min(mean[len(mean) // 20] for mean in means.values())
        high = max(mean[-1] for mean in means.values())
        right.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
        return figure


def page(runs: Sequence[dict[str, Any]], found: Sequence[Claim], plan: Plan, name: str, command: str) -> str:
    """The outcome as a Markdown page."""
    lines = [
        f"# Table 1, reduced: {name}",
        "",
        f"Made by `{command}`, lossmith {version('lossmith')}, PyTorch {torch.__version__}. What is done, and what was",
        "claimed before the run, stands at the head of [`experiments/table1.py`](../../../experiments/table1.py);",
        f"settings: [`study.toml`](study.toml); raw figures: [`runs.json`](runs.json). {len(runs)} searches, each of",
        f"{plan.budget} trained candidates; {runs[0]['train']} training and {runs[0]['test']} test images.",
        "",
        *table(runs),
        "",
        "Test accuracy, %: mean (sample standard deviation) of the networks of a search; last row: mean (standard",
        "deviation) of the searches' means.",
        "",
        *claims_table(found),
        "",
        "Mean difference of test accuracy in percentage points, and one-tailed p of a paired t-test (unit: a search);",
        "searches whose difference is above 0, and whose Welch p is below 0.05 after Holm's correction over all of",
        "these tests (unit: a network of one search).",
        "",
        *details(found),
        "",
        "Each test: difference in points, Welch's 95 % interval, corrected p.",
        "",
        "## The searches",
        "",
        "| search | invariant | asked | rejected | trained | of these given up | of these diverged | generations "
        "| chosen | φ |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        for arm in FACTOR:
            row = run["losses"][arm]
            status = row["status"]
            lines.append(
                f"| {run['search']} | {arm} | {len(status)} | {status.count('untrainable')} | {row['trained']} "
                f"| {row['dropped']} | {status.count('diverged')} | {row['generations']} | {row['chosen']} "
                f"| {row['formula']} |"
            )
    rates = ", ".join(f"{run['losses'][BASELINE]['lr']:.3g}" for run in runs)
    lines += [
        "",
        f"Cross-entropy's tuned learning rates: {rates}; the evolved losses' {plan.settings.recipe.lr:.3g}.",
        "",
        "![Networks and searches](table1.png)",
        "",
    ]
    return "\n".join(lines)


def table(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Mean (sd) of each search and over searches."""
    arms = (BASELINE, *FACTOR)
    lines = [f"| search | {' | '.join(arms)} |", "|---" * (1 + len(arms)) + "|"]
    means: dict[str, list[float]] = {arm: [] for arm in arms}
    for run in runs:
        cells = []
        for arm in arms:
            values = 100 * np.array(run["losses"][arm]["test"])
            means[arm].append(float(values.mean()))
            cells.append(f"{values.mean():.2f} ({values.std(ddof=1):.2f}), n = {len(values)}")
        lines.append(f"| {run['search']} | {' | '.join(cells)} |")
    if len(runs) > 1:
        whole = (f"**{np.mean(means[arm]):.2f}** ({np.std(means[arm], ddof=1):.2f})" for arm in arms)
        lines.append(f"| all | {' | '.join(whole)} |")
    return lines


def claims_table(found: Sequence[Claim]) -> list[str]:
    """What came of each claim over the searches."""
    lines = [
        "| claim | mean difference, p over searches | searches above 0 | searches with p < 0.05 | verdict |",
        "|---|---|---|---|---|",
    ]
    for one in found:
        count = len(one.differences)
        p = "" if one.over_searches is None else f", p = {one.over_searches:.2g}"
        above, clear = sum(value > 0 for value in one.differences), sum(value < LEVEL for value in one.holm)
        lines.append(
            f"| {one.first} > {one.second} | {100 * np.mean(one.differences):+.2f}{p} | {above} of {count} "
            f"| {clear} of {count} | **{one.verdict}** |"
        )
    return lines


def details(found: Sequence[Claim]) -> list[str]:
    """Every test."""
    lines = [
        f"| search | {' | '.join(f'{one.first} > {one.second}' for one in found)} |",
        "|---" * (1 + len(found)) + "|",
    ]
    for k in range(len(found[0].differences)):
        cells = [
            f"{100 * one.differences[k]:+.2f} [{100 * one.low[k]:+.2f}, {100 * one.high[k]:+.2f}], {one.holm[k]:.2g}"
            for one in found
        ]
        lines.append(f"| {k} | {' | '.join(cells)} |")
    return lines


def overview(folders: dict[str, Path]) -> str:
    """The tables of several data sets as ``docs/results.md`` tells them."""
    lines: list[str] = []
    for name, folder in folders.items():
        runs = read_json(folder / "runs.json")["searches"]
        lines += [f"**{name}**", "", *table(runs), "", *claims_table(claims(runs)), ""]
    return "\n".join(lines).rstrip()


def main() -> None:
    """Run what is missing, then tell what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="study file")
    parser.add_argument("target", type=Path, help="directory of the results")
    parser.add_argument("--data", help="name or .npz file, if it is not what the study file names")
    parser.add_argument("--searches", type=int, default=3)
    parser.add_argument("--networks", type=int, default=10, help="networks of each loss on test data")
    parser.add_argument("--workers", type=int, default=1, help="processes, a thread each")
    parser.add_argument("--work", type=Path, default=Path("experiments/work/table1"), help="directory of the databases")
    given = parser.parse_args()
    if given.searches < 1 or given.networks < 2 or given.workers < 1:
        parser.error("take at least 1 search, 2 networks and 1 worker")
    settings = validated(EvolveSettings, settings_document(given.file), str(given.file))
    if settings.run.replicates != 1:
        parser.error(f"{given.file} has {settings.run.replicates} replicates; a trained candidate is one network here")
    data = given.data or settings.data.source
    place = str(Path(data).expanduser().absolute()) if Path(data).suffix == ".npz" else data
    plan = Plan(with_data(settings, place), open_source(place).digest, given.networks)
    work, numbers = given.work / given.target.name, range(given.searches)
    with ProcessPoolExecutor(given.workers, mp_context=get_context("spawn")) as pool:
        waiting = {
            (number, arm): pool.submit(part, plan, number, arm, work)
            for number in numbers
            for arm in (BASELINE, *FACTOR)
        }
        done = {place: one.result() for place, one in waiting.items()}
        last = [
            pool.submit(final, plan, number, [done[number, arm] for arm in (BASELINE, *FACTOR)], work)
            for number in numbers
        ]
        runs = [one.result() for one in last]
    given.target.mkdir(parents=True, exist_ok=True)
    extra = f" --data {Path(data).name}" if given.data else ""
    command = (
        f"python experiments/table1.py {given.file} {given.target}{extra} --searches {given.searches} "
        f"--networks {given.networks} --workers {given.workers}"
    )
    found = claims(runs)
    portable = with_data(settings, Path(data).name)
    document = {"command": command, "digest": plan.digest, "budget": plan.budget, "searches": runs}
    write_json(document, given.target / "runs.json")
    write_json([asdict(one) for one in found], given.target / "summary.json")
    write_toml(portable.model_dump(mode="json"), given.target / "study.toml")
    save_figure(picture(runs), given.target / "table1.png")
    write_whole(page(runs, found, plan, given.target.name, command).encode(), given.target / "summary.md")
    print("\n".join(claims_table(found)), flush=True)


if __name__ == "__main__":
    main()
