"""The null epoch: which losses can start to train at all, and how hard they push (theorem 3 and its exact form)."""

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from lossmith.errors import InputError
from lossmith.losses import Loss

Form = Literal["exact", "published"]


def null_epoch(loss: Loss, classes: int) -> tuple[Tensor, Tensor]:
    """Learning rule at the null epoch, h = 1/n: (γ of the non-targets, γ of the target), each ``[*P]``.

    Raises:
        InputError: if n < 2 or the loss is made for another number of classes.
    """
    if classes < 2:
        raise InputError(f"a classifier has at least 2 classes, not {classes}")
    loss.check_classes(classes)
    h = loss.coefficients.new_full(loss.shape, 1 / classes)
    return loss.gamma(h, torch.zeros_like(h)), loss.gamma(h, torch.ones_like(h))


def margin(loss: Loss, classes: int) -> Tensor:
    """Null-epoch margin ``m = γ_T − γ_¬T`` at h = 1/n, ``[*P]``; n for cross-entropy.

    Only terms with a power of y differ between the two, so c1 cannot enter through rounding either.
    """
    if classes < 2:
        raise InputError(f"a classifier has at least 2 classes, not {classes}")
    loss.check_classes(classes)
    labelled = [k for k, term in enumerate(loss.terms) if term.y > 0]
    difference = replace(
        loss, terms=tuple(loss.terms[k] for k in labelled), coefficients=loss.coefficients[..., labelled]
    )
    h = loss.coefficients.new_full(loss.shape, 1 / classes)
    return difference.gamma(h, torch.ones_like(h))


def gain(loss: Loss, classes: int) -> Tensor:
    """First gradients in units of cross-entropy's, ``m/n``, ``[*P]``."""
    return margin(loss, classes) / classes


def is_trainable(loss: Loss, classes: int, form: Form = "exact") -> Tensor:
    """Whether the loss can leave the null epoch, boolean ``[*P]``; necessary, not sufficient.

    ``"exact"``: the target logit grows there, ``γ_T > γ_¬T``. ``"published"``: ``γ_T ≥ (n − 1) γ_¬T`` (theorem 3,
    equations 18–19 and 69–70), which depends on c1 although no gradient does.
    """
    if form == "exact":
        return margin(loss, classes) > 0
    if form == "published":
        other, target = null_epoch(loss, classes)
        return target >= (classes - 1) * other
    raise InputError(f"the invariant has the forms 'exact' and 'published', not {form!r}")
