"""The user's own network, named ``package.module:function``."""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lossmith.errors import InputError


def own_source(name: str) -> str | None:
    """A digest of the file that holds the user's network, which was imported before; None for a built-in one."""
    module = sys.modules.get(name.partition(":")[0]) if ":" in name else None
    file = getattr(module, "__file__", None)
    return None if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()


def own_body(name: str, input_shape: tuple[int, ...], classes: int) -> Callable[[], nn.Module]:
    """A function that builds the user's network anew at each call; it can be pickled.

    The module is imported once in each process, from the current directory too, and the global CPU generator is left as
    it was. Only ever call this with a name that the user gave: importing runs the code of the module.

    Args:
        name: ``package.module:function``; the function is called with ``input_shape`` and ``classes``.
        input_shape: ``(C, H, W)`` or ``(F,)``.
        classes: Number of classes K.

    Raises:
        InputError: If the name has another form, the module cannot be imported or has no such function; the function
            that is returned raises it if the user's function does not return an ``nn.Module``.
    """
    body = OwnBody(name, input_shape, classes, str(Path.cwd()))
    _ = body.function
    return body


@dataclass(frozen=True)
class OwnBody:
    """The user's network, found again by name in another process.

    Args:
        name: ``package.module:function``.
        input_shape: ``(C, H, W)`` or ``(F,)``.
        classes: Number of classes K.
        directory: Where its module is looked for, too.
    """

    name: str
    input_shape: tuple[int, ...]
    classes: int
    directory: str

    @cached_property
    def function(self) -> Callable[[tuple[int, ...], int], Any]:
        """The user's function."""
        module_name, _, function_name = self.name.partition(":")
        if not module_name or not function_name:
            raise InputError(f"unknown model {self.name!r}: give your own network as package.module:function")
        with _importable(self.directory), torch.random.fork_rng(devices=[]):
            importlib.invalidate_caches()
            try:
                module = importlib.import_module(module_name)
            except (Exception, SystemExit) as error:
                raise InputError(
                    f"the module {module_name} of the model {self.name} cannot be imported ({describe(error)}): "
                    "correct the module, its name or the current directory"
                ) from error
        function = getattr(module, function_name, None)
        if function is None:
            raise InputError(f"the module {module_name} has no function {function_name}: correct the model {self.name}")
        if not callable(function):
            raise InputError(
                f"{function_name} in the module {module_name} is no function but {_a(function)}: give a function that "
                "is called with the input shape and the number of classes"
            )
        found: Callable[[tuple[int, ...], int], Any] = function
        return found

    def __call__(self) -> nn.Module:
        """A network as the user's function gives it."""
        function = self.function
        with _importable(self.directory):
            try:
                network = function(self.input_shape, self.classes)
            except Exception as error:
                raise InputError(
                    f"the model {self.name}, called with {self.input_shape} and {self.classes}, raised "
                    f"{describe(error)}: correct the function"
                ) from error
        if not isinstance(network, nn.Module):
            raise InputError(f"the model {self.name} returned {_a(network)}: let it return a torch.nn.Module")
        return network

    def __reduce__(self) -> tuple[type["OwnBody"], tuple[str, tuple[int, ...], int, str]]:
        """By name: a function is pickled as a module that another process does not find."""
        return OwnBody, (self.name, self.input_shape, self.classes, self.directory)


def importable(name: str) -> bool:
    """Whether a module of that name can be found, from the current directory too; nothing is imported."""
    with _importable(str(Path.cwd())):
        importlib.invalidate_caches()
        try:
            found = importlib.util.find_spec(name) if name.isidentifier() else None
            return found is not None and found.origin is not None
        except (ImportError, ValueError):
            return False


def describe(error: BaseException) -> str:
    """Type of an error and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _a(value: object) -> str:
    return "None" if value is None else f"an object of type {type(value).__name__}"


@contextmanager
def _importable(directory: str) -> Iterator[None]:
    """Modules in the directory can be imported meanwhile."""
    if directory in sys.path:
        yield
        return
    sys.path.insert(0, directory)
    try:
        yield
    finally:
        if directory in sys.path:
            sys.path.remove(directory)
