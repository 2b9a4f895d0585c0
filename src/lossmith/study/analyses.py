"""Networks trained with some losses on a study's data, network and recipe, and looked at; the records are kept.

Records lie in the database of the study beside the comparison's, so that the same look at the same loss is there at
once, and one that was stopped goes on with the losses that are missing.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from lossmith.analysis import Chunks, Look, Part, Trace, TrainedLoss, each_loss, results_of, trace
from lossmith.code import source_of
from lossmith.losses import Loss, cross_entropy, find_all, loss_file
from lossmith.seeds import derive
from lossmith.study.budget import Budget, amount_text, parsed_time, time_text
from lossmith.study.config import EvolveSettings, portable
from lossmith.study.estimates import beyond
from lossmith.study.kept import Remembered, Shelf, read_record
from lossmith.study.legacy import identifying
from lossmith.study.problem import Problem
from lossmith.training import Backend, Executor, Trained, choose_backend, repeated, step_seconds

LOG = logging.getLogger("lossmith")
LARGEST_TRACE = 2_000_000  # Numbers of a trace that a database keeps; about 20 bytes each.
Report = Callable[[float], None]


@dataclass(frozen=True)
class Analysis:
    """Data, network and losses, all checked.

    Args:
        problem: What is trained on.
        losses: What it is trained with.
        settings: Of the study, or of flags.
        shelf: Where records are kept.
        limit: Seconds that the trainings may be estimated to take; None for any.
    """

    problem: Problem
    losses: list[Loss]
    settings: EvolveSettings
    shelf: Shelf
    limit: float | None = None

    @staticmethod
    @contextmanager
    def open(
        texts: Sequence[str], settings: EvolveSettings, time_limit: float | str | None = None
    ) -> Iterator[Analysis]:
        """Load the data, build the network and find the losses; records go to the study of the first loss file.

        Args:
            texts: What names the losses.
            settings: Of the study, or of flags.
            time_limit: How long the trainings may be estimated to take, in seconds or as ``"30m"``; None for any.

        Raises:
            InputError: if one of them cannot be used.
        """
        limit = None if time_limit is None else parsed_time(time_limit)
        problem = Problem.open(settings)
        losses = find_all(texts, problem.classes)
        shelf = Shelf(_study_of(texts))
        try:
            yield Analysis(problem, losses, settings, shelf, limit)
        finally:
            shelf.close()

    def look(
        self, kind: str, look: Look, count: int, seed: int, executor: Executor, measuring: Report, report: Report
    ) -> tuple[list[Any], Backend]:
        """Train networks with each loss, the same initial weights and batches for all, and look at them.

        Args:
            kind: What the look is called.
            look: What is looked at.
            count: Networks for each loss.
            seed: What their seeds are derived from.
            executor: Runs the trainings and the look.
            measuring: Called before the backend is measured.
            report: Called with the share of the work that is done.

        Returns:
            The records, one for each loss, and how the networks were run.
        """
        recipe, task = self.settings.recipe, self.problem.task
        seeds = [derive(seed, "networks", number) for number in range(count)]
        # What is fastest for cross-entropy is taken for all losses, so that they are trained alike.
        population = repeated(Loss.stack([cross_entropy()]), count)
        batches = recipe.total_steps(len(task.inputs)) * len(self.losses)
        backend, step = self._backend(executor, population, seeds, batches, measuring)
        key = self._key(kind, look.plan(), backend, seed, count)
        parts = [
            Part(
                _nameless([loss]),
                each_loss(task, [loss], seeds, recipe, backend, partial(_seen, loss, look), measuring=0.5),
                1.0,
            )
            for loss in self.losses
        ]
        known = self._recalled(kind, key, {part.key: loss.name for part, loss in zip(parts, self.losses, strict=True)})
        path = self.shelf.path
        records = {
            loss.name: read_record(partial(_named, look, loss), known[part.key], count, f"{kind} of {loss.name}", path)
            for part, loss in zip(parts, self.losses, strict=True)
            if part.key in known
        }
        missing = count * (len(parts) - len(known))
        if missing:
            self._tell(kind, missing, step() / executor.workers)
        found = results_of(parts, executor, Chunks(known.get, partial(self.shelf.keep, key)), report)
        return [
            records[loss.name] if loss.name in records else _named(look, loss, document)
            for loss, document in zip(self.losses, found, strict=True)
        ], backend

    def trace(
        self, seed: int, samples: int | None, executor: Executor, measuring: Report, report: Report
    ) -> tuple[Trace, Backend]:
        """Train a network with each loss and watch single samples (:func:`lossmith.analysis.trace`).

        Args:
            seed: Of initial weights, batches, and the choice of samples.
            samples: Samples that are drawn in each epoch; None takes all.
            executor: Runs the training.
            measuring: Called before the backend is measured.
            report: Called with the share of the work that is done.
        """
        recipe, task = self.settings.recipe, self.problem.task
        population, seeds = Loss.stack(self.losses), [seed] * len(self.losses)
        backend, step = self._backend(executor, population, seeds, recipe.total_steps(len(task.inputs)), measuring)
        key = self._key("trace", {"samples": samples}, backend, seed, 1)
        part, names = _nameless(self.losses), ", ".join(loss.name for loss in self.losses)
        known = self._recalled("trace", key, {part: names})
        if known:
            what = f"the trace of {names}"
            return read_record(Trace.from_json, known[part], 1, what, self.shelf.path), backend
        self._tell("trace", len(seeds), step())
        found = trace(task, population, seed, recipe, backend, samples, report, executor)
        if self.shelf.path is not None and found.size > LARGEST_TRACE:
            LOG.warning(
                "a trace of %d numbers is not kept in %s, which is for smaller ones", found.size, self.shelf.path
            )
        elif self.shelf.path is not None:
            self.shelf.keep(key, part, found.to_json(), 0.0)
        return found, backend

    def described(self, count: int, seed: int, backend: Backend) -> dict[str, Any]:
        """What stands behind figures of such networks, for JSON."""
        document = portable(self.settings)
        return {
            "settings": {part: document[part] for part in ("data", "model", "recipe")},
            "seed": seed,
            "seeds": count,
            "training": str(backend),
            "device": self.settings.run.device,
            "versions": _versions(),
            "losses": [{"name": loss.name, "loss": loss.to_json()} for loss in self.losses],
        }

    def _backend(
        self, executor: Executor, losses: Loss, seeds: Sequence[int], batches: int, measuring: Report
    ) -> tuple[Backend, Callable[[], float]]:
        """How networks are run, and what tells the seconds that one batch of one of them takes."""
        # Without a memory the next measurement could end otherwise, and what is kept would not be found again.
        run = {"device": self.settings.run.device, "networks": len(seeds)}
        memory, recipe = Remembered(self.shelf, self._digest({"run": run})), self.settings.recipe
        if self.settings.run.training == "auto" and memory.setting("backend") is None:
            measuring(0.0)
        trainer = executor.trainer(self.problem.task)
        backend = choose_backend(self.settings.run.training, trainer, losses, seeds, recipe, batches, memory)
        return backend, lambda: step_seconds(backend, trainer, losses, seeds, recipe, memory)

    def _tell(self, kind: str, networks: int, step: float) -> None:
        """Say what will be trained, and how long that takes.

        Raises:
            InputError: if that is longer than the time limit.
        """
        steps = self.settings.recipe.total_steps(len(self.problem.task.inputs))
        budget = Budget({"training": float(networks)}, step * steps)
        if self.limit is not None and budget.total > self.limit:
            raise beyond(self.limit, "training the networks", budget)
        LOG.info("%s trains %s networks, about %s", kind, amount_text(networks), time_text(budget.total))

    def _key(self, kind: str, plan: dict[str, Any], backend: Backend, seed: int, count: int) -> str:
        run = {"training": str(backend), "device": self.settings.run.device, "seed": seed, "networks": count}
        return f"{kind} {self._digest({'run': run, 'plan': plan})}"

    def _digest(self, document: dict[str, Any]) -> str:
        """What identifies something that is done with the data and settings, wherever the data lies.

        A figure of other code is not the same figure: of another version, or of a network that was edited since.
        """
        settings = self.settings.model_dump(mode="json", include={"data": True, "model": True, "recipe": True})
        settings["data"].pop("source")
        settings = {part: identifying(part, values) for part, values in settings.items()}
        code = {**_versions(), "network": source_of(self.settings.model.name)}
        whole = {"data": self.problem.digest, "settings": settings, "code": code, **document}
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]

    def _recalled(self, kind: str, key: str, names: Mapping[str, str]) -> dict[str, Any]:
        """What is kept of some parts, which is told."""
        known = self.shelf.recalled(key, list(names))
        if known:
            LOG.info("%s of %s: as kept in %s", kind, ", ".join(names[part] for part in known), self.shelf.path)
        return known


def _versions() -> dict[str, str]:
    return {"lossmith": version("lossmith"), "torch": torch.__version__}


def _seen(loss: Loss, look: Look, trained: Trained, progress: Report) -> dict[str, Any]:
    return look(TrainedLoss(loss.name, loss, trained.networks, trained.diverged), progress)


def _nameless(losses: Sequence[Loss]) -> str:
    """Losses as JSON without their names, which depend on where a file is looked at from."""
    return json.dumps([{key: value for key, value in loss.key().items() if key != "name"} for loss in losses])


def _named(look: Look, loss: Loss, document: dict[str, Any]) -> Any:
    """The record of a document, under the name that the loss has now."""
    return look.read({**document, "name": loss.name})


def _study_of(texts: Sequence[str]) -> Path | None:
    """The directory of the study that the first loss file lies in, if it does."""
    file = next((file for file in map(loss_file, texts) if file is not None), None)
    return None if file is None or not (file.parent / "study.db").exists() else file.parent
