"""Callbacks that tell a criterion how far the training is, for a loss that changes during it."""

import sys
from typing import Any

from lossmith.errors import InputError
from lossmith.integrations.shared import check_criterion
from lossmith.losses import Criterion


def trainer_progress(criterion: Criterion) -> Any:
    """A callback of Hugging Face's ``Trainer`` that sets ``criterion.progress`` before each step.

    Args:
        criterion: The one whose :func:`trainer_loss` the Trainer has.

    Raises:
        InputError: If the criterion is none, or transformers is not imported.

    Example:
        ``Trainer(…, compute_loss_func=trainer_loss(criterion), callbacks=[trainer_progress(criterion)])``
    """
    check_criterion(criterion)
    base: Any = _imported("transformers").TrainerCallback

    class Progress(base):
        """Says how far the training is."""

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            """The share of the steps that are done."""
            criterion.progress = min(1.0, state.global_step / max(1, state.max_steps))

    return Progress()


def lightning_progress(criterion: Criterion) -> Any:
    """A callback of Lightning's ``Trainer`` that sets ``criterion.progress`` before each batch.

    Args:
        criterion: That of the module.

    Raises:
        InputError: If the criterion is none, or Lightning is not imported.

    Example:
        ``Trainer(…, callbacks=[lightning_progress(module.criterion)])``
    """
    check_criterion(criterion)
    base: Any = _imported("lightning.pytorch").Callback

    class Progress(base):
        """Says how far the training is."""

        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, number: int) -> None:  # noqa: ARG002
            """The share of the steps that are done; 0 for a training without end."""
            whole = trainer.estimated_stepping_batches
            criterion.progress = min(1.0, trainer.global_step / max(1, whole))

    return Progress()


def _imported(name: str) -> Any:
    """A library whose Trainer the user has, and so has imported.

    Raises:
        InputError: If it is not.
    """
    if name not in sys.modules:
        raise InputError(f"the progress is that of a Trainer of {name}, which is not imported; import it first")
    return sys.modules[name]
