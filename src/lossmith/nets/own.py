"""The user's own network: named ``package.module:name`` or ``FILE.py:name``, or a class or function at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lossmith.code import ByName, importable, load_code
from lossmith.errors import InputError
from lossmith.nets.called import Told, called_network
from lossmith.nets.parts import Shapes

KIND = "model"


def own_body(
    name: str, input_shape: Shapes, classes: int, told: Mapping[str, int] | None = None
) -> Callable[[], nn.Module]:
    """A function that builds the user's network anew at each call; it can be pickled.

    The module is imported once in each process, and the global CPU generator is left as it was. Modules that are
    installed come first; of the current directory one is taken that has no other's name, and only while it is imported
    or called can it import others from there. Only ever call this with a name that the user gave: importing runs code.

    Args:
        name: ``package.module:name`` or ``FILE.py:name`` of a class or function, called as
            :func:`~lossmith.nets.called.called_network` says.
        input_shape: ``(C, H, W)``, ``(F,)``, or, of dicts of tensors, the shape of each by its name.
        classes: Number of classes K.
        told: What else the function is called with, by name, where it has an argument for it.

    Raises:
        InputError: If the name has another form, the module cannot be imported or has nothing of that name; the
            function that is returned raises it if the user's own does not give an ``nn.Module``.
    """
    body = OwnBody(name, input_shape, classes, str(Path.cwd()), tuple((told or {}).items()))
    _ = body.function
    return body


@dataclass(frozen=True)
class OwnBody(ByName):
    """The user's network, found again by name in another process.

    Args:
        name: ``package.module:name`` or ``FILE.py:name``.
        input_shape: ``(C, H, W)``, ``(F,)``, or, of dicts of tensors, the shape of each by its name.
        classes: Number of classes K.
        directory: Where its module is looked for, too.
        told: What else the function is called with, where it has an argument for it.
    """

    name: str
    input_shape: Shapes
    classes: int
    directory: str
    told: Told = ()

    @cached_property
    def function(self) -> Callable[..., Any]:
        """The user's class or function."""
        with torch.random.fork_rng(devices=[]):
            found = load_code(self.name, KIND, self.directory)
        if not callable(found):
            what = "None" if found is None else f"an object of type {type(found).__name__}"
            raise InputError(
                f"the model {self.name} is no function but {what}: give a class or function that is called with the "
                "input shape and the number of classes, or with nothing"
            )
        function: Callable[..., Any] = found
        return function

    def __call__(self) -> nn.Module:
        """A network as the user's class or function gives it."""
        function = self.function
        with importable(self.name, self.directory):
            return called_network(function, self.name, self.input_shape, self.classes, self.told)

    def __reduce__(self) -> tuple[type[OwnBody], tuple[Any, ...]]:
        """By name: a function is pickled as a module that another process does not find."""
        return OwnBody, (self.name, self.input_shape, self.classes, self.directory, self.told)
