"""Trials of a study in TensorBoard."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lossmith.errors import InputError, installing
from lossmith.integrations.trials import figures_of, number_of, texts_of

if TYPE_CHECKING:
    from lossmith.study import Result, Study


class TensorBoardCallback:
    """Writes every trial of a study to a folder that ``tensorboard --logdir`` shows.

    It has scalars by the number of the trial: ``fitness``, the ``best`` so far, how many candidates ``failed``, and
    each recorded figure; and, as texts, status, loss and error.

    Args:
        directory: The folder.

    Raises:
        InputError: if TensorBoard is not installed.

    Example:
        ``study.optimize(train, callbacks=[TensorBoardCallback("runs/first")])``
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise InputError(
                f"trials are written for TensorBoard, which is not installed: {installing('tensorboard')}"
            ) from None
        self._writer = SummaryWriter(os.fspath(directory))

    def __call__(self, study: Study, trial: Result) -> None:
        """Write a trial."""
        number = number_of(study, trial)
        for name, value in figures_of(study, trial).items():
            self._writer.add_scalar(name, value, number)
        for name, text in texts_of(trial).items():
            self._writer.add_text(name, text, number)
        self._writer.flush()

    def close(self) -> None:
        """End the writing."""
        self._writer.close()
