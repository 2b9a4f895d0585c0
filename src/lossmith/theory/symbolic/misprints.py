"""The errata of the paper, each shown by a derivation and a number."""

from dataclasses import dataclass
from functools import cache

import sympy as sp

from lossmith.losses import allcnnc
from lossmith.theory.symbolic.regimes import margin, published_margin, symmetric
from lossmith.theory.symbolic.rules import (
    ALPHA,
    BAIKAL,
    EPSILON,
    GAMMA,
    MONOMIALS,
    MSE,
    OUTPUTS,
    THIRD_ORDER,
    C,
    H,
    N,
    Y,
    coefficients,
    exact,
    learning_rule,
    phi,
    smoothed,
    smoothed_coefficients,
)
from lossmith.theory.symbolic.softmax import general_steps, published_steps


@dataclass(frozen=True)
class Erratum:
    """An error of the paper, shown by its derivation and by a number.

    Args:
        name: What it is about.
        equations: The paper's numbers of the equations that are wrong.
        quantity: What the two expressions are.
        printed: As the paper has it.
        derived: As it follows from φ.
        at: Symbols and their numbers in the example.
        example: What the example shows.
    """

    name: str
    equations: str
    quantity: str
    printed: sp.Expr
    derived: sp.Expr
    at: tuple[tuple[sp.Symbol, sp.Expr], ...]
    example: str

    @property
    def difference(self) -> sp.Expr:
        """``printed − derived``, in factors."""
        return sp.factor(self.printed - self.derived)

    @property
    def numbers(self) -> tuple[sp.Expr, sp.Expr]:
        """The printed and the derived expression in the example, as exact numbers."""
        return self.printed.subs(self.at), self.derived.subs(self.at)

    @property
    def formulas(self) -> tuple[str, str, str]:
        """LaTeX of the printed expression, the derived one, and their difference, with decimals for fractions."""
        printed, derived, difference = (_decimal(e) for e in (self.printed, self.derived, self.difference))
        return sp.latex(printed), sp.latex(derived), sp.latex(difference)


@cache
def errata() -> tuple[Erratum, ...]:
    """The eight errors of the paper that its equations show; of what it says in words, a sign is compared."""
    return (
        _theorem_2(),
        _theorem_3(),
        _equation_25(),
        _soft_labels(),
        _digits(),
        _jacobian(),
        _baikal(),
        _entropy(),
    )


def _theorem_2() -> Erratum:
    place = {EPSILON: sp.Rational(1, 2), N: sp.Integer(10)}
    gamma = [value.subs(place) for value in symmetric(learning_rule(phi(allcnnc())))]
    return Erratum(
        "Sign of a term in theorem 2",
        "17, 56, 65",
        "step B of a non-target logit",
        published_steps().other,
        general_steps().other,
        (*zip(GAMMA, gamma, strict=True), *place.items()),
        "The loss of AllCNN-C at ε = 0.5, 10 classes: it attracts with the printed B and repels with the derived one.",
    )


def _theorem_3() -> Erratum:
    values = coefficients(learning_rule(MSE + 10 * H))
    return Erratum(
        "Constant in theorem 3",
        "18, 19, 69, 70",
        "left-hand side less right-hand side of the invariant (not trainable below 0)",
        published_margin(THIRD_ORDER),
        margin(THIRD_ORDER),
        (*((C[name], value) for name, value in values.items()), (N, sp.Integer(10))),
        "MSE with 10 added to its γ has the gradients of MSE, as Σ_k ∂h_k/∂f_j = 0; the printed invariant rejects it.",
    )


def _equation_25() -> Erratum:
    return Erratum(
        "Sign of MSE at the null epoch",
        "25",
        "γ of MSE at h = 1/n, for y = 0 and y = 1",
        2 / N - 2 * Y,
        learning_rule(MSE).subs(H, 1 / N),
        ((Y, sp.Integer(1)), (N, sp.Integer(10))),
        "With 10 classes the target's γ is above 0, so its output grows; as printed it would shrink.",
    )


def _soft_labels() -> Erratum:
    printed = sum(smoothed_coefficients()[name] * monomial for name, monomial in MONOMIALS.items())
    values = {**dict.fromkeys(C.values(), sp.Integer(0)), C["cyy"]: sp.Integer(1)}
    place = {Y: sp.Rational(1, 2), ALPHA: sp.Rational(1, 10), N: sp.Integer(10)}
    return Erratum(
        "Label smoothing of soft labels",
        "43–48",
        "γ with label smoothing α in its coefficients",
        printed,
        smoothed(THIRD_ORDER),
        (*values.items(), *place.items()),
        "γ = y² at the soft label y = 1/2 with α = 0.1 and 10 classes; at y = 0 and y = 1 the two are equal.",
    )


def _digits() -> Erratum:
    c1, ch, chh = exact(-373.917), exact(-130.264), exact(-11.2188)
    at_null_epoch = exact(-386.9546188)
    solved = 10 * (at_null_epoch - c1 - chh / 100)
    return Erratum(
        "Digits of the loss of AllCNN-C",
        "28, 29",
        "γ of the non-targets",
        c1 + ch * H + chh * H**2,
        c1 + sp.Rational(round(1000 * solved), 1000) * H + chh * H**2,
        ((H, sp.Rational(1, 10)),),
        "At h = 1/10 equation 30 prints −386.9546188, which needs −129.254 as the coefficient of h.",
    )


def _jacobian() -> Erratum:
    logit = sp.Symbol("f", real=True)
    return Erratum(
        "Factor in the Jacobian",
        "50",
        "∂h_k/∂f_k",
        H * (1 - H) * logit,
        H * (1 - H),
        ((H, sp.Rational(1, 2)), (logit, sp.Integer(0))),
        "Two equal logits of 0: as printed, a logit would have no influence on its own output.",
    )


def _baikal() -> Erratum:
    gamma = [learning_rule(BAIKAL).subs({H: 1 / N, Y: label}) for label in (0, 1)]
    step = sp.factor((gamma[1] - ((N - 1) * gamma[0] + gamma[1]) / N) / N)
    return Erratum(
        "Baikal at the null epoch, in words",
        "27",
        "sign of the step of the target's logit",
        sp.Integer(-1),
        sp.sign(step),
        ((N, sp.Integer(10)),),
        "The sentence after the equation says that the target is minimized; its logit grows by n − 1, as γ has it.",
    )


def _entropy() -> Erratum:
    others, target = OUTPUTS
    entropy = -target * sp.log(target) - (N - 1) * others * sp.log(others)
    return Erratum(
        "Entropy at zero error, in words",
        "16",
        "sign of the change of entropy where all outputs but the target's shrink",
        sp.Integer(1),
        -sp.sign(sp.simplify(sp.diff(entropy, EPSILON))),
        ((EPSILON, sp.Rational(1, 100)), (N, sp.Integer(10))),
        "Section 4.1 says that minimizing the non-targets increases the entropy and minimizing the target decreases "
        "it; it is the other way round below ε = 1 − 1/n.",
    )


def _decimal(expression: sp.Expr) -> sp.Expr:
    """The expression with its fractions of whole numbers as decimals."""
    fractions = (number for number in expression.atoms(sp.Rational) if not number.is_integer)
    return expression.xreplace({number: sp.Float(number) for number in fractions})
