"""`Criterion` is `torch.nn.CrossEntropyLoss` in every setting, and any other loss behind the same call."""

import copy
import itertools
import math
import shutil
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.autograd import forward_ad
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from lossmith import Criterion, InputError, PowerLoss, baikal, cross_entropy, find, focal, gce, mae, mse, poly, taylor
from lossmith.losses import Term
from lossmith.losses.kernel import Kernel

CLASSES = 5
SHAPES = [(CLASSES,), (4, CLASSES), (3, CLASSES, 6), (2, CLASSES, 3, 2)]
REDUCTIONS = ["mean", "sum", "none"]
MNIST = [-10.9408, 7.5216, 8.2896, 0.2415, 7.8726, 8.9666, 2.0184, 7.0513]
SERIES = [0.5, 0.5, 1, -1, 4 / 3, 2, -2, 0]


def random_taylor(order: int) -> PowerLoss:
    length = {2: 5, 3: 8, 4: 12, 5: 17}[order]
    return taylor(1.2 * torch.randn(length, generator=torch.Generator().manual_seed(order), dtype=torch.float64), order)


LOSSES = [
    cross_entropy(),
    mse(),
    baikal(),
    mae(),
    poly(2),
    poly(-0.5),
    gce(0.05),
    gce(0.7),
    gce(1),
    *(focal(focusing) for focusing in range(5)),
    *(random_taylor(order) for order in (2, 3, 4, 5)),
    taylor(SERIES),
    taylor(MNIST),
    cross_entropy() + 0.5 * mae(),
    -3 * mse(),
    cross_entropy().smoothed(0.1, CLASSES),
    baikal().smoothed(0.2, CLASSES),
    random_taylor(5).smoothed(0.25, CLASSES),
    cross_entropy().smoothed(0.1, CLASSES).smoothed(0.3, CLASSES) + mae().smoothed(0.2, CLASSES),
    PowerLoss((Term(-2, 1, 1), Term(0.5, 2, 1), Term(1, 0, 0), Term(0, 0, 0)), torch.tensor([0.5, -3.0, 2.0, 7.0])),
]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
every_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)
every_label = pytest.mark.parametrize("labels", ["indices", "probabilities"])


def class_dim(shape: tuple[int, ...]) -> int:
    return 0 if len(shape) == 1 else 1


def batch(
    shape: tuple[int, ...], labels: str = "indices", dtype: torch.dtype = torch.float64, seed: int = 0
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    dim = class_dim(shape)
    logits = (1.5 * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)
    if labels == "probabilities":
        return logits, torch.randn(shape, generator=generator, dtype=torch.float64).softmax(dim).to(dtype)
    return logits, torch.randint(shape[dim], shape[:dim] + shape[dim + 1 :], generator=generator)


def class_weights(classes: int = CLASSES, dtype: torch.dtype = torch.float64) -> Tensor:
    return (0.3 + torch.rand(classes, generator=torch.Generator().manual_seed(9), dtype=torch.float64)).to(dtype)


def value_and_gradients(
    criterion: Callable[..., Tensor], logits: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The value, and its gradients by the logits and by class probabilities, under a fixed cotangent."""
    f = logits.detach().clone().requires_grad_()
    y = targets.detach().clone().requires_grad_() if targets.is_floating_point() else targets
    value = criterion(f, y)
    cotangent = torch.linspace(0.5, 1.5, value.numel(), dtype=value.dtype).reshape(value.shape)
    gradients = torch.autograd.grad(value, [f, y] if y.requires_grad else [f], cotangent)
    return value.detach(), gradients[0], gradients[1] if y.requires_grad else None


def assert_equals_pytorch(logits: Tensor, targets: Tensor, **settings: Any) -> None:
    """Value, dtype, shape and gradients; NaN where PyTorch has NaN."""
    ours = value_and_gradients(Criterion(cross_entropy(), **settings), logits, targets)
    theirs = value_and_gradients(nn.CrossEntropyLoss(**settings), logits, targets)
    eps = torch.finfo(logits.dtype).eps
    for found, expected in zip(ours, theirs, strict=True):
        if expected is None:
            assert found is None
        else:
            torch.testing.assert_close(found, expected, rtol=8 * eps, atol=16 * eps, equal_nan=True)


def smoothed_targets(targets: Tensor, shape: tuple[int, ...], alpha: float) -> Tensor:
    if targets.is_floating_point():
        y = targets
    else:
        y = nn.functional.one_hot(targets, shape[class_dim(shape)]).double().movedim(-1, class_dim(shape))
    return (1 - alpha) * y + alpha / shape[class_dim(shape)]


# torch.compile makes an instance of an autograd function, which torch itself has deprecated.
INSTANTIATED = "ignore:.*should not be instantiated:DeprecationWarning"


# Cross-entropy is PyTorch's.


@every_shape
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@every_reduction
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weight"])
@pytest.mark.parametrize("ignore", [-100, 2, -1])
def test_cross_entropy_equals_pytorch_on_indices(
    shape: tuple[int, ...], dtype: torch.dtype, smoothing: float, reduction: str, weighted: bool, ignore: int
) -> None:
    logits, targets = batch(shape, dtype=dtype)
    if ignore < 0 and targets.ndim:
        targets[0] = ignore
    weight = class_weights(dtype=dtype) if weighted else None
    assert_equals_pytorch(
        logits, targets, weight=weight, ignore_index=ignore, reduction=reduction, label_smoothing=smoothing
    )


@every_shape
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@every_reduction
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weight"])
def test_cross_entropy_equals_pytorch_on_probabilities(
    shape: tuple[int, ...], dtype: torch.dtype, smoothing: float, reduction: str, weighted: bool
) -> None:
    logits, targets = batch(shape, "probabilities", dtype)
    weight = class_weights(dtype=dtype) if weighted else None
    assert_equals_pytorch(logits, targets, weight=weight, reduction=reduction, label_smoothing=smoothing)


@every_reduction
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weight"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_a_batch_of_ignored_samples(shape: tuple[int, ...], reduction: str, weighted: bool, smoothing: float) -> None:
    """The mean over nothing is NaN, as PyTorch's is, and its gradient 0."""
    logits, targets = batch(shape)
    settings: dict[str, Any] = {"reduction": reduction, "label_smoothing": smoothing, "ignore_index": 3}
    settings["weight"] = class_weights() if weighted else None
    targets = torch.full_like(targets, 3)
    assert_equals_pytorch(logits, targets, **settings)
    value, gradient, _ = value_and_gradients(Criterion(cross_entropy(), **settings), logits, targets)
    assert bool(value.isnan().all() if reduction == "mean" else (value == 0).all())
    assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("shape", [(0, CLASSES), (0, CLASSES, 3), (2, CLASSES, 0)], ids=str)
@every_reduction
@every_label
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weight"])
def test_an_empty_batch(shape: tuple[int, ...], reduction: str, labels: str, smoothing: float, weighted: bool) -> None:
    logits, targets = batch(shape, labels)
    weight = class_weights() if weighted else None
    assert_equals_pytorch(logits, targets, weight=weight, reduction=reduction, label_smoothing=smoothing)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@every_reduction
@every_label
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weight"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_half_types_come_back_as_pytorch_gives_them(
    dtype: torch.dtype, reduction: str, labels: str, weighted: bool, smoothing: float
) -> None:
    """Computed in float32 and rounded once: at least as near the exact result as PyTorch's own."""
    logits, targets = batch((6, CLASSES), labels, dtype)
    weight = class_weights(dtype=dtype) if weighted else None
    settings: dict[str, Any] = {"reduction": reduction, "label_smoothing": smoothing}
    ours = value_and_gradients(Criterion(cross_entropy(), weight, **settings), logits, targets)
    theirs = value_and_gradients(nn.CrossEntropyLoss(weight, **settings), logits, targets)
    y = targets.double() if targets.is_floating_point() else targets
    weight = None if weight is None else weight.double()
    exact = value_and_gradients(nn.CrossEntropyLoss(weight, **settings), logits.double(), y)
    for found, other, best in zip(ours, theirs, exact, strict=True):
        if best is None:
            assert found is None
            continue
        assert other is not None
        assert found is not None
        assert (found.dtype, found.shape) == (other.dtype, other.shape)
        torch.testing.assert_close(found.double(), best, rtol=torch.finfo(dtype).eps, atol=torch.finfo(dtype).eps / 4)


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_computed_in_float32(loss: PowerLoss, dtype: torch.dtype) -> None:
    logits, targets = batch((6, CLASSES), dtype=dtype)
    criterion = Criterion(loss, reduction="none")
    value, gradient, _ = value_and_gradients(criterion, logits, targets)
    exact, exact_gradient, _ = value_and_gradients(criterion, logits.float(), targets)
    torch.testing.assert_close(value, exact.to(dtype), rtol=torch.finfo(dtype).eps, atol=0)
    scale = exact_gradient.abs().max().item()
    torch.testing.assert_close(gradient.float(), exact_gradient, rtol=0, atol=torch.finfo(dtype).eps * scale)


@pytest.mark.parametrize("ignore", [-100, 3, 156, 255])
def test_bytes_as_class_indices(ignore: int) -> None:
    """Class 156 of a byte is not −100."""
    logits, _ = batch((256, 256), dtype=torch.float32)
    targets = torch.arange(256).to(torch.uint8)
    assert_equals_pytorch(logits, targets, ignore_index=ignore, reduction="none")
    assert_equals_pytorch(logits, targets, ignore_index=ignore, weight=class_weights(256, torch.float32))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.int8, torch.uint8], ids=str)
def test_every_integer_type_holds_class_indices(dtype: torch.dtype) -> None:
    logits, targets = batch((4, CLASSES))
    assert torch.equal(Criterion(mse())(logits, targets.to(dtype)), Criterion(mse())(logits, targets))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64], ids=str)
@every_reduction
@every_label
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_under_autocast(dtype: torch.dtype, reduction: str, labels: str, smoothing: float) -> None:
    logits, targets = batch((4, CLASSES), labels, dtype)
    ours = Criterion(cross_entropy(), reduction=reduction, label_smoothing=smoothing)
    theirs = nn.CrossEntropyLoss(reduction=reduction, label_smoothing=smoothing)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = (value_and_gradients(criterion, logits, targets) for criterion in (ours, theirs))
    for mine, reference in zip(found, expected, strict=True):
        assert (mine is None) == (reference is None)
        if mine is not None:
            torch.testing.assert_close(mine, reference)


def test_a_network_trains_under_autocast() -> None:
    torch.manual_seed(0)
    network = nn.Linear(7, CLASSES)
    inputs, (_, targets) = torch.randn(4, 7), batch((4, CLASSES))
    gradients = []
    for criterion in (Criterion(cross_entropy()), nn.CrossEntropyLoss()):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(inputs)
            value = criterion(logits, targets)
        assert logits.dtype == torch.bfloat16
        assert value.dtype == torch.float32
        value.backward()
        assert network.weight.grad is not None
        gradients.append(network.weight.grad.clone())
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@every_reduction
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weight"])
def test_masked_classes(dtype: torch.dtype, reduction: str, weighted: bool) -> None:
    """A logit of −∞ on a class that is not the target."""
    logits, targets = batch((6, CLASSES), dtype=dtype)
    logits.scatter_(1, ((targets + 1) % CLASSES)[:, None], -math.inf)
    assert_equals_pytorch(logits, targets, reduction=reduction, weight=class_weights(dtype=dtype) if weighted else None)
    y = nn.functional.one_hot(targets, CLASSES).to(dtype)
    criterion = Criterion(cross_entropy(), class_weights(dtype=dtype) if weighted else None, reduction="sum")
    hard, soft = value_and_gradients(criterion, logits, targets), value_and_gradients(criterion, logits, y)
    torch.testing.assert_close(soft[:2], hard[:2])


@pytest.mark.parametrize("size", [1e4, 1e17])
@every_reduction
@every_label
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_huge_logits(size: float, reduction: str, labels: str, smoothing: float) -> None:
    logits = torch.tensor([[size, 0, 0, 0, 0], [-size, 0, 0, 0, 0], [0, -size, -size, size, 1]])
    targets = torch.tensor([0, 0, 1])
    y = targets if labels == "indices" else smoothed_targets(targets, (3, CLASSES), 0.3).float()
    assert_equals_pytorch(logits, y, reduction=reduction, label_smoothing=smoothing)


# Any loss behind the same call.


@every_loss
@every_shape
@every_label
@pytest.mark.parametrize(("weighted", "smoothing"), [(False, 0.0), (True, 0.0), (True, 0.2)])
def test_any_loss_is_the_weighted_sum_of_phi(
    loss: PowerLoss, shape: tuple[int, ...], labels: str, weighted: bool, smoothing: float
) -> None:
    """``L = −Σ_k φ_k``, gradient ``−(g_j − h_j Σ_k g_k)`` with ``g_k = h_k γ_k`` (theory.md §1).

    With weights ``φ_k`` is ``w_k (φ(h_k, y_k) − φ(h_k, 0)) + w(y) φ(h_k, 0)``, and so is g.
    """
    logits, targets = batch(shape, labels)
    dim = class_dim(shape)
    weight = class_weights() if weighted else None
    criterion = Criterion(loss, weight, reduction="none", label_smoothing=smoothing)
    f = logits.clone().requires_grad_()
    value = criterion(f, targets)
    (gradient,) = torch.autograd.grad(value.sum(), f)
    h, y = logits.softmax(dim), smoothed_targets(targets, shape, smoothing)
    w = torch.ones(CLASSES).double() if weight is None else weight
    spread = w.reshape(-1, *(1,) * (len(shape) - dim - 1))
    own = (spread * smoothed_targets(targets, shape, 0.0)).sum(dim, keepdim=True)

    def weighed(function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        rest = function(h, torch.zeros_like(h))
        return spread * (function(h, y) - rest) + own * rest

    expected = -weighed(loss.phi).sum(dim)
    scale = loss.coefficients.abs().sum().item() * 1e-12 / h.min().item()
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=scale)
    g = h * weighed(loss.gamma)
    torch.testing.assert_close(gradient, h * g.sum(dim, keepdim=True) - g, rtol=1e-12, atol=scale)
    total = Criterion(loss, weight, reduction="sum", label_smoothing=smoothing)(logits, targets)
    torch.testing.assert_close(total, expected.sum())
    mean = Criterion(loss, weight, label_smoothing=smoothing)(logits, targets)
    count = w[targets].sum() if labels == "indices" else max(expected.numel(), 1)
    torch.testing.assert_close(mean, expected.sum() / count)


@every_loss
@every_label
def test_criterion_and_loss_agree(loss: PowerLoss, labels: str) -> None:
    logits, targets = batch((6, CLASSES), labels)
    value, gradient, _ = value_and_gradients(Criterion(loss, reduction="none"), logits, targets)
    torch.testing.assert_close(value, loss.value(logits, targets))
    cotangent = torch.linspace(0.5, 1.5, 6, dtype=torch.float64)[:, None]
    torch.testing.assert_close(gradient, cotangent * loss.logit_gradient(logits, targets))


@every_loss
@every_reduction
def test_ignored_samples_count_for_nothing(loss: PowerLoss, reduction: str) -> None:
    logits, targets = batch((6, CLASSES))
    kept = torch.tensor([0, 2, 5])
    masked = torch.full_like(targets, -100).index_copy(0, kept, targets[kept])
    for weight in (None, class_weights()):
        criterion = Criterion(loss, weight, reduction=reduction)
        value, gradient, _ = value_and_gradients(criterion, logits, masked)
        assert gradient[[1, 3, 4]].abs().max() == 0
        alone = criterion(logits[kept], targets[kept])
        torch.testing.assert_close(value[kept] if reduction == "none" else value, alone)
        worse = logits.index_fill(0, torch.tensor([1, 3, 4]), 1e4)
        torch.testing.assert_close(criterion(worse, masked), value, rtol=0, atol=0)


@every_loss
@every_label
def test_label_smoothing_of_the_criterion_and_of_the_loss_are_the_same(loss: PowerLoss, labels: str) -> None:
    logits, targets = batch((6, CLASSES), labels)
    one = value_and_gradients(Criterion(loss, label_smoothing=0.15), logits, targets)
    other = value_and_gradients(Criterion(loss.smoothed(0.15, CLASSES)), logits, targets)
    torch.testing.assert_close(one, other)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@every_label
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weight"])
def test_extreme_logits_give_finite_values_and_gradients(
    loss: PowerLoss, dtype: torch.dtype, labels: str, weighted: bool
) -> None:
    first = torch.eye(CLASSES)[0]
    rows = [s * r for s in (1e4, -1e4) for r in (first, 1 - first, first - torch.eye(CLASSES)[1], torch.ones(CLASSES))]
    logits, targets = torch.stack(rows).to(dtype), torch.zeros(len(rows), dtype=torch.long)
    y = targets if labels == "indices" else smoothed_targets(targets, (len(rows), CLASSES), 0.3).to(dtype)
    weight = class_weights(dtype=dtype) if weighted else None
    for reduction, smoothing in itertools.product(REDUCTIONS, (0.0, 0.1)):
        criterion = Criterion(loss, weight, reduction=reduction, label_smoothing=smoothing)
        for found in value_and_gradients(criterion, logits, y):
            assert found is None or bool(found.isfinite().all())


@every_label
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weight"])
def test_a_huge_constant_costs_no_accuracy_in_float32(labels: str, weighted: bool) -> None:
    """c1 = 1951 of the published MNIST loss, which reaches no gradient, with class weights neither."""
    logits, targets = batch((100, CLASSES), labels)
    loss, weight = taylor(MNIST), class_weights() if weighted else None
    (_, exact, _), (_, gradient, _) = (
        value_and_gradients(
            Criterion(loss, weight, reduction="sum"), one, targets.to(one) if labels != "indices" else targets
        )
        for one in (logits.float().double(), logits.float())
    )
    assert (gradient.double() - exact).abs().max() < 1e-6 * exact.abs().max()


@every_label
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weight"])
def test_a_constant_in_gamma_never_acts(labels: str, weighted: bool) -> None:
    logits, targets = batch((6, CLASSES), labels)
    loss, weight = mse(), class_weights() if weighted else None
    shifted = loss + PowerLoss((Term(1, 0, 0),), torch.tensor([10.0]))
    found, other = (value_and_gradients(Criterion(x, weight), logits, targets) for x in (loss, shifted))
    torch.testing.assert_close(found[1], other[1])
    # In the value it is a number for each sample, by the weight of its label, as in the mean.
    y, w = smoothed_targets(targets, (6, CLASSES), 0.0), torch.ones(CLASSES).double() if weight is None else weight
    mass = 1.0 if labels == "indices" else float((y * w).sum(1).mean())
    torch.testing.assert_close(found[0] - other[0], torch.tensor(10 * mass).double())


@every_loss
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_class_weights_stand_for_copies_of_samples(loss: PowerLoss, smoothing: float) -> None:
    """Whole weights do what so many copies of the samples of a class do, where labels are classes, for every loss."""
    logits, targets = batch((6, CLASSES))
    weight = torch.tensor([1.0, 3, 2, 1, 4]).double()
    copies = weight[targets].long()
    f = logits.clone().requires_grad_()
    smoothed = loss.smoothed(smoothing, CLASSES)
    found = Criterion(smoothed, weight)(f, targets)
    expected = Criterion(smoothed)(f.repeat_interleave(copies, 0), targets.repeat_interleave(copies))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(one, f)[0] for one in (found, expected)))


@every_loss
def test_probabilities_of_one_class_are_weighted_as_its_index(loss: PowerLoss) -> None:
    logits, targets = batch((6, CLASSES))
    criterion = Criterion(loss, class_weights(), reduction="none")
    soft = smoothed_targets(targets, (6, CLASSES), 0.0)
    torch.testing.assert_close(criterion(logits, soft), criterion(logits, targets))


# Derivatives.


@every_loss
@pytest.mark.parametrize("shape", [(3, CLASSES), (2, CLASSES, 3)])
def test_the_second_derivative_of_weighted_probabilities(loss: PowerLoss, shape: tuple[int, ...]) -> None:
    """By the logits alone, whose gradient the value's pass finds."""
    logits, targets = batch(shape, "probabilities")
    criterion = Criterion(loss * (1 / loss.coefficients.abs().max().item()), class_weights(), reduction="sum")
    assert torch.autograd.gradgradcheck(lambda f: criterion(f, targets), logits.requires_grad_())


@every_loss
@every_label
def test_gradcheck_and_gradgradcheck(loss: PowerLoss, labels: str) -> None:
    """By the logits and by class probabilities, with weights, smoothing, an ignored sample and a further dimension."""
    logits, targets = batch((1, CLASSES, 2), labels)
    inputs = [logits.requires_grad_()]
    if labels == "indices":
        targets[0, 1] = -100
    else:
        inputs.append(targets.requires_grad_())
    scaled = loss * (1 / loss.coefficients.abs().max().item())
    for settings in ({}, {"weight": class_weights(), "label_smoothing": 0.1}):
        criterion = Criterion(scaled, **settings)  # type: ignore[arg-type]

        def function(f: Tensor, y: Tensor = targets, criterion: Criterion = criterion) -> Tensor:
            result: Tensor = criterion(f, y)
            return result

        assert torch.autograd.gradcheck(function, inputs)
        assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("loss", [baikal(), gce(0.5), cross_entropy()], ids=lambda loss: loss.name)
def test_second_derivatives_are_finite_beyond_the_floor(loss: PowerLoss) -> None:
    logits = torch.tensor([[-1e4, 0.0, 0.0], [1e4, 0.0, 0.0]], requires_grad=True)
    value = Criterion(loss)(logits, torch.tensor([0, 0]))
    (gradient,) = torch.autograd.grad(value, logits, create_graph=True)
    (second,) = torch.autograd.grad((gradient * torch.tensor([1.0, 2, 3])).sum(), logits)
    assert bool(second.isfinite().all())


@every_loss
def test_function_transforms(loss: PowerLoss) -> None:
    """Per-sample gradients by ``torch.func``, as the population way of training uses them."""
    logits, targets = batch((4, CLASSES))
    each = torch.func.vmap(torch.func.grad(Criterion(loss)))(logits, targets)
    torch.testing.assert_close(each, loss.logit_gradient(logits, targets))


@pytest.mark.parametrize(
    ("loss", "settings", "labels"),
    [
        (cross_entropy(), {}, "indices"),
        (taylor(SERIES), {"weight": True, "label_smoothing": 0.1, "ignore_index": 1, "reduction": "none"}, "indices"),
        (taylor(SERIES), {"ignore_index": 2}, "indices"),
        (cross_entropy() + 0.3 * mse(), {}, "probabilities"),
        (baikal(), {"reduction": "sum"}, "probabilities"),
        (focal(2) + gce(0.5), {"weight": True, "label_smoothing": 0.1}, "probabilities"),
    ],
    ids=["cross-entropy", "Taylor", "ignored", "cross-entropy + MSE", "Baikal", "focal + GCE"],
)
@pytest.mark.filterwarnings(INSTANTIATED)
def test_compiled_is_eager(loss: PowerLoss, settings: dict[str, Any], labels: str, fresh_compiler: None) -> None:
    """One graph, whose backward is traced too; what inductor makes of it is the next two tests'."""
    if settings.get("weight"):
        settings = {**settings, "weight": class_weights(dtype=torch.float32)}
    criterion = Criterion(loss, **settings)
    compiled = torch.compile(criterion, fullgraph=True, backend="aot_eager")
    shape = (4, CLASSES) if set(settings) <= {"ignore_index"} else (3, CLASSES, 2)
    logits, targets = batch(shape, labels, torch.float32)
    torch.testing.assert_close(
        value_and_gradients(compiled, logits, targets), value_and_gradients(criterion, logits, targets)
    )
    with torch.no_grad():
        torch.testing.assert_close(compiled(logits, targets), criterion(logits, targets))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.filterwarnings(INSTANTIATED)
def test_a_compiled_step_takes_losses_with_other_coefficients(smoothing: float, fresh_compiler: None) -> None:
    """From the second on, the coefficients are symbols of the trace."""
    paper = find("paper/mnist", CLASSES)
    assert isinstance(paper, PowerLoss)
    compiled = torch.compile(lambda criterion, logits, targets: criterion(logits, targets), backend="aot_eager")
    logits, targets = batch((4, CLASSES), "indices", torch.float32)
    for factor in (1.0, 0.9, 1.1, 1.2):
        criterion = Criterion(PowerLoss(paper.terms, factor * paper.coefficients, CLASSES), label_smoothing=smoothing)
        found = value_and_gradients(partial(compiled, criterion), logits, targets)
        torch.testing.assert_close(found, value_and_gradients(criterion, logits, targets))


@pytest.mark.filterwarnings(INSTANTIATED)
def test_compiled_for_batches_of_any_size(fresh_compiler: None) -> None:
    criterion = Criterion(find("paper/mnist", CLASSES), label_smoothing=0.1)
    compiled = torch.compile(criterion, backend="aot_eager", dynamic=True)
    for samples in (3, 7):
        logits, targets = batch((samples, CLASSES), "indices", torch.float32)
        torch.testing.assert_close(
            value_and_gradients(compiled, logits, targets), value_and_gradients(criterion, logits, targets)
        )


@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="torch.compile needs a C++ compiler")
# torch 2.13 imports its own deprecated torch.jit with the C++ back end.
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning", INSTANTIATED)
def test_compiled_by_inductor_is_eager(fresh_compiler: None) -> None:
    loss = cross_entropy().smoothed(0.1, CLASSES) + 0.3 * random_taylor(3) + 0.1 * baikal()
    criterion = Criterion(loss, ignore_index=1)
    logits, targets = batch((8, CLASSES), dtype=torch.float32)
    # Without vector instructions: to find out which the compiler knows takes most of the time.
    compiled = torch.compile(criterion, fullgraph=True, options={"cpp.vec_isa_ok": False})
    torch.testing.assert_close(
        value_and_gradients(compiled, logits, targets), value_and_gradients(criterion, logits, targets)
    )


@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning", INSTANTIATED)
def test_compiled_with_a_network_its_weights_have_the_same_gradient(fresh_compiler: None) -> None:
    """Forward, loss and backward in one compiled program."""
    network, criterion = (
        nn.Sequential(nn.Linear(16, 40), nn.ReLU(), nn.Linear(40, 3)),
        Criterion(cross_entropy() + mse()),
    )
    inputs, targets = torch.randn(12, 16), torch.arange(12) % 3

    def objective(x: Tensor) -> Tensor:
        return cast(Tensor, criterion(network(x), targets))

    weights = list(network.parameters())
    compiled = torch.compile(objective)
    found, expected = (torch.autograd.grad(one(inputs), weights) for one in (compiled, objective))
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    """What one test compiled does not count towards the recompilations of another."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@every_loss
@every_label
def test_value_and_gradient_at_once_are_those_of_autograd(loss: PowerLoss, labels: str) -> None:
    """Also for the constants that TaylorGLO's polynomials have, in every power of the label."""
    logits, targets = batch((7, CLASSES), labels, torch.float64)
    found = value_and_gradients(Criterion(loss, reduction="none"), logits, targets)[:2]
    leaf = logits.clone().requires_grad_()
    value = loss.value(leaf, targets)
    cotangent = torch.linspace(0.5, 1.5, 7, dtype=torch.float64)
    expected = (value.detach(), torch.autograd.grad(value, leaf, cotangent)[0])
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("order", [2, 3, 4, 5])
def test_taylorglo_takes_few_passes(order: int) -> None:
    """No term of its polynomials, smoothed or not, takes a power of its own."""
    for loss in (random_taylor(order), random_taylor(order).smoothed(0.1, CLASSES), mse(), poly(1), gce(1)):
        phi = Kernel.of(zip(loss.terms, loss.coefficients.tolist(), strict=True)).value
        assert not any(part.others for part in phi.parts.values())


@pytest.mark.parametrize(
    "loss", [cross_entropy(), mse(), baikal(), cross_entropy().smoothed(0.1, CLASSES) + 0.3 * mae(), taylor(MNIST)]
)
class TestOtherKindsOfDifferentiation:
    """Forward mode, and the transforms of torch.func, give what backward mode gives."""

    @staticmethod
    def case(loss: PowerLoss) -> tuple[Criterion, Tensor, Tensor, Tensor]:
        logits, targets = batch((6, CLASSES), dtype=torch.float64)
        logits = logits.detach().requires_grad_()
        (slope,) = torch.autograd.grad(Criterion(loss)(logits, targets), logits)
        return Criterion(loss), logits.detach(), targets, slope

    # torch 2.13 imports its own deprecated torch.jit with forward mode.
    @pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
    def test_forward_mode(self, loss: PowerLoss) -> None:
        criterion, logits, targets, slope = self.case(loss)
        tangent = torch.randn_like(logits)
        with forward_ad.dual_level():
            moved = forward_ad.unpack_dual(criterion(forward_ad.make_dual(logits, tangent), targets)).tangent
        assert moved is not None
        torch.testing.assert_close(moved, (slope * tangent).sum(), rtol=1e-10, atol=1e-12)

    @pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
    def test_transforms(self, loss: PowerLoss) -> None:
        criterion, logits, targets, slope = self.case(loss)
        torch.testing.assert_close(torch.func.grad(criterion)(logits, targets), slope, rtol=1e-10, atol=1e-12)
        each = torch.func.vmap(torch.func.grad(criterion))(logits[:, None], targets[:, None])
        torch.testing.assert_close(each[:, 0] / len(logits), slope, rtol=1e-10, atol=1e-12)

    @pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
    def test_hessian(self, loss: PowerLoss) -> None:
        criterion, logits, targets, _ = self.case(loss)
        found = torch.func.hessian(criterion)(logits, targets)
        expected = torch.autograd.functional.hessian(lambda x: criterion(x, targets), logits)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
        moved = torch.func.jvp(lambda x: criterion(x, targets), (logits,), (torch.ones_like(logits),))[1]
        assert float(moved.detach().abs()) < 1e-9

    def test_labels_can_be_differentiated(self, loss: PowerLoss) -> None:
        criterion, logits, targets, _ = self.case(loss)
        soft = functional.one_hot(targets, CLASSES).double().requires_grad_()
        (found,) = torch.autograd.grad(criterion(logits, soft), soft)
        (expected,) = torch.autograd.grad(loss.value(logits, soft).mean(), soft)
        torch.testing.assert_close(found, expected)

    def test_backward_twice(self, loss: PowerLoss) -> None:
        criterion, logits, targets, slope = self.case(loss)
        value = criterion(logits.requires_grad_(), targets)
        for _ in range(2):
            (again,) = torch.autograd.grad(value, logits, retain_graph=True)
            assert torch.equal(again, slope)

    @pytest.mark.parametrize("labels", ["indices", "probabilities"])
    @pytest.mark.parametrize("ignore", [-100, 2])
    def test_a_backward_pass_leaves_the_others_alone(self, loss: PowerLoss, labels: str, ignore: int) -> None:
        """The gradient that the forward pass has found is used once, in place: no other pass may see that."""
        logits, targets = batch((6, CLASSES), labels)
        criterion = Criterion(loss, ignore_index=ignore if labels == "indices" else -100, reduction="none")
        logits.requires_grad_()
        values = criterion(logits, targets)
        first = torch.eye(6, dtype=torch.float64)
        rows = [torch.autograd.grad(values, logits, one, retain_graph=True)[0] for one in first]
        (kept,) = torch.autograd.grad(criterion(logits, targets).sum(), logits)
        (mean,) = torch.autograd.grad(2 * Criterion(loss, ignore_index=criterion.ignore_index)(logits, targets), logits)
        count = int((targets != criterion.ignore_index).sum()) if labels == "indices" else 6
        torch.testing.assert_close(mean, 2 * kept / count, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(torch.stack(rows).sum(0), kept, rtol=1e-12, atol=1e-12)
        (graph,) = torch.autograd.grad(values.sum(), logits, create_graph=True)
        torch.testing.assert_close(graph, kept, rtol=1e-10, atol=1e-12)
        (batched,) = torch.autograd.grad(criterion(logits, targets), logits, first, is_grads_batched=True)
        torch.testing.assert_close(batched, torch.stack(rows), rtol=1e-10, atol=1e-12)

    @pytest.mark.parametrize("labels", ["indices", "probabilities"])
    def test_vmap_over_a_backward_pass(self, loss: PowerLoss, labels: str) -> None:
        logits, targets = batch((6, CLASSES), labels)
        values = Criterion(loss, reduction="none")(logits.requires_grad_(), targets)
        rows = [torch.autograd.grad(values, logits, one, retain_graph=True)[0] for one in torch.eye(6).double()]
        found = torch.vmap(lambda one: torch.autograd.grad(values, logits, one, retain_graph=True)[0])(
            torch.eye(6, dtype=torch.float64)
        )
        torch.testing.assert_close(found, torch.stack(rows), rtol=1e-10, atol=1e-12)

    @pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
    def test_forward_mode_of_labels(self, loss: PowerLoss) -> None:
        logits, targets = batch((6, CLASSES), "probabilities")
        criterion, tangent = Criterion(loss), batch((6, CLASSES), seed=1)[0]
        labels = targets.clone().requires_grad_()
        (slope,) = torch.autograd.grad(criterion(logits, labels), labels)
        with forward_ad.dual_level():
            moved = forward_ad.unpack_dual(criterion(logits, forward_ad.make_dual(targets, tangent))).tangent
            assert moved is not None
            torch.testing.assert_close(moved, (slope * tangent).sum(), rtol=1e-10, atol=1e-12)

    def test_what_is_kept_for_the_backward_pass_is_seen_by_hooks(self, loss: PowerLoss) -> None:
        """So checkpoints drop it, and what offloads it finds it."""
        criterion, logits, targets, slope = self.case(loss)
        logits.requires_grad_()
        sizes: list[int] = []

        def pack(tensor: Tensor) -> Tensor:
            sizes.append(tensor.numel())
            return tensor.clone()

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            value = criterion(logits, targets)
        assert sizes.count(logits.numel()) == 2
        for _ in range(2):
            (found,) = torch.autograd.grad(value, logits, retain_graph=True)
            torch.testing.assert_close(found, slope, rtol=1e-12, atol=1e-12)
        value = checkpoint(criterion, logits, targets, use_reentrant=False)
        torch.testing.assert_close(torch.autograd.grad(value, logits)[0], slope, rtol=1e-12, atol=1e-12)

    def test_tensors_without_numbers(self, loss: PowerLoss) -> None:
        with FakeTensorMode():
            value = Criterion(loss)(torch.empty(6, CLASSES, requires_grad=True), torch.empty(6, dtype=torch.long))
            value.backward()
        assert value.shape == ()

    @pytest.mark.parametrize("labels", ["indices", "probabilities"])
    @pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
    def test_without_gradients_the_value_is_the_same(self, loss: PowerLoss, labels: str, reduction: str) -> None:
        logits, targets = batch((6, CLASSES), labels)
        criterion = Criterion(loss, reduction=reduction)
        with torch.no_grad():
            alone = criterion(logits, targets)
        assert torch.equal(alone, criterion(logits.requires_grad_(), targets).detach())


# A module among modules.


class Trained(nn.Module):
    """A network that holds its own criterion."""

    def __init__(self, loss: PowerLoss, weight: Tensor | None = None) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, CLASSES))
        self.criterion = Criterion(loss, weight)

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        value: Tensor = self.criterion(self.network(inputs), targets)
        return value


@every_loss
def test_deepcopy(loss: PowerLoss) -> None:
    criterion = Criterion(loss, class_weights(), 2, "sum", 0.1)
    twin = copy.deepcopy(criterion)
    logits, targets = batch((4, CLASSES))
    assert twin.loss == loss
    assert torch.equal(twin(logits, targets), criterion(logits, targets))
    assert twin.weight is not None
    twin.weight.zero_()
    assert criterion.weight is not None
    assert criterion.weight.min() > 0


@every_loss
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weight"])
def test_state_dicts_are_those_of_pytorchs_cross_entropy(loss: PowerLoss, weighted: bool) -> None:
    weight = class_weights() if weighted else None
    criterion, theirs = Criterion(loss, weight), nn.CrossEntropyLoss(weight)
    assert criterion.state_dict().keys() == theirs.state_dict().keys()
    theirs.load_state_dict(criterion.state_dict(), strict=True)
    criterion.load_state_dict(theirs.state_dict(), strict=True)
    assert criterion.loss == loss


@every_loss
def test_state_dict_of_version_0_2_restores_the_loss(loss: PowerLoss, tmp_path: Path) -> None:
    """It carried the loss, beside the class weights; a file without pickled code gives it back."""
    weight = class_weights()
    torch.save({"weight": weight, "_extra_state": loss.to_json()}, tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    restored = Criterion(mae(), torch.ones(CLASSES).double())
    assert repr(restored.load_state_dict(state, strict=True)) == "<All keys matched successfully>"
    logits, targets = batch((4, CLASSES))
    assert restored.loss == loss
    assert restored.loss.name == loss.name
    assert torch.equal(restored(logits, targets), Criterion(loss, weight)(logits, targets))
    assert state.keys() == {"weight", "_extra_state"}


@pytest.mark.parametrize("assign", [False, True])
def test_state_dict_of_pytorchs_cross_entropy_leaves_the_loss(assign: bool) -> None:
    weight = class_weights()
    criterion = Criterion(baikal(), torch.ones(CLASSES).double())
    state = nn.CrossEntropyLoss(weight).state_dict()
    criterion.load_state_dict(state, strict=True, assign=assign)
    assert state.keys() == {"weight"}
    assert criterion.loss == baikal()
    assert criterion.weight is not None
    assert torch.equal(criterion.weight, weight)
    unweighted = Criterion(baikal())
    unweighted.load_state_dict(nn.CrossEntropyLoss().state_dict(), strict=True)
    assert unweighted.loss == baikal()
    with pytest.raises(RuntimeError, match="weight"):
        unweighted.load_state_dict(nn.CrossEntropyLoss(weight).state_dict(), strict=True)


def test_inside_a_parent() -> None:
    torch.manual_seed(1)
    source, target = Trained(mse(), class_weights(dtype=torch.float32)), Trained(mse(), torch.ones(CLASSES))
    assert {key for key in source.state_dict() if "criterion" in key} == {"criterion.weight"}
    target.load_state_dict(source.state_dict(), strict=True)
    inputs, targets = torch.randn(4, 3), torch.randint(CLASSES, (4,))
    assert torch.equal(target(inputs, targets), source(inputs, targets))
    # From a checkpoint of the time when the criterion's state held its loss.
    older = {**source.state_dict(), "criterion._extra_state": baikal().to_json()}
    target.load_state_dict(older, strict=True)
    assert target.criterion.loss == baikal()
    assert "criterion._extra_state" in older
    source(inputs, targets).backward()
    assert all(parameter.grad is not None for parameter in source.parameters())
    assert [name for name, _ in source.named_parameters() if "criterion" in name] == []


def test_a_restored_loss_keeps_its_number_of_classes() -> None:
    criterion = Criterion(mse())
    criterion.load_state_dict({"_extra_state": cross_entropy().smoothed(0.1, CLASSES).to_json()})
    with pytest.raises(InputError, match="made for 5 classes and was called with 4"):
        criterion(torch.zeros(2, 4), torch.tensor([0, 1]))


def test_moving_a_criterion() -> None:
    criterion = Criterion(baikal(), class_weights())
    logits, targets = batch((4, CLASSES), dtype=torch.float32)
    before = criterion(logits, targets)
    criterion.float()
    assert criterion.weight is not None
    assert criterion.weight.dtype == torch.float32
    assert criterion.loss == baikal()
    assert torch.equal(criterion(logits, targets), before)
    criterion.train().eval().requires_grad_(True)
    assert torch.equal(criterion(logits, targets), before)
    assert list(criterion.parameters()) == []


def test_it_can_be_pickled_whole(tmp_path: Path) -> None:
    criterion = Criterion(taylor(MNIST), class_weights(), label_smoothing=0.1)
    torch.save(criterion, tmp_path / "criterion.pt")
    twin = torch.load(tmp_path / "criterion.pt", weights_only=False)
    logits, targets = batch((4, CLASSES))
    assert torch.equal(twin(logits, targets), criterion(logits, targets))


def test_it_prints_its_formula_and_settings() -> None:
    assert repr(Criterion(cross_entropy(), reduction="sum", label_smoothing=0.1)) == (
        "Criterion(Loss('cross-entropy', φ = y log h), reduction='sum', label_smoothing=0.1)"
    )
    assert repr(Criterion(cross_entropy(), torch.tensor([1.0, 0.5]), ignore_index=1)).endswith(
        "reduction='mean', label_smoothing=0, weight=[1.0, 0.5], ignore_index=1)"
    )


def test_inputs_are_left_alone_and_nothing_warns() -> None:
    criterion = Criterion(taylor(MNIST), class_weights(), ignore_index=2, label_smoothing=0.1)
    logits, targets = batch((3, CLASSES, 6))
    kept = logits.clone(), targets.clone()
    state = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = criterion(logits, targets), criterion(logits, targets)
    assert torch.equal(first, second)
    assert torch.equal(logits, kept[0])
    assert torch.equal(targets, kept[1])
    assert torch.equal(torch.get_rng_state(), state)


# Errors.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": 3}, "takes a lossmith.Loss, a name .* or a loss file, not int"),
        ({"loss": nn.CrossEntropyLoss()}, "not CrossEntropyLoss"),
        ({"loss": cross_entropy}, "not function"),
        ({"loss": PowerLoss.stack([mse(), baikal()])}, "takes one loss, not a population"),
        ({"loss": mse(), "weight": [1.0, 2.0]}, "weight is a list; give a tensor"),
        ({"loss": mse(), "reduction": "average"}, "reduction is 'average'"),
        ({"loss": mse(), "reduction": None}, "reduction is None"),
        ({"loss": mse(), "label_smoothing": -0.1}, "label_smoothing is -0.1"),
        ({"loss": mse(), "label_smoothing": 1.1}, "label_smoothing is 1.1"),
        ({"loss": mse(), "label_smoothing": math.nan}, "label_smoothing is nan"),
    ],
)
def test_bad_arguments_are_sentences(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        Criterion(**arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("logits", "targets", "settings", "message"),
    [
        ((4, 5), torch.zeros(3, dtype=torch.long), {}, r"targets of shape \(3,\)"),
        ((4, 5), torch.zeros(4), {}, r"targets of shape \(4,\) and torch.float32"),
        (
            (4, 5),
            torch.zeros(4, 5, dtype=torch.long),
            {},
            r"not torch.int64: give targets.float\(\) if one class .* \(multi-label\) .* torch.nn.BCEWithLogitsLoss",
        ),
        ((4, 5), torch.zeros(4, 6), {}, r"targets of shape \(4, 6\)"),
        ((4, 5), torch.zeros(4, 1, dtype=torch.long), {}, r"targets of shape \(4, 1\)"),
        ((4, 5), torch.tensor(0), {}, r"targets of shape \(\)"),
        ((5,), torch.zeros(1, dtype=torch.long), {}, r"targets of shape \(1,\)"),
        ((3, 5, 2), torch.zeros(3, dtype=torch.long), {}, r"logits of shape \(3, 5, 2\)"),
        ((3, 5, 2), torch.zeros(3, 5, dtype=torch.long), {}, r"logits of shape \(3, 5, 2\)"),
        ((), torch.tensor(0), {}, "class dimension"),
        ((4, 5), torch.zeros(4, 5), {"ignore_index": 0}, "ignore_index does not apply to class probabilities"),
        ((4, 5), torch.zeros(4, dtype=torch.long), {"weight": torch.ones(4)}, r"weight has shape \(4,\).*5 classes"),
        ((4, 5), torch.zeros(4, 5), {"weight": torch.ones(4)}, r"weight has shape \(4,\).*5 classes"),
        ((4, 5), torch.zeros(4, 5), {"weight": torch.ones(1)}, r"weight has shape \(1,\).*5 classes"),
        ((4, 5), torch.zeros(4, 5), {"weight": torch.ones(1, 5)}, r"weight has shape \(1, 5\).*5 classes"),
    ],
)
def test_bad_shapes_are_sentences(
    logits: tuple[int, ...], targets: Tensor, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        Criterion(mse(), **settings)(torch.zeros(logits), targets)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("logits", "targets", "message"),
    [
        (np.zeros((2, CLASSES)), torch.tensor([0, 1]), "logits are ndarray; give a floating tensor"),
        (torch.zeros(2, CLASSES).int(), torch.tensor([0, 1]), "logits are torch.int32; give a floating tensor"),
        (torch.zeros(2, CLASSES), torch.tensor([True, False]), r"targets are true or false; give class indices"),
    ],
)
def test_other_kinds_of_input_are_sentences(logits: Any, targets: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Criterion(mse())(logits, targets)


def test_targets_of_numpy_are_a_sentence() -> None:
    with pytest.raises(InputError, match=r"targets are a ndarray; give a tensor \(torch.as_tensor makes one\)"):
        Criterion(mse())(torch.zeros(2, CLASSES), np.array([0, 1]))


@every_label
def test_another_number_of_classes_is_refused(labels: str) -> None:
    criterion = Criterion(cross_entropy().smoothed(0.1, 10))
    with pytest.raises(InputError, match="made for 10 classes and was called with 5"):
        criterion(*batch((4, CLASSES), labels))


@pytest.mark.parametrize("index", [CLASSES, -1])
@pytest.mark.parametrize("weight", [None, torch.ones(CLASSES)], ids=["", "weight"])
def test_a_class_that_there_is_not_is_a_sentence(index: int, weight: Tensor | None) -> None:
    with pytest.raises(InputError, match=f"a target is class {index}, but the logits have {CLASSES} classes"):
        Criterion(mse(), weight)(torch.zeros(2, CLASSES), torch.tensor([0, index]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coefficients": ["x"]}, '"coefficients" of the loss file'),
        ({"version": 3}, "version 3"),
        ({"format": "pickle"}, "not a loss file"),
        ({"coefficients": [[1.0], [2.0]]}, "not a population"),
        ({"terms": [[0, 1, 1], [1, 1, 0]], "coefficients": [[1.0, 1.0], [2.0, 2.0]]}, "not a population"),
    ],
)
def test_a_state_dict_with_a_broken_loss_is_refused(change: dict[str, Any], message: str) -> None:
    criterion = Criterion(mse())
    state = {"_extra_state": {**cross_entropy().to_json(), **change}}
    with pytest.raises(InputError, match=message):
        criterion.load_state_dict(state)
    assert criterion.loss == mse()
    logits, targets = batch((4, CLASSES))
    torch.testing.assert_close(criterion(logits, targets), mse().value(logits, targets).mean())
