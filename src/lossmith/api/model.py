"""The user's network: a name, or a class or function, and the name by which a study knows it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from lossmith.errors import InputError, brief
from lossmith.losses import Loss

Model = Callable[..., nn.Module]
# Where a class of a notebook, or one that no name reaches, is said to be: such a name can be stored, and not loaded.
HERE = "__main__"


def named_model(model: Any) -> tuple[str, Model | None]:
    """The name of a network for the settings, and the class or function itself, if that is what was given.

    A class or function at the top of a module is known as ``module:name``, so that the command line finds it, too; one
    of a script as ``FILE.py:name``.

    Args:
        model: A name, or a class or function.

    Raises:
        InputError: if it is neither, such as a network that was built already.
    """
    if isinstance(model, str):
        return model, None
    if isinstance(model, nn.Module):
        raise InputError(
            f"the model is one {type(model).__name__}, and each training needs a new one: give the class, or a "
            "function that builds one (lambda: MyNet(…))"
        )
    if not callable(model) or isinstance(model, Loss):
        raise InputError(f"the model is {brief(model)}; give a name, or a class or function that gives a network")
    return name_of(model), model


def name_of(function: Callable[..., Any]) -> str:
    """``module:name`` or ``FILE.py:name`` of a class or function; ``__main__:name`` where neither would find it."""
    qualified = getattr(function, "__qualname__", type(function).__qualname__)
    last = qualified.rpartition(".")[2]
    last = last if last.isidentifier() else "network"
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    if module is None or getattr(module, qualified, None) is not function:
        return f"{HERE}:{last}"
    if module.__name__ != HERE:
        return f"{module.__name__}:{last}"
    file = getattr(module, "__file__", None)
    return f"{HERE}:{last}" if file is None else f"{Path(file).absolute()}:{last}"
