"""The user's own network, named ``package.module:function``."""

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from lossmith.errors import InputError, brief
from lossmith.nets.parts import Shapes


def check_form(name: str) -> None:
    """See that the name of a network of one's own is ``package.module:function`` and nothing else.

    Raises:
        InputError: If it has another form.
    """
    module, _, function = name.partition(":")
    if not all(word.isidentifier() for word in (*module.split("."), function)):
        raise InputError(f"unknown model {brief(name)}: give your own network as package.module:function")


def own_source(name: str) -> str | None:
    """A digest of the file that holds the user's network, which was imported before; None for a built-in one."""
    module = sys.modules.get(name.partition(":")[0]) if ":" in name else None
    file = getattr(module, "__file__", None)
    return None if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()


def own_body(
    name: str, input_shape: Shapes, classes: int, told: Mapping[str, int] | None = None
) -> Callable[[], nn.Module]:
    """A function that builds the user's network anew at each call; it can be pickled.

    The module is imported once in each process, and the global CPU generator is left as it was. Modules that are
    installed come first; of the current directory one is taken that has no other's name, and only while it is imported
    or called can it import others from there. Only ever call this with a name that the user gave: importing runs code.

    Args:
        name: ``package.module:function``; the function is called with ``input_shape`` and ``classes``.
        input_shape: ``(C, H, W)``, ``(F,)``, or, of dicts of tensors, the shape of each by its name.
        classes: Number of classes K.
        told: What else the function is called with, by name, where it has an argument for it.

    Raises:
        InputError: If the name has another form, the module cannot be imported or has no such function; the function
            that is returned raises it if the user's function does not return an ``nn.Module``.
    """
    body = OwnBody(name, input_shape, classes, str(Path.cwd()), tuple((told or {}).items()))
    _ = body.function
    return body


@dataclass(frozen=True)
class OwnBody:
    """The user's network, found again by name in another process.

    Args:
        name: ``package.module:function``.
        input_shape: ``(C, H, W)``, ``(F,)``, or, of dicts of tensors, the shape of each by its name.
        classes: Number of classes K.
        directory: Where its module is looked for, too.
        told: What else the function is called with, where it has an argument for it.
    """

    name: str
    input_shape: Shapes
    classes: int
    directory: str
    told: tuple[tuple[str, int], ...] = ()

    @cached_property
    def function(self) -> Callable[..., Any]:
        """The user's function."""
        check_form(self.name)
        module_name, _, function_name = self.name.partition(":")
        with _importable(module_name, self.directory), torch.random.fork_rng(devices=[]):
            try:
                module = importlib.import_module(module_name)
            except (Exception, SystemExit) as error:
                raise InputError(
                    f"the module {module_name} of the model {self.name} cannot be imported ({describe(error)}): "
                    "correct the module, its name or the current directory"
                ) from error
        function = getattr(module, function_name, None)
        if function is None:
            raise InputError(
                f"the module {module_name} has no function {function_name}: correct the model {self.name}"
                + _hidden(module, self.directory)
            )
        if not callable(function):
            raise InputError(
                f"{function_name} in the module {module_name} is no function but {_a(function)}: give a function that "
                "is called with the input shape and the number of classes"
            )
        found: Callable[..., Any] = function
        return found

    def __call__(self) -> nn.Module:
        """A network as the user's function gives it."""
        function = self.function
        with _importable(self.name.partition(":")[0], self.directory):
            try:
                network = function(self.input_shape, self.classes, **_wanted(function, self.told))
            except Exception as error:
                raise InputError(
                    f"the model {self.name}, called with {self.input_shape} and {self.classes}, raised "
                    f"{describe(error)}: correct the function"
                ) from error
        if not isinstance(network, nn.Module):
            raise InputError(f"the model {self.name} returned {_a(network)}: let it return a torch.nn.Module")
        return network

    def __reduce__(self) -> tuple[type["OwnBody"], tuple[Any, ...]]:
        """By name: a function is pickled as a module that another process does not find."""
        return OwnBody, (self.name, self.input_shape, self.classes, self.directory, self.told)


def _wanted(function: Callable[..., Any], told: tuple[tuple[str, int], ...]) -> dict[str, int]:
    """What a function has arguments for."""
    if not told:
        return {}
    try:
        names = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
    return {name: value for name, value in told if name in names}


def importable(name: str) -> bool:
    """Whether a module of that name can be found, in the current directory too; nothing is imported."""
    if not name.isidentifier():
        return False
    with _importable(name, str(Path.cwd())):
        found = _spec(name)
        return found is not None and found.origin is not None


def describe(error: BaseException) -> str:
    """Type of an error and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _a(value: object) -> str:
    return "None" if value is None else f"an object of type {type(value).__name__}"


@contextmanager
def _importable(name: str, directory: str) -> Iterator[None]:
    """Meanwhile modules of the directory can be imported, the last of all, if the module of that name lies there.

    What is installed needs no directory, and a file that lies in one must never take the place of what is installed.
    """
    importlib.invalidate_caches()
    found = _spec(name.partition(".")[0])
    installed = found is not None and found.origin is not None and not _lies_in(found.origin, directory)
    if installed or directory in sys.path:
        yield
        return
    sys.path.append(directory)
    try:
        yield
    finally:
        if directory in sys.path:
            sys.path.remove(directory)


def _spec(name: str) -> ModuleSpec | None:
    """Where the module of a name without dots is; nothing is imported."""
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None


def _lies_in(file: str, directory: str) -> bool:
    """Whether a module, or a package by its first file, lies in a directory itself."""
    path = Path(file)
    return Path(directory) in (path.parent, path.parent.parent if path.name == "__init__.py" else path.parent)


def _hidden(module: ModuleType, directory: str) -> str:
    """What to do if the directory has a module of that name, too, which one that is installed hides."""
    name, file = module.__name__.partition(".")[0], getattr(module, "__file__", None)
    own = next((one for one in (Path(directory, f"{name}.py"), Path(directory, name)) if one.exists()), None)
    if own is None or file is None or "." in module.__name__ or _lies_in(file, directory):
        return ""
    return f", or give {own} a name that nothing installed has: the module taken is {file}"
