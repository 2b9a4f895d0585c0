"""The regimes: zero error, symmetric outputs, null epoch (§4.1, appendices B and C), in symbols."""

import sympy as sp

from lossmith.theory.symbolic.rules import OUTPUTS, H, N, Pair, Y, polynomial


def zero_error(rule: sp.Expr) -> tuple[sp.Expr, sp.Expr, sp.Expr]:
    """a, b and c of a polynomial γ at h = y; for labels 0 and 1 every power from y² on counts for c (13, 20–23).

    Raises:
        InputError: if γ is not a polynomial.
    """
    powers = sp.Poly(polynomial(rule).as_expr().subs(H, Y), Y)
    a, b = powers.coeff_monomial(1), powers.coeff_monomial(Y)
    return a, b, sp.expand(powers.eval(1) - a - b)


def zero_error_limits(rule: sp.Expr) -> Pair:
    """γ where the outputs reach the labels: h → 0 with y = 0, and h → 1 with y = 1 (equations 14–16)."""
    return Pair(sp.limit(rule.subs(Y, 0), H, 0, "+"), sp.limit(rule.subs(Y, 1), H, 1, "-"))


def symmetric(rule: sp.Expr) -> Pair:
    """γ at the outputs 1 − ε of the target and ε/(n−1) of each other class (31–34 for Baikal)."""
    return Pair(rule.subs({H: OUTPUTS.other, Y: 0}), rule.subs({H: OUTPUTS.target, Y: 1}))


def turning_outputs(rule: sp.Expr) -> list[sp.Expr]:
    """Positive h_T with γ_T = γ_¬T and equal other outputs: below 1, attraction may change its sign there.

    Example:
        >>> from lossmith.theory.symbolic.rules import BAIKAL, learning_rule
        >>> turning_outputs(learning_rule(BAIKAL))  # theorem 1: above it Baikal repels
        [1/sqrt(n)]
    """
    other, target = rule.subs({H: (1 - H) / (N - 1), Y: 0}), rule.subs(Y, 1)
    return list(sp.solve(sp.together(target - other), H))


def null_epoch(rule: sp.Expr) -> Pair:
    """γ at h = 1/n (equations 24–30 and 66–67)."""
    return Pair(sp.expand(rule.subs({H: 1 / N, Y: 0})), sp.expand(rule.subs({H: 1 / N, Y: 1})))


def margin(rule: sp.Expr) -> sp.Expr:
    """``m = γ_T − γ_¬T`` at the null epoch, the exact invariant: not trainable where it is not above 0."""
    other, target = null_epoch(rule)
    return sp.expand(target - other)


def published_margin(rule: sp.Expr) -> sp.Expr:
    """``γ_T − (n−1) γ_¬T = m − (n−2) γ_¬T`` at the null epoch: theorem 3 wants it not below 0 (equations 69–70)."""
    return margin(rule) - (N - 2) * null_epoch(rule).other
