"""The theory as functions: closed forms, limits, equivalences and properties, against direct computation."""

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mpmath
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from torch import Tensor

from lossmith import InputError, Loss, PowerLoss, baikal, cross_entropy, focal, gce, mae, mse, poly, taylor
from lossmith.losses import CATALOG, Term, allcnnc, common_classes, find, find_all, mnist, polynomial, save
from lossmith.losses import taylor_cross_entropy as series
from lossmith.search import canonical as search_canonical
from lossmith.search import residual
from lossmith.theory import (
    Acting,
    Canonical,
    Coefficients,
    Form,
    acting,
    acting_pair,
    attraction,
    bias_growth,
    canonical,
    coefficients,
    entropy_change,
    explain,
    from_acting,
    from_canonical,
    gain,
    is_trainable,
    logit_steps,
    margin,
    null_epoch,
    output_change,
    recognize,
    regime,
    sign_changes,
    symmetric_entropy_change,
    symmetric_gamma,
    symmetric_outputs,
    to_lambda,
    unsmoothed,
    zero_error,
    zero_error_limits,
    zones,
)

FORMS: tuple[Form, ...] = ("exact", "published")
CLASSES = [2, 3, 10, 1000]
NAMED = [loss for loss in (find(name, 10) for name in CATALOG) if isinstance(loss, PowerLoss)]
# Without the number of classes of those that are no sums of powers, whose numbers do for any.
EVERY_KIND = [
    loss if isinstance(loss, PowerLoss) or loss.classes is None else replace(loss, classes=None)  # type: ignore[type-var]
    for loss in (find(name, 10) for name in CATALOG)
]
OTHERS = [
    focal(5),
    focal(10),
    residual(torch.tensor([0.4, 0.7, -0.5, 0.3, -0.2], dtype=torch.float64), 10),
    cross_entropy().smoothed(0.3, 10) + 4 * mae(),
    0.3 * cross_entropy() + 0.7 * PowerLoss((Term(1, 0, 1),), torch.ones(1)),
]
TWO_POLES = PowerLoss((Term(0, 0, 1), Term(-1, 0, 0)), torch.tensor([1, 0.001]))
ONE_ZERO = torch.zeros(1, dtype=torch.long)
numbers = st.floats(-3, 3, allow_nan=False)
lambdas = st.lists(numbers, min_size=8, max_size=8)
deviations = st.floats(1e-4, 1 - 1e-4)
class_numbers = st.integers(2, 1000)
any_order = st.sampled_from([5, 8, 12, 17]).flatmap(lambda size: st.lists(numbers, min_size=size, max_size=size))


def random_lambda(count: int, length: int = 8, seed: int = 0) -> Tensor:
    return 1.2 * torch.randn(count, length, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def random_logits(count: int, classes: int, scale: float = 2.0) -> Tensor:
    return scale * torch.randn(count, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def close(found: Tensor, wanted: Tensor, rtol: float = 1e-10, atol: float = 0.0) -> None:
    torch.testing.assert_close(found, wanted, rtol=rtol, atol=atol)


class TestCoefficients:
    def test_equation_12(self) -> None:
        m = random_lambda(300).unbind(-1)
        c1 = m[2] - 2 * m[1] * m[3] + 3 * m[4] * m[1] ** 2 - m[5] * m[0] + 2 * m[0] * m[1] * m[6] + m[7] * m[0] ** 2
        ch = 2 * m[3] - 2 * m[6] * m[0] - 6 * m[1] * m[4]
        wanted = c1, ch, 3 * m[4], 2 * m[6], m[5] - 2 * m[1] * m[6] - 2 * m[7] * m[0], m[7]
        for found, value in zip(coefficients(random_lambda(300)), wanted, strict=True):
            assert found.dtype == torch.float64
            close(found, value, atol=1e-12)

    def test_second_order(self) -> None:
        lam = random_lambda(50, 5)
        m = lam.unbind(-1)
        c = coefficients(lam)
        close(c.c1, m[2] - 2 * m[1] * m[3] - m[4] * m[0], atol=1e-13)
        close(c.ch, 2 * m[3])
        close(c.cy, m[4])
        assert [c.chh.abs().max().item(), c.chy.abs().max().item(), c.cyy.abs().max().item()] == [0, 0, 0]

    @given(lam=lambdas, label_center=numbers, output_center=numbers)
    def test_back_to_lambda_at_any_centers(self, lam: list[float], label_center: float, output_center: float) -> None:
        c = coefficients(lam)
        back = to_lambda(c, label_center, output_center)
        assert back[:2].tolist() == [label_center, output_center]
        size = max(1.0, *(value.abs().item() for value in c), back.abs().max().item()) * 1e2
        for found, wanted in zip(coefficients(back), c, strict=True):
            close(found, wanted, atol=1e-13 * size)

    def test_the_centers_of_a_lambda_give_it_back(self) -> None:
        lam = random_lambda(1)[0]
        close(to_lambda(coefficients(lam), lam[0].item(), lam[1].item()), lam, atol=1e-13)

    def test_of_a_loss(self) -> None:
        assert [value.item() for value in coefficients(mse())] == [0, -2, 0, 0, 2, 0]
        assert [value.item() for value in coefficients(mae())] == [0, 0, 0, 0, 1, 0]
        close(polynomial(*coefficients(mnist())).acting().coefficients.sum(), mnist().acting().coefficients.sum())
        assert coefficients(taylor(random_lambda(6).reshape(2, 3, 8))).ch.shape == (2, 3)

    @pytest.mark.parametrize("loss", [cross_entropy(), baikal(), gce(0.7), focal(2), taylor([1.0] * 12, 4)])
    def test_of_another_form(self, loss: PowerLoss) -> None:
        with pytest.raises(InputError, match="not a Taylor polynomial of third order"):
            coefficients(loss)

    @pytest.mark.parametrize(
        ("lam", "message"),
        [
            ([1.0] * 7, "λ has 7 numbers; a Taylor loss takes 5"),
            ([[1.0] * 9] * 2, "λ has 9 numbers"),
            (1.0, "λ has 1 number;"),
            ([math.nan] * 8, "not finite"),
            ("abc", "λ must be numbers"),
            ([[1.0], [2.0, 3.0]], "λ must be numbers"),
            ([1e308] * 8, "overflow"),
        ],
    )
    def test_bad_lambda(self, lam: Any, message: str) -> None:
        with pytest.raises(InputError, match=message):
            coefficients(lam)

    def test_polynomial_is_batched(self) -> None:
        rows = random_lambda(5)
        losses = polynomial(*coefficients(rows))
        for found, wanted in zip(coefficients(losses), coefficients(rows), strict=True):
            close(found, wanted)
        assert polynomial().formula() == "0"
        assert polynomial(c1=2).gamma_formula() == "2"


class TestActingNumbers:
    @pytest.mark.parametrize("n", [3, 10])
    def test_four_numbers_make_the_gradient(self, n: int) -> None:
        c = coefficients(random_lambda(20))
        bare = polynomial(*from_acting(acting(c)))
        logits, targets = random_logits(40, n), torch.arange(40) % n
        close(
            bare.logit_gradient(logits, targets),
            polynomial(*c).logit_gradient(logits, targets),
            rtol=1e-9,
            atol=1e-12,
        )

    @pytest.mark.parametrize("number", Acting._fields)
    def test_each_of_the_four_acts(self, number: str) -> None:
        numbers = acting(coefficients(random_lambda(1)[0]))
        moved = numbers._replace(**{number: getattr(numbers, number) + 0.1})
        logits, targets = random_logits(10, 3), torch.arange(10) % 3
        one, other = (polynomial(*from_acting(a)).logit_gradient(logits, targets) for a in (numbers, moved))
        assert (one - other).abs().max() > 1e-3

    def test_two_numbers_act_for_two_classes(self) -> None:
        c = coefficients(random_lambda(30))
        p, q = acting_pair(c)
        epsilon = torch.linspace(0.01, 0.99, 9, dtype=torch.float64)
        other, target = symmetric_gamma(polynomial(*c), epsilon, 2)
        close(target - other, p[:, None] + q[:, None] * (1 - epsilon), atol=1e-12)

    def test_soft_labels_tell_cy_from_cyy(self) -> None:
        one, two = polynomial(cy=2), polynomial(cy=1, cyy=1)
        logits, targets = random_logits(5, 4), torch.arange(5) % 4
        assert torch.equal(one.logit_gradient(logits, targets), two.logit_gradient(logits, targets))
        soft = torch.softmax(random_logits(5, 4, 1.0), -1)
        assert (one.logit_gradient(logits, soft) - two.logit_gradient(logits, soft)).abs().max() > 1e-2


class TestCanonical:
    @given(lam=lambdas, n=class_numbers)
    def test_there_and_back(self, lam: list[float], n: int) -> None:
        c = coefficients(lam)
        m = (c.cy + c.cyy + c.chy / n).item()
        assume(m > 1e-6)
        x = canonical(taylor(lam), n)
        assert x.log_gain.item() == pytest.approx(math.log(m / n), abs=1e-8)
        back = acting(from_canonical(x, n))
        size = max(1.0, *(value.abs().item() for value in c))
        for found, wanted in zip(back, acting(c), strict=True):
            assert found.item() == pytest.approx(wanted.item(), abs=1e-9 * size)

    def test_no_coordinates_where_the_margin_is_not_positive(self) -> None:
        x = canonical(PowerLoss.stack([mse(), -1 * mse(), polynomial(ch=1)]), 10)
        for values in x:
            assert values.isfinite().tolist() == [True, False, False]

    def test_the_search_looks_in_the_same_coordinates(self) -> None:
        theta = random_lambda(20, 4)
        for found, wanted in zip(canonical(search_canonical(theta, 10), 10), theta.unbind(-1), strict=True):
            close(found, wanted, rtol=1e-9, atol=1e-12)

    def test_gain_is_a_learning_rate(self) -> None:
        x = Canonical(*random_lambda(4, 8)[:, 0])
        one, other = (
            polynomial(*from_canonical(x._replace(log_gain=torch.tensor(math.log(g), dtype=torch.float64)), 10))
            for g in (1.0, 3.0)
        )
        logits, targets = random_logits(10, 10), torch.arange(10)
        close(3 * one.logit_gradient(logits, targets), other.logit_gradient(logits, targets), rtol=1e-9, atol=1e-13)

    def test_published_losses(self) -> None:
        found = canonical(mnist(), 10)
        assert [value.item() for value in found] == pytest.approx(
            [math.log(14.035), -2.2133, 0.16828, 0.02876], rel=1e-3
        )
        assert canonical(allcnnc(), 10).ch.item() == pytest.approx(-105.5, rel=1e-3)

    def test_errors(self) -> None:
        with pytest.raises(InputError, match="at least 2 classes, not 1"):
            canonical(mse(), 1)
        with pytest.raises(InputError, match="at least 2 classes, not 0"):
            from_canonical(canonical(mse(), 10), 0)
        with pytest.raises(InputError, match="third order"):
            canonical(cross_entropy(), 10)


class TestZeroError:
    def test_equations_20_to_23(self) -> None:
        m = random_lambda(200).unbind(-1)
        a = m[2] - 2 * m[1] * m[3] - m[5] * m[0] + 2 * m[1] * m[6] * m[0] + m[7] * m[0] ** 2 + 3 * m[4] * m[1] ** 2
        b = 2 * m[3] - 2 * m[6] * m[0] - 2 * m[1] * m[6] + m[5] - 2 * m[7] * m[0] - 6 * m[4] * m[1]
        c = 2 * m[6] + m[7] + 3 * m[4]
        for found, wanted in zip(zero_error(taylor(random_lambda(200))), (a, b, c), strict=True):
            close(found, wanted, atol=1e-12)

    @pytest.mark.parametrize(
        ("loss", "wanted", "name"),
        [
            (mse(), (0, 0, 0), "null"),
            (cross_entropy(), (0, 1, 0), "cross-entropy-like"),
            (mae(), (0, 1, 0), "cross-entropy-like"),
            (poly(2), (0, 3, 0), "cross-entropy-like"),
            (gce(0.7), (0, 1, 0), "cross-entropy-like"),
            (focal(2), (0, -1, 1), "null"),
            (allcnnc(), (-373.917, -129.928, -11.3145), "competing"),
            (baikal(), (math.inf, -math.inf, 0), "competing"),
            (cross_entropy().smoothed(0.1, 10), (math.inf, -math.inf, 0), "competing"),
            (polynomial(), (0, 0, 0), "null"),
            (PowerLoss((Term(1, 0, 1),), torch.ones(1)), (-math.inf, math.inf, 0), "cross-entropy-like"),
            (
                PowerLoss((Term(0, 0, 1), Term(-1, 0, 0)), torch.tensor([1, 0.001])),
                (-math.inf, math.inf, 0),
                "cross-entropy-like",
            ),
        ],
        ids=lambda value: value.name if isinstance(value, PowerLoss) else "",
    )
    def test_named(self, loss: PowerLoss, wanted: tuple[float, ...], name: str) -> None:
        from lossmith.theory import REGIMES

        assert [value.item() for value in zero_error(loss)] == pytest.approx(wanted, abs=1e-12)
        assert REGIMES[int(regime(loss))] == name

    @given(lam=st.lists(numbers, min_size=12, max_size=12))
    def test_it_is_the_limit_of_the_learning_rule(self, lam: list[float]) -> None:
        """Also for order 4, where nothing is new (§4.1)."""
        loss = taylor(lam, 4)
        a, b, c = zero_error(loss)
        other, target = symmetric_gamma(loss, 1e-12, 10)
        size = 1 + loss.coefficients.abs().sum().item()
        assert other.item() == pytest.approx(a.item(), abs=1e-10 * size)
        assert target.item() == pytest.approx((a + b + c).item(), abs=1e-10 * size)

    def test_limits(self) -> None:
        assert [value.item() for value in zero_error_limits(baikal())] == [math.inf, 2]
        assert [value.item() for value in zero_error_limits(mnist())] == pytest.approx([1950.7736, 1807.7382])
        mixed = PowerLoss.stack([baikal(), mse(), -1 * baikal()])
        assert [value.tolist() for value in zero_error_limits(mixed)] == [[math.inf, 0, -math.inf], [2, 0, -2]]

    def test_rounding_makes_no_regime(self) -> None:
        c = coefficients(mse())
        away = taylor(to_lambda(c, 0.3, 0.7) + torch.tensor([0, 0, 0, 0, 1e-15, 0, 0, 0]))
        assert (zero_error(away).b + zero_error(away).c) != 0
        assert regime(away) == 0
        assert [zone.sign for zone in zones(away, 10)] == [1]
        shifted = taylor(torch.stack([to_lambda(c, y, h) for y, h in itertools.product((0.3, -7.1), (0.7, 11.3))]))
        assert regime(shifted).tolist() == [0, 0, 0, 0]

    def test_the_sign_of_attraction_near_zero_error_is_that_of_the_regime(self) -> None:
        losses = taylor(random_lambda(200))
        assert torch.equal(attraction(losses, 1e-9, 10).sign().long(), regime(losses))

    @pytest.mark.parametrize("n", CLASSES)
    def test_theorem_1(self, n: int) -> None:
        """Equations 31–34, and the repulsion that follows."""
        epsilon = torch.logspace(-12, -4, 9, dtype=torch.float64)
        other, target = symmetric_gamma(baikal(), epsilon, n)
        close(other, (n - 1) / epsilon)
        close(target, 1 / (1 - epsilon) + 1 / (1 - epsilon) ** 2)
        assert (attraction(baikal(), epsilon, n) < 0).all()


def twin(loss: PowerLoss, epsilon: float, n: int, form: Form) -> tuple[mpmath.mpf, mpmath.mpf]:
    """Theorem 2 at 250 digits, and |γ_T| + |γ_¬T|."""
    with mpmath.workdps(250):
        e = mpmath.mpf(epsilon)

        def gamma(h: mpmath.mpf, y: int) -> mpmath.mpf:
            total = mpmath.mpf(0)
            for (i, j, log), c in zip(loss.terms, loss.coefficients.tolist(), strict=True):
                slope = i * h ** (i - 1) * mpmath.log(h) ** log + log * h ** (i - 1)
                total += mpmath.mpf(c) * slope * mpmath.mpf(y) ** j
            return total

        up, down = gamma(1 - e, 1), gamma(e / (n - 1), 0)
        a = e * (1 - e) * (up - down)
        b = -a / (n - 1)
        if form == "published":
            b = (e * (e - 1) * up * (n - 1) + e * down * (e * (n - 3) + n - 1)) / mpmath.mpf(n - 1) ** 2
        big = max(a, b)
        top, rest = mpmath.exp(a - big), mpmath.exp(b - big)
        return e * (e - 1) * (top - rest) / ((e - 1) * top - e * rest), abs(up) + abs(down)


class TestAttraction:
    @pytest.mark.parametrize("form", FORMS)
    @given(lam=any_order, epsilon=deviations, n=class_numbers)
    def test_against_a_twin_of_many_digits(self, form: Form, lam: list[float], epsilon: float, n: int) -> None:
        order = {5: 2, 8: 3, 12: 4, 17: 5}[len(lam)]
        loss = taylor(lam, order)
        wanted, size = twin(loss, epsilon, n, form)
        # The coefficients of γ, into which λ is expanded, carry rounding of their own size.
        size = max(float(size), loss.coefficients.abs().max().item() * 1e-4)
        assert abs(attraction(loss, epsilon, n, form).item() - float(wanted)) <= 1e-10 * size

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("n", CLASSES)
    @pytest.mark.parametrize("loss", [*NAMED, *OTHERS], ids=lambda loss: loss.name)
    def test_named_losses_against_the_twin(self, loss: PowerLoss, n: int, form: Form) -> None:
        loss = PowerLoss(loss.terms, loss.coefficients)
        for epsilon in (1e-9, 1e-5, 1e-3, 0.01, 0.1, 0.3, 0.5, 0.7, 1 - 1 / n, 0.99, 1 - 1e-9):
            wanted, size = twin(loss, epsilon, n, form)
            assert abs(attraction(loss, epsilon, n, form).item() - float(wanted)) <= 1e-10 * float(size), epsilon

    @pytest.mark.parametrize("focusing", [1, 2, 3, 5, 10, 20, 30])
    def test_focal_loss_keeps_its_digits(self, focusing: int) -> None:
        """Its terms alternate and cancel near h = 1; the sign stays right down to the smallest strength."""
        for epsilon in (1e-6, 1e-4, 1e-3, 0.01, 0.1, 0.49, 0.51, 0.7, 0.99):
            wanted, _ = twin(focal(focusing), epsilon, 10, "exact")
            assert attraction(focal(focusing), epsilon, 10).item() == pytest.approx(float(wanted), rel=1e-10)
        assert [zone.sign for zone in zones(focal(focusing), 10)] == [1]

    @pytest.mark.parametrize("form", FORMS)
    def test_formula_of_equation_17(self, form: Form) -> None:
        epsilon = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
        losses, n = taylor(random_lambda(50)), 10
        b, a = logit_steps(losses, epsilon, n, form)
        other, target = symmetric_gamma(losses, epsilon, n)
        close(a, epsilon * (1 - epsilon) * (target - other), atol=1e-12)
        if form == "published":
            printed = epsilon * (epsilon - 1) * target * (n - 1) + epsilon * other * (epsilon * (n - 3) + n - 1)
            close(b, printed / (n - 1) ** 2, atol=1e-12)
        else:
            close(b, epsilon * (1 - epsilon) * (other - target) / (n - 1), atol=1e-12)
        grown, rest = a.exp(), b.exp()
        wanted = epsilon * (epsilon - 1) * (grown - rest) / ((epsilon - 1) * grown - epsilon * rest)
        close(attraction(losses, epsilon, n, form), wanted, rtol=1e-8, atol=1e-13)

    @pytest.mark.parametrize("n", CLASSES)
    def test_exact_form_is_a_step_of_the_softmax(self, n: int) -> None:
        losses = taylor(random_lambda(30))
        epsilon = torch.linspace(0.02, 0.98, 25, dtype=torch.float64)
        outputs = symmetric_outputs(epsilon, n)
        step = -losses.logit_gradient(outputs.log(), torch.zeros(25, dtype=torch.long))
        moved = torch.softmax(outputs.log() + step, -1)[..., 0]
        close(attraction(losses, epsilon, n), moved - outputs[:, 0], rtol=1e-9, atol=1e-12)

    @given(lam=lambdas, epsilon=deviations, n=class_numbers)
    def test_sign_is_that_of_the_difference(self, lam: list[float], epsilon: float, n: int) -> None:
        loss = taylor(lam).acting()
        other, target = symmetric_gamma(loss, epsilon, n)
        assume((target - other).abs() > 1e-9 * (target.abs() + other.abs()))
        assert attraction(loss, epsilon, n).sign() == (target - other).sign()

    def test_c1_has_no_effect_on_the_exact_form_and_one_on_the_published(self) -> None:
        epsilon = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
        shifted = mse() + PowerLoss((Term(1, 0, 0),), torch.tensor([1e9]))
        assert torch.equal(attraction(shifted, epsilon, 10), attraction(mse(), epsilon, 10))
        changed = mse() + PowerLoss((Term(1, 0, 0),), torch.tensor([10.0]))
        one, other = (attraction(loss, epsilon, 10, "published") for loss in (changed, mse()))
        assert (one - other).abs().max() > 0.1

    @pytest.mark.parametrize(("loss", "n"), [(cross_entropy(), 10), (poly(2), 7), (mse(), 2), (baikal(), 2)])
    def test_forms_agree_for_two_classes_or_idle_non_targets(self, loss: PowerLoss, n: int) -> None:
        epsilon = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
        close(attraction(loss, epsilon, n), attraction(loss, epsilon, n, "published"), atol=1e-15)

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("n", CLASSES)
    @pytest.mark.parametrize("loss", [cross_entropy(), mse()], ids=lambda loss: loss.name)
    def test_cross_entropy_and_mse_attract_at_every_epsilon(self, loss: PowerLoss, n: int, form: Form) -> None:
        epsilon = torch.linspace(0, 1, 1001, dtype=torch.float64)[1:-1]
        assert (attraction(loss, epsilon, n, form) > 0).all()
        assert [zone.sign for zone in zones(loss, n, form)] == [1]

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("loss", [baikal(), allcnnc()], ids=lambda loss: loss.name)
    def test_the_evolved_losses_of_the_paper_repel_at_small_epsilon(self, loss: PowerLoss, form: Form) -> None:
        assert (attraction(loss, [1e-6, 0.01, 0.1, 0.3], 10, form) < 0).all()
        assert attraction(loss, 0.95, 10, form) > 0

    @pytest.mark.parametrize(
        ("loss", "form"),
        [(loss, form) for loss in EVERY_KIND for form in FORMS if form == "exact" or loss.sums_over_classes],
        ids=lambda value: value.name if isinstance(value, Loss) else value,
    )
    def test_finite_and_within_reach_at_the_ends(self, loss: Loss, form: Form) -> None:
        epsilon = torch.tensor([5e-324, 1e-300, 1e-20, 1e-9, 1 - 1e-9, 1 - 2.0**-53], dtype=torch.float64)
        found = attraction(loss, epsilon, 10, form)
        assert found.isfinite().all()
        assert (found <= epsilon).all()
        assert (found >= epsilon - 1).all()

    def test_a_small_step_keeps_its_digits(self) -> None:
        """Strength to first order is ε(1−ε)(A − B): a difference of softmax outputs would have no digits left."""
        epsilon = torch.tensor([0.2, 0.7], dtype=torch.float64)
        found = attraction(1e-20 * cross_entropy(), epsilon, 10)
        close(found, epsilon * (1 - epsilon) * epsilon * 1e-20 * 10 / 9)

    def test_a_tiny_epsilon_keeps_its_digits(self) -> None:
        epsilon = torch.logspace(-150, -10, 15, dtype=torch.float64)
        close(attraction(cross_entropy(), epsilon, 10), epsilon**2 * 10 / 9, rtol=1e-8)

    def test_shapes(self) -> None:
        losses = taylor(random_lambda(6).reshape(2, 3, 8))
        assert attraction(losses, 0.5, 10).shape == (2, 3)
        assert attraction(losses, torch.full((4, 5), 0.5), 10).shape == (2, 3, 4, 5)
        close(attraction(losses, [0.2, 0.5], 10)[1, 2, 0], attraction(losses[1][2], 0.2, 10))
        assert attraction(mse(), 0.5, 10).dtype == torch.float64

    @pytest.mark.parametrize("n", [2.5, math.nan, 10**20, True])
    def test_no_number_of_classes(self, n: int) -> None:
        for call in (margin, null_epoch, gain, bias_growth, canonical):
            with pytest.raises(InputError, match="classes"):
                call(mse(), n)

    @pytest.mark.parametrize("call", [attraction, symmetric_gamma, logit_steps])
    def test_no_numbers(self, call: Callable[..., object]) -> None:
        for epsilon in ("x", None, [[0.1], [0.2, 0.3]]):
            with pytest.raises(InputError, match="ε must be a number"):
                call(mse(), epsilon, 10)

    @pytest.mark.parametrize("epsilon", [0.0, 1.0, -0.1, 1.5, math.nan, math.inf, [0.5, 2.0]])
    def test_epsilon_outside(self, epsilon: float) -> None:
        for call in (attraction, symmetric_gamma, logit_steps):
            with pytest.raises(InputError, match=r"is outside \(0, 1\)"):
                call(mse(), epsilon, 10)

    def test_other_errors(self) -> None:
        with pytest.raises(InputError, match="'exact' and 'published', not 'both'"):
            attraction(mse(), 0.5, 10, "both")  # type: ignore[arg-type]
        with pytest.raises(InputError, match="at least 2 classes, not 1"):
            attraction(mse(), 0.5, 1)
        with pytest.raises(InputError, match="made for 10 classes"):
            attraction(cross_entropy().smoothed(0.1, 10), 0.5, 9)


def difference(h: float, c: Coefficients, n: int) -> float:
    """γ_T − γ_¬T of a third-order loss at the target output h."""
    o = (1 - h) / (n - 1)
    ch, chh, chy, t = (value.item() for value in acting(c))
    return t + chy * h + ch * (h - o) + chh * (h * h - o * o)


class TestSignChanges:
    @pytest.mark.parametrize("n", [2, 3, 4, 10, 100, 1000])
    def test_baikal(self, n: int) -> None:
        assert sign_changes(baikal(), n) == pytest.approx([1 - 1 / math.sqrt(n)], rel=1e-12)

    @pytest.mark.parametrize(
        ("loss", "exact", "published"),
        [(allcnnc(), [0.8917], [0.4813]), (baikal(), [0.6838], [0.7373]), (mse(), [], []), (mnist(), [0.4692], [])],
        ids=lambda value: value.name if isinstance(value, PowerLoss) else "",
    )
    def test_named(self, loss: PowerLoss, exact: list[float], published: list[float]) -> None:
        assert sign_changes(loss, 10) == pytest.approx(exact, abs=1e-4)
        assert sign_changes(loss, 10, "published") == pytest.approx(published, abs=1e-4)

    @pytest.mark.parametrize("alpha", [1e-30, 1e-10, 1e-3, 0.1, 0.9])
    def test_smoothed_cross_entropy_ends_at_the_smoothed_label(self, alpha: float) -> None:
        assert sign_changes(cross_entropy().smoothed(alpha, 10), 10) == pytest.approx([0.9 * alpha], rel=1e-9)

    @given(low=st.floats(0.02, 0.9), gap=st.floats(1e-6, 0.05), n=st.integers(3, 50), scale=st.floats(0.01, 100))
    @example(low=0.3, gap=1e-6, n=10, scale=1.0)
    def test_two_roots_however_near(self, low: float, gap: float, n: int, scale: float) -> None:
        """ch and t chosen so that γ_T − γ_¬T is chh (1 − 1/(n−1)²) (h − low)(h − high)."""
        high = low + gap
        s = 1 / (n - 1)
        # With o = s(1 − h): the difference is (t − ch s − chh s²) + h (chy + ch(1 + s) + 2 chh s²) + chh (1 − s²) h².
        lead = scale * (1 - s * s)
        ch = (-lead * (low + high) - 2 * scale * s * s) / (1 + s)
        t = lead * low * high + ch * s + scale * s * s
        c = Coefficients(*(torch.tensor(value, dtype=torch.float64) for value in (0, ch, scale, 0, t, 0)))
        assert difference(low, c, n) == pytest.approx(0, abs=1e-12 * scale)
        found = [1 - root for root in reversed(sign_changes(polynomial(*c), n))]
        # The nearer the roots, the flatter the curve between them, and the further rounding moves them.
        assert found == pytest.approx([low, high], abs=1e-9 + 1e-13 / gap)

    @given(lam=lambdas, n=st.integers(2, 100))
    def test_zones_tell_the_sign_everywhere(self, lam: list[float], n: int) -> None:
        loss = taylor(lam)
        found = zones(loss, n)
        assert found[0].low == 0
        assert found[-1].high == 1
        assert all(one.high == other.low and one.sign != other.sign for one, other in itertools.pairwise(found))
        epsilon = torch.linspace(0.01, 0.99, 197, dtype=torch.float64)
        strength = attraction(loss, epsilon, n)
        inside = torch.tensor([next(zone.sign for zone in found if e <= zone.high) for e in epsilon.tolist()])
        sure = strength.abs() > 1e-9 * (1 + loss.acting().coefficients.abs().sum())
        assert torch.equal(strength.sign().long()[sure], inside[sure])

    def test_no_effect_anywhere(self) -> None:
        for loss in (polynomial(), polynomial(c1=5)):
            assert zones(loss, 10) == [(0.0, 1.0, 0)]

    def test_a_population(self) -> None:
        with pytest.raises(InputError, match="zones of attraction are those of one loss"):
            zones(taylor(random_lambda(2)), 10)
        with pytest.raises(InputError, match="'exact' and 'published'"):
            sign_changes(mse(), 10, "both")  # type: ignore[arg-type]


class TestOutputs:
    @pytest.mark.parametrize("n", CLASSES)
    @pytest.mark.parametrize("loss", EVERY_KIND, ids=lambda loss: loss.name)
    def test_symmetric_outputs_give_theorem_2(self, loss: Loss, n: int) -> None:
        loss = PowerLoss(loss.terms, loss.coefficients) if isinstance(loss, PowerLoss) else loss
        epsilon = torch.linspace(0.01, 0.99, 33, dtype=torch.float64)
        found = output_change(loss, symmetric_outputs(epsilon, n), torch.zeros(33, dtype=torch.long))
        close(found, attraction(loss, epsilon, n), rtol=1e-8, atol=1e-11)

    @pytest.mark.parametrize("soft", [False, True])
    @given(lam=lambdas, n=st.integers(2, 30), scale=st.floats(0.1, 5))
    def test_a_step_of_the_softmax(self, soft: bool, lam: list[float], n: int, scale: float) -> None:
        loss, logits = taylor(lam), random_logits(8, n, scale).requires_grad_()
        hard = torch.arange(8) % n
        targets = torch.softmax(random_logits(8, n, 1.0), -1) if soft else hard
        (gradient,) = torch.autograd.grad(loss.value(logits, targets).sum(), logits)
        before = torch.softmax(logits, -1).detach()
        moved = torch.softmax(logits - gradient, -1).detach() - before
        weight = targets if soft else torch.nn.functional.one_hot(hard, n).double()
        size = 1e-12 * (1 + loss.coefficients.abs().sum().item())
        close(output_change(loss, before, targets), (moved * weight).sum(-1), rtol=1e-8, atol=size)

    def test_population(self) -> None:
        losses = taylor(random_lambda(5))
        outputs, targets = torch.softmax(random_logits(7, 4), -1), torch.arange(7) % 4
        found = output_change(losses, outputs, targets)
        assert found.shape == entropy_change(losses, outputs, targets).shape == (5, 7)
        close(found[3], output_change(losses[3], outputs, targets))

    def test_extreme_outputs(self) -> None:
        logits = torch.tensor([[800.0, 0.0, -5.0], [-800.0, 0.0, 0.0], [0.0, 40.0, -1e4]], dtype=torch.float64)
        outputs, targets = torch.softmax(logits, -1), torch.zeros(3, dtype=torch.long)
        for loss in (cross_entropy(), baikal(), gce(0.1), focal(2), mnist()):
            assert output_change(loss, outputs, targets).isfinite().all()
            assert entropy_change(loss, outputs, targets).isfinite().all()

    @given(lam=lambdas, n=st.integers(2, 30), scale=st.floats(0.1, 5))
    def test_entropy(self, lam: list[float], n: int, scale: float) -> None:
        loss, before = taylor(lam), torch.softmax(random_logits(8, n, scale), -1)
        targets = torch.arange(8) % n
        after = torch.softmax(before.log() - loss.logit_gradient(before.log(), targets), -1)
        wanted = torch.special.entr(after).sum(-1) - torch.special.entr(before).sum(-1)
        close(entropy_change(loss, before, targets), wanted, atol=1e-11 * (1 + loss.coefficients.abs().sum().item()))

    def test_attraction_below_chance_raises_the_entropy(self) -> None:
        """The paper equates attraction with falling entropy: at n = 10, h_T = 0.05 → 0.0524 it rises."""
        outputs = symmetric_outputs(0.95, 10)[None]
        loss = 0.45 * mse()
        moved = output_change(loss, outputs, ONE_ZERO)
        assert outputs[0, 0] + moved[0] == pytest.approx(0.0524, abs=5e-4)
        assert entropy_change(loss, outputs, ONE_ZERO) > 0
        high = symmetric_outputs(0.3, 10)[None]
        assert output_change(loss, high, ONE_ZERO) > 0
        assert entropy_change(loss, high, ONE_ZERO) < 0

    def test_entropy_for_any_number_of_classes(self) -> None:
        epsilon = torch.tensor([1e-6, 0.1, 0.5, 0.9, 0.99], dtype=torch.float64)
        for loss, n in itertools.product((cross_entropy(), baikal(), mnist(), 1e-3 * mse()), (2, 3, 10, 1000)):
            wanted = entropy_change(loss, symmetric_outputs(epsilon, n), torch.zeros(5, dtype=torch.long))
            close(symmetric_entropy_change(loss, epsilon, n), wanted, rtol=1e-8, atol=1e-13)
        assert symmetric_entropy_change(taylor(random_lambda(3)), epsilon, 10).shape == (3, 5)

    @pytest.mark.parametrize("kind", [torch.float32, torch.float64])
    def test_large_steps_stay_within_what_is_possible(self, kind: torch.dtype) -> None:
        """A step of 1e17 takes the outputs from one corner to another; digits must not be lost on the way."""
        for far in (10.0, 17.0, 20.0, 45.0, 120.0):
            outputs = torch.softmax(torch.tensor([[far, 0.0, -1.0]], dtype=kind), -1)
            found = entropy_change(baikal(), outputs, torch.tensor([1]))
            before = torch.special.entr(outputs).sum()
            # All of the target's output in the end, so no entropy is left; at 120 the target had none to grow from.
            assert found.item() == pytest.approx(-before.item(), abs=1e-5)
        soft = torch.tensor([[0.3, 0.2, 0.5]], dtype=torch.float64)
        outputs = torch.tensor([[1.797e-11, 1 - 1.797e-11 - 1.2e-16, 1.2e-16]], dtype=torch.float64)
        assert output_change(baikal(), outputs, soft).abs() <= 1

    def test_first_order(self) -> None:
        """A tiny step keeps its digits: the change is then h_T times the step less its mean."""
        outputs, targets = torch.softmax(random_logits(6, 5), -1), torch.arange(6) % 5
        loss = 1e-18 * mnist()
        step = -loss.logit_gradient(outputs.log(), targets)
        wanted = outputs * (step - (outputs * step).sum(-1, keepdim=True))
        close(output_change(loss, outputs, targets), wanted[torch.arange(6), targets], rtol=1e-9)
        drift = -(wanted * outputs.log()).sum(-1)
        close(entropy_change(loss, outputs, targets), drift, rtol=1e-8)

    @pytest.mark.parametrize(
        "outputs",
        [
            torch.tensor([[0.5, 0.7]]),
            torch.tensor([[1.5, -0.5]]),
            torch.tensor([[math.nan, 0.5]]),
            torch.tensor([0.5, 0.5]),
            torch.tensor([[1, 0]]),
        ],
    )
    def test_no_probabilities(self, outputs: Tensor) -> None:
        for call in (output_change, entropy_change):
            with pytest.raises(InputError, match="outputs must be"):
                call(mse(), outputs, ONE_ZERO)

    @pytest.mark.parametrize(
        ("targets", "message"),
        [
            (torch.tensor([2]), "class indices from 0 to 1"),
            (torch.tensor([-100]), "class indices from 0 to 1"),
            (torch.tensor([[0.7, 0.7]]), "soft targets must be probabilities"),
            (torch.tensor([[math.nan, 1.0]]), "soft targets must be probabilities"),
            (torch.tensor([0, 1, 1]), "do not fit"),
            ([0], "must be tensors"),
        ],
    )
    def test_targets_that_do_not_fit(self, targets: Tensor, message: str) -> None:
        outputs = torch.tensor([[0.5, 0.5], [0.4, 0.6]])
        with pytest.raises(InputError, match=message):
            output_change(mse(), outputs[: 1 if len(targets) < 3 else 2], targets)

    def test_symmetric_outputs(self) -> None:
        found = symmetric_outputs([0.3, 0.9], 4)
        close(found, torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.1, 0.3, 0.3, 0.3]], dtype=torch.float64))
        with pytest.raises(InputError, match="at least 2 classes"):
            symmetric_outputs(0.5, 1)


class TestBiasGrowth:
    @pytest.mark.parametrize("n", [2, 3, 10, 100])
    @pytest.mark.parametrize("loss", [*EVERY_KIND, taylor(random_lambda(1)[0])], ids=lambda loss: loss.name)
    def test_it_is_the_growth_of_a_common_difference(self, loss: Loss, n: int) -> None:
        """The mean step over all labels, differentiated by the logits at the null epoch."""
        if isinstance(loss, PowerLoss):
            loss = PowerLoss(loss.terms, loss.coefficients)
            loss = loss if margin(loss, n) > 0 else -1 * loss
        labels = torch.arange(n)

        def mean_step(logits: Tensor) -> Tensor:
            return -loss.logit_gradient(logits.expand(n, n), labels).mean(0)

        difference = torch.zeros(n, dtype=torch.float64)
        difference[0], difference[1] = 1, -1
        start = torch.zeros(n, dtype=torch.float64)
        _, growth = torch.autograd.functional.jvp(mean_step, start, difference)
        close(bias_growth(loss, n) * margin(loss, n), growth[0] * n**2, rtol=1e-8, atol=1e-9)

    @pytest.mark.parametrize("n", CLASSES)
    def test_known(self, n: int) -> None:
        losses = (cross_entropy(), mse(), cross_entropy().smoothed(0.2, n), mae())
        assert [bias_growth(loss, n).item() for loss in losses] == pytest.approx([-1, -1, -1 / 0.8, 0], rel=1e-12)

    def test_third_order(self) -> None:
        lam = random_lambda(100)
        ch, chh, chy, t = acting(coefficients(lam))
        m = t + chy / 10
        wanted = torch.where(m > 0, (ch + 2 * chh / 10 + chy / 10) / m, torch.nan)
        torch.testing.assert_close(bias_growth(taylor(lam), 10), wanted, rtol=1e-10, atol=1e-10, equal_nan=True)
        assert bias_growth(polynomial(), 10).isnan()


class TestSmoothing:
    @pytest.mark.parametrize("factor", [1.0, 1e-3, 50.0])
    @pytest.mark.parametrize("alpha", [1e-6, 0.1, 0.5, 0.99])
    @pytest.mark.parametrize("n", [2, 10, 1000])
    @pytest.mark.parametrize(
        "loss", [cross_entropy(), mse(), baikal(), poly(2.0), gce(0.7), focal(3), cross_entropy() + 3 * mae()], ids=repr
    )
    def test_recognized(self, loss: PowerLoss, n: int, alpha: float, factor: float) -> None:
        found = recognize(factor * loss.smoothed(alpha, n), n)
        assert found.alpha.item() == pytest.approx(alpha, rel=1e-6)
        logits, targets = random_logits(6, n), torch.arange(6) % n
        wanted = factor * loss.logit_gradient(logits, targets)
        close(found.base.logit_gradient(logits, targets), wanted, rtol=1e-6, atol=1e-7 * factor)

    def test_powers_of_y_are_the_label_with_hard_ones(self) -> None:
        squared = taylor([0, 0, 0, -1, 0, 1, 0, 1]).smoothed(0.3, 10)
        found = recognize(squared, 10)
        logits, targets = random_logits(6, 10), torch.arange(6)
        again = found.base.smoothed(found.alpha.item(), 10).logit_gradient(logits, targets)
        close(again, squared.logit_gradient(logits, targets), rtol=1e-9, atol=1e-12)
        rule = acting(coefficients(found.base))
        assert rule.t / rule.ch == pytest.approx(-1)

    @pytest.mark.parametrize("loss", [cross_entropy(), mse(), baikal(), mae(), focal(1), -2 * gce(0.3)], ids=repr)
    def test_none_in_it(self, loss: PowerLoss) -> None:
        assert recognize(loss, 10).alpha == 0
        assert recognize(loss, 10).base == loss

    @pytest.mark.parametrize(
        "loss",
        [
            *(mnist(), allcnnc(), polynomial(), mae().smoothed(1.0, 10), mse() + cross_entropy()),
            *(polynomial(ch=-2, cy=-2), polynomial(ch=2, cy=2)),
        ],
        ids=repr,
    )
    def test_not_recognized(self, loss: PowerLoss) -> None:
        found = recognize(loss, 10)
        assert found.alpha.isnan()
        assert found.base is loss

    def test_negative_smoothing_is_none(self) -> None:
        loss = residual(torch.tensor([-0.2, 0, 0, 0, 0]), 10)
        assert recognize(loss, 10).alpha.isnan()

    def test_smoothed_absolute_error_is_the_same_loss_at_another_gain(self) -> None:
        smoothed = mae().smoothed(0.3, 10)
        assert recognize(smoothed, 10).alpha == 0
        logits, targets = random_logits(5, 10), torch.arange(5)
        close(smoothed.logit_gradient(logits, targets), 0.7 * mae().logit_gradient(logits, targets), atol=1e-15)

    def test_population(self) -> None:
        members = [cross_entropy().smoothed(0.2, 10), mse(), mnist(), 2 * mse().smoothed(0.4, 10)]
        found = recognize(PowerLoss.stack(members), 10)
        assert found.alpha.tolist() == pytest.approx([0.2, 0, math.nan, 0.4], nan_ok=True)
        logits, targets = random_logits(5, 10), torch.arange(5)
        for row, wanted in enumerate((cross_entropy(), mse(), mnist(), 2 * mse())):
            one = found.base[row].logit_gradient(logits, targets)
            close(one, wanted.logit_gradient(logits, targets), rtol=1e-9, atol=1e-10)

    @given(lam=lambdas, alpha=st.floats(0, 0.95), n=st.integers(2, 100))
    def test_taken_out_and_put_in_again(self, lam: list[float], alpha: float, n: int) -> None:
        loss = taylor(lam)
        soft = torch.softmax(random_logits(4, n, 1.0), -1)
        logits = random_logits(4, n)
        size = (1 + loss.coefficients.abs().sum().item()) / (1 - alpha) ** 2
        for targets in (torch.arange(4) % n, soft):
            found = unsmoothed(loss, alpha, n).smoothed(alpha, n).value(logits, targets)
            close(found, loss.value(logits, targets), rtol=1e-9, atol=1e-11 * size * n)

    @given(lam=lambdas, alpha=st.floats(0, 1), n=st.integers(2, 100))
    def test_equations_43_to_48(self, lam: list[float], alpha: float, n: int) -> None:
        """The paper's for hard labels; the exact ones for every label."""
        c1, ch, chh, chy, cy, cyy = (value.item() for value in coefficients(lam))
        found = [value.item() for value in coefficients(taylor(lam).smoothed(alpha, n))]
        head = [c1 + cy * alpha / n + cyy * alpha**2 / n**2, ch + chy * alpha / n, chh, chy * (1 - alpha)]
        exact = [*head, (1 - alpha) * (cy + 2 * alpha * cyy / n), (1 - alpha) ** 2 * cyy]
        size = 1e-12 * (1 + sum(map(abs, (c1, ch, chh, chy, cy, cyy))))
        assert found == pytest.approx(exact, abs=size)
        printed = cy * (1 - alpha) + cyy * ((1 - alpha * (n - 1) / n) ** 2 - alpha**2 / n**2)
        assert found[4] + found[5] == pytest.approx(printed, abs=size)

    @pytest.mark.parametrize("alpha", [-0.1, 1.0, math.nan])
    def test_alpha_outside(self, alpha: float) -> None:
        with pytest.raises(InputError, match=r"must lie in \[0, 1\)"):
            unsmoothed(mse(), alpha, 10)

    def test_other_errors(self) -> None:
        with pytest.raises(InputError, match="made for 10 classes"):
            recognize(cross_entropy().smoothed(0.1, 10), 9)
        with pytest.raises(InputError, match="at least 2 classes"):
            unsmoothed(mse(), 0.1, 1)


class TestExplain:
    @pytest.mark.parametrize("n", CLASSES)
    @pytest.mark.parametrize("name", CATALOG.names)
    def test_every_named_loss(self, name: str, n: int) -> None:
        loss = find(name, n)
        page = explain(loss, n)
        forms = FORMS if loss.sums_over_classes else FORMS[:1]
        other, target = null_epoch(loss, n)
        assert page.null_epoch == {"non_target": other.item(), "target": target.item()}
        assert [page.margin, page.gain] == [margin(loss, n).item(), gain(loss, n).item()]
        assert page.trainable == {form: bool(is_trainable(loss, n, form)) for form in forms}
        assert page.zones == {form: zones(loss, n, form) for form in forms}
        assert (page.missing is None) == isinstance(loss, PowerLoss)
        assert page.strength["exact"] == attraction(loss, page.strength["epsilon"], n).tolist()
        document = json.loads(json.dumps(page.to_json(), allow_nan=False))
        assert document["name"] == loss.name
        assert document["zones"]["exact"][0]["low"] == 0

    def test_numbers_without_bound_are_texts(self) -> None:
        document = explain(baikal(), 10).to_json()
        assert document["zero_error"] == {"a": "inf", "b": "-inf", "c": 0.0}
        assert document["limits"] == {"non_target": "inf", "target": 2.0}
        assert explain(-1 * mse(), 10).to_json()["bias_growth"] is None

    def test_what_is_idle(self) -> None:
        assert explain(cross_entropy(), 10).idle == []
        assert explain(mnist(), 10).idle == [
            "c1 = 1951",
            "the terms of φ without h",
            "cy = 132.9 and cyy = 7.051 apart from their sum (hard labels)",
        ]

    def test_two_classes_have_two_acting_numbers(self) -> None:
        assert explain(mse(), 2).acting == {"p": 4.0, "q": -4.0}
        assert explain(mse(), 3).acting == {"ch": -2.0, "chh": 0.0, "chy": 0.0, "t": 2.0}
        assert explain(baikal(), 2).acting is None

    def test_label_smoothing(self) -> None:
        found = explain(cross_entropy().smoothed(0.2, 10), 10)
        assert found.smoothing == {"alpha": pytest.approx(0.2), "base": "y log h"}
        mixed = explain(residual(torch.tensor([0.25, 1.0, 0, 0, 0]), 10), 10)
        assert mixed.smoothing is None
        assert mixed.cross_entropy_smoothing == pytest.approx(0.2)
        assert explain(mse(), 10).cross_entropy_smoothing is None

    def test_errors(self) -> None:
        with pytest.raises(InputError, match="one loss is explained at a time"):
            explain(taylor(random_lambda(2)), 10)
        with pytest.raises(InputError, match="outside"):
            explain(mse(), 10, [0.5, 1.0])


class TestLookup:
    def test_names(self) -> None:
        wanted: dict[str, PowerLoss] = {
            "cross-entropy": cross_entropy(),
            "poly": poly(1.0),
            "poly:-2.5": poly(-2.5),
            "focal": focal(2),
            "focal:3": focal(3),
            "gce": gce(0.7),
            "label-smoothing:0.25": cross_entropy().smoothed(0.25, 10),
            "label-smoothing": cross_entropy().smoothed(0.1, 10),
            "taylor-ce": series(),
            "paper/mnist": mnist(),
            "paper/allcnnc": allcnnc(),
        }
        for text, loss in wanted.items():
            assert find(text, 10) == loss

    @pytest.mark.parametrize(
        "text",
        [
            "0,0,0,-1,0,2,0,0",
            "[0, 0, 0, -1, 0, 2, 0, 0]",
            "(0 0 0 -1 0 2 0 0)",
            " 0 0 0 -1e0 0 2 0 0 ",
            "0 0 0 −1 0 2 0 0",
        ],
    )
    def test_lambda(self, text: str) -> None:
        assert find(text, 10) == taylor([0, 0, 0, -1, 0, 2, 0, 0])
        assert find("1,2,3,4,5", 10) == taylor([1, 2, 3, 4, 5], order=2)

    def test_files(self, tmp_path: Path) -> None:
        save(mse(), tmp_path / "loss")
        save(cross_entropy().smoothed(0.1, 7), tmp_path / "seven.json")
        save(taylor(random_lambda(2)), tmp_path / "two.json")
        assert find(str(tmp_path / "loss"), 10) == mse()
        assert common_classes([str(tmp_path / "loss"), "mse", "1,2,3,4,5"]) is None
        assert common_classes([str(tmp_path / "loss"), str(tmp_path / "seven.json")]) == 7
        with pytest.raises(InputError, match="made for 7 classes, not 10"):
            find(str(tmp_path / "seven.json"), 10)
        with pytest.raises(InputError, match="holds a population"):
            find(str(tmp_path / "two.json"), 10)
        save(cross_entropy().smoothed(0.1, 8), tmp_path / "eight.json")
        with pytest.raises(InputError, match=r"is made for 7 classes and .* for 8"):
            common_classes([str(tmp_path / "seven.json"), str(tmp_path / "eight.json")])

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                "crossentropy",
                r"no loss 'crossentropy' \(did you mean cross-entropy\?\); give one of cross-entropy, mse",
            ),
            ("", "no loss ''"),
            ("5", "5 is one number, not a loss"),
            ("[]", "no loss"),
            ("none.json", "cannot be read: No such file"),
            ("mse:2", "mse takes no parameter"),
            ("focal:-0.5", "focusing parameter from 0"),
            ("focal:inf", "focusing parameter from 0"),
            ("focal:x", "not a number; write for example focal:2"),
            ("gce:0", r"takes q in \(0, 1\]"),
            ("gce:nan", r"takes q in \(0, 1\]"),
            ("poly:inf", "finite ε"),
            ("label-smoothing:1", r"α in \[0, 1\), not 1"),
            ("label-smoothing:-0.1", r"α in \[0, 1\)"),
            ("label-smoothing:nan", r"α in \[0, 1\)"),
            ("1,2,3,4,5,6,7", "λ has 7 numbers"),
            ("nan,0,0,0,0,0,0,0", "not finite"),
        ],
    )
    def test_refused(self, text: str, message: str) -> None:
        with pytest.raises(InputError, match=message):
            find(text, 10)

    def test_too_few_classes(self) -> None:
        with pytest.raises(InputError, match="at least 2 classes, not 1"):
            find("mse", 1)

    def test_several(self, tmp_path: Path) -> None:
        losses = find_all(["1,2,3,4,5,6,7,8", "8,7,6,5,4,3,2,1", "mse"], 10)
        assert [loss.name for loss in losses] == ["1,2,3,4,5,6,7,8", "8,7,6,5,4,3,2,1", "MSE"]
        with pytest.raises(InputError, match="mse is given twice"):
            find_all(["mse", "mae", "mse"], 10)


class TestRule:
    """The learning rule as terms is what PowerLoss.gamma computes."""

    @pytest.mark.parametrize("loss", [*NAMED, cross_entropy() + 2 * mae(), gce(0.3) + focal(3)], ids=repr)
    def test_terms(self, loss: PowerLoss) -> None:
        h = torch.linspace(0.05, 1, 20, dtype=torch.float64)[:, None]
        y = torch.tensor([0, 0.3, 1], dtype=torch.float64)
        total = sum(
            (c * h**i * y**j * h.log() ** log for (i, j, log), c in loss.rule().items()), start=torch.zeros_like(h * y)
        )
        close(loss.gamma(h, y), total, rtol=1e-11, atol=1e-10 * loss.coefficients.abs().max().item())
        close(loss.slope(h.log(), y), h * total, rtol=1e-11, atol=1e-10 * loss.coefficients.abs().max().item())

    @pytest.mark.parametrize(
        ("make", "text"),
        [
            (cross_entropy, "h⁻¹ y"),
            (mse, "−2 h + 2 y"),
            (baikal, "h⁻¹ + h⁻² y"),
            (mae, "y"),
            (polynomial, "0"),
        ],
    )
    def test_text(self, make: Callable[[], PowerLoss], text: str) -> None:
        assert make().gamma_formula() == text

    def test_population_has_no_text(self) -> None:
        with pytest.raises(InputError, match="no single learning rule"):
            taylor(random_lambda(2)).gamma_formula()

    def test_acting_part_has_the_same_gradient(self) -> None:
        losses = taylor(random_lambda(10))
        logits, targets = random_logits(9, 4), torch.arange(9) % 4
        assert torch.equal(losses.acting().logit_gradient(logits, targets), losses.logit_gradient(logits, targets))
        assert mse().acting().formula() == "−h² + 2 h y"
