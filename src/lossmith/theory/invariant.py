"""The null epoch: which losses can start to train at all, and how hard they push (theorem 3 and its exact form)."""

from typing import Literal

from torch import Tensor

from lossmith.errors import InputError
from lossmith.losses import Loss
from lossmith.theory.checks import check_classes

Form = Literal["exact", "published"]


def null_epoch(loss: Loss, classes: int) -> tuple[Tensor, Tensor]:
    """Learning rule at the null epoch, h = 1/n: (γ of the non-targets, γ of the target), each ``[*P]``.

    Equations 24–30 and 66–67. Equation 68, a first form of the invariant that the paper then widens, says that the
    second number is below 0.

    Raises:
        InputError: if n < 2 or the loss is made for another number of classes.
    """
    check_classes(loss, classes)
    h = loss.coefficients.new_full(loss.shape, 1 / classes)
    return loss.gamma(h, 0 * h), loss.gamma(h, 0 * h + 1)


def margin(loss: Loss, classes: int) -> Tensor:
    """Null-epoch margin ``m = γ_T − γ_¬T`` at h = 1/n, ``[*P]``; n for cross-entropy.

    Only terms with a power of y differ between the two, so c1 cannot enter through rounding either.
    """
    check_classes(loss, classes)
    h = loss.coefficients.new_full(loss.shape, 1 / classes)
    return labelled(loss).gamma(h, 0 * h + 1)


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


def labelled(loss: Loss) -> Loss:
    """The part of a loss that a label of 1 adds to a label of 0: the terms with a power of y."""
    kept = [k for k, term in enumerate(loss.terms) if term.y > 0]
    return Loss(tuple(loss.terms[k] for k in kept), loss.coefficients[..., kept], loss.classes, loss.name)
