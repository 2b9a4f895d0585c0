"""Training of networks, one by one or a population at once, in this process or in others."""

from lossmith.metrics import accuracy
from lossmith.training.backend import OLD_NAMES, Backend, available, has_compiler
from lossmith.training.device import checked_device
from lossmith.training.executors import (
    EXECUTORS,
    Automatic,
    Call,
    Executor,
    Job,
    Local,
    Measure,
    Outcome,
    Processes,
    Ray,
    Watch,
    Work,
    executor,
    run_job,
    running,
)
from lossmith.training.imbalance import check_balance, class_weights
from lossmith.training.loop import LOOKED_AT, Judge, Samples
from lossmith.training.memory import check_memory
from lossmith.training.networks import Networks, Task
from lossmith.training.pace import Pace, measured_pace
from lossmith.training.recipe import Recipe
from lossmith.training.trainer import Figure, Trained, Trainer, check_recipe, check_state, repeated, train
from lossmith.training.tuner import Choice, Memory, choose_backend, measure, measured_choice, step_seconds

__all__ = [
    "EXECUTORS",
    "LOOKED_AT",
    "OLD_NAMES",
    "Automatic",
    "Backend",
    "Call",
    "Choice",
    "Executor",
    "Figure",
    "Job",
    "Judge",
    "Local",
    "Measure",
    "Memory",
    "Networks",
    "Outcome",
    "Pace",
    "Processes",
    "Ray",
    "Recipe",
    "Samples",
    "Task",
    "Trained",
    "Trainer",
    "Watch",
    "Work",
    "accuracy",
    "available",
    "check_balance",
    "check_memory",
    "check_recipe",
    "check_state",
    "checked_device",
    "choose_backend",
    "class_weights",
    "executor",
    "has_compiler",
    "measure",
    "measured_choice",
    "measured_pace",
    "repeated",
    "run_job",
    "running",
    "step_seconds",
    "train",
]
