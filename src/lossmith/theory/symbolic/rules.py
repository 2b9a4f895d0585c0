"""φ, its learning rule, and label smoothing inside it (§3, appendix D.2), in symbols."""

from fractions import Fraction
from functools import cache
from typing import NamedTuple

import sympy as sp

from lossmith.errors import InputError
from lossmith.losses import Loss
from lossmith.theory.checks import checked_powers


class Pair(NamedTuple):
    """A quantity of the non-target classes and of the target class, in the order of the rest of the theory."""

    other: sp.Expr
    target: sp.Expr


H = sp.Symbol("h", positive=True)
Y = sp.Symbol("y", nonnegative=True)
N = sp.Symbol("n", integer=True, positive=True)
EPSILON = sp.Symbol("epsilon", positive=True)
ALPHA = sp.Symbol("alpha", nonnegative=True)
GAMMA = Pair(sp.Symbol(r"\gamma_{\neg T}", real=True), sp.Symbol("gamma_T", real=True))
STEPS = Pair(sp.Symbol("B", real=True), sp.Symbol("A", real=True))
OUTPUTS = Pair(EPSILON / (N - 1), 1 - EPSILON)

MSE = -((Y - H) ** 2)
CROSS_ENTROPY = Y * sp.log(H)
BAIKAL = sp.log(H) - Y / H

MONOMIALS = {"c1": sp.Integer(1), "ch": H, "chh": H**2, "chy": H * Y, "cy": Y, "cyy": Y**2}
C = {name: sp.Symbol(f"c_{name[1:]}", real=True) for name in MONOMIALS}
THIRD_ORDER = sum(C[name] * monomial for name, monomial in MONOMIALS.items())


def exact(value: float) -> sp.Rational:
    """A fraction that rounds to the same float64: one with a denominator up to 1000, or else the shortest decimal.

    Example:
        >>> exact(4 / 3), exact(-373.917)
        (4/3, -373917/1000)
    """
    near = Fraction(value).limit_denominator(1000)
    return sp.Rational(near if float(near) == value else Fraction(repr(float(value))))


def phi(loss: Loss) -> sp.Expr:
    """``φ(h, y)`` of one loss with exact numbers, in the symbols ``H`` and ``Y``.

    Raises:
        InputError: for a population, or a loss that is no sum of powers.

    Example:
        >>> from lossmith.losses import poly
        >>> phi(poly(0.5))
        h*y/2 + y*log(h) - y/2
    """
    if loss.shape:
        raise InputError("a population has no single φ; index one member")
    known = checked_powers(loss, "φ with exact numbers")
    numbers = zip(known.terms, known.coefficients.tolist(), strict=True)
    return sp.Add(*(exact(c) * H ** exact(i) * Y**j * sp.log(H) ** log for (i, j, log), c in numbers))


def lambdas(order: int = 3) -> tuple[sp.Symbol, ...]:
    """The symbols λ0, λ1, … of a Taylor loss: label centre, output centre, and one for each term."""
    return tuple(sp.symbols(f"lambda0:{2 + order * (order + 1) // 2}", real=True))


def taylor_phi(order: int = 3) -> sp.Expr:
    """``φ = Σ λ_m (h − λ1)^i (y − λ0)^j`` over i ≥ 1, i + j ≤ order, by (j, i), with symbols for λ (equation 10)."""
    label_center, output_center, *weights = lambdas(order)
    powers = ((i, j) for j in range(order) for i in range(1, order - j + 1))
    terms = zip(weights, powers, strict=True)
    return sp.Add(*(weight * (H - output_center) ** i * (Y - label_center) ** j for weight, (i, j) in terms))


def learning_rule(expression: sp.Expr) -> sp.Expr:
    """``γ = ∂φ/∂h`` (equations 4–12).

    Example:
        >>> learning_rule(MSE), learning_rule(CROSS_ENTROPY), learning_rule(BAIKAL)
        (-2*h + 2*y, y/h, 1/h + y/h**2)
    """
    return sp.diff(expression, H)


def coefficients(rule: sp.Expr) -> dict[str, sp.Expr]:
    """c1, ch, chh, chy, cy and cyy of a learning rule, by expanding it (equation 12).

    Raises:
        InputError: if the learning rule has a term that equation 12 does not have.
    """
    whole = polynomial(rule)
    found = {name: whole.coeff_monomial(monomial) for name, monomial in MONOMIALS.items()}
    if sp.expand(whole.as_expr() - sum(found[name] * MONOMIALS[name] for name in found)) != 0:
        raise InputError(f"γ = {rule} has a term that is not among 1, h, h², hy, y, y² (equation 12)")
    return found


def polynomial(rule: sp.Expr) -> sp.Poly:
    """A learning rule as a polynomial in h and y.

    Raises:
        InputError: if it is none.
    """
    try:
        return sp.Poly(sp.expand(rule), H, Y)
    except sp.PolynomialError:
        raise InputError(f"γ = {rule} is not a polynomial in h and y; take a Taylor loss") from None


def smoothed(expression: sp.Expr) -> sp.Expr:
    """φ or γ at the smoothed label, ``y → (1−α) y + α/n``: exact for every label."""
    return expression.subs(Y, (1 - ALPHA) * Y + ALPHA / N)


@cache
def smoothed_coefficients() -> dict[str, sp.Expr]:
    """The hatted coefficients, solved for from the cases y = 0 and y = 1 of equation 35 (equations 36–48).

    The two cases give only the sum of ĉy and ĉyy; as in the paper, each keeps what came from its own coefficient.
    """
    hatted = {name: sp.Symbol(rf"\hat{{c}}_{{{name[1:]}}}", real=True) for name in C}
    rule = THIRD_ORDER.subs({C[name]: hatted[name] for name in C}, simultaneous=True)
    gaps = [rule.subs(Y, label) - smoothed(THIRD_ORDER).subs(Y, label) for label in (0, 1)]
    equations = [c for gap in gaps for c in sp.Poly(sp.expand(gap), H).coeffs()]
    unknown = [symbol for name, symbol in hatted.items() if name != "cyy"]
    (solution,) = sp.solve(equations, unknown, dict=True)
    both = sp.expand(solution[hatted["cy"]] + hatted["cyy"])
    solution[hatted["cyy"]] = both.coeff(C["cyy"]) * C["cyy"]
    solution[hatted["cy"]] = both.coeff(C["cy"]) * C["cy"]
    return {name: sp.factor(solution[symbol]) for name, symbol in hatted.items()}
