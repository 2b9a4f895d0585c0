"""How many candidates a search must train until its mean is as good as a baseline, space by space.

    python benchmarks/sample_efficiency.py digits
    python benchmarks/sample_efficiency.py mnist --mnist mnist.npz --seeds 3 [--device cuda]
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
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from efficiency import SEARCHES, TARGETS, cost, summarize
from machine import CPU, add_device, machine, say

from lossmith.data import DataSettings
from lossmith.io import read_json, write_json
from lossmith.losses import Loss, cross_entropy
from lossmith.nets import ModelSettings
from lossmith.search import SearchSettings
from lossmith.seeds import derive
from lossmith.study import SMOOTHINGS, EvolveSettings, Problem, Result, RunSettings, Study
from lossmith.training import Recipe, accuracy, repeated, train

ROOT = Path("results/sample-efficiency")


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


def settings_of(
    job: str, search: str, seed: int, size: Size, mnist: Path | None = None, device: torch.device = CPU
) -> EvolveSettings:
    """Everything that decides the outcome of one search of a job.

    Raises:
        SystemExit: if the job needs a file that was not named.
    """
    noisy = DataSettings(label_noise=0.4, noise="uniform", split_seed=seed, noise_seed=seed)
    if job == "digits":
        data, hidden, epochs = noisy.model_copy(update={"train_size": 800}), (128,), 20
    elif mnist is not None:
        sizes = {"train_size": 1000, "validation_size": 1000, "test_size": 2000}
        data = noisy.model_copy(update={"source": str(mnist), **sizes})
        hidden, epochs = (32,), 10
    else:
        raise SystemExit("the job mnist needs its images: give --mnist with the path of mnist.npz")
    wanted = {**SEARCHES[search], "population": size.population, "generations": size.generations, "seed": seed}
    return EvolveSettings(
        data=data,
        model=ModelSettings(hidden=hidden),
        recipe=Recipe(lr=0.05, batch_size=50, epochs=epochs),
        search=SearchSettings.model_validate(wanted),
        run=RunSettings(training="population", replicates=size.replicates, tune=False, device=str(device)),
    )


def judged(
    job: Problem, losses: list[Loss], settings: EvolveSettings, seeds: list[int]
) -> list[tuple[list[float], bool]]:
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


def targets_of(job: Problem, settings: EvolveSettings, size: Size) -> dict[str, float]:
    """The accuracy of each baseline: cross-entropy, and label smoothing with its best strength."""
    plain = cross_entropy()
    losses: list[Loss] = [plain, *(plain.smoothed(alpha, job.classes) for alpha in SMOOTHINGS)]
    rows = judged(job, losses, settings, fresh_seeds(settings, size.networks))
    first, *smoothed = (float(np.mean(scores)) for scores, _ in rows)
    best = max(range(len(smoothed)), key=smoothed.__getitem__)
    return {"cross-entropy": first, "label smoothing": smoothed[best], "strength": SMOOTHINGS[best]}


def searched(job: Problem, settings: EvolveSettings, size: Size) -> list[dict[str, Any]]:
    """One search: its mean before the first generation and after each, with what was trained until then."""
    seed, fresh = settings.search.seed, fresh_seeds(settings, size.networks)
    steps: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, Study(folder, job.classes, settings.search) as study:
        while True:
            mean = study.space.build([study.mean_genome], job.classes)[0]
            ((scores, _),) = judged(job, [mean], settings, fresh)
            steps.append({**spent(study), "theta": study.mean_genome, "accuracy": scores})
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


def made(job: str, seeds: range, size: Size, folder: Path, mnist: Path | None, device: torch.device = CPU) -> None:
    """Every search of a job that is not there yet, one file each."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        targets: dict[str, float] | None = None
        for name, choice in SEARCHES.items():
            path = folder / f"{choice['space']}-{choice['invariant']}-{seed}.json"
            settings = settings_of(job, name, seed, size, mnist, device)
            kept = settings.model_dump(mode="json")
            kept["data"]["source"] = Path(kept["data"]["source"]).name
            if path.exists():
                if read_json(path)["settings"] != kept:
                    raise SystemExit(f"{path} holds another search; choose another --folder")
                continue
            opened = Problem.open(settings)
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
                "machine": machine(device),
            }
            write_json(document, path)
            costs = ", ".join(f"{target} {cost(steps, targets[target]):.0f}" for target in TARGETS)
            say(f"{job}, seed {seed}, {name}: {document['seconds']:.1f} s; trained until {costs}")


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
    add_device(parser)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    if given.job == "summary":
        print(summarize(given.folder))
        return
    size = Size(given.population, given.generations, given.replicates, given.networks)
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    made(given.job, seeds, size, given.folder / given.job, given.mnist, given.device)


if __name__ == "__main__":
    main()
