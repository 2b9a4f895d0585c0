"""A loss as a PyTorch module that needs PyTorch alone."""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

from lossmith.losses.base import Loss
from lossmith.losses.exports.expressions import (
    CONSTANTS,
    PHI,
    Parts,
    labeled_source,
    literal,
    parts_of,
    shared_source,
    told,
)
from lossmith.losses.exports.trees import tree_source


def torch_source(loss: Loss, weight: Sequence[float] | None) -> str:
    """A module with a class ``Loss`` that is called like ``torch.nn.CrossEntropyLoss``."""
    parts = parts_of(loss, "torch")
    return HEAD.substitute(
        CONSTANTS,
        name=literal(loss.name),
        told=told(parts),
        classes=loss.classes,
        weight=None if weight is None else tuple(weight),
        helpers=_helpers(parts, loss.name),
        shared=shared_source(parts, "torch"),
        labeled=labeled_source(parts, "torch"),
        logits="".join(f"        f = clipped(f, {threshold!r}, dim)\n" for threshold in parts.thresholds),
        each=_each(parts),
    )


def _helpers(parts: Parts, name: str) -> str:
    """The functions that the loss calls."""
    called = shared_source(parts, "") + labeled_source(parts, "")
    needed = [text for name, text in HELPERS.items() if f"{name}(" in called]
    tree = tree_source(parts.tree, "torch", name, "torch")
    return tree + "".join(text.substitute(CONSTANTS) for text in [*needed, *[CLIPPED][: len(parts.thresholds)]])


def _each(parts: Parts) -> str:
    """The loss of each sample, from ``x``, ``h``, labels ``y``, and weights ``w`` of classes, ``own`` of the sample."""
    if parts.is_plain:
        rest = "shared(x, h).sum(dim)"
        comment = ""
        if parts.linear:
            comment = f"        # phi holds {parts.linear!r} * h, too: the outputs sum to 1.\n"
            rest = f"({rest} + {parts.linear!r})"
        return f"{comment}        each = -(labeled(x, h, y) * w).sum(dim) - own * {rest}\n"
    lines = ["        each = -(shared(x, h) + labeled(x, h, y)).sum(dim)"]
    if parts.linear:
        lines[0] += f" - {parts.linear!r}"
    if parts.normalized:
        lines += ["        # Divided by the sum of the loss over all labels.", NORMALIZED]
    return "\n".join([*lines, "        each = own * each", ""])


HEAD = Template(
    '''"""A loss function as a PyTorch module, which needs PyTorch alone.

``Loss()`` is called like ``torch.nn.CrossEntropyLoss()``: ``criterion(logits, targets)``, with class indices or class
probabilities. Its value may rise while a network learns, so it shows no progress: for early stopping use
cross-entropy or a metric. With h = softmax(logits), x = log h and a label y of each class, the loss of a sample is
minus the sum over the classes of phi = shared(x, h) + labeled(x, h, y), times the class weight of its label.$told
"""

import torch
from torch import nn

'''
    + PHI
    + '''

class Loss(nn.Module):
    """A drop-in for ``torch.nn.CrossEntropyLoss``, with its arguments.

    Args:
        weight: A weight for each class; by default those that belong to the loss, if any.
        ignore_index: Samples with this class index count for nothing.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        label_smoothing: From 0 to 1.

    Shapes: logits ``(K,)``, ``(N, K)`` or ``(N, K, d1, ...)``; targets hold class indices (the same without K) or class
    probabilities (the same shape as the logits).
    """

    def __init__(self, weight=WEIGHT, ignore_index=-100, reduction="mean", label_smoothing=0.0):
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction is {reduction!r}; it must be 'mean', 'sum' or 'none'")
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"label_smoothing is {label_smoothing}; it must lie between 0 and 1")
        if weight is not None and not isinstance(weight, torch.Tensor):
            weight = torch.tensor(weight, dtype=torch.get_default_dtype())
        self.register_buffer("weight", weight)
        self.ignore_index, self.reduction, self.label_smoothing = ignore_index, reduction, label_smoothing

    def forward(self, input, target):
        dim = 0 if input.ndim == 1 else 1
        soft = self.takes_probabilities(input, target, dim)
        # Half precision is computed in float32.
        f = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
$logits        # A logit of minus infinity counts as a log output of $lowest, where a gradient goes on.
        x = torch.log_softmax(f.clamp(min=$lowest), dim).clamp(min=$lowest)
        h = x.exp()
        kept = None
        if soft:
            given = target.to(x.dtype)
        else:
            kept = target != self.ignore_index
            index = torch.where(kept, target, 0).long().unsqueeze(dim)
            given = torch.zeros_like(x).scatter(dim, index, 1.0)
        # Of each class, and of the label of each sample.
        w = own = 1.0
        if self.weight is not None:
            w = self.weight.to(x.dtype).reshape(-1, *[1] * (x.ndim - dim - 1))
            own = (given * w).sum(dim)
        y = given
        if self.label_smoothing:
            y = (1 - self.label_smoothing) * given + self.label_smoothing / x.shape[dim]
$each        if kept is not None:
            each = torch.where(kept, each, 0.0)
        if self.reduction != "none":
            each = self.reduced(each, own, kept)
        if torch.is_autocast_enabled(input.device.type):
            return each
        return each.to(torch.promote_types(input.dtype, target.dtype))

    def reduced(self, each, own, kept):
        """The sum, or the mean over the samples that count; with class indices, by their class weights."""
        if self.reduction == "sum":
            return each.sum()
        if kept is None:
            return each.sum() / each.numel()
        if self.weight is None:
            return each.sum() / kept.sum()
        return each.sum() / (own * kept).sum()

    def takes_probabilities(self, input, target, dim):
        """Whether the targets are class probabilities, and no class indices."""
        classes = input.shape[dim] if input.ndim else 0
        if not input.is_floating_point() or not classes:
            raise ValueError(f"logits of {input.dtype} and shape {tuple(input.shape)}: give floating numbers (N, K)")
        if CLASSES is not None and classes != CLASSES:
            raise ValueError(f"the loss is made for {CLASSES} classes and was called with {classes}")
        if self.weight is not None and self.weight.shape != (classes,):
            raise ValueError(f"{tuple(self.weight.shape)} class weights for {classes} classes: give one for each class")
        if target.shape == input.shape and target.is_floating_point():
            if self.ignore_index >= 0:
                raise ValueError("ignore_index does not apply to class probabilities; leave it at its default")
            return True
        whole = not (target.is_floating_point() or target.is_complex() or target.dtype == torch.bool)
        if whole and target.shape == input.shape[:dim] + input.shape[dim + 1 :]:
            return False
        raise ValueError(
            f"targets of shape {tuple(target.shape)} and {target.dtype} do not fit logits of shape "
            f"{tuple(input.shape)}: give class indices without the class dimension, or probabilities of the same shape"
        )

    def extra_repr(self):
        return f"{NAME!r}, reduction={self.reduction!r}"
'''
)
NORMALIZED = "        each = each / -(labeled(x, h, 1.0) + x.shape[dim] * shared(x, h)).sum(dim)"
HELPERS = {
    "expm1": Template('''

def expm1(x):
    """exp(x) - 1, with the digits that the difference would lose, in compiled programs, too."""
    return torch.tanh(x / 2) * (torch.exp(x) + 1)
'''),
    "steep": Template('''

def steep(x, power, log):
    """h**power * x**log for a power below 0, continued along its tangent where h**power would exceed exp($steepest)."""
    start = x.clamp(min=$steepest / power)
    value = torch.exp(power * start)
    if log:
        return value * start + value * (power * start + 1) * (x - start)
    return value + power * value * (x - start)
'''),
}
CLIPPED = Template('''

def clipped(f, threshold, dim):
    """Logits scaled down to a norm; a masked class (a logit of minus infinity) is left out of it."""
    known = torch.where(f.isfinite(), f, 0.0)
    # The largest logit taken out, since a square of it need not fit into float32.
    largest = known.detach().abs().amax(dim, keepdim=True).clamp(min=$smallest)
    rest = (known / largest).square().sum(dim, keepdim=True).clamp(min=1e-30).sqrt()
    return torch.where(f.isfinite(), known * (threshold / largest / rest).clamp(max=1.0), f)
''')
