"""Thin files for libraries that a user may have beside this one; none of these is imported before it is used.

Some training libraries need one to call a ``Criterion`` as they call their own losses; in most a criterion works as it
is, as `docs/integrations.md` shows. Others take what a study logs of its trials.
"""

from lossmith.integrations.fastai import FastaiCriterion
from lossmith.integrations.keras import keras_loss, keras_monitor
from lossmith.integrations.mlflow import MLflowCallback
from lossmith.integrations.progress import lightning_progress, trainer_progress
from lossmith.integrations.tensorboard import TensorBoardCallback
from lossmith.integrations.transformers import trainer_loss, trainer_metrics
from lossmith.integrations.wandb import WandbCallback

__all__ = [
    "FastaiCriterion",
    "MLflowCallback",
    "TensorBoardCallback",
    "WandbCallback",
    "keras_loss",
    "keras_monitor",
    "lightning_progress",
    "trainer_loss",
    "trainer_metrics",
    "trainer_progress",
]
