"""Every loss that has a name is told in one place, under one name, with its formula and source; and the registry."""

import inspect

import pytest
import torch
from torch import Tensor

from lossmith import InputError, PowerLoss
from lossmith.losses import CATALOG, bootstrapping, find, kernel, label_smoothing, passes, smoothing_squares
from lossmith.registry import Registry

CLASSES = 7


def test_names_are_those_of_the_command_line_in_order() -> None:
    assert CATALOG.names[0] == "cross-entropy"
    assert [entry.name for _, entry in CATALOG.items()] == list(CATALOG)


@pytest.mark.parametrize("name", CATALOG.names)
def test_formula_and_source_are_those_of_the_docstring(name: str) -> None:
    entry = CATALOG[name]
    text = inspect.getdoc(entry.function)
    assert text is not None
    assert f"``{entry.formula}``" in text
    assert entry.source in text


@pytest.mark.parametrize("name", CATALOG.names)
def test_a_name_is_its_function_at_the_default(name: str) -> None:
    entry = CATALOG[name]
    assert find(name, CLASSES) == entry.build(None, CLASSES)
    classes = [CLASSES] if entry.by_classes else []
    if entry.parameter is None:
        assert entry.build(None, CLASSES) == entry.function(*classes)
        return
    default, more = entry.parameter.default, [one.default for one in entry.parameters[1:]]
    assert entry.build(None, CLASSES) == entry.function(default, *more, *classes)
    assert find(entry.typed, CLASSES) == find(f"{name}:{default:g}", CLASSES) == entry.build(None, CLASSES)
    other = default / 2
    assert find(f"{name}:{other:g}", CLASSES) == entry.function(other, *more, *classes) != entry.build(None, CLASSES)


def test_a_loss_of_two_numbers() -> None:
    assert find("smoothing-squares:0.25:3", CLASSES) == smoothing_squares(0.25, 3.0, CLASSES)
    assert find("smoothing-squares:0.25", CLASSES) == smoothing_squares(0.25, 2.0, CLASSES)
    for text, words in (
        ("0.5:much", "the parameter w of smoothing-squares is 'much', not a number"),
        ("0.5:2:1", "the parameter w of smoothing-squares is '2:1', not a number"),
        ("1:2", "takes α in"),
        ("0.5:inf", "takes a finite weight w"),
    ):
        with pytest.raises(InputError, match=words):
            find(f"smoothing-squares:{text}", CLASSES)


@pytest.mark.parametrize("build", [lambda: label_smoothing(1, 3), lambda: label_smoothing(-0.1, 3)])
def test_label_smoothing_out_of_range(build: object) -> None:
    assert callable(build)
    with pytest.raises(InputError, match=r"α in \[0, 1\)"):
        build()


@pytest.mark.parametrize("beta", [-0.1, 1.1, float("nan")])
def test_bootstrapping_out_of_range(beta: float) -> None:
    with pytest.raises(InputError, match=r"β in \[0, 1\]"):
        bootstrapping(beta)


def test_a_registry_keeps_order_and_says_what_is_near() -> None:
    registry = Registry[int]("number")
    assert registry.register("one", 1) == 1
    registry.register("two", 2)
    assert (registry.names, list(registry), len(registry)) == (("one", "two"), ["one", "two"], 2)
    assert "one" in registry
    assert "three" not in registry
    assert registry["two"] == 2
    with pytest.raises(InputError, match=r"there is no number 'onee' \(did you mean one\?\); give one of one, two$"):
        registry["onee"]
    with pytest.raises(InputError, match=r"there is no number 'xyz'; give one of one, two$"):
        registry["xyz"]
    with pytest.raises(InputError, match="there is a number 'one' already"):
        registry.register("one", 3)


@pytest.mark.parametrize("dim", [-1, 1])
def test_the_logit_gradient_of_a_slope_that_couples_classes(dim: int) -> None:
    """Any function of the whole output vector: from its slope by log h, the gradient that autograd finds."""
    logits = torch.randn(5, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()

    def value(x: Tensor) -> Tensor:
        return (x.exp() * x.roll(1, dim)).sum() + x.exp().square().sum(dim).sqrt().sum()

    x = logits.log_softmax(dim)
    (expected,) = torch.autograd.grad(value(x), logits)
    free = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(value(free), free)
    torch.testing.assert_close(kernel.logit_gradient_of(-slope, free.detach().exp(), dim), expected)


@pytest.mark.parametrize("labels", ["indices", "probabilities"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_numbers_in_place_and_tensors_out_of_place_are_one_kernel(labels: str, dtype: torch.dtype) -> None:
    """What the criterion computes in one pass, and what trains populations."""
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(6, CLASSES, generator=generator, dtype=torch.float64).to(dtype)
    targets = torch.arange(6) if labels == "indices" else logits.roll(1, 0).softmax(-1)
    found = [find(name, CLASSES) for name in CATALOG]
    named = [loss for loss in found if isinstance(loss, PowerLoss)]
    assert len(named) >= 12
    for loss in (*named, *(one.smoothed(0.1, CLASSES) for one in named), PowerLoss((), torch.zeros(0))):
        numbers = list(zip(loss.terms, loss.coefficients.tolist(), strict=True))
        value, gradient = passes.value_and_gradient(kernel.Kernel.of(numbers), logits, targets, True)
        assert gradient is not None
        scale = 8 * torch.finfo(dtype).eps * (1 + loss.coefficients.abs().sum().item()) * CLASSES
        torch.testing.assert_close(value, loss.value(logits, targets), rtol=0, atol=scale * 1e2)
        torch.testing.assert_close(gradient, loss.logit_gradient(logits, targets), rtol=0, atol=scale * 1e2)
        alone, nothing = passes.value_and_gradient(kernel.Kernel.of(numbers), logits, targets, False)
        assert nothing is None
        assert torch.equal(alone, value)
