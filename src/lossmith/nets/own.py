"""The user's own network, named ``package.module:function``."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from lossmith.errors import InputError


def own_body(name: str, input_shape: tuple[int, ...], classes: int) -> Callable[[], nn.Module]:
    """A function that builds the user's network anew at each call.

    The module is imported once, from the current directory too, and the global CPU generator is left as it was. Only
    ever call this with a name that the user gave: importing runs the code of the module.

    Args:
        name: ``package.module:function``; the function is called with ``input_shape`` and ``classes``.
        input_shape: ``(C, H, W)`` or ``(F,)``.
        classes: Number of classes K.

    Raises:
        InputError: If the name has another form, the module cannot be imported or has no such function; the function
            that is returned raises it if the user's function does not return an ``nn.Module``.
    """
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise InputError(f"unknown model {name!r}: give your own network as package.module:function")
    directory = str(Path.cwd())
    with _importable(directory), torch.random.fork_rng(devices=[]):
        importlib.invalidate_caches()
        try:
            module = importlib.import_module(module_name)
        except (Exception, SystemExit) as error:
            raise InputError(
                f"the module {module_name} of the model {name} cannot be imported ({describe(error)}): correct the "
                "module, its name or the current directory"
            ) from error
    function = getattr(module, function_name, None)
    if function is None:
        raise InputError(f"the module {module_name} has no function {function_name}: correct the model {name}")
    if not callable(function):
        raise InputError(
            f"{function_name} in the module {module_name} is no function but {_a(function)}: give a function that is "
            "called with the input shape and the number of classes"
        )

    def body() -> nn.Module:
        with _importable(directory):
            try:
                network = function(input_shape, classes)
            except Exception as error:
                raise InputError(
                    f"the model {name}, called with {input_shape} and {classes}, raised {describe(error)}: correct the "
                    "function"
                ) from error
        if not isinstance(network, nn.Module):
            raise InputError(f"the model {name} returned {_a(network)}: let it return a torch.nn.Module")
        return network

    return body


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
