"""Losses as a line of text, and in LaTeX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from lossmith.errors import InputError
from lossmith.losses.terms import Term

if TYPE_CHECKING:
    from lossmith.losses.base import Loss
    from lossmith.losses.expressions import Expression

ROUNDING = 1e-14


def formula(coefficients: Mapping[Term, float], digits: int = 4) -> str:
    """A sum of terms ``c h^i y^j (log h)^l`` as text; coefficients that are 0, or rounding beside the largest, go."""
    parts = []
    ordered = sorted(coefficients.items(), key=lambda item: (-item[0].log, item[0].y, item[0].h))
    for (i, j, log), c in ordered:
        if abs(c) <= smallest(coefficients):
            continue
        factors = [_symbol("h", i), _symbol("y", j), "log h" if log else ""]
        product = " ".join(factor for factor in factors if factor)
        number = f"{abs(c):.{digits}g}"
        body = product if number == "1" and product else f"{number} {product}".strip()
        parts.append((" − " if c < 0 else " + ") + body)
    text = "".join(parts)
    if text.startswith(" − "):
        return text.removeprefix(" ").replace("− ", "−", 1)
    return text.removeprefix(" + ") or "0"


def smallest(coefficients: Mapping[Term, float]) -> float:
    """The size up to which a coefficient is rounding beside the largest."""
    return ROUNDING * max(map(abs, coefficients.values()), default=0.0)


class Latex(NamedTuple):
    """A loss in LaTeX: ``φ(h, y) = …``, ``L = −Σ_k φ(h_k, y_k)`` written out, and ``γ(h, y) = …``."""

    phi: str
    loss: str
    rule: str


def latex(loss: Loss, digits: int | None = 4, weighted: bool = False) -> Latex:
    r"""LaTeX of one loss, with so many significant digits; None: every digit. ``weighted``: by the class weight w(y).

    Raises:
        InputError: for a population, or a loss that is no sum of powers.

    Example:
        >>> from lossmith.losses import baikal
        >>> print(*latex(baikal()), sep="\n")
        \phi(h, y) = \log h - \frac{y}{h}
        L = -\sum_k \left(\log h_k - \frac{y_k}{h_k}\right)
        \gamma(h, y) = \frac{1}{h} + \frac{y}{h^{2}}
    """
    if loss.shape:
        raise InputError("a population has no single formula; index one member")
    from lossmith.losses.expressions import Expression
    from lossmith.losses.parametric import Parametric
    from lossmith.losses.power import PowerLoss

    loss = loss.simplest()
    if isinstance(loss, Parametric):
        loss = Expression((loss.tree,), classes=loss.classes, name=loss.name)
    if isinstance(loss, Expression):
        return _of_formula(loss, digits, weighted)
    if not isinstance(loss, PowerLoss):
        raise InputError(
            f"the loss {loss.name!r} ({loss.kind}) is no sum of powers, so there is no LaTeX of it; print its formula"
        )
    terms = dict(zip(loss.terms, loss.coefficients.tolist(), strict=True))
    body = _sum(terms, "_k", digits)
    weight = "w(y) " if weighted else ""
    simple = body == "0" or (body[0] != "-" and sum(abs(c) > smallest(terms) for c in terms.values()) == 1)
    value = body if simple else rf"\left({body}\right)"
    rule = {term: c.item() for term, c in loss.rule().items()}
    return Latex(
        rf"\phi(h, y) = {_sum(terms, '', digits)}",
        "L = 0" if body == "0" else rf"L = -{weight}\sum_k {value}",
        rf"\gamma(h, y) = {_sum(rule, '', digits)}",
    )


def _of_formula(loss: Expression, digits: int | None, weighted: bool) -> Latex:
    """LaTeX of a loss that is a formula; its learning rule is said, and not written out."""
    from lossmith.losses.expressions import latex_of

    def number(value: float) -> str:
        return _number(value, digits)

    phi, value = (latex_of(loss.trees[0], number, index) for index in ("", "_k"))
    weight = "w(y) " if weighted else ""
    return Latex(
        rf"\phi(h, y) = {phi}",
        rf"L = -{weight}\sum_k \left({value}\right)",
        r"\gamma(h, y) = \frac{\partial \phi(h, y)}{\partial h}",
    )


def _sum(terms: Mapping[Term, float], index: str, digits: int | None) -> str:
    """Terms with a coefficient other than 0, in the order of ``Loss.formula``."""
    ordered = sorted((-log, j, i, c) for (i, j, log), c in terms.items() if abs(c) > smallest(terms))
    parts = [
        (" - " if c < 0 else " + ") + _product(Term(i, j, -log), abs(c), index, digits) for log, j, i, c in ordered
    ]
    text = "".join(parts)
    return ("-" if text.startswith(" - ") else "") + text[3:] if text else "0"


def _product(term: Term, size: float, index: str, digits: int | None) -> str:
    """``c h^i y^j log h``, a negative power of h as a fraction; a factor of 1 is left out."""
    longest = None if digits is None else 6
    factors = [_power(f"h{index}", term.h, longest), _power(f"y{index}", term.y, longest)]
    factors.append(rf"\log h{index}" if term.log else "")
    number = _number(size, digits)
    above = " ".join(factor for factor in ("" if number == "1" else number, *factors) if factor) or "1"
    return above if term.h >= 0 else rf"\frac{{{above}}}{{{_power(f'h{index}', -term.h, longest)}}}"


def _power(name: str, exponent: float, digits: int | None) -> str:
    """A positive power; nothing for others."""
    if exponent <= 0:
        return ""
    number = _number(exponent, digits)
    return name if number == "1" else f"{name}^{{{number}}}"


def _number(size: float, digits: int | None) -> str:
    text = repr(float(size)) if digits is None else f"{size:.{digits}g}"
    mantissa, _, exponent = text.removesuffix(".0").partition("e")
    if not exponent:
        return mantissa
    return ("" if mantissa == "1" else rf"{mantissa} \cdot ") + f"10^{{{int(exponent)}}}"


def _symbol(name: str, exponent: float) -> str:
    if exponent == 0:
        return ""
    if exponent != int(exponent):
        return f"{name}^{exponent:g}".replace("-", "−")
    raised = "".join("⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".index(digit)] for digit in str(int(exponent)))
    return name if exponent == 1 else name + raised
