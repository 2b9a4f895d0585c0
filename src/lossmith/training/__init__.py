"""Training of networks, one by one or a population at once."""

from lossmith.metrics import accuracy
from lossmith.training.device import checked_device
from lossmith.training.networks import Networks, Task
from lossmith.training.recipe import Recipe
from lossmith.training.trainer import Choice, Trained, Way, available, check_recipe, choose_way, repeated, train

__all__ = [
    "Choice",
    "Networks",
    "Recipe",
    "Task",
    "Trained",
    "Way",
    "accuracy",
    "available",
    "check_recipe",
    "checked_device",
    "choose_way",
    "repeated",
    "train",
]
