"""Everything that the theory says of one loss, as data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from lossmith.errors import InputError
from lossmith.losses import Loss, PowerLoss
from lossmith.theory.attraction import Zone, attraction, zones
from lossmith.theory.checks import check_count, check_zones, checked_epsilon
from lossmith.theory.coefficients import acting, acting_pair, canonical, coefficients
from lossmith.theory.invariant import Form, bias_growth, gain, is_trainable, margin, null_epoch
from lossmith.theory.outputs import symmetric_entropy_change
from lossmith.theory.smoothing import parts, recognize
from lossmith.theory.zero_error import REGIMES, regime, zero_error, zero_error_limits

EPSILONS = (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99)


@dataclass(frozen=True)
class Explanation:
    """What one loss does with n classes.

    Args:
        name: The loss.
        classes: n.
        phi: φ as text, or the loss itself where it is no sum of φ over classes.
        gamma: The learning rule γ as text; None where it has no formula.
        coefficients: c1 … cyy of a third-order Taylor loss; None for others.
        acting: The numbers among them that act with hard labels (four, or two for n = 2); None for others.
        canonical: ``ch/m``, ``chh/m``, ``chy/m``; None for others, or where m ≤ 0.
        idle: What of the loss is without effect, as text.
        null_epoch: γ of the non-targets and of the target at h = 1/n.
        margin: ``m = γ_T − γ_¬T`` there.
        gain: ``m/n``, the first gradients in units of cross-entropy's.
        bias_growth: How fast outputs grow apart there whatever the label, in units of m; NaN where m ≤ 0.
        trainable: The invariant, exact and published, as far as there is such a form for the loss.
        zero_error: a, b, c at h = y; None for a loss that is no sum of powers, as the two that follow.
        limits: γ of the non-targets and of the target there.
        regime: What they mean.
        zones: Where it attracts and repels, exact and published.
        strength: Strength of attraction, exact and published, and change of the entropy, at some ε.
        smoothing: α and the formula of the loss without it, if the loss is a smoothed one.
        cross_entropy_smoothing: α of the part with log h alone, if there is such a part.
        missing: What of this does not apply to the loss, and why, as a sentence; None where everything does. A form
            that does not apply is not among the zones and strengths.
    """

    name: str
    classes: int
    phi: str
    gamma: str | None
    coefficients: dict[str, float] | None
    acting: dict[str, float] | None
    canonical: dict[str, float] | None
    idle: list[str]
    null_epoch: dict[str, float]
    margin: float
    gain: float
    bias_growth: float
    trainable: dict[str, bool]
    zero_error: dict[str, float] | None
    limits: dict[str, float] | None
    regime: str | None
    zones: dict[str, list[Zone]]
    strength: dict[str, list[float]]
    smoothing: dict[str, Any] | None
    cross_entropy_smoothing: float | None
    missing: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The same as a JSON document; what has no bound becomes the text "inf" or "-inf", what is not there null."""
        document = asdict(self)
        document["zones"] = {form: [zone._asdict() for zone in found] for form, found in self.zones.items()}
        plain: dict[str, Any] = _finite(document)
        return plain


def explain(loss: Loss, classes: int, epsilon: Sequence[float] = EPSILONS) -> Explanation:
    """Explain one loss by the theory.

    Raises:
        InputError: for a population, n < 2, an ε outside (0, 1), or a loss made for another number of classes.
    """
    if loss.shape:
        raise InputError("one loss is explained at a time; index a member of the population")
    check_count(classes)
    check_zones(loss, classes)
    if not isinstance(epsilon, Sequence):
        raise InputError(f"ε is a list of numbers here, not {epsilon!r}")
    values = checked_epsilon(list(epsilon))
    other, target = null_epoch(loss, classes)
    forms: tuple[Form, ...] = ("exact", "published") if loss.sums_over_classes else ("exact",)
    return Explanation(
        name=loss.name,
        classes=classes,
        phi=loss.formula(),
        null_epoch={"non_target": other.item(), "target": target.item()},
        margin=margin(loss, classes).item(),
        gain=gain(loss, classes).item(),
        bias_growth=bias_growth(loss, classes).item(),
        trainable={form: bool(is_trainable(loss, classes, form)) for form in forms},
        zones={form: zones(loss, classes, form) for form in forms},
        strength={
            "epsilon": values.tolist(),
            **{form: attraction(loss, values, classes, form).tolist() for form in forms},
            "entropy": symmetric_entropy_change(loss, values, classes).tolist(),
        },
        **(_of_powers(loss, classes) if isinstance(loss, PowerLoss) else _of_other_kinds(loss)),
    )


def _of_powers(loss: PowerLoss, classes: int) -> dict[str, Any]:
    """What is read off the terms of φ."""
    return {
        "gamma": loss.gamma_formula(),
        **_of_third_order(loss, classes),
        "idle": _idle(loss),
        "zero_error": _numbers(zero_error(loss)._asdict()),
        "limits": _numbers(dict(zip(("non_target", "target"), zero_error_limits(loss), strict=True))),
        "regime": REGIMES[int(regime(loss))],
        "smoothing": _smoothing(loss, classes),
        "cross_entropy_smoothing": _cross_entropy_smoothing(loss, classes),
    }


def _of_other_kinds(loss: Loss) -> dict[str, Any]:
    """The same for a loss that has no such terms: nothing, and why."""
    published = (
        "" if loss.sums_over_classes else ", and the published forms of theorems 2 and 3 need a sum over classes"
    )
    names = ("gamma", "coefficients", "acting", "canonical", "zero_error", "limits", "regime")
    return {
        **dict.fromkeys((*names, "smoothing", "cross_entropy_smoothing")),
        "idle": [],
        "missing": "what acts, label smoothing and zero error are read off φ(h, y) as a sum of powers, which a loss of "
        f"the kind {loss.kind} is not{published}",
    }


def _of_third_order(loss: PowerLoss, classes: int) -> dict[str, dict[str, float] | None]:
    try:
        c = coefficients(loss)
    except InputError:
        return {"coefficients": None, "acting": None, "canonical": None}
    numbers = dict(zip(("p", "q"), acting_pair(c), strict=True)) if classes == 2 else acting(c)._asdict()
    shape = _numbers(canonical(loss, classes)._asdict())
    shape.pop("log_gain")
    return {
        "coefficients": _numbers(c._asdict()),
        "acting": _numbers(numbers),
        "canonical": None if math.isnan(shape["ch"]) else shape,
    }


def _idle(loss: PowerLoss) -> list[str]:
    """What never acts, and what acts only as a sum with hard labels."""
    found = []
    rule = {(term.h, term.y, term.log): c.item() for term, c in loss.rule().items()}
    if (0, 0, 0) in rule:
        found.append(f"c1 = {_text(rule[0, 0, 0])}")
    if any((term.h, term.log) == (0, 0) and c != 0 for term, c in zip(loss.terms, loss.coefficients, strict=True)):
        found.append("the terms of φ without h")
    if (0, 1, 0) in rule and (0, 2, 0) in rule:
        found.append(f"cy = {_text(rule[0, 1, 0])} and cyy = {_text(rule[0, 2, 0])} apart from their sum (hard labels)")
    return found


def _text(value: float) -> str:
    return f"{value:.4g}".replace("-", "−", 1)


def _smoothing(loss: PowerLoss, classes: int) -> dict[str, Any] | None:
    alpha, base = recognize(loss, classes)
    return {"alpha": alpha.item(), "base": base.acting().formula()} if alpha > 0 else None


def _cross_entropy_smoothing(loss: PowerLoss, classes: int) -> float | None:
    free, tied = parts(loss)
    nothing = torch.zeros((), dtype=torch.float64)
    kept, added = tied.get((0.0, 1), nothing).item(), free.get((0.0, 1), nothing).item()
    total = kept + classes * added
    return None if kept == 0 or total == 0 else classes * added / total


def _numbers(named: dict[str, Tensor]) -> dict[str, float]:
    return {name: value.item() for name, value in named.items()}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    if isinstance(value, float):
        return None if math.isnan(value) else str(value) if math.isinf(value) else value + 0.0
    return value
