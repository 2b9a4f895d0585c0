"""Losses as a line of text."""

from collections.abc import Mapping

from lossmith.losses.samples import Term

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


def _symbol(name: str, exponent: float) -> str:
    if exponent == 0:
        return ""
    if exponent != int(exponent):
        return f"{name}^{exponent:g}".replace("-", "−")
    raised = "".join("⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".index(digit)] for digit in str(int(exponent)))
    return name if exponent == 1 else name + raised
