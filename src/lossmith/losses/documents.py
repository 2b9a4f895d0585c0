"""Loss files as documents: what every kind reads of them, and how large they may be."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lossmith.errors import InputError
from lossmith.io import checked_values

# Of a loss, where it is shown.
LONGEST_NAME = 1000
FORMAT, VERSION = "lossmith.loss", 2
# A file is data: one that nests losses without end, or names a kind without end, gets a sentence.
DEEPEST, LONGEST_KIND, MOST_DIMENSIONS, MOST_CLASSES = 16, 40, 8, 10**9
# A loss is evaluated term by term, and a population that is none of one kind member by member.
MOST_TERMS, MOST_LOSSES, LARGEST_POWER = 1000, 10_000, 1000


def part_of(document: dict[str, Any], key: str) -> Any:
    """What a loss file holds under a key.

    Raises:
        InputError: if it holds nothing.
    """
    if key not in document:
        raise InputError(f'the loss file has no "{key}"')
    return document[key]


def numbers(listed: Any) -> Tensor | None:
    """Nested lists of numbers, or one number, as a tensor in float64; None for anything else."""
    try:
        values = torch.tensor(listed, dtype=torch.float64, device="cpu")
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None
    return None if values.ndim > MOST_DIMENSIONS or _has_truth_values(listed) else values


def _has_truth_values(listed: Any) -> bool:
    return any(map(_has_truth_values, listed)) if isinstance(listed, list) else isinstance(listed, bool)


def nameless(part: Any) -> Any:
    """A part of a loss file without what names the losses in it and the format."""
    if isinstance(part, list):
        return [nameless(one) for one in part]
    if not isinstance(part, dict):
        return part
    return {key: nameless(value) for key, value in part.items() if key not in ("format", "version", "name")}


def checked_document(document: dict[str, Any]) -> dict[str, Any]:
    """A loss file from outside, whose values JSON can give back, bounded as :func:`bounded` says."""
    try:
        checked_values(document)
    except ValueError as error:
        raise InputError(f"the loss file cannot be used ({error}); save the loss again") from None
    return bounded(document)


def bounded(document: dict[str, Any]) -> dict[str, Any]:
    """A loss file that nests losses no deeper than is allowed, nor holds more; an InputError otherwise."""
    depth, level, losses = 0, [document], 0
    while level and depth <= DEEPEST:
        depth += 1
        losses += len(level)
        if losses > MOST_LOSSES:
            raise InputError(f"the loss file holds more than {MOST_LOSSES} losses; save fewer in one file")
        inner = [value for part in level for value in part.values()]
        inner += [member for value in inner if isinstance(value, list) for member in value]
        level = [value for value in inner if isinstance(value, dict) and value.get("format") == FORMAT]
    if depth > DEEPEST:
        raise InputError(f"the loss file nests more than {DEEPEST} deep; build the loss of fewer parts")
    return document
