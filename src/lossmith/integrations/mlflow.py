"""Trials of a study in MLflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lossmith.errors import InputError, installing
from lossmith.integrations.trials import figures_of, number_of, settings_of, texts_of

if TYPE_CHECKING:
    from lossmith.study import Result, Study


class MLflowCallback:
    """Logs every trial of a study to one run of MLflow, with the settings of the search as its parameters.

    It has metrics by the number of the trial: ``fitness``, the ``best`` so far, how many candidates ``failed``, and
    each recorded figure. The best loss and the last error are tags.

    Args:
        experiment: The name of the experiment; it is made if it is not there.
        tracking_uri: Where it is kept; MLflow's own choice without it.
        run_name: What the run is called.

    Raises:
        InputError: if MLflow is not installed.

    Example:
        ``study.optimize(train, callbacks=[MLflowCallback("losses", "sqlite:///mlflow.db")])``
    """

    def __init__(
        self, experiment: str = "lossmith", tracking_uri: str | None = None, run_name: str | None = None
    ) -> None:
        try:
            from mlflow import MlflowClient
        except ImportError:
            raise InputError(f"trials are logged to MLflow, which is not installed: {installing('mlflow')}") from None
        # Through a client, so that no run of the user's own is active instead or ended.
        self._client: Any = MlflowClient(tracking_uri)
        found = self._client.get_experiment_by_name(experiment)
        self._experiment = self._client.create_experiment(experiment) if found is None else found.experiment_id
        self._run_name, self.run_id = run_name, ""
        self._best: float | None = None

    def __call__(self, study: Study, trial: Result) -> None:
        """Log a trial."""
        if not self.run_id:
            self._begin(study)
        number = number_of(study, trial)
        for name, value in figures_of(study, trial).items():
            self._client.log_metric(self.run_id, name, value, step=number)
        texts = texts_of(trial)
        if trial.error is not None:
            self._client.set_tag(self.run_id, "error", f"candidate {number}: {texts['error']}")
        if trial.fitness is not None and (self._best is None or trial.fitness > self._best):
            self._best = trial.fitness
            self._client.set_tag(self.run_id, "best loss", texts["loss"])

    def close(self) -> None:
        """End the run."""
        if self.run_id:
            self._client.set_terminated(self.run_id)

    def _begin(self, study: Study) -> None:
        self.run_id = self._client.create_run(self._experiment, run_name=self._run_name).info.run_id
        for name, value in settings_of(study).items():
            self._client.log_param(self.run_id, name, value)
