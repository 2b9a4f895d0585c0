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
ONE_BY_ONE = ("auto", "sequential")


def check_memory(task: Task, recipe: Recipe, networks: int, training: str) -> None:
    """See that the memory holds so many networks, what they give, and the training of one, or of all of them together.

    What the passes themselves take is not counted, so that nothing is refused that could be trained.

    Args:
        task: What is trained; all of its networks give their logits for what is held out at once.
        recipe: Its optimizer counts.
        networks: Most networks of a chunk.
        training: The backend by name. Where it is still to be chosen, and on a GPU, whose memory is shared out as far
            as it goes, one network is trained at a time.

    Raises:
        InputError: if it does not.
    """
    device, network = task.device, task.build(0)
    there = torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else available_memory()
    samples = 0 if task.held_out is None or device.type == "cuda" else len(task.held_out[0])
    training_one = bytes_of(network) * (1 + OPTIMIZER_COPIES[recipe.optimizer])
    together = device.type != "cuda" and not training.startswith(ONE_BY_ONE)
    each = bytes_of(network) + samples * task.classes * BYTES + (training_one if together else 0)
    besides = 0 if together else training_one
    if there is not None and networks * each + besides > there:
        fitting = max(0, there - besides) // each
        remedy = f"give --chunk {fitting} or less" if fitting > 0 else "give a smaller network"
        raise InputError(
            f"{networks} networks of {parameters_of(network):,} parameters, their outputs, gradients and optimizers "
            f"take {amount(networks * each + besides)}, more than the {amount(there)} of {device}: {remedy}"
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
