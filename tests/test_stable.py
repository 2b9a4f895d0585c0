"""Losses whose powers of h cancel as h → 1, and many classes, in float32 against closed forms in float64."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lossmith import Criterion, Loss, PowerLoss, baikal, cross_entropy, focal, gce, mae, mse, poly, taylor
from lossmith.losses import CATALOG, Term, bootstrapping, find
from lossmith.losses.terms import Near

CLASSES = 10
MARGINS = (0.0, 1.0, 4.0, 6.0, 8.0)
FOCUSINGS = (1, 2, 3, 5, 8, 12)
focusings = pytest.mark.parametrize("focusing", FOCUSINGS)


def easy(margin: float, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """A sample whose label's logit is above the others by a margin."""
    logits = torch.zeros(1, CLASSES, dtype=dtype)
    logits[0, 0] = margin
    return logits, torch.tensor([0])


def true_focal(focusing: int, margin: float) -> tuple[float, float]:
    """Value, and slope on the label's logit, with ``r = (1 − h)/h``: −h (1 − h)^γ + γ h (1 − h)^γ log h."""
    rest = (CLASSES - 1) * math.exp(-margin)
    h, gap, log = 1 / (1 + rest), rest / (1 + rest), -math.log1p(rest)
    return -(gap**focusing) * log, gap * (focusing * gap ** (focusing - 1) * h * log - gap**focusing)


def ways(loss: PowerLoss, logits: Tensor, targets: Tensor) -> dict[str, tuple[float, float]]:
    """Value and slope on the label's logit in each way of computing these."""
    found = {}
    for name, criterion, more in (
        ("fused", Criterion(loss), False),
        ("weight", Criterion(loss, torch.ones(CLASSES)), False),
        ("segmentation", Criterion(loss), True),
        ("soft", Criterion(loss), False),
    ):
        f = logits.clone().requires_grad_()
        y = functional.one_hot(targets, CLASSES).float() if name == "soft" else targets
        value = criterion(f[..., None], y[..., None]) if more else criterion(f, y)
        found[name] = (value.item(), torch.autograd.grad(value, f)[0][0, 0].item())
    rule = loss.gradient_rule(logits)(logits, targets)[0, 0].item()
    found["rule"] = (loss.value(logits, targets).item(), rule)
    return found


@focusings
@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_focal_loss_of_easy_samples(focusing: int, margin: float, scale: float) -> None:
    """It is never negative and falls as h grows; a factor, which rounds its coefficients, changes nothing."""
    value, slope = true_focal(focusing, margin)
    for way, found in ways(scale * focal(focusing), *easy(margin)).items():
        assert found == pytest.approx((scale * value, scale * slope), rel=2e-3), way


@pytest.mark.parametrize("q", [1e-7, 1e-4, 1e-2, 0.3, 0.7])
@pytest.mark.parametrize("margin", MARGINS)
def test_generalized_cross_entropy_with_a_small_q(q: float, margin: float) -> None:
    rest = (CLASSES - 1) * math.exp(-margin)
    log = -math.log1p(rest)
    value, slope = -math.expm1(q * log) / q, -math.exp(q * log) * rest / (1 + rest)
    for way, found in ways(gce(q), *easy(margin)).items():
        assert found == pytest.approx((value, slope), rel=1e-4), way


@focusings
def test_a_population_has_each_member_as_it_is_alone(focusing: int) -> None:
    """Whatever the others are; to the bit where nothing cancels."""
    losses = [cross_entropy(), focal(focusing), mse(), gce(1e-4), bootstrapping(), 0.5 * focal(2), baikal()]
    population = PowerLoss.stack(losses)
    for margin in MARGINS:
        logits, targets = easy(margin)
        values, gradients = population.value(logits, targets), population.logit_gradient(logits, targets)
        for member, loss in enumerate(losses):
            torch.testing.assert_close(values[member], loss.value(logits, targets), rtol=1e-6, atol=0)
            alone = loss.logit_gradient(logits, targets)
            torch.testing.assert_close(gradients[member], alone, rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize(
    "loss",
    [*(focal(focusing).smoothed(0.1, CLASSES) for focusing in FOCUSINGS), gce(0.3).smoothed(0.2, CLASSES)],
    ids=lambda loss: loss.name,
)
def test_smoothed_losses_in_float64_are_what_they_were(loss: PowerLoss) -> None:
    """Against the sum of their terms; outputs far from 1, where nothing cancels."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20, CLASSES, generator=generator, dtype=torch.float64)
    targets = torch.randint(CLASSES, (20,), generator=generator)
    x, y = logits.log_softmax(-1), functional.one_hot(targets, CLASSES).double()
    phi = sum(
        (c * x.exp() ** i * y**j * x**log for (i, j, log), c in zip(loss.terms, loss.coefficients, strict=True)),
        start=torch.zeros_like(x),
    )
    torch.testing.assert_close(loss.value(logits, targets), -phi.sum(-1), rtol=1e-11, atol=1e-12)


UNCHANGED: list[Loss] = [
    *(named.build(None, CLASSES) for name, named in CATALOG.items() if name not in ("focal", "gce")),
    find("baikal", 2),
    cross_entropy() + 0.5 * mae() + 0.3 * mse(),
    poly(-0.5),
    taylor([0.2, 1.0, 1.0, -0.5, 0.3, 0.1, 2.0, 0.7]),
    10 * cross_entropy() + focal(2),
    PowerLoss((Term(-2, 1, 1), Term(0.5, 2, 1), Term(1, 0, 0), Term(0, 0, 0)), torch.tensor([0.5, -3.0, 2.0, 7.0])),
]


@pytest.mark.parametrize("loss", [one for one in UNCHANGED if isinstance(one, PowerLoss)], ids=lambda loss: loss.name)
def test_losses_that_do_not_cancel_are_evaluated_as_they_are(loss: PowerLoss) -> None:
    """So that the numbers of studies stay what they were."""
    terms, coefficients = loss.evaluated
    assert terms == loss.terms
    assert torch.equal(coefficients, loss.coefficients)


def test_a_focal_loss_is_evaluated_as_one_term() -> None:
    for focusing in range(1, 57):
        terms, coefficients = (0.7 * focal(focusing)).evaluated
        assert terms == (Near(focusing, 1, 1, False),)
        assert coefficients.tolist() == pytest.approx([0.7])


@pytest.mark.parametrize("loss", [cross_entropy(), mse()], ids=lambda loss: loss.name)
@pytest.mark.parametrize("classes", [10, 128, 129, 10_000])
@pytest.mark.parametrize("soft", [False, True], ids=["indices", "probabilities"])
def test_the_training_rule_keeps_its_digits_with_many_classes(loss: PowerLoss, classes: int, soft: bool) -> None:
    """As PyTorch's cross-entropy does, whose gradient has an error of about 1e-6 of itself."""
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(2, 8, classes, generator=generator)
    targets = torch.randint(classes, (2, 8), generator=generator)
    y = 0.9 * functional.one_hot(targets, classes).float() + 0.1 / classes if soft else targets
    found = loss.gradient_rule(logits)(logits, y).double()
    exact = loss.logit_gradient(logits.double(), y.double() if soft else y)
    # A gradient that is a difference of two parts is as exact as these.
    size = exact.abs() + logits.double().softmax(-1)
    assert ((found - exact).abs() / size).max() < 1e-6
