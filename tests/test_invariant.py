"""The null epoch and the trainability invariant: the numbers of the theory, and both forms of theorem 3."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lossmith import InputError, PowerLoss, baikal, cross_entropy, focal, gce, mae, mse, poly, taylor
from lossmith.losses import Term
from lossmith.theory import gain, is_trainable, margin, null_epoch

MNIST = [-10.9408, 7.5216, 8.2896, 0.2415, 7.8726, 8.9666, 2.0184, 7.0513]
CROSS_ENTROPY_SERIES = [0.5, 0.5, 1, -1, 4 / 3, 2, -2, 0]
CLASSES = [2, 3, 10, 100, 1000]


def polynomial(
    c1: float = 0, ch: float = 0, chh: float = 0, chy: float = 0, cy: float = 0, cyy: float = 0
) -> PowerLoss:
    """The third-order loss with these coefficients of γ (equation 12)."""
    phi = {(1, 0, 0): c1, (2, 0, 0): ch / 2, (3, 0, 0): chh / 3, (2, 1, 0): chy / 2, (1, 1, 0): cy, (1, 2, 0): cyy}
    return PowerLoss(tuple(Term(*term) for term in phi), torch.tensor(list(phi.values()), dtype=torch.float64))


def equation_12(lam: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """c1, ch, chh, chy, cy, cyy of λ, term by term."""
    m = lam.unbind(-1)
    c1 = m[2] - 2 * m[1] * m[3] + 3 * m[4] * m[1] ** 2 - m[5] * m[0] + 2 * m[0] * m[1] * m[6] + m[7] * m[0] ** 2
    ch = 2 * m[3] - 2 * m[6] * m[0] - 6 * m[1] * m[4]
    return c1, ch, 3 * m[4], 2 * m[6], m[5] - 2 * m[1] * m[6] - 2 * m[7] * m[0], m[7]


def random_lambda(count: int) -> Tensor:
    return 1.2 * torch.randn(count, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


# With c1 = −373.917 …: theory §3, back-calculated from the paper's equations 28–30.
ALL_CNN_C = polynomial(-373.917, -129.254, -11.2188, -2.216, -0.674, 2.1203)


class TestNullEpoch:
    @pytest.mark.parametrize("n", CLASSES)
    @pytest.mark.parametrize(
        ("loss", "other", "target"),
        [
            (mse(), lambda n: -2 / n, lambda n: 2 - 2 / n),
            (cross_entropy(), lambda n: 0, lambda n: n),
            (baikal(), lambda n: n, lambda n: n + n**2),
            (mae(), lambda n: 0, lambda n: 1),
            (poly(2.5), lambda n: 0, lambda n: n + 2.5),
            (gce(0.7), lambda n: 0, lambda n: n**0.3),
            (
                focal(2),
                lambda n: 0,
                lambda n: (1 - 1 / n) ** 2 * n - 2 * (1 - 1 / n) * math.log(1 / n),
            ),
        ],
        ids=lambda value: value.name if isinstance(value, PowerLoss) else "",
    )
    def test_named(
        self, loss: PowerLoss, other: Callable[[int], float], target: Callable[[int], float], n: int
    ) -> None:
        found = null_epoch(loss, n)
        assert [value.item() for value in found] == pytest.approx([other(n), target(n)], rel=1e-12, abs=1e-12)
        assert margin(loss, n).item() == pytest.approx(target(n) - other(n), rel=1e-12)
        assert gain(loss, n).item() == pytest.approx((target(n) - other(n)) / n, rel=1e-12)

    def test_printed_in_the_paper(self) -> None:
        """Equation 30, the loss of AllCNN-C on CIFAR-10, and the a, b and c of equations 20–23."""
        other, target = null_epoch(ALL_CNN_C, 10)
        assert other.item() == pytest.approx(-386.9546, abs=1e-4)
        assert target.item() == pytest.approx(-385.7299, abs=1e-4)
        assert gain(ALL_CNN_C, 10).item() == pytest.approx(0.12, abs=5e-3)
        one = torch.ones((), dtype=torch.float64)
        tiny = torch.tensor(1e-30, dtype=torch.float64)
        assert ALL_CNN_C.gamma(tiny, 0 * one).item() == pytest.approx(-373.917)
        assert ALL_CNN_C.gamma(one, one).item() == pytest.approx(-373.917 - 129.928 - 11.3145, abs=1e-3)

    @pytest.mark.parametrize("n", CLASSES)
    def test_margin_is_the_difference(self, n: int) -> None:
        losses = taylor(random_lambda(200))
        other, target = null_epoch(losses, n)
        assert other.shape == target.shape == margin(losses, n).shape == gain(losses, n).shape == (200,)
        torch.testing.assert_close(margin(losses, n), target - other, rtol=1e-9, atol=1e-9)
        c1, ch, chh, chy, cy, cyy = equation_12(random_lambda(200))
        torch.testing.assert_close(margin(losses, n), cy + cyy + chy / n, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(other, c1 + ch / n + chh / n**2, rtol=1e-9, atol=1e-9)

    def test_further_population_dimensions(self) -> None:
        losses = taylor(random_lambda(6).reshape(2, 3, 8))
        assert margin(losses, 10).shape == (2, 3)
        assert torch.equal(margin(losses, 10).flatten(), margin(taylor(random_lambda(6)), 10))


class TestGain:
    def test_published_mnist(self) -> None:
        loss = taylor(MNIST)
        assert gain(loss, 10).item() == pytest.approx(14.0, abs=0.05)
        c1, ch, chh, chy, cy, cyy = equation_12(torch.tensor(MNIST, dtype=torch.float64))
        m = (cy + cyy + chy / 10).item()
        assert c1.item() == pytest.approx(1951, abs=0.5)
        assert [ch.item() / m, chh.item() / m, chy.item() / m] == pytest.approx([-2.2, 0.17, 0.03], abs=0.05)

    @pytest.mark.parametrize("n", CLASSES)
    def test_cross_entropy_is_one(self, n: int) -> None:
        assert margin(cross_entropy(), n).item() == pytest.approx(n, rel=1e-14)
        assert gain(cross_entropy(), n).item() == pytest.approx(1, rel=1e-14)

    @pytest.mark.parametrize("alpha", [0.05, 0.3, 1.0])
    def test_smoothing_lowers_it(self, alpha: float) -> None:
        assert gain(cross_entropy().smoothed(alpha, 10), 10).item() == pytest.approx(1 - alpha, abs=1e-14)

    @pytest.mark.parametrize("n", [2, 10])
    @pytest.mark.parametrize("loss", [cross_entropy(), mse(), baikal(), taylor(MNIST), gce(0.3)], ids=lambda x: x.name)
    def test_first_gradient(self, loss: PowerLoss, n: int) -> None:
        """At equal logits the target's logit has the gradient −(n − 1)/n² · m, so gain times cross-entropy's."""
        logits = torch.full((1, n), 0.7, dtype=torch.float64)
        gradient, reference = (rule.logit_gradient(logits, torch.tensor([1])) for rule in (loss, cross_entropy()))
        torch.testing.assert_close(gradient, gain(loss, n) * reference, rtol=1e-9, atol=1e-12)
        assert gradient[0, 1].item() == pytest.approx(-(n - 1) / n**2 * margin(loss, n).item(), rel=1e-9)


class TestConstant:
    """c1 acts in the published form alone (theory §2 and §5)."""

    @given(c1=st.floats(-1e12, 1e12))
    def test_margin_exactly(self, c1: float) -> None:
        constant = PowerLoss((Term(1, 0, 0),), torch.tensor([c1], dtype=torch.float64))
        for loss in (cross_entropy(), mse(), taylor(MNIST), ALL_CNN_C):
            assert torch.equal(margin(loss + constant, 10), margin(loss, 10))

    def test_mse_with_a_constant(self) -> None:
        shifted = mse() + PowerLoss((Term(1, 0, 0),), torch.tensor([10.0]))
        assert is_trainable(mse(), 10, "published")
        assert not is_trainable(shifted, 10, "published")
        assert is_trainable(shifted, 10)
        logits = 3 * torch.randn(50, 10, generator=torch.Generator().manual_seed(0))
        targets = torch.arange(50) % 10
        torch.testing.assert_close(
            shifted.logit_gradient(logits, targets), mse().logit_gradient(logits, targets), rtol=0, atol=0
        )


class TestTrainable:
    def test_shares_over_random_lambda(self) -> None:
        losses = taylor(random_lambda(100_000))
        exact, published = is_trainable(losses, 10), is_trainable(losses, 10, "published")
        assert exact.dtype == published.dtype == torch.bool
        shares = [
            part.double().mean().item()
            for part in (exact, published, exact & published, exact & ~published, published & ~exact)
        ]
        # The standard error of a share is 0.0016.
        assert shares == pytest.approx([0.5, 0.5, 0.268, 0.232, 0.232], abs=0.008)

    @pytest.mark.parametrize("n", [2, 3, 10, 100])
    def test_forms_term_by_term(self, n: int) -> None:
        lam = random_lambda(2000)
        c1, ch, chh, chy, cy, cyy = equation_12(lam)
        pull = cy + cyy + chy / n
        assert torch.equal(is_trainable(taylor(lam), n, "exact"), pull > 0)
        untrainable = pull < (n - 2) * (c1 + ch / n + chh / n**2)
        assert torch.equal(is_trainable(taylor(lam), n, "published"), ~untrainable)

    def test_zero(self) -> None:
        """Nothing is learned with λ = 0, and the published form does not see it."""
        assert not is_trainable(taylor([0.0] * 8), 10)
        assert is_trainable(taylor([0.0] * 8), 10, "published")

    @pytest.mark.parametrize("lam", [MNIST, CROSS_ENTROPY_SERIES])
    def test_published_form_refuses_what_trains(self, lam: list[float]) -> None:
        assert not is_trainable(taylor(lam), 10, "published")
        assert is_trainable(taylor(lam), 10)

    @pytest.mark.parametrize("n", CLASSES)
    @pytest.mark.parametrize(
        "loss", [cross_entropy(), mse(), baikal(), mae(), poly(1.0), gce(0.7), focal(2)], ids=lambda loss: loss.name
    )
    def test_named_losses_train(self, loss: PowerLoss, n: int) -> None:
        assert is_trainable(loss, n)
        assert not is_trainable(-1 * loss, n)

    def test_population(self) -> None:
        losses = PowerLoss.stack([cross_entropy(), -1 * mse(), taylor([0.0] * 8), taylor(MNIST)])
        assert is_trainable(losses, 10).tolist() == [True, False, False, True]
        assert is_trainable(losses, 10, "published").tolist() == [True, False, True, False]

    @pytest.mark.parametrize("scale", [1e-6, 0.1, 100.0])
    def test_a_positive_factor_does_not_matter(self, scale: float) -> None:
        losses = taylor(random_lambda(500))
        for form in ("exact", "published"):
            assert torch.equal(is_trainable(scale * losses, 10, form), is_trainable(losses, 10, form))


class TestErrors:
    @pytest.mark.parametrize("function", [null_epoch, margin, gain, is_trainable])
    @pytest.mark.parametrize("n", [-1, 0, 1])
    def test_fewer_than_two_classes(self, function: Callable[[PowerLoss, int], object], n: int) -> None:
        with pytest.raises(InputError, match=f"at least 2 classes, not {n}"):
            function(cross_entropy(), n)

    @pytest.mark.parametrize("function", [null_epoch, margin, gain, is_trainable])
    def test_another_number_of_classes(self, function: Callable[[PowerLoss, int], object]) -> None:
        with pytest.raises(InputError, match="made for 10 classes"):
            function(cross_entropy().smoothed(0.1, 10), 9)

    def test_another_form(self) -> None:
        with pytest.raises(InputError, match="'exact' and 'published', not 'both'"):
            is_trainable(cross_entropy(), 10, "both")  # type: ignore[arg-type]
