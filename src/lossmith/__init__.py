"""Metalearn the loss function of a PyTorch classifier, compare it fairly, and use it in one line."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lossmith.errors import InputError
from lossmith.losses import (
    Criterion,
    Loss,
    PowerLoss,
    baikal,
    cross_entropy,
    find,
    focal,
    gce,
    load,
    mae,
    mse,
    poly,
    save,
    taylor,
)

if TYPE_CHECKING:
    from lossmith import nets as nets
    from lossmith.study import Study

    __version__: str

__all__ = [
    "Criterion",
    "InputError",
    "Loss",
    "PowerLoss",
    "Study",
    "baikal",
    "cross_entropy",
    "find",
    "focal",
    "gce",
    "load",
    "mae",
    "mse",
    "poly",
    "save",
    "taylor",
]


def __getattr__(name: str) -> Any:
    """Load ``Study`` on first use, since it needs SciPy, which takes longer to import than the losses; and ``nets``.

    The version is that of the installed package, which pyproject.toml says.
    """
    if name == "__version__":
        from importlib.metadata import version

        return version("lossmith")
    if name == "Study":
        return import_module("lossmith.study").Study
    if name == "nets":
        return import_module("lossmith.nets")
    raise AttributeError(f"module 'lossmith' has no attribute {name!r}")
