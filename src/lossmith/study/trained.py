"""Networks trained with some losses on the data, network and recipe of settings, to be looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from lossmith.analysis.trained import TrainedLoss, train_loss
from lossmith.losses import Loss, cross_entropy, find_all, loss_file
from lossmith.seeds import derive
from lossmith.study.comparison import settings_of
from lossmith.study.config import EvolveSettings
from lossmith.study.evolve import Job
from lossmith.training import Way, choose_way, repeated

Report = Callable[[float], None]


@dataclass(frozen=True)
class Opened:
    """Data, network and losses, all checked."""

    job: Job
    losses: list[Loss]
    settings: EvolveSettings

    @staticmethod
    def open(texts: Sequence[str], settings: EvolveSettings) -> Opened:
        """Load the data, build the network and find the losses.

        Raises:
            InputError: if one of them cannot be used.
        """
        job = Job.open(settings)
        return Opened(job, find_all(texts, job.classes), settings)

    def way(self, losses: Loss, seeds: Sequence[int], batches: int) -> Way:
        """The way of training: as set, or the one that a measurement with some losses finds fastest.

        Args:
            losses: As many as are trained together.
            seeds: One for each.
            batches: Steps of all trainings that come.
        """
        chosen = self.settings.run.training
        if chosen != "auto":
            return chosen
        return choose_way(self.job.task, losses, list(seeds), self.settings.recipe, batches).way

    def train(self, count: int, seed: int, measuring: Report, training: Report) -> tuple[list[TrainedLoss], Way]:
        """Some networks for each loss, with the same initial weights and batches, and the way of their training.

        Args:
            count: Networks for each loss.
            seed: What their seeds are derived from.
            measuring: Called before the way of training is measured.
            training: Called with the share of the training that is done.
        """
        job, recipe = self.job, self.settings.recipe
        seeds = [derive(seed, "networks", number) for number in range(count)]
        if self.settings.run.training == "auto":
            measuring(0.0)
        # What is fastest for cross-entropy is taken for all losses, so that they are trained alike.
        batches = recipe.total_steps(len(job.task.inputs)) * len(self.losses)
        way = self.way(repeated(Loss.stack([cross_entropy()]), count), seeds, batches)
        found = []
        for number, loss in enumerate(self.losses):

            def progress(share: float, number: int = number) -> None:
                training((number + share) / len(self.losses))

            progress(0.0)
            found.append(train_loss(job.task, loss.name, loss, seeds, recipe, way, progress=progress))
        return found, way

    def described(self, count: int, seed: int, way: Way) -> dict[str, Any]:
        """What stands behind figures of such networks, for JSON."""
        document = self.settings.model_dump(mode="json", include={"data": True, "model": True, "recipe": True})
        document["data"]["source"] = Path(self.settings.data.source).name
        return {
            "settings": document,
            "seed": seed,
            "seeds": count,
            "training": way,
            "device": self.settings.run.device,
            "versions": {"lossmith": version("lossmith"), "torch": torch.__version__},
            "losses": [{"name": loss.name, "loss": loss.to_json()} for loss in self.losses],
        }


def settings_for(texts: Sequence[str]) -> EvolveSettings:
    """Settings that the best.json files among some losses were evolved with, or the defaults.

    Raises:
        InputError: if two of them disagree.
    """
    known = settings_of([file for file in map(loss_file, texts) if file is not None])
    return EvolveSettings() if known is None else known[0]
