"""What is trained for Table 1: searches of equal budget in three ways, cross-entropy, and their test networks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from networks import BASELINE, chosen_backend, scores, seeds_of, trained
from program import Plan, changed, kept, teller

from lossmith.analysis import Grid, Setting, Tuner, learning_rates
from lossmith.losses import Loss, cross_entropy
from lossmith.seeds import derive
from lossmith.study import PRUNED, EvolveSettings, Problem, Result, Study
from lossmith.training import Backend, Trained

FACTOR = {"none": 1, "published": 2, "exact": 2}
ARMS = (BASELINE, *FACTOR)
PATIENCE = 20


@dataclass(frozen=True)
class Budget(Plan):
    """A plan whose searches train equally many candidates."""

    @property
    def budget(self) -> int:
        """Candidates that each search trains."""
        return self.settings.search.population * self.settings.search.generations

    def of(self, number: int, arm: str = "none") -> EvolveSettings:
        """The settings of search ``number`` in one of the three ways."""
        search = self.settings.search
        wanted = {
            "invariant": arm,
            "population": FACTOR[arm] * search.population,
            # Rejected candidates make a search of as many trainings longer; the budget ends it.
            "generations": PATIENCE * search.generations,
        }
        return changed(self.split(number), search=wanted)


def part(plan: Budget, number: int, arm: str, work: Path) -> dict[str, Any]:
    """What is done before test data is touched: a search, or the tuning of cross-entropy; kept in a file."""

    def made() -> dict[str, Any]:
        return tuned(plan, number) if arm == BASELINE else searched(plan, number, arm, work)

    return dict(kept(work / f"{number}-{arm}.json", plan.key, made))


def final(plan: Budget, number: int, parts: Sequence[dict[str, Any]], work: Path) -> dict[str, Any]:
    """The judgement of a search on test data; kept in a file."""
    return dict(kept(work / f"{number}-test.json", plan.key, lambda: judged(plan, number, parts)))


def searched(plan: Budget, number: int, arm: str, work: Path) -> dict[str, Any]:
    """One search and its choice."""
    settings, started, say = plan.of(number, arm), time.perf_counter(), teller(f"search {number}, {arm}")
    job, reported = Problem.open(settings), 0
    document = {**settings.model_dump(mode="json"), "digest": job.digest}
    with Study(work / f"{number}-{arm}", job.classes, settings.search, document=document) as study:
        backend = chosen_backend(job, settings, study.store)
        while (left := plan.budget - trained_of(study)) > 0:
            if study.finished:
                raise SystemExit(f"{study.directory}: {arm} rejects nearly every candidate; take another space or σ")
            chunk = study.pending()[: left if Backend.parse(backend).population else 1]
            seed, run = derive(number, "search", study.generation), settings.run
            losses, begun = [candidate.loss for candidate in chunk], time.perf_counter()
            found = trained(
                job.task, losses, [seed], settings.recipe, backend, share=run.partial, prune_at=run.prune_at
            )
            seconds = (time.perf_counter() - begun) / len(chunk)
            rows = zip(chunk, scores(found, job.validation), found.diverged.tolist(), pruned(found), strict=True)
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
            if share > reported:
                reported = share
                say(f"{trained_of(study)} of {plan.budget} trained, generation {study.generation}")
        finalists = again(job, settings, study, backend, number)
        best = max(finalists, key=lambda row: float(np.mean(row["scores"])))
        rows_of = study.candidates()
        return {
            "arm": arm,
            "way": backend,
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


def again(job: Problem, settings: EvolveSettings, study: Study, backend: str, number: int) -> list[dict[str, Any]]:
    """The best candidates and the mean of a search, trained in full with fresh seeds."""
    named = {f"candidate {one.generation}.{one.member}": one.loss for one in study.top(settings.run.finalists)}
    if study.mean is not None:
        named["mean of the search"] = study.mean
    seeds = seeds_of(number, "finalists", settings.run.finalist_seeds)
    right = scores(trained(job.task, list(named.values()), seeds, settings.recipe, backend), job.validation)
    rows = np.reshape(right, (len(named), len(seeds))).tolist()
    return [{"name": name, "loss": loss, "scores": row} for (name, loss), row in zip(named.items(), rows, strict=True)]


def tuned(plan: Budget, number: int) -> dict[str, Any]:
    """Cross-entropy with the learning rate that is best on validation data."""
    settings, started, loss = plan.of(number), time.perf_counter(), cross_entropy()
    job = Problem.open(settings)
    seeds = seeds_of(number, "finalists", settings.run.finalist_seeds)
    axis, backend = learning_rates(settings.recipe.lr), chosen_backend(job, settings)
    tuner = Tuner[list[float]]([Grid(BASELINE, (axis,))])

    def measured(places: Sequence[Setting]) -> dict[Setting, list[float]]:
        recipes = {one: settings.recipe.model_copy(update={"lr": axis.value(*one.place)}) for one in places}
        return {
            one: scores(trained(job.task, [loss], seeds, recipe, backend), job.validation)
            for one, recipe in recipes.items()
        }

    tried = tuner.search(measured)
    lr = axis.value(*tuner.ranked(tried, BASELINE)[0].place)
    teller(f"search {number}, {BASELINE}")(f"lr = {lr:g} of {len(tried)} tried")
    return {
        "arm": BASELINE,
        "way": backend,
        "lr": lr,
        "tried": [{"lr": axis.value(*one.place), "scores": tried[one]} for one in sorted(tried, key=lambda s: s.place)],
        "formula": loss.formula(),
        "loss": loss.to_json(),
        "seconds": round(time.perf_counter() - started),
    }


def judged(plan: Budget, number: int, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Test accuracy of fresh networks of each loss of search ``number``."""
    settings = plan.of(number)
    job, seeds = Problem.open(settings), seeds_of(number, "networks", plan.networks)
    samples, rows = job.test(), {}
    for part in parts:
        say = teller(f"search {number}, {part['arm']}")
        recipe = settings.recipe.model_copy(update={"lr": part["lr"]})
        found = trained(job.task, [Loss.from_json(part["loss"])], seeds, recipe, part["way"])
        test = scores(found, samples)
        rows[part["arm"]] = {**part, "seeds": seeds, "validation": scores(found, job.validation), "test": test}
        say(f"test accuracy {np.mean(test):.4f} ({np.std(test, ddof=1):.4f})")
    return {"search": number, "train": len(job.task.inputs), "test": len(samples[1]), "losses": rows}


def pruned(found: Trained) -> list[bool]:
    """Which networks were given up."""
    gone: list[bool] = [False] * len(found.diverged) if found.pruned is None else found.pruned.tolist()
    return gone


def trained_of(study: Study) -> int:
    """Candidates that a search has trained."""
    counts = study.counts()
    return int(counts["candidates"] - counts["untrainable"])
