"""Loss files: JSON, read as data only."""

import os
from typing import Any

from lossmith.errors import InputError
from lossmith.io import read_json, write_json
from lossmith.losses.base import Loss
from lossmith.losses.documents import numbers

LARGEST_FILE = 2**24


# As the settings allow them.
LEAST_WEIGHT, MOST_WEIGHT = 1e-9, 1e9


def save(loss: Loss, path: str | os.PathLike[str], **extra: Any) -> None:
    """Write a loss as JSON; the file appears whole or not at all.

    Args:
        loss: One loss or a population.
        path: The file; an existing one is replaced.
        extra: Further JSON values kept beside the loss, which :func:`load` leaves alone.

    Raises:
        InputError: if the file cannot be written, or an extra key is one of the loss's own.
    """
    write_json(loss_document(loss, **extra), path)


def loss_document(loss: Loss, **extra: Any) -> dict[str, Any]:
    """What :func:`save` writes.

    Raises:
        InputError: if an extra key is one of the loss's own.
    """
    document = loss.to_json()
    taken = sorted(document.keys() & extra.keys())
    if taken:
        raise InputError(f"a loss file keeps {', '.join(taken)} for the loss; give your values other names")
    return {**document, **extra}


def read_loss_document(path: str | os.PathLike[str]) -> Any:
    """What a loss file holds, not yet checked to be one.

    Raises:
        InputError: if there is no such file, it is larger than loss files are, or it is not JSON.
    """
    return read_json(path, LARGEST_FILE, "write losses with lossmith.save")


def load(path: str | os.PathLike[str]) -> Loss:
    """The loss of a file written by :func:`save`, or of a study's ``best.json``.

    Raises:
        InputError: if there is no such file, or it does not hold a loss.
    """
    document = read_loss_document(path)
    try:
        return Loss.from_json(document)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def class_weights(document: Any) -> list[float] | None:
    """The class weights that the loss of a file was evolved with, one for each class; None if it was with none.

    With them, and only with them, the loss is what was searched: ``Criterion(loss, torch.tensor(weights))``.

    Args:
        document: What the file holds, from :func:`read_loss_document`: the weights stand in its ``"provenance"`` as
            ``"class_weight"``.

    Raises:
        InputError: if what stands there are no weights.
    """
    origin = document.get("provenance") if isinstance(document, dict) else None
    found = origin.get("class_weight") if isinstance(origin, dict) else None
    if found is None:
        return None
    weights, classes = numbers(found), document.get("classes")
    fits = weights is not None and weights.ndim == 1 and len(weights) == (classes or max(2, len(weights)))
    if weights is None or not fits or not bool(((weights >= LEAST_WEIGHT) & (weights <= MOST_WEIGHT)).all()):
        raise InputError(
            '"class_weight" of the loss file must be a list of numbers from 1e-9 to 1e9, one for each class; take the '
            "best.json that lossmith evolve wrote"
        )
    listed: list[float] = weights.tolist()
    return listed
