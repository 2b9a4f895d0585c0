"""Trials of a study in Weights & Biases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lossmith.errors import InputError, installing
from lossmith.integrations.trials import figures_of, number_of, settings_of, texts_of

if TYPE_CHECKING:
    from lossmith.study import Result, Study


class WandbCallback:
    """Logs every trial of a study to one run of Weights & Biases, with the settings of the search as its configuration.

    It has metrics over ``trial``, the number of the trial: ``fitness``, the ``best`` so far, how many candidates
    ``failed``, and each recorded figure. The best loss and the last error are in the summary.

    Args:
        project: The name of the project.
        options: What else ``wandb.init`` takes: ``name=``, ``mode="offline"``, ``dir=``, …

    Raises:
        InputError: if wandb is not installed.

    Example:
        ``study.optimize(train, callbacks=[WandbCallback("losses", mode="offline")])``
    """

    def __init__(self, project: str = "lossmith", **options: Any) -> None:
        try:
            import wandb
        except ImportError:
            raise InputError(
                f"trials are logged to Weights & Biases, and wandb is not installed: {installing('wandb')}"
            ) from None
        self._init, self._options = wandb.init, {"project": project, **options}
        self.run: Any = None
        self._best: float | None = None

    def __call__(self, study: Study, trial: Result) -> None:
        """Log a trial."""
        if self.run is None:
            self._begin(study)
        texts, number = texts_of(trial), number_of(study, trial)
        # Trials may be told in any order, and wandb's own step can only grow.
        self.run.log({"trial": number, **figures_of(study, trial)})
        if trial.error is not None:
            self.run.summary["error"] = f"candidate {number}: {texts['error']}"
        if trial.fitness is not None and (self._best is None or trial.fitness > self._best):
            self._best = trial.fitness
            self.run.summary["best loss"] = texts["loss"]

    def close(self) -> None:
        """End the run."""
        if self.run is not None:
            self.run.finish()

    def _begin(self, study: Study) -> None:
        self.run = self._init(**self._options, config=settings_of(study))
        self.run.define_metric("trial")
        self.run.define_metric("*", step_metric="trial")
