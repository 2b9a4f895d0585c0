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

    def on_step_begin(_self: Any, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        criterion.progress = min(1.0, state.global_step / max(1, state.max_steps))

    return _callback(_imported("transformers").TrainerCallback, on_step_begin)


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

    def on_train_batch_start(_self: Any, trainer: Any, *_: Any) -> None:
        # A training without end is at its beginning for ever.
        criterion.progress = min(1.0, trainer.global_step / max(1, trainer.estimated_stepping_batches))

    return _callback(_imported("lightning.pytorch").Callback, on_train_batch_start)


def _callback(base: Any, hook: Any) -> Any:
    """A callback that has one hook, of a class that is known only when it is made."""
    return type("Progress", (base,), {hook.__name__: hook})()


def _imported(name: str) -> Any:
    """A library whose Trainer the user has, and so has imported.

    Raises:
        InputError: If it is not.
    """
    if name not in sys.modules:
        raise InputError(f"the progress is that of a Trainer of {name}, which is not imported; import it first")
    return sys.modules[name]
