"""Every loss against formulas written out a second time, against autograd, and against the theory it rests on."""

import math
from collections.abc import Callable, Sequence
from dataclasses import FrozenInstanceError, dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from lossmith import InputError, PowerLoss, baikal, cross_entropy, focal, gce, mae, mse, poly, taylor
from lossmith.losses import Term, powers, taylor_length

MNIST = [-10.9408, 7.5216, 8.2896, 0.2415, 7.8726, 8.9666, 2.0184, 7.0513]
MSE = [0.0, 0, 0, -1, 0, 2, 0, 0]
CROSS_ENTROPY_SERIES = [0.5, 0.5, 1, -1, 4 / 3, 2, -2, 0]
ORDERS = [2, 3, 4, 5]
CLASSES = [2, 3, 10, 100]
LABELS = ["hard", "soft"]
MIXED_CLASSES = 10

Elementwise = Callable[[Tensor, Tensor], Tensor]


# The losses, each with φ written out once more.


@dataclass(frozen=True)
class Case:
    """A loss for n classes, and its φ as the literature prints it: elementwise, with the classes last."""

    name: str
    build: Callable[[int], PowerLoss]
    phi: Elementwise

    def __str__(self) -> str:
        return self.name


def always(name: str, loss: PowerLoss, phi: Elementwise) -> Case:
    return Case(name, lambda n: loss, phi)


def random_lambda(order: int, seed: int = 0) -> list[float]:
    generator = torch.Generator().manual_seed(100 * order + seed)
    length = {2: 5, 3: 8, 4: 12, 5: 17}[order]
    numbers: list[float] = (1.2 * torch.randn(length, generator=generator, dtype=torch.float64)).tolist()
    return numbers


def polynomial(lam: Sequence[float]) -> Elementwise:
    """Equation 10 and its neighbours of order 2, 4 and 5, term by term."""
    m = list(lam)

    def phi(h: Tensor, y: Tensor) -> Tensor:
        u, v = h - m[1], y - m[0]
        if len(m) == 5:
            return m[2] * u + m[3] * u * u + m[4] * u * v
        if len(m) == 8:
            return m[2] * u + m[3] * u**2 + m[4] * u**3 + m[5] * u * v + m[6] * u**2 * v + m[7] * u * v**2
        if len(m) == 12:
            free = m[2] * u + m[3] * u**2 + m[4] * u**3 + m[5] * u**4
            return (
                free + (m[6] * u + m[7] * u**2 + m[8] * u**3) * v + (m[9] * u + m[10] * u**2) * v**2 + m[11] * u * v**3
            )
        assert len(m) == 17
        free = m[2] * u + m[3] * u**2 + m[4] * u**3 + m[5] * u**4 + m[6] * u**5
        first = (m[7] * u + m[8] * u**2 + m[9] * u**3 + m[10] * u**4) * v
        second = (m[11] * u + m[12] * u**2 + m[13] * u**3) * v**2
        return free + first + second + (m[14] * u + m[15] * u**2) * v**3 + m[16] * u * v**4

    return phi


def softened(alpha: float, phi: Elementwise) -> Elementwise:
    return lambda h, y: phi(h, (1 - alpha) * y + alpha / h.shape[-1])


def smoothed(alpha: float, case: Case) -> Case:
    return Case(f"{case} smoothed {alpha}", lambda n: case.build(n).smoothed(alpha, n), softened(alpha, case.phi))


ODD_TERMS = (
    Term(-2, 1, 1),
    Term(0.5, 2, 1),
    Term(-1.5, 0, 0),
    Term(9, 3, 0),
    Term(2, 0, 1),
    Term(1, 0, 0),
    Term(0, 0, 0),
)


def odd_phi(h: Tensor, y: Tensor) -> Tensor:
    log = h.log()
    negative = 0.5 * y * log / h**2 + 0.25 / h**1.5
    return negative - 3 * h.sqrt() * y**2 * log + 2 * h**9 * y**3 - h**2 * log + 7 * h - 4


CROSS_ENTROPY = always("cross-entropy", cross_entropy(), lambda h, y: y * h.log())
BRIER = always("MSE", mse(), lambda h, y: -((y - h) ** 2))
BAIKAL = always("Baikal", baikal(), lambda h, y: h.log() - y / h)
PUBLISHED = always("published MNIST λ", taylor(MNIST), polynomial(MNIST))
FOCAL = [always(f"focal {m}", focal(m), lambda h, y, m=m: y * (1 - h) ** m * h.log()) for m in range(5)]  # type: ignore[misc]
TAYLOR = [always(f"Taylor order {k}", taylor(random_lambda(k), k), polynomial(random_lambda(k))) for k in ORDERS]
PLAIN = [
    CROSS_ENTROPY,
    BRIER,
    BAIKAL,
    PUBLISHED,
    *FOCAL,
    *TAYLOR,
    always("MAE", mae(), lambda h, y: y * (h - 1)),
    *(
        always(f"poly {e}", poly(e), lambda h, y, e=e: y * h.log() + e * y * (h - 1))  # type: ignore[misc]
        for e in (2.0, -0.5)
    ),
    *(
        always(f"GCE {q}", gce(q), lambda h, y, q=q: y * (h**q - 1) / q)  # type: ignore[misc]
        for q in (0.05, 0.5, 0.7, 1.0)
    ),
    always("series of cross-entropy", taylor(CROSS_ENTROPY_SERIES), polynomial(CROSS_ENTROPY_SERIES)),
    always("Taylor with MSE's λ", taylor(MSE), polynomial(MSE)),
    always("odd terms", PowerLoss(ODD_TERMS, torch.tensor([0.5, -3, 0.25, 2, -1, 7, -4])), odd_phi),
    always("cross-entropy + MAE", cross_entropy() + 0.5 * mae(), lambda h, y: y * h.log() + 0.5 * y * (h - 1)),
    always("MSE + Baikal", mse() + baikal(), lambda h, y: -((y - h) ** 2) + h.log() - y / h),
    always("−3 Taylor", -3 * taylor(random_lambda(3)), lambda h, y: -3 * polynomial(random_lambda(3))(h, y)),
]
CASES = [
    *PLAIN,
    *(
        smoothed(a, c)
        for a, c in zip((0.1, 0.3, 0.2, 0.15, 0.1), (CROSS_ENTROPY, BRIER, BAIKAL, PUBLISHED, FOCAL[2]), strict=True)
    ),
    *(smoothed(0.25, case) for case in TAYLOR),
    smoothed(1.0, CROSS_ENTROPY),
    smoothed(0.4, smoothed(0.2, CROSS_ENTROPY)),
    smoothed(0.1, smoothed(0.3, TAYLOR[2])),
    Case(
        "smoothed cross-entropy + smoothed MAE",
        lambda n: cross_entropy().smoothed(0.1, n) + 2 * mae().smoothed(0.3, n),
        lambda h, y: softened(0.1, CROSS_ENTROPY.phi)(h, y) + 2 * softened(0.3, lambda h, y: y * (h - 1))(h, y),
    ),
]
every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_plain_case = pytest.mark.parametrize("case", PLAIN, ids=str)
every_size = pytest.mark.parametrize("n", CLASSES)
every_label = pytest.mark.parametrize("labels", LABELS)


# Data and comparisons.


def batch(n: int, labels: str = "hard", samples: int = 7, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Logits ``[N, K]``, targets as the loss takes them, and the same as a label vector ``[N, K]``; float64."""
    generator = torch.Generator().manual_seed(1000 * seed + n)
    logits = 1.5 * torch.randn(samples, n, generator=generator, dtype=torch.float64)
    if labels == "soft":
        soft = torch.randn(samples, n, generator=generator, dtype=torch.float64).softmax(-1)
        return logits, soft, soft
    hard = torch.randint(n, (samples,), generator=generator)
    return logits, hard, functional.one_hot(hard, n).double()


def direct_value(phi: Elementwise, logits: Tensor, y: Tensor) -> Tensor:
    return -phi(logits.softmax(-1), y).sum(-1)


def autograd(function: Callable[[Tensor], Tensor], logits: Tensor) -> Tensor:
    """The gradient of each sample's loss, as autograd finds it."""
    leaf = logits.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(function(leaf).sum(), leaf)
    return gradient


def assert_near(actual: Tensor, expected: Tensor, relative: float = 1e-12, least: float = 0.0) -> None:
    """Equal up to a share of the largest entry, or of ``least`` if that is larger; dtype and shape too."""
    assert bool(expected.isfinite().all())
    scale = expected.abs().max().item() if expected.numel() else 0.0
    torch.testing.assert_close(actual, expected, rtol=0, atol=relative * max(scale, least))


def assert_differs(actual: Tensor, expected: Tensor, relative: float = 1e-3) -> None:
    assert (actual - expected).abs().max() > relative * expected.abs().max()


def term(h: float, y: int, log: int = 0, c: float = 1.0) -> PowerLoss:
    """A loss of one term of φ."""
    return PowerLoss((Term(h, y, log),), torch.tensor([c], dtype=torch.float64))


def learning_rule(
    c1: float = 0, ch: float = 0, chh: float = 0, chy: float = 0, cy: float = 0, cyy: float = 0
) -> PowerLoss:
    """The third-order loss of given coefficients of γ (equation 11)."""
    phi = {(1, 0): c1, (2, 0): ch / 2, (3, 0): chh / 3, (2, 1): chy / 2, (1, 1): cy, (1, 2): cyy}
    return PowerLoss(tuple(Term(i, j, 0) for i, j in phi), torch.tensor(list(phi.values()), dtype=torch.float64))


def rule_coefficients(loss: PowerLoss) -> dict[str, float]:
    """(c1, ch, chh, chy, cy, cyy) read off a third-order φ."""
    found = dict(zip(loss.terms, loss.coefficients.tolist(), strict=True))
    places = {"c1": (1, 0), "ch": (2, 0), "chh": (3, 0), "chy": (2, 1), "cy": (1, 1), "cyy": (1, 2)}
    return {name: i * found.get(Term(i, j, 0), 0.0) for name, (i, j) in places.items()}


def equation_12(lam: Sequence[float]) -> dict[str, float]:
    """The coefficients of γ from λ0…λ7, as theory.md §1 prints them."""
    a, b, l2, l3, l4, l5, l6, l7 = lam
    return {
        "c1": l2 - 2 * b * l3 + 3 * l4 * b**2 - l5 * a + 2 * a * b * l6 + l7 * a**2,
        "ch": 2 * l3 - 2 * l6 * a - 6 * b * l4,
        "chh": 3 * l4,
        "chy": 2 * l6,
        "cy": l5 - 2 * b * l6 - 2 * l7 * a,
        "cyy": l7,
    }


# Value and gradient of each loss.


@every_case
@every_size
@every_label
def test_value_is_the_printed_formula(case: Case, n: int, labels: str) -> None:
    logits, targets, y = batch(n, labels)
    assert_near(case.build(n).value(logits, targets), direct_value(case.phi, logits, y), 1e-11)


@every_case
@every_size
@every_label
def test_closed_form_gradient_is_autograd_of_the_value(case: Case, n: int, labels: str) -> None:
    logits, targets, _ = batch(n, labels)
    loss = case.build(n)
    assert_near(loss.logit_gradient(logits, targets), autograd(lambda f: loss.value(f, targets), logits))


@every_case
@every_size
@every_label
def test_closed_form_gradient_is_autograd_of_the_printed_formula(case: Case, n: int, labels: str) -> None:
    logits, targets, y = batch(n, labels)
    expected = autograd(lambda f: direct_value(case.phi, f, y), logits)
    assert_near(case.build(n).logit_gradient(logits, targets), expected, 1e-11)


@every_case
@every_size
def test_class_indices_are_one_hot_labels(case: Case, n: int) -> None:
    logits, targets, y = batch(n)
    loss = case.build(n)
    assert_near(loss.value(logits, targets), loss.value(logits, y))
    assert_near(loss.logit_gradient(logits, targets), loss.logit_gradient(logits, y))


@every_case
def test_phi_is_the_printed_formula_and_gamma_its_derivative(case: Case) -> None:
    loss = case.build(MIXED_CLASSES)
    generator = torch.Generator().manual_seed(1)
    h, y = torch.rand(2, 20, MIXED_CLASSES, generator=generator, dtype=torch.float64).clamp(min=1e-3).unbind()
    assert_near(loss.phi(h, y), case.phi(h, y))
    assert_near(loss.gamma(h, y), autograd(lambda h: case.phi(h, y), h))
    assert_near(loss.gamma(h, y), autograd(lambda h: loss.phi(h, y), h))


@every_case
def test_gradient_is_the_learning_rule_of_section_2(case: Case) -> None:
    logits, targets, y = batch(MIXED_CLASSES, "soft")
    loss, h = case.build(MIXED_CLASSES), logits.softmax(-1)
    g = h * loss.gamma(h, y)
    assert_near(loss.logit_gradient(logits, targets), -(g - h * g.sum(-1, keepdim=True)))


@every_case
@every_label
def test_gradient_sums_to_zero_and_does_not_see_a_shift_of_the_logits(case: Case, labels: str) -> None:
    logits, targets, _ = batch(MIXED_CLASSES, labels)
    loss = case.build(MIXED_CLASSES)
    gradient = loss.logit_gradient(logits, targets)
    assert gradient.abs().max() > 0
    assert_near(gradient.sum(-1) + gradient.abs().max(), gradient.abs().max().expand(len(gradient)))
    assert_near(loss.logit_gradient(logits + 3, targets), gradient)


@pytest.mark.parametrize(
    ("loss", "textbook"),
    [
        (cross_entropy(), lambda f, y: functional.cross_entropy(f, y, reduction="none")),
        (mse(), lambda f, y: ((f.softmax(-1) - functional.one_hot(y, f.shape[-1])) ** 2).sum(-1)),
        (mae(), lambda f, y: (f.softmax(-1) - functional.one_hot(y, f.shape[-1])).abs().sum(-1) / 2),
        (focal(2), lambda f, y: (1 - target_output(f, y)) ** 2 * functional.cross_entropy(f, y, reduction="none")),
        (gce(0.7), lambda f, y: (1 - target_output(f, y) ** 0.7) / 0.7),
        (poly(1), lambda f, y: functional.cross_entropy(f, y, reduction="none") + 1 - target_output(f, y)),
        (baikal(), lambda f, y: 1 / target_output(f, y) - f.log_softmax(-1).sum(-1)),
    ],
    ids=lambda value: value.name if isinstance(value, PowerLoss) else "",
)
@every_size
def test_value_is_the_textbook_form_for_class_indices(loss: PowerLoss, textbook: Elementwise, n: int) -> None:
    logits, targets, _ = batch(n)
    assert_near(loss.value(logits, targets), textbook(logits, targets))


def target_output(logits: Tensor, targets: Tensor) -> Tensor:
    return logits.softmax(-1).gather(-1, targets[:, None])[:, 0]


@every_case
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_gradient_has_the_logits_dtype_and_half_precision_is_computed_in_float32(
    case: Case, dtype: torch.dtype
) -> None:
    logits, targets, _ = batch(MIXED_CLASSES)
    logits, loss = logits.to(dtype), case.build(MIXED_CLASSES)
    computed = torch.promote_types(dtype, torch.float32)
    value, gradient = loss.value(logits, targets), loss.logit_gradient(logits, targets)
    assert (value.dtype, gradient.dtype) == (computed, dtype)
    assert_near(value.double(), loss.value(logits.double(), targets), 2e-5)
    assert_near(gradient.double(), loss.logit_gradient(logits.double(), targets), max(2e-6, torch.finfo(dtype).eps))


@every_case
@every_label
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_rounded_once(case: Case, labels: str, dtype: torch.dtype) -> None:
    logits, targets, _ = batch(MIXED_CLASSES, labels)
    logits, loss = logits.to(dtype), case.build(MIXED_CLASSES)
    y = targets if labels == "hard" else targets.to(dtype)
    exact = y if labels == "hard" else y.float()
    assert torch.equal(loss.value(logits, y), loss.value(logits.float(), exact))
    assert torch.equal(loss.logit_gradient(logits, y), loss.logit_gradient(logits.float(), exact).to(dtype))


def test_the_gradient_leaves_logits_and_coefficients_alone() -> None:
    logits, targets, y = batch(5)
    loss = taylor(MNIST)
    kept = logits.clone(), targets.clone(), y.clone(), loss.coefficients.clone()
    for labels in (targets, y):
        loss.value(logits, labels)
        loss.logit_gradient(logits, labels)
    assert all(map(torch.equal, (logits, targets, y, loss.coefficients), kept))


@given(
    order=st.sampled_from(ORDERS),
    n=st.integers(2, 12),
    labels=st.sampled_from(LABELS),
    seed=st.integers(0, 1000),
    data=st.data(),
)
def test_any_polynomial(order: int, n: int, labels: str, seed: int, data: st.DataObject) -> None:
    numbers = st.lists(st.floats(-10, 10), min_size=taylor_length(order), max_size=taylor_length(order))
    lam = data.draw(numbers)
    logits, targets, y = batch(n, labels, 3, seed)
    loss = taylor(lam, order)
    # The expansion about 0 cancels: accuracy is relative to its coefficients.
    scale = n * loss.coefficients.abs().sum().item() + 1e-9
    torch.testing.assert_close(
        loss.value(logits, targets), direct_value(polynomial(lam), logits, y), rtol=0, atol=1e-12 * scale
    )
    gradient = loss.logit_gradient(logits, targets)
    for function in (lambda f: loss.value(f, targets), lambda f: direct_value(polynomial(lam), f, y)):
        torch.testing.assert_close(gradient, autograd(function, logits), rtol=0, atol=1e-12 * scale)


@given(
    terms=st.lists(
        st.tuples(st.floats(-3, 6), st.integers(0, 4), st.integers(0, 1)), min_size=1, max_size=5, unique=True
    ),
    n=st.integers(2, 6),
    labels=st.sampled_from(LABELS),
    data=st.data(),
)
def test_any_sum_of_powers(terms: list[tuple[float, int, int]], n: int, labels: str, data: st.DataObject) -> None:
    c = data.draw(st.lists(st.floats(-5, 5), min_size=len(terms), max_size=len(terms)))
    logits, targets, y = batch(n, labels, 3)
    loss = PowerLoss(tuple(Term(*t) for t in terms), torch.tensor(c, dtype=torch.float64))

    def direct(f: Tensor) -> Tensor:
        h = f.softmax(-1)
        return -sum(a * h**i * y**j * h.log() ** log for a, (i, j, log) in zip(c, loss.terms, strict=True)).sum(-1)  # type: ignore[union-attr]

    scale = max(1e-9, sum(abs(a) for a in c)) * logits.softmax(-1).min().item() ** -3 * 100
    torch.testing.assert_close(loss.value(logits, targets), direct(logits), rtol=0, atol=1e-13 * scale)
    gradient = loss.logit_gradient(logits, targets)
    torch.testing.assert_close(gradient, autograd(direct, logits), rtol=0, atol=1e-13 * scale)


# The learning rules that the paper prints.


@pytest.mark.parametrize(
    ("loss", "equation"),
    [
        (cross_entropy(), lambda h, y: y / h),
        (mse(), lambda h, y: 2 * y - 2 * h),
        (baikal(), lambda h, y: 1 / h + y / h**2),
        (poly(0.3), lambda h, y: y / h + 0.3 * y),
        (mae(), lambda h, y: y + 0 * h),
        (gce(0.4), lambda h, y: y * h**-0.6),
    ],
    ids=["eq. 7", "eq. 5", "eq. 9", "poly", "MAE", "GCE"],
)
def test_gamma_is_the_papers(loss: PowerLoss, equation: Elementwise) -> None:
    h, y = torch.rand(2, 50, generator=torch.Generator().manual_seed(2), dtype=torch.float64).clamp(min=1e-3).unbind()
    assert_near(loss.gamma(h, y), equation(h, y))


@given(st.lists(st.floats(-10, 10), min_size=8, max_size=8))
def test_third_order_coefficients_are_equation_12(lam: list[float]) -> None:
    loss, expected = taylor(lam), equation_12(lam)
    assert rule_coefficients(loss) == pytest.approx(expected, rel=1e-12, abs=1e-11 * (1 + max(map(abs, lam)) ** 3))
    h, y = torch.rand(2, 30, generator=torch.Generator().manual_seed(3), dtype=torch.float64).unbind()
    c1, ch, chh, chy, cy, cyy = expected.values()
    gamma = c1 + ch * h + chh * h**2 + chy * h * y + cy * y + cyy * y**2
    torch.testing.assert_close(loss.gamma(h, y), gamma, rtol=0, atol=1e-9)


def test_mse_as_a_taylor_loss() -> None:
    assert rule_coefficients(taylor(MSE)) == {"c1": 0, "ch": -2, "chh": 0, "chy": 0, "cy": 2, "cyy": 0}


@pytest.mark.parametrize(("order", "length"), [(2, 5), (3, 8), (4, 12), (5, 17), (6, 23)])
def test_length_of_lambda(order: int, length: int) -> None:
    assert taylor_length(order) == length
    assert taylor([0.5] * length, order).shape == ()


def test_published_mnist_loss() -> None:
    found, n = equation_12(MNIST), 10
    assert found["c1"] == pytest.approx(1951, abs=0.5)
    margin = found["cy"] + found["cyy"] + found["chy"] / n
    assert margin / n == pytest.approx(14.0, abs=0.05)
    assert [found["ch"] / margin, found["chh"] / margin, found["chy"] / margin] == pytest.approx(
        [-2.2, 0.17, 0.03], abs=0.02
    )
    h = torch.full((2,), 1 / n, dtype=torch.float64)
    other, target = taylor(MNIST).gamma(h, torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist()
    assert target - other == pytest.approx(margin)


@every_size
@pytest.mark.parametrize(
    ("loss", "other", "target"),
    [
        (mse(), lambda n: -2 / n, lambda n: 2 - 2 / n),
        (cross_entropy(), lambda n: 0, lambda n: n),
        (baikal(), lambda n: n, lambda n: n + n**2),
    ],
    ids=["MSE", "cross-entropy", "Baikal"],
)
def test_null_epoch(loss: PowerLoss, other: Callable[[int], float], target: Callable[[int], float], n: int) -> None:
    gamma = loss.gamma(torch.full((2,), 1 / n, dtype=torch.float64), torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert gamma.tolist() == pytest.approx([other(n), target(n)], rel=1e-12)


@given(st.lists(st.floats(-10, 10), min_size=6, max_size=6))
def test_zero_training_error(c: list[float]) -> None:
    """h = y ∈ {0, 1}: γ = a + b y + c y² (equations 20–23), at h = 0 exactly too."""
    c1, ch, chh, chy, cy, cyy = c
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    gamma = learning_rule(*c).gamma(ends, ends)
    torch.testing.assert_close(gamma, c1 + (ch + cy) * ends + (chh + chy + cyy) * ends**2, rtol=0, atol=1e-12)


def test_zero_training_error_of_mse_and_cross_entropy() -> None:
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    assert mse().gamma(ends, ends).tolist() == [0, 0]
    assert mse().phi(ends, ends).tolist() == [0, 0]
    near = torch.tensor([1e-9, 1 - 1e-9], dtype=torch.float64)
    assert cross_entropy().gamma(near, ends).tolist() == pytest.approx([0, 1])
    assert cross_entropy().phi(ends, ends).tolist() == [0, 0]


@pytest.mark.parametrize("loss", [cross_entropy(), gce(0.5)], ids=str)
def test_gamma_at_an_output_of_zero_without_a_label_is_zero(loss: PowerLoss) -> None:
    assert loss.gamma(torch.zeros(2), torch.tensor([0.0, 0.0])).tolist() == [0, 0]


def test_series_of_cross_entropy_is_of_third_order() -> None:
    """The remainder about (½, ½) falls sixteenfold when the distance halves; terms of y alone are left out."""
    loss, angle = taylor(CROSS_ENTROPY_SERIES), torch.linspace(0, 2 * math.pi, 25, dtype=torch.float64)

    def remainder(radius: float) -> float:
        h, y = 0.5 + radius * angle.cos(), 0.5 + radius * angle.sin()
        return (loss.phi(h, y) - y * (2 * h).log()).abs().max().item()

    assert remainder(0.02) / remainder(0.01) == pytest.approx(16, rel=0.1)


# What acts and what does not.


@pytest.mark.parametrize("case", [*TAYLOR, PUBLISHED, BAIKAL, CROSS_ENTROPY], ids=str)
@every_label
def test_a_constant_in_gamma_is_inert(case: Case, labels: str) -> None:
    logits, targets, _ = batch(MIXED_CLASSES, labels)
    loss = case.build(MIXED_CLASSES)
    shifted = loss + term(1, 0, c=1e6)
    assert torch.equal(shifted.logit_gradient(logits, targets), loss.logit_gradient(logits, targets))
    assert_near(
        autograd(lambda f: shifted.value(f, targets), logits), autograd(lambda f: loss.value(f, targets), logits)
    )
    assert_near(shifted.value(logits, targets), loss.value(logits, targets) - 1e6)


@pytest.mark.parametrize("power", [0, 1, 2, 3])
@every_label
def test_terms_without_the_output_change_the_value_and_not_the_gradient(power: int, labels: str) -> None:
    logits, targets, y = batch(MIXED_CLASSES, labels)
    loss = taylor(random_lambda(3))
    shifted = loss + term(0, power, c=-5)
    assert torch.equal(shifted.logit_gradient(logits, targets), loss.logit_gradient(logits, targets))
    assert_near(shifted.value(logits, targets), loss.value(logits, targets) + 5 * (y**power).sum(-1))


@pytest.mark.parametrize("index", range(8))
def test_each_lambda_but_the_linear_one_acts(index: int) -> None:
    logits, targets, _ = batch(MIXED_CLASSES, "soft")
    lam = random_lambda(3)
    moved = [x + (0.1 if i == index else 0) for i, x in enumerate(lam)]
    before, after = (taylor(x).logit_gradient(logits, targets) for x in (lam, moved))
    if index == 2:
        assert_near(after, before)
    else:
        assert_differs(after, before)


@pytest.mark.parametrize("order", ORDERS)
@every_label
def test_exactly_so_many_coefficients_act(order: int, labels: str) -> None:
    """The rank of the gradient as a linear map of λ2, …: one less than their number, and one power of y if hard."""
    logits, targets, _ = batch(MIXED_CLASSES, labels, samples=12)
    length = taylor_length(order)
    rows = torch.zeros(length - 2, length, dtype=torch.float64)
    rows[:, 2:] = torch.eye(length - 2, dtype=torch.float64)
    gradients = taylor(rows, order).logit_gradient(logits.expand(length - 2, -1, -1), targets).flatten(1)
    scaled = gradients / gradients.norm(dim=1, keepdim=True).clamp(min=1e-12)
    acting = order * (order + 1) // 2 - 1 if labels == "soft" else 2 * order - 2
    assert torch.linalg.matrix_rank(scaled, rtol=1e-9).item() == acting


@given(
    st.lists(st.floats(-3, 3), min_size=6, max_size=6),
    st.tuples(st.floats(-3, 3), st.floats(-3, 3), st.floats(-3, 3)),
    st.sampled_from(LABELS),
)
def test_the_centers_are_free(c: list[float], free: tuple[float, float, float], labels: str) -> None:
    """For any λ0, λ1 (and λ2) some λ has the same learning rule, c1 apart."""
    a, b, l2 = free
    _, ch, chh, chy, cy, cyy = c
    l4, l6, l7 = chh / 3, chy / 2, cyy
    lam = [a, b, l2, (ch + 2 * l6 * a + 6 * b * l4) / 2, l4, cy + 2 * b * l6 + 2 * l7 * a, l6, l7]
    logits, targets, _ = batch(4, labels, 3)
    expected = learning_rule(*c).logit_gradient(logits, targets)
    torch.testing.assert_close(taylor(lam).logit_gradient(logits, targets), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", ["ch", "chh", "chy", "cy", "cyy"])
@pytest.mark.parametrize("n", [3, 10, 100])
@every_label
def test_each_of_the_coefficients_acts(name: str, n: int, labels: str) -> None:
    logits, targets, _ = batch(n, labels)
    coefficients = {"ch": -2.0, "chh": 0.5, "chy": 1.0, "cy": 1.5, "cyy": -0.3}
    before = learning_rule(**coefficients).logit_gradient(logits, targets)
    coefficients[name] += 0.5
    assert_differs(learning_rule(**coefficients).logit_gradient(logits, targets), before)


@every_size
def test_one_hot_labels_see_only_the_sum_of_cy_and_cyy(n: int) -> None:
    """With two classes soft labels do as well: y² − y is the same for both."""
    first, second = learning_rule(ch=-1, chy=0.5, cy=2, cyy=1), learning_rule(ch=-1, chy=0.5, cy=-1, cyy=4)
    logits, hard, _ = batch(n, "hard")
    assert_near(first.logit_gradient(logits, hard), second.logit_gradient(logits, hard))
    assert_near(first.value(logits, hard), second.value(logits, hard))
    logits, soft, _ = batch(n, "soft")
    compare = assert_near if n == 2 else assert_differs
    compare(first.logit_gradient(logits, soft), second.logit_gradient(logits, soft))


@pytest.mark.parametrize(
    "move",
    [{"ch": 0.7, "chh": -0.7}, {"cy": 0.7, "ch": 0.7, "chy": -1.4}],
    ids=["ch against chh", "t against ch and chy"],
)
def test_two_classes_see_two_numbers_only(move: dict[str, float]) -> None:
    start = {"ch": -2.0, "chh": 0.5, "chy": 1.0, "cy": 1.5}
    first, second = learning_rule(**start), learning_rule(**{k: v + move.get(k, 0) for k, v in start.items()})
    logits, targets, _ = batch(2)
    assert_near(first.logit_gradient(logits, targets), second.logit_gradient(logits, targets))
    logits, targets, _ = batch(3)
    assert_differs(first.logit_gradient(logits, targets), second.logit_gradient(logits, targets))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (poly(0.5), poly(0.6)),
        (gce(0.5), gce(0.6)),
        (focal(1), focal(2)),
        (cross_entropy().smoothed(0.1, MIXED_CLASSES), cross_entropy().smoothed(0.2, MIXED_CLASSES)),
        (cross_entropy() + 0.1 * mae(), cross_entropy() + 0.2 * mae()),
        (2 * mse(), 3 * mse()),
    ],
    ids=["poly", "GCE", "focal", "smoothing", "weight of a summand", "factor"],
)
@every_label
def test_each_setting_of_a_baseline_acts(first: PowerLoss, second: PowerLoss, labels: str) -> None:
    logits, targets, _ = batch(MIXED_CLASSES, labels)
    assert_differs(first.logit_gradient(logits, targets), second.logit_gradient(logits, targets))
    assert_differs(first.value(logits, targets), second.value(logits, targets))
    assert first != second


# Limits and equivalences.


@every_size
@every_label
def test_taylor_with_mses_lambda_is_mse(n: int, labels: str) -> None:
    logits, targets, y = batch(n, labels)
    assert_near(taylor(MSE).logit_gradient(logits, targets), mse().logit_gradient(logits, targets))
    assert_near(taylor(MSE).value(logits, targets) + (y**2).sum(-1), mse().value(logits, targets))


@pytest.mark.parametrize("q", [1e-2, 1e-4, 1e-6])
@every_label
def test_generalized_cross_entropy_tends_to_cross_entropy(q: float, labels: str) -> None:
    """(h^q − 1)/q = log h + q (log h)²/2 + O(q²), and 1/q times the rounding of h^q."""
    logits, targets, y = batch(MIXED_CLASSES, labels)
    rounding = 1e-15 / q
    value = gce(q).value(logits, targets) - cross_entropy().value(logits, targets)
    bound = (y * logits.log_softmax(-1) ** 2).sum(-1) * q / 2
    assert bool((value <= rounding).all())
    assert bool((value >= -bound - rounding).all())
    difference = gce(q).logit_gradient(logits, targets) - cross_entropy().logit_gradient(logits, targets)
    assert difference.abs().max() <= q * logits.log_softmax(-1).abs().max()
    assert difference.abs().max() > 0


def test_losses_that_are_one_and_the_same() -> None:
    assert gce(1) == mae()
    assert focal(0) == cross_entropy()
    assert poly(0) == cross_entropy()
    assert cross_entropy() + mae() == poly(1)
    assert mse() * 1 == mse()
    assert taylor([0, 0, 0, 0, 0, 1, 0, 0]) != mae()
    assert taylor([0, 0, 0, 0, 0, 1, 0, 0]) + term(0, 1, c=-1) == mae()
    assert taylor(MSE) + term(0, 2, c=-1) == mse()
    assert taylor([*random_lambda(2)[:4], 0, random_lambda(2)[4], 0, 0]) == taylor(random_lambda(2), 2)


@every_plain_case
@every_label
def test_smoothing_by_nothing_is_the_loss_itself(case: Case, labels: str) -> None:
    logits, targets, _ = batch(MIXED_CLASSES, labels)
    loss = case.build(MIXED_CLASSES)
    none = loss.smoothed(0, MIXED_CLASSES)
    assert none == loss
    assert torch.equal(none.value(logits, targets), loss.value(logits, targets))
    assert torch.equal(none.logit_gradient(logits, targets), loss.logit_gradient(logits, targets))


@every_case
@every_label
@settings(max_examples=12)
@given(alpha=st.floats(0.001, 1), n=st.integers(2, 12), seed=st.integers(0, 99))
def test_smoothed_loss_is_the_loss_at_smoothed_labels(case: Case, labels: str, alpha: float, n: int, seed: int) -> None:
    logits, targets, y = batch(n, labels, 3, seed)
    loss = case.build(n)
    soft = (1 - alpha) * y + alpha / n
    scale = loss.coefficients.abs().sum().item()
    assert_near(loss.smoothed(alpha, n).value(logits, targets), loss.value(logits, soft), 1e-13, n * scale)
    gradient = loss.smoothed(alpha, n).logit_gradient(logits, targets)
    assert_near(gradient, loss.logit_gradient(logits, soft), 1e-13, n * scale)


@every_plain_case
def test_full_smoothing_forgets_the_labels(case: Case) -> None:
    logits, targets, _ = batch(MIXED_CLASSES)
    loss = case.build(MIXED_CLASSES).smoothed(1, MIXED_CLASSES)
    assert torch.equal(loss.value(logits, targets), loss.value(logits, (targets + 1) % MIXED_CLASSES))


@pytest.mark.parametrize("case", [CROSS_ENTROPY, BRIER, *TAYLOR], ids=str)
def test_smoothing_twice_is_smoothing_once(case: Case) -> None:
    loss = case.build(MIXED_CLASSES)
    twice = loss.smoothed(0.2, MIXED_CLASSES).smoothed(0.3, MIXED_CLASSES)
    once = loss.smoothed(1 - 0.8 * 0.7, MIXED_CLASSES)
    assert set(twice.terms) == set(once.terms)
    for labels in LABELS:
        logits, targets, _ = batch(MIXED_CLASSES, labels)
        assert_near(twice.logit_gradient(logits, targets), once.logit_gradient(logits, targets))


@given(st.lists(st.floats(-10, 10), min_size=6, max_size=6), st.floats(0.01, 1), st.integers(2, 100))
def test_smoothing_is_inside_the_family(c: list[float], alpha: float, n: int) -> None:
    c1, ch, chh, chy, cy, cyy = c
    found = rule_coefficients(learning_rule(*c).smoothed(alpha, n))
    shared = {
        "c1": c1 + cy * alpha / n + cyy * alpha**2 / n**2,
        "ch": ch + chy * alpha / n,
        "chh": chh,
        "chy": chy * (1 - alpha),
    }
    exact = {**shared, "cy": (1 - alpha) * (cy + 2 * alpha * cyy / n), "cyy": (1 - alpha) ** 2 * cyy}
    assert found == pytest.approx(exact, rel=1e-12, abs=1e-12)
    papers = {**shared, "cy": cy * (1 - alpha), "cyy": cyy * ((1 - alpha * (n - 1) / n) ** 2 - alpha**2 / n**2)}
    assert found["cy"] + found["cyy"] == pytest.approx(papers["cy"] + papers["cyy"], rel=1e-11, abs=1e-11)
    h = torch.linspace(0.01, 0.99, 9, dtype=torch.float64)
    for label in (0.0, 1.0):
        y = torch.full_like(h, label)
        torch.testing.assert_close(
            learning_rule(*found.values()).gamma(h, y), learning_rule(*papers.values()).gamma(h, y), rtol=0, atol=1e-11
        )


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0])
def test_smoothed_cross_entropy_is_pytorchs(alpha: float) -> None:
    logits, targets, _ = batch(MIXED_CLASSES)
    expected = functional.cross_entropy(logits, targets, reduction="none", label_smoothing=alpha)
    assert_near(cross_entropy().smoothed(alpha, MIXED_CLASSES).value(logits, targets), expected)


def test_residual_coordinates_hold_label_smoothing() -> None:
    """γ = y/h + (x0/n)/h with x0 = α/(1−α) is cross-entropy smoothed by α, up to the factor 1−α (theory.md §2)."""
    alpha, n = 0.3, 10
    residual = cross_entropy() + term(0, 0, 1, alpha / (1 - alpha) / n)
    logits, targets, _ = batch(n)
    expected = cross_entropy().smoothed(alpha, n).value(logits, targets)
    assert_near((1 - alpha) * residual.value(logits, targets), expected)


@every_plain_case
@every_label
def test_the_family_is_linear(case: Case, labels: str) -> None:
    logits, targets, _ = batch(5, labels)
    first, second = case.build(5), poly(0.7)
    total = 2 * first + second * -0.5
    for one, two, both in (
        (first.value, second.value, total.value),
        (first.logit_gradient, second.logit_gradient, total.logit_gradient),
    ):
        assert_near(both(logits, targets), 2 * one(logits, targets) - 0.5 * two(logits, targets))


# Extreme logits.


def extreme_logits(n: int, size: float = 1e4) -> tuple[Tensor, Tensor]:
    """Logits with the target, class 0 or the last, far above, far below, beside and among the others."""
    first = torch.eye(n, dtype=torch.float64)[0]
    second = torch.eye(n, dtype=torch.float64)[1]
    small = torch.linspace(-1, 1, n, dtype=torch.float64)
    rows = [size * first, -size * first, size * (1 - first), -size * (1 - first), size * (first - second)]
    rows += [size * (second - first), torch.full_like(first, size), torch.full_like(first, -size), small]
    rows += [size * first + small, small - size * first, size * small, -size * small, 50 * (second - first)]
    logits = torch.stack(rows)
    return torch.cat([logits, logits]), torch.tensor([0] * len(rows) + [n - 1] * len(rows))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("n", [2, 3, MIXED_CLASSES])
@every_label
@every_case
def test_extreme_logits_alone(case: Case, n: int, dtype: torch.dtype, labels: str) -> None:
    logits, targets = extreme_logits(n)
    logits, y = logits.to(dtype), targets
    if labels == "soft":
        y = 0.7 * functional.one_hot(targets, n).to(dtype) + 0.3 / n
    loss = case.build(n)
    value, closed = loss.value(logits, y), loss.logit_gradient(logits, y)
    gradient = autograd(lambda f: loss.value(f, y), logits)
    for found in (value, closed, gradient):
        assert bool(found.isfinite().all())
    exact = loss.logit_gradient(logits.double(), y.double() if labels == "soft" else y)
    tolerance = 1e-5 if dtype != torch.bfloat16 else 1e-2
    # e^40 turns the last digit of a logit of float32 into 1e-5 of the gradient, and large constants cancel.
    for row in range(len(logits)):
        scale = exact[row].abs().max().item() + loss.coefficients.abs().sum().item()
        torch.testing.assert_close(closed[row].double(), exact[row], rtol=0, atol=tolerance * scale)
        torch.testing.assert_close(gradient[row].double(), exact[row], rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@every_label
def test_extreme_logits_in_a_mixed_population(dtype: torch.dtype, labels: str) -> None:
    n = MIXED_CLASSES
    logits, targets = extreme_logits(n)
    members = [case.build(n) for case in CASES]
    population = PowerLoss.stack(members)
    f = logits.to(dtype).expand(len(members), -1, -1)
    y = targets if labels == "hard" else 0.7 * functional.one_hot(targets, n).to(dtype) + 0.3 / n
    value, closed = population.value(f, y), population.logit_gradient(f, y)
    gradient = autograd(lambda f: population.value(f, y), f)
    for found in (value, closed, gradient):
        assert bool(found.isfinite().all())
    for index, member in enumerate(members):
        assert_near(value[index], member.value(f[0], y), 1e-5)
        # Half precision is rounded once, from values that agree in float32.
        tolerance = 2e-6 if dtype == torch.float32 else torch.finfo(dtype).eps
        assert_near(closed[index], member.logit_gradient(f[0], y), tolerance)
        assert_near(gradient[index], autograd(lambda f, m=member: m.value(f, y), f[0]), max(tolerance, 1e-5))  # type: ignore[misc]


def test_wrong_at_ten_thousand_still_pushes() -> None:
    """The target at −1e4: cross-entropy's slope is −1 there, Baikal's the slope at its floor."""
    logits = torch.tensor([[-1e4, 0.0, 0.0]])
    target = torch.tensor([0])
    torch.testing.assert_close(cross_entropy().logit_gradient(logits, target), torch.tensor([[-1.0, 0.5, 0.5]]))
    gradient = baikal().logit_gradient(logits, target)
    torch.testing.assert_close(gradient, math.exp(40) * torch.tensor([[-1.0, 0.5, 0.5]]), rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_masked_classes_count_for_nothing_in_cross_entropy(dtype: torch.dtype) -> None:
    logits, targets, y = batch(6)
    masked = (targets[:, None] + torch.tensor([1, 3])) % 6
    logits = logits.to(dtype).scatter(-1, masked, -math.inf)
    expected = functional.cross_entropy(
        logits.float() if dtype == torch.bfloat16 else logits, targets, reduction="none"
    )
    torch.testing.assert_close(cross_entropy().value(logits, targets), expected)
    slope = logits.float().softmax(-1).to(dtype) - y.to(dtype)
    for labels in (targets, y.to(dtype)):
        torch.testing.assert_close(cross_entropy().logit_gradient(logits, labels), slope)
        torch.testing.assert_close(autograd(lambda f, t=labels: cross_entropy().value(f, t), logits), slope)  # type: ignore[misc]
    assert bool((slope.gather(-1, masked) == 0).all())


@pytest.mark.parametrize("case", [CROSS_ENTROPY, BRIER, PUBLISHED, *FOCAL, *TAYLOR], ids=str)
def test_masked_classes_leave_a_mixed_population_finite(case: Case) -> None:
    """Baikal beside them has a term in every class; it must not make 0·∞ for those that have none."""
    logits, targets, _ = batch(6)
    logits = logits.float().scatter(-1, (targets[:, None] + 1) % 6, -math.inf)
    population = PowerLoss.stack([case.build(6), baikal()])
    pair = logits.expand(2, -1, -1)
    for alone, together in (
        (case.build(6).value(logits, targets), population.value(pair, targets)[0]),
        (case.build(6).logit_gradient(logits, targets), population.logit_gradient(pair, targets)[0]),
        (
            autograd(lambda f: case.build(6).value(f, targets), logits),
            autograd(lambda f: population.value(f, targets)[:1], pair)[0],
        ),
    ):
        assert_near(together, alone, 2e-6)


def test_nan_logits_stay_nan() -> None:
    """A diverged network is seen, not repaired, and only its own samples are lost."""
    logits, targets, _ = batch(4)
    logits[2, 1] = math.nan
    for case in PLAIN:
        loss = case.build(4)
        for found in (loss.value(logits, targets), loss.logit_gradient(logits, targets).sum(-1)):
            assert found.isnan().tolist() == [row == 2 for row in range(len(logits))]


# Accuracy of large constants, and negative powers beyond their floor.


@pytest.mark.parametrize("labels", LABELS)
def test_a_huge_constant_costs_no_accuracy_in_float32(labels: str) -> None:
    logits, targets, _ = batch(MIXED_CLASSES, labels, samples=200)
    logits = logits.float()
    targets = targets if labels == "hard" else targets.float()
    exact_targets = targets if labels == "hard" else targets.double()
    loss = taylor(MNIST)
    without = learning_rule(**{**equation_12(MNIST), "c1": 0.0})
    exact = without.logit_gradient(logits.double(), exact_targets)
    assert equation_12(MNIST)["c1"] > 1900
    for found in (loss.logit_gradient(logits, targets), autograd(lambda f: loss.value(f, targets), logits)):
        assert_near(found.double(), exact, 1e-6)
    # The plain form h·γ(h, y), with c1 in it, is what this is saved from.
    h = logits.softmax(-1)
    y = targets if labels == "soft" else functional.one_hot(targets, MIXED_CLASSES).float()
    c1, ch, chh, chy, cy, cyy = equation_12(MNIST).values()
    g = h * (c1 + ch * h + chh * h**2 + chy * h * y + cy * y + cyy * y**2)
    naive = (h * g.sum(-1, keepdim=True) - g).double()
    found = loss.logit_gradient(logits, targets).double()
    assert (found - exact).abs().mean() < (naive - exact).abs().mean() / 2


NEGATIVE = [(-0.5, 0), (-1.0, 0), (-2.0, 0), (-1.0, 1), (-2.5, 1)]


@pytest.mark.parametrize(("exponent", "log"), NEGATIVE)
def test_negative_powers_continue_along_their_tangent(exponent: float, log: int) -> None:
    floor = -powers.LARGEST_EXPONENT / abs(exponent)
    above = floor + torch.tensor([0.0, 1e-9, 0.1, 1, 10], dtype=torch.float64)
    above = above[above < 0]
    plain = torch.exp(exponent * above) * above**log
    torch.testing.assert_close(powers.power(above, exponent, log), plain, rtol=1e-13, atol=0)
    below = floor - torch.tensor([0.0, 1e-9, 1, 1e2, 1e4, 1e6], dtype=torch.float64)
    slope = powers.slope(below, exponent, log)
    assert bool((slope == slope[0]).all())
    assert abs(slope[0].item()) == pytest.approx(math.exp(40) * (abs(exponent * floor + 1) if log else abs(exponent)))
    line = powers.power(below[:1], exponent, log) + slope * (below - floor)
    torch.testing.assert_close(powers.power(below, exponent, log), line, rtol=1e-13, atol=0)


@pytest.mark.parametrize(("exponent", "log"), [*NEGATIVE, (0.0, 1), (0.3, 0), (1.0, 0), (1.0, 1), (3.0, 1)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_slope_is_autograd_of_power_on_both_sides_of_the_floor(exponent: float, log: int, dtype: torch.dtype) -> None:
    x = -torch.tensor([0, 1e-3, 1, 15.9, 16, 16.1, 20, 30, 39.9, 40, 40.1, 79, 80, 81, 1e3, 1e4, 1e18], dtype=dtype)
    expected = autograd(lambda x: powers.power(x, exponent, log), x)
    torch.testing.assert_close(powers.slope(x, exponent, log), expected, rtol=20 * torch.finfo(dtype).eps, atol=0)
    assert bool(powers.power(x, exponent, log).isfinite().all())


def test_value_and_gradient_are_continuous_across_the_floor() -> None:
    """Baikal with the target output at e^−40 (theory.md §2): value and gradient share one floor."""
    steps = torch.tensor([-1e-6, 0, 1e-6], dtype=torch.float64)
    logits = torch.zeros(3, 2, dtype=torch.float64)
    logits[:, 0] = -powers.LARGEST_EXPONENT + steps
    targets = torch.zeros(3, dtype=torch.long)
    value, gradient = baikal().value(logits, targets), baikal().logit_gradient(logits, targets)
    assert_near(gradient, autograd(lambda f: baikal().value(f, targets), logits))
    assert_near(gradient, gradient[1].expand(3, 2), 2e-6)
    quotient = (value[2] - value[0]) / (logits[2, 0] - logits[0, 0])
    assert quotient.item() == pytest.approx(gradient[1, 0].item(), rel=2e-6)
    assert value[1].item() == pytest.approx(math.exp(40) + 40, rel=1e-12)


@given(st.floats(-200, 60), st.integers(2, 5))
def test_baikal_value_and_closed_form_agree_on_every_side(gap: float, n: int) -> None:
    logits = torch.zeros(1, n, dtype=torch.float64)
    logits[0, 0] = gap
    for targets in (torch.tensor([0]), torch.tensor([[0.8, 0.2, *[0.0] * (n - 2)]], dtype=torch.float64)):
        closed = baikal().logit_gradient(logits, targets)
        assert_near(closed, autograd(lambda f, t=targets: baikal().value(f, t), logits), 1e-11)  # type: ignore[misc]


# Populations.


def everything() -> tuple[list[PowerLoss], PowerLoss]:
    members = [case.build(MIXED_CLASSES) for case in CASES]
    return members, PowerLoss.stack(members)


@every_label
def test_members_of_a_population_are_the_losses_alone(labels: str) -> None:
    members, population = everything()
    logits, targets, _ = batch(MIXED_CLASSES, labels)
    f = logits + torch.arange(len(members), dtype=torch.float64)[:, None, None] * logits.flip(0) / 50
    value, gradient = population.value(f, targets), population.logit_gradient(f, targets)
    by_autograd = autograd(lambda f: population.value(f, targets), f)
    assert population.shape == (len(members),)
    for index, member in enumerate(members):
        assert_near(value[index], member.value(f[index], targets))
        assert_near(gradient[index], member.logit_gradient(f[index], targets))
        assert_near(by_autograd[index], member.logit_gradient(f[index], targets))


@every_label
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("samples", [1, 5, 32])
def test_permuted_members_give_permuted_results_bit_for_bit(labels: str, dtype: torch.dtype, samples: int) -> None:
    members, population = everything()
    logits, targets, _ = batch(MIXED_CLASSES, labels, samples=samples)
    f = (logits + torch.arange(len(members), dtype=torch.float64)[:, None, None] / 7 * logits.flip(0)).to(dtype)
    y = targets if labels == "hard" else targets.to(dtype)
    order = torch.randperm(len(members), generator=torch.Generator().manual_seed(4))
    assert torch.equal(population[order].value(f[order], y), population.value(f, y)[order])
    assert torch.equal(population[order].logit_gradient(f[order], y), population.logit_gradient(f, y)[order])


def test_permuted_summands_of_a_stack_give_the_same_population() -> None:
    members, population = everything()
    order = torch.randperm(len(members), generator=torch.Generator().manual_seed(5)).tolist()
    assert PowerLoss.stack([members[index] for index in order]) == population[order]


def test_indexing_a_population() -> None:
    members, population = everything()
    assert len(population) == len(members)
    # One smoothed member makes the population one for 10 classes, and its members with it.
    members = [replace(member, classes=MIXED_CLASSES) for member in members]
    assert all(population[index] == member for index, member in enumerate(members))
    assert population[-1] == members[-1]
    assert population[-1].shape == ()
    assert population[2:5] == PowerLoss.stack(members[2:5])
    assert population[torch.tensor([3, 0, 3])] == PowerLoss.stack([members[3], members[0], members[3]])
    assert population[[1, 2]] == PowerLoss.stack(members[1:3])
    mask = torch.arange(len(members)) < 2
    assert population[mask] == PowerLoss.stack(members[:2])
    assert len(population[:0]) == 0
    assert list(population[:3]) == members[:3]  # type: ignore[call-overload]
    with pytest.raises(IndexError):
        population[len(members)]


def test_a_population_of_one_and_a_population_of_populations() -> None:
    one = PowerLoss.stack([baikal()])
    assert one.shape == (1,)
    assert one[0] == baikal()
    grid = PowerLoss.stack([PowerLoss.stack([mse(), baikal()]), PowerLoss.stack([focal(2), gce(0.5)])])
    assert grid.shape == (2, 2)
    assert grid[1] == PowerLoss.stack([focal(2), gce(0.5)])
    logits, targets, _ = batch(4)
    f = logits.expand(2, 2, -1, -1)
    for index, members in enumerate([[mse(), baikal()], [focal(2), gce(0.5)]]):
        for place, member in enumerate(members):
            assert_near(grid.value(f, targets)[index, place], member.value(logits, targets))
            assert_near(grid.logit_gradient(f, targets)[index, place], member.logit_gradient(logits, targets))


@pytest.mark.parametrize("order", ORDERS)
def test_rows_of_lambda_are_members(order: int) -> None:
    rows = [random_lambda(order, seed) for seed in range(6)]
    for lam in (rows, np.array(rows), torch.tensor(rows, dtype=torch.float64)):
        population = taylor(lam, order)
        assert population.shape == (6,)
        assert population == PowerLoss.stack([taylor(row, order) for row in rows])
    assert taylor(np.array(rows).reshape(2, 3, -1), order).shape == (2, 3)
    assert taylor(torch.tensor(rows[0], dtype=torch.float64), order) == taylor(rows[0], order)


def test_lambda_is_copied() -> None:
    lam = torch.tensor(MNIST, dtype=torch.float64)
    array = np.array(MNIST)
    losses = taylor(lam), taylor(array)
    lam.zero_()
    array[:] = 0
    assert all(loss == taylor(MNIST) for loss in losses)


def test_sums_and_factors_of_populations() -> None:
    members = [mse(), baikal(), taylor(MNIST)]
    population = PowerLoss.stack(members)
    assert population + mae() == PowerLoss.stack([member + mae() for member in members])
    assert mae() + population == population + mae()
    assert population + population == 2 * population
    assert population * -1 == -1 * population
    factors = torch.tensor([2.0, -1, 0.5], dtype=torch.float64)
    expected = PowerLoss.stack([2 * members[0], -1 * members[1], 0.5 * members[2]])
    for scaled in (
        population * factors,
        factors * population,
        population * factors.numpy(),
        factors.numpy() * population,
    ):
        assert scaled == expected
    assert mse() * factors == PowerLoss.stack([2 * mse(), -1 * mse(), 0.5 * mse()])
    halves: list[Any] = [0.5, np.float64(0.5), np.float32(0.5), torch.tensor(0.5), np.array(0.5)]
    for half in halves:
        assert population * half == PowerLoss.stack([0.5 * member for member in members])
        assert half * population == population * half
        assert half * mse() == 0.5 * mse()


def test_a_population_can_be_smoothed() -> None:
    members = [mse(), baikal(), taylor(random_lambda(4), 4)]
    for labels in LABELS:
        logits, targets, _ = batch(7, labels)
        f = logits.expand(3, -1, -1)
        found = PowerLoss.stack(members).smoothed(0.2, 7)
        assert found.classes == 7
        for index, member in enumerate(members):
            assert_near(found.value(f, targets)[index], member.smoothed(0.2, 7).value(logits, targets))
            assert_near(
                found.logit_gradient(f, targets)[index], member.smoothed(0.2, 7).logit_gradient(logits, targets)
            )


@every_label
def test_logits_and_targets_broadcast_with_the_population(labels: str) -> None:
    members = [mse(), baikal(), taylor(random_lambda(3)), cross_entropy(), PowerLoss((), torch.zeros(0))]
    population = PowerLoss.stack(members)
    logits, targets, _ = batch(6, labels)
    count = len(members)
    full = torch.stack([member.value(logits, targets) for member in members])
    gradient = torch.stack([member.logit_gradient(logits, targets) for member in members])
    for f in (logits, logits[None], logits.expand(count, -1, -1)):
        for y in (targets, targets[None], targets.expand(count, *targets.shape)):
            assert_near(population.value(f, y), full)
            assert_near(population.logit_gradient(f, y), gradient)
    each = torch.stack([targets.roll(shift, 0) for shift in range(count)])
    for f in (logits, logits[None], logits.expand(count, -1, -1)):
        for index, member in enumerate(members):
            assert_near(population.value(f, each)[index], member.value(logits, each[index]))
            assert_near(population.logit_gradient(f, each)[index], member.logit_gradient(logits, each[index]))
    assert_near(mse().value(logits, each), torch.stack([mse().value(logits, y) for y in each]))
    assert_near(mse().logit_gradient(logits, each), torch.stack([mse().logit_gradient(logits, y) for y in each]))


def test_targets_of_each_member() -> None:
    population = PowerLoss.stack([mse(), baikal(), focal(1)])
    logits, _, _ = batch(6)
    f = logits + torch.arange(3.0)[:, None, None]
    y = torch.randint(6, (3, 7), generator=torch.Generator().manual_seed(6))
    for index in range(3):
        assert_near(population.value(f, y)[index], population[index].value(f[index], y[index]))
        assert_near(population.logit_gradient(f, y)[index], population[index].logit_gradient(f[index], y[index]))


@pytest.mark.parametrize("size", [3, 5])
def test_members_broadcast_in_gamma_and_phi(size: int) -> None:
    members = [mse(), baikal(), taylor(MNIST)]
    population = PowerLoss.stack(members)
    h = torch.linspace(0.05, 0.95, size, dtype=torch.float64)
    y = (h > 0.5).double()
    for index, member in enumerate(members):
        assert_near(population.phi(h.expand(3, -1), y)[index], member.phi(h, y))
        assert_near(population.gamma(h.expand(3, -1), y)[index], member.gamma(h, y))
        assert_near(population.gamma(h[None, :], y)[index], member.gamma(h, y))
    scalar = population.gamma(h[0], y[0])
    assert scalar.tolist() == pytest.approx([member.gamma(h[0], y[0]).item() for member in members])


def test_a_loss_without_terms() -> None:
    nothing = mse() + -1 * mse()
    assert nothing == PowerLoss((), torch.zeros(0))
    logits, targets, y = batch(4)
    for labels in (targets, y):
        assert nothing.value(logits, labels).tolist() == [0] * len(logits)
        assert torch.equal(nothing.logit_gradient(logits, labels), torch.zeros_like(logits))
    pair = PowerLoss.stack([nothing, nothing])
    assert pair.shape == (2,)
    assert torch.equal(pair.logit_gradient(logits.expand(2, -1, -1), targets), torch.zeros(2, *logits.shape).double())
    assert PowerLoss.stack([nothing, mse()])[1] == mse()


def test_empty_batch() -> None:
    members, population = everything()
    logits, targets = torch.zeros(0, MIXED_CLASSES), torch.zeros(0, dtype=torch.long)
    for y in (targets, logits):
        assert members[0].value(logits, y).shape == (0,)
        assert members[0].logit_gradient(logits, y).shape == (0, MIXED_CLASSES)
        many = logits.expand(len(members), -1, -1)
        assert population.value(many, y).shape == (len(members), 0)
        assert population.logit_gradient(many, y).shape == (len(members), 0, MIXED_CLASSES)


@every_label
def test_a_prepared_gradient_rule_is_the_closed_form(labels: str) -> None:
    members, population = everything()
    logits, targets, _ = batch(MIXED_CLASSES, labels)
    f = logits.expand(len(members), -1, -1)
    rule = population.gradient_rule(f)
    assert torch.equal(rule(f, targets), population.logit_gradient(f, targets))
    assert torch.equal(rule(f + 1, targets), population.logit_gradient(f + 1, targets))


# A loss as a value.


def test_a_loss_is_frozen_and_kept_in_float64() -> None:
    loss = taylor(torch.tensor(MNIST))
    assert loss.coefficients.dtype == torch.float64
    with pytest.raises(FrozenInstanceError):
        loss.name = "another"  # type: ignore[misc]
    with pytest.raises(TypeError, match="unhashable"):
        hash(loss)


def test_equality_sees_terms_classes_and_shape_and_nothing_else() -> None:
    turned = PowerLoss(
        (Term(2, 0, 0), Term(5, 0, 0), Term(0, 2, 0), Term(1, 1, 0)), torch.tensor([-1.0, 0, -1, 2]), None, "x"
    )
    assert turned == mse()
    assert mse() != mse().smoothed(0.1, 3)
    assert PowerLoss(mse().terms, mse().coefficients, 3) != mse()
    assert PowerLoss.stack([mse()]) != mse()
    assert PowerLoss((), torch.zeros(0)) != PowerLoss((), torch.zeros(2, 0))
    assert mse() != "MSE"
    assert mse() != 2 * mse()


def test_every_loss_is_true() -> None:
    """`loss or default` is the loss, and not an error about its length."""
    assert all(case.build(4) for case in CASES)
    assert PowerLoss.stack([mse()])


@pytest.mark.parametrize(
    ("loss", "formula"),
    [
        (cross_entropy(), "y log h"),
        (mse(), "−h² + 2 h y − y²"),
        (baikal(), "log h − h⁻¹ y"),
        (mae(), "−y + h y"),
        (gce(0.5), "−2 y + 2 h^0.5 y"),
        (focal(2), "y log h − 2 h y log h + h² y log h"),
        (0.25 * cross_entropy(), "0.25 y log h"),
        (term(0, 0, c=-3), "−3"),
        (term(0, 0), "1"),
        (PowerLoss((), torch.zeros(0)), "0"),
        (taylor(MSE), "−h² + 2 h y"),
        (term(12, 0), "h¹²"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_formula(loss: PowerLoss, formula: str) -> None:
    assert loss.formula() == formula
    assert repr(loss) == f"Loss({loss.name!r}, φ = {formula})"


def test_names_say_what_they_are() -> None:
    assert repr(PowerLoss.stack([mse(), baikal()], "two")) == "Loss('two', population [2], 5 terms)"
    assert cross_entropy().smoothed(0.1, 10).name == "cross-entropy smoothed 0.1"
    assert (cross_entropy() + 0.5 * mae()).name == "cross-entropy + 0.5 MAE"
    assert mse().formula(2) == mse().formula()
    assert (math.pi * cross_entropy()).formula(2) == "3.1 y log h"
    with pytest.raises(InputError, match="no single formula"):
        PowerLoss.stack([mse()]).formula()


def test_a_loss_moves_between_devices() -> None:
    assert taylor(MNIST).to("cpu") == taylor(MNIST)
    if torch.cuda.is_available():
        moved = taylor(MNIST).to("cuda")
        assert moved.coefficients.device.type == "cuda"
        assert moved.to("cpu") == taylor(MNIST)


# Errors.


def check_sentence(error: pytest.ExceptionInfo[InputError]) -> None:
    text = str(error.value)
    assert 10 < len(text) < 250
    assert "\n" not in text


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: taylor([0] * 7), "λ has 7 numbers, a Taylor loss of order 3 takes 8"),
        (lambda: taylor([0] * 8, order=2), "λ has 8 numbers, a Taylor loss of order 2 takes 5"),
        (lambda: taylor([]), "λ has 0 numbers"),
        (lambda: taylor(3.0), "λ has 1 numbers"),
        (lambda: taylor(torch.zeros(8, 3)), "λ has 3 numbers"),
        (lambda: taylor([0] * 8, order=1), "order from 2 to 30, not 1"),
        (lambda: taylor([0] * 8, order=2.5), "order from 2 to 30, not 2.5"),  # type: ignore[arg-type]
        (lambda: taylor([0] * 8, order=True), "order from 2 to 30, not True"),
        (lambda: taylor([0] * 8, order=math.nan), "order from 2 to 30, not nan"),  # type: ignore[arg-type]
        (lambda: taylor([0] * 8, order=math.inf), "order from 2 to 30, not inf"),  # type: ignore[arg-type]
        (lambda: taylor([0] * 7 + [math.nan]), "not finite"),
        (lambda: taylor([0] * 7 + [math.inf]), "not finite"),
        (lambda: taylor(["a"] * 8), "λ must be numbers"),
        (lambda: taylor([[0] * 8, [0] * 7]), "λ must be numbers"),
        (lambda: taylor([10**400] * 8), "λ must be numbers"),
        (lambda: taylor([1e200] * 8), "so large that the coefficients of its loss overflow"),
        (lambda: gce(0), r"q in \(0, 1\], not 0"),
        (lambda: gce(1.1), r"q in \(0, 1\], not 1.1"),
        (lambda: gce(math.nan), "not nan"),
        (lambda: poly(math.nan), "finite ε"),
        (lambda: poly(-math.inf), "finite ε"),
        (lambda: focal(-1), "not -1"),
        (lambda: focal(math.inf), "not inf"),
        (lambda: focal(True), "not True"),
        (lambda: focal(math.nan), "not nan"),
        (lambda: focal(2000), "not 2000"),
        (lambda: mse().smoothed(-0.1, 3), "α = -0.1 must lie between 0 and 1"),
        (lambda: mse().smoothed(1.1, 3), "α = 1.1"),
        (lambda: mse().smoothed(math.nan, 3), "α = nan"),
        (lambda: mse().smoothed(0.1, 1), "at least 2 classes, not 1"),
        (lambda: mse().smoothed(0.1, 3).smoothed(0.1, 4), "made for 3 classes and was called with 4"),
        (lambda: PowerLoss((Term(0, 1, 1), Term(0, 1, 1)), torch.ones(2)), "names a term twice"),
        (lambda: PowerLoss((Term(0, 1, 1), Term(0.0, 1, 1)), torch.ones(2)), "names a term twice"),
        (lambda: PowerLoss((Term(0, 1, 1),), torch.ones(2)), "a loss of 1 terms"),
        (lambda: PowerLoss((Term(0, 1, 1),), torch.tensor(1.0)), "a loss of 1 terms"),
        (lambda: PowerLoss((Term(0, 1, 1),), torch.tensor([math.nan])), "not a finite number"),
        (lambda: PowerLoss((Term(math.nan, 1, 1),), torch.ones(1)), r"term \[nan, 1, 1\]"),
        (lambda: PowerLoss((Term(math.inf, 1, 1),), torch.ones(1)), r"term \[inf, 1, 1\]"),
        (lambda: PowerLoss((Term(10**400, 1, 1),), torch.ones(1)), "the term"),
        (lambda: PowerLoss((Term(0, -1, 1),), torch.ones(1)), r"term \[0(.0)?, -1, 1\]"),
        (lambda: PowerLoss((Term(0, 1.7, 1),), torch.ones(1)), r"term \[0(.0)?, 1.7, 1\]"),  # type: ignore[arg-type]
        (lambda: PowerLoss((Term(0, math.nan, 1),), torch.ones(1)), r"term \[0(.0)?, nan, 1\]"),  # type: ignore[arg-type]
        (lambda: PowerLoss((Term(0, 10**9, 1),), torch.ones(1)), r"term \[0(.0)?, 1000000000, 1\]"),
        (lambda: PowerLoss((Term(0, 1, 2),), torch.ones(1)), r"term \[0(.0)?, 1, 2\]"),
        (lambda: PowerLoss((Term(0, 1, 0.5),), torch.ones(1)), r"term \[0(.0)?, 1, 0.5\]"),  # type: ignore[arg-type]
        (lambda: mse() * math.nan, "not a finite number"),
        (lambda: mse() * 1e308 * 10, "not a finite number"),
        (lambda: mse()[0], "one loss, not a population, and cannot be indexed"),
        (lambda: len(mse()), "has no length"),
        (lambda: next(iter(mse())), "cannot be indexed"),
        (lambda: PowerLoss.stack([]), "at least one loss"),
        (lambda: PowerLoss.stack([mse(), PowerLoss.stack([mse()])]), "same population shape"),
        (lambda: PowerLoss.stack([mse().smoothed(0.1, 3), mse().smoothed(0.1, 4)]), r"numbers of classes \(\[3, 4\]\)"),
        (lambda: mse().smoothed(0.1, 3) + mse().smoothed(0.1, 4), r"numbers of classes \(\[3, 4\]\)"),
        (lambda: PowerLoss.stack([mse()] * 2) + PowerLoss.stack([mse()] * 3), r"populations \[2\] and \[3\]"),
        (lambda: PowerLoss.stack([mse()] * 2) * torch.ones(3), r"population \[2\].*\[3\]"),
    ],
)
def test_errors_are_sentences(build: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        build()
    check_sentence(error)


@pytest.mark.parametrize("size", [2, 4])
def test_a_loss_for_other_classes_is_refused(size: int) -> None:
    loss = cross_entropy().smoothed(0.1, 3)
    logits, targets, y = batch(size)
    for call in (loss.value, loss.logit_gradient):
        for labels in (targets, y):
            with pytest.raises(InputError, match=f"made for 3 classes and was called with {size}") as error:
                call(logits, labels)
            check_sentence(error)


def test_classes_are_inherited() -> None:
    loss = cross_entropy().smoothed(0.1, 3)
    assert loss.classes == 3
    assert (loss + mse()).classes == 3
    assert (mse() + loss).classes == 3
    assert (2 * loss).classes == 3
    assert PowerLoss.stack([mse(), loss]).classes == 3
    assert PowerLoss.stack([mse(), loss])[0].classes == 3
    assert (mse() + baikal()).classes is None


@pytest.mark.parametrize("other", [None, 3, "x"])
def test_sums_with_something_else_are_type_errors(other: object) -> None:
    with pytest.raises(TypeError):
        mse() + other  # type: ignore[operator]


def test_floating_point_class_indices_are_refused() -> None:
    logits = torch.zeros(3, 3)
    with pytest.raises(InputError, match="whole numbers"):
        cross_entropy().value(logits, torch.tensor([0.0, 1.0, 2.0]))
    with pytest.raises(InputError, match="whole numbers"):
        cross_entropy().logit_gradient(logits, torch.tensor([0.0, 1.0, 2.0]))


def test_a_loss_keeps_its_coefficients_when_the_given_tensor_changes_or_has_a_gradient() -> None:
    lam = torch.tensor([0.0, 0, 0, -1, 0, 2, 0, 0], dtype=torch.float64, requires_grad=True)
    loss = taylor(lam)
    assert not loss.coefficients.requires_grad
    row = torch.ones(1, dtype=torch.float64)
    kept = PowerLoss((Term(0, 1, 1),), row)
    row.mul_(2)
    assert kept == cross_entropy()
