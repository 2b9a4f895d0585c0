"""Networks that the memory does not hold: said before the work where it can be known, and else in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lossmith.errors import InputError
from lossmith.memory import amount, available_memory
from lossmith.nets import bytes_of, parameters_of
from lossmith.training.networks import Task
from lossmith.training.recipe import Recipe
from lossmith.training.shortage import is_shortage

OPTIMIZER_COPIES = {"sgd": 1, "adamw": 2}
BYTES = 4  # of a number


def check_memory(task: Task, recipe: Recipe, networks: int, together: bool) -> None:
    """See that the memory holds so many networks, and the training of one, or of all of them together.

    What the passes themselves take is not counted, so that nothing is refused that could be trained.

    Args:
        task: What is trained.
        recipe: Its optimizer counts.
        networks: Most networks of a chunk.
        together: Whether all are trained in one program; on a GPU, that is divided where it must be.

    Raises:
        InputError: if it does not.
    """
    device, network = task.device, task.build(0)
    each = bytes_of(network)
    training = each * (1 + OPTIMIZER_COPIES[recipe.optimizer])
    cuda = device.type == "cuda"
    there = torch.cuda.mem_get_info(device)[1] if cuda else available_memory()
    at_once = networks if together and not cuda else 1
    # What every network gives for the samples that it is measured on is there for all of them at once.
    measured = 0 if task.held_out is None else networks * len(task.held_out[0]) * task.classes * BYTES
    wanted = networks * each + at_once * training + (0 if cuda else measured)
    if there is not None and wanted > there:
        fitting = (there - (0 if at_once > 1 else training)) // (each + (training if at_once > 1 else 0))
        remedy = f"give --chunk {fitting} or less" if fitting > 0 else "give a smaller network"
        raise InputError(
            f"{networks} networks of {parameters_of(network):,} parameters take {amount(wanted)} with gradients and "
            f"the optimizer, more than the {amount(there)} of {device}: {remedy}"
        )


@contextmanager
def enough_memory(device: torch.device) -> Iterator[None]:
    """Turn an error of an allocator into a sentence."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_shortage(error):
            raise
        raise InputError(
            f"the memory of {device} does not hold the networks of a chunk: give a smaller chunk (--chunk), a smaller "
            "network or a smaller batch_size"
        ) from None
