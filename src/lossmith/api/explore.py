"""``lossmith.explore``: a page on which losses can be changed while their curves follow, in one call."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from lossmith.errors import InputError, brief
from lossmith.losses import Loss, common_classes, find
from lossmith.report import write_explorer

CLASSES = 10


def explore(
    losses: Loss | str | Sequence[Loss | str] = (),
    path: str | os.PathLike[str] = "explorer.html",
    *,
    classes: int | None = None,
) -> Path:
    """Write a page on which a loss can be changed by sliders while its curves follow: one file, no network.

    Args:
        losses: One loss or several, or what names them on the command line: a name, λ, a formula, or a file. The page
            begins with the first, and without any with cross-entropy.
        path: The file, which ends in .html; an existing one is replaced.
        classes: n at first; without it that of the losses, or 10.

    Returns:
        The file.

    Raises:
        InputError: if a loss cannot be found or shown, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> from lossmith import cross_entropy, focal
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = explore([focal(), "gce:0.7"], f"{folder}/losses.html")
        ...     page.stat().st_size < 1_000_000
        True
    """
    given = [losses] if isinstance(losses, Loss | str) else losses
    if not isinstance(given, Sequence) or not all(isinstance(one, Loss | str) for one in given):
        raise InputError(f"explore takes a loss, a name, or a list of these, not {brief(losses)}")
    named = common_classes([one for one in given if isinstance(one, str)])
    wanted = (classes, named, *(one.classes for one in given if isinstance(one, Loss)))
    known = {one for one in wanted if one is not None}
    if len(known) > 1:
        raise InputError(f"the losses are made for different numbers of classes, {known}; give those of one number")
    n = known.pop() if known else CLASSES
    return write_explorer([find(one, n) if isinstance(one, str) else one for one in given], path, n)
