"""How many candidates a search must train until its mean is as good as a baseline, space by space.

    python benchmarks/sample_efficiency.py digits
    python benchmarks/sample_efficiency.py mnist --mnist mnist.npz --seeds 3
    python benchmarks/sample_efficiency.py summary

Two jobs with 40 % of the training and validation labels replaced: ``digits`` (800 training samples, MLP 64-128-10,
20 epochs) and ``mnist`` (1000 training, 1000 validation samples, MLP 784-32-10, 10 epochs). In each the searches
``taylor`` with the invariant none, published and exact, and ``canonical`` and ``residual`` with the exact one:
15 generations of 16 candidates, 2 networks a candidate, everything else lossmith's default. Seed K is the seed of the
search, of the split and of the label noise, the same for all five searches.

Written down before the run:

- After each generation, and before the first, the loss at the mean of the search is trained with 10 seeds that the
  search never sees. Its accuracy is that of these networks on the validation part, on average. Nothing is chosen by
  it, and no test data is looked at; a network that diverged counts with accuracy 0.
- The targets, for each K: the accuracy of cross-entropy, and of label smoothing with the best of 10 strengths, trained
  and judged in the same way with the same 10 seeds.
- A target is reached after generation G if the mean reaches it after G and after G + 1. So it cannot be reached first
  after the last generation, and chance has to strike twice. Its cost is the number of candidates trained up to G; one
  that the invariant rejects, which costs no training, is not counted and told beside it.
- A search that does not reach a target in its generations needs more than any that does: its cost is infinite. It is
  never left out.
- For each search: the median of the costs, and two order statistics between which the true median lies with the
  confidence of a sign test, whatever the distribution (2nd and 9th of ten: 97.9 %; 1st and 3rd of three: 75 %). For
  pairs of searches: in how many K the first needs fewer candidates, and the two-sided sign test over those K in which
  they differ, not corrected for the number of tests.

What the spaces hold decides part of it: ``residual`` begins at cross-entropy, so it reaches that target with no
training at all (up to the rounding of the same networks in another population), and holds label smoothing; ``taylor``
holds neither, and begins at a loss that teaches nothing.

Each search is one file under ``results/sample-efficiency/JOB``; run again, the program makes what is missing. A trial
with another seed and fewer generations was made before, to see that it runs.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from machine import machine, say
from matplotlib.figure import Figure
from scipy import stats

from lossmith.data import DataSettings
from lossmith.losses import Loss, cross_entropy
from lossmith.losses.files import read_json, write_json, write_whole
from lossmith.nets import ModelSettings
from lossmith.report import save_figure
from lossmith.report.figures import STYLE
from lossmith.search import SearchSettings
from lossmith.seeds import derive
from lossmith.study import EvolveSettings, RunSettings, Study
from lossmith.study.evolve import SMOOTHINGS, Job
from lossmith.study.study import Result
from lossmith.training import Recipe, accuracy, repeated, train

ROOT = Path("results/sample-efficiency")
SEARCHES: dict[str, dict[str, str]] = {
    "taylor, none": {"space": "taylor", "invariant": "none"},
    "taylor, published": {"space": "taylor", "invariant": "published"},
    "taylor, exact": {"space": "taylor", "invariant": "exact"},
    "canonical, exact": {"space": "canonical", "invariant": "exact"},
    "residual, exact": {"space": "residual", "invariant": "exact"},
}
PAIRS = (
    ("taylor, published", "taylor, none"),
    ("taylor, exact", "taylor, none"),
    ("taylor, exact", "taylor, published"),
    ("canonical, exact", "taylor, exact"),
    ("residual, exact", "taylor, exact"),
    ("residual, exact", "canonical, exact"),
)
TARGETS = ("cross-entropy", "label smoothing")
LOOKS = (("#3b4a5a", ":"), ("#3b4a5a", "--"), ("#3b4a5a", "-"), ("#2a7f9e", "-"), ("#c8401e", "-"))


@dataclass(frozen=True)
class Size:
    """How much is done.

    Args:
        population: Candidates in a generation.
        generations: Generations of a search.
        replicates: Networks trained for a candidate.
        networks: Networks that judge a mean.
    """

    population: int = 16
    generations: int = 15
    replicates: int = 2
    networks: int = 10


def settings_of(job: str, search: str, seed: int, size: Size, mnist: Path | None = None) -> EvolveSettings:
    """Everything that decides the outcome of one search of a job.

    Raises:
        SystemExit: if the job needs a file that was not named.
    """
    noisy = DataSettings(label_noise=0.4, split_seed=seed, noise_seed=seed)
    if job == "digits":
        data, hidden, epochs = noisy.model_copy(update={"train_size": 800}), (128,), 20
    elif mnist is not None:
        sizes = {"train_size": 1000, "validation_size": 1000, "test_size": 2000}
        data = noisy.model_copy(update={"data": str(mnist), **sizes})
        hidden, epochs = (32,), 10
    else:
        raise SystemExit("the job mnist needs its images: give --mnist with the path of mnist.npz")
    wanted = {**SEARCHES[search], "population": size.population, "generations": size.generations, "seed": seed}
    return EvolveSettings(
        data=data,
        model=ModelSettings(hidden=hidden),
        recipe=Recipe(lr=0.05, batch_size=50, epochs=epochs),
        search=SearchSettings.model_validate(wanted),
        run=RunSettings(training="population", replicates=size.replicates),
    )


def judged(job: Job, losses: list[Loss], settings: EvolveSettings, seeds: list[int]) -> list[tuple[list[float], bool]]:
    """For each loss: validation accuracy of a network for each seed, 0 where it diverged, and whether any did."""
    population = repeated(Loss.stack(losses), len(seeds))
    trained = train(job.task, population, seeds * len(losses), settings.recipe)
    found = accuracy(trained.networks.logits(job.validation[0]), job.validation[1])
    found[trained.diverged] = 0.0
    lost = trained.diverged.reshape(len(losses), -1).any(1)
    return list(zip(found.reshape(len(losses), -1).tolist(), lost.tolist(), strict=True))


def fresh_seeds(settings: EvolveSettings, count: int) -> list[int]:
    """The seeds that judge means and baselines."""
    return [derive(settings.search.seed, "sample efficiency", number) for number in range(count)]


def targets_of(job: Job, settings: EvolveSettings, size: Size) -> dict[str, float]:
    """The accuracy of each baseline: cross-entropy, and label smoothing with its best strength."""
    plain = cross_entropy()
    losses = [plain, *(plain.smoothed(alpha, job.classes) for alpha in SMOOTHINGS)]
    rows = judged(job, losses, settings, fresh_seeds(settings, size.networks))
    first, *smoothed = (float(np.mean(scores)) for scores, _ in rows)
    best = max(range(len(smoothed)), key=smoothed.__getitem__)
    return {"cross-entropy": first, "label smoothing": smoothed[best], "strength": SMOOTHINGS[best]}


def searched(job: Job, settings: EvolveSettings, size: Size) -> list[dict[str, Any]]:
    """One search: its mean before the first generation and after each, with what was trained until then."""
    seed, fresh = settings.search.seed, fresh_seeds(settings, size.networks)
    steps: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, Study(folder, job.classes, settings.search) as study:
        while True:
            ((scores, _),) = judged(job, [study.mean], settings, fresh)
            steps.append({**spent(study), "theta": study.mean_theta, "accuracy": scores})
            if study.finished:
                return steps
            waiting = study.pending()
            seeds = [derive(seed, "search", study.generation, replicate) for replicate in range(size.replicates)]
            found = judged(job, [candidate.loss for candidate in waiting], settings, seeds)
            study.record(
                Result(candidate, None, "diverged")
                if lost
                else Result(candidate, float(np.mean(scores)), scores=tuple(scores))
                for candidate, (scores, lost) in zip(waiting, found, strict=True)
            )


def spent(study: Study) -> dict[str, Any]:
    """What the generations that are told have cost, and the best fitness in them."""
    rows = [row for row in study.candidates() if row["generation"] < study.generation]
    rejected = sum(row["status"] == "untrainable" for row in rows)
    fitness = [row["fitness"] for row in rows if row["fitness"] is not None]
    return {
        "generation": study.generation,
        "trained": len(rows) - rejected,
        "rejected": rejected,
        "diverged": sum(row["status"] == "diverged" for row in rows),
        "best": max(fitness, default=None),
    }


def cost(steps: list[dict[str, Any]], target: float) -> float:
    """Candidates trained until the mean has reached the target and reaches it at the next step as well, or infinity."""
    good = [float(np.mean(step["accuracy"])) >= target for step in steps]
    for step, now, then in zip(steps, good, good[1:], strict=False):
        if now and then:
            return float(step["trained"])
    return math.inf


def median_interval(costs: list[float]) -> dict[str, Any]:
    """The median, and the order statistics around it that hold it with the confidence told (a sign test's interval).

    With ten or more the most extreme are left out; infinite costs are the highest.
    """
    ordered, count = sorted(costs), len(costs)
    cut = 1 if count >= 10 else 0
    middle = (ordered[(count - 1) // 2], ordered[count // 2])
    return {
        "median": sum(middle) / 2,
        "low": ordered[cut],
        "high": ordered[-1 - cut],
        "confidence": 1 - 2 * float(stats.binom.cdf(cut, count, 0.5)),
        "reached": sum(math.isfinite(one) for one in costs),
        "of": count,
    }


def sign_test(first: list[float], second: list[float]) -> dict[str, Any]:
    """In how many of the pairs the first needs fewer and more, and the two-sided sign test of that."""
    fewer = sum(one < other for one, other in zip(first, second, strict=True))
    more = sum(one > other for one, other in zip(first, second, strict=True))
    p = float(stats.binomtest(fewer, fewer + more).pvalue) if fewer + more else 1.0
    return {"fewer": fewer, "more": more, "equal": len(first) - fewer - more, "p": p}


def made(job: str, seeds: range, size: Size, folder: Path, mnist: Path | None) -> None:
    """Every search of a job that is not there yet, one file each."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        targets: dict[str, float] | None = None
        for name, choice in SEARCHES.items():
            path = folder / f"{choice['space']}-{choice['invariant']}-{seed}.json"
            settings = settings_of(job, name, seed, size, mnist)
            kept = settings.model_dump(mode="json")
            kept["data"]["data"] = Path(kept["data"]["data"]).name
            if path.exists():
                if read_json(path)["settings"] != kept:
                    raise SystemExit(f"{path} holds another search; choose another --folder")
                continue
            opened = Job.open(settings)
            started = time.perf_counter()
            if targets is None:
                targets = targets_of(opened, settings, size)
            steps = searched(opened, settings, size)
            document = {
                "job": job,
                "search": name,
                "seed": seed,
                "targets": targets,
                "steps": steps,
                "seconds": time.perf_counter() - started,
                "settings": kept,
                "machine": machine(),
            }
            write_json(document, path)
            told = ", ".join(f"{target} {cost(steps, targets[target]):.0f}" for target in TARGETS)
            say(f"{job}, seed {seed}, {name}: {document['seconds']:.1f} s; trained until {told}")


def read(folder: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """The searches of a job by name and seed."""
    found: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in SEARCHES}
    for path in sorted(folder.glob("*.json")):
        document = read_json(path)
        found[document["search"]][document["seed"]] = document
    return found


def summed_up(folder: Path) -> dict[str, Any]:
    """The costs of all searches of a job, and what they say."""
    searches = read(folder)
    seeds = sorted({seed for runs in searches.values() for seed in runs})
    missing = [f"{name} {seed}" for name, runs in searches.items() for seed in seeds if seed not in runs]
    if missing or not seeds:
        raise SystemExit(f"{folder} lacks searches ({', '.join(missing) or 'all'}): run the job to its end first")
    documents: dict[str, Any] = {"seeds": seeds, "targets": {}, "searches": {}}
    for name, runs in searches.items():
        last = [runs[seed]["steps"][-1] for seed in seeds]
        smooth = [runs[seed]["targets"]["label smoothing"] for seed in seeds]
        gap = [float(np.mean(step["accuracy"])) - level for step, level in zip(last, smooth, strict=True)]
        documents["searches"][name] = {
            "trained": [step["trained"] for step in last],
            "rejected": [step["rejected"] for step in last],
            "end_less_label_smoothing": gap,
        }
    for target in TARGETS:
        levels = {seed: searches["residual, exact"][seed]["targets"][target] for seed in seeds}
        costs = {name: [cost(runs[seed]["steps"], levels[seed]) for seed in seeds] for name, runs in searches.items()}
        documents["targets"][target] = {
            "accuracy": list(levels.values()),
            "costs": costs,
            "medians": {name: median_interval(found) for name, found in costs.items()},
            "pairs": [{"first": a, "second": b, **sign_test(costs[a], costs[b])} for a, b in PAIRS],
        }
    return documents


def finite(value: Any) -> Any:
    """A document in which what is infinite has become null, as JSON has no infinity."""
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and math.isinf(value) else value


def counted(value: float) -> str:
    """A number of candidates as text."""
    return "not reached" if math.isinf(value) else f"{value:g}"


def table(job: str, found: dict[str, Any]) -> list[str]:
    """The lines of one job in the summary."""
    lines = [f"## {job}, {len(found['seeds'])} seeds", ""]
    for target, part in found["targets"].items():
        accuracies = part["accuracy"]
        interval = next(iter(part["medians"].values()))["confidence"]
        lines += [
            f"Candidates trained until the mean is as good as {target} "
            f"({np.mean(accuracies):.3f} on average, {min(accuracies):.3f} to {max(accuracies):.3f}):",
            "",
            f"| search | reached | median | interval ({interval:.1%}) | every seed |",
            "|---|---|---|---|---|",
        ]
        for name, one in part["medians"].items():
            every = ", ".join("–" if math.isinf(value) else f"{value:g}" for value in part["costs"][name])
            lines.append(
                f"| {name} | {one['reached']} of {one['of']} | {counted(one['median'])} "
                f"| {counted(one['low'])} to {counted(one['high'])} | {every} |"
            )
        lines += ["", "| search | against | fewer | more | equal | p |", "|---|---|---|---|---|---|"]
        lines += [
            f"| {test['first']} | {test['second']} | {test['fewer']} | {test['more']} | {test['equal']} "
            f"| {test['p']:.2g} |"
            for test in part["pairs"]
        ]
        lines.append("")
    lines += [
        "| search | trained in all (median) | rejected untrained (median) | accuracy of the last mean less that of "
        "label smoothing, mean (lowest to highest) |",
        "|---|---|---|---|",
    ]
    for name, one in found["searches"].items():
        gap = [100 * value for value in one["end_less_label_smoothing"]]
        lines.append(
            f"| {name} | {np.median(one['trained']):g} | {np.median(one['rejected']):g} "
            f"| {np.mean(gap):+.1f} points ({min(gap):+.1f} to {max(gap):+.1f}) |"
        )
    return [*lines, ""]


def plot(found: dict[str, dict[str, Any]]) -> Figure:
    """The share of the searches that have reached each target, against the candidates trained."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.0 * len(found), 6.4), layout="constrained")
        axes = figure.subplots(len(TARGETS), len(found), squeeze=False, sharey=True)
        for column, (job, part) in enumerate(found.items()):
            end = max(max(one["trained"]) for one in part["searches"].values())
            for row, target in enumerate(TARGETS):
                panel = axes[row, column]
                for (name, costs), (colour, line) in zip(part["targets"][target]["costs"].items(), LOOKS, strict=True):
                    reached = sorted(value for value in costs if math.isfinite(value))
                    shares = [number / len(costs) for number in range(len(reached) + 1)]
                    places, heights = [0.0, *reached, end], [*shares, shares[-1]]
                    panel.step(places, heights, where="post", color=colour, ls=line, lw=2, label=name)
                panel.set(title=f"{job}: as good as {target}", xlabel="candidates trained", ylim=(-0.02, 1.05))
            axes[0, column].legend(loc="lower right")
        for row in range(len(TARGETS)):
            axes[row, 0].set_ylabel("share of the searches")
        return figure


def page(found: dict[str, dict[str, Any]]) -> str:
    """The summary as Markdown."""
    lines = ["# Candidates trained until a search's mean is as good as a baseline", ""]
    lines += [
        "Made by `benchmarks/sample_efficiency.py`, whose head says what was fixed before the run. All searches have",
        "as many generations, so one that rejects candidates ends with fewer trained: the last table of a job has the",
        "sums.",
        "",
    ]
    for job, part in found.items():
        lines += table(job, part)
    return "\n".join([*lines, "![share of the searches that have reached the targets](reached.png)", ""])


def summarise(folder: Path) -> str:
    """Write ``summary.json``, ``summary.md`` and the figure over all jobs of a folder."""
    found = {job: summed_up(folder / job) for job in ("digits", "mnist") if (folder / job).is_dir()}
    text = page(found)
    write_json(finite(found), folder / "summary.json")
    write_whole(text.encode(), folder / "summary.md")
    save_figure(plot(found), folder / "reached.png")
    return text


def main(arguments: list[str] | None = None) -> None:
    """Make the searches of a job that are missing, or sum all of them up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=("digits", "mnist", "summary"))
    parser.add_argument("--mnist", type=Path, help="the .npz file of MNIST")
    parser.add_argument("--folder", type=Path, default=ROOT)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--population", type=int, default=Size.population)
    parser.add_argument("--generations", type=int, default=Size.generations)
    parser.add_argument("--replicates", type=int, default=Size.replicates)
    parser.add_argument("--networks", type=int, default=Size.networks, help="networks that judge each mean")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    if given.job == "summary":
        print(summarise(given.folder))
        return
    size = Size(given.population, given.generations, given.replicates, given.networks)
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    made(given.job, seeds, size, given.folder / given.job, given.mnist)


if __name__ == "__main__":
    main()
