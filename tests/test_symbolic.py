"""Symbolic ≡ numeric ≡ autograd: each formula of the theory against its derivation with SymPy, and the errata."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import mpmath
import pytest
import sympy as sp
import torch
from torch import Tensor

from lossmith import InputError, PowerLoss, theory
from lossmith.losses import (
    CATALOG,
    allcnnc,
    baikal,
    cross_entropy,
    find,
    focal,
    gce,
    mae,
    mnist,
    mse,
    poly,
    polynomial,
    taylor,
    taylor_cross_entropy,
)
from lossmith.theory import symbolic
from lossmith.theory.symbolic import ALPHA, EPSILON, GAMMA, STEPS, C, H, N, Pair, Y

DIGITS = 50
CLASSES = [2, 3, 10]
FEW_CLASSES = [2, 3, 4, 5, 6]
FORMS: list[theory.Form] = ["exact", "published"]
ORDERS = {"random 3a": 3, "random 3b": 3, "random 3c": 3, "random 2": 2, "random 4": 4, "random 5": 5}
THIRD_ORDER = ["mse", "mae", "taylor-ce", "paper/allcnnc", "paper/mnist", *list(ORDERS)[:4]]
LOSSES = [*(name for name in CATALOG if isinstance(find(name, 10), PowerLoss)), *ORDERS]
POLYNOMIAL = [*THIRD_ORDER, "random 4", "random 5"]
OTHERS = [name for name in LOSSES if name not in POLYNOMIAL]
HARD, SOFT = [0.0, 1.0], [0.0, 0.03, 0.5, 1.0]
OUTPUTS = [1e-6, 0.01, 0.1, 0.37, 0.5, 0.9, 0.999999]
EPSILONS = [1e-6, 1e-3, 0.1, 0.4, 0.5, 0.75, 0.93, 0.999, 1 - 1e-6]

every_loss = pytest.mark.parametrize("name", LOSSES)
every_class = pytest.mark.parametrize("n", CLASSES)
few_classes = pytest.mark.parametrize("n", FEW_CLASSES)


@cache
def random_lambda(name: str) -> Tensor:
    order = ORDERS[name]
    generator = torch.Generator().manual_seed(list(ORDERS).index(name))
    return 1.2 * torch.randn(2 + order * (order + 1) // 2, dtype=torch.float64, generator=generator)


@cache
def numeric(name: str, n: int = 10) -> PowerLoss:
    loss = taylor(random_lambda(name), ORDERS[name]) if name in ORDERS else find(name, n)
    assert isinstance(loss, PowerLoss)
    return loss


@cache
def phi(name: str, n: int = 10) -> sp.Expr:
    """φ of a loss; that of a random λ is the definition of the Taylor loss (equation 10) with the numbers put in."""
    if name not in ORDERS:
        return symbolic.phi(find(name, n))
    symbols = symbolic.lambdas(ORDERS[name])
    values = (sp.Rational(value) for value in random_lambda(name).tolist())
    return symbolic.taylor_phi(ORDERS[name]).subs(dict(zip(symbols, values, strict=True)))


@cache
def rule(name: str, n: int = 10) -> sp.Expr:
    return symbolic.learning_rule(phi(name, n))


@cache
def twin(expression: Any, *symbols: sp.Symbol) -> Callable[..., Any]:
    """An expression, or a tuple of them, as a function of numbers, computed with 50 digits."""
    function = sp.lambdify(symbols, expression, "mpmath")

    def evaluate(*numbers: float) -> Any:
        with mpmath.workdps(DIGITS):
            return function(*map(mpmath.mpf, numbers))

    return evaluate


def with_size(expression: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """A sum, and the sum of its terms without their signs: what rounding errors of the sum are relative to."""
    return expression, sp.Add(*map(sp.Abs, sp.Add.make_args(sp.expand(expression))))


def value(expression: sp.Expr) -> Any:
    return twin(expression)()


def numbers_of(found: Tensor | Iterable[Tensor | float]) -> list[float]:
    """Numbers, or tensors of any shape, as one list."""
    values = [found] if isinstance(found, Tensor) else list(found)
    return torch.cat([torch.as_tensor(each, dtype=torch.float64).flatten() for each in values]).tolist()


def assert_close(
    found: Tensor | Iterable[Tensor | float],
    wanted: Iterable[Any],
    sizes: Iterable[Any] | None = None,
    tolerance: float = 1e-12,
) -> None:
    """Each number found is the one wanted, with an error of at most the tolerance times its size, or else itself."""
    wants = list(wanted)
    with mpmath.workdps(DIGITS):
        for number, want, size in zip(numbers_of(found), wants, wants if sizes is None else sizes, strict=True):
            error = abs(mpmath.mpf(number) - want)
            assert error <= tolerance * abs(size), f"{number!r} is not {mpmath.nstr(want, 17)}"


def float64(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def is_zero(expressions: Iterable[sp.Expr]) -> bool:
    return all(sp.cancel(sp.together(expression)) == 0 for expression in expressions)


def autograd_gamma(loss: PowerLoss, h: Tensor, y: Tensor) -> Tensor:
    h = h.detach().clone().requires_grad_()
    (gamma,) = torch.autograd.grad(loss.phi(h, y).sum(), h)
    return gamma


def autograd_step(loss: PowerLoss, logits: Tensor, targets: Tensor) -> Tensor:
    """Minus the gradient of the loss with respect to its logits."""
    logits = logits.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss.value(logits, targets).sum(), logits)
    return -gradient


class TestPhi:
    """φ of the package's losses is that of the paper."""

    @pytest.mark.parametrize(
        ("loss", "expected"),
        [
            (mse(), symbolic.MSE),
            (cross_entropy(), symbolic.CROSS_ENTROPY),
            (baikal(), symbolic.BAIKAL),
            (mae(), Y * (H - 1)),
            (poly(0.3), Y * sp.log(H) + sp.Rational(3, 10) * Y * (H - 1)),
            (gce(0.7), Y * (H ** sp.Rational(7, 10) - 1) / sp.Rational(7, 10)),
            (focal(3), Y * (1 - H) ** 3 * sp.log(H)),
            (0 * mse(), sp.Integer(0)),
        ],
        ids=lambda case: case.name if isinstance(case, PowerLoss) else "",
    )
    def test_named(self, loss: PowerLoss, expected: sp.Expr) -> None:
        assert sp.expand(symbolic.phi(loss) - expected) == 0

    def test_taylor_of_third_order(self) -> None:
        l0, l1, l2, l3, l4, l5, l6, l7 = symbolic.lambdas()
        u, v = H - l1, Y - l0
        expected = l2 * u + l3 * u**2 + l4 * u**3 + l5 * u * v + l6 * u**2 * v + l7 * u * v**2
        assert sp.expand(symbolic.taylor_phi() - expected) == 0

    @pytest.mark.parametrize("order", [2, 3, 4, 5, 7])
    def test_taylor_of_any_order_is_the_packages(self, order: int) -> None:
        symbols = symbolic.lambdas(order)
        lam = [sp.Rational(k * k % 7 - 3, 4) for k in range(len(symbols))]
        derived = symbolic.taylor_phi(order).subs(dict(zip(symbols, lam, strict=True)))
        assert sp.expand(symbolic.phi(taylor([float(each) for each in lam], order)) - derived) == 0

    def test_series_of_cross_entropy(self) -> None:
        """The third-order Taylor series of y log h about h = y = 1/2, less what does not depend on h."""
        u, v = sp.symbols("u v")
        half = sp.Rational(1, 2)
        full = sp.expand((half + v) * sp.series(sp.log(half + u), u, 0, 4).removeO())
        kept = sum(c * u**i * v**j for (i, j), c in sp.Poly(full, u, v).terms() if i >= 1 and i + j <= 3)
        found = symbolic.learning_rule(symbolic.phi(taylor_cross_entropy())).subs({H: half + u, Y: half + v})
        assert sp.expand(found - sp.diff(kept, u)) == 0

    @pytest.mark.parametrize("number", [0.1, 4 / 3, -373.917, 1e-300, 1e300, 0.1 + 0.2, 0.0, 2.0, 1 / 7, -1 / 3e6])
    def test_fractions_round_to_the_number(self, number: float) -> None:
        assert float(symbolic.exact(number)) == number

    def test_simple_fractions_are_found(self) -> None:
        found = [symbolic.exact(number) for number in (0.1, -4 / 3, 0.6, -11.2188)]
        assert found == [sp.Rational(1, 10), sp.Rational(-4, 3), sp.Rational(3, 5), sp.Rational(-28047, 2500)]

    def test_population(self) -> None:
        with pytest.raises(InputError, match="population"):
            symbolic.phi(taylor(torch.zeros(2, 8)))


class TestLearningRule:
    def test_equations_6_7_and_9(self) -> None:
        rules = [symbolic.learning_rule(each) for each in (symbolic.MSE, symbolic.CROSS_ENTROPY, symbolic.BAIKAL)]
        assert rules == [2 * Y - 2 * H, Y / H, 1 / H + Y / H**2]

    def test_equation_11(self) -> None:
        l0, l1, l2, l3, l4, l5, l6, l7 = symbolic.lambdas()
        printed = 2 * l3 * H - 2 * l1 * l3 + 2 * l6 * H * Y - 2 * l6 * l0 * H - 2 * l1 * l6 * Y + 2 * l1 * l6 * l0
        printed += l2 + l5 * Y - l5 * l0 + l7 * Y**2 - 2 * l7 * l0 * Y + l7 * l0**2
        printed += 3 * l4 * H**2 - 6 * l1 * l4 * H + 3 * l4 * l1**2
        assert sp.expand(symbolic.learning_rule(symbolic.taylor_phi()) - printed) == 0

    @every_class
    @every_loss
    def test_gamma(self, name: str, n: int) -> None:
        loss, gamma = numeric(name, n), twin(with_size(rule(name, n)), H, Y)
        h, y = torch.meshgrid(float64(*OUTPUTS), float64(*SOFT), indexing="ij")
        points = zip(h.flatten().tolist(), y.flatten().tolist(), strict=True)
        wanted, sizes = zip(*(gamma(*point) for point in points), strict=True)
        assert_close(loss.gamma(h, y), wanted, sizes)
        assert_close(loss.slope(h.log(), y) / h, wanted, sizes)
        assert_close(autograd_gamma(loss, h, y), wanted, sizes)

    @every_class
    @every_loss
    def test_listed_terms(self, name: str, n: int) -> None:
        terms = [(term, c.item()) for term, c in numeric(name, n).rule().items()]
        gamma = twin(rule(name, n), H, Y)
        with mpmath.workdps(DIGITS):
            for h in map(mpmath.mpf, OUTPUTS):
                for y in SOFT:
                    parts = [c * h**i * mpmath.mpf(y) ** j * mpmath.log(h) ** log for (i, j, log), c in terms]
                    assert abs(sum(parts) - gamma(h, y)) <= 1e-14 * sum(map(abs, parts))

    def test_equation_12(self) -> None:
        l0, l1, l2, l3, l4, l5, l6, l7 = symbolic.lambdas()
        printed = {
            "c1": l2 - 2 * l1 * l3 + 3 * l4 * l1**2 - l5 * l0 + 2 * l0 * l1 * l6 + l7 * l0**2,
            "ch": 2 * l3 - 2 * l6 * l0 - 6 * l1 * l4,
            "chh": 3 * l4,
            "chy": 2 * l6,
            "cy": l5 - 2 * l1 * l6 - 2 * l7 * l0,
            "cyy": l7,
        }
        derived = symbolic.coefficients(symbolic.learning_rule(symbolic.taylor_phi()))
        assert {name: sp.expand(derived[name] - c) for name, c in printed.items()} == dict.fromkeys(printed, 0)
        assert symbolic.coefficients(symbolic.THIRD_ORDER) == C

    @pytest.mark.parametrize("name", THIRD_ORDER)
    def test_coefficients(self, name: str) -> None:
        wanted = symbolic.coefficients(rule(name))
        found = theory.coefficients(numeric(name))
        assert list(wanted) == list(found._fields)
        assert_close(found, [value(c) for c in wanted.values()])

    @pytest.mark.parametrize("name", [name for name in LOSSES if name not in THIRD_ORDER])
    def test_others_have_no_coefficients(self, name: str) -> None:
        with pytest.raises(InputError):
            symbolic.coefficients(rule(name))
        with pytest.raises(InputError):
            theory.coefficients(numeric(name))

    @pytest.mark.parametrize("centers", [(0.0, 0.0), (0.3, -1.7)])
    def test_lambda_of_coefficients(self, centers: tuple[float, float]) -> None:
        """Equation 12 turned round, put into equation 12."""
        wanted = [1.5, -2.25, 0.7, 3.1, -0.4, 0.9]
        lam = theory.to_lambda(theory.Coefficients(*float64(*wanted)), *centers)
        at = dict(zip(symbolic.lambdas(), (sp.Rational(each) for each in lam.tolist()), strict=True))
        found = symbolic.coefficients(symbolic.learning_rule(symbolic.taylor_phi()).subs(at))
        assert_close([float(c) for c in found.values()], wanted, tolerance=1e-14)
        assert lam[:2].tolist() == list(centers)

    @every_class
    @pytest.mark.parametrize("name", THIRD_ORDER)
    def test_canonical(self, name: str, n: int) -> None:
        """NaN where the margin is not above 0."""
        m = symbolic.margin(rule(name, n)).subs(N, n)
        c = symbolic.coefficients(rule(name, n))
        derived = [sp.log(m / n), c["ch"] / m, c["chh"] / m, c["chy"] / m] if m > 0 else []
        found = torch.stack(list(theory.canonical(numeric(name, n), n)))
        kept = found[~found.isnan()]
        assert_close(kept, [value(each) for each in derived])

    def test_two_numbers_act_with_two_classes(self) -> None:
        """``γ_T − γ_¬T = p + q h_T`` for n = 2, whatever the coefficients."""
        gap = symbolic.THIRD_ORDER.subs(Y, 1) - symbolic.THIRD_ORDER.subs({H: 1 - H, Y: 0}, simultaneous=True)
        q, p = sp.Poly(sp.expand(gap), H).all_coeffs()
        numbers = dict(zip(C.values(), (1.5, -2.25, 0.7, 3.1, -0.4, 0.9), strict=True))
        found = theory.acting_pair(theory.Coefficients(*float64(*numbers.values())))
        assert_close(found, [value(each.subs(numbers)) for each in (p, q)], tolerance=1e-14)


class TestZeroError:
    """§4.1 and appendix B."""

    def test_equations_20_to_23(self) -> None:
        l0, l1, l2, l3, l4, l5, l6, l7 = symbolic.lambdas()
        printed = (
            l2 - 2 * l1 * l3 - l5 * l0 + 2 * l1 * l6 * l0 + l7 * l0**2 + 3 * l4 * l1**2,
            2 * l3 - 2 * l6 * l0 - 2 * l1 * l6 + l5 - 2 * l7 * l0 - 6 * l4 * l1,
            2 * l6 + l7 + 3 * l4,
        )
        derived = symbolic.zero_error(symbolic.learning_rule(symbolic.taylor_phi()))
        assert is_zero(x - y for x, y in zip(derived, printed, strict=True))

    def test_equation_13(self) -> None:
        assert symbolic.zero_error(symbolic.learning_rule(symbolic.MSE)) == (0, 0, 0)

    def test_limits_of_equations_14_15_and_32(self) -> None:
        limits = [
            symbolic.zero_error_limits(symbolic.learning_rule(each))
            for each in (symbolic.CROSS_ENTROPY, symbolic.BAIKAL)
        ]
        assert limits == [Pair(0, 1), Pair(sp.oo, 2)]

    def test_equations_33_and_34(self) -> None:
        other, target = symbolic.symmetric(symbolic.learning_rule(symbolic.BAIKAL))
        assert is_zero([other - (N - 1) / EPSILON, target - 1 / (1 - EPSILON) - 1 / (1 - EPSILON) ** 2])
        assert is_zero([target - (2 - EPSILON) / (EPSILON**2 - 2 * EPSILON + 1)])

    def test_theorem_1(self) -> None:
        """γ_T − γ_¬T goes to −∞ as (n − 1)/ε, and changes its sign at h_T = 1/√n only."""
        gamma = symbolic.learning_rule(symbolic.BAIKAL)
        other, target = symbolic.symmetric(gamma)
        assert sp.limit(EPSILON * (target - other), EPSILON, 0, "+") == 1 - N
        assert symbolic.turning_outputs(gamma) == [1 / sp.sqrt(N)]

    @pytest.mark.parametrize("n", [2, 3, 4, 10, 100])
    def test_baikal_changes_its_sign_once(self, n: int) -> None:
        (root,) = symbolic.turning_outputs(symbolic.learning_rule(symbolic.BAIKAL))
        assert_close(theory.sign_changes(baikal(), n), [value(1 - root.subs(N, n))])

    def test_order_above_three_adds_nothing(self) -> None:
        """§4.1: with labels 0 and 1 a γ of any order is a + b y + c y² there."""
        gamma = symbolic.learning_rule(symbolic.taylor_phi(5))
        a, b, c = symbolic.zero_error(gamma)
        assert [sp.expand(gamma.subs({H: label, Y: label}) - a - label * (b + c)) for label in (0, 1)] == [0, 0]

    @pytest.mark.parametrize("name", POLYNOMIAL)
    def test_polynomial(self, name: str) -> None:
        loss, gamma = numeric(name), rule(name)
        wanted = [value(each) for each in symbolic.zero_error(gamma)]
        size = max(map(abs, wanted))
        assert_close(theory.zero_error(loss), wanted, [size] * 3)
        ends = [value(each) for each in symbolic.zero_error_limits(gamma)]
        assert_close(autograd_gamma(loss, float64(1e-30, 1), float64(*HARD)), ends, [size + 1] * 2)
        a, b, c = symbolic.zero_error(gamma)
        assert is_zero(x - y for x, y in zip(symbolic.zero_error_limits(gamma), (a, a + b + c), strict=True))
        assert theory.regime(loss).item() == sp.sign(b + c)

    @pytest.mark.parametrize("name", OTHERS)
    def test_limits(self, name: str) -> None:
        other, target = symbolic.zero_error_limits(rule(name))
        found = theory.zero_error(numeric(name))
        assert found.a.item() == float(other)
        assert_close(numeric(name).gamma(float64(1), float64(1)), [value(target)])
        assert theory.regime(numeric(name)).item() == sp.sign(target - other)
        with pytest.raises(InputError):
            symbolic.zero_error(rule(name))

    def test_numbers_of_the_paper(self) -> None:
        """a, b and c of the loss of AllCNN-C (§4.1)."""
        found = symbolic.zero_error(symbolic.learning_rule(symbolic.phi(allcnnc())))
        assert found == tuple(sp.Rational(each) for each in ("-373.917", "-129.928", "-11.3145"))


class TestNullEpoch:
    """Appendix C and theorem 3."""

    def test_equations_25_to_27(self) -> None:
        rules = [symbolic.learning_rule(each) for each in (symbolic.MSE, symbolic.CROSS_ENTROPY, symbolic.BAIKAL)]
        assert [symbolic.null_epoch(each) for each in rules] == [Pair(-2 / N, 2 - 2 / N), Pair(0, N), Pair(N, N + N**2)]

    def test_equation_67(self) -> None:
        c1, ch, chh, chy, cy, cyy = C.values()
        other = c1 + ch / N + chh / N**2
        found = symbolic.null_epoch(symbolic.THIRD_ORDER)
        assert is_zero([found.other - other, found.target - other - cy - cyy - chy / N])

    def test_equations_69_and_70(self) -> None:
        c1, ch, chh, chy, cy, cyy = C.values()
        other, target = symbolic.null_epoch(symbolic.THIRD_ORDER)
        published = symbolic.published_margin(symbolic.THIRD_ORDER)
        assert is_zero([published - target + (N - 1) * other])
        assert is_zero([published - (cy + cyy + chy / N) + (N - 2) * (c1 + ch / N + chh / N**2)])
        assert is_zero([symbolic.margin(symbolic.THIRD_ORDER) - (cy + cyy + chy / N)])

    def test_step_of_the_target_has_the_sign_of_the_margin(self) -> None:
        step = symbolic.null_epoch_step(symbolic.THIRD_ORDER)
        assert is_zero([step - (N - 1) / N**2 * symbolic.margin(symbolic.THIRD_ORDER)])

    @every_class
    @every_loss
    def test_every_loss(self, name: str, n: int) -> None:
        loss, gamma = numeric(name, n), rule(name, n)
        wanted = [value(each.subs(N, n)) for each in symbolic.null_epoch(gamma)]
        sizes = [value(with_size(rule(name, n))[1].subs({H: sp.Rational(1, n), Y: label})) for label in (0, 1)]
        m = value(symbolic.margin(gamma).subs(N, n))
        assert_close(theory.null_epoch(loss, n), wanted, sizes)
        assert_close(theory.margin(loss, n), [m])
        assert_close(theory.gain(loss, n), [m / n])
        slopes = autograd_gamma(loss, float64(1 / n, 1 / n), float64(*HARD))
        assert_close(slopes, wanted, sizes)
        assert_close(slopes[1:] - slopes[:1], [m], [sum(sizes)])

    @every_class
    @every_loss
    def test_invariant(self, name: str, n: int) -> None:
        loss, gamma = numeric(name, n), rule(name, n)
        exact = value(symbolic.margin(gamma).subs(N, n))
        published = value(symbolic.published_margin(gamma).subs(N, n))
        other, target = theory.null_epoch(loss, n)
        assert_close(target - (n - 1) * other, [published], [abs(target.item()) + n * abs(other.item())])
        assert theory.is_trainable(loss, n).item() is bool(exact > 0)
        assert theory.is_trainable(loss, n, "published").item() is bool(published >= 0)
        step = autograd_step(loss, torch.zeros(1, n, dtype=torch.float64), torch.tensor([0]))[0, 0]
        size = abs(target.item()) + abs(other.item())
        assert_close(step, [value(symbolic.null_epoch_step(gamma).subs(N, n))], [size])

    def test_numbers_of_equation_30(self) -> None:
        found = symbolic.null_epoch(symbolic.learning_rule(symbolic.phi(allcnnc())))
        other, target = (float(each.subs(N, 10)) for each in found)
        assert other == pytest.approx(-386.9546188, abs=1e-4)
        assert target == pytest.approx(-385.729923, abs=1e-4)


class TestLogitGradient:
    """Equations 49–52 and the closed form."""

    @few_classes
    def test_equation_50(self, n: int) -> None:
        u = sp.symbols(f"u1:{n + 1}", positive=True)
        at = dict(zip(symbolic.logits(n), map(sp.log, u), strict=True))
        h = [each / sum(u) for each in u]
        found = symbolic.jacobian(n).subs(at)
        assert is_zero(found[k, j] - h[k] * (int(k == j) - h[j]) for k in range(n) for j in range(n))

    @few_classes
    def test_closed_form(self, n: int) -> None:
        u, gamma = sp.symbols(f"u1:{n + 1}", positive=True), sp.symbols(f"gamma1:{n + 1}")
        outputs = [each / sum(u) for each in u]
        steps = zip(symbolic.logit_steps(gamma, outputs), symbolic.closed_form_steps(gamma, outputs), strict=True)
        assert is_zero(step - closed for step, closed in steps)

    @few_classes
    def test_constant_has_no_effect(self, n: int) -> None:
        assert symbolic.constant_effect(n) == [0] * n

    def test_entries_for_any_number_of_classes(self) -> None:
        own, other = sp.symbols("p q", positive=True)
        entries = symbolic.jacobian_entries(own, other)
        assert is_zero([entries[0] - own * (1 - own), entries[1] + own * other])

    def test_four_numbers_act(self) -> None:
        """With hard labels c1 never acts, and cy and cyy only by their sum; ch, chh, chy and that sum do."""
        expression = sp.integrate(symbolic.THIRD_ORDER, H)
        u = sp.symbols("u1:4", positive=True)
        at = dict(zip(symbolic.logits(3), map(sp.log, u), strict=True))
        gradient = [each.subs(at) for each in symbolic.logit_gradient(expression, [1, 0, 0])]
        slopes = {name: sp.Matrix([sp.cancel(sp.diff(each, c)) for each in gradient]) for name, c in C.items()}
        assert slopes["c1"].is_zero_matrix
        assert is_zero(slopes["cy"] - slopes["cyy"])
        acting = sp.Matrix.hstack(*(slopes[name] for name in ("ch", "chh", "chy", "cy")))
        points = [acting.subs(dict(zip(u, place, strict=True))) for place in ((1, 2, 3), (5, 1, 1), (1, 1, 4))]
        assert sp.Matrix.vstack(*points).rank() == 4

    @pytest.mark.parametrize("labels", [(1, 0, 0), ("1/4", "5/8", "1/8")], ids=["hard", "soft"])
    @pytest.mark.parametrize("n", [2, 3])
    @every_loss
    def test_every_loss(self, name: str, n: int, labels: Sequence[Any]) -> None:
        """L differentiated through the softmax by SymPy, the closed form, and autograd."""
        y = [sp.Rational(each) for each in labels[: n - 1]]
        y.append(1 - sum(y))
        loss, f = numeric(name, n), [0.3, -1.2, 2.1][:n]
        wanted = twin(tuple(symbolic.logit_gradient(phi(name, n), y)), *symbolic.logits(n))(*f)
        size = [max(map(abs, wanted))] * n
        logits, targets = float64(*f)[None], float64(*(float(each) for each in y))[None]
        assert_close(loss.logit_gradient(logits, targets), wanted, size)
        scale = [each + max(map(abs, numbers_of(loss.slope(logits.log_softmax(-1), targets)))) for each in size]
        assert_close(-autograd_step(loss, logits, targets), wanted, scale)

    @every_loss
    def test_ten_classes(self, name: str) -> None:
        loss, gamma, label = numeric(name), twin(rule(name), H, Y), torch.tensor([3])
        logits = 2 * torch.randn(1, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        with mpmath.workdps(DIGITS):
            powers = [mpmath.exp(each) for each in logits[0].tolist()]
            h = [each / sum(powers) for each in powers]
            wanted = [-x for x in symbolic.closed_form_steps([gamma(x, k == 3) for k, x in enumerate(h)], h)]
        size = [max(map(abs, wanted))] * 10
        assert_close(loss.logit_gradient(logits, label), wanted, size)
        slopes = numbers_of(loss.slope(logits.log_softmax(-1), (torch.arange(10) == 3).double()))
        scale = [each + max(map(abs, slopes)) for each in size]
        assert_close(-autograd_step(loss, logits, label), wanted, scale)


class TestAttraction:
    """Theorem 2 (equations 53–65)."""

    def test_exact_steps(self) -> None:
        b, a = symbolic.general_steps()
        expected = EPSILON * (1 - EPSILON) * (GAMMA.target - GAMMA.other)
        assert is_zero([a - expected, b + expected / (N - 1), symbolic.published_steps().target - expected])

    @few_classes
    def test_any_n_and_concrete_n(self, n: int) -> None:
        pairs = zip(symbolic.concrete_steps(n), symbolic.general_steps(), strict=True)
        assert is_zero(concrete - general.subs(N, n) for concrete, general in pairs)

    @few_classes
    def test_the_others_stay_equal(self, n: int) -> None:
        outputs = [h.subs(N, n) for h in (symbolic.OUTPUTS.target, *[symbolic.OUTPUTS.other] * (n - 1))]
        _, first, *rest = symbolic.logit_steps([GAMMA.target, *[GAMMA.other] * (n - 1)], outputs)
        assert is_zero(each - first for each in rest)

    def test_strength_is_a_change_of_the_softmax(self) -> None:
        assert is_zero([symbolic.softmax_change() - symbolic.strength()])

    @few_classes
    def test_strength_with_all_outputs(self, n: int) -> None:
        b, a = STEPS
        logits = [sp.log(1 - EPSILON) + a, *[sp.log(EPSILON / (n - 1)) + b] * (n - 1)]
        change = symbolic.softmax(logits)[0] - (1 - EPSILON)
        assert is_zero([sp.expand(change, power_exp=True) - symbolic.strength()])

    def test_sign_is_that_of_the_gap(self) -> None:
        factors = symbolic.sign_factors()
        assert [factor.is_positive for factor in factors] == [True, True]
        x, m = sp.Symbol("x", positive=True), sp.Symbol("m", integer=True, nonnegative=True)
        at = {x: 1 / EPSILON - 1, m: N - 2}
        b, a = symbolic.general_steps()
        growth = sp.exp(STEPS.target) - sp.exp(STEPS.other)
        assert is_zero([factors[0].subs(at) * growth - symbolic.strength()])
        assert is_zero([factors[1].subs(at) * (GAMMA.target - GAMMA.other) - (a - b)])

    def test_constant_acts_on_the_published_form_only(self) -> None:
        shifted = {gamma: gamma + C["c1"] for gamma in GAMMA}
        exact = [sp.diff(each.subs(shifted), C["c1"]) for each in symbolic.general_steps()]
        published = sp.diff(symbolic.published_steps().other.subs(shifted), C["c1"])
        assert is_zero(exact)
        assert is_zero([published - 2 * EPSILON**2 * (N - 2) / (N - 1) ** 2])

    @every_class
    @every_loss
    def test_gamma_at_symmetric_outputs(self, name: str, n: int) -> None:
        found = theory.symmetric_gamma(numeric(name, n), EPSILONS, n)
        gamma, size = (symbolic.symmetric(each) for each in with_size(rule(name, n)))
        for values, want, terms in zip(found, gamma, size, strict=True):
            both = twin((want.subs(N, n), terms.subs(N, n)), EPSILON)
            wanted, sizes = zip(*(both(epsilon) for epsilon in EPSILONS), strict=True)
            assert_close(values, wanted, sizes)

    @pytest.mark.parametrize("form", FORMS)
    @every_class
    @every_loss
    def test_every_loss(self, name: str, n: int, form: theory.Form) -> None:
        """The steps to rounding of the terms that they are sums of, and the strength as far as the steps are known."""
        loss = numeric(name, n)
        gamma, size = (symbolic.symmetric(each) for each in with_size(rule(name, n)))
        pair = symbolic.general_steps() if form == "exact" else symbolic.published_steps()
        steps = tuple(each.subs(dict(zip(GAMMA, gamma, strict=True))) for each in pair)
        # The printed B has a term in ε² alone.
        shrinks = 1 - EPSILON if form == "exact" else 1
        derived = (*steps, EPSILON * shrinks * (size.other + size.target))
        both = twin(tuple(each.subs(N, n) for each in derived), EPSILON)
        b, a, sizes = zip(*(both(epsilon) for epsilon in EPSILONS), strict=True)
        found = theory.logit_steps(loss, EPSILONS, n, form)
        assert_close(found[0], b, sizes)
        assert_close(found[1], a, sizes)
        change = twin(symbolic.strength(), EPSILON, *STEPS)
        strengths = [change(*point) for point in zip(EPSILONS, b, a, strict=True)]
        known = [
            abs(strength) + (abs(strength) + epsilon * (1 - epsilon)) * each
            for epsilon, strength, each in zip(EPSILONS, strengths, sizes, strict=True)
        ]
        assert_close(theory.attraction(loss, EPSILONS, n, form), strengths, known)

    @every_class
    @every_loss
    def test_softmax_step_by_autograd(self, name: str, n: int) -> None:
        loss, outputs = numeric(name, n), theory.symmetric_outputs(EPSILONS, n)
        targets = torch.zeros(len(EPSILONS), dtype=torch.long)
        step = autograd_step(loss, outputs.log(), targets)
        change = ((outputs.log() + step).softmax(-1) - outputs)[:, 0]
        gamma = twin(tuple(each.subs(N, n) for each in symbolic.symmetric(rule(name, n))), EPSILON)
        pair = tuple(each.subs(N, n) for each in symbolic.general_steps())
        strength = twin(symbolic.strength(Pair(*pair)), EPSILON, *GAMMA)
        wanted = [strength(epsilon, *gamma(epsilon)) for epsilon in EPSILONS]
        sizes = [1 + sum(map(abs, gamma(epsilon))) for epsilon in EPSILONS]
        assert_close(change, wanted, sizes)
        assert_close(theory.output_change(loss, outputs, targets), wanted, sizes)


class TestSmoothing:
    """Appendix D.2."""

    def test_equations_43_to_48(self) -> None:
        c1, ch, chh, chy, cy, cyy = C.values()
        kept, added = 1 - ALPHA * (N - 1) / N, ALPHA / N
        printed = {
            "c1": c1 + cy * added + cyy * added**2,
            "ch": ch + chy * added,
            "chh": chh,
            "chy": chy * kept - chy * added,
            "cy": cy * kept - cy * added,
            "cyy": cyy * kept**2 - cyy * added**2,
        }
        solved = symbolic.smoothed_coefficients()
        assert list(solved) == list(printed)
        assert is_zero(solved[name] - printed[name] for name in printed)

    def test_exact_coefficients(self) -> None:
        """``ĉy = (1−α)(cy + 2α cyy/n)`` and ``ĉyy = (1−α)² cyy``; the rest as solved for."""
        exact, solved = symbolic.coefficients(symbolic.smoothed(symbolic.THIRD_ORDER)), symbolic.smoothed_coefficients()
        assert is_zero(exact[name] - solved[name] for name in ("c1", "ch", "chh", "chy"))
        assert is_zero([exact["cy"] - (1 - ALPHA) * (C["cy"] + 2 * ALPHA * C["cyy"] / N)])
        assert is_zero([exact["cyy"] - (1 - ALPHA) ** 2 * C["cyy"]])
        assert is_zero([exact["cy"] + exact["cyy"] - solved["cy"] - solved["cyy"]])

    @pytest.mark.parametrize("alpha", [0.1, 0.7])
    @every_class
    @every_loss
    def test_every_loss(self, name: str, n: int, alpha: float) -> None:
        loss = numeric(name, n)
        derived = symbolic.learning_rule(symbolic.smoothed(phi(name, n)))
        gamma = twin(with_size(derived.subs({ALPHA: sp.Rational(alpha), N: n})), H, Y)
        h, y = torch.meshgrid(float64(*OUTPUTS), float64(*SOFT), indexing="ij")
        points = zip(h.flatten().tolist(), y.flatten().tolist(), strict=True)
        wanted, sizes = zip(*(gamma(*point) for point in points), strict=True)
        assert_close(loss.smoothed(alpha, n).gamma(h, y), wanted, sizes)
        assert_close(autograd_gamma(loss, h, (1 - alpha) * y + alpha / n), wanted, sizes)

    @pytest.mark.parametrize("alpha", [0.1, 0.7])
    @every_class
    @pytest.mark.parametrize("name", THIRD_ORDER)
    def test_coefficients(self, name: str, n: int, alpha: float) -> None:
        loss, before = numeric(name, n), symbolic.coefficients(rule(name, n))
        at = {**{C[key]: c for key, c in before.items()}, ALPHA: sp.Rational(alpha), N: sp.Integer(n)}
        exact = symbolic.coefficients(symbolic.smoothed(symbolic.THIRD_ORDER))
        found = theory.coefficients(loss.smoothed(alpha, n))
        assert_close(found, [value(each.subs(at)) for each in exact.values()])
        hatted = sum(c.subs(at) * symbolic.MONOMIALS[key] for key, c in symbolic.smoothed_coefficients().items())
        gamma = twin(with_size(hatted), H, Y)
        for y in HARD:
            wanted, sizes = zip(*(gamma(h, y) for h in OUTPUTS), strict=True)
            h = float64(*OUTPUTS)
            assert_close(loss.smoothed(alpha, n).gamma(h, torch.full_like(h, y)), wanted, sizes)

    @every_loss
    def test_taken_out_again(self, name: str) -> None:
        """The smoothed variant of what is left without smoothing is the loss."""
        base = theory.unsmoothed(numeric(name), 0.25, 10)
        at = {ALPHA: sp.Rational(1, 4), N: sp.Integer(10)}
        found = twin(symbolic.learning_rule(symbolic.smoothed(symbolic.phi(base)).subs(at)), H, Y)
        gamma = twin(with_size(rule(name)), H, Y)
        points = [(h, y) for h in OUTPUTS for y in SOFT]
        wanted, sizes = zip(*(gamma(*point) for point in points), strict=True)
        # A label of α/n is put in and taken out again, whose share is rounded.
        shares = [size / 40 for _, size in (gamma(h, 1.0) for h, _ in points)]
        bounds = [size + share + 1e-30 for size, share in zip(sizes, shares, strict=True)]
        assert_close([float(found(*point)) for point in points], wanted, bounds)


class TestErrata:
    def test_eight_with_a_number_each(self) -> None:
        errata = symbolic.errata()
        known = ["17, 56, 65", "18, 19, 69, 70", "25", "43–48", "28, 29", "50", "27", "16"]
        assert [each.equations for each in errata] == known
        for each in errata:
            printed, derived = each.numbers
            assert printed.is_Rational
            assert derived.is_Rational
            assert printed != derived
            assert all(balanced(formula) for formula in each.formulas)

    def test_the_jacobian(self) -> None:
        erratum = symbolic.errata()[5]
        derived = symbolic.jacobian(3)[1, 1]
        h = symbolic.softmax(symbolic.logits(3))[1]
        assert is_zero([derived - erratum.derived.subs(symbolic.H, h)])

    def test_baikal_pulls_the_target_up_at_the_null_epoch(self) -> None:
        logits = torch.zeros(1, 10, dtype=torch.float64)
        step = -numeric("baikal").logit_gradient(logits, torch.tensor([3]))[0]
        assert float(step[3]) == pytest.approx(10 - 1)
        assert float(step.sum() - step[3]) < 0
        assert symbolic.errata()[6].numbers == (-1, 1)

    def test_entropy_falls_where_the_other_outputs_shrink(self) -> None:
        erratum = symbolic.errata()[7]
        outputs = [theory.symmetric_outputs([error], 10) for error in (0.01, 0.009)]
        entropies = [float(-(output * output.log()).sum()) for output in outputs]
        assert entropies[1] < entropies[0]
        assert erratum.numbers == (1, -1)

    def test_c1_depends_on_all_eight(self) -> None:
        c1 = symbolic.coefficients(symbolic.learning_rule(symbolic.taylor_phi()))["c1"]
        assert len(c1.free_symbols) == 8

    def test_theorem_2(self) -> None:
        erratum = symbolic.errata()[0]
        wanted = 2 * (N - 2) * EPSILON**2 * GAMMA.other / (N - 1) ** 2
        assert is_zero([erratum.difference - wanted])
        at = dict(erratum.at)
        b, a = (each.subs(at) for each in symbolic.general_steps())
        strengths = [symbolic.strength(Pair(each, a)).subs(at) for each in erratum.numbers]
        assert [bool(each > 0) for each in strengths] == [True, False]
        assert b == erratum.numbers[1]
        outputs = theory.symmetric_outputs([0.5], 10)
        step = autograd_step(allcnnc(), outputs.log(), torch.tensor([0]))
        assert_close(step[0, 1], [value(b)])
        assert ((outputs.log() + step).softmax(-1) - outputs)[0, 0] < 0

    @few_classes
    def test_theorem_2_for_concrete_n(self, n: int) -> None:
        """The printed B is right for two classes only, unless the other classes have γ = 0."""
        difference = symbolic.errata()[0].printed.subs(N, n) - symbolic.concrete_steps(n).other
        wanted = 2 * (n - 2) * EPSILON**2 * GAMMA.other / sp.Integer(n - 1) ** 2
        assert is_zero([difference - wanted])
        assert is_zero([difference]) is (n == 2)
        assert is_zero([difference.subs(GAMMA.other, 0)])

    def test_where_theorem_2_lost_the_sign(self) -> None:
        """The printed B is the sum of equation 54 with the term between two other classes taken with a plus."""
        h_other, h_target = symbolic.OUTPUTS
        terms = (
            GAMMA.other * h_other * (1 - h_other),
            (N - 2) * GAMMA.other * h_other**2,
            GAMMA.target * h_other * h_target,
        )
        erratum = symbolic.errata()[0]
        assert is_zero([erratum.derived - (terms[0] - terms[1] - terms[2])])
        assert is_zero([erratum.printed - (terms[0] + terms[1] - terms[2])])

    @pytest.mark.parametrize(
        ("name", "form", "expected"),
        [
            ("paper/allcnnc", "published", 0.4813),
            ("paper/allcnnc", "exact", 0.8917),
            ("baikal", "published", 0.7373),
            ("baikal", "exact", 0.6838),
        ],
    )
    def test_sign_changes(self, name: str, form: theory.Form, expected: float) -> None:
        pair = symbolic.general_steps() if form == "exact" else symbolic.published_steps()
        gamma = dict(zip(GAMMA, symbolic.symmetric(rule(name)), strict=True))
        b, a = (each.subs(gamma).subs(N, 10) for each in pair)
        with mpmath.workdps(DIGITS):
            root = mpmath.findroot(twin(a - b, EPSILON), expected)
        assert float(root) == pytest.approx(expected, abs=5e-5)
        found = theory.sign_changes(numeric(name), 10, form)
        assert_close(min(found, key=lambda each: abs(each - expected)) * float64(1), [root])

    def test_theorem_3(self) -> None:
        erratum = symbolic.errata()[1]
        slopes = [sp.diff(each, C["c1"]) for each in (erratum.printed, erratum.derived)]
        assert is_zero([slopes[0] + N - 2, slopes[1]])
        assert is_zero([sp.diff(symbolic.null_epoch_step(symbolic.THIRD_ORDER), C["c1"])])
        assert erratum.numbers == (sp.Rational("-76.4"), 2)
        assert erratum.printed.subs({**dict(erratum.at), C["c1"]: 0}) == sp.Rational("3.6")

    def test_theorem_3_rejects_what_trains_like_mse(self) -> None:
        shifted = mse() + polynomial(c1=10)
        logits = torch.randn(5, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        targets = torch.arange(5)
        for gradient in (shifted.logit_gradient(logits, targets), -autograd_step(shifted, logits, targets)):
            torch.testing.assert_close(gradient, mse().logit_gradient(logits, targets), rtol=1e-12, atol=1e-14)
        verdicts = [[theory.is_trainable(loss, 10, form).item() for form in FORMS] for loss in (mse(), shifted)]
        assert verdicts == [[True, True], [True, False]]
        assert_close(shifted.gamma(float64(0.1), float64(1)), [11.8], [11.8])

    def test_equation_25(self) -> None:
        erratum = symbolic.errata()[2]
        assert is_zero([erratum.printed + erratum.derived])
        assert erratum.numbers == (sp.Rational("-1.8"), sp.Rational("1.8"))
        further = sp.Symbol("m", integer=True, nonnegative=True)
        signs = [sp.factor(erratum.derived.subs({Y: label, N: further + 2})).is_positive for label in (0, 1)]
        assert signs == [False, True]
        h = torch.full((10,), 0.1, dtype=torch.float64, requires_grad=True)
        y = (torch.arange(10) == 0).double()
        (slope,) = torch.autograd.grad(-((y - h) ** 2).sum(), h)
        assert_close(slope[:2], [value(erratum.derived.subs({Y: label, N: 10})) for label in (1, 0)])

    def test_equations_43_to_48(self) -> None:
        erratum = symbolic.errata()[3]
        assert is_zero([erratum.difference + 2 * ALPHA * (1 - ALPHA) * C["cyy"] * Y * (1 - Y) / N])
        assert erratum.numbers == (sp.Rational("0.2071"), sp.Rational("0.2116"))
        loss = polynomial(cyy=1)
        assert_close(loss.smoothed(0.1, 10).gamma(float64(0.3), float64(0.5)), [mpmath.mpf("0.2116")])
        assert_close(autograd_gamma(loss, float64(0.3), float64(0.9 * 0.5 + 0.01)), [mpmath.mpf("0.2116")])

    def test_equations_28_to_30(self) -> None:
        erratum = symbolic.errata()[4]
        errors = [abs(float(each) + 386.9546188) for each in erratum.numbers]
        assert errors[0] == pytest.approx(0.101, abs=1e-3)
        assert errors[1] < 1e-4
        assert erratum.derived == symbolic.learning_rule(symbolic.phi(allcnnc())).subs(Y, 0)
        target = sp.Rational("-372.470735") - sp.Rational("131.47") * H - sp.Rational("11.2188") * H**2
        assert target.subs(H, sp.Rational(1, 10)) == sp.Rational("-385.729923")

    @pytest.mark.parametrize("ch", ["-130.264", "-129.254"])
    def test_only_equation_30_tells_the_digits(self, ch: str) -> None:
        """b, c and both coefficients of the target case (equation 28) hold with either value of ch."""
        chy, cy, cyy = unknown = [C[name] for name in ("chy", "cy", "cyy")]
        first, chh = sp.Rational(ch), sp.Rational("-11.2188")
        equations = [
            first + cy - sp.Rational("-129.928"),
            chh + chy + cyy - sp.Rational("-11.3145"),
            first + chy - sp.Rational("-131.47"),
        ]
        (solution,) = sp.solve(equations, unknown, dict=True)
        found = sp.Rational("-373.917") + solution[cy] + solution[cyy]
        assert float(found) == pytest.approx(-372.470735, abs=1e-3)


def balanced(text: str) -> bool:
    """Braces and \\left … \\right are balanced."""
    depths = [text[:k].count("{") - text[:k].count("}") for k in range(len(text) + 1)]
    return min(depths) == depths[-1] == 0 and text.count(r"\left") == text.count(r"\right")


class TestLatex:
    @pytest.mark.parametrize(
        ("loss", "phi", "loss_text", "rule"),
        [
            (cross_entropy(), r"y \log h", r"\sum_k y_k \log h_k", r"\frac{y}{h}"),
            (mse(), "-h^{2} + 2 h y - y^{2}", r"\sum_k \left(-h_k^{2} + 2 h_k y_k - y_k^{2}\right)", "-2 h + 2 y"),
            (
                baikal(),
                r"\log h - \frac{y}{h}",
                r"\sum_k \left(\log h_k - \frac{y_k}{h_k}\right)",
                r"\frac{1}{h} + \frac{y}{h^{2}}",
            ),
            (
                gce(0.7),
                "-1.429 y + 1.429 h^{0.7} y",
                r"\sum_k \left(-1.429 y_k + 1.429 h_k^{0.7} y_k\right)",
                r"\frac{y}{h^{0.3}}",
            ),
            (
                focal(1),
                r"y \log h - h y \log h",
                r"\sum_k \left(y_k \log h_k - h_k y_k \log h_k\right)",
                r"-y \log h + \frac{y}{h} - y",
            ),
            (
                find("label-smoothing:0.1", 10),
                r"0.01 \log h + 0.9 y \log h",
                r"\sum_k \left(0.01 \log h_k + 0.9 y_k \log h_k\right)",
                r"\frac{0.01}{h} + \frac{0.9 y}{h}",
            ),
            (
                polynomial(c1=-1, chh=3e5, cy=1e-7),
                r"-h + 10^{5} h^{3} + 10^{-7} h y",
                r"\sum_k \left(-h_k + 10^{5} h_k^{3} + 10^{-7} h_k y_k\right)",
                r"-1 + 3 \cdot 10^{5} h^{2} + 10^{-7} y",
            ),
            (-1 * polynomial(cy=1), "-h y", r"\sum_k \left(-h_k y_k\right)", "-y"),
        ],
        ids=lambda case: case.name if isinstance(case, PowerLoss) else "",
    )
    def test_written(self, loss: PowerLoss, phi: str, loss_text: str, rule: str) -> None:
        expected = (rf"\phi(h, y) = {phi}", f"L = -{loss_text}", rf"\gamma(h, y) = {rule}")
        assert symbolic.latex(loss) == expected

    def test_large_coefficients(self) -> None:
        rule = r"\gamma(h, y) = 1951 - 310.6 h + 23.62 h^{2} + 132.9 y + 4.037 h y + 7.051 y^{2}"
        assert symbolic.latex(mnist()).rule == rule
        assert symbolic.latex(mnist(), 2).rule.startswith(
            r"\gamma(h, y) = 2 \cdot 10^{3} - 3.1 \cdot 10^{2} h + 24 h^{2}"
        )

    @pytest.mark.parametrize("loss", [0 * mse(), PowerLoss((), torch.zeros(0))], ids=["zero", "empty"])
    def test_nothing(self, loss: PowerLoss) -> None:
        assert symbolic.latex(loss) == (r"\phi(h, y) = 0", "L = 0", r"\gamma(h, y) = 0")

    @every_loss
    def test_every_loss(self, name: str) -> None:
        for text in symbolic.latex(numeric(name), 6):
            assert balanced(text)
            assert "e+" not in text
            assert "e-" not in text
            assert not re.search(r"(?<![\d.])1(\.0+)? [hy\\]", text)
            assert not re.search(r"\d\.\d*0(?!\d)", text)

    @every_loss
    def test_the_numbers_are_the_coefficients(self, name: str) -> None:
        """What is written, read as numbers, is γ."""
        text = symbolic.latex(numeric(name), 17).rule.removeprefix(r"\gamma(h, y) = ")
        for h, y in [(0.3, 0.5), (0.9, 1.0), (0.01, 0.0)]:
            assert_close([read(text, h, y)], [twin(rule(name), H, Y)(h, y)])

    def test_population(self) -> None:
        with pytest.raises(InputError, match="population"):
            symbolic.latex(taylor(torch.zeros(2, 8)))


def read(text: str, h: float, y: float) -> float:
    """The value of a sum of products as :func:`symbolic.latex` writes it."""
    total = 0.0
    for sign, product in re.findall(r"(^-?|(?<= )[+-] )(.+?)(?= [+-] |$)", text):
        above, _, below = product.removeprefix(r"\frac{").removesuffix("}").partition("}{h")
        above, below = (above, f"h{below}") if product.startswith(r"\frac") else (product, "")
        total += (-1 if "-" in sign else 1) * read_product(above, h, y) / read_product(below, h, y)
    return total


def read_product(text: str, h: float, y: float) -> float:
    known = {"h": h, "y": y, "L": math.log(h)}
    product = 1.0
    for factor in text.replace(r"\log h", "L").replace(r"\cdot", "").split():
        base, _, power = factor.partition("^")
        product *= (known[base] if base in known else float(base)) ** float(power.strip("{}") or 1)
    return product


class TestBiasGrowth:
    """What the theory adds to the paper: the growth of a bias at the null epoch."""

    @pytest.mark.parametrize("n", [2, 3, 4])
    def test_it_is_the_growth_of_a_common_difference(self, n: int) -> None:
        for rule in (symbolic.THIRD_ORDER, symbolic.learning_rule(symbolic.CROSS_ENTROPY + symbolic.BAIKAL)):
            wanted = (symbolic.bias_growth(rule) * symbolic.margin(rule)).subs(N, n) / n**2
            assert is_zero([symbolic.common_growth(rule, n) - wanted])

    def test_known(self) -> None:
        rules = [symbolic.learning_rule(each) for each in (symbolic.CROSS_ENTROPY, symbolic.MSE, symbolic.BAIKAL)]
        assert [symbolic.bias_growth(rule) for rule in rules] == [-1, -1, -3]
        smoothed = symbolic.bias_growth(symbolic.smoothed(rules[0]))
        assert is_zero([smoothed + 1 / (1 - ALPHA)])

    @pytest.mark.parametrize("n", [2, 10, 1000])
    @pytest.mark.parametrize("name", ["cross-entropy", "baikal", "poly:2", "focal:3", "label-smoothing:0.2", "mse"])
    def test_numeric(self, name: str, n: int) -> None:
        loss = find(name, n)
        wanted = symbolic.bias_growth(symbolic.learning_rule(symbolic.phi(loss))).subs(N, n)
        assert theory.bias_growth(loss, n).item() == pytest.approx(float(wanted.evalf(50)), rel=1e-12)


class TestEntropy:
    """Change of output and entropy for real output vectors, against the definition at 60 digits."""

    @pytest.mark.parametrize("n", [2, 3, 10, 200])
    @pytest.mark.parametrize(
        "name", ["cross-entropy", "mse", "baikal", "paper/mnist", "paper/allcnnc", "focal:3", "gce"]
    )
    def test_of_a_random_output(self, name: str, n: int) -> None:
        loss = find(name, n)
        logits = 2 * torch.randn(1, n, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
        outputs = torch.softmax(logits, -1)
        with mpmath.workdps(60):
            h = [mpmath.mpf(each) for each in outputs[0].tolist()]
            h = [each / mpmath.fsum(h) for each in h]
            rule = sp.lambdify((H, Y), symbolic.learning_rule(symbolic.phi(loss)), "mpmath")
            g = [each * rule(each, int(k == 1)) for k, each in enumerate(h)]
            total = mpmath.fsum(g)
            steps = [each - old * total for each, old in zip(g, h, strict=True)]
            top = max(steps)
            new = [old * mpmath.exp(step - top) for old, step in zip(h, steps, strict=True)]
            new = [each / mpmath.fsum(new) for each in new]

            def entropy(values: list[mpmath.mpf]) -> mpmath.mpf:
                return -mpmath.fsum(each * mpmath.log(each) for each in values if each > 0)

            change, rise = float(new[1] - h[1]), float(entropy(new) - entropy(h))
            size = float(max(map(abs, g)))
        target = torch.tensor([1])
        assert theory.output_change(loss, outputs, target).item() == pytest.approx(change, rel=1e-10, abs=1e-13 * size)
        assert theory.entropy_change(loss, outputs, target).item() == pytest.approx(rise, rel=1e-10, abs=1e-12 * size)
