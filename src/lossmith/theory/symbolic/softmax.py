"""The softmax, its Jacobian, and theorem 2 from them (equations 49–65), in symbols."""

from collections.abc import Sequence
from functools import cache

import sympy as sp

from lossmith.theory.symbolic.regimes import margin, null_epoch
from lossmith.theory.symbolic.rules import EPSILON, GAMMA, OUTPUTS, STEPS, C, H, N, Pair, Y


@cache
def logits(classes: int) -> tuple[sp.Symbol, ...]:
    """The symbols f1, f2, … of the raw logits."""
    return tuple(sp.symbols(f"f1:{classes + 1}", real=True))


def softmax(values: Sequence[sp.Expr]) -> list[sp.Expr]:
    """``h_k = e^{f_k} / Σ_j e^{f_j}`` (equation 49)."""
    total = sp.Add(*(sp.exp(value) for value in values))
    return [sp.exp(value) / total for value in values]


@cache
def jacobian(classes: int) -> sp.ImmutableMatrix:
    """``J_kj = ∂h_k/∂f_j`` by differentiation (equation 50)."""
    f = logits(classes)
    return sp.ImmutableMatrix([[sp.diff(h, g) for g in f] for h in softmax(f)])


def logit_steps(gamma: Sequence[sp.Expr], outputs: Sequence[sp.Expr]) -> list[sp.Expr]:
    """``Δf_j = Σ_k γ_k J_kj`` (equation 52), with the Jacobian at the logits ``log h_k``."""
    at = {f: sp.log(h) for f, h in zip(logits(len(outputs)), outputs, strict=True)}
    return list(jacobian(len(outputs)).subs(at).T * sp.Matrix(gamma))


def closed_form_steps(gamma: Sequence[sp.Expr], outputs: Sequence[sp.Expr]) -> list[sp.Expr]:
    """``g_j − h_j Σ_k g_k`` with ``g_k = h_k γ_k``: what equation 52 comes to, less the gradient ∂L/∂f_j."""
    slopes = [h * g for h, g in zip(outputs, gamma, strict=True)]
    total = sp.Add(*slopes)
    return [slope - h * total for slope, h in zip(slopes, outputs, strict=True)]


def logit_gradient(expression: sp.Expr, labels: Sequence[sp.Expr]) -> list[sp.Expr]:
    """``∂L/∂f_j`` of ``L = −Σ_k φ(h_k, y_k)`` by differentiation through the softmax, in the symbols of ``logits``."""
    f = logits(len(labels))
    value = -sp.Add(*(expression.subs({H: h, Y: y}) for h, y in zip(softmax(f), labels, strict=True)))
    return [sp.diff(value, g) for g in f]


@cache
def constant_effect(classes: int) -> list[sp.Expr]:
    """Steps of the logits that the constant c1 in γ makes, at any outputs: all 0, since ``Σ_k J_kj = 0``."""
    u = sp.symbols(f"u1:{classes + 1}", positive=True)
    outputs = [each / sp.Add(*u) for each in u]
    return [sp.cancel(step) for step in logit_steps([C["c1"]] * classes, outputs)]


@cache
def concrete_steps(classes: int) -> Pair:
    """Steps of the logits at symmetric outputs, from the Jacobian of so many classes: (B, A) in ε, γ_¬T and γ_T."""
    others = classes - 1
    outputs = [OUTPUTS.target, *[OUTPUTS.other] * others]
    target, *rest = logit_steps([GAMMA.target, *[GAMMA.other] * others], [h.subs(N, classes) for h in outputs])
    return Pair(sp.factor(rest[0]), sp.factor(target))


@cache
def general_steps() -> Pair:
    """The same for any n: one target and n − 1 equal others, grouped as in equations 53–56."""
    h_other, h_target = OUTPUTS
    own_target, target_to_other = jacobian_entries(h_target, h_other)
    own_other, other_to_target = jacobian_entries(h_other, h_target)
    _, between_others = jacobian_entries(h_other, h_other)
    step = GAMMA.target * own_target + (N - 1) * GAMMA.other * target_to_other
    other = GAMMA.other * own_other + (N - 2) * GAMMA.other * between_others + GAMMA.target * other_to_target
    return Pair(sp.factor(other), sp.factor(step))


def jacobian_entries(own: sp.Expr, other: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """``∂h_j/∂f_j`` and ``∂h_k/∂f_j`` at the outputs h_j and h_k for any n: all further classes are one constant."""
    f, g = logits(2)
    rest = sp.Symbol("rest", positive=True)
    total = sp.exp(f) + sp.exp(g) + rest
    at = {f: sp.log(own), g: sp.log(other), rest: 1 - own - other}
    entries = [sp.diff(sp.exp(logit) / total, f).subs(at) for logit in (f, g)]
    return sp.factor(entries[0]), sp.factor(entries[1])


def published_steps() -> Pair:
    """(B, A) as equation 17 prints them."""
    other, target = GAMMA
    e, n = EPSILON, N
    b = (e * (e - 1) * target * (n - 1) + e * other * (e * (n - 3) + n - 1)) / (n - 1) ** 2
    return Pair(b, e * (e - 1) * (other - target))


@cache
def softmax_change() -> sp.Expr:
    """The target's output after steps A and B, less before (equations 57–62), for any n."""
    before = sp.log(OUTPUTS.other), sp.log(OUTPUTS.target)
    other, target = (sp.exp(logit + step) for logit, step in zip(before, STEPS, strict=True))
    return target / (target + (N - 1) * other) - OUTPUTS.target


def strength(steps: Pair = STEPS) -> sp.Expr:
    """``ε(ε−1)(e^A − e^B) / ((ε−1)e^A − εe^B)`` (equations 17 and 65): what :func:`softmax_change` comes to."""
    b, a = (sp.exp(step) for step in steps)
    return EPSILON * (EPSILON - 1) * (a - b) / ((EPSILON - 1) * a - EPSILON * b)


@cache
def sign_factors() -> tuple[sp.Expr, sp.Expr]:
    """``strength/(e^A − e^B)`` and ``(A − B)/(γ_T − γ_¬T)`` with the exact steps, both positive.

    So the exact form attracts where γ_T > γ_¬T and nowhere else. Written with the odds ``x = (1−ε)/ε > 0`` and
    ``m = n − 2 ≥ 0``, in which the sign can be seen.
    """
    odds, further = sp.Symbol("x", positive=True), sp.Symbol("m", integer=True, nonnegative=True)
    b, a = general_steps()
    per_growth = strength() / (sp.exp(STEPS.target) - sp.exp(STEPS.other))
    per_gap = (a - b) / (GAMMA.target - GAMMA.other)
    at = {EPSILON: 1 / (1 + odds), N: further + 2}
    return sp.factor(per_growth.subs(at)), sp.factor(per_gap.subs(at))


def null_epoch_step(rule: sp.Expr) -> sp.Expr:
    """Step A of the target's logit at the null epoch, ``(n−1)/n² · m``: what theorem 3 should be about."""
    gamma = dict(zip(GAMMA, null_epoch(rule), strict=True))
    return sp.factor(general_steps().target.subs(EPSILON, 1 - 1 / N).subs(gamma))


# The growth of a bias at the null epoch (of this program, not of the paper)


def bias_growth(rule: sp.Expr) -> sp.Expr:
    """``γ̄'(1/n)/m`` with the label averaged over all classes, ``γ̄ = γ(h, 0) + (γ(h, 1) − γ(h, 0))/n``."""
    other, target = rule.subs(Y, 0), rule.subs(Y, 1)
    mean = other + (target - other) / N
    return sp.simplify(sp.diff(mean, H).subs(H, 1 / N) / margin(rule))


def common_growth(rule: sp.Expr, classes: int) -> sp.Expr:
    """How a common difference of two logits moves: the mean step over all labels, differentiated at equal logits.

    What :func:`bias_growth` times ``m/n²`` should be.
    """
    f = logits(classes)
    h = softmax(f)
    steps = []
    for target in range(classes):
        gamma = [rule.subs({H: each, Y: int(k == target)}) for k, each in enumerate(h)]
        steps.append(closed_form_steps(gamma, h)[0])
    mean = sp.Add(*steps) / classes
    return sp.simplify((sp.diff(mean, f[0]) - sp.diff(mean, f[1])).subs(dict.fromkeys(f, 0)))
