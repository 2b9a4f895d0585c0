"""The functions of the output that losses are sums of, as functions of ``x = log h``.

``power(x, i, l) = h^i (log h)^l`` with ``h = e^x ∈ (0, 1]`` and ``l ∈ {0, 1}``. A negative ``i`` has no bound as h → 0
(Baikal's 1/h), so there the function goes on along its tangent in x once ``h^i`` has reached ``e^40``: value and slope
stay finite at every finite logit in float32, agree with each other, and the slope keeps pushing.

``complement(x, i, l) = (1 − h)^i (log h)^l`` is a sum of such powers that cancels in their numbers as h → 1.
"""

import math

import torch
from torch import Tensor

# Where both act, a tangent is 2e35 at most (e^40 times the lowest log output), which float32 holds.
LARGEST_EXPONENT = 40.0
LOWEST_LOG = -1e18
LOG2_E = 1 / math.log(2)


def log_outputs(logits: Tensor, dim: int = -1) -> Tensor:
    """Log of the softmax output, ``[…, K]`` along ``dim``; half precision is computed in float32.

    A logit of −∞ (a masked class) counts as a log output of −1e18, so that terms it does not act in stay finite.
    """
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    return torch.log_softmax(logits, dim).clamp(min=LOWEST_LOG)


def outputs(x: Tensor, out: Tensor | None = None) -> Tensor:
    """``h = e^x`` of log outputs, to ``1 + |x|`` units in the last place.

    Args:
        x: Log outputs.
        out: Where h is written, which may be x.
    """
    if torch.compiler.is_compiling() or not x.is_cpu:
        return torch.exp(x, out=out)
    # PyTorch gives e^x to a library that takes up to four times as long as its own 2^x, which depends on the processor.
    return torch.mul(x, LOG2_E, out=out).exp2_()


def power(x: Tensor, exponent: float, log: int) -> Tensor:
    """``h^i (log h)^l`` at ``x = log h``, continued along its tangent where h^i would exceed e^40."""
    if exponent >= 0:
        return _power(x, exponent, log)
    start = x.clamp(min=LARGEST_EXPONENT / exponent)
    return _power(start, exponent, log) + _slope(start, exponent, log) * (x - start)


def slope(x: Tensor, exponent: float, log: int) -> Tensor:
    """Derivative of :func:`power` with respect to x: ``i h^i (log h)^l + l h^i``."""
    if exponent < 0:
        x = x.clamp(min=LARGEST_EXPONENT / exponent)
    return _slope(x, exponent, log)


def expm1(x: Tensor) -> Tensor:
    """``e^x − 1``, with the digits that the difference would lose."""
    # Not `torch.expm1`, which is that difference in programs compiled by the C++ back end of torch 2.13.
    return torch.tanh(x / 2) * (torch.exp(x) + 1)


def complement(x: Tensor, exponent: float, log: int) -> Tensor:
    """``(1 − h)^i (log h)^l`` at ``x = log h``, for a whole i > 0, with the digits that ``1 − h`` would lose."""
    value = (-expm1(x)).pow(exponent)
    return value * x if log else value


def complement_slope(x: Tensor, exponent: float, log: int) -> Tensor:
    """Derivative of :func:`complement` with respect to x: ``l (1 − h)^i − i (1 − h)^(i − 1) h (log h)^l``."""
    gap = -expm1(x)
    less = gap.pow(exponent - 1)
    fall = -exponent * less * torch.exp(x)
    return less * gap + fall * x if log else fall


def _power(x: Tensor, exponent: float, log: int) -> Tensor:
    if exponent == 0:
        return x if log else torch.ones_like(x)
    value = torch.exp(x if exponent == 1 else exponent * x)
    return value * x if log else value


def _slope(x: Tensor, exponent: float, log: int) -> Tensor:
    if exponent == 0:
        return torch.ones_like(x) if log else torch.zeros_like(x)
    value = torch.exp(x if exponent == 1 else exponent * x)
    return value * (exponent * x + 1) if log else value * exponent
