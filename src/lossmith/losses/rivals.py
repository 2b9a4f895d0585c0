"""Losses that were published for noisy labels, by the names of their publications.

Where a loss has several numbers, its name takes the one that is tuned, and the others are those published for
CIFAR-10; a common factor is left to the learning rate.
"""

from __future__ import annotations

import math

from lossmith.errors import InputError
from lossmith.losses.base import Loss
from lossmith.losses.catalog import Parameter, catalogued, cross_entropy, mae, normalized_cross_entropy, power_loss
from lossmith.losses.combined import Sum
from lossmith.losses.elementwise import FlippedPower, JensenShannon, ShiftedPower
from lossmith.losses.outputs import NormalizedNegative, Sharpened
from lossmith.losses.power import PowerLoss
from lossmith.losses.terms import float64

# Reverse cross-entropy takes log 0 for −4.
LOG_OF_ZERO = -4.0


@catalogued("agce", "φ = y ((a + h)^q − (a + 1)^q) / q, a = 0.6", "Zhou et al., 2021", Parameter("q", 0.6))
def agce(q: float = 0.6, a: float = 0.6) -> ShiftedPower:
    """Asymmetric generalised cross-entropy, ``φ = y ((a + h)^q − (a + 1)^q) / q, a = 0.6`` (Zhou et al., 2021).

    Raises:
        InputError: if q is not above 0, or a not from 0.
    """
    return ShiftedPower(float64(a), float64(q), name=f"AGCE {q:g}")


@catalogued("aul", "φ = −y ((a − h)^p − (a − 1)^p) / p, a = 5.5", "Zhou et al., 2021", Parameter("p", 3.0))
def aul(p: float = 3.0, a: float = 5.5) -> FlippedPower:
    """Asymmetric unhinged loss, ``φ = −y ((a − h)^p − (a − 1)^p) / p, a = 5.5`` (Zhou et al., 2021).

    Raises:
        InputError: if p is not above 0, or a not above 1.
    """
    return FlippedPower(float64(a), float64(p), name=f"AUL {p:g}")


@catalogued(
    "nce-rce",
    "L = NCE + w · 4 (1 − h_t)",
    "Ma et al., 2020",
    Parameter("w", 1.0),
)
def nce_rce(weight: float = 1.0) -> Sum:
    """Normalized and reverse cross-entropy, ``L = NCE + w · 4 (1 − h_t)`` (Ma et al., 2020).

    Reverse cross-entropy with log 0 := −4 is MAE times a number, so NCE + MAE is the same loss.

    Raises:
        InputError: if w is not a finite number from 0.
    """
    return _weighted(f"NCE + {weight:g} RCE", normalized_cross_entropy(), mae(), weight, -LOG_OF_ZERO)


@catalogued("nce-agce", "L = NCE + w AGCE, a = 6, q = 1.5", "Zhou et al., 2021", Parameter("w", 4.0))
def nce_agce(weight: float = 4.0, a: float = 6.0, q: float = 1.5) -> Sum:
    """Normalized cross-entropy and asymmetric GCE, ``L = NCE + w AGCE, a = 6, q = 1.5`` (Zhou et al., 2021).

    Raises:
        InputError: if w is not a finite number from 0, or another number is out of range.
    """
    return _weighted(f"NCE + {weight:g} AGCE", normalized_cross_entropy(), agce(q, a), weight)


@catalogued("anl", "L = NCE + w NNCE", "Ye et al., 2023", Parameter("w", 1.0))
def active_negative(weight: float = 1.0) -> Sum:
    """Active negative loss, ``L = NCE + w NNCE`` (Ye et al., 2023), without the L1 norm of the weights of its authors.

    NNCE is ``1 − Σ_k y_k (B + log h_k) / Σ_k (B + log h_k)`` with ``B = −log 1e-7``.

    Raises:
        InputError: if w is not a finite number from 0.
    """
    return _weighted(f"NCE + {weight:g} NNCE", normalized_cross_entropy(), NormalizedNegative(), weight)


@catalogued(
    "epsilon-softmax",
    "L = −log ((h_t + m [t is largest])/(m + 1)) + w · 2 (1 − h_t), m = 1e5",
    "Wang et al., 2024",
    Parameter("w", 500.0),
)
def epsilon_softmax(weight: float = 500.0, sharpening: float = 1e5) -> Sum:
    """ε-softmax, ``L = −log ((h_t + m [t is largest])/(m + 1)) + w · 2 (1 − h_t), m = 1e5`` (Wang et al., 2024).

    Cross-entropy of sharpened outputs and MAE of the outputs. The published code takes sharpened outputs below 1e-8 for
    1e-8; this loss does not.

    Raises:
        InputError: if w is not a finite number from 0, or m not one from 0 to 1e12.
    """
    sharpened = Sharpened(cross_entropy(), float64(sharpening), name="sharpened cross-entropy")
    return _weighted(f"ε-softmax CE + {weight:g} MAE", sharpened, mae(), weight, 2.0)


@catalogued(
    "negative-smoothing",
    "φ = ((1 − r) y + r/n) log h, r < 0",
    "Wei et al., 2022",
    Parameter("r", -1.0),
    by_classes=True,
)
def negative_smoothing(rate: float, classes: int) -> PowerLoss:
    """Negative label smoothing, ``φ = ((1 − r) y + r/n) log h, r < 0`` (Wei et al., 2022), for n classes.

    Raises:
        InputError: if r is not a finite number below 0, or n < 2.
    """
    if not -math.inf < rate < 0:
        raise InputError(
            f"negative label smoothing takes a finite r below 0, not {rate:g}; above 0 take label-smoothing"
        )
    if classes < 2:
        raise InputError(f"label smoothing needs at least 2 classes, not {classes}")
    found = power_loss(f"negative smoothing {rate:g}", {(0, 1, 1): 1 - rate, (0, 0, 1): rate / classes})
    return PowerLoss(found.terms, found.coefficients, classes, found.name)


@catalogued(
    "forward",
    "φ = y log((a + h)/(a + 1)), a = η/((n − 1)(1 − η) − η)",
    "Patrini et al., 2017",
    Parameter("η", 0.4, "wrong labels"),
    by_classes=True,
)
def forward_correction(rate: float, classes: int) -> ShiftedPower:
    """Forward correction for symmetric noise (Patrini et al., 2017), for n classes and a share η of wrong labels.

    Cross-entropy of ``(1 − η) h + η/(n − 1) (1 − h)`` is ``φ = y log((a + h)/(a + 1)), a = η/((n − 1)(1 − η) − η)``
    but for a constant: AGCE with q = 0. With a matrix of one's own: ``Forward(cross_entropy(), T)``.

    Raises:
        InputError: if η is not from 0 to below 1 − 1/n, where labels say nothing any more, or n < 2.
    """
    if classes < 2:
        raise InputError(f"forward correction needs at least 2 classes, not {classes}")
    if not 0 <= rate < 1 - 1 / classes:
        raise InputError(
            f"forward correction takes a share of wrong labels η from 0 to below 1 − 1/n = {1 - 1 / classes:g}, not "
            f"{rate:g}"
        )
    shift = rate / ((classes - 1) * (1 - rate) - rate)
    return ShiftedPower(float64(shift), float64(0.0), classes, f"forward {rate:g}")


@catalogued(
    "jensen-shannon",
    "L = [π KL(y‖m) + (1 − π) KL(h‖m)] / (−(1 − π) log(1 − π)), m = π y + (1 − π) h",
    "Englesson & Azizpour, 2021",
    Parameter("π", 0.5),
)
def jensen_shannon(weight: float = 0.5) -> JensenShannon:
    """Jensen–Shannon divergence of label and output, scaled (Englesson & Azizpour, 2021).

    ``L = [π KL(y‖m) + (1 − π) KL(h‖m)] / (−(1 − π) log(1 − π)), m = π y + (1 − π) h``.

    Raises:
        InputError: if π is not between 0 and 1.
    """
    return JensenShannon(float64(weight), name=f"Jensen–Shannon {weight:g}")


def _weighted(name: str, active: Loss, passive: Loss, weight: float, factor: float = 1.0) -> Sum:
    """A normalized loss and another one with a weight."""
    if not 0 <= weight < math.inf:
        raise InputError(f"{name.split()[0]} and its second part take a finite weight from 0, not {weight:g}")
    return Sum((active, passive), float64([1.0, factor * weight]), name=name)
