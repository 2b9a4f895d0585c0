"""The whole of a study: search, finalists, winner."""

from __future__ import annotations

import errno
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from lossmith.data import DataSettings, Source, find_max_pixel, open_source, part_sizes, search_parts, test_part
from lossmith.errors import InputError
from lossmith.io import write_json
from lossmith.losses import Loss, cross_entropy, save
from lossmith.nets import check_name, check_network, network_factory
from lossmith.search.objective import Objective, figures
from lossmith.seeds import derive
from lossmith.study.config import EvolveSettings, with_data
from lossmith.study.pareto import FILE, PRUNED, pareto_document
from lossmith.study.study import Result, Study
from lossmith.training import Choice, Task, Way, available, check_recipe, choose_way, repeated, train

SMOOTHINGS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
TELL_SECONDS = 0.3
NAMED = 8
LOG = logging.getLogger("lossmith")
Item = TypeVar("Item")


@dataclass(frozen=True)
class Progress:
    """Where a study stands; given to the caller after every chunk.

    Args:
        phase: ``"search"``, ``"smoothing"`` (tuning label smoothing for the finalists), ``"final"`` (training the
            finalists again) or ``"done"``.
        done: Share of the phase, 0 to 1.
        generation: Generations completed.
        generations: Generations in all.
        best: Highest fitness so far, or None.
        mean: Mean fitness of the last stored generation, or None.
        untrainable: Candidates that the invariant has rejected.
        diverged: Candidates that have diverged.
        candidates: Candidates stored.
        trainings: Networks trained for the search, in this process and before.
    """

    phase: str
    done: float
    generation: int
    generations: int
    best: float | None
    mean: float | None
    candidates: int
    untrainable: int
    diverged: int
    trainings: int


@dataclass(frozen=True)
class Outcome:
    """What a study ends with.

    Args:
        loss: The winner.
        classes: Number of classes of the data.
        provenance: Where it came from, as in ``best.json``.
        seconds: Time of each part of the work in this process.
    """

    loss: Loss
    classes: int
    provenance: dict[str, Any]
    seconds: dict[str, float] = field(default_factory=dict)


def evolve(
    directory: str | os.PathLike[str],
    settings: EvolveSettings,
    source: Source | None = None,
    *,
    objective: Objective | None = None,
    report: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Search a loss for a network on data, train the finalists again, and write the winner to ``best.json``.

    Run again on the same directory, it goes on where it stopped; an ended study is left as it is.

    Args:
        directory: The study's directory.
        settings: Everything that decides the outcome.
        source: The data, if it is not what ``settings.data.source`` names.
        objective: Fitness ``[P]`` (higher is better) of trained networks on validation inputs and targets, or several
            figures by name with ``"fitness"`` among them, instead of what ``settings.objective`` says. Its name is
            stored, and a study goes on with an objective of the same name only.
        report: Called with the progress.

    Raises:
        InputError: if an input cannot be used, with the directory left as it was.
    """
    if source is not None:
        settings = with_data(settings, source.name)
    job = Job.open(settings, source)
    document = {**settings.model_dump(mode="json"), "digest": job.digest}
    started = time.perf_counter()
    defaults = EvolveSettings().model_dump(mode="json")
    with Study(directory, job.classes, settings.search, document=document, defaults=defaults) as study:
        _agree_on(study, objective)
        work = _Work(study, job, settings, objective or settings.objective.build(), report or (lambda _: None))
        work.versions()
        work.describe()
        work.search()
        loss, provenance = work.finish()
        return Outcome(loss, job.classes, provenance, {**work.seconds, "all": time.perf_counter() - started})


def _agree_on(study: Study, objective: Objective | None) -> None:
    """See that a study goes on with the objective it began with; a function from Python is known by its name.

    Raises:
        InputError: if it has another one.
    """
    name = None if objective is None else getattr(objective, "__qualname__", type(objective).__qualname__)
    stored = study.store.setting("objective")
    if stored is None and not study.candidates():
        study.store.set("objective", {"function": name})
    elif stored is not None and stored["function"] != name:
        kept, wanted = (f"the function {one}" if one else "that of its settings" for one in (stored["function"], name))
        raise InputError(
            f"the study in {study.directory} was begun with another objective ({kept}, not {wanted}); go on with the "
            "same one, or choose another directory"
        )


@dataclass(frozen=True)
class Job:
    """The data and network of a study, on the device that trains."""

    task: Task
    validation: tuple[Tensor, Tensor]
    source: Source
    split: DataSettings

    @property
    def digest(self) -> str:
        """What identifies the data."""
        return self.source.digest

    @property
    def classes(self) -> int:
        """K."""
        return self.task.classes

    @staticmethod
    def open(settings: EvolveSettings, source: Source | None = None) -> Job:
        """Load the data, build the network's factory and check that the two fit."""
        device = checked_device(settings.run.device)
        check_name(settings.model.name)
        source = open_source(source if source is not None else settings.data.source, settings.data)
        parts = search_parts(source, settings.data)
        factory = network_factory(settings.model, parts.train.inputs, parts.classes)
        check_network(factory, parts.train.inputs[: settings.recipe.batch_size], parts.classes)
        train_part, validation = parts.train.to(device), parts.validation.to(device)
        held_out = (validation.inputs, validation.targets)
        max_pixel = _max_pixel(source, settings)
        task = Task(factory, train_part.inputs, train_part.targets, parts.classes, max_pixel, held_out)
        check_recipe(task, settings.recipe)
        return Job(task, held_out, source, settings.data)

    def described(self) -> dict[str, Any]:
        """The data in words and numbers: name, shape of a sample, classes and their names, sizes of the parts."""
        source = self.source
        return {
            "name": source.name,
            "shape": list(source.input_shape),
            "classes": source.classes,
            "class_names": None if source.class_names is None else list(source.class_names),
            **part_sizes(source, self.split),
        }

    def test(self) -> tuple[Tensor, Tensor]:
        """Inputs and labels of the test part; for what is done once, at the end."""
        part = test_part(self.source, self.split).to(self.task.device)
        return part.inputs, part.targets


def _max_pixel(source: Source, settings: EvolveSettings) -> float | None:
    """The value of a white pixel; None if there is none and no attack needs it."""
    try:
        return find_max_pixel(source, settings.data)
    except InputError:
        if settings.is_attacked:
            raise
        return None


def checked_device(name: str) -> torch.device:
    """The device of a name.

    Raises:
        InputError: if PyTorch does not know it or this machine does not have it.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0].rstrip(".")
        if reason.startswith("Expected one of"):
            reason = "PyTorch knows no device of that name"
        raise InputError(
            f"the device {name!r} cannot be used ({reason}); take cpu, or a device that PyTorch finds"
        ) from None
    return device


class _Work:
    """The work of one process on a study."""

    def __init__(
        self,
        study: Study,
        job: Job,
        settings: EvolveSettings,
        objective: Objective,
        report: Callable[[Progress], None],
    ) -> None:
        self.study, self.job, self.settings = study, job, settings
        self.objective, self.report = objective, report
        self.seed = settings.search.seed
        self.log = TrainingLog(study.directory / "training.log")
        self.told = 0.0
        self.seconds = {"measuring": 0.0, "training": 0.0}

    def search(self) -> None:
        """Train what is missing, chunk by chunk; the chunks of a generation do not depend on what is stored of it."""
        study, replicates = self.study, self.settings.run.replicates
        while not study.finished:
            generation, chunks = study.generation, self._chunks(study.trainable(), replicates)
            seeds = [derive(self.seed, "search", generation, replicate) for replicate in range(replicates)]
            waiting = {candidate.member for candidate in study.pending()}
            for number, chunk in enumerate(chunks):
                if chunk[0].member in waiting:
                    self._tell("search", (generation + number / len(chunks)) / study.search.generations)
                    label = {"generation": generation, "members": [candidate.member for candidate in chunk]}
                    with self.log.chunk("search", label):
                        progress = self._progress_within(
                            "search", generation, number, len(chunks), study.search.generations
                        )
                        measured = self._train([candidate.loss for candidate in chunk], seeds, progress, searching=True)
                        study.record(
                            Result(
                                candidate,
                                None if lost else float(np.mean(row["fitness"])),
                                "diverged" if lost else "ok",
                                tuple(row["fitness"]),
                                measured.seconds / len(chunk),
                                {name: tuple(values) for name, values in row.items() if name != "fitness"},
                            )
                            for candidate, row, lost in zip(chunk, measured.rows, measured.diverged, strict=True)
                        )
        self._tell("search", 1.0)

    def finish(self) -> tuple[Loss, dict[str, Any]]:
        """Tune label smoothing, train the finalists with fresh seeds, and write the winner."""
        seeds = self.settings.run.finalist_seeds
        smoothed = [
            Entry(f"label smoothing {alpha:g}", {"kind": "label smoothing", "alpha": alpha}, self._smoothed(alpha))
            for alpha in SMOOTHINGS
        ]
        smoothings = self._tried("smoothing", smoothed, (seeds + 1) // 2)
        entries = [
            Entry(
                f"candidate {candidate.generation}.{candidate.member}",
                {
                    "kind": "candidate",
                    "generation": candidate.generation,
                    "member": candidate.member,
                    "theta": candidate.theta,
                },
                candidate.loss,
            )
            for candidate in self.study.top(self.settings.run.finalists)
        ]
        entries.append(Entry("mean of the search", {"kind": "mean", "theta": self.study.mean_theta}, self.study.mean))
        entries.append(Entry("cross-entropy", {"kind": "cross-entropy"}, cross_entropy()))
        if any(row["mean"] is not None for row in smoothings):
            tuned = self._winner(smoothings)
            entries.append(Entry(tuned["name"], tuned["origin"], Loss.from_json(tuned["loss"])))
        finalists = self._tried("final", entries, seeds)
        winner = self._winner(finalists)
        loss = replace(
            Loss.from_json(winner["loss"]), name="evolved" if "theta" in winner["origin"] else winner["name"]
        )
        provenance = self._provenance(winner, finalists)
        found = pareto_document(self.study.candidates(), finalists, self.study.loss_of, provenance)
        if found is not None:
            write_json(found, self.study.directory / FILE)
        save(loss, self.study.directory / "best.json", provenance=provenance)
        self._tell("done", 1.0)
        return loss, provenance

    def describe(self) -> None:
        """Say what the data is, and store it."""
        data, batch = self.data(), self.settings.recipe.batch_size
        LOG.info("%s", data_line(data))
        if batch > data["train"]:
            LOG.warning("a batch of %d is larger than the training part: it holds all %d samples", batch, data["train"])

    def data(self) -> dict[str, Any]:
        """What the data is, as it was when the study began."""
        stored: dict[str, Any] | None = self.study.store.setting("data")
        if stored is None:
            stored = self.job.described()
            self.study.store.set("data", stored)
        return stored

    def versions(self) -> dict[str, str]:
        """The versions that the study began with."""
        stored: dict[str, str] | None = self.study.store.setting("versions")
        if stored is None:
            stored = {"lossmith": version("lossmith"), "torch": torch.__version__}
            self.study.store.set("versions", stored)
        return stored

    def way(self) -> Way:
        """The way of training: as set, or as measured when the study began."""
        chosen = self.settings.run.training
        if chosen != "auto":
            return chosen
        stored = self.study.store.setting("way")
        if stored is None:
            started = time.perf_counter()
            choice = self._choice()
            stored = {"way": choice.way, "seconds": choice.seconds, "failed": choice.failed}
            self.study.store.set("way", stored)
            self.seconds["measuring"] += time.perf_counter() - started
        return available(stored["way"], self.job.task.device)

    def _choice(self) -> Choice:
        task, recipe, replicates = self.job.task, self.settings.recipe, self.settings.run.replicates
        count = min(self.settings.search.population, max(1, self.settings.run.chunk // replicates))
        losses = Loss.stack([cross_entropy()] * count)
        seeds = [derive(self.seed, "measuring", replicate) for replicate in range(replicates)]
        chunks = -(-self.settings.search.population // count)
        length = round(self.settings.run.partial * recipe.total_steps(len(task.inputs)))
        batches = length * self.settings.search.generations * chunks
        return choose_way(task, repeated(losses, replicates), seeds * count, recipe, batches)

    def _tried(self, stage: str, entries: Sequence[Entry], count: int) -> list[dict[str, Any]]:
        seeds = [derive(self.seed, stage, number) for number in range(count)]
        stored = {row["rank"] for row in self.study.store.finalists(stage)}
        chunks = self._chunks(list(enumerate(entries)), count)
        for number, chunk in enumerate(chunks):
            if chunk[0][0] not in stored:
                self._tell(stage, number / len(chunks))
                with self.log.chunk(stage, {"ranks": [rank for rank, _ in chunk]}):
                    progress = self._progress_within(stage, 0, number, len(chunks), 1)
                    measured = self._train([entry.loss for _, entry in chunk], seeds, progress)
                    self.study.store.add_finalists(
                        {
                            "stage": stage,
                            "rank": rank,
                            "name": entry.name,
                            "origin": entry.origin,
                            "loss": entry.loss.to_json(),
                            "status": "diverged" if lost else "ok",
                            "mean": None if lost else float(np.mean(row["fitness"])),
                            "scores": row["fitness"],
                            "seconds": measured.seconds / len(chunk),
                            "figures": {name: values for name, values in row.items() if name != "fitness"},
                        }
                        for (rank, entry), row, lost in zip(chunk, measured.rows, measured.diverged, strict=True)
                    )
        return self.study.store.finalists(stage)

    def _winner(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        sound = [row for row in rows if row["mean"] is not None]
        if not sound:
            raise InputError(
                f"every finalist diverged with lr = {self.settings.recipe.lr:g}; begin another study with a lower lr"
            )
        return max(sound, key=lambda row: row["mean"])

    def _train(
        self, losses: Sequence[Loss], seeds: Sequence[int], progress: Callable[[float], None], searching: bool = False
    ) -> Measured:
        way, started, run = self.way(), time.perf_counter(), self.settings.run
        population = repeated(Loss.stack(losses), len(seeds))
        share, prune_at = (run.partial, run.prune_at) if searching else (1.0, None)
        seeds_of_all = list(seeds) * len(losses)
        recipe = self.settings.recipe
        trained = train(
            self.job.task, population, seeds_of_all, recipe, way, share=share, prune_at=prune_at, progress=progress
        )
        found = {name: value.cpu() for name, value in figures(self.objective(trained, *self.job.validation)).items()}
        if PRUNED in found:
            raise InputError(
                f"the objective gave a figure called {PRUNED!r}, which a study keeps for itself; rename it"
            )
        if prune_at is not None and trained.pruned is not None:
            found[PRUNED] = trained.pruned.double()
        for name, values in found.items():
            if values.shape != (len(losses) * len(seeds),):
                raise InputError(
                    f"the objective gave a shape of {tuple(values.shape)} for {name}; it must give one number for each "
                    "network"
                )
        lost = (trained.diverged.cpu() | ~found["fitness"].isfinite()).reshape(len(losses), -1).any(1)
        lists = {
            name: torch.where(values.isfinite(), values, 0.0).reshape(len(losses), -1).tolist()
            for name, values in found.items()
        }
        rows = [{name: values[place] for name, values in lists.items()} for place in range(len(losses))]
        seconds = time.perf_counter() - started
        self.seconds["training"] += seconds
        return Measured(rows, lost.tolist(), seconds)

    def _chunks(self, items: list[Item], replicates: int) -> list[list[Item]]:
        size = 1 if self.way().startswith("plain") else max(1, self.settings.run.chunk // replicates)
        return [items[start : start + size] for start in range(0, len(items), size)]

    def _smoothed(self, alpha: float) -> Loss:
        return cross_entropy().smoothed(alpha, self.job.classes)

    def _progress_within(self, phase: str, done: int, chunk: int, chunks: int, total: int) -> Callable[[float], None]:
        """Reports the progress within a chunk, at most a few times a second."""

        def progress(share: float) -> None:
            if time.perf_counter() - self.told > TELL_SECONDS:
                self._tell(phase, (done + (chunk + share) / chunks) / total)

        return progress

    def _tell(self, phase: str, done: float) -> None:
        self.told = time.perf_counter()
        self.report(Progress(phase, done, self.study.generation, self.study.search.generations, **self.study.counts()))

    def _provenance(self, winner: dict[str, Any], finalists: list[dict[str, Any]]) -> dict[str, Any]:
        counts = self.study.counts()
        settings = self.settings.model_dump(mode="json")
        settings["data"]["source"] = Path(settings["data"]["source"]).name
        candidates = {name: counts[name] for name in ("candidates", "untrainable", "diverged", "trainings")}
        if self.settings.run.prune_at is not None:
            candidates["dropped trainings"] = pruned_trainings(self.study.candidates())
        return {
            "origin": winner["origin"],
            "validation": spread(winner["scores"]),
            "finalists": [
                {
                    "name": row["name"],
                    "status": row["status"],
                    **spread(row["scores"]),
                    "figures": {name: spread(values) for name, values in row["figures"].items()},
                }
                for row in finalists
            ],
            "candidates": candidates,
            "invariant": self.study.verdicts(),
            "objective": (self.study.store.setting("objective") or {}).get("function"),
            "data": self.data(),
            "digest": self.job.digest,
            "settings": settings,
            "training": self.way(),
            "versions": self.versions(),
        }


def data_line(data: dict[str, Any]) -> str:
    """What :meth:`Job.described` tells, in one line."""
    names = data["class_names"] or []
    called = f" ({', '.join(names[:NAMED])}{', …' * (len(names) > NAMED)})" if names else ""
    shape = " × ".join(map(str, data["shape"]))
    return (
        f"{data['name']}: {data['classes']} classes{called}, samples of {shape}; {data['train']} for training, "
        f"{data['validation']} for validation, {data['test']} for test"
    )


def pruned_trainings(rows: Sequence[dict[str, Any]]) -> int:
    """How many networks of stored candidates were given up as hopeless."""
    return round(sum(sum(row["figures"].get(PRUNED, ())) for row in rows))


@dataclass(frozen=True)
class Measured:
    """What a chunk of trainings gave.

    Args:
        rows: For each loss its figures by name, one number for each of its networks; ``"fitness"`` among them.
        diverged: Whether one of a loss's networks has diverged.
        seconds: How long all of it took.
    """

    rows: list[dict[str, list[float]]]
    diverged: list[bool]
    seconds: float


@dataclass(frozen=True)
class Entry:
    """A finalist: its name, where it comes from, its loss."""

    name: str
    origin: dict[str, Any]
    loss: Loss


class TrainingLog:
    """Lines of JSON that say which chunk was begun and which was stored, so that nobody has to trust the resume."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def chunk(self, stage: str, label: dict[str, Any]) -> Iterator[None]:
        """Say that a chunk begins and, after the block, that it is stored."""
        self._write({"event": "begun", "stage": stage, **label})
        yield
        self._write({"event": "stored", "stage": stage, **label})

    def _write(self, line: dict[str, Any]) -> None:
        stamped = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **line}
        content = (json.dumps(stamped) + "\n").encode()
        try:
            _append(content, self.path)
        except OSError as error:
            raise InputError(
                f"{self.path} cannot be written: {error.strerror}; make room and run the same command again"
            ) from None


def _append(content: bytes, path: Path) -> None:
    """Add to a file, all or nothing."""
    with path.open("ab", buffering=0) as file:
        size = file.tell()
        if file.write(content) < len(content):
            file.truncate(size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def spread(scores: Sequence[float]) -> dict[str, Any]:
    """Mean, sample standard deviation and number of some scores."""
    return {
        "mean": float(np.mean(scores)),
        "std": float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
        "n": len(scores),
    }
