"""The user's own class or function that gives a network, called as it wants to be."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from lossmith import InputError
from lossmith.data import Normalize
from lossmith.nets import ModelSettings, network_factory
from lossmith.nets.called import CalledBody, arguments, called_network

SHAPE, CLASSES = (4,), 3


class Bare(nn.Linear):
    def __init__(self, width: int = 4, depth: int = 1) -> None:
        super().__init__(4, 3)
        self.given = (width, depth)


class Asking(nn.Linear):
    def __init__(self, input_shape: tuple[int, ...] = (9,), classes: int = 9) -> None:
        super().__init__(input_shape[0], classes)


class Needing(nn.Linear):
    def __init__(self, where: tuple[int, ...], what: int) -> None:
        super().__init__(where[0], what)


def three(a: int, b: int, c: int) -> nn.Module:
    raise AssertionError


@pytest.mark.parametrize(
    ("function", "given"),
    [
        (Bare, ()),
        (Asking, (SHAPE, CLASSES)),
        (Needing, (SHAPE, CLASSES)),
        (lambda: nn.Linear(4, 3), ()),
        (lambda *rest: nn.Linear(4, 3), ()),
        (lambda shape, num_classes=2: nn.Linear(4, 3), (SHAPE, CLASSES)),
        (three, None),
    ],
)
def test_what_it_is_called_with(function: Callable[..., Any], given: Any) -> None:
    assert arguments(function, SHAPE, CLASSES) == given


def test_networks() -> None:
    assert called_network(Asking, "Asking", SHAPE, CLASSES).weight.shape == (3, 4)
    assert called_network(Bare, "Bare", SHAPE, CLASSES).given == (4, 1)


def fails() -> nn.Module:
    raise RuntimeError("no\nweights")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (three, r"called neither with the input shape and the number of classes nor with nothing"),
        (fails, r"called with nothing, raised RuntimeError: no: correct the function"),
        (lambda: None, r"returned None: let it return a torch.nn.Module"),
        (lambda shape, classes: "net", r"returned an object of type str"),
    ],
)
def test_what_gives_no_network(function: Callable[..., Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        called_network(function, "mine", SHAPE, CLASSES)


def test_a_factory_of_a_class_is_a_value() -> None:
    inputs = torch.randn(9, 4)
    factory = network_factory(ModelSettings(), Normalize.fit(inputs), SHAPE, CLASSES, own=Asking)
    again = pickle.loads(pickle.dumps(factory))  # noqa: S301 (made here)
    assert again.body == CalledBody(Asking, "mlp", SHAPE, CLASSES)
    assert again()(inputs).shape == (9, 3)
