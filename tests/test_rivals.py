"""The losses of the field of noisy labels against their publications, written out once more, and their limits."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lossmith import Criterion, InputError, Loss, cross_entropy, focal, gce, mae, poly
from lossmith.losses import (
    Forward,
    FractionalFocal,
    NormalizedNegative,
    Sharpened,
    Sum,
    active_negative,
    agce,
    aul,
    epsilon_softmax,
    find,
    forward_correction,
    jensen_shannon,
    label_smoothing,
    nce_agce,
    nce_rce,
    negative_smoothing,
    normalized_cross_entropy,
    schedule,
)
from lossmith.search import SearchSettings, VectorSpace, build_space

K = 5
NAMES = (
    *("agce", "aul", "nce-rce", "nce-agce", "anl", "epsilon-softmax", "negative-smoothing", "forward"),
    *("jensen-shannon", "focal:0.5", "logit-clip"),
)


def batch(scale: float = 2.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return scale * torch.randn(40, K, generator=generator, dtype=torch.float64), torch.arange(40) % K


def near(found: Tensor, wanted: Tensor, relative: float = 1e-12) -> None:
    torch.testing.assert_close(found, wanted.to(found), rtol=relative, atol=relative)


def exactly(loss: Loss, definition: str) -> None:
    """The value against a definition that is evaluated in 40 digits: of the outputs h, the label t and m = mpmath."""
    logits, targets = batch()
    with mpmath.workdps(40):
        for f, t in zip(logits.tolist(), targets.tolist(), strict=True):
            exponents = [mpmath.exp(value) for value in f]
            h = [one / mpmath.fsum(exponents) for one in exponents]
            wanted = float(DEFINITIONS[definition](h, t))
            found = loss.value(torch.tensor([f], dtype=torch.float64), torch.tensor([t])).item()
            assert math.isclose(found, wanted, rel_tol=1e-11, abs_tol=1e-13)


def nce(h: Any, t: Any) -> Any:
    return mpmath.log(h[t]) / mpmath.fsum(mpmath.log(one) for one in h)


def nnce(h: Any, t: Any) -> Any:
    bound = -mpmath.log(mpmath.mpf(10) ** -7)
    kept = [max(one, mpmath.mpf(10) ** -7) for one in h]
    return 1 - (bound + mpmath.log(kept[t])) / mpmath.fsum(bound + mpmath.log(one) for one in kept)


def sharp(h: Any, t: Any, m: Any) -> Any:
    return -mpmath.log((h[t] + (m if h[t] == max(h) else 0)) / (m + 1))


def divergence(h: Any, t: Any, w: Any) -> Any:
    y = [mpmath.mpf(k == t) for k in range(K)]
    m = [w * one + (1 - w) * other for one, other in zip(y, h, strict=True)]

    def kl(p: Any) -> Any:
        return mpmath.fsum(a * mpmath.log(a / b) for a, b in zip(p, m, strict=True) if a)

    return (w * kl(y) + (1 - w) * kl(h)) / (-(1 - w) * mpmath.log(1 - w))


def behind(h: Any, t: Any, rate: Any) -> Any:
    return -mpmath.log((1 - rate) * h[t] + rate / (K - 1) * (1 - h[t]))


DEFINITIONS = {
    "agce": lambda h, t: (
        (mpmath.mpf("1.6") ** mpmath.mpf("0.3") - (mpmath.mpf("0.6") + h[t]) ** mpmath.mpf("0.3")) / mpmath.mpf("0.3")
    ),
    "aul": lambda h, t: ((mpmath.mpf("5.5") - h[t]) ** 2 - mpmath.mpf("4.5") ** 2) / 2,
    "nce-rce": lambda h, t: nce(h, t) + 3 * 4 * (1 - h[t]),
    "nce-agce": lambda h, t: (
        nce(h, t) + 4 * (7 ** mpmath.mpf("1.5") - (6 + h[t]) ** mpmath.mpf("1.5")) / mpmath.mpf("1.5")
    ),
    "anl": lambda h, t: nce(h, t) + 2 * nnce(h, t),
    "epsilon-softmax": lambda h, t: sharp(h, t, 100) + 3 * 2 * (1 - h[t]),
    "negative-smoothing": lambda h, t: (
        -3 * mpmath.log(h[t]) + mpmath.mpf(2) / K * mpmath.fsum(mpmath.log(one) for one in h)
    ),
    # Less its value for a sure network, which no gradient sees.
    "forward": lambda h, t: behind(h, t, mpmath.mpf("0.3")) + mpmath.log(mpmath.mpf("0.7")),
    "jensen-shannon": lambda h, t: divergence(h, t, mpmath.mpf("0.3")),
    "focal": lambda h, t: -((1 - h[t]) ** mpmath.mpf("0.5")) * mpmath.log(h[t]),
}
LOSSES: dict[str, Loss] = {
    "agce": agce(0.3),
    "aul": aul(2.0),
    "nce-rce": nce_rce(3.0),
    "nce-agce": nce_agce(),
    "anl": active_negative(2.0),
    "epsilon-softmax": epsilon_softmax(3.0, sharpening=100.0),
    "negative-smoothing": negative_smoothing(-2.0, K),
    "forward": forward_correction(0.3, K),
    "jensen-shannon": jensen_shannon(0.3),
    "focal": find("focal:0.5", K),
}


class TestDefinitions:
    @pytest.mark.parametrize("name", LOSSES)
    def test_values_are_the_published_ones(self, name: str) -> None:
        exactly(LOSSES[name], name)

    def test_every_class_of_a_noise_matrix(self) -> None:
        matrix = torch.rand(K, K, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        matrix /= matrix.sum(-1, keepdim=True)
        logits, targets = batch()
        wanted = -(logits.softmax(-1) @ matrix).log().gather(-1, targets[:, None])[:, 0]
        near(Forward(cross_entropy(), matrix).value(logits, targets), wanted)

    @pytest.mark.parametrize("name", NAMES)
    def test_stable_in_float32(self, name: str) -> None:
        """At logits of ±1e4 and near certainty: value and gradient are finite, and those of float64."""
        loss = find(name, K)
        for size in (0.0, 5.0, 30.0, 200.0, 1e4):
            logits = size * torch.eye(K)[[0, 0, 1, 2]] * torch.tensor([1.0, 1.0, -1.0, 1.0])[:, None]
            targets = torch.tensor([0, 1, 1, 3])
            for call in (loss.value, loss.logit_gradient):
                found, wanted = call(logits, targets), call(logits.double(), targets)
                assert found.isfinite().all()
                torch.testing.assert_close(
                    found.double(), wanted, rtol=2e-5, atol=1e-6 + 2e-5 * float(wanted.abs().max())
                )

    def test_the_fractional_focal_loss_keeps_its_digits(self) -> None:
        """Where 1 − h has none in h: at log h = −1e-12."""
        found = FractionalFocal(torch.tensor(1.5)).slope(torch.tensor([-1e-12]).double(), torch.ones(1))
        with mpmath.workdps(60):
            x = mpmath.mpf(torch.tensor(-1e-12).double().item())
            rest = -mpmath.expm1(x)
            wanted = rest ** mpmath.mpf("1.5") * (1 - mpmath.mpf("1.5") * (1 - rest) * x / rest)
            assert math.isclose(found.item(), float(wanted), rel_tol=1e-13)


class TestLimits:
    """Published special cases."""

    def equal(self, one: Loss, other: Loss, relative: float = 1e-12, scale: float = 1.0) -> None:
        logits, targets = batch()
        near(one.logit_gradient(logits, targets), scale * other.logit_gradient(logits, targets), relative)

    def test_asymmetric_losses(self) -> None:
        self.equal(agce(0.7, a=0.0), gce(0.7))
        self.equal(agce(1.0), mae())
        self.equal(aul(1.0), mae())

    def test_jensen_shannon_lies_between_cross_entropy_and_mae(self) -> None:
        self.equal(jensen_shannon(1e-6), cross_entropy(), 1e-3)
        logits, targets = batch()
        for dtype in (torch.float32, torch.float64):
            found = jensen_shannon(1e-6).logit_gradient(logits.to(dtype), targets)
            torch.testing.assert_close(
                found.double(), cross_entropy().logit_gradient(logits, targets), rtol=2e-3, atol=1e-5
            )
        # The way to MAE is as slow as a logarithm: 1 / log(1 − π) of it is missing.
        far, target = jensen_shannon(1 - 1e-9).logit_gradient(logits, targets), mae().logit_gradient(logits, targets)
        assert (far - target).abs().max() < 0.2 * target.abs().max()
        values = [jensen_shannon(w).value(logits, targets).mean() for w in (1e-6, 0.3, 0.7, 1 - 1e-9)]
        assert values == sorted(values, reverse=True)

    def test_no_sharpening_and_no_noise_change_nothing(self) -> None:
        self.equal(Sharpened(cross_entropy(), torch.tensor(0.0)), cross_entropy())
        self.equal(forward_correction(0.0, K), cross_entropy())
        self.equal(Sum((epsilon_softmax(0.0, sharpening=0.0),), torch.ones(1)), cross_entropy())

    def test_other_words_for_the_same(self) -> None:
        """Symmetric cross-entropy, CE + w RCE, is PolyLoss-1; NCE + MAE is NCE + RCE with another weight."""
        logits, targets = batch()
        reverse = 4 * (1 - logits.softmax(-1).gather(-1, targets[:, None])[:, 0])
        near(poly(4 * 0.7).value(logits, targets), cross_entropy().value(logits, targets) + 0.7 * reverse)
        normalized = Sum((normalized_cross_entropy(), mae()), torch.tensor([1.0, 4.0]))
        self.equal(normalized, nce_rce(1.0))

    def test_whole_focusing_parameters(self) -> None:
        for parameter in (0, 1, 3):
            fractional = FractionalFocal(torch.tensor(float(parameter)))
            self.equal(fractional, focal(parameter), 1e-10)
        assert find("focal:2", K) == focal(2)
        assert isinstance(find("focal:2.5", K), FractionalFocal)

    def test_negative_smoothing_goes_on_where_smoothing_ends(self) -> None:
        logits, targets = batch()
        plus, minus, none = label_smoothing(0.2, K), negative_smoothing(-0.2, K), cross_entropy()
        mean = (plus.value(logits, targets) + minus.value(logits, targets)) / 2
        near(mean, none.value(logits, targets))

    @pytest.mark.parametrize(
        "loss", [normalized_cross_entropy(), NormalizedNegative(), mae()], ids=lambda one: one.name
    )
    def test_symmetric_losses_sum_to_a_constant_over_the_labels(self, loss: Loss) -> None:
        logits, _ = batch()
        total = torch.stack([loss.value(logits, torch.full((40,), k)) for k in range(K)]).sum(0)
        near(total, torch.full_like(total, {"normalized cross-entropy": 1.0}.get(loss.name, K - 1.0)))

    def test_the_order_of_classes_does_not_matter_where_outputs_are_equal(self) -> None:
        loss, logits, eye = epsilon_softmax(), torch.zeros(K, K).double(), torch.eye(K).double()
        gradient = loss.logit_gradient(logits, torch.arange(K))
        near(gradient, gradient[0, 0] * eye + gradient[0, 1] * (1 - eye))


class TestUse:
    @pytest.mark.parametrize("name", NAMES)
    def test_a_criterion_by_name(self, name: str) -> None:
        logits, targets = batch()
        leaf = logits.clone().requires_grad_()
        criterion = Criterion(name, classes=K)
        criterion(leaf, targets).backward()
        assert leaf.grad is not None
        near(40 * leaf.grad, find(name, K).logit_gradient(logits, targets))

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("agce:-1", "takes q from 0 to 100, not -1"),
            ("aul:60", r"reach e\^102, more than float32 holds"),
            ("aul:-1", "takes p above 0 to 100"),
            ("nce-rce:-1", "take a finite weight from 0, not -1"),
            ("anl:nan", "take a finite weight from 0"),
            ("negative-smoothing:0.1", "takes a finite r below 0, not 0.1"),
            ("forward:0.8", "η from 0 to below 1 − 1/n = 0.8, not 0.8"),
            ("jensen-shannon:1", "takes π from 1e-06 to 1"),
        ],
    )
    def test_bad_numbers(self, text: str, words: str) -> None:
        with pytest.raises(InputError, match=words):
            find(text, K)

    def test_bad_parts(self) -> None:
        for call, words in (
            (lambda: Sharpened(cross_entropy(), torch.tensor(-1.0)), "sharpened by a number from 0"),
            (lambda: Sharpened(find("logit-clip", K), torch.tensor(1.0)), "transform the outputs first"),
            (lambda: Sum((find("logit-clip", K),), torch.ones(1)), "transform the logits of the whole sum"),
            (lambda: Sum((mae(), gce()), torch.ones(3)), "takes as many weights"),
            (lambda: Sum((schedule([(0, "mae"), (1, "mse")]),), torch.ones(1)), "changes during the training"),
            (lambda: Sum((mae(),), torch.tensor([math.inf])), "has a weight that is not a finite number"),
            (lambda: Forward(mae(), torch.eye(3).flip(0)[:2]), "noise matrix"),
            (lambda: Forward(mae(), torch.tensor([[0.5, 0.6], [0.5, 0.5]])), "rows that sum to 1"),
            (lambda: Forward(mae(), torch.tensor([[1.0, 0.0], [1.0, 0.0]])), "column of zeros"),
        ):
            with pytest.raises(InputError, match=words):
                call()

    def test_functional_classes_are_untouched(self) -> None:
        logits, targets = batch()
        near(Criterion(cross_entropy())(logits, targets), functional.cross_entropy(logits, targets))


class TestSpace:
    """The space noise-robust: the rivals that are points of it, and their coordinates, up to a factor."""

    N = K * math.log(K)
    NEGATIVE = K * (-math.log(1e-7) - math.log(K))

    def point(self, residual: tuple[float, ...] = (0.0,) * 5, **others: float) -> list[float]:
        names = ("weight", "nce", "nnce", "power", "shift", "exponent", "sharpening", "clipping")
        return [*residual, *(others.get(name, 0.0) for name in names)]

    def test_each_of_them(self) -> None:
        points: list[tuple[Loss, list[float]]] = [
            (cross_entropy(), self.point()),
            (label_smoothing(0.5, K), self.point((1.0, 0, 0, 0, 0))),
            (normalized_cross_entropy(), self.point(weight=-1, nce=1)),
            (mae(), self.point(weight=-1, power=1)),
            (gce(0.7), self.point(weight=-1, power=1, shift=-13, exponent=math.log(0.7))),
            (nce_rce(2.0), self.point(weight=-1, nce=1 / self.N, power=8 / K)),
            (active_negative(3.0), self.point(weight=-1, nce=1 / self.N, nnce=3 / self.NEGATIVE)),
            (
                nce_agce(4.0),
                self.point(
                    weight=-1,
                    nce=1 / self.N,
                    power=4 / K * (6 + 1 / K) ** 0.5,
                    shift=math.log(6),
                    exponent=math.log(1.5),
                ),
            ),
            (agce(0.6), self.point(weight=-1, power=1, shift=math.log(0.6), exponent=math.log(0.6))),
            (find("logit-clip:2", K), self.point(clipping=0.5)),
            (Sharpened(cross_entropy(), torch.tensor(math.e**5 - 1)), self.point(sharpening=1.0)),
        ]
        space = build_space(SearchSettings(space="noise-robust"))
        built = space.build([point for _, point in points], K)
        logits, targets = batch()
        for number, (loss, _) in enumerate(points):
            found, wanted = (one.logit_gradient(logits, targets) for one in (built[number], loss))
            scale = (found * wanted).sum() / (found * found).sum()
            assert scale > 0
            near(scale * found, wanted, 1e-4 if loss.name.startswith("GCE") else 1e-10)
            # The space itself knows them, but for a = 0.
            placed = space.place(loss, K)
            assert (placed is None) == loss.name.startswith("GCE")
            if placed is not None:
                near(placed[1] * space.build([placed[0]], K)[0].logit_gradient(logits, targets), wanted, 1e-10)

    def test_it_begins_at_cross_entropy_and_finds_its_points(self) -> None:
        space = build_space(SearchSettings(space="noise-robust"))
        assert isinstance(space, VectorSpace)
        found = space.place(label_smoothing(0.3, K), K)
        assert found is not None
        logits, targets = batch()
        built = space.build([found[0]], K)[0]
        near(found[1] * built.logit_gradient(logits, targets), label_smoothing(0.3, K).logit_gradient(logits, targets))

    def test_however_far_the_search_goes(self) -> None:
        space = build_space(SearchSettings(space="noise-robust"))
        generator = torch.Generator().manual_seed(0)
        points = (100 * torch.randn(200, 13, generator=generator)).tolist()
        losses = space.build(points, K)
        assert all(losses[number].formula() for number in range(3))
        gradient = losses.logit_gradient(*(one.float() if one.is_floating_point() else one for one in batch()))
        assert gradient.isfinite().all()
