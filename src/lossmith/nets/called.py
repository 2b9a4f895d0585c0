"""The user's own class or function that gives a network, however it wants to be called."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from lossmith.code import described
from lossmith.errors import InputError
from lossmith.nets.parts import Shapes

# What the first two parameters are called, where both have a default.
Told = tuple[tuple[str, int], ...]
SHAPES, CLASSES = ("input_shape", "shape"), ("classes", "num_classes", "n_classes")


@dataclass(frozen=True)
class CalledBody:
    """The user's own network, of a class or function that is at hand; it can be pickled if that can.

    Args:
        function: Gives a network.
        name: What messages call it.
        input_shape: ``(C, H, W)``, ``(F,)`` or ``(L,)``.
        classes: Number of classes K.
        told: What else it is called with, where it has an argument for it.
    """

    function: Callable[..., Any]
    name: str
    input_shape: Shapes
    classes: int
    told: Told = ()

    def __call__(self) -> nn.Module:
        """A network with fresh weights.

        Raises:
            InputError: as :func:`called_network`.
        """
        return called_network(self.function, self.name, self.input_shape, self.classes, self.told)


def called_network(
    function: Callable[..., Any], name: str, input_shape: Shapes, classes: int, told: Told = ()
) -> nn.Module:
    """What a class or function of the user's gives, called with the input shape and the number of classes, or nothing.

    It is called with nothing where it can be, unless its first two parameters are called ``input_shape`` and
    ``classes`` (or ``shape``, ``num_classes``, ``n_classes``).

    Args:
        function: The class or function.
        name: What messages call it.
        input_shape: ``(C, H, W)``, ``(F,)`` or ``(L,)``.
        classes: Number of classes K.
        told: What else it is called with, by name, where it has an argument for it.

    Raises:
        InputError: if it can be called neither so nor so, raises, or gives no ``nn.Module``.
    """
    given = arguments(function, input_shape, classes)
    if given is None:
        raise InputError(
            f"the model {name} can be called neither with the input shape and the number of classes nor with nothing: "
            "give its other parameters defaults"
        )
    called = f"called with {input_shape} and {classes}" if given else "called with nothing"
    try:
        network = function(*given, **wanted(function, told))
    except Exception as error:
        raise InputError(f"the model {name}, {called}, raised {described(error)}: correct the function") from error
    if not isinstance(network, nn.Module):
        what = "None" if network is None else f"an object of type {type(network).__name__}"
        raise InputError(f"the model {name} returned {what}: let it return a torch.nn.Module")
    return network


def told_of(vocabulary: int | None, padding: int | None) -> Told:
    """What a network of one's own can be told of token ids."""
    told = {"vocabulary": vocabulary, "padding_id": padding}
    return tuple((name, value) for name, value in told.items() if value is not None)


def wanted(function: Callable[..., Any], told: Told) -> dict[str, int]:
    """What a class or function has arguments for."""
    if not told:
        return {}
    try:
        names = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
    return {name: value for name, value in told if name in names}


def arguments(function: Callable[..., Any], input_shape: Shapes, classes: int) -> tuple[()] | tuple[Shapes, int] | None:
    """What a class or function is called with; None if it can be called with neither."""
    both = (input_shape, classes)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        # Of a few built-in ones nobody knows.
        return both
    names = [name.lower() for name in list(signature.parameters)[:2]]
    asks = len(names) == 2 and names[0] in SHAPES and names[1] in CLASSES
    for chosen in (both, ()) if asks else ((), both):
        try:
            signature.bind(*chosen)
        except TypeError:
            continue
        return chosen
    return None
