"""The null epoch: which losses can start to train at all, and how hard they push (theorem 3 and its exact form)."""

from typing import Literal

import torch
from torch import Tensor

from lossmith.errors import InputError
from lossmith.losses import Loss, PowerLoss
from lossmith.theory.checks import check_classes, check_vectors

ROUNDING = 1e-12
Form = Literal["exact", "published"]


def null_epoch(loss: Loss, classes: int) -> tuple[Tensor, Tensor]:
    """Learning rule at the null epoch, h = 1/n: (γ of the non-targets, γ of the target), each ``[*P]``.

    Equations 24–30 and 66–67. Equation 68, a first form of the invariant that the paper then widens, says that the
    second number is below 0.

    Raises:
        InputError: if n < 2 or the loss is made for another number of classes.
    """
    check_classes(loss, classes)
    if loss.sums_over_classes:
        h = _uniform(loss, classes)
        return loss.gamma(h, 0 * h), loss.gamma(h, 0 * h + 1)
    check_vectors(classes)
    vectors = torch.full((*loss.shape, 1, classes), 1 / classes, dtype=torch.float64)
    label = torch.zeros(classes, dtype=torch.float64)
    label[0] = 1
    gamma = loss.gamma(vectors, label)[..., 0, :]
    return gamma[..., 1], gamma[..., 0]


def margin(loss: Loss, classes: int) -> Tensor:
    """Null-epoch margin ``m = γ_T − γ_¬T`` at h = 1/n, ``[*P]``; n for cross-entropy.

    Only terms with a power of y differ between the two, so c1 cannot enter through rounding either. For a loss that is
    no sum of powers it is what the target's logit shows of it, ``m = −n²/(n−1) ∂L/∂f_T`` at equal logits.
    """
    check_classes(loss, classes)
    if isinstance(loss, PowerLoss):
        h = _uniform(loss, classes)
        return labeled(loss).gamma(h, 0 * h + 1)
    check_vectors(classes)
    pull = -loss.logit_gradient(torch.zeros(1, classes, dtype=torch.float64), torch.zeros(1, dtype=torch.long))
    return pull[..., 0, 0] * (classes**2 / (classes - 1))


def gain(loss: Loss, classes: int) -> Tensor:
    """First gradients in units of cross-entropy's, ``m/n``, ``[*P]``."""
    return margin(loss, classes) / classes


def is_trainable(loss: Loss, classes: int, form: Form = "exact") -> Tensor:
    """Whether the loss pulls the label up at the null epoch, boolean ``[*P]``.

    ``"exact"``: the target logit grows at h = 1/n, ``γ_T > γ_¬T``. ``"published"``: ``γ_T ≥ (n − 1) γ_¬T`` (theorem 3,
    equations 18–19 and 69–70), which depends on c1 although no gradient does.

    Neither is a law. Of 1000 random Taylor losses none that the exact form rejects trained, but one whose attraction
    begins just above 1/n can (``results/invariant``); and of those that it passes :func:`bias_growth` tells which are
    likely to.
    """
    if form == "exact":
        return margin(loss, classes) > 0
    if form == "published":
        other, target = null_epoch(loss, classes)
        return target >= (classes - 1) * other
    raise InputError(f"the invariant has the forms 'exact' and 'published', not {form!r}")


def bias_growth(loss: Loss, classes: int) -> Tensor:
    """How fast outputs grow apart at the null epoch whatever the label, in units of the pull of the label, ``[*P]``.

    With the label averaged over all classes, ``γ̄(h) = γ(h, 0) + (γ(h, 1) − γ(h, 0))/n``, a small difference δf of the
    logits that all samples share moves by ``γ̄'(1/n)/n² δf`` in a step; the label's logit by ``(n−1)/n² m``. This is
    ``γ̄'(1/n)/m``: −1 for cross-entropy and the mean squared error, −1/(1−α) with label smoothing,
    ``(ch + 2 chh/n + chy/n)/m`` for third-order losses. At or below 0 a common bias dies out. Above 0 it feeds itself,
    and many networks end by predicting one class for every sample; how much growth a training survives depends on the
    network and its inputs (``results/invariant``). A linear heuristic of this program, not of the paper. NaN where
    ``m ≤ 0``.

    Raises:
        InputError: as :func:`margin`.

    Example:
        >>> from lossmith import mse
        >>> bias_growth(mse(), classes=10)
        tensor(-1., dtype=torch.float64)
    """
    m = margin(loss, classes)
    if isinstance(loss, PowerLoss):
        return torch.where(m > 0, _bias_slope(loss, classes) / m, torch.nan)
    growth = _bias_response(loss, classes) / m
    return torch.where(m > 0, torch.where(growth.abs() > ROUNDING, growth, 0.0), torch.nan)


def _bias_slope(loss: PowerLoss, classes: int) -> Tensor:
    """``γ̄'(1/n)``."""
    rule = loss.rule()
    columns = torch.stack(list(rule.values()), -1) if rule else loss.coefficients[..., :0]
    slope = PowerLoss(tuple(rule), columns, loss.classes, loss.name)
    h = _uniform(loss, classes)
    return slope.gamma(h, 0 * h) + labeled(slope).gamma(h, 0 * h + 1) / classes


def _bias_response(loss: Loss, classes: int) -> Tensor:
    """``γ̄'(1/n)`` as the logits show it: n² times how fast ``f_0 − f_1`` grows of itself, averaged over all labels."""
    # The labels 0 and 1, and any other one for all the rest.
    targets = torch.tensor([0, 1, min(2, classes - 1)])
    weights = torch.tensor([1.0, 1.0, classes - 2.0], dtype=torch.float64) / classes
    direction = torch.zeros(classes, dtype=torch.float64)
    direction[0], direction[1] = 0.5, -0.5
    f = torch.zeros(*loss.shape, 3, classes, dtype=torch.float64, requires_grad=True)
    step = -loss.logit_gradient(f, targets)
    grown = (step[..., 0] - step[..., 1]) * weights
    (response,) = torch.autograd.grad(grown.sum(), f)
    return (response @ direction).sum(-1) * classes**2


def _uniform(loss: Loss, classes: int) -> Tensor:
    """``1/n`` for each member, ``[*P]``."""
    device = loss.coefficients.device if isinstance(loss, PowerLoss) else None
    return torch.full(loss.shape, 1 / classes, dtype=torch.float64, device=device)


def labeled(loss: PowerLoss) -> PowerLoss:
    """The part of a loss that a label of 1 adds to a label of 0: the terms with a power of y."""
    kept = [k for k, term in enumerate(loss.terms) if term.y > 0]
    return PowerLoss(tuple(loss.terms[k] for k in kept), loss.coefficients[..., kept], loss.classes, loss.name)
