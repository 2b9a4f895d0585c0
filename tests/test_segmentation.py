"""A class for each place of a sample, ``[N, K, d1, …]``: evaluated block by block, equal to what each place gives."""

from typing import Any

import pytest
import torch
from torch import Tensor

from lossmith import Criterion, InputError, PowerLoss, cross_entropy, find
from lossmith.losses import CATALOG, blocks, kernel, passes

CLASSES, IGNORED = 5, 255
WEIGHT = torch.tensor([0.5, 2.0, 1.0, 3.0, 0.25], dtype=torch.float64)
LOSSES = [loss for name in CATALOG if isinstance(loss := find(name, CLASSES), PowerLoss)]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
every_reduction = pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
every_label = pytest.mark.parametrize("soft", [False, True], ids=["indices", "probabilities"])
every_weight = pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weight"])
SHAPE = (3, CLASSES, 4, 5)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that are smaller than a sample, and do not divide its places."""
    monkeypatch.setattr(blocks, "BLOCK", 7 * CLASSES // torch.get_num_threads())
    monkeypatch.setattr(blocks, "SHORTEST", 3)


def batch(soft: bool = False, shape: tuple[int, ...] = SHAPE) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(shape, generator=generator, dtype=torch.float64)
    if soft:
        return logits, logits.roll(1, 0).softmax(1)
    targets = torch.randint(shape[1], (shape[0], *shape[2:]), generator=generator)
    targets[torch.rand(targets.shape, generator=generator) < 0.2] = IGNORED
    return logits, targets


def both(criterion: Criterion, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The value, and its gradient under a fixed cotangent."""
    f = logits.detach().clone().requires_grad_()
    value = criterion(f, targets)
    cotangent = torch.linspace(0.5, 1.5, value.numel(), dtype=value.dtype).reshape(value.shape)
    return value.detach(), torch.autograd.grad(value, f, cotangent)[0]


def by_place(loss: PowerLoss, logits: Tensor, targets: Tensor, weight: Tensor | None, reduction: str) -> Any:
    """The definition, ``−Σ_k [w_k (φ(h_k, y_k) − φ(h_k, 0)) + w(y) φ(h_k, 0)]`` of each place, followed by autograd."""
    f = logits.detach().clone().requires_grad_()
    soft = targets.is_floating_point()
    kept = torch.ones(f[:, 0].shape).bool() if soft else targets != IGNORED
    known = torch.where(kept, targets, 0) if not soft else targets
    y = targets if soft else torch.nn.functional.one_hot(known, CLASSES).movedim(-1, 1).double()
    w = torch.ones(CLASSES).double() if weight is None else weight
    h, spread = f.softmax(1), w[:, None, None]
    own, free = (spread * y).sum(1, keepdim=True), loss.phi(h, torch.zeros_like(h))
    each = torch.where(kept, -(spread * (loss.phi(h, y) - free) + own * free).sum(1), 0.0)
    count = (w[known] * kept).sum() if not soft else torch.tensor(kept.numel())
    value = {"none": each, "sum": each.sum(), "mean": each.sum() / count}[reduction]
    cotangent = torch.linspace(0.5, 1.5, value.numel(), dtype=value.dtype).reshape(value.shape)
    return value.detach(), torch.autograd.grad(value, f, cotangent)[0]


@every_loss
@every_label
@every_weight
@every_reduction
def test_each_place_is_a_sample(
    loss: PowerLoss, soft: bool, weight: Tensor | None, reduction: str, small_blocks: None
) -> None:
    logits, targets = batch(soft)
    criterion = Criterion(loss, weight, reduction=reduction, ignore_index=-100 if soft else IGNORED)
    scale = 1e-12 * (1 + loss.coefficients.abs().sum().item())
    for found, expected in zip(
        both(criterion, logits, targets), by_place(loss, logits, targets, weight, reduction), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=scale)


@every_label
@every_weight
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_blocks_are_the_whole(
    soft: bool, weight: Tensor | None, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However large they are, in every memory layout; the gradient has that of the logits."""
    criterion = Criterion(find("paper/mnist", CLASSES), weight, ignore_index=-100 if soft else IGNORED)
    logits, targets = batch(soft)
    logits, targets = logits.to(dtype), targets.to(dtype) if soft else targets
    expected = both(criterion, logits, targets)
    for size in (1, 3 * CLASSES, 11 * CLASSES, 45 * CLASSES):
        monkeypatch.setattr(blocks, "BLOCK", size)
        monkeypatch.setattr(blocks, "SHORTEST", 2)
        for layout in (torch.contiguous_format, torch.channels_last):
            given = logits.contiguous(memory_format=layout)
            torch.testing.assert_close(both(criterion, given, targets), expected)
    assert both(criterion, given, targets)[1].is_contiguous(memory_format=layout)


@every_weight
@every_label
def test_it_is_differentiated_twice_and_again(weight: Tensor | None, soft: bool, small_blocks: None) -> None:
    logits, targets = batch(soft, (2, CLASSES, 2, 2))
    criterion = Criterion(find("bootstrapping", CLASSES), weight, ignore_index=-100 if soft else IGNORED)
    f = logits.requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: criterion(x, targets), (f,))
    value = criterion(f, targets)
    once, again, third = (torch.autograd.grad(3 * value, f, retain_graph=True)[0] for _ in range(3))
    torch.testing.assert_close(again, once)
    torch.testing.assert_close(third, once)
    rows = torch.autograd.grad(value, f, torch.tensor([1.0, 3.0]).double(), is_grads_batched=True)[0]
    torch.testing.assert_close(rows[1], once)


def test_places_alone_are_samples() -> None:
    """``[N, K]`` and ``[N, K, 1]``, and each way of writing two dimensions as one."""
    logits, targets = batch()
    criterion = Criterion(find("poly:2", CLASSES), ignore_index=IGNORED)
    rows, indices = logits.movedim(1, -1).reshape(-1, CLASSES), targets.reshape(-1)
    expected = criterion(rows, indices)
    torch.testing.assert_close(criterion(logits, targets), expected)
    torch.testing.assert_close(criterion(logits.flatten(2), targets.flatten(1)), expected)
    torch.testing.assert_close(criterion(rows[..., None], indices[:, None]), expected)


def test_nothing_is_differentiated_without_need(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    evaluated = passes.value_and_gradient

    def watched(numbers: Any, x: Tensor, y: Tensor, needed: bool, dim: int, weight: Tensor | None) -> Any:
        asked.append(needed)
        return evaluated(numbers, x, y, needed, dim, weight)

    monkeypatch.setattr(blocks, "value_and_gradient", watched)
    criterion, (logits, targets) = Criterion(cross_entropy(), ignore_index=IGNORED), batch()
    criterion(logits, targets)
    with torch.no_grad():
        criterion(logits.requires_grad_(), targets)
    criterion(logits, targets)
    assert asked == [False, False, True]


def test_weights_that_learn_have_a_gradient() -> None:
    logits, targets = batch()
    weight = WEIGHT.clone().requires_grad_()
    value = Criterion(cross_entropy(), weight, ignore_index=IGNORED, reduction="sum")(logits, targets)
    known = torch.where(kept := targets != IGNORED, targets, 0)
    log_h = logits.log_softmax(1).gather(1, known[:, None])[:, 0]
    expected = -(weight[known] * kept * log_h).sum()
    torch.testing.assert_close(*(torch.autograd.grad(one, weight)[0] for one in (value, expected)))


@every_weight
def test_a_class_that_there_is_not_in_the_last_block(weight: Tensor | None, small_blocks: None) -> None:
    logits, targets = batch()
    targets[-1, -1, -1] = CLASSES
    with pytest.raises(InputError, match=f"a target is class {CLASSES}, but the logits have {CLASSES} classes"):
        Criterion(cross_entropy(), weight, ignore_index=IGNORED)(logits, targets)


@every_loss
@every_label
@pytest.mark.parametrize("needed", [False, True], ids=["value", "gradient"])
def test_many_numbers_and_few_take_two_ways_to_one_place(
    loss: PowerLoss, soft: bool, needed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parts of the softmax one by one, and PyTorch's own; in each way a value is the same without gradient."""
    logits, targets = batch(soft, (6, CLASSES))
    logits[0, 1], logits[1] = -torch.inf, 1e4 * logits[1]
    numbers = Criterion(loss)._terms
    assert numbers is not None
    targets = targets if soft else targets % CLASSES
    if soft:
        targets[:, 1] = 0.0
    found = []
    for many in (10**9, 1):
        monkeypatch.setattr(passes, "MANY", many)
        value, gradient = passes.value_and_gradient(kernel.Kernel.of(numbers), logits, targets, needed)
        assert (gradient is not None) == needed
        assert torch.equal(value, passes.value_and_gradient(kernel.Kernel.of(numbers), logits, targets, True)[0])
        found.append((value, gradient))
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)


@every_label
@every_weight
@every_reduction
def test_rows_are_evaluated_in_blocks(
    soft: bool, weight: Tensor | None, reduction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits, targets = batch(soft, (11, CLASSES))
    criterion = Criterion(find("focal:2", CLASSES), weight, ignore_index=-100 if soft else IGNORED, reduction=reduction)
    expected = both(criterion, logits, targets)
    # Of one sample, of two with one at the end, of six and five.
    for size in (1, 2 * CLASSES, 6 * CLASSES - 1):
        monkeypatch.setattr(blocks, "BLOCK", size // torch.get_num_threads() or 1)
        torch.testing.assert_close(both(criterion, logits, targets), expected)
        torch.testing.assert_close(both(criterion, logits.mT.contiguous().mT, targets), expected)
        with torch.no_grad():
            torch.testing.assert_close(criterion(logits, targets), expected[0])
